"""The groups of one gallery in an SQLite file.

Letters: N appearances, D embedding size.
"""

import math
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime

import numpy as np

from person_search.footage.time_text import YEAR
from person_search.gallery.appearance_rows import AppearanceRow, AppearanceRows
from person_search.gallery.database import Database
from person_search.gallery.doubts import Doubt, Stay, find_doubts
from person_search.gallery.errors import GalleryError
from person_search.gallery.group_rows import GroupRows, Options, Placement, SaidGroup
from person_search.gallery.place_rows import PlaceRows
from person_search.gallery.rows import Group
from person_search.people import Appearance
from person_search.tracking.groups import SAME_SECONDS, find_overlaps, group_looks


@dataclass(frozen=True)
class _Looks:
    """The appearances of a gallery by their start, as columns."""

    ids: np.ndarray
    """(N,) int64."""

    starts: np.ndarray
    ends: np.ndarray
    streams: np.ndarray
    """(N,) int64."""

    frames: np.ndarray
    """(N,) int64, in how many each was seen."""

    embeddings: np.ndarray
    """(N, D) float32 of unit norm."""

    def without(self, appearances: Sequence[int]) -> "_Looks":
        """Leave some of them out."""
        kept = ~np.isin(self.ids, list(appearances))
        return _Looks(*(getattr(self, field.name)[kept] for field in fields(self)))

    def days(self) -> np.ndarray:
        """Return the (N,) local date of each as a number; all without a date are of one day."""
        days = [
            datetime.fromtimestamp(time).toordinal() if time >= YEAR else 0
            for time in self.starts.tolist()
        ]
        return np.array(days, np.int64)


class SqliteGroups:
    """The groups of one gallery; threads may share it."""

    def __init__(self, database: Database, gallery: int) -> None:
        """Keep the groups of the gallery of an id."""
        self._database, self._gallery = database, gallery

    def options(self) -> Options | None:
        """Return how the gallery was grouped; None if it was not."""
        with self._database.reading() as connection:
            return self._rows(connection).options()

    def refresh(self, options: Options, anew: bool) -> int:
        """Group what is in no group, or all that nobody has put into one.

        Args:
            options: How; where they are not those of the last time, all is grouped.
            anew: Group all.

        Returns:
            How many appearances were put into groups.
        """
        self._measure()
        while True:
            with self._database.reading("grouping") as connection:
                rows = self._rows(connection)
                version, placed = rows.version(), rows.placements()
                nobodies = rows.nobodies()
                is_anew = anew or rows.options() != options
                looks = self._read(connection, placed, is_anew)
            if looks is None and not is_anew:
                return 0
            if looks is not None:
                looks = looks.without([i for i, p in placed.items() if p.group in nobodies])
            found = {} if looks is None else _group(looks, placed, options, is_anew, nobodies)
            with self._database.writing("grouping") as connection:
                rows = self._rows(connection)
                # Another process may have linked or grouped meanwhile.
                if rows.version() != version:
                    continue
                numbers = {
                    n: rows.add_group() for n in sorted(set(found.values()), reverse=True) if n < 0
                }
                rows.place_automatically({i: numbers.get(n, n) for i, n in found.items()})
                rows.set_options(options)
            return len(found)

    def listed(self) -> list[Group]:
        """Return all groups, also those that are nobody, by their number."""
        with self._database.reading() as connection:
            rows = self._rows(connection)
            placed, names, nobodies = rows.placements(), rows.names(), rows.nobodies()
            stays, quality = self._stays(connection, placed)
            options = rows.options()
        members: dict[int, list[Appearance]] = {}
        for stay in stays:
            members.setdefault(stay.group, []).append(stay.appearance)
        company = _company([stay for stay in stays if stay.group not in nobodies])
        doubts = find_doubts(stays, nobodies, None if options is None else options.threshold)
        found = []
        for number, some in sorted(members.items()):
            is_said = number in names or any(placed[one.id].is_said for one in some)
            doubt = Doubt() if is_said else doubts.get(number, Doubt())
            found.append(
                Group(
                    *(number, names.get(number, ""), some, company.get(number, ())),
                    best=max(some, key=lambda one: (quality[one.id], -one.id)).id,
                    is_said=is_said,
                    is_nobody=number in nobodies,
                    motionless=doubt.motionless,
                    like_nobody=doubt.like_nobody,
                )
            )
        return found

    @contextmanager
    def acting(self) -> Iterator[GroupRows]:
        """Give the rows inside a transaction that is committed at the end, or undone."""
        with self._database.writing("changing groups") as connection:
            yield self._rows(connection)

    def undo(self) -> str | None:
        """Undo what was done last, and read back that it is gone; return what it was."""
        with self.acting() as rows:
            undone = rows.undo()
        if undone is None:
            return None
        with self._database.afresh("reading back") as connection:
            if self._rows(connection).has_action(undone.action):
                raise GalleryError(
                    f"{self._database.path}: {undone.said!r} was undone and committed, but is "
                    "there when read back; check the disk, then undo again"
                )
        return undone.said

    def said(self) -> list[SaidGroup]:
        """Return the groups that somebody named or changed."""
        with self._database.reading() as connection:
            return self._rows(connection).said()

    def _stays(
        self, connection: sqlite3.Connection, placed: dict[int, Placement]
    ) -> tuple[list[Stay], dict[int, float]]:
        """Return the grouped appearances by start, and their qualities."""
        told = {i: (stream, camera) for i, stream, camera in self._streams(connection)}
        places = PlaceRows(connection, self._gallery).all()
        stays, quality = [], {}
        for row in self._appearances(connection).within(-math.inf, math.inf):
            if row.id in placed:
                stream, camera = told[row.id]
                group, place = placed[row.id].group, places.get(row.id)
                stays.append(Stay(row.said(camera), stream, group, _mean(row), place))
                quality[row.id] = row.best_quality
        return stays, quality

    def _measure(self) -> None:
        """Measure where the appearances stand that were not measured yet."""
        while True:
            with self._database.reading("measuring") as connection:
                if not PlaceRows(connection, self._gallery).unmeasured():
                    return
            with self._database.writing("measuring where people stand") as connection:
                rows = PlaceRows(connection, self._gallery)
                rows.measure(rows.unmeasured())

    def _read(
        self, connection: sqlite3.Connection, placed: dict[int, Placement], is_anew: bool
    ) -> _Looks | None:
        """Read what is needed to group; None if nothing is to be grouped."""
        streams = {i: stream for i, stream, _ in self._streams(connection)}
        if not streams or (not is_anew and placed.keys() >= streams.keys()):
            return None
        rows = list(self._appearances(connection).within(-math.inf, math.inf))
        return _Looks(
            np.array([row.id for row in rows], np.int64),
            np.array([row.start for row in rows]),
            np.array([row.end for row in rows]),
            np.array([streams[row.id] for row in rows], np.int64),
            np.array([row.num_people for row in rows], np.int64),
            np.stack([_mean(row) for row in rows]),
        )

    def _streams(self, connection: sqlite3.Connection) -> list[tuple[int, int, str | None]]:
        return connection.execute(
            "SELECT a.id, a.stream, c.name FROM appearances a JOIN streams s ON s.id = a.stream "
            "JOIN people p ON p.id = a.best JOIN frames f ON f.id = p.frame "
            "LEFT JOIN cameras c ON c.id = f.camera WHERE s.gallery = ?",
            (self._gallery,),
        ).fetchall()

    def _appearances(self, connection: sqlite3.Connection) -> AppearanceRows:
        return AppearanceRows(connection, self._gallery, self._database.path)

    def _rows(self, connection: sqlite3.Connection) -> GroupRows:
        return GroupRows(connection, self._gallery, self._database.path)


