"""Recognise what the outputs of a detector's ONNX file are, by their names and shapes.

What a card says goes before; see `person_search.inference.detectors.card`. The usual pixels, scores
and overlaps of each kind are those of the programs that the detectors come with.

Letters: N boxes, C classes, h, w height and width of the input in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from person_search.inference.cards import IMAGENET_MEAN, IMAGENET_STD
from person_search.inference.detectors.card import OUTPUTS
from person_search.inference.detectors.outputs import (
    NANODET_BINS,
    PLUS_STRIDES,
    YOLO_STRIDES,
    count_cells,
    stride_of,
)

SIZES_INPUT = "orig_target_sizes"
"""Of RT-DETR's exports: (1, 2) width and height that their boxes are scaled to."""

_BGR = {"color": "BGR", "mean": IMAGENET_MEAN[::-1], "std": IMAGENET_STD[::-1]}
_NANODET = {**_BGR, "resizing": "letterbox", "min_score": 0.35, "nms_iou": 0.6}
_YOLO = {"resizing": "letterbox_center", "padding": 114, "min_score": 0.25}
USUAL: dict[str, dict[str, Any]] = {
    "boxes_scores_labels": {"person_class": 1, "min_score": 0.5},
    "boxes_logits": {"resizing": "squeeze", "relative_boxes": True, "min_score": 0.5},
    "rows6": _YOLO,
    "yolov8": {**_YOLO, "nms_iou": 0.7},
    "yolov5": {**_YOLO, "nms_iou": 0.45},
    "yolox": {
        **{"resizing": "letterbox", "padding": 114, "color": "BGR", "std": (1.0, 1.0, 1.0)},
        **{"min_score": 0.3, "nms_iou": 0.45},
    },
    "nanodet": _NANODET,
    "nanodet_plus": _NANODET,
}
# w and h of YOLOX are logarithms of strides: e^20 is no size. Decoded ones are pixels.
_LARGEST_LOGARITHM = 20


