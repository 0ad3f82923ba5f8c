"""Searching the people of one gallery in an SQLite file."""

import math
import sqlite3
from collections.abc import Callable

import numpy as np

from person_search.gallery.database import Database
from person_search.gallery.errors import GalleryError
from person_search.gallery.file_faults import check_line
from person_search.gallery.matrix import Matrix
from person_search.gallery.matrix_keeper import MatrixKeeper
from person_search.gallery.matrix_search import KeysOf, find_best
from person_search.gallery.ranking import sort_by_similarity
from person_search.gallery.rows import StoredPerson
from person_search.gallery.schema import PEOPLE_IDS
from person_search.gallery.search_options import FrameFilter
from person_search.gallery.sqlite_rows import PersonRow, Rows

_MOST_TRIES = 1_000

Keys = Callable[[sqlite3.Connection, Matrix], KeysOf]
"""Says of the rows of a matrix, within a transaction, what counts as one."""


def frame_keys(connection: sqlite3.Connection, matrix: Matrix) -> KeysOf:
    """Let the people of a frame count as one."""
    return lambda rows: matrix.locate(rows)[0]


def person_keys(connection: sqlite3.Connection, matrix: Matrix) -> KeysOf:
    """Let everybody count."""
    return lambda rows: rows


class Searching:
    """Searches one gallery; threads may share it."""

    def __init__(self, database: Database, gallery: int, keeper: MatrixKeeper) -> None:
        """Search the gallery of an id, through its matrix."""
        self._database, self._gallery, self._keeper = database, gallery, keeper

    def nearest(
        self, query: np.ndarray, frames: FrameFilter, top: int, keys: Keys
    ) -> list[StoredPerson]:
        """Return the most similar people, best first, exactly; ties by name of frame and number.

        Args:
            query: (D,) float32 of unit norm.
            frames: Which to look at.
            top: At most so many.
            keys: What counts as one; the first of the best is returned.
        """
        # Another thread may have seen a later state; a new transaction sees that or a later one.
        for _ in range(_MOST_TRIES):
            with self._database.reading("searching") as connection:
                matrix = self._keeper.matrix(connection)
                if matrix is not None:
                    rows = Rows(connection, self._gallery, self._database.path)
                    return _search(rows, matrix, query, frames, top, keys(connection, matrix))
        raise GalleryError(
            f"{self._database.path} is in an earlier state than before, as if another file had "
            "been copied over it while it was open; close it, and run: "
            f"{check_line(self._database.path)}"
        )


def _search(
    rows: Rows,
    matrix: Matrix,
    query: np.ndarray,
    frames: FrameFilter,
    top: int,
    keys_of: KeysOf,
) -> list[StoredPerson]:
    fetched: dict[int, PersonRow] = {}

    def fetch(places: np.ndarray) -> np.ndarray:
        found = rows.people_by_id(matrix.ids_of(places).tolist())
        fetched.update(zip(places.tolist(), found, strict=True))
        return similarities(found, query)

    allowed = _allowed(rows, matrix, frames)
    best, similar = find_best(matrix, query, allowed, top, keys_of, fetch)
    chosen = [fetched[place] for place in best.tolist()]
    of_ids = rows.frames_by_id(sorted({row.id // PEOPLE_IDS for row in chosen}))
    people = [
        row.in_frame(of_ids[row.id // PEOPLE_IDS], value)
        for row, value in zip(chosen, similar.tolist(), strict=True)
    ]
    return sort_by_similarity(people)[:top]


def similarities(people: list[PersonRow], query: np.ndarray) -> np.ndarray:
    """Return the exact similarities of people to a query, (N,) float32."""
    data = b"".join(row.embedding for row in people)
    exact = np.frombuffer(data, np.float32).reshape(len(people), -1).astype(np.float64)
    similar: np.ndarray = (exact @ query.astype(np.float64)).astype(np.float32)
    return similar


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
