"""What a gallery file knows of its log and of how long it keeps footage.

The log itself is a file beside the gallery, see `person_search.accountability`; the gallery keeps
where it ended, so that a log that was cut off is noticed.
"""

import hashlib
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any, NamedTuple
from urllib.parse import quote

from person_search.gallery.accountability_tables import accountability_checksum
from person_search.gallery.database import Database
from person_search.gallery.file_faults import damaged

PATIENCE = 0.2
"""Seconds that a log's head waits for other writers; the next entry's takes its place."""
_HEAD = "SELECT seq, hash, is_on, checksum FROM log_head"
_RETENTION = "SELECT gallery, rules, is_purge_pending, checksum FROM retention WHERE gallery = ?"


class LogHead(NamedTuple):
    """Where the log of a gallery file ended."""

    seq: int
    """Number of the last entry."""

    hash: str
    """Of that entry, in hex."""

    is_on: bool
    """Whether uses were logged then."""


class Retention(NamedTuple):
    """How long a gallery keeps footage."""

    rules: str
    """JSON; "" for none."""

    is_purge_pending: bool
    """Whether frames were removed whose bytes may still be in the files."""


class SqliteAccountability:
    """Of one gallery; threads may share it. All methods may raise GalleryError."""

    def __init__(self, database: Database, gallery: int) -> None:
        """Use the gallery of an id."""
        self._database, self._gallery = database, gallery

    def state(self) -> str:
        """Return a hash that tells this state of the gallery from another, 64 hex digits.

        It is the SHA-256 of the model's fingerprint, the numbers of frames and people, and the sum
        of the checksums (CRC-32) of all frames and their people: the same for a copy of the file,
        another one after any frame was added, changed or removed. Somebody who writes into the
        file on purpose can make two states look the same.
        """
        with self._database.reading("telling its state") as connection:
            said = connection.execute(
                "SELECT fingerprint, num_frames, num_people, content FROM galleries WHERE id = ?",
                (self._gallery,),
            ).fetchone()
        return hashlib.sha256(repr(said).encode()).hexdigest()

    def log_head(self) -> LogHead | None:
        """Return where the log ended, as far as the gallery was told; None if it has none."""
        with self._database.reading() as connection:
            row = connection.execute(_HEAD).fetchone()
        if row is None:
            return None
        *said, checksum = row
        if accountability_checksum(*said) != checksum:
            raise damaged(self._database.path, "where its log ended is not what was stored")
        return LogHead(said[0], said[1], bool(said[2]))

    def keep_log_head(self, head: LogHead) -> bool:
        """Keep where the log ends now, unless others write into the gallery for a while.

        Returns:
            Whether it is kept. A search must not wait until a large gallery is written anew.
        """
        said = head.seq, head.hash, int(head.is_on)
        place = f"file:{quote(bytes(self._database.path))}?mode=rw"
        with (
            self._database.explaining("keeping where its log ends"),
            # Of its own: this process's other connections may be waiting for one another.
            closing(sqlite3.connect(place, PATIENCE, isolation_level=None, uri=True)) as connection,
        ):
            try:
                connection.execute(
                    "INSERT OR REPLACE INTO log_head VALUES (1, ?, ?, ?, ?)",
                    (*said, accountability_checksum(*said)),
                )
            except sqlite3.OperationalError as error:
                if not error.sqlite_errorname.startswith("SQLITE_BUSY"):
                    raise
                return False
        return True

    def retention(self) -> Retention:
        """Return how long the gallery keeps footage."""
        with self._database.reading() as connection:
            row = connection.execute(_RETENTION, (self._gallery,)).fetchone()
        if row is None:
            return Retention("", False)
        *said, checksum = row
        if accountability_checksum(*said) != checksum:
            raise damaged(self._database.path, "how long it keeps footage is not what was stored")
        return Retention(said[1], bool(said[2]))

    def keep_retention(self, retention: Retention) -> None:
        """Keep how long the gallery keeps footage."""
        said = self._gallery, retention.rules, int(retention.is_purge_pending)
        with self._database.writing("keeping its rules") as connection:
            connection.execute(
                "INSERT OR REPLACE INTO retention VALUES (?, ?, ?, ?)",
                (*said, accountability_checksum(*said)),
            )


def check_accountability(connection: sqlite3.Connection) -> list[str]:
    """Compare what a file says of its log and of retention with what was stored."""
    found = []
    for what, rows in _all(connection).items():
        if any(accountability_checksum(*row[:-1]) != row[-1] for row in rows):
            found.append(f"what it says of its {what} is not as stored")
    return found


def copy_accountability(source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Carry what is as it was stored into a file that is written anew; its galleries are there."""
    found = _all(source)
    for (what, rows), table in zip(found.items(), ("log_head", "retention"), strict=True):
        for row in rows:
            if accountability_checksum(*row[:-1]) == row[-1]:
                first = [1] if what == "log" else []
                values = [*first, *row]
                target.execute(
                    f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(values))})", values
                )


def _all(connection: sqlite3.Connection) -> dict[str, Sequence[tuple[Any, ...]]]:
    found: dict[str, Sequence[tuple[Any, ...]]] = {}
    for what, question in (
        ("log", _HEAD),
        ("retention", "SELECT gallery, rules, is_purge_pending, checksum FROM retention"),
    ):
        try:
            found[what] = connection.execute(question).fetchall()
        except (sqlite3.Error, UnicodeDecodeError):
            found[what] = []
    return found
