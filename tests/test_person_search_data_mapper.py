import numpy as np
import pytest
import torch
from detectron2.data.transforms import CropTransform, HFlipTransform, TransformList
from PIL import Image

from person_search.data.mapper import PersonSearchMapper
from person_search.inference.network import InputSettings
from person_search.resizing import RULES
from reid_heads.data.samplers import DRAW_KEY
from reid_heads.labels import UNLABELED_PID

SIZE = (96, 160)


@pytest.fixture
def train_mapper(tiny_cfg):
    return PersonSearchMapper(tiny_cfg(INPUT__MIN_SIZE_TRAIN=(48,), INPUT__MAX_SIZE_TRAIN=80), True)


def make_test_mapper(tiny_cfg, use_gt_boxes=False, min_size=48):
    cfg = tiny_cfg(
        INPUT__MIN_SIZE_TEST=min_size,
        INPUT__MAX_SIZE_TEST=1000,
        TEST__SEARCH__USE_GT_BOXES=use_gt_boxes,
    )
    return PersonSearchMapper(cfg, False)


@pytest.mark.parametrize("min_size", [48, 70, 0])
def test_frames_are_resized_as_searched_pictures(tiny_cfg, write_frames, min_size):
    """By torchvision's rule too, whose pixels are no whole numbers."""
    (frame,) = write_frames([[2, 0]], size=(101, 161))
    image = np.asarray(Image.open(frame["file_name"]))
    for rule in RULES:
        cfg = tiny_cfg(INPUT__MIN_SIZE_TEST=min_size, INPUT__RESIZE=rule, INPUT__FORMAT="RGB")
        mapped = PersonSearchMapper(cfg, False)(frame)["image"].numpy().transpose(1, 2, 0)
        settings = InputSettings(min_size, cfg.INPUT.MAX_SIZE_TEST, "RGB", rule)
        np.testing.assert_array_equal(mapped, settings.prepare(image))


def test_boxes_follow_pixels_that_torchvisions_rule_resizes(tiny_cfg, write_frames):
    (frame,) = write_frames([[2, 0]], size=(100, 160))
    original = torch.tensor([a["bbox"] for a in frame["annotations"]])
    cfg = tiny_cfg(
        INPUT__RESIZE="GeneralizedRCNNTransform",
        INPUT__MIN_SIZE_TRAIN=(50, 51),
        INPUT__MIN_SIZE_TRAIN_SAMPLING="range",
        INPUT__RANDOM_FLIP="none",
    )
    mapper, sizes = PersonSearchMapper(cfg, True), set()
    for draw in range(9):
        mapped = mapper({**frame, DRAW_KEY: draw})
        height, width = mapped["image"].shape[1:]
        sizes.add((height, width))
        scale = torch.tensor([width / 160, height / 100] * 2)
        torch.testing.assert_close(mapped["instances"].gt_boxes.tensor, original * scale)
    # 160 * 51 / 100 is 81.6.
    assert sizes == {(50, 80), (51, 81)}
    with pytest.raises(ValueError, match=r"INPUT\.RESIZE is 'nearest'; expected one of 'Resize"):
        PersonSearchMapper(tiny_cfg(INPUT__RESIZE="nearest"), True)


def flipped(mapped):
    """Whether the image was flipped: frame 0's first person stands left of the middle."""
    return mapped["instances"].gt_boxes.tensor[0, 0] > mapped["image"].shape[-1] / 2


def test_ids_follow_their_boxes_through_flips(train_mapper, write_frames):
    (frame,) = write_frames([[2, UNLABELED_PID, 0]])
    original = torch.tensor([a["bbox"] for a in frame["annotations"]])
    kinds = set()
    for draw in range(12):
        mapped = train_mapper({**frame, DRAW_KEY: draw})
        instances = mapped["instances"]
        assert mapped["image"].shape == (3, 48, 80)
        assert instances.image_size == (48, 80)
        # 160 x 96 to 80 x 48: half the size.
        expected = original / 2
        if flipped(mapped):
            expected = expected[:, [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1])
            expected += torch.tensor([80.0, 0, 80, 0])
        torch.testing.assert_close(instances.gt_boxes.tensor, expected)
        assert instances.gt_pids.tolist() == [2, UNLABELED_PID, 0]
        assert instances.gt_classes.tolist() == [0, 0, 0]
        kinds.add(bool(flipped(mapped)))
    assert kinds == {True, False}


def test_ids_follow_their_boxes_through_filtering(train_mapper, write_frames):
    """A crop empties the first box, and a crowd is dropped: the others keep their own ids."""
    (frame,) = write_frames([[3, 1, 2]])
    frame["annotations"][0]["bbox"] = [0.0, 10.0, 15.0, 60.0]
    crowd = {**frame["annotations"][1], "iscrowd": 1, "person_id": 0}
    frame["annotations"].insert(1, crowd)
    kept = [a["bbox"] for a in frame["annotations"][2:]]
    transforms = TransformList([CropTransform(20, 0, 140, 96), HFlipTransform(140)])
    train_mapper._transform_annotations(frame, transforms, (96, 140))
    instances = frame["instances"]
    assert instances.gt_pids.tolist() == [1, 2]
    for box, (x1, y1, x2, y2) in zip(instances.gt_boxes.tensor.tolist(), kept, strict=True):
        assert box == [140 - (x2 - 20), y1, 140 - (x1 - 20), y2]


