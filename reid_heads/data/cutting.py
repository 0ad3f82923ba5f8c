"""Cut the boxes of people out of whole frames.

Frames of reference: *original* pixels are those of the image file, turned upright as its EXIF data
say; *resized* pixels are those of the frame as a person search model gets it, where the config asks
for that (INPUT.REID.FRAME_MIN_SIZE).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T
from PIL import Image

from reid_heads.data.augmentation import jitter_box
from reid_heads.pictures import read_image


@dataclass(frozen=True)
class _Region:
    """The part of a frame that a box can move in; all in resized pixels."""

    pixels: np.ndarray
    """(H, W, 3) uint8, red, green, blue."""
    left: int
    top: int
    box: np.ndarray
    """(4,) float64 of (x1, y1, x2, y2) within the frame."""


class BoxCutter:
    """Read a frame and cut a box out of it, moved a little at training.

    Decoding the frame takes nearly all of the time. What was cut out can be kept in memory, each
    process for itself: the pixels are the same either way.
    """

    @configurable
    def __init__(self, *, jitter: float, min_size: int, max_size: int, cache_mb: float):
        """Set the cutter up.

        Args:
            jitter: each side moves by up to this share of the box's width or height.
            min_size: shorter side of the resized frame; 0 cuts from the original pixels.
            max_size: limit of the longer side of the resized frame.
            cache_mb: mebibytes of cut regions to keep.

        Raises:
            ValueError: for a value out of range; the message names the config key.
        """
        if not 0 <= jitter < 0.5:
            raise ValueError(
                f"INPUT.REID.BOX_JITTER is {jitter}; expected 0 <= share < 0.5, where a box keeps "
                "some width"
            )
        if min_size < 0 or max_size < 1:
            raise ValueError(
                f"INPUT.REID.FRAME_MIN_SIZE is {min_size} and FRAME_MAX_SIZE is {max_size}; "
                "expected pixels, with FRAME_MIN_SIZE 0 for frames as they are"
            )
        if not cache_mb >= 0:
            raise ValueError(f"INPUT.REID.CACHE_MB is {cache_mb}; expected 0 or more mebibytes")
        self.jitter = jitter
        self.min_size = min_size
        self.max_size = max_size
        self._cache: dict[tuple[str, tuple[float, ...]], _Region] = {}
        self._cache_left = cache_mb * 2**20

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool) -> dict[str, float]:
        """Translate the config; at test boxes are not moved, nor kept for a second time."""
        reid = cfg.INPUT.REID
        return {
            "jitter": reid.BOX_JITTER if is_train else 0.0,
            "min_size": reid.FRAME_MIN_SIZE,
            "max_size": reid.FRAME_MAX_SIZE,
            "cache_mb": reid.CACHE_MB if is_train else 0,
        }

    def __call__(self, file_name: str, bbox: Sequence[float]) -> np.ndarray:
        """Cut one box; the move, if any, comes from numpy's global generator.

        Args:
            file_name: the frame.
            bbox: (x1, y1, x2, y2) in original pixels. What sticks out of the frame is cut off
                before the box is moved, and it is not moved out of the frame.

        Returns:
            (h, w, 3) uint8 in RGB order, read-only, in resized pixels: each side of the box rounded
            to whole pixels, one at least each way.

        Raises:
            OSError: if the frame is missing.
            ValueError: if the box has no area inside the frame; as an `ImageError` if the frame is
                broken.
        """
        region = self._find_region(file_name, tuple(float(value) for value in bbox))
        box = jitter_box(region.box, self.jitter) if self.jitter > 0 else region.box
        height, width = region.pixels.shape[:2]
        x1, y1, x2, y2 = box.tolist()
        left, right = _round_span(x1 - region.left, x2 - region.left, width)
        top, bottom = _round_span(y1 - region.top, y2 - region.top, height)
        return region.pixels[top:bottom, left:right]

    def _find_region(self, file_name: str, bbox: tuple[float, ...]) -> _Region:
        key = file_name, bbox
        if key in self._cache:
            return self._cache[key]
        region = self._read_region(file_name, bbox)
        # Whatever came first is as good to keep as anything later: training draws all boxes again.
        if region.pixels.nbytes <= self._cache_left:
            self._cache[key] = region
            self._cache_left -= region.pixels.nbytes
        return region

    def _read_region(self, file_name: str, bbox: tuple[float, ...]) -> _Region:
        frame = Image.fromarray(read_image(file_name))
        box = _clip_box(bbox, frame.size, file_name)
        width, height = self._resized_size(frame)
        scale = np.array([width, height] * 2) / np.array(frame.size * 2)
        box = box * scale
        reach = self.jitter * (box[2:] - box[:2])
        left, right = _round_span(box[0] - reach[0], box[2] + reach[0], width)
        top, bottom = _round_span(box[1] - reach[1], box[3] + reach[1], height)
        pixels = _cut_resized(frame, (width, height), (left, top, right, bottom))
        return _Region(pixels, left, top, box)

    def _resized_size(self, frame: Image.Image) -> tuple[int, int]:
        """Return (width, height) of the resized frame."""
        if self.min_size == 0:
            return frame.size
        height, width = T.ResizeShortestEdge.get_output_shape(
            frame.height, frame.width, self.min_size, self.max_size
        )
        return width, height


def _clip_box(bbox: tuple[float, ...], size: tuple[int, int], file_name: str) -> np.ndarray:
    """Clip a box to a frame of (width, height)."""
    if len(bbox) == 4:
        box: np.ndarray = np.clip(np.array(bbox), 0, np.array(size * 2))
        # Not a number compares false.
        if box[2] > box[0] and box[3] > box[1]:
            return box
    raise ValueError(
        f"{file_name}: the box {list(bbox)} has no area inside the frame of {size[0]}x{size[1]} "
        "pixels; expected (x1, y1, x2, y2) with x1 < x2 and y1 < y2, correct it or leave it out"
    )


def _round_span(low: float, high: float, size: int) -> tuple[int, int]:
    """Round both ends to pixel borders of 0..size, one pixel apart at least."""
    start = min(max(math.floor(low + 0.5), 0), size - 1)
    return start, min(max(math.floor(high + 0.5), start + 1), size)


def _cut_resized(
    frame: Image.Image, size: tuple[int, int], span: tuple[int, int, int, int]
) -> np.ndarray:
    """Resize a frame to (width, height), bilinear, and cut (left, top, right, bottom) out of it."""
    left, top, right, bottom = span
    if size == frame.size:
        return np.asarray(frame.crop(span))
    # Only the wanted part is computed. At its border Pillow reads the pixels around it: this is the
    # same as that part of the whole frame resized by detectron2, but for a grey level of rounding
    # in a few pixels.
    source = (
        left * frame.width / size[0],
        top * frame.height / size[1],
        right * frame.width / size[0],
        bottom * frame.height / size[1],
    )
    shape = (right - left, bottom - top)
    return np.asarray(frame.resize(shape, Image.Resampling.BILINEAR, box=source))
