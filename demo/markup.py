"""The page's own parts as HTML: pictures with outlined people, cards, notes.

Every piece of text from outside goes through `html.escape`: a file or camera may have any name.
"""

from collections.abc import Sequence
from html import escape

import numpy as np

from .actions import Query
from .pictures import show_person, show_whole

NO_PICTURE = (
    '<div class="ps-empty">Choose an example or upload a picture. '
    "The people in it will be outlined here.</div>"
)
NO_SEARCH = (
    '<div class="ps-empty">Click a person in step 2. '
    "When and where they were seen will be listed here.</div>"
)


BLURRED = "<span data-blurred></span>"
"""While it is on the page, the style hides the tab of people nobody asked about."""
LINK_WITHOUT_PICTURE = (
    '<p class="ps-note ps-warning" role="alert">The picture of this search was uploaded, and '
    "uploads are not kept: choose it again. Gallery and settings are as in the link.</p>"
)
"""Where a search was opened whose picture nobody has."""


def step(number: int, title: str, hint: str = "") -> str:
    """Return the heading of a step."""
    return (
        f'<h2 class="ps-step"><span class="ps-step-number" aria-hidden="true">{number}</span>'
        f"{escape(title)}<small>{escape(hint)}</small></h2>"
    )


def note(text: str, kind: str = "info") -> str:
    """Return a note: ``info``, ``good``, ``warning`` or ``error``; the last two are announced."""
    role = "alert" if kind in ("warning", "error") else "status"
    return f'<p class="ps-note ps-{kind}" role="{role}">{escape(text)}</p>' if text else ""


DRAWN_PEOPLE_ONLY = """<details class="ps-note ps-warning"><summary>This model knows drawn
people only: on pictures of real people its answers mean nothing. <b>What to do</b></summary>
<p>Install a model that knows real people and start the page with it, in a terminal:</p>
<pre>person-search models install street-basic
person-search serve --model street-basic --gallery mine.db --create</pre>
<p>It knows generic looks only; docs/real_people.md names better ones. Galleries belong to the model
that made them: index your footage again with the new one.</p>
</details>"""
"""Above everything else while the page runs the model that comes along."""


def count(number: int, noun: str) -> str:
    """Write a number with its noun: "1 frame", "1,204 frames", "2 people"."""
    plural = {"person": "people", "entry": "entries"}.get(
        noun, noun + "s" if not noun.endswith("h") else noun + "es"
    )
    return f"{number:,} {noun if number == 1 else plural}"


def examples(thumbnails: Sequence[str]) -> str:
    """Return the example pictures as buttons; ``thumbnails`` are addresses of pictures."""
    buttons = "".join(
        f'<button type="button" data-example="{i}" aria-label="Example picture {i + 1}">'
        f'<img src="{uri}" alt=""></button>'
        for i, uri in enumerate(thumbnails)
    )
    return f'<div class="ps-examples" role="group" aria-label="Example pictures">{buttons}</div>'


def stage(query: Query, is_blurred: bool = False) -> str:
    """Return the visitor's picture with everybody outlined, and a button for each person."""
    picture = query.picture(is_blurred)
    height, width = query.image.shape[:2]
    chosen = query.number
    outlines = [
        _outline(number, box, width, height, number == chosen, "data-number")
        for number, box in enumerate(query.people.boxes.tolist(), start=1)
    ]
    if query.box is not None and chosen is None:
        outlines.append(_outline(0, query.box, width, height, True, "data-own"))
    return (
        f'<div class="ps-stage" data-width="{width}" data-height="{height}" '
        # An upright picture, such as a crop, must not fill several screens.
        f'style="max-width:max(10rem,{65 * width / height:.1f}vh)">'
        f'<img src="{show_whole(picture)}" alt="Your picture, {width} by {height} pixels" '
        f'draggable="false">{"".join(outlines)}<div class="ps-band" hidden></div></div>'
        f"{_stage_note(query)}"
        '<div class="ps-chips" role="group" aria-label="People found">'
        f"{_chips(query, picture, chosen)}"
        '<button type="button" class="ps-draw" data-draw aria-pressed="false">Draw a box</button>'
        "</div>"
    )


def _stage_note(query: Query) -> str:
    found = len(query.people)
    if not found and query.box is not None:
        return (
            '<p class="ps-hint">Nobody was found by itself; the outlined box is searched for. '
            "Draw another, or take another picture.</p>"
        )
    if not found:
        return note(
            "Nobody was found in this picture. Draw a box around the person, or take another "
            "picture.",
            "warning",
        )
    if found == 1 and query.number == 1:
        return (
            '<p class="ps-hint">1 person found and searched for. For somebody else, draw a box.</p>'
        )
    return f'<p class="ps-hint">{count(found, "person")} found. Click one, or draw a box.</p>'


def _outline(
    number: int, box: Sequence[float], width: int, height: int, is_chosen: bool, kind: str
) -> str:
    x1, y1, x2, y2 = box
    place = (
        f"left:{100 * x1 / width:.3f}%;top:{100 * y1 / height:.3f}%;"
        f"width:{100 * (x2 - x1) / width:.3f}%;height:{100 * (y2 - y1) / height:.3f}%"
    )
    label = f"Person {number}" if number else "Your box"
    state = "ps-outline" + (" ps-chosen" if is_chosen else "") + (" ps-high" if y1 < 40 else "")
    # The buttons below the picture are for the keyboard: one stop for each person is enough.
    return (
        f'<button type="button" class="{state}" style="{place}" {kind}="{number}" tabindex="-1" '
        f'aria-hidden="true" title="{label}"><span>{number or ""}</span></button>'
    )


def _chips(query: Query, picture: np.ndarray, chosen: int | None) -> str:
    return "".join(
        f'<button type="button" class="ps-chip" data-number="{number}" '
        f'aria-pressed="{"true" if number == chosen else "false"}" '
        f'aria-label="Search for person {number}">'
        f'<img src="{show_person(picture, tuple(box))}" alt=""><span>{number}</span></button>'
        for number, box in enumerate(query.people.boxes.tolist(), start=1)
    )
