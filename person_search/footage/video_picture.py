"""The pixels of a decoded frame, as they are shown."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import numpy as np

from person_search.footage.square_pixels import Stretch, make_square

if TYPE_CHECKING:
    import av
    from av.sidedata.sidedata import SideData


def to_picture(frame: "av.VideoFrame", stretch: Stretch) -> np.ndarray | None:
    """Return the pixels of a frame, (H, W, 3) uint8 RGB; None where its format is unknown.

    Args:
        frame: as decoded.
        stretch: of its pixels, before it is turned.
    """
    try:
        pixels = frame.to_ndarray(format="rgb24", src_color_range=frame.color_range)
    except (ValueError, OSError):
        return None
    return turn(make_square(pixels, stretch), _matrix_of(frame))


def turn(pixels: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Turn and mirror a picture by right angles.

    Args:
        pixels: (H, W, 3).
        matrix: a, b, c, d: what is at (x, y) is shown at (a x + c y, b x + d y).

    Examples:
        >>> import numpy as np
        >>> turn(np.array([[1, 2], [3, 4]]), (0, 1, -1, 0)).tolist()
        [[3, 1], [4, 2]]
    """
    a, b, c, d = matrix
    if abs(b) > abs(a):
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    if a < 0:
        pixels = pixels[:, ::-1]
    if d < 0:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _matrix_of(frame: "av.VideoFrame") -> tuple[int, int, int, int]:
    # Its stubs say otherwise: what it iterates over are the notes.
    for note in cast("Iterable[SideData]", frame.side_data):
        if note.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = np.frombuffer(bytes(note), np.int32)[:5].tolist()
            return a, b, c, d
    return 1, 0, 0, 1
