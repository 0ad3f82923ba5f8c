"""Removing single people from a gallery file, and names whom nobody is left to bear.

The others of a frame keep their numbers in it; so does the frame its id, and its checksum is
another one, by which a matrix that was derived before tells that it has changed.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from person_search.gallery.keeping_best import count_without
from person_search.gallery.linking import appearances_of_frames, shorten
from person_search.gallery.schema import PEOPLE_IDS
from person_search.gallery.sqlite_rows import Rows

GONE = "name a group that is gone"
"""What stands in the list of actions where a name stood."""


class Forgotten(NamedTuple):
    """What was removed, counted."""

    people: int
    """Sights of the person, one a frame."""

    frames: int
    """In which they were; these stay, with everybody else."""

    appearances: int
    judgements: int


def people_to_forget(
    connection: sqlite3.Connection, appearances: Sequence[int], others: Iterable[int]
) -> set[int]:
    """Return the ids of the people of appearances, and others by their ids."""
    found = set(others)
    for own_id in appearances:
        rows = connection.execute("SELECT person FROM sightings WHERE appearance = ?", (own_id,))
        found.update(person for (person,) in rows)
    return found


def forget(connection: sqlite3.Connection, gallery: int, path: Path, people: set[int]) -> Forgotten:
    """Remove people with what was derived and said of them; everybody else stays as they are.

    Args:
        connection: Within a transaction that writes.
        gallery: Id of the gallery.
        path: For messages.
        people: Ids of their rows.
    """
    frames = sorted({person // PEOPLE_IDS for person in people})
    touched = appearances_of_frames(connection, frames)
    judgements = sum(
        connection.execute("SELECT count(*) FROM judgements WHERE person = ?", (i,)).fetchone()[0]
        for i in people
    )
    _forget_anchors(connection, gallery, people)
    connection.executemany("DELETE FROM people WHERE id = ?", [(i,) for i in sorted(people)])
    count_without(connection, gallery, Rows(connection, gallery, path), people)
    shorten(connection, gallery, path, touched)
    left = sum(
        connection.execute("SELECT count(*) FROM appearances WHERE id = ?", (i,)).fetchone()[0]
        for i in touched
    )
    scrub_names(connection, gallery)
    return Forgotten(len(people), len(frames), len(touched) - left, judgements)


def _forget_anchors(connection: sqlite3.Connection, gallery: int, people: set[int]) -> None:
    """Remove what is said of people by the keys of their frames and their numbers in them."""
    for person in sorted(people):
        frame, number = divmod(person, PEOPLE_IDS)
        for table in ("group_members", "told_alerts"):
            connection.execute(
                f"DELETE FROM {table} WHERE gallery = ?1 AND number = ?2 "
                "AND key = (SELECT key FROM frames WHERE id = ?3)",
                (gallery, number, frame),
            )


def scrub_names(connection: sqlite3.Connection, gallery: int) -> None:
    """Remove the names of groups that nobody is in any more, and what tells of them.

    A name stands in the list of actions, too, by which it is undone.
    """
    left = (
        "SELECT person_group FROM (SELECT person_group, max(action) FROM group_members "
        "WHERE gallery = ?1 GROUP BY key, number)"
    )
    unborne = (
        "SELECT n.action FROM group_names n JOIN person_groups g ON g.id = n.person_group "
        f"WHERE g.gallery = ?1 AND n.person_group NOT IN ({left})"
    )
    connection.execute(
        f"UPDATE group_actions SET said = ?2 WHERE gallery = ?1 AND id IN ({unborne})",
        (gallery, GONE),
    )
    connection.execute(
        "DELETE FROM group_names WHERE person_group IN (SELECT id FROM person_groups "
        f"WHERE gallery = ?1 AND id NOT IN ({left}))",
        (gallery,),
    )
    connection.execute(
        "DELETE FROM group_actions WHERE gallery = ?1 "
        "AND NOT EXISTS (SELECT 1 FROM group_members WHERE action = group_actions.id) "
        "AND NOT EXISTS (SELECT 1 FROM group_names WHERE action = group_actions.id) "
        "AND NOT EXISTS (SELECT 1 FROM group_verdicts WHERE action = group_actions.id)",
        (gallery,),
    )
