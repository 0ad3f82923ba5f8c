"""TIFF pictures in colour of more than 8 bits a channel, which Pillow does not read.

Letters: H, W height and width in original pixels, C channels.
"""

from io import BytesIO

import cv2
import numpy as np
from PIL import TiffImagePlugin

_WIDTH, _HEIGHT, _ORIENTATION = 256, 257, 274
_HEADS = (b"II*\0", b"MM\0*")


def read_tiff_head(data: bytes) -> tuple[int, int, int] | None:
    """Read the size of a TIFF picture without its pixels.

    Args:
        data: the file's content, or as much of it as holds its directory.

    Returns:
        Width and height in pixels as stored, and the orientation, 1..8; None if this is no TIFF, or
        one without a size.
    """
    if data[:4] not in _HEADS:
        return None
    file = BytesIO(data)
    directory = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
    try:
        file.seek(directory.next)
        directory.load(file)
        turn = directory.get(_ORIENTATION, 1)
        return int(directory[_WIDTH]), int(directory[_HEIGHT]), int(turn)
    # Damaged directories raise anything, as Pillow's other readers do.
    except Exception:
        return None


def decode_deep_tiff(data: bytes) -> np.ndarray | None:
    """Decode a TIFF picture in colour.

    Returns:
        (H, W, 3) of red, green, blue or (H, W, 4) with the alpha, as stored and in the file's own
        depth; None if OpenCV cannot read it either, or it has other channels.
    """
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if pixels is None or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        return None
    order = cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA
    if pixels.dtype == np.float64:
        pixels = pixels.astype(np.float32)
    return np.asarray(cv2.cvtColor(pixels, order))
