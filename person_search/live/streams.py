"""Read a stream or a webcam, frame by frame, until it ends or is lost.

Letters: H, W height and width of a frame in pixels.

PyAV reads streams: its timeouts end a connection that stalls, where OpenCV waits for ever.
"""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import av
import cv2
import numpy as np

from person_search.footage.images import MAX_PIXELS
from person_search.footage.square_pixels import NONE, stretch_of
from person_search.footage.video_picture import to_picture
from person_search.live.clock import Clock
from person_search.live.sources import Source

# A stream may name further addresses; files of this machine are none of its business.
_OPTIONS = {
    "rtsp_transport": "tcp",
    "protocol_whitelist": "http,https,httpproxy,tcp,tls,rtsp,rtsps,rtp,udp,crypto",
}
_TRANSPORT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}


@dataclass(frozen=True)
class Shot:
    """A frame of a live source."""

    time: float
    """When it came, seconds since 1970 (UTC)."""

    pixels: np.ndarray
    """(H, W, 3) uint8 RGB."""


class LostError(Exception):
    """A source that cannot be read now; the message says why, without a password."""


def read_shots(
    source: Source, stop: threading.Event, clock: Clock, *, every: float, timeout: float
) -> Iterator[Shot]:
    """Read a stream or a webcam.

    Args:
        source: No folder.
        stop: Set to end it; that takes as long as the next frame, at most ``timeout``.
        clock: Gives the frames their times.
        every: Seconds between two frames; those in between are left out.
        timeout: Seconds to wait for a connection, and for a frame.

    Yields:
        Frames as they come. A video file at an address is played at its own speed, and ends.

    Raises:
        LostError: If it cannot be opened, stalls, or ends as no file does.
    """
    read = _read_webcam if source.kind == "webcam" else _read_stream
    yield from read(source, stop, clock, _Sampling(every), timeout)


class _Sampling:
    """Chooses which frames are taken."""

    def __init__(self, every: float) -> None:
        self._every, self._next = every, -1.0

    def is_due(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        # In step with the first one, so that a rate that is no multiple is kept on average.
        self._next = max(self._next + self._every, now) if self._next >= 0 else now + self._every
        return True


def _read_stream(
    source: Source, stop: threading.Event, clock: Clock, sampling: _Sampling, timeout: float
) -> Iterator[Shot]:
    _check_host(source.address)
    try:
        with av.open(
            source.address, timeout=(timeout, timeout), options=_OPTIONS, metadata_errors="replace"
        ) as container:
            if not container.streams.video:
                raise LostError("it carries no video")
            is_file = bool(container.duration and container.duration > 0)
            yield from _decode(container, is_file, stop, clock, sampling, timeout)
    except av.error.ExitError:
        raise LostError(f"it has stalled: nothing came for {timeout:g} s") from None
    except (av.error.FFmpegError, OSError) as error:
        raise LostError(_explain(error)) from None
    if not (is_file or stop.is_set()):
        raise LostError("it was closed by the other side")


def _decode(
    container: "av.container.InputContainer",
    is_file: bool,
    stop: threading.Event,
    clock: Clock,
    sampling: _Sampling,
    timeout: float,
) -> Iterator[Shot]:
    video, started, last = container.streams.video[0], None, time.monotonic()
    shape = video.sample_aspect_ratio
    stretch = stretch_of(shape.numerator, shape.denominator) if shape else NONE
    # All packets, as those of a sound track alone would let the video's absence go unnoticed.
    for packet in container.demux():
        frames = _decode_packet(packet) if packet.stream is video else []
        for frame in frames:
            last = time.monotonic()
            if is_file and frame.time is not None:
                started = last - frame.time if started is None else started
                stop.wait(max(0.0, started + frame.time - last))
            if stop.is_set():
                return
            if frame.width * frame.height > MAX_PIXELS:
                raise LostError(f"its pictures of {frame.width} x {frame.height} are too large")
            if sampling.is_due():
                pixels = to_picture(frame, stretch)
                if pixels is not None:
                    yield Shot(clock.now(), pixels)
                last = time.monotonic()
        if stop.is_set():
            return
        if time.monotonic() - last > timeout:
            raise LostError(f"it sends data, but no picture for {timeout:g} s")


def _decode_packet(packet: "av.packet.Packet[av.stream.Stream]") -> "list[av.VideoFrame]":
    try:
        return [frame for frame in packet.decode() if isinstance(frame, av.VideoFrame)]
    # Damaged on its way; the next key frame is whole again.
    except av.error.InvalidDataError:
        return []


def _read_webcam(
    source: Source, stop: threading.Event, clock: Clock, sampling: _Sampling, timeout: float
) -> Iterator[Shot]:
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        capture = cv2.VideoCapture(int(source.address))
    finally:
        cv2.utils.logging.setLogLevel(level)
    try:
        if not capture.isOpened():
            raise LostError(
                "it cannot be opened: there is none of this number, another program uses it, or "
                "you may not"
            )
        while not stop.is_set():
            if not capture.grab():
                raise LostError("it gives no more pictures; it may have been unplugged")
            if sampling.is_due():
                is_read, bgr = capture.retrieve()
                if is_read and bgr is not None and bgr.size:
                    yield Shot(clock.now(), np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)))
    except cv2.error as error:
        raise LostError(f"OpenCV cannot read it: {error}") from None
    finally:
        capture.release()


def _check_host(address: str) -> None:
    """Look the host up: FFmpeg calls an unknown one an input/output error."""
    parts = urlsplit(address)
    port = parts.port or _TRANSPORT_PORTS[parts.scheme.lower()]
    try:
        socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise LostError(f"there is no host {parts.hostname}, or no network") from None


def _explain(error: Exception) -> str:
    """Say what an error means; its own text has the address with the password."""
    if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
        return "user or password is missing or wrong"
    if isinstance(error, av.error.HTTPNotFoundError):
        return "the server has nothing at this address"
    if isinstance(error, av.error.InvalidDataError):
        return "what comes is no video"
    if isinstance(error, ConnectionRefusedError):
        return "nothing answers there (connection refused)"
    if isinstance(error, av.error.EOFError):
        return "it was closed by the other side"
    text = getattr(error, "strerror", None) or type(error).__name__
    hint = ", as where it is no video, or was closed" if "nput/output" in text else ""
    return f"{text}{hint}"
