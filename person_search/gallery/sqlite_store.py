"""The rows of one gallery in an SQLite file."""

import json
import math
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from person_search.gallery.database import Database
from person_search.gallery.errors import GalleryError
from person_search.gallery.file_faults import check_line
from person_search.gallery.matrix import Matrix
from person_search.gallery.matrix_file import remove_matrices
from person_search.gallery.matrix_keeper import MatrixKeeper
from person_search.gallery.matrix_search import find_best
from person_search.gallery.ranking import sort_by_similarity
from person_search.gallery.rows import Counts, Entry, Stored, StoredFrame, StoredPerson
from person_search.gallery.schema import MIGRATIONS, PEOPLE_IDS, gallery_checksum
from person_search.gallery.search_options import ALL_FRAMES, FrameFilter
from person_search.gallery.sqlite_rows import PersonRow, Rows
from person_search.inference.model_card import ModelCard

# Frames of one transaction while many are read: a reader that stays keeps the log from shrinking.
_PAGE_FRAMES = 1_000
_MOST_TRIES = 1_000


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
            yield from (row.frame for row in page if _fits(row.frame, frames))
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
        # Another thread may have seen a later state; a new transaction sees that or a later one.
        for _ in range(_MOST_TRIES):
            with self._database.reading("searching") as connection:
                matrix = self._keeper.matrix(connection)
                if matrix is not None:
                    rows = self._rows(connection)
                    return self._search(rows, matrix, query, frames, top, one_per_frame)
        raise GalleryError(
            f"{self.uri} is in an earlier state than before, as if another file had been copied "
            f"over it while it was open; close it, and run: {check_line(self._database.path)}"
        )

    def _search(
        self,
        rows: Rows,
        matrix: Matrix,
        query: np.ndarray,
        frames: FrameFilter,
        top: int,
        one_per_frame: bool,
    ) -> list[StoredPerson]:
        fetched: dict[int, PersonRow] = {}

        def fetch(places: np.ndarray) -> np.ndarray:
            found = rows.people_by_id(matrix.ids_of(places).tolist())
            fetched.update(zip(places.tolist(), found, strict=True))
            data = b"".join(row.embedding for row in found)
            exact = np.frombuffer(data, np.float32).reshape(len(found), -1).astype(np.float64)
            similar: np.ndarray = (exact @ query.astype(np.float64)).astype(np.float32)
            return similar

        allowed = _allowed(rows, matrix, frames)
        best, similar = find_best(matrix, query, allowed, top, one_per_frame, fetch)
        chosen = [fetched[place] for place in best.tolist()]
        of_ids = rows.frames_by_id(sorted({row.id // PEOPLE_IDS for row in chosen}))
        people = [
            row.in_frame(of_ids[row.id // PEOPLE_IDS], value)
            for row, value in zip(chosen, similar.tolist(), strict=True)
        ]
        return sort_by_similarity(people)[:top]

    def put(self, entries: Sequence[Entry]) -> Stored:
        """Store checked entries in one transaction; what is there of the frames is replaced."""
        with self._database.writing("storing frames") as connection:
            rows = self._rows(connection)
            old = rows.frames_named([frame.name for frame, _ in entries])
            rows.delete([row.id for row in old.values()])
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
            rows.delete(ids)
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
        return Counts(frames, people, dict(cameras), first, last, self._database.num_bytes())

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


def _allowed(rows: Rows, matrix: Matrix, frames: FrameFilter) -> np.ndarray | None:
    """Return which frames of the matrix are looked at, None for all."""
    allowed = ~matrix.is_gone
    if frames.cameras is not None:
        ids = rows.cameras()
        wanted = {0 if camera == "" else ids.get(camera, -1) for camera in frames.cameras}
        allowed &= np.isin(matrix.frames.cameras, list(wanted))
    if frames.since is not None or frames.until is not None:
        # Unknown times are NaN, which fits nothing.
        since = -math.inf if frames.since is None else frames.since
        until = math.inf if frames.until is None else frames.until
        allowed &= (matrix.frames.times >= since) & (matrix.frames.times <= until)
    for row in rows.frames_named(frames.without).values():
        allowed[np.searchsorted(matrix.frames.ids, row.id)] = False
    return None if allowed.all() else allowed


def _fits(frame: StoredFrame, wanted: FrameFilter) -> bool:
    time, since, until = frame.timestamp, wanted.since, wanted.until
    if wanted.cameras is not None and (frame.camera or "") not in wanted.cameras:
        return False
    if since is None and until is None:
        return True
    return (
        time is not None and (since is None or time >= since) and (until is None or time <= until)
    )
