"""CUHK02 and the crops of CUHK-SYSU, which are for training only."""

import pytest
from helpers_small_sets import make_cuhk02, touch

from reid_heads.data.datasets.cuhk02 import load_cuhk02
from reid_heads.data.datasets.cuhk_sysu_crops import NO_CAMERA, load_cuhk_sysu_crops


def test_cuhk02_numbers_people_by_pair(tmp_path):
    dicts = load_cuhk02(make_cuhk02(tmp_path))
    # 1 + 2 + 3 + 4 + 5 people with 4 images each.
    assert len(dicts) == 60
    assert [d["person_id"] for d in dicts[:12]] == [0, 0, 0, 0, 1, 1, 2, 2, 1, 1, 2, 2]
    assert sorted({d["person_id"] for d in dicts}) == list(range(15))
    assert [d["cam_id"] for d in dicts[:12]] == [1, 1, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4]
    assert {d["cam_id"] for d in dicts} == set(range(1, 11))
    assert dicts[0]["image_id"] == "P1/cam1/001_1.png" and "split" not in dicts[0]
    assert dicts[0]["file_name"] == str(tmp_path / "P1" / "cam1" / "001_1.png")


def test_incomplete_cuhk02(tmp_path):
    root = make_cuhk02(tmp_path)
    touch(root / "P2" / "cam1", ["x.png"])
    with pytest.raises(ValueError, match=r"x\.png: the name does not begin with the person"):
        load_cuhk02(root)
    (root / "P2" / "cam1").rename(root / "P2" / "camera1")
    with pytest.raises(FileNotFoundError, match=r"no folder .*P2.cam1: is the root right"):
        load_cuhk02(root)


@pytest.mark.parametrize("load", [load_cuhk02, load_cuhk_sysu_crops])
def test_there_is_one_split(tmp_path, load):
    with pytest.raises(ValueError, match="the split 'train' is unknown; choose one of all"):
        load(tmp_path, "train")


@pytest.mark.parametrize(
    "names",
    [
        ["p100_s16_2.jpg", "p100_s2_1.jpg", "p20_s16_1.jpg", "p3_s1_1.jpg"],
        [
            "p00100_n01_s00002_hard0.png",
            "p00020_n01_s00002_hard0.png",
            "p00020_n02_s00001_hard1.png",
        ],
    ],
)
def test_cuhk_sysu_in_both_styles(tmp_path, names):
    touch(tmp_path, names)
    dicts = load_cuhk_sysu_crops(tmp_path)
    assert [d["image_id"] for d in dicts] == sorted(names)
    # Sorted by number, not by name.
    numbers = [int(name[1:].split("_")[0]) for name in sorted(names)]
    assert [d["person_id"] for d in dicts] == [sorted(set(numbers)).index(pid) for pid in numbers]
    assert {d["cam_id"] for d in dicts} == {NO_CAMERA}


def test_a_crop_in_another_style_is_named(tmp_path):
    touch(tmp_path, ["p1_s1_1.jpg", "s1.jpg"])
    with pytest.raises(ValueError, match=r"s1\.jpg: the name does not begin with the person, as p"):
        load_cuhk_sysu_crops(tmp_path)
