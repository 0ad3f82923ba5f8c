"""Read a camera in a thread of its own, again and again, and keep the newest frame only."""

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from person_search.live.sources import Source
from person_search.live.streams import LostError, Shot

FIRST_PAUSE = 1.0
"""Seconds before a lost source is tried again; each time twice as long."""
MOST_PAUSE = 60.0
_DARK, _LIGHT = 3.0, 6.0
"""Standard deviation, of 0..255, below which a picture is taken to show one colour only, and above
which it shows something again; apart, so that noise does not make it one thing and the other."""
_MOST_SIZES = 10
"""That are said; a stream of rubbish has more."""


class CameraReader:
    """Reads one stream or webcam; the model takes the newest frame whenever it has time.

    A frame that was not taken when the next one comes is dropped, and counted.
    """

    def __init__(
        self,
        source: Source,
        read: Callable[[], Iterator[Shot]],
        say: Callable[[str], None],
        stop: threading.Event,
        news: threading.Event,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        """Do not read yet; see `start`.

        Args:
            source: For messages.
            read: Connects and yields frames, see `read_shots`.
            say: Told in a sentence of each loss and return.
            stop: Set to end it.
            news: Is set where there is something to take.
            first_pause: Seconds.
        """
        self.source = source
        self.num_frames = 0
        self.num_dropped = 0
        self.error: Exception | None = None
        """A mistake of ours that ended it."""
        self._read, self._say, self._stop, self._news = read, say, stop, news
        self._pause = self._first_pause = first_pause
        self._lost_at: float | None = None
        self._last_sign = time.monotonic()
        self._newest: Shot | None = None
        self._lock = threading.Lock()
        self._looks = _Looks()
        self._thread = threading.Thread(
            target=self._run, name=f"camera-{source.camera}", daemon=True
        )

    def start(self) -> None:
        """Read from now on."""
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait for the end."""
        self._thread.join(seconds)

    @property
    def is_done(self) -> bool:
        """Whether no frame comes any more."""
        return not self._thread.is_alive() and self._newest is None

    def take(self) -> Shot | None:
        """Return the newest frame, once."""
        with self._lock:
            shot, self._newest = self._newest, None
        return shot

    def notice_silence(self, timeout: float) -> None:
        """Say once that nothing comes: a webcam may keep its reader waiting for ever."""
        silent = time.monotonic() - self._last_sign
        if self._lost_at is None and silent > timeout and self._thread.is_alive():
            self._lost_at = self._last_sign
            self._say(
                f"{self.source.camera}: {self.source.shown} gives no picture for {silent:.0f} s"
            )

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                started = self._last_sign = time.monotonic()
                try:
                    self._read_once()
                    if not self._stop.is_set():
                        self._say(f"{self.source.camera}: {self.source.shown} has ended")
                    return
                except LostError as error:
                    self._note_loss(error, time.monotonic() - started)
                self._stop.wait(self._pause)
        except Exception as error:
            self.error = error
        finally:
            self._news.set()

    def _read_once(self) -> None:
        for shot in self._read():
            self._last_sign = time.monotonic()
            if self._lost_at is not None:
                seconds = time.monotonic() - self._lost_at
                self._say(f"{self.source.camera}: is back after {seconds:.0f} s")
                self._lost_at = None
            for remark in self._looks.notice(shot.pixels):
                self._say(f"{self.source.camera}: {remark}")
            with self._lock:
                self.num_frames += 1
                self.num_dropped += self._newest is not None
                self._newest = shot
            self._news.set()

    def _note_loss(self, error: LostError, lasted: float) -> None:
        # One that comes and goes every few seconds is tried less and less often, too.
        is_fresh = lasted > MOST_PAUSE
        self._pause = self._first_pause if is_fresh else min(2 * self._pause, MOST_PAUSE)
        if self._lost_at is None:
            self._lost_at = time.monotonic()
            self._say(
                f"{self.source.camera}: lost {self.source.shown}: {error}; trying again, at last "
                f"every {MOST_PAUSE:.0f} s"
            )


class _Looks:
    """Notices when pictures change their size or go dark."""

    def __init__(self) -> None:
        self._sizes: list[tuple[int, int]] = []
        self._is_dark = False

    def notice(self, pixels: np.ndarray) -> Iterator[str]:
        size = (pixels.shape[1], pixels.shape[0])
        if size not in self._sizes and len(self._sizes) < _MOST_SIZES:
            self._sizes.append(size)
            if len(self._sizes) > 1:
                width, height = self._sizes[-2]
                yield f"its pictures are {size[0]} x {size[1]} now, were {width} x {height}"
        spread = float(pixels[::8, ::8].std())
        is_dark = spread < (_LIGHT if self._is_dark else _DARK)
        if is_dark != self._is_dark:
            self._is_dark = is_dark
            yield "shows one colour only: dark, or covered" if is_dark else "shows something again"
