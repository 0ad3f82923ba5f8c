"""Videos to try things on."""

from fractions import Fraction

import av
import numpy as np


def write_video(path, pictures, rate, aspect=None):
    """Write pictures (H, W, 3) RGB as H.264 frame by frame; the aspect is that of a pixel."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate), options={"crf": "12"})
        stream.height, stream.width = (side // 2 * 2 for side in pictures[0].shape[:2])
        stream.pix_fmt = "yuv420p"
        if aspect is not None:
            stream.sample_aspect_ratio = Fraction(*aspect)
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


NUM_BITS = 10


def numbered(number, size=(96, 160)):
    """A frame that shows its number: a white or black square for each bit, on moving grey."""
    image = np.full((*size, 3), 60 + 5 * (number % 20), np.uint8)
    for bit in range(NUM_BITS):
        image[20:60, 4 + 15 * bit : 16 + 15 * bit] = 255 if number >> bit & 1 else 0
    return image


def number_of(image):
    """Read the number off again; compression moves the values by far less than half."""
    bits = [image[40, 10 + 15 * bit].mean() > 127 for bit in range(NUM_BITS)]
    return sum(1 << place for place, is_set in enumerate(bits) if is_set)


def write_coded(
    path, codec, kind=None, size=(96, 160), aspect=None, number=12, options=None, *,
    first=0, start=0, rate=10, pixels="yuv420p", muxing=None
):  # fmt: skip
    """Write numbered frames, 10 a second, by a named encoder into a named container.

    They begin with the number ``first``, and at the time of the frame ``start``.
    """
    with av.open(str(path), "w", format=kind, options=muxing or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {"g": "5"})
        stream.height, stream.width = size
        stream.pix_fmt = pixels
        if aspect is not None:
            stream.sample_aspect_ratio = aspect
        for n in range(number):
            frame = av.VideoFrame.from_ndarray(numbered(first + n, size), format="rgb24")
            frame.pts, frame.time_base = start + n, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
