"""What a gallery is made of: folders of images and videos, as frames with camera and time."""

import hashlib
import math
import os
import re
import unicodedata
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from PIL import ExifTags

from person_search.footage.frames import read_frame
from person_search.footage.images import ImageError, decode_image, open_image, read_bytes
from person_search.footage.listing import VIDEO_SUFFIXES, list_files
from person_search.footage.square_pixels import NONE
from person_search.footage.time_text import YEAR, find_time, read_name_pattern
from person_search.footage.video import decode_frames, read_clock


@dataclass(frozen=True)
class Frame:
    """One image, or one frame of a video."""

    name: str
    """Absolute path of the image, or ``/abs/clip.mp4#frame=N`` with N from 0."""

    content_hash: str
    """SHA-256 in hex of the image file's bytes; for a video frame of ``SHA-256 of the video#N``."""

    camera: str | None = None
    timestamp: float | None = None
    """Seconds since 1970 (UTC) where the date is known, else since the video's start, else None."""

    source: bytes | np.ndarray | None = field(default=None, repr=False, compare=False)
    """The file's bytes or the decoded pixels, as long as they are at hand."""

    size: tuple[int, int] | None = field(default=None, compare=False)
    """Width and height in pixels, turned upright by its EXIF note; None until it was loaded."""

    def load(self) -> np.ndarray:
        """Return the pixels, (H, W, 3) uint8 RGB.

        Raises:
            ImageError: if the image is broken.
            OSError: if the file is no longer there.
        """
        if isinstance(self.source, bytes):
            return decode_image(self.source, self.name)
        return read_frame(self.name) if self.source is None else self.source


@dataclass(frozen=True)
class BrokenFile:
    """A file, or part of one, that could not be read."""

    name: str
    reason: str

    def __str__(self) -> str:
        """Return the name and the reason, which does not begin with the name again.

        On one line: a file's name may hold line ends, and signs that steer a terminal.
        """
        text = f"{self.name}: {self.reason.removeprefix(self.name).strip(' :')}"
        return "".join(repr(letter)[1:-1] if _is_control(letter) else letter for letter in text)


@dataclass(frozen=True)
class FootageOptions:
    """How cameras and times are found, and how densely videos are sampled."""

    camera: str | None = None
    """Name of the camera of everything."""

    camera_from: str = "none"
    """``none``, ``folder`` (the name of the file's folder), or a regular expression with one group,
    searched in the absolute path; where it does not match the camera is unknown."""

    every: float = 1.0
    """Seconds between the sampled frames of a video."""

    start: float | None = None
    """When a video's first frame was taken, seconds since 1970 (UTC)."""

    time_from: str = "none"
    """When an image was taken: ``none``, unknown; ``exif``, its EXIF DateTimeOriginal (local time
    where it has no offset); ``modified``, when its file was last changed; or ``name``, the time in
    the file's name (see `time_text.find_time`), which is also when a video's first frame was taken.
    ``name:PATTERN`` says how that time is written (see `time_text.read_name_pattern`)."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: if one is out of its range, or two contradict each other.
        """
        if not 0 < self.every < float("inf"):
            raise ValueError(f"every is {self.every} s; expected more than 0")
        if self.start is not None and not math.isfinite(self.start):
            raise ValueError(f"start is {self.start}; expected seconds since 1970 (UTC)")
        kind, _, pattern = self.time_from.partition(":")
        if self.time_from not in ("none", "exif", "modified", "name") and kind != "name":
            raise ValueError(
                f"time_from is {self.time_from!r}; expected none, exif, modified, name, or "
                "name:PATTERN, as in name:%Y%m%d_%H%M%S"
            )
        if kind == "name" and self.time_from != "name":
            read_name_pattern(pattern)
        if kind == "name" and self.start is not None:
            raise ValueError("got start and time_from='name', two starts of a video; expected one")
        if self.camera_from in ("none", "folder"):
            num_groups = 1
        else:
            try:
                num_groups = re.compile(self.camera_from).groups
            except re.error as error:
                raise ValueError(
                    f"camera_from is {self.camera_from!r}, no regular expression: {error}"
                ) from None
        if num_groups != 1:
            raise ValueError(
                f"camera_from is {self.camera_from!r} with {num_groups} groups; expected none, "
                "folder, or a regular expression with one group, as in cam(\\d+)"
            )
        if any(map(_is_control, self.camera or "")):
            raise ValueError(f"camera is {self.camera!r}; expected printable text, of one line")
        if self.camera is not None and self.camera_from != "none":
            raise ValueError(
                f"got camera={self.camera!r} and camera_from={self.camera_from!r}; expected one"
            )

    def camera_of(self, path: Path) -> str | None:
        """Return the camera of a file by its absolute path, None if unknown."""
        if self.camera is not None or self.camera_from == "none":
            return self.camera
        if self.camera_from == "folder":
            return path.parent.name or None
        found = re.search(self.camera_from, str(path))
        return (found[1] or None) if found else None

    @property
    def wants_time(self) -> bool:
        """Whether a frame without a time or a date is one that was looked for in vain."""
        return self.time_from != "none" or self.start is not None

    def time_in_name(self, path: Path) -> float | None:
        """Return the time in a file's name, seconds since 1970 (UTC); None if not asked or none."""
        kind, _, pattern = self.time_from.partition(":")
        if kind != "name":
            return None
        if not pattern:
            return find_time(path.stem)
        return read_name_pattern(pattern)(str(path.with_suffix("").as_posix()))


