"""Small JPEG pictures for the page, cut freshly from the frames.

The browser gets pixels, never a file's path: what it can see is what a search returned.
"""

import base64
import logging
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from person_search.cases.blur import Blur, Hidden
from person_search.drawing.rankings import MATCH_COLOR, crop_around
from person_search.footage.frames import read_frame, split_frame_name
from person_search.people import Box, Match

logger = logging.getLogger(__name__)

PERSON_SIZE = (216, 288)
"""Width and height of the picture of a person, pixels: twice what the page shows."""
CARD_FRAME_WIDTH = 360
LARGE_SIDE = 1600
"""Longest side of a frame shown large, pixels."""
STAGE_SIDE = 1400
"""Longest side of the visitor's own picture, pixels."""
JPEG_QUALITY = 82
MISSING = "data:image/svg+xml;base64," + base64.b64encode(
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 216 288" width="216" height="288">'
    b'<rect width="216" height="288" fill="#8884"/><path d="M78 114l60 60m0-60l-60 60" '
    b'stroke="#888" stroke-width="6"/></svg>'
).decode("ascii")
"""What is shown for a frame that cannot be read any more."""


def to_data_uri(image: Image.Image) -> str:
    """Write a picture as a JPEG inside an address, which needs no file on the server."""
    stream = BytesIO()
    image.save(stream, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def show_whole(image: np.ndarray, side: int = STAGE_SIDE) -> str:
    """Return a picture of at most ``side`` pixels as an address."""
    return to_data_uri(_reduce(Image.fromarray(image), side))


def show_person(image: np.ndarray, box: Box) -> str:
    """Return the picture of one person as an address.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: in its pixels.
    """
    return to_data_uri(crop_around(Image.fromarray(image), box, PERSON_SIZE))


def show_match(match: Match, blur: Blur | None = None) -> tuple[str, str]:
    """Return a match's person and its small frame with the box, as addresses.

    A frame that is gone or damaged since it was indexed, or that cannot be blurred, gives `MISSING`
    twice.

    Args:
        match: Of the gallery.
        blur: Hides others; None shows everybody.
    """
    try:
        hidden = None if blur is None else blur.hidden(match)
        return _cut_match(match.image, match.box_xyxy, _version(match.image), hidden)
    except (OSError, ValueError) as error:
        logger.warning("cannot show a match: %s", error)
        return MISSING, MISSING


def show_frame(match: Match, blur: Blur | None = None) -> str:
    """Return a match's whole frame, large, with the person's box, as an address.

    Raises:
        GalleryError: It cannot be blurred.
        ImageError: the frame is damaged.
        OSError: the frame is gone.
    """
    frame = _read(match.image, match.box_xyxy, None if blur is None else blur.hidden(match))
    return to_data_uri(_with_box(frame, match, LARGE_SIDE, 5))


def _read(name: str, box: Box, hidden: Hidden | None) -> Image.Image:
    pixels = read_frame(name)
    return Image.fromarray(pixels if hidden is None else hidden.blur(pixels, box))


def _version(name: str) -> int:
    """Say which version of a file a picture was cut from, so that a changed one is read again."""
    return Path(split_frame_name(name)[0]).stat().st_mtime_ns


# 2,000 pictures are about 60 MB; a search that repeats with another filter is then immediate.
@lru_cache(maxsize=2000)
def _cut_match(name: str, box: Box, version: int, hidden: Hidden | None) -> tuple[str, str]:
    frame = _read(name, box, hidden)
    match = Match(name, box, 0.0, 0.0)
    small = _with_box(frame, match, CARD_FRAME_WIDTH, 3)
    return to_data_uri(crop_around(frame, box, PERSON_SIZE)), to_data_uri(small)


def forget_pictures() -> None:
    """Forget the pictures that were cut: people whom they show may have been removed."""
    _cut_match.cache_clear()


def _with_box(frame: Image.Image, match: Match, side: int, width: int) -> Image.Image:
    small = _reduce(frame, side).copy()
    width = min(
        width, max(2, small.width // 300)
    )  # on a small picture the line would be the person
    scale = small.width / frame.width
    x1, y1, x2, y2 = (v * scale for v in match.box_xyxy)
    draw = ImageDraw.Draw(small)
    # A dark line outside keeps the box visible on a bright wall.
    draw.rectangle(
        [x1 - width, y1 - width, x2 + width, y2 + width], outline=(20, 20, 20), width=width + 1
    )
    draw.rectangle(
        [x1 - width, y1 - width, x2 + width, y2 + width], outline=MATCH_COLOR, width=width
    )
    return small


def _reduce(image: Image.Image, side: int) -> Image.Image:
    scale = side / max(image.size)
    if scale >= 1:
        return image
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
