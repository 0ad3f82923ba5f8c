"""Where everybody of a drawn town is at any time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.town.spec import TownSpec
from person_search.synthetic.town.visits import Group, Stage, Visit
from person_search.synthetic.town.walks import Walk

_BEFORE, _AFTER = 1.0, 1.0
"""Seconds that a recorder keeps before and after somebody is there."""
_BRIDGED = 2.0
"""Seconds without anybody that do not end a clip."""
_TRAVEL_SPEED = 1.3
_TRIES = 40


@dataclass(frozen=True)
class Stay:
    """One person before one camera, from coming to leaving."""

    identity: int
    camera: int
    walk: Walk
    company: tuple[int, ...]
    """Who came, was there or left together with this person."""


@dataclass(frozen=True)
class Clip:
    """What a camera records without a break."""

    camera: int
    first: int
    """First frame since the town's start; on a full second."""
    frames: int
    stays: tuple[Stay, ...]

    @property
    def end(self) -> int:
        """Frame after the last one."""
        return self.first + self.frames


@dataclass(frozen=True)
class _Placed:
    """A visit at its camera and time, within an outing."""

    camera: int
    first: int
    visit: Visit

    @property
    def end(self) -> int:
        return self.first + self.visit.frames


class Planner:
    """Send circles of friends out, outing by outing."""

    def __init__(self, spec: TownSpec, stages: Sequence[Stage], rng: np.random.Generator):
        self.spec, self.stages, self.rng = spec, stages, rng

    def plan_circle(self, circle: tuple[int, ...], opening: int | None = None) -> list[Stay]:
        """Return the stays of a circle over the whole time.

        Args:
            circle: identities.
            opening: camera at which they meet on their first outing; None for chance to decide.
        """
        stays: list[Stay] = []
        free = 0
        low, high = self.spec.outings
        for number in range(int(self.rng.integers(low, high + 1))):
            placed = self._find_outing(circle, number, opening if number == 0 else None, free)
            if placed is None:
                break
            for item in placed:
                for identity, walk in item.visit.walks.items():
                    company = tuple(sorted(set(item.visit.walks) - {identity}))
                    stays.append(Stay(identity, item.camera, walk.moved(item.first), company))
            free = max(item.end for item in placed) + round(60 * self.spec.rate)
        return stays

    def _find_outing(
        self, circle: tuple[int, ...], number: int, opening: int | None, free: int
    ) -> list[_Placed] | None:
        """Return an outing at its time; None where no time is left for one."""
        for attempt in range(_TRIES):
            longest = max(self.spec.visits[0], self.spec.visits[1] - attempt // 8)
            placed = self._outing(circle, number, opening, longest)
            first = min(item.first for item in placed)
            room = self.spec.frames - (max(item.end for item in placed) - first)
            if room > free:
                moved = self._start(free, room) - first
                return [_Placed(i.camera, i.first + moved, i.visit) for i in placed]
        return None

    def _start(self, free: int, room: int) -> int:
        """Return a frame in free..room: soon, and mostly shortly after a train."""
        rate = self.spec.rate
        # Later outings are to find room too.
        chosen = free + (room - free) * float(self.rng.random()) * 0.7
        if self.rng.random() < 0.75:
            wave = self.spec.wave_seconds * rate
            after = abs(float(self.rng.standard_normal())) * 8 * rate
            train = math.ceil(chosen / wave) * wave + after
            chosen = train if train < room else chosen
        return round(chosen)

    def _outing(
        self, circle: tuple[int, ...], number: int, opening: int | None, longest: int
    ) -> list[_Placed]:
        rng = self.rng
        count = int(rng.integers(self.spec.visits[0], longest + 1))
        if opening is not None:
            return self._meeting(circle, opening, max(2, count))
        # On the first outing everybody is seen.
        kind = rng.random() * (0.85 if number == 0 else 1.0) if len(circle) > 1 else 0.0
        camera = 0 if rng.random() < 0.35 else int(rng.integers(0, len(self.stages)))
        if kind < 0.35:
            return self._go_on(circle, camera, 0, count)
        if kind < 0.6:
            return self._meeting(circle, camera, count)
        if kind < 0.85:
            return self._parting(circle, camera, count)
        alone = tuple(rng.permutation(circle)[: int(rng.integers(1, len(circle)))].tolist())
        return self._go_on(alone, camera, 0, count)

    def _go_on(self, group: Group, camera: int, first: int, count: int) -> list[_Placed]:
        """Return ``count`` visits of a group, the first at a camera and a frame."""
        placed: list[_Placed] = []
        for number in range(count):
            if number:
                nearby = self._next_camera(camera)
                first = placed[-1].end + self._travel(camera, nearby)
                camera = nearby
            visit = self.stages[camera].pass_through(group, self.rng)
            placed.append(_Placed(camera, first, visit))
        return placed

    def _meeting(self, circle: tuple[int, ...], camera: int, count: int) -> list[_Placed]:
        first, second = self._halves(circle)
        visit, *enters = self.stages[camera].meet(first, second, self.rng)
        placed = [_Placed(camera, 0, visit)]
        if count > 1:
            nearby = self._next_camera(camera)
            start = visit.frames + self._travel(camera, nearby)
            placed += self._go_on([*first, *second], nearby, start, count - 1)
        for group, enter in zip((first, second), enters, strict=True):
            if count > 2 and self.rng.random() < 0.5:
                before = self._next_camera(camera)
                earlier = self.stages[before].pass_through(group, self.rng)
                start = enter - self._travel(before, camera) - earlier.frames
                placed.append(_Placed(before, start, earlier))
        return placed

    def _parting(self, circle: tuple[int, ...], camera: int, count: int) -> list[_Placed]:
        first, second = self._halves(circle)
        placed = self._go_on([*first, *second], camera, 0, count - 1) if count > 1 else []
        start = 0
        if placed:
            last = placed[-1].camera
            camera = self._next_camera(last)
            start = placed[-1].end + self._travel(last, camera)
        visit, *leaves = self.stages[camera].part(first, second, self.rng)
        placed.append(_Placed(camera, start, visit))
        for group, left in zip((first, second), leaves, strict=True):
            if count > 1 and self.rng.random() < 0.6:
                nearby = self._next_camera(camera)
                placed += self._go_on(
                    group, nearby, start + left + self._travel(camera, nearby), 1
                )  # fmt: skip
        return placed

    def _halves(self, circle: tuple[int, ...]) -> tuple[list[int], list[int]]:
        mixed = self.rng.permutation(circle).tolist()
        half = int(self.rng.integers(1, len(mixed)))
        return mixed[:half], mixed[half:]

    def _distance(self, camera: int, other: int) -> float:
        return math.dist(self.spec.cameras[camera].place, self.spec.cameras[other].place)

    def _next_camera(self, camera: int) -> int:
        """Return where to go next: near cameras are likelier, and some come back to the same."""
        others = [k for k in range(len(self.stages)) if k != camera]
        if not others or self.rng.random() < 0.2:
            return camera
        weights = np.array([1.0 / self._distance(camera, k) for k in others])
        return others[int(self.rng.choice(len(others), p=weights / weights.sum()))]

    def _travel(self, camera: int, other: int) -> int:
        """Return how many frames pass between leaving a camera and coming to another one."""
        seconds = self._distance(camera, other) / _TRAVEL_SPEED * (0.9 + 0.4 * self.rng.random())
        if camera == other:
            seconds = (0.02 + 0.06 * self.rng.random()) * self.spec.wave_seconds * 5
        return round(self.spec.rate * float(seconds))


def plan_stays(
    spec: TownSpec, stages: Sequence[Stage], circles: Sequence[tuple[int, ...]]
) -> list[Stay]:
    """Plan a town; the first circle meets at the first camera on its first outing."""
    stays: list[Stay] = []
    for number, circle in enumerate(circles):
        planner = Planner(spec, stages, make_rng(spec.seed, Stream.TOWN, 2, number))
        stays += planner.plan_circle(circle, 0 if number == 0 else None)
    return sorted(stays, key=lambda stay: (stay.walk.first, stay.identity))


def cut_clips(spec: TownSpec, stays: Sequence[Stay]) -> list[Clip]:
    """Return what the cameras record: whole seconds around those in which somebody is there."""
    clips = []
    for camera in range(len(spec.cameras)):
        here = [stay for stay in stays if stay.camera == camera]
        spans: list[list[int]] = []
        for stay in here:
            first = math.floor(stay.walk.first / spec.rate - _BEFORE) * spec.rate
            end = math.ceil(stay.walk.end / spec.rate + _AFTER) * spec.rate
            first, end = max(0, first), min(spec.frames, end)
            if spans and first <= spans[-1][1] + _BRIDGED * spec.rate:
                spans[-1][1] = max(spans[-1][1], end)
            else:
                spans.append([first, end])
        for first, end in spans:
            inside = [s for s in here if s.walk.first < end and s.walk.end > first]
            clips.append(Clip(camera, first, end - first, tuple(inside)))
    return clips
