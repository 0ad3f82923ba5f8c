"""Reading and writing who is in which group of one gallery, within a transaction."""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from person_search.gallery.errors import GalleryError
from person_search.gallery.file_faults import damaged
from person_search.gallery.group_tables import group_checksum
from person_search.gallery.schema import PEOPLE_IDS

ANCHORS = 5
"""Sights of an appearance that keep what somebody said of it, as long as one of them is there."""
AUTOMATIC = 0
"""The action of what nobody said."""

_OF_ACTIONS = (
    ("group_members", "action"),
    ("group_names", "action"),
    ("group_verdicts", "action"),
    ("group_actions", "id"),
)
Anchor = tuple[bytes, int]
"""A person: key of the frame, and number in it."""


class Placement(NamedTuple):
    """The group that an appearance is in."""

    group: int
    is_said: bool
    """Whether somebody said so."""


class Options(NamedTuple):
    """How a gallery was grouped."""

    threshold: float
    across_days: bool


class Undone(NamedTuple):
    """What was undone."""

    action: int
    said: str


class SaidGroup(NamedTuple):
    """What somebody said of a group, without the numbers of a gallery."""

    name: str
    """"" for none."""

    people: Sequence[Anchor]
    """Whom somebody put into it."""

    is_nobody: bool = False
    """Whether somebody said that these are not people."""


