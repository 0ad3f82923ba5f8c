import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import detection_utils as utils
from detectron2.data import transforms as T
from PIL import Image

from reid_heads.config import add_crop_reid_config
from reid_heads.data.cutting import BoxCutter
from reid_heads.data.mapper import CropMapper
from reid_heads.data.samplers import DRAW_KEY

WIDTH, HEIGHT = 90, 60


def make_cfg(**overrides):
    cfg = get_cfg()
    add_crop_reid_config(cfg)
    cfg.INPUT.FORMAT = "RGB"
    cfg.INPUT.REID.SIZE = (32, 16)
    for key, value in overrides.items():
        cfg.merge_from_list([f"INPUT.REID.{key.replace('__', '.')}", value])
    return cfg


def make_cutter(is_train=True, **overrides):
    return BoxCutter(make_cfg(**overrides), is_train)


def make_frame(width=WIDTH, height=HEIGHT):
    """A frame that tells where its pixels come from: red is x, green is y."""
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    frame[..., 0] = np.arange(width)
    frame[..., 1] = np.arange(height)[:, None]
    return frame


@pytest.fixture
def frame_file(tmp_path):
    path = tmp_path / "frame.png"
    Image.fromarray(make_frame()).save(path)
    return str(path)


def place_of(crop):
    """Return (x1, y1, x2, y2) of a crop of ``make_frame`` that was not resized."""
    return *crop[0, 0, :2].tolist(), *(crop[-1, -1, :2].astype(int) + 1).tolist()


# --- cutting ---------------------------------------------------------------------------------


@pytest.mark.parametrize("box", [(0, 0, 90, 60), (3, 5, 20, 50), (89, 59, 90, 60), (7, 0, 8, 60)])
def test_a_box_of_whole_pixels_is_a_slice(box, frame_file):
    x1, y1, x2, y2 = box
    crop = make_cutter()(frame_file, box)
    assert crop.dtype == np.uint8
    np.testing.assert_array_equal(crop, make_frame()[y1:y2, x1:x2])


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((1.4, 2.5, 5.6, 6.49), (1, 3, 6, 6)),
        # Less than a pixel: one at least each way.
        ((3.2, 4.6, 3.4, 4.7), (3, 5, 4, 6)),
        ((89.7, 59.9, 90, 60), (89, 59, 90, 60)),
        # Partly outside.
        ((-5, -3, 4, 5), (0, 0, 4, 5)),
        ((80, 50, 200, 61.7), (80, 50, 90, 60)),
    ],
)
def test_rounding_and_clipping_by_hand(box, expected, frame_file):
    assert place_of(make_cutter()(frame_file, box)) == expected


@pytest.mark.parametrize(
    "box",
    [
        (90, 5, 99, 20),
        (-9, 5, 0, 20),
        (5, 60, 9, 70),
        (5, 5, 5, 20),
        (9, 5, 5, 20),
        (5, float("nan"), 9, 20),
        (1, 2, 3),
        (1, 2, 3, 4, 5),
    ],
)
def test_a_box_without_area_in_the_frame_is_named(box, frame_file):
    mapper = CropMapper(make_cfg(BOX_JITTER=0.1), True)
    with pytest.raises(ValueError, match=r"frame\.png: the box \[.*\] has no area inside .* 90x60"):
        mapper({"file_name": frame_file, "bbox": box, DRAW_KEY: 1})


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_lie_in_the_upright_frame(orientation, tmp_path):
    """As detectron2 turns photos, and as the data sets' boxes count."""
    path = str(tmp_path / "turned.jpg")
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(make_frame()).save(path, exif=exif)
    upright = utils.read_image(path, "RGB")
    assert upright.shape[:2] == ((60, 90) if orientation < 5 else (90, 60))
    np.testing.assert_array_equal(make_cutter()(path, (2, 30, 50, 58)), upright[30:58, 2:50])


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK"])
def test_other_kinds_of_frames_are_read_as_detectron2_does(mode, tmp_path):
    path = str(tmp_path / "frame.tif")
    Image.fromarray(make_frame()).convert(mode).save(path)
    expected = utils.read_image(path, "RGB")[5:50, 3:20]
    np.testing.assert_array_equal(make_cutter()(path, (3, 5, 20, 50)), expected)


