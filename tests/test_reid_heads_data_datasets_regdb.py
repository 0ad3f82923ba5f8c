"""RegDB's layout and its ten splits."""

import shutil

import pytest
from helpers_cross_modality import make_regdb

from reid_heads.data.datasets.regdb import load_regdb
from reid_heads.labels import THERMAL, VISIBLE


@pytest.fixture
def root(tmp_path):
    return make_regdb(tmp_path / "RegDB")


def summary(dicts):
    return [(d["image_id"], d["person_id"], d["cam_id"], d["modality"]) for d in dicts]


def test_training_has_both_modalities_in_the_order_of_the_lists(root):
    assert summary(load_regdb(root, "train", 1)) == [
        ("Visible/2/back_v_0_2.bmp", 0, 1, VISIBLE),
        ("Visible/2/back_v_1_2.bmp", 0, 1, VISIBLE),
        ("Visible/7/back_v_0_7.bmp", 1, 1, VISIBLE),
        ("Visible/7/back_v_1_7.bmp", 1, 1, VISIBLE),
        ("Thermal/2/back_t_0_2.bmp", 0, 2, THERMAL),
        ("Thermal/2/back_t_1_2.bmp", 0, 2, THERMAL),
        ("Thermal/7/back_t_0_7.bmp", 1, 2, THERMAL),
        ("Thermal/7/back_t_1_7.bmp", 1, 2, THERMAL),
    ]


def test_queries_are_visible_and_the_gallery_is_thermal(root):
    query, gallery = load_regdb(root, "query", 1), load_regdb(root, "gallery", 1)
    assert summary(query)[::2] == [
        ("Visible/5/back_v_0_5.bmp", 0, 1, VISIBLE),
        ("Visible/11/back_v_0_11.bmp", 1, 1, VISIBLE),
        ("Visible/3/back_v_0_3.bmp", 2, 1, VISIBLE),
    ]
    assert [(d["person_id"], d["cam_id"], d["modality"]) for d in gallery] == [
        (label, 2, THERMAL) for label in (0, 0, 1, 1, 2, 2)
    ]
    assert {d["split"] for d in query} == {"query"}
    # Another trial has its own lists.
    assert load_regdb(root, "query", 2)[0]["image_id"] == "Visible/3/back_v_0_3.bmp"


def test_missing_parts_are_named(root):
    for trial in (0, 11):
        with pytest.raises(ValueError, match=f"trial: got {trial}, expected 1 to 10"):
            load_regdb(root, "train", trial)
    with pytest.raises(FileNotFoundError, match=r"train_visible_3.txt is missing"):
        load_regdb(root, "train", 3)
    with pytest.raises(ValueError, match="split 'val' is unknown"):
        load_regdb(root, "val")
    (root / "Thermal" / "7" / "back_t_1_7.bmp").unlink()
    with pytest.raises(FileNotFoundError, match=r"train_thermal_1.txt, line 4 lists .*back_t_1_7"):
        load_regdb(root, "train")
    shutil.rmtree(root / "Thermal")
    for split in ("train", "gallery"):
        with pytest.raises(FileNotFoundError, match="Thermal, which holds the thermal images"):
            load_regdb(root, split)
    load_regdb(root, "query")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Visible/7/back_v_0_7.bmp 0", "line 1: expected an image below Thermal/"),
        ("Thermal/7/back_t_0_7.bmp x", "line 1: .*got 'Thermal/7/back_t_0_7.bmp x'"),
        ("Thermal/7/back_t_0_7.bmp", "line 1: expected"),
        ("Thermal/7/back_t_0_7.bmp 0\nThermal/7/back_t_0_7.bmp 0", "names the image .* twice"),
        ("Thermal/2/back_t_0_2.bmp 0", r"person 1 \(of .*back_v_0_7.bmp\) is thermal"),
        ("\n", "none of the 4 training crops is thermal"),
    ],
)
def test_bad_lists_are_named(root, line, message):
    (root / "idx" / "train_thermal_1.txt").write_text(line + "\n")
    with pytest.raises(ValueError, match=message):
        load_regdb(root, "train")
