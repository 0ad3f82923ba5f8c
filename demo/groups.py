"""Who was here, whom nobody asked about: groups of stays as rows, and the dialog of one group."""

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from person_search.footage.time_text import format_duration, format_time
from person_search.people import Match

from .admin_markup import erasing
from .markup import count, note
from .pictures import show_match
from .rights import may, may_for_all

if TYPE_CHECKING:
    from person_search.gallery.rows import Group, StoredAppearance

MOST_COMPANY = 4
"""Groups that a row names as company."""
MOST_STAYS = 60
"""Of a group that its dialog shows."""
A_LOOK = (
    '<p class="ps-hint">A group is a look, not a proven identity: the same clothes may be other '
    "people, and one person may be in several groups. Each day is by itself unless you join days."
    "</p>"
)
NOBODY = (
    '<div class="ps-empty">Nobody yet: only videos, and pictures of a named camera at a known '
    "time, give stays to group.</div>"
)


def group_rows(
    groups: "Sequence[Group]",
    pictures: dict[int, Match],
    shown: int,
    is_calibrated: bool,
    hidden: int = 0,
) -> str:
    """Return groups as rows.

    Args:
        groups: Who came most often first, the doubtful last.
        pictures: The sight to show of each that is shown, by its number.
        shown: How many of these, and of the doubtful, to show.
        is_calibrated: Whether the model's calibration says what is similar enough.
        hidden: How many groups were called nobody.
    """
    if not groups and not hidden:
        return NOBODY
    # What is probably not a person is nobody's company.
    names = {
        group.number: title(group)
        for group in groups
        if group.number in pictures and not group.is_doubtful
    }
    rows, doubtful = (
        "".join(
            _row(group, pictures[group.number], names)
            for group in groups
            if group.number in pictures and group.is_doubtful is is_doubtful
        )
        for is_doubtful in (False, True)
    )
    num_doubtful = sum(group.is_doubtful for group in groups)
    left = max(0, len(groups) - num_doubtful - shown) + max(0, num_doubtful - shown)
    more = (
        f'<button type="button" class="ps-secondary" data-more>{count(left, "more group")}</button>'
        if left > 0
        else ""
    )
    warning = "" if is_calibrated else note(
        "This model is not calibrated: how similar is similar enough is a guess. Change it above.",
        "warning",
    )  # fmt: skip
    return (
        f'{warning}<div class="ps-group-tools" role="group" aria-label="Groups">{_tools()}'
        f'<span class="ps-hint">{count(len(groups), "group")}</span></div>'
        f'<ul class="ps-groups">{rows}</ul>{more}{_doubtful(doubtful, num_doubtful)}'
        f"{_hidden(hidden)}{A_LOOK}"
    )


def _tools() -> str:
    """Return the buttons above the groups that the caller may use."""
    tools = (
        ("Merge chosen", "data-merge disabled", may("PeopleHandlers.merge")),
        (
            "Chosen are not people",
            "data-nobody disabled",
            may_for_all("PeopleHandlers.call_nobody"),
        ),
        ("Undo", "data-undo", may_for_all("PeopleHandlers.undo")),
    )
    return "".join(
        f'<button type="button" class="ps-secondary" {kind}>{text}</button>'
        for text, kind, is_shown in tools
        if is_shown
    )


def _doubtful(rows: str, count_of: int) -> str:
    if not rows:
        return ""
    return (
        f"<details data-doubtful><summary>Probably not people: {count(count_of, 'group')}</summary>"
        '<p class="ps-hint">They never move, or look like what you called so at the same place. '
        "Who sits still may be among them. "
        f"{_tick()}</p>"
        f'<ul class="ps-groups">{rows}</ul></details>'
    )


def _tick() -> str:
    if not may_for_all("PeopleHandlers.call_nobody"):
        return ""
    return '<button type="button" class="ps-link" data-tick>Choose all of these</button>'


def _hidden(count_of: int) -> str:
    if not count_of:
        return ""
    called = "is not a person, and hidden" if count_of == 1 else "are not people, and hidden"
    return (
        f'<p class="ps-hint">{count(count_of, "group")} {called}. '
        '<button type="button" class="ps-link" data-hidden>Show</button></p>'
    )


def doubt(group: "Group") -> str:
    """Say why a group is probably not a person; "" where nothing says so."""
    if group.like_nobody is not None:
        return f"same place and look as group {group.like_nobody}, which is not a person"
    return f"motionless: {group.motionless}" if group.motionless else ""


def nobody_dialog(groups: "Sequence[Group]", pictures: dict[int, Match], serial: int) -> str:
    """Return the groups that were called nobody as a dialog.

    Args:
        groups: They.
        pictures: The sight to show of some of them, by number; the others are counted.
        serial: Another number each time, so that the same opens twice.
    """
    rows = "".join(
        f'<li><img class="ps-thing" src="{show_match(pictures[group.number])[0]}" alt="">'
        f"<span>{escape(title(group))}<br>{count(len(group.appearances), 'stay')}, "
        f"{escape(', '.join(name or 'camera unknown' for name in group.cameras))}</span>"
        f"{_somebody(group)}</li>"
        for group in groups
        if group.number in pictures
    )
    left = len(groups) - len(pictures)
    more = f'<p class="ps-hint">{count(left, "more group")} not shown.</p>' if left > 0 else ""
    return (
        f'<dialog class="ps-dialog" data-serial="{serial}" aria-label="Not people">'
        '<header><h2>Not people</h2><button type="button" data-close aria-label="Close">✕</button>'
        f'</header><ul class="ps-group-stays">{rows}</ul>{more}</dialog>'
    )


