"""Reading and writing the rows of one gallery within a transaction.

Every row that is read is compared with its checksum: what a disk has changed is an error, never an
answer.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from person_search.gallery.errors import GalleryError
from person_search.gallery.file_faults import damaged
from person_search.gallery.rows import (
    Entry,
    StoredFrame,
    StoredPerson,
    frame_id,
    stored_frame,
    stream_of,
    unit_rows,
)
from person_search.gallery.schema import (
    PEOPLE_IDS,
    frame_checksum,
    people_checksum,
    person_checksum,
)

_FRAME = """SELECT f.id, f.name, f.content_hash, c.name, f.timestamp, f.num_people, f.width,
    f.height, f.people_sum, f.checksum FROM frames f LEFT JOIN cameras c ON c.id = f.camera"""
# The plus keeps SQLite from an index of the gallery, after which it would have to sort all frames.
_PAGE = f"{_FRAME} WHERE +f.gallery = ? AND f.id > ? ORDER BY f.id LIMIT ?"
_PERSON = "SELECT id, x1, y1, x2, y2, score, embedding, checksum FROM people"
_LISTED = "(SELECT value FROM json_each(?))"


class FrameRow(NamedTuple):
    """A frame with the id of its row."""

    id: int
    frame: StoredFrame


class PersonRow(NamedTuple):
    """A person of a frame, which is known by its id."""

    id: int
    x1: float
    y1: float
    x2: float
    y2: float
    score: float
    embedding: bytes

    def in_frame(self, frame: StoredFrame, similarity: float = 0.0) -> StoredPerson:
        """Return the person with what the row of the frame says."""
        return StoredPerson(
            frame_name=frame.name,
            number=self.id % PEOPLE_IDS,
            box_xyxy=(self.x1, self.y1, self.x2, self.y2),
            score=self.score,
            camera=frame.camera,
            timestamp=frame.timestamp,
            similarity=similarity,
            embedding=np.frombuffer(self.embedding, np.float32),
        )


class Rows:
    """The rows of one gallery as a transaction sees them."""

    def __init__(self, connection: sqlite3.Connection, gallery: int, path: Path) -> None:
        """Use a connection within a transaction; the path is for messages."""
        self._connection, self._gallery, self._path = connection, gallery, path

    def frames_named(self, names: Sequence[str]) -> dict[str, FrameRow]:
        """Return those of the frames that are there, by name, in the order given."""
        found = {}
        for name in dict.fromkeys(names):
            row = self._connection.execute(
                f"{_FRAME} WHERE f.gallery = ? AND f.key = ?", (self._gallery, _key(name))
            ).fetchone()
            if row is not None:
                found[name] = self._frame(row)
        return found

    def frames_after(self, last: int, limit: int) -> list[FrameRow]:
        """Return the frames with ids above ``last``, the first ones of them."""
        rows = self._connection.execute(_PAGE, (self._gallery, last, limit))
        return [self._frame(row) for row in rows]

    def frames_by_id(self, ids: Sequence[int]) -> dict[int, StoredFrame]:
        """Return frames by the ids of their rows."""
        rows = self._connection.execute(f"{_FRAME} WHERE f.id IN {_LISTED}", (json.dumps(ids),))
        return dict(self._frame(row) for row in rows)

    def people_by_id(self, ids: Sequence[int]) -> list[PersonRow]:
        """Return people in the order of the ids given.

        Raises:
            GalleryError: If one is not there.
        """
        rows = self._connection.execute(f"{_PERSON} WHERE id IN {_LISTED}", (json.dumps(ids),))
        found = {row[0]: self._person(row) for row in rows}
        if len(found) < len(ids):
            raise self._damaged("people of a frame are missing")
        return [found[i] for i in ids]

    def has_person(self, person: int) -> bool:
        """Say whether there is a person of this id; of a frame some may not have been kept."""
        found = self._connection.execute("SELECT 1 FROM people WHERE id = ?", (person,))
        return found.fetchone() is not None

    def people_of(self, frame: FrameRow) -> list[PersonRow]:
        """Return the people of a frame, in order.

        Raises:
            GalleryError: If they are not as many as the frame's row says.
        """
        first = frame.id * PEOPLE_IDS
        rows = self._connection.execute(
            f"{_PERSON} WHERE id BETWEEN ? AND ? ORDER BY id", (first, first + PEOPLE_IDS - 1)
        ).fetchall()
        if len(rows) != frame.frame.num_people:
            raise self._damaged(f"people of {frame.frame.name} are missing")
        return [self._person(row) for row in rows]

    def cameras(self) -> dict[str, int]:
        """Return the ids of the cameras by name."""
        rows = self._connection.execute(
            "SELECT name, id FROM cameras WHERE gallery = ?", (self._gallery,)
        )
        return dict(rows.fetchall())

    def insert(self, entry: Entry) -> int:
        """Write a frame and its people; return its id."""
        frame, people = entry
        # SQLite knows no -0.0, and a checksum over it would not fit what it gives back.
        time = None if frame.timestamp is None else float(frame.timestamp) + 0.0
        camera, size = frame.camera or None, frame.size
        own_id = self._connection.execute(
            "INSERT INTO frames (gallery, key, name, content_hash, camera, timestamp, stream, "
            "num_people, width, height, people_sum, checksum) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)",
            (
                *(self._gallery, _key(frame.name), frame.name, frame.content_hash),
                *(self._named("cameras", camera), time),
                *(self._named("streams", stream_of(frame)), len(people), *(size or (None, None))),
            ),
        ).lastrowid
        assert own_id is not None
        rows = list(_person_rows(own_id, entry))
        self._connection.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        total = people_checksum([row[-1] for row in rows])
        stored = StoredFrame(frame.name, frame.content_hash, camera, time, len(rows), size)
        self._connection.execute(
            "UPDATE frames SET people_sum = ?, checksum = ? WHERE id = ?",
            (total, frame_checksum(own_id, stored, total), own_id),
        )
        return own_id

    def delete(self, ids: Sequence[int]) -> None:
        """Delete frames with their people."""
        self._connection.executemany("DELETE FROM frames WHERE id = ?", [(i,) for i in ids])

    def _named(self, table: str, name: str | None) -> int | None:
        """Return the id of a camera or stream, which is made where it is not there."""
        if name is None:
            return None
        known = (self._gallery, name)
        self._connection.execute(
            f"INSERT INTO {table} (gallery, name) VALUES (?, ?) ON CONFLICT DO NOTHING", known
        )
        found = self._connection.execute(
            f"SELECT id FROM {table} WHERE gallery = ? AND name = ?", known
        )
        return int(found.fetchone()[0])

    def _frame(self, row: tuple[Any, ...]) -> FrameRow:
        own_id, *said, total, checksum = row
        frame = stored_frame(said)
        if frame_checksum(own_id, frame, total) != checksum:
            raise self._damaged(f"the row of frame {own_id} ({frame.name}) is not what was stored")
        return FrameRow(own_id, frame)

    def _person(self, row: tuple[Any, ...]) -> PersonRow:
        own_id, x1, y1, x2, y2, score, embedding, checksum = row
        if person_checksum(own_id, (x1, y1, x2, y2, score), embedding) != checksum:
            raise self._damaged(
                f"person {own_id % PEOPLE_IDS} of frame {own_id // PEOPLE_IDS} is not what was "
                "stored"
            )
        return PersonRow(own_id, x1, y1, x2, y2, score, embedding)

    def _damaged(self, what: str) -> GalleryError:
        return damaged(self._path, what)


def _person_rows(frame: int, entry: Entry) -> Iterator[tuple[Any, ...]]:
    _, people = entry
    numbers = np.hstack([people.boxes, np.reshape(people.scores, (-1, 1))]).astype(np.float32)
    numbers += 0.0  # likewise
    embeddings = unit_rows(people.embeddings)
    for number, (row, embedding) in enumerate(zip(numbers.tolist(), embeddings, strict=True)):
        own_id, data = frame * PEOPLE_IDS + number, embedding.tobytes()
        yield own_id, frame, *row, data, person_checksum(own_id, row, data)


def _key(name: str) -> bytes:
    return bytes.fromhex(frame_id(name))
