"""Decode the wanted frames of a video, and as little else as can be."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import chain
from typing import TYPE_CHECKING, cast

from person_search.footage.video_clock import Run, VideoClock
from person_search.footage.video_file import open_video

if TYPE_CHECKING:
    import av

_FAR = 250
"""Packets ahead of the next one from which a video's index is asked; nearer ones are read over."""
_KEYS_BACK = 2
"""Where a key frame proves to be none, or something is damaged, decoding begins so many before."""
_PREDICTED = frozenset((2, 3, 4, 6))
"""FFmpeg's kinds of frames that are decoded from others: P, B, S, SP."""


def decode(
    file: str, clock: VideoClock, wanted: Sequence[int]
) -> "Generator[tuple[int, av.VideoFrame]]":
    """Decode frames of a video.

    Args:
        file: the video.
        clock: of it.
        wanted: numbers of frames that it has, ascending.

    Yields:
        Number and frame, in order; those that cannot be decoded are left out.

    Raises:
        ImageError: if the video cannot be read.
    """
    if not wanted:
        return
    if clock.is_counted:
        run = Run(0, len(clock.packets), list(wanted))
        yield from _decode_carefully(file, clock, run, run.numbers)
        return
    with _Reader(file, clock) as reader:
        for run in clock.runs(wanted):
            left = list(run.numbers)
            is_sound = run.first == 0
            with closing(reader.decode(run, is_quick=True)) as frames:
                for number, frame in frames:
                    if frame.opaque == [run.first]:
                        is_sound |= frame.pict_type not in _PREDICTED
                    if number not in left:
                        continue
                    if number != left[0] or frame.is_corrupt or not is_sound:
                        break
                    yield number, frame
                    left = left[1:]
                    if not left:
                        break
            if left:
                yield from _decode_carefully(
                    file, clock, clock.begin_earlier(run, _KEYS_BACK), left
                )


def _decode_carefully(
    file: str, clock: VideoClock, run: Run, wanted: Sequence[int]
) -> "Generator[tuple[int, av.VideoFrame]]":
    """Decode all of a run, and take the wanted frames as they come, damaged or not."""
    # With threads for frames, PyAV loses whole ones beside a damaged one.
    with _Reader(file, clock, has_frame_threads=False) as reader:
        for count, (number, frame) in enumerate(reader.decode(run)):
            if clock.is_counted:
                number = count
            if number in wanted:
                yield number, frame
            if clock.is_counted and number >= wanted[-1]:
                return


class _Reader:
    """Goes through the packets of a video once, and decodes some."""

    def __init__(self, file: str, clock: VideoClock, *, has_frame_threads: bool = True):
        self._file, self._clock, self._has_frame_threads = file, clock, has_frame_threads
        self._may_seek = clock.has_index
        self._stack = ExitStack()
        self._open()

    def __enter__(self) -> "_Reader":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _open(self) -> None:
        """Begin at the start."""
        self._stack.close()
        opened = open_video(self._file, has_frame_threads=self._has_frame_threads)
        self._video = self._stack.enter_context(opened)
        packets = self._video.container.demux(self._video.stream)
        self._packets: Iterator[av.Packet[av.VideoStream]] = packets
        self._place = 0
        """Of the next packet."""

    def decode(self, run: Run, is_quick: bool = False) -> "Generator[tuple[int, av.VideoFrame]]":
        """Decode a run that begins after the one before.

        Args:
            run: what is decoded.
            is_quick: whether frames that are not wanted, and that no other needs, are left out.

        Yields:
            Frames with their numbers, -1 of those that are not shown.
        """
        if self._may_seek and run.first > self._place + _FAR:
            self._seek(run.first)
        video, numbers = self._video, self._clock.packets.numbers
        wanted = frozenset(run.numbers)
        try:
            for packet in self._packets:
                place, self._place = self._place, self._place + 1
                if packet.size and place >= run.first:
                    # PyAV keeps it by its id: a number of its own would be that of others, too.
                    packet.opaque = [place]
                    needs_all = not is_quick or int(numbers[place]) in wanted
                    video.codec.skip_frame = "DEFAULT" if needs_all else "NONREF"
                    yield from self._with_numbers(video.decode(packet))
                if self._place >= run.last:
                    break
            yield from self._with_numbers(video.decode(None))
        finally:
            video.codec.flush_buffers()

    def _with_numbers(
        self, frames: "Sequence[av.VideoFrame]"
    ) -> "Generator[tuple[int, av.VideoFrame]]":
        for frame in frames:
            (place,) = cast("list[int]", frame.opaque)
            yield int(self._clock.packets.numbers[place]), frame

    def _seek(self, first: int) -> None:
        """Go to a packet, or to one before it; where the index leads astray, to the start."""
        video, known = self._video, self._clock.packets
        video.container.seek(known.seek_time(first), stream=video.stream)
        self._packets = video.container.demux(video.stream)
        for packet in self._packets:
            place = known.place_of(packet)
            if place is None:
                continue
            if place > first:
                break
            self._packets, self._place = chain([packet], self._packets), place
            return
        self._may_seek = False
        self._open()
