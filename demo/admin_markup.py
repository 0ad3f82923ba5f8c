"""What the tab for admins shows: what would be removed, what was, and the log."""

import base64
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from person_search.commands.log import details_of, printable
from person_search.footage.time_text import format_time

from .markup import count, note
from .removal import Removal

if TYPE_CHECKING:
    from person_search.accountability.verifying import ChainReport

MOST_ENTRIES = 100
"""Of the log that are shown."""
NO_LOG = "There is no log: it was never on. person-search log on begins it."


def plan_note(planned: Removal, what: str, camera: str, until: str) -> str:
    """Ask whether frames are to be removed.

    Args:
        planned: What goes.
        what: Which frames, in words.
        camera: As the button hands it on.
        until: Likewise.
    """
    if not planned.frames:
        return note(f"No frame is {what}: nothing would go.")
    return (
        f'<div class="ps-note ps-warning" role="alert"><p>{count(planned.frames, "frame")} '
        f"{escape(what)} with {count(planned.people, 'person')} would go, of "
        f"{count(planned.left_frames, 'frame')} in the gallery. This cannot be undone.</p>"
        f'<p><button type="button" class="ps-danger" data-remove="{planned.frames}" '
        f'data-camera="{escape(camera)}" data-until="{escape(until)}">Remove '
        f"{count(planned.frames, 'frame')} for good</button></p></div>"
    )


def removed_text(gone: Removal, is_person: bool = False) -> str:
    """Say what went, and what was found afterwards."""
    left = f"{count(gone.left_frames, 'frame')} with {count(gone.left_people, 'person')}"
    if is_person:
        return (
            f"Removed {count(gone.people, 'sight')} of the person. The frames stay without them: "
            f"the gallery now holds {left}. Pictures and videos still show the person."
        )
    files = f" and {count(gone.files, 'file')} that the page kept" if gone.files else ""
    stay = "" if gone.files else " Pictures and videos themselves stay where they are."
    return (
        f"Removed {count(gone.frames, 'frame')} with {count(gone.people, 'person')}{files}: "
        f"the gallery now holds {left}.{stay}"
    )


def erasing(kind: str, number: int, what: str) -> str:
    """Return the button that removes somebody, which is asked for once more.

    Args:
        kind: ``stay`` or ``group``.
        number: Its id.
        what: Whose sights go, in words.
    """
    return (
        '<details class="ps-erase"><summary>Remove from the gallery …</summary>'
        f'<p class="ps-hint">All sights of {escape(what)} go for good, with embeddings, names and '
        "judgements. The frames stay, with everybody else; pictures and videos still show the "
        f'person.</p><button type="button" class="ps-danger" data-erase="{kind}" '
        f'data-erased="{number}">Remove for good</button></details>'
    )


def log_table(entries: Sequence[dict[str, Any]], is_on: bool) -> str:
    """Return the last entries of a log as a table, the newest first."""
    if not entries:
        return note(NO_LOG)
    shown = entries[-MOST_ENTRIES:][::-1]
    rows = "".join(
        f"<tr><td>{entry['seq']}</td><td>{escape(format_time(entry['start']))}</td>"
        f"<td>{escape(printable(entry['user'] or '-'))}</td><td>{escape(entry['via'])}</td>"
        f"<td>{escape(entry['action'])}</td><td>{len(entry.get('results', ()))}</td>"
        f"<td>{escape(details_of(entry))}</td></tr>"
        for entry in shown
    )
    heads = ("No.", "When", "Who", "By", "What", "Shown", "More")
    left = len(entries) - len(shown)
    more = f" The {count(left, 'entry')} before are in the export." if left else ""
    state = "The log is on." if is_on else "The log is off: nothing is added to it."
    return (
        f'<p class="ps-hint">{state} {count(len(shown), "entry")}, the newest first.{more}</p>'
        '<div class="ps-log" tabindex="0" role="group" aria-label="Log"><table><thead><tr>'
        f"{''.join(f'<th scope=col>{head}</th>' for head in heads)}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def verified(report: "ChainReport") -> str:
    """Say whether a log is as it was written."""
    notes = "".join(note(f"{one}.") for one in report.notes)
    head = f'<p class="ps-hint">Head, to be kept elsewhere: <code>{report.head}</code></p>'
    if not report.problems:
        text = f"The log is as it was written: {count(report.entries, 'entry')}, nothing wrong."
        return note(text, "good") + notes + head
    problems = "".join(f"<li>{escape(problem)}</li>" for problem in report.problems)
    text = f"The log is not as it was written: {count(len(report.problems), 'thing')} wrong."
    return f'{note(text, "error")}<ul class="ps-broken">{problems}</ul>{notes}{head}'


def download(content: bytes, name: str, entries: int, serial: int) -> str:
    """Return the log as a part of the page that `assets/download.js` saves."""
    return (
        f'<p class="ps-hint" role="status" data-serial="{serial}" data-name="{escape(name)}" '
        f'data-type="text/csv" data-zip="{base64.b64encode(content).decode("ascii")}">Exported '
        f"{count(entries, 'entry')}.</p>"
    )
