"""A drawn world: who appears where, and the pictures of it."""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from person_search.synthetic.canvas import Sprite
from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.people.figure import paint_person
from person_search.synthetic.people.identity import Identity, make_identity, sample_identity
from person_search.synthetic.people.pose import Pose, sample_pose
from person_search.synthetic.places.camera import Camera, spoil
from person_search.synthetic.places.paste import (
    PixelBox,
    boxes_overlap,
    cast_shadow,
    clip_box,
    paste,
)
from person_search.synthetic.places.scene import PlacedObject, Scene, build_scene
from person_search.synthetic.world_spec import WorldSpec

UNLABELLED = -1
_SCENES_KEPT = 24
_TRIES = 12


@dataclass(frozen=True)
class FramePlan:
    """What a frame is to show."""

    index: int
    """Number of the frame in the world: training frames first."""
    split: str
    camera: int
    people: tuple[int, ...]
    """Identities, ``UNLABELLED`` for passers-by."""


@dataclass(frozen=True)
class DrawnPerson:
    """One annotated person of a frame."""

    identity: int
    """Number of the identity in the world, or ``UNLABELLED``."""
    box: tuple[int, int, int, int]
    """(x, y, w, h) in pixels: the whole person, hidden parts included, cut at the frame's
    border."""
    visible: float
    """Share of the person's pixels that are in the frame and not hidden."""


@dataclass(frozen=True)
class DrawnFrame:
    """A finished frame."""

    plan: FramePlan
    image: np.ndarray
    """(H, W, 3) uint8 BGR."""
    people: tuple[DrawnPerson, ...]


@dataclass
class Placed:
    """A person on the way into a frame."""

    identity: int
    sprite: Sprite
    x: int
    y: int
    size: float
    """Body height, pixels."""

    @property
    def footprint(self) -> float:
        """Half width on the ground, pixels."""
        return 0.13 * self.size


class World:
    """Draw the frames of a spec, in any order and in any process, always the same bytes.

    Examples:
        >>> from person_search.synthetic.world_spec import PRESETS
        >>> world = World(PRESETS["tiny-cuhk"])
        >>> frame = world.draw(0)
        >>> frame.image.shape, frame.plan.split
        ((180, 320, 3), 'train')
        >>> [person.identity for person in frame.people]
        [1, 4]
    """

    def __init__(self, spec: WorldSpec, plans: list[FramePlan] | None = None):
        """Plan the frames.

        Args:
            spec: The world.
            plans: Which camera sees whom in each frame; None for ``plan_frames(spec)``.
        """
        self.spec = spec
        self.plans = plan_frames(spec) if plans is None else plans
        self._scenes: dict[int, Scene] = {}
        self._identities: dict[int, Identity] = {}

    def identity(self, index: int) -> Identity:
        """Return identity ``index``: training identities come first, then those of the test."""
        if index not in self._identities:
            start = 0 if index < self.spec.train_identities else self.spec.train_identities
            share = self.spec.near_duplicate_share
            self._identities[index] = make_identity(self.spec.seed, index, share, start)
        return self._identities[index]

    def scene(self, index: int) -> Scene:
        """Return the scene of a camera, painted once."""
        if index not in self._scenes:
            if len(self._scenes) >= _SCENES_KEPT:
                self._scenes.pop(next(iter(self._scenes)))
            self._scenes[index] = self._build_scene(index)
        return self._scenes[index]

    def _build_scene(self, index: int) -> Scene:
        return build_scene(self.spec, index)

    def draw(self, index: int) -> DrawnFrame:
        """Draw frame ``index``."""
        plan, spec = self.plans[index], self.spec
        rng = make_rng(spec.seed, Stream.FRAME, index)
        scene = self.scene(plan.camera)
        placed = self._place_people(plan, scene, rng)
        image = scene.background.copy()
        _paint(image, scene, placed)
        shown = visible_shares(scene, placed, spec)
        people = tuple(
            DrawnPerson(p.identity, _xywh(p, spec), share)
            for p, share in zip(placed, shown, strict=True)
        )
        return DrawnFrame(plan, self._deliver(image, scene.camera, rng), people)

    def _deliver(self, image: np.ndarray, camera: Camera, rng: np.random.Generator) -> np.ndarray:
        """Return what the camera makes of a clean picture."""
        return spoil(image, camera, self.spec, rng)

    def _person(self, identity: int, camera: int, rng: np.random.Generator) -> Identity:
        """Return what that camera sees of an identity, or of a passer-by."""
        return self.identity(identity) if identity >= 0 else sample_identity(rng)

    def _pose(self, identity: int, rng: np.random.Generator) -> Pose:
        return sample_pose(rng)

    def _place_people(
        self, plan: FramePlan, scene: Scene, rng: np.random.Generator
    ) -> list[Placed]:
        placed: list[Placed] = []
        for identity in plan.people:
            person = self._person(identity, plan.camera, rng)
            y, size = _choose_depth(self.spec, scene.camera, person.height_m, rng)
            sprite = paint_person(person, self._pose(identity, rng), size, scene.camera.light)
            for _ in range(_TRIES):
                x = _choose_x(self.spec, scene, placed, y, rng)
                candidate = Placed(identity, sprite, x, y, size)
                if self._is_acceptable(scene, [*placed, candidate]):
                    placed.append(candidate)
                    break
        return placed

    def _is_acceptable(self, scene: Scene, placed: list[Placed]) -> bool:
        _, _, w, h = _xywh(placed[-1], self.spec)
        if w < 8 or h < 18:
            return False
        order, least = painting_order(scene, placed), self.spec.min_visible
        candidate = placed[-1]
        box, spec = _half_box(candidate), self.spec
        # The others were acceptable before it came: only whom it can hide is looked at again.
        return _visible_share(candidate, order, spec) >= least and all(
            _visible_share(other, order, spec) >= least
            for other in placed[:-1]
            if other.y <= candidate.y and boxes_overlap(_half_box(other), box)
        )


