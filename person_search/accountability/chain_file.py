"""A file of chained entries, one a line, to which several processes append.

An entry is on the disk when `ChainFile.append` returns. A process that is killed leaves at most
one unfinished line at the end; the next writer ends that line, says so in its own entry, and goes
on from the last whole entry. Nothing that was written is ever changed, but for `ChainFile.cut`.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from person_search.accountability.entries import (
    BEGIN,
    Entry,
    NotAnEntryError,
    read_line,
    seal,
    to_line,
)
from person_search.accountability.errors import LogError
from reid_heads.unfinished import unfinished

ANCHOR = "anchor"
"""Action of the first line of a file whose oldest entries were removed."""
CUT = "cut"
"""Action of the entry that says so, at the end of the chain as it was then."""
_WINDOW = 1 << 16


class Known(NamedTuple):
    """The last entry that somebody else knows of."""

    seq: int
    hash: str


class _Tail(NamedTuple):
    """The end of a file."""

    last: Entry | None
    """The last whole entry."""

    rest: bytes
    """What follows it, which is none."""


class ChainFile:
    """A chain in a file; threads and processes may share it."""

    def __init__(self, path: Path, mode: int = 0o600) -> None:
        """Touch nothing yet.

        Args:
            path: Of the file.
            mode: Who may read and write it, where it is made.
        """
        self.path, self._mode = path, mode

    def exists(self) -> bool:
        """Say whether there is a file."""
        return self.path.exists()

    def has_bytes(self) -> bool:
        """Say whether there is a file with anything in it."""
        return self.path.exists() and self.path.stat().st_size > 0

    def check_writable(self) -> None:
        """Refuse to go on where no entry can be written.

        Raises:
            LogError: Saying why.
        """
        with self._explaining("written"):
            if self.exists():
                os.close(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))

    def last(self) -> Entry | None:
        """Return the last whole entry, None without one.

        Raises:
            LogError: The file cannot be read.
        """
        with self._explaining("read"):
            try:
                file = os.open(self.path, os.O_RDONLY)
            except (FileNotFoundError, NotADirectoryError):
                return None
            try:
                return _read_tail(file).last
            finally:
                os.close(file)

    def append(
        self,
        content: Entry,
        known: Known | None = None,
        then: Callable[[Entry], None] | None = None,
    ) -> Entry:
        """Write an entry; it is on the disk when this returns.

        Args:
            content: What it says, with its ``action``.
            known: The last entry that somebody else knows of; if the file ends before it, the new
                entry says so, as ``missing``.
            then: Called with the entry before another process may append.

        Raises:
            LogError: The file cannot be written; nothing is written then.
        """
        with self._explaining("written"), self._locked(make=True) as file:
            return self._append(file, content, known, then)

    def lines(self) -> Iterator[bytes]:
        """Yield the lines with their ends, which the last one may lack.

        Raises:
            LogError: The file cannot be read.
        """
        with self._explaining("read"), self.path.open("rb") as file:
            yield from file

    def entries(self) -> Iterator[Entry]:
        """Yield the entries that are as they were written, without the anchor, in their order."""
        for line in self.lines():
            with suppress(NotAnEntryError):
                entry = read_line(line)
                if entry["action"] != ANCHOR:
                    yield entry

    def cut(
        self,
        is_old: Callable[[Entry], bool | None],
        content: Entry,
        anchor: Entry,
        then: Callable[[Entry], None] | None = None,
    ) -> int:
        """Remove the oldest entries, all up to the first one that is not old.

        First an entry with ``content`` is written that names the last one removed, then the file
        anew, with an anchor in place of what is gone. Stopped in between, the same again goes on.

        Args:
            is_old: Whether an entry is to be removed; None for one that goes with the next one of
                which that is known.
            content: What the entry says that is written; gets ``through`` and ``removed``.
            anchor: What the anchor says besides.
            then: As of `append`.

        Returns:
            How many entries were removed; of none nothing is written.

        Raises:
            LogError: The file cannot be written.
        """
        with self._explaining("written"), self._locked(make=False) as file:
            old = _oldest(self.path, is_old)
            if not old.removed or old.last is None:
                return 0
            through = {"seq": old.last["seq"], "hash": old.last["hash"]}
            said = {**content, "action": CUT, "through": through, "removed": old.removed}
            self._append(file, said, None, then)
            line = to_line(seal({**anchor, "action": ANCHOR}, through["seq"], through["hash"]))
            self._replace(line, old.end)
            return old.removed

    def _append(
        self,
        file: int,
        content: Entry,
        known: Known | None,
        then: Callable[[Entry], None] | None,
    ) -> Entry:
        size, tail = os.fstat(file).st_size, _read_tail(file)
        seq, previous = -1, BEGIN
        if tail.last is not None:
            seq, previous = tail.last["seq"], tail.last["hash"]
            if known is not None and known.seq > seq:
                content = {**content, "missing": known._asdict()}
        elif known is not None:
            # Nothing is left: the chain goes on where it was, so that its beginning is missed.
            seq, previous = known
        start = b""
        if tail.rest:
            start = b"" if tail.rest.endswith(b"\n") else b"\n"
            broken = {
                "bytes": len(tail.rest),
                "sha256": hashlib.sha256(tail.rest).hexdigest(),
                "is_unfinished": start != b"",
            }
            content = {**content, "broken": broken}
        entry = seal(content, seq + 1, previous)
        try:
            _write(file, start + to_line(entry))
            os.fsync(file)
        except OSError:
            # Nobody was told of it. Where the file may only grow, the next writer ends the line.
            with suppress(OSError):
                os.ftruncate(file, size)
            raise
        if then is not None:
            then(entry)
        return entry

    def _replace(self, anchor: bytes, start: int) -> None:
        """Write the file anew: an anchor, then what stands from a place on."""
        with unfinished(self.path) as temporary:
            with self.path.open("rb") as source, temporary.open("wb") as target:
                os.fchmod(target.fileno(), os.fstat(source.fileno()).st_mode & 0o777)
                target.write(anchor)
                source.seek(start)
                while part := source.read(1 << 20):
                    target.write(part)
                target.flush()
                os.fsync(target.fileno())
            os.replace(temporary, self.path)
            _sync_folder(self.path.parent)

    @contextmanager
    def _locked(self, make: bool) -> Iterator[int]:
        """Open the file with nobody else writing into it."""
        while True:
            is_new = make and not self.path.exists()
            flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT if make else 0)
            file = os.open(self.path, flags, self._mode)
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                # Another process may have cut the file, which is another one then.
                if not _is_same(file, self.path):
                    continue
                if is_new:
                    os.fchmod(file, self._mode)  # whatever the umask says
                    _sync_folder(self.path.parent)
                yield file
                return
            finally:
                os.close(file)

    @contextmanager
    def _explaining(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise LogError(
                f"the log {self.path} cannot be {doing} ({error.strerror}), and nothing is done "
                "that it would not say; set that right, or let somebody who may switch it off: "
                "person-search log off"
            ) from error


class _Oldest(NamedTuple):
    """The entries at the beginning of a file that are old."""

    removed: int
    last: Entry | None
    end: int
    """Where the line after the last of them begins, bytes."""


def _oldest(path: Path, is_old: Callable[[Entry], bool | None]) -> _Oldest:
    found = _Oldest(0, None, 0)
    place, count = 0, 0
    with path.open("rb") as file:
        for line in file:
            place += len(line)
            try:
                entry = read_line(line)
            except NotAnEntryError:
                continue
            if entry["action"] == ANCHOR:
                continue
            count += 1
            is_entry_old = is_old(entry)
            if is_entry_old:
                found = _Oldest(count, entry, place)
            elif is_entry_old is not None:
                break
    return found


def _read_tail(file: int) -> _Tail:
    size, window = os.fstat(file).st_size, _WINDOW
    while True:
        start = max(0, size - window)
        data = _read(file, start, size - start)
        end = len(data)
        # From the end: what is no entry, then the last line that is one.
        lines = data.split(b"\n")
        first = 1 if start else 0  # the first one may have begun before
        for place in range(len(lines) - 2, first - 1, -1):
            end = sum(len(line) + 1 for line in lines[: place + 1])
            with suppress(NotAnEntryError):
                return _Tail(read_line(lines[place] + b"\n"), data[end:])
        if start == 0:
            return _Tail(None, data)
        window *= 8


def _read(file: int, start: int, count: int) -> bytes:
    parts = []
    while count > 0 and (part := os.pread(file, count, start)):
        parts.append(part)
        start, count = start + len(part), count - len(part)
    return b"".join(parts)


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _is_same(file: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(file)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _sync_folder(folder: Path) -> None:
    """Let the name of a new file outlast a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
