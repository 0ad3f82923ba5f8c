"""What the door is told: names, proxies, and how much one client may do."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9}


FILE_COUNTS_AS = 250_000
"""Bytes: so that there are not too many small ones."""


@dataclass(frozen=True)
class Limits:
    """How much is taken, each before any work is done with it. A client is an address."""

    json_bytes: int = 1_000_000
    """Of a request that is no upload."""

    login_bytes: int = 4_000
    file_bytes: int = 20_000_000
    """Of one uploaded file."""

    files: int = 64
    """Of one upload."""

    files_bytes: int = 8 * 20_000_000
    """Of one upload in all."""

    kept_bytes: int = 2_000_000_000
    """Of uploads of all clients that nobody has used yet."""

    kept_bytes_each: int = 500_000_000
    """Likewise, of one client; a file counts as `FILE_COUNTS_AS` at least."""

    kept_seconds: float = 900.0
    """After which an upload that nobody has used is deleted."""

    uploads: int = 8
    """Of a client at a time; more wait for their turn."""

    requests: int = 192
    """Of a client at a time."""

    connections: int = 256
    """Of a client at a time; more are closed unread."""

    all_connections: int = 2_000
    """Of all clients at a time."""

    header_seconds: float = 10.0
    """In which the head of a request must have come."""

    idle_seconds: float = 15.0
    """That a body may pause, or an upload wait for its turn."""

    upload_seconds: float = 900.0
    """In which a whole body must have come."""

    waiting: int = 64
    """Requests of a client that wait for the model or a gallery: half of what may wait in all."""

    def for_files(self, file_bytes: int) -> "Limits":
        """Return these limits with another largest file."""
        return Limits(file_bytes=file_bytes, files_bytes=8 * file_bytes)


@dataclass(frozen=True)
class DoorSettings:
    """Where the page is served, and under which names."""

    host: str = "127.0.0.1"
    """Address listened on."""

    allowed_hosts: Sequence[str] = ()
    """Names besides those of this computer, each with a port where that is not the usual one."""

    proxies: Sequence[str] = ()
    """Addresses of proxies whose word on address, scheme and host of a request counts."""

    limits: Limits = field(default_factory=Limits)


def parse_bytes(text: str | int) -> int:
    """Read a size such as ``20mb`` as bytes.

    Raises:
        ValueError: it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmg]?b?)\s*", str(text).lower())
    unit = None if found is None else _UNITS.get(found[2])
    if found is None or unit is None or float(found[1]) * unit < 1:
        raise ValueError(f"got {text!r} as a size; expected a number with kb, mb or gb, as 20mb")
    return int(float(found[1]) * unit)
