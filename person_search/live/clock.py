"""The time of live frames: the machine's clock, which somebody may set back."""

import threading
import time
from collections.abc import Callable

NOTICED = 1.0
"""Seconds that a clock must be set back to be worth a word; a clock that is kept right creeps."""


class Clock:
    """Tells the time, and says when it was set back. Threads may share it."""

    def __init__(
        self,
        say: Callable[[str], None],
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start now.

        Args:
            say: Told in a sentence.
            wall: Seconds since 1970 (UTC).
            monotonic: Seconds that nobody sets back.
        """
        self._say, self._wall, self._monotonic = say, wall, monotonic
        self._lock = threading.Lock()
        self._offset = wall() - monotonic()

    def now(self) -> float:
        """Return seconds since 1970 (UTC)."""
        with self._lock:
            now = self._wall()
            offset = now - self._monotonic()
            back, self._offset = self._offset - offset, offset
        if back >= NOTICED:
            self._say(
                f"the clock was set back by {back:.0f} s: what comes now is stored at times that "
                "were there before, and its appearances are linked anew"
            )
        return now
