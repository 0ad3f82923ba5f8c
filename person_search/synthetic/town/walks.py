"""How one person crosses the ground of a scene: along stops, with pauses, around objects."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from person_search.synthetic.town.ground import Spot

STILL_BELOW = 0.3
"""Metres a second below which somebody stands."""
_SMOOTHING_SECONDS = 0.7
"""Over which corners are rounded, and starts and stops drawn out."""
_TALKING_DISTANCE = 2.5


@dataclass(frozen=True)
class Stop:
    """A spot on the way, and for how many frames somebody stays there."""

    spot: Spot
    frames: int = 0


@dataclass(frozen=True)
class Obstacle:
    """A round thing on the ground."""

    spot: Spot
    radius: float
    """Metres, with the room that people leave around it."""


@dataclass(frozen=True)
class Walk:
    """A way by frames; T frames."""

    first: int
    """Frame of the first position, counted from the town's start."""
    spots: np.ndarray
    """(T, 2) metres."""
    speeds: np.ndarray
    """(T,) metres a second."""
    facing: np.ndarray
    """(T, 2) where the person is turned to: a direction on the ground, not of unit length."""
    gone: np.ndarray
    """(T,) metres since the first position."""

    @property
    def end(self) -> int:
        """Frame after the last position."""
        return self.first + len(self.spots)

    def moved(self, frames: int) -> "Walk":
        """Return the same walk so many frames later."""
        return replace(self, first=self.first + frames)


def leg_frames(start: Spot, end: Spot, speed: float, rate: int) -> int:
    """Return how many frames a straight way takes at a speed in metres a second."""
    return max(1, round(float(np.hypot(end[0] - start[0], end[1] - start[1])) / speed * rate))


def make_walk(
    stops: Sequence[Stop], speed: float, rate: int, obstacles: Sequence[Obstacle] = ()
) -> Walk:
    """Walk from stop to stop, from frame 0 on.

    Args:
        stops: two or more.
        speed: metres a second.
        rate: frames a second.
        obstacles: what is passed at a side. One at a stop is not: there the stop counts.

    Returns:
        A walk of as many frames as the pauses and the straight ways take; ways around obstacles
        are gone faster.
    """
    pieces = []
    for start, end in itertools.pairwise(stops):
        pieces.append(np.repeat(np.array([start.spot]), start.frames, 0))
        count = leg_frames(start.spot, end.spot, speed, rate)
        share = np.arange(count)[:, None] / count
        line = np.array([start.spot]) * (1 - share) + np.array([end.spot]) * share
        pieces.append(_pass_by(line, start.spot, end.spot, obstacles))
    pieces.append(np.repeat(np.array([stops[-1].spot]), stops[-1].frames + 1, 0))
    spots = _smooth(np.concatenate(pieces), rate)
    steps = np.gradient(spots, axis=0) * rate
    speeds = np.hypot(steps[:, 0], steps[:, 1])
    moved = np.hypot(*np.diff(spots, axis=0, prepend=spots[:1]).T)
    return Walk(0, spots, speeds, _hold(steps, speeds >= STILL_BELOW), np.cumsum(moved))


def _pass_by(line: np.ndarray, start: Spot, end: Spot, obstacles: Sequence[Obstacle]) -> np.ndarray:
    """Bend a straight way around what is in it, to the side on which it passes already."""
    way = np.array(end) - np.array(start)
    length = float(np.hypot(*way))
    if length < 0.5:
        return line
    ahead = way / length
    beside = np.array([-ahead[1], ahead[0]])
    for thing in obstacles:
        along = (line - np.array(thing.spot)) @ ahead
        off = float((np.array(start) - np.array(thing.spot)) @ beside)
        # Who starts or stops beside it does not have to pass.
        if abs(off) >= thing.radius or along[0] > 0 or along[-1] < 0:
            continue
        wanted = thing.radius * (1 - (along / (2.2 * thing.radius)) ** 2)
        side = 1.0 if off >= 0 else -1.0
        line = line + np.outer(side * np.maximum(0.0, wanted - abs(off)), beside)
    return line


def _smooth(spots: np.ndarray, rate: int) -> np.ndarray:
    """Average over a short while; the first and the last position stay."""
    half = max(1, round(_SMOOTHING_SECONDS * rate / 2))
    padded = np.pad(spots, ((half, half), (0, 0)), mode="edge")
    sums = np.cumsum(np.pad(padded, ((1, 0), (0, 0))), axis=0)
    width = 2 * half + 1
    return np.asarray((sums[width:] - sums[:-width]) / width)


def _hold(steps: np.ndarray, is_moving: np.ndarray) -> np.ndarray:
    """Return the direction of each frame: the last one gone, or the first one to be gone."""
    if not is_moving.any():
        return np.tile([[0.0, -1.0]], (len(steps), 1))
    last = np.where(is_moving, np.arange(len(steps)), -1)
    last = np.maximum.accumulate(last)
    return np.asarray(steps[np.where(last < 0, int(np.argmax(is_moving)), last)])


def turn_to_each_other(walks: Sequence[Walk]) -> list[Walk]:
    """Turn those who stand near others of their company to them."""
    turned = []
    for walk in walks:
        facing = walk.facing.copy()
        for other in walks:
            low, high = max(walk.first, other.first), min(walk.end, other.end)
            if other is walk or high <= low:
                continue
            mine = slice(low - walk.first, high - walk.first)
            theirs = slice(low - other.first, high - other.first)
            gap = other.spots[theirs] - walk.spots[mine]
            talks = (walk.speeds[mine] < STILL_BELOW) & (other.speeds[theirs] < STILL_BELOW)
            talks &= np.hypot(gap[:, 0], gap[:, 1]) < _TALKING_DISTANCE
            facing[mine][talks] = gap[talks]
        turned.append(replace(walk, facing=facing))
    return turned
