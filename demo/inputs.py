"""Boxes, times and filters as people type them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from person_search.footage.time_text import YEAR, format_time, parse_time
from person_search.gallery.search_options import FrameFilter


@dataclass(frozen=True)
class Fields:
    """What the fields beside the matches hold, in their order on the page."""

    threshold: float
    top: int = 12
    cameras: Sequence[str] = ()
    since: str = ""
    until: str = ""
    ranked: str = "appearance"
    blur: bool = False

    def filters(self) -> list[str]:
        """Return the filters in force, in words."""
        words = [f"camera {camera}" for camera in self.cameras or ()]
        times = (("from", self.since), ("until", self.until))
        return words + [f"{word} {text.replace('T', ' ')}" for word, text in times if text]


def as_picked(text: str, *, end: bool = False) -> str:
    """Write a time as the field for it does: a local date and time, or H:MM:SS of a video.

    Raises:
        ValueError: it is no time.
    """
    seconds = parse_optional_time(text, end=end)
    if seconds is None:
        return ""
    if seconds < YEAR:
        return format_time(seconds)
    return datetime.fromtimestamp(seconds).isoformat(timespec="seconds")


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


def parse_filter(
    cameras: Sequence[str] | None, since: str | float | None, until: str | float | None
) -> FrameFilter:
    """Read which frames to look at; what is left empty filters nothing.

    Args:
        cameras: names.
        since: as `parse_optional_time` reads them.
        until: likewise; a date counts to its end.

    Raises:
        ValueError: one is no time, or the range ends before it begins.
    """
    return FrameFilter(
        cameras=list(cameras or ()) or None,
        since=parse_optional_time(since),
        until=parse_optional_time(until, end=True),
    )
