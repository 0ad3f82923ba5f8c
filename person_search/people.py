"""People in pictures: where one stands, what a model finds, what a search returns.

Letters: K pairs of boxes, N people, D embedding size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

Box = tuple[float, float, float, float]
"""Where a person stands: (x1, y1, x2, y2), left, top, right and bottom edge in original pixels."""


def check_box(box: Sequence[float], width: int, height: int) -> Box:
    """Return a box that somebody gave, cut at the picture's border.

    Corners in another order are not swapped: who gives x2 < x1 likely means a width and a height.

    Args:
        box: (x1, y1, x2, y2) in original pixels.
        width: of the picture, pixels.
        height: likewise.

    Raises:
        ValueError: These are not four finite numbers, the box has no area, or less than a pixel of
            it is inside the picture.
    """
    if len(box) != 4 or not all(
        isinstance(v, Real) and not isinstance(v, bool) and math.isfinite(v) for v in box
    ):
        raise ValueError(f"got {box!r} as a box; expected four numbers: x1, y1, x2, y2")
    x1, y1, x2, y2 = (float(v) for v in box)
    written = f"the box ({x1:g}, {y1:g}, {x2:g}, {y2:g})"
    if x2 <= x1 or y2 <= y1:
        raise ValueError(
            f"{written} has no area; expected x1, y1, x2, y2, its left, top, right and bottom edge "
            "in pixels, with x1 < x2 and y1 < y2; not a width and a height"
        )
    x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    if x2 - x1 < 1 or y2 - y1 < 1:
        raise ValueError(
            f"{written} is outside the picture, or less than a pixel of it is inside; the picture "
            f"is {width} x {height} pixels"
        )
    return x1, y1, x2, y2


def check_boxes(boxes: np.ndarray | Sequence[object], width: int, height: int) -> np.ndarray:
    """Return boxes (N, 4) that somebody gave, or one (4,), as float32 (N, 4), as `check_box` does.

    Raises:
        ValueError: for a wrong shape, or a box that `check_box` refuses; names the box.
    """
    given = np.asarray(boxes, dtype=np.float32)
    if given.shape == (4,):
        given = given[None]
    if given.size == 0:
        return np.zeros((0, 4), np.float32)
    if given.ndim != 2 or given.shape[1] != 4:
        raise ValueError(f"boxes have shape {given.shape}; expected (N, 4): (x1, y1, x2, y2) each")
    return np.array([check_box(box, width, height) for box in given.tolist()], np.float32)


def paired_intersection(boxes_a: np.ndarray, boxes_b: np.ndarray) -> np.ndarray:
    """Compute the area that boxes of a pair share; arguments as of `paired_iou`.

    Returns:
        (K,) float64, square pixels.
    """
    a, b = np.asarray(boxes_a, np.float64), np.asarray(boxes_b, np.float64)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    return np.asarray(np.prod(np.maximum(sides, 0), axis=-1))


def paired_iou(boxes_a: np.ndarray, boxes_b: np.ndarray) -> np.ndarray:
    """Compute the intersection over union of box pairs.

    In float64, so that a threshold decides the same on every machine.

    Args:
        boxes_a: (K, 4), (x1, y1, x2, y2) in pixels; widths are x2 - x1, without the +1 of integer
            boxes. One of the two may be (4,) or (1, 4) and belongs to all pairs.
        boxes_b: (K, 4), the other box of each pair.

    Returns:
        (K,) float64 in 0..1; 0 where both boxes have no area.

    Examples:
        >>> import numpy as np
        >>> halves = np.array([[0, 0, 10, 20], [0, 10, 10, 20], [50, 0, 60, 20]])
        >>> paired_iou(np.array([0, 0, 10, 10]), halves)
        array([0.5, 0. , 0. ])
    """
    a, b = np.asarray(boxes_a, np.float64), np.asarray(boxes_b, np.float64)
    intersection = paired_intersection(a, b)
    union = np.prod(a[..., 2:] - a[..., :2], axis=-1) + np.prod(b[..., 2:] - b[..., :2], axis=-1)
    union -= intersection
    iou = np.zeros_like(union)
    np.divide(intersection, union, out=iou, where=union > 0)
    return np.asarray(iou)


@dataclass(frozen=True)
class People:
    """Boxes, scores and embeddings, one row a person; no rows where nobody is.

    Examples:
        >>> import numpy as np
        >>> boxes = np.array([[10, 20, 40, 110], [60, 15, 95, 120]], np.float32)
        >>> people = People(boxes, np.array([0.9, 0.4], np.float32), np.eye(2, 128))
        >>> sure = people.select(people.scores >= 0.5)
        >>> len(sure), sure.embeddings.shape
        (1, (1, 128))
    """

    boxes: np.ndarray
    """(N, 4) float32, (x1, y1, x2, y2) in original pixels."""

    scores: np.ndarray
    """(N,) float32: the detector's confidence, 0..1; 1 for boxes that were given."""

    embeddings: np.ndarray
    """(N, D) float32 of unit norm."""

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, rows: np.ndarray) -> "People":
        """Return some of them: ``rows`` are numbers, or a (N,) mask."""
        return People(self.boxes[rows], self.scores[rows], self.embeddings[rows])

    def from_left_to_right(self) -> "People":
        """Sort them by the middle of their boxes: so are the people of a picture numbered, from 1.

        Of those above each other, the first stays first.
        """
        return self.select(np.argsort(self.boxes[:, ::2].sum(axis=1), kind="stable"))

    def by_score(self) -> "People":
        """Sort them by falling score; of equal ones the first stays first."""
        return self.select(np.argsort(-self.scores, kind="stable"))

    def box(self, row: int) -> Box:
        """Return the box of one of them."""
        x1, y1, x2, y2 = (float(v) for v in self.boxes[row])
        return x1, y1, x2, y2

    def numbered(self, number: int) -> "People":
        """Return one of them by its number, from 1.

        Raises:
            ValueError: Nobody has this number.
        """
        if not 1 <= number <= len(self):
            raise ValueError(
                f"there is no person {number} in the picture: {len(self)} found, numbered from 1 "
                "from left to right"
            )
        return self.select(np.array([number - 1]))

    def number_of(self, box: Box) -> int | None:
        """Return the number, from 1, of the first of them with exactly this box, else None."""
        rows = np.flatnonzero((self.boxes == np.array(box, self.boxes.dtype)).all(axis=1))
        return int(rows[0]) + 1 if len(rows) else None


