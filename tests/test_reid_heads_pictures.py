import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from detectron2.data.detection_utils import read_image as read_as_detectron2_does
from PIL import ExifTags, Image, ImageOps

from person_search.footage.frames import read_frame, split_frame_name
from reid_heads import pictures as images
from reid_heads.pictures import ImageError, read_image, read_image_size

RED, GREEN, BLUE, WHITE = (200, 0, 0), (0, 180, 0), (0, 0, 220), (255, 255, 255)


@pytest.fixture
def picture():
    """Four quarters of different colours, so that every rotation and mirroring shows."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, :30], pixels[:20, 30:], pixels[20:, :30], pixels[20:, 30:] = RED, GREEN, BLUE, WHITE
    return pixels


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width, height):
    """A 1-bit PNG of zeros, without holding it in memory."""
    row = b"\0" * (1 + (width + 7) // 8)
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = png_chunk(b"IHDR", head) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def saved(image, kind, **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def is_close(got, expected, tolerance=6):
    assert got.shape == expected.shape and got.dtype == np.uint8
    # JPEG smears the borders of the quarters.
    return np.median(np.abs(got.astype(int) - expected)) <= tolerance


def test_files_arrays_and_pillow_images_give_the_same_pixels(picture, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(picture).save(path)
    for source in (path, str(path), picture, Image.fromarray(picture), Image.open(path)):
        got = read_image(source)
        assert (got == picture).all() and got.flags.c_contiguous
    assert (read_frame(str(path)) == picture).all()
    assert read_image(path).flags.writeable


def test_an_array_in_another_memory_order_is_made_contiguous(picture):
    got = read_image(picture[:, ::-1])
    assert got.flags.c_contiguous and (got == picture[:, ::-1]).all()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("BMP", {}),
        ("TIFF", {}),
        ("PPM", {}),
        ("WEBP", {"lossless": True}),
        ("JPEG", {"quality": 95, "subsampling": 0}),
        ("JPEG2000", {}),
        ("AVIF", {"quality": 95}),
    ],
)
def test_every_usual_kind_of_file_is_read(picture, tmp_path, kind, options):
    path = tmp_path / "a"
    path.write_bytes(saved(Image.fromarray(picture), kind, **options))
    assert is_close(read_image(path), picture)


# Where the first rows and columns of what is shown lie in the file, by the EXIF standard.
UPRIGHT = {
    1: lambda rows: rows,
    2: lambda rows: rows[:, ::-1],
    3: lambda rows: rows[::-1, ::-1],
    4: lambda rows: rows[::-1],
    5: lambda rows: rows.swapaxes(0, 1),
    6: lambda rows: rows[::-1].swapaxes(0, 1),
    7: lambda rows: rows[::-1, ::-1].swapaxes(0, 1),
    8: lambda rows: rows[:, ::-1].swapaxes(0, 1),
}


@pytest.mark.parametrize("orientation", [*UPRIGHT, 0, 9])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "LA", "I;16"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_the_rotation_of_exif_is_applied(picture, kind, mode, orientation):
    """What a camera held sideways writes comes out upright."""
    image = Image.fromarray(picture)
    if mode == "I;16":
        image = Image.fromarray(257 * np.asarray(image.convert("L")).astype(np.uint16))
    else:
        image = image.convert(mode)
    plain = images.decode_image(saved(image, kind), "plain")
    assert plain.shape == (40, 60, 3)
    exif = Image.Exif()
    exif[images.ORIENTATION] = orientation
    got = images.decode_image(saved(image, kind, exif=exif), "turned")
    np.testing.assert_array_equal(got, UPRIGHT.get(orientation, UPRIGHT[1])(plain))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0no", b"Exif\0\0MM\0*\0\0\0\x08\0\x03\x01"]
)
def test_a_damaged_exif_does_not_cost_the_picture(picture, exif):
    data = saved(Image.fromarray(picture), "JPEG", exif=exif, quality=95)
    assert is_close(images.decode_image(data, "a"), picture)


def test_a_tag_that_pillow_cannot_write_does_not_cost_the_rotation(picture):
    """A width that is a word: Pillow reads it, but cannot write it again."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[images.ORIENTATION] = "make", 6
    data = exif.tobytes().replace(b"\x01\x0f\0\x02", b"\x01\0\0\x02")
    file = saved(Image.fromarray(picture), "PNG", exif=data)
    with pytest.raises(struct.error):
        ImageOps.exif_transpose(Image.open(io.BytesIO(file)))
    np.testing.assert_array_equal(images.decode_image(file, "a"), UPRIGHT[6](picture))


