"""Verifying a gallery file row by row, repairing what can be derived, copying it while in use."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from person_search.footage.frames import split_frame_name
from person_search.gallery.database import Database
from person_search.gallery.errors import GalleryError
from person_search.gallery.matrix_file import load_matrix, matrix_path, remove_matrices
from person_search.gallery.rows import Stored, StoredFrame, frame_id
from person_search.gallery.schema import (
    PEOPLE_IDS,
    frame_checksum,
    people_checksum,
    person_checksum,
)
from reid_heads.unit_norm import is_unit_norm

_FRAMES = """SELECT f.id, f.key, f.name, f.content_hash, c.name, f.timestamp, f.num_people,
    f.people_sum, f.checksum FROM frames f LEFT JOIN cameras c ON c.id = f.camera
    WHERE f.gallery = ? AND f.id > ? ORDER BY f.id LIMIT 500"""
_PEOPLE = """SELECT id, x1, y1, x2, y2, score, embedding, checksum FROM people
    WHERE id BETWEEN ? AND ? ORDER BY id"""
_RECOUNT = (
    "UPDATE galleries SET num_frames = (SELECT count(*) FROM frames f WHERE f.gallery = "
    "galleries.id), num_people = (SELECT ifnull(sum(num_people), 0) FROM frames f WHERE f.gallery "
    "= galleries.id), changes = changes + 1, removals = removals + 1",
    "UPDATE cameras SET num_frames = (SELECT count(*) FROM frames f WHERE f.camera = cameras.id)",
    "DELETE FROM cameras WHERE num_frames = 0",
)


@dataclass
class CheckReport:
    """What `check_gallery_file` found."""

    stored: Stored = field(default_factory=Stored)
    """Frames and people whose rows are as they were written."""

    problems: list[str] = field(default_factory=list)
    """What is wrong, each with the frame or table."""

    missing: list[str] = field(default_factory=list)
    """Files of frames that are no longer on the disk; the gallery is right without them."""

    repaired: list[str] = field(default_factory=list)
    """What was done about problems."""


def check_gallery_file(path: Path, repair: bool = False) -> CheckReport:
    """Read every row of a gallery file and compare it with its checksum.

    Args:
        path: The file; others may use it meanwhile.
        repair: Remove frames that are damaged, so that indexing adds them again, and derive
            anew what is derived: indexes, counts and the matrix.

    Raises:
        GalleryError: If it cannot be opened at all.
    """
    report, damaged = CheckReport(), []
    database = Database(path)
    try:
        with database.reading("checking it") as connection:
            report.problems += _check_tables(connection)
            galleries = connection.execute(
                "SELECT id, name, embedding_dim, num_frames, num_people FROM galleries"
            ).fetchall()
            for gallery in galleries:
                damaged += _check_gallery(connection, gallery, report)
        report.problems += _check_matrices(path, galleries)
        if repair and report.problems:
            _repair(database, damaged, report)
        elif repair:
            database.compact()
    finally:
        database.close()
    return report


def back_up(path: Path, target: Path) -> Stored:
    """Copy a gallery file, as it is at one moment, while others may use it.

    Returns:
        The frames and people that were read back from the copy.

    Raises:
        GalleryError: If there is a file at the target, or it cannot be written whole.
    """
    if target.suffix != ".db":
        raise GalleryError(f"{target}: expected a file ending in .db")
    if target.exists():
        raise GalleryError(f"{target} is there already; give another name, or remove it")
    if not target.absolute().parent.is_dir():
        raise GalleryError(
            f"{target}: there is no folder {target.absolute().parent}; make it first"
        )
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.part.db")
    database = Database(path)
    try:
        with database.outside(f"copying it to {target}") as source:
            copy = sqlite3.connect(temporary)
            try:
                source.backup(copy)
            finally:
                copy.close()
        found = check_gallery_file(temporary)
        if found.problems:
            raise GalleryError(
                f"the copy of {path} has {len(found.problems)} faults, the first: "
                f"{found.problems[0]}; see person-search check {path}"
            )
        os.replace(temporary, target)
    except OSError as error:
        raise GalleryError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        database.close()
        for file in (temporary, *(Path(f"{temporary}-{end}") for end in ("wal", "shm", "journal"))):
            with suppress(FileNotFoundError):
                file.unlink()
    return found.stored


def _check_tables(connection: sqlite3.Connection) -> list[str]:
    try:
        said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
        orphans = connection.execute("PRAGMA foreign_key_check").fetchall()
    except sqlite3.DatabaseError as error:
        return [f"tables: {error}"]
    found = [f"tables: {text}" for text in said if text != "ok"]
    return found + [f"{len(orphans)} rows belong to nothing"] * bool(orphans)


def _check_gallery(
    connection: sqlite3.Connection, gallery: tuple[Any, ...], report: CheckReport
) -> list[int]:
    """Check the rows of one gallery; return the ids of its damaged frames."""
    own_id, name, dim, num_frames, num_people = gallery
    damaged, frames, people = [], 0, 0
    known_files: dict[str, bool] = {}
    for row in _frames(connection, own_id, report):
        file = split_frame_name(row[2])[0]
        if file not in known_files:
            known_files[file] = os.path.exists(file)
        if not known_files[file]:
            report.missing.append(row[2])
        fault = _fault(connection, row, dim)
        if fault:
            report.problems.append(f"frame {row[2]}: {fault}")
            damaged.append(row[0])
        else:
            report.stored = report.stored.plus(Stored(1, row[6]))
        frames, people = frames + 1, people + row[6]
    if (frames, people) != (num_frames, num_people):
        report.problems.append(
            f"gallery {name!r} counts {num_frames} frames with {num_people} people, but has "
            f"{frames} with {people}"
        )
    return damaged


def _frames(
    connection: sqlite3.Connection, gallery: int, report: CheckReport
) -> Iterator[tuple[Any, ...]]:
    last = 0
    while True:
        try:
            rows = connection.execute(_FRAMES, (gallery, last)).fetchall()
        except sqlite3.DatabaseError as error:
            report.problems.append(f"frames after the {last}th cannot be read: {error}")
            return
        yield from rows
        if not rows:
            return
        last = rows[-1][0]


def _fault(connection: sqlite3.Connection, frame: tuple[Any, ...], dim: int) -> str | None:
    """Say what is wrong with a frame, None if nothing is."""
    own_id, key, *said, total, checksum = frame
    stored = StoredFrame(*said)
    try:
        first = own_id * PEOPLE_IDS
        people = connection.execute(_PEOPLE, (first, first + PEOPLE_IDS - 1)).fetchall()
    except sqlite3.DatabaseError as error:
        return f"its people cannot be read: {error}"
    if len(people) != stored.num_people:
        return f"it has {len(people)} people, not {stored.num_people}"
    for number, (person, *numbers, embedding, own) in enumerate(people):
        if len(embedding) != 4 * dim or person_checksum(person, numbers, embedding) != own:
            return f"person {number} is not as stored"
        if not is_unit_norm(np.linalg.norm(np.frombuffer(embedding, np.float32))):
            return f"the embedding of person {number} is not of unit norm"
    if people_checksum([row[-1] for row in people]) != total:
        return "its people are not those that were stored"
    if frame_checksum(own_id, stored, total) != checksum:
        return "its row is not as stored"
    return None if key.hex() == frame_id(stored.name) else "its key is not that of its name"


def _check_matrices(path: Path, galleries: list[tuple[Any, ...]]) -> list[str]:
    files = {matrix_path(path, own_id): dim for own_id, _, dim, _, _ in galleries}
    return [
        f"{file.name}, from which the gallery is searched, is damaged"
        for file, dim in files.items()
        if file.exists() and load_matrix(file, dim) is None
    ]


def _repair(database: Database, damaged: list[int], report: CheckReport) -> None:
    with database.writing("repairing") as connection:
        connection.execute("REINDEX")
        connection.executemany("DELETE FROM frames WHERE id = ?", [(i,) for i in damaged])
        orphans = connection.execute(
            "DELETE FROM people WHERE frame NOT IN (SELECT id FROM frames)"
        ).rowcount
        for statement in _RECOUNT:
            connection.execute(statement)
    remove_matrices(database.path)
    database.compact()
    report.repaired.append("indexes, counts and the matrix are derived anew")
    if orphans:
        report.repaired.append(f"removed {orphans} people who belonged to no frame")
    if damaged:
        report.repaired.append(
            f"removed {len(damaged)} damaged frames; index their footage again to add them"
        )
