"""The command that scores saved features."""

import json
import subprocess
import sys

import numpy as np
import pytest

from reid_heads.evaluate import main
from reid_heads.evaluation.features import ReIDFeatures, save_features
from reid_heads.evaluation.scoring import PROTOCOLS, score_features


@pytest.fixture
def features(tmp_path):
    """Random features of 12 people in three cameras; the last query has no match."""
    rng = np.random.default_rng(0)
    pids = np.arange(36) % 12
    centers = rng.standard_normal((12, 8)).astype(np.float32)
    features = ReIDFeatures(
        query_features=centers + rng.standard_normal((12, 8)).astype(np.float32),
        query_pids=np.append(np.arange(11), 77),
        query_camids=np.zeros(12, int),
        gallery_features=centers[pids] + rng.standard_normal((36, 8)).astype(np.float32),
        gallery_pids=pids,
        gallery_camids=np.arange(36) // 12,
    )
    save_features(tmp_path / "features.npz", features)
    return features


def run(tmp_path, *options, file="features.npz"):
    return main(["--features", str(tmp_path / file), *map(str, options)])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain(tmp_path, features, protocol, capsys):
    out = tmp_path / "new" / "out.json"
    assert run(tmp_path, "--protocol", protocol, "--json", out) == 0
    expected = score_features(features, protocol)["reid"].metrics()
    assert json.loads(out.read_text()) == expected
    assert set(expected) == {"mAP", "mINP", "top1", "top5", "top10"}
    printed = capsys.readouterr().out
    for part in ("12 queries, 36 gallery", "1 queries skipped", "top10", f"{expected['mAP']:.2f}"):
        assert part in printed


def test_reranking_and_expansion(tmp_path, features, capsys):
    out = tmp_path / "out.json"
    options = ("--rerank", "--k1", 4, "--k2", 2, "--lambda", 0.5, "--expand", "--alpha", 0)
    assert run(tmp_path, "--protocol", "market1501", "--json", out, *options) == 0
    expected = score_features(
        features,
        "market1501",
        reranking={"k1": 4, "k2": 2, "lambda_value": 0.5},
        query_expansion={"alpha": 0.0},
    )
    written = json.loads(out.read_text())
    assert written.pop("reid_reranked") == expected["reid_reranked"].metrics()
    assert written.pop("reid_expanded") == expected["reid_expanded"].metrics()
    assert written == expected["reid"].metrics()
    printed = capsys.readouterr().out
    assert "k-reciprocal re-ranking" in printed
    assert "query expansion" in printed


def test_repeats(tmp_path, features):
    outs = []
    for repeats in (1, 50):
        out = tmp_path / f"{repeats}.json"
        options = ("--protocol", "cuhk03_classic", "--repeats", repeats, "--json", out)
        assert run(tmp_path, *options) == 0
        outs.append(json.loads(out.read_text()))
    assert outs[0] != outs[1]


def test_errors_are_one_line(tmp_path, features, capsys):
    np.savez(tmp_path / "broken.npz", query_features=np.ones((2, 3)))
    market = ("--protocol", "market1501")
    for options, file, message in (
        (market, "gone.npz", "gone.npz: no such features file"),
        (market, "broken.npz", "broken.npz: no array named query_pids"),
        ((*market, "--rerank", "--k1", 0), "features.npz", "expected k1 >= 1"),
        ((*market, "--expand", "--neighbours", 0), "features.npz", "expected neighbours >= 1"),
        (("--protocol", "cuhk03_classic", "--repeats", 0), "features.npz", "repeats: got 0"),
        ((*market, "--json", tmp_path), "features.npz", "Is a directory"),
    ):
        assert run(tmp_path, *options, file=file) == 2
        captured = capsys.readouterr()
        assert message in captured.err
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1
        assert not captured.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--protocol", "market1501", "--k1", 3), "--k1 needs --rerank"),
        (("--protocol", "market1501", "--lambda", 0.1), "--lambda needs --rerank"),
        (("--protocol", "market1501", "--alpha", 3), "--alpha needs --expand"),
        (("--protocol", "cuhk03", "--repeats", 3), "--repeats belongs to"),
        (("--protocol", "market"), "invalid choice"),
    ],
)
def test_options_that_mean_nothing(tmp_path, options, message, capsys):
    with pytest.raises(SystemExit) as caught:
        run(tmp_path, *options)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_starts_without_torch(tmp_path, features):
    code = (
        "import sys; from reid_heads.evaluate import main; "
        f"main(['--features', {str(tmp_path / 'features.npz')!r}, '--protocol', 'cuhk03']); "
        "loaded = {'torch', 'scipy', 'detectron2'} & set(sys.modules); assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
