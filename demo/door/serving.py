"""Serves the page behind the door, from a thread of its own."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import uvicorn

from ..uvicorn_parts import Server, limited_protocol
from .addresses import client_of
from .door import Door
from .settings import DoorSettings
from .traffic import sweep

SWEEP_SECONDS = 30.0
WATCH_SECONDS = 1.0


def listen(host: str, port: int | None) -> socket.socket:
    """Return a socket that listens; port None or 0 takes a free one.

    Raises:
        OSError: the port is taken, or the host is none of this machine's.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host.strip("[]"), port or 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(256)
    except BaseException:
        listener.close()
        raise
    return listener


def serve(door: Door, settings: DoorSettings, listener: socket.socket) -> Server:
    """Begin to answer what comes to a socket; `close` the server that is returned.

    Raises:
        OSError: it does not start.
    """
    limits = settings.limits

    def client(address: str) -> str:
        # Behind a proxy all connections are its own.
        return "" if address in settings.proxies else client_of({"client": (address, 0)})

    server = Server(
        uvicorn.Config(
            door,
            http=limited_protocol(
                client,
                each=limits.connections,
                most=limits.all_connections,
                head_seconds=limits.header_seconds,
            ),
            # The door itself hears proxies, and only those that it is told of.
            ws="none", proxy_headers=False, server_header=False, log_level="warning",
            h11_max_incomplete_event_size=32_768, timeout_graceful_shutdown=2,
        )
    )  # fmt: skip
    server.run_in_thread(listener)
    return server


def housekeeping(uploads: Path, kept_seconds: float, watch: Callable[[], None]) -> Callable:
    """Return the lifespan of a server during which it deletes forgotten uploads.

    Args:
        uploads: folder of them.
        kept_seconds: after which they are forgotten.
        watch: called every second.
    """

    async def sweep_on() -> None:
        while True:
            await anyio.to_thread.run_sync(sweep, uploads, kept_seconds)
            await asyncio.sleep(SWEEP_SECONDS)

    async def watch_on() -> None:
        while True:
            watch()
            await asyncio.sleep(WATCH_SECONDS)

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(sweep_on()), asyncio.create_task(watch_on())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return lifespan
