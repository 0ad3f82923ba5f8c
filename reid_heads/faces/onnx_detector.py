"""Face detectors with five points from ONNX files: SCRFD and YuNet.

Letters: H, W height and width in original pixels, h, w in resized pixels, M faces.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torchvision.ops import nms

from reid_heads.faces.detector_outputs import DetectorFamily, decode, recognise
from reid_heads.faces.detectors import DetectedFace, drop_unalignable
from reid_heads.onnx_files import FLOATS, read_onnx, run_model

USUAL_SIZE = 640
"""Height and width of the input where the graph leaves them open; insightface's, too."""

_GREY = 114


class OnnxFaces:
    """A detector in an ONNX file; a `reid_heads.faces.detectors.Detector`.

    Attributes:
        family: Whose outputs it has.
        min_score: Least score of a face, 0..1.
        size: (h, w) of the input.
    """

    def __init__(
        self, source: str | Path, min_score: float | None = None, device: str | None = None
    ) -> None:
        """Load a file, and find out by a grey picture whose outputs it has.

        Args:
            source: The file.
            min_score: Least score of a face, 0..1; None: the family's own, 0.5 of SCRFD and 0.9 of
                YuNet.
            device: "cpu" or "cuda"; None: a GPU where onnxruntime can use one.

        Raises:
            FileNotFoundError: If there is no such file, or none of its weights' beside it.
            ModuleNotFoundError: Without the package ``onnxruntime``.
            ValueError: If the file is no ONNX model, its weights are NaN, it takes no picture or
                its outputs are of neither family.
        """
        file = read_onnx(source, "face detector", "; check --detector", is_finite=True)
        self.name = file.name
        self._session = file.open("a face detector's ONNX file", device=device, threads=None)
        self._input = _find_picture_input(self._session, self.name)
        height, width = (
            axis if isinstance(axis, int) and axis > 0 else USUAL_SIZE
            for axis in self._input.shape[2:]
        )
        self.size = int(height), int(width)
        grey = np.full((1, 3, *self.size), _GREY, np.float32)
        names = [output.name for output in self._session.get_outputs()]
        outputs = list(zip(names, self._run(grey), strict=True))
        self._outputs = recognise(outputs, self.size, self.name)
        self.family = self._outputs.family
        self.min_score = self.family.min_score if min_score is None else min_score

    def __call__(self, image: np.ndarray) -> list[DetectedFace]:
        """Return the faces of a picture (H, W, 3) uint8 RGB by falling score.

        Faces whose points cannot be aligned are left out, with a warning.

        Raises:
            ValueError: If what the network gives is not finite, or scores are no shares.
        """
        pixels, scale = letterbox(image, self.size, self.family.may_enlarge)
        values = self._run(as_tensor(pixels, self.family))
        boxes, points, scores = decode(values, self._outputs, self.size, self.min_score, self.name)
        kept = nms(torch.from_numpy(boxes), torch.from_numpy(scores), self.family.nms_iou)
        return drop_unalignable(
            [
                DetectedFace(
                    tuple((boxes[i] / np.tile(scale, 2)).tolist()),
                    points[i] / scale,
                    float(scores[i]),
                )
                for i in kept.tolist()
            ]
        )

    def _run(self, tensor: np.ndarray) -> list[np.ndarray]:
        inputs = {self._input.name: tensor.astype(FLOATS[self._input.type])}
        outputs = run_model(self._session, None, inputs, self.name)
        return [np.asarray(value) for value in outputs]


def letterbox(
    image: np.ndarray, size: tuple[int, int], may_enlarge: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Resize a picture as a whole into the upper left corner of a black one.

    Args:
        image: (H, W, 3) uint8.
        size: (h, w).
        may_enlarge: Otherwise a smaller picture stays as it is.

    Returns:
        (h, w, 3) uint8, and (2,): resized pixels for an original one, along x and y.
    """
    height, width = image.shape[:2]
    new_height, new_width = size
    if not may_enlarge and height <= size[0] and width <= size[1]:
        new_height, new_width = height, width
    elif height * size[1] > width * size[0]:
        new_width = max(1, width * size[0] // height)
    else:
        new_height = max(1, height * size[1] // width)
    filled = np.zeros((*size, 3), np.uint8)
    resized = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    filled[:new_height, :new_width] = resized
    return filled, np.array([new_width / width, new_height / height])


def as_tensor(pixels: np.ndarray, family: DetectorFamily) -> np.ndarray:
    """Return (1, 3, h, w) float32, as a family takes it, of (h, w, 3) uint8 RGB."""
    ordered = pixels[:, :, ::-1] if family.is_bgr else pixels
    values = (ordered.astype(np.float32) - family.mean) / family.std
    return np.ascontiguousarray(values.transpose(2, 0, 1)[None], np.float32)


def _find_picture_input(session: Any, name: str) -> Any:
    """Return the one input, which takes one picture.

    Raises:
        ValueError: If it is none; says what was found.
    """
    inputs = session.get_inputs()
    takes_picture = len(inputs) == 1 and len(inputs[0].shape) == 4
    if takes_picture:
        batch, channels = inputs[0].shape[:2]
        takes_picture = channels == 3 and (not isinstance(batch, int) or batch <= 1)
        takes_picture &= inputs[0].type in FLOATS
    if not takes_picture:
        found = ", ".join(f"{x.name} {x.type} {x.shape}" for x in inputs)
        raise ValueError(f"{name} takes {found}; expected a picture, float (1, 3, height, width)")
    return inputs[0]
