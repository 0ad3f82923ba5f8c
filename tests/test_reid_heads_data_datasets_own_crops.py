from unicodedata import normalize

import pytest
from helpers_crop_layouts import write_crops

from reid_heads.data.datasets.own_crops import list_own_splits, load_own_crops
from reid_heads.labels import THERMAL, VISIBLE
from reid_heads.trust import trusted_files

ROWS = ["a/one.jpg,5,1", "a/two.jpg,5,2", "b/three.png,12,1"]


def _rows(dicts):
    return [(d["image_id"], d["person_id"], d["cam_id"]) for d in dicts]


@pytest.fixture
def write_csv(tmp_path):
    """Write rows to a CSV file, and the images of the first three fields."""

    def write(rows, header="path,person,camera", encoding="utf-8"):
        write_crops(tmp_path, [row.split(",")[0] for row in rows])
        path = tmp_path / "crops.csv"
        path.write_text("\n".join([header, *rows]) + "\n", encoding=encoding)
        return path

    return write


def test_a_flat_folder_is_for_training(tmp_path):
    # Person 0 is a person as any other here, cameras may have several digits.
    names = ["0_c12_front.jpg", "0_c3.png", "31_c3_1.jpg", "7_c3_1.jpg", "-1_c3_1.jpg"]
    write_crops(tmp_path, names)
    assert _rows(load_own_crops(tmp_path, "train")) == [
        ("0_c12_front.jpg", 0, 12),
        ("0_c3.png", 0, 3),
        ("31_c3_1.jpg", 2, 3),
        ("7_c3_1.jpg", 1, 3),
    ]
    assert list_own_splits(tmp_path) == ["train"]


@pytest.mark.parametrize("train", ["", "train", "bounding_box_train"])
@pytest.mark.parametrize("gallery", ["gallery", "bounding_box_test"])
def test_folders_of_the_splits(tmp_path, train, gallery):
    write_crops(tmp_path / train, ["1_c1.jpg", "2_c1.jpg"])
    write_crops(tmp_path / "query", ["8_c1.jpg"])
    write_crops(tmp_path / gallery, ["8_c2.jpg"])
    prefix = f"{train}/" if train else ""
    assert list_own_splits(tmp_path) == ["train", "query", "gallery"]
    assert _rows(load_own_crops(tmp_path, "train")) == [
        (f"{prefix}1_c1.jpg", 0, 1),
        (f"{prefix}2_c1.jpg", 1, 1),
    ]
    (crop,) = load_own_crops(tmp_path, "gallery")
    assert crop == {
        "file_name": str(tmp_path / gallery / "8_c2.jpg"),
        "image_id": f"{gallery}/8_c2.jpg",
        "person_id": 8,
        "cam_id": 2,
        "split": "gallery",
    }


def test_missing_folders(tmp_path):
    write_crops(tmp_path / "query", ["8_c1.jpg"])
    assert list_own_splits(tmp_path) == ["query"]
    with pytest.raises(FileNotFoundError, match="no folder gallery/ or bounding_box_test/"):
        load_own_crops(tmp_path, "gallery")
    with pytest.raises(ValueError, match="holds no image"):
        load_own_crops(tmp_path, "train")
    for function in (list_own_splits, lambda path: load_own_crops(path, "train")):
        with pytest.raises(FileNotFoundError, match=r"no folder and no CSV file .*gone"):
            function(tmp_path / "gone")


def test_a_name_that_does_not_parse(tmp_path):
    write_crops(tmp_path, ["1_c1.jpg", "anna_c1.jpg"])
    with pytest.raises(ValueError, match=r"anna_c1\.jpg: the name does not begin with person"):
        load_own_crops(tmp_path, "train")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_csv_file_without_split_is_for_training(write_csv, encoding):
    path = write_csv([*ROWS, "junk.jpg,-1,3"], encoding=encoding)
    assert list_own_splits(path) == ["train"]
    dicts = load_own_crops(path, "train")
    assert _rows(dicts) == [("a/one.jpg", 0, 1), ("a/two.jpg", 0, 2), ("b/three.png", 1, 1)]
    assert dicts[0]["file_name"] == str(path.parent / "a" / "one.jpg")
    with pytest.raises(ValueError, match=r"crops\.csv: the query split has no crops"):
        load_own_crops(path, "query")


