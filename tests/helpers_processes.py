"""Run a function in several gloo processes."""

import multiprocessing
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist


def run_processes(function, num_processes, *args, timeout=120):
    """Call ``function(rank, *args)`` on each rank; return the results in rank order.

    ``function`` must be importable. The processes are forked from a server that has imported the
    packages once.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "person_search.modeling"])
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            context.Process(target=_run, args=(function, rank, num_processes, folder, args))
            for rank in range(num_processes)
        ]
        for process in processes:
            process.start()
        try:
            for process in processes:
                process.join(timeout)
            exits = [process.exitcode for process in processes]
            assert exits == [0] * num_processes, f"exit codes by rank: {exits}"
        finally:
            for process in processes:
                process.kill()
        return [torch.load(Path(folder) / f"{rank}.pt") for rank in range(num_processes)]


def _run(function, rank, num_processes, folder, args):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=num_processes
    )
    result = function(rank, *args)
    torch.save(result, Path(folder) / f"{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()
