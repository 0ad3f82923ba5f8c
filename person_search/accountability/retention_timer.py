"""Applying the rules of galleries while a program runs."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from person_search.accountability.entries import Entry
from person_search.accountability.retention import apply_rules, rules_of
from person_search.accountability.retention_rules import RetentionRules
from person_search.gallery.index import GalleryIndex

LEAST, MOST = 3600.0, 86_400.0
"""Seconds between two applications: removing for good writes the whole gallery file anew."""
_SHARE = 24
"""What is kept for a day goes within an hour, and what is kept for longer within as long a part of
it, at most a day."""


def pause_of(rules: Sequence[RetentionRules]) -> float:
    """Return the seconds until rules are to be applied again.

    Examples:
        >>> pause_of([RetentionRules(keep=86_400.0 * 2)]) / 3600
        2.0
    """
    periods = [r.shortest for r in rules if r.shortest is not None]
    return min(max(LEAST, min(periods, default=MOST) / _SHARE), MOST)


class RetentionTimer:
    """Applies the rules that galleries keep, at once and then now and again, in a thread.

    Example:
        with RetentionTimer([(lambda: index, [])], say=print):
            ...
    """

    def __init__(
        self,
        galleries: Sequence[tuple[Callable[[], GalleryIndex], Sequence[Path]]],
        say: Callable[[str], None],
        on_removed: Callable[[Entry], None] | None = None,
        via: str = "python",
    ) -> None:
        """Begin with ``with``.

        Args:
            galleries: What gives each, open, when its rules are to be applied: by then another
                file may stand in its place. With the folders that this program keeps its pictures
                in, besides those that are known.
            say: Told in a sentence what was removed, or why it cannot be.
            on_removed: Called with each receipt.
            via: As of `ActivityLog.use`.
        """
        self._galleries, self._say, self._on_removed = galleries, say, on_removed
        self._via, self._stop = via, threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def __enter__(self) -> "RetentionTimer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def apply(self) -> float:
        """Apply the rules of all galleries now; return the seconds until the next time.

        What cannot be done is said, and tried again soon.
        """
        rules, soonest = [], MOST
        for current, folders in self._galleries:
            try:
                index = current()
                rules.append(rules_of(index))
                if rules[-1].shortest is None:
                    continue
                receipt = apply_rules(index, folders=folders, via=self._via)
            except (ValueError, OSError) as error:
                self._say(f"what was kept for long enough stays for now: {error}")
                soonest = LEAST
                continue
            if receipt is not None:
                self._say(
                    f"{index.uri}: removed {receipt['frames']} frames that were kept for long "
                    f"enough, and {receipt['pictures']} of their files"
                )
                if self._on_removed is not None:
                    self._on_removed(receipt)
        return min(pause_of(rules), soonest)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._stop.wait(self.apply())