def test_cmyk_jpeg(picture, tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(saved(Image.fromarray(picture).convert("CMYK"), "JPEG", quality=98))
    assert Image.open(path).mode == "CMYK"
    assert is_close(read_image(path), picture)


def test_palette_with_transparency_lies_on_white(tmp_path):
    image = Image.new("P", (8, 4))
    image.putpalette([200, 0, 0, 0, 180, 0])
    image.paste(1, (4, 0, 8, 4))
    path = tmp_path / "a.png"
    image.save(path, transparency=1)
    got = read_image(path)
    assert (got[:, :4] == RED).all() and (got[:, 4:] == WHITE).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_lie_on_white(tmp_path, mode):
    image = Image.new("RGBA", (6, 4), (100, 100, 100, 255))
    image.paste((0, 0, 0, 0), (0, 0, 2, 4))
    image.paste((0, 0, 0, 128), (2, 0, 4, 4))
    path = tmp_path / "a.png"
    image.convert(mode).save(path)
    got = read_image(path)
    assert (got[:, :2] == 255).all() and (got[:, 4:] == 100).all()
    assert np.abs(got[:, 2:4].astype(int) - 127).max() <= 1


def test_one_bit_and_grey(tmp_path):
    grey = np.tile(np.arange(0, 256, 16, dtype=np.uint8), (4, 1))
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey > 100).save(tmp_path / "bit.png")
    assert Image.open(tmp_path / "bit.png").mode == "1"
    assert (read_image(tmp_path / "grey.png") == grey[:, :, None]).all()
    assert (read_image(tmp_path / "bit.png") == np.where(grey > 100, 255, 0)[:, :, None]).all()


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path, suffix):
    values = np.array([[0, 257, 32896, 65535]] * 3, np.uint16)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(values).save(path)
    assert (read_image(path)[:, :, 0] == [0, 1, 128, 255]).all()


def test_16_bit_rgb_png(tmp_path):
    values = np.array([0, 257 * 7, 257 * 255], ">u2").tobytes()
    head = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    body = zlib.compress(b"\0" + values * 2)
    path = tmp_path / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", head)
        + png_chunk(b"IDAT", body)
        + png_chunk(b"IEND", b"")
    )
    assert (read_image(path) == (0, 7, 255)).all()


@pytest.mark.parametrize(("unit", "dtype"), [(1, "f4"), (255, "f4"), (65535, "f4"), (65535, "i4")])
def test_float_and_integer_tiff_are_scaled_by_the_range_they_use(tmp_path, unit, dtype):
    values = (np.array([[0.0, 0.2, 1.0]] * 3) * unit).astype(dtype)
    path = tmp_path / "a.tif"
    Image.fromarray(values).save(path)
    assert (read_image(path)[:, :, 1] == [0, 51, 255]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -3.0, 1e9])
