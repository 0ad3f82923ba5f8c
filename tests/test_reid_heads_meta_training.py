"""Training over several sets through configs: baseline, style jitter, SVIL."""

import json

import numpy as np
import pytest
import torch
from conftest import CONFIGS, assert_same, interrupted, overrides_of
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import default_argument_parser
from PIL import Image
from test_reid_heads_train_net import changes
from test_reid_heads_training_meta_learning import run as run_loop
from test_reid_heads_training_meta_learning import step_by_hand

from reid_heads.config import load_config
from reid_heads.train_net import CropReIDTrainer, main
from reid_heads.training.meta_learning import MetaLearningTrainer

FOLDER = CONFIGS / "drawn_domains"
DOMAINS = ("toy_red", "toy_green", "toy_blue")
IDENTITIES = (3, 4, 3)
TINY = """
MODEL.SLIM_RESNET.STEM_CHANNELS 8
MODEL.SLIM_RESNET.CHANNELS (8,12,16,24)
MODEL.SLIM_RESNET.NUM_BLOCKS (1,1,1,1)
MODEL.REID_HEAD.NUM_IDENTITIES 10
INPUT.REID.SIZE (32,16)
INPUT.REID.PADDING 2
DATALOADER.REID.IMAGES_PER_IDENTITY 2
SOLVER.IMS_PER_BATCH 12
SOLVER.REID.EPOCHS 0
SOLVER.MAX_ITER 4
SOLVER.CHECKPOINT_PERIOD 2
SOLVER.STEPS (3,)
SOLVER.WARMUP_ITERS 2
TEST.EVAL_PERIOD 0
"""


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    """Crops in three casts on disk: each person in two colours, under a light of the set's."""
    root = tmp_path_factory.mktemp("domains")
    entries = []
    for domain, (name, count) in enumerate(zip(DOMAINS, IDENTITIES, strict=True)):
        folder = root / name
        folder.mkdir()
        for pid in range(1, count + 1):
            colours = np.random.default_rng([domain, pid]).integers(0, 200, (2, 3))
            for number in range(4):
                noise = np.random.default_rng([domain, pid, number]).integers(-20, 20, (32, 16, 3))
                image = np.repeat(colours, 16, axis=0)[:, None] + noise
                image[..., domain] += 50
                image = np.clip(image, 0, 255).astype(np.uint8)
                file_name = f"{pid:04d}_c{1 + number % 2}s1_{number:06d}_00.jpg"
                Image.fromarray(image).save(folder / file_name)
        entries.append([name, str(folder), "train"])
    yield entries
    for name in DOMAINS:
        if name in DatasetCatalog.list():
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


@pytest.fixture
def launch(domains, tmp_path):
    """Run main() with a tiny model on the toy domains; return the output folder."""

    def run(folder, *overrides, flags=(), config="svil", train=DOMAINS):
        output = tmp_path / folder
        data = ["DATASETS.CROPS", str(domains), "DATASETS.TRAIN", str(tuple(train))]
        data += ["DATASETS.TEST", "()", "OUTPUT_DIR", str(output)]
        if config == "svil":
            data += ["MODEL.REID_HEAD.DOMAIN_IDENTITIES", str(IDENTITIES)]
        options = [word.strip() for word in overrides_of(TINY)] + data
        path = str(FOLDER / f"{config}.yaml")
        arguments = ["--config-file", path, *flags, *options, *overrides]
        main(default_argument_parser().parse_args(arguments))
        return output

    return run


