"""Linking the people of a gallery into appearances: who is the same, from frame to frame.

Linked is what was stored, stream by stream and in order of time, some frames a transaction. So it
can be stopped anywhere, goes on where it stopped, and gives the same in pieces as in one go: what
the linker remembers is read back from the appearances that have not ended. Footage that was put
after later footage of the same stream is linked anew from there on; thinned stays, of which not all
people are kept, are left as they are.

Letters: N people of a frame, D embedding size.
"""

import sqlite3
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from person_search.gallery.appearance_rows import (
    NOT_THINNED,
    AppearanceRow,
    AppearanceRows,
    Sighting,
)
from person_search.gallery.rows import Linked
from person_search.gallery.schema import PEOPLE_IDS
from person_search.gallery.sqlite_rows import FrameRow, PersonRow, Rows
from person_search.people import Box, People
from person_search.tracking.linker import Linker, LinkOptions, Sight
from person_search.tracking.view_quality import view_qualities

CHUNK_FRAMES = 100
"""Of one transaction: whoever wants to write waits that long, in a crowd about a second."""
SAME_MOMENT = 0.1
"""Seconds that pictures of one stream are taken to lie apart at least: EXIF knows whole ones."""

# Frames behind one that is given by time and id.
_BEHIND = "f.stream = ?1 AND (f.timestamp > ?2 OR (f.timestamp = ?2 AND f.id >= ?3))"


class Place(NamedTuple):
    """Where linking goes on: the first frame that is not linked."""

    stream: int
    timestamp: float
    frame: int


