"""Connections to one gallery file, and what goes wrong with them in words.

Readers see the file as it was when their transaction began, beside one writer, from any number of
processes; writers take turns. What was committed is on the disk (``synchronous`` is FULL).
"""

import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from person_search.gallery import schema
from person_search.gallery.errors import GalleryError
from person_search.gallery.file_faults import (
    BUSY_SECONDS,
    OPENING,
    check_content,
    check_line,
    explain,
    identify,
    index_line,
    name_holders,
    refuse_leftovers,
)
from person_search.gallery.turns import begin_writing, write_anew

_POOL = 8
# A process that closes any descriptor of a file loses all its locks on it (POSIX): SQLite's, too,
# so that another process would take the log away. What is open here is opened by SQLite alone.
_opening = threading.RLock()
_in_use: Counter[tuple[int, int] | None] = Counter()
_SETTINGS = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",
    "PRAGMA synchronous = FULL",
    "PRAGMA temp_store = MEMORY",  # nothing of the rows in temporary files
    "PRAGMA cache_size = -4096",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
)


class Database:
    """A gallery file that is open; threads may share it."""

    def __init__(self, path: Path, make: bool = False) -> None:
        """Open a file.

        Args:
            path: Ends in ``.db``.
            make: Make it where it is not there.

        Raises:
            GalleryError: If that is not possible.
        """
        self.path = Path(path).expanduser().absolute()
        # Where a symbolic link leads; SQLite keeps what lies beside a gallery there.
        self.real_path = self.path.resolve()
        self._lock = threading.RLock()
        self._pool: list[sqlite3.Connection] = []
        self._is_open = True
        self._identity: tuple[int, int] | None = None
        self._beside: dict[str, tuple[int, int] | None] = {}
        with _opening:
            check_file(self.path, must_exist=not make)
            with self.explaining(OPENING):
                # Never used again, but open: with the last one SQLite removes the log.
                self._anchor = self._connect("rwc" if make else "rw", make)
                self._identity = identify(self.path)
            _in_use[self._identity] += 1
        try:
            self.check_same()
        except GalleryError:
            self.close()
            raise

    def close(self) -> None:
        """Close all connections; again does nothing."""
        with self._lock, _opening:
            if self._is_open:
                _in_use[self._identity] -= 1
            self._is_open = False
            self._pool.append(self._anchor)
            self._drain()

    @contextmanager
    def reading(self, doing: str = "reading") -> Iterator[sqlite3.Connection]:
        """Give a connection inside a transaction that sees one state of the file.

        Raises:
            GalleryError: If it fails, or the file is no longer the one that was opened.
        """
        with self._using(doing) as connection:
            self.check_same()
            connection.execute("BEGIN")
            yield connection

    @contextmanager
    def writing(self, doing: str) -> Iterator[sqlite3.Connection]:
        """Give a connection inside a transaction that is committed at the end, or undone.

        Writers take turns; see `begin_writing` for how long one waits.

        Raises:
            GalleryError: Likewise; then nothing of it is stored.
        """
        with self._lock, self._using(doing) as connection:
            begin_writing(connection, self.real_path, BUSY_SECONDS)
            self.check_same()
            yield connection
            self.check_same()
            connection.execute("COMMIT")

    @contextmanager
    def outside(self, doing: str) -> Iterator[sqlite3.Connection]:
        """Give a connection without a transaction, with no writer of this process beside it."""
        with self._lock, self._using(doing) as connection:
            self.check_same()
            yield connection

    @contextmanager
    def afresh(self, doing: str) -> Iterator[sqlite3.Connection]:
        """Open the path anew, as another program would, to read back what it will find there."""
        with self.explaining(doing):
            connection = self._open("ro")
            try:
                yield connection
            finally:
                connection.close()
            self.check_same()

    @contextmanager
    def alone(self, doing: str) -> Iterator[sqlite3.Connection]:
        """Give the only connection that any process has; afterwards this is of no more use.

        The file has no log meanwhile, so that another one can take its place.

        Raises:
            GalleryError: If other processes have the file open.
        """
        with self._lock, self.explaining(doing):
            self._pool.append(self._anchor)
            self._drain()
            self._beside.clear()
            connection = self._open("rw")
            try:
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
                if not _is_alone(connection):
                    raise GalleryError(
                        f"other processes have {self.path} open{name_holders(self.path)}; end "
                        "them, and run the same again"
                    )
                connection.execute("BEGIN EXCLUSIVE")
                yield connection
            finally:
                connection.close()

    def compact(self) -> None:
        """Write the file anew without the bytes of what was deleted, and empty the log.

        SQLite overwrites what is deleted, but moving rows from page to page leaves copies behind.
        Others read meanwhile, and writers wait.

        Raises:
            GalleryError: If there is no room for a second copy, or other processes read all along.
        """
        with self.outside("removing the bytes of what was deleted") as connection:
            is_done = write_anew(connection, self.real_path, BUSY_SECONDS)
        if not is_done:
            raise GalleryError(
                f"other processes read {self.path} all along{name_holders(self.path)}, and its log "
                "can be emptied only when they have ended"
            )

    def num_bytes(self) -> int:
        """Return the size of the file with its log."""
        files = (self.path, self.real_path.with_name(f"{self.real_path.name}-wal"))
        return sum(f.stat().st_size for f in files if f.exists())

    def check_same(self) -> None:
        """Refuse to go on where the path, or a file beside it, is not what was opened.

        Raises:
            GalleryError: Saying so.
        """
        real = self.real_path
        beside = {end: real.with_name(f"{real.name}{end}") for end in ("-wal", "-shm")}
        try:
            found = identify(self.path)
            found_beside = {end: identify(file) for end, file in beside.items()}
        except OSError as error:
            raise GalleryError(
                f"the gallery {self.path} cannot be reached any more: {error.strerror}; set that "
                "right and run the same again, what was stored before is intact"
            ) from error
        if found is None:
            raise GalleryError(
                f"the gallery {self.path} is no longer there: it was moved or deleted while it was "
                "open; bring it back, with the files beside it that begin with its name, and run "
                "the same again"
            )
        if found != self._identity:
            raise GalleryError(
                f"the gallery {self.path} was replaced by another file while it was open; see "
                "which of them is wanted, and run the same again"
            )
        # What is committed but in the log alone, and the memory in which processes share its index.
        for end, file in beside.items():
            if found_beside[end] != self._beside.setdefault(end, found_beside[end]):
                raise GalleryError(
                    f"{file}, which belongs to the gallery, was moved, deleted or replaced while "
                    f"it was open; run the same again, then: {check_line(self.path)}"
                )

    @contextmanager
    def explaining(self, doing: str) -> Iterator[None]:
        """Turn SQLite's errors into GalleryErrors that say what to do."""
        if not self._is_open:
            raise GalleryError(f"the gallery {self.path} is closed; open it again")
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if self._identity is not None:
                self.check_same()
            raise GalleryError(explain(error, self.path, doing)) from error

    @contextmanager
    def _using(self, doing: str) -> Iterator[sqlite3.Connection]:
        with self.explaining(doing):
            connection = self._take()
            try:
                yield connection
            except BaseException:
                with suppress(sqlite3.Error):
                    connection.rollback()
                # What is wrong with it is not carried on.
                connection.close()
                raise
            connection.rollback()
            self._pool.append(connection)
            if not self._is_open or len(self._pool) > _POOL:
                self._drain()

    def _drain(self) -> None:
        """Close the connections that nobody uses."""
        with suppress(IndexError):
            while True:
                with suppress(sqlite3.Error):
                    self._pool.pop().close()

    def _take(self) -> sqlite3.Connection:
        with suppress(IndexError):
            return self._pool.pop()
        return self._connect("rw")

    def _open(self, mode: str) -> sqlite3.Connection:
        location = f"file:{quote(os.fsencode(self.path))}?mode={mode}"
        connection = sqlite3.connect(
            location, BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True
        )
        # Damaged text is told by the checksum of its row.
        connection.text_factory = lambda text: text.decode(errors="replace")
        return connection

    def _connect(self, mode: str, make: bool = False) -> sqlite3.Connection:
        connection = self._open(mode)
        try:
            if make:
                connection.execute(f"PRAGMA page_size = {schema.PAGE_BYTES}")
            for setting in _SETTINGS:
                connection.execute(setting)
            if self._identity is None:
                schema.migrate(connection)
                _write_ahead(connection, self.path)
        except BaseException:
            connection.close()
            raise
        return connection


