"""Put sprites and shadows into a frame, in exact integer arithmetic."""

import cv2
import numpy as np

from person_search.synthetic.canvas import Light, Sprite

PixelBox = tuple[int, int, int, int]
"""Whole pixels of a frame, (x1, y1, x2, y2): what can be cut out."""


def clip_box(box: PixelBox, width: int, height: int) -> PixelBox:
    """Cut (x1, y1, x2, y2) at the frame; empty boxes have x2 <= x1 or y2 <= y1."""
    x1, y1, x2, y2 = box
    return max(0, x1), max(0, y1), min(width, x2), min(height, y2)


def paste(image: np.ndarray, sprite: Sprite, x: int, y: int) -> None:
    """Draw a sprite with its ground point at column x, row y; cut at the frame."""
    box = sprite.box_at(x, y)
    x1, y1, x2, y2 = clip_box(box, image.shape[1], image.shape[0])
    if x2 <= x1 or y2 <= y1:
        return
    part = sprite.bgra[y1 - box[1] : y2 - box[1], x1 - box[0] : x2 - box[0]]
    region = image[y1:y2, x1:x2]
    rest = 255 - part[:, :, 3:].astype(np.uint16)
    under: np.ndarray = region.astype(np.uint16) * rest
    # (v + 128 + ((v + 128) >> 8)) >> 8 divides by 255 with correct rounding.
    under += 128
    under = (under + (under >> 8)) >> 8
    region[:] = np.minimum(part[:, :, :3] + under, 255).astype(np.uint8)


def cast_shadow(
    image: np.ndarray, x: int, y: int, reach: float, half_width: float, light: Light
) -> None:
    """Darken the ground under a thing and, in the sun, away from the light.

    Args:
        image: Frame, changed in place.
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
    box = (
        min(x, far_x) - round(half_width) - margin,
        far_y - margin,
        max(x, far_x) + round(half_width) + margin,
        y + margin,
    )
    x1, y1, x2, y2 = clip_box(box, image.shape[1], image.shape[0])
    if x2 <= x1 or y2 <= y1:
        return
    level = np.full((y2 - y1, x2 - x1), 255, np.uint8)
    near, far = (x - x1, y - y1), (far_x - x1, far_y - y1)
    dark = round(255 - 50 - 55 * light.contrast)
    if abs(length) > half_width:
        width = max(1, round(1.1 * half_width))
        cv2.line(level, near, far, dark + 12, width, cv2.LINE_AA)
    cv2.ellipse(level, near, (max(2, round(half_width)), thick), 0, 0, 360, dark, -1, cv2.LINE_AA)
    size = 2 * max(1, thick // 2) + 1
    level = cv2.GaussianBlur(level, (size, size), 0)
    region = image[y1:y2, x1:x2]
    region[:] = (region.astype(np.uint16) * level[:, :, None] >> 8).astype(np.uint8)
