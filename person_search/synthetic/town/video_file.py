"""Write frames as an H.264 video that browsers play, the same bytes each time."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

_OPTIONS = {"preset": "ultrafast", "crf": "27", "g": "20"}
"""Quick, since encoding takes as long as drawing; a player can start at every 20th frame."""


def write_video(path: Path, images: Iterable[np.ndarray], rate: int) -> int:
    """Encode a video.

    One thread encodes, and nothing of the time or the libraries' versions but x264's own note goes
    into the file: the same pictures give the same bytes with the same PyAV.

    Args:
        path: an ``.mp4`` file to make.
        images: (H, W, 3) uint8 BGR each, all of one size with even sides.
        rate: frames a second.

    Returns:
        The number of frames.

    Raises:
        OSError: the file cannot be written.
        ValueError: there are no images.
    """
    # Not at import: whoever draws no video does without it.
    import av

    count = 0
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with av.open(str(path), "w", format="mp4", options=options) as file:
        stream = None
        for image in images:
            if stream is None:
                stream = file.add_stream("libx264", rate=rate, options=_OPTIONS)
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.time_base = Fraction(1, rate)
                stream.codec_context.thread_count = 1
            planes = cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = count, Fraction(1, rate)
            file.mux(stream.encode(frame))
            count += 1
        if stream is None:
            raise ValueError(f"no pictures for {path}; a video needs at least one")
        file.mux(stream.encode())
    return count
