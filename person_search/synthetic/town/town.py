"""A drawn town: who is where, and the frames that its cameras take."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.places.camera import AVERAGE_HEIGHT_M, make_camera
from person_search.synthetic.places.objects import FOOTPRINTS, paint_object
from person_search.synthetic.places.paste import clip_box
from person_search.synthetic.places.scene import PlacedObject, Scene, build_scene
from person_search.synthetic.town.camera_view import CameraView
from person_search.synthetic.town.cast import gait_of, make_cast, make_circles
from person_search.synthetic.town.plan import Clip, Stay, cut_clips, plan_stays
from person_search.synthetic.town.spec import TownSpec
from person_search.synthetic.town.visits import Stage, pace_of
from person_search.synthetic.town.walks import STILL_BELOW
from person_search.synthetic.world import DrawnPerson, Placed

CYCLE_M = 0.75
"""Metres of a full stride, two steps, in units of body height."""
_OUTDOORS = ("street", "park", "campus", "car park", "plaza", "night street", "night park")
_MIN_SIDE = 4
"""Pixels; less of a person at the border of a frame is not annotated."""


@dataclass(frozen=True)
class TownFrame:
    """One frame of a clip."""

    image: np.ndarray
    """(H, W, 3) uint8 BGR."""
    people: tuple[DrawnPerson, ...]
    """Whoever has a box in it, hidden people included, by identity."""


class Town:
    """Draw the clips of a spec, in any order and in any process, always the same pixels.

    Examples:
        >>> from person_search.synthetic.town.spec import TOWN_PRESETS
        >>> town = Town(TOWN_PRESETS["tiny-town"])
        >>> [(town.spec.cameras[clip.camera].name, clip.frames) for clip in town.clips]
        [('station', 430), ('market', 130), ('market', 140)]
    """

    def __init__(self, spec: TownSpec):
        """Plan the whole time of the town."""
        self.spec = spec
        self.cast = make_cast(spec)
        self.circles = make_circles(spec)
        self.scenes = [_build_scene(spec, index) for index in range(len(spec.cameras))]
        rngs = [make_rng(spec.seed, Stream.TOWN, 3, k) for k in range(len(self.cast))]
        paces = [pace_of(p.age_group, rng) for p, rng in zip(self.cast, rngs, strict=True)]
        self.stages = [Stage(spec, scene, paces) for scene in self.scenes]
        self.stays: list[Stay] = plan_stays(spec, self.stages, self.circles)
        self.clips: list[Clip] = cut_clips(spec, self.stays)

    @cached_property
    def _views(self) -> list[CameraView]:
        gaits = [gait_of(self.spec, index) for index in range(len(self.cast))]
        return [
            CameraView(self.spec, index, scene, self.cast, gaits)
            for index, scene in enumerate(self.scenes)
        ]

    def draw_clip(self, index: int) -> Iterator[TownFrame]:
        """Draw the frames of a clip, one after the other."""
        for number in range(self.clips[index].frames):
            yield self.draw(index, number)

    def draw(self, index: int, number: int) -> TownFrame:
        """Draw frame ``number``, from 0, of clip ``index``."""
        clip, spec = self.clips[index], self.spec
        view, frame = self._views[clip.camera], clip.first + number
        placed = [
            self._place(stay, frame)
            for stay in clip.stays
            if stay.walk.first <= frame < stay.walk.end
        ]
        image, shares = view.paint(placed)
        people = []
        for person, share in zip(placed, shares, strict=True):
            box = person.sprite.box_at(person.x, person.y)
            x1, y1, x2, y2 = clip_box(box, spec.width, spec.height)
            if x2 - x1 >= _MIN_SIDE and y2 - y1 >= _MIN_SIDE:
                xywh = (x1, y1, x2 - x1, y2 - y1)
                people.append(DrawnPerson(person.identity, xywh, min(1.0, share)))
        people.sort(key=lambda person: person.identity)
        rng = make_rng(spec.seed, Stream.TOWN_CLIP, index, number)
        return TownFrame(view.add_noise(image, rng), tuple(people))

    def _place(self, stay: Stay, frame: int) -> Placed:
        walk, moment = stay.walk, frame - stay.walk.first
        ground = self.stages[stay.camera].ground
        person = self.cast[stay.identity]
        spot = float(walk.spots[moment, 0]), float(walk.spots[moment, 1])
        column, row = ground.project(spot)
        size = person.height_m * ground.scale(spot[1])
        dx, dz = walk.facing[moment]
        phase = None
        if walk.speeds[moment] >= STILL_BELOW:
            phase = 360.0 * float(walk.gone[moment]) / (CYCLE_M * person.height_m) % 360.0
        yaw = ground.yaw(float(dx), float(dz))
        sprite = self._views[stay.camera].cycles.sprite(stay.identity, yaw, phase, size)
        return Placed(stay.identity, sprite, round(column), round(row), size)


def _build_scene(spec: TownSpec, index: int) -> Scene:
    look, planned = spec.look(), spec.cameras[index]
    camera = dataclasses.replace(
        make_camera(look, index),
        scene=planned.scene,
        is_outdoors=planned.scene in _OUTDOORS,
        half_way=spec.width * 40.0,
    )
    scene = build_scene(look, index, camera)
    if not planned.has_kiosk:
        return scene
    rng = make_rng(spec.seed, Stream.TOWN, 5, index)
    low, high = spec.lane_height_px
    y = round(camera.foot_row((low + high) / 2 * (0.85 + 0.2 * rng.random())))
    x = round(spec.width * (0.3 + 0.4 * rng.random()))
    size = camera.person_height(y, AVERAGE_HEIGHT_M)
    kiosk = PlacedObject(
        paint_object("kiosk", size, camera.light, rng), x, y, FOOTPRINTS["kiosk"] * size
    )
    others = (thing for thing in scene.objects if abs(thing.x - x) > size + thing.footprint)
    return dataclasses.replace(
        scene, objects=tuple(sorted((*others, kiosk), key=lambda thing: thing.y))
    )