def is_video(path: Path) -> bool:
    """Return whether a file is a video by its suffix."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def has_valid_name(path: Path) -> bool:
    """Return whether a path is valid UTF-8, as a store needs it; file systems allow others."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_control(letter: str) -> bool:
    """Return whether a letter is one that a gallery keeps in no camera's name."""
    return unicodedata.category(letter) == "Cc"


def list_footage(paths: Sequence[str | Path]) -> list[Path]:
    """List the images and videos among files and in folders.

    Folders are searched with everything below them, through links too, each folder once. Hidden
    files and folders (``.name``) in them are left out.

    Args:
        paths: files and folders.

    Returns:
        Absolute paths, those of each folder sorted, none twice.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: if there are no paths, a folder holds neither image nor video, or a file is
            neither by its suffix.
    """
    return list_files(paths).files


def check_start(files: Sequence[Path], options: FootageOptions) -> None:
    """Refuse one start for several videos: all would begin at the same moment.

    Raises:
        ValueError: there are several, and a start was given.
    """
    videos = [file for file in files if is_video(file)]
    if options.start is not None and len(videos) > 1:
        raise ValueError(
            f"one start is given for {len(videos)} videos, such as {videos[0].name} and "
            f"{videos[1].name}; index each with its own, or take the times out of their names by "
            "--time-from name"
        )


def iterate_files(
    files: Sequence[Path], options: FootageOptions, is_known: Callable[[Frame], bool]
) -> Generator[Frame | BrokenFile]:
    """Go through the frames of images and videos, lazily.

    Args:
        files: as `list_footage` gives them. One that has gone since then comes as a `BrokenFile`.
        options: cameras, times and sampling.
        is_known: whether a frame with this name and content hash needs no reading. Known frames are
            not yielded and not decoded; a video whose sampled frames are all known is not decoded
            at all. Asked for all sampled frames of a video before the first of them is yielded.

    Yields:
        Frames in the order of the files and of their numbers. An image is decoded by `Frame.load`,
        which may still raise; a video frame has been decoded. What cannot be read comes as a
        `BrokenFile`.
    """
    for path in files:
        if not has_valid_name(path):
            name = os.fsencode(path).decode(errors="backslashreplace")
            yield BrokenFile(name, "the name is not valid UTF-8; rename the file")
            continue
        if (camera := options.camera_of(path)) and any(map(_is_control, camera)):
            reason = (
                f"the name of its camera, {camera!r}, has control characters; rename the folder"
            )
            yield BrokenFile(str(path), reason)
            continue
        if is_video(path):
            yield from _iterate_video(path, options, is_known)
            continue
        try:
            frame = _make_frame(path, options)
        except (ImageError, OSError) as error:
            yield BrokenFile(str(path), str(error))
            continue
        # Outside: an error of the store that is_known asks is not the file's.
        if not is_known(frame):
            yield frame


