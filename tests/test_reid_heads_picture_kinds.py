"""Pictures of rarer kinds: of other depths, with other signs for what is transparent, or not read.

The files are built byte by byte, since Pillow writes none of them.
"""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from reid_heads.pictures import ImageError, decode_image, read_image_size

TYPES = {"H": 3, "I": 4}


def tiff(values, *, bits, zero_is=1, channels=1, kind=1, extra=None, order="<", big=False):
    """A TIFF of one row: ``values`` are its packed pixels."""
    width = len(values) * 8 // (bits * channels)
    tags = {256: width, 257: 1, 258: [bits] * channels, 259: 1, 262: zero_is, 277: channels}
    tags |= {278: 1, 279: len(values), 339: [kind] * channels, 273: None}
    if extra is not None:
        tags[338] = extra
    word, count, room, head = ("Q", "Q", 8, 16) if big else ("I", "H", 4, 8)
    after = head + struct.calcsize(count) + len(tags) * (4 + 2 * room) + room
    entries, outside = b"", b""
    # Lists of more than a word holds lie behind the entries, and the pixels behind those.
    start = after + 4 * channels * (channels * 2 > room) * 2
    for tag, value in sorted(tags.items(), key=lambda item: item[0]):
        numbers = value if isinstance(value, list) else [start if value is None else value]
        letter = "I" if value is None or tag in (256, 257, 279) else "H"
        data = struct.pack(f"{order}{len(numbers)}{letter}", *numbers)
        if len(data) > room:
            place, outside = after + len(outside), outside + data
            data = struct.pack(order + word, place)
        entries += struct.pack(f"{order}HH{word}", tag, TYPES[letter], len(numbers))
        entries += data.ljust(room, b"\0")
    mark = {"<": b"II", ">": b"MM"}[order]
    sizes = struct.pack(f"{order}HHHQ", 43, 8, 0, 16) if big else struct.pack(f"{order}HI", 42, 8)
    body = struct.pack(order + count, len(tags)) + entries + b"\0" * room + outside
    return (mark + sizes + body).ljust(start, b"\0") + values


def png(row, *, bits, colour, transparent, width):
    def chunk(kind, data):
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    head = struct.pack(">IIBBBBB", width, 1, bits, colour, 0, 0, 0)
    transparent = np.array(transparent, ">u2").tobytes()
    chunks = (b"IHDR", head), (b"tRNS", transparent), (b"IDAT", zlib.compress(b"\0" + row))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*c) for c in (*chunks, (b"IEND", b"")))


def big_endian(*values):
    return np.array(values, ">u2").tobytes()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (tiff(np.array([0, 20000, 65535], "<u2").tobytes(), bits=16, zero_is=0), [255, 177, 0]),
        (tiff(big_endian(0, 20000, 65535), bits=16, zero_is=0, order=">"), [255, 177, 0]),
        (tiff(np.array([0, 0.25, 1], "<f4").tobytes(), bits=32, zero_is=0, kind=3), [255, 191, 0]),
        (tiff(np.array([0, 0.25, 1], "<f8").tobytes(), bits=64, kind=3), [0, 64, 255]),
        (tiff(b"\xff\xf0\0\x80\0\0", bits=12), [255, 0, 128, 0]),
        (tiff(b"\xff\xfc\0\x08\0\0\0", bits=14), [255, 0, 128, 0]),
        (tiff(np.array([0, 257, 65535], "<u2").tobytes(), bits=16, big=True), [0, 1, 255]),
    ],
)
def test_grey_tiff_of_any_depth_is_as_light_as_it_says(data, expected):
    """Zero as white came out as a negative, and white of 12 bits as nearly black."""
    assert decode_image(data, "a.tif")[0, :, 0].tolist() == expected


@pytest.mark.parametrize(
    "data",
    [
        tiff(
            np.array([0, 0.5, 1], "<f4").tobytes(),
            **{"bits": 32, "channels": 3, "kind": 3, "zero_is": 2, "big": True},
        ),
        tiff(big_endian(0, 32896, 65535), bits=16, channels=3, zero_is=2, order=">"),
    ],
)
def test_colour_tiff_in_either_byte_order_and_size(data, tmp_path):
    assert decode_image(data, "a.tif")[0, 0].tolist() == [0, 128, 255]
    (tmp_path / "a.tif").write_bytes(data)
    assert read_image_size(tmp_path / "a.tif") == (1, 1)


