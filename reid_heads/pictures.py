"""Read pictures of every usual kind as RGB uint8 arrays, and refuse what is not a picture.

Whatever looks at a picture, a gallery, training on frames, crops or faces, reads it here: a file
means the same pixels everywhere.

Letters: H, W height and width in original pixels, after the rotation that the file's EXIF asks for.
"""

import importlib
import re
from functools import cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from reid_heads.deep_tiff import TiffHead, decode_deep_tiff, read_tiff_head
from reid_heads.file_kinds import name_kind
from reid_heads.picture_kinds import is_known_picture, name_other_picture

MAX_PIXELS = 100_000_000
"""Largest width x height that is decoded: 300 MB as an array. Larger ones are bombs or mistakes."""
MAX_FILE_BYTES = 1_000_000_000
"""Largest picture file that is read."""
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF", "HEIF")
"""Pillow's names of the formats read. Not all it knows: EPS for one starts another program. HEIF,
as iPhones write it, needs the package pillow-heif."""
HEIF_SUFFIXES = frozenset((".heic", ".heif"))
_KINDS = "jpg jpeg jpe jfif mpo png apng bmp dib gif webp tif tiff ppm pgm pbm pnm jp2 j2k avif"
IMAGE_SUFFIXES = HEIF_SUFFIXES | frozenset(f".{kind}" for kind in _KINDS.split())
"""How the names of picture files end, in small letters, wherever folders are listed."""
ORIENTATION = 0x0112
"""EXIF tag."""

