import itertools
import json

import numpy as np
import pytest
import torch
from conftest import CONFIGS, assert_same, interrupted, overrides_of, root_config
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import default_argument_parser
from detectron2.modeling import build_model
from helpers_cross_modality import make_regdb, make_sysu
from PIL import Image

import person_search.data  # noqa: F401  (registers crops of its training sets)
from reid_heads.config import load_config
from reid_heads.data.builtin import register_all_crops
from reid_heads.data.own_data import register_own_data
from reid_heads.train_net import CropReIDTrainer, main
from reid_heads.training.trial_runs import check_trials, fill_in

YAMLS = [p for p in sorted(CONFIGS.rglob("*.yaml")) if root_config(p) == "Base-CropReID"]
LEAVES = [path for path in YAMLS if not path.name.startswith("Base-")]


def yaml_id(path):
    return str(path.relative_to(CONFIGS))


@pytest.mark.parametrize("path", YAMLS, ids=yaml_id)
def test_config_loads(path):
    cfg = load_config(str(path))
    assert cfg.MODEL.META_ARCHITECTURE == "CropReID"
    assert cfg.SEED >= 0, "training could not be resumed exactly"
    assert cfg.MODEL.REID_HEAD.LOSSES.OIM == 0
    assert cfg.SOLVER.IMS_PER_BATCH % cfg.DATALOADER.REID.IMAGES_PER_IDENTITY == 0


@pytest.mark.parametrize("path", LEAVES, ids=yaml_id)
def test_config_agrees_with_its_data_set_and_itself(path):
    cfg = load_config(str(path))
    register_all_crops()
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


@pytest.mark.parametrize("path", LEAVES, ids=yaml_id)
def test_model_of_the_config_builds(path):
    cfg = load_config(str(path))
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        model = build_model(cfg)
    assert type(model).__name__ == "CropReID"
    active = {name for name, weight in cfg.MODEL.REID_HEAD.LOSSES.items() if weight != 0}
    assert set(model.losses.losses) == active


def test_the_ablation_changes_one_key_at_a_time_and_ends_at_bag_of_tricks():
    files = sorted((CONFIGS / "market1501/ablation").glob("*.yaml"))
    configs = [load_config(str(path)) for path in files]
    for before, after in itertools.pairwise(configs):
        assert len(changes(before, after)) == 1
    full = load_config(str(CONFIGS / "market1501/bag_of_tricks_r50.yaml"))
    assert changes(configs[-1], full) == set()
    assert len(files) == 7  # the baseline and six tricks


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


@pytest.fixture
def crops(tmp_path):
    """Crops on disk, each identity in two colours of its own: six to train on, four others."""

    def write(folder, pid, camera, number):
        rng = np.random.default_rng([pid, camera, number])
        colours = np.random.default_rng(pid).integers(0, 255, (2, 3))
        image = np.repeat(colours, 16, axis=0)[:, None].repeat(16, axis=1)
        image = np.clip(image + rng.integers(-20, 20, image.shape), 0, 255).astype(np.uint8)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{pid:04d}_c{camera}s1_{number:06d}_00.jpg")

    for pid in range(1, 7):
        for number in range(5):
            write(tmp_path / "train", pid, 1 + number % 2, number)
    for pid in range(11, 15):
        write(tmp_path / "test/query", pid, 1, 0)
        for number in range(3):
            write(tmp_path / "test/gallery", pid, 1 + number % 2, number + 1)
    entries = [
        ["toy_crops_train", str(tmp_path / "train"), "train"],
        ["toy_crops_test", str(tmp_path / "test"), "test"],
    ]
    yield entries
    for name, _, _ in entries:
        if name in DatasetCatalog.list():
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


@pytest.fixture
def launch(crops, tmp_path):
    """Run main() with a tiny model on the toy crops; return (output folder, results)."""

    def run(folder, *overrides, flags=(), config="Base-BagOfTricks.yaml"):
        output = tmp_path / folder
        data = ["DATASETS.CROPS", str(crops), "DATASETS.TRAIN", "('toy_crops_train',)"]
        data += ["DATASETS.TEST", "('toy_crops_test',)", "OUTPUT_DIR", str(output)]
        options = [word.strip() for word in overrides_of(TINY)] + data
        arguments = ["--config-file", str(CONFIGS / config), *flags, *options, *overrides]
        return output, main(default_argument_parser().parse_args(arguments))

    return run


