from functools import partial

import pytest
from helpers_crop_layouts import (
    make_cuhk03_np,
    make_cuhk03_release,
    make_duke,
    make_market,
    make_msmt17,
    write_crops,
    write_market_attributes,
)

from reid_heads.data.datasets.combine_all import combine_all
from reid_heads.data.datasets.crop_files import SPLITS
from reid_heads.data.datasets.cuhk03 import load_cuhk03
from reid_heads.data.datasets.dukemtmc import load_dukemtmc
from reid_heads.data.datasets.market1501 import load_market1501
from reid_heads.data.datasets.msmt17 import load_msmt17


def _rows(dicts):
    return [(d["image_id"].split("/")[-1], d["person_id"], d["cam_id"]) for d in dicts]


def test_market_without_junk_and_distractors(tmp_path):
    root = make_market(tmp_path)
    load = partial(load_market1501, root)
    dicts = combine_all(load, SPLITS, distractor_pids=(0,))
    # Of the test's 2 queries and 4 gallery images (junk is gone) one is a distractor.
    assert dicts[:5] == load("train")
    # Training people 2, 7, 11 are 0..2; test people 1 and 3 follow.
    assert _rows(dicts[5:]) == [
        ("0001_c1s1_001051_00.jpg", 3, 1),
        ("0003_c2s1_001051_00.jpg", 4, 2),
        ("0001_c2s1_001051_01.jpg", 3, 2),
        ("0003_c3s1_001051_01.jpg", 4, 3),
        ("0003_c4s1_001051_02.jpg", 4, 4),
    ]
    assert not any("split" in entry for entry in dicts)
    assert sorted({entry["person_id"] for entry in dicts}) == [0, 1, 2, 3, 4]


def test_the_loaders_dicts_are_not_changed(tmp_path):
    splits = {split: load_market1501(make_market(tmp_path), split) for split in SPLITS}
    copies = {split: [dict(entry) for entry in dicts] for split, dicts in splits.items()}
    combine_all(splits.__getitem__, SPLITS, (0,))
    assert splits == copies


def test_attributes_of_test_people_stay_theirs(tmp_path):
    root = make_market(tmp_path)
    write_market_attributes(root / "market_attribute.mat")
    dicts = combine_all(partial(load_market1501, root), SPLITS, (0,))
    # Person number n of a part has the upper colour n and the lower colour n + 1.
    assert [d["attributes"][-2:] for d in dicts[5:]] == [[0, 1], [1, 2], [0, 1], [1, 2], [1, 2]]


def test_dukes_distractors_are_people_of_their_own(tmp_path):
    dicts = combine_all(partial(load_dukemtmc, make_duke(tmp_path)), SPLITS)
    # Training 1 and 8, test 5, and 9, whom only the gallery has.
    assert [d["person_id"] for d in dicts] == [0, 1, 2, 2, 3]


def test_msmt17_numbers_its_test_people_anew(tmp_path):
    load = partial(load_msmt17, make_msmt17(tmp_path))
    dicts = combine_all(load, ("trainval", "query", "gallery"))
    assert [d["person_id"] for d in dicts] == [0, 1, 0, 2, 2, 3]
    assert len({d["image_id"] for d in dicts}) == 6


@pytest.mark.parametrize("boxes", ["labeled", "detected"])
def test_cuhk03_in_both_layouts(tmp_path, boxes):
    folder = combine_all(partial(load_cuhk03, make_cuhk03_np(tmp_path / "np"), boxes=boxes), SPLITS)
    number = 4 if boxes == "detected" else 3
    assert [d["person_id"] for d in folder] == [0, 0, 1, 1][:number] + [2] * 4
    release = make_cuhk03_release(tmp_path / "release")
    dicts = combine_all(partial(load_cuhk03, release, boxes=boxes), SPLITS)
    # All ten images of the release, of four people, each once.
    assert len({d["image_id"] for d in dicts}) == len(dicts) == 10
    assert {d["person_id"] for d in dicts} == {0, 1, 2, 3}


def test_numbers_in_both_parts_are_two_people(tmp_path):
    root = make_duke(tmp_path)
    write_crops(root / "bounding_box_train", ["0005_c1_f0000001.jpg"])
    dicts = combine_all(partial(load_dukemtmc, root), SPLITS)
    people = {name: pid for name, pid, _ in _rows(dicts)}
    assert people["0005_c1_f0000001.jpg"] != people["0005_c5_f0051341.jpg"]
    assert people["0005_c2_f0046985.jpg"] == people["0005_c5_f0051341.jpg"]


def test_an_image_in_two_splits_is_named():
    dicts = [{"image_id": "a.jpg", "person_id": 0, "split": "query"}]
    splits = {"train": [{"image_id": "t.jpg", "person_id": 0}], "query": dicts, "gallery": dicts}
    with pytest.raises(ValueError, match=r"image a\.jpg is in two of the splits train, query, ga"):
        combine_all(splits.__getitem__, SPLITS)
