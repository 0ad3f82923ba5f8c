"""What one camera of a town films: a picture that stays, and the people who come into it."""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from person_search.synthetic.canvas import Sprite
from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.people.identity import Identity
from person_search.synthetic.people.pose import Pose
from person_search.synthetic.places.camera import add_noise, tone_table
from person_search.synthetic.places.paste import (
    PixelBox,
    boxes_overlap,
    cast_shadow,
    make_shadow,
    paste,
)
from person_search.synthetic.places.scene import PlacedObject, Scene
from person_search.synthetic.town.spec import TownSpec
from person_search.synthetic.town.sprites import WalkCycles, tone_sprite
from person_search.synthetic.world import Placed, painting_order, visible_shares


class CameraView:
    """Paint people into the picture of a camera.

    Exposure, white balance and focus of a fixed camera hardly change, so the background, the
    objects and the painted people get them once; a frame costs a copy, a few sprites and the noise.
    """

    def __init__(
        self, spec: TownSpec, index: int, scene: Scene, cast: Sequence[Identity],
        gaits: Sequence[Pose],
    ):  # fmt: skip
        """Paint what stays.

        Args:
            spec: the town.
            index: which camera.
            scene: what it sees without people, as painted.
            cast: the people of the town.
            gaits: how they walk.
        """
        camera = scene.camera
        self._look = spec.look()
        table = tone_table(camera, self._look, make_rng(spec.seed, Stream.TOWN, 4, index))
        self.cycles = WalkCycles(cast, gaits, camera.light, table, spec.views, spec.phases)
        objects = tuple(
            dataclasses.replace(thing, sprite=tone_sprite(thing.sprite, table))
            for thing in scene.objects
        )
        self._ground = np.asarray(cv2.LUT(scene.background, table))
        for thing in objects:
            cast_shadow(
                self._ground, scene.shadow_of(thing.sprite, thing.x, thing.y, thing.footprint)
            )
        if camera.blur > 0.3:
            self._ground = cv2.GaussianBlur(self._ground, (5, 5), round(camera.blur, 2))
        self._empty = self._ground.copy()
        for thing in objects:
            paste(self._empty, thing.sprite, thing.x, thing.y)
        self.scene = dataclasses.replace(scene, background=self._empty, objects=objects)
        self._clusters = _clusters(objects)
        self._noise = round(camera.noise)

    def paint(self, placed: list[Placed]) -> tuple[np.ndarray, list[float]]:
        """Paint people into the picture.

        Args:
            placed: the people.

        Returns:
            The picture before noise, (H, W, 3) uint8 BGR, and for each person the share of its
            pixels that are in the picture and not hidden.
        """
        image = self._empty.copy()
        areas = [_area(person) for person in placed]
        touched: list[PlacedObject] = []
        for cluster in self._clusters:
            if any(boxes_overlap(area, _box(thing)) for area in areas for thing in cluster):
                touched += cluster
        for thing in touched:
            x1, y1, x2, y2 = (max(0, edge) for edge in _box(thing))
            image[y1:y2, x1:x2] = self._ground[y1:y2, x1:x2]
        scene = dataclasses.replace(self.scene, objects=tuple(touched))
        for person in placed:
            reach, light = 0.7 * person.sprite.bgra.shape[0], scene.shadow_light
            size = (image.shape[1], image.shape[0])
            cast_shadow(
                image, make_shadow(size, person.x, person.y, reach, person.footprint, light)
            )
        for painted in painting_order(scene, placed):
            paste(image, painted.sprite, painted.x, painted.y)
        return image, visible_shares(scene, placed, self._look)

    def add_noise(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return what the sensor delivers of a picture."""
        dy, dx = (int(k) for k in rng.integers(0, 64, 2))
        return add_noise(image, self._noise, dy, dx)


def _box(thing: PlacedObject) -> PixelBox:
    sprite: Sprite = thing.sprite
    return sprite.box_at(thing.x, thing.y)


def _area(person: Placed) -> PixelBox:
    """Return what a person and its shadow can change."""
    x1, y1, x2, y2 = person.sprite.box_at(person.x, person.y)
    margin = 8 + round(0.2 * person.size)
    reach = round(0.75 * person.sprite.bgra.shape[0]) + margin
    return min(x1, person.x - reach), y1, max(x2, person.x + reach), y2 + margin


def _clusters(objects: Sequence[PlacedObject]) -> list[list[PlacedObject]]:
    """Return the objects in groups; those of different groups do not overlap."""
    clusters: list[list[PlacedObject]] = []
    for thing in objects:
        near = [c for c in clusters if any(boxes_overlap(_box(thing), _box(other)) for other in c)]
        clusters = [c for c in clusters if not any(c is other for other in near)]
        clusters.append([thing, *(other for cluster in near for other in cluster)])
    return clusters
