"""Keeping a few best people of each stay, and of the others when and where they were.

The people who are not kept are deleted with their embeddings. A stay is looked at when it has
ended: then nothing is linked to it any more that the others would be needed for.
"""

import json
import sqlite3
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

from person_search.gallery.appearance_rows import AppearanceRows
from person_search.gallery.rows import StoredFrame, Thinned
from person_search.gallery.schema import PEOPLE_IDS, frame_checksum, people_checksum
from person_search.gallery.sqlite_rows import Rows

_MOST_PEOPLE = 5_000
"""Not kept by one transaction, unless it is one stay."""
_LISTED = "(SELECT value FROM json_each(?))"
# Of a video nothing follows when all of it is linked; a camera goes on filming.
_ENDED = """SELECT a.id FROM appearances a JOIN streams s ON s.id = a.stream
    WHERE s.gallery = ?1 AND a.id > ?2 AND (
        a."end" < ?3 + coalesce(
            (SELECT min(u.timestamp) FROM unlinked u WHERE u.stream = s.id),
            (SELECT max(f.timestamp) FROM frames f WHERE f.stream = s.id)
        ) OR (s.name GLOB 'file:*' AND NOT EXISTS (SELECT 1 FROM unlinked WHERE stream = s.id)))
    AND (SELECT count(*) FROM sightings t WHERE t.appearance = a.id) > ?4 ORDER BY a.id"""
# Whom somebody has judged, or a group is known by.
_NEEDED = f"""SELECT t.person FROM sightings t WHERE t.appearance = ?1 AND (
    EXISTS (SELECT 1 FROM judgements j WHERE j.person = t.person)
    OR EXISTS (SELECT 1 FROM frames f JOIN group_members m ON m.gallery = f.gallery
        AND m.key = f.key AND m.number = t.person % {PEOPLE_IDS}
        WHERE f.id = t.person / {PEOPLE_IDS}))"""


class KeepingBest:
    """Leaves out people of stays within a transaction that writes."""

    def __init__(self, connection: sqlite3.Connection, gallery: int, path: Path) -> None:
        """Use a connection within a transaction; the path is for messages."""
        self._connection, self._gallery = connection, gallery
        self._rows = Rows(connection, gallery, path)
        self._appearances = AppearanceRows(connection, gallery, path)

    def thin_some(self, count: int, max_gap: float, after: int) -> tuple[Thinned, int] | None:
        """Thin the next appearances that have ended; see `store.Appearances.thin_some`."""
        ended = self._connection.execute(
            _ENDED, (self._gallery, after, -max_gap, count + 2)
        ).fetchall()
        done, gone = 0, list[int]()
        for (own_id,) in ended:
            spare = self._spare(own_id, count)
            if gone and len(gone) + len(spare) > _MOST_PEOPLE:
                break
            after, done = own_id, done + bool(spare)
            gone += spare
        if gone:
            self._leave_out(gone)
        return (Thinned(len(gone), done), after) if ended else None

    def _spare(self, appearance: int, count: int) -> list[int]:
        """Return who of an appearance is not kept, by id."""
        members = self._appearances.people_of(appearance)
        between = sorted(members[1:-1], key=lambda member: (-member[2], member[1], member[0]))
        row = self._appearances.by_id([appearance])[appearance]
        needed = {person for (person,) in self._connection.execute(_NEEDED, (appearance,))}
        # The one to show is among them, unless frames with better ones were removed and came back.
        needed.add(row.best)
        return sorted(person for person, *_ in between[count:] if person not in needed)

    def _leave_out(self, people: list[int]) -> None:
        listed = json.dumps(people)
        self._connection.execute(
            "INSERT INTO unkept SELECT t.person, t.appearance, t.time, t.quality, p.x1, p.y1, "
            "p.x2, p.y2 FROM sightings t JOIN people p ON p.id = t.person "
            f"WHERE t.person IN {_LISTED}",
            (listed,),
        )
        self._connection.execute(f"DELETE FROM people WHERE id IN {_LISTED}", (listed,))
        count_without(self._connection, self._gallery, self._rows, people)
        self._appearances.changed()


def count_without(
    connection: sqlite3.Connection, gallery: int, rows: Rows, people: Iterable[int]
) -> None:
    """Let a gallery and its frames say who is left, when people were deleted, by their ids."""
    gone = sorted(people)
    frames = [frame for frame, _ in groupby(gone, lambda i: i // PEOPLE_IDS)]
    for own_id, said in rows.frames_by_id(frames).items():
        first = own_id * PEOPLE_IDS
        left: list[Any] = connection.execute(
            "SELECT checksum FROM people WHERE id BETWEEN ? AND ? ORDER BY id",
            (first, first + PEOPLE_IDS - 1),
        ).fetchall()
        total = people_checksum([checksum for (checksum,) in left])
        frame = StoredFrame(
            *(said.name, said.content_hash, said.camera, said.timestamp, len(left), said.size)
        )
        connection.execute(
            "UPDATE frames SET num_people = ?, people_sum = ?, checksum = ? WHERE id = ?",
            (len(left), total, frame_checksum(own_id, frame, total), own_id),
        )
    connection.execute(
        "UPDATE galleries SET num_people = num_people - ?, changes = changes + 1, "
        "removals = removals + 1 WHERE id = ?",
        (len(gone), gallery),
    )
