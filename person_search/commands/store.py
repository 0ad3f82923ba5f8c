"""``person-search store``: serve a gallery file to several processes of this machine.

They use it by ``--gallery http://127.0.0.1:PORT``. Runs until Ctrl-C; what was stored stays in the
file. Whoever can log in to this machine can reach the port.
"""

import argparse
import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from person_search.gallery.engine import (
    GalleryError,
    check_file,
    check_lock,
    is_address,
    wait_for_orphan,
)

HOST = "127.0.0.1"
PORT = 19530
START_TIMEOUT = 180.0
"""Seconds. The engine reads a gallery of a million people in 18 s."""
STOP_TIMEOUT = 10.0
LOOK_EVERY = 0.2
"""Seconds between looks whether the engine still runs."""

# Starts the engine so that it dies with this process, even one killed by SIGKILL: 1 is
# PR_SET_PDEATHSIG. In a session of its own, so that a terminal's Ctrl-C reaches only us.
_LAUNCHER = """
import ctypes, os, signal, sys
parent, program = int(sys.argv[1]), sys.argv[2:]
os.setsid()
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
if os.getppid() == parent:
    os.execv(program[0], program)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search store``."""
    parser.add_argument("gallery", metavar="G", help="file ending in .db; made where missing")
    parser.add_argument(
        "--port",
        type=int,
        default=PORT,
        help=f"port on {HOST}; 0 takes a free one (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; return the exit status 0.

    Raises:
        GalleryError: The file cannot be used, another process has it open, or the engine ended.
        OSError: The port is taken.
    """
    if is_address(args.gallery):
        raise ValueError(f"{args.gallery} is served already; expected a file ending in .db")
    path = Path(args.gallery).expanduser().resolve()
    with _raise_on_signals(), serve(path, args.port) as (address, engine):
        print(f"{path} is served: --gallery {address}  (Ctrl-C ends it)", flush=True)
        try:
            while engine.poll() is None:
                time.sleep(LOOK_EVERY)
        except KeyboardInterrupt:
            print("stopped; the gallery is complete in its file", file=sys.stderr)
            return 0
    raise GalleryError(
        f"the engine of {path} has ended by itself (status {engine.poll()}); what was stored is in "
        "the file, start it again"
    )


@contextmanager
def serve(path: Path, port: int) -> Iterator[tuple[str, Any]]:
    """Run the engine of a gallery file on a port of this machine.

    The file is locked against other processes meanwhile. The engine ends with the context, and with
    this process however that ends (on Linux; elsewhere not by SIGKILL).

    Args:
        path: of the file, made where missing.
        port: 1 to 65,535, or 0 for a free one.

    Yields:
        The address for ``--gallery``, once it answers, and the engine's process.

    Raises:
        GalleryError: The file cannot be used, another process has it open, or it does not start.
        OSError: The port is taken.
    """
    check_file(path, must_exist=False)
    port = _claim_port(port)
    server = _make_server(path, port)
    check_lock(path)
    wait_for_orphan(path)
    try:
        if not server.init() or not server.start():
            raise GalleryError(f"the engine of {path} did not start on port {port}; try another")
        address = f"http://{HOST}:{port}"
        _wait_until_ready(server.process, address)
        yield address, server.process
    finally:
        server.stop()


def _make_server(path: Path, port: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # milvus_lite's pkg_resources, not ours to change
        from milvus_lite.server import Server

    class EngineServer(Server):  # type: ignore[misc]
        """The engine as a server that leaves no orphan."""

        @property
        def args(self) -> list[str]:
            program = [str(word) for word in super().args]
            return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *program]

        @property
        def process(self) -> Any:
            return self._p

        def stop(self) -> None:
            # A server never started holds no lock, and must not remove another one's file of it.
            if self._p is None:
                if self._lock_fd is not None:
                    self._lock_fd.close()
                    self._lock_fd = None
                return
            # Served by a port the engine does not notice that the lock is gone.
            self._p.terminate()
            self._p.wait(STOP_TIMEOUT)
            super().stop()

    return EngineServer(str(path), f"{HOST}:{port}")


def _claim_port(port: int) -> int:
    """Return the port, or a free one for 0.

    Raises:
        ValueError: it is out of range.
        OSError: somebody listens there already.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"the port is {port}; expected 1 to 65535, or 0 for a free one")
    with socket.socket() as probe:
        # As servers do: the connections of one that has just ended do not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise OSError(
                f"port {port} of {HOST} cannot be used ({error.strerror}); choose another by --port"
            ) from error
        return int(probe.getsockname()[1])


def _wait_until_ready(process: Any, address: str) -> None:
    from pymilvus import MilvusClient
    from pymilvus.exceptions import MilvusException

    deadline = time.monotonic() + START_TIMEOUT
    while process.poll() is None:
        try:
            client = MilvusClient(uri=address, timeout=2)
        except MilvusException as error:
            if time.monotonic() > deadline:
                raise GalleryError(f"the engine does not answer at {address}: {error}") from error
            continue
        try:
            client.list_collections(timeout=START_TIMEOUT)
        finally:
            client.close()
        return
    raise GalleryError(f"the engine ended while it started (status {process.poll()})")


@contextmanager
def _raise_on_signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the command as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
