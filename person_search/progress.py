"""How far a long task is: a bar on a terminal, in a log a plain line every few seconds."""

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TextIO, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")

LINE_EVERY = 3.0
"""Seconds between two lines of a log. A task that takes less writes none."""


class Progress:
    """Shows how many of a number of things are done, on the standard error.

    Example:
        >>> with Progress("drawing", total=3) as shown:
        ...     for done in range(1, 4):
        ...         shown.update(done)
    """

    def __init__(
        self,
        what: str,
        total: int | None = None,
        *,
        unit: str = "frames",
        is_shown: bool = True,
        stream: TextIO | None = None,
    ) -> None:
        """Show nothing done yet.

        Args:
            what: is being done, such as "drawing".
            total: how many things there are; None where that is not known.
            unit: what they are.
            is_shown: False shows nothing at all.
            stream: None for the standard error.
        """
        self.total = total
        self._what, self._unit = what, unit
        self._stream = sys.stderr if stream is None else stream
        # A carriage return, by which a bar moves, is an ordinary character in a log.
        has_bar = is_shown and self._stream.isatty()
        self._has_lines = is_shown and not has_bar
        self._bar = tqdm(
            total=total, unit=f" {unit}", desc=what, disable=not has_bar, file=self._stream
        )
        self._done = 0
        self._note = ""
        self._started = self._last_line = time.monotonic()
        self._has_written = False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None and self._has_written:
            self._write_line()
        self._bar.refresh()
        self._bar.close()

    def update(self, done: int, note: str = "") -> None:
        """Show that so many are done.

        Args:
            done: from the start.
            note: shown beside it.
        """
        self._done, self._note = done, note
        self._bar.total = self.total
        if note:
            self._bar.set_postfix_str(note, False)
        self._bar.update(done - self._bar.n)
        if self._has_lines and time.monotonic() - self._last_line >= LINE_EVERY:
            self._write_line()

    def _write_line(self) -> None:
        self._last_line = time.monotonic()
        self._has_written = True
        share = ""
        if self.total:
            share = f" of {self.total} {self._unit}, {self._done / self.total:.0%}"
        note = f", {self._note}" if self._note else ""
        seconds = self._last_line - self._started
        unit = "" if share else f" {self._unit}"
        line = f"{self._what}: {self._done}{unit}{share}{note}, after {seconds:.0f} s\n"
        self._stream.write(line)
        self._stream.flush()


def show_progress(
    items: Iterable[Item], what: str, total: int, unit: str = "frames"
) -> Iterator[Item]:
    """Yield each item, and show how many have been dealt with.

    Args:
        items: what there is to do.
        what: is being done.
        total: how many items there are.
        unit: what they are.
    """
    with Progress(what, total, unit=unit) as shown:
        for number, item in enumerate(items):
            shown.update(number)
            yield item
        shown.update(total)
