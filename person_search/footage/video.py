"""Read single frames of video files by their number, and know when each was taken.

A frame's number N is its rank, from 0, among the timestamps of the video's packets that are shown.
That needs no decoding, holds for a variable frame rate, and means the same frame whether the file
is decoded from its start or from somewhere in it.

Frames come as they are shown: turned and mirrored as the file says, and where its pixels are not
square, as on DVDs and from many recorders, stretched along the side that they are longer on.
"""

from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from person_search.footage.images import ImageError, check_file
from person_search.footage.video_clock import VideoClock, make_clock
from person_search.footage.video_decoding import decode
from person_search.footage.video_file import guess_num_samples, open_video
from person_search.footage.video_picture import to_picture


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
    with open_video(file) as video:
        return make_clock(file, video)


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
    wanted = sorted({number for number in numbers if 0 <= number < len(clock.times)})
    for number, frame in decode(str(file), clock, wanted):
        pixels = to_picture(frame, clock.stretch)
        if pixels is not None:
            yield number, pixels


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
    pixels = next((pixels for _, pixels in decode_frames(file, [number])), None)
    if pixels is None:
        raise ImageError(f"{file}: frame {number} cannot be decoded; the file is damaged there")
    return pixels


def read_video_size(file: str | Path) -> tuple[int, int]:
    """Read how large the frames of a video are: its first one.

    Kept for the videos asked for last, as long as they do not change.

    Returns:
        Width and height in pixels, of frames as they are shown.

    Raises:
        ImageError: if the file is no video, or none of its frames can be decoded.
        OSError: if it does not exist or may not be read.
    """
    path = check_file(file)
    stat = path.stat()
    return _read_size(str(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _read_size(file: str, size: int, modified: int) -> tuple[int, int]:
    with open_video(file) as video:
        for packet in video.container.demux(video.stream):
            for frame in video.decode(packet if packet.size else None):
                pixels = to_picture(frame, video.stretch)
                if pixels is not None:
                    return pixels.shape[1], pixels.shape[0]
    raise ImageError(f"{file}: no frame can be decoded; the file is damaged")


def estimate_num_samples(file: str | Path, every: float) -> int | None:
    """Guess from the file's head how many frames are sampled.

    None if the head does not say; 1 for a file that cannot be opened, which is one broken file.
    """
    try:
        with open_video(str(check_file(file))) as video:
            return guess_num_samples(video, every)
    except (ImageError, OSError):
        return 1
