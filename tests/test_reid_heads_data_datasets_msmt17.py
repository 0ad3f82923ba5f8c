import pytest
from helpers_crop_layouts import make_msmt17

from reid_heads.data.datasets.msmt17 import find_msmt17_version, load_msmt17


def _rows(dicts):
    return [(d["image_id"], d["person_id"], d["cam_id"]) for d in dicts]


@pytest.mark.parametrize(
    ("version", "train", "test"),
    [("V1", "train", "test"), ("V2", "mask_train_v2", "mask_test_v2")],
)
def test_both_versions(tmp_path, version, train, test):
    root = make_msmt17(tmp_path, version)
    assert find_msmt17_version(root) == version
    expected = [
        (f"{train}/0000/0000_000_01_0303morning_0015_0.jpg", 0, 1),
        (f"{train}/0001/0001_000_15_0303noon_0001_1.jpg", 1, 15),
    ]
    assert _rows(load_msmt17(root, "train")) == expected
    val = (f"{train}/0000/0000_001_05_0303morning_0020_0.jpg", 0, 5)
    assert _rows(load_msmt17(root, "trainval")) == [*expected, val]
    gallery = load_msmt17(root, "gallery")
    assert _rows(gallery) == [
        (f"{test}/0000/0000_001_03_0303morning_0016_0.jpg", 0, 3),
        (f"{test}/0001/0001_000_04_0303noon_0001_0.jpg", 1, 4),
    ]
    assert [d["split"] for d in gallery] == ["gallery", "gallery"]
    assert [d["split"] for d in load_msmt17(root, "query")] == ["query"]
    assert all("split" not in d for d in load_msmt17(root, "trainval"))


def test_persons_are_the_second_column_and_sorted_by_number(tmp_path):
    root = make_msmt17(tmp_path)
    path = root / "list_train.txt"
    lines = [line.split()[0] for line in path.read_text().splitlines()]
    # Ten before two, as text; a blank line and Windows' line ends change nothing.
    path.write_bytes(f"{lines[0]} 10\r\n\r\n{lines[1]} 2\r\n".encode())
    assert [d["person_id"] for d in load_msmt17(root, "train")] == [1, 0]


def test_roots_of_neither_and_of_both_versions(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither train/ and test/ .* is the root right"):
        load_msmt17(tmp_path, "train")
    make_msmt17(tmp_path)
    (tmp_path / "mask_test_v2").mkdir()
    with pytest.raises(ValueError, match="folders of MSMT17 V1 and of V2"):
        load_msmt17(tmp_path, "train")


def test_a_missing_test_folder(tmp_path):
    root = make_msmt17(tmp_path)
    (root / "test").rename(root / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"no folder .*test: is MSMT17 unpacked"):
        load_msmt17(root, "query")


def test_a_missing_list(tmp_path):
    root = make_msmt17(tmp_path)
    (root / "list_val.txt").unlink()
    assert load_msmt17(root, "train")
    with pytest.raises(FileNotFoundError, match=r"list_val\.txt is missing"):
        load_msmt17(root, "trainval")


@pytest.mark.parametrize(
    "line", ["0000/0000_000_01_0303morning_0015_0.jpg", "a_b.jpg 0", "a_b_c_d.jpg 0", "x_y_1.jpg z"]
)
def test_a_line_that_does_not_parse_is_named(tmp_path, line):
    root = make_msmt17(tmp_path)
    with (root / "list_query.txt").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ValueError, match=rf"list_query\.txt, line 2: expected .* got '{line}'"):
        load_msmt17(root, "query")


def test_a_missing_crop_is_named(tmp_path):
    root = make_msmt17(tmp_path)
    (root / "test" / "0001" / "0001_000_04_0303noon_0001_0.jpg").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"gallery\.txt, line 2 lists .*04_0303noon.*missing"
    ):
        load_msmt17(root, "gallery")


def test_a_crop_that_is_listed_twice(tmp_path):
    root = make_msmt17(tmp_path)
    path = root / "list_val.txt"
    path.write_text((root / "list_train.txt").read_text().splitlines()[0])
    with pytest.raises(ValueError, match=r"0015_0\.jpg twice in the trainval split"):
        load_msmt17(root, "trainval")


def test_a_single_identity(tmp_path):
    root = make_msmt17(tmp_path)
    with pytest.raises(ValueError, match=r"list_val\.txt: all 1 crops show person 0"):
        load_msmt17(root, "val")
