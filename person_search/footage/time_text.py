"""Times as a user writes and reads them."""

import math
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache

FORMS = (
    "seconds (90 or 90.5), H:MM:SS (0:01:30), or a date such as 2024-05-31 or "
    "2024-05-31T14:00:00+02:00"
)

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_CLOCK = re.compile(r"(\d+):([0-5]\d):([0-5]\d(?:\.\d+)?)")
_SECONDS = re.compile(r"\d+(?:\.\d+)?")
_IN_NAME = re.compile(
    # Date and clock,
    r"(?<!\d)(\d{4})([-_.]?)(\d\d)\2(\d\d)(?:[-_. T]| at )?"
    r"(\d\d?)([-_.:h]?)(\d\d)[-_.:m]?(\d\d)(?!\d)(?:\.(\d{1,6})(?!\d))?"
    # then the half of the day, or an offset.
    r"(?:[-_. \u202f]?([AaPp][Mm])(?![A-Za-z])"
    r"|(Z(?![A-Za-z])|[+]\d\d[:-]?\d\d(?!\d)|-\d\d:\d\d(?!\d)))?"
)
_SIGNS = {
    **{"Y": r"[0-9]{4}", "y": r"[0-9]{2}", "m": r"[0-9]{2}", "b": r"[A-Za-z]{3}"},
    **{"B": r"[A-Za-z]+", "d": r"[0-9]{2}", "j": r"[0-9]{3}", "H": r"[0-9]{2}", "I": r"[0-9]{2}"},
    **{"p": r"[AaPp][Mm]", "M": r"[0-9]{2}", "S": r"[0-9]{2}", "f": r"[0-9]{1,6}"},
    **{"z": r"Z|[+-][0-9]{2}:?[0-9]{2}", "s": r"[0-9]{9,17}(?:\.[0-9]+)?"},
}
"""Of ``strptime`` and of ``date``, as a regular expression each."""
_EPOCH_UNITS = ((11, 1.0), (14, 1e3), (17, 1e6))
"""Digits at most of a number of seconds, milliseconds or microseconds since 1970: until 5138."""
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
            ``gate-20240531T120000Z``: year, month, day, hour, minute and second, in this order; an
            hour of ``AM`` or ``PM`` may have one digit.

    Returns:
        Seconds since 1970 (UTC), local time unless a ``Z`` or an offset follows, ``+0200`` or
        ``-05:00`` (``-0500`` may as well be a number of its own); None if there is no such time, or
        one before 1971, as clocks have that were never set. Of several the first one counts.

    Examples:
        >>> find_time("gate-20240531T120000Z"), find_time("holiday 3")
        (1717156800.0, None)
    """
    for found in _IN_NAME.finditer(name):
        year, _, month, day, hour, _, minute, second, fraction, half, zone = found.groups()
        if half is None and len(hour) == 1:
            continue
        text = f"{year}-{month}-{day} {hour}:{minute}:{second}.{fraction or 0:0<6}"
        form = f"%Y-%m-%d %{'I' if half else 'H'}:%M:%S.%f"
        if half or zone:
            text += f" {half or _plain_offset(zone)}"
            form += " %p" if half else " %z"
        try:
            seconds = datetime.strptime(text, form).timestamp()
        except (ValueError, OverflowError):
            continue
        if seconds >= YEAR:
            return seconds
    return None


def _plain_offset(zone: str) -> str:
    """Return ``+02-00``, which file systems without colons have, as ``+02:00``."""
    return zone[0] + zone[1:].replace("-", ":")


@cache
def read_name_pattern(pattern: str) -> Callable[[str], float | None]:
    """Read how times are written in names.

    Args:
        pattern: with the signs of ``strptime`` for what is in the time: ``%Y`` or ``%y``, ``%m``,
            ``%b`` or ``%B``, ``%d``, ``%j``, ``%H``, ``%I`` with ``%p``, ``%M``, ``%S``, ``%f``,
            ``%z``; or ``%s``, seconds since 1970, or milliseconds (12 to 14 digits) or microseconds
            (15 to 17). ``*`` stands for anything within a name. Without
            ``/`` it is looked for in the name, else in the path: ``%Y-%m-%d/%H/*/%M.%S``.

    Returns:
        Takes an absolute path without suffix, with ``/``; returns seconds since 1970 (UTC), local
        time unless there is a ``%z``, or None where the pattern does not occur or gives a time
        before 1971.

    Raises:
        ValueError: it has other signs, one twice, no date, or ``%I`` or ``%p`` alone.

    Examples:
        >>> read_name_pattern("%s")("/footage/cam1_1748865600")
        1748865600.0
    """
    signs = re.findall(r"%(.)", pattern)
    unknown = [f"%{sign}" for sign in signs if sign not in _SIGNS]
    has_date = "s" in signs or (
        bool({"Y", "y"} & set(signs))
        and ("j" in signs or ("d" in signs and bool({"m", "b", "B"} & set(signs))))
    )
    # strptime takes an hour of %I alone for one in the morning, and ignores %p beside %H.
    is_half = ("I" in signs) != ("p" in signs)
    if unknown or not has_date or is_half or len(set(signs)) < len(signs):
        problem = f"has {unknown[0]}" if unknown else "has one twice" if has_date else "has no date"
        if is_half and has_date and not unknown:
            problem = "has %I without %p, or %p without %I"
        raise ValueError(
            f"the pattern of times {pattern!r} {problem}; expected signs such as "
            f"{' '.join('%' + sign for sign in _SIGNS)}, each at most once, with year, month and "
            "day, as in %Y%m%d_%H%M%S, or %s for seconds since 1970"
        )
    parts = re.split(r"(%.|\*)", pattern)
    text = "".join(
        "[^/]*" if part == "*" else f"({_SIGNS[part[1]]})" if part[:1] == "%" else re.escape(part)
        for part in parts
    )
    # A number next to the pattern belongs to another one.
    ends = (
        "(?<![0-9])" if pattern[:1] == "%" else "",
        "(?![0-9])" if pattern[-2:-1] == "%" else "",
    )
    compiled = re.compile(ends[0] + text + ends[1])

    def find(path: str) -> float | None:
        name = path if "/" in pattern else path.rpartition("/")[2]
        for found in compiled.finditer(name):
            try:
                if "s" in signs:
                    return _from_epoch(found[1 + signs.index("s")])
                written = " ".join(found.groups())
                form = " ".join(f"%{s}" for s in signs)
                seconds = datetime.strptime(written, form).timestamp()
            except (ValueError, OverflowError):
                continue
            if seconds >= YEAR:
                return seconds
        return None

    return find


def _from_epoch(digits: str) -> float:
    """Read seconds, milliseconds or microseconds since 1970, by their number of digits."""
    length = len(digits.partition(".")[0])
    return float(digits) / next(unit for most, unit in _EPOCH_UNITS if length <= most)


def format_span(first: float | None, last: float | None) -> str:
    """Write from when to when frames were taken, of which some may have a date and others none.

    Args:
        first: the least timestamp, None where no frame has one.
        last: the greatest.

    Examples:
        >>> format_span(0.0, 90.0)
        '0:00:00.0 to 0:01:30.0 from the start of a video'
    """
    if first is None or last is None:
        return "unknown"
    if first < YEAR <= last:
        return (
            f"up to {format_time(last)}; some frames have no date, their times count from the "
            "start of a video"
        )
    of_video = " from the start of a video" if last < YEAR else ""
    return f"{format_time(first)} to {format_time(last)}{of_video}"


def format_time(seconds: float | None) -> str:
    """Write a timestamp: H:MM:SS.s since the start of a video, or a local date and time."""
    if seconds is None:
        return "-"
    if seconds >= YEAR:
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
    tenths = math.floor(seconds * 10 + 0.5)
    return f"{tenths // 36000}:{tenths // 600 % 60:02d}:{tenths // 10 % 60:02d}.{tenths % 10}"
