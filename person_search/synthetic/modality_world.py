"""Worlds of two modalities: who is seen where, and the crops of it.

Every picture is a small frame with one person asked for, and perhaps a passer-by, from which that
person is cut; ``plan_sysu`` and ``plan_regdb`` say which pictures there are.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from person_search.synthetic.infrared import (
    deliver_far,
    deliver_near,
    far_infrared,
    far_scene,
    lamp_level,
    light_sprite,
    near_infrared,
    near_scene,
)
from person_search.synthetic.market_crops import jitter_box, reference_box
from person_search.synthetic.modality_spec import SYSU_CAMERAS, ModalitySpec, RegdbSpec, SysuSpec
from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.people.identity import Identity
from person_search.synthetic.people.pose import Pose, sample_pose
from person_search.synthetic.places.camera import Camera, make_camera
from person_search.synthetic.places.scene import Scene, build_scene
from person_search.synthetic.world import UNLABELLED, FramePlan, Placed, World

NEAR_CAMERAS = (2, 5)
"""Infrared cameras of SYSU-MM01, from 0."""
_SYSU_PLACES = (0, 1, 1, 3, 4, 5)
"""Place of each camera: the third, infrared, hangs where the second does, as in the real set."""
_SYSU_SCENES = ("hall", "corridor", "corridor", "campus", "street", "car park")
_DIM_CAMERA, _DIM_LIGHT = 4, 0.55
"""One of the colour cameras sees little light."""
VISIBLE, THERMAL = 0, 1
"""The pair of cameras of RegDB."""
_TRIES = 200


@dataclass(frozen=True)
class Shot(FramePlan):
    """A picture of one person."""

    number: int
    """Of the picture among those of its person and camera, from 1."""

    @property
    def identity(self) -> int:
        """Number of the identity in the world."""
        return self.people[0]


class ModalityWorld(World):
    """A ``World`` some of whose cameras see infrared; every frame is a ``Shot``."""

    spec: ModalitySpec

    def __init__(self, spec: ModalitySpec, shots: Sequence[Shot]):
        super().__init__(spec, list(shots))
        self.shots = shots

    def is_infrared(self, camera: int) -> bool:
        """Say whether a camera sees infrared."""
        raise NotImplementedError

    def _seen(self, person: Identity, rng: np.random.Generator) -> Identity:
        """Return what the infrared cameras see of somebody."""
        raise NotImplementedError

    def _person(self, identity: int, camera: int, rng: np.random.Generator) -> Identity:
        person = super()._person(identity, camera, rng)
        if not self.is_infrared(camera):
            return person
        own = make_rng(self.spec.seed, Stream.INFRARED, identity) if identity >= 0 else rng
        return self._seen(person, own)

    def _place_people(
        self, plan: FramePlan, scene: Scene, rng: np.random.Generator
    ) -> list[Placed]:
        for _ in range(_TRIES):
            placed = super()._place_people(plan, scene, rng)
            # The first of a plan is placed first; passers-by may be left out, it may not.
            if placed and placed[0].identity == plan.people[0]:
                return placed
        raise RuntimeError(
            f"{self.spec.name}: nobody can stand in frame {plan.index} so that "
            f"{self.spec.min_visible:.0%} of them show; lower min_visible or height_range_px"
        )

    def crop(self, index: int) -> np.ndarray:
        """Draw picture ``index`` and cut the person out: (h, w, 3) uint8 BGR, as large as seen."""
        frame = self.draw(index)
        shot = self.shots[index]
        box = reference_box(self.spec, frame.people[0].box)
        rng = make_rng(self.spec.seed, Stream.CROP, shot.identity, shot.camera, shot.number)
        x1, y1, x2, y2 = jitter_box(self.spec, box, rng)
        return frame.image[y1:y2, x1:x2].copy()


class SysuWorld(ModalityWorld):
    """Six cameras; the third and the sixth see near infrared."""

    spec: SysuSpec

    def __init__(self, spec: SysuSpec):
        super().__init__(spec, plan_sysu(spec))

    def is_infrared(self, camera: int) -> bool:
        """Say whether a camera sees infrared."""
        return camera in NEAR_CAMERAS

    def _seen(self, person: Identity, rng: np.random.Generator) -> Identity:
        return near_infrared(person, rng)

    def _build_scene(self, index: int) -> Scene:
        place = _SYSU_PLACES[index]
        camera = make_camera(self.spec, place)
        scene = _SYSU_SCENES[index]
        camera = dataclasses.replace(
            camera,
            scene=scene,
            is_outdoors=scene not in ("hall", "corridor"),
            half_way=self.spec.width * (0.9 if scene == "corridor" else 40.0),
            brightness=camera.brightness * (_DIM_LIGHT if index == _DIM_CAMERA else 1.0),
        )
        built = build_scene(self.spec, place, camera)
        return near_scene(built, index) if self.is_infrared(index) else built

    def _place_people(
        self, plan: FramePlan, scene: Scene, rng: np.random.Generator
    ) -> list[Placed]:
        placed = super()._place_people(plan, scene, rng)
        if self.is_infrared(plan.camera):
            for one in placed:
                one.sprite = light_sprite(one.sprite, lamp_level(scene.camera, one.y))
        return placed

    def _deliver(self, image: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
        if not self.is_infrared(camera.index):
            return super()._deliver(image, camera, rng)
        spec = self.spec
        return deliver_near(image, spec.infrared_noise, spec.infrared_blur, spec.exposure, rng)


class RegdbWorld(ModalityWorld):
    """A colour and a heat camera side by side."""

    spec: RegdbSpec

    def __init__(self, spec: RegdbSpec):
        super().__init__(spec, plan_regdb(spec))

    def is_infrared(self, camera: int) -> bool:
        """Say whether a camera sees infrared."""
        return camera == THERMAL

    def _seen(self, person: Identity, rng: np.random.Generator) -> Identity:
        return far_infrared(person, rng)

    def is_seen_from_behind(self, identity: int) -> bool:
        """Say which side of somebody all pictures show: in RegDB it is one for each person."""
        return bool(make_rng(self.spec.seed, Stream.SHOT, identity).random() < 0.5)

    def _pose(self, identity: int, rng: np.random.Generator) -> Pose:
        if identity < 0:
            return super()._pose(identity, rng)
        middle = 180 if self.is_seen_from_behind(identity) else 0
        return sample_pose(rng, float(middle + int(rng.integers(-24, 25))))

    def _build_scene(self, index: int) -> Scene:
        camera = dataclasses.replace(
            make_camera(self.spec, VISIBLE),
            scene="campus",
            is_outdoors=True,
            half_way=self.spec.width * 40.0,
        )
        built = build_scene(self.spec, VISIBLE, camera)
        return far_scene(built, index) if self.is_infrared(index) else built

    def _deliver(self, image: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
        if not self.is_infrared(camera.index):
            return super()._deliver(image, camera, rng)
        spec = self.spec
        return deliver_far(image, spec.infrared_noise, spec.infrared_blur, spec.exposure, rng)


def plan_sysu(spec: SysuSpec) -> list[Shot]:
    """Decide which camera takes how many pictures of whom.

    Everybody passes at least two colour cameras, one of which is not camera 2, and an infrared one.
    """
    shots: list[Shot] = []
    colour = [c for c in range(SYSU_CAMERAS) if c not in NEAR_CAMERAS]
    for identity in range(spec.train_identities + spec.test_identities):
        rng = make_rng(spec.seed, Stream.SHOT, identity)
        split = "train" if identity < spec.train_identities else "test"
        passed: list[int] = []
        for kind, (low, high) in (
            (colour, spec.visible_cameras),
            (NEAR_CAMERAS, spec.infrared_cameras),
        ):
            count = int(rng.integers(low, high + 1))
            passed += [kind[int(k)] for k in rng.permutation(len(kind))[:count]]
        low, high = spec.train_images if split == "train" else spec.test_images
        for camera in sorted(passed):
            for number in range(1, int(rng.integers(low, high + 1)) + 1):
                shots.append(_shot(spec, len(shots), split, camera, identity, number, rng))
    return shots


def plan_regdb(spec: RegdbSpec) -> list[Shot]:
    """Plan ``spec.images`` pictures of everybody by each of the two cameras."""
    shots: list[Shot] = []
    for identity in range(spec.train_identities + spec.test_identities):
        rng = make_rng(spec.seed, Stream.SHOT, identity, 1)
        for camera in (VISIBLE, THERMAL):
            for number in range(1, spec.images + 1):
                shots.append(_shot(spec, len(shots), "all", camera, identity, number, rng))
    return shots


def _shot(
    spec: ModalitySpec, index: int, split: str, camera: int, identity: int, number: int,
    rng: np.random.Generator,
) -> Shot:  # fmt: skip
    others = (UNLABELLED,) if rng.random() < spec.passer_by_share else ()
    return Shot(index, split, camera, (identity, *others), number)


def fit_crop(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return a crop in the given size; exact, so that every machine gets the same bytes."""
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR_EXACT))