def _make_frame(path: Path, options: FootageOptions) -> Frame:
    data = read_bytes(path)
    timestamp = None
    if options.time_from == "modified":
        timestamp = path.stat().st_mtime
    elif options.time_from == "exif":
        timestamp = _read_exif_time(data)
    else:
        timestamp = options.time_in_name(path)
    # A clock that was never set, or a file system without dates; a picture is of no video's start.
    if timestamp is not None and timestamp < YEAR:
        timestamp = None
    digest = hashlib.sha256(data).hexdigest()
    return Frame(str(path), digest, options.camera_of(path), timestamp, data)


def _iterate_video(
    path: Path, options: FootageOptions, is_known: Callable[[Frame], bool]
) -> Iterator[Frame | BrokenFile]:
    try:
        frames, missing = _plan_video(path, options)
    except (ImageError, OSError) as error:
        yield BrokenFile(str(path), str(error))
        return
    wanted = [number for number, frame in frames.items() if not is_known(frame)]
    num_read, trouble = 0, "cannot be decoded"
    try:
        for number, pixels in decode_frames(path, wanted) if wanted else ():
            num_read += 1
            yield replace(frames[number], source=pixels)
    except (ImageError, OSError) as error:
        trouble = f"cannot be read: {error}"
    if num_read < len(wanted):
        reason = f"{len(wanted) - num_read} of {len(wanted)} sampled frames {trouble}"
        yield BrokenFile(str(path), f"{reason}; the others were read")
    if missing > 0:
        reason = f"the video is cut off: its last {missing:.1f} s are missing"
        yield BrokenFile(str(path), f"{reason}; the frames before were read")


def _plan_video(path: Path, options: FootageOptions) -> tuple[dict[int, Frame], float]:
    """Return the sampled frames by number, without pixels, and the seconds cut off at the end."""
    clock = read_clock(path)
    with path.open("rb") as file:
        video_hash = hashlib.file_digest(file, "sha256").hexdigest()
    camera = options.camera_of(path)
    in_name = options.time_in_name(path)
    start = options.start if in_name is None else in_name
    # Frames that were indexed with pixels as they lie in the file are others.
    shape = ("" if clock.stretch == NONE else "#square pixels") + clock.mark
    frames = {
        number: Frame(
            name=f"{path}#frame={number}",
            content_hash=hashlib.sha256(f"{video_hash}#{number}{shape}".encode()).hexdigest(),
            camera=camera,
            timestamp=clock.times[number] + (start or 0.0),
        )
        for number in clock.sample(options.every)
    }
    return frames, clock.missing


def _read_exif_time(data: bytes) -> float | None:
    try:
        with open_image(data) as image:
            tags = image.getexif().get_ifd(ExifTags.IFD.Exif)
        text = str(tags[ExifTags.Base.DateTimeOriginal]).strip("\0 ")
        zone = str(tags.get(ExifTags.Base.OffsetTimeOriginal, "")).strip("\0 ")
        if zone:
            return datetime.strptime(text + zone, "%Y:%m:%d %H:%M:%S%z").timestamp()
        return datetime.strptime(text, "%Y:%m:%d %H:%M:%S").timestamp()
    # No EXIF, a damaged one or a broken picture: the time is unknown; decoding judges the picture.
    except Exception:
        return None