def check_file(path: Path, must_exist: bool) -> None:
    """Refuse, before SQLite touches it, a file that is no gallery.

    Raises:
        GalleryError: With what to do.
    """
    if path.suffix != ".db":
        raise GalleryError(
            f"gallery {path}: expected a file ending in .db, or http://host:port of a server"
        )
    if not path.parent.is_dir():
        raise GalleryError(f"gallery {path}: there is no folder {path.parent}; make it first")
    if path.exists():
        with _opening:
            if not _in_use[identify(path)]:
                check_content(path, must_exist)
    elif must_exist:
        raise GalleryError(f"there is no gallery {path}; make one with: {index_line(path)}")
    else:
        refuse_leftovers(path)


def _write_ahead(connection: sqlite3.Connection, path: Path) -> None:
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            # For this lock SQLite does not wait, and a new file may be opened by others, too.
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    if mode != "wal":
        raise GalleryError(
            f"the file system of {path} does not allow a gallery (it lacks shared memory, as "
            "network folders do); choose a folder on a disk of this machine"
        )
    # Opens the log, which is then there as long as this connection.
    connection.execute("SELECT count(*) FROM galleries").fetchone()


def _is_alone(connection: sqlite3.Connection) -> bool:
    connection.execute("PRAGMA busy_timeout = 2000")
    try:
        mode = connection.execute("PRAGMA journal_mode = DELETE").fetchone()[0]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname.startswith("SQLITE_BUSY"):
            return False
        raise
    return bool(mode == "delete")
