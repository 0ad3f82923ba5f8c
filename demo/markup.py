"""The page's own parts as HTML: pictures with outlined people, cards, notes.

Every piece of text from outside goes through `html.escape`: a file or camera may have any name.
"""

from collections.abc import Sequence
from html import escape

import numpy as np

from person_search.cases.blur import Blur
from person_search.commands.output import count_not_people
from person_search.footage.time_text import format_time
from person_search.people import Match, similarity_text

from .actions import Answer, Query
from .inputs import Fields
from .links import link_to
from .pictures import show_match, show_person, show_whole
from .rights import may
from .timeline import timeline

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
EXPORT = (
    '<p class="ps-export"><button type="button" class="ps-secondary" data-export>Export these '
    'matches</button> <span class="ps-hint">A zip to hand on: report, pictures, clips and times. '
    "Other people are blurred.</span></p>"
)
"""Below the matches above the threshold, which it exports."""


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


def results(
    query: Query,
    gallery_label: str,
    is_empty: bool = False,
    *,
    fields: Fields | None = None,
    blur: Blur | None = None,
) -> str:
    """Return the ranked matches as cards, under a line that says what to make of them.

    Args:
        query: With its answer.
        gallery_label: Where was searched.
        is_empty: Whether nobody is in the gallery.
        fields: What was set: names the filters in force, and makes the search a link.
        blur: Hides everybody but those who are probably the person asked for.
    """
    answer = query.answer
    if answer is None or query.box is None:
        return NO_SEARCH
    asked = show_person(query.picture(blur is not None), query.box)
    head = (
        f'<div class="ps-asked"><img src="{asked}" alt="The person asked for">'
        f"<div>{verdict(answer, gallery_label, is_empty)}"
        f"{_alone(answer, blur)}{_filters(fields)}{_fused(query)}{_judged(answer)}"
        f"{_not_people(answer)}</div></div>"
    )
    above, below, wrong = (
        "".join(
            _card(i, m, answer.threshold, blur and blur.only(answer.shows(m)))
            for i, m in enumerate(answer.matches)
            if is_there(m)
        )
        for is_there in (
            answer.is_above,
            lambda m: m.judgement is None and not answer.is_above(m),
            lambda m: m.judgement is False,
        )
    )
    parts = [head, _link(query, gallery_label, fields), timeline(answer.matches, answer.threshold)]
    if above:
        export = EXPORT if may("Handlers.export") else ""
        parts.append(f'<ol class="ps-cards">{above}</ol>{export}')
    if below:
        hidden = "" if blur is None else ", blurred"
        which = (
            "Below the threshold: probably other people"
            if answer.is_known
            else f"Less similar than {answer.threshold:g}, which is a guess"
        )
        parts.append(
            f'<h3 class="ps-divider">{which}{hidden}</h3>'
            f'<ol class="ps-cards ps-below" start="{answer.num_above + 1}">{below}</ol>'
        )
    if wrong:
        parts.append(
            f'<h3 class="ps-divider">Called wrong</h3><ul class="ps-cards ps-below">{wrong}</ul>'
        )
    return "".join(parts)


def _alone(answer: Answer, blur: Blur | None) -> str:
    """Say why everybody else is blurred, where no threshold says who is the person."""
    if blur is None or answer.is_known or len(answer.matches) < 2:
        return ""
    return (
        '<p class="ps-hint">Only the best match is shown, and those called right: this model has '
        "no threshold that says who is the person. Set one in the settings to show more.</p>"
    )


def _filters(fields: Fields | None) -> str:
    """Name the filters in force, with a button that clears them."""
    filters = fields.filters() if fields is not None else []
    if not filters:
        return ""
    return (
        f'<p class="ps-hint">Only {escape(", ".join(filters))}. '
        '<button type="button" class="ps-link" data-clear>Clear filters</button></p>'
    )


