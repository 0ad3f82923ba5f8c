import errno
import shutil
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from helpers_crop_layouts import (
    CUHK03_PEOPLE,
    cuhk03_image,
    cuhk03_name,
    make_cuhk03_np,
    make_cuhk03_release,
    write_crops,
    write_cuhk03_config,
)
from PIL import Image

from reid_heads.data.datasets import cuhk03_release
from reid_heads.data.datasets.cuhk03 import load_cuhk03, load_cuhk03_classic


def _rows(dicts):
    return [(d["image_id"], d["person_id"], d["cam_id"]) for d in dicts]


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return make_cuhk03_release(tmp_path_factory.mktemp("release") / "cuhk03_release")


@pytest.fixture
def root(release, tmp_path):
    """A copy of the release's files, for a test to change."""
    return shutil.copytree(release, tmp_path / release.name)


def test_new_protocol_in_market_layout(tmp_path):
    root = make_cuhk03_np(tmp_path)
    assert _rows(load_cuhk03(root, "train")) == [
        ("labeled/bounding_box_train/0002_c1_1.png", 0, 1),
        ("labeled/bounding_box_train/0002_c2_6.png", 0, 2),
        ("labeled/bounding_box_train/0004_c1_10.png", 1, 1),
    ]
    assert len(load_cuhk03(root, "train", "detected")) == 4
    assert _rows(load_cuhk03(root, "query", "detected")) == [
        ("detected/query/0001_c1_1.jpg", 1, 1),
        ("detected/query/0001_c2_6.jpg", 1, 2),
    ]
    assert [d["split"] for d in load_cuhk03(root, "gallery")] == ["gallery"] * 2


def test_new_protocol_from_the_release(root):
    # The lists count from 1: of the images of person (1, 1), 1 and 3 are queries.
    assert _rows(load_cuhk03(root, "query")) == [
        ("images_labeled/1_001_1_01.png", 1, 1),
        ("images_labeled/1_001_2_06.png", 1, 2),
    ]
    assert _rows(load_cuhk03(root, "gallery", "detected")) == [
        ("images_detected/1_001_1_02.png", 1, 1),
        ("images_detected/1_001_2_07.png", 1, 2),
    ]
    train = load_cuhk03(root, "train")
    assert [d["person_id"] for d in train] == [0, 0, 1, 1, 2, 2]
    assert [d["cam_id"] for d in train] == [1, 2] * 3


def test_each_kind_of_boxes_is_extracted_once_with_its_pixels(root, monkeypatch):
    load_cuhk03(root, "train")
    assert not (root / "images_detected").exists()
    folder = root / "images_labeled"
    people = [(*key, number) for key, numbers in CUHK03_PEOPLE.items() for number in numbers]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        cuhk03_name(*image) for image in people
    )
    for image in people:
        pixels = np.asarray(Image.open(folder / cuhk03_name(*image)))
        np.testing.assert_array_equal(pixels, cuhk03_image(*image))
    monkeypatch.setattr(cuhk03_release, "_iterate_images", None)
    assert len(load_cuhk03(root, "train")) == 6


def test_images_that_are_extracted_do_without_the_release_file(root):
    expected = load_cuhk03(root, "train")
    (root / "cuhk-03.mat").unlink()
    assert load_cuhk03(root, "train") == expected


def test_lists_beside_the_release(root):
    expected = load_cuhk03(root, "train")
    for path in root.glob("*config*.mat"):
        path.rename(root.parent / path.name)
    assert load_cuhk03(root, "train") == expected
    (root.parent / "cuhk03_new_protocol_config_labeled.mat").unlink()
    with pytest.raises(FileNotFoundError, match=r"config_labeled\.mat is missing: it comes with"):
        load_cuhk03(root, "train")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "the disk is full: make room and start again"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EACCES, "no right to write"),
    ],
)
def test_an_extraction_that_cannot_write_is_continued_later(root, monkeypatch, code, message):
    write_png = cuhk03_release._write_png
    written = []

    def fail_at_the_fourth(path, image):
        if len(written) == 3:
            raise OSError(code, "No more")
        write_png(path, image)
        written.append(path.name)

    monkeypatch.setattr(cuhk03_release, "_write_png", fail_at_the_fourth)
    with pytest.raises(
        OSError, match=rf"images of .*cuhk-03\.mat to .*partial; .*{message}"
    ) as info:
        load_cuhk03(root, "train")
    assert info.value.errno == code
    assert not (root / "images_labeled").exists()

    rest = []

    def record(path, image):
        write_png(path, image)
        rest.append(path.name)

    monkeypatch.setattr(cuhk03_release, "_write_png", record)
    assert len(load_cuhk03(root, "train")) == 6
    assert len(rest) == 7 and not set(rest) & set(written)
    assert not (root / "images_labeled.partial").exists()