def test_a_float_tiff_without_a_usual_range_is_refused(tmp_path, value):
    path = tmp_path / "a.tif"
    Image.fromarray(np.array([[0.5, value]], np.float32)).save(path)
    with pytest.raises(ImageError, match=r"a\.tif has float32 values .*expected 0\.\.1"):
        read_image(path)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK", "1"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_ordinary_pictures_have_the_pixels_that_detectron2_reads(tmp_path, mode, orientation):
    """What was trained with detectron2's reader goes on with the same pixels."""
    exif = Image.Exif()
    exif[images.ORIENTATION] = orientation
    noise = np.random.default_rng(0).integers(0, 256, (24, 16, 3), dtype=np.uint8)
    path = tmp_path / ("a.jpg" if mode in ("RGB", "L", "CMYK") else "a.png")
    Image.fromarray(noise).convert(mode).save(path, exif=exif)
    np.testing.assert_array_equal(read_image(path), read_as_detectron2_does(str(path), "RGB"))


@pytest.mark.parametrize(("unit", "dtype"), [(1, "f4"), (255, "f4"), (65535, "f4"), (1, "f8")])
def test_a_float_tiff_in_colour_is_scaled(tmp_path, picture, unit, dtype):
    """Pillow says that it is no picture."""
    values = (picture / 255 * unit).astype(dtype)
    path = tmp_path / "a.tif"
    path.write_bytes(cv2.imencode(".tiff", values[:, :, ::-1])[1].tobytes())
    np.testing.assert_array_equal(read_image(path), picture)
    assert read_image_size(path) == (60, 40)


def test_a_16_bit_tiff_in_colour_is_scaled_and_laid_on_white(tmp_path, picture):
    values = np.full((40, 60, 4), 65535, np.uint16)
    values[:, :, :3] = picture[:, :, ::-1] * np.uint16(257)
    values[:10, :, 3] = 0
    path = tmp_path / "a.tif"
    path.write_bytes(cv2.imencode(".tiff", values)[1].tobytes())
    expected = picture.copy()
    expected[:10] = 255
    np.testing.assert_array_equal(read_image(path), expected)


def test_a_float_tiff_in_colour_of_far_too_many_pixels_is_not_decoded():
    content = cv2.imencode(".tiff", np.zeros((4, 6, 3), np.float32))[1].tobytes()
    with pytest.raises(ImageError, match="6 x 4 = 24 pixels; expected at most 23"):
        images.decode_image(content, "a.tif", max_pixels=23)


def test_a_dark_pgm_of_16_bits_stays_dark(tmp_path):
    """Its head says what white is, so that values up to 255 are next to black."""
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 2 1 65535\n" + np.array([0, 255], ">u2").tobytes())
    np.testing.assert_array_equal(read_image(path)[0, :, 0], [0, 1])


@pytest.mark.parametrize("suffix", [".heic", ".HEIF"])
def test_heif_is_named_where_its_package_is_missing(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(images, "_readable_formats", lambda: ("JPEG",))
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"\0\0\0\x18ftypheic")
    for read in (read_image, read_image_size):
        with pytest.raises(ImageError, match="needs the package pillow-heif: pip install"):
            read(path)


def test_heif_is_read_where_its_package_is_installed(tmp_path, picture, monkeypatch):
    """By a stand-in of the package, which takes pictures of another format for HEIF."""
    (tmp_path / "pillow_heif.py").write_text(
        "from PIL import Image, PngImagePlugin\n"
        "def register_heif_opener():\n"
        "    Image.register_open('HEIF', PngImagePlugin.PngImageFile, lambda head: True)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    images._readable_formats.cache_clear()
    try:
        assert "HEIF" in images._readable_formats()
        path = tmp_path / "a.heic"
        path.write_bytes(saved(Image.fromarray(picture), "PNG"))
        monkeypatch.setattr(images, "_readable_formats", lambda: ("HEIF",))
        np.testing.assert_array_equal(read_image(path), picture)
    finally:
        monkeypatch.undo()
        Image.OPEN.pop("HEIF", None)
        images._readable_formats.cache_clear()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_picture_is_taken(tmp_path, kind):
    pictures = [Image.new("RGB", (16, 12), color) for color in (RED, GREEN, BLUE)]
    path = tmp_path / "a"
    path.write_bytes(
        saved(pictures[0], kind, save_all=True, append_images=pictures[1:], duration=50)
    )
    assert Image.open(path).n_frames == 3
    assert is_close(read_image(path), np.full((12, 16, 3), RED, np.uint8))


@pytest.mark.parametrize("data", [b"hello, not a picture", b"\xff\xd8\xff", b"%!PS-Adobe-3.0 EPSF"])
def test_what_is_no_picture_is_refused(tmp_path, data):
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.jpg is not a picture"):
        read_image(path)


def test_zero_bytes(tmp_path):
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ImageError, match=r"a\.jpg is empty \(zero bytes\)"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_truncated(tmp_path, kind, share):
    noise = np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), kind)
    path = tmp_path / "a"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ImageError, match=str(path)):
        read_image(path)


