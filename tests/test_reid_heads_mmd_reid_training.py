"""MMD-ReID end to end on toy crops in colour and in grey, through detectron2's launcher."""

import json

import numpy as np
import pytest
import torch
from conftest import CONFIGS, assert_same, interrupted, overrides_of
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import default_argument_parser
from PIL import Image
from test_reid_heads_train_net import TINY

from reid_heads.train_net import main

NAMES = ("toy_modalities_train", "toy_modalities_test")


@pytest.fixture
def table(tmp_path):
    """A CSV of six people, each with bands of an own brightness, which thermal pictures invert.

    Two of the six pictures of each modality are for the test: untrained, the model finds hardly
    anybody across modalities.
    """

    def write(name, pid, number, is_thermal):
        bands = np.random.default_rng(pid).integers(0, 255, 4)
        noise = np.random.default_rng([pid, number, is_thermal]).integers(-15, 15, (32, 16, 3))
        image = np.repeat(bands, 8)[:, None, None] + noise
        image = 255 - image if is_thermal else image * np.array([1.0, 0.7, 0.4])
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(tmp_path / name)

    rows = ["path,person,camera,split,modality"]
    for pid in range(1, 7):
        for number in range(6):
            for camera, modality in ((1, "visible"), (2, "thermal")):
                name = f"{pid}_{number}_{modality}.png"
                write(name, pid, number, camera == 2)
                split = "train" if number < 4 else "query" if camera == 2 else "gallery"
                rows.append(f"{name},{pid},{camera},{split},{modality}")
    path = tmp_path / "crops.csv"
    path.write_text("\n".join(rows) + "\n")
    yield path
    for name in NAMES:
        if name in DatasetCatalog.list():
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


@pytest.fixture
def launch(table, shallow, tmp_path):
    def run(folder, *overrides, flags=()):
        output = tmp_path / folder
        sets = [[NAMES[0], str(table), "train"], [NAMES[1], str(table), "test"]]
        data = ["DATASETS.CROPS", str(sets), "DATASETS.TRAIN", f"('{NAMES[0]}',)"]
        data += ["DATASETS.TEST", f"('{NAMES[1]}',)", "OUTPUT_DIR", str(output)]
        options = [word.strip() for word in overrides_of(TINY)] + data
        options += ["SOLVER.WARMUP_FACTOR", "0.1", "SOLVER.BASE_LR", "0.01"]
        arguments = ["--config-file", str(CONFIGS / "Base-MMD-ReID.yaml"), *flags]
        parsed = default_argument_parser().parse_args([*arguments, *options, *overrides])
        return output, main(parsed)

    return run


def test_interrupted_run_ends_as_a_straight_one(launch):
    straight, results = launch("straight")
    assert 0 < results["reid"]["mAP"] <= 100
    halted = interrupted(straight, "model_0000002.pth")
    launch("halted", flags=["--resume"])
    first, second = (torch.load(folder / "model_final.pth") for folder in (straight, halted))
    assert_same(first, second)
    first_row = json.loads((straight / "metrics.json").read_text().splitlines()[0])
    losses = {"loss_reid_hetero_center_triplet", "loss_reid_mmd_id", "loss_reid_softmax"}
    assert losses <= set(first_row)
    start = torch.load(straight / "model_0000002.pth")["model"]
    for stream in ("visible", "thermal"):
        name = f"backbone.{stream}.stem.conv1.weight"
        assert not torch.equal(start[name], first["model"][name])


@pytest.mark.slow
def test_training_learns_across_modalities(launch):
    settings = ["SOLVER.MAX_ITER", "40", "SOLVER.STEPS", "()", "SOLVER.BASE_LR", "0.03"]
    settings += ["SOLVER.IMS_PER_BATCH", "24", "SOLVER.CHECKPOINT_PERIOD", "40"]
    settings += ["INPUT.REID.ERASING.PROBABILITY", "0.0", "INPUT.REID.PADDING", "0"]
    output, results = launch("out", *settings)
    rows = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    losses = [row["total_loss"] for row in rows if "total_loss" in row]
    assert losses[-1] < 0.9 * losses[0]
    # With three seeds: 90 to 100, and 20 to 41 untrained.
    assert results["reid"]["mAP"] > 70


def test_the_backbone_has_a_tenth_of_the_rate(launch):
    output, _ = launch("out", "SOLVER.WARMUP_FACTOR", "1.0", "SOLVER.MAX_ITER", "1")
    state = torch.load(output / "model_final.pth")["trainer"]["_trainer"]
    groups = state["optimizer"]["param_groups"]
    rates = sorted({round(group["initial_lr"], 8) for group in groups})
    assert rates == [0.001, 0.01]


def test_a_set_of_one_modality_is_refused(launch, table):
    table.write_text(table.read_text().replace(",thermal", ",visible"))
    with pytest.raises(ValueError, match="none of the 48 training crops is thermal"):
        launch("out")


def test_somebody_in_one_modality_is_refused(launch, table):
    lines = table.read_text().splitlines()
    kept = [line for line in lines if not line.startswith("3_") or "thermal" not in line]
    table.write_text("\n".join(kept) + "\n")
    with pytest.raises(
        ValueError, match=r"no training crop of person 2 \(of .*3_0_visible.*\) is thermal"
    ):
        launch("out")
