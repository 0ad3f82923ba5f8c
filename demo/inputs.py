"""Boxes and times as people type them."""

import math
import re
from collections.abc import Sequence

from person_search.footage.times import parse_time
from person_search.people import Box


def parse_box(text: str, width: int, height: int) -> Box:
    """Read a box as typed, ``x1, y1, x2, y2`` in pixels, and check it.

    Raises:
        ValueError: these are not four numbers, or the box is outside the picture.
    """
    numbers = re.split(r"[\s,;]+", text.strip(" ()[]\t\n"))
    try:
        box = [float(number) for number in numbers]
    except ValueError:
        box = []
    if len(box) != 4:
        raise ValueError(f"got {text!r} as a box; expected four numbers: x1, y1, x2, y2")
    return check_box(box, width, height)


def check_box(box: Sequence[float], width: int, height: int) -> Box:
    """Order a box's corners and cut it at the picture's border.

    Raises:
        ValueError: not four finite numbers, or outside the picture.
    """
    if len(box) != 4 or not all(
        isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in box
    ):
        raise ValueError(f"got {box!r} as a box; expected four numbers: x1, y1, x2, y2")
    (x1, x2), (y1, y2) = sorted((box[0], box[2])), sorted((box[1], box[3]))
    cut = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    if cut[2] - cut[0] < 1 or cut[3] - cut[1] < 1:
        raise ValueError(
            f"the box ({x1:g}, {y1:g}, {x2:g}, {y2:g}) is outside the picture or empty; the "
            f"picture is {width} x {height} pixels"
        )
    return cut


def parse_optional_time(value: str | float | None, *, end: bool = False) -> float | None:
    """Read a time as `parse_time` does; a field left empty is no time, None.

    Raises:
        ValueError: it is no time.
    """
    text = "" if value is None else str(value).strip()
    return parse_time(text, end=end) if text else None
