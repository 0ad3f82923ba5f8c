"""Connections to one gallery file, and what goes wrong with them in words.

Readers see the file as it was when their transaction began, beside one writer, from any number of
processes; writers take turns. What was committed is on the disk (``synchronous`` is FULL).
"""

import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from person_search.gallery import schema
from person_search.gallery.errors import GalleryError

BUSY_SECONDS = 30.0
"""How long to wait for another process's transaction; ours take some milliseconds each."""
_HEADER = b"SQLite format 3\0"
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
        self._lock = threading.RLock()
        self._pool: list[sqlite3.Connection] = []
        self._is_open = True
        self._identity: tuple[int, int] | None = None
        self._log_identity: tuple[int, int] | None = None
        with _opening:
            check_file(self.path, must_exist=not make)
            with self.explaining("opening it"):
                # Never used again, but open: with the last one SQLite removes the log.
                self._anchor = self._connect("rwc" if make else "rw", make)
                self._identity = _identify(self.path)
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
            for connection in [*self._pool, self._anchor]:
                with suppress(sqlite3.Error):
                    connection.close()
            self._pool.clear()

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

        Raises:
            GalleryError: Likewise; then nothing of it is stored.
        """
        with self._lock, self._using(doing) as connection:
            connection.execute("BEGIN IMMEDIATE")
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

    def compact(self) -> None:
        """Write the file anew without the bytes of what was deleted, and empty the log.

        SQLite overwrites what is deleted, but moving rows from page to page leaves copies behind.

        Raises:
            GalleryError: If there is no room for a second copy, or other processes read all along.
        """
        with self.outside("removing the bytes of what was deleted") as connection:
            # Of what stays, in a temporary file; a large gallery does not fit into memory.
            connection.execute("PRAGMA temp_store = FILE")
            connection.execute("VACUUM")
            connection.execute("PRAGMA temp_store = MEMORY")
            is_busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if is_busy:
            raise GalleryError(
                f"other processes read {self.path} all along, so that its log still has bytes of "
                "what was removed; when they have ended, run: person-search check --repair"
            )

    def num_bytes(self) -> int:
        """Return the size of the file with its log."""
        files = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        return sum(f.stat().st_size for f in files if f.exists())

    def check_same(self) -> None:
        """Refuse to go on where the path, or the log beside it, is not what was opened.

        Raises:
            GalleryError: Saying so.
        """
        log = self.path.with_name(f"{self.path.name}-wal")
        found, found_log = _identify(self.path), _identify(log)
        self._log_identity = self._log_identity or found_log
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
        if found_log != self._log_identity:
            raise GalleryError(
                f"{log}, which belongs to the gallery, was moved, deleted or replaced while it was "
                "open; run the same again, then: person-search check"
            )

    @contextmanager
    def explaining(self, doing: str) -> Iterator[None]:
        """Turn SQLite's errors into GalleryErrors that say what to do."""
        if not self._is_open:
            raise GalleryError(f"the gallery {self.path} is closed; open it again")
        try:
            yield
        except sqlite3.Error as error:
            if self._identity is not None:
                self.check_same()
            raise GalleryError(f"{self._explain(error)} (while {doing}: {error})") from error

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
            if self._is_open and len(self._pool) < _POOL:
                self._pool.append(connection)
            else:
                connection.close()

    def _take(self) -> sqlite3.Connection:
        with suppress(IndexError):
            return self._pool.pop()
        return self._connect("rw")

    def _open(self, mode: str) -> sqlite3.Connection:
        location = f"file:{quote(os.fsencode(self.path))}?mode={mode}"
        return sqlite3.connect(
            location, BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True
        )

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

    def _explain(self, error: sqlite3.Error) -> str:
        code = getattr(error, "sqlite_errorname", "")
        path = self.path
        if code.startswith("SQLITE_FULL"):
            return (
                f"the disk of {path} is full; free some space and run the same again, what was "
                "stored before is intact"
            )
        if code.startswith("SQLITE_BUSY"):
            return (
                f"another process has been writing into {path} for {BUSY_SECONDS:.0f} s"
                f"{_holders(path)}; wait for it, or end it"
            )
        if code.startswith(("SQLITE_READONLY", "SQLITE_PERM")):
            return f"{path} or its folder is read-only; allow writing, or copy it elsewhere"
        if code.startswith(("SQLITE_CANTOPEN", "SQLITE_AUTH")):
            return f"{path} cannot be opened{_why_not(path)}"
        if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return f"{path} is damaged; see what can be saved: person-search check {path.name}"
        if code.startswith("SQLITE_IOERR"):
            return (
                f"the disk of {path} failed, or is full{_why_not(path)}; what was reported as "
                "stored before is intact as far as the disk is: person-search check says so"
            )
        return f"the gallery {path} cannot be used"


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
            if not _in_use[_identify(path)]:
                _check_content(path)
    elif must_exist:
        raise GalleryError(
            f"there is no gallery {path}; make one with: person-search index FOLDER "
            f"--gallery {path.name}"
        )


def _check_content(path: Path) -> None:
    if not path.is_file():
        raise GalleryError(f"gallery {path}: not a file; give the path of a file ending in .db")
    try:
        with path.open("rb") as file:
            header = file.read(100)
            rest = file.read(2**16)
    except OSError as error:
        raise GalleryError(f"gallery {path} cannot be read: {error.strerror}") from error
    if not header:
        return
    if header.startswith(_HEADER) and b"collection_meta" in rest:
        raise GalleryError(
            f"{path} was made by an earlier version, whose engine (Milvus Lite) is no longer used; "
            f"index the footage again, into another file: person-search index FOLDER --gallery "
            f"{path.stem}_2.db"
        )
    mark = int.from_bytes(header[68:72], "big")
    if not header.startswith(_HEADER) or mark != schema.APPLICATION_ID:
        raise GalleryError(
            f"{path} is not a gallery but some other file, or its beginning is damaged; it was "
            "left as it is, choose another"
        )


def _write_ahead(connection: sqlite3.Connection, path: Path) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise GalleryError(
            f"the file system of {path} does not allow a gallery (it lacks shared memory, as "
            "network folders do); choose a folder on a disk of this machine"
        )
    # Opens the log, which is then there as long as this connection.
    connection.execute("SELECT count(*) FROM galleries").fetchone()


def _identify(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a file, None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _why_not(path: Path) -> str:
    """Say what about the disk explains that a file cannot be opened or written, where it shows."""
    for wanted, mode in ((path.parent, os.W_OK | os.X_OK), (path, os.R_OK | os.W_OK)):
        if wanted.exists() and not os.access(wanted, mode):
            return f": {wanted} may not be read or written by you; change its permissions"
    with suppress(OSError, AttributeError):
        disk = os.statvfs(path.parent)
        if disk.f_files and not disk.f_favail:
            return ": the disk has no inodes left for another file; remove some files"
        if disk.f_bavail * disk.f_frsize < 2**20:
            return ": the disk is full; free some space"
    return ""


def _holders(path: Path) -> str:
    """Name the processes of this machine that have a file open, where /proc tells."""
    wanted, found = _identify(path), []
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):
            is_holder = any(_identify(link) == wanted for link in folder.iterdir())
            if is_holder and int(folder.parent.name) != os.getpid():
                found.append(folder.parent.name)
    return f" (process {', '.join(found)})" if found else ""
