"""A real Milvus server for slow tests: the one that the PyPI package ``milvus`` carries.

Its command is taken from the environment variable ``MILVUS_SERVER_COMMAND``; where that is ``pip``,
from an environment that pip makes once in the user's cache folder. Without the variable the tests
are skipped: the server takes fixed ports, a gigabyte of memory and most of two cores, and on a busy
machine a count that should see what was written was seen to miss it.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

PACKAGE = "milvus==2.3.5"
# Of the etcd in it and of its web service: no option changes them, so there is one at a time.
FIXED_PORTS = (2380, 9091)
START_SECONDS = 120


def server_command():
    """Path of ``milvus-server``; skips the test where it cannot be had."""
    named = os.environ.get("MILVUS_SERVER_COMMAND")
    if not named:
        pytest.skip("MILVUS_SERVER_COMMAND names no server; MILVUS_SERVER_COMMAND=pip fetches one")
    if named != "pip":
        return named
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "person-search-tests" / PACKAGE.replace("==", "-")
    command = folder / "bin" / "milvus-server"
    if not command.exists():
        for arguments in (["-m", "venv", folder], [folder / "bin/pip", "install", "-q", PACKAGE]):
            program = [sys.executable] if arguments[0] == "-m" else []
            done = subprocess.run([*program, *arguments], capture_output=True, text=True)
            if done.returncode:
                reason = (done.stderr or done.stdout).strip().splitlines()[-1:]
                pytest.skip(f"pip cannot install {PACKAGE}: {' '.join(reason)}")
    return str(command)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RealServer:
    """A server with a data folder of its own; `kill` and `start` as often as wanted."""

    def __init__(self, folder):
        self._command = [server_command(), "--data", str(folder)]
        self._log = folder.parent / f"{folder.name}.log"
        self._process = None
        port = free_port()
        self._command += ["--proxy-port", str(port)]
        self.address = f"http://127.0.0.1:{port}"
        self.start()

    def start(self):
        deadline = time.monotonic() + START_SECONDS
        while taken := [port for port in FIXED_PORTS if not self._is_free(port)]:
            if time.monotonic() > deadline - START_SECONDS + 10:  # of the one just killed
                pytest.skip(f"port {taken[0]} is taken: one Milvus server at a time on a machine")
            time.sleep(0.2)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, start_new_session=True
            )
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                said = self._log.read_text(errors="replace")[-500:]
                pytest.skip(f"the Milvus server does not start here: {said}")
            time.sleep(0.5)

    def kill(self):
        """Kill it and what it started, without a chance to finish anything."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _answers(self):
        from person_search.gallery.errors import GalleryError
        from person_search.gallery.milvus_store import list_names

        try:
            list_names(self.address)
        except GalleryError:
            return False
        return True

    @staticmethod
    def _is_free(port):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
            return True