def test_a_csv_file_with_splits_and_columns_in_another_order(write_csv):
    path = write_csv(
        ["x.jpg,query,3,70", "y.jpg,gallery,1,70", "z.jpg,gallery,2,71"],
        header="path,split,camera,person",
    )
    assert list_own_splits(path) == ["query", "gallery"]
    assert _rows(load_own_crops(path, "query")) == [("x.jpg", 70, 3)]
    gallery = load_own_crops(path, "gallery")
    assert _rows(gallery) == [("y.jpg", 70, 1), ("z.jpg", 71, 2)]
    assert [d["split"] for d in gallery] == ["gallery", "gallery"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("c.jpg,,1", "the person is ''; expected a name or a number"),
        ("c.jpg,nan,1", "the person is 'nan'; expected a name or a number"),
        ("c.jpg,1.5,1", "the person is '1.5'; expected a whole number or a name"),
        ("c.jpg,1,2.5", "the camera is '2.5'; expected a whole number or a name"),
        ("c.jpg,-2,1", "the person is '-2'; .* or -1 for a crop that shows nobody"),
    ],
)
def test_a_row_that_does_not_parse(write_csv, row, message):
    with pytest.raises(ValueError, match=rf"crops\.csv, line 5: .*{message}"):
        load_own_crops(write_csv([*ROWS, row]), "train")


def test_an_unknown_split_in_a_row(write_csv):
    path = write_csv(["a.jpg,1,1,test"], header="path,person,camera,split")
    with pytest.raises(ValueError, match=r"line 2: the split is 'test', expected one of train"):
        load_own_crops(path, "train")


def test_wrong_headers_and_bytes(write_csv):
    with pytest.raises(ValueError, match="the header 'file,id,cam' lacks path, person"):
        load_own_crops(write_csv(ROWS, header="file,id,cam"), "train")
    path = write_csv(ROWS)
    path.write_bytes(b"path,person,camera\ncaf\xe9.jpg,1,1\n")
    with pytest.raises(ValueError, match=r"crops\.csv is no text in UTF-8"):
        load_own_crops(path, "train")
    path.write_text("")
    with pytest.raises(ValueError, match="the header '' lacks path, person"):
        load_own_crops(path, "train")