@dataclass(frozen=True)
class Output:
    """An output of a file, with what it gave for a grey picture."""

    name: str
    values: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Without the first axis where that is of one picture."""
        shape = self.values.shape
        return shape[1:] if len(shape) > 1 and shape[0] == 1 else shape

    def __str__(self) -> str:
        return f"{self.name} {self.values.dtype} {self.values.shape}"


@dataclass(frozen=True)
class Recognised:
    """What outputs are."""

    kind: str
    order: tuple[int, ...]
    """Where the outputs stand that the kind lists."""


def recognise(
    outputs: Sequence[Output], size: tuple[int, int], kind: str | None, name: str
) -> Recognised:
    """Find out what kind of output a file has, and in which order.

    Args:
        outputs: what it gave.
        size: (h, w).
        kind: as the card says; None where it does not.
        name: of the file, for messages.

    Raises:
        ValueError: if the outputs are of no kind that is known, or not of the card's; says what
            was found and what a card may say.
    """
    for candidate in OUTPUTS if kind is None else (kind,):
        order = _order(candidate, outputs, size, is_told=kind is not None)
        if order is not None:
            return Recognised(candidate, order)
    found = ", ".join(map(str, outputs))
    what = "are of no kind that is known" if kind is None else f"do not fit the card's {kind!r}"
    raise ValueError(
        f"{name}: its outputs, {found} for an input of {size[1]} x {size[0]} pixels, {what}. "
        f'Known are {", ".join(OUTPUTS)}: name one as "output" in NAME.card.json beside the file, '
        "or export the model anew"
    )


def usual_settings(
    recognised: Recognised, outputs: Sequence[Output], inputs: Sequence[str]
) -> dict[str, Any]:
    """Return the fields of a card that are usual for what was recognised.

    Args:
        recognised: the kind.
        outputs: what the file gave.
        inputs: names of its inputs.
    """
    usual = {"output": recognised.kind, **USUAL[recognised.kind]}
    if recognised.kind == "boxes_scores_labels" and SIZES_INPUT in inputs:
        usual |= {"resizing": "squeeze", "person_class": 0}
    if recognised.kind == "boxes_logits" and outputs[recognised.order[0]].name == "dets":
        # RF-DETR: ImageNet's pixels, and COCO's own numbers, in which a person is 1 of 0 to 90.
        has_coco_numbers = outputs[recognised.order[1]].shape[-1] == 91
        usual |= {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "person_class": int(has_coco_numbers)}
    return usual


def _order(
    kind: str, outputs: Sequence[Output], size: tuple[int, int], is_told: bool
) -> tuple[int, ...] | None:
    """Return the order of outputs of a kind, None if they are of another."""
    if kind == "boxes_scores_labels":
        return _order_final(outputs)
    if kind == "boxes_logits":
        return _order_logits(outputs)
    if kind == "nanodet":
        return _order_nanodet(outputs, size)
    if len(outputs) != 1 or len(outputs[0].shape) != 2:
        return None
    values = outputs[0].values.reshape(outputs[0].shape)
    fits = _fits_single if not is_told else _could_be_single
    return (0,) if fits(kind, values, size) else None


def _could_be_single(kind: str, values: np.ndarray, size: tuple[int, int]) -> bool:
    rows, columns = values.shape
    fits = {
        "rows6": columns == 6,
        "yolov8": rows >= 5,
        "yolov5": columns >= 6,
        "yolox": columns >= 6 and rows == count_cells(size, YOLO_STRIDES),
        "nanodet_plus": columns > 4 * NANODET_BINS and rows == count_cells(size, PLUS_STRIDES),
    }
    return bool(fits[kind])


def _fits_single(kind: str, values: np.ndarray, size: tuple[int, int]) -> bool:
    """Tell apart the kinds of a single output, by its shape, and by values YOLOX from decoded."""
    if not _could_be_single(kind, values, size):
        return False
    rows, columns = values.shape
    cells = count_cells(size, YOLO_STRIDES)
    on_grid = rows in (cells, 3 * cells, 3 * count_cells(size, PLUS_STRIDES))
    is_decoded = bool(np.abs(values[:, 2:4]).max(initial=0) > _LARGEST_LOGARITHM)
    fits = {
        "rows6": not on_grid,
        "yolov8": rows < columns,
        "yolov5": columns < rows and on_grid and (rows != cells or is_decoded),
        "yolox": columns < rows and not is_decoded,
        "nanodet_plus": True,
    }
    return bool(fits[kind])


def _named(outputs: Sequence[Output], *parts: str) -> list[int]:
    return [i for i, x in enumerate(outputs) if any(part in x.name.lower() for part in parts)]


def _order_final(outputs: Sequence[Output]) -> tuple[int, ...] | None:
    if len(outputs) not in (2, 3):
        return None
    # Four numbers a box, and one each of the rest; none where nothing is found in the grey.
    sizes = [x.values.size for x in outputs]
    boxes = [
        i
        for i, x in enumerate(outputs)
        if x.values.shape[-1:] == (4,)
        and all(4 * size == sizes[i] for k, size in enumerate(sizes) if k != i)
    ]
    if len(boxes) != 1:
        return None
    rest = [i for i in range(len(outputs)) if i not in boxes]
    if len(rest) == 1:
        return boxes[0], rest[0]
    labels = [i for i in rest if outputs[i].values.dtype.kind in "iu"]
    if len(labels) != 1:
        labels = [i for i in rest if i in _named(outputs, "label", "cl")]
    if len(labels) != 1:
        return None
    (scores,) = (i for i in rest if i not in labels)
    return boxes[0], scores, labels[0]


def _order_logits(outputs: Sequence[Output]) -> tuple[int, ...] | None:
    if len(outputs) != 2 or any(len(x.shape) != 2 for x in outputs):
        return None
    boxes = [i for i, x in enumerate(outputs) if x.shape[1] == 4]
    if len(boxes) == 2:
        boxes = _named(outputs, "box", "dets")
    if len(boxes) != 1 or outputs[0].shape[0] != outputs[1].shape[0]:
        return None
    return boxes[0], 1 - boxes[0]


def _order_nanodet(outputs: Sequence[Output], size: tuple[int, int]) -> tuple[int, ...] | None:
    """Return class scores by falling size, then distributions likewise."""
    if len(outputs) < 4 or len(outputs) % 2 or any(len(x.shape) != 2 for x in outputs):
        return None
    by_size = sorted(range(len(outputs)), key=lambda i: -outputs[i].shape[0])
    pairs = list(zip(by_size[::2], by_size[1::2], strict=True))
    scores, distances = [], []
    for pair in pairs:
        if outputs[pair[0]].shape[0] != outputs[pair[1]].shape[0]:
            return None
        # Of two that could be distributions, the first are scores, as the files have them.
        bins = [i for i in reversed(pair) if outputs[i].shape[1] == 4 * NANODET_BINS]
        if not bins:
            return None
        distances.append(bins[0])
        scores.append(pair[0] if pair[1] == bins[0] else pair[1])
        try:
            stride_of(outputs[pair[0]].shape[0], size)
        except ValueError:
            return None
    return (*scores, *distances)
