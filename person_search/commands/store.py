"""``person-search store``: serve a gallery file to several processes of this machine.

They use it by ``--gallery http://127.0.0.1:PORT``. Runs until Ctrl-C; what was stored stays in the
file. Whoever can log in to this machine can reach the port.
"""

import argparse
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from person_search.commands.ports import claim_port
from person_search.gallery.engine import (
    GalleryError,
    check_file,
    check_lock,
    is_address,
    wait_for_orphan,
)
from person_search.gallery.milvus_parts import engine_command, lock_of

HOST = "127.0.0.1"
PORT = 19530
START_TIMEOUT = 180.0
"""Seconds. The engine reads a gallery of a million people in 18 s."""
STOP_TIMEOUT = 10.0
IF_STOPPED = "the gallery is complete in its file; the same command serves it again"
LOOK_EVERY = 0.2
"""Seconds between looks whether the engine still runs."""

# Starts the engine so that it dies with this process, even one killed by SIGKILL: 1 is
# PR_SET_PDEATHSIG. In a session of its own, so that a terminal's Ctrl-C reaches only us. The
# engine's libraries would break this interpreter, so their folder is named only now.
_LAUNCHER = """
import ctypes, os, signal, sys
parent, program = int(sys.argv[1]), sys.argv[2:]
os.setsid()
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
os.environ["LD_LIBRARY_PATH"] = os.path.dirname(program[0])
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
    """Serve until a signal; return the exit status 0 after SIGTERM or SIGHUP.

    Raises:
        GalleryError: The file cannot be used, another process has it open, or the engine ended.
        OSError: The port is taken.
        KeyboardInterrupt: Ctrl-C.
    """
    if is_address(args.gallery):
        raise ValueError(f"{args.gallery} is served already; expected a file ending in .db")
    path = Path(args.gallery).expanduser().resolve()
    try:
        with _raise_on_signals(), serve(path, args.port) as (address, engine):
            print(f"{path} is served: --gallery {address}  (Ctrl-C ends it)", flush=True)
            while engine.poll() is None:
                time.sleep(LOOK_EVERY)
    except _Ended:
        print("ended; the gallery is complete in its file", file=sys.stderr)
        return 0
    raise GalleryError(
        f"the engine of {path} has ended by itself (status {engine.poll()}); what was stored is in "
        "the file, start it again"
    )


@contextmanager
def serve(path: Path, port: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
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
    port = claim_port(HOST, port)
    with _lock(path), _run_engine(path, port) as engine:
        address = f"http://{HOST}:{port}"
        _wait_until_ready(engine, address)
        yield address, engine


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Keep out other processes, by the lock of those that open the file themselves.

    Raises:
        GalleryError: One of them has it open, or the folder is read-only.
    """
    check_lock(path)
    lock = lock_of(path)
    with lock.open("a") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            # The engine of a killed process, which held the lock before, may still be writing.
            wait_for_orphan(path)
            yield
        finally:
            # While it is locked: afterwards it may be somebody else's.
            lock.unlink(missing_ok=True)


@contextmanager
def _run_engine(path: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    # What Milvus Lite's own server runs, which neither ends with its parent nor is ended gently.
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid())]
    command = engine_command(path, f"{HOST}:{port}")
    engine = subprocess.Popen([*launcher, *command], cwd=path.parent)
    try:
        yield engine
    finally:
        engine.terminate()
        try:
            engine.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            engine.kill()
            engine.wait()


def _wait_until_ready(engine: subprocess.Popen[bytes], address: str) -> None:
    from pymilvus import MilvusClient
    from pymilvus.exceptions import MilvusException

    deadline = time.monotonic() + START_TIMEOUT
    while engine.poll() is None:
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
    raise GalleryError(f"the engine ended while it started (status {engine.poll()})")


class _Ended(BaseException):
    """A service manager, or a terminal that was closed, ended the command."""


@contextmanager
def _raise_on_signals() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the command in order; Ctrl-C does by itself."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt if number == signal.SIGINT else _Ended

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
