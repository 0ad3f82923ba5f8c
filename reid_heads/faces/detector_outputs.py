"""What face detectors with five points give: SCRFD's and YuNet's outputs, recognised and decoded.

Both tile the picture with cells of 8, 16 and 32 pixels, and say for each of a cell's places: a
score, a box, five points. Their outputs are told apart by their shapes alone, whatever their names.

Letters: h, w height and width in resized pixels, M faces.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STRIDES = (8, 16, 32)
"""Resized pixels a side of a cell."""


@dataclass(frozen=True)
class DetectorFamily:
    """How detectors of a family see a picture, and what they give by default."""

    name: str
    score_outputs: int
    """For each stride."""
    places: int
    """For each cell."""
    is_bgr: bool
    mean: float
    """Taken from each value 0..255, which is divided by ``std`` then."""
    std: float
    min_score: float
    """Least score, 0..1, where a user says none."""
    nms_iou: float
    """A face goes that overlaps one of higher score by more than this."""
    may_enlarge: bool
    """Whether pictures smaller than the input are enlarged to it."""


SCRFD = DetectorFamily("SCRFD", 1, 2, False, 127.5, 128.0, 0.5, 0.4, True)
"""Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", ICLR 2022. The
numbers are those of insightface's own code."""

YUNET = DetectorFamily("YuNet", 2, 1, True, 0.0, 1.0, 0.9, 0.3, False)
"""Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", 2023. The numbers are the defaults of
OpenCV's ``FaceDetectorYN``, which takes pictures as large as they are."""

_BOX, _POINTS = 4, 10


@dataclass(frozen=True)
class RecognisedOutputs:
    """Whose outputs these are, and which is which."""

    family: DetectorFamily
    scores: tuple[tuple[int, ...], ...]
    """Numbers of the outputs with scores, for each stride."""
    boxes: tuple[int, ...]
    points: tuple[int, ...]


def recognise(
    outputs: Sequence[tuple[str, np.ndarray]], size: tuple[int, int], name: str
) -> RecognisedOutputs:
    """Find out from their shapes what a detector's outputs are.

    Args:
        outputs: Names and values, for one picture.
        size: (h, w) of the picture.
        name: Of the detector, for messages.

    Raises:
        ValueError: If they are neither SCRFD's with points nor YuNet's; says what was found.
    """
    values = [value for _, value in outputs]
    by_width: dict[int, list[int]] = {}
    # The finest cells, of which there are most, first.
    for number in sorted(range(len(values)), key=lambda i: -_count_rows(values[i])):
        by_width.setdefault(_width(values[number]), []).append(number)
    for family in (SCRFD, YUNET):
        counts = {1: family.score_outputs, _BOX: 1, _POINTS: 1}
        if {width: len(own) for width, own in by_width.items()} != {
            width: count * len(STRIDES) for width, count in counts.items()
        }:
            continue
        found = RecognisedOutputs(
            family,
            tuple(
                tuple(by_width[1][i : i + family.score_outputs])
                for i in range(0, len(by_width[1]), family.score_outputs)
            ),
            tuple(by_width[_BOX]),
            tuple(by_width[_POINTS]),
        )
        if _fits(found, values, size):
            return found
    shapes = ", ".join(f"{label} {value.shape}" for label, value in outputs)
    without = "" if _POINTS in by_width else ", and none of them has the five points of each face"
    raise ValueError(
        f"{name} gives {shapes} for a picture of {size[0]} x {size[1]} (height x width){without}; "
        "expected for cells of 8, 16 and 32 pixels SCRFD's scores, boxes and points (1, 4 and 10 "
        "wide, two rows a cell), as of its files with kps in the name, or YuNet's cls, obj, bbox "
        "and kps (1, 1, 4 and 10 wide, a row a cell)"
    )


def _width(value: np.ndarray) -> int:
    return int(value.shape[-1]) if value.ndim else 1


def _count_rows(value: np.ndarray) -> int:
    return value.size // max(_width(value), 1)


def _fits(found: RecognisedOutputs, values: Sequence[np.ndarray], size: tuple[int, int]) -> bool:
    """Say whether each output has the rows that its stride's cells make."""
    of_strides = zip(STRIDES, found.scores, found.boxes, found.points, strict=True)
    return all(
        _count_rows(values[number])
        == found.family.places * (size[0] // stride) * (size[1] // stride)
        for stride, scores, boxes, points in of_strides
        for number in (*scores, boxes, points)
    )


def decode(
    values: Sequence[np.ndarray],
    found: RecognisedOutputs,
    size: tuple[int, int],
    min_score: float,
    name: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn outputs into faces, those with a score of ``min_score`` or more.

    Args:
        values: The outputs for one picture, in the detector's order.
        found: Which is which.
        size: (h, w) of the picture.
        min_score: 0..1.
        name: Of the detector, for messages.

    Returns:
        Boxes (M, 4) as (x1, y1, x2, y2) and points (M, 5, 2), float64 in resized pixels, and scores
        (M,), 0..1; not suppressed, and in no order.

    Raises:
        ValueError: If scores are no shares, or a box or a point of a face is not finite.
    """
    parts = []
    for stride, scores_at, boxes_at, points_at in zip(
        STRIDES, found.scores, found.boxes, found.points, strict=True
    ):
        scores = _read_scores([values[i] for i in scores_at], found.family, name)
        rows = np.flatnonzero(scores >= min_score)
        cells = rows // found.family.places
        columns = size[1] // stride
        corners = np.stack([cells % columns, cells // columns], axis=1).astype(np.float64)
        boxes = values[boxes_at].reshape(-1, _BOX)[rows].astype(np.float64)
        offsets = values[points_at].reshape(-1, 5, 2)[rows].astype(np.float64)
        reach = _scrfd_boxes if found.family is SCRFD else _yunet_boxes
        points = corners[:, None] + offsets
        parts.append((reach(corners, boxes) * stride, points * stride, scores[rows]))
    boxes, points, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not (np.isfinite(boxes).all() and np.isfinite(points).all()):
        raise ValueError(
            f"{name} gives faces with boxes or points of NaN or infinity: are its weights whole?"
        )
    return boxes, points, scores


def _read_scores(values: Sequence[np.ndarray], family: DetectorFamily, name: str) -> np.ndarray:
    """Return the score of each row: SCRFD's as it is, YuNet's the root of its two's product."""
    columns = [value.reshape(-1).astype(np.float64) for value in values]
    low, high = float(np.min(columns)), float(np.max(columns))
    # Of half precision one may be a little more than 1; of YuNet OpenCV clips them.
    if not (np.isfinite([low, high]).all() and (family is YUNET or -1e-3 <= low <= high <= 1.001)):
        raise ValueError(
            f"{name} gives scores from {low:.4g} to {high:.4g}; expected 0 to 1. With NaN its "
            f"weights are not whole; else it is no {family.name}"
        )
    product = np.prod([column.clip(0, 1) for column in columns], axis=0)
    scores: np.ndarray = product ** (1 / len(columns))
    return scores


def _scrfd_boxes(corners: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Boxes, in cells, of distances left, up, right, down from the cells' upper left corners."""
    return np.concatenate([corners - boxes[:, :2], corners + boxes[:, 2:]], axis=1)


def _yunet_boxes(corners: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Boxes, in cells, of offsets of the centre and of logarithms of width and height."""
    centres = corners + boxes[:, :2]
    # What overflows is refused by the caller.
    with np.errstate(over="ignore"):
        half = np.exp(boxes[:, 2:]) / 2
    return np.concatenate([centres - half, centres + half], axis=1)