class Linking:
    """Links within a transaction."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        gallery: int,
        path: Path,
        embedding_dim: int,
        options: LinkOptions,
    ) -> None:
        """Use a connection within a transaction that writes; the path is for messages."""
        self._connection, self._gallery, self._options = connection, gallery, options
        self._dim = embedding_dim
        self._rows = Rows(connection, gallery, path)
        self._appearances = AppearanceRows(connection, gallery, path)

    def next_place(self) -> Place | None:
        """Return where to go on, None if all is linked."""
        stream = self._connection.execute(
            "SELECT id FROM streams s WHERE gallery = ? AND EXISTS "
            "(SELECT 1 FROM unlinked WHERE stream = s.id) ORDER BY id LIMIT 1",
            (self._gallery,),
        ).fetchone()
        if stream is None:
            return None
        found = self._connection.execute(
            "SELECT stream, timestamp, frame FROM unlinked WHERE stream = ? "
            "ORDER BY timestamp, frame LIMIT 1",
            stream,
        )
        return Place(*found.fetchone())

    def link_some(self, place: Place) -> Linked:
        """Link the next frames of a stream."""
        self._rewind(place)
        frames = self._connection.execute(
            "SELECT frame, timestamp FROM unlinked WHERE stream = ? ORDER BY timestamp, frame "
            "LIMIT ?",
            (place.stream, CHUNK_FRAMES),
        ).fetchall()
        known = {row.id: row for row in self._alive(place)}
        linker = Linker(self._options, first_number=self._appearances.next_id())
        linker.restore({i: self._last_sights(i, linker.MEMORY) for i in known})
        found: dict[int, list[Sighting]] = defaultdict(list)
        said = self._rows.frames_by_id([frame for frame, _ in frames])
        time, settled = self._last_time(place.stream), self._settled([frame for frame, _ in frames])
        for frame, timestamp in frames:
            time = max(timestamp, time + SAME_MOMENT)
            rows = self._rows.people_of(FrameRow(frame, said[frame]))
            people = [person for person in rows if person.id not in settled]
            found_people = _people(people, self._dim)
            numbers = linker.step(time, found_people, said[frame].size)
            qualities = view_qualities(np.zeros(len(people)), found_people)
            for number, person, quality in zip(numbers, people, qualities, strict=True):
                found[int(number)].append(_sighting(person, time, float(quality)))
        for number, sightings in sorted(found.items()):
            self._add(place.stream, known.get(number), number, sightings)
        self._connection.executemany(
            "DELETE FROM unlinked WHERE stream = ? AND timestamp = ? AND frame = ?",
            [(place.stream, timestamp, frame) for frame, timestamp in frames],
        )
        self._appearances.changed()
        num_new = sum(number not in known for number in found)
        return Linked(len(frames), sum(map(len, found.values())), num_new)

    def _add(
        self, stream: int, row: AppearanceRow | None, number: int, sightings: list[Sighting]
    ) -> None:
        if row is None:
            self._appearances.insert(stream, AppearanceRow.of(number, sightings))
        else:
            row.add(sightings)
            self._appearances.update(row)
        self._appearances.add_people(number, sightings)

    def _alive(self, place: Place) -> list[AppearanceRow]:
        return self._appearances.alive(place.stream, place.timestamp - self._options.max_gap)

    def _last_time(self, stream: int) -> float:
        found = self._connection.execute(
            f'SELECT max(a."end") FROM appearances a WHERE a.stream = ? AND {NOT_THINNED}',
            (stream,),
        ).fetchone()[0]
        return -np.inf if found is None else float(found)

    def _settled(self, frames: list[int]) -> set[int]:
        """Return who of frames that are to be linked belongs to an appearance: a thinned one."""
        if not self._connection.execute("SELECT 1 FROM unkept LIMIT 1").fetchone():
            return set()
        return {person for frame in frames for person, _ in _sightings_of(self._connection, frame)}

    def _rewind(self, place: Place) -> None:
        """Take apart what was linked of the stream from a place on."""
        if self._last_time(place.stream) < place.timestamp:
            return
        touched = self._connection.execute(
            "SELECT DISTINCT t.appearance FROM frames f JOIN people p ON p.frame = f.id "
            "JOIN sightings t ON t.person = p.id JOIN appearances a ON a.id = t.appearance "
            f"WHERE {_BEHIND} AND {NOT_THINNED}",
            place,
        ).fetchall()
        self._connection.execute(
            "DELETE FROM sightings WHERE person IN (SELECT p.id FROM frames f "
            "JOIN people p ON p.frame = f.id JOIN sightings t ON t.person = p.id "
            f"JOIN appearances a ON a.id = t.appearance WHERE {_BEHIND} AND {NOT_THINNED})",
            place,
        )
        self._connection.execute(
            "INSERT OR IGNORE INTO unlinked SELECT f.stream, f.timestamp, f.id FROM frames f "
            f"WHERE {_BEHIND} AND f.num_people > 0",
            place,
        )
        _shorten(self._rows, self._appearances, [i for (i,) in touched])

    def _last_sights(self, appearance: int, count: int) -> list[Sight]:
        newest = self._appearances.people_of(appearance, count, newest=True)[::-1]
        people = self._rows.people_by_id([person for person, *_ in newest])
        return [
            Sight(time, _box(person), person.score, np.frombuffer(person.embedding, np.float32))
            for person, (_, time, _) in zip(people, newest, strict=True)
        ]


def appearances_of_frames(connection: sqlite3.Connection, frames: list[int]) -> list[int]:
    """Return the ids of the appearances that people of frames belong to."""
    found: set[int] = set()
    for frame in frames:
        for table in ("sightings", "unkept"):
            found.update(i for _, i in _sightings_of(connection, frame, table))
    return sorted(found)


def _sightings_of(
    connection: sqlite3.Connection, frame: int, table: str = "sightings"
) -> list[tuple[int, int]]:
    """Return person and appearance of the sights of a frame."""
    first = frame * PEOPLE_IDS
    return connection.execute(
        f"SELECT person, appearance FROM {table} WHERE person BETWEEN ? AND ?",
        (first, first + PEOPLE_IDS - 1),
    ).fetchall()


def shorten(
    connection: sqlite3.Connection, gallery: int, path: Path, appearances: list[int]
) -> None:
    """Derive appearances anew from those of their people that are left, if there are any.

    Args:
        connection: Within a transaction that writes.
        gallery: Id of the gallery.
        path: For messages.
        appearances: Their ids.
    """
    if appearances:
        rows = AppearanceRows(connection, gallery, path)
        _shorten(Rows(connection, gallery, path), rows, appearances)
        rows.changed()


def _shorten(people: Rows, appearances: AppearanceRows, ids: list[int]) -> None:
    for own_id in appearances.by_id(ids):
        members = appearances.people_of(own_id)
        if not members:
            appearances.delete([own_id])
            continue
        left = people.people_by_id([person for person, *_ in members])
        sightings = [_sighting(p, *said) for p, (_, *said) in zip(left, members, strict=True)]
        unkept = appearances.unkept_of(own_id)
        sightings += [Sighting(person, time, quality, None) for person, time, quality in unkept]
        sightings.sort(key=lambda one: (one.time, one.person))
        appearances.update(AppearanceRow.of(own_id, sightings))


def _box(person: PersonRow) -> Box:
    return person.x1, person.y1, person.x2, person.y2


def _sighting(person: PersonRow, time: float, quality: float) -> Sighting:
    return Sighting(person.id, time, quality, np.frombuffer(person.embedding, np.float32))


def _people(rows: list[PersonRow], embedding_dim: int) -> People:
    data = b"".join(row.embedding for row in rows)
    return People(
        np.array([_box(row) for row in rows], np.float32).reshape(-1, 4),
        np.array([row.score for row in rows], np.float32),
        np.frombuffer(data, np.float32).reshape(len(rows), embedding_dim),
    )
