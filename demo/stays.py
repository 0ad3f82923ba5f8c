"""The dialog of one match: its frame, the stay it belongs to, and the way to others."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import PurePath
from typing import TYPE_CHECKING

from person_search.cases.blur import Blur
from person_search.drawing.clips import Clip
from person_search.footage.frames import split_frame_name
from person_search.footage.time_text import format_duration, format_time
from person_search.people import Appearance, Match, similarity_text

from .admin_markup import erasing
from .markup import count
from .pictures import show_frame, show_match
from .rights import may, may_for_all

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex
    from person_search.gallery.rows import StoredAppearance

MOST_SIGHTS = 12
"""Of a stay that are shown as pictures, spread evenly."""
MOST_OTHERS = 12


@dataclass(frozen=True)
class Place:
    """Where a match stands in an answer."""

    number: int
    """From 0."""

    count: int
    """Of matches in the answer."""

    threshold: float | None = None
    """Of the answer, which its similarity is written to be told apart from."""


@dataclass(frozen=True)
class Stay:
    """A stay with who and what is around it."""

    appearance: Appearance
    sights: Sequence[Match]
    """By time; few of them, spread evenly."""

    before: "StoredAppearance | None"
    after: "StoredAppearance | None"
    beside: "Sequence[StoredAppearance]"

    def around(self) -> "list[StoredAppearance]":
        """Return the stays that its dialog shows beside it."""
        near = [one for one in (self.before, self.after) if one is not None]
        return [*self.beside[:MOST_OTHERS], *near]


def look_up(index: "GalleryIndex", appearance: int) -> Stay:
    """Read a stay from a gallery.

    Raises:
        GalleryError: If it is not there any more.
    """
    stored = index.appearances.get(appearance)
    before, after = index.appearances.neighbors(appearance)
    sights = index.appearances.sights(appearance)
    step = max(1, (len(sights) - 1) / (MOST_SIGHTS - 1))
    some = [sights[round(k * step)] for k in range(min(len(sights), MOST_SIGHTS))]
    beside = index.appearances.beside(appearance)
    return Stay(stored.appearance, some, before, after, beside)


def stay_dialog(
    match: Match,
    place: Place | None,
    stay: Stay | None,
    serial: int,
    clip: Clip | None = None,
    *,
    asked: str = "",
    blur: Blur | None = None,
) -> str:
    """Return one match, or a sight of somebody else, as a dialog.

    Args:
        match: What to show.
        place: Of the match in the answer; None for somebody else's stay.
        stay: That it belongs to.
        serial: Another number each time, so that the same opens twice.
        clip: To be shown in place of the frame.
        asked: Address of the picture of the person asked for, to compare.
        blur: What hides others than the person of the match.

    Raises:
        GalleryError: The frame cannot be blurred.
        ImageError: The frame is damaged.
        OSError: The frame is gone.
    """
    title = f"Match {place.number + 1} of {place.count}" if place else "Another stay"
    shown = _video(clip) if clip else (
        f'<img class="ps-large" src="{show_frame(match, blur)}" '
        'alt="The whole frame, with a box around the person">'
    )  # fmt: skip
    return (
        f'<dialog class="ps-dialog" data-serial="{serial}" aria-label="{title}">'
        f"<header>{_asked(asked)}<h2>{title}</h2>{_steps(place)}"
        '<button type="button" data-close aria-label="Close">✕</button></header>'
        f"{shown}{_sights(stay, blur)}<dl>{_facts(match, place, stay)}</dl>"
        f"{_around(stay, blur and blur.nobody())}"
        f"<footer>{_actions(place, stay, clip)}</footer></dialog>"
    )


def _asked(picture: str) -> str:
    if not picture:
        return ""
    return f'<img class="ps-asked-for" src="{picture}" alt="The person asked for">'


def _video(clip: Clip) -> str:
    address = "data:video/webm;base64," + base64.b64encode(clip.content).decode("ascii")
    cut = "" if clip.is_whole else '<p class="ps-hint">The first two minutes of the stay.</p>'
    return (
        f'<video controls autoplay muted playsinline src="{address}" '
        f'aria-label="The stay as a clip, with a box around the person"></video>{cut}'
    )


def _steps(place: Place | None) -> str:
    if place is None:
        return ""
    buttons = []
    for step, label in ((-1, "Previous match"), (1, "Next match")):
        number = place.number + step
        state = "" if 0 <= number < place.count else " disabled"
        sign = "←" if step < 0 else "→"
        buttons.append(
            f'<button type="button" class="ps-step-to" data-show="{number}" '
            f'aria-label="{label}"{state}>{sign}</button>'
        )
    return f'<span class="ps-steps">{"".join(buttons)}</span>'


def _facts(match: Match, place: Place | None, stay: Stay | None) -> str:
    file, number = split_frame_name(match.image)
    name = PurePath(file).name + (f", frame {number}" if number is not None else "")
    x1, y1, x2, y2 = match.box_xyxy
    facts = [("Similarity", similarity_text(match.similarity, place.threshold))] if place else []
    facts.append(("Camera", match.camera or "unknown"))
    if stay is not None:
        facts += [
            ("From", format_time(stay.appearance.start)),
            ("Until", format_time(stay.appearance.end)),
            ("Seen in", count(stay.appearance.frames, "frame")),
        ]
    facts += [
        ("This frame", format_time(match.timestamp)),
        ("File", name),
        ("Box", f"{x1:.0f}, {y1:.0f}, {x2:.0f}, {y2:.0f}"),
        ("Detector score", f"{match.score:.2f}"),
    ]
    return "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts)


def _sights(stay: Stay | None, blur: Blur | None) -> str:
    if stay is None or len(stay.sights) < 2:
        return ""
    pictures = "".join(
        f'<img src="{show_match(sight, blur)[0]}" alt="{escape(format_time(sight.timestamp))}">'
        for sight in stay.sights
    )
    return f'<div class="ps-sights" tabindex="0" role="group" aria-label="Sights">{pictures}</div>'


def _around(stay: Stay | None, blur: Blur | None) -> str:
    if stay is None:
        return ""
    parts = []
    if stay.beside:
        more = len(stay.beside) - MOST_OTHERS
        said = f" ({more} more)" if more > 0 else ""
        parts.append(f"<h3>Who else was there{said}</h3>{_others(stay.beside[:MOST_OTHERS], blur)}")
    near = [one for one in (stay.before, stay.after) if one is not None]
    if near:
        parts.append(f"<h3>Before and after at this camera</h3>{_others(near, blur)}")
    return f'<div class="ps-around">{"".join(parts)}</div>' if parts else ""


def _others(some: "Sequence[StoredAppearance]", blur: Blur | None) -> str:
    return f'<div class="ps-chips">{"".join(_other(one, blur) for one in some)}</div>'


def _other(one: "StoredAppearance", blur: Blur | None) -> str:
    when = format_time(one.appearance.start)
    label = f"The stay of {when}, {format_duration(one.appearance.seconds)}"
    return (
        f'<button type="button" class="ps-chip" data-stay="{one.appearance.id}" '
        f'aria-label="{escape(label)}" title="{escape(label)}">'
        f'<img src="{show_match(one.best, blur)[0]}" alt=""></button>'
    )


def _actions(place: Place | None, stay: Stay | None, clip: Clip | None) -> str:
    buttons = []
    if place is not None:
        buttons.append(
            f'<button type="button" class="ps-primary" data-same="{place.number}">Same person: '
            "search with this picture too</button>"
        )
        if stay is not None and may("Handlers.judge"):
            for verdict, text in (
                ("right", "✓ Right"),
                ("wrong", "✗ Wrong"),
                ("nobody", "Not a person"),
            ):
                buttons.append(
                    f'<button type="button" class="ps-secondary" data-judge="{verdict}" '
                    f'data-at="{place.number}">{text}</button>'
                )
    if stay is not None and clip is None:
        at = f' data-at="{place.number}"' if place is not None else ""
        buttons.append(
            f'<button type="button" class="ps-secondary" data-play="{stay.appearance.id}"{at}>'
            "▶ Play the stay</button>"
        )
    if stay is not None and place is None:
        buttons.append(
            f'<button type="button" class="ps-primary" data-seek="{stay.appearance.id}">'
            "Search for this person</button>"
        )
    if stay is not None and may_for_all("AdminHandlers.erase"):
        what = "this person in this stay"
        buttons.append(erasing("stay", stay.appearance.id, what))
    return "".join(buttons)