@dataclass(frozen=True)
class Appearance:
    """A person's unbroken stay before one camera, as far as it was looked at."""

    id: int
    """Number in the gallery, until its footage is linked anew."""

    camera: str | None
    """Where known."""

    start: float
    """When the person was seen first: seconds, see `Match.timestamp`."""

    end: float
    """When the person was seen last, seconds."""

    frames: int
    """In how many frames."""

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.end - self.start


@dataclass(frozen=True)
class Match:
    """A person found in a gallery frame.

    Examples:
        >>> match = Match("hall.mp4#frame=50", (10, 20, 40, 110), score=0.9, similarity=0.8)
        >>> match.similarity, match.camera
        (0.8, None)
    """

    image: str
    """File of the frame, or for a video ``FILE#frame=N`` with N from 0; `read_frame` reads both."""

    box_xyxy: Box
    """Where the person stands, in original pixels."""

    score: float
    """The detector's confidence, 0..1."""

    similarity: float
    """Cosine similarity to the query, -1..1; higher is better."""

    camera: str | None = None
    """Name of the camera that took the frame, where known."""

    timestamp: float | None = None
    """When the frame was taken, where known: seconds since 1970 (UTC) where the footage's date is
    known, else since the start of its video."""

    person: str = ""
    """Id of this person in the gallery, where the match comes from one."""

    appearance: Appearance | None = None
    """The stay that the match belongs to, where the gallery knows one and it was asked for."""

    judgement: bool | None = None
    """Whether somebody said that it is right, or wrong; None if nobody did, or it was not asked."""

    is_nobody: bool = False
    """Whether somebody said that it is not a person; only where such matches were asked for."""


def similarity_text(similarity: float, threshold: float | None = None) -> str:
    """Write a similarity: the same number wherever it is shown.

    Args:
        similarity: -1..1.
        threshold: That it is compared with, where there is one: it gets as many digits, three or
            more, as it takes to stand on the right side of it.

    Examples:
        >>> similarity_text(0.80572), similarity_text(0.80572, 0.8059)
        ('0.806', '0.8057')
    """
    text = f"{similarity:.3f}"
    for digits in range(4, 8):
        if threshold is None or (float(text) >= threshold) == (similarity >= threshold):
            break
        text = f"{similarity:.{digits}f}"
    return text
