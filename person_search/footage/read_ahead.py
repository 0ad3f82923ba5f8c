"""Decode frames in threads ahead of the model, and gather them into batches of one size."""

import os
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from types import TracebackType

import numpy as np

from person_search.footage.files import BrokenFile, Frame
from person_search.footage.images import ImageError

READ_AHEAD = 16
"""Frames decoded ahead of the model, at most: 100 MB at 1920 x 1080."""
NUM_THREADS = 4
"""Decode images, which takes longer than a GPU's pass over them."""
_POLL_SECONDS = 0.1

Loaded = tuple[Frame, np.ndarray]


class ReadAhead:
    """Iterate over frames with their pixels, in order, decoded by threads ahead of the caller.

    One thread walks through the files, a few decode images. As a context manager it ends them when
    the caller leaves early. An error in a thread is raised in the caller.
    """

    def __init__(self, frames: Generator[Frame | BrokenFile]) -> None:
        self._frames = frames
        self._queue: queue.Queue[Future[Loaded | BrokenFile] | BaseException | None] = queue.Queue(
            READ_AHEAD
        )
        self._stop = threading.Event()
        self._decoders = ThreadPoolExecutor(min(NUM_THREADS, os.cpu_count() or 1), "decode")
        # A daemon, so that a read hanging on a lost disk does not hold the process.
        self._walker = threading.Thread(target=self._walk, name="read-footage", daemon=True)

    def __enter__(self) -> "ReadAhead":
        self._walker.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._walker.join(timeout=10)
        self._decoders.shutdown(wait=False, cancel_futures=True)

    def __iter__(self) -> Iterator[Loaded | BrokenFile]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item.result()

    def _walk(self) -> None:
        last: BaseException | None = None
        try:
            with closing(self._frames):
                for frame in self._frames:
                    if not self._put(self._decoders.submit(_load, frame)):
                        return
        except BaseException as error:
            last = error
        self._put(last)

    def _put(self, item: "Future[Loaded | BrokenFile] | BaseException | None") -> bool:
        """Wait for room; return False if the caller has left."""
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False


def _load(frame: Frame | BrokenFile) -> Loaded | BrokenFile:
    if isinstance(frame, BrokenFile):
        return frame
    try:
        pixels = frame.load()
    except (ImageError, OSError, MemoryError) as error:
        return BrokenFile(frame.name, str(error) or type(error).__name__)
    height, width = pixels.shape[:2]
    return replace(frame, size=(width, height)), pixels


def batch_same_size(frames: Iterable[Loaded], batch_size: int) -> Iterator[list[Loaded]]:
    """Gather frames of the same height and width.

    At most four batches' worth wait for others of their size; then the size that has waited longest
    goes as it is.
    """
    waiting: dict[tuple[int, ...], list[Loaded]] = {}
    for frame, pixels in frames:
        batch = waiting.setdefault(pixels.shape, [])
        batch.append((frame, pixels))
        if len(batch) == batch_size:
            yield waiting.pop(pixels.shape)
        elif sum(map(len, waiting.values())) >= 4 * batch_size:
            yield waiting.pop(next(iter(waiting)))
    yield from waiting.values()
