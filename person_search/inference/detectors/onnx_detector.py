"""Detectors from ONNX files, run by onnxruntime, without PyTorch.

Letters: H, W height and width in original pixels, h, w in resized pixels, N boxes.
"""

from pathlib import Path
from typing import Any

import numpy as np

from person_search.inference.cards import fill_in, fingerprint_of, read_card
from person_search.inference.detectors.card import DetectorCard
from person_search.inference.detectors.detector import Detections
from person_search.inference.detectors.outputs import decode
from person_search.inference.detectors.picture_input import as_tensor, place
from person_search.inference.detectors.recognition import (
    SIZES_INPUT,
    Output,
    recognise,
    usual_settings,
)
from person_search.inference.sight import Sight
from person_search.inference.suppression import suppress
from reid_heads.onnx_files import read_onnx

USUAL_SIZE = 640
"""Height and width of the input where neither the graph nor a card says them."""
TORCHVISION_SIZES = (800, 1333)
"""Shorter and longer side to which torchvision's detectors resize a picture by themselves."""
_NATURAL_SIZE = (480, 640)
_GREY = 114
# What a caller may change, as of models of one step: the least score, and whether there are parts.
_WHO_IS_FOUND = ("min_score", "smallest_person")


class OnnxDetector:
    """A detector in an ONNX file; a `person_search.inference.detectors.detector.Detector`.

    Attributes:
        card: what the file's pixels and outputs mean, as its card says or as it was recognised.
    """

    def __init__(
        self,
        source: str | Path | bytes,
        *,
        min_score: float | None = None,
        device: str | None = None,
        threads: int | None = None,
    ):
        """Load a file, and find out by a grey picture what it gives.

        Args:
            source: the file, or what it holds. A card, ``NAME.card.json`` beside it, says what is
                not recognised; see `person_search.inference.detectors.card.DetectorCard`.
            min_score: least score, 0..1, in place of the card's.
            device: see `person_search.inference.onnx_network.OnnxNetwork`.
            threads: likewise.

        Raises:
            FileNotFoundError: if there is no such file, or none of its weights' beside it.
            ModuleNotFoundError: without the package ``onnxruntime``.
            ValueError: if the file is no ONNX model, its weights are NaN, its input is no picture,
                its outputs are not understood, or its card is wrong.
        """
        file = read_onnx(source, "detector")
        self.name = file.name
        self._session = file.open("a detector's ONNX file", device=device, threads=threads)
        self._input = _picture_input(self._session, self.name)
        said = read_card(file.path, self._session.get_modelmeta().custom_metadata_map, self.name)
        self.card, self._order = self._read_outputs(said)
        self._refuse_unread(said)
        self.min_score = self.card.min_score if min_score is None else min_score
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score is {self.min_score}; expected 0..1")
        self.fingerprint = fingerprint_of("detector 1", file.content, self.card, _WHO_IS_FOUND)
        smallest = self.card.smallest_person
        self.sight: Sight | None = Sight(self.card.height, self.card.width, smallest)
        if self.card.resizing == "none":
            self.sight = Sight(*TORCHVISION_SIZES, smallest, turns=True)

    def detect(self, image: np.ndarray) -> Detections:
        """Find people; see `person_search.inference.detectors.detector.Detector.detect`.

        Raises:
            ValueError: if scores are no shares, or a person's box is not finite: the outputs are
                not what they were taken for.
        """
        pixels, placement = place(image, self.card)
        outputs = self._run(pixels, self.card)
        size = pixels.shape[0], pixels.shape[1]
        boxes, scores = decode([outputs[i] for i in self._order], self.card, size)
        self._check(scores)
        keep = scores >= self.min_score
        if not np.isfinite(boxes[keep]).all():
            raise ValueError(
                f"{self.name} gives people boxes with NaN or infinity as {self.card.output!r}: are "
                "its weights whole? Else say in its card what its outputs are"
            )
        # Some pad their boxes with nothing.
        keep &= (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        boxes, scores = boxes[keep], scores[keep]
        rows = np.argsort(-scores, kind="stable")
        if not self.card.has_nms_inside:
            rows = suppress(boxes, scores, self.card.nms_iou)
        return placement.to_original(boxes[rows]), scores[rows].clip(0, 1)

    def _refuse_unread(self, said: dict[str, Any]) -> None:
        """Refuse what a card says in vain."""
        card = self.card
        reasons = {
            "it takes uint8 pixels as they are": (("mean", "std"), self._takes_bytes),
            "pictures are taken as they are": (("height", "width"), card.resizing == "none"),
            "nothing is filled up": (("padding",), card.resizing in ("none", "squeeze")),
            "its boxes are final": (("nms_iou",), card.has_nms_inside),
        }
        for why, (fields, is_so) in reasons.items():
            if is_so and (unread := [field for field in fields if field in said]):
                raise ValueError(
                    f"the card of {self.name} says {', '.join(unread)}, which is not read, since "
                    f"{why}; leave it out of the card"
                )

    @property
    def _takes_bytes(self) -> bool:
        return bool(self._input.type == "tensor(uint8)")

    def _check(self, scores: np.ndarray) -> None:
        # Of half precision one may be a little more than 1.
        if not ((scores >= 0) & (scores <= 1 + 1e-3)).all():
            raise ValueError(
                f"{self.name} gives scores from {scores.min():.4g} to {scores.max():.4g} as "
                f"{self.card.output!r}; expected 0 to 1. With NaN its weights are not whole; else "
                "say in its card what its outputs are"
            )

    def _run(self, pixels: np.ndarray, card: DetectorCard) -> list[np.ndarray]:
        """Return all outputs for prepared pixels (h, w, 3), those of one picture."""
        tensor = pixels.transpose(2, 0, 1) if self._takes_bytes else as_tensor(pixels, card)
        if self._input.type == "tensor(float16)":
            tensor = tensor.astype(np.float16)
        if len(self._input.shape) == 4:
            batch = self._input.shape[0]
            tensor = np.repeat(tensor[None], batch if isinstance(batch, int) else 1, axis=0)
        inputs = {self._input.name: np.ascontiguousarray(tensor)}
        for other in self._session.get_inputs():
            if other.name == SIZES_INPUT:
                inputs[SIZES_INPUT] = np.array([[pixels.shape[1], pixels.shape[0]]], np.int64)
        outputs = self._session.run(None, inputs)
        batch = len(tensor) if tensor.ndim == 4 else 1
        return [x[:1] if batch > 1 and len(x) == batch else x for x in outputs]

    def _read_outputs(self, said: dict[str, Any]) -> tuple[DetectorCard, tuple[int, ...]]:
        """Return the whole card, and in which order the outputs come."""
        kind = said.get("output")
        size = self._size(said)
        resizing = {"resizing": "none"} if size is None else {"height": size[0], "width": size[1]}
        # What the grey picture is normalised by does not matter.
        blank = fill_in(DetectorCard("rows6", 1, 1), resizing, self.name)
        if kind is not None:
            fill_in(blank, {"output": kind}, self.name)
        height, width = size or _NATURAL_SIZE
        grey = np.full((height, width, 3), _GREY, np.uint8)
        names = [x.name for x in self._session.get_outputs()]
        values = self._run(grey, blank)
        outputs = [Output(name, x) for name, x in zip(names, values, strict=True)]
        recognised = recognise(outputs, (height, width), kind, self.name)
        inputs = [x.name for x in self._session.get_inputs()]
        usual = usual_settings(recognised, outputs, inputs)
        card = fill_in(blank, {**usual, **resizing}, self.name)
        return fill_in(card, said, self.name), recognised.order

    def _size(self, said: dict[str, Any]) -> tuple[int, int] | None:
        """Return (h, w) of the input, None where pictures are taken as they are."""
        fixed = self._input.shape[-2:]
        size = []
        for axis, field in zip(fixed, ("height", "width"), strict=True):
            if isinstance(axis, int) and said.get(field, axis) != axis:
                raise ValueError(
                    f"the card of {self.name} says {field} {said[field]}, but its graph takes "
                    f"{axis}; leave {field} out of the card"
                )
            size.append(axis if isinstance(axis, int) else said.get(field))
        if said.get("resizing") == "none":
            return None
        if size[0] is None or size[1] is None:
            # Without an axis for several pictures it is torchvision's, which resizes by itself.
            return None if len(self._input.shape) == 3 else (USUAL_SIZE, USUAL_SIZE)
        for field, value in zip(("height", "width"), size, strict=True):
            fill_in(DetectorCard("rows6", 1, 1), {field: value}, self.name)
        return int(size[0]), int(size[1])


def _picture_input(session: Any, name: str) -> Any:
    """Return the input that takes the picture.

    Raises:
        ValueError: if there is none, or another one whose meaning is not known.
    """
    inputs = session.get_inputs()
    pictures = [x for x in inputs if len(x.shape) in (3, 4) and x.shape[-3] in (3, "3")]
    others = [x.name for x in inputs if x.name != SIZES_INPUT and x not in pictures]
    if len(pictures) != 1 or others:
        found = ", ".join(f"{x.name} {x.type} {x.shape}" for x in inputs)
        raise ValueError(
            f"{name} takes {found}; expected one picture (1, 3, height, width) or (3, height, "
            f"width), and nothing else but RT-DETR's {SIZES_INPUT}"
        )
    if pictures[0].type not in ("tensor(float)", "tensor(float16)", "tensor(uint8)"):
        raise ValueError(f"{name} takes {pictures[0].type}; expected float, float16 or uint8")
    return pictures[0]
