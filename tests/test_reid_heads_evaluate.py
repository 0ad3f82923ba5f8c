"""The command that scores saved features."""

import json
import subprocess
import sys

import numpy as np
import pytest
from helpers_cross_modality import SYSU_IMAGES, write_permutations

from reid_heads.evaluate import main
from reid_heads.evaluation.features import ReIDFeatures, save_features
from reid_heads.evaluation.rules import QueryExpansion, ReIDRules, Reranking
from reid_heads.evaluation.scoring import MARKET_PROTOCOLS, score_features
from reid_heads.sysu_protocol import read_permutations


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


@pytest.mark.parametrize("protocol", [*MARKET_PROTOCOLS, "cuhk03_classic"])
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
        ReIDRules(
            reranking=Reranking(k1=4, k2=2, lambda_value=0.5),
            query_expansion=QueryExpansion(alpha=0.0),
        ),
    )
    written = json.loads(out.read_text())
    assert written.pop("reid_reranked") == expected["reid_reranked"].metrics()
    assert written.pop("reid_expanded") == expected["reid_expanded"].metrics()
    assert written == expected["reid"].metrics()
    printed = capsys.readouterr().out
    assert "k-reciprocal re-ranking" in printed
    assert "query expansion" in printed


def save_cross_modal(tmp_path, query, gallery):
    """Random features of (person, camera) rows."""
    rng = np.random.default_rng(0)
    query, gallery = np.array(query), np.array(gallery)
    features = ReIDFeatures(
        query_features=rng.standard_normal((len(query), 4)),
        query_pids=query[:, 0],
        query_camids=query[:, 1],
        gallery_features=rng.standard_normal((len(gallery), 4)),
        gallery_pids=gallery[:, 0],
        gallery_camids=gallery[:, 1],
    )
    save_features(tmp_path / "features.npz", features)
    return features


@pytest.fixture
def sysu(tmp_path):
    """The test persons of the tiny SYSU-MM01, and its permutation file."""
    rows = [
        key[::-1] for key, count in SYSU_IMAGES.items() for _ in range(count) if key[1] in (3, 5)
    ]
    write_permutations(tmp_path / "rand_perm_cam.mat")
    sides = ([row for row in rows if (row[1] in (3, 6)) == is_query] for is_query in (True, False))
    return save_cross_modal(tmp_path, *sides)


def test_sysu_mm01_with_and_without_permutations(tmp_path, sysu, capsys):
    out, path = tmp_path / "out.json", tmp_path / "rand_perm_cam.mat"
    options = ("--protocol", "sysu_mm01", "--json", out)
    assert run(tmp_path, *options, "--permutations", path) == 0
    expected = score_features(sysu, "sysu_mm01", permutations=read_permutations(path))
    written = json.loads(out.read_text())
    for name, result in expected.items():
        assert (written if name == "reid" else written[name]).items() >= result.metrics().items()
    assert written["rankings"]["reid"] == {
        **{"mode": "all", "shots": 1, "gallery_sampling": "official", "trials": 10},
        **{"num_valid_queries": 4, "num_skipped_queries": 0},
    }
    # Camera 3 does not see the one camera of its person indoors.
    assert written["rankings"]["reid_indoor_multi_agw"]["num_skipped_queries"] == 1
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert "first ranking of the table is the main one" in printed
    assert [line.split(" (")[0] for line in lines[-8:]] == [
        name.removeprefix("reid_").replace("_", " ") for name in expected if name != "reid"
    ]
    assert "indoor single official (3)" in printed and "top20" in printed

    assert run(tmp_path, *options, "--trials", 2, "--shots", 3) == 0
    rankings = json.loads(out.read_text())["rankings"]
    assert rankings["reid"]["gallery_sampling"] == "agw" and rankings["reid"]["trials"] == 2
    assert rankings["reid_all_multi_agw"]["shots"] == 3
    assert not any("official" in name for name in rankings)


def test_permutations_of_other_images(tmp_path, sysu, capsys):
    write_permutations(tmp_path / "rand_perm_cam.mat", {**SYSU_IMAGES, (4, 3): 7})
    options = ("--protocol", "sysu_mm01", "--permutations")
    assert run(tmp_path, *options, tmp_path / "rand_perm_cam.mat") == 2
    assert "7 images of identity 3 in camera 4, but the gallery 2" in capsys.readouterr().err
    assert run(tmp_path, *options, tmp_path / "gone.mat") == 2
    assert "gone.mat is missing" in capsys.readouterr().err
    assert run(tmp_path, "--protocol", "sysu_mm01", "--rerank") == 2
    assert "leave both out" in capsys.readouterr().err


def test_regdb(tmp_path, capsys):
    rows = [[(person, camera) for person in range(5) for _ in range(2)] for camera in (1, 2)]
    features = save_cross_modal(tmp_path, *rows)
    out = tmp_path / "out.json"
    assert run(tmp_path, "--protocol", "regdb", "--json", out, "--rerank", "--k1", 3) == 0
    written = json.loads(out.read_text())
    expected = score_features(features, "regdb", ReIDRules(reranking=Reranking(k1=3)))
    assert written["mAP"] == expected["reid"].metrics()["mAP"]
    assert written["reid_thermal_to_visible"] == expected["reid_thermal_to_visible"].metrics()
    printed = capsys.readouterr().out
    for title in ("visible to thermal (10)", "thermal to visible reranked (10)"):
        assert title in printed


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
        (("--protocol", "sysu_mm01", "--trials", 0), "features.npz", "gallery_trials: got 0"),
        (("--protocol", "sysu_mm01", "--shots", 0), "features.npz", "multi_shots: got 0"),
        (("--protocol", "recall", "--ranks", 1, 0), "features.npz", "recall_ranks: got (1, 0)"),
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
        (("--protocol", "regdb", "--permutations", "p.mat"), "--permutations belongs to"),
        (("--protocol", "market1501", "--trials", 3), "--trials belongs to --protocol sysu_mm01"),
        (("--protocol", "market1501", "--shots", 3), "--shots belongs to --protocol sysu_mm01"),
        (("--protocol", "market"), "invalid choice"),
    ],
)
def test_options_that_mean_nothing(tmp_path, options, message, capsys):
    with pytest.raises(SystemExit) as caught:
        run(tmp_path, *options)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow  # a second interpreter
def test_permutations_are_read_without_torch(tmp_path, sysu):
    arguments = ["--features", str(tmp_path / "features.npz"), "--protocol", "sysu_mm01"]
    arguments += ["--permutations", str(tmp_path / "rand_perm_cam.mat")]
    code = (
        f"import sys; from reid_heads.evaluate import main; assert main({arguments}) == 0; "
        "assert not {'torch', 'detectron2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_starts_without_torch(tmp_path, features):
    code = (
        "import sys; from reid_heads.evaluate import main; "
        f"main(['--features', {str(tmp_path / 'features.npz')!r}, '--protocol', 'cuhk03']); "
        "loaded = {'torch', 'scipy', 'detectron2'} & set(sys.modules); assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
