"""What friends do before one camera: walk through, linger, hide, meet, part."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from person_search.synthetic.places.camera import AVERAGE_HEIGHT_M
from person_search.synthetic.places.scene import Scene
from person_search.synthetic.town.ground import Ground, Spot
from person_search.synthetic.town.spec import TownSpec
from person_search.synthetic.town.walks import (
    Obstacle,
    Stop,
    Walk,
    leg_frames,
    make_walk,
    turn_to_each_other,
)

Group = Sequence[int]
"""Identities who walk together."""

_PACE = (1.15, 1.5)
"""Metres a second of adults."""
_ROOM = 0.35
"""Metres that people leave between themselves and things."""


@dataclass(frozen=True)
class Visit:
    """How people pass one camera, from frame 0 on."""

    walks: dict[int, Walk]
    """By identity."""

    @property
    def frames(self) -> int:
        """How long it takes."""
        return max(walk.end for walk in self.walks.values())


class Stage:
    """The ground of one camera as a place to walk in."""

    def __init__(self, spec: TownSpec, scene: Scene, paces: Sequence[float]):
        """Measure the scene.

        Args:
            spec: the town.
            scene: what the camera sees.
            paces: metres a second of each identity.
        """
        self.spec, self.paces = spec, paces
        self.ground = Ground(scene.camera)
        self.obstacles = []
        for thing in scene.objects:
            spot = self.ground.spot_at(thing.x, thing.y)
            radius = thing.footprint / self.ground.scale(spot[1]) + _ROOM
            self.obstacles.append(Obstacle(spot, radius))
        self.hides = [
            Obstacle(obstacle.spot, obstacle.radius)
            for obstacle, thing in zip(self.obstacles, scene.objects, strict=True)
            if thing.sprite.bgra.shape[1] > 0.28 * self._person_px(obstacle.spot)
            and 0.1 < thing.x / scene.camera.width < 0.9
        ]

    def _person_px(self, spot: Spot) -> float:
        return AVERAGE_HEIGHT_M * self.ground.scale(spot[1])

    def pass_through(self, group: Group, rng: np.random.Generator) -> Visit:
        """Enter at one side and leave at the other or, after a while, at the same."""
        side, entry = self._entry(rng)
        stops = [Stop(entry)]
        is_turning = rng.random() < 0.25
        if self.hides and rng.random() < self.spec.hiding:
            stops.append(self._hide(rng))
        elif is_turning or rng.random() < 0.3:
            stops.append(Stop(self._middle(rng), self._seconds(rng, 2.0, 6.0)))
        is_turning = is_turning and len(stops) > 1
        stops.append(Stop(self._exit(entry, side if is_turning else -side, rng)))
        offsets = self._offsets(len(group), rng)
        return self._finish({who: self._walk(group, stops, offsets[k])
                             for k, who in enumerate(group)})  # fmt: skip

    def meet(self, first: Group, second: Group, rng: np.random.Generator) -> tuple[Visit, int, int]:
        """Let one group wait for the other one and go on with it.

        Returns:
            The visit, and in which of its frames the first and the second group enter.
        """
        everybody = [*first, *second]
        offsets = self._offsets(len(everybody), rng)
        side, entry = self._entry(rng)
        _, other_entry = self._entry(rng, -side if rng.random() < 0.7 else side)
        middle = self._middle(rng)
        way, other_way = (
            leg_frames(start, middle, self._speed(group), self.spec.rate)
            for start, group in ((entry, first), (other_entry, second))
        )
        waiting, talking = self._seconds(rng, 1.5, 6.0), self._seconds(rng, 3.0, 6.0)
        delay = way + waiting - other_way
        leaving = Stop(self._exit(entry, side if rng.random() < 0.5 else -side, rng))
        walks = {}
        for k, who in enumerate(everybody):
            is_first = k < len(first)
            group, start = (first, entry) if is_first else (second, other_entry)
            pause = waiting + talking if is_first else talking
            stops = [Stop(start), Stop(middle, pause), leaving]
            # From the meeting on everybody goes at the pace of the slowest.
            walk = self._walk(group, stops[:2], offsets[k])
            onward = self._walk(everybody, stops[1:], offsets[k])
            walks[who] = _join(walk, onward, pause).moved(max(0, -delay if is_first else delay))
        visit = self._finish(walks)
        return visit, max(0, -delay), max(0, delay)

    def part(self, first: Group, second: Group, rng: np.random.Generator) -> tuple[Visit, int, int]:
        """Let all enter together, stand, and leave as two groups at different sides.

        Returns:
            The visit, and in which of its frames the first and the second group have left.
        """
        everybody = [*first, *second]
        offsets = self._offsets(len(everybody), rng)
        side, entry = self._entry(rng)
        middle, pause = self._middle(rng), self._seconds(rng, 3.0, 6.0)
        walks = {}
        for group, exit_side in ((first, side), (second, -side)):
            leaving = Stop(self._exit(entry, exit_side, rng))
            for who in group:
                offset = offsets[everybody.index(who)]
                walk = self._walk(everybody, [Stop(entry), Stop(middle, pause)], offset)
                onward = self._walk(group, [Stop(middle, pause), leaving], offset)
                walks[who] = _join(walk, onward, pause)
        visit = self._finish(walks)
        ends = [max(visit.walks[who].end for who in group) for group in (first, second)]
        return visit, ends[0], ends[1]

    def _finish(self, walks: dict[int, Walk]) -> Visit:
        turned = turn_to_each_other(list(walks.values()))
        return Visit(dict(zip(walks, turned, strict=True)))

    def _walk(self, pace_of: Group, stops: Sequence[Stop], offset: Spot) -> Walk:
        placed = [Stop((s.spot[0] + offset[0], s.spot[1] + offset[1]), s.frames) for s in stops]
        return make_walk(placed, self._speed(pace_of), self.spec.rate, self.obstacles)

    def _speed(self, group: Group) -> float:
        return min(self.paces[who] for who in group)

    def _seconds(self, rng: np.random.Generator, low: float, high: float) -> int:
        """Return a number of frames."""
        return round(self.spec.rate * (low + (high - low) * float(rng.random())))

    def _lane(self, rng: np.random.Generator) -> float:
        low, high = self.spec.lane_height_px
        return self.ground.away_of(low * math.pow(high / low, float(rng.random())))

    def _entry(self, rng: np.random.Generator, side: int = 0) -> tuple[int, Spot]:
        side = side or (1 if rng.random() < 0.5 else -1)
        return side, self.ground.edge_spot(side, self._lane(rng))

    def _exit(self, entry: Spot, side: int, rng: np.random.Generator) -> Spot:
        low, high = self.spec.lane_height_px
        away = entry[1] * math.exp(0.4 * float(rng.standard_normal()))
        away = min(self.ground.away_of(low), max(self.ground.away_of(high), away))
        return self.ground.edge_spot(side, away)

    def _middle(self, rng: np.random.Generator) -> Spot:
        """Return a spot well in the picture that nothing stands on."""
        while True:
            away = self._lane(rng)
            column = (0.18 + 0.64 * float(rng.random())) * self.spec.width
            spot = self.ground.across_at(column, away), away
            if all(math.dist(spot, o.spot) > o.radius + 0.6 for o in self.obstacles):
                return spot

    def _hide(self, rng: np.random.Generator) -> Stop:
        """Return a stop right behind a thing."""
        thing = self.hides[int(rng.integers(0, len(self.hides)))]
        away = thing.spot[1] + thing.radius + 0.2
        column, _ = self.ground.project(thing.spot)
        spot = self.ground.across_at(column, away), away
        return Stop(spot, self._seconds(rng, 1.0, 4.0))

    def _offsets(self, count: int, rng: np.random.Generator) -> list[Spot]:
        """Return where each of a group walks, relative to its way."""
        sign = 1.0 if rng.random() < 0.5 else -1.0
        offsets = [(0.0, 0.0)]
        for k in range(1, count):
            across = sign * (0.45 + 0.3 * float(rng.random()))
            away = 0.3 + 0.5 * float(rng.random())
            row, turn = (k + 1) // 2, 1 if k % 2 else -1
            offsets.append((turn * row * across, turn * row * away))
        return offsets


def pace_of(age_group: str, rng: np.random.Generator) -> float:
    """Return how fast somebody walks, metres a second."""
    low, high = _PACE
    factor = {"senior": 0.8, "child": 0.9}.get(age_group, 1.0)
    return factor * (low + (high - low) * float(rng.random()))


def _join(walk: Walk, onward: Walk, pause: int) -> Walk:
    """Return a walk that ends with a pause, and then one that begins with the same pause."""
    half = min(pause // 2, len(walk.spots) - 1, len(onward.spots) - 1)
    rest = pause - half
    gone = onward.gone[rest:] - onward.gone[rest] + walk.gone[-1 - half]
    return Walk(
        walk.first,
        np.concatenate([walk.spots[:-half - 1], onward.spots[rest:]]),
        np.concatenate([walk.speeds[:-half - 1], onward.speeds[rest:]]),
        np.concatenate([walk.facing[:-half - 1], onward.facing[rest:]]),
        np.concatenate([walk.gone[:-half - 1], gone]),
    )  # fmt: skip