def _link(query: Query, gallery_label: str, fields: Fields | None) -> str:
    """Return the button that copies the search's link, and what the link cannot carry."""
    if fields is None:
        return ""
    link, hint = link_to(query, gallery_label, fields), ""
    if query.source is None:
        what = "only the confirmed matches" if link.also else "gallery and settings, not the person"
        hint = f"Your picture is not kept: the link holds {what}."
    return (
        f'<p class="ps-address" data-link="{escape(link.to_text())}"><button type="button" '
        'class="ps-link" data-copy>Copy a link to this search</button> '
        f'<span class="ps-hint" role="status" data-hint="{hint}">{hint}</span></p>'
    )


def _judged(answer: Answer) -> str:
    right, wrong = (sum(m.judgement is v for m in answer.matches) for v in (True, False))
    if not right + wrong:
        return ""
    undo = (
        ' <button type="button" class="ps-link" data-undo="1">Undo the last</button> '
        '<button type="button" class="ps-link" data-undo="all">Undo all</button>'
        if may("Handlers.undo")
        else ""
    )
    return (
        f'<p class="ps-hint">Called right: {right}, wrong: {wrong}; kept in the gallery.{undo}</p>'
    )


def _not_people(answer: Answer) -> str:
    if not answer.not_people:
        return ""
    said = count_not_people(answer.not_people)
    return f'<p class="ps-hint">{said}, hidden; the tab People shows them.</p>'


def verdict(answer: Answer, gallery_label: str, is_empty: bool) -> str:
    """Return what the search says about the person, as a note."""
    if is_empty:
        advice = ": add footage first" if may("Handlers.add_footage") else ""
        return note(f"The gallery “{gallery_label}” is empty{advice}.", "warning")
    if not answer.matches:
        return note(
            "Nobody in this gallery passes the filters: clear them, or widen camera or time.",
            "warning",
        )
    best = similarity_text(answer.matches[0].similarity, answer.threshold)
    if not answer.is_known:
        return note(
            f"{count(len(answer.matches), 'match')} in “{gallery_label}”, best similarity {best}. "
            "This model has no threshold that says which are right: look at each."
        )
    if answer.is_probably_absent:
        return note(
            f"Probably not in this gallery: the best match has similarity {best}, below the "
            f"threshold of {answer.threshold:.6g}.",
            "warning",
        )
    return note(
        f"{count(answer.num_above, 'match')} in “{gallery_label}”, best similarity {best} "
        f"(threshold {answer.threshold:.6g}).",
        "good",
    )


def _fused(query: Query) -> str:
    pictures = len(query.embeddings)
    if pictures < 2:
        return ""
    return (
        f'<p class="ps-hint">Searching with {pictures} pictures of this person. '
        '<button type="button" class="ps-link" data-forget>Only the first</button></p>'
    )


def stay_text(match: Match) -> str:
    """Say when a match was seen: how long, where it belongs to a stay."""
    if match.appearance is None or match.appearance.frames < 2:
        return "time unknown" if match.timestamp is None else format_time(match.timestamp)
    stay = match.appearance
    return f"{format_time(stay.start)}, {stay.seconds:.0f} s, {count(stay.frames, 'frame')}"


_SAID = {
    None: "",
    True: '<span class="ps-said">✓ right</span>',
    False: '<span class="ps-said ps-said-wrong">✗ wrong</span>',
}


def _card(place: int, match: Match, threshold: float, blur: Blur | None) -> str:
    person, frame = show_match(match, blur)
    rank = place + 1
    where = match.camera or "camera unknown"
    when = stay_text(match)
    said = _SAID[match.judgement]
    bar = f"width:{100 * min(max(match.similarity, 0.0), 1.0):.0f}%"
    return (
        # Read out with these words between; to the eye the places say as much.
        f'<li class="ps-card"><button type="button" data-place="{place}">'
        '<span class="ps-pictures"><span class="ps-unseen">Match </span>'
        f'<img class="ps-person" src="{person}" alt=""><span class="ps-rank">{rank}</span>'
        f"{said}</span>"
        f'<img class="ps-frame" src="{frame}" alt="">'
        '<span class="ps-similarity"><span class="ps-unseen">similarity</span> '
        f"<b>{similarity_text(match.similarity, threshold)}</b>"
        f'<i class="ps-bar"><i style="{bar}"></i></i></span>'
        f'<span class="ps-camera">{escape(where)}</span>'
        f'<span class="ps-time">{escape(when)}</span></button></li>'
    )