def test_frame_without_people(train_mapper, tiny_cfg, write_frames):
    (frame,) = write_frames([[]])
    instances = train_mapper(frame)["instances"]
    assert len(instances) == 0
    assert instances.gt_boxes.tensor.shape == (0, 4)
    assert instances.gt_pids.dtype == torch.int64
    given = make_test_mapper(tiny_cfg, use_gt_boxes=True)(frame)["given_boxes"]
    assert given.pred_boxes.tensor.shape == (0, 4)


def test_same_draw_gives_the_same_sample(train_mapper, write_frames):
    (frame,) = write_frames([[0, 1]])
    np.random.seed(5)
    first = [train_mapper({**frame, DRAW_KEY: draw}) for draw in range(6)]
    np.random.seed(99)
    again = [train_mapper({**frame, DRAW_KEY: draw}) for draw in reversed(range(6))][::-1]
    for one, two in zip(first, again, strict=True):
        assert torch.equal(one["image"], two["image"])
    assert len({bool(flipped(m)) for m in first}) == 2


def test_mapping_leaves_the_callers_generators_and_dict_alone(train_mapper, write_frames):
    (frame,) = write_frames([[0, 1]])
    item = {**frame, DRAW_KEY: 4}
    copied = {**item, "annotations": [dict(a) for a in item["annotations"]]}
    np.random.seed(5)
    expected = np.random.rand()
    np.random.seed(5)
    train_mapper(item)
    assert np.random.rand() == expected
    assert item == copied


def test_queries_and_given_boxes_are_in_resized_pixels(tiny_cfg, write_frames):
    (frame,) = write_frames([[0, 1]])
    frame["queries"] = [
        {"query_id": 7, "bbox": [16.0, 8.0, 48.0, 72.0], "person_id": 1},
        {"query_id": 3, "bbox": [0.0, 0.0, 160.0, 96.0], "person_id": 0},
    ]
    mapped = make_test_mapper(tiny_cfg, use_gt_boxes=True, min_size=192)(frame)
    assert mapped["image"].shape == (3, 192, 320)
    assert "instances" not in mapped and "annotations" not in mapped
    # Twice the size on both axes.
    queries = mapped["queries"]
    assert queries.image_size == (192, 320)
    assert queries.query_ids.tolist() == [7, 3]
    assert queries.pred_boxes.tensor.tolist() == [[32, 16, 96, 144], [0, 0, 320, 192]]
    given = mapped["given_boxes"]
    expected = [[2 * v for v in a["bbox"]] for a in frame["annotations"]]
    assert given.pred_boxes.tensor.tolist() == expected
    assert given.scores.tolist() == [1, 1]
    assert given.pred_classes.tolist() == [0, 0]


def test_axes_may_scale_differently(tiny_cfg, write_frames):
    """101 x 50 resized to a short side of 30 is 61 x 30: 60.6 pixels wide, rounded."""
    (frame,) = write_frames([[0]], size=(50, 101))
    frame["queries"] = [{"query_id": 0, "bbox": [0.0, 0.0, 101.0, 50.0], "person_id": 0}]
    mapped = make_test_mapper(tiny_cfg, min_size=30)(frame)
    assert mapped["image"].shape == (3, 30, 61)
    expected = torch.tensor([[0.0, 0.0, 61.0, 30.0]])
    torch.testing.assert_close(mapped["queries"].pred_boxes.tensor, expected)


def test_frame_without_queries_has_no_queries(tiny_cfg, write_frames):
    (frame,) = write_frames([[0]])
    mapper = make_test_mapper(tiny_cfg)
    assert "queries" not in mapper(frame)
    assert "queries" not in mapper({**frame, "queries": []})
    assert "given_boxes" not in mapper(frame)


def _remove(path):
    path.unlink()


def _make_text(path):
    path.write_text("not an image")


def _truncate(path):
    path.write_bytes(path.read_bytes()[:400])


def _empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [_remove, _make_text, _truncate, _empty])
@pytest.mark.parametrize("is_train", [True, False])
def test_missing_or_broken_image_names_the_file(damage, is_train, tiny_cfg, write_frames, tmp_path):
    """A mapper never returns None: detectron2's MapDataset would then fail with a TypeError about
    random.sample on Python 3.11."""
    (frame,) = write_frames([[0]])
    damage(tmp_path / "frames" / "0.jpg")
    with pytest.raises(
        OSError, match=r"frames/0\.jpg.*(missing or broken|not a picture|damaged|empty)"
    ):
        PersonSearchMapper(tiny_cfg(), is_train)(frame)


def test_image_of_another_size_names_the_file(train_mapper, write_frames, tmp_path):
    (frame,) = write_frames([[0]])
    Image.new("RGB", (30, 20)).save(tmp_path / "frames" / "0.jpg")
    with pytest.raises(ValueError, match=r"frames/0\.jpg"):
        train_mapper(frame)


def test_colour_jitter_changes_training_colours_and_nothing_else(tiny_cfg, write_frames):
    (frame,) = write_frames([[0, 1]])
    strengths = (0.0, 0.3)
    plain, jittered = (
        PersonSearchMapper(tiny_cfg(INPUT__COLOR_JITTER=s, INPUT__RANDOM_FLIP="none"), True)(
            {**frame, DRAW_KEY: 3}
        )
        for s in strengths
    )
    assert not torch.equal(plain["image"], jittered["image"])
    assert torch.equal(plain["instances"].gt_boxes.tensor, jittered["instances"].gt_boxes.tensor)
    tested = [PersonSearchMapper(tiny_cfg(INPUT__COLOR_JITTER=s), False)(frame) for s in strengths]
    assert torch.equal(tested[0]["image"], tested[1]["image"])
