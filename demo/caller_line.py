"""The line that says who is signed in, and lets them sign out."""

from html import escape

from .door.callers import current_caller
from .rights import marks

_SEEN = 3
"""Cameras that are named; more are counted."""


def show_caller() -> str:
    """Return who looks at the page, and the mark of what they may do."""
    caller, mark = current_caller(), f'<span hidden data-may="{marks()}"></span>'
    if caller is None:
        return mark
    sees = ""
    if caller.cameras is not None:
        names = [name or "camera unknown" for name in sorted(caller.cameras)]
        more = f" and {len(names) - _SEEN} more" if len(names) > _SEEN else ""
        sees = f", sees {', '.join(names[:_SEEN]) or 'no camera'}{more}"
    said = f"{caller.name} ({caller.role}{sees})"
    return (
        f'{mark}<form class="ps-caller" method="post" action="logout"><span>Signed in as '
        f'<b>{escape(said)}</b></span> <button class="ps-link">Sign out</button></form>'
    )
