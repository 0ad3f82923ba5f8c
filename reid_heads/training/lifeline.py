"""Processes that train together end together.

Where one dies, another may wait for it in a library that knows nothing of it, on a GPU for half an
hour. Each has a connection to the first one, which the system closes when a process ends, however
that happens; whose closes without a farewell has died.
"""

import contextlib
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from detectron2.utils import comm

logger = logging.getLogger(__name__)

_FAREWELL = b"."
_TOKEN_BYTES = 16
_RANK_BYTES = 4
_PATIENCE = 60.0
"""Seconds for a process to connect; all have just met when it begins."""
_DELAY = 5.0
"""Seconds from another's death to the end: the launcher tells first of what died, and why."""
_KEEPALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4}
"""Half a minute after which a machine that is off, or cut off, counts as dead."""


class Listener:
    """The first process's end: notices which other process dies."""

    def __init__(self, host: str, others: int, on_death: Callable[[int], None]):
        """Listen.

        Args:
            host: address to listen on.
            others: how many processes connect.
            on_death: called once, with the number of a process that died.
        """
        self._server = socket.create_server((host, 0))
        self._server.settimeout(_PATIENCE)
        self._others = others
        self._on_death = on_death
        self._connections: list[socket.socket] = []
        self._accepted = threading.Semaphore(0)
        self.port: int = self._server.getsockname()[1]
        self.token = secrets.token_bytes(_TOKEN_BYTES)
        """Without which nobody is listened to."""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        # Refused or closed: then nobody is watched, and training goes on as without.
        with contextlib.suppress(OSError):
            while len(self._connections) < self._others:
                connection, _ = self._server.accept()
                _keep_alive(connection)
                connection.settimeout(_PATIENCE)
                said = _read(connection, _TOKEN_BYTES + _RANK_BYTES)
                if not secrets.compare_digest(said[:_TOKEN_BYTES], self.token):
                    connection.close()
                    continue
                self._connections.append(connection)
                rank = int.from_bytes(said[_TOKEN_BYTES:], "big")
                _watch(connection, rank, self._on_death)
                self._accepted.release()

    def wait_for(self, count: int) -> None:
        """Wait until so many processes are connected: a close would cut the later ones off."""
        for _ in range(count):
            self._accepted.acquire(timeout=_PATIENCE)

    def close(self) -> None:
        """Say farewell to all."""
        self._server.close()
        for connection in self._connections:
            _leave(connection)


class Connection:
    """Another process's end: notices when the first one dies, or ends since another did."""

    def __init__(
        self, address: tuple[str, int], token: bytes, rank: int, on_death: Callable[[int], None]
    ):
        """Connect; a `Listener` has the arguments.

        Args:
            address: host and port of the first process.
            token: that it expects.
            rank: of this process.
            on_death: called once, with 0.

        Raises:
            OSError: if it does not listen there.
        """
        self._socket = socket.create_connection(address, _PATIENCE)
        _keep_alive(self._socket)
        self._socket.sendall(token + rank.to_bytes(_RANK_BYTES, "big"))
        _watch(self._socket, 0, on_death)

    def close(self) -> None:
        """Say farewell."""
        _leave(self._socket)


@contextlib.contextmanager
def lifeline(dist_url: str) -> Iterator[None]:
    """End this process a few seconds after another one of its training has died.

    Nothing happens in a training of one process. What ends the context but a ``SystemExit`` is no
    farewell.

    Args:
        dist_url: as detectron2's launcher takes it: where the first process is to be found.
    """
    if comm.get_world_size() == 1:
        yield
        return
    size, rank = comm.get_world_size(), comm.get_rank()
    # Where it is a file, the first process's own name must do.
    host = urlsplit(dist_url).hostname or ("127.0.0.1" if dist_url == "auto" else "")
    end: Listener | Connection | None = None
    if rank == 0:
        end = Listener(host if host == "127.0.0.1" else "", size - 1, _end_after)
    told = comm.all_gather(
        (host or socket.gethostname(), end.port, end.token) if isinstance(end, Listener) else None
    )[0]
    if rank > 0:
        try:
            end = Connection(told[:2], told[2], rank, _end_after)
        except OSError as error:
            logger.warning(
                "process %d cannot reach %s:%d (%s): if another process dies, it may wait for it",
                rank,
                *told[:2],
                error,
            )
    connected = comm.all_gather(end is not None)
    if isinstance(end, Listener):
        end.wait_for(sum(connected) - 1)
    try:
        yield
    except SystemExit:
        _close(end)
        raise
    _close(end)


def _close(end: Listener | Connection | None) -> None:
    if end is not None:
        end.close()


def _watch(connection: socket.socket, rank: int, on_death: Callable[[int], None]) -> None:
    connection.settimeout(None)

    def wait() -> None:
        if _read(connection, 1) != _FAREWELL:
            on_death(rank)

    threading.Thread(target=wait, daemon=True).start()


def _read(connection: socket.socket, count: int) -> bytes:
    """Read so many bytes, or fewer where the other end is gone."""
    said = b""
    with contextlib.suppress(OSError):
        while len(said) < count and (more := connection.recv(count - len(said))):
            said += more
    return said


def _leave(connection: socket.socket) -> None:
    # The other end may have left before. Its thread still reads here: a close would break that off.
    with contextlib.suppress(OSError):
        connection.sendall(_FAREWELL)
        connection.shutdown(socket.SHUT_WR)


def _keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        # Named otherwise, or missing, on other systems than Linux.
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _end_after(rank: int) -> None:
    """End this process at once: its main thread may wait in a library, for good."""
    logger.error(
        "process %d has ended, and so does this one, number %d; go on from the last checkpoint "
        "with --resume",
        rank,
        comm.get_rank(),
    )
    time.sleep(_DELAY)
    os._exit(1)