def test_a_half_written_image_is_written_anew(root, monkeypatch):
    def save_half(self, path, **options):
        path.write_bytes(b"half of a PNG file")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="the disk is full"):
        patch.setattr(Image.Image, "save", save_half)
        load_cuhk03(root, "train")
    for entry in load_cuhk03(root, "train"):
        assert Image.open(entry["file_name"]).size == (4, 6)


def test_processes_that_extract_together_wait_for_the_first(root, monkeypatch):
    calls = []
    iterate = cuhk03_release._iterate_images
    monkeypatch.setattr(
        cuhk03_release, "_iterate_images", lambda *a: calls.append(a) or iterate(*a)
    )
    # The lock is of an open file, so that threads exclude each other as processes do.
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: load_cuhk03(root, "train"), range(4)))
    assert len(calls) == 1
    assert all(result == results[0] for result in results)


def test_classic_protocol(root):
    # Of the test sets, the second holds the persons (1, 2) and (2, 1).
    assert [d["person_id"] for d in load_cuhk03_classic(root, "query")] == [1001] * 4
    assert _rows(load_cuhk03_classic(root, "query", "detected", split_number=1)) == [
        ("images_detected/1_002_1_01.png", 1002, 1),
        ("images_detected/1_002_2_06.png", 1002, 2),
        ("images_detected/2_001_1_03.png", 2001, 1),
        ("images_detected/2_001_2_10.png", 2001, 2),
    ]
    train = load_cuhk03_classic(root, "train", split_number=1)
    assert [d["person_id"] for d in train] == [0, 0, 0, 0, 1, 1]
    query, gallery = (load_cuhk03_classic(root, split) for split in ("query", "gallery"))
    assert _rows(query) == _rows(gallery)
    assert {d["split"] for d in query} == {"query"}
    assert {d["split"] for d in gallery} == {"gallery"}


def test_test_sets_that_do_not_exist(root):
    for number in (-1, 2):
        with pytest.raises(ValueError, match=rf"split_number is {number}, but .* sets 0 to 1"):
            load_cuhk03_classic(root, "train", split_number=number)


def test_wrong_roots_and_arguments(tmp_path, root):
    with pytest.raises(FileNotFoundError, match=r"neither cuhk-03\.mat .* nor labeled/"):
        load_cuhk03(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match=r"neither cuhk-03\.mat"):
        load_cuhk03_classic(tmp_path, "train")
    with pytest.raises(ValueError, match="boxes are 'labeled' or 'detected', not 'both'"):
        load_cuhk03(root, "train", "both")
    with pytest.raises(ValueError, match="the split 'test' is unknown"):
        load_cuhk03(root, "test")


def test_broken_release_files(root):
    path = root / "cuhk-03.mat"
    path.write_bytes(path.read_bytes()[:500])
    for load in (load_cuhk03, load_cuhk03_classic):
        with pytest.raises(ValueError, match=r"cuhk-03\.mat is not the HDF5 file of CUHK03"):
            load(root, "train")
    with h5py.File(path, "w") as file:
        file["something"] = 1
    with pytest.raises(ValueError, match=r"not the HDF5 file of CUHK03 .*labeled"):
        load_cuhk03(root, "train")


def test_a_listed_image_that_is_missing(root):
    load_cuhk03(root, "train")
    (root / "images_labeled" / "1_002_1_01.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"lists 1_002_1_01\.png, but images_labeled/"):
        load_cuhk03(root, "train")
    write_crops(root / "images_labeled", ["person.png"])
    with pytest.raises(ValueError, match=r"person\.png: expected a name as 1_001_1_01\.png"):
        load_cuhk03_classic(root, "train")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_idx": np.array([[1], [11]])}, "'train_idx' has 11, expected 1 to 10"),
        ({"train_idx": np.array([[0], [1]])}, "'train_idx' has 0, expected 1 to 10"),
        ({"train_idx": np.array([[5], [7], [5]])}, r"names the image .*1_002_1_01\.png twice"),
        ({"labels": np.ones((9, 1))}, "'filelist' has 10 names, but 'labels' 9"),
        ({"filelist": np.array(["a.png"] * 10, dtype=object)}, "expected names as .* got 'a.png'"),
        ({"labels": np.ones((10, 1))}, "all 6 crops show person 1"),
    ],
)
def test_broken_lists(root, changes, message):
    write_cuhk03_config(root / "cuhk03_new_protocol_config_labeled.mat", **changes)
    with pytest.raises(ValueError, match=message):
        load_cuhk03(root, "train")
