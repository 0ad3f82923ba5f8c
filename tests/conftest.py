"""What tests share: tiny configs and models, toy frames, quick trainings, processes.

- Default tests take milliseconds, the dearest a few seconds. What cannot (fresh interpreters, full
  size models, whole guides) is marked ``slow``, beside a quick test of the same behaviour.
- A model: ``make_model(kind, **overrides)`` or ``tiny_cfg``; 8 to 32 channels wide. One of crop
  ReID: ``shallow``. One at full size whose values do not matter: ``undrawn``. A training: the
  package's own ``main()`` in this process, of few iterations; ``quick_setup`` makes its start
  quick. A resumed one: copy the straight run with ``interrupted``, train no first half again.
- Several processes: ``run_processes`` of helpers_processes forks them with everything imported. A
  process of its own, to be killed or without earlier imports, is one too: ``run_processes(f, 1)``.
- A world, gallery or trained run that a file's tests only read: a fixture of module scope. xdist
  gives each file to one worker, so it is made once. A test that changes it takes a copy.
- Nothing depends on the order of tests, or on another test having run.
"""

import contextlib
import functools
import logging
import operator
import os
import pickle
import re
import shutil
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import yaml

# Several test processes share the machine; a waiting thread pool makes each one slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for onnxruntime, and for processes of their own
# Models that whoever runs the tests has installed, or named, would be the default.
os.environ["PERSON_SEARCH_HOME"] = os.devnull
for _variable in ("MODEL", "CONFIG", "WEIGHTS"):
    os.environ.pop(f"PERSON_SEARCH_{_variable}", None)
# The same classes in C, ten times faster: tests read and write configs by the hundred.
yaml.SafeLoader, yaml.SafeDumper = yaml.CSafeLoader, yaml.CSafeDumper

CONFIGS = Path(__file__).resolve().parent.parent / "configs"

TINY_FPN = """
MODEL.SLIM_RESNET.STEM_CHANNELS 8
MODEL.SLIM_RESNET.CHANNELS (8,12,16,24)
MODEL.SLIM_RESNET.NUM_BLOCKS (1,1,1,1)
MODEL.PERSON_SEARCH.IDENTITY_BRANCH.IN_FEATURES ['p2']
MODEL.PERSON_SEARCH.IDENTITY_BRANCH.POOLER_RESOLUTION (16,8)
MODEL.PERSON_SEARCH.IDENTITY_BRANCH.BASIC_BLOCKS.CHANNELS 24
MODEL.PERSON_SEARCH.IDENTITY_BRANCH.BASIC_BLOCKS.NUM_BLOCKS 1
MODEL.FPN.OUT_CHANNELS 16
MODEL.RPN.CONV_DIMS [16]
MODEL.RPN.BATCH_SIZE_PER_IMAGE 32
MODEL.RPN.POST_NMS_TOPK_TRAIN 40
MODEL.RPN.POST_NMS_TOPK_TEST 30
MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE 16
MODEL.ROI_BOX_HEAD.FC_DIM 32
MODEL.REID_HEAD.EMBEDDING_DIM 16
MODEL.REID_HEAD.STRIPES (1,2)
MODEL.REID_HEAD.LOSSES.OIM 1.0
INPUT.COLOR_JITTER 0.0
MODEL.REID_HEAD.NUM_IDENTITIES 4
MODEL.REID_HEAD.OIM.QUEUE_SIZE 8
"""

TINY_C4 = """
MODEL.DEVICE cpu
MODEL.WEIGHTS ''
MODEL.RESNETS.STEM_OUT_CHANNELS 8
MODEL.RESNETS.RES2_OUT_CHANNELS 16
MODEL.RESNETS.WIDTH_PER_GROUP 4
MODEL.ANCHOR_GENERATOR.SIZES [[16,32]]
MODEL.RPN.PRE_NMS_TOPK_TRAIN 100
MODEL.RPN.POST_NMS_TOPK_TRAIN 20
MODEL.RPN.PRE_NMS_TOPK_TEST 100
MODEL.RPN.POST_NMS_TOPK_TEST 5
MODEL.RPN.BATCH_SIZE_PER_IMAGE 16
MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE 6
MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION 4
MODEL.PERSON_SEARCH.IDENTITY_BRANCH.POOLER_RESOLUTION [4,4]
MODEL.REID_HEAD.EMBEDDING_DIM 16
MODEL.REID_HEAD.STRIPES (1,2)
MODEL.REID_HEAD.LOSSES.OIM 1.0
INPUT.COLOR_JITTER 0.0
MODEL.REID_HEAD.NUM_IDENTITIES 4
MODEL.REID_HEAD.OIM.QUEUE_SIZE 8
"""