@pytest.mark.parametrize("name", ["gone.png", "broken.jpg"])
def test_a_missing_or_broken_frame_is_named(name, tmp_path):
    Image.fromarray(make_frame()).save(tmp_path / "broken.jpg")
    content = (tmp_path / "broken.jpg").read_bytes()
    (tmp_path / "broken.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(OSError, match=rf"{name}.*(missing or broken|not a picture|damaged|empty)"):
        CropMapper(make_cfg(), True)({"file_name": str(tmp_path / name), "bbox": [1, 2, 9, 9]})


# --- frames as the person search model gets them ---------------------------------------------


@pytest.mark.parametrize(
    ("size", "min_size", "max_size"),
    [
        ((90, 60), 30, 1333),  # half
        ((90, 60), 41, 1333),  # 61.5 x 41: 62 x 41, scales that differ a little
        ((60, 90), 41, 1333),
        ((90, 60), 60, 1333),  # as it is
        ((90, 60), 50, 47),  # the longer side decides
        ((90, 60), 100, 1333),  # enlarged
    ],
)
def test_a_crop_of_a_resized_frame_is_a_slice_of_it(size, min_size, max_size, tmp_path):
    path = str(tmp_path / "frame.png")
    frame = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(frame).save(path)
    whole = T.AugInput(frame)
    T.ResizeShortestEdge(min_size, max_size)(whole)
    height, width = whole.image.shape[:2]
    cutter = make_cutter(FRAME_MIN_SIZE=min_size, FRAME_MAX_SIZE=max_size)
    for box in [(0, 0, *size), (3.2, 5.2, 20.7, 50.2), (40, 2, 59, 33), (50, 50, 60, 60)]:
        x1, y1, x2, y2 = np.floor(np.array(box) * ([width, height] * 2) / (size * 2) + 0.5)
        expected = whole.image[int(y1) : int(y2), int(x1) : int(x2)]
        crop = cutter(path, box)
        # One grey level, here and there: Pillow keeps the source's corners in single precision.
        assert crop.shape == expected.shape
        difference = np.abs(crop.astype(int) - expected)
        assert difference.max() <= 1 and difference.mean() < 0.03


def test_ready_made_crops_are_neither_resized_nor_moved(frame_file):
    crop = {"file_name": frame_file, DRAW_KEY: 3}
    plain = CropMapper(make_cfg(), True)(crop)["image"]
    other = CropMapper(make_cfg(FRAME_MIN_SIZE=20, BOX_JITTER=0.3, CACHE_MB=1), True)(crop)
    assert torch.equal(other["image"], plain)


# --- jitter ----------------------------------------------------------------------------------


def test_each_side_moves_within_the_bounds_and_reaches_them(frame_file):
    """Box 40 wide and 20 high, a quarter: up to 10 and 5 pixels."""
    cutter = make_cutter(BOX_JITTER=0.25)
    np.random.seed(0)
    moves = np.array([place_of(cutter(frame_file, (30, 20, 70, 40))) for _ in range(300)])
    moves = moves - [30, 20, 70, 40]
    assert moves.min(0).tolist() == [-10, -5, -10, -5]
    assert moves.max(0).tolist() == [10, 5, 10, 5]
    assert np.abs(moves.mean(0)).max() < 0.6
    # The sides move on their own.
    assert np.abs(np.corrcoef(moves.T) - np.eye(4)).max() < 0.15


def test_a_box_is_clipped_before_it_is_moved_and_stays_in_the_frame(frame_file):
    """90 pixels of it stick out; the 10 inside move by 4 at most, and never out."""
    cutter = make_cutter(BOX_JITTER=0.4)
    np.random.seed(0)
    places = np.array([place_of(cutter(frame_file, (-90, 50, 10, 400))) for _ in range(300)])
    assert (places.min(0)[:2].tolist(), places.max(0)[2:].tolist()) == ([0, 46], [14, 60])
    assert (places[:, 0] <= 4).all() and (places[:, 2] >= 6).all()


@pytest.mark.parametrize("box", [(0, 0, 0.4, 0.4), (89.5, 59.5, 90, 60), (30.4, 10.4, 30.6, 11.3)])
def test_tiny_boxes_keep_a_pixel(box, frame_file):
    cutter = make_cutter(BOX_JITTER=0.49, FRAME_MIN_SIZE=33)
    np.random.seed(0)
    for _ in range(60):
        assert min(cutter(frame_file, box).shape) >= 1


def map_draws(frame_file, draws=range(10), is_train=True, seed=0, **overrides):
    cfg = make_cfg(PADDING=0, FLIP_PROBABILITY=0.0, ERASING__PROBABILITY=0.0, **overrides)
    cfg.SEED = seed
    mapper = CropMapper(cfg, is_train)
    crop = {"file_name": frame_file, "bbox": [30, 20, 60, 50]}
    return {draw: mapper({**crop, DRAW_KEY: draw})["image"] for draw in draws}


def test_jitter_is_a_function_of_seed_and_draw(frame_file):
    first = map_draws(frame_file, BOX_JITTER=0.2)
    again = map_draws(frame_file, reversed(range(10)), BOX_JITTER=0.2)
    assert all(torch.equal(first[draw], again[draw]) for draw in first)
    assert len({image.numpy().tobytes() for image in first.values()}) == 10
    other = map_draws(frame_file, BOX_JITTER=0.2, seed=1)
    assert not any(torch.equal(first[draw], other[draw]) for draw in first)


def test_no_jitter_at_test_nor_without_the_key(frame_file):
    exact = map_draws(frame_file, [0])[0]
    for images in (
        map_draws(frame_file),
        map_draws(frame_file, is_train=False, BOX_JITTER=0.2),
    ):
        assert all(torch.equal(image, exact) for image in images.values())


def test_channel_order(frame_file):
    crop = {"file_name": frame_file, "bbox": [30, 20, 46, 52]}
    cfg = make_cfg()
    rgb = CropMapper(cfg, False)(crop)["image"]
    cfg.INPUT.FORMAT = "BGR"
    assert torch.equal(CropMapper(cfg, False)(crop)["image"].flip(0), rgb)
    np.testing.assert_array_equal(rgb.permute(1, 2, 0).numpy(), make_frame()[20:52, 30:46])


# --- cache -----------------------------------------------------------------------------------


@pytest.mark.parametrize("min_size", [0, 37])
def test_the_cache_changes_nothing(min_size, frame_file):
    settings = {"BOX_JITTER": 0.3, "FRAME_MIN_SIZE": min_size}
    fresh = map_draws(frame_file, **settings)
    kept = map_draws(frame_file, CACHE_MB=1, **settings)
    assert all(torch.equal(fresh[draw], kept[draw]) for draw in fresh)


def test_the_cache_holds_what_fits(tmp_path):
    """30 x 20 pixels are 1800 bytes: two fit into 4000, the third does not, a small one does."""
    path = tmp_path / "frame.png"
    Image.fromarray(make_frame()).save(path)
    cutter = BoxCutter(jitter=0.0, min_size=0, max_size=1, cache_mb=4000 / 2**20)
    boxes = [(x, 0, x + 30, 20) for x in (0, 10, 20)] + [(5, 5, 10, 10)]
    crops = [cutter(str(path), box) for box in boxes]
    path.unlink()
    for number in (0, 1, 3):
        np.testing.assert_array_equal(cutter(str(path), boxes[number]), crops[number])
    with pytest.raises(FileNotFoundError):
        cutter(str(path), boxes[2])


@pytest.mark.parametrize(("is_train", "cache_mb"), [(True, 0), (False, 5)])
def test_nothing_is_kept_at_test_or_by_default(is_train, cache_mb, tmp_path):
    path = tmp_path / "frame.png"
    Image.fromarray(make_frame()).save(path)
    cutter = make_cutter(is_train, CACHE_MB=cache_mb)
    cutter(str(path), (0, 0, 9, 9))
    path.unlink()
    with pytest.raises(FileNotFoundError):
        cutter(str(path), (0, 0, 9, 9))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("BOX_JITTER", 0.5),
        ("BOX_JITTER", -0.1),
        ("BOX_JITTER", float("nan")),
        ("FRAME_MIN_SIZE", -1),
        ("FRAME_MAX_SIZE", 0),
        ("CACHE_MB", -1),
    ],
)
def test_values_out_of_range_name_the_key(key, value):
    with pytest.raises(ValueError, match=rf"{key} is {value}"):
        make_cutter(**{key: value})
