"""Telling the logs of the galleries what visitors of the page and callers of its API do.

Which of them are logged, their logs say (`person_search.accountability`); here is who it is.
"""

import logging
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from person_search.accountability.activity_log import ActivityLog
from person_search.accountability.retention_timer import RetentionTimer
from person_search.accountability.uses import Use

from .door.callers import current_caller
from .service import Gallery, Service

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex

logger = logging.getLogger(__name__)

API = "api"
PAGE = "page"


def current_user() -> str | None:
    """Return who sent the request that is being answered; None where nobody logs in."""
    caller = current_caller()
    return None if caller is None else caller.name


def begin(gallery: Gallery, action: str, via: str = PAGE) -> Use:
    """Begin a use of a gallery by whoever sent the request; see `ActivityLog.use`.

    Raises:
        LogError: the gallery's log is on and cannot be written; nothing may be shown.
    """
    return begin_on(gallery.index, action, via)


def begin_on(index: "GalleryIndex", action: str, via: str = PAGE) -> Use:
    """Begin a use of a gallery; see `begin`."""
    return ActivityLog(index).use(action, user=current_user(), via=via)


def record_login(galleries: Iterable[Gallery], user: str | None, succeeded: bool | None) -> None:
    """Write into each log that somebody logged in, or tried to; None: logged out."""
    for log in _logs(galleries):
        if succeeded is None:
            log.logout(user)
        else:
            log.login(user, succeeded=succeeded)


def switch_on_for_users(galleries: Sequence[Gallery], has_users: bool) -> int:
    """Switch the logs on where people log in; return how many were off."""
    if not has_users:
        return 0
    return sum([log.switch_on(via="serve") for log in _logs(galleries)])


def retaining(service: Service) -> RetentionTimer:
    """Return what applies the rules of galleries as long as it is entered.

    Those of a gallery whose file is replaced meanwhile are the new one's.
    """
    from .pictures import forget_pictures

    return RetentionTimer(
        [
            (lambda label=label: service.gallery(label).index, [gallery.footage])
            for label, gallery in service.galleries.items()
        ],
        logger.warning,
        on_removed=lambda _: forget_pictures(),
        via="serve",
    )


def notice(gallery: Gallery) -> str:
    """Return what the page says about the log of a gallery; "" where it is off."""
    log = ActivityLog(gallery.index)
    if not log.is_on:
        return ""
    user = current_user()
    who = f"as {user}" if user else "without a name, as nobody logs in"
    kept = "picture" if log.settings().get("pictures") else "hash of the picture"
    return (
        '<p class="ps-hint ps-logged" role="note">Searches of this gallery are logged: what you '
        f"search for ({kept}), which matches, frames, stays and clips you are shown, what you "
        f"judge, name, add and export, and when, {escape(who)}.</p>"
    )


def _logs(galleries: Iterable[Gallery]) -> list[ActivityLog]:
    """Return the logs of galleries: those of one file or server share one."""
    return list({log.path: log for log in (ActivityLog(g.index) for g in galleries)}.values())