@pytest.mark.filterwarnings("ignore:Truncated File Read")
def test_any_damage_is_an_image_error_or_a_picture(tmp_path, picture):
    """No decoder's own exception gets through: struct.error, SyntaxError, IndexError, …"""
    rng = np.random.default_rng(0)
    path = tmp_path / "a"
    for kind in ("JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP"):
        data = np.frombuffer(saved(Image.fromarray(picture), kind), np.uint8)
        for _ in range(30):
            damaged = data.copy()
            damaged[rng.integers(0, len(data), 5)] = rng.integers(0, 256, 5)
            path.write_bytes(damaged.tobytes())
            try:
                got = read_image(path)
            except ImageError as error:
                assert str(path) in str(error)
            else:
                assert got.ndim == 3 and got.dtype == np.uint8


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(20_000, 20_000), (20_000, 6_000)])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, size, monkeypatch):
    """The first is beyond what Pillow itself refuses, the second is not."""
    path = tmp_path / "a.png"
    path.write_bytes(png_bomb(*size))
    assert path.stat().st_size < 400_000
    monkeypatch.setattr(
        "PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded the bomb")
    )
    with pytest.raises(ImageError, match=r"pixels; expected at most 100,000,000"):
        read_image(path)


def test_a_huge_file_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x" * 100)
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 99)
    with pytest.raises(ImageError, match="has 100 bytes; expected at most 99"):
        read_image(path)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((3, 5, 5), np.uint8),
        np.zeros((5, 5, 3), np.float32),
    ],
)
def test_arrays_of_other_shapes_and_types_are_refused(array):
    with pytest.raises(ImageError, match=r"array .*expected"):
        read_image(array)


def test_other_objects_are_refused():
    with pytest.raises(ImageError, match="got a list"):
        read_image([1, 2])


@pytest.mark.parametrize("url", ["https://example.org/a.jpg", "file:///etc/passwd"])
def test_urls_are_refused(url):
    with pytest.raises(ImageError, match="is a URL"):
        read_image(url)


def test_missing_files_folders_and_pipes(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.jpg"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match="is not a file"):
        read_image(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="is not a file"):
        read_image(tmp_path / "pipe.jpg")


def test_a_file_that_may_not_be_read_is_an_os_error(tmp_path, picture, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(picture).save(path)
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads everything
        monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    with pytest.raises(PermissionError, match=r"a\.png"):
        read_image(path)


def refuse(path):
    raise PermissionError(13, "Permission denied", str(path))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/a/b.jpg", ("/a/b.jpg", None)),
        ("/a/b.mp4#frame=12", ("/a/b.mp4", 12)),
        ("/a/b#frame=3.jpg", ("/a/b#frame=3.jpg", None)),
        ("/a/b#c.mp4#frame=0", ("/a/b#c.mp4", 0)),
        ("/a/b#frame=1#frame=2", ("/a/b#frame=1", 2)),
        ("/a/b\n.mp4#frame=2", ("/a/b\n.mp4", 2)),
        ("#frame=2", ("#frame=2", None)),
    ],
)
def test_frame_names(name, expected):
    assert split_frame_name(name) == expected
