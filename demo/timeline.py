"""When and where a person was, drawn as a line of time for each camera.

Places on it are shares of the whole time; `assets/results.js` zooms by moving two numbers.
"""

from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import PurePath

from person_search.footage.frames import split_frame_name
from person_search.footage.time_text import YEAR, format_duration, format_time
from person_search.people import Match, similarity_text

LEAST_SECONDS = 10.0
"""That a timeline spans at least."""


def timeline(matches: Sequence[Match], threshold: float) -> str:
    """Return the timeline of an answer; nothing where no match has a time.

    Only one clock can be drawn: that of dates where there are any, else the videos' own.

    Args:
        matches: Best first; those below the threshold are drawn pale.
        threshold: Similarity.
    """
    timed = [(place, match) for place, match in enumerate(matches) if match.timestamp is not None]
    dated = [(place, match) for place, match in timed if (match.timestamp or 0) >= YEAR]
    shown = dated or timed
    if not shown:
        return ""
    spans = {place: _span(match) for place, match in shown}
    first, last = min(s for s, _ in spans.values()), max(e for _, e in spans.values())
    margin = max((last - first) * 0.02, (LEAST_SECONDS - (last - first)) / 2, 0.5)
    first, last = first - margin, last + margin
    rows: dict[str, list[str]] = {}
    for place, match in sorted(shown, key=lambda pair: spans[pair[0]]):
        bar = _bar(place, match, spans[place], first, last, threshold)
        rows.setdefault(_row_of(match), []).append(bar)
    lines = "".join(_row(name, bars) for name, bars in sorted(rows.items()))
    return (
        f'<section class="ps-timeline" aria-label="When and where" data-first="{first!r}" '
        f'data-last="{last!r}" data-dated="{int(bool(dated))}" '
        f'data-shift="{_shift(first) if dated else 0:.0f}">'
        '<header><h3>When and where</h3><div role="group" aria-label="Zoom">'
        f'{_zoom_buttons()}</div></header>{lines}<div class="ps-row">'
        '<span class="ps-row-name"></span><div class="ps-axis" aria-hidden="true"></div></div>'
        f"{_left_out(len(matches) - len(shown), bool(dated))}</section>"
    )


def _shift(time: float) -> float:
    """Return by how many seconds local time is before UTC, as of a time."""
    offset = datetime.fromtimestamp(time).astimezone().utcoffset()
    return offset.total_seconds() if offset is not None else 0.0


def _row(name: str, bars: Sequence[str]) -> str:
    said = escape(name)
    return (
        f'<div class="ps-row"><span class="ps-row-name" title="{said}">{said}</span>'
        f'<div class="ps-track"><div class="ps-moving">{"".join(bars)}</div></div></div>'
    )


def _span(match: Match) -> tuple[float, float]:
    if match.appearance is not None:
        return match.appearance.start, match.appearance.end
    time = match.timestamp or 0.0
    return time, time


def _row_of(match: Match) -> str:
    if match.camera:
        return match.camera
    file, number = split_frame_name(match.image)
    return "camera unknown" if number is None else PurePath(file).name


def _bar(
    place: int,
    match: Match,
    span: tuple[float, float],
    first: float,
    last: float,
    threshold: float,
) -> str:
    start, end = span
    left = 100 * (start - first) / (last - first)
    width = 100 * (end - start) / (last - first)
    label = (
        f"Match {place + 1}, {_row_of(match)}, {format_time(start)}, "
        f"{format_duration(end - start)}, "
        f"similarity {similarity_text(match.similarity, threshold)}"
    )
    kind = "ps-stay" if match.similarity >= threshold else "ps-stay ps-pale"
    # Its number has to be seen whole.
    least = 4 + 8 * len(str(place + 1))
    return (
        f'<button type="button" class="{kind}" data-place="{place}" '
        f'style="left:{left:.4f}%;width:max({least}px,{width:.4f}%)" aria-label="{escape(label)}" '
        f'title="{escape(label)}">{place + 1}</button>'
    )


def _zoom_buttons() -> str:
    return "".join(
        f'<button type="button" data-zoom="{action}" aria-label="{label}">{sign}</button>'
        for action, label, sign in (
            ("earlier", "Earlier", "←"),
            ("later", "Later", "→"),
            ("in", "Zoom in", "+"),
            ("out", "Zoom out", "-"),
            ("all", "All of the time", "All"),
        )
    )


def _left_out(count: int, are_dated: bool) -> str:
    if not count:
        return ""
    kind = "date" if are_dated else "time"
    if count == 1:
        return f'<p class="ps-hint">1 match has no {kind} and is not shown here.</p>'
    return f'<p class="ps-hint">{count} matches have no {kind} and are not shown here.</p>'