def pytest_addoption(parser):
    parser.addoption("--runslow", action="store_true", help="run the slow tests too")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--runslow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow; run with --runslow"))


@pytest.fixture(scope="session", autouse=True)
def processes():
    """What ``run_processes`` of helpers_processes asks; there before the first test.

    PyTorch is imported here, and in what needs it below: xdist's own process reads this file too,
    but runs no test.
    """
    import torch
    from helpers_processes import serve_processes

    torch.set_num_threads(1)
    with serve_processes():
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_setup():
    """Spare each training what took detectron2's launcher longer than some iterations.

    It turns the whole config into an OmegaConf for each of three keys, asks the machine anew what
    it is, and colours the config in the log.
    """
    # By its package: the module goes by another name where detectron2 is LabGym's.
    defaults = getattr(sys.modules.get("detectron2.engine"), "defaults", None)
    if defaults is None:  # no test here trains anything
        yield
        return

    def get_key(cfg, *keys, default=None):
        for key in keys:
            try:
                return operator.attrgetter(key)(cfg)
            except AttributeError:
                continue
        return default

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(defaults, "_try_get_key", get_key)
        patch.setattr(defaults, "collect_env_info", functools.cache(defaults.collect_env_info))
        patch.setattr(defaults, "_highlight", lambda code, filename: code)
        yield


@contextlib.contextmanager
def undrawn():
    """Draw no values for the weights of new layers.

    They are replaced, or on the meta device, or only their names count; drawing them takes most of
    the time of making a full-size network.
    """
    import torch

    with pytest.MonkeyPatch.context() as patch:
        for draw in ("normal_", "uniform_"):
            patch.setattr(torch.Tensor, draw, lambda tensor, *_, **__: tensor)
        yield


@pytest.fixture(scope="session", autouse=True)
def quick_log_capture():
    """Let pytest hear torch through the root logger.

    It hangs two handlers onto each logger that does not propagate, three times a test: with the
    fifty of torch, as much work as a small test.
    """
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.startswith("torch.") and isinstance(logger, logging.Logger):
            logger.propagate = True


@contextlib.contextmanager
def shallow_resnets():
    """Leave crop ReID's ResNets of every depth one block a stage, and two in res4.

    The second is what MGN's branches copy; the others are no other kinds of layers. What building
    and training take grows with the number of layers, however narrow they are.
    """
    from reid_heads.backbones.resnet import NUM_BLOCKS

    with mock.patch.dict(NUM_BLOCKS, dict.fromkeys(NUM_BLOCKS, (1, 1, 2, 1))):
        yield


@pytest.fixture(scope="module")
def shallow():
    """``shallow_resnets`` for the tests of a file."""
    with shallow_resnets():
        yield


def overrides_of(text):
    """Turn lines of "KEY value" into a flat override list."""
    return [word for line in text.strip().splitlines() for word in line.split(maxsplit=1)]


def root_config(path):
    """Follow ``_BASE_`` to the first file; return its name without suffix."""
    while match := re.match(r"_BASE_: (.+)", path.read_text()):
        path = (path.parent / match[1].strip()).resolve()
    return path.stem


def first_of_each_folder(paths):
    """Return one file of each folder, in the order of ``paths``."""
    return list({path.parent: path for path in reversed(paths)}.values())[::-1]


def interrupted(straight, checkpoint, folder="halted"):
    """Copy a finished run, as if its process had been stopped just after a checkpoint.

    Args:
        straight: The run's output folder.
        checkpoint: Name of the checkpoint's file.
        folder: Name of the copy, beside ``straight``.
    """
    halted = shutil.copytree(straight, straight.parent / folder)
    (halted / "model_final.pth").unlink()
    (halted / "last_checkpoint").write_text(checkpoint)
    return halted


def assert_same(first, second, path=""):
    """Compare nested states, tensors to the last bit."""
    import torch

    assert type(first) is type(second), path
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), path
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), path
        for key in first:
            assert_same(first[key], second[key], f"{path}/{key}")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), path
        for i, (one, two) in enumerate(zip(first, second, strict=True)):
            assert_same(one, two, f"{path}/{i}")
    else:
        assert first == second, path


@functools.cache
def pickled_tiny_cfg(kind):
    """A pickle, since a config takes ten times as long to copy, and twenty times to make."""
    from detectron2.config import get_cfg

    from person_search.config import add_person_search_config

    base, tiny = {"fpn": ("Base-Slim-FPN", TINY_FPN), "c4": ("Base-R50-C4", TINY_C4)}[kind]
    cfg = get_cfg()
    add_person_search_config(cfg)
    cfg.merge_from_file(str(CONFIGS / f"{base}.yaml"))
    cfg.merge_from_list(overrides_of(tiny))
    return pickle.dumps(cfg)


