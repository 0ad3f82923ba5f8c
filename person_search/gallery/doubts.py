"""Which groups are probably no people, as they never move, or look like what was called nobody.

Letters: S appearances, D embedding size.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from person_search.people import Appearance
from person_search.tracking.motionless import LEAST_STAYS, find_motionless, find_same_place

MOST_OF_IT = 0.8
"""Share of the sights of a group that must be doubtful for the group to be."""


@dataclass(frozen=True)
class Stay:
    """An appearance with what tells whether it is doubtful."""

    appearance: Appearance
    stream: int
    group: int
    embedding: np.ndarray
    """(D,) float32 of unit norm."""

    place: Sequence[float] | None
    """x1, y1, x2, y2 and the share of the time there; None where it was not measured."""


@dataclass(frozen=True)
class Doubt:
    """Why a group is probably no person."""

    motionless: str = ""
    """In words; "" if it moves."""

    like_nobody: int | None = None
    """Number of a group that was called nobody, and that stands at the same place and looks alike;
    None without one."""


def find_doubts(
    stays: Sequence[Stay], nobodies: set[int], threshold: float | None
) -> Mapping[int, Doubt]:
    """Return the doubtful groups by number, those that were called nobody left out.

    Args:
        stays: All of the gallery.
        nobodies: Numbers of the groups that were called nobody.
        threshold: Similarity from which on two look alike, -1..1; None where nothing says it.
    """
    measured = [stay for stay in stays if stay.place is not None]
    if not measured:
        return {}
    numbers = np.array([stay.place for stay in measured], np.float64)
    streams = np.array([stay.stream for stay in measured], np.int64)
    pairs = np.array([(stay.stream, stay.group) for stay in measured], np.int64)
    things = np.unique(pairs, axis=0, return_inverse=True)[1].reshape(-1)
    still = find_motionless(
        numbers[:, :4],
        numbers[:, 4],
        np.array([stay.appearance.frames for stay in measured]),
        np.array([stay.appearance.seconds for stay in measured]),
        things,
    )
    known = np.array([stay.group in nobodies for stay in measured])
    alike = np.full(len(measured), -1, np.int64)
    if threshold is not None and known.any():
        looks = np.stack([stay.embedding for stay in measured])
        alike = find_same_place(numbers[:, :4], looks, streams, known, threshold)
    rows: dict[int, list[int]] = {}
    for row, stay in enumerate(measured):
        if stay.group not in nobodies:
            rows.setdefault(stay.group, []).append(row)
    # Sights that were not measured count as moving.
    sights = Counter[int]()
    for stay in stays:
        sights[stay.group] += stay.appearance.frames
    found = {}
    for group, some in rows.items():
        least = MOST_OF_IT * sights[group]
        doubt = Doubt(
            _motionless(measured, still, some, least), _alike(measured, alike, some, least)
        )
        if doubt != Doubt():
            found[group] = doubt
    return found


def _motionless(stays: Sequence[Stay], still: np.ndarray, rows: list[int], least: float) -> str:
    motionless = [stays[row].appearance for row in rows if still[row]]
    if sum(one.frames for one in motionless) < least or not motionless:
        return ""
    most = max(int(still[row]) for row in rows)
    if most >= LEAST_STAYS:
        return f"{most} stays at one place"
    longest = max(motionless, key=lambda one: one.seconds)
    return f"keeps its place for {longest.seconds:.0f} s, {longest.frames} frames"


def _alike(stays: Sequence[Stay], alike: np.ndarray, rows: list[int], least: float) -> int | None:
    there = [row for row in rows if alike[row] >= 0]
    if sum(stays[row].appearance.frames for row in there) < least or not there:
        return None
    groups = Counter(stays[int(alike[row])].group for row in there)
    return min(groups, key=lambda group: (-groups[group], group))
