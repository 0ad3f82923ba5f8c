"""What a camera sees without people: its background picture and the objects that stand in it."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from person_search.synthetic.canvas import Light, Sprite
from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.places.backgrounds import PAINTERS
from person_search.synthetic.places.camera import Camera, make_camera
from person_search.synthetic.places.objects import FOOTPRINTS, OBJECTS_OF_SCENE, paint_object
from person_search.synthetic.places.paste import Shadow, make_shadow
from person_search.synthetic.world_spec import WorldSpec

_INDOOR_CONTRAST = 0.1


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

    @property
    def shadow_light(self) -> Light:
        """The light that throws shadows on the ground: hardly any indoors."""
        light = self.camera.light
        return light if self.camera.is_outdoors else Light(light.side, _INDOOR_CONTRAST)

    def shadow_of(self, sprite: Sprite, x: int, y: int, footprint: float) -> Shadow:
        """Return the shadow of a thing that stands on row y, half as wide as ``footprint``."""
        camera = self.camera
        tall = min(sprite.bgra.shape[0], camera.person_height(y, 2.2))
        size = (camera.width, camera.height)
        return make_shadow(size, x, y, 0.7 * tall, footprint, self.shadow_light)

    @cached_property
    def object_shadows(self) -> dict[int, Shadow]:
        """The shadow of each object, by its ``id``; they are the same in all frames."""
        return {id(o): self.shadow_of(o.sprite, o.x, o.y, o.footprint) for o in self.objects}


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
