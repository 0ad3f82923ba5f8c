"""Keeping the matrix of a gallery in step with its database."""

import sqlite3
import threading
from dataclasses import replace

import numpy as np

from person_search.gallery.database import Database
from person_search.gallery.errors import GalleryError
from person_search.gallery.file_faults import damaged
from person_search.gallery.matrix import Block, FrameTable, Matrix, empty, known_numbers
from person_search.gallery.matrix_file import LEAST_ROWS, load_matrix, matrix_path, save_matrix
from person_search.gallery.schema import PEOPLE_IDS, person_checksum

# At a time: of more, the memory that they leave behind is not given back.
_READ_ROWS = 4_096
# Beyond this share of rows that are gone, or not in the file, all is read or written anew.
_MOST_GONE = 0.25
_MOST_UNSAVED = 0.1
# The plus keeps SQLite from an index of the gallery, after which it would have to sort a gigabyte.
_FRAMES = """SELECT id, checksum, camera, timestamp, num_people FROM frames
    WHERE +gallery = ? AND id > ? ORDER BY id"""
_PEOPLE = """SELECT p.id, p.x1, p.y1, p.x2, p.y2, p.score, p.embedding, p.checksum
    FROM frames f CROSS JOIN people p
    ON p.id >= f.id * 65536 AND p.id < (f.id + 1) * 65536
    WHERE +f.gallery = ? AND f.id > ? ORDER BY f.id, p.id"""