_LOW_BITS: dict[object, int] = {"L;2": 85, "L;4": 17}
"""Of grey PNG of 2 and 4 bits, as Pillow names them: what a step is in 8 bits."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")

ImageSource = str | Path | np.ndarray | Image.Image


class ImageError(ValueError):
    """A picture or video that cannot be read; the message says which and why."""


def read_image(source: ImageSource) -> np.ndarray:
    """Read a picture as RGB.

    The EXIF rotation is applied. Grey, palette, CMYK and 1-bit pictures become RGB, transparent
    ones are laid on white, 10 to 16 bits and float (0..1, 0..255 or 0..65535), grey or in colour,
    are scaled to 8 bits; of an animated file the first picture is taken. What is stored in 16 bits
    is taken as of 16: of a sensor's 12 bits that nothing scaled the picture is dark.

    Args:
        source: a file, an RGB uint8 array (H, W, 3), or a Pillow image.

    Returns:
        (H, W, 3) uint8, RGB, contiguous. An array that already is so is returned itself.

    Raises:
        ImageError: if it is no picture, truncated, empty, of more than `MAX_PIXELS`, an array of
            another dtype or shape, or a URL.
        OSError: if the file does not exist or may not be read.

    Examples:
        >>> import numpy as np
        >>> from PIL import Image
        >>> red = np.full((4, 6, 3), (255, 0, 0), np.uint8)
        >>> read_image(Image.fromarray(red).convert("P")).shape
        (4, 6, 3)
        >>> read_image(red) is red
        True
    """
    if isinstance(source, np.ndarray):
        return _check_array(source)
    if isinstance(source, Image.Image):
        return _to_rgb(source, "the picture given")
    if not isinstance(source, str | Path):
        raise ImageError(
            f"got a {type(source).__name__}; expected a file, an RGB uint8 array (H, W, 3) or a "
            "Pillow image"
        )
    return decode_image(read_bytes(source), str(source))


def read_image_size(file: str | Path) -> tuple[int, int]:
    """Read how large a picture is, from the head of its file.

    Returns:
        Width and height in pixels, after the rotation that its EXIF asks for.

    Raises:
        ImageError: if it is no picture.
        OSError: if it does not exist or may not be read.
    """
    path = check_file(file)
    try:
        with Image.open(path, formats=_readable_formats()) as image:
            (width, height), turn = image.size, _orientation(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(str(path)) from None
    # Pillow's decoders raise a dozen types on damaged data.
    except Exception as error:
        data = read_bytes(path)
        head = read_tiff_head(data) if isinstance(error, OSError) else None
        if head is None:
            raise _not_a_picture(str(path), path.suffix, data) from error
        width, height, turn = head.width, head.height, head.turn
    # From 5 on it lies on its side.
    return (height, width) if 5 <= turn <= 8 else (width, height)


def check_file(file: str | Path) -> Path:
    """Return the path of a file that is there and holds something.

    Raises:
        ImageError: if it is a URL, no regular file, or empty.
        OSError: if it does not exist.
    """
    if isinstance(file, str) and _URL.match(file):
        raise ImageError(f"{file} is a URL; expected a file: download it first")
    path = Path(file)
    # A pipe or a device could deliver for ever, so stat comes before open.
    size = path.stat().st_size
    if not path.is_file():
        raise ImageError(f"{path} is not a file; expected a picture or video file")
    if size == 0:
        raise ImageError(f"{path} is empty (zero bytes)")
    return path


def read_bytes(file: str | Path) -> bytes:
    """Read a whole picture file.

    Raises:
        ImageError: as `check_file`, and if it is larger than `MAX_FILE_BYTES`.
        OSError: if it does not exist or may not be read.
    """
    path = check_file(file)
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ImageError(f"{path} has {size:,} bytes; expected at most {MAX_FILE_BYTES:,}")
    return path.read_bytes()


def decode_image(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Decode the bytes of a picture file; see `read_image`.

    Args:
        data: the file's content.
        name: what the error messages call it.
        max_pixels: of the picture. One whose head says more is not decoded.

    Raises:
        ImageError: as `read_image`.
    """
    if not data:
        raise ImageError(f"{name} is empty (zero bytes)")
    head = read_tiff_head(data)
    if head is not None and head.is_misread:
        return _decode_deep(data, head, name, max_pixels)
    try:
        with open_image(data) as image:
            return _to_rgb(image, name, max_pixels)
    except ImageError:
        raise
    except UnidentifiedImageError:
        if head is None:
            raise _not_a_picture(name, Path(name).suffix, data) from None
        return _decode_deep(data, head, name, max_pixels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(name, max_pixels) from None
    # Pillow's decoders raise a dozen types on damaged data: struct.error, SyntaxError, EOFError, …
    except Exception as error:
        raise ImageError(f"{name} is damaged: {_reason(error)}") from error


def open_image(data: bytes) -> Image.Image:
    """Open the bytes of a picture file with Pillow; only the head is read.

    Raises:
        Exception: whatever Pillow raises for what is no picture of `FORMATS`.
    """
    return Image.open(BytesIO(data), formats=_readable_formats())


def _too_large(name: str, max_pixels: int = MAX_PIXELS) -> ImageError:
    return ImageError(
        f"{name} has far too many pixels; expected at most {max_pixels:,}: scale it down"
    )


def _not_a_picture(name: str, suffix: str, data: bytes) -> ImageError:
    if suffix.lower() in HEIF_SUFFIXES and "HEIF" not in _readable_formats():
        return ImageError(
            f"{name} is a HEIF picture, which needs the package pillow-heif: pip install "
            "pillow-heif, or save it as JPEG"
        )
    head = read_tiff_head(data)
    kind = None if head is None else head.describe_unread()
    if not is_known_picture(data):
        kind = kind or name_other_picture(data) or name_kind(data[:1024])
    if kind:
        return ImageError(f"{name} is not a picture that can be read but {kind}")
    return ImageError(
        f"{name} is not a picture, or its head is damaged; expected one of {', '.join(FORMATS)}"
    )


def _decode_deep(data: bytes, head: TiffHead, name: str, max_pixels: int) -> np.ndarray:
    """Decode a TIFF that Pillow does not read to (H, W, 3) uint8.

    Raises:
        ImageError: as `read_image`.
    """
    check_pixels(head.width, head.height, name, max_pixels)
    deep = decode_deep_tiff(data, head)
    if deep is None:
        raise _not_a_picture(name, Path(name).suffix, data)
    pixels = _lay_on_white(deep, name)
    rgb = Image.fromarray(255 - pixels if head.zero_is_white else pixels)
    rgb.getexif()[ORIENTATION] = head.turn
    ImageOps.exif_transpose(rgb, in_place=True)
    return np.array(rgb)


def _lay_on_white(deep: np.ndarray, name: str) -> np.ndarray:
    """Scale (H, W, 1 or 3) or, with an alpha, (H, W, 4) of any depth to (H, W, 3) uint8."""
    rgb = _scale_to_bytes(deep[:, :, :3], name)
    if deep.shape[2] < 4:
        return np.broadcast_to(rgb, (*rgb.shape[:2], 3))
    alpha = _scale_to_bytes(deep[:, :, 3:], name) / 255.0
    return np.rint(255 + (rgb - 255.0) * alpha).astype(np.uint8)


@cache
def _readable_formats() -> tuple[str, ...]:
    if find_spec("pillow_heif") is not None:
        importlib.import_module("pillow_heif").register_heif_opener()
    # A Pillow built without one of the libraries does not know that format.
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _check_array(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ImageError(
            f"got an array of {array.dtype} {array.shape}; expected RGB uint8 (H, W, 3)"
        )
    if array.size == 0:
        raise ImageError(f"got an empty array {array.shape}; expected at least one pixel")
    return np.ascontiguousarray(array)


def _to_rgb(image: Image.Image, name: str, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    check_pixels(*image.size, name, max_pixels)
    try:
        tiles = getattr(image, "tile", None)
        stored = tiles[0].args if tiles else None
        image.load()
        rgb = _to_rgb_image(image, name, stored)
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"{name} is damaged: {_reason(error)}") from error
    # The rotation alone: Pillow would write the other tags anew, and fails at damaged ones.
    rgb.info.clear()
    rgb.getexif()[ORIENTATION] = _orientation(image)
    ImageOps.exif_transpose(rgb, in_place=True)
    # Pillow's array is read-only; torch wants a writable one.
    return np.array(rgb)


def check_pixels(width: int, height: int, name: str, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse a picture of no pixels or too many, as its head says.

    Raises:
        ImageError: naming it so.
    """
    if width * height == 0:
        raise ImageError(f"{name} is empty ({width} x {height} pixels)")
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {width} x {height} = {width * height:,} pixels; expected at most "
            f"{max_pixels:,}: scale it down or cut it"
        )


def _to_rgb_image(image: Image.Image, name: str, stored: object) -> Image.Image:
    """Convert a loaded picture; ``stored`` is how Pillow says that its pixels lie in the file."""
    transparent = image.info.get("transparency")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        # Pillow scales a PGM of more than 8 bits to 0..65535 itself, but into 32 bits.
        if image.format == "PPM" and image.mode == "I":
            values = values.astype(np.uint16)
        if values.dtype == np.uint16 and transparent is not None:
            values = np.where(values == transparent, np.uint16(65535), values)
        return Image.fromarray(_scale_to_bytes(values, name)).convert("RGB")
    # Pillow scales the pixels of these to 8 bits, but not the value that stands for no pixel.
    if stored in _LOW_BITS and transparent is not None:
        image.info["transparency"] = transparent * _LOW_BITS[stored]
    elif stored == "RGB;16B" and transparent is not None:
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    if image.format == "BMP" and image.mode == "RGBA" and image.getextrema()[-1] == (0, 0):
        # Whoever wrote it left the fourth byte of each pixel at 0.
        return image.convert("RGB")
    if image.has_transparency_data:
        pixels = image.convert("RGBA")
        white = Image.new("RGBA", pixels.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, pixels).convert("RGB")
    return image.convert("RGB")


def _scale_to_bytes(values: np.ndarray, name: str) -> np.ndarray:
    """Scale values of more than 8 bits, of any shape, to uint8 of the same shape."""
    low, high = float(values.min()), float(values.max())
    is_integer = values.dtype.kind in "ui"
    if values.dtype == np.uint16:
        unit = 65535.0
    # The file does not say what white is: the smallest usual range that holds the values.
    elif not low >= 0 or not high <= 65535:
        raise ImageError(
            f"{name} has {values.dtype} values {low:g}..{high:g}; expected 0..1 (float), 0..255 or "
            "0..65535: save it with 8 bits a channel"
        )
    else:
        unit = 1.0 if high <= 1 and not is_integer else 255.0 if high <= 255 else 65535.0
    return np.rint(values * (255.0 / unit)).astype(np.uint8)


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ORIENTATION, 1)
    # Damaged EXIF does not make the pixels worse, and raises anything.
    except Exception:
        return 1
    return value if isinstance(value, int) else 1


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
