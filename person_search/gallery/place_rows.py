"""Measuring where appearances stand, and keeping it, within a transaction."""

import sqlite3

import numpy as np

from person_search.tracking.motionless import measure_place

AT_ONCE = 500
"""Appearances that one transaction measures."""


class PlaceRows:
    """Where the appearances of one gallery stand, as a transaction sees it."""

    def __init__(self, connection: sqlite3.Connection, gallery: int) -> None:
        """Use a connection within a transaction."""
        self._connection, self._gallery = connection, gallery

    def unmeasured(self) -> list[int]:
        """Return some appearances that were not measured since they changed; none when all are."""
        rows = self._connection.execute(
            "SELECT a.id FROM appearances a JOIN streams s ON s.id = a.stream "
            "LEFT JOIN appearance_places p ON p.appearance = a.id AND p.people_sum = a.people_sum "
            "WHERE s.gallery = ? AND p.appearance IS NULL "
            "AND EXISTS (SELECT 1 FROM sightings WHERE appearance = a.id) ORDER BY a.id LIMIT ?",
            (self._gallery, AT_ONCE),
        )
        return [own_id for (own_id,) in rows]

    def measure(self, appearances: list[int]) -> None:
        """Measure appearances."""
        for own_id in appearances:
            boxes = self._connection.execute(
                "SELECT p.x1, p.y1, p.x2, p.y2 FROM sightings t JOIN people p ON p.id = t.person "
                "WHERE t.appearance = ?",
                (own_id,),
            ).fetchall()
            place, share = measure_place(np.array(boxes))
            self._connection.execute(
                "INSERT OR REPLACE INTO appearance_places SELECT id, people_sum, ?, ?, ?, ?, ? "
                "FROM appearances WHERE id = ?",
                (*place.tolist(), share, own_id),
            )

    def all(self) -> dict[int, tuple[float, ...]]:
        """Return x1, y1, x2, y2 and the share of the time there of each that was measured."""
        rows = self._connection.execute(
            "SELECT p.appearance, p.x1, p.y1, p.x2, p.y2, p.share FROM appearance_places p "
            "JOIN appearances a ON a.id = p.appearance JOIN streams s ON s.id = a.stream "
            "WHERE s.gallery = ?",
            (self._gallery,),
        )
        return {own_id: tuple(said) for own_id, *said in rows}
