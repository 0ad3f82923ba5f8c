"""Telling the log of a gallery what a command does."""

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from person_search.accountability.activity_log import ActivityLog
    from person_search.accountability.uses import Use
    from person_search.commands.query_text import ChosenQuery
    from person_search.gallery.index import GalleryIndex

SHELL = "shell"
SAID = ("search", "export case", "export gallery", "view stays", "view stay", "clip", "view people")
"""Uses of which whoever runs the command is told that they are logged."""


def system_user() -> str:
    """Return the name of the user whom this process belongs to, whatever the environment says."""
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        return f"uid {os.getuid()}"  # a user without a name, as in containers


def open_log(index: "GalleryIndex") -> "ActivityLog":
    """Return the log of a gallery, which may be off."""
    from person_search.accountability.activity_log import ActivityLog

    return ActivityLog(index)


def use(index: "GalleryIndex", action: str) -> "Use":
    """Begin a use by whoever runs the command; see `ActivityLog.use`.

    Raises:
        LogError: The log is on and cannot be written.
    """
    begun = open_log(index).use(action, user=system_user(), via=SHELL)
    if begun.is_logged and action in SAID:
        print(f"{action} is logged: {system_user()}, and what is shown", file=sys.stderr)
    return begun


def begins(index: "GalleryIndex", action: str, **said: Any) -> None:
    """Tell that something begins that takes long, or writes a file: `use` tells when it has ended.

    A process may be killed in between, or the disk of the log be full by then.

    Raises:
        LogError: The log is on and cannot be written.
    """
    open_log(index).record(f"{action} begins", user=system_user(), via=SHELL, **said)


def asked(begun: "Use", queries: "Sequence[ChosenQuery]") -> None:
    """Tell the log who was asked for."""
    from person_search.footage.frames import read_frame

    if begun.is_logged:
        for query in queries:
            begun.asked(read_frame(query.image), query.box)
