"""How a picture is resized for a network: the rules of two public codebases, without PyTorch.

Letters: H, W height and width in original pixels, h, w in resized pixels, C channels.
"""

from typing import Literal, get_args

import numpy as np
from PIL import Image

ResizeRule = Literal["ResizeShortestEdge", "GeneralizedRCNNTransform"]
"""Whose rule: detectron2's ``ResizeShortestEdge`` rounds sizes to the nearest pixel and shrinks
with Pillow's antialiasing, to uint8; torchvision's ``GeneralizedRCNNTransform`` rounds sizes down
and interpolates float pixels linearly without antialiasing."""

DEFAULT_RULE: ResizeRule = "ResizeShortestEdge"
RULES: tuple[ResizeRule, ...] = get_args(ResizeRule)


def check_rule(rule: str) -> ResizeRule:
    """Return ``rule``.

    Raises:
        ValueError: if it is none.
    """
    for known in RULES:
        if rule == known:
            return known
    raise ValueError(f"INPUT.RESIZE is {rule!r}; expected one of {', '.join(map(repr, RULES))}")


def resized_shape(
    height: int, width: int, min_size: int, max_size: int, rule: ResizeRule = DEFAULT_RULE
) -> tuple[int, int]:
    """Return (h, w), rounding included.

    Args:
        height: H.
        width: W.
        min_size: length of the shorter side in resized pixels; 0 does not resize.
        max_size: the longer side is at most so long.
        rule: whose.
    """
    if min_size == 0:
        return height, width
    if rule == "GeneralizedRCNNTransform":
        scale = min(min_size / min(height, width), max_size / max(height, width))
        sizes = int(height * scale), int(width * scale)
    else:
        sizes = _rounded_to_nearest(height, width, min_size, max_size)
    # A sliver of a picture keeps a pixel, where both codebases would fail.
    return max(sizes[0], 1), max(sizes[1], 1)


def _rounded_to_nearest(height: int, width: int, min_size: int, max_size: int) -> tuple[int, int]:
    scale = min_size / min(height, width)
    new_height, new_width = (
        (float(min_size), scale * width) if height < width else (scale * height, float(min_size))
    )
    if max(new_height, new_width) > max_size:
        scale = max_size / max(new_height, new_width)
        new_height, new_width = new_height * scale, new_width * scale
    return int(new_height + 0.5), int(new_width + 0.5)


def resize(
    image: np.ndarray, shape: tuple[int, int], rule: ResizeRule = DEFAULT_RULE
) -> np.ndarray:
    """Return a picture in another size.

    Args:
        image: (H, W, C) uint8.
        shape: (h, w).
        rule: whose.

    Returns:
        (h, w, C), uint8 by detectron2's rule, float32 in 0..255 by torchvision's; maybe ``image``.
    """
    if rule == "GeneralizedRCNNTransform":
        pixels = image.astype(np.float32)
        return _interpolated(_interpolated(pixels, 1, shape[1]), 0, shape[0])
    if shape == image.shape[:2]:
        return image
    size = shape[1], shape[0]
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def _interpolated(pixels: np.ndarray, axis: int, length: int) -> np.ndarray:
    """Return float32 pixels interpolated linearly along an axis.

    Centres of pixels are at halves, and all is float32, as in torch's ``interpolate``. OpenCV's
    weights are rounded otherwise, by up to 0.006 grey levels, which is enough for another of two
    nearly equal boxes to win.
    """
    known = pixels.shape[axis]
    if length == known:
        return pixels
    half, scale = np.float32(0.5), np.float32(known / length)
    position = (np.arange(length, dtype=np.float32) + half) * scale - half
    # Beyond the outermost centres the outermost pixels go on.
    position = position.clip(0, known - 1)
    before = position.astype(np.intp)
    after = np.minimum(before + 1, known - 1)
    share = (position - before).astype(np.float32).reshape((-1,) + (1,) * (pixels.ndim - axis - 1))
    first, second = pixels.take(before, axis), pixels.take(after, axis)
    mixed: np.ndarray = first * (1 - share) + second * share
    return mixed