@pytest.mark.parametrize(
    ("row", "form", "expected"),
    [
        (big_endian(300, 30000), (16, 0, [300], 2), [[255] * 3, [117] * 3]),
        (big_endian(600, 9, 9, 30000, 0, 0), (16, 2, [600, 9, 9], 2), [[255] * 3, [117, 0, 0]]),
        (b"\x1f", (4, 0, [1], 2), [[255] * 3, [255] * 3]),
        (b"\x1b", (2, 0, [1], 4), [[0] * 3, [255] * 3, [170] * 3, [255] * 3]),
        (b"\x40", (1, 0, [1], 2), [[0] * 3, [255] * 3]),
    ],
)  # fmt: skip
def test_the_transparent_value_of_a_png_is_white_at_any_depth(row, form, expected):
    """Its pixels were scaled to 8 bits, and the value they are compared with was not."""
    bits, colour, transparent, width = form
    data = png(row, bits=bits, colour=colour, transparent=transparent, width=width)
    assert decode_image(data, "a.png")[0].tolist() == expected


@pytest.mark.parametrize(("alpha", "expected"), [(0, [200, 2, 1]), (255, [200, 2, 1])])
def test_a_bmp_whose_fourth_bytes_are_all_0_has_no_alpha(alpha, expected):
    """It was wholly white."""
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    head = struct.pack("<IiiHHIIiiII", 108, 2, 1, 1, 32, 3, 8, 0, 0, 0, 0) + masks.ljust(68, b"\0")
    start = b"BM" + struct.pack("<IHHI", 14 + 108 + 8, 0, 0, 14 + 108)
    got = decode_image(start + head + bytes([1, 2, 200, alpha]) * 2, "a.bmp")
    assert got[0].tolist() == [expected] * 2


def jpeg_of_12_bits():
    data = BytesIO()
    Image.new("RGB", (8, 8)).save(data, "JPEG")
    before, frame, after = data.getvalue().partition(b"\xff\xc0\0\x11")
    return before + frame + b"\x0c" + after[1:]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (jpeg_of_12_bits(), "a JPEG picture of 12 bits a channel: save it as JPEG or PNG"),
        (b"8BPS\0\1", "a Photoshop picture: save"),
        (b"<?xml version='1.0'?><svg/>", "an SVG drawing: save"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS .*git lfs pull"),
        (
            tiff(bytes(4), bits=16, kind=3),
            r"a TIFF picture of 1 channel of 16 bits \(float\): save",
        ),
        (tiff(bytes(4), bits=16, channels=2, extra=2), "a TIFF picture of 2 channels of 16 bits"),
        (tiff(bytes(12), bits=32, channels=3), "a TIFF picture of 3 channels of 32 bits: save"),
    ],
)
def test_what_is_not_read_is_called_by_its_kind(tmp_path, data, kind):
    """It was called damaged, which sends people looking for the wrong thing."""
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=rf"a\.jpg is not a picture that can be read but {kind}"):
        decode_image(data, str(path))


@pytest.mark.parametrize("kind", [1, 2])
def test_signed_colour_is_read_or_refused_as_a_picture_is(kind):
    """It ended in an error of OpenCV that no reader of pictures expects."""
    dark = np.array([0, 100, 30000], "<i2").tobytes()
    assert decode_image(tiff(dark, bits=16, channels=3, kind=kind, zero_is=2), "a.tif").max() == 117
    below = np.array([-1, 100, 30000], "<i2").tobytes()
    if kind == 2:
        with pytest.raises(ImageError, match=r"a\.tif has int16 values -1\.\.30000; expected"):
            decode_image(tiff(below, bits=16, channels=3, kind=2, zero_is=2), "a.tif")


def test_the_size_of_far_too_large_a_picture_says_so(tmp_path, monkeypatch):
    """Training on frames called it no picture."""
    Image.new("1", (40, 40)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="far too many pixels; expected at most 100,000,000"):
        read_image_size(tmp_path / "a.png")
