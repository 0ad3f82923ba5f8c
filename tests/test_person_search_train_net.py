import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import (
    CONFIGS,
    TINY_FPN,
    assert_same,
    first_of_each_folder,
    interrupted,
    overrides_of,
    root_config,
    undrawn,
    write_toy_frames,
)
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import default_argument_parser
from detectron2.modeling import build_model
from detectron2.solver import build_lr_scheduler

from person_search.config import load_config
from person_search.data.own_data import register_coco_person, register_own_data
from person_search.evaluation.predictions import read_predictions_model
from person_search.evaluation.results_file import ResultsFile
from person_search.inference.finder import PersonFinder
from person_search.inference.model_card import ModelCard
from person_search.train_net import PersonSearchTrainer, main
from person_search.transfer import check_same_input
from reid_heads.labels import UNLABELED_PID
from reid_heads.train_net import load_config as load_crop_config

YAMLS = [p for p in sorted(CONFIGS.rglob("*.yaml")) if root_config(p) == "Base-PersonSearch"]
LEAVES = [path for path in YAMLS if not path.name.startswith("Base-")]


def yaml_id(path):
    return str(path.relative_to(CONFIGS))


@functools.cache
def config_of(path):
    """The config of a file, for tests that only read it."""
    return load_config(str(path))


@pytest.mark.parametrize("path", YAMLS, ids=yaml_id)
def test_config_loads(path):
    cfg = config_of(path)
    assert cfg.MODEL.META_ARCHITECTURE == "PersonSearchRCNN"
    assert cfg.MODEL.ROI_HEADS.NUM_CLASSES == 1
    assert cfg.SEED >= 0, "training could not be resumed exactly"
    assert not cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS


@pytest.mark.parametrize("path", LEAVES, ids=yaml_id)
def test_solver_of_the_config_is_sane(path):
    cfg = config_of(path)
    solver = cfg.SOLVER
    assert 0 < solver.WARMUP_ITERS < solver.MAX_ITER
    if solver.LR_SCHEDULER_NAME == "WarmupMultiStepLR":
        assert all(solver.WARMUP_ITERS <= step < solver.MAX_ITER for step in solver.STEPS)
    assert cfg.TEST.EVAL_PERIOD == 0 or solver.MAX_ITER % cfg.TEST.EVAL_PERIOD == 0
    assert cfg.MODEL.REID_HEAD.NUM_IDENTITIES > 0
    assert set(cfg.DATASETS.TRAIN) | set(cfg.DATASETS.TEST) <= set(DatasetCatalog.list())
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    optimizer = PersonSearchTrainer.build_optimizer(cfg, model)
    scheduler = build_lr_scheduler(cfg, optimizer)
    assert optimizer.param_groups[0]["lr"] < 0.1 * solver.BASE_LR, "no warm-up"
    optimizer.step()
    rates = []
    for twentieth in range(1, 21):
        # The rate is a function of the iteration alone, so nothing need be counted up to it.
        scheduler.last_epoch = twentieth * max(solver.MAX_ITER // 20, 1) - 1
        scheduler.step()
        rates.append(optimizer.param_groups[0]["lr"])
    assert max(rates) <= solver.BASE_LR * 1.0001
    assert rates[-1] <= 0.11 * max(rates), "the rate does not fall"
    published = MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).get("num_identities")
    assert published in (None, cfg.MODEL.REID_HEAD.NUM_IDENTITIES)


FIRST_LEAVES = first_of_each_folder(LEAVES)


