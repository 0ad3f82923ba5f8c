"""Models and input of ``step_cost.py``: who is compared, and on what.

Letters: B images.
"""

import contextlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import get_detection_dataset_dicts
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.structures import Boxes, Instances
from torch import nn

import person_search.data.builtin  # noqa: F401  (registers the data sets)
from person_search.config import load_config
from person_search.data.mapper import PersonSearchMapper
from person_search.trainer import PersonSearchTrainer

ROOT = Path(__file__).parents[1]
# The demo's weights give 9.6 detections a frame of 6 people at the threshold of their config.
DETECTIONS_PER_PERSON = 1.6
# Largest move of each side, as a share of the box, of proposals around people.
JITTER = 0.1
PLAIN = ["MODEL.META_ARCHITECTURE", "GeneralizedRCNN", "MODEL.ROI_HEADS.NAME", "StandardROIHeads"]
SEQUENTIAL = [
    *("MODEL.ROI_HEADS.NAME", "SequentialROIHeads"),
    *("MODEL.REID_HEAD.NAME", "NormAwareHead", "MODEL.REID_HEAD.POOLING", "max"),
]
BRANCH = "MODEL.PERSON_SEARCH.IDENTITY_BRANCH."


@dataclass(frozen=True)
class Row:
    """A model: a config and what is changed in it."""

    name: str
    config: str
    overrides: list = field(default_factory=list)
    channels_last: bool = False
    """Whether images are laid out so for a model that does not do it itself."""


@dataclass(frozen=True)
class Case:
    """Models that are compared on the same input; the first is the yardstick."""

    title: str
    rows: list[Row]
    size: tuple[int, int]
    """Height and width of frames that are made up, pixels."""
    batch_sizes: dict[str, int]
    """By device."""
    people_heights: tuple[float, float]
    """Of people in frames that are made up, pixels."""
    repeats: tuple[int, int]
    """Of training and inference on a CPU."""
    data_set: str | None = None
    """Drawn frames, used where they are on the disk."""


def _branch(**values: object) -> list:
    return [part for key, value in values.items() for part in (BRANCH + key, value)]


def slim_case() -> Case:
    """Return the small network of the drawn world with several identity branches."""
    config = "configs/drawn_cuhk/slim_fpn.yaml"
    two = _branch(BOXES_PER_PERSON=2)
    stages = _branch(BODY="res3+res4+res5", POOLER_RESOLUTION=[24, 12], BOXES_PER_PERSON=2)
    one, several = _branch(IN_FEATURES=["res2"]), _branch(IN_FEATURES=["res2", "res3", "res4"])
    rows = [
        Row("plain", config, PLAIN),
        Row("plain, channels last", config, PLAIN, channels_last=True),
        Row("slim_fpn.yaml", config),
        Row("slim_fpn.yaml, 2 boxes", config, two),
    ]
    for stride in (2, 1):
        end = [BRANCH + "LAST_STRIDE", stride]
        rows.append(Row(f"own stages, res2, last stride {stride}", config, stages + one + end))
        rows.append(
            Row(f"own stages, res2-res4, last stride {stride}", config, stages + several + end)
        )
    end = _branch(LAST_STRIDE=2, POOLER_SAMPLING_RATIO=0)
    name = "own stages, res2-res4, last stride 2, samples by box size"
    rows.append(Row(name, config, stages + several + end))
    return Case(
        title="slim network, 480x270",
        rows=with_sequential(rows, config),
        size=(270, 480),
        batch_sizes={"cpu": 4, "cuda": 4},
        people_heights=(20, 120),
        repeats=(10, 12),
        data_set="drawn_cuhk_train",
    )


def r50_case() -> Case:
    """Return ResNet-50-C4 at the published size."""
    config = "configs/cuhk_sysu/oim_r50.yaml"
    maps = ["MODEL.RESNETS.OUT_FEATURES", ["res2", "res3", "res4"]]
    own = maps + _branch(
        BODY="res4+res5", POOLER_RESOLUTION=[32, 16], LAST_STRIDE=1, BOXES_PER_PERSON=2
    )
    rows = [
        Row("plain", config, PLAIN),
        Row("plain, channels last", config, PLAIN, channels_last=True),
        Row("oim_r50.yaml", config),
        Row("res4+res5, res3", config, own + _branch(IN_FEATURES=["res3"])),
        Row(
            "res4+res5, res3, res2, res4",
            config,
            own + _branch(IN_FEATURES=["res3", "res2", "res4"]),
        ),
    ]
    return Case(
        title="ResNet-50-C4, 1500x900",
        rows=with_sequential(rows, config),
        size=(900, 1500),
        batch_sizes={"cpu": 1, "cuda": 5},
        people_heights=(80, 500),
        repeats=(3, 3),
    )


