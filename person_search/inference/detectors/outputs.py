"""Boxes and person scores from the outputs of detectors.

Kinds of output, as cards name them; the first axis, of one picture, may be missing:

- ``boxes_scores_labels``: final boxes (1, N, 4) x1 y1 x2 y2, scores (1, N), labels (1, N); without
  labels all are people. torchvision, RT-DETR, D-FINE.
- ``boxes_logits``: boxes (1, N, 4) cx cy w h as shares of the input, logits (1, N, C) of
  independent classes. RF-DETR, and RT-DETR of Hugging Face.
- ``rows6``: final (1, N, 6) x1 y1 x2 y2 score class. YOLOv10, YOLO26.
- ``yolov8``: (1, 4 + C, N) cx cy w h and class scores. YOLOv8 to YOLO12.
- ``yolov5``: (1, N, 5 + C) cx cy w h, how sure it is of an object, class scores; both multiply.
  YOLOv5, YOLOv6, YOLOv7.
- ``yolox``: the same as offsets to cells of strides 8, 16, 32, w and h as logarithms. YOLOX.
- ``nanodet``: for each stride class scores (1, cells, C), and distributions (1, cells, 4 x bins) of
  the distances to the four sides, in strides. NanoDet, whose cells are seen from their middle.
- ``nanodet_plus``: (1, cells of all strides, C + 4 x 8) in one. NanoDet-Plus, whose cells are
  seen from their corner.

Letters: N boxes, C classes, h, w height and width of the input in pixels.
"""

from collections.abc import Callable, Sequence

import numpy as np

from person_search.inference.detectors.card import DetectorCard
from person_search.inference.detectors.detector import Detections

Shape = tuple[int, ...]
NANODET_BINS = 8
YOLO_STRIDES = (8, 16, 32)
PLUS_STRIDES = (8, 16, 32, 64)
_STRIDES = (4, 8, 16, 32, 64, 128)


def decode(outputs: Sequence[np.ndarray], card: DetectorCard, size: tuple[int, int]) -> Detections:
    """Turn what a detector gives for one picture into boxes and scores of people.

    Args:
        outputs: as its kind lists them.
        card: of the detector.
        size: (h, w).

    Returns:
        Boxes (N, 4) x1 y1 x2 y2 in pixels of the input, and scores (N,), of any order, of every
        score, before non-maximum suppression; float32.
    """
    boxes, scores = _DECODERS[card.output](outputs, card, size)
    if card.relative_boxes:
        boxes = boxes * np.array([size[1], size[0]] * 2, np.float32)
    return boxes.astype(np.float32), scores.astype(np.float32)


