"""Put sprites and shadows into a frame, in exact integer arithmetic."""

import cv2
import numpy as np

from .canvas import Sprite


def clip_box(box: tuple[int, int, int, int], width: int, height: int) -> tuple[int, int, int, int]:
    """Return the part of (x1, y1, x2, y2) inside the frame; empty boxes have x2 <= x1 or y2 <= y1."""
    x1, y1, x2, y2 = box
    return max(0, x1), max(0, y1), min(width, x2), min(height, y2)


def paste(image: np.ndarray, sprite: Sprite, x: int, y: int) -> None:
    """Draw a sprite with its ground point at column x and row y; parts outside the frame are cut off."""
    box = sprite.box_at(x, y)
    x1, y1, x2, y2 = clip_box(box, image.shape[1], image.shape[0])
    if x2 <= x1 or y2 <= y1:
        return
    part = sprite.bgra[y1 - box[1] : y2 - box[1], x1 - box[0] : x2 - box[0]]
    region = image[y1:y2, x1:x2]
    rest = 255 - part[:, :, 3:].astype(np.uint16)
    under = region.astype(np.uint16) * rest
    # (v + 128 + ((v + 128) >> 8)) >> 8 divides by 255 with correct rounding.
    under += 128
    under = (under + (under >> 8)) >> 8
    region[:] = np.minimum(part[:, :, :3] + under, 255).astype(np.uint8)


def cast_shadow(
    image: np.ndarray, x: int, y: int, size: float, side: float, contrast: float
) -> None:
    """Darken the ground round a foot point and away from the light.

    Args:
        image: Frame, changed in place.
        x: Column of the ground point.
        y: Row of the ground point.
        size: Height of the thing, pixels.
        side: Where the light comes from, -1 left .. 1 right.
        contrast: 0 overcast (only a soft blot) .. 1 hard sun (a long shadow).
    """
    reach = round(size * (0.16 + 0.55 * contrast))
    tall = max(2, round(size * 0.05))
    x1, y1, x2, y2 = clip_box(
        (x - reach - 4, y - 3 * tall - 4, x + reach + 4, y + 3 * tall + 4),
        image.shape[1],
        image.shape[0],
    )
    if x2 <= x1 or y2 <= y1:
        return
    level = np.full((y2 - y1, x2 - x1), 255, np.uint8)
    dark = round(255 - 60 - 50 * contrast)
    centre = (x - x1, y - y1)
    offset = round(-side * contrast * size * 0.26)
    far = (centre[0] + offset, centre[1] - round(0.3 * abs(offset)))
    cv2.ellipse(level, far, (max(2, abs(offset) + tall), tall), 0, 0, 360, dark + 10, -1)
    cv2.ellipse(level, centre, (max(2, round(size * 0.13)), tall), 0, 0, 360, dark, -1)
    blur = 2 * max(1, tall // 2) + 1
    level = cv2.GaussianBlur(level, (blur, blur), 0)
    region = image[y1:y2, x1:x2]
    region[:] = (region.astype(np.uint16) * level[:, :, None] >> 8).astype(np.uint8)
