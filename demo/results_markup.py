"""The matches of a search as HTML: what to make of them, their cards, and what may be done."""

from html import escape

from person_search.cases.blur import Blur
from person_search.commands.output import count_not_people
from person_search.footage.time_text import format_duration, format_time
from person_search.people import Match, similarity_text

from .actions import Answer, Query
from .inputs import Fields
from .links import link_to
from .markup import NO_SEARCH, count, note
from .pictures import show_match, show_person
from .rights import may
from .timeline import timeline

EXPORT = (
    '<p class="ps-export"><button type="button" class="ps-secondary" data-export>Export these '
    'matches</button> <span class="ps-hint">A zip to hand on: report, pictures, clips and times. '
    "Other people are blurred.</span></p>"
)
"""Below the matches above the threshold, which it exports."""


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
        f"{_not_people(answer, blur is not None)}</div></div>"
    )
    above, below, wrong = (
        "".join(
            _card(i, m, answer.threshold, blur and blur.only(answer.shows(m)), m in answer.added)
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


def _not_people(answer: Answer, is_blurred: bool) -> str:
    if not answer.not_people:
        return ""
    where = "" if is_blurred else "; the tab People shows them"
    said = count_not_people(answer.not_people)
    return f'<p class="ps-hint">{said}, hidden{where}.</p>'


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
    is_there = query.answer is not None and query.answer.added
    last = "; what you added comes last of the matches" if is_there else ""
    return (
        f'<p class="ps-hint">Searching with {pictures} pictures of this person{last}. '
        '<button type="button" class="ps-link" data-forget>Only the first</button></p>'
    )


def stay_text(match: Match) -> str:
    """Say when a match was seen: how long, where it belongs to a stay."""
    if match.appearance is None or match.appearance.frames < 2:
        return "time unknown" if match.timestamp is None else format_time(match.timestamp)
    stay = match.appearance
    lasted = format_duration(stay.seconds)
    return f"{format_time(stay.start)}, {lasted}, {count(stay.frames, 'frame')}"


_SAID = {
    None: "",
    True: '<span class="ps-said">✓ right</span>',
    False: '<span class="ps-said ps-said-wrong">✗ wrong</span>',
}
_ADDED = '<span class="ps-said">✓ added</span>'


def _card(place: int, match: Match, threshold: float, blur: Blur | None, is_added: bool) -> str:
    person, frame = show_match(match, blur)
    rank = place + 1
    where = match.camera or "camera unknown"
    when = stay_text(match)
    said = _ADDED if is_added and match.judgement is None else _SAID[match.judgement]
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
