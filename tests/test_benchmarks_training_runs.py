"""What the accuracy benchmarks share: rows, and reports that grow over several starts."""

import argparse
import importlib
import json
from functools import partial
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    """Import a module of the benchmarks, which are scripts and no package."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def run_of(row, seed, top1=50.0, **more):
    results = {"reid": {"mAP": 30.0 + seed, "mINP": 5.0, "top1": top1, "top5": 80.0}}
    return {"row": row, "seed": seed, "results": results, "minutes": 1.0, **more}


def test_a_start_with_a_part_of_the_rows_adds_to_the_report(load, monkeypatch, tmp_path):
    runs = load("training_runs")
    rows = {"a": "first", "b": "second"}
    parser = runs.parse_rows("A comparison.", rows)
    monkeypatch.setattr("sys.argv", ["benchmarks/one.py"])

    def start(trainings, *arguments):
        args = parser.parse_args(list(arguments))
        runs.compare(args, trainings, tmp_path / "one", table)
        return json.loads((tmp_path / "one.json").read_text())

    def table(report):
        head = runs.describe_conditions(report)
        return "\n".join([head, *runs.reid_table(report, rows, "what")])

    start([partial(run_of, "a", 1), partial(run_of, "a", 2)], "--seeds", "1", "2")
    monkeypatch.setattr("sys.argv", ["benchmarks/one.py", "--add"])
    report = start([partial(run_of, "b", 1, load=4.5), partial(run_of, "a", 2, 60.0)], "--add")
    assert [(r["row"], r["seed"]) for r in report["runs"]] == [("a", 1), ("b", 1), ("a", 2)]
    assert [r["results"]["reid"]["top1"] for r in report["runs"]] == [50, 50, 60]
    assert report["before"][0]["command"] == "python benchmarks/one.py"
    text = (tmp_path / "one.md").read_text()
    assert "before that" in text and "the load during 1 of the runs was 4.5 to 4.5" in text
    # Means of the seeds that have run, which are named where some are missing.
    assert "| first (seeds 1 and 2) | a | 31.5 ± 0.7" in text
    assert "| second (seed 1) | b | 31.0 |" in text


def test_without_training_only_what_has_finished_is_read(load, monkeypatch, tmp_path):
    runs = load("training_runs")
    monkeypatch.setattr(runs, "only_finished", False)
    parser = runs.parse_rows("A comparison.", ["a"])
    parser.parse_args(["--finished"])
    assert runs.only_finished
    (tmp_path / "there").mkdir()
    (tmp_path / "there/finished.json").write_text('{"minutes": 2.0}')
    trainings = [
        partial(runs.train, "reid_heads", "no.yaml", tmp_path / name, [], 1)
        for name in ("missing", "there")
    ]
    seen = []
    assert runs.train_all(trainings, 1, lambda done: seen.append(len(done))) == [{"minutes": 2.0}]
    assert seen == [1] and not (tmp_path / "missing").exists()


def test_each_variant_of_a_row_has_a_config_and_reads_what_it_overrides(load):
    """A row whose config refuses its overrides would fail hours after the start."""
    from reid_heads.config import load_config

    for name in ("loss_ensemble", "intra_class_augmentation", "label_noise", "margins_behind_norm"):
        comparison = load(name).COMPARISON
        for row in comparison.variants:
            assert load_config(comparison.config(row), comparison.overrides(row)) is not None
        assert set(comparison.variants) <= set(comparison.rows)


def test_each_smaller_margin_is_its_losses_own(load):
    from reid_heads.config import load_config

    behind = load("margins_behind_norm")
    for row, (_, overrides) in behind.SMALLER.items():
        cfg = load_config(behind.COMPARISON.config(row), [*behind.BATCH_NORM, *overrides])
        assert cfg.MODEL.REID_HEAD.BATCH_NORM


def test_scale_and_margin_are_those_of_the_highest_map(load):
    choose = load("margins_behind_norm").choose
    found = [{"scale": s, "is_smaller": False, "mAP": m} for s, m in ((8, 30.0), (15, 40.0))]
    assert choose(found) == (15, False)
    assert choose([*found, {"scale": 15, "is_smaller": True, "mAP": 41.0}]) == (15, True)


def test_correctly_labelled_crops_are_listed(load, monkeypatch, tmp_path):
    noise = load("label_noise")
    truth = "path,person,camera,labeled_as\na.jpg,0,1,0\nb.jpg,1,2,0\nc.jpg,1,3,1\n"

    def write(arguments):
        Path(arguments[arguments.index("--truth") + 1]).write_text(truth)
        return 0

    monkeypatch.setattr(noise, "write_noise", write)
    noise.draw_noise(tmp_path, tmp_path, 0.4, "uniform", 1)
    lines = (tmp_path / "correct.csv").read_text().splitlines()
    assert lines == ["path,person,camera,labeled_as", "a.jpg,0,1,0", "c.jpg,1,3,1"]
    # One stranger among the crops labelled 0, none among those labelled 1.
    assert noise.describe_groups(tmp_path / "truth.csv") == {"median": 0.5, "largest": 1}


def test_a_report_without_runs_still_says_its_conditions(load):
    args = argparse.Namespace(processes=1, seeds=[1])
    runs = load("training_runs")
    assert "seeds [1]" in runs.describe_conditions(runs.describe_report(args))
