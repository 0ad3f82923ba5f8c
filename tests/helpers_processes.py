"""Run a function in several gloo processes, forked from a copy of the process of the tests.

The copy is made before the first test: everything is imported by then, so a process costs no more
than its fork, and no test has started threads yet, which a fork would lose.
"""

import contextlib
import multiprocessing
import os
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist

_CONTEXT = multiprocessing.get_context("fork")
_server = None


@contextlib.contextmanager
def serve_processes():
    """Keep the copy that ``run_processes`` asks."""
    global _server
    _server, far_end = _CONTEXT.Pipe()
    copy = _CONTEXT.Process(target=_serve, args=(far_end, _server))
    copy.start()
    far_end.close()
    yield
    # Closing would not do: a process that a test has left behind may hold this end too.
    _server.send(None)
    copy.join()


def run_processes(function, num_processes, *args, timeout=120):
    """Call ``function(rank, *args)`` on each rank; return the results in rank order.

    ``function`` must be importable.
    """
    with tempfile.TemporaryDirectory() as folder:
        _server.send((function, num_processes, folder, args, timeout))
        exits = _server.recv()
        assert exits == [0] * num_processes, f"exit codes by rank: {exits}"
        return [torch.load(Path(folder) / f"{rank}.pt") for rank in range(num_processes)]


def _serve(requests, other_end):
    # Else this end would not notice that the other process is gone.
    other_end.close()
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while (request := requests.recv()) is not None:
            requests.send(_exit_codes(*request))
    os._exit(0)


def _exit_codes(function, num_processes, folder, args, timeout):
    processes = [
        _CONTEXT.Process(target=_run, args=(function, rank, num_processes, folder, args))
        for rank in range(num_processes)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout)
    exits = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
        process.join()
    return exits


def _run(function, rank, num_processes, folder, args):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=num_processes
    )
    result = function(rank, *args)
    torch.save(result, Path(folder) / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
