"""Comparing every row of a gallery file with what was stored, however damaged the file is."""

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from person_search.footage.frames import split_frame_name
from person_search.gallery.errors import GalleryError
from person_search.gallery.rows import Stored, StoredFrame, frame_id, stored_frame
from person_search.gallery.schema import (
    PEOPLE_IDS,
    frame_checksum,
    gallery_checksum,
    people_checksum,
    person_checksum,
)
from reid_heads.unit_norm import is_unit_norm

_READ_FRAMES = 500
# The plus keeps SQLite from an index, which may be damaged where the rows are not.
_FRAMES = """SELECT f.id, f.key, f.name, f.content_hash, c.name, f.timestamp, f.num_people,
    f.width, f.height, f.people_sum, f.checksum FROM frames f LEFT JOIN cameras c ON c.id = f.camera
    WHERE +f.gallery = ?"""
_PEOPLE = """SELECT id, frame, x1, y1, x2, y2, score, embedding, checksum FROM people
    WHERE id BETWEEN ? AND ? ORDER BY id"""
# Where the last frame is; not all three are damaged.
_LAST = (
    "SELECT max(id) FROM frames",
    f"SELECT max(id) / {PEOPLE_IDS} FROM people",
    "SELECT seq FROM sqlite_sequence WHERE name = 'frames'",
)
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged file may raise; messages that quote it need not be text."""


@dataclass
class CheckReport:
    """What was found in a gallery file."""

    stored: Stored = field(default_factory=Stored)
    """Frames and people whose rows are as they were written."""

    problems: list[str] = field(default_factory=list)
    """What is wrong, each with the frame or table."""

    missing: list[str] = field(default_factory=list)
    """Files of frames that are no longer on the disk; the gallery is right without them."""

    repaired: list[str] = field(default_factory=list)
    """What was done about problems."""


class GalleryRow(NamedTuple):
    """A gallery of a file."""

    id: int
    name: str
    fingerprint: str
    embedding_dim: int
    card: str | None
    checksum: int
    num_frames: int
    num_people: int
    content: int

    def is_intact(self) -> bool:
        """Say whether its name and what it says of its model is what was stored."""
        said = self.name, self.fingerprint, self.embedding_dim, self.card
        return gallery_checksum(*said) == self.checksum


class IntactFrame(NamedTuple):
    """A frame whose rows are as they were stored."""

    id: int
    frame: StoredFrame
    row: tuple[Any, ...]
    """Its row, with the name of its camera."""

    people: list[tuple[Any, ...]]
    """Rows of its people."""


def read_galleries(connection: sqlite3.Connection, path: Path) -> list[GalleryRow]:
    """Return the galleries of a file; its path is for the message.

    Raises:
        GalleryError: If not even these can be read.
    """
    columns = ", ".join(GalleryRow._fields)
    try:
        return [GalleryRow(*r) for r in connection.execute(f"SELECT {columns} FROM galleries")]
    except UNREADABLE as error:
        raise GalleryError(
            f"{path}: the list of galleries cannot be read ({error}), so that nothing of the file "
            "can be saved; bring back a backup, or index the footage again into another file"
        ) from error


def check_tables(connection: sqlite3.Connection) -> list[str]:
    """Let SQLite check its own tables; return what is wrong."""
    try:
        said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
        orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
    except UNREADABLE as error:
        return [f"tables: {error}"]
    found = [f"tables: {text}" for text in said if text != "ok"]
    return found + [f"{len(orphans)} rows belong to nothing"] * bool(orphans)


def intact_frames(
    connection: sqlite3.Connection, gallery: GalleryRow, report: CheckReport
) -> Iterator[IntactFrame]:
    """Yield the frames of a gallery that are as they were stored; report the others."""
    if not gallery.is_intact():
        report.problems.append(
            f"gallery {gallery.name!r}: what it says of its model is not as stored"
        )
    frames, people, content = 0, 0, 0
    cameras: Counter[str] = Counter()
    for row in _frames(connection, gallery.id, report):
        found = _compare(connection, row, gallery.embedding_dim)
        frames += 1
        if isinstance(found, str):
            report.problems.append(f"frame {row[2]}: {found}")
            continue
        people += found.frame.num_people
        content += row[-1]
        cameras.update([found.frame.camera] if found.frame.camera else [])
        report.stored = report.stored.plus(Stored(1, found.frame.num_people))
        yield found
    counted = connection.execute(
        "SELECT name, num_frames FROM cameras WHERE gallery = ?", (gallery.id,)
    )
    if (frames, people) != (gallery.num_frames, gallery.num_people):
        report.problems.append(
            f"gallery {gallery.name!r} counts {gallery.num_frames} frames with "
            f"{gallery.num_people} people, but has {frames}, and {people} in those that are intact"
        )
    elif dict(counted) != cameras:
        report.problems.append(f"gallery {gallery.name!r} counts other frames of each camera")
    elif content != gallery.content:
        report.problems.append(
            f"gallery {gallery.name!r} tells its state by other frames than it has"
        )


def note_missing(frame: StoredFrame, known: dict[str, bool], report: CheckReport) -> None:
    """Report a frame whose file is not on the disk.

    Args:
        frame: It.
        known: Which files are there, as far as was looked.
        report: Where to.
    """
    file = split_frame_name(frame.name)[0]
    if file not in known:
        known[file] = os.path.exists(file)
    if not known[file]:
        report.missing.append(frame.name)


def _frames(
    connection: sqlite3.Connection, gallery: int, report: CheckReport
) -> Iterator[tuple[Any, ...]]:
    last, end = 0, _last_frame(connection)
    while True:
        following = f"{_FRAMES} AND f.id > ? ORDER BY f.id LIMIT {_READ_FRAMES}"
        try:
            rows = connection.execute(following, (gallery, last)).fetchall()
        except UNREADABLE as error:
            until = last + _READ_FRAMES
            rows = _one_by_one(connection, gallery, range(last + 1, until + 1))
            report.problems.append(
                f"of the frames with ids {last + 1} to {until} only {len(rows)} can be read: "
                f"{error}"
            )
            yield from rows
            last = until
            if last >= end:
                return
            continue
        if not rows:
            return
        yield from rows
        last = rows[-1][0]


def _one_by_one(connection: sqlite3.Connection, gallery: int, ids: range) -> list[tuple[Any, ...]]:
    found = []
    for own_id in ids:
        try:
            found += connection.execute(f"{_FRAMES} AND f.id = ?", (gallery, own_id)).fetchall()
        except UNREADABLE:
            continue
    return found


def _last_frame(connection: sqlite3.Connection) -> int:
    ends = []
    for question in _LAST:
        try:
            ends.append(int(connection.execute(question).fetchone()[0] or 0))
        except (*UNREADABLE, TypeError, ValueError):
            continue
    # One that is damaged may be far off, which would take for ever.
    return sorted(ends)[len(ends) // 2] if ends else 0


def _compare(connection: sqlite3.Connection, row: tuple[Any, ...], dim: int) -> IntactFrame | str:
    """Return a frame with its people, or say what is wrong with it."""
    own_id, key, *said, total, checksum = row
    frame, first = stored_frame(said), own_id * PEOPLE_IDS
    if frame_checksum(own_id, frame, total) != checksum:
        return "its row is not as stored"
    if key != bytes.fromhex(frame_id(frame.name)):
        return "its key is not that of its name"
    try:
        people = connection.execute(_PEOPLE, (first, first + PEOPLE_IDS - 1)).fetchall()
    except UNREADABLE as error:
        return f"its people cannot be read: {error}"
    if len(people) != frame.num_people:
        return f"it has {len(people)} people, not {frame.num_people}"
    for number, (person, of_frame, *numbers, embedding, own) in enumerate(people):
        if person_checksum(person, numbers, embedding) != own or of_frame != own_id:
            return f"person {number} is not as stored"
        if len(embedding) != 4 * dim:
            return f"the embedding of person {number} has {len(embedding)} bytes, not {4 * dim}"
        if not is_unit_norm(np.linalg.norm(np.frombuffer(embedding, np.float32))):
            return f"the embedding of person {number} is not of unit norm"
    if people_checksum([person[-1] for person in people]) != total:
        return "its people are not those that were stored"
    return IntactFrame(own_id, frame, row, people)
