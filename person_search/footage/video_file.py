"""Open a video: its moving stream, and the decoder of that."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from person_search.footage.images import ImageError
from person_search.footage.square_pixels import NONE, Stretch, stretch_of

if TYPE_CHECKING:
    import av

_OPTIONS = {"protocol_whitelist": "file"}
"""A video may name further files, as playlists do; other machines are none of its business."""


@dataclass(frozen=True)
class OpenVideo:
    """A video that is open."""

    container: "av.container.InputContainer"
    stream: "av.VideoStream"

    @property
    def codec(self) -> "av.VideoCodecContext":
        """The decoder."""
        return self.stream.codec_context

    @property
    def unit(self) -> float:
        """Seconds of a step of its timestamps."""
        return float(self.stream.time_base or 1)

    @property
    def rate(self) -> float | None:
        """Frames per second as the head says or the first frames suggest; None if unknown."""
        rate = self.stream.guessed_rate
        return float(rate) if rate else None

    @property
    def seconds(self) -> float | None:
        """How long it is as its head says; None if it does not."""
        # What FFmpeg says of a cut AVI is guessed from the size of the file.
        if self.container.format.name == "avi" and self.stream.frames and self.rate:
            return self.stream.frames / self.rate
        if self.stream.duration:
            return self.stream.duration * self.unit
        if not self.container.duration:
            return None
        seconds = self.container.duration / 1e6
        # That one is the time of the end.
        if "matroska" in self.container.format.name:
            seconds -= max(self.container.start_time or 0, 0) / 1e6
        return seconds

    @property
    def stretch(self) -> Stretch:
        """How its frames are stretched before they are turned."""
        shape = self.stream.sample_aspect_ratio
        return stretch_of(shape.numerator, shape.denominator) if shape else NONE

    def decode(self, packet: "av.Packet[av.VideoStream] | None") -> "list[av.VideoFrame]":
        """Decode a packet; None: what the decoder still holds. Nothing of a damaged one."""
        import av

        try:
            return self.codec.decode(packet)
        except (av.error.FFmpegError, ValueError):
            return []


@contextmanager
def open_video(file: str, *, has_frame_threads: bool = True) -> Iterator[OpenVideo]:
    """Open a video.

    Args:
        file: the video.
        has_frame_threads: whether several frames may be decoded at once.

    Raises:
        ImageError: if it is none, or is damaged.
    """
    # Slow to import, which pictures are spared.
    import av
    from av.stream import Discard

    try:
        container = av.open(os.path.abspath(file), options=_OPTIONS, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        raise ImageError(f"{file} is not a video, or is cut off or damaged at its head") from error
    with container:
        stream = _choose_stream(container)
        if stream is None:
            raise ImageError(f"{file} holds no video frames, but maybe sound")
        # Of the others, nothing is read.
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        stream.thread_type = "AUTO" if has_frame_threads else "SLICE"
        # A frame tells which packet it comes of.
        stream.codec_context.copy_opaque = True
        try:
            yield OpenVideo(container, stream)
        except av.error.FFmpegError as error:
            raise ImageError(f"{file} is damaged: {error.strerror}") from error


def _choose_stream(container: "av.container.InputContainer") -> "av.VideoStream | None":
    """Return the stream to be shown: neither cover nor still and, of films, FFmpeg's choice."""
    from av.stream import Disposition

    still = Disposition.attached_pic | Disposition.still_image
    streams = [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None and not stream.disposition & still
    ]
    # Not every still says so.
    streams = [stream for stream in streams if stream.frames != 1] or streams
    best = container.streams.best("video")
    return best if best in streams else next(iter(streams), None)


def guess_num_samples(video: OpenVideo, every: float) -> int | None:
    """Guess how many frames are sampled every so many seconds; None where the head says nothing."""
    seconds, rate = video.seconds, video.rate
    if not seconds or not rate:
        return None
    count = video.stream.frames or round(seconds * rate)
    return max(1, min(count, math.ceil(count / rate / every)))
