"""What a camera sees without people: its background picture and the objects that stand in it."""

from dataclasses import dataclass

import numpy as np

from person_search.synthetic.canvas import Sprite
from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.places.backgrounds import PAINTERS
from person_search.synthetic.places.camera import Camera, make_camera
from person_search.synthetic.places.objects import FOOTPRINTS, OBJECTS_OF_SCENE, paint_object
from person_search.synthetic.world_spec import WorldSpec


@dataclass(frozen=True)
class PlacedObject:
    """An object that stands on the ground of a scene."""

    sprite: Sprite
    x: int
    y: int
    footprint: float
    """Half width on the ground, pixels."""


@dataclass(frozen=True)
class Scene:
    """A camera with what it sees when nobody is there."""

    camera: Camera
    background: np.ndarray
    """(H, W, 3) uint8 BGR."""
    objects: tuple[PlacedObject, ...]
    """Things that stand among the people, from far to near."""


def build_scene(spec: WorldSpec, index: int, camera: Camera | None = None) -> Scene:
    """Paint the scene of camera ``index``; ``camera`` stands in for the one that it has else."""
    if camera is None:
        camera = make_camera(spec, index)
    rng = make_rng(spec.seed, Stream.CAMERA, index, 1)
    background = PAINTERS[camera.scene](camera, rng)
    return Scene(camera, background, _place_objects(spec, camera, rng))


def _place_objects(
    spec: WorldSpec, camera: Camera, rng: np.random.Generator
) -> tuple[PlacedObject, ...]:
    kinds = OBJECTS_OF_SCENE[camera.scene]
    placed: list[PlacedObject] = []
    for _ in range(round(spec.clutter * int(rng.integers(4, 8)))):
        kind = kinds[int(rng.integers(0, len(kinds)))]
        low = camera.foot_row(spec.height_range_px[0] * 1.3)
        high = camera.foot_row(spec.height_range_px[1] * 0.75)
        y = round(low + (high - low) * float(rng.random()))
        size = camera.person_height(y, 1.7)
        left, right = camera.walkable(y)
        x = round(left + (right - left) * float(rng.random()))
        sprite = paint_object(kind, size, camera.light, rng)
        gap = 0.5 * size + FOOTPRINTS.get(kind, 0.08) * size
        if any(abs(o.x - x) < gap and abs(o.y - y) < 0.3 * size for o in placed):
            continue
        placed.append(PlacedObject(sprite, x, y, FOOTPRINTS.get(kind, 0.08) * size))
    return tuple(sorted(placed, key=lambda o: o.y))
