"""features.npz: what is written is read, and what is wrong is named."""

from dataclasses import asdict

import numpy as np
import pytest

from reid_heads.evaluation.features import ReIDFeatures, load_features, save_features


def make_arrays():
    rng = np.random.default_rng(0)
    return {
        "query_features": rng.standard_normal((2, 4)).astype(np.float32),
        "query_pids": np.array([1, 2]),
        "query_camids": np.array([0, 0]),
        "gallery_features": rng.standard_normal((3, 4)).astype(np.float32),
        "gallery_pids": np.array([1, 2, 0]),
        "gallery_camids": np.array([1, 1, 2]),
    }


def test_round_trip(tmp_path):
    path = tmp_path / "deep" / "features.npz"
    save_features(path, ReIDFeatures(**make_arrays()))
    loaded = asdict(load_features(path))
    for name, array in make_arrays().items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype
    assert [file.name for file in path.parent.iterdir()] == ["features.npz"]


def test_half_precision_and_extra_arrays_are_accepted(tmp_path):
    arrays = make_arrays()
    arrays["query_features"] = arrays["query_features"].astype(np.float16)
    np.savez(tmp_path / "f.npz", **arrays, names=np.array(["a"]))
    assert load_features(tmp_path / "f.npz").query_features.dtype == np.float16


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("query_pids", None, "no array named query_pids; expected query_features"),
        ("query_pids", np.array([1, 2, 3]), "query_pids: 3 rows, but query_features has 2"),
        ("gallery_camids", np.array([1]), "gallery_camids: 1 rows, but gallery_features has 3"),
        ("gallery_pids", np.array([1.0, 2, 3]), "gallery_pids: got float64, expected a NumPy"),
        ("gallery_pids", np.array([[1], [2], [3]]), r"gallery_pids: got shape \(3, 1\)"),
        ("query_features", np.ones((2, 4), int), "query_features: got int64"),
        ("query_features", np.ones(4), r"query_features: got shape \(4,\)"),
        ("query_features", np.ones((0, 4)), r"query_features: got shape \(0, 4\)"),
        ("query_features", np.ones((2, 5)), "query_features: 5 values a row, but gallery_features"),
        (
            "gallery_features",
            np.array([[1.0] * 4, [1, 2, np.nan, 4], [np.inf] * 4]),
            "gallery_features: NaN or infinity, first in row 1",
        ),
        ("query_camids", np.array([None, 1]), "query_camids: Object arrays"),
    ],
)
def test_bad_arrays_are_named_with_their_file(tmp_path, name, value, message):
    arrays = make_arrays()
    arrays[name] = value
    if value is None:
        del arrays[name]
    path = tmp_path / "features.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=message) as caught:
        load_features(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_nan_far_down_is_found():
    arrays = make_arrays()
    arrays["gallery_features"] = np.ones((9000, 4), np.float32)
    arrays["gallery_features"][8500, 2] = np.inf
    arrays["gallery_pids"] = arrays["gallery_camids"] = np.zeros(9000, int)
    with pytest.raises(ValueError, match="first in row 8500"):
        ReIDFeatures(**arrays)


def test_no_file_and_no_archive(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.npz: no such features file"):
        load_features(tmp_path / "gone.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.npz: no \.npz archive"):
        load_features(tmp_path / "text.npz")
    whole = tmp_path / "whole.npz"
    np.savez(whole, **make_arrays())
    (tmp_path / "cut.npz").write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"cut\.npz: "):
        load_features(tmp_path / "cut.npz")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "features.npz"
    save_features(path, ReIDFeatures(**make_arrays()))
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        save_features(path, ReIDFeatures(**make_arrays()))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["features.npz"]
