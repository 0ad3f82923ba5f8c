"""The judgements of one gallery in an SQLite file."""

import json
import sqlite3
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from person_search.gallery.database import Database
from person_search.gallery.errors import GalleryError
from person_search.gallery.file_faults import damaged
from person_search.gallery.judgement_tables import judgement_checksum
from person_search.gallery.rows import Judgement, StoredPerson
from person_search.gallery.schema import PEOPLE_IDS
from person_search.gallery.sqlite_rows import Rows

_COLUMNS = """s.name, j.person, j.is_right, j.made, j.maker, j.checksum FROM judgements j
    JOIN subjects s ON s.id = j.subject WHERE s.gallery = ?"""


class JudgementRow(NamedTuple):
    """A judgement by the id of its person's row."""

    subject: str
    person: int
    is_right: bool
    made: float
    maker: str


class SqliteJudgements:
    """The judgements of one gallery; threads may share it. See `Judgements`."""

    def __init__(self, database: Database, gallery: int) -> None:
        """Keep the judgements of the gallery of an id."""
        self._database, self._gallery = database, gallery

    def subjects(self) -> dict[str, tuple[int, int]]:
        """Return how many right and wrong ones each subject has, by name."""
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT s.name, sum(j.is_right), sum(1 - j.is_right) FROM judgements j "
                "JOIN subjects s ON s.id = j.subject WHERE s.gallery = ? "
                "GROUP BY s.id ORDER BY s.name",
                (self._gallery,),
            )
            return {name: (right, wrong) for name, right, wrong in found}

    def of(self, subject: str) -> list[Judgement]:
        """Return the judgements of a subject in the order in which they were made."""
        with self._database.reading() as connection:
            rows = self._read(connection, subject)
            people = self._people(connection, [row.person for row in rows])
        return [
            Judgement(row.subject, person, row.is_right, row.made, row.maker)
            for row, person in zip(rows, people, strict=True)
        ]

    def add(
        self, subject: str, people: Sequence[tuple[str, int]], is_right: bool, maker: str
    ) -> int:
        """Judge people by frame and number; return how many are there when read back."""
        with self._database.writing("keeping a judgement") as connection:
            connection.execute(
                "INSERT INTO subjects (gallery, name) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (self._gallery, subject),
            )
            own_id = self._subject(connection, subject)
            persons = [self._person(connection, frame, number) for frame, number in people]
            made = time.time()
            for person in persons:
                checksum = judgement_checksum(subject, person, int(is_right), made, maker)
                # A new row each time: the order is that in which they were made.
                connection.execute(
                    "INSERT OR REPLACE INTO judgements "
                    "(subject, person, is_right, made, maker, checksum) VALUES (?, ?, ?, ?, ?, ?)",
                    (own_id, person, int(is_right), made, maker, checksum),
                )
        with self._database.afresh("reading back") as connection:
            there = {(row.person, row.is_right) for row in self._read(connection, subject)}
        return sum((person, is_right) in there for person in persons)

    def undo(self, subject: str, count: int | None) -> int:
        """Take the last judgements of a subject back, all of them for None.

        Returns:
            How many are gone when read back.
        """
        with self._database.writing("taking judgements back") as connection:
            last = connection.execute(
                "SELECT j.id FROM judgements j JOIN subjects s ON s.id = j.subject "
                "WHERE s.gallery = ? AND s.name = ? ORDER BY j.id DESC LIMIT ?",
                (self._gallery, subject, -1 if count is None else count),
            ).fetchall()
            connection.executemany("DELETE FROM judgements WHERE id = ?", last)
        with self._database.afresh("reading back") as connection:
            left = connection.execute(
                "SELECT count(*) FROM judgements WHERE id IN (SELECT value FROM json_each(?))",
                (json.dumps([own_id for (own_id,) in last]),),
            ).fetchone()[0]
        return len(last) - int(left)

    def _read(self, connection: sqlite3.Connection, subject: str) -> list[JudgementRow]:
        rows = connection.execute(
            f"SELECT {_COLUMNS} AND s.name = ? ORDER BY j.id", (self._gallery, subject)
        )
        return [self._checked(row) for row in rows]

    def _checked(self, row: tuple[Any, ...]) -> JudgementRow:
        *said, checksum = row
        name, person, is_right, made, maker = said
        if judgement_checksum(name, person, is_right, made, maker) != checksum:
            raise damaged(self._database.path, f"a judgement about {name!r} is not what was stored")
        return JudgementRow(name, person, bool(is_right), made, maker)

    def _people(self, connection: sqlite3.Connection, ids: list[int]) -> list[StoredPerson]:
        rows = Rows(connection, self._gallery, self._database.path)
        frames = rows.frames_by_id(sorted({i // PEOPLE_IDS for i in ids}))
        return [p.in_frame(frames[p.id // PEOPLE_IDS]) for p in rows.people_by_id(ids)]

    def _subject(self, connection: sqlite3.Connection, name: str) -> int:
        found = connection.execute(
            "SELECT id FROM subjects WHERE gallery = ? AND name = ?", (self._gallery, name)
        )
        return int(found.fetchone()[0])

    def _person(self, connection: sqlite3.Connection, frame: str, number: int) -> int:
        rows = Rows(connection, self._gallery, self._database.path)
        found = rows.frames_named([frame]).get(frame)
        if found is None or not rows.has_person(found.id * PEOPLE_IDS + number):
            raise GalleryError(
                f"the gallery does not hold this person of {frame} any more; search again"
            )
        return found.id * PEOPLE_IDS + number


def check_judgements(connection: sqlite3.Connection, gallery: int) -> list[str]:
    """Compare all judgements of a gallery with what was stored; return what is wrong."""
    return [
        f"a judgement about {row[0]!r} is not as stored"
        for row in connection.execute(f"SELECT {_COLUMNS}", (gallery,))
        if judgement_checksum(*row[:-1]) != row[-1]
    ]


def copy_judgements(
    source: sqlite3.Connection, gallery: int, target: sqlite3.Connection
) -> tuple[int, int]:
    """Copy judgements that are as stored; return how many, and how many were left out."""
    copied = left_out = 0
    for row in source.execute(f"SELECT {_COLUMNS} ORDER BY j.id", (gallery,)).fetchall():
        name, person, *said, checksum = row
        is_there = target.execute("SELECT 1 FROM people WHERE id = ?", (person,)).fetchone()
        if not is_there or judgement_checksum(name, person, *said) != checksum:
            left_out += 1
            continue
        target.execute(
            "INSERT INTO subjects (gallery, name) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (gallery, name),
        )
        target.execute(
            "INSERT INTO judgements (subject, person, is_right, made, maker, checksum) "
            "SELECT id, ?, ?, ?, ?, ? FROM subjects WHERE gallery = ? AND name = ?",
            (person, *said, checksum, gallery, name),
        )
        copied += 1
    return copied, left_out