class MatrixKeeper:
    """The matrix of one gallery; threads may share it."""

    def __init__(self, database: Database, gallery: int, embedding_dim: int) -> None:
        """Keep the matrix of a gallery, by its id, in a file."""
        self._database, self._gallery, self._dim = database, gallery, embedding_dim
        self._path = database.path
        self._file = matrix_path(database.real_path, gallery)
        self._lock = threading.Lock()
        self._matrix: Matrix | None = None
        self._num_saved = 0

    def matrix(self, connection: sqlite3.Connection) -> Matrix | None:
        """Return the matrix of the state that a transaction sees.

        Args:
            connection: Within a transaction.

        Returns:
            None if another thread has seen a later state; a new transaction will see that, too.

        Raises:
            GalleryError: If what is in the file contradicts itself.
        """
        changes, removals, *counts = connection.execute(
            "SELECT changes, removals, num_frames, num_people FROM galleries WHERE id = ?",
            (self._gallery,),
        ).fetchone()
        with self._lock:
            if self._matrix is None:
                self._matrix = load_matrix(self._file, self._dim) or empty(-1, -1)
                self._num_saved = len(self._matrix)
            if self._matrix.changes > changes:
                return None
            if self._matrix.changes < changes:
                # Not kept before it was checked, or the next search would take it for right.
                refreshed = self._refreshed(connection, self._matrix, changes, removals)
                self._check(refreshed, counts)
                self._matrix = refreshed
                self._save()
            return self._matrix

    def prepare(self, connection: sqlite3.Connection) -> None:
        """Derive the matrix of a gallery that is large enough to keep it in its file."""
        people = connection.execute(
            "SELECT num_people FROM galleries WHERE id = ?", (self._gallery,)
        ).fetchone()[0]
        if people >= LEAST_ROWS:
            self.matrix(connection)

    def _refreshed(
        self, connection: sqlite3.Connection, matrix: Matrix, changes: int, removals: int
    ) -> Matrix:
        last = int(matrix.frames.ids[-1]) if len(matrix.frames) else 0
        if removals != matrix.removals:
            frames = self._read_frames(connection, 0)
            num_known = int(np.searchsorted(frames.ids, last, side="right"))
            matrix = _without_gone(matrix, frames.head(num_known), removals)
            if not len(matrix):
                # All is read anew; the file is of no use.
                self._num_saved = 0
            last = int(matrix.frames.ids[-1]) if len(matrix.frames) else 0
        new = self._read_frames(connection, last)
        block, numbers = self._read_block(connection, last, new)
        return matrix.grown(new, [block], changes, known_numbers(new, numbers))

    def _read_frames(self, connection: sqlite3.Connection, last: int) -> FrameTable:
        cursor = connection.execute(_FRAMES, (self._gallery, last))
        pages = iter(lambda: cursor.fetchmany(_READ_ROWS), [])
        try:
            return FrameTable.of([]).joined(*(FrameTable.of(page) for page in pages))
        except (TypeError, ValueError, OverflowError) as error:
            # Damaged rows may hold other types.
            raise self._damaged() from error

    def _read_block(
        self, connection: sqlite3.Connection, last: int, frames: FrameTable
    ) -> tuple[Block, np.ndarray]:
        expected = np.repeat(frames.ids, frames.counts)
        numbers = np.zeros(len(expected), np.uint16)
        block, done = Block.empty(len(expected), self._dim), 0
        cursor = connection.execute(_PEOPLE, (self._gallery, last))
        while rows := cursor.fetchmany(_READ_ROWS):
            # Embeddings that are not what was stored would stay in the matrix after a repair, too.
            if any(person_checksum(r[0], r[1:6], r[6]) != r[7] for r in rows):
                raise self._damaged()
            ids = np.array([row[0] for row in rows], np.int64)
            found = ids // PEOPLE_IDS
            data = b"".join(row[6] for row in rows)
            are_right = np.array_equal(found, expected[done : done + len(rows)])
            if not are_right or len(data) != 4 * self._dim * len(rows):
                raise self._damaged()
            numbers[done : done + len(rows)] = ids % PEOPLE_IDS
            block.write(done, Block.of(np.frombuffer(data, np.float32).reshape(-1, self._dim)))
            done += len(rows)
        if done != len(expected):
            raise self._damaged()
        return block, numbers

    def _check(self, matrix: Matrix, counts: list[int]) -> None:
        there = matrix.frames.counts[~matrix.is_gone]
        if [len(there), int(there.sum())] != counts:
            raise self._damaged()

    def _damaged(self) -> GalleryError:
        return damaged(self._path, "the people in it are not those that were stored and counted")

    def _save(self) -> None:
        matrix = self._matrix
        assert matrix is not None
        unsaved = len(matrix) - self._num_saved
        if matrix.is_gone.any() or unsaved < max(LEAST_ROWS, _MOST_UNSAVED * len(matrix)):
            return
        if save_matrix(self._file, matrix, like=self._path):
            if self._count_removals() != matrix.removals:
                # Who removed people meanwhile has removed the file that was there before this one.
                self._file.unlink(missing_ok=True)
                return
            self._num_saved = len(matrix)
            # Mapped, it shares its memory with other processes. One of them may have written the
            # file of another state meanwhile.
            mapped = load_matrix(self._file, self._dim)
            if mapped and _are_same(mapped.frames, matrix.frames):
                self._matrix = replace(mapped, changes=matrix.changes, removals=matrix.removals)

    def _count_removals(self) -> int:
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT removals FROM galleries WHERE id = ?", (self._gallery,)
            )
            return int(found.fetchone()[0])


def _are_same(first: FrameTable, second: FrameTable) -> bool:
    # A checksum covers the name of the camera, but not the id that it has in this file.
    pairs = zip(first.arrays(), second.arrays(), strict=True)
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)


def _without_gone(matrix: Matrix, known: FrameTable, removals: int) -> Matrix:
    """Mark the frames that are no longer among the known ones; an empty matrix if it does not fit.

    Args:
        matrix: As it was.
        known: The frames of the database up to the matrix' last one.
        removals: The database's counter.
    """
    is_gone = ~np.isin(matrix.frames.ids, known.ids)
    is_same = _are_same(FrameTable(*(c[~is_gone] for c in matrix.frames.arrays())), known)
    num_gone = int(matrix.frames.counts[is_gone].sum())
    if not is_same or num_gone > _MOST_GONE * len(matrix):
        return empty(matrix.changes, removals)
    return replace(matrix, is_gone=is_gone, removals=removals)
