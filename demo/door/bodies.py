"""What a request brings along, counted while it comes: too much, or too slow, is not read on."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from .settings import Limits

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]


class Refused(Exception):
    """A request that goes no further."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None):
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})


def check_length(headers: Mapping[str, str], most: int) -> None:
    """Refuse a request that says itself that it is too large.

    Raises:
        Refused: 413, or 400 where what it says is no length.
    """
    said = headers.get("content-length")
    if said is None:
        return
    if not re.fullmatch(r"[0-9]{1,18}", said):
        raise Refused(400, "the length of the request is no number")
    if int(said) > most:
        raise _too_large(most)


async def read_body(receive: Receive, most: int, limits: Limits) -> bytes:
    """Read a whole body.

    Raises:
        Refused: 413 where it is larger than ``most`` bytes, 408 where it comes too slowly.
    """
    body = bytearray()
    ends = time.monotonic() + 2 * limits.idle_seconds
    while True:
        message = await _next(receive, limits, ends)
        if message["type"] != "http.request":
            raise Refused(400, "the request ended before its body did")
        body += message.get("body", b"")
        if len(body) > most:
            raise _too_large(most)
        if not message.get("more_body"):
            return bytes(body)


def replay(body: bytes, receive: Receive) -> Receive:
    """Return what hands on a body that was read, and then what follows."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_again


class Upload:
    """A body of files on its way; what reads it sees a client that went away where it is too much.

    Args:
        receive: gives the next piece.
        boundary: between the files.
        limits: how much.
    """

    def __init__(self, receive: Receive, boundary: bytes, limits: Limits) -> None:
        self._receive, self._limits = receive, limits
        self._mark, self._tail = b"--" + boundary, b""
        self._size = self._parts = 0
        self._ends = time.monotonic() + limits.upload_seconds
        self._is_whole = False
        self.refused: Refused | None = None
        """Why it was not read on."""

    async def receive(self) -> Message:
        """Give the next piece (ASGI)."""
        if self._is_whole:
            return await self._receive()
        try:
            if self.refused is not None:
                raise self.refused
            message = await _next(self._receive, self._limits, self._ends)
            if message["type"] == "http.request":
                self._count(message.get("body", b""))
                self._is_whole = not message.get("more_body")
        except Refused as refused:
            self.refused = refused
            return {"type": "http.disconnect"}
        return message

    def _count(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limits.files_bytes + self._limits.json_bytes:
            raise _too_large(self._limits.files_bytes)
        seen = self._tail + piece
        self._parts += seen.count(self._mark)
        # A mark that two pieces share is counted with the second one.
        self._tail = seen[-(len(self._mark) - 1) :]
        # The last mark ends the body.
        if self._parts > self._limits.files + 1:
            raise Refused(
                413, f"more than {self._limits.files} files at once; send them in several uploads"
            )


def boundary_of(content_type: str) -> bytes:
    """Return what lies between the files of an upload.

    Raises:
        Refused: 415 where it is no upload.
    """
    found = re.fullmatch(
        r"multipart/form-data\s*;.*\bboundary=(?:\"([^\"]{1,70})\"|([^\s;\"]{1,70})).*",
        content_type,
        re.IGNORECASE,
    )
    if found is None:
        raise Refused(415, "expected files as multipart/form-data")
    return (found[1] or found[2]).encode("latin-1")


def read_json(body: bytes) -> dict[str, Any]:
    """Read a body as a JSON object.

    Raises:
        Refused: 400, it is none.
    """
    try:
        said = json.loads(body)
    except ValueError:
        raise Refused(400, "the request is no JSON") from None
    # Too deep for the reader, which recurses.
    except RecursionError:
        raise Refused(400, "the request is nested too deeply") from None
    if not isinstance(said, dict):
        raise Refused(400, "the request is no JSON object")
    return said


async def _next(receive: Receive, limits: Limits, ends: float) -> Message:
    patience = min(limits.idle_seconds, ends - time.monotonic())
    try:
        return await asyncio.wait_for(receive(), max(patience, 0.0))
    except TimeoutError:
        raise Refused(
            408, "the request came too slowly; send it again", {"connection": "close"}
        ) from None


def _too_large(most: int) -> Refused:
    # What still comes is not read.
    return Refused(
        413, f"the request is too large; expected at most {most:,} bytes", {"connection": "close"}
    )
