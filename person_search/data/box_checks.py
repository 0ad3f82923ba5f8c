"""What boxes of other people's files may be instead of what their format says."""

import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

logger = logging.getLogger(__name__)

_FEWEST = 3
"""Boxes that say something of their form; of fewer, chance may."""


def look_like_corners(boxes: np.ndarray, sizes: np.ndarray) -> bool:
    """Say whether boxes are x1, y1, x2, y2 more likely than left, top, width and height.

    Then each of them is a box inside its picture, whereas by their width and height at least a
    third of them stick out.

    Args:
        boxes: (N, 4), as they stand in a file. Fewer than three say nothing.
        sizes: (N, 2), width and height of each one's picture, pixels.

    Examples:
        >>> corners = np.array([[50, 20, 90, 80], [60, 20, 95, 90], [10, 10, 40, 99]])
        >>> look_like_corners(corners, np.array([[100, 100]] * 3))
        True
    """
    is_inside = ((boxes[:, :2] >= -1) & (boxes[:, 2:] <= sizes + 1)).all(axis=1)
    are_corners = is_inside & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    stick_out = (boxes[:, :2] + boxes[:, 2:] > sizes + 1).any(axis=1)
    is_odd = 3 * int(stick_out.sum()) >= len(boxes)
    return len(boxes) >= _FEWEST and bool(are_corners.all()) and is_odd


def refuse_corners(
    path: Path, boxes: Iterable[np.ndarray], sizes: Iterable[tuple[int, int] | None]
) -> None:
    """Refuse boxes that look like x1, y1, x2, y2.

    Args:
        path: of the file, for the message.
        boxes: (4,) each, as they stand in it.
        sizes: width and height of each one's picture, pixels; None where it is not known.

    Raises:
        ValueError: Those in pictures of known size do.
    """
    known = [(box, size) for box, size in zip(boxes, sizes, strict=True) if size is not None]
    found = np.array([box for box, _ in known]).reshape(-1, 4)
    if look_like_corners(found, np.array([size for _, size in known]).reshape(-1, 2)):
        raise ValueError(
            f"{path} has boxes that stick out of their images as x, y, w, h, and all lie inside as "
            f"x1, y1, x2, y2, such as {found[0].tolist()}; expected [x, y, w, h]"
        )


def warn_of_twins(path: Path, people: Iterable[tuple[str, int | str]], num_images: int) -> None:
    """Warn of somebody who is twice in one image: the id may be no person's.

    Args:
        path: of the file, for the message.
        people: image and id of each person with one.
        num_images: of the file.
    """
    twins = [place for place, count in Counter(people).items() if count > 1]
    if twins:
        logger.warning(
            "%s: in %d of %d images somebody is annotated twice, such as the person_id %r in %s; "
            "is it the number of a person, and of one only? A test looks for the first box there",
            *(path, len({image for image, _ in twins}), num_images, twins[0][1], twins[0][0]),
        )