def _mean(row: AppearanceRow) -> np.ndarray:
    mean: np.ndarray = (row.total / max(np.linalg.norm(row.total), 1e-12)).astype(np.float32)
    return mean


def _group(
    looks: _Looks,
    placed: dict[int, Placement],
    options: Options,
    is_anew: bool,
    nobodies: set[int],
) -> dict[int, int]:
    """Return the groups of the appearances that are to be put into one; new ones below 0.

    Groups of ``nobodies`` keep their numbers, and nobody joins them.
    """
    nobody = Placement(-1, False)
    before = [placed.get(i, nobody) for i in looks.ids.tolist()]
    fixed = np.array([p.group if p.is_said or not is_anew else -1 for p in before], np.int64)
    days = np.zeros_like(looks.ids) if options.across_days else looks.days()
    labels = np.empty_like(fixed)
    num_new = 0
    for day in np.unique(days):
        rows = np.flatnonzero(days == day)
        known = fixed[rows]
        found = group_looks(
            looks.embeddings[rows],
            options.threshold,
            weights=looks.frames[rows],
            fixed=known,
            apart=find_overlaps(
                looks.starts[rows], looks.ends[rows], looks.streams[rows], SAME_SECONDS
            ),
        )
        above = int(known.max(initial=-1))
        # New groups count down from -1, over all days.
        labels[rows] = np.where(found > above, above - found - num_new, found)
        num_new += max(0, int(found.max(initial=-1)) - above)
    if is_anew:
        labels = _keep_numbers(labels, before, set(fixed.tolist()) | nobodies)
    to_place = np.flatnonzero(fixed < 0)
    return dict(zip(looks.ids[to_place].tolist(), labels[to_place].tolist(), strict=True))


def _keep_numbers(labels: np.ndarray, before: Sequence[Placement], taken: set[int]) -> np.ndarray:
    """Give a new group the number that most of its appearances had, if no other one has it."""
    shared = Counter(
        (label, old.group)
        for label, old in zip(labels.tolist(), before, strict=True)
        if label < 0 <= old.group
    )
    numbers: dict[int, int] = {}
    for (label, old), _ in sorted(shared.items(), key=lambda pair: (-pair[1], pair[0][1])):
        if label not in numbers and old not in taken:
            numbers[label] = old
            taken.add(old)
    return np.array([numbers.get(label, label) for label in labels.tolist()], np.int64)


def _company(stays: Sequence[Stay]) -> dict[int, list[tuple[int, int]]]:
    """Return for each group those who were there at the same time, and how often."""
    pairs = find_overlaps(
        np.array([stay.appearance.start for stay in stays]),
        np.array([stay.appearance.end for stay in stays]),
        np.array([stay.stream for stay in stays], np.int64),
    )
    groups = np.array([stay.group for stay in stays], np.int64)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    # One appearance meets another group once, however many appearances of that it overlaps.
    met = np.unique(np.stack([both[:, 0], groups[both[:, 1]]], axis=1), axis=0)
    counts = Counter(zip(groups[met[:, 0]].tolist(), met[:, 1].tolist(), strict=True))
    found: dict[int, list[tuple[int, int]]] = {}
    for (group, other), count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])):
        if group != other:
            found.setdefault(group, []).append((other, count))
    return found
