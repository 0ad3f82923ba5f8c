import functools
import itertools
import json
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from conftest import (
    CONFIGS,
    assert_same,
    first_of_each_folder,
    interrupted,
    overrides_of,
    root_config,
    undrawn,
)
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import default_argument_parser
from detectron2.modeling import build_model
from helpers_cross_modality import make_regdb, make_sysu
from helpers_public_weights import osnet_state
from PIL import Image
from test_reid_heads_importers_crop_resnets import strong_baseline

import person_search.data.builtin  # noqa: F401  (registers crops of its training sets)
from reid_heads.config import load_config
from reid_heads.data.builtin import register_all_crops
from reid_heads.data.own_data import register_own_data
from reid_heads.train_net import CropReIDTrainer, main
from reid_heads.training.stopping import SIGNALS, STOPPING, TrainingStoppedError
from reid_heads.training.trial_runs import check_trials, fill_in

YAMLS = [p for p in sorted(CONFIGS.rglob("*.yaml")) if root_config(p) == "Base-CropReID"]
LEAVES = [path for path in YAMLS if not path.name.startswith("Base-")]


@functools.cache
def load(path):
    """Load a config once for all tests, which only read it."""
    return load_config(str(path))


def assert_each(check, paths):
    """Call ``check(path)`` for each path; fail with all those that it refuses."""
    failures = {}
    for path in paths:
        try:
            check(path)
        except Exception as error:
            first_line = next(iter(str(error).splitlines()), "")
            failures[str(path.relative_to(CONFIGS))] = f"{type(error).__name__}: {first_line}"
    assert failures == {}


def test_every_config_loads():
    def check(path):
        cfg = load(path)
        assert cfg.MODEL.META_ARCHITECTURE == "CropReID"
        assert cfg.SEED >= 0, "training could not be resumed exactly"
        assert cfg.MODEL.REID_HEAD.LOSSES.OIM == 0
        assert cfg.SOLVER.IMS_PER_BATCH % cfg.DATALOADER.REID.IMAGES_PER_IDENTITY == 0

    assert len(YAMLS) > 100
    assert_each(check, YAMLS)


def test_every_config_agrees_with_its_data_set_and_itself():
    def check(path):
        cfg = load(path)
        check_trials(cfg)
        names = fill_in([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST], cfg.DATASETS.TRIALS)
        assert set(names) <= set(DatasetCatalog.list())
        training_sets = fill_in(cfg.DATASETS.TRAIN, cfg.DATASETS.TRIALS[:1])
        published = [MetadataCatalog.get(name).get("num_identities") for name in training_sets]
        assert None in published or sum(published) == cfg.MODEL.REID_HEAD.NUM_IDENTITIES
        epochs = cfg.SOLVER.REID
        if epochs.EPOCHS:
            assert max(epochs.STEP_EPOCHS) <= epochs.EPOCHS
            assert min(epochs.STEP_EPOCHS) > epochs.WARMUP_EPOCHS
        else:
            assert min(cfg.SOLVER.STEPS) > cfg.SOLVER.WARMUP_ITERS
            assert max(cfg.SOLVER.STEPS) < cfg.SOLVER.MAX_ITER
        assert str(path.relative_to(CONFIGS).with_suffix("")) in cfg.OUTPUT_DIR

    register_all_crops()
    assert_each(check, LEAVES)


@pytest.mark.parametrize(
    "paths",
    [
        pytest.param(first_of_each_folder(LEAVES), id="one of a folder"),
        pytest.param(LEAVES, id="all", marks=pytest.mark.slow),
    ],
)
def test_the_model_of_every_config_builds(paths, shallow):
    def check(path):
        cfg = load(path).clone()
        cfg.MODEL.DEVICE = "meta"
        with undrawn(), torch.device("meta"):
            model = build_model(cfg)
        assert type(model).__name__ == "CropReID"
        active = {name for name, weight in cfg.MODEL.REID_HEAD.LOSSES.items() if weight != 0}
        assert set(model.losses.losses) == active

    assert_each(check, paths)


def test_the_ablation_changes_one_key_at_a_time_and_ends_at_bag_of_tricks():
    configs = [load(path) for path in sorted((CONFIGS / "market1501/ablation").glob("*.yaml"))]
    for before, after in itertools.pairwise(configs):
        assert len(changes(before, after)) == 1
    full = load(CONFIGS / "market1501/bag_of_tricks_r50.yaml")
    assert changes(configs[-1], full) == set()
    assert len(configs) == 7  # the baseline and six tricks


