"""What the page uses of uvicorn beyond its public interface: connections, before requests."""

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import uvicorn

from reid_heads.library_parts import Library

UVICORN = Library(
    "uvicorn",
    known="0.54.0",
    adapter="demo/uvicorn_parts.py",
    install="pip install uvicorn==0.54.0",
)
_START_SECONDS = 30.0
_Protocol: Any = UVICORN.part("uvicorn.protocols.http.h11_impl", "H11Protocol")


class Server(uvicorn.Server):
    """A server in a thread of its own."""

    def run_in_thread(self, listener: socket.socket) -> None:
        """Begin to serve; return when requests are answered.

        Raises:
            OSError: it does not start.
        """
        self._thread = threading.Thread(target=self.run, args=([listener],), daemon=True)
        self._thread.start()
        ends = time.monotonic() + _START_SECONDS
        while not self.started:
            if not self._thread.is_alive() or time.monotonic() > ends:
                raise OSError("the page's server does not start; its log says why")
            time.sleep(0.005)

    def is_alive(self) -> bool:
        """Say whether it serves."""
        return self._thread.is_alive()

    def close(self) -> None:
        """End what is being answered, and the thread."""
        self.should_exit = True
        self._thread.join(timeout=10)


def limited_protocol(
    client_of: Callable[[str], str], *, each: int, most: int, head_seconds: float
) -> Any:
    """Return a class of connections that are few for each client, and do not idle before a request.

    Args:
        client_of: the client of an address; "" for one whose connections are not counted, such as
            a proxy's.
        each: connections of a client at a time; more are closed unread.
        most: connections of all.
        head_seconds: in which the head of a request must have come.
    """
    for name in ("connection_made", "connection_lost", "data_received", "on_response_complete"):
        UVICORN.part(_Protocol, name)
    open_now: Counter[str] = Counter()

    class Limited(_Protocol):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.client_key = client_of((self.client or ("", 0))[0])
            open_now[self.client_key] += 1
            self.head_timer: asyncio.TimerHandle | None = None
            is_crowded = self.client_key and open_now[self.client_key] > each
            if is_crowded or open_now.total() > most:
                transport.abort()
            else:
                self.watch_head()

        def connection_lost(self, exc: Exception | None) -> None:
            open_now[self.client_key] -= 1
            if open_now[self.client_key] <= 0:
                del open_now[self.client_key]
            self.stop_watching()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            super().data_received(data)
            if self.is_idle():
                self.watch_head()
            else:
                self.stop_watching()

        def is_idle(self) -> bool:
            # Also while the rest of a body comes that nobody reads.
            return self.cycle is None or self.cycle.response_complete

        def watch_head(self) -> None:
            if self.head_timer is None:
                self.head_timer = self.loop.call_later(head_seconds, self.end_idle)

        def stop_watching(self) -> None:
            if self.head_timer is not None:
                self.head_timer.cancel()
                self.head_timer = None

        def end_idle(self) -> None:
            self.head_timer = None
            if self.is_idle() and not self.transport.is_closing():
                self.transport.close()

    return Limited
