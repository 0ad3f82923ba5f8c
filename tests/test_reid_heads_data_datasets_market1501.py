from pathlib import Path

import pytest
from helpers_crop_layouts import make_market, write_crops, write_market_attributes

from reid_heads.data.datasets.crop_files import parse_market_name
from reid_heads.data.datasets.market1501 import load_market1501, load_market1501_attribute_groups


@pytest.fixture
def root(tmp_path):
    return make_market(tmp_path / "market")


def test_training_persons_are_relabelled_by_number(root):
    dicts = load_market1501(root, "train")
    assert [(d["image_id"], d["person_id"], d["cam_id"]) for d in dicts] == [
        ("bounding_box_train/0002_c1s1_000451_03.jpg", 0, 1),
        ("bounding_box_train/0002_c2s1_000451_01.jpg", 0, 2),
        ("bounding_box_train/0007_c3s3_077419_03.jpg", 1, 3),
        ("bounding_box_train/0011_c1s2_000100_01.jpg", 2, 1),
        ("bounding_box_train/0011_c6s2_000100_01.jpg", 2, 6),
    ]
    assert dicts[0] == {
        "file_name": str(root / "bounding_box_train" / "0002_c1s1_000451_03.jpg"),
        "image_id": "bounding_box_train/0002_c1s1_000451_03.jpg",
        "person_id": 0,
        "cam_id": 1,
    }


def test_the_gallery_keeps_distractors_and_drops_junk(root):
    dicts = load_market1501(root, "gallery")
    assert [(d["person_id"], d["cam_id"]) for d in dicts] == [(0, 1), (1, 2), (3, 3), (3, 4)]
    assert {d["split"] for d in dicts} == {"gallery"}


def test_queries_keep_their_numbers(root):
    dicts = load_market1501(root, "query")
    assert [(d["person_id"], d["cam_id"], d["split"]) for d in dicts] == [
        (1, 1, "query"),
        (3, 2, "query"),
    ]


def test_training_has_neither_junk_nor_distractors(root):
    expected = load_market1501(root, "train")
    write_crops(root / "bounding_box_train", ["-1_c1s1_000001_00.jpg", "0000_c1s1_000001_00.jpg"])
    assert load_market1501(root, "train") == expected


def test_500k_distractors_of_any_name_never_share_a_querys_person_or_camera(root):
    plain = load_market1501(root, "gallery")
    write_crops(root / "images", ["0003_c2s1_000001_00.jpg", "distractor 5.png"])
    dicts = load_market1501(root, "gallery", with_500k=True)
    assert dicts[: len(plain)] == plain
    assert [(d["image_id"], d["person_id"], d["cam_id"]) for d in dicts[len(plain) :]] == [
        ("images/0003_c2s1_000001_00.jpg", 0, 0),
        ("images/distractor 5.png", 0, 0),
    ]
    assert load_market1501(root, "gallery") == plain
    # Queries and training are the same with and without.
    for split in ("train", "query"):
        assert load_market1501(root, split, with_500k=True) == load_market1501(root, split)


def test_500k_without_its_folder(root):
    with pytest.raises(FileNotFoundError, match=r"no folder .*images: is the root right"):
        load_market1501(root, "gallery", with_500k=True)


@pytest.mark.parametrize("folder", ["", "attribute"])
def test_crops_get_the_attributes_of_their_person(root, folder):
    write_market_attributes(root / folder / "market_attribute.mat")
    # The writer gives person number n of a part the upper colour n, the lower colour n + 1.
    train = load_market1501(root, "train")
    assert [d["attributes"][-2:] for d in train] == [[0, 1], [0, 1], [1, 2], [2, 3], [2, 3]]
    gallery = load_market1501(root, "gallery")
    assert [d.get("attributes", [None] * 2)[-2:] for d in gallery] == [
        [None, None],
        [0, 1],
        [1, 2],
        [1, 2],
    ]
    assert "attributes" not in gallery[0]
    assert [d["attributes"][-2:] for d in load_market1501(root, "query")] == [[0, 1], [1, 2]]


def test_attribute_groups_are_those_of_the_file(root):
    assert load_market1501_attribute_groups(root) == ()
    write_market_attributes(root / "market_attribute.mat")
    groups = load_market1501_attribute_groups(root)
    assert len(groups) == len(load_market1501(root, "train")[0]["attributes"]) == 12


@pytest.mark.parametrize("split", ["train", "query"])
def test_a_person_without_attributes_is_named(root, split):
    write_market_attributes(root / "market_attribute.mat", train_pids=(2, 11), test_pids=(1,))
    person = {"train": 7, "query": 3}[split]
    with pytest.raises(ValueError, match=rf"person {person} of .*_c.* has no attributes"):
        load_market1501(root, split)


def test_a_wrong_root_and_an_unknown_split(root):
    with pytest.raises(FileNotFoundError, match=r"no folder .*gone.query: is the root right"):
        load_market1501(root / "gone", "query")
    with pytest.raises(ValueError, match="the split 'test' is unknown; choose one of train, query"):
        load_market1501(root, "test")


def test_an_empty_folder(root):
    for path in (root / "query").glob("*.jpg"):
        path.unlink()
    with pytest.raises(ValueError, match=r"query holds no image"):
        load_market1501(root, "query")


@pytest.mark.parametrize(
    "name", ["person2.jpg", "0002-c1s1.jpg", "2_s1_c1.png", "_c1s1_000451.jpg"]
)
def test_a_name_in_another_style_is_named(root, name):
    write_crops(root / "query", [name])
    with pytest.raises(
        ValueError, match=rf"{name}: the name does not begin with person and camera"
    ):
        load_market1501(root, "query")


def test_other_and_hidden_files_are_passed_over(root):
    expected = load_market1501(root, "query")
    write_crops(root / "query", ["._0001_c1s1_001051_00.jpg"])
    (root / "query" / "readme.txt").write_text("no image")
    (root / "query" / "folder").mkdir()
    assert load_market1501(root, "query") == expected


def test_one_image_in_two_formats(root):
    write_crops(root / "query", ["0001_c1s1_001051_00.png"])
    with pytest.raises(ValueError, match=r"twice, as 0001_.*00\.jpg and as 0001_.*00\.png"):
        load_market1501(root, "query")


def test_only_junk_and_only_one_identity(root):
    for path in (root / "bounding_box_train").glob("*.jpg"):
        path.unlink()
    write_crops(root / "bounding_box_train", ["-1_c1s1_000001_00.jpg"])
    with pytest.raises(ValueError, match=r"bounding_box_train: the train split has no crops"):
        load_market1501(root, "train")
    write_crops(root / "bounding_box_train", ["0002_c1s1_000001_00.jpg", "0002_c2s1_000001_00.jpg"])
    with pytest.raises(ValueError, match="all 2 crops show person 2; training needs at least two"):
        load_market1501(root, "train")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0002_c1s1_000451_03.jpg", (2, 1)),
        ("-1_c6s4_1.png", (-1, 6)),
        ("12345_c12.jpg", (12345, 12)),
        ("7_c105_c3.jpg", (7, 105)),
    ],
)
def test_person_and_camera_have_as_many_digits_as_they_have(name, expected):
    """One's own crops may come from more cameras than the six of Market-1501."""
    assert parse_market_name(name, Path("crops")) == expected