def changes(first: CfgNode, second: CfgNode, prefix="") -> set:
    found = set()
    for key, value in first.items():
        if isinstance(value, CfgNode):
            found |= changes(value, second[key], f"{prefix}{key}.")
        elif value != second[key]:
            found.add(prefix + key)
    return found - {"OUTPUT_DIR"}


TINY = """
MODEL.DEVICE cpu
MODEL.WEIGHTS ''
MODEL.RESNETS.DEPTH 18
MODEL.RESNETS.STEM_OUT_CHANNELS 8
MODEL.RESNETS.RES2_OUT_CHANNELS 8
MODEL.REID_HEAD.NUM_IDENTITIES 6
INPUT.REID.SIZE (32,16)
INPUT.REID.PADDING 2
DATALOADER.NUM_WORKERS 0
DATALOADER.REID.IMAGES_PER_IDENTITY 2
SOLVER.IMS_PER_BATCH 8
SOLVER.REID.EPOCHS 0
SOLVER.MAX_ITER 6
SOLVER.CHECKPOINT_PERIOD 3
SOLVER.STEPS (4,)
SOLVER.WARMUP_ITERS 2
TEST.EVAL_PERIOD 0
"""


@pytest.fixture(scope="module")
def drawn_crops(tmp_path_factory):
    """Crops on disk, each identity in two colours of its own: six to train on, four others."""
    root = tmp_path_factory.mktemp("crops")

    def write(folder, pid, camera, number):
        rng = np.random.default_rng([pid, camera, number])
        colours = np.random.default_rng(pid).integers(0, 255, (2, 3))
        image = np.repeat(colours, 16, axis=0)[:, None].repeat(16, axis=1)
        image = np.clip(image + rng.integers(-20, 20, image.shape), 0, 255).astype(np.uint8)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{pid:04d}_c{camera}s1_{number:06d}_00.jpg")

    for pid in range(1, 7):
        for number in range(5):
            write(root / "train", pid, 1 + number % 2, number)
    for pid in range(11, 15):
        write(root / "test/query", pid, 1, 0)
        for number in range(3):
            write(root / "test/gallery", pid, 1 + number % 2, number + 1)
    return root


@pytest.fixture
def crops(drawn_crops):
    """What registers the crops, as a test may change it."""
    entries = [
        ["toy_crops_train", str(drawn_crops / "train"), "train"],
        ["toy_crops_test", str(drawn_crops / "test"), "test"],
    ]
    yield entries
    forget(entries)


def forget(entries):
    for name, _, _ in entries:
        if name in DatasetCatalog.list():
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


def run_main(output, crops, *overrides, flags=(), config="Base-BagOfTricks.yaml"):
    """Run main() with a tiny model on the toy crops; return (output folder, results)."""
    data = ["DATASETS.CROPS", str(crops), "DATASETS.TRAIN", "('toy_crops_train',)"]
    data += ["DATASETS.TEST", "('toy_crops_test',)", "OUTPUT_DIR", str(output)]
    options = [word.strip() for word in overrides_of(TINY)] + data
    arguments = ["--config-file", str(CONFIGS / config), *flags, *options, *overrides]
    return output, main(default_argument_parser().parse_args(arguments))


@pytest.fixture
def launch(shallow, crops, tmp_path):
    """Run ``run_main`` into a folder of the test's own."""
    return lambda folder, *args, **kwargs: run_main(tmp_path / folder, crops, *args, **kwargs)


ADJUSTED = ["MODEL.REID_HEAD.LOGIT_ADJUSTMENT", "0.5"]
AVERAGED = [*ADJUSTED, "SOLVER.EMA_DECAY", "0.9"]


@pytest.fixture(scope="module")
def trained(shallow, drawn_crops, tmp_path_factory):
    """(output folder, results) of a training with a weight average and logit adjustment."""
    entries = [[f"toy_crops_{s}", str(drawn_crops / s), s] for s in ("train", "test")]
    yield run_main(tmp_path_factory.mktemp("trained") / "straight", entries, *AVERAGED)
    forget(entries)


