"""Boxes and times as people type them."""

import re

from person_search.footage.times import parse_time


def parse_box(text: str) -> list[float]:
    """Read a box as typed, ``x1, y1, x2, y2`` in pixels.

    Raises:
        ValueError: these are not four numbers.
    """
    numbers = re.split(r"[\s,;]+", text.strip(" ()[]\t\n"))
    try:
        box = [float(number) for number in numbers]
    except ValueError:
        box = []
    if len(box) != 4:
        raise ValueError(f"got {text!r} as a box; expected four numbers: x1, y1, x2, y2")
    return box


def parse_optional_time(value: str | float | None, *, end: bool = False) -> float | None:
    """Read a time as `parse_time` does; a field left empty is no time, None.

    Raises:
        ValueError: it is no time.
    """
    text = "" if value is None else str(value).strip()
    return parse_time(text, end=end) if text else None