def with_sequential(rows: list[Row], config: str) -> list[Row]:
    """Add SeqNet's second head on the same detector, where this version has it."""
    if "SequentialROIHeads" in ROI_HEADS_REGISTRY:
        rows.append(Row("sequential (SeqNet)", config, SEQUENTIAL))
    return rows


CASES: dict[str, Callable[[], Case]] = {"slim": slim_case, "r50": r50_case}


def has_data(case: Case) -> bool:
    """Return whether the case's frames are read from the disk rather than made up."""
    folder = Path(os.environ.get("DETECTRON2_DATASETS", "datasets")) / "drawn-cuhk"
    return case.data_set is not None and folder.is_dir()


def make_batch(case: Case, cfg: CfgNode, size: int) -> list[dict]:
    """Return B training inputs."""
    if not has_data(case):
        return [make_frame(case, cfg, seed) for seed in range(size)]
    frames = get_detection_dataset_dicts([case.data_set], filter_empty=False)
    mapper = PersonSearchMapper(cfg, True)
    step = len(frames) // size
    return [mapper(frame) for frame in frames[: step * size : step]]


def make_frame(case: Case, cfg: CfgNode, seed: int) -> dict:
    """Make noise with 5 upright boxes, as many as CUHK-SYSU has a frame, one of them unlabelled."""
    rng = np.random.default_rng(seed)
    height, width = case.size
    tall = rng.uniform(*case.people_heights, 5)
    left, top = rng.uniform(0, width - 0.4 * tall), rng.uniform(0, height - tall)
    boxes = np.stack([left, top, left + 0.4 * tall, top + tall], axis=1)
    pids = rng.integers(0, cfg.MODEL.REID_HEAD.NUM_IDENTITIES, 5)
    pids[0] = -1
    instances = Instances((height, width))
    instances.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32))
    instances.gt_classes = torch.zeros(5, dtype=torch.int64)
    instances.gt_pids = torch.tensor(pids)
    image = torch.tensor(rng.integers(0, 255, (3, height, width), dtype=np.uint8))
    return {"image": image, "height": height, "width": width, "instances": instances}


def around(boxes: Boxes, count: int, size: tuple[int, int], seed: int) -> Boxes:
    """Return ``count`` boxes that are moved a little from those of people, in turn."""
    generator = torch.Generator().manual_seed(seed)
    picked = boxes.tensor.cpu()[torch.arange(count) % max(len(boxes), 1)]
    extent = (picked[:, 2:] - picked[:, :2]).repeat(1, 2)
    moves = (2 * torch.rand(picked.shape, generator=generator) - 1) * JITTER
    moved = Boxes((picked + moves * extent).to(boxes.device))
    moved.clip(size)
    return moved


class ProposalsOnPeople(nn.Module):
    """An RPN whose first proposals at training are exchanged for some around people."""

    def __init__(self, rpn: nn.Module, count: int):
        """Wrap an RPN; ``count`` proposals of each image are exchanged."""
        super().__init__()
        self.rpn = rpn
        self.count = count

    def forward(self, images, features, gt_instances=None):
        """Run the RPN in full."""
        proposals, losses = self.rpn(images, features, gt_instances)
        if self.training:
            for found, people in zip(proposals, gt_instances, strict=True):
                if len(people):
                    count = min(self.count, len(found))
                    boxes = around(people.gt_boxes, count, found.image_size, 0)
                    found.proposal_boxes.tensor[:count] = boxes.tensor
        return proposals, losses


class PeopleAsDetections:
    """The last box predictor's ``inference``, whose result is exchanged for people of the frame."""

    def __init__(self, inference: Callable):
        """Wrap the method."""
        self.inference = inference
        self.people: list[Boxes] = []

    def __call__(self, predictions, proposals, *args):
        """Run the method in full; then return ``people``, in the form of its result."""
        found, *rest = self.inference(predictions, proposals, *args)
        detections = []
        for one, boxes in zip(found, self.people, strict=True):
            boxes = Boxes(boxes.tensor.to(one.pred_boxes.device))
            n = len(boxes)
            scores, classes = boxes.tensor.new_ones(n), torch.zeros(n, dtype=torch.int64)
            detections.append(
                Instances(
                    one.image_size,
                    pred_boxes=boxes,
                    scores=scores,
                    pred_classes=classes.to(scores.device),
                )
            )
        return (detections, *rest)


