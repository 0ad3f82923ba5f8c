"""Sub-center purification against loops, by hand, and from a checkpoint to a list that trains."""

import json
import math

import numpy as np
import pytest
import torch
from conftest import CONFIGS
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from PIL import Image

from reid_heads.config import load_config
from reid_heads.data.datasets.own_crops import load_own_crops
from reid_heads.data.label_noise import main as add_noise
from reid_heads.data.loaders import build_scan_loader, load_train_crops
from reid_heads.data.own_data import register_own_data
from reid_heads.losses import CosineSoftmaxLoss, ReIDLosses, SoftmaxLoss
from reid_heads.purify import main, make_report, score_dropped
from reid_heads.training.purification import (
    cosines_to_own_centers,
    find_classifier,
    measure_cosines,
    purify,
)


def loop(cosines, pids, angle):
    """Written from the paper's description: votes, the dominant center, the angle to it."""
    kept, angles = [], []
    for row, pid in zip(cosines, pids, strict=True):
        votes = [0] * len(row)
        for other, label in zip(cosines, pids, strict=True):
            if label == pid:
                votes[max(range(len(row)), key=lambda k: other[k])] += 1
        dominant = votes.index(max(votes))
        angles.append(math.degrees(math.acos(row[dominant])))
        kept.append(angles[-1] <= angle)
    return kept, angles


@pytest.mark.parametrize("k", [1, 3])
def test_equals_the_loop(k):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        pids = rng.integers(6, size=50)
        cosines = rng.uniform(-1, 1, (50, k))
        result = purify(cosines, pids, 75)
        kept, angles = loop(cosines.tolist(), pids.tolist(), 75)
        assert result.kept.tolist() == kept
        np.testing.assert_allclose(result.angles, angles, rtol=1e-12)
        new = {old: n for n, old in enumerate(sorted(set(pids[np.array(kept)])))}
        expected = [new[p] if x else -1 for p, x in zip(pids, kept, strict=True)]
        assert result.new_pids.tolist() == expected


# Identity 0: two votes for center 0, one for center 1 (78 degrees from center 0). Identity 1: all
# far. Identity 2: one crop, and on center 1. Identity 3: at 60 degrees exactly, in float64 too.
HAND = np.array([[0.9, 0.1], [0.8, 0.0], [0.2, 0.95], [0.1, 0.0], [0.2, 0.1], [0.0, 1.0], [0.5, 0]])
HAND_PIDS = np.array([0, 0, 0, 1, 1, 2, 3])


def test_by_hand():
    result = purify(HAND, HAND_PIDS, 75)
    assert result.kept.tolist() == [True, True, False, False, False, True, True]
    assert result.dominant.tolist() == [0, 0, 1, 0]
    assert result.votes.tolist() == [0, 0, 1, 0, 0, 1, 0]
    assert result.emptied.tolist() == [1]
    assert result.new_pids.tolist() == [0, 0, -1, -1, -1, 1, 2]


def test_an_emptied_identity_may_stay():
    result = purify(HAND, HAND_PIDS, 75, keep_emptied=True)
    assert result.kept.tolist() == [True, True, False, True, True, True, True]
    assert result.emptied.tolist() == [1]
    assert result.new_pids.tolist() == [0, 0, -1, 1, 1, 2, 3]


def test_a_crop_of_another_center_stays_where_it_is_near():
    """The authors' rule: the angle decides, not the vote."""
    cosines = np.array([[0.9, 0.1], [0.9, 0.1], [0.5, 0.6], [1.0, 0.0]])
    assert purify(cosines, np.array([0, 0, 0, 1]), 75).kept.all()


def test_the_very_angle_is_kept():
    cosines = np.full((2, 1), np.cos(np.radians(75)))
    angle = float(np.degrees(np.arccos(cosines[0, 0])))
    assert purify(cosines, np.array([0, 1]), angle).kept.all()


@pytest.mark.parametrize(
    ("angle", "pids", "message"),
    [
        (0, HAND_PIDS, "0 < angle <= 180"),
        (181, HAND_PIDS, "0 < angle <= 180"),
        (10, HAND_PIDS, "only 1 of 4 identities.*larger angle"),
        (75, np.zeros(7, int), "only 1 of 1 identities"),
    ],
)
def test_bad_input(angle, pids, message):
    with pytest.raises(ValueError, match=message):
        purify(HAND, pids, angle)


def test_no_crops():
    with pytest.raises(ValueError, match="no crops"):
        purify(np.zeros((0, 3)), np.zeros(0, int))


