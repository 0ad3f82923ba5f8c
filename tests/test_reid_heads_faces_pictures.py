"""Pictures of every kind that cameras and scanners write."""

import numpy as np
import pytest
from PIL import Image

from reid_heads.faces.pictures import read_picture

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def save(path, image, **options):
    image.save(path, **options)
    return path


def test_a_picture_is_turned_as_its_exif_data_say(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter to the right
    path = save(tmp_path / "a.png", Image.fromarray(PIXELS).rotate(90, expand=True), exif=exif)
    np.testing.assert_array_equal(read_picture(path), PIXELS)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1"])
def test_other_modes_become_rgb(tmp_path, mode):
    image = Image.fromarray(PIXELS).convert(mode)
    found = read_picture(save(tmp_path / "a.png", image))
    np.testing.assert_array_equal(found, np.asarray(image.convert("RGB")))
    assert found.shape == PIXELS.shape and found.dtype == np.uint8


def test_a_grey_picture_of_16_bits_is_scaled(tmp_path):
    """All values above 255 became white, and nobody's face was found."""
    grey = PIXELS[:, :, 0].astype(np.uint16) * 257
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    path = save(tmp_path / "a.png", Image.fromarray(grey[::-1, ::-1].copy()), exif=exif)
    np.testing.assert_array_equal(read_picture(path), np.repeat(PIXELS[:, :, :1], 3, axis=2))


def test_values_of_which_nobody_knows_the_white_are_refused(tmp_path):
    grey = PIXELS[:, :, 0]
    path = save(tmp_path / "a.tif", Image.fromarray(-grey.astype(np.int32)))
    with pytest.raises(OSError, match=r"a\.tif has int32 values .* with 8 bits"):
        read_picture(path)


def test_a_grey_picture_of_floats_is_scaled(tmp_path):
    path = save(tmp_path / "a.tif", Image.fromarray(PIXELS[:, :, 0] / np.float32(255)))
    np.testing.assert_array_equal(read_picture(path), np.repeat(PIXELS[:, :, :1], 3, axis=2))
