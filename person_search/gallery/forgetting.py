"""Removing single people from a gallery file, and names whom nobody is left to bear.

A frame whose people change gets a new id, as one that is put again does: an id and a checksum stand
for the same rows for ever, and a matrix that was derived before tells that the frame is gone.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from person_search.gallery.group_tables import group_checksum
from person_search.gallery.judgement_tables import judgement_checksum
from person_search.gallery.linking import appearances_of_frames, shorten
from person_search.gallery.schema import PEOPLE_IDS
from person_search.gallery.sqlite_rows import FrameRow, PersonRow, Rows
from person_search.people import People

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
    of_frames: dict[int, set[int]] = defaultdict(set)
    for person in people:
        of_frames[person // PEOPLE_IDS].add(person)
    touched = appearances_of_frames(connection, sorted(of_frames))
    judgements = sum(
        connection.execute("SELECT count(*) FROM judgements WHERE person = ?", (i,)).fetchone()[0]
        for i in people
    )
    for frame, gone in sorted(of_frames.items()):
        _Replacement(connection, gallery, path, frame).without(gone)
    shorten(connection, gallery, path, touched)
    left = sum(
        connection.execute("SELECT count(*) FROM appearances WHERE id = ?", (i,)).fetchone()[0]
        for i in touched
    )
    scrub_names(connection, gallery)
    return Forgotten(len(people), len(of_frames), len(touched) - left, judgements)


class _Replacement:
    """Puts a frame in its own place, without some of its people."""

    def __init__(
        self, connection: sqlite3.Connection, gallery: int, path: Path, frame: int
    ) -> None:
        self._connection, self._gallery = connection, gallery
        self._rows, self._old = Rows(connection, gallery, path), frame

    def without(self, gone: set[int]) -> None:
        """Put it without the people of these ids."""
        said = self._rows.frames_by_id([self._old])[self._old]
        kept = [p for p in self._rows.people_of(FrameRow(self._old, said)) if p.id not in gone]
        question = "SELECT key FROM frames WHERE id = ?"
        key = self._connection.execute(question, (self._old,)).fetchone()[0]
        is_linked = not self._connection.execute(
            "SELECT 1 FROM unlinked WHERE frame = ?", (self._old,)
        ).fetchone()
        # Groups go by the key: what they say of those who stay must not go with the old frame.
        self._connection.execute(
            "UPDATE frames SET key = randomblob(16) WHERE id = ?", (self._old,)
        )
        new = self._rows.insert((said, _to_people(kept)))
        for number, person in enumerate(kept):
            self._move(person.id, new * PEOPLE_IDS + number)
        self._renumber_anchors(key, sorted(i % PEOPLE_IDS for i in gone))
        if is_linked:
            self._connection.execute("DELETE FROM unlinked WHERE frame = ?", (new,))
        self._rows.delete([self._old])

    def _move(self, old: int, new: int) -> None:
        """Let what is derived and said of a person be of the new row."""
        self._connection.execute("UPDATE sightings SET person = ? WHERE person = ?", (new, old))
        rows = self._connection.execute(
            "SELECT j.id, s.name, j.is_right, j.made, j.maker FROM judgements j "
            "JOIN subjects s ON s.id = j.subject WHERE j.person = ?",
            (old,),
        ).fetchall()
        for own_id, subject, *said in rows:
            self._connection.execute(
                "UPDATE judgements SET person = ?, checksum = ? WHERE id = ?",
                (new, judgement_checksum(subject, new, *said), own_id),
            )

    def _renumber_anchors(self, key: bytes, gone: Sequence[int]) -> None:
        self._connection.executemany(
            "DELETE FROM group_members WHERE gallery = ? AND key = ? AND number = ?",
            [(self._gallery, key, number) for number in gone],
        )
        rows = self._connection.execute(
            "SELECT number, action, person_group FROM group_members WHERE gallery = ? AND key = ? "
            "ORDER BY number",
            (self._gallery, key),
        ).fetchall()
        for number, action, group in rows:
            moved = number - sum(other < number for other in gone)
            said = (self._gallery, key, moved, action, group)
            self._connection.execute(
                "UPDATE group_members SET number = ?, checksum = ? "
                "WHERE gallery = ? AND key = ? AND number = ? AND action = ?",
                (moved, group_checksum(*said), self._gallery, key, number, action),
            )


def _to_people(rows: Sequence[PersonRow]) -> People:
    boxes = [(p.x1, p.y1, p.x2, p.y2) for p in rows]
    embeddings = np.frombuffer(b"".join(p.embedding for p in rows), np.float32)
    return People(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([p.score for p in rows], np.float32),
        embeddings.reshape(len(rows), len(embeddings) // max(1, len(rows))),
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
        "AND NOT EXISTS (SELECT 1 FROM group_names WHERE action = group_actions.id)",
        (gallery,),
    )