@pytest.mark.parametrize(
    ("config", "overrides"),
    [
        (
            "svil",
            [
                *("MODEL.CROP_REID.STYLE_JITTER.MIX_RANGE", "(0.0,1.0)"),
                *("MODEL.REID_HEAD.LOSSES.CENTER", "0.0005", "SOLVER.EMA_DECAY", "0.9"),
            ],
        ),
        (
            "style_jitter",
            [
                *("MODEL.CROP_REID.STYLE_JITTER.PROBABILITY", "0.5"),
                *("DATALOADER.REID.SAMPLER", "identity_uniform"),
            ],
        ),
    ],
)
def test_two_and_two_iterations_are_four(config, overrides, launch):
    straight = launch("straight", *overrides, config=config)
    halted = interrupted(straight, "model_0000001.pth")
    launch("halted", *overrides, flags=["--resume"], config=config)
    first, second = (torch.load(folder / "model_final.pth") for folder in (straight, halted))
    assert_same(first, second)
    assert first["iteration"] == 3
    half = torch.load(straight / "model_0000001.pth")["model"]
    assert all(
        not torch.equal(value, half[name])
        for name, value in first["model"].items()
        if name.endswith("weight") and value.ndim > 1
    )
    last_row = json.loads((straight / "metrics.json").read_text().splitlines()[-1])
    meta_test = ("meta_test/loss_reid_domain_softmax", "meta_test/total_loss")
    assert [name in last_row for name in meta_test] == [config == "svil"] * 2


@pytest.mark.parametrize("inner", ["SGD", "Adam"])
def test_a_step_of_the_configured_model_equals_two_by_hand(inner):
    """As in the tests of the loop, with every part that a config gives."""
    words = [word.strip() for word in overrides_of(TINY)]
    words += ["MODEL.REID_HEAD.DOMAIN_IDENTITIES", str(IDENTITIES)]
    words += ["MODEL.CROP_REID.STYLE_JITTER.MIX_RANGE", "(0.3,0.9)"]
    cfg = load_config(str(FOLDER / "svil.yaml"), words)
    generator = torch.Generator().manual_seed(0)
    batch = [
        {
            "image": torch.randint(0, 256, (3, 32, 16), generator=generator, dtype=torch.uint8),
            "person_id": pid,
            "domain": (pid > 2) + (pid > 6),
        }
        for pid in (0, 0, 2, 2, 3, 3, 6, 6, 7, 7, 9, 9)
    ]
    models, outers = [], []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(CropReIDTrainer.build_model(cfg).double().train())
        outers.append(CropReIDTrainer.build_optimizer(cfg, models[-1]))
    loop = MetaLearningTrainer(models[0], [batch] * 3, outers[0], inner_optimizer=inner)
    run_loop(loop, 3)
    for loop.iter in range(3):
        torch.manual_seed(loop.iter)
        drawn = loop.split(batch)[1][0]["domain"]
        step_by_hand(models[1], outers[1], batch, drawn, inner, 0.5)
    torch.manual_seed(0)
    start = CropReIDTrainer.build_model(cfg).double().state_dict()
    for name, value in models[1].state_dict().items():
        torch.testing.assert_close(models[0].state_dict()[name], value, rtol=0, atol=1e-6, msg=name)
        assert name == "head.neck.bias" or not torch.equal(value, start[name]), name


@pytest.mark.slow
def test_meta_training_learns(launch):
    settings = ["SOLVER.MAX_ITER", "80", "SOLVER.STEPS", "()", "SOLVER.CHECKPOINT_PERIOD", "80"]
    # Colours tell the people of these crops apart, and jitter takes them away.
    settings += ["MODEL.CROP_REID.STYLE_JITTER.PLACES", "()", "SOLVER.BASE_LR", "0.005"]
    output = launch("out", *settings, "MODEL.REID_HEAD.SOFTMAX.LABEL_SMOOTHING", "0.0")
    rows = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    for name in ("loss_reid_softmax", "meta_test/loss_reid_domain_softmax"):
        losses = [row[name] for row in rows if name in row]
        assert losses[-1] < 0.8 * losses[0], name
    assert "meta_test/total_loss" in rows[-1]


def test_the_loop_is_chosen_by_the_config(domains, tmp_path):
    def build(*overrides):
        cfg = load_config(str(FOLDER / "svil.yaml"), [w.strip() for w in overrides_of(TINY)])
        data = ["DATASETS.TRAIN", DOMAINS, "DATASETS.TEST", (), "OUTPUT_DIR", str(tmp_path)]
        cfg.merge_from_list([*data, "MODEL.REID_HEAD.DOMAIN_IDENTITIES", IDENTITIES, *overrides])
        cfg.DATASETS.CROPS = domains
        return CropReIDTrainer(cfg)

    from reid_heads.data.builtin import register_own_crops

    for entry in domains:
        register_own_crops(*entry)
    settings = ["SOLVER.META_LEARNING.BETA", 0.25, "SOLVER.META_LEARNING.INNER_OPTIMIZER", "SGD"]
    loop = build(*settings)._trainer
    assert isinstance(loop, MetaLearningTrainer)
    assert (loop.beta, loop.first_step.__name__, loop.seed) == (0.25, "sgd_first_step", 1)
    plain = build("SOLVER.META_LEARNING.ENABLED", False)._trainer
    assert not isinstance(plain, MetaLearningTrainer)


