"""Put sprites and shadows into a frame, the same bytes on any machine."""

from typing import NamedTuple

import cv2
import numpy as np

from person_search.synthetic.canvas import Light, Sprite

PixelBox = tuple[int, int, int, int]
"""Whole pixels of a frame, (x1, y1, x2, y2): what can be cut out."""


def clip_box(box: PixelBox, width: int, height: int) -> PixelBox:
    """Cut (x1, y1, x2, y2) at the frame; empty boxes have x2 <= x1 or y2 <= y1."""
    x1, y1, x2, y2 = box
    return max(0, x1), max(0, y1), min(width, x2), min(height, y2)


def boxes_overlap(one: PixelBox, other: PixelBox) -> bool:
    """Say whether two boxes share a pixel."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def paste(image: np.ndarray, sprite: Sprite, x: int, y: int) -> None:
    """Draw a sprite with its ground point at column x, row y; cut at the frame."""
    box = sprite.box_at(x, y)
    x1, y1, x2, y2 = clip_box(box, image.shape[1], image.shape[0])
    if x2 <= x1 or y2 <= y1:
        return
    colours, rest = sprite.layers
    inside = slice(y1 - box[1], y2 - box[1]), slice(x1 - box[0], x2 - box[0])
    region = image[y1:y2, x1:x2]
    # Rounded correctly on any machine: a product over 255 is never nearer than 1/510 to the middle
    # between two levels, far more than single precision is off.
    under = cv2.multiply(region, rest[inside], scale=1 / 255)
    region[:] = cv2.add(under, colours[inside])


class Shadow(NamedTuple):
    """How a thing darkens the ground around it."""

    box: PixelBox
    """Of the frame; empty where it lies outside."""
    level: np.ndarray
    """(h, w, 3) uint8, three times the same: light that is left, of 256."""


def make_shadow(
    size: tuple[int, int], x: int, y: int, reach: float, half_width: float, light: Light
) -> Shadow:
    """Return the shadow under a thing and, in the sun, away from the light.

    Args:
        size: Width and height of the frame.
        x: Column of the ground point.
        y: Row of the ground point.
        reach: Length that the shadow of the thing would have in full sun from the side, pixels.
        half_width: Half the width of the thing where it stands, pixels.
        light: Its side and contrast; without contrast only a soft blot stays.
    """
    thick = max(1, round(0.3 * half_width))
    length = -light.side * light.contrast * reach
    margin = 3 * thick + 6
    far_x, far_y = x + round(length), y - round(0.35 * abs(length))
    around = (
        min(x, far_x) - round(half_width) - margin,
        far_y - margin,
        max(x, far_x) + round(half_width) + margin,
        y + margin,
    )
    box = clip_box(around, *size)
    x1, y1, x2, y2 = box
    if x2 <= x1 or y2 <= y1:
        return Shadow((0, 0, 0, 0), np.zeros((0, 0, 3), np.uint8))
    level = np.full((y2 - y1, x2 - x1), 255, np.uint8)
    near, far = (x - x1, y - y1), (far_x - x1, far_y - y1)
    dark = round(255 - 50 - 55 * light.contrast)
    if abs(length) > half_width:
        width = max(1, round(1.1 * half_width))
        cv2.line(level, near, far, dark + 12, width, cv2.LINE_AA)
    cv2.ellipse(level, near, (max(2, round(half_width)), thick), 0, 0, 360, dark, -1, cv2.LINE_AA)
    blur = 2 * max(1, thick // 2) + 1
    level = cv2.GaussianBlur(level, (blur, blur), 0)
    # Three equal channels, not one that is broadcast: NumPy's loops over three are slow.
    return Shadow(box, cv2.merge([level, level, level]))


def cast_shadow(image: np.ndarray, shadow: Shadow) -> None:
    """Darken the ground of a frame in place."""
    x1, y1, x2, y2 = shadow.box
    region = image[y1:y2, x1:x2]
    darkened = np.multiply(region, shadow.level, dtype=np.uint16)
    darkened >>= 8
    region[:] = darkened