@pytest.mark.parametrize(
    "path",
    [p if p in FIRST_LEAVES else pytest.param(p, marks=pytest.mark.slow) for p in LEAVES],
    ids=yaml_id,
)
def test_model_of_the_config_builds(path):
    cfg = config_of(path).clone()
    # On the meta device there are none anyway, and trying takes most of the time.
    with torch.device("meta"), undrawn():
        cfg.MODEL.DEVICE = "meta"
        cfg.MODEL.WEIGHTS = ""
        model = build_model(cfg)
    assert type(model).__name__ == "PersonSearchRCNN"
    active = {name for name, weight in cfg.MODEL.REID_HEAD.LOSSES.items() if weight != 0}
    losses = model.roi_heads.identity_losses
    assert set(losses.losses) == active
    # Each has a row for every identity somewhere: a table, weight vectors.
    classifying = set(active) - {"TRIPLET"}
    assert classifying, "nothing tells identities apart"
    for name in classifying:
        sizes = {len(value) for value in losses.losses[name].state_dict().values() if value.ndim}
        assert any(n % cfg.MODEL.REID_HEAD.NUM_IDENTITIES == 0 for n in sizes)


@pytest.mark.parametrize("path", [p for p in LEAVES if p.name.startswith("stl")], ids=yaml_id)
def test_stage_1_of_the_config_fits_it(path):
    cfg = config_of(path)
    stage1 = load_crop_config(str(path.parent / cfg.MODEL.PERSON_SEARCH.STL.CONFIG_FILE))
    check_same_input(cfg, stage1)
    assert [f"{name}_crops" for name in cfg.DATASETS.TRAIN] == list(stage1.DATASETS.TRAIN)


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("MODEL: {REID_HEAD: {EMBEDING_DIM: 3}}", r"MODEL\.REID_HEAD\.EMBEDDING_DIM"),
        ("MODEL: {REID_HED: {EMBEDDING_DIM: 3}}", r"MODEL\.REID_HEAD"),
        ("TEST: {SEARCH: {GALLERY_SIZE: 50}}", r"TEST\.SEARCH\.GALLERY_SIZES"),
    ],
)
def test_unknown_key_in_a_file_names_file_and_neighbour(text, suggestion, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("VERSION: 2\n" + text)
    with pytest.raises(KeyError, match=rf"wrong\.yaml.*did you mean.*{suggestion}"):
        load_config(str(path))


def test_unknown_key_on_the_command_line_names_its_neighbour():
    with pytest.raises(KeyError, match=r"command line.*SOLVR.*did you mean SOLVER\.BASE_LR"):
        load_config("", ["SOLVR.BASE_LR", "0.1"])


def test_wrong_type_names_the_key(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text("VERSION: 2\nSOLVER: {MAX_ITER: many}")
    with pytest.raises(ValueError, match="MAX_ITER"):
        load_config(str(path))


def test_missing_config_file():
    with pytest.raises(FileNotFoundError, match=r"no/such\.yaml"):
        load_config("no/such.yaml")


def test_unknown_optimizer_is_refused(tiny_cfg):
    cfg = tiny_cfg(SOLVER__OPTIMIZER="Lion")
    with pytest.raises(ValueError, match=r"SOLVER\.OPTIMIZER is 'Lion'; expected one of"):
        PersonSearchTrainer.build_optimizer(cfg, torch.nn.Linear(1, 1))


@pytest.mark.parametrize(("name", "kind"), [("SGD", "SGD"), ("AdamW", "AdamW")])
def test_optimizers_clip_gradients(name, kind, tiny_cfg):
    cfg = tiny_cfg(SOLVER__OPTIMIZER=name, SOLVER__CLIP_GRADIENTS__CLIP_VALUE=1.0)
    layer = torch.nn.Linear(2, 1)
    optimizer = PersonSearchTrainer.build_optimizer(cfg, layer)
    assert kind in {base.__name__ for base in type(optimizer).__mro__}
    (layer(torch.full((1, 2), 1000.0))).sum().backward()
    optimizer.step()
    norm = torch.stack([p.grad.norm() for p in layer.parameters()]).norm()
    assert norm.item() == pytest.approx(1.0, rel=1e-4)


PIDS = [[0, 1], [2, 3, UNLABELED_PID], [], [1, 2], [0, 3], [UNLABELED_PID], [3, 1]]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    name = "toy_train_net"
    frames = write_toy_frames(tmp_path_factory.mktemp("toy") / "frames", PIDS)
    DatasetCatalog.register(name, lambda: frames)
    MetadataCatalog.get(name).set(thing_classes=["person"])
    yield name
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def run_main(dataset, output, *overrides, flags=()):
    """Run main() with a tiny model on the toy frames; return its results."""
    settings = f"""
    DATASETS.TRAIN ('{dataset}',)
    DATASETS.TEST ()
    INPUT.MIN_SIZE_TRAIN (64,96)
    INPUT.MAX_SIZE_TRAIN 160
    SOLVER.IMS_PER_BATCH 2
    SOLVER.MAX_ITER 4
    SOLVER.CHECKPOINT_PERIOD 2
    TEST.EVAL_PERIOD 0
    OUTPUT_DIR {output}
    """
    options = overrides_of(TINY_FPN) + [w.strip() for w in overrides_of(settings)]
    config = str(CONFIGS / "Base-Slim-FPN.yaml")
    arguments = ["--config-file", config, *flags, *options, *overrides]
    return main(default_argument_parser().parse_args(arguments))


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """Output folder of a run of two iterations; no test changes it."""
    output = tmp_path_factory.mktemp("trained") / "out"
    run_main(dataset, output, "SOLVER.MAX_ITER", "2")
    return output


@pytest.fixture
def launch_training(dataset, tmp_path):
    """Run main() with a tiny model on the toy frames; return the output folder.

    ``launch_training.results`` returns main's results instead.
    """

    def results(folder, *overrides, flags=()):
        return run_main(dataset, tmp_path / folder, *overrides, flags=flags)

    def run(folder, *overrides, flags=()):
        results(folder, *overrides, flags=flags)
        return tmp_path / folder

    run.results = results
    return run


@pytest.mark.parametrize(
    ("workers", "tau", "decay"),
    [
        ("0", "0.5", "0.9"),
        # The resumed loader alone has a quick test with workers too.
        pytest.param("2", "0.0", "0.0", marks=pytest.mark.slow),
    ],
)
def test_interrupted_run_ends_as_a_straight_one(workers, tau, decay, launch_training):
    """Weights, optimizer, identity memory and weight average to the last bit."""
    settings = ["DATALOADER.NUM_WORKERS", workers, "MODEL.REID_HEAD.LOGIT_ADJUSTMENT", tau]
    settings += ["SOLVER.EMA_DECAY", decay]
    straight = launch_training("straight", *settings)
    halted = interrupted(straight, "model_0000001.pth")
    launch_training("halted", *settings, flags=["--resume"])

    first, second = (torch.load(folder / "model_final.pth") for folder in (straight, halted))
    assert_same(first, second)
    assert first["iteration"] == 3
    half = torch.load(straight / "model_0000001.pth")["model"]
    oim = "roi_heads.identity_losses.losses.OIM."
    names = [oim + name for name in ("table", "queue", "queue_pointer")]
    for name in (*names, "backbone.fpn_output2.weight"):
        assert not torch.equal(half[name], first["model"][name]), f"{name} did not move"
    average = first["trainer"]["hooks"].get("WeightAverage", {}).get("average", {})
    assert bool(average) == (decay != "0.0")
    if average:
        name = "backbone.fpn_output2.weight"
        assert not torch.equal(average[name], first["model"][name])
    counts = first["model"].get("roi_heads.identity_losses.logit_adjustment.identity_counts")
    # The labelled boxes of PIDS by person.
    assert (None if counts is None else counts.tolist()) == ([2, 3, 2, 3] if tau != "0.0" else None)


def test_training_leaves_a_log_and_its_config(trained):
    assert load_config(str(trained / "config.yaml")).SOLVER.MAX_ITER == 2
    assert "Starting training" in (trained / "log.txt").read_text()
    last = json.loads((trained / "metrics.json").read_text().splitlines()[-1])
    assert {"loss_reid_oim", "loss_cls", "lr"} <= set(last)
    assert list(trained.glob("events.out.tfevents.*"))


def test_wrong_number_of_identities_stops_before_training(launch_training):
    with pytest.raises(ValueError, match=r"has 4 identities.*NUM_IDENTITIES is 7; set it to 4"):
        launch_training("out", "MODEL.REID_HEAD.NUM_IDENTITIES", "7")


def test_mixed_precision_without_gpu_is_refused(launch_training, tmp_path):
    with pytest.raises(ValueError, match=r"SOLVER\.AMP\.ENABLED is True.*needs a GPU"):
        launch_training("out", "SOLVER.AMP.ENABLED", "True", "MODEL.DEVICE", "cpu")
    assert not (tmp_path / "out").exists()


def test_missing_weights_name_the_file(launch_training):
    with pytest.raises(FileNotFoundError, match=r"no/such/weights\.pth"):
        launch_training("out", "MODEL.WEIGHTS", "no/such/weights.pth")


def test_evaluating_without_weights_is_refused(launch_training):
    with pytest.raises(FileNotFoundError, match=r"MODEL\.WEIGHTS"):
        launch_training("out", flags=["--eval-only"])


@pytest.fixture
def test_set(write_frames, tmp_path):
    """A test set of five frames in COCO JSON: people 0, 1 and 2, each seen in two frames or more,
    and one frame of nobody."""
    frames = write_frames([[0, 1], [1, 2], [], [2, UNLABELED_PID], [0, 2]], folder="test_frames")
    images, annotations = [], []
    for number, frame in enumerate(frames):
        name = Path(frame["file_name"]).name
        images.append({"id": number, "file_name": name, "width": 160, "height": 96, "cam_id": 1})
        for a in frame["annotations"]:
            x1, y1, x2, y2 = a["bbox"]
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "person_id": a["person_id"],
                }
            )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }
    json_file = tmp_path / "test.json"
    json_file.write_text(json.dumps(content))
    name = "toy_train_net_test"
    register_coco_person(name, json_file, tmp_path / "test_frames", "test")
    yield name
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def test_evaluation_during_training_keeps_the_best_weights(launch_training, test_set):
    settings = ["DATASETS.TEST", f"('{test_set}',)"]
    settings += ["TEST.EVAL_PERIOD", "2", "INPUT.MIN_SIZE_TEST", "96", "INPUT.MAX_SIZE_TEST", "160"]
    output = launch_training("out", *settings)
    best = torch.load(output / "model_best.pth")
    record = json.loads((output / "model_best.json").read_text())
    assert best["iteration"] == record["iteration"] in (1, 3)
    assert record["metric"] == "search/mAP"
    rows = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    assert any("search/mAP" in row for row in rows)
    with np.load(output / "inference" / "predictions.npz") as arrays:
        assert len(arrays["query_embeddings"]) == 3
        assert sorted(arrays["image_names"]) == [f"{i}.jpg" for i in range(5)]
        assert arrays["embeddings"].shape[1] == 16
    # The files say which model it was; the last evaluation is of the final weights.
    finder = PersonFinder.from_config(output / "config.yaml", output / "model_final.pth")
    found = ResultsFile.load(output / "inference" / "results.json")
    assert found.model == finder.fingerprint
    assert found.model == read_predictions_model(output / "inference" / "predictions.npz")
    assert found.dataset == test_set and found.command
    assert {"search mAP", "detection ap"} <= set(found.numbers)


