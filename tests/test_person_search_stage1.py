import shutil

import numpy as np
import pytest
import torch
from conftest import CONFIGS, TINY_FPN, assert_same, draw_scene, overrides_of, write_toy_frames
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import default_argument_parser
from PIL import Image

from person_search import train_stage1
from person_search.config import load_config
from person_search.stage1 import load_stage1_config
from person_search.train_net import main

PIDS = [[0, 1], [2, 3], [], [1, 2], [0, 3]]
STAGE1 = """
_BASE_: {base}
MODEL:
  BACKBONE: {{NAME: build_slim_resnet_backbone}}
  SLIM_RESNET: {{STEM_CHANNELS: 8, CHANNELS: [8, 12, 16, 24], NUM_BLOCKS: [1, 1, 1, 1]}}
  CROP_REID: {{LAST_STRIDE: 1}}
  REID_HEAD: {{BATCH_NORM: True}}
INPUT: {{REID: {{SIZE: [32, 16]}}}}
DATASETS:
  CROPS: [["{name}", "{crops}", "train"], ["{name}_more", "{more}", "train"]]
  TRAIN: ["{name}"]
DATALOADER: {{REID: {{SAMPLER: identity_uniform, IMAGES_PER_IDENTITY: 2}}}}
SOLVER: {{IMS_PER_BATCH: 8, MAX_ITER: 4, CHECKPOINT_PERIOD: 2, REID: {{EPOCHS: 0}}}}
"""


def write_crops(folder, pids):
    folder.mkdir()
    for pid in pids:
        for number in range(3):
            image, boxes = draw_scene([pid], seed=number)
            x1, y1, x2, y2 = boxes[0].astype(int)
            Image.fromarray(image[y1:y2, x1:x2]).save(folder / f"{pid}_c1_{number}.png")


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Frames for stage 2, crops of the same people for stage 1, and stage 1's config."""
    name, folder = "toy_stage1", tmp_path_factory.mktemp("toy")
    frames = write_toy_frames(folder / "frames", PIDS)
    DatasetCatalog.register(name, lambda: frames)
    MetadataCatalog.get(name).set(thing_classes=["person"])
    write_crops(folder / "crops", range(4))
    write_crops(folder / "more", range(3))
    base = CONFIGS / "Base-Slim-CropReID.yaml"
    crops, more = folder / "crops", folder / "more"
    text = STAGE1.format(base=base, name=f"{name}_crops", crops=crops, more=more)
    (folder / "stage1.yaml").write_text(text)
    yield name, folder / "stage1.yaml"
    for registered in (name, f"{name}_crops", f"{name}_crops_more"):
        if registered in DatasetCatalog.list():
            DatasetCatalog.remove(registered)
        MetadataCatalog.pop(registered, None)


