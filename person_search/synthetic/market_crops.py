"""Cut people out of drawn frames as a detector would have found them.

Market-1501 (Zheng et al., ICCV 2015) cut its crops with the deformable part model: boxes of nearly
one shape, shifted, too large or too small, now and then half a person. A box is good where it
overlaps the hand-drawn one with an IoU of at least 0.5, junk from 0.2, a distractor below; that
rule is kept here. Boxes are (x1, y1, x2, y2) in frame pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from person_search.people import paired_iou
from person_search.synthetic.modality_spec import ModalitySpec
from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.places.paste import PixelBox, clip_box
from person_search.synthetic.prw_writer import frame_name
from person_search.synthetic.world import UNLABELLED, DrawnFrame, World
from person_search.synthetic.world_spec import MarketSpec, WorldSpec

CROP_HEIGHT, CROP_WIDTH = 128, 64
DISTRACTOR, JUNK = UNLABELLED, -2
"""In place of an identity: passers-by, objects and background; badly placed boxes."""
GOOD_IOU, JUNK_IOU = 0.5, 0.2
HAND_DRAWN = 0
"""Number of the box of a query in its frame; detected ones count from 1."""

_ASPECT = 0.43
"""Width by height of the detector's boxes."""
_SMALLEST = (8, 18)
_TRIES = 24


@dataclass(frozen=True)
class CutBox:
    """A box of a frame and whom it is said to show."""

    identity: int
    """Number of the identity in the world, ``DISTRACTOR`` or ``JUNK``."""
    box: PixelBox
    visible: float = 1.0
    """Share of the person that can be seen in the frame."""


@dataclass(frozen=True)
class Crop:
    """A finished crop."""

    split: str
    camera: int
    identity: int
    """Number of the identity in the world, ``DISTRACTOR`` or ``JUNK``."""
    number: int
    """Of the box in its frame; ``HAND_DRAWN`` for one that could be a query."""
    visible: float
    stem: str
    """File name without person and suffix, such as c1s1_000451_03."""
    image: np.ndarray
    """(128, 64, 3) uint8 BGR."""


def cut_crops(world: World, index: int) -> list[Crop]:
    """Draw frame ``index`` and cut its crops: of training people, or of everything in a test frame.

    Raises:
        TypeError: The world has no ``MarketSpec``.
    """
    spec = world.spec
    if not isinstance(spec, MarketSpec):
        raise TypeError(f"crops need a MarketSpec; the spec of {spec.name} is a WorldSpec")
    frame = world.draw(index)
    rng = make_rng(spec.seed, Stream.CROP, 0, index)
    detected = detect_people(spec, frame, rng)
    if frame.plan.split == "test":
        detected += _junk(spec, frame, rng) + _background(spec, world, frame, rng)
    order = [int(k) for k in rng.permutation(len(detected))]
    numbered = [(n + 1, detected[k]) for n, k in enumerate(order)]
    if frame.plan.split == "test":
        drawn = [p for p in frame.people if p.identity >= 0]
        hand = [CutBox(p.identity, reference_box(spec, p.box), p.visible) for p in drawn]
        numbered += [(HAND_DRAWN, box) for box in hand]
    else:
        numbered = [(n, box) for n, box in numbered if box.identity >= 0]
    return [_cut(frame, n, box) for n, box in numbered]


def _cut(frame: DrawnFrame, number: int, cut: CutBox) -> Crop:
    x1, y1, x2, y2 = cut.box
    # The exact kernel: the common one rounds differently from machine to machine.
    image = cv2.resize(
        frame.image[y1:y2, x1:x2],
        (CROP_WIDTH, CROP_HEIGHT),
        interpolation=cv2.INTER_LINEAR_EXACT,
    )
    plan = frame.plan
    stem = f"{frame_name(plan).removesuffix('.jpg')}_{number:02d}"
    return Crop(plan.split, plan.camera, cut.identity, number, cut.visible, stem, image)


