"""The pixels of a decoded frame, as they are shown."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

import cv2
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
        pixels = _to_rgb(frame)
        if frame.interlaced_frame:
            pixels = take_first_field(pixels, _first_field(frame))
    except (ValueError, OSError):
        return None
    return turn(make_square(pixels, stretch), _matrix_of(frame))


def take_first_field(pixels: np.ndarray, field: np.ndarray | None = None) -> np.ndarray:
    """Show one moment of an interlaced frame, whose two fields were taken one after the other.

    Whoever moves is frayed in such a frame, and looks like somebody else to a network.

    Args:
        pixels: (H, W, 3) uint8, both fields.
        field: (H / 2, W, 3) uint8, the first one, where its colours are better known; else the even
            rows of the frame are taken.

    Returns:
        (H, W, 3) uint8: the rows of the first field; those between are interpolated.
    """
    if field is None:
        field = np.ascontiguousarray(pixels[::2])
    shown = np.empty_like(pixels)
    shown[::2] = field
    between = shown[1::2]
    # Below the last row of the field there is none.
    between[-1] = field[-1]
    between[: len(field) - 1] = cv2.addWeighted(field[:-1], 0.5, field[1:], 0.5, 0.0)
    return shown


def _first_field(frame: "av.VideoFrame") -> np.ndarray | None:
    """Return the first field of a frame in RGB; None where its rows are those of the frame.

    With colours for every second row only, the rows of colours belong to the fields in turn.
    """
    import av

    height, width = frame.height, frame.width
    if frame.format.name not in ("yuv420p", "yuvj420p") or height % 4 or width % 2:
        return None
    rows = frame.to_ndarray()
    planes = [rows[:height], *rows[height:].reshape(2, height // 2, width // 2)]
    coded = np.concatenate([plane[::2].ravel() for plane in planes])
    field = av.VideoFrame.from_ndarray(coded.reshape(-1, width), format=frame.format.name)
    field.colorspace, field.color_range = frame.colorspace, frame.color_range
    return _to_rgb(field)


def _to_rgb(frame: "av.VideoFrame") -> np.ndarray:
    return frame.to_ndarray(format="rgb24", src_color_range=frame.color_range)


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
