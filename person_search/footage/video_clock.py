"""When each frame of a video is shown, and which packets it is decoded from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from person_search.footage.images import ImageError
from person_search.footage.square_pixels import NONE, Stretch
from person_search.footage.video_file import OpenVideo

if TYPE_CHECKING:
    import av

RAW_SUFFIXES = frozenset([".264", ".265", ".avc", ".h264", ".h265", ".hevc", ".m1v", ".m2v"])
"""Of files that hold the coded frames and nothing about them: what looks like timestamps there is
made up from a frame rate that FFmpeg assumes."""
AVI_SUFFIXES = frozenset((".avi", ".divx"))
"""Of files that keep their frames in the order of decoding and no times: where that is not the
order of showing, the timestamps are those of other frames."""
LONGEST_GAP = 3600.0
"""Seconds; where the timestamps jump by more, or back, as between recordings that were joined, the
second recording is taken to begin where the first ends."""

_SAME_TIME = 1e-4
"""Seconds within which two readings of a frame's timestamp agree: far below any frame's length."""
_NO_TIME = np.iinfo(np.int64).min


class Packets:
    """What is known of a video's packets, in the order of the file.

    Letters: P packets, N frames.
    """

    def __init__(
        self, pts: Sequence[int | None], dts: Sequence[int | None], keys: Sequence[int]
    ) -> None:
        """Take what was read.

        Args:
            pts: (P,) times of showing, in the stream's unit; None where there is none.
            dts: (P,) likewise of decoding.
            keys: places of those from which decoding can begin, ascending.
        """
        self.keys = np.array(keys, np.int64)
        self.numbers = np.full(len(pts), -1, np.int64)
        """(P,) number of the frame, -1 of what is not shown."""
        self.places = np.zeros(0, np.int64)
        """(N,) place of the last packet of each frame."""
        self._pts = np.array([_NO_TIME if time is None else time for time in pts], np.int64)
        self._dts = np.array([_NO_TIME if time is None else time for time in dts], np.int64)
        self._order = np.argsort(self._pts, kind="stable")

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.numbers)

    def number(self, order: Sequence[int], numbers: Sequence[int]) -> None:
        """Take the numbers of the frames, ascending, of the packets of some places."""
        self.numbers[order] = numbers
        self.places = np.zeros(numbers[-1] + 1 if numbers else 0, np.int64)
        np.maximum.at(self.places, numbers, order)

    def seek_time(self, place: int) -> int:
        """Return the time by which an index finds a packet; 0 where it has none."""
        time = self._dts[place] if self._dts[place] != _NO_TIME else self._pts[place]
        return 0 if time == _NO_TIME else int(time)

    def place_of(self, packet: "av.Packet[av.VideoStream]") -> int | None:
        """Return the place of a packet; None where none or several have its time."""
        if packet.pts is None:
            return None
        first, last = (
            int(np.searchsorted(self._pts, packet.pts, side, sorter=self._order))
            for side in ("left", "right")
        )
        return int(self._order[first]) if last - first == 1 else None


@dataclass(frozen=True)
class Run:
    """Packets that are decoded one after the other."""

    first: int
    """Place of the first one, from which decoding can begin."""
    last: int
    """Place of the one after the last."""
    numbers: list[int]
    """Of the frames that are wanted of it, ascending."""


@dataclass(frozen=True)
class VideoClock:
    """When each frame of a video is shown."""

    times: tuple[float, ...]
    """Seconds since the first frame; increasing; entry N belongs to frame N."""

    is_counted: bool
    """Whether the file carries no timestamps, so that frames are counted and the frame rate gives
    the times."""

    missing: float = 0.0
    """Seconds at the end that the file's head promises and the file does not hold; 0 if whole."""

    stretch: Stretch = NONE
    """How the frames are stretched, so that their pixels become square, before they are turned."""

    has_index: bool = True
    """Whether a time means one place of the file; not where recordings were joined."""

    mark: str = ""
    """What the hashes of its frames say beside the number: of a kind of file of which former
    versions read other frames by the same numbers."""

    packets: Packets = field(default_factory=lambda: Packets([], [], []), repr=False, compare=False)

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

    def runs(self, wanted: Sequence[int]) -> list[Run]:
        """Return what must be decoded for some frames.

        Args:
            wanted: numbers, ascending.

        Returns:
            Runs that do not touch, ascending.
        """
        runs: list[Run] = []
        for number in wanted:
            first = self._key_before(number)
            last = int(self.packets.places[number]) + 1
            if runs and first <= runs[-1].last:
                before = runs.pop()
                last = max(last, before.last)
                runs.append(Run(before.first, last, [*before.numbers, number]))
            else:
                runs.append(Run(first, last, [number]))
        return runs

    def _key_before(self, number: int) -> int:
        """Return the place of the packet from which a frame can be decoded."""
        numbers, keys = self.packets.numbers, self.packets.keys
        key = int(np.searchsorted(keys, self.packets.places[number], "right")) - 1
        # Frames that are decoded after a key frame and shown before it need the one before.
        while key > 0 and numbers[keys[key]] > number:
            key -= 1
        return int(keys[key]) if key > 0 else 0

    def begin_earlier(self, run: Run, num_keys: int) -> Run:
        """Return a run that begins some key frames before."""
        key = int(np.searchsorted(self.packets.keys, run.first, "left")) - num_keys
        return Run(int(self.packets.keys[key]) if key > 0 else 0, run.last, run.numbers)