class Contender:
    """A model under test, with its optimizer."""

    def __init__(self, row: Row, device: str, first: "Contender | None"):
        """Build the model; weights that ``first`` has as well are taken from it."""
        self.cfg = load_config(
            str(ROOT / row.config), ["MODEL.WEIGHTS", "", "MODEL.DEVICE", device]
        )
        self.cfg.merge_from_list(row.overrides)
        self.row, self.device = row, device
        torch.manual_seed(0)
        self.model = PersonSearchTrainer.build_model(self.cfg)
        tame_residuals(self.model)
        if first is not None:
            self.take_weights(first.model)
        heads = self.cfg.MODEL.ROI_HEADS
        count = int(heads.BATCH_SIZE_PER_IMAGE * heads.POSITIVE_FRACTION)
        self.model.proposal_generator = ProposalsOnPeople(self.model.proposal_generator, count)
        predictor = self.model.roi_heads.box_predictor
        self.detections = predictor.inference = PeopleAsDetections(predictor.inference)
        if row.channels_last:
            self.lay_out_channels_last()
        self.optimizer = PersonSearchTrainer.build_optimizer(self.cfg, self.model)
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0
        self.scaler = torch.amp.GradScaler(device, enabled=device == "cuda")
        self.boxes = {"training": 0, "inference": 0}
        self.count_boxes()

    def take_weights(self, source: nn.Module) -> None:
        """Copy what has the same name and shape."""
        mine = self.model.state_dict()
        for name, value in source.state_dict().items():
            name = name.replace("proposal_generator.rpn.", "proposal_generator.")
            if name in mine and mine[name].shape == value.shape:
                mine[name].copy_(value)

    def lay_out_channels_last(self) -> None:
        """Give the images the layout that ``PersonSearchRCNN`` gives them."""
        preprocess = self.model.preprocess_image

        def laid_out(inputs):
            images = preprocess(inputs)
            images.tensor = images.tensor.contiguous(memory_format=torch.channels_last)
            return images

        self.model.preprocess_image = laid_out

    def count_boxes(self) -> None:
        """Keep how many boxes the identity branch embedded last."""
        branch = getattr(self.model.roi_heads, "identity_branch", None)
        if branch is None:
            return

        # Not the branch itself, which sequential heads use in parts.
        def count(module, args):
            key = "training" if module.training else "inference"
            self.boxes[key] = sum(len(boxes) for boxes in args[1])

        branch.pooler.register_forward_pre_hook(count)

    def autocast(self) -> contextlib.AbstractContextManager:
        """Return detectron2's mixed precision on a GPU, nothing on a CPU."""
        if self.device == "cuda":
            return torch.autocast("cuda", dtype=torch.float16)
        return contextlib.nullcontext()

    def train(self, batch: list[dict], repeat: int) -> None:
        """Take a training step; the samplers draw the same in every model."""
        self.model.train()
        torch.manual_seed(repeat)
        with self.autocast():
            losses = self.model(batch)
        self.optimizer.zero_grad()
        self.scaler.scale(sum(losses.values())).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if repeat == 0 and not all(torch.isfinite(x).all() for x in losses.values()):
            raise ValueError(f"{self.row.name}: losses are {losses}; expected finite ones")

    @torch.no_grad()
    def infer(self, batch: list[dict], repeat: int) -> None:
        """Find and embed the people of one frame."""
        self.model.eval()
        frame = batch[repeat % len(batch)]
        people = frame["instances"].gt_boxes
        count = math.ceil(DETECTIONS_PER_PERSON * len(people))
        self.detections.people = [around(people, count, frame["instances"].image_size, 1)]
        with self.autocast():
            self.model([frame])


def tame_residuals(model: nn.Module) -> None:
    """Shrink the last norm of residual blocks, whose random sums explode over 16 blocks."""
    for module in model.modules():
        last = getattr(module, "conv3", getattr(module, "conv2", None))
        if getattr(last, "norm", None) is not None:
            last.norm.weight.data.fill_(0.2)