class GroupRows:
    """The groups of one gallery as a transaction sees them."""

    def __init__(self, connection: sqlite3.Connection, gallery: int, path: Path) -> None:
        """Use a connection within a transaction; the path is for messages."""
        self._connection, self._gallery, self._path = connection, gallery, path

    def placements(self, only_said: bool = False) -> dict[int, Placement]:
        """Return the groups of the appearances that are in one, by their ids.

        Args:
            only_said: Leave out those that nobody put there, in a time that does not grow with
                them.
        """
        # The plus keeps SQLite from an index of the gallery where that of actions is shorter.
        which = "+m.gallery = ? AND m.action > 0" if only_said else "m.gallery = ?"
        rows = self._connection.execute(
            "SELECT t.appearance, m.key, m.number, m.action, m.person_group, m.checksum "
            "FROM group_members m JOIN frames f ON f.gallery = m.gallery AND f.key = m.key "
            f"JOIN sightings t ON t.person = f.id * {PEOPLE_IDS} + m.number "
            f"WHERE {which} ORDER BY m.action, m.person_group DESC",
            (self._gallery,),
        )
        found = {}
        for appearance, *said, checksum in rows:
            if group_checksum(self._gallery, *said) != checksum:
                raise damaged(self._path, "who is in which group is not what was stored")
            found[appearance] = Placement(said[3], said[2] != AUTOMATIC)
        return found

    def names(self) -> dict[int, str]:
        """Return the names of the groups that have one."""
        rows = self._connection.execute(
            "SELECT n.person_group, n.action, n.name, n.checksum FROM group_names n "
            "JOIN person_groups g ON g.id = n.person_group WHERE g.gallery = ? ORDER BY n.action",
            (self._gallery,),
        )
        found = {}
        for group, action, name, checksum in rows:
            if group_checksum(group, action, name) != checksum:
                raise damaged(self._path, f"the name of group {group} is not what was stored")
            found[group] = name
        return {group: name for group, name in found.items() if name}

    def nobodies(self) -> set[int]:
        """Return the groups of which somebody said that they are not people."""
        rows = self._connection.execute(
            "SELECT v.person_group, v.action, v.is_nobody, v.checksum FROM group_verdicts v "
            "JOIN person_groups g ON g.id = v.person_group WHERE g.gallery = ? ORDER BY v.action",
            (self._gallery,),
        )
        found = {}
        for group, action, is_nobody, checksum in rows:
            if group_checksum(group, action, is_nobody) != checksum:
                raise damaged(self._path, f"the verdict on group {group} is not what was stored")
            found[group] = bool(is_nobody)
        return {group for group, is_nobody in found.items() if is_nobody}

    def options(self) -> Options | None:
        """Return how the gallery was grouped; None if it was not."""
        row = self._connection.execute(
            "SELECT threshold, across_days FROM group_options WHERE gallery = ?", (self._gallery,)
        ).fetchone()
        return None if row is None else Options(row[0], bool(row[1]))

    def nobody_appearances(self) -> frozenset[int]:
        """Return the ids of the appearances of which somebody said that they are not people."""
        groups = self.nobodies()
        if not groups:
            return frozenset()
        placed = self.placements(only_said=True)
        return frozenset(i for i, place in placed.items() if place.group in groups)

    def said_version(self) -> tuple[int, ...]:
        """Return numbers that change when appearances do, or what somebody said of groups."""
        return self._numbers(
            "SELECT links FROM galleries WHERE id = ?",
            "SELECT ifnull(max(id), 0) FROM group_actions WHERE gallery = ?",
        )

    def version(self) -> tuple[int, ...]:
        """Return numbers that change when appearances or groups do."""
        # Grouping anew leaves as many members as there were, in other groups.
        members = self._numbers(
            "SELECT ifnull(sum(checksum), 0) FROM group_members WHERE gallery = ?"
        )
        return *self.said_version(), *members

    def _numbers(self, *questions: str) -> tuple[int, ...]:
        return tuple(
            int(self._connection.execute(question, (self._gallery,)).fetchone()[0])
            for question in questions
        )

    def add_group(self) -> int:
        """Make a group; return its number, which was never used."""
        made = self._connection.execute(
            "INSERT INTO person_groups (gallery) VALUES (?)", (self._gallery,)
        )
        return int(made.lastrowid or 0)

    def add_action(self, said: str) -> int:
        """Write that somebody did something; return its number."""
        made = self._connection.execute(
            "INSERT INTO group_actions (gallery, said) VALUES (?, ?)", (self._gallery, said)
        )
        return int(made.lastrowid or 0)

    def set_name(self, action: int, group: int, name: str) -> None:
        """Name a group; "" takes its name."""
        self._check_there(group)
        self._connection.execute(
            "INSERT OR REPLACE INTO group_names VALUES (?, ?, ?, ?)",
            (group, action, name, group_checksum(group, action, name)),
        )

    def set_nobody(self, action: int, group: int, is_nobody: bool) -> None:
        """Say that a group is nobody, or people after all."""
        said = (group, action, int(is_nobody))
        self._connection.execute(
            "INSERT OR REPLACE INTO group_verdicts VALUES (?, ?, ?, ?)",
            (*said, group_checksum(*said)),
        )

    def set_options(self, options: Options) -> None:
        """Write how the gallery is grouped."""
        self._connection.execute(
            "INSERT OR REPLACE INTO group_options VALUES (?, ?, ?)",
            (self._gallery, options.threshold, int(options.across_days)),
        )

    def place(self, action: int, anchors: Iterable[Anchor], group: int) -> None:
        """Put people into a group.

        Raises:
            GalleryError: If another process has removed the group since it was listed.
        """
        self._check_there(group)
        self._connection.executemany(
            "INSERT INTO group_members VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "person_group = excluded.person_group, checksum = excluded.checksum",
            [
                (*said, group_checksum(*said))
                for key, number in anchors
                for said in [(self._gallery, key, number, action, group)]
            ],
        )

    def _check_there(self, group: int) -> None:
        question = "SELECT 1 FROM person_groups WHERE id = ? AND gallery = ?"
        if self._connection.execute(question, (group, self._gallery)).fetchone() is None:
            raise GalleryError(
                f"there is no group {group} any more, as somebody else has grouped meanwhile; list "
                "them again"
            )

    def place_automatically(self, groups: dict[int, int]) -> None:
        """Put appearances into groups, and out of those that nobody put them into."""
        anchors = self.best_anchors(list(groups))
        for own_id, group in groups.items():
            self.place(AUTOMATIC, [anchors[own_id]], group)
        stale = [
            (self._gallery, key, number)
            for appearance, key, number, group in self._automatic()
            if groups.get(appearance, group) != group
        ]
        self._connection.executemany(
            "DELETE FROM group_members WHERE gallery = ? AND key = ? AND number = ? AND action = 0",
            stale,
        )
        self._connection.execute(
            "DELETE FROM person_groups WHERE gallery = ? AND NOT EXISTS "
            "(SELECT 1 FROM group_members WHERE person_group = person_groups.id)",
            (self._gallery,),
        )

    def has_action(self, action: int) -> bool:
        """Say whether anything is there of an action."""
        return any(
            self._connection.execute(
                f"SELECT 1 FROM {table} WHERE {column} = ? LIMIT 1", (action,)
            ).fetchone()
            for table, column in _OF_ACTIONS
        )

    def undo(self) -> Undone | None:
        """Undo the last action; return what it was, None if there is none."""
        last = self._connection.execute(
            "SELECT id, said FROM group_actions WHERE gallery = ? ORDER BY id DESC LIMIT 1",
            (self._gallery,),
        ).fetchone()
        if last is None:
            return None
        for table, column in _OF_ACTIONS:
            self._connection.execute(f"DELETE FROM {table} WHERE {column} = ?", last[:1])
        return Undone(*last)

    def said(self) -> list[SaidGroup]:
        """Return the groups that somebody named or changed."""
        names, nobodies = self.names(), self.nobodies()
        found: dict[int, list[Anchor]] = {}
        for key, number, action, group in self._last():
            if action != AUTOMATIC:
                found.setdefault(group, []).append((key, number))
        return [
            SaidGroup(names.get(group, ""), some, group in nobodies)
            for group, some in sorted(found.items())
        ]

    def add_said(self, theirs: Sequence[SaidGroup]) -> int:
        """Take over groups of another gallery, as one action; return how many.

        One becomes that of the same name, or the one that somebody put the same people into, or a
        new one. What was said here of the same people stays.
        """
        here = {(key, number): group for key, number, action, group in self._last() if action}
        by_name = {name: group for group, name in self.names().items()}
        action = self.add_action(f"take over {len(theirs)} groups of another gallery")
        taken = 0
        for one in theirs:
            people = self._there(one.people)
            same = [here[anchor] for anchor in people if anchor in here]
            new = [anchor for anchor in people if anchor not in here]
            if not new:
                continue
            taken += 1
            known = by_name.get(one.name) or (same[0] if same else None)
            group = known or self.add_group()
            self.place(action, new, group)
            if one.is_nobody and known is None:
                self.set_nobody(action, group, True)
            if one.name and one.name not in by_name:
                self.set_name(action, group, one.name)
        if not taken:
            self._connection.execute("DELETE FROM group_actions WHERE id = ?", (action,))
        return taken

    def _there(self, anchors: Sequence[Anchor]) -> list[Anchor]:
        """Return those of the people whose frames are in this gallery."""
        return [
            (key, number)
            for key, number in anchors
            if self._connection.execute(
                "SELECT 1 FROM frames f JOIN people p ON p.id = f.id * 65536 + ?3 "
                "WHERE f.gallery = ?1 AND f.key = ?2",
                (self._gallery, key, number),
            ).fetchone()
        ]

    def _last(self) -> list[tuple[bytes, int, int, int]]:
        """Return what counts of each anchor: key, number, action and group."""
        return self._connection.execute(
            "SELECT key, number, max(action), person_group FROM group_members WHERE gallery = ? "
            "GROUP BY key, number",
            (self._gallery,),
        ).fetchall()

    def best_anchors(self, appearances: Sequence[int]) -> dict[int, Anchor]:
        """Return the person to show of each appearance."""
        rows = self._connection.execute(
            f"SELECT a.id, f.key, a.best % {PEOPLE_IDS} FROM appearances a JOIN frames f "
            f"ON f.id = a.best / {PEOPLE_IDS} WHERE a.id IN (SELECT value FROM json_each(?))",
            (json.dumps(appearances),),
        )
        return {own_id: (key, number) for own_id, key, number in rows}

    def anchors(self, appearance: int) -> list[Anchor]:
        """Return some people of an appearance, spread evenly over it."""
        people = self._connection.execute(
            f"SELECT f.key, t.person % {PEOPLE_IDS} FROM sightings t JOIN frames f "
            f"ON f.id = t.person / {PEOPLE_IDS} WHERE t.appearance = ? ORDER BY t.time, t.person",
            (appearance,),
        ).fetchall()
        count = min(len(people), ANCHORS)
        return [people[k * (len(people) - 1) // max(1, count - 1)] for k in range(count)]

    def _automatic(self) -> list[tuple[int, bytes, int, int]]:
        return self._connection.execute(
            "SELECT t.appearance, m.key, m.number, m.person_group FROM group_members m "
            "JOIN frames f ON f.gallery = m.gallery AND f.key = m.key "
            f"JOIN sightings t ON t.person = f.id * {PEOPLE_IDS} + m.number "
            "WHERE m.gallery = ? AND m.action = 0",
            (self._gallery,),
        ).fetchall()
