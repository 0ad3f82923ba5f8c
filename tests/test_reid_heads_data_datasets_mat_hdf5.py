import sys

import numpy as np
import pytest
import scipy.io
from helpers_layouts import make_cuhk_sysu, make_prw
from helpers_mat_hdf5 import save_as_hdf5

from person_search.data.cuhk_sysu import load_cuhk_sysu, load_cuhk_sysu_protocol
from person_search.data.prw import load_prw, load_prw_protocol
from reid_heads.data.datasets.mat_files import read_mat


def _cells(*values, shape=None):
    cells = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        cells[row] = value
    return cells.reshape(shape or (1, -1))


def _struct(**fields):
    struct = np.empty((1, 1), dtype=[(name, object) for name in fields])
    for name, value in fields.items():
        struct[name][0, 0] = value
    return struct


VALUES = {
    "row": np.array([[1, 2, 3]], np.uint16),
    "table": np.arange(6.0).reshape(2, 3),
    "one": np.array([[7.5]]),
    "empty": np.zeros((0, 0)),
    "yes": np.array([[True, False]]),
    "text": "für",
    "texts": _cells("a.jpg", "b c.jpg"),
    "column": _cells("a", np.array([[1, 2]]), shape=(2, 1)),
    "lone": _cells("only.jpg"),
    "struct": _struct(zeta=np.arange(3), alpha="s1", inner=_struct(x=_cells("p", "q"))),
    "people": np.concatenate([_struct(name="a", box=np.arange(4)), _struct(name="b", box=[[9]])]),
}


def _plain(value):
    """Return nested lists, in which arrays of objects can be compared."""
    if isinstance(value, np.ndarray) and value.dtype.names:
        return [
            [(name, _plain(row[name])) for name in value.dtype.names]
            for row in np.atleast_1d(value).ravel()
        ]
    if isinstance(value, np.ndarray):
        return [value.shape, [_plain(one) for one in value.ravel().tolist()]]
    return value


@pytest.mark.parametrize("name", VALUES)
def test_version_7_3_gives_what_version_7_does(tmp_path, name):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {name: VALUES[name]})
    expected = read_mat(path, name)
    save_as_hdf5(path)
    with pytest.raises(NotImplementedError):
        scipy.io.loadmat(path)
    found = read_mat(path, name)
    assert _plain(found) == _plain(expected)
    assert getattr(found, "shape", None) == getattr(expected, "shape", None)


@pytest.mark.parametrize(
    ("make", "load", "load_protocol"),
    [
        (make_cuhk_sysu, load_cuhk_sysu, load_cuhk_sysu_protocol),
        (make_prw, load_prw, load_prw_protocol),
    ],
)
def test_data_sets_saved_anew_as_version_7_3_are_read(tmp_path, make, load, load_protocol):
    """Structs in cells in structs: MATLAB's -v7.3 of the published files."""
    make(tmp_path)
    expected = [load(tmp_path, split) for split in ("train", "test")]
    protocol = load_protocol(tmp_path)
    files = list(tmp_path.rglob("*.mat"))
    for file in files:
        save_as_hdf5(file)
    assert len(files) > 4
    assert [load(tmp_path, split) for split in ("train", "test")] == expected
    again = load_protocol(tmp_path)
    for name in ("query_boxes", "true_boxes", "gallery_mask", "query_pids"):
        np.testing.assert_array_equal(getattr(again, name), getattr(protocol, name))


def test_missing_keys_and_damage(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"table": VALUES["table"], "texts": VALUES["texts"]})
    save_as_hdf5(path)
    with pytest.raises(ValueError, match=r"keys \['table', 'texts'\], but none of .*\['gone'\]"):
        read_mat(path, "gone")
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(ValueError, match=r"a\.mat cannot be read .* download or unpack it again"):
        read_mat(path, "table")


def test_without_h5py_it_says_what_to_do(tmp_path, monkeypatch):
    """The advice to download the file again did not help."""
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"one": 1})
    save_as_hdf5(path)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ValueError, match=r"version 7\.3, .* pip install h5py, or save it .* -v7"):
        read_mat(path, "one")
