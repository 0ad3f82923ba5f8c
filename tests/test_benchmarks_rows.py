"""The rows of benchmarks are configs that nothing refuses, each unlike the others."""

import importlib
from concurrent.futures import Future
from pathlib import Path

import pytest

import person_search.config
import reid_heads.config

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def load(monkeypatch):
    """Import a module of the benchmarks, which are scripts, as from the repository's root."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.chdir(ROOT)
    return importlib.import_module


def test_a_trick_is_left_out_of_each_row(load):
    module = load("leave_one_out")
    assert set(module.SETTINGS) == set(module.COMPARISON.rows)
    dumps = set()
    for config, overrides in module.SETTINGS.values():
        words = [*module.SCHEDULE, *overrides]
        cfg = reid_heads.config.load_config(module.COMPARISON.config(config), words)
        assert cfg.SOLVER.REID.EPOCHS == 18
        cfg.OUTPUT_DIR = ""
        dumps.add(cfg.dump())
    assert len(dumps) == len(module.SETTINGS)


def trained(module, monkeypatch):
    """Let a benchmark say what it would train, instead of training it."""
    configs = []

    def train(package, config_file, folder, overrides, threads):
        configs.append(person_search.config.load_config(config_file, overrides))
        return {"folder": str(folder)}

    monkeypatch.setattr(module, "train", train)
    return configs


def test_the_starts_of_a_training(load, monkeypatch):
    module = load("mobilenet_starts")
    monkeypatch.setattr("sys.argv", ["mobilenet_starts.py", "--imagenet", "weights.pth"])
    args, configs = module._parse(), trained(module, monkeypatch)
    stages = []

    def train_stage1(from_imagenet, *_):
        stages.append(from_imagenet)
        return {"weights": f"stage1_{from_imagenet}.pth", "minutes": 1.0}

    monkeypatch.setattr(module, "train_stage1", train_stage1)
    for name in module.ROWS:
        module.train_row(name, 1, args)
    starts = [(c.MODEL.WEIGHTS, c.MODEL.PERSON_SEARCH.STL.WEIGHTS) for c in configs]
    assert dict(zip(module.ROWS, starts, strict=True)) == {
        "nothing": ("", ""),
        "imagenet": ("weights.pth", ""),
        "stl_nothing": ("", "stage1_False.pth"),
        "stl_imagenet": ("weights.pth", "stage1_True.pth"),
        "stl_imagenet_detector": ("weights.pth", "stage1_True.pth"),
        "imagenet_slower": ("weights.pth", ""),
        "nothing_longer": ("", ""),
        "imagenet_longer": ("weights.pth", ""),
    }
    lengths = [c.SOLVER.MAX_ITER for c in configs]
    assert lengths == [250] * 6 + [400] * 2
    assert [c.SOLVER.BASE_LR for c in configs].count(0.001) == 7
    detectors = [c.MODEL.PERSON_SEARCH.STL.TRANSFER_DETECTOR for c in configs]
    assert detectors == [False, False, True, True, False, False, False, False]


def test_the_methods_of_person_search(load, monkeypatch):
    """Rows without stage 1 were refused: they named what to take of it, and one level a gate."""
    module = load("person_search_methods")
    configs = trained(module, monkeypatch)
    without = ["oim", "seqnet", "multi_plain_oim", "one_plain_oim_res4", "multi_plain_arcface"]
    fused = [name for name in module.ROWS if name.endswith(("_attention", "_pyramid"))]
    stage1 = Future()
    stage1.set_result({"weights": "stage1.pth", "minutes": 1.0})
    for row in [*without, *fused]:
        module.train_row("drawn_cuhk", row, 1, {("drawn_cuhk", 1): stage1}, [])
    nodes = [c.MODEL.PERSON_SEARCH for c in configs]
    assert all(node.STL.CONFIG_FILE == "" for node in nodes)
    assert [node.STL.TRANSFER_NECK for node in nodes] == [False] * 5 + [True] * 4
    branches = {name: n.IDENTITY_BRANCH for name, n in zip(fused, nodes[5:], strict=True)}
    assert {name: (b.FUSION, *b.IN_FEATURES) for name, b in branches.items()} == {
        "multi_stl_oim_attention": ("attention", "res2", "res3", "res4"),
        "multi_stl_oim_res4_attention": ("attention", "res4", "res3", "res2"),
        "multi_stl_oim_pyramid": ("sum", "res2", "p3", "p4"),
        "multi_stl_oim_res4_pyramid": ("sum", "res4", "p3", "p2"),
    }
