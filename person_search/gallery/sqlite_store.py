"""The rows of one gallery in an SQLite file."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from person_search.gallery.appearance_rows import AppearanceRows
from person_search.gallery.database import Database
from person_search.gallery.errors import GalleryError
from person_search.gallery.file_faults import check_line
from person_search.gallery.forgetting import scrub_names
from person_search.gallery.linking import appearances_of_frames, shorten
from person_search.gallery.matrix_file import remove_matrices
from person_search.gallery.matrix_keeper import MatrixKeeper
from person_search.gallery.rows import Counts, Entry, Stored, StoredFrame, StoredPerson
from person_search.gallery.schema import MIGRATIONS, gallery_checksum
from person_search.gallery.search_options import ALL_FRAMES, FrameFilter
from person_search.gallery.sqlite_accountability import SqliteAccountability
from person_search.gallery.sqlite_appearances import SqliteAppearances
from person_search.gallery.sqlite_judgements import SqliteJudgements
from person_search.gallery.sqlite_rows import Rows
from person_search.gallery.sqlite_search import Searching, frame_keys, person_keys
from person_search.inference.model_card import ModelCard

# Frames of one transaction while many are read: a reader that stays keeps the log from shrinking.
_PAGE_FRAMES = 1_000


def list_names(path: Path) -> list[str]:
    """Return the names of the galleries in a file, sorted."""
    database = Database(path)
    try:
        with database.reading() as connection:
            return [n for (n,) in connection.execute("SELECT name FROM galleries ORDER BY name")]
    finally:
        database.close()


class SqliteStore:
    """One gallery of a file; see `Store`."""

    approximate: Mapping[str, Any] | None = None
    """Searches are exact."""

    version = len(MIGRATIONS)

    def __init__(self, database: Database, name: str) -> None:
        """Use `open` or `create` instead."""
        self._database, self.name, self.uri = database, name, str(database.path)
        with database.reading("opening it") as connection:
            found = connection.execute(
                "SELECT id, fingerprint, embedding_dim, card, checksum FROM galleries "
                "WHERE name = ?",
                (name,),
            ).fetchone()
            names = [n for (n,) in connection.execute("SELECT name FROM galleries ORDER BY name")]
        if found is None:
            raise GalleryError(
                f"there is no gallery named {name!r} in {self.uri}; there are: "
                f"{', '.join(names) or 'none'}"
            )
        self._id, self.fingerprint, self.embedding_dim, card, checksum = found
        if gallery_checksum(name, self.fingerprint, self.embedding_dim, card) != checksum:
            raise GalleryError(
                f"{self.uri} is damaged: what it says of the model of gallery {name!r} is not what "
                "was stored; bring back a backup, or index the footage again into another file"
            )
        self.card = ModelCard.from_record(None if card is None else json.loads(card))
        self._keeper = MatrixKeeper(database, self._id, self.embedding_dim)
        self._searching = Searching(database, self._id, self._keeper)
        self.appearances = SqliteAppearances(
            database, self._id, self.embedding_dim, self._searching
        )
        self.judgements = SqliteJudgements(database, self._id)
        self.accountability = SqliteAccountability(database, self._id)

    @classmethod
    def open(cls, path: Path, name: str) -> "SqliteStore":
        """Open a gallery that exists."""
        return cls._closing_on_error(Database(path), lambda database: cls(database, name))

    @classmethod
    def create(
        cls,
        path: Path,
        name: str,
        fingerprint: str,
        embedding_dim: int,
        card: ModelCard | None,
        is_new: bool,
    ) -> "SqliteStore":
        """Make an empty gallery, or open the one that is there unless ``is_new``."""

        def make(database: Database) -> SqliteStore:
            with database.writing("making the gallery") as connection:
                text = None if card is None else json.dumps(card.to_dict())
                said = (name, fingerprint, embedding_dim, text)
                added = connection.execute(
                    "INSERT INTO galleries (name, fingerprint, embedding_dim, card, checksum) "
                    "VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING",
                    (*said, gallery_checksum(*said)),
                ).rowcount
                if is_new and not added:
                    raise GalleryError(
                        f"there is a gallery named {name!r} in {database.path} already; open it, "
                        "or choose another name"
                    )
            return cls(database, name)

        return cls._closing_on_error(Database(path, make=True), make)

    @staticmethod
    def _closing_on_error(
        database: Database, use: Callable[[Database], "SqliteStore"]
    ) -> "SqliteStore":
        try:
            return use(database)
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Close the file; again does nothing."""
        self._database.close()

    def frames_named(self, names: Sequence[str]) -> dict[str, StoredFrame]:
        """Return those of the frames that are there, by name."""
        with self._database.reading() as connection:
            found = self._rows(connection).frames_named(names)
        return {name: row.frame for name, row in found.items()}

    def all_frames(self, frames: FrameFilter = ALL_FRAMES) -> Iterator[StoredFrame]:
        """Yield the frames that fit, in the order in which they were put."""
        last = 0
        while True:
            with self._database.reading() as connection:
                page = self._rows(connection).frames_after(last, _PAGE_FRAMES)
            yield from (row.frame for row in page if frames.fits(row.frame))
            if len(page) < _PAGE_FRAMES:
                return
            last = page[-1].id

    def people_of(self, names: Sequence[str]) -> list[StoredPerson]:
        """Return the people of frames with their embeddings, by frame as given, then in order."""
        with self._database.reading() as connection:
            rows = self._rows(connection)
            return [
                person.in_frame(found.frame)
                for found in rows.frames_named(names).values()
                for person in rows.people_of(found)
            ]

    def nearest(
        self, query: np.ndarray, frames: FrameFilter, top: int, one_per_frame: bool
    ) -> list[StoredPerson]:
        """Return the most similar people, best first, exactly."""
        keys = frame_keys if one_per_frame else person_keys
        return self.appearances.nearest_people(query, frames, top, keys)

    def put(self, entries: Sequence[Entry]) -> Stored:
        """Store checked entries in one transaction; what is there of the frames is replaced."""
        with self._database.writing("storing frames") as connection:
            rows = self._rows(connection)
            old = rows.frames_named([frame.name for frame, _ in entries])
            self._delete(connection, [row.id for row in old.values()])
            ids = [rows.insert(entry) for entry in entries]
            removals = self._removals(connection)
        expected = Stored(len(ids), sum(len(people) for _, people in entries))
        found = self._count_afresh(ids)
        if found == expected:
            return found
        with self._database.reading("reading back") as connection:
            # Another process may have removed some of them since, or put them again.
            if self._removals(connection) > removals:
                there = self._rows(connection).frames_named([frame.name for frame, _ in entries])
                return Stored(len(there), sum(row.frame.num_people for row in there.values()))
        raise GalleryError(
            f"{self.uri}: {expected.frames} frames with {expected.people} people were "
            f"committed, but {found.frames} with {found.people} are there when read back; the "
            "disk or its driver lost them: check the disk, then run the same again"
        )

    def delete(self, names: Sequence[str]) -> Stored:
        """Remove those of the frames that are there, with their people."""
        with self._database.writing("removing frames") as connection:
            rows = self._rows(connection)
            found = rows.frames_named(names).values()
            ids = [row.id for row in found]
            self._delete(connection, ids)
            scrub_names(connection, self._id)
        left = self._count_afresh(ids)
        if left != Stored():
            raise GalleryError(
                f"{self.uri}: {left.frames} frames and {left.people} people are still there after "
                "their removal was committed; check the disk, then run the same again"
            )
        return Stored(len(ids), sum(row.frame.num_people for row in found))

    def purge(self) -> None:
        """Write the file anew without what was deleted, empty its log, remove the matrices."""
        try:
            remove_matrices(self._database.real_path)
            self._database.compact()
        except (GalleryError, OSError) as error:
            raise GalleryError(
                f"the frames are removed, but bytes of them are left in the files of {self.uri}, "
                f"because {error}; when that is set right, run: "
                f"{check_line(self._database.path, '--repair ')}"
            ) from error

    def prepare(self) -> None:
        """Derive the matrix of a large gallery now, and keep it beside the file."""
        with self._database.reading("preparing to search") as connection:
            self._keeper.prepare(connection)

    def counts(self) -> Counts:
        """Count what is there, in a time that does not grow with it."""
        with self._database.reading() as connection:
            frames, people = connection.execute(
                "SELECT num_frames, num_people FROM galleries WHERE id = ?", (self._id,)
            ).fetchone()
            cameras = connection.execute(
                "SELECT name, num_frames FROM cameras WHERE gallery = ? ORDER BY name", (self._id,)
            ).fetchall()
            # One a question: SQLite reads both from the index, but together it reads all of it.
            first, last = (
                connection.execute(
                    f"SELECT {end}(timestamp) FROM frames WHERE gallery = ?", (self._id,)
                ).fetchone()[0]
                for end in ("min", "max")
            )
            rows = AppearanceRows(connection, self._id, self._database.path)
            appearances, not_kept = rows.count(), rows.count_unkept()
        return Counts(
            *(frames, people, dict(cameras), first, last, self._database.num_bytes()),
            appearances=appearances,
            not_kept=not_kept,
        )

    def _delete(self, connection: sqlite3.Connection, ids: list[int]) -> None:
        touched = appearances_of_frames(connection, ids)
        self._rows(connection).delete(ids)
        shorten(connection, self._id, self._database.path, touched)

    def _rows(self, connection: sqlite3.Connection) -> Rows:
        return Rows(connection, self._id, self._database.path)

    def _removals(self, connection: sqlite3.Connection) -> int:
        found = connection.execute("SELECT removals FROM galleries WHERE id = ?", (self._id,))
        return int(found.fetchone()[0])

    def _count_afresh(self, ids: Sequence[int]) -> Stored:
        wanted = json.dumps(list(ids))
        with self._database.afresh("reading back") as connection:
            return Stored(
                *(
                    connection.execute(
                        f"SELECT count(*) FROM {table} WHERE {column} IN "
                        "(SELECT value FROM json_each(?))",
                        (wanted,),
                    ).fetchone()[0]
                    for table, column in (("frames", "id"), ("people", "frame"))
                )
            )