def test_cosines_to_own_centers_equal_a_loop():
    torch.manual_seed(0)
    loss = CosineSoftmaxLoss((5,), 4, scale=10, sub_centers=3).double()
    x, pids = torch.randn(7, 5, dtype=torch.float64), torch.tensor([0, 3, 1, 1, 2, 0, 3])
    got = cosines_to_own_centers(loss, x, pids)
    for row in range(7):
        for k in range(3):
            w = loss.weights[0].detach()[3 * pids[row] + k]
            expected = float(x[row] @ w / x[row].norm() / w.norm())
            assert got[row, k].item() == pytest.approx(expected, rel=1e-12)


def test_the_classifier_must_be_one_over_cosines():
    one, two = (CosineSoftmaxLoss((5,) * n, 4, scale=10, sub_centers=3) for n in (1, 2))
    found = find_classifier(ReIDLosses({"COSINE_SOFTMAX": one}, {"COSINE_SOFTMAX": 1.0}))
    assert found is one
    for losses in (
        {"SOFTMAX": SoftmaxLoss((5,), 4)},
        {"COSINE_SOFTMAX": two},
    ):
        with pytest.raises(ValueError, match="COSINE_SOFTMAX"):
            find_classifier(ReIDLosses(losses, dict.fromkeys(losses, 1.0)))


def test_scores_of_the_dropped_crops():
    dropped = np.array([True, True, False, False, False])
    wrong = np.array([True, False, True, False, False])
    # One of two dropped is wrong, one of two wrong is dropped, one of three kept is wrong.
    expected = {"wrong": 2, "precision": 50.0, "recall": 50.0, "wrong_kept": 100 / 3}
    assert score_dropped(dropped, wrong) == expected
    none = np.zeros(5, bool)
    assert score_dropped(none, none) == {
        **{"wrong": 0, "precision": None, "recall": None},
        "wrong_kept": 0.0,
    }


def test_report_by_hand():
    report = make_report(purify(HAND, HAND_PIDS, 75), 75)
    assert (report["kept"], report["dropped"]) == (4, 3)
    assert (report["identities"], report["identities_left"]) == (4, 3)
    assert report["nearest_to_another_sub_center"] == 1
    # Angles 25.8, 36.9, 78.5, 84.3, 78.5, 0 and 60 in bins of five degrees.
    counts = dict(zip(report["histogram"]["edges"], report["histogram"]["counts"], strict=False))
    filled = {edge: n for edge, n in counts.items() if n}
    assert filled == {0: 1, 25: 1, 35: 1, 60: 1, 75: 2, 80: 1} or filled == {
        **{0: 1, 25: 1, 35: 1, 55: 1, 75: 2, 80: 1}  # 60 degrees, rounded down
    }
    assert report["people"][:2] == [
        {"person": 0, "new_person": 0, "crops": 3, "kept": 2, "dropped": 1},
        {"person": 1, "new_person": None, "crops": 2, "kept": 0, "dropped": 2},
    ]


TINY = """
MODEL.DEVICE cpu
MODEL.RESNETS.DEPTH 18
MODEL.RESNETS.STEM_OUT_CHANNELS 8
MODEL.RESNETS.RES2_OUT_CHANNELS 8
MODEL.REID_HEAD.NUM_IDENTITIES 6
INPUT.REID.SIZE (32,16)
DATALOADER.NUM_WORKERS 0
"""

NO_COSINES = """
MODEL.REID_HEAD.LOSSES.COSINE_SOFTMAX 0.0
MODEL.REID_HEAD.LOSSES.SOFTMAX 1.0
MODEL.REID_HEAD.COSINE_SOFTMAX.SCALE 30.0
MODEL.REID_HEAD.COSINE_SOFTMAX.SUB_CENTERS 1
MODEL.REID_HEAD.COSINE_SOFTMAX.MARGIN.NAME none
MODEL.REID_HEAD.COSINE_SOFTMAX.MARGIN.ARCFACE.M 0.3
"""


