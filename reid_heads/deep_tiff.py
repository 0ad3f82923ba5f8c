"""TIFF pictures that Pillow does not read, or does not read right.

These are colour of more than 8 bits a channel, grey of 10, 12 or 14 bits, grey of more than 8 bits
whose zero is white, float64, and those larger than 4 GB can be (BigTIFF) of these kinds.

Letters: H, W height and width in original pixels, C channels.
"""

from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from PIL import TiffImagePlugin

_WIDTH, _HEIGHT, _BITS, _ZERO_IS, _ORIENTATION = 256, 257, 258, 262, 274
_CHANNELS, _FORMAT = 277, 339
_HEADS = (b"II*\0", b"MM\0*", b"II+\0")
_WHITE = 0
"""Of `_ZERO_IS`."""
_UNSIGNED = 1
"""Of `_FORMAT`."""
_FORMATS = {_UNSIGNED: "", 2: " (signed)", 3: " (float)"}


@dataclass(frozen=True)
class TiffHead:
    """What a TIFF file says of its first picture."""

    width: int
    """Pixels as stored, and so is the height."""
    height: int
    turn: int
    """Orientation as in EXIF, 1..8."""
    bits: int
    """Of a channel."""
    channels: int
    format: int
    zero_is_white: bool

    @property
    def is_misread(self) -> bool:
        """Whether Pillow takes it for another picture than it is."""
        is_inverted = self.zero_is_white and self.bits > 8
        is_packed = self.bits in (10, 12, 14) and self.format == _UNSIGNED
        return self.channels == 1 and (is_inverted or is_packed)

    def describe_unread(self) -> str | None:
        """Say what kind of picture it is and what to do; None of a kind that is read."""
        if self.bits in (8, 16) and self.channels in (1, 3, 4) and self.format == _UNSIGNED:
            return None
        channels = f"{self.channels} channel{'s' if self.channels > 1 else ''}"
        return (
            f"a TIFF picture of {channels} of {self.bits} bits{_FORMATS.get(self.format, '')}: "
            "save it with 1 or 3 channels of 8 or 16 bits"
        )


def read_tiff_head(data: bytes) -> TiffHead | None:
    """Read what a TIFF file says of its picture, without the pixels.

    Args:
        data: the file's content, or as much of it as holds its directory.

    Returns:
        None if this is no TIFF, or one without a size.
    """
    if data[:4] not in _HEADS:
        return None
    file = BytesIO(data)
    try:
        # BigTIFF has a longer one.
        directory = TiffImagePlugin.ImageFileDirectory_v2(file.read(16 if data[2:3] == b"+" else 8))
        file.seek(directory.next)
        directory.load(file)
        bits, formats = directory.get(_BITS, (1,)), directory.get(_FORMAT, (_UNSIGNED,))
        return TiffHead(
            int(directory[_WIDTH]),
            int(directory[_HEIGHT]),
            int(directory.get(_ORIENTATION, 1)),
            int(bits[0]),
            int(directory.get(_CHANNELS, 1)),
            int(formats[0]),
            int(directory.get(_ZERO_IS, 1)) == _WHITE,
        )
    # Damaged directories raise anything, as Pillow's other readers do.
    except Exception:
        return None


def decode_deep_tiff(data: bytes, head: TiffHead) -> np.ndarray | None:
    """Decode a TIFF picture, in colour or grey.

    Args:
        data: the file's content.
        head: what it says of its picture.

    Returns:
        (H, W, 1) of grey, (H, W, 3) of red, green, blue, or (H, W, 4) with the alpha, as stored and
        in the file's own depth, but 10, 12 and 14 bits scaled to 16; None if OpenCV cannot read it
        either, or it has other channels.
    """
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if pixels is None:
        return None
    stored = np.asarray(pixels).reshape(*pixels.shape[:2], -1)
    channels = stored.shape[2]
    # Grey with alpha comes as grey of 8 bits, whatever its alpha says.
    if channels != head.channels or channels not in (1, 3, 4):
        return None
    if stored.dtype == np.float64:
        return _in_order(stored).astype(np.float32)
    return _in_order(stored)


def _in_order(bgr: np.ndarray) -> np.ndarray:
    """Return (H, W, C) of OpenCV's order of channels in the usual one."""
    return bgr if bgr.shape[2] == 1 else bgr[:, :, [2, 1, 0, 3][: bgr.shape[2]]]
