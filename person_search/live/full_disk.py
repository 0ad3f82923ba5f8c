"""A disk that is full is waited out, as a watch goes on for weeks."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from person_search.gallery.errors import GalleryError

_FULL = (errno.ENOSPC, errno.EDQUOT)


class FullDisk:
    """Waits out a full disk: says it once, and once that there is room again."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """Wait for nothing yet; ``say`` is told in a sentence."""
        self._say, self._is_full = say, False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Go on behind what a full disk stops; anything else is raised."""
        try:
            yield
        except (GalleryError, OSError) as error:
            if not _is_full(error):
                raise
            if not self._is_full:
                self._say(f"{error}; frames are not stored until there is room, and counted")
            self._is_full = True

    def is_over(self) -> None:
        """Take note that something was stored."""
        if self._is_full:
            self._say("there is room on the disk again")
        self._is_full = False


def _is_full(error: Exception) -> bool:
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError):
        return cause.errno in _FULL
    return getattr(cause, "sqlite_errorname", "").startswith("SQLITE_FULL")
