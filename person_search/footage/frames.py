"""Gallery frames by their names: an image file, or one frame of a video."""

import re

import numpy as np

from person_search.footage.images import read_image, read_image_size
from person_search.footage.video import read_video_frame, read_video_size

_FRAME_NAME = re.compile(r"(?P<video>.+)#frame=(?P<number>\d+)", re.DOTALL)


def read_frame(name: str) -> np.ndarray:
    """Read a gallery frame by its name: an image file, or ``FILE#frame=N`` of a video.

    Args:
        name: as in `Match.image` and `Frame.name`.

    Returns:
        (H, W, 3) uint8, RGB: for a video exactly the frame that was indexed under this name.

    Raises:
        ImageError: if the file is broken or the video has no such frame.
        OSError: if the file does not exist or may not be read.
    """
    file, number = split_frame_name(name)
    if number is None:
        return read_image(file)
    return read_video_frame(file, number)


def read_frame_size(name: str) -> tuple[int, int]:
    """Read how large a gallery frame is, from the head of its file.

    Args:
        name: as in `Match.image` and `Frame.name`.

    Returns:
        Width and height in pixels, as `read_frame` gives it.

    Raises:
        ImageError: if the file is broken.
        OSError: if the file does not exist or may not be read.
    """
    file, number = split_frame_name(name)
    return read_image_size(file) if number is None else read_video_size(file)


def split_frame_name(name: str) -> tuple[str, int | None]:
    """Split a frame's name into its file and the number of the video frame, None for an image.

    Only the last ``#frame=N`` counts, so the file's own name may hold a ``#``.

    Examples:
        >>> split_frame_name("/footage/clip.mp4#frame=50")
        ('/footage/clip.mp4', 50)
        >>> split_frame_name("/footage/a#1.jpg")
        ('/footage/a#1.jpg', None)
    """
    found = _FRAME_NAME.fullmatch(name)
    return (found["video"], int(found["number"])) if found else (name, None)