def _choose_depth(
    spec: WorldSpec, camera: Camera, height_m: float, rng: np.random.Generator
) -> tuple[int, float]:
    """Return the row of the feet and the body height in pixels."""
    low, high = spec.height_range_px
    wanted = spec.median_height_px * math.exp(spec.height_spread * float(rng.standard_normal()))
    y = round(camera.foot_row(min(high, max(low, wanted))))
    return y, min(high, max(low, camera.person_height(y, height_m)))


def _choose_x(
    spec: WorldSpec, scene: Scene, placed: list[Placed], y: int, rng: np.random.Generator
) -> int:
    """Return a column: anywhere, or where a person or object overlaps it."""
    others = [(p.x, p.y) for p in placed] + [(o.x, o.y) for o in scene.objects]
    left, right = scene.camera.walkable(y)
    near = [x for x, other_y in others if abs(other_y - y) < 0.25 * spec.height]
    if near and rng.random() < spec.occlusion:
        reach = 0.12 * (y - scene.camera.horizon)
        x = near[int(rng.integers(0, len(near)))] + reach * (2 * rng.random() - 1)
        return round(min(right, max(left, x)))
    return round(left + (right - left) * rng.random())


def _xywh(person: Placed, spec: WorldSpec) -> tuple[int, int, int, int]:
    x1, y1, x2, y2 = clip_box(person.sprite.box_at(person.x, person.y), spec.width, spec.height)
    return x1, y1, x2 - x1, y2 - y1


def painting_order(scene: Scene, placed: list[Placed]) -> list[Placed | PlacedObject]:
    """Return people and objects from far to near; people before objects on the same row."""
    things: list[Placed | PlacedObject] = [*placed, *scene.objects]
    return sorted(things, key=lambda thing: thing.y)


def _paint(image: np.ndarray, scene: Scene, placed: list[Placed]) -> None:
    order = painting_order(scene, placed)
    for thing in order:
        shadow = scene.object_shadows.get(id(thing))
        if shadow is None:
            shadow = scene.shadow_of(thing.sprite, thing.x, thing.y, thing.footprint)
        cast_shadow(image, shadow)
    for thing in order:
        paste(image, thing.sprite, thing.x, thing.y)


