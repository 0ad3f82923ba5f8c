import math

import numpy as np
import pytest
from detectron2.config import get_cfg
from detectron2.data import transforms as T

from reid_heads.config import add_crop_reid_config
from reid_heads.data import augmentation
from reid_heads.data.augmentation import (
    EraseTransform,
    PadAndCrop,
    RandomErasing,
    ResizeTo,
    ShiftTransform,
    build_test_augmentations,
    build_train_augmentations,
    erasing_fill,
    jitter_box,
)

MEAN_RGB, STD_RGB = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
FILL = (1, 2, 3)


def make_cfg(**overrides):
    cfg = get_cfg()
    add_crop_reid_config(cfg)
    cfg.INPUT.FORMAT = "RGB"
    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = MEAN_RGB, STD_RGB
    for key, value in overrides.items():
        cfg.merge_from_list([key.replace("__", "."), value])
    return cfg


def make_image(height=64, width=32, seed=0):
    # From 10 up, so that neither black nor FILL occurs.
    return np.random.default_rng(seed).integers(10, 256, (height, width, 3), dtype=np.uint8)


# --- padding and cropping --------------------------------------------------------------------


def test_shift_by_hand():
    image = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8)
    # One pixel down, one to the left.
    shifted = ShiftTransform(1, -1).apply_image(image)
    assert shifted.tolist() == [[0, 0, 0], [2, 3, 0]]
    assert image.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert ShiftTransform(0, 5).apply_image(image).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_shift_moves_coordinates_with_the_image():
    coords = np.array([[3.0, 7.0]])
    shift = ShiftTransform(2, -1)
    assert shift.apply_coords(coords).tolist() == [[2.0, 9.0]]
    assert shift.inverse().apply_coords(shift.apply_coords(coords)).tolist() == coords.tolist()
    assert coords.tolist() == [[3.0, 7.0]]


def test_pad_and_crop_is_padding_and_then_a_crop():
    """Literally: zeros on each side, then a window of the old size; all windows occur."""
    image, padding = make_image(6, 4), 1
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
    windows = {
        padded[top : top + 6, left : left + 4].tobytes() for top in range(3) for left in range(3)
    }
    np.random.seed(0)
    augment = PadAndCrop(padding)
    seen = {augment.get_transform(image).apply_image(image).tobytes() for _ in range(200)}
    assert seen == windows and len(windows) == 9


# --- box jitter ------------------------------------------------------------------------------


def test_jitter_by_hand(monkeypatch):
    """Width 20, height 40: 10 + 0.1 * 20, 20 - 0.1 * 40, 30 + 0.05 * 20, 60 + 0 * 40."""
    draws = np.array([0.1, -0.1, 0.05, 0.0])
    limits = []
    monkeypatch.setattr(
        augmentation.np.random, "uniform", lambda *args: limits.append(args) or draws
    )
    box = np.array([10.0, 20.0, 30.0, 60.0])
    assert jitter_box(box, 0.1).tolist() == [12, 16, 31, 60]
    assert limits == [(-0.1, 0.1, 4)] and box.tolist() == [10, 20, 30, 60]


# --- random erasing --------------------------------------------------------------------------


def erased_box(image, erased):
    """Return top, left, height, width of what changed, and check that it is a full rectangle."""
    changed = (image != erased).all(-1)
    assert changed.any() and (erased[changed] == FILL).all()
    rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    assert changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
    assert (image != erased).any(-1).sum() == len(rows) * len(columns)
    return rows[0], columns[0], len(rows), len(columns)


def test_the_erased_rectangle_by_hand(monkeypatch):
    """Area 0.1 of 64 x 32 = 204.8, aspect 2: height sqrt(409.6) = 20.2, width sqrt(102.4) = 10.1;
    top and left as drawn."""
    draws = iter([0.3, 0.1, 2.0])
    monkeypatch.setattr(RandomErasing, "_rand_range", lambda self, *limits: next(draws))
    places = iter([7, 5])
    limits = []

    def randint(low, high):
        limits.append((low, high))
        return next(places)

    monkeypatch.setattr(augmentation.np.random, "randint", randint)
    image = make_image()
    transform = RandomErasing(0.5, (0.02, 0.4), 0.3, FILL).get_transform(image)
    assert erased_box(image, transform.apply_image(image)) == (7, 5, 20, 10)
    # The rectangle may touch each border: 64 - 20 and 32 - 10 included.
    assert limits == [(0, 45), (0, 23)]