def make_clock(file: str, video: OpenVideo) -> VideoClock:
    """Read all packets of an open video, of which none was read.

    Raises:
        ImageError: if it holds no frames, or has neither timestamps nor a frame rate.
    """
    pts: list[int | None] = []
    dts: list[int | None] = []
    keys: list[int] = []
    hidden: set[int] = set()
    for place, packet in enumerate(video.container.demux(video.stream)):
        pts.append(packet.pts)
        dts.append(packet.dts)
        if packet.is_keyframe:
            keys.append(place)
        # Those before the beginning of a film that was cut are decoded, and not shown.
        if packet.is_discard or not packet.size:
            hidden.add(place)
    packets = Packets(pts, dts, keys)
    shown = [place for place in range(len(pts)) if place not in hidden]
    if not shown:
        raise ImageError(f"{file} holds no video frames")
    seconds, is_joined = _unroll(pts, dts, video.unit)
    times, numbers, order = _number(seconds, shown)
    packets.number(order, numbers)
    is_raw = Path(file).suffix.lower() in RAW_SUFFIXES
    is_counted = is_raw or _is_in_order_of_decoding(file, video) or len(times) < len(shown) / 2
    if is_counted:
        if video.rate is None:
            raise ImageError(
                f"{file} has neither timestamps nor a frame rate; write it anew, for example "
                "ffmpeg -i IN -r 25 OUT.mp4"
            )
        times = [number / video.rate for number in range(len(shown))]
    is_program_stream = video.container.format.name == "mpeg"
    return VideoClock(
        tuple(times),
        is_counted,
        # What the head says is not of both.
        0.0 if is_raw or is_joined else _missing(times, video),
        video.stretch,
        has_index=not is_joined,
        mark="#joined" if is_joined else "#program stream" if is_program_stream else "",
        packets=packets,
    )


def _is_in_order_of_decoding(file: str, video: OpenVideo) -> bool:
    return Path(file).suffix.lower() in AVI_SUFFIXES and video.codec.has_b_frames


def _unroll(
    pts: Sequence[int | None], dts: Sequence[int | None], unit: float
) -> tuple[list[float | None], bool]:
    """Return when each packet is shown, in seconds, and whether recordings were joined.

    None where that is unknown.
    """
    shift, last, step = 0.0, None, 0.0
    is_joined = False
    seconds: list[float | None] = []
    for shown, decoded in zip(pts, dts, strict=True):
        if decoded is not None:
            time = decoded * unit + shift
            if last is not None and not -_SAME_TIME <= time - last <= LONGEST_GAP:
                shift += last + step - time
                time, is_joined = last + step, True
            if last is not None and time > last:
                step = time - last
            last = time
        seconds.append(None if shown is None else shown * unit + shift)
    return seconds, is_joined


def _number(
    seconds: Sequence[float | None], shown: Sequence[int]
) -> tuple[list[float], list[int], list[int]]:
    """Number packets in the order of showing; those of one time are of one frame.

    Returns:
        The frames' times from 0; for each packet with a time the number of its frame, ascending,
        and its place.
    """
    timed = sorted((time, place) for place in shown if (time := seconds[place]) is not None)
    times: list[float] = []
    numbers: list[int] = []
    for time, _ in timed:
        since = time - timed[0][0]
        if not times or since > times[-1] + _SAME_TIME:
            times.append(since)
        numbers.append(len(times) - 1)
    return times, numbers, [place for _, place in timed]


def _missing(times: Sequence[float], video: OpenVideo) -> float:
    """Return how many seconds are missing at the end.

    Only time and number of the head both being far off say that something is missing: with a
    variable rate the number alone is a guess, with a longer sound track the time is.
    """
    seconds, rate = video.seconds, video.rate
    if not seconds or rate is None or len(times) >= 0.9 * seconds * rate:
        return 0.0
    return seconds - times[-1] if times[-1] < 0.9 * seconds - 1 / rate else 0.0
