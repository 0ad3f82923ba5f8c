import numpy as np
import pytest
from helpers_crop_layouts import (
    DUKE_FLAGS,
    DUKE_PLAIN,
    attribute_fields,
    make_duke,
    write_attributes,
)

from reid_heads.data.datasets.dukemtmc import load_dukemtmc, load_dukemtmc_attribute_groups


def _rows(dicts):
    return [(d["image_id"], d["person_id"], d["cam_id"], d.get("split")) for d in dicts]


def test_the_splits(tmp_path):
    root = make_duke(tmp_path)
    assert _rows(load_dukemtmc(root, "train")) == [
        ("bounding_box_train/0001_c2_f0046182.jpg", 0, 2, None),
        ("bounding_box_train/0008_c8_f0046985.jpg", 1, 8, None),
    ]
    assert _rows(load_dukemtmc(root, "query")) == [
        ("query/0005_c2_f0046985.jpg", 5, 2, "query"),
    ]
    assert _rows(load_dukemtmc(root, "gallery")) == [
        ("bounding_box_test/0005_c5_f0051341.jpg", 5, 5, "gallery"),
        ("bounding_box_test/0009_c7_f0051342.jpg", 9, 7, "gallery"),
    ]


def test_attributes(tmp_path):
    root = make_duke(tmp_path)
    assert load_dukemtmc_attribute_groups(root) == ()
    write_attributes(
        root / "duke_attribute.mat",
        attribute_fields([1, 8], DUKE_PLAIN, DUKE_FLAGS, upbrown=[1, 2], shoes=[2, 1]),
        attribute_fields([5], DUKE_PLAIN, DUKE_FLAGS, -1, downred=[2]),
    )
    names = [name for name, _ in load_dukemtmc_attribute_groups(root)]
    train = [d["attributes"] for d in load_dukemtmc(root, "train")]
    upper, lower, shoes = (names.index(name) for name in ("up_colour", "down_colour", "shoes"))
    # Of the 8 upper colours brown is the last, the class after it is "none"; of the lower 7 is.
    assert np.array(train)[:, [upper, lower, shoes]].tolist() == [[8, 7, 1], [7, 7, 0]]
    (query,) = load_dukemtmc(root, "query")
    assert query["attributes"][lower] == 2
    # Person 9 is nowhere but in the gallery.
    assert ["attributes" in d for d in load_dukemtmc(root, "gallery")] == [True, False]


def test_wrong_root_and_split(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder .*bounding_box_train"):
        load_dukemtmc(tmp_path, "train")
    with pytest.raises(ValueError, match="'val' is unknown"):
        load_dukemtmc(tmp_path, "val")
