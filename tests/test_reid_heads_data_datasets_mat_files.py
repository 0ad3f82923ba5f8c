"""Variants of MATLAB files that the published sets do not have."""

import numpy as np
import pytest
from scipy.io import savemat

from reid_heads.data.datasets.mat_files import read_mat, read_strings, read_whole_numbers


@pytest.mark.parametrize("options", [{"format": "4"}, {"do_compression": True}])
def test_other_versions_are_read(tmp_path, options):
    path = tmp_path / "a.mat"
    savemat(path, {"ids": np.array([[1.0, 2.0]])}, **options)
    assert read_whole_numbers(read_mat(path, "ids"), path, "ids").tolist() == [1, 2]


@pytest.mark.parametrize(
    "ids",
    [np.array([1.0, np.inf]), np.array([1.0, np.nan]), np.array([2.0**53]), np.array([1, 2**63])],
)
def test_numbers_that_stand_for_others_are_refused(tmp_path, ids):
    """Infinity was the number -9223372036854775808."""
    with pytest.raises(ValueError, match=r"a\.mat: expected whole numbers"):
        read_whole_numbers(ids, tmp_path / "a.mat", "ids")


def test_lines_of_a_table_of_characters_are_filled_up_with_blanks(tmp_path):
    """Files of the shorter names were missing."""
    path = tmp_path / "a.mat"
    savemat(path, {"names": np.array(["a.jpg", "bb.jpg"])})
    assert read_strings(read_mat(path, "names"), path) == ["a.jpg", "bb.jpg"]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"PK\x03\x04 and so on", "a zip archive: unpack it"),
        (b"", "an empty file"),
    ],
)
def test_what_is_no_such_file_is_called_by_its_kind(tmp_path, data, kind):
    """It was to be downloaded again, which gives the same."""
    path = tmp_path / "a.mat"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"a\.mat is no MATLAB file but {kind}"):
        read_mat(path, "ids")
