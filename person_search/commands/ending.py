"""Ending a command when the system asks for it, as a Ctrl-C does."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
"""What service managers and containers send, and a terminal that is closed."""


class EndedError(KeyboardInterrupt):
    """A signal asks to end: what is being written is removed, as after a Ctrl-C."""

    def __init__(self, number: int) -> None:
        """Remember which."""
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number
        """Exit status, as of a program that the signal ends."""


@contextmanager
def ending_by_signals() -> Iterator[None]:
    """Let the signals of `ENDING` raise `EndedError`; the second one ends the process at once.

    By itself such a signal ends a process where it stands, and half-written files stay. What
    somebody has set otherwise stays so: ``nohup`` ignores a closed terminal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ours, process = [n for n in ENDING if signal.getsignal(n) == signal.SIG_DFL], os.getpid()

    def restore() -> None:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)

    def end(number: int, _: FrameType | None) -> None:
        restore()
        if os.getpid() != process:  # forked: a worker, which has nothing to tidy up
            os.kill(os.getpid(), number)
            return
        raise EndedError(number)

    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        restore()
