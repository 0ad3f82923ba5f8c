"""Read single frames of video files by their number, and know when each was taken.

A frame's number N is its rank, from 0, among the timestamps of the video's packets. That needs no
decoding, holds for a variable frame rate, and means the same frame whether the file is decoded from
its start or from somewhere in it.

Frames come as they are shown: turned as the file says, and where its pixels are not square, as on
DVDs and from many recorders, stretched along the side that they are longer on.
"""

import math
import os
from bisect import bisect_left
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from person_search.footage.images import ImageError, check_file
from person_search.footage.square_pixels import NONE, Stretch, make_square, stretch_of

SEEK_BACK = (0.0, 1.0, 8.0, 64.0)
"""Seconds before the wanted frame that are sought, tried in turn. OpenCV decodes from a key frame
some way before that, but reckons with a constant frame rate and may come out too late."""

# Damaged files make FFmpeg write pages to the terminal; what matters of it is in our errors. OpenCV
# looks at this once, when FFmpeg is first used. A user's own setting stands.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

SKIP_BEFORE = 16.0
"""Seconds before the first wanted frame from which a video is decoded."""

RAW_SUFFIXES = frozenset([".264", ".265", ".avc", ".h264", ".h265", ".hevc", ".m1v", ".m2v"])
"""Of files that hold the coded frames and nothing about them: what looks like timestamps there is
made up from a frame rate that FFmpeg assumes."""
AVI_SUFFIXES = frozenset((".avi", ".divx"))
"""Of files that keep their frames in the order of decoding and no times: where that is not the
order of showing, the timestamps are those of other frames."""

_SAME_TIME = 1e-4
"""Seconds within which two readings of a frame's timestamp agree: far below any frame's length."""


@dataclass(frozen=True)
class VideoClock:
    """When each frame of a video is shown."""

    times: tuple[float, ...]
    """Seconds since the first frame; increasing; entry N belongs to frame N."""

    is_counted: bool
    """Whether the file carries no timestamps, so that frames are counted and the frame rate gives
    the times."""

    offset: float
    """What a reading of the file's timestamps has more than ``times``, in seconds."""

    missing: float
    """Seconds at the end that the file's head promises and the file does not hold; 0 if whole."""

    stretch: Stretch = NONE
    """How the frames are stretched, so that their pixels become square."""

    def number_at(self, reading: float, count: int) -> int | None:
        """Return the frame that was just decoded.

        Args:
            reading: its timestamp as read from the file, in seconds.
            count: how many frames were decoded before it, from the start of the file.
        """
        if self.is_counted:
            return count if count < len(self.times) else None
        time = reading - self.offset
        place = bisect_left(self.times, time - _SAME_TIME)
        is_there = place < len(self.times) and self.times[place] <= time + _SAME_TIME
        return place if is_there else None

    def sample(self, every: float) -> list[int]:
        """Return the numbers of the first frame at or after 0, ``every``, 2 ``every``, … seconds.

        A gap longer than ``every`` gives one frame, not several times the same.
        """
        numbers, last = [], -1
        for number, time in enumerate(self.times):
            step = math.floor((time + _SAME_TIME) / every)
            if step > last:
                numbers.append(number)
                last = step
        return numbers


