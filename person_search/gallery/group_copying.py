"""Checking what a gallery file says of groups, and carrying it into a file that is written anew."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from person_search.gallery.group_tables import group_checksum
from person_search.gallery.verifying import UNREADABLE, GalleryRow

# Everything but the checksum, which is over it.
_MEMBERS = (
    "SELECT gallery, key, number, action, person_group, checksum FROM group_members "
    "WHERE gallery = ?"
)
_NAMES = (
    "SELECT n.person_group, n.action, n.name, n.checksum FROM group_names n "
    "JOIN person_groups g ON g.id = n.person_group WHERE g.gallery = ?"
)
_VERDICTS = (
    "SELECT v.person_group, v.action, v.is_nobody, v.checksum FROM group_verdicts v "
    "JOIN person_groups g ON g.id = v.person_group WHERE g.gallery = ?"
)
_COPIED = {
    "group_actions": "SELECT id, gallery, said FROM group_actions WHERE gallery = ?",
    "group_options": "SELECT gallery, threshold, across_days FROM group_options WHERE gallery = ?",
}


def check_groups(connection: sqlite3.Connection, gallery: GalleryRow) -> list[str]:
    """Return what is wrong with what is said of a gallery's groups."""
    found = []
    for what, question in (("members", _MEMBERS), ("names", _NAMES), ("verdicts", _VERDICTS)):
        try:
            _, lost = _intact(connection, question, gallery.id)
        except UNREADABLE as error:
            found.append(f"groups of gallery {gallery.name!r}: {what} cannot be read: {error}")
            continue
        if lost:
            found.append(f"groups of gallery {gallery.name!r}: {lost} {what} are not as stored")
    return found


def copy_groups(
    source: sqlite3.Connection, target: sqlite3.Connection, gallery: GalleryRow
) -> None:
    """Carry the groups of a gallery, as far as they are as they were stored, into another file.

    Args:
        source: The damaged file.
        target: The other one, within a transaction that writes; it has the frames already.
        gallery: In both.
    """
    members, names, verdicts = (
        _saved(source, question, gallery.id) for question in (_MEMBERS, _NAMES, _VERDICTS)
    )
    groups = {row[4] for row in members}
    # Also the last number that was given, so that none is given twice.
    last = _rows(source, "SELECT seq FROM sqlite_sequence WHERE name = ?", "person_groups")
    numbers = groups | {row[0] for row in last if isinstance(row[0], int)}
    target.executemany(
        "INSERT OR IGNORE INTO person_groups (id, gallery) VALUES (?, ?)",
        [(number, gallery.id) for number in sorted(numbers)],
    )
    target.executemany(
        "INSERT INTO group_members SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS "
        "(SELECT 1 FROM frames f JOIN people p ON p.id = f.id * 65536 + ?3 "
        "WHERE f.gallery = ?1 AND f.key = ?2)",
        members,
    )
    for table, rows in (("group_names", names), ("group_verdicts", verdicts)):
        target.executemany(
            f"INSERT INTO {table} VALUES (?, ?, ?, ?)", [row for row in rows if row[0] in groups]
        )
    for table, question in _COPIED.items():
        for row in _rows(source, question, gallery.id):
            target.execute(
                f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(row))})", row
            )
    target.execute(
        "DELETE FROM person_groups WHERE gallery = ? AND NOT EXISTS "
        "(SELECT 1 FROM group_members WHERE person_group = person_groups.id)",
        (gallery.id,),
    )


def _intact(
    connection: sqlite3.Connection, question: str, gallery: int
) -> tuple[list[tuple[Any, ...]], int]:
    """Return the rows that are as they were stored, and how many are not."""
    rows = connection.execute(question, (gallery,)).fetchall()
    intact = [row for row in rows if group_checksum(*row[:-1]) == row[-1]]
    return intact, len(rows) - len(intact)


def _saved(
    connection: sqlite3.Connection, question: str, gallery: int
) -> Sequence[tuple[Any, ...]]:
    try:
        return _intact(connection, question, gallery)[0]
    except UNREADABLE:
        return []


def _rows(connection: sqlite3.Connection, question: str, value: object) -> list[tuple[Any, ...]]:
    try:
        return connection.execute(question, (value,)).fetchall()
    except UNREADABLE:
        return []