def visible_shares(scene: Scene, placed: list[Placed], spec: WorldSpec) -> list[float]:
    """Return for each person the share of its pixels in the frame and not hidden."""
    order = painting_order(scene, placed)
    return [_visible_share(person, order, spec) for person in placed]


def _visible_share(person: Placed, order: list[Placed | PlacedObject], spec: WorldSpec) -> float:
    """Return the share of one person's pixels that nothing after it in the order hides."""
    size = (spec.width + 1) // 2, (spec.height + 1) // 2
    left, top, _, _ = around = _half_box(person)
    x1, y1, x2, y2 = box = clip_box(around, *size)
    if x2 <= x1 or y2 <= y1:
        return 0.0
    free = person.sprite.mask[y1 - top : y2 - top, x1 - left : x2 - left].copy()
    for thing in reversed(order):
        if thing is person:
            break
        other = _half_box(thing)
        if not boxes_overlap(box, other):
            continue
        a1, b1, a2, b2 = max(x1, other[0]), max(y1, other[1]), min(x2, other[2]), min(y2, other[3])
        hides = thing.sprite.mask[b1 - other[1] : b2 - other[1], a1 - other[0] : a2 - other[0]]
        shared = free[b1 - y1 : b2 - y1, a1 - x1 : a2 - x1]
        np.greater(shared, hides, out=shared)
    return int(np.count_nonzero(free)) / max(1, person.sprite.size)


def _half_box(thing: Placed | PlacedObject) -> PixelBox:
    """Return where the mask of a thing lies among every other row and column; not clipped."""
    sprite = thing.sprite
    height, width = sprite.mask.shape
    left, top = (thing.x + sprite.left) // 2, (thing.y + sprite.top) // 2
    return left, top, left + width, top + height


def plan_frames(spec: WorldSpec) -> list[FramePlan]:
    """Decide for every frame which camera sees whom; the training frames come first.

    Identities are drawn by a Zipf-like law; within a frame nobody appears twice. Every identity
    is then made sure of by
    at least two frames of its split.
    """
    plans: list[FramePlan] = []
    for split in ("train", "test"):
        plans += _plan_split(spec, split, len(plans))
    return plans


def _plan_split(spec: WorldSpec, split: str, first_index: int) -> list[FramePlan]:
    is_test = split == "test"
    rng = make_rng(spec.seed, Stream.PLAN, int(is_test))
    frames = spec.test_frames if is_test else spec.train_frames
    identities = spec.test_identities if is_test else spec.train_identities
    first_identity = spec.train_identities if is_test else 0
    cameras = spec.test_cameras if is_test else spec.train_cameras
    first_camera = spec.train_cameras if is_test and not spec.shares_cameras else 0
    weights = np.array([1.0 / math.pow(k + 1, spec.zipf_exponent) for k in range(identities)])
    weights = weights[rng.permutation(identities)]
    weights /= weights.sum()
    people = []
    low, high = spec.people_per_frame
    for _ in range(frames):
        count = int(rng.integers(low, high + 1))
        if not is_test and rng.random() < spec.empty_share:
            count = 0
        labelled = min(identities, sum(rng.random() >= spec.unlabelled_share for _ in range(count)))
        chosen = rng.choice(identities, size=labelled, replace=False, p=weights)
        people.append([first_identity + int(c) for c in chosen] + [UNLABELLED] * (count - labelled))
    _ensure_twice(people, range(first_identity, first_identity + identities), rng)
    plans = []
    for k, members in enumerate(people):
        camera = first_camera + int(rng.integers(0, cameras))
        plans.append(FramePlan(first_index + k, split, camera, tuple(members)))
    return plans


def _ensure_twice(people: list[list[int]], identities: range, rng: np.random.Generator) -> None:
    seen = Counter(i for members in people for i in members)
    for identity in identities:
        free = [k for k, members in enumerate(people) if members and identity not in members]
        missing = min(len(free), max(0, 2 - seen[identity]))
        for k in rng.permutation(len(free))[:missing]:
            people[free[int(k)]].insert(0, identity)