def test_one_set_is_refused(launch):
    with pytest.raises(ValueError, match=r"DATASETS\.TRAIN is \('toy_red',\).*two training sets"):
        launch("out", train=DOMAINS[:1])


def test_batches_that_may_lack_a_set_are_refused(launch):
    with pytest.raises(ValueError, match=r"DOMAIN_BALANCED to True"):
        launch("out", "DATALOADER.REID.DOMAIN_BALANCED", "False")


def test_mixed_precision_is_refused():
    cfg = load_config(str(FOLDER / "svil.yaml"), ["SOLVER.AMP.ENABLED", "True"])
    with pytest.raises(ValueError, match=r"SOLVER\.AMP\.ENABLED to False"):
        CropReIDTrainer(cfg)


def test_a_batch_that_the_sets_cannot_share_is_refused(launch):
    with pytest.raises(ValueError, match=r"IMS_PER_BATCH is 10.*3 training sets"):
        launch("out", "SOLVER.IMS_PER_BATCH", "10")


def test_wrong_numbers_of_identities_are_refused(launch):
    with pytest.raises(ValueError, match=r"\(3, 4, 3\).*DOMAIN_IDENTITIES is \(4, 3, 3\)"):
        launch("out", "MODEL.REID_HEAD.DOMAIN_IDENTITIES", "(4,3,3)")


def test_the_configs_differ_by_what_they_add():
    names = ("baseline", "style_jitter", "domain_losses", "svil")
    baseline, jitter, losses, svil = (load_config(str(FOLDER / f"{name}.yaml")) for name in names)
    assert changes(baseline, jitter) == {"MODEL.CROP_REID.STYLE_JITTER.PLACES"}
    head = "MODEL.REID_HEAD."
    assert changes(jitter, losses) == {
        f"{head}DOMAIN_IDENTITIES",
        f"{head}LOSSES.DOMAIN_SOFTMAX",
        f"{head}LOSSES.DOMAIN_TRIPLET",
    }
    assert changes(losses, svil) == {"SOLVER.META_LEARNING.ENABLED"}


def test_settings_of_the_published_code():
    cfg = load_config(str(CONFIGS / "Base-SVIL.yaml"))
    solver, meta, jitter = cfg.SOLVER, cfg.SOLVER.META_LEARNING, cfg.MODEL.CROP_REID.STYLE_JITTER
    assert (meta.ENABLED, meta.BETA, meta.INNER_OPTIMIZER) == (True, 0.5, "Adam")
    assert (tuple(jitter.PLACES), tuple(jitter.MIX_RANGE), jitter.STRIPES) == (("stem",), (1, 1), 1)
    assert (solver.OPTIMIZER, solver.BASE_LR, solver.WEIGHT_DECAY) == ("Adam", 0.00035, 0.0005)
    assert (solver.REID.EPOCHS, solver.REID.ITERATIONS_PER_EPOCH) == (90, 200)
    # StepLR of 20 epochs, which counts from 0.
    assert list(solver.REID.STEP_EPOCHS) == [21, 41, 61, 81] and solver.REID.WARMUP_EPOCHS == 0
    assert cfg.INPUT.REID.ERASING.PROBABILITY == 0 and tuple(cfg.INPUT.REID.SIZE) == (256, 128)
    active = {name for name, weight in cfg.MODEL.REID_HEAD.LOSSES.items() if weight}
    assert active == {"SOFTMAX", "TRIPLET", "DOMAIN_SOFTMAX", "DOMAIN_TRIPLET"}
    assert cfg.MODEL.REID_HEAD.SOFTMAX.LABEL_SMOOTHING == 0.1