def count_cells(size: tuple[int, int], strides: Sequence[int]) -> int:
    """Return how many cells an input (h, w) has at some strides together."""
    return sum(-(-size[0] // stride) * -(-size[1] // stride) for stride in strides)


def _cells(size: tuple[int, int], strides: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners x y of all cells (N, 2), counted in cells, and their strides (N, 1)."""
    corners, sizes = [], []
    for stride in strides:
        rows, columns = -(-size[0] // stride), -(-size[1] // stride)
        y, x = np.mgrid[:rows, :columns]
        corners.append(np.stack([x.ravel(), y.ravel()], axis=1))
        sizes.append(np.full((rows * columns, 1), stride))
    return np.concatenate(corners), np.concatenate(sizes)


def _table(output: np.ndarray) -> np.ndarray:
    return np.asarray(output, np.float32).reshape(-1, output.shape[-1])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-np.logaddexp(0, -x)))


def _corners(middles: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([middles - sizes / 2, middles + sizes / 2], axis=1)


def _decode_final(
    outputs: Sequence[np.ndarray], card: DetectorCard, size: tuple[int, int]
) -> Detections:
    boxes, scores = _table(outputs[0]), np.asarray(outputs[1], np.float32).ravel()
    if len(outputs) == 2:
        return boxes, scores
    is_person = outputs[2].ravel() == card.person_class
    return boxes[is_person], scores[is_person]


def _decode_logits(
    outputs: Sequence[np.ndarray], card: DetectorCard, size: tuple[int, int]
) -> Detections:
    boxes, logits = _table(outputs[0]), _table(outputs[1])
    return _corners(boxes[:, :2], boxes[:, 2:]), _sigmoid(logits[:, card.person_class])


def _decode_rows(
    outputs: Sequence[np.ndarray], card: DetectorCard, size: tuple[int, int]
) -> Detections:
    rows = _table(outputs[0])
    rows = rows[rows[:, 5] == card.person_class]
    return rows[:, :4], rows[:, 4]


def _decode_yolov8(
    outputs: Sequence[np.ndarray], card: DetectorCard, size: tuple[int, int]
) -> Detections:
    rows = _table(outputs[0]).T
    return _corners(rows[:, :2], rows[:, 2:4]), rows[:, 4 + card.person_class]


def _decode_yolov5(
    outputs: Sequence[np.ndarray], card: DetectorCard, size: tuple[int, int]
) -> Detections:
    rows = _table(outputs[0])
    boxes = _corners(rows[:, :2], rows[:, 2:4])
    return boxes, rows[:, 4] * rows[:, 5 + card.person_class]


def _decode_yolox(
    outputs: Sequence[np.ndarray], card: DetectorCard, size: tuple[int, int]
) -> Detections:
    rows = _table(outputs[0])
    corners, strides = _cells(size, YOLO_STRIDES)
    boxes = _corners((rows[:, :2] + corners) * strides, np.exp(rows[:, 2:4]) * strides)
    return boxes, rows[:, 4] * rows[:, 5 + card.person_class]


def _decode_nanodet(
    outputs: Sequence[np.ndarray], card: DetectorCard, size: tuple[int, int]
) -> Detections:
    half = len(outputs) // 2
    scores = np.concatenate([_table(x)[:, card.person_class] for x in outputs[:half]])
    distances = np.concatenate([_mean_distances(_table(x)) for x in outputs[half:]])
    strides = [stride_of(x.shape[-2], size) for x in outputs[:half]]
    corners, sizes = _cells(size, strides)
    return _boxes_around((corners + 0.5) * sizes, distances * sizes), scores


def _decode_nanodet_plus(
    outputs: Sequence[np.ndarray], card: DetectorCard, size: tuple[int, int]
) -> Detections:
    rows = _table(outputs[0])
    corners, sizes = _cells(size, PLUS_STRIDES)
    distances = _mean_distances(rows[:, -4 * NANODET_BINS :])
    return _boxes_around(corners * sizes, distances * sizes), rows[:, card.person_class]


def _mean_distances(logits: np.ndarray) -> np.ndarray:
    """Return the means (N, 4) of distributions (N, 4 x bins) over 0, 1, 2 and so on.

    Generalized Focal Loss (Li et al., NeurIPS 2020), equation 6.
    """
    logits = logits.reshape(len(logits), 4, -1)
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    return np.asarray(weights @ np.arange(logits.shape[2]) / weights.sum(axis=2))


def _boxes_around(points: np.ndarray, distances: np.ndarray) -> np.ndarray:
    return np.concatenate([points - distances[:, :2], points + distances[:, 2:]], axis=1)


def stride_of(cells: int, size: tuple[int, int]) -> int:
    """Return the stride at which an input (h, w) has so many cells.

    Raises:
        ValueError: if there is none.
    """
    for stride in _STRIDES:
        if count_cells(size, (stride,)) == cells:
            return stride
    raise ValueError(
        f"an output has {cells} rows, but an input of {size[1]} x {size[0]} pixels has "
        f"{', '.join(str(count_cells(size, (s,))) for s in _STRIDES)} cells at the strides "
        f"{', '.join(map(str, _STRIDES))}; is the card's height and width right?"
    )


_DECODERS: dict[
    str, Callable[[Sequence[np.ndarray], DetectorCard, tuple[int, int]], Detections]
] = {
    "boxes_scores_labels": _decode_final,
    "boxes_logits": _decode_logits,
    "rows6": _decode_rows,
    "yolov8": _decode_yolov8,
    "yolov5": _decode_yolov5,
    "yolox": _decode_yolox,
    "nanodet": _decode_nanodet,
    "nanodet_plus": _decode_nanodet_plus,
}
