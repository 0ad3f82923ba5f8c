"""SYSU-MM01's layout, its lists and its permutation file."""

import shutil

import numpy as np
import pytest
import scipy.io
from helpers_crop_layouts import write_crops
from helpers_cross_modality import SYSU_IMAGES, make_sysu, write_permutations

from reid_heads.data.datasets.modalities import check_modalities
from reid_heads.data.datasets.sysu_mm01 import (
    find_permutations,
    load_permutations,
    load_sysu_mm01,
)
from reid_heads.labels import THERMAL, VISIBLE
from reid_heads.sysu_protocol import read_permutations


@pytest.fixture
def root(tmp_path):
    return make_sysu(tmp_path / "SYSU-MM01")


def summary(dicts):
    return [(d["image_id"], d["person_id"], d["cam_id"], d["modality"]) for d in dicts]


def test_training_has_all_cameras_and_new_numbers(root):
    assert summary(load_sysu_mm01(root, "train")) == [
        ("cam1/0001/0001.jpg", 0, 1, VISIBLE),
        ("cam1/0001/0002.jpg", 0, 1, VISIBLE),
        ("cam3/0001/0001.jpg", 0, 3, THERMAL),
        ("cam2/0002/0001.jpg", 1, 2, VISIBLE),
        ("cam5/0002/0001.jpg", 1, 5, VISIBLE),
        ("cam5/0002/0002.jpg", 1, 5, VISIBLE),
        ("cam6/0002/0001.jpg", 1, 6, THERMAL),
        ("cam6/0002/0002.jpg", 1, 6, THERMAL),
        ("cam6/0002/0003.jpg", 1, 6, THERMAL),
    ]
    both = load_sysu_mm01(root, "trainval")
    assert {d["person_id"] for d in both} == {0, 1, 2}
    assert len(both) == 9 + 3
    assert all((root / d["image_id"]).samefile(d["file_name"]) for d in both)


def test_test_splits_keep_the_numbers_and_take_a_modality_each(root):
    query, gallery = load_sysu_mm01(root, "query"), load_sysu_mm01(root, "gallery")
    assert summary(query) == [
        ("cam6/0003/0001.jpg", 3, 6, THERMAL),
        ("cam6/0003/0002.jpg", 3, 6, THERMAL),
        ("cam3/0005/0001.jpg", 5, 3, THERMAL),
        ("cam6/0005/0001.jpg", 5, 6, THERMAL),
    ]
    assert [(d["person_id"], d["cam_id"]) for d in gallery] == (
        [(3, 1)] * 3 + [(3, 4)] * 2 + [(5, 2)] * 4 + [(5, 5)]
    )
    assert {d["modality"] for d in gallery} == {VISIBLE}
    assert {d["split"] for d in query} == {"query"}


def test_lists_may_be_mat_files_or_have_blanks(root):
    expected = load_sysu_mm01(root, "trainval")
    (root / "exp" / "train_id.txt").unlink()
    scipy.io.savemat(root / "exp" / "train_id.mat", {"id": np.array([[1, 2]], dtype=np.uint16)})
    (root / "exp" / "val_id.txt").write_text(" 4 ,\n")
    assert load_sysu_mm01(root, "trainval") == expected


def test_an_empty_folder_is_a_camera_that_did_not_see_the_person(root):
    expected = load_sysu_mm01(root, "gallery")
    (root / "cam1" / "0005").mkdir()
    assert load_sysu_mm01(root, "gallery") == expected
    (root / "cam1" / "0005" / "Thumbs.db").write_bytes(b"no image")
    with pytest.raises(ValueError, match="0005 holds no image"):
        load_sysu_mm01(root, "gallery")


def test_permutations_are_found_in_both_places_and_count_from_0(root):
    path = find_permutations(root)
    assert path == root / "exp" / "rand_perm_cam.mat"
    drawn = write_permutations(path)
    permutations = read_permutations(path)
    assert permutations.keys() == SYSU_IMAGES.keys()
    for key, expected in drawn.items():
        np.testing.assert_array_equal(permutations[key], expected - 1)
        assert permutations[key].dtype == np.int64
    path.rename(root / "rand_perm_cam.mat")
    assert find_permutations(root) == root / "rand_perm_cam.mat"
    assert load_permutations(root).keys() == SYSU_IMAGES.keys()
    (root / "rand_perm_cam.mat").unlink()
    assert find_permutations(root) is None
    assert load_permutations(root) is None
    assert len(load_sysu_mm01(root, "gallery")) == 10


def test_permutations_of_other_folders(root):
    write_crops(root / "cam5" / "0005", ["0002.jpg"])
    with pytest.raises(
        ValueError,
        match=r"rand_perm_cam.mat: the permutation file has 1 images of identity 5 in camera 5, "
        r"but the gallery 2",
    ):
        load_sysu_mm01(root, "gallery")
    shutil.rmtree(root / "cam5" / "0005")
    with pytest.raises(ValueError, match="1 images of identity 5 in camera 5, but the gallery 0"):
        load_sysu_mm01(root, "gallery")
    write_crops(root / "cam5" / "0005", ["0001.jpg"])
    write_crops(root / "cam4" / "0005", ["0001.jpg"])
    with pytest.raises(ValueError, match="0 images of identity 5 in camera 4, but the gallery 1"):
        load_sysu_mm01(root, "gallery")
    load_sysu_mm01(root, "query")


def test_missing_parts_are_named(root):
    with pytest.raises(ValueError, match="split 'test' is unknown; choose one of train, trainval"):
        load_sysu_mm01(root, "test")
    shutil.rmtree(root / "cam6")
    for split in ("train", "query"):
        with pytest.raises(FileNotFoundError, match=r"cam6, which .* an infrared camera"):
            load_sysu_mm01(root, split)
    load_sysu_mm01(root, "gallery")
    shutil.rmtree(root / "cam4")
    with pytest.raises(FileNotFoundError, match=r"cam4, which .* a visible-light camera"):
        load_sysu_mm01(root, "gallery")


def test_bad_lists_and_absent_persons_are_named(root):
    path = root / "exp" / "test_id.txt"
    for text in ("3,x", "", "3;5"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"test_id.txt: expected identities as '1,2,4'"):
            load_sysu_mm01(root, "query")
    path.write_text("3,9")
    with pytest.raises(FileNotFoundError, match=r"identity 9 .* has no folder 0009 in any camera"):
        load_sysu_mm01(root, "query")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"test_id.txt nor test_id.mat"):
        load_sysu_mm01(root, "query")


def test_training_persons_of_one_modality_are_refused(root):
    shutil.rmtree(root / "cam3" / "0004")
    with pytest.raises(ValueError, match=r"person 2 \(of .*cam4/0004/0001.jpg\) is thermal"):
        load_sysu_mm01(root, "trainval")
    load_sysu_mm01(root, "train")
    for folder in ("cam3/0001", "cam6/0002"):
        shutil.rmtree(root / folder)
    with pytest.raises(ValueError, match="none of the 5 training crops is thermal"):
        load_sysu_mm01(root, "train")


def test_crops_without_modality_are_visible():
    crops = [{"person_id": n, "file_name": f"{n}.jpg"} for n in range(2)]
    thermal = [{**crop, "modality": THERMAL} for crop in crops]
    check_modalities(crops + thermal)
    with pytest.raises(ValueError, match="none of the 2 training crops is thermal"):
        check_modalities(crops)
    with pytest.raises(ValueError, match="none of the 2 training crops is visible"):
        check_modalities(thermal)
    with pytest.raises(ValueError, match=r"person 1 \(of 1.jpg\) is visible"):
        check_modalities([crops[0], *thermal])
