import numpy as np
import pytest
import torch
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from person_search.inference.network import InputSettings
from person_search.resizing import resize, resized_shape

RULE = "GeneralizedRCNNTransform"


def test_torchvisions_rule_is_torchvisions():
    """Sizes to the pixel, pixels to rounding; detectron2's has its test beside the finder's."""
    rng = np.random.default_rng(0)
    for min_size, max_size in [(90, 150), (43, 70), (300, 400)]:
        reference = GeneralizedRCNNTransform(min_size, max_size, [0.0] * 3, [1.0] * 3).eval()
        settings = InputSettings(min_size, max_size, "RGB", RULE)
        for height, width in rng.integers(8, 200, (8, 2)).tolist():
            image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            pixels = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32))
            expected = reference.resize(pixels)[0].numpy().transpose(1, 2, 0)
            found = settings.prepare(image)
            assert found.dtype == np.float32
            # A position's last bit, 1e-5 of a pixel here, times 255 grey levels.
            np.testing.assert_allclose(found, expected, rtol=0, atol=4e-3)


def test_torchvisions_rule_by_hand():
    image = np.array([[[0], [10], [40]]], np.uint8).repeat(3, axis=2)
    # Three pixels become six: centres at -0.25, 0.25, 0.75, 1.25, 1.75, 2.25 of the old ones.
    wide = resize(image, (1, 6), RULE)[0, :, 0]
    np.testing.assert_allclose(wide, [0, 2.5, 7.5, 17.5, 32.5, 40], atol=1e-5)
    # And two: at 0.25 and 1.75. Without antialiasing the middle one counts by a quarter.
    np.testing.assert_allclose(resize(image, (1, 2), RULE)[0, :, 0], [2.5, 32.5], atol=1e-5)
    assert image.dtype == np.uint8, "left alone"


def test_torchvisions_rule_rounds_down():
    # 1500 / 1920 of 1080 is 843.75.
    assert resized_shape(1080, 1920, 900, 1500, RULE) == (843, 1500)
    assert resized_shape(1080, 1920, 900, 1500) == (844, 1500)
    assert resized_shape(1, 5000, 900, 1500, RULE) == (1, 1500), "0.3 pixels high"
    assert resized_shape(30, 50, 0, 10, RULE) == (30, 50)


def test_pixels_are_float_at_the_same_size_too():
    """An exported model takes one type."""
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    prepared = InputSettings(0, 100, "BGR", RULE).prepare(image)
    assert prepared.dtype == np.float32 and prepared.flags.c_contiguous
    np.testing.assert_array_equal(prepared, image[:, :, ::-1])


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match=r"INPUT\.RESIZE is 'nearest'; expected one of"):
        InputSettings(10, 20, "RGB", "nearest")
