"""Does an exported file do what the model does? Both run on the same pictures.

Letters: N people found in a picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from person_search.inference.network import InputSettings
from person_search.people import People

MAX_BOX_DIFFERENCE = 0.05
"""Pixels of the resized picture."""
MAX_SCORE_DIFFERENCE = 1e-4
MAX_EMBEDDING_DIFFERENCE = 1e-4

# Shares of the picture's width, height, width, height.
_GIVEN_BOXES = np.array([[0, 0, 1, 1], [0.1, 0.2, 0.3, 0.9], [0.6, 0.4, 0.7, 0.65]], np.float32)


class Runner(Protocol):
    """What can be compared: the running half of a `person_search.inference.network.Network`."""

    def run(
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray] | None = None
    ) -> list[People]:
        """See `person_search.inference.network.Network.run`."""
        ...


@dataclass(frozen=True)
class Differences:
    """The largest differences of two programs that run the same model."""

    pictures: int
    people: int
    """How many were found in all; by both."""
    given: int
    """How many given boxes were embedded in all."""
    boxes: float
    """In resized pixels."""
    scores: float
    embeddings: float
    """Of any of their values, given boxes' included."""

    def __str__(self) -> str:
        return (
            f"{self.pictures} pictures, {self.people} people found, {self.given} given boxes; "
            f"largest differences: boxes {self.boxes:.1e} px, scores {self.scores:.1e}, "
            f"embeddings {self.embeddings:.1e}"
        )


def compare(
    expected: Runner, actual: Runner, settings: InputSettings, pictures: Sequence[np.ndarray]
) -> Differences:
    """Run both on pictures, to find people and to embed given boxes.

    Args:
        expected: the model.
        actual: the export.
        settings: how pictures are prepared.
        pictures: RGB uint8 (H, W, 3), at least one.

    Raises:
        ValueError: if one finds people that the other does not.
    """
    largest = np.zeros(3)
    people = given = 0
    for number, picture in enumerate(pictures, 1):
        image = settings.prepare(picture)
        h, w = image.shape[:2]
        boxes = _GIVEN_BOXES * np.array([w, h, w, h], np.float32)
        (found,), (found_by_export,) = expected.run([image]), actual.run([image])
        found_by_export = _in_order_of(found, found_by_export, f"picture {number} ({w} x {h})")
        (known,), (known_by_export,) = expected.run([image], [boxes]), actual.run([image], [boxes])
        for pair in ((found, found_by_export), (known, known_by_export)):
            largest = np.maximum(largest, _differences(*pair))
        people, given = people + len(found), given + len(known)
    return Differences(len(pictures), people, given, *largest.tolist())


def check(differences: Differences) -> None:
    """Refuse differences that are more than rounding.

    Raises:
        ValueError: says what differs, and by how much.
    """
    limits = (MAX_BOX_DIFFERENCE, MAX_SCORE_DIFFERENCE, MAX_EMBEDDING_DIFFERENCE)
    found = (differences.boxes, differences.scores, differences.embeddings)
    # Written so that NaN is refused as well.
    if not all(value <= limit for value, limit in zip(found, limits, strict=True)):
        raise ValueError(
            f"the export does not do what the model does ({differences}); at most "
            f"{MAX_BOX_DIFFERENCE} px, {MAX_SCORE_DIFFERENCE} and {MAX_EMBEDDING_DIFFERENCE} are "
            "rounding. Nothing was written. A model that was hardly trained, or has NaN among its "
            "weights, can be the reason"
        )


def _in_order_of(expected: People, actual: People, where: str) -> People:
    """Return the same people in the same order: rounding swaps those of nearly equal score."""
    distance = np.abs(expected.boxes[:, None] - actual.boxes[None]).max(axis=2)
    nearest = distance.argmin(axis=1) if len(expected) and len(actual) else np.zeros(0, int)
    if len(expected) != len(actual) or len(set(nearest.tolist())) != len(expected):
        raise ValueError(
            f"the export does not find whom the model finds: {len(actual)} instead of "
            f"{len(expected)} people in {where}, or others. Nothing was written. If somebody is "
            "just at the detector's least score, another picture (--image) shows it"
        )
    return actual.select(nearest)


def _differences(expected: People, actual: People) -> np.ndarray:
    """Return the largest differences (3,) of boxes, scores and embeddings; 0 without people."""
    if len(expected) == 0:
        return np.zeros(3)
    pairs = (
        (expected.boxes, actual.boxes),
        (expected.scores, actual.scores),
        (expected.embeddings, actual.embeddings),
    )
    return np.array([np.abs(one - other).max() for one, other in pairs])
