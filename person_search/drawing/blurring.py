"""Make the people of a picture unrecognizable who are nobody's business.

Letters: H, W height and width of a picture in pixels, N people.
"""

import math

import numpy as np
from PIL import Image

from person_search.people import Box

MARGIN = 0.15
"""Of a box's width and height, that is blurred around it: boxes cut off hair and hands."""
CELLS_ACROSS = 4
"""A blurred person is so many averages wide, at most."""
CELLS_DOWN = 10
"""And so many high: a head is about one of them."""
LEAST_CELL = 6
"""Pixels; a person of few pixels loses detail, too."""
CELLS_OF_PICTURE = 16
"""Along the shorter side of a picture that is blurred as a whole."""


def blur_others(
    picture: np.ndarray,
    person: Box | None,
    others: np.ndarray | None,
    *,
    margin: float = MARGIN,
) -> np.ndarray:
    """Blur everybody but one person.

    What is blurred is averaged over cells as large as a head before it is smoothed, so that no
    filter brings it back. Every pixel of another's box is blurred, also where the person's box
    shares it; only the margin around it leaves the person's box alone.

    Args:
        picture: (H, W, 3) uint8 RGB; not changed.
        person: Who stays as they are: (x1, y1, x2, y2) in pixels of the picture. None for nobody.
        others: (N, 4) boxes of everybody else. None where nobody knows who else is there: then
            everything outside the person's box is blurred.
        margin: Around the others, as a share of their width and height; 0 or more.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: If a box is not finite or the margin is negative: what cannot be placed cannot
            be blurred.

    Examples:
        >>> street = np.zeros((90, 120, 3), np.uint8)
        >>> street[::2] = 255
        >>> shown = blur_others(street, (10, 10, 40, 80), np.array([[70, 10, 100, 80]]))
        >>> bool((shown[10:80, 10:40] == street[10:80, 10:40]).all())
        True
        >>> int(np.ptp(shown[15:75, 75:95])) < 60
        True
    """
    height, width = picture.shape[:2]
    boxes = np.zeros((0, 4)) if others is None else np.asarray(others, np.float64).reshape(-1, 4)
    given = boxes if person is None else np.vstack([boxes, np.asarray(person, np.float64)])
    if not np.isfinite(given).all() or not margin >= 0:
        raise ValueError(
            f"cannot blur: got boxes {given.tolist()} and margin {margin}; expected finite numbers "
            "and a margin of 0 or more"
        )
    kept = np.zeros((height, width), bool)
    if person is not None:
        # Pixels that lie in the box as a whole.
        left, top = (max(0, math.ceil(v)) for v in person[:2])
        right, bottom = (max(0, math.floor(v)) for v in person[2:])
        kept[top:bottom, left:right] = True
    result = np.array(picture)
    if others is None:
        _blur(result, (0, 0, width, height), ~kept, min(width, height) / CELLS_OF_PICTURE)
    for box in boxes:
        _blur_box(result, box, kept, margin)
    return result


def blur_around(picture: np.ndarray, person: Box | None, others: np.ndarray) -> np.ndarray:
    """Blur everything but one person: also those whom no detector has seen.

    Args:
        picture: (H, W, 3) uint8 RGB; not changed.
        person: Who stays as they are: (x1, y1, x2, y2) in pixels of the picture. None for nobody.
        others: (N, 4) boxes of everybody else who is known; where they share the person's box,
            that is blurred, too.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: If a box is not finite.
    """
    shown = blur_others(picture, person, None)
    return blur_others(shown, person, others, margin=0.0)


def _blur_box(picture: np.ndarray, box: np.ndarray, kept: np.ndarray, margin: float) -> None:
    sides = np.abs(box[2:] - box[:2])
    around = _cut(np.concatenate([box[:2] - margin * sides, box[2:] + margin * sides]), picture)
    left, top, right, bottom = _cut(box, picture)
    mask = np.zeros(kept.shape, bool)
    mask[around[1] : around[3], around[0] : around[2]] = True
    mask &= ~kept
    mask[top:bottom, left:right] = True
    _blur(picture, around, mask, max(sides[0] / CELLS_ACROSS, sides[1] / CELLS_DOWN))


def _cut(box: np.ndarray, picture: np.ndarray) -> tuple[int, int, int, int]:
    """Return the pixels that a box touches, as left, top, right and bottom."""
    height, width = picture.shape[:2]
    x1, y1, x2, y2 = box.tolist()
    left, right = max(0, math.floor(x1)), min(width, math.ceil(x2))
    top, bottom = max(0, math.floor(y1)), min(height, math.ceil(y2))
    return left, top, max(left, right), max(top, bottom)


def _blur(
    picture: np.ndarray, region: tuple[int, int, int, int], mask: np.ndarray, cell: float
) -> None:
    """Blur, in place, the pixels of a region that a mask (H, W) has."""
    left, top, right, bottom = region
    if right <= left or bottom <= top:
        return
    cell = max(cell, LEAST_CELL)
    part = Image.fromarray(picture[top:bottom, left:right])
    cells = (max(1, int(part.width / cell)), max(1, int(part.height / cell)))
    coarse = part.resize(cells, Image.Resampling.BOX)
    smooth = np.asarray(coarse.resize(part.size, Image.Resampling.BILINEAR))
    inside = mask[top:bottom, left:right]
    picture[top:bottom, left:right][inside] = smooth[inside]