def reference_box(spec: WorldSpec, xywh: tuple[int, int, int, int]) -> PixelBox:
    """Return the box that a hand would draw: the person's, with room beside somebody narrow."""
    x, y, w, h = xywh
    spare = max(0, round(0.36 * h) - w)
    return clip_box((x - spare // 2, y, x + w + spare - spare // 2, y + h), spec.width, spec.height)


def detect_people(spec: MarketSpec, frame: DrawnFrame, rng: np.random.Generator) -> list[CutBox]:
    """Return the good boxes of the people of a frame, those without identity as distractors."""
    found = []
    for person in frame.people:
        reference = reference_box(spec, person.box)
        box = jitter_box(spec, reference, rng)
        if rng.random() >= spec.miss_share:
            found.append(CutBox(person.identity, box, person.visible))
    return found


def jitter_box(
    spec: MarketSpec | ModalitySpec, reference: PixelBox, rng: np.random.Generator
) -> PixelBox:
    """Return a detector's box of the person in ``reference``, at an IoU of at least 0.5."""
    for _ in range(_TRIES):
        box = _template(reference, spec.box_scale, spec.box_shift, rng)
        if rng.random() < spec.partial_share:
            x1, y1, x2, y2 = box
            kept = round((0.6 + 0.25 * rng.random()) * (y2 - y1))
            box = (x1, y1, x2, y1 + kept) if rng.random() < 0.7 else (x1, y2 - kept, x2, y2)
        box = clip_box(box, spec.width, spec.height)
        if _is_large_enough(box) and _ious(box, [reference])[0] >= GOOD_IOU:
            return box
    return reference


def _template(
    reference: PixelBox, spread: float, shift: float, rng: np.random.Generator
) -> PixelBox:
    """Return a box of the detector's shape round the reference, not clipped."""
    x1, y1, x2, y2 = reference
    h = 1.05 * (y2 - y1) * math.exp(spread * float(rng.standard_normal()))
    w = max(_ASPECT * h * math.exp(0.06 * float(rng.standard_normal())), 0.8 * (x2 - x1))
    x = (x1 + x2) / 2 + 1.4 * shift * w * float(rng.standard_normal())
    y = (y1 + y2) / 2 + shift * h * float(rng.standard_normal())
    return round(x - w / 2), round(y - h / 2), round(x + w / 2), round(y + h / 2)


def _junk(spec: MarketSpec, frame: DrawnFrame, rng: np.random.Generator) -> list[CutBox]:
    """Return badly placed boxes of the frame's identities: an IoU of 0.2 to 0.5, nobody good."""
    references = [reference_box(spec, p.box) for p in frame.people]
    found = []
    for person, reference in zip(frame.people, references, strict=True):
        if person.identity < 0 or rng.random() >= spec.junk_share:
            continue
        for _ in range(_TRIES):
            box = clip_box(_template(reference, 0.5, 0.3, rng), spec.width, spec.height)
            is_near = JUNK_IOU <= _ious(box, [reference])[0] < GOOD_IOU
            if _is_large_enough(box) and is_near and _ious(box, references).max() < GOOD_IOU:
                found.append(CutBox(JUNK, box))
                break
    return found


def _background(
    spec: MarketSpec, world: World, frame: DrawnFrame, rng: np.random.Generator
) -> list[CutBox]:
    """Return boxes of objects, which a detector takes for people, and of nothing."""
    references = [reference_box(spec, p.box) for p in frame.people]
    objects = world.scene(frame.plan.camera).objects
    low, high = spec.height_range_px
    found = []
    for _ in range(int(rng.poisson(spec.background_crops))):
        for _ in range(_TRIES):
            h = low + (high - low) * float(rng.random()) ** 2
            x, y = spec.width * float(rng.random()), spec.height * (0.2 + 0.7 * float(rng.random()))
            if objects and rng.random() < 0.6:
                thing = objects[int(rng.integers(0, len(objects)))]
                left, top, right, bottom = thing.sprite.box_at(thing.x, thing.y)
                x, y, h = (left + right) / 2, (top + bottom) / 2, float(bottom - top)
            w = _ASPECT * h
            around = (round(x - w / 2), round(y - h / 2), round(x + w / 2), round(y + h / 2))
            box = clip_box(
                _template(around, spec.box_scale, spec.box_shift, rng), spec.width, spec.height
            )
            if _is_large_enough(box) and (_ious(box, references) < JUNK_IOU).all():
                found.append(CutBox(DISTRACTOR, box))
                break
    return found


def _is_large_enough(box: PixelBox) -> bool:
    return box[2] - box[0] >= _SMALLEST[0] and box[3] - box[1] >= _SMALLEST[1]


def _ious(box: PixelBox, others: Sequence[PixelBox]) -> np.ndarray:
    return paired_iou(np.array(box), np.reshape(others, (-1, 4)))
