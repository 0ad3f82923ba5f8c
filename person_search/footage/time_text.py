"""Times as a user writes and reads them."""

import math
import re
from datetime import datetime, timedelta

FORMS = (
    "seconds (90 or 90.5), H:MM:SS (0:01:30), or a date such as 2024-05-31 or "
    "2024-05-31T14:00:00+02:00"
)

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_CLOCK = re.compile(r"(\d+):([0-5]\d):([0-5]\d(?:\.\d+)?)")
_SECONDS = re.compile(r"\d+(?:\.\d+)?")
_IN_NAME = re.compile(
    r"(?<!\d)(\d{4})([-_.]?)(\d\d)\2(\d\d)[-_. T]?(\d\d)([-_.h]?)(\d\d)[-_.m]?(\d\d)"
    r"(?!\d)(?:\.(\d{1,6})(?!\d))?(Z(?![A-Za-z]))?"
)
YEAR = 365 * 24 * 3600.0
"""Seconds. Timestamps below it count from the start of a video, those above from 1970."""


def parse_time(text: str, *, end: bool = False) -> float:
    """Read a time.

    Args:
        text: seconds or H:MM:SS since the start of a video, or an ISO date with or without a time
            of day. Without an offset (``Z``, ``+02:00``) it is local time.
        end: a date without a time of day means the day's last moment, not its first.

    Returns:
        The number of seconds, for dates since 1970 (UTC).

    Raises:
        ValueError: ``text`` is none of these.

    Examples:
        >>> parse_time("90"), parse_time("0:01:30")
        (90.0, 90.0)
        >>> parse_time("2025-06-02T14:00:00+02:00")
        1748865600.0
    """
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    if clock := _CLOCK.fullmatch(text):
        return 3600 * int(clock[1]) + 60 * int(clock[2]) + float(clock[3])
    if text[:1].isdigit() and _DATE.match(text):
        return _parse_date(text, end)
    raise ValueError(f"{text!r} is no time; expected {FORMS}")


def _parse_date(text: str, end: bool) -> float:
    try:
        moment = datetime.fromisoformat(text)
        if end and _DATE.fullmatch(text):
            moment += timedelta(days=1, milliseconds=-1)
        return moment.timestamp()
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text!r} is no time ({error}); expected {FORMS}") from None


def find_time(name: str) -> float | None:
    """Find the time that a camera or a phone has put into the name of a file.

    Args:
        name: without its suffix, such as ``2024-05-31_14-00-00``, ``VID_20240531_140000`` or
            ``gate-20240531T120000Z``: year, month, day, hour, minute and second, in this order.

    Returns:
        Seconds since 1970 (UTC), local time unless a ``Z`` follows; None if there is no such time.
        Of several the first one counts.

    Examples:
        >>> find_time("gate-20240531T120000Z"), find_time("holiday 3")
        (1717156800.0, None)
    """
    for found in _IN_NAME.finditer(name):
        year, _, month, day, hour, _, minute, second, fraction, zone = found.groups()
        text = f"{year}-{month}-{day}T{hour}:{minute}:{second}.{fraction or 0:0<6}"
        try:
            return datetime.fromisoformat(text + ("+00:00" if zone else "")).timestamp()
        except (ValueError, OverflowError):
            continue
    return None


def format_time(seconds: float | None) -> str:
    """Write a timestamp: H:MM:SS.s since the start of a video, or a local date and time."""
    if seconds is None:
        return "-"
    if seconds >= YEAR:
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
    tenths = math.floor(seconds * 10 + 0.5)
    return f"{tenths // 36000}:{tenths // 600 % 60:02d}:{tenths // 10 % 60:02d}.{tenths % 10}"
