"""Cut a clip of one person's stay out of the footage, as browsers play it: VP9 in WebM."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, groupby
from typing import NamedTuple

import av
import numpy as np
from PIL import Image

from person_search.drawing.people import HALO, outline_person
from person_search.footage.frames import split_frame_name
from person_search.footage.images import ImageError, read_image
from person_search.footage.video import decode_frames, read_clock
from person_search.people import Box, Match

MAX_SIDE = 960
"""Pixels; larger pictures are reduced."""
MOST_SECONDS = 120.0
"""Of a clip; longer stays are cut off there."""
MOST_RATE = 12.5
"""Frames of a video that are taken of a second."""
AROUND = 1.0
"""Seconds of a video before the first sight and after the last."""
STILL_SECONDS = 0.5
"""How long each picture is shown that is none of a video."""

_TICK = Fraction(1, 1000)
_NEARLY = 1e-3
# The fastest of the encoder: four times as fast as its default.
_ENCODING = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "32", "b": "0"}
# No random ids and no versions: the same clip is the same bytes.
_BITEXACT = {"fflags": "+bitexact"}

Hide = Callable[[str, np.ndarray, Box | None], tuple[np.ndarray, Box | None]]
"""Takes the name of a frame, its pixels (H, W, 3) uint8 RGB, and where the person is in it, None
where that is not known; returns the pixels and the box to show."""


@dataclass(frozen=True)
class Clip:
    """A clip that was cut."""

    content: bytes
    """Of a WebM file."""

    seconds: float
    frames: int
    is_whole: bool
    """Whether it goes to the end of the stay."""


class _Shot(NamedTuple):
    name: str
    """Of the frame."""

    time: float
    """Seconds since the start of the clip."""

    picture: np.ndarray
    """(H, W, 3) uint8 RGB."""

    box: Box | None
    """In pixels of the picture; None where the person is not known to be."""


def cut_clip(sights: Sequence[Match], *, hide: Hide | None = None) -> Clip:
    """Cut a clip, with a box around the person.

    Between two sights in a video, which may lie seconds apart, the box goes from one to the other
    in a straight line. Pictures that are none of a video follow each other, half a second each.
    The same sights give the same bytes.

    Args:
        sights: Of one person, at least one, in order of time, as `GalleryAppearances.sights` gives
            them.
        hide: Changes each frame before it is shown, to blur others. The clip then begins with the
            first sight and ends with the last, as nobody is known around them.

    Raises:
        ImageError: If the footage is damaged.
        OSError: If it is no longer there.
        ValueError: If there are no sights.
    """
    if not sights:
        raise ValueError("there are no sights to cut a clip of; expected at least one")
    target, count, time, is_whole = io.BytesIO(), 0, 0.0, True
    shots = _shots(sights, AROUND if hide is None else 0.0)
    first = next(shots, None)
    if first is None:
        raise ImageError(f"none of the frames of {sights[0].image} can be decoded")
    size = _clip_size(first.picture)
    with av.open(target, "w", format="webm", container_options=_BITEXACT) as container:
        stream = container.add_stream("libvpx-vp9", rate=25, options=_ENCODING)
        assert isinstance(stream, av.VideoStream)
        stream.pix_fmt, (stream.width, stream.height) = "yuv420p", size
        stream.time_base = stream.codec_context.time_base = _TICK
        for shot in chain([first], shots):
            if shot.time > MOST_SECONDS:
                is_whole = False
                break
            frame = av.VideoFrame.from_ndarray(_draw(_hidden(shot, hide), size), format="rgb24")
            frame.pts, frame.time_base = round(shot.time / _TICK), _TICK
            container.mux(stream.encode(frame))
            count, time = count + 1, shot.time
        container.mux(stream.encode())
    return Clip(target.getvalue(), time, count, is_whole)


def _hidden(shot: _Shot, hide: Hide | None) -> _Shot:
    if hide is None:
        return shot
    picture, box = hide(shot.name, shot.picture, shot.box)
    return shot._replace(picture=picture, box=box)


def _shots(sights: Sequence[Match], around: float) -> Iterator[_Shot]:
    """Yield what is shown, file by file in the order of the sights."""
    start = 0.0
    for (file, is_video), some in groupby(sights, _file_of):
        ends = start
        for shot in _video_shots(file, list(some), around) if is_video else map(_still_shot, some):
            ends = start + shot.time
            yield shot._replace(time=ends)
            if not is_video:
                start += STILL_SECONDS
        if is_video:
            start = ends + 1 / MOST_RATE


def _video_shots(file: str, sights: Sequence[Match], around: float) -> Iterator[_Shot]:
    times = read_clock(file).times
    numbers = [number for number in map(_number_of, sights) if number < len(times)]
    if not numbers:
        raise ImageError(
            f"{file} has {len(times)} frames, fewer than when it was indexed; index it again"
        )
    seen = np.array([times[number] for number in numbers])
    boxes = np.array([sight.box_xyxy for sight in sights[: len(numbers)]])
    wanted, last = [], -np.inf
    for number, time in enumerate(times):
        is_near = seen[0] - around <= time <= seen[-1] + around
        # Sights are always shown, whatever lies between them.
        if is_near and (time - last >= 1 / MOST_RATE - _NEARLY or number in numbers):
            wanted.append(number)
            last = time
    for number, pixels in decode_frames(file, wanted):
        time = times[number]
        is_seen = seen[0] <= time <= seen[-1]
        box = _box_at(time, seen, boxes) if is_seen else None
        yield _Shot(f"{file}#frame={number}", time - times[wanted[0]], pixels, box)


def _box_at(time: float, seen: np.ndarray, boxes: np.ndarray) -> Box:
    x1, y1, x2, y2 = (float(np.interp(time, seen, side)) for side in boxes.T)
    return x1, y1, x2, y2


def _still_shot(sight: Match) -> _Shot:
    return _Shot(sight.image, 0.0, read_image(sight.image), sight.box_xyxy)


def _file_of(sight: Match) -> tuple[str, bool]:
    file, number = split_frame_name(sight.image)
    return ("", False) if number is None else (file, True)


def _number_of(sight: Match) -> int:
    return split_frame_name(sight.image)[1] or 0


def _clip_size(picture: np.ndarray) -> tuple[int, int]:
    """Return width and height of a clip, even, as the encoder needs them."""
    height, width = picture.shape[:2]
    scale = min(1.0, MAX_SIDE / max(width, height))
    return max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)


def _draw(shot: _Shot, size: tuple[int, int]) -> np.ndarray:
    """Return a picture of the clip's size, (H, W, 3): one of other sides gets a dark border."""
    picture = Image.fromarray(shot.picture)
    scale = min(size[0] / picture.width, size[1] / picture.height)
    fitting = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    drawn = (
        picture.resize(fitting, Image.Resampling.BILINEAR) if fitting != picture.size else picture
    )
    if shot.box is not None:
        drawn = outline_person(drawn, [side * scale for side in shot.box])
    if fitting != size:
        whole = Image.new("RGB", size, HALO)
        whole.paste(drawn, ((size[0] - fitting[0]) // 2, (size[1] - fitting[1]) // 2))
        drawn = whole
    return np.asarray(drawn)
