"""Protocols of several trials: what runs, and what is averaged."""

import argparse
import json
from collections import OrderedDict

import pytest
import torch
from test_reid_heads_train_net import crops, drawn_crops, launch  # noqa: F401  (fixtures)

from reid_heads.config import load_config
from reid_heads.training.trial_runs import average_trials, check_trials, fill_in, run_each_trial


def make_cfg(train, test, trials, tmp_path="output", weights=""):
    return load_config(
        "",
        [
            *("DATASETS.TRAIN", str(tuple(train)), "DATASETS.TEST", str(tuple(test))),
            *("DATASETS.TRIALS", str(tuple(trials)), "OUTPUT_DIR", str(tmp_path)),
            *("MODEL.WEIGHTS", weights),
        ],
    )


def test_names_are_filled_in():
    assert fill_in(["a", "b_{trial}_test"], [3, 5]) == ["a", "b_3_test", "b_5_test"]
    assert fill_in(["a"], []) == ["a"]


@pytest.mark.parametrize(
    ("train", "test", "trials"),
    [
        (["a"], ["b"], [1]),
        (["a_{trial}"], ["b_{trial}"], []),
        (["a_{trial}"], ["b"], [1, 2]),
        (["a"], ["b_{trial}"], [1, 1]),
    ],
)
def test_trials_without_placeholders_and_the_like_are_refused(train, test, trials):
    with pytest.raises(ValueError, match=r"DATASETS\.T"):
        check_trials(make_cfg(train, test, trials))


def test_each_trial_is_run_with_its_own_data_and_folder(tmp_path):
    cfg = make_cfg(["a_{trial}"], ["b_{trial}"], [2, 7], tmp_path, weights="w_{trial}.pth")
    args = argparse.Namespace(opts=["SEED", "3"], eval_only=False)
    seen = []

    def run(own):
        settings = load_config("", own.opts)
        data = settings.DATASETS
        assert data.TRIALS == () and settings.SEED == 3
        seen.append((data.TRAIN, data.TEST, settings.OUTPUT_DIR, settings.MODEL.WEIGHTS))
        return {"reid": {"mAP": 10.0 * len(seen)}}

    results = run_each_trial(cfg, args, run)
    assert seen == [
        (("a_2",), ("b_2",), f"{tmp_path}/trial_2", "w_2.pth"),
        (("a_7",), ("b_7",), f"{tmp_path}/trial_7", "w_7.pth"),
    ]
    # 10 and 20: mean 15, deviation of a sample of two 10 / sqrt 2.
    assert results["reid"] == {"mAP": 15.0}
    assert results["reid_std"]["mAP"] == pytest.approx(7.0710678)
    written = json.loads((tmp_path / "inference/results.json").read_text())
    assert written["reid"]["mAP"] == 15.0 and written["parts"]["7"]["reid"]["mAP"] == 20.0
    assert args.opts == ["SEED", "3"]


def test_evaluation_takes_each_trials_own_weights(tmp_path):
    cfg = make_cfg(["a_{trial}"], ["b_{trial}"], [4], tmp_path)
    weights = []

    def run(own):
        weights.append(load_config("", own.opts).MODEL.WEIGHTS)
        return {"reid": {"mAP": 1.0}}

    run_each_trial(cfg, argparse.Namespace(opts=[], eval_only=True), run)
    assert weights == [f"{tmp_path}/trial_4/model_final.pth"]


def test_one_model_is_tested_on_every_trial(tmp_path):
    cfg = make_cfg(["a"], ["b_{trial}_test", "c_test"], [1, 2], tmp_path)
    numbers = {"b_1_test": 10.0, "b_2_test": 30.0, "c_test": 50.0}

    def test(filled):
        assert list(filled.DATASETS.TEST) == list(numbers)
        return OrderedDict((k, {"reid": {"mAP": v}}) for k, v in numbers.items())

    results = average_trials(cfg, test)
    assert results["b_{trial}_test"]["reid"] == {"mAP": 20.0}
    assert results["c_test"] == {"reid": {"mAP": 50.0}}
    assert list(cfg.DATASETS.TEST) == ["b_{trial}_test", "c_test"]
    written = json.loads((tmp_path / "inference/results.json").read_text())
    assert written["parts"]["b_2_test"]["reid"]["mAP"] == 30.0


def test_a_single_name_gives_its_results_without_a_name(tmp_path):
    cfg = make_cfg(["a"], ["b_{trial}"], [5], tmp_path)
    # detectron2 returns a single set's results so.
    results = average_trials(cfg, lambda filled: OrderedDict(reid={"mAP": 4.0}))
    assert results["reid"] == {"mAP": 4.0}


def test_launched_trainings_are_averaged(launch, crops, tmp_path):  # noqa: F811
    """The same toy crops under two trials' names: the mean of two equal trainings is either."""
    (_, train, _), (_, test, _) = crops
    entries = [
        [f"toy_{t}_{s}", p, s] for t in (1, 2) for s, p in (("train", train), ("test", test))
    ]
    crops[:] = entries
    names = ["DATASETS.TRAIN", "('toy_{trial}_train',)", "DATASETS.TEST", "('toy_{trial}_test',)"]
    short = ["SOLVER.MAX_ITER", "2", "SOLVER.STEPS", "()"]
    output, results = launch("out", *names, *short, "DATASETS.TRIALS", "(1,2)")
    parts = json.loads((output / "inference/results.json").read_text())["parts"]
    assert parts["1"]["reid"] == parts["2"]["reid"] == pytest.approx(results["reid"])
    assert results["reid_std"]["mAP"] == 0
    first, second = (
        torch.load(output / f"trial_{t}/model_final.pth")["model"]["backbone.stem.conv1.weight"]
        for t in (1, 2)
    )
    assert torch.equal(first, second)
    logs = [(output / f"trial_{t}/log.txt").read_text() for t in (1, 2)]
    # Each line once, and in its own file: detectron2 keeps the outputs of every folder it set up.
    for own, other, log in ((1, 2, logs[0]), (2, 1, logs[1])):
        assert log.count("Starting training from iteration 0") == 1
        assert log.count(f"Evaluation results for toy_{own}_test") == 1
        assert f"Evaluation results for toy_{other}_test" not in log
    _, again = launch("out", *names, "DATASETS.TRIALS", "(1,2)", flags=["--eval-only"])
    assert again["reid"] == pytest.approx(results["reid"])
    tests_only = ["DATASETS.TRAIN", "('toy_1_train',)", *names[2:], "DATASETS.TRIALS", "(1,2)"]
    weights = ["MODEL.WEIGHTS", str(output / "trial_1/model_final.pth")]
    _, one_model = launch("tests", *tests_only, *weights, flags=["--eval-only"])
    assert one_model["reid"] == pytest.approx(results["reid"])