@pytest.fixture
def tiny_cfg():
    """Make a config of a very small model: "fpn" (from scratch, BN) or "c4" (narrow ResNet-50)."""

    def make(kind="fpn", **overrides):
        cfg = pickle.loads(pickled_tiny_cfg(kind))
        for key, value in overrides.items():
            cfg.merge_from_list([key.replace("__", "."), value])
        return cfg

    return make


@pytest.fixture
def make_instances():
    """Make training targets: boxes (M, 4) in resized pixels and person ids (M,)."""

    def make(boxes, pids, size=(96, 160)):
        import torch
        from detectron2.structures import Boxes, Instances

        boxes = torch.as_tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        return Instances(
            size,
            gt_boxes=Boxes(boxes),
            gt_classes=torch.zeros(len(boxes), dtype=torch.int64),
            gt_pids=torch.as_tensor(pids, dtype=torch.int64).reshape(-1),
        )

    return make


@pytest.fixture
def make_scene():
    """Draw a toy frame: person n is an upright rectangle in its own colours, on noise.

    Returns (image uint8 (H, W, 3), boxes (M, 4) float).
    """
    return draw_scene


def draw_scene(pids, size=(96, 160), seed=0):
    rng = np.random.default_rng(seed)
    height, width = size
    image = rng.integers(90, 130, (height, width, 3), dtype=np.uint8)
    boxes = []
    # One column a person, so that nobody hides anybody.
    column = width / max(len(pids), 1)
    for place, pid in enumerate(pids):
        colours = np.random.default_rng(1000 + pid).integers(0, 255, (2, 3), dtype=np.uint8)
        w = rng.uniform(0.1, 0.16) * height
        h = 2.5 * w
        x = place * column + rng.uniform(1, max(column - w - 1, 1.5))
        y = rng.uniform(1, height - h - 1)
        x1, y1, x2, y2 = (round(v) for v in (x, y, x + w, y + h))
        middle = (y1 + y2) // 2
        image[y1:middle, x1:x2] = colours[0]
        image[middle:y2, x1:x2] = colours[1]
        boxes.append([x1, y1, x2, y2])
    return image, np.array(boxes, dtype=np.float64).reshape(-1, 4)


def write_toy_frames(folder, frames, size=(96, 160)):
    """Write toy frames as JPEG files; return their dataset dicts. One list of pids a frame."""
    from detectron2.structures import BoxMode
    from PIL import Image

    folder.mkdir(exist_ok=True)
    dicts = []
    for number, pids in enumerate(frames):
        h, w = size[number] if isinstance(size, list) else size
        image, boxes = draw_scene(pids, (h, w), seed=number)
        path = folder / f"{number}.jpg"
        Image.fromarray(image).save(path, quality=95)
        annotations = [
            {
                "bbox": [float(v) for v in box],
                "bbox_mode": BoxMode.XYXY_ABS,
                "category_id": 0,
                "person_id": pid,
            }
            for box, pid in zip(boxes, pids, strict=True)
        ]
        dicts.append(
            {
                "file_name": str(path),
                "image_id": f"{number}.jpg",
                "height": h,
                "width": w,
                "cam_id": None,
                "annotations": annotations,
            }
        )
    return dicts


@pytest.fixture
def write_frames(tmp_path):
    """``write_toy_frames`` into a folder of the test's own."""

    def write(frames, size=(96, 160), folder="frames"):
        return write_toy_frames(tmp_path / folder, frames, size)

    return write


@pytest.fixture
def make_model(tiny_cfg):
    """Build a tiny PersonSearchRCNN with seeded weights, in train mode."""

    def make(kind="fpn", **overrides):
        import torch
        from detectron2.modeling import build_model

        import person_search.modeling  # noqa: F401  (registers the models)

        torch.manual_seed(0)
        return build_model(tiny_cfg(kind, **overrides))

    return make


@pytest.fixture
def make_input(make_instances):
    """Make one training input: a toy frame with the people of ``pids``."""

    def make(pids, size=(96, 160), seed=0):
        import torch

        image, boxes = draw_scene(pids, size, seed)
        return {
            "image": torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            "height": size[0],
            "width": size[1],
            "instances": make_instances(boxes, pids, size),
        }

    return make


@pytest.fixture
def train_step(make_input):
    """Run one training step's forward pass on toy frames, one list of pids a frame; its losses."""

    def step(model, pids):
        from detectron2.utils.events import EventStorage

        inputs = [make_input(p, seed=i) for i, p in enumerate(pids)]
        with EventStorage():
            return model(inputs)

    return step


def assert_every_gradient(model, losses):
    """Check that the losses are finite and that every trained parameter gets a finite gradient.

    DDP wants each in the graph.
    """
    import torch

    for name, loss in losses.items():
        assert torch.isfinite(loss), name
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
