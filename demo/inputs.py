"""Boxes and times as people type them."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime

Box = tuple[float, float, float, float]
"""(x1, y1, x2, y2) in original pixels."""

LAST_VIDEO_SECOND = 1e8
"""Timestamps below are seconds since a video's start (three years), above since 1970."""


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


def parse_time(text: str | None, is_end: bool = False) -> float | None:
    """Read a time as typed: a date with or without time (UTC), or minutes:seconds of a video.

    Args:
        text: ``2025-06-01``, ``2025-06-01 09:30``, ``2025-06-01 09:30:15``, ``1:30`` (since a
            video's start) or a number of seconds; empty for none.
        is_end: a date alone then means the end of that day.

    Raises:
        ValueError: it is none of these.
    """
    text = (text or "").strip()
    if not text:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if parts := re.fullmatch(r"(?:(\d+):)?(\d+):(\d\d(?:\.\d+)?)", text):
        return int(parts[1] or 0) * 3600 + int(parts[2]) * 60 + float(parts[3])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"got {text!r} as a time; expected 2025-06-01, 2025-06-01 09:30 (UTC) or, for a "
            "video without date, minutes:seconds"
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    is_day = re.fullmatch(r"\d{4}-\d\d-\d\d", text) is not None
    return moment.timestamp() + (86399.999 if is_end and is_day else 0.0)


def format_time(timestamp: float | None) -> str:
    """Write a timestamp for people: a date and time (UTC), or the place in a video."""
    if timestamp is None:
        return ""
    if timestamp >= LAST_VIDEO_SECOND:
        return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S")
    minutes, seconds = divmod(int(timestamp), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
