"""Reading and writing the appearances of one gallery within a transaction.

Letters: N people of an appearance, D embedding size.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from person_search.gallery.errors import GalleryError
from person_search.gallery.file_faults import damaged
from person_search.gallery.schema import PEOPLE_IDS, appearance_checksum, sightings_sum
from person_search.people import Appearance

SUM_RANGE = 1 << 62
"""Sums of `sightings_sum` are kept modulo this."""
_COLUMNS = """a.id, a.start, a."end", a.num_people, a.best, a.best_quality, a.total, a.people_sum,
    a.checksum"""
_LISTED = "(SELECT value FROM json_each(?))"
_UNKEPT = """FROM unkept u JOIN appearances a ON a.id = u.appearance
    JOIN streams s ON s.id = a.stream WHERE s.gallery = ?"""
NOT_THINNED = "NOT EXISTS (SELECT 1 FROM unkept u WHERE u.appearance = a.id)"
"""Says in SQL that all sights of an appearance ``a`` are kept."""


@dataclass(frozen=True)
class Sighting:
    """A person of an appearance."""

    person: int
    """Id of the row."""

    time: float
    """Seconds; of pictures of the same moment the later ones are a little after it."""

    quality: float
    embedding: np.ndarray | None
    """(D,) float32 of unit norm; None of a sight that is counted and not kept."""


@dataclass
class AppearanceRow:
    """An appearance that is being put together."""

    id: int
    start: float
    end: float
    num_people: int
    best: int
    """Id of the person to show."""

    best_quality: float
    total: np.ndarray
    """(D,) float64, the sum of all embeddings; of a thinned one that has lost frames, of those that
    are kept."""

    people_sum: int

    @classmethod
    def of(cls, own_id: int, sightings: Sequence[Sighting]) -> "AppearanceRow":
        """Make one of sightings in order of their times, at least one of them kept."""
        kept = next(one for one in sightings if one.embedding is not None)
        assert kept.embedding is not None
        start, total = sightings[0].time, np.zeros(len(kept.embedding))
        row = cls(own_id, start, start, 0, kept.person, -1.0, total, 0)
        row.add(sightings)
        return row

    def add(self, sightings: Sequence[Sighting]) -> None:
        """Add later sightings."""
        for one in sightings:
            if one.embedding is None:
                continue
            self.total = self.total + one.embedding
            if one.quality > self.best_quality:
                self.best, self.best_quality = one.person, one.quality
        self.num_people += len(sightings)
        self.end = sightings[-1].time
        columns = zip(*((s.person, s.time, s.quality) for s in sightings), strict=True)
        mixed = sightings_sum(*map(np.array, columns))
        self.people_sum = (self.people_sum + sum(mixed.tolist())) % SUM_RANGE

    def said(self, camera: str | None) -> Appearance:
        """Return what is said of it outside."""
        return Appearance(self.id, camera, self.start, self.end, self.num_people)


@dataclass(frozen=True, eq=False)
class Links:
    """Who belongs to which appearance."""

    people: np.ndarray
    """(N,) int64 ids of people, rising."""

    appearances: np.ndarray
    """(N,) int64 ids of their appearances."""

    def of(self, people: np.ndarray) -> np.ndarray:
        """Return the ids of the appearances of people, int64, -1 for those without."""
        if not len(self.people):
            return np.full(len(people), -1, np.int64)
        places = np.minimum(np.searchsorted(self.people, people), len(self.people) - 1)
        return np.where(self.people[places] == people, self.appearances[places], -1)


class AppearanceRows:
    """The appearances of one gallery as a transaction sees them."""

    def __init__(self, connection: sqlite3.Connection, gallery: int, path: Path) -> None:
        """Use a connection within a transaction; the path is for messages."""
        self._connection, self._gallery, self._path = connection, gallery, path

    def links(self) -> Links:
        """Return who belongs to which appearance, compared with what was stored."""
        rows = self._connection.execute(
            "SELECT t.person, t.appearance, t.time, t.quality FROM sightings t JOIN appearances a "
            "ON a.id = t.appearance JOIN streams s ON s.id = a.stream WHERE s.gallery = ? "
            "ORDER BY t.person",
            (self._gallery,),
        ).fetchall()
        columns = list(zip(*rows, strict=True)) or [()] * 4
        links = Links(*(np.array(column, np.int64) for column in columns[:2]))
        self._check_sums(rows + self._unkept())
        return links

    def by_id(self, ids: Sequence[int]) -> dict[int, AppearanceRow]:
        """Return those of the appearances that are there."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM appearances a WHERE a.id IN {_LISTED}", (json.dumps(ids),)
        )
        return {row.id: row for row in map(self._read, rows)}

    def within(self, since: float, until: float) -> Iterator[AppearanceRow]:
        """Yield the appearances that lie in a time, or overlap it, by their start."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM appearances a JOIN streams s ON s.id = a.stream "
            'WHERE s.gallery = ? AND a."end" >= ? AND a.start <= ? ORDER BY a.start, a.id',
            (self._gallery, since, until),
        )
        yield from map(self._read, rows)

    def neighbors(self, appearance: int) -> tuple[AppearanceRow | None, AppearanceRow | None]:
        """Return the appearances of the stream that begin next before and after this one."""
        found = []
        for sign, order in (("<", "DESC"), (">", "ASC")):
            row = self._connection.execute(
                f"SELECT {_COLUMNS} FROM appearances a JOIN appearances this ON this.id = ? "
                f"WHERE a.stream = this.stream AND (a.start, a.id) {sign} (this.start, this.id) "
                f"ORDER BY a.start {order}, a.id {order} LIMIT 1",
                (appearance,),
            ).fetchone()
            found.append(None if row is None else self._read(row))
        return found[0], found[1]

    def beside(self, appearance: int) -> list[AppearanceRow]:
        """Return the others of the stream that overlap an appearance in time, by their start."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM appearances a JOIN appearances this ON this.id = ? "
            'WHERE a.stream = this.stream AND a.id != this.id AND a."end" >= this.start '
            'AND a.start <= this."end" ORDER BY a.start, a.id',
            (appearance,),
        )
        return [self._read(row) for row in rows]

    def people_of(self, appearance: int, limit: int = -1, newest: bool = False) -> list[Any]:
        """Return (person, time, quality) by time, or at most so many from the end on."""
        order = "DESC" if newest else "ASC"
        return self._connection.execute(
            f"SELECT person, time, quality FROM sightings WHERE appearance = ? "
            f"ORDER BY time {order}, person {order} LIMIT ?",
            (appearance, limit),
        ).fetchall()

    def unkept_of(self, appearance: int) -> list[Any]:
        """Return (person, time, quality) of the sights that are counted and not kept, by time."""
        return self._connection.execute(
            "SELECT person, time, quality FROM unkept WHERE appearance = ? ORDER BY time, person",
            (appearance,),
        ).fetchall()

    def boxes_not_kept(self, frame: int) -> list[Any]:
        """Return the boxes of people of a frame who are counted and not kept."""
        first = frame * PEOPLE_IDS
        return self._connection.execute(
            "SELECT x1, y1, x2, y2 FROM unkept WHERE person BETWEEN ? AND ? ORDER BY person",
            (first, first + PEOPLE_IDS - 1),
        ).fetchall()

    def count_unkept(self) -> int:
        """Return how many sights are counted and not kept."""
        return int(
            self._connection.execute(f"SELECT count(*) {_UNKEPT}", (self._gallery,)).fetchone()[0]
        )

    def _unkept(self) -> list[Any]:
        return self._connection.execute(
            f"SELECT u.person, u.appearance, u.time, u.quality {_UNKEPT}", (self._gallery,)
        ).fetchall()

    def count(self) -> int:
        """Return how many appearances there are."""
        return int(
            self._connection.execute(
                "SELECT count(*) FROM appearances a JOIN streams s ON s.id = a.stream "
                "WHERE s.gallery = ?",
                (self._gallery,),
            ).fetchone()[0]
        )

    def alive(self, stream: int, since: float) -> list[AppearanceRow]:
        """Return the appearances of a stream that end at this time or later, and may go on."""
        rows = self._connection.execute(
            f'SELECT {_COLUMNS} FROM appearances a WHERE a.stream = ? AND a."end" >= ? '
            f"AND {NOT_THINNED} ORDER BY a.id",
            (stream, since),
        )
        return [self._read(row) for row in rows]

    def next_id(self) -> int:
        """Return an id that was never used."""
        found = self._connection.execute(
            "SELECT seq FROM sqlite_sequence WHERE name = 'appearances'"
        ).fetchone()
        return 1 if found is None else int(found[0]) + 1

    def insert(self, stream: int, row: AppearanceRow) -> None:
        """Write a new appearance of a stream."""
        self._connection.execute(
            'INSERT INTO appearances (start, "end", num_people, best, best_quality, total, '
            "people_sum, checksum, id, stream) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*_values(row), stream),
        )

    def update(self, row: AppearanceRow) -> None:
        """Write an appearance that is there already."""
        self._connection.execute(
            'UPDATE appearances SET start = ?, "end" = ?, num_people = ?, best = ?, '
            "best_quality = ?, total = ?, people_sum = ?, checksum = ? WHERE id = ?",
            _values(row),
        )

    def add_people(self, appearance: int, sightings: Sequence[Sighting]) -> None:
        """Write who belongs to an appearance."""
        self._connection.executemany(
            "INSERT INTO sightings VALUES (?, ?, ?, ?)",
            [(one.person, appearance, one.time + 0.0, one.quality + 0.0) for one in sightings],
        )

    def delete(self, appearances: Sequence[int]) -> None:
        """Delete appearances; their people stay."""
        self._connection.executemany(
            "DELETE FROM appearances WHERE id = ?", [(i,) for i in appearances]
        )

    def changed(self) -> None:
        """Count a change, so that other processes read anew."""
        self._connection.execute(
            "UPDATE galleries SET links = links + 1 WHERE id = ?", (self._gallery,)
        )

    def _check_sums(self, rows: list[Any]) -> None:
        columns = list(zip(*rows, strict=True)) or [()] * 4
        people, appearances = (np.array(column, np.int64) for column in columns[:2])
        mixed = sightings_sum(people, *(np.array(column, np.float64) for column in columns[2:]))
        expected = self._connection.execute(
            "SELECT a.id, a.people_sum FROM appearances a JOIN streams s ON s.id = a.stream "
            "WHERE s.gallery = ? ORDER BY a.id",
            (self._gallery,),
        ).fetchall()
        ids, places = np.unique(appearances, return_inverse=True)
        sums = np.zeros(len(ids), np.int64)
        # Whole numbers of 64 bits wrap around, and 2**62 divides 2**64.
        np.add.at(sums, places, mixed)
        if [(int(i), int(s)) for i, s in zip(ids, sums % SUM_RANGE, strict=True)] != expected:
            raise damaged(
                self._path, "the people of its appearances are not those that were linked"
            )

    def _read(self, row: tuple[Any, ...]) -> AppearanceRow:
        own_id, *said, total, people_sum, checksum = row
        if appearance_checksum(own_id, said, total, people_sum) != checksum:
            raise self._damaged(own_id)
        start, end, num_people, best, quality = said
        sums = np.frombuffer(total, "<f8")
        return AppearanceRow(own_id, start, end, num_people, best, quality, sums, people_sum)

    def _damaged(self, appearance: int) -> GalleryError:
        return damaged(self._path, f"appearance {appearance} is not what was stored")


def _values(row: AppearanceRow) -> tuple[Any, ...]:
    total = row.total.astype("<f8").tobytes()
    # SQLite knows no -0.0.
    said = (row.start + 0.0, row.end + 0.0, row.num_people, row.best, row.best_quality + 0.0)
    checksum = appearance_checksum(row.id, said, total, row.people_sum)
    return *said, total, row.people_sum, checksum, row.id