@pytest.mark.parametrize(
    ("config", "overrides"),
    [
        ("Base-BagOfTricks.yaml", ["DATALOADER.NUM_WORKERS", "2"]),
        ("Base-BagOfTricks.yaml", ["MODEL.REID_HEAD.LOGIT_ADJUSTMENT", "0.5"]),
        ("Base-BagOfTricks.yaml", ["SOLVER.EMA_DECAY", "0.9"]),
        ("Base-BagOfTricks.yaml", ["DATALOADER.REID.SAMPLER", "identity_uniform"]),
        (
            "Base-BagOfTricks.yaml",
            # Estimated before iterations 0, 2 and 4; the run is interrupted after 2.
            [
                *("MODEL.REID_HEAD.LOSSES.MULTI_SIMILARITY", "1.0"),
                *("MODEL.REID_HEAD.INTRA_CLASS.COPIES", "2"),
                *("MODEL.REID_HEAD.INTRA_CLASS.UPDATE_EPOCHS", "1"),
                *("SOLVER.REID.ITERATIONS_PER_EPOCH", "2"),
            ],
        ),
        ("Base-MGN.yaml", ["MODEL.REID_HEAD.MGN.REDUCTION_DIM", "8", "INPUT.REID.SIZE", "(96,32)"]),
    ],
)
def test_interrupted_run_ends_as_a_straight_one(config, overrides, launch):
    """Weights, optimizer, centers and weight average to the last bit."""
    straight, _ = launch("straight", *overrides, config=config)
    halted = interrupted(straight, "model_0000002.pth")
    launch("halted", *overrides, flags=["--resume"], config=config)
    first, second = (torch.load(folder / "model_final.pth") for folder in (straight, halted))
    assert_same(first, second)
    assert first["iteration"] == 5
    half = torch.load(straight / "model_0000002.pth")["model"]
    moved = [name for name, value in half.items() if not torch.equal(value, first["model"][name])]
    assert "backbone.stem.conv1.weight" in moved
    assert any(name.startswith("losses.") for name in moved)
    if "MODEL.REID_HEAD.LOGIT_ADJUSTMENT" in overrides:
        # Six identities of five crops.
        assert half["losses.logit_adjustment.identity_counts"].tolist() == [5] * 6
    if "MODEL.REID_HEAD.INTRA_CLASS.COPIES" in overrides:
        name = "losses.losses.MULTI_SIMILARITY.gaussians.0"
        assert half[f"{name}.counts"].tolist() == [5] * 6
        assert f"{name}.means" in moved


@pytest.mark.slow
def test_thirty_and_thirty_iterations_are_sixty(launch):
    settings = ["SOLVER.MAX_ITER", "60", "SOLVER.CHECKPOINT_PERIOD", "30", "SOLVER.STEPS", "(40,)"]
    straight, _ = launch("straight", *settings)
    halted, _ = launch("halted", *settings)
    (halted / "model_final.pth").unlink()
    (halted / "last_checkpoint").write_text("model_0000029.pth")
    launch("halted", *settings, flags=["--resume"])
    assert_same(*(torch.load(folder / "model_final.pth") for folder in (straight, halted)))


def test_training_learns_and_is_scored(launch):
    settings = ["SOLVER.MAX_ITER", "40", "SOLVER.STEPS", "()", "TEST.EVAL_PERIOD", "20"]
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


def test_evaluating_a_checkpoint_gives_the_training_runs_results(launch):
    output, results = launch("trained", "SOLVER.EMA_DECAY", "0.8")
    weights = ["MODEL.WEIGHTS", str(output / "model_final.pth")]
    _, again = launch("evaluated", *weights, flags=["--eval-only"])
    assert again["reid"] == pytest.approx(results["reid"])


def test_the_evaluated_weights_are_the_average(launch):
    """With a decay near 1 the average stays at the start, and scores as no training at all."""
    start, _ = launch("start", "SOLVER.MAX_ITER", "1", "SOLVER.BASE_LR", "0.0")
    settings = ["SOLVER.BASE_LR", "0.01", "SOLVER.EMA_DECAY", "0.999999"]
    moved, _ = launch("moved", *settings)
    first = torch.load(start / "model_final.pth")["model"]["backbone.stem.conv1.weight"]
    state = torch.load(moved / "model_final.pth")
    average = state["trainer"]["hooks"]["WeightAverage"]["average"]["backbone.stem.conv1.weight"]
    torch.testing.assert_close(average, first, atol=1e-5, rtol=0)
    assert not torch.allclose(state["model"]["backbone.stem.conv1.weight"], first, atol=1e-3)


def test_reranking_and_expansion_are_scored_on_request(launch):
    settings = ["TEST.REID.RERANKING.ENABLED", "True", "TEST.REID.QUERY_EXPANSION.ENABLED", "True"]
    _, results = launch("out", *settings, "TEST.REID.RERANKING.K1", "3")
    assert {"reid", "reid_reranked", "reid_expanded"} <= set(results)


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