def test_areas_and_aspects_lie_in_their_ranges():
    image = make_image(128, 64)
    augment = RandomErasing(1.0, (0.02, 0.4), 0.3, FILL)
    np.random.seed(0)
    areas, aspects = [], []
    for _ in range(400):
        transform = augment.get_transform(image)
        _, _, height, width = erased_box(image, transform.apply_image(image))
        # Rounding to pixels moves an edge by half a pixel at most.
        assert (height + 0.5) * (width + 0.5) >= 0.02 * 128 * 64
        assert (height - 0.5) * (width - 0.5) <= 0.4 * 128 * 64
        assert (height + 0.5) / (width - 0.5) >= 0.3 and (height - 0.5) / (width + 0.5) <= 1 / 0.3
        areas.append(height * width / (128 * 64))
        aspects.append(height / width)
    assert min(areas) < 0.03 and max(areas) > 0.37
    # Uniform between 0.3 and 3.33, not its logarithm: two thirds are above 1.3.
    assert np.mean(np.array(aspects) > 1.3) > 0.6


def test_erasing_probability():
    image = make_image()
    np.random.seed(0)
    augment = RandomErasing(0.25, (0.02, 0.4), 0.3, FILL)
    kinds = [isinstance(augment.get_transform(image), EraseTransform) for _ in range(1000)]
    assert abs(np.mean(kinds) - 0.25) < 0.05


def test_nothing_is_erased_where_no_rectangle_fits(monkeypatch):
    """The whole area of a square needs its whole height: never lower than the image."""
    tries = []
    draw = RandomErasing._rand_range
    monkeypatch.setattr(
        RandomErasing, "_rand_range", lambda self, *limits: tries.append(1) or draw(self, *limits)
    )
    augment = RandomErasing(1.0, (1.0, 1.0), 1.0, FILL)
    assert isinstance(augment.get_transform(make_image(32, 32)), T.NoOpTransform)
    # Whether to, then an area and an aspect a hundred times.
    assert len(tries) == 1 + 2 * 100


def test_a_rectangle_may_not_be_as_wide_as_the_image():
    """Width 4 of 4 is refused, width 3 is taken: the area leaves both after rounding."""
    np.random.seed(0)
    image = make_image(64, 4)
    augment = RandomErasing(1.0, (0.1, 0.4), 0.3, FILL)
    widths = set()
    for _ in range(200):
        transform = augment.get_transform(image)
        if isinstance(transform, EraseTransform):
            widths.add(transform.width)
    assert max(widths) == 3


def test_erasing_leaves_its_input_and_geometry_alone():
    image = make_image()
    kept = image.copy()
    transform = EraseTransform(1, 2, 3, 4, np.array(FILL, dtype=np.uint8))
    assert erased_box(image, transform.apply_image(image)) == (1, 2, 3, 4)
    np.testing.assert_array_equal(image, kept)
    coords = np.array([[1.0, 2.0]])
    assert transform.apply_coords(coords).tolist() == [[1.0, 2.0]]
    mask = np.ones((64, 32), dtype=np.uint8)
    assert transform.apply_segmentation(mask).all()


def test_same_seed_same_rectangle():
    image, augment = make_image(), RandomErasing(1.0, (0.02, 0.4), 0.3, FILL)
    boxes = []
    for seed in (1, 2, 1):
        np.random.seed(seed)
        boxes.append(erased_box(image, augment.get_transform(image).apply_image(image)))
    assert boxes[0] == boxes[2] != boxes[1]


# --- fill ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fill", "normalised"), [("mean_norm", (0.485, 0.456, 0.406)), ("zero", (0.0, 0.0, 0.0))]
)
@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_fill_has_the_published_value_after_normalisation(fill, normalised, order):
    step = 1 if order == "RGB" else -1
    cfg = make_cfg(
        INPUT__REID__ERASING__FILL=fill,
        INPUT__FORMAT=order,
        MODEL__PIXEL_MEAN=MEAN_RGB[::step],
        MODEL__PIXEL_STD=STD_RGB[::step],
    )
    pixel = erasing_fill(cfg)
    assert pixel.dtype == np.uint8
    value = (pixel - np.array(MEAN_RGB[::step])) / np.array(STD_RGB[::step])
    # Half a pixel value of rounding.
    np.testing.assert_allclose(value[::step], normalised, atol=0.5 / 57)


def test_fill_by_hand():
    # 123.675 + 0.485 * 58.395 = 151.997; 116.28 + 0.456 * 57.12 = 142.327;
    # 103.53 + 0.406 * 57.375 = 126.824.
    assert erasing_fill(make_cfg()).tolist() == [152, 142, 127]
    assert erasing_fill(make_cfg(INPUT__REID__ERASING__FILL="zero")).tolist() == [124, 116, 104]


# --- from the config -------------------------------------------------------------------------


