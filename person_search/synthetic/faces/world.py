"""A drawn set of aligned faces: who is in it, how often, and each picture."""

from dataclasses import dataclass

import cv2
import numpy as np

from person_search.synthetic.faces.hair import (
    paint_back_hair,
    paint_beard,
    paint_glasses,
    paint_hair,
    paint_occluder,
)
from person_search.synthetic.faces.identity import FaceIdentity, make_face
from person_search.synthetic.faces.painter import FacePainter
from person_search.synthetic.faces.spec import FaceSpec
from person_search.synthetic.faces.view import FaceShot, sample_shot
from person_search.synthetic.palette import CLOTHES, Stream, make_rng, vary
from person_search.synthetic.places.camera import add_noise
from reid_heads.faces.alignment import ALIGNED_SIZE


@dataclass(frozen=True)
class FacePlan:
    """One picture of the set."""

    index: int
    split: str
    identity: int
    """Training identities first, then those of the test."""
    number: int
    """Of the identity's pictures, from 1."""

    @property
    def name(self) -> str:
        """The file below the set's folder, without suffix."""
        person = person_name(self.identity)
        return f"{self.split}/{person}/{person}_{self.number:04d}"


def person_name(identity: int) -> str:
    """Return the name of an identity, as folders and pair lists have it."""
    return f"person_{identity:05d}"


class FaceWorld:
    """Draw any picture of a set, whatever else was drawn before."""

    def __init__(self, spec: FaceSpec):
        """Plan the pictures."""
        self.spec = spec
        self.plans = plan_faces(spec)

    def face(self, identity: int) -> FaceIdentity:
        """Return who an identity is."""
        spec = self.spec
        start = spec.train_identities if identity >= spec.train_identities else 0
        return make_face(spec.seed, identity, spec.near_duplicate_share, start)

    def draw(self, index: int) -> np.ndarray:
        """Return picture ``index``: (112, 112, 3) uint8 BGR, before compression."""
        plan = self.plans[index]
        rng = make_rng(self.spec.seed, Stream.FACE_SHOT, plan.identity, plan.number)
        face = self.face(plan.identity)
        return draw_face(self.spec, face, sample_shot(self.spec, face, rng), rng)

    def quality(self, index: int) -> int:
        """Return the JPEG quality of a picture."""
        plan = self.plans[index]
        rng = make_rng(self.spec.seed, Stream.FACE_SHOT, plan.identity, plan.number, 1)
        low, high = self.spec.jpeg_quality
        return int(rng.integers(low, high + 1))


def plan_faces(spec: FaceSpec) -> list[FacePlan]:
    """Decide how many pictures there are of whom; the first identities have many, the tail few."""
    plans: list[FacePlan] = []
    head = spec.train_identities - round(spec.tail_share * spec.train_identities)
    for identity in range(spec.train_identities + spec.test_identities):
        is_test = identity >= spec.train_identities
        counts = spec.train_images if identity < head else spec.tail_images
        low, high = spec.test_images if is_test else counts
        # A stream of its own, so that more or fewer pictures change none of the others.
        rng = make_rng(spec.seed, Stream.FACE_SHOT, identity)
        split = "test" if is_test else "train"
        for number in range(1, int(rng.integers(low, high + 1)) + 1):
            plans.append(FacePlan(len(plans), split, identity, number))
    return plans


def draw_face(
    spec: FaceSpec, face: FaceIdentity, shot: FaceShot, rng: np.random.Generator
) -> np.ndarray:
    """Draw one picture of a face: (112, 112, 3) uint8 BGR.

    Args:
        spec: How much pictures are spoilt.
        face: Whose.
        shot: Pose, expression, light.
        rng: For background, clothes, occluder and noise.
    """
    painter = FacePainter(face, shot)
    clothes = vary(rng, list(CLOTHES.values())[int(rng.integers(0, len(CLOTHES)))], 14)
    background = draw_background(rng)
    paint_back_hair(painter)
    painter.paint_neck(clothes)
    painter.paint_ears()
    painter.paint_skin()
    paint_beard(painter)
    painter.paint_mouth()
    painter.paint_eyes()
    painter.paint_nose()
    paint_hair(painter)
    if shot.wears_glasses and shot.occluder != "sunglasses":
        paint_glasses(painter, is_dark=False)
    paint_occluder(painter, rng)
    return spoil_face(painter.picture(background), spec, rng)


def draw_background(rng: np.random.Generator) -> np.ndarray:
    """Return (112, 112, 3) uint8 BGR: a few soft patches of colour."""
    base = rng.integers(30, 221) + rng.integers(-30, 31, (1, 1, 3))
    patches = base + rng.integers(-18, 19, (5, 5, 3)) + rng.integers(-45, 46, (5, 5, 1))
    small = np.clip(patches, 0, 255).astype(np.uint8)
    size = (ALIGNED_SIZE, ALIGNED_SIZE)
    # Exact: in fixed point, the same on every machine.
    return np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR_EXACT))


def spoil_face(image: np.ndarray, spec: FaceSpec, rng: np.random.Generator) -> np.ndarray:
    """Return what a camera delivers of a clean picture: tone, colour cast, blur and noise.

    Args:
        image: (112, 112, 3) uint8 BGR; not changed.
        spec: How much.
        rng: The picture's generator.
    """
    bright = 1.0 + spec.exposure * (2 * rng.random() - 1)
    cast = spec.colour_cast * (2 * rng.random() - 1)
    levels = np.arange(256) / 255
    table = np.zeros((256, 1, 3), np.uint8)
    for channel, gain in enumerate((1 - cast, 1.0, 1 + cast)):
        value = levels * gain * bright
        # A soft shoulder: above 0.8 it bends towards 1.
        value = np.where(value > 0.8, 1 - 0.04 / np.maximum(0.2, value - 0.6), value)
        table[:, 0, channel] = np.rint(255 * np.clip(value, 0, 1)).astype(np.uint8)
    image = np.asarray(cv2.LUT(image, table))
    if rng.random() < 0.2:
        # From a small picture, enlarged.
        small = int(rng.integers(40, 80))
        image = cv2.resize(image, (small, small), interpolation=cv2.INTER_LINEAR_EXACT)
        size = (ALIGNED_SIZE, ALIGNED_SIZE)
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR_EXACT))
    sigma = spec.blur * float(rng.random())
    if sigma > 0.3:
        image = np.asarray(cv2.GaussianBlur(image, (7, 7), round(sigma, 2)))
    strength = round(spec.noise * float(rng.random()))
    if strength > 0:
        y, x = (int(k) for k in rng.integers(0, 64, 2))
        image = add_noise(image, strength, y, x)
    return image
