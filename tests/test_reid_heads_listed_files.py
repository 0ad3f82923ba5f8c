import pytest

from reid_heads.listed_files import check_listed
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