def test_missing_and_repeated_crops(write_csv):
    path = write_csv([*ROWS, "a/one.jpg,5,1"])
    with pytest.raises(ValueError, match=r"crops\.csv names the image a/one\.jpg twice"):
        load_own_crops(path, "train")
    (path.parent / "b" / "three.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"line 4 lists .*three\.png: it is missing"):
        load_own_crops(path, "train")


def test_a_crop_under_two_names_is_one_crop(tmp_path):
    """With ./ it was trained on twice, and could be two people."""
    write_crops(tmp_path, ["a.jpg", "b.jpg"])
    path = tmp_path / "crops.csv"
    for other in ("./a.jpg", ".\\a.jpg", str(tmp_path / "a.jpg")):
        path.write_text(f"path,person\na.jpg,1\nb.jpg,2\n{other},3\n")
        with pytest.raises(ValueError, match=r"names the image a\.jpg twice"):
            load_own_crops(path, "train")


@pytest.mark.parametrize("name", ["../secret.jpg", "{}/secret.jpg"])
def test_crops_outside_the_lists_folder_are_refused(write_csv, tmp_path, monkeypatch, name):
    write_crops(tmp_path, ["secret.jpg", "lists/a.jpg"])
    path = tmp_path / "lists/crops.csv"
    path.write_text(f"path,person,camera\na.jpg,1,1\n{name.format(tmp_path)},2,1\n")
    with pytest.raises(ValueError, match=r"line 3 names .*secret\.jpg.*--trust-this-file"):
        load_own_crops(path, "train")
    with pytest.raises(ValueError, match="line 3 names"):
        list_own_splits(path)
    with trusted_files():
        assert len(load_own_crops(path, "train")) == 2
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    assert len(load_own_crops(path, "train")) == 2


def test_a_single_identity(write_csv):
    with pytest.raises(ValueError, match="all 2 crops show person 5"):
        load_own_crops(write_csv(ROWS[:2]), "train")


def test_a_column_for_the_modality(write_csv):
    rows = ["a.jpg,5,1,visible", "b.jpg,5,2,thermal", "c.jpg,6,1,visible"]
    path = write_csv(rows, header="path,person,camera,modality")
    assert [d["modality"] for d in load_own_crops(path, "train")] == [VISIBLE, THERMAL, VISIBLE]
    path = write_csv([*rows[:2], "c.jpg,6,1,infrared"], header="path,person,camera,modality")
    with pytest.raises(ValueError, match="line 4: the modality is 'infrared', expected one of"):
        load_own_crops(path, "train")


def test_without_the_column_there_is_no_modality(write_csv):
    assert all("modality" not in d for d in load_own_crops(write_csv(ROWS), "train"))


@pytest.mark.parametrize(
    "text",
    [
        "path;person;camera\na/one.jpg;5;1\na/two.jpg;5;2\nb/three.png;12;1\n",
        "Path , Person , Camera\r\na/one.jpg, 5.0, 1\r\na/two.jpg, 5, 2\r\nb/three.png,12,1\r\n",
        "PATH\tPERSON\tCAMERA\na\\one.jpg\t5\t1.0\na\\two.jpg\t5\t2\nb\\three.png\t12\t1\n",
    ],
)
def test_a_csv_file_as_spreadsheets_write_it(write_csv, text):
    path = write_csv(ROWS)
    expected = load_own_crops(path, "train")
    path.write_bytes(text.encode())
    assert load_own_crops(path, "train") == expected


def test_people_and_cameras_with_names(write_csv):
    """Names follow the numbers; a person has one number in queries and gallery."""
    rows = ["a.jpg,Bo,hall,query", "b.jpg,Anna,door,gallery", "c.jpg,Bo,3,gallery"]
    path = write_csv(rows, header="path,person,camera,split")
    assert _rows(load_own_crops(path, "query")) == [("a.jpg", 1, 5)]
    assert _rows(load_own_crops(path, "gallery")) == [("b.jpg", 0, 4), ("c.jpg", 1, 3)]


@pytest.mark.parametrize("header", ["path,person", "path,person,camera"])
def test_crops_without_cameras_are_for_training(write_csv, header):
    path = write_csv([row[:-2] for row in ROWS], header=header)
    assert _rows(load_own_crops(path, "train")) == [
        ("a/one.jpg", 0, None),
        ("a/two.jpg", 0, None),
        ("b/three.png", 1, None),
    ]


def test_a_test_without_cameras_says_how_to_score_without_their_rule(write_csv):
    path = write_csv(["a.jpg,1,query", "b.jpg,1,gallery"], header="path,person,split")
    with pytest.raises(
        ValueError, match=r"1 crops of the test have no camera, first a\.jpg; .* give"
    ):
        load_own_crops(path, "query")


@pytest.mark.parametrize("train", ["", "train"])
def test_a_folder_for_each_person(tmp_path, train, caplog):
    """It ended in the question whether the data set was unpacked completely."""
    write_crops(tmp_path / train, ["anna/0.jpg", "anna/1.png", "bo/0.pgm", "7/x.jpg"])
    (tmp_path / train / "bo" / "notes.txt").touch()
    write_crops(tmp_path / "query", ["zoe/0_c1.jpg", "anna/1_c2.jpg"])
    write_crops(tmp_path / "gallery", ["anna/1_c3.jpg", "bo/2_c1.jpg"])
    prefix = f"{train}/" if train else ""
    assert list_own_splits(tmp_path) == ["train", "query", "gallery"]
    # The number 7 is the first of three people to train on.
    assert _rows(load_own_crops(tmp_path, "train")) == [
        (f"{prefix}7/x.jpg", 0, None),
        (f"{prefix}anna/0.jpg", 1, None),
        (f"{prefix}anna/1.png", 1, None),
        (f"{prefix}bo/0.pgm", 2, None),
    ]
    assert "passed over 1 other file (.txt 1)" in caplog.text
    assert _rows(load_own_crops(tmp_path, "query")) == [
        ("query/anna/1_c2.jpg", 0, 2),
        ("query/zoe/0_c1.jpg", 2, 1),
    ]
    assert [row[1] for row in _rows(load_own_crops(tmp_path, "gallery"))] == [0, 1]


def test_folders_below_those_of_people_are_told(tmp_path, caplog):
    """Somebody whose images lie one folder deeper was left out without a word."""
    write_crops(tmp_path, ["anna/2024/1.jpg", "bo/1.jpg", "cy/1.jpg", "cy/old/2.jpg"])
    (tmp_path / ".cache").mkdir()
    assert len(load_own_crops(tmp_path, "train")) == 2
    assert "passed over 1 folders that hold no image themselves, such as anna/;" in caplog.text
    assert "passed over 1 other file (folder 1)" in caplog.text


def test_two_folders_of_one_number_are_refused(tmp_path):
    """They were one person."""
    write_crops(tmp_path, ["007/1.jpg", "7/1.jpg", "8/1.jpg"])
    with pytest.raises(ValueError, match="has the folders 007 and 7, which are one person"):
        load_own_crops(tmp_path, "train")


def test_folders_are_people_whatever_their_names(tmp_path):
    """Na and None are names of people, though not in a table."""
    names = ["Na", "None", "1.5", normalize("NFD", "Zoë")]
    write_crops(tmp_path / "query", [f"{name}/1_c1.jpg" for name in names])
    write_crops(tmp_path / "gallery", [f"{normalize('NFC', names[-1])}/1_c2.jpg"])
    assert [row[1] for row in _rows(load_own_crops(tmp_path, "query"))] == [0, 1, 2, 3]
    assert [row[1] for row in _rows(load_own_crops(tmp_path, "gallery"))] == [3]


def test_a_folder_that_is_neither_says_what_is_expected(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match="holds no image; expected images named by person"):
        load_own_crops(tmp_path, "train")


def test_what_is_passed_over_is_named(tmp_path, caplog):
    write_crops(tmp_path, ["1_c1.jpg", "2_c1.jpg", "old/3_c1.jpg"])
    for name in ("a.txt", "b.txt", "c.xyz"):
        (tmp_path / name).touch()
    assert len(load_own_crops(tmp_path, "train")) == 2
    assert "passed over 3 other files (.txt 2, .xyz 1)" in caplog.text
    assert "passed over 1 folders of images, such as old/" in caplog.text


@pytest.mark.parametrize(("column", "known"), [("camid", "camera"), ("subset", "split")])
def test_a_column_of_another_name_is_told(write_csv, caplog, column, known):
    """Training went on without cameras, and on the test's crops, without a word."""
    path = write_csv(["a.jpg,1,3", "b.jpg,2,3"], header=f"path,person,{column}")
    load_own_crops(path, "train")
    assert f"the column {column!r} is not read; is it {known!r}? Call it so" in caplog.text
    caplog.clear()
    path = write_csv(["a.jpg,1,3", "b.jpg,2,3"], header="path,person,note")
    load_own_crops(path, "train")
    assert caplog.text == ""