def test_what_is_evaluated_is_the_average_of_the_weights(launch_training, test_set):
    """In training, and from its checkpoint; the query boxes' embeddings tell."""
    common = ["DATASETS.TEST", f"('{test_set}',)", "SOLVER.MAX_ITER", "2"]
    common += ["SOLVER.WARMUP_ITERS", "0", "SOLVER.BASE_LR", "0.01"]
    trained = launch_training("trained", *common, "SOLVER.EMA_DECAY", "0.8")
    plain = launch_training("plain", *common)
    weights = ["MODEL.WEIGHTS", str(trained / "model_final.pth")]
    evaluated = launch_training("evaluated", *common, *weights, flags=["--eval-only"])
    queries = {}
    for folder in (trained, plain, evaluated):
        with np.load(folder / "inference/predictions.npz") as arrays:
            queries[folder.name] = arrays["query_embeddings"]
    np.testing.assert_allclose(queries["trained"], queries["evaluated"], atol=1e-6)
    assert np.abs(queries["trained"] - queries["plain"]).max() > 1e-3


def test_evaluating_annotated_boxes_is_the_detectors_upper_bound(
    trained, launch_training, test_set
):
    """Every true box is found; boxes go through the mapper's resizing and back."""
    evaluated = launch_training.results(
        "evaluated",
        *("DATASETS.TEST", f"('{test_set}',)", "MODEL.WEIGHTS", str(trained / "model_final.pth")),
        *("INPUT.MIN_SIZE_TEST", "72", "TEST.SEARCH.USE_GT_BOXES", "True"),
        *("TEST.SEARCH.MULTI_VIEW", "False", "TEST.SEARCH.CONTEXT.ENABLED", "True"),
        flags=["--eval-only"],
    )
    assert evaluated["detection"]["ap"] == pytest.approx(100)
    assert evaluated["detection"]["recall"] == pytest.approx(100)
    assert {"search", "search_cbgm", "bbox"} <= set(evaluated)
    assert 0 < evaluated["search"]["mAP"] <= 100