def assert_ends_alike(straight, halted):
    """Compare a straight run with a resumed one; return the straight one's half-way weights."""
    first, second = (torch.load(folder / "model_final.pth") for folder in (straight, halted))
    assert_same(first, second)
    assert first["iteration"] == 5
    half = torch.load(straight / "model_0000002.pth")["model"]
    moved = {name for name, value in half.items() if not torch.equal(value, first["model"][name])}
    assert "backbone.stem.conv1.weight" in moved
    assert any(name.startswith("losses.") for name in moved)
    return half, moved


@pytest.mark.parametrize(
    ("config", "overrides"),
    [
        # The resumed loader itself is tested without a training, with workers too.
        pytest.param(
            *("Base-BagOfTricks.yaml", ["DATALOADER.NUM_WORKERS", "2"]), marks=pytest.mark.slow
        ),
        (
            "Base-BagOfTricks.yaml",
            # Estimated before iterations 0, 2 and 4; the run is interrupted after 2.
            [
                *("MODEL.REID_HEAD.LOSSES.MULTI_SIMILARITY", "1.0"),
                *("MODEL.REID_HEAD.INTRA_CLASS.COPIES", "2"),
                *("MODEL.REID_HEAD.INTRA_CLASS.UPDATE_EPOCHS", "1"),
                *("SOLVER.REID.ITERATIONS_PER_EPOCH", "2"),
                *("DATALOADER.REID.SAMPLER", "identity_uniform"),
            ],
        ),
        # Other layers, and nothing else to keep.
        pytest.param(
            "Base-MGN.yaml",
            ["MODEL.REID_HEAD.MGN.REDUCTION_DIM", "8", "INPUT.REID.SIZE", "(96,32)"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_interrupted_run_ends_as_a_straight_one(config, overrides, launch):
    """Weights, optimizer, centers and estimates to the last bit."""
    straight, _ = launch("straight", *overrides, config=config)
    halted = interrupted(straight, "model_0000002.pth")
    launch("halted", *overrides, flags=["--resume"], config=config)
    half, moved = assert_ends_alike(straight, halted)
    if "MODEL.REID_HEAD.INTRA_CLASS.COPIES" in overrides:
        name = "losses.losses.MULTI_SIMILARITY.gaussians.0"
        # Six identities of five crops.
        assert half[f"{name}.counts"].tolist() == [5] * 6
        assert f"{name}.means" in moved


def test_interrupted_weight_average_ends_as_the_straight_ones(trained, launch, tmp_path):
    straight, _ = trained
    shutil.copytree(straight, tmp_path / "straight")
    halted = interrupted(tmp_path / "straight", "model_0000002.pth")
    with pytest.raises(ValueError, match=r"has seen 24; SOLVER\.IMS_PER_BATCH is now 12"):
        launch("halted", *AVERAGED, "SOLVER.IMS_PER_BATCH", "12", flags=["--resume"])
    launch("halted", *AVERAGED, flags=["--resume"])
    half, _ = assert_ends_alike(straight, halted)
    # Six identities of five crops.
    assert half["losses.logit_adjustment.identity_counts"].tolist() == [5] * 6


@pytest.mark.slow
def test_thirty_and_thirty_iterations_are_sixty(launch):
    settings = ["SOLVER.MAX_ITER", "60", "SOLVER.CHECKPOINT_PERIOD", "30", "SOLVER.STEPS", "(40,)"]
    straight, _ = launch("straight", *settings)
    halted = interrupted(straight, "model_0000029.pth")
    launch("halted", *settings, flags=["--resume"])
    assert_same(*(torch.load(folder / "model_final.pth") for folder in (straight, halted)))


def test_training_learns_and_is_scored(launch):
    settings = ["SOLVER.MAX_ITER", "32", "SOLVER.STEPS", "()", "TEST.EVAL_PERIOD", "16"]
    settings += ["SOLVER.CHECKPOINT_PERIOD", "16"]
    settings += ["INPUT.REID.ERASING.PROBABILITY", "0.0", "INPUT.REID.PADDING", "0"]
    settings += ["SOLVER.BASE_LR", "0.005", "MODEL.REID_HEAD.SOFTMAX.LABEL_SMOOTHING", "0.0"]
    output, results = launch("out", *settings)
    rows = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    losses = [row["loss_reid_softmax"] for row in rows if "loss_reid_softmax" in row]
    assert losses[-1] < 0.8 * losses[0]
    assert results["reid"]["mAP"] > 90
    assert {"mAP", "mINP", "top1", "top5", "top10"} <= set(results["reid"])
    with np.load(output / "inference/features.npz") as arrays:
        assert len(arrays["query_features"]) == 4 and len(arrays["gallery_features"]) == 12
        norms = np.linalg.norm(arrays["gallery_features"], axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-5)
    record = json.loads((output / "inference/results.json").read_text())
    (training_set,) = record["record"]["training_sets"]
    assert training_set.startswith("toy_crops_train: ")
    best = json.loads((output / "model_best.json").read_text())
    assert best["metric"] == "reid/mAP"


def test_epochs_become_iterations(launch):
    """Six identities of five images: 2 chunks of 2 each, batches of 4 identities: 3 a pass at
    most."""
    settings = ["SOLVER.REID.EPOCHS", "3", "SOLVER.REID.STEP_EPOCHS", "(3,)"]
    settings += ["SOLVER.REID.WARMUP_EPOCHS", "2", "SOLVER.BASE_LR", "0.001"]
    output, _ = launch("out", *settings)
    cfg = load_config(str(output / "config.yaml"))
    length = cfg.SOLVER.MAX_ITER // 3
    assert 3 * length == cfg.SOLVER.MAX_ITER and 2 <= length <= 3
    assert torch.load(output / "model_final.pth")["iteration"] == 3 * length - 1
    # Epoch 3 is past the warm-up and its step.
    rows = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    assert [row["lr"] for row in rows if "lr" in row][-1] == pytest.approx(0.0001)


def test_evaluating_a_checkpoint_gives_the_training_runs_results(trained, launch):
    output, results = trained
    weights = ["MODEL.WEIGHTS", str(output / "model_final.pth")]
    _, again = launch("evaluated", *weights, *ADJUSTED, flags=["--eval-only"])
    assert again["reid"] == pytest.approx(results["reid"])


def test_the_evaluated_weights_are_the_average(launch):
    """With a decay near 1 the average stays at the start, and scores as no training at all."""
    start, _ = launch("start", "SOLVER.MAX_ITER", "1", "SOLVER.BASE_LR", "0.0")
    settings = ["SOLVER.BASE_LR", "0.01", "SOLVER.EMA_DECAY", "0.999999"]
    moved, _ = launch("moved", *settings, "SOLVER.MAX_ITER", "3")
    first = torch.load(start / "model_final.pth")["model"]["backbone.stem.conv1.weight"]
    state = torch.load(moved / "model_final.pth")
    average = state["trainer"]["hooks"]["WeightAverage"]["average"]["backbone.stem.conv1.weight"]
    torch.testing.assert_close(average, first, atol=1e-5, rtol=0)
    assert not torch.allclose(state["model"]["backbone.stem.conv1.weight"], first, atol=1e-3)


def test_reranking_and_expansion_are_scored_on_request(trained, launch):
    settings = ["TEST.REID.RERANKING.ENABLED", "True", "TEST.REID.QUERY_EXPANSION.ENABLED", "True"]
    settings += ["MODEL.WEIGHTS", str(trained[0] / "model_final.pth"), *ADJUSTED]
    _, results = launch("out", *settings, "TEST.REID.RERANKING.K1", "3", flags=["--eval-only"])
    assert {"reid", "reid_reranked", "reid_expanded"} <= set(results)


def test_a_training_that_was_told_to_stop_resumes_exactly(launch, trained, monkeypatch):
    run_step = CropReIDTrainer.run_step

    def step(trainer):
        run_step(trainer)
        if trainer.iter == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    before = {number: signal.getsignal(number) for number in STOPPING}
    with monkeypatch.context() as patch, pytest.raises(TrainingStoppedError), SIGNALS:
        patch.setattr(CropReIDTrainer, "run_step", step)
        launch("stopped", *AVERAGED)
    for number, handler in before.items():
        signal.signal(number, handler)
    SIGNALS.received = 0
    assert "after iteration 2 of 6: " in SIGNALS.outcome
    output, _ = launch("stopped", *AVERAGED, flags=["--resume"])
    straight, resumed = (torch.load(x / "model_final.pth") for x in (trained[0], output))
    assert_same(straight, resumed)


def test_visible_thermal_sets_are_scored_by_their_protocols(launch, tmp_path):
    make_sysu(tmp_path / "sets" / "SYSU-MM01")
    make_regdb(tmp_path / "sets" / "RegDB")
    register_all_crops(tmp_path / "sets")
    try:
        sets = ["DATASETS.TEST", "('sysu_mm01_test','regdb_2_test')", "SOLVER.MAX_ITER", "1"]
        output, results = launch("out", *sets, "TEST.REID.MULTI_SHOTS", "2")
    finally:
        register_all_crops()
    written = {
        name: json.loads((output / f"inference/{name}/results.json").read_text())
        for name in ("sysu_mm01_test", "regdb_2_test")
    }
    rankings = written["sysu_mm01_test"]["rankings"]
    assert rankings["reid"]["gallery_sampling"] == "official"
    assert rankings["reid_indoor_multi_official"]["shots"] == 2
    assert rankings["reid_indoor_multi_official"]["num_valid_queries"] == 3
    assert set(results["regdb_2_test"]) == {
        *("reid", "reid_visible_to_thermal", "reid_thermal_to_visible")
    }
    assert results["regdb_2_test"]["reid"] == written["regdb_2_test"]["reid"]


def test_wrong_number_of_identities_stops_before_training(launch):
    with pytest.raises(ValueError, match=r"6.*NUM_IDENTITIES"):
        launch("out", "MODEL.REID_HEAD.NUM_IDENTITIES", "7")


def test_a_batch_that_is_no_multiple_of_k_is_refused(launch):
    with pytest.raises(ValueError, match=r"IMS_PER_BATCH"):
        launch("out", "SOLVER.IMS_PER_BATCH", "7")


def test_attribute_loss_without_attributes_is_refused(launch):
    settings = ["MODEL.REID_HEAD.LOSSES.ATTRIBUTES", "1.0"]
    with pytest.raises(ValueError, match=r"attribute"):
        launch("out", *settings, "MODEL.REID_HEAD.ATTRIBUTES.CLASSES", "(2,)")


def test_evaluating_without_weights_is_refused(launch):
    with pytest.raises(FileNotFoundError, match=r"MODEL\.WEIGHTS"):
        launch("out", flags=["--eval-only"])


def test_training_from_weights_of_another_network_is_refused(launch, tmp_path):
    """It was a line in the log, and the training went on from random weights."""
    state = strong_baseline(width=2)
    torch.save(state, tmp_path / "public.pth")
    torch.save({"visual.proj": torch.ones(3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"0 of its 1 tensors find a place. It holds visual\.proj"):
        launch("out", "MODEL.WEIGHTS", str(tmp_path / "other.pth"))
    with pytest.raises(ValueError, match=r"It is a network of reid-strong-baseline; use configs/"):
        launch("out", "MODEL.WEIGHTS", str(tmp_path / "public.pth"))


@pytest.mark.slow
@pytest.mark.parametrize("config", ["osnet_x0_25.yaml", "osnet_ain_x1_0.yaml"])
def test_osnet_is_trained_from_a_public_file_and_evaluated(launch, tmp_path, config):
    kind = "ain" if "ain" in config else ""
    torch.save({"state_dict": osnet_state(kind=kind), "epoch": 9}, tmp_path / "public.pth")
    words = [
        *("MODEL.RESNETS.DEPTH", "50", "MODEL.RESNETS.STEM_OUT_CHANNELS", "64"),
        *("MODEL.OSNET.CHANNELS", "(8,16,16,24)", "MODEL.REID_HEAD.EMBEDDING_DIM", "20"),
        *("MODEL.WEIGHTS", str(tmp_path / "public.pth"), "SOLVER.BASE_LR", "0.001"),
    ]
    output, results = launch("out", *words, config=f"market1501/{config}")
    assert 0 < results["reid"]["mAP"] <= 100
    again = ["MODEL.WEIGHTS", str(output / "model_final.pth")]
    _, same = launch("again", *words, *again, flags=["--eval-only"], config=f"market1501/{config}")
    assert same["reid"] == results["reid"]


def test_own_data_with_a_missing_value_is_refused():
    cfg = load_config("", ["DATASETS.CROPS", "[['mine', 'folder']]"])
    with pytest.raises(ValueError, match=r"DATASETS\.CROPS has \['mine', 'folder'\]"):
        register_own_data(cfg)


def test_the_optimizer_of_bag_of_tricks_decays_everything():
    cfg = load_config(str(CONFIGS / "Base-BagOfTricks.yaml"))
    layers = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    optimizer = CropReIDTrainer.build_optimizer(cfg, layers)
    assert isinstance(optimizer, torch.optim.Adam)
    assert {group["weight_decay"] for group in optimizer.param_groups} == {0.0005}