def read_clock(file: str | Path) -> VideoClock:
    """Read when each frame of a video is shown, without decoding any.

    Kept for the videos asked for last, as long as they do not change.

    Raises:
        ImageError: if the file is no video, holds no frames, or has neither timestamps nor a frame
            rate.
        OSError: if it does not exist or may not be read.
    """
    path = check_file(file)
    stat = path.stat()
    return _read_clock(str(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=16)
def _read_clock(file: str, size: int, modified: int) -> VideoClock:
    readings = []
    # Format -1 hands out packets as they are: reading a file of an hour takes seconds, not minutes.
    with _open(file, [cv2.CAP_PROP_FORMAT, -1]) as capture:
        rate = capture.get(cv2.CAP_PROP_FPS)
        promised = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        stretch = _stretch_of(capture)
        while capture.grab():
            readings.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    if not readings:
        raise ImageError(f"{file} holds no video frames")
    is_raw, own_rate = _look_at_coding(file)
    rate = own_rate or rate
    has_rate = math.isfinite(rate) and rate > 0
    distinct = _distinct(sorted(readings))
    # Without timestamps every reading is the same.
    is_counted = is_raw or (len(distinct) == 1 and len(readings) > 1)
    if is_counted:
        if not has_rate:
            raise ImageError(
                f"{file} has neither timestamps nor a frame rate; write it anew, for example "
                "ffmpeg -i IN -r 25 OUT.mp4"
            )
        distinct = [number / rate for number in range(len(readings))]
    times = tuple(reading - distinct[0] for reading in distinct)
    missing = 0.0
    # Only the head's estimate of both time and number being far off says that something is missing:
    # with a variable rate the number alone is a guess, with a longer sound track the time is.
    if has_rate and not is_raw and promised > 0 and len(times) < 0.9 * promised:
        seconds = promised / rate
        missing = seconds - times[-1] if times[-1] < 0.9 * seconds - 1 / rate else 0.0
    return VideoClock(times, is_counted, distinct[0], missing, stretch)


def _look_at_coding(file: str) -> tuple[bool, float | None]:
    """Say whether a file's timestamps are made up, and the rate that its coded frames name.

    Returns:
        Whether frames must be counted, and frames per second; None where nothing better is known
        than what OpenCV says.
    """
    suffix = Path(file).suffix.lower()
    if suffix not in RAW_SUFFIXES | AVI_SUFFIXES:
        return False, None
    # Slow to import, which pictures and usual videos are spared.
    import av

    try:
        with av.open(file) as container:
            stream = container.streams.video[0]
            rate, is_reordered = stream.guessed_rate, stream.codec_context.has_b_frames
    # OpenCV has read it; FFmpeg's errors are a dozen types.
    except Exception:
        return suffix in RAW_SUFFIXES, None
    if suffix in AVI_SUFFIXES:
        return is_reordered, None
    return True, float(rate) if rate else None


def _stretch_of(capture: cv2.VideoCapture) -> Stretch:
    """Return how the frames of an opened video, of which none was read, are stretched."""
    across, down = (capture.get(side) for side in (cv2.CAP_PROP_SAR_NUM, cv2.CAP_PROP_SAR_DEN))
    is_on_its_side = round(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 180 == 90
    return stretch_of(across, down, is_on_its_side)


def decode_frames(file: str | Path, numbers: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Decode some frames of a video in one pass, in order.

    Args:
        file: the video.
        numbers: those wanted, from 0.

    Yields:
        Number and pixels (H, W, 3) uint8 RGB, as they are shown. Frames that cannot be
        decoded are left out.

    Raises:
        ImageError, OSError: as `read_clock`.
    """
    clock = read_clock(file)
    wanted = set(numbers)
    last = max(wanted, default=-1)
    skipped = _skipped(str(file), clock, min(wanted)) if wanted else None
    with _open(str(file)) as capture:
        count = 0
        if skipped is not None:
            capture.set(cv2.CAP_PROP_POS_MSEC, skipped)
        while wanted and capture.grab():
            number = clock.number_at(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, count)
            count += 1
            if number in wanted:
                wanted.remove(number)
                pixels = _retrieve(capture, clock)
                if pixels is not None:
                    yield number, pixels
            if number is not None and number >= last:
                break


def read_video_frame(file: str | Path, number: int) -> np.ndarray:
    """Read one frame of a video: the same pixels as `decode_frames` gives for this number.

    Args:
        file: the video.
        number: from 0.

    Returns:
        (H, W, 3) uint8, RGB, as it is shown.

    Raises:
        ImageError: as `read_clock`, and if there is no such frame or it cannot be decoded.
        OSError: if the file does not exist or may not be read.
    """
    clock = read_clock(file)
    if not 0 <= number < len(clock.times):
        raise ImageError(f"{file} has no frame {number}; it has {len(clock.times)}, counted from 0")
    pixels = None if clock.is_counted else _seek(str(file), clock, number)
    if pixels is None:
        pixels = next((pixels for _, pixels in decode_frames(file, [number])), None)
    if pixels is None:
        raise ImageError(f"{file}: frame {number} cannot be decoded; the file is damaged there")
    return pixels


def read_video_size(file: str | Path) -> tuple[int, int]:
    """Read how large the frames of a video are, from its head.

    Returns:
        Width and height in pixels, of frames as they are shown.

    Raises:
        ImageError: if the file is no video, or does not say.
        OSError: if it does not exist or may not be read.
    """
    with _open(str(check_file(file))) as capture:
        x, y = _stretch_of(capture)
        width = round(capture.get(cv2.CAP_PROP_FRAME_WIDTH) * x)
        height = round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT) * y)
    if width < 1 or height < 1:
        raise ImageError(f"{file} does not say how large its frames are; it is damaged at its head")
    return width, height


def estimate_num_samples(file: str | Path, every: float) -> int | None:
    """Guess from the file's head how many frames are sampled.

    None if the head does not say; 1 for a file that cannot be opened, which is one broken file.
    """
    try:
        with _open(str(check_file(file))) as capture:
            rate = capture.get(cv2.CAP_PROP_FPS)
            count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    except (ImageError, OSError):
        return 1
    if not (math.isfinite(rate) and rate > 0 and count > 0):
        return None
    return max(1, min(round(float(count)), math.ceil(count / rate / every)))


def _skipped(file: str, clock: VideoClock, number: int) -> float | None:
    """Return a reading to seek from which a frame is reached; None to decode from the start.

    Worth it where the frame is far from there, and the file's index does not lead astray.
    """
    start = clock.times[number] - SKIP_BEFORE if number < len(clock.times) else 0.0
    if clock.is_counted or start <= SKIP_BEFORE:
        return None
    reading = (start + clock.offset) * 1000
    with _open(file) as capture:
        capture.set(cv2.CAP_PROP_POS_MSEC, reading)
        if not capture.grab():
            return None
        found = clock.number_at(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, 0)
    return reading if found is not None and found < number else None


def _seek(file: str, clock: VideoClock, number: int) -> np.ndarray | None:
    """Decode from shortly before the frame; None where no seek leads to it."""
    with _open(file) as capture:
        for back in SEEK_BACK:
            start = clock.times[number] - back
            if start <= 0:
                return None
            capture.set(cv2.CAP_PROP_POS_MSEC, (start + clock.offset) * 1000)
            while capture.grab():
                found = clock.number_at(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, 0)
                if found == number:
                    return _retrieve(capture, clock)
                if found is not None and found > number:
                    break
    return None


def _retrieve(capture: cv2.VideoCapture, clock: VideoClock) -> np.ndarray | None:
    is_read, bgr = capture.retrieve()
    if not is_read or bgr is None or bgr.size == 0:
        return None
    return np.asarray(cv2.cvtColor(make_square(bgr, clock.stretch), cv2.COLOR_BGR2RGB))


@contextmanager
def _open(file: str, parameters: list[int] | None = None) -> Iterator[cv2.VideoCapture]:
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(file, cv2.CAP_FFMPEG, parameters or [])
    finally:
        cv2.utils.logging.setLogLevel(level)
    try:
        if not capture.isOpened():
            raise ImageError(f"{file} is not a video, or is cut off or damaged at its head")
        yield capture
    except cv2.error as error:
        raise ImageError(f"{file} is damaged: {error}") from error
    finally:
        capture.release()


def _distinct(readings: list[float]) -> list[float]:
    distinct = readings[:1]
    for reading in readings[1:]:
        if reading > distinct[-1] + _SAME_TIME:
            distinct.append(reading)
    return distinct
