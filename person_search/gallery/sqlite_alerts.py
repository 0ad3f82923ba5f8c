"""Which stays alerts were told of, of one gallery in an SQLite file."""

import sqlite3
from collections.abc import Sequence

from person_search.gallery.database import Database
from person_search.gallery.schema import PEOPLE_IDS
from person_search.gallery.verifying import UNREADABLE


class SqliteAlerts:
    """The stays of one gallery that alerts were told of; threads may share it."""

    def __init__(self, database: Database, gallery: int) -> None:
        """Keep those of the gallery of an id."""
        self._database, self._gallery = database, gallery

    def told(self, query: str) -> list[int]:
        """Return the ids of the appearances that were told of to a query."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT DISTINCT t.appearance FROM told_alerts a JOIN frames f "
                "ON f.gallery = a.gallery AND f.key = a.key "
                f"JOIN sightings t ON t.person = f.id * {PEOPLE_IDS} + a.number "
                "WHERE a.gallery = ? AND a.query = ? ORDER BY t.appearance",
                (self._gallery, query),
            )
            return [own_id for (own_id,) in rows]

    def keep(self, told: Sequence[tuple[str, str]]) -> None:
        """Write that queries were told of people.

        Args:
            told: Each query with the id of a person (`Match.person`).
        """
        rows = [
            (self._gallery, query, bytes.fromhex(frame), int(number))
            for query, person in told
            for frame, _, number in [person.rpartition("_")]
        ]
        with self._database.writing("keeping an alert") as connection:
            connection.executemany("INSERT OR IGNORE INTO told_alerts VALUES (?, ?, ?, ?)", rows)


def copy_alerts(source: sqlite3.Connection, target: sqlite3.Connection, gallery: int) -> None:
    """Carry what a damaged file says of alerts into one that has the frames, as far as it can."""
    try:
        rows = source.execute(
            "SELECT gallery, query, key, number FROM told_alerts WHERE gallery = ?", (gallery,)
        ).fetchall()
    except UNREADABLE:
        return
    target.executemany(
        "INSERT OR IGNORE INTO told_alerts SELECT ?1, ?2, ?3, ?4 WHERE EXISTS "
        "(SELECT 1 FROM frames WHERE gallery = ?1 AND key = ?3 AND num_people > ?4)",
        rows,
    )
