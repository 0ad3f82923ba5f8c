"""Pixels that are not square, as on DVDs, from many recorders and in some streams."""

import cv2
import numpy as np

Stretch = tuple[float, float]
"""By how much a frame is stretched in x and y, so that its pixels become square."""

NONE: Stretch = (1.0, 1.0)
_WIDEST = 10.0


def stretch_of(across: float, down: float, is_on_its_side: bool = False) -> Stretch:
    """Return how frames are stretched; the longer side of a pixel is, so that nothing is lost.

    Args:
        across: of a pixel, how wide it is beside ``down``; not above 0 where that is unknown.
        down: how high it is.
        is_on_its_side: whether the frames were turned by a quarter after that was said.

    Examples:
        >>> stretch_of(16, 8), stretch_of(8, 16), stretch_of(0, 1)
        ((2.0, 1.0), (1.0, 2.0), (1.0, 1.0))
    """
    # Beyond these a file is damaged rather than wide.
    if not (across > 0 and down > 0 and 1 / _WIDEST <= across / down <= _WIDEST):
        return NONE
    x, y = max(across / down, 1.0), max(down / across, 1.0)
    return (y, x) if is_on_its_side else (x, y)


def make_square(pixels: np.ndarray, stretch: Stretch) -> np.ndarray:
    """Stretch a frame (H, W, 3) uint8; one that needs none is returned itself."""
    if stretch == NONE:
        return pixels
    size = round(pixels.shape[1] * stretch[0]), round(pixels.shape[0] * stretch[1])
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR))
