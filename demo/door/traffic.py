"""How much of each client is under way, and what uploads leave behind."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from .bodies import Refused
from .settings import FILE_COUNTS_AS, Limits

BUSY = {"retry-after": "5"}


class Traffic:
    """Requests and uploads under way, by client; of one thread."""

    def __init__(self, limits: Limits) -> None:
        """Count up to these limits."""
        self._limits = limits
        self._requests: Counter[str] = Counter()
        self._uploads: dict[str, tuple[asyncio.Semaphore, int]] = {}
        self._kept: dict[str, list[Path]] = {}

    @contextmanager
    def request(self, client: str) -> Iterator[None]:
        """Count a request while it is answered.

        Raises:
            Refused: 429, the client has too many under way.
        """
        if self._requests[client] >= self._limits.requests:
            raise Refused(
                429, f"more than {self._limits.requests} of your requests are under way", BUSY
            )
        self._requests[client] += 1
        try:
            yield
        finally:
            self._requests[client] -= 1
            if not self._requests[client]:
                del self._requests[client]

    @asynccontextmanager
    async def upload(self, client: str) -> AsyncIterator[None]:
        """Wait for a turn among a client's uploads.

        Raises:
            Refused: 429, those before it do not end.
        """
        turns, count = self._uploads.get(client, (asyncio.Semaphore(self._limits.uploads), 0))
        self._uploads[client] = turns, count + 1
        try:
            try:
                await asyncio.wait_for(turns.acquire(), 2 * self._limits.idle_seconds)
            except TimeoutError:
                raise Refused(
                    429, f"{self._limits.uploads} of your uploads are under way", BUSY
                ) from None
            try:
                yield
            finally:
                turns.release()
        finally:
            turns, count = self._uploads[client]
            if count > 1:
                self._uploads[client] = turns, count - 1
            else:
                del self._uploads[client]

    def keep(self, client: str, files: Iterable[Path]) -> None:
        """Remember whose files lie in the folder of uploads now."""
        self._kept.setdefault(client, []).extend(files)

    def check_kept(self, client: str) -> None:
        """Refuse a client whose uploads that nobody has used yet are too many.

        Raises:
            Refused: 429.
        """
        sizes = {}
        for file in self._kept.pop(client, []):
            with suppress(OSError):
                sizes[file] = max(file.lstat().st_size, FILE_COUNTS_AS)
        if sizes:
            self._kept[client] = list(sizes)
        if sum(sizes.values()) > self._limits.kept_bytes_each:
            raise Refused(
                429, f"{len(sizes)} of your uploads wait to be used; use them, or try again in "
                "some minutes", BUSY,
            )  # fmt: skip


def kept_bytes(folder: Path) -> int:
    """Return how many bytes lie in the folder of uploads."""
    return sum(size for _, size, _ in _files(folder))


def sweep(folder: Path, seconds: float) -> int:
    """Delete the uploads that nobody has touched for so long, and what was left of broken ones.

    Returns:
        How many.
    """
    now, gone = time.time(), 0
    for file, _, changed in list(_files(folder)):
        if now - changed > seconds:
            with suppress(OSError):
                file.unlink()
                gone += 1
                file.parent.rmdir()  # one folder an upload; others stay, as they are not empty
    return gone


def _files(folder: Path) -> Iterator[tuple[Path, int, float]]:
    for file in folder.rglob("*"):
        with suppress(OSError):
            said = file.lstat()
            if not file.is_dir():
                yield file, said.st_size, said.st_mtime