def run(toy, output, *overrides, flags=(), train=main):
    name, stage1 = toy
    settings = f"""
    DATASETS.TRAIN ('{name}',)
    DATASETS.TEST ()
    MODEL.PERSON_SEARCH.STL.CONFIG_FILE {stage1}
    MODEL.PERSON_SEARCH.IDENTITY_BRANCH.BODY res3+res4+res5
    MODEL.PERSON_SEARCH.IDENTITY_BRANCH.IN_FEATURES ['res2']
    MODEL.PERSON_SEARCH.IDENTITY_BRANCH.LAST_STRIDE 1
    MODEL.PERSON_SEARCH.IDENTITY_BRANCH.BASIC_BLOCKS.CHANNELS 128
    MODEL.PERSON_SEARCH.IDENTITY_BRANCH.BASIC_BLOCKS.NUM_BLOCKS 2
    MODEL.REID_HEAD.NAME BNNeckHead
    MODEL.REID_HEAD.EMBEDDING_DIM 256
    MODEL.REID_HEAD.STRIPES (1,)
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
    train(default_argument_parser().parse_args(arguments))
    return output


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    """Output folder of one command that trained both stages; no test changes it."""
    return run(toy, tmp_path_factory.mktemp("trained") / "both")


@pytest.fixture
def both(trained, tmp_path):
    """A copy of ``trained`` for one test."""
    return shutil.copytree(trained, tmp_path / "both")


@pytest.fixture
def launch(toy, tmp_path):
    """Run main() of person search with stage 1 in its config; return the output folder."""

    def launch(folder, *overrides, **settings):
        return run(toy, tmp_path / folder, *overrides, **settings)

    return launch


def weights_of(path):
    return torch.load(path, weights_only=True)["model"]


def test_one_command_trains_both_stages(trained):
    stage1 = weights_of(trained / "stage1" / "model_final.pth")
    first = weights_of(trained / "model_0000001.pth")
    body = "roi_heads.identity_branch.body."
    for name, value in stage1.items():
        if name.startswith("backbone.res5.") and name.endswith("conv1.weight"):
            moved = first[body + name.removeprefix("backbone.")]
            # Two steps of stage 2 away from stage 1's end, and not where it started.
            assert 0 < (moved - value).abs().max() < 0.05
    log = (trained / "log.txt").read_text()
    assert "stage 1 begins" in log and "stage 1 weights from" in log and "transferred" in log
    assert load_config(str(trained / "config.yaml")).SOLVER.MAX_ITER == 4
    assert (trained / "model_final.pth").exists()


def test_stage_2_from_a_given_checkpoint_is_the_same(trained, launch):
    checkpoint = trained / "stage1" / "model_final.pth"
    given = launch("given", "MODEL.PERSON_SEARCH.STL.WEIGHTS", str(checkpoint))
    assert not (given / "stage1").exists()
    assert_same(weights_of(trained / "model_final.pth"), weights_of(given / "model_final.pth"))


@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_an_interrupted_run_ends_as_a_straight_one(stage, both, launch):
    straight = weights_of(both / "model_final.pth")
    halted = both
    if stage == "stage1":
        halted = both / "stage1"
        for path in [*both.glob("*.pth"), both / "last_checkpoint"]:
            path.unlink()
        # As after a disk that lost its end: the checkpoint before is taken.
        (halted / "model_final.pth").write_bytes(b"PK")
    else:
        (halted / "model_final.pth").unlink()
        (halted / "last_checkpoint").write_text("model_0000001.pth")
    launch("both", flags=["--resume"])
    assert_same(straight, weights_of(both / "model_final.pth"))


def test_stage_1_alone(trained, launch):
    alone = launch("alone", train=train_stage1.main)
    assert not list(alone.glob("*.pth")), "stage 2 was trained"
    finals = [folder / "stage1" / "model_final.pth" for folder in (trained, alone)]
    assert_same(*(weights_of(path) for path in finals))
    with pytest.raises(ValueError, match="expected a config file of stage 1"):
        launch("none", "MODEL.PERSON_SEARCH.STL.CONFIG_FILE", "", train=train_stage1.main)


def test_extra_sets_join_stage_1(toy, tmp_path):
    name, stage1 = toy
    cfg = load_config("", ["OUTPUT_DIR", str(tmp_path), "SEED", "5", "MODEL.DEVICE", "cpu"])
    cfg.MODEL.PERSON_SEARCH.STL.CONFIG_FILE = "stage1.yaml"
    beside = str(stage1.parent / "main.yaml")
    alone = load_stage1_config(cfg, beside)
    assert alone.MODEL.REID_HEAD.NUM_IDENTITIES == 4
    assert alone.SEED == 5 and alone.OUTPUT_DIR.endswith("/stage1")
    cfg.MODEL.PERSON_SEARCH.STL.EXTRA_DATASETS = (f"{name}_crops_more",)
    cfg.MODEL.PERSON_SEARCH.STL.OPTS = ("SOLVER.REID.EPOCHS", 3, "SOLVER.BASE_LR", 0.5)
    joined = load_stage1_config(cfg, beside)
    assert joined.MODEL.REID_HEAD.NUM_IDENTITIES == 7
    assert list(joined.DATASETS.TRAIN) == [f"{name}_crops", f"{name}_crops_more"]
    # 21 crops in batches of 8: 2 iterations an epoch.
    assert joined.SOLVER.MAX_ITER == 3 * 2
    assert joined.dump().count("BASE_LR: 0.5") == 1


def test_another_network_is_refused_before_it_is_trained(launch, tmp_path):
    with pytest.raises(ValueError, match="LAST_STRIDE"):
        launch("out", "MODEL.PERSON_SEARCH.IDENTITY_BRANCH.LAST_STRIDE", "2")
    assert not (tmp_path / "out" / "stage1").exists()


def test_a_given_checkpoint_of_an_older_version_is_compared(both, launch):
    """Its config may have keys that no longer exist; what matters is read all the same."""
    checkpoint = both / "stage1" / "model_final.pth"
    config = checkpoint.parent / "config.yaml"
    config.write_text(config.read_text() + "GONE: {KEY: 3}\n")
    weights = ["MODEL.PERSON_SEARCH.STL.WEIGHTS", str(checkpoint)]
    launch("given", *weights, "SOLVER.MAX_ITER", "1")
    config.write_text(config.read_text().replace("LAST_STRIDE: 1", "LAST_STRIDE: 2"))
    with pytest.raises(ValueError, match="LAST_STRIDE is 2 there, 1 here"):
        launch("refused", *weights)


def test_missing_files_are_named(launch):
    with pytest.raises(FileNotFoundError, match=r"no/config\.yaml"):
        launch("out", "MODEL.PERSON_SEARCH.STL.CONFIG_FILE", "no/config.yaml")
    with pytest.raises(FileNotFoundError, match=r"no stage 1 checkpoint no/weights\.pth"):
        launch("out", "MODEL.PERSON_SEARCH.STL.WEIGHTS", "no/weights.pth")


def test_features_do_not_change_with_a_moved_file(trained, launch, tmp_path):
    """A checkpoint without its config is taken, but the log says what could not be compared."""
    checkpoint = trained / "stage1" / "model_final.pth"
    moved = tmp_path / "moved" / "weights.pth"
    moved.parent.mkdir()
    moved.write_bytes(checkpoint.read_bytes())
    weights = ["MODEL.PERSON_SEARCH.STL.WEIGHTS", str(moved)]
    output = launch("given", *weights, "SOLVER.MAX_ITER", "1")
    assert "cannot be compared" in (output / "log.txt").read_text()
    assert np.isfinite(
        sum(float(v.float().sum()) for v in weights_of(output / "model_final.pth").values())
    )