def _somebody(group: "Group") -> str:
    if not may_for_all("PeopleHandlers.call_somebody"):
        return ""
    return (
        f'<button type="button" class="ps-secondary" data-somebody="{group.number}" '
        f'aria-label="A person after all: {escape(title(group))}">A person after all</button>'
    )


def title(group: "Group") -> str:
    """Return what a group is called."""
    return group.name or f"Group {group.number}"


def _row(group: "Group", best: Match, names: dict[int, str]) -> str:
    name = title(group)
    when = _span(group)
    cameras = ", ".join(camera or "camera unknown" for camera in group.cameras)
    stays = f"{count(len(group.appearances), 'stay')}, {count(group.frames, 'frame')}"
    choose = (
        f'<input type="checkbox" data-choose="{group.number}" aria-label="Choose {escape(name)}">'
        if may("PeopleHandlers.merge")
        else ""
    )
    return (
        f'<li class="ps-group">{choose}'
        f'<button type="button" class="ps-group-open" data-group="{group.number}">'
        f'<img src="{show_match(best)[0]}" alt="">'
        f'<span class="ps-group-text"><b>{escape(name)}</b><span>{escape(stays)}</span>'
        f"<span>{escape(when)}</span>"
        f"<span>{escape(cameras)}</span>{_reason(group)}</span></button>"
        f"{_company(group, names)}</li>"
    )


def _reason(group: "Group") -> str:
    said = doubt(group)
    return f'<span class="ps-doubt">{escape(said)}</span>' if said else ""


def _span(group: "Group") -> str:
    """Say when it was first and last seen, without the date a second time."""
    first = format_time(group.appearances[0].start)
    last = format_time(max(one.end for one in group.appearances))
    day, _, clock = last.rpartition(" ")
    return f"{first} to {clock if day and first.startswith(day) else last}"


def _company(group: "Group", names: dict[int, str]) -> str:
    known = [(number, times) for number, times in group.company if number in names]
    if not known:
        return ""
    buttons = "".join(
        f'<button type="button" class="ps-link" data-group="{number}">{escape(names[number])} '
        f"({times})</button>"
        for number, times in known[:MOST_COMPANY]
    )
    more = len(known) - MOST_COMPANY
    said = f" and {more} more" if more > 0 else ""
    return f'<p class="ps-company">with {buttons}{said}</p>'


def group_dialog(
    group: "Group", stays: "Sequence[StoredAppearance]", others: "Sequence[Group]", serial: int
) -> str:
    """Return one group as a dialog: its stays, its name, and where stays may go.

    Args:
        group: To show.
        stays: Of it; the first `MOST_STAYS`.
        others: Groups that stays may be moved to.
        serial: Another number each time, so that the same opens twice.
    """
    name = title(group)
    left = len(group.appearances) - len(stays)
    more = f'<p class="ps-hint">{count(left, "more stay")} not shown.</p>' if left > 0 else ""
    may_move = may("PeopleHandlers.move")
    shown = "".join(_stay(one, may_move) for one in stays)
    return (
        f'<dialog class="ps-dialog" data-serial="{serial}" aria-label="{escape(name)}">'
        f"<header><h2>{escape(name)}</h2>"
        '<button type="button" data-close aria-label="Close">✕</button></header>'
        f'{_naming(group)}<ul class="ps-group-stays">{shown}</ul>{more}'
        f"{_moving(group, others) if may_move else ''}{_erasing(group)}{A_LOOK}</dialog>"
    )


def _erasing(group: "Group") -> str:
    if not may_for_all("AdminHandlers.erase"):
        return ""
    stays = count(len(group.appearances), "stay")
    return erasing("group", group.number, f"this person in all of this group, {stays},")


def _naming(group: "Group") -> str:
    if not may("PeopleHandlers.name"):
        return ""
    return (
        '<div class="ps-group-tools"><label>Name <input type="text" class="ps-field" data-name '
        f'maxlength="100" value="{escape(group.name)}"></label>'
        f'<button type="button" class="ps-primary" data-save="{group.number}">Save name</button>'
        "</div>"
    )


def _moving(group: "Group", others: "Sequence[Group]") -> str:
    """Return what moves the stays that are chosen."""
    options = "".join(
        f'<option value="{other.number}">{escape(title(other))}</option>' for other in others
    )
    nobody = (
        f'<button type="button" class="ps-secondary" data-nobody-stays="{group.number}" disabled>'
        "Chosen are not people</button>"
        if may_for_all("PeopleHandlers.call_stays_nobody")
        else ""
    )
    return (
        f'<footer><button type="button" class="ps-secondary" data-split="{group.number}" disabled>'
        "Split chosen into a new group</button>"
        f'<select class="ps-field" aria-label="Another group" data-target disabled>{options}'
        f'</select><button type="button" class="ps-secondary" data-move="{group.number}" disabled'
        f">Move chosen there</button>{nobody}</footer>"
    )


def _stay(one: "StoredAppearance", may_move: bool) -> str:
    stay = one.appearance
    when = f"{format_time(stay.start)}, {format_duration(stay.seconds)}"
    where = stay.camera or "camera unknown"
    return (
        f'<li><button type="button" class="ps-chip" data-stay="{stay.id}" '
        f'aria-label="{escape(f"Show the stay of {when}, {where}")}">'
        f'<img src="{show_match(one.best)[0]}" alt=""></button>'
        f"{_choice(stay.id, may_move)}<span>{escape(when)}<br>{escape(where)}</span>"
        f"{'</label>' if may_move else ''}</li>"
    )


def _choice(stay: int, may_move: bool) -> str:
    return f'<label><input type="checkbox" data-part="{stay}"> ' if may_move else ""
