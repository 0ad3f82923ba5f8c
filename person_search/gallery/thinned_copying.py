"""Carrying stays of which not all people are kept into another file, which cannot derive them."""

import json
import sqlite3
from pathlib import Path

import numpy as np

from person_search.gallery.appearance_rows import SUM_RANGE, AppearanceRows
from person_search.gallery.errors import GalleryError
from person_search.gallery.schema import PEOPLE_IDS, sightings_sum
from person_search.gallery.verifying import UNREADABLE, GalleryRow

_IDS = """SELECT DISTINCT a.id, s.name FROM unkept u JOIN appearances a ON a.id = u.appearance
    JOIN streams s ON s.id = a.stream WHERE s.gallery = ? ORDER BY a.id"""
_LISTED = "(SELECT value FROM json_each(?))"
_Members = list[tuple[int, float, float]]


def copy_thinned(
    source: sqlite3.Connection, target: sqlite3.Connection, gallery: GalleryRow, path: Path
) -> tuple[int, int]:
    """Copy the thinned stays of a gallery that are as they were stored.

    Args:
        source: The damaged file.
        target: The other one, within a transaction that writes; it has the frames already.
        gallery: In both.
        path: For messages.

    Returns:
        How many were copied, and how many were not: those are linked anew, from what is left.
    """
    copied = lost = 0
    try:
        found = source.execute(_IDS, (gallery.id,)).fetchall()
    except UNREADABLE:
        return 0, 0
    for own_id, stream in found:
        if _copy(source, target, gallery, path, own_id, stream):
            copied += 1
        else:
            lost += 1
    return copied, lost


def _copy(
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    gallery: GalleryRow,
    path: Path,
    own_id: int,
    stream: str,
) -> bool:
    rows = AppearanceRows(source, gallery.id, path)
    try:
        row = rows.by_id([own_id])[own_id]
        kept: _Members = rows.people_of(own_id)
        unkept: _Members = rows.unkept_of(own_id)
        whole = source.execute("SELECT * FROM unkept WHERE appearance = ?", (own_id,)).fetchall()
        people, times, qualities = (np.array(c) for c in zip(*(kept + unkept), strict=True))
        mixed = sightings_sum(
            people.astype(np.int64), times.astype(np.float64), qualities.astype(np.float64)
        )
    except (GalleryError, *UNREADABLE, TypeError, ValueError, OverflowError):
        return False
    if sum(mixed.tolist()) % SUM_RANGE != row.people_sum:
        return False
    if not _are_there(target, "people", [person for person, *_ in kept]):
        return False
    if not _are_there(target, "frames", [int(person) // PEOPLE_IDS for person in people]):
        return False
    found = target.execute(
        "SELECT id FROM streams WHERE gallery = ? AND name = ?", (gallery.id, stream)
    ).fetchone()
    if found is None:
        return False
    copies = AppearanceRows(target, gallery.id, path)
    copies.insert(found[0], row)
    target.executemany(
        "INSERT INTO sightings VALUES (?, ?, ?, ?)",
        [(person, own_id, time, quality) for person, time, quality in kept],
    )
    target.executemany("INSERT INTO unkept VALUES (?, ?, ?, ?, ?, ?, ?, ?)", whole)
    return True


def _are_there(connection: sqlite3.Connection, table: str, ids: list[int]) -> bool:
    wanted = sorted(set(ids))
    found = connection.execute(
        f"SELECT count(*) FROM {table} WHERE id IN {_LISTED}", (json.dumps(wanted),)
    )
    return int(found.fetchone()[0]) == len(wanted)
