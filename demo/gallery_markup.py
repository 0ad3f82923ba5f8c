"""What a gallery holds, and what was added to it, as HTML."""

import math
from html import escape
from pathlib import PurePath
from typing import TYPE_CHECKING

from person_search.footage.time_text import YEAR, format_span, format_time
from person_search.gallery.add_footage import IndexReport

from .inputs import as_picked
from .markup import count, note
from .rights import may

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryInfo

MOST_MOMENTS = 24
"""Of a video that a field of time offers."""


def gallery_summary(info: "GalleryInfo", label: str, has_label: bool = True) -> str:
    """Return what a gallery holds in one line, with its label where nothing else shows it."""
    if not info.frames:
        advice = " Add images or a video in the tab “Add footage”."
        return note(f"“{label}” is empty.{advice if may('Handlers.add_footage') else ''}")
    parts = [label] if has_label else []
    parts += [count(info.frames, "frame"), count(info.people, "person")]
    if info.cameras:
        parts.append(count(len(info.cameras), "camera"))
    if info.first_timestamp is not None:
        first, last = info.first_timestamp, info.last_timestamp
        parts.append(format_time(first) if first == last else format_span(first, last))
    if info.card is not None:
        parts.append(f"model: {info.card.name}, knows {info.card.domain}")
    cells = "".join(f"<span>{escape(part)}</span>" for part in parts)
    return f'<p class="ps-summary"{_clock(info)}>{cells}</p>{_moments(info)}'


def _clock(info: "GalleryInfo") -> str:
    """Say for the fields of time what clock the gallery has: dates, a video's own, or both."""
    first, last = info.first_timestamp, info.last_timestamp
    if first is None or last is None:
        return ""
    kind = "dates" if first >= YEAR else "video" if last < YEAR else "both"
    ends = (as_picked(str(math.floor(first))), as_picked(str(math.ceil(last))))
    return f' data-clock="{kind}" data-first="{ends[0]}" data-last="{ends[1]}"'


def _moments(info: "GalleryInfo") -> str:
    """Return moments of a video's own clock, from 0:00:00 on, to choose from."""
    last = info.last_timestamp
    if last is None or last >= YEAR:
        return ""
    step = next((s for s in (1, 5, 10, 30, 60, 300, 600, 1800) if last / s <= MOST_MOMENTS), 3600)
    times = (step * k for k in range(min(MOST_MOMENTS, math.ceil(last / step)) + 1))
    options = "".join(f'<option value="{format_time(t).removesuffix(".0")}">' for t in times)
    return f'<datalist id="ps-moments">{options}</datalist>'


def index_report(report: IndexReport, gallery_label: str) -> str:
    """Return what indexing added, and each file that could not be read with the reason."""
    text = (
        f"Added {count(report.frames_added, 'frame')} with "
        f"{count(report.people_added, 'person')} to “{gallery_label}” in {report.seconds:.1f} s."
    )
    if report.frames_unchanged:
        text += f" {count(report.frames_unchanged, 'frame')} were there already."
    broken = "".join(
        f"<li><b>{escape(PurePath(b.name).name)}</b>: {escape(b.reason)}</li>"
        for b in report.broken
    )
    skipped = note(f"Skipped {count(len(report.broken), 'file')}:", "warning") if broken else ""
    return note(text, "good") + (f'{skipped}<ul class="ps-broken">{broken}</ul>' if broken else "")