@pytest.mark.parametrize("name", ["cuhk_sysu/oim_r50.yaml", "prw/oim_r50.yaml"])
def test_published_settings_scale_to_four_gpus(name):
    """Five frames do not divide among four processes; twenty do."""
    cfg = config_of(CONFIGS / name)
    scaled = PersonSearchTrainer.auto_scale_workers(cfg, 4)
    assert scaled.SOLVER.IMS_PER_BATCH == 20
    assert pytest.approx(4 * cfg.SOLVER.BASE_LR) == scaled.SOLVER.BASE_LR
    assert round(cfg.SOLVER.MAX_ITER / 4) == scaled.SOLVER.MAX_ITER


def test_own_data_is_registered_from_the_config(tmp_path):
    entry = ["own_train", str(tmp_path / "train.json"), str(tmp_path), "train"]
    cfg = load_config("", ["DATASETS.COCO_PERSON", str([entry])])
    register_own_data(cfg)
    register_own_data(cfg)
    assert "own_train" in DatasetCatalog.list()
    with pytest.raises(OSError, match=r"train\.json"):
        DatasetCatalog.get("own_train")
    DatasetCatalog.remove("own_train")
    MetadataCatalog.remove("own_train")


def test_own_data_with_a_missing_value_is_refused():
    cfg = load_config("", ["DATASETS.COCO_PERSON", "[['mine', 'a.json']]"])
    with pytest.raises(ValueError, match=r"COCO_PERSON has \['mine', 'a.json'\]"):
        register_own_data(cfg)


@pytest.mark.slow
def test_a_packed_model_trains_on_and_is_evaluated(trained, launch_training, test_set, tmp_path):
    finder = PersonFinder.from_config(trained / "config.yaml", trained / "model_final.pth")
    card = ModelCard("toy", "toys", "MIT", "toy frames")
    packed = finder.save_pretrained(tmp_path / "packed", card)
    weights = ["MODEL.WEIGHTS", str(packed)]
    further = launch_training("on", *weights, "SOLVER.BASE_LR", "1e-9", "SOLVER.MAX_ITER", "1")
    first, second = (torch.load(x / "model_final.pth")["model"] for x in (trained, further))
    parameters = dict(finder.network.model.named_parameters())
    names = [name for name in parameters if not name.startswith("roi_heads.identity_losses.")]
    assert names
    for name in names:
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=1e-7)
    # What its people looked like is not passed on.
    table = "roi_heads.identity_losses.losses.OIM.table"
    assert not torch.equal(first[table], second[table])
    tests = ["DATASETS.TEST", f"('{test_set}',)"]
    evaluated = launch_training("evaluated", *weights, *tests, flags=["--eval-only"])
    found = ResultsFile.load(evaluated / "inference" / "results.json")
    assert found.model == finder.fingerprint