@pytest.fixture(scope="module")
def noisy_set(tmp_path_factory):
    """Six people in colours of their own, eight crops each, a quarter of the labels wrong."""
    root = tmp_path_factory.mktemp("noisy")
    folder = root / "crops"
    folder.mkdir()
    for pid in range(6):
        for n in range(8):
            rng = np.random.default_rng([pid, n])
            color = np.random.default_rng(pid).integers(0, 255, 3)
            image = np.clip(color + rng.integers(-15, 15, (16, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(image).save(folder / f"{pid}_c{n % 2}_{n}.png")
    noisy, truth = root / "noisy.csv", root / "truth.csv"
    arguments = ["--dataset", str(folder), "--share", "0.25", "--output", str(noisy)]
    assert add_noise([*arguments, "--truth", str(truth)]) == 0
    yield noisy, truth
    if "purify_noisy" in DatasetCatalog.list():
        DatasetCatalog.remove("purify_noisy")
        MetadataCatalog.remove("purify_noisy")


@pytest.fixture(scope="module")
def overrides(noisy_set):
    words = [w for line in TINY.strip().splitlines() for w in line.split(maxsplit=1)]
    crops = str([["purify_noisy", str(noisy_set[0]), "train"]])
    return [*words, "DATASETS.CROPS", crops, "DATASETS.TRAIN", "('purify_noisy',)"]


CONFIG = str(CONFIGS / "drawn_market/label_noise/1_sub_centers.yaml")


@pytest.fixture(scope="module")
def weights(overrides, tmp_path_factory):
    """A checkpoint whose centers are what a good training finds: the mean of the true crops of each
    identity, and two that wrong ones may gather at."""
    cfg = load_config(CONFIG, overrides)
    register_own_data(cfg)
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    crops = load_train_crops(cfg)
    with torch.no_grad():
        rows = [model.batch_features(b).classified[0] for b in build_scan_loader(cfg, crops)]
    # The random net maps all images near one direction; take that out, by the BNNeck's means.
    neck = next(m for m in model.head.modules() if isinstance(m, torch.nn.BatchNorm1d))
    rows = torch.cat(rows)
    neck.running_mean.copy_(rows.mean(dim=0) * (1 + neck.eps) ** 0.5)
    rows = rows - rows.mean(dim=0)
    true = torch.tensor([int(c["file_name"].rsplit("/", 1)[1][0]) for c in crops])
    weight = next(iter(model.losses.losses.values())).weights[0].data
    for pid in range(6):
        weight[3 * pid] = rows[true == pid].mean(dim=0)
        weight[3 * pid + 1 : 3 * pid + 3] = torch.randn(2, rows.shape[1]) * 0.01
    path = tmp_path_factory.mktemp("weights") / "model_final.pth"
    torch.save({"model": model.state_dict()}, path)
    return str(path)


def test_the_command_cleans_a_list_that_trains(
    noisy_set, overrides, weights, tmp_path, capsys, caplog, monkeypatch
):
    noisy, truth = noisy_set
    output = tmp_path / "clean/cleaned.csv"
    arguments = ["--config-file", CONFIG, "--weights", weights, "--output", str(output)]
    assert main([*arguments, "--truth", str(truth), "--angle", "60", *overrides]) == 0
    assert "outside of its folder and that of the data sets; who reads it adds" in caplog.text
    monkeypatch.setenv("DETECTRON2_DATASETS", str(noisy.parent))
    report = json.loads(output.with_suffix(".json").read_text())
    assert report["crops"] == 48 and report["truth"]["wrong"] == 12
    assert report["truth"]["recall"] > 90
    assert report["truth"]["precision"] > 90
    assert output.with_suffix(".md").read_text() in capsys.readouterr().out + "\n"
    kept = load_own_crops(output, "train")
    assert len(kept) == report["kept"]
    before = {c["file_name"]: c["person_id"] for c in load_own_crops(noisy, "train")}
    renumbered = {row["person"]: row["new_person"] for row in report["people"]}
    assert all(renumbered[before[c["file_name"]]] == c["person_id"] for c in kept)


def test_measuring_leaves_the_model_and_the_order_alone(overrides, weights):
    cfg = load_config(CONFIG, [*overrides, "MODEL.CROP_REID.FLIP_TEST", "True"])
    register_own_data(cfg)
    model = build_model(cfg)
    crops = load_train_crops(cfg)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    cosines, pids = measure_cosines(model, build_scan_loader(cfg, crops))
    assert pids.tolist() == [crop["person_id"] for crop in crops]
    assert cosines.shape == (48, 3)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    # Whatever the batches: each crop alone.
    single, _ = measure_cosines(model, [[b] for bs in build_scan_loader(cfg, crops) for b in bs])
    np.testing.assert_allclose(single, cosines, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--output", "cleaned.txt"], ".csv"),
        (["--weights", "nowhere.pth"], "nowhere.pth"),
        (["--angle", "200"], "0 < angle <= 180"),
        (["--dataset", "nothing"], "nothing"),
        (["--truth", "missing.csv"], "missing.csv"),
        (["MODEL.REID_HEAD.NUM_IDENTITIES", "7"], "set it to 6"),
        (["MODEL.REID_HEAD.COSINE_SOFTMAX.SUB_CENTERS", "2"], "another model"),
        (NO_COSINES.split(), "one classifier"),
        (["MODEL.REID_HEAD.LOSSES.ARCFACE", "1.0"], "is now MODEL.REID_HEAD.LOSSES.COSINE_SOFTMAX"),
    ],
)
def test_errors_are_clear(changes, message, overrides, weights, tmp_path, capsys):
    options = {"--weights": weights, "--output": str(tmp_path / "cleaned.csv")}
    words = list(overrides)
    if changes[0].startswith("--"):
        options[changes[0]] = changes[1]
    else:
        words += changes
    arguments = [word for pair in options.items() for word in pair]
    assert main(["--config-file", CONFIG, *arguments, *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "cleaned.csv").exists()
