"""Where the pictures of exported frames are, and how large: read from the files.

Letters: H, W height and width in original pixels.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from PIL import Image

from person_search.footage.frames import read_frame_size, split_frame_name
from person_search.footage.images import ImageError
from person_search.footage.video import decode_frames
from person_search.formats.selection import ExportReport
from person_search.gallery.rows import StoredFrame
from reid_heads.atomic_file import atomic_file, naming_full_disk

JPEG_QUALITY = 95


@dataclass(frozen=True)
class Picture:
    """The picture of a frame."""

    frame: StoredFrame
    file: str
    """Its file; of a video's frame that was not written as a picture, the frame's name."""

    size: tuple[int, int] | None
    """(W, H), None where the source is gone or cannot be read."""


def find_pictures(
    frames: Sequence[StoredFrame], folder: Path | None, report: ExportReport
) -> Iterator[Picture]:
    """Find the picture of each frame; what is gone is noted in the report.

    Args:
        frames: those of a video behind each other.
        folder: where frames of videos are written as JPEG files, ``VIDEO-HASH/NUMBER.jpg``; None
            leaves them where they are.
        report: gets the names of what is missing.

    Raises:
        OSError: A picture cannot be written.
    """
    for (video, is_frame), group in groupby(frames, _source):
        some = list(group)
        if is_frame and folder is not None:
            found = _write_frames(video, some, folder)
        else:
            size = _size(some[0])
            found = {} if size is None else {frame.name: (frame.name, size) for frame in some}
        for frame in some:
            if frame.name in found:
                yield Picture(frame, *found[frame.name])
            else:
                report.missing.append(frame.name)
                yield Picture(frame, frame.name, None)


def _source(frame: StoredFrame) -> tuple[str, bool]:
    file, number = split_frame_name(frame.name)
    return file, number is not None


def _size(frame: StoredFrame) -> tuple[int, int] | None:
    try:
        return read_frame_size(frame.name)
    except (ImageError, OSError):
        return None


def _write_frames(
    video: str, frames: Sequence[StoredFrame], folder: Path
) -> dict[str, tuple[str, tuple[int, int]]]:
    """Write frames of a video; return file and size of those that could be read, by name."""
    # Videos of one name in several folders must not mix.
    mark = hashlib.sha256(video.encode(errors="surrogatepass")).hexdigest()[:8]
    place = folder / f"{Path(video).stem}-{mark}"
    written: dict[str, tuple[str, tuple[int, int]]] = {}
    reading = decode_frames(video, [split_frame_name(f.name)[1] or 0 for f in frames])
    while True:
        try:
            number, pixels = next(reading)
        except (StopIteration, ImageError, OSError):
            return written
        # Outside: a full disk is not the video's fault.
        file = place / f"{number:06d}.jpg"
        _write_jpeg(file, pixels)
        height, width = pixels.shape[:2]
        written[f"{video}#frame={number}"] = str(file), (width, height)


def _write_jpeg(file: Path, pixels: np.ndarray) -> None:
    with naming_full_disk(file), atomic_file(file) as opened:
        Image.fromarray(pixels).save(opened, "JPEG", quality=JPEG_QUALITY)
