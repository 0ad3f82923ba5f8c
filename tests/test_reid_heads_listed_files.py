from pathlib import Path
from unicodedata import normalize

import pytest

from reid_heads.listed_files import check_listed, hint_at_missing, local_name
from reid_heads.trust import trusted_files


@pytest.mark.parametrize("name", ["a.jpg", "deep/er/a.jpg", "deep/../a.jpg", "..a.jpg", "{}/a.jpg"])
def test_names_inside_pass(tmp_path, name):
    check_listed(name.format(tmp_path), tmp_path, "list.csv, line 2")


@pytest.mark.parametrize(
    "name", ["../a.jpg", "deep/../../a.jpg", "/etc/passwd", "{}x/a.jpg", "..", "a/../../x\0"]
)
def test_names_outside_are_refused_unless_trusted(tmp_path, name):
    name = name.format(tmp_path)
    with pytest.raises(ValueError, match=r"list\.csv, line 2 names .*outside of .*trust-this-file"):
        check_listed(name, tmp_path, "list.csv, line 2")
    with trusted_files():
        check_listed(name, tmp_path, "list.csv, line 2")


def test_a_list_may_name_files_of_further_folders(tmp_path):
    check_listed(str(tmp_path / "sets/a.jpg"), tmp_path / "lists", "x", [tmp_path / "sets"])
    with pytest.raises(ValueError, match="sets"):
        check_listed(str(tmp_path / "other/a.jpg"), tmp_path / "lists", "x", [tmp_path / "sets"])


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("cam1\\p1.jpg", "cam1/p1.jpg"),
        (".\\cam1\\p1.jpg", "cam1/p1.jpg"),
        ("./cam1//p1.jpg", "cam1/p1.jpg"),
        ("{}/cam1/p1.jpg", "cam1/p1.jpg"),
        (normalize("NFC", "é.jpg"), normalize("NFD", "é.jpg")),
        ("odd\\name.jpg", "odd\\name.jpg"),
        ("../p1.jpg", "../p1.jpg"),
        ("/elsewhere/p1.jpg", "/elsewhere/p1.jpg"),
        ("", ""),
    ],
)
def test_a_listed_file_has_one_name_however_it_is_written(tmp_path, listed, expected):
    """A list that names a file twice, once with ./, counted it as two."""
    for name in ("odd\\name.jpg", normalize("NFD", "é.jpg")):
        (tmp_path / name).touch()
    assert local_name(listed.format(tmp_path), tmp_path) == expected


@pytest.mark.parametrize(
    ("listed", "hint"),
    [
        ("P1.JPG", "; there is 'p1.jpg', which is another name"),
        ("p1.png", "; there is 'p1.jpg', which"),
        ("p1.jpg ", "; there is 'p1.jpg', which"),
        ("'p1.jpg'", "; there is 'p1.jpg', which"),
        ("a%20b.jpg", "; there is 'a b.jpg', which"),
        ("C:/data/p1.jpg", "; the list names files of a Windows machine (C:): write them relative"),
        ("file:/data/p1.jpg", "; the list names URLs: write paths relative to the folder"),
        ("gone/p1.jpg", "; there is no folder {}/gone"),
        ("p2.jpg", ""),
    ],
)
def test_what_may_be_wrong_with_a_missing_file(tmp_path, listed, hint):
    for name in ("p1.jpg", "a b.jpg"):
        (tmp_path / name).touch()
    found = hint_at_missing(tmp_path / listed)
    assert found.startswith(hint.format(tmp_path)) and bool(found) == bool(hint)


def test_the_hint_needs_no_folder():
    assert hint_at_missing(Path("/there/is/none.jpg")) == "; there is no folder /there/is"