def test_published_order():
    kinds = [type(a) for a in build_train_augmentations(make_cfg())]
    assert kinds == [ResizeTo, T.RandomFlip, PadAndCrop, RandomErasing]


def test_what_is_off_is_left_out():
    cfg = make_cfg(
        INPUT__REID__FLIP_PROBABILITY=0.0,
        INPUT__REID__PADDING=0,
        INPUT__REID__ERASING__PROBABILITY=0.0,
    )
    assert [type(a) for a in build_train_augmentations(cfg)] == [ResizeTo]
    assert [type(a) for a in build_test_augmentations(make_cfg())] == [ResizeTo]


def test_settings_come_from_the_config():
    cfg = make_cfg(
        INPUT__REID__SIZE=(96, 48),
        INPUT__REID__FLIP_PROBABILITY=0.2,
        INPUT__REID__PADDING=7,
        INPUT__REID__ERASING__PROBABILITY=0.4,
        INPUT__REID__ERASING__AREA=(0.1, 0.2),
        INPUT__REID__ERASING__ASPECT=0.5,
    )
    resize, flip, crop, erase = build_train_augmentations(cfg)
    assert (resize.shape, flip.prob, crop.padding) == ((96, 48), 0.2, 7)
    assert (erase.probability, erase.area, erase.aspect) == (0.4, (0.1, 0.2), 0.5)


def test_resize_is_bilinear_and_skips_what_fits():
    resize = ResizeTo((4, 2))
    assert isinstance(resize.get_transform(make_image(4, 2)), T.NoOpTransform)
    image = np.repeat(np.array([[0, 100]], dtype=np.uint8), 2, 0)[..., None].repeat(3, -1)
    resized = ResizeTo((2, 4)).get_transform(image).apply_image(image)
    # Pixel centres at 0.25, 0.75, 1.25, 1.75 between the centres 0.5 and 1.5.
    assert resized[0, :, 0].tolist() == [0, 25, 75, 100]


def test_resize_is_bicubic_on_request():
    cfg = make_cfg(INPUT__REID__SIZE=(2, 4), INPUT__REID__INTERPOLATION="bicubic")
    image = np.repeat(np.array([[0, 100]], dtype=np.uint8), 2, 0)[..., None].repeat(3, -1)
    (resize,) = build_test_augmentations(cfg)
    resized = resize.get_transform(image).apply_image(image)
    # Keys' kernel with a = -0.5, of what lies inside. At 0.25: distances 0.25 and 1.25 to the two
    # centres weigh 0.8672 and -0.0703, at 0.75 they are 0.25 and 0.75: 0.8672 and 0.2266.
    below, above = -0.0703 / (0.8672 - 0.0703), 0.2266 / (0.8672 + 0.2266)
    expected = [max(100 * below, 0), 100 * above, 100 * (1 - above), min(100 * (1 - below), 255)]
    assert resized[0, :, 0].tolist() == [round(value) for value in expected]


def test_erased_regions_are_not_cropped_or_flipped_away():
    """Erasing is last: black borders of the crop can be painted over, the rectangle stays whole."""
    cfg = make_cfg(INPUT__REID__SIZE=(64, 32), INPUT__REID__ERASING__PROBABILITY=1.0)
    fill = erasing_fill(cfg)
    augment = T.AugmentationList(build_train_augmentations(cfg))
    for seed in range(20):
        np.random.seed(seed)
        augmented = T.AugInput(np.zeros((64, 32, 3), dtype=np.uint8))
        augment(augmented)
        assert augmented.image.shape == (64, 32, 3)
        painted = (augmented.image == fill).all(-1)
        rows, columns = painted.any(1).sum(), painted.any(0).sum()
        assert painted.sum() == rows * columns >= math.floor(0.015 * 64 * 32)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("INPUT.REID.SIZE", (128,)),
        ("INPUT.REID.SIZE", (128, 0)),
        ("INPUT.REID.INTERPOLATION", "cubic"),
        ("INPUT.REID.FLIP_PROBABILITY", 1.5),
        ("INPUT.REID.PADDING", -1),
        ("INPUT.REID.ERASING.PROBABILITY", -0.5),
        ("INPUT.REID.ERASING.AREA", (0.4, 0.02)),
        ("INPUT.REID.ERASING.AREA", (0.0, 0.4)),
        ("INPUT.REID.ERASING.ASPECT", 0.0),
        ("INPUT.REID.ERASING.ASPECT", 3.3),
        ("INPUT.REID.ERASING.FILL", "random"),
    ],
)
def test_bad_values_name_their_key(key, value):
    cfg = make_cfg()
    cfg.merge_from_list([key, value])
    with pytest.raises(ValueError, match=key.replace(".", r"\.")):
        build_train_augmentations(cfg)
