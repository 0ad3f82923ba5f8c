"""Videos to try things on."""

from fractions import Fraction

import av


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
