"""Subtask-dominated transfer learning (STL): the weights of a crop ReID net become person search's.

Stage 1 solves re-identification alone, on crops, where every identity can be drawn as often as any
other; stage 2 starts from what it learned (arXiv 2112.00527, abstract). The crop net's stem and
first stages go to the shared stem, its last stages to the identity branch and, on
request, to the detector as well.
"""

import logging
import os
import pickle
from dataclasses import dataclass

from detectron2.config import CfgNode
from torch import Tensor, nn

from reid_heads.importers.checkpoint_file import read_checkpoint
from reid_heads.torch_file import load_torch_file

logger = logging.getLogger(__name__)

# What a crop net's state dict calls its parts, and the part of a norm that frozen norms lack.
_BACKBONE, _HEAD, _COUNTER = "backbone.", "head.", "num_batches_tracked"


@dataclass(frozen=True)
class TransferReport:
    """What a transfer did, by names of tensors."""

    transferred: dict[str, str]
    """Name in the checkpoint by name in the model; values are bit-equal."""
    kept: tuple[str, ...]
    """In the model: not touched."""
    unused: tuple[str, ...]
    """In the checkpoint: not needed, as the classifier of stage 1."""

    def describe(self) -> str:
        """Return a few lines for the log: parts with the number of their tensors."""
        lines = [
            f"transferred {len(self.transferred)} tensors:",
            *(f"  {name}" for name in _count_parts(list(self.transferred))),
            f"kept as they were, {len(self.kept)} tensors:",
            *(f"  {name}" for name in _count_parts(list(self.kept))),
            f"not used of the checkpoint, {len(self.unused)} tensors:",
            *(f"  {name}" for name in _count_parts(list(self.unused))),
        ]
        return "\n".join(lines)


def transfer_weights(
    model: nn.Module, path: str, transfer_neck: bool = False, transfer_detector: bool = False
) -> TransferReport:
    """Load a crop net's stem and stages into a person search model.

    Args:
        model: a ``PersonSearchRCNN`` whose identity branch has last stages of its own.
        path: checkpoint of a ``CropReID`` model; where training kept a moving average of the
            weights, that is taken.
        transfer_neck: whether the branch's head takes the crop net's head too.
        transfer_detector: whether the backbone's stages behind the shared ones, which serve
            detection, start from the crop net's as well.

    Returns:
        What was done. Nothing is loaded where an error is raised.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no checkpoint of a crop net; if the model has no own stages; if
            any tensor of stem, stages or, on request, head is missing on either side, of another
            shape or not finite: layers would be lost in silence.
    """
    source = _read_crop_net(path)
    state = model.state_dict()
    expected = {
        name: source_prefix + name.removeprefix(prefix)
        for prefix, source_prefix in _parts(model, transfer_neck, transfer_detector)
        for name in state
        if name.startswith(prefix)
    }
    needed = [_BACKBONE, _HEAD] if transfer_neck else [_BACKBONE]
    problems = _find_problems(source, state, expected, needed)
    if problems:
        more = f" and {len(problems) - 6} more" if len(problems) > 6 else ""
        raise ValueError(
            f"the stage 1 checkpoint {path} does not fit the model: {'; '.join(problems[:6])}"
            f"{more}. Stage 1's backbone must be that of the detector, and its last stages those "
            "of MODEL.PERSON_SEARCH.IDENTITY_BRANCH.BODY"
        )
    transferred = {to: name for to, name in expected.items() if name in source}
    model.load_state_dict({to: source[name] for to, name in transferred.items()}, strict=False)
    used = set(transferred.values())
    report = TransferReport(
        transferred=transferred,
        kept=tuple(name for name in state if name not in transferred),
        unused=tuple(name for name in source if name not in used),
    )
    logger.info("stage 1 weights from %s\n%s", path, report.describe())
    return report


def _read_crop_net(path: str) -> dict[str, Tensor]:
    """Return the state dict of a ``CropReID`` checkpoint."""
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"there is no stage 1 checkpoint {path}; check MODEL.PERSON_SEARCH.STL.WEIGHTS"
        )
    try:
        checkpoint = load_torch_file(path)
    except pickle.UnpicklingError:
        # Says whose code is in it, or that it is none.
        checkpoint = {"model": read_checkpoint(path).state}
    except (RuntimeError, EOFError) as error:
        raise ValueError(f"{path} is not a checkpoint, or a damaged one: {error}") from error
    source = checkpoint.get("model") if isinstance(checkpoint, dict) else None
    if not isinstance(source, dict) or not any(name.startswith(_BACKBONE) for name in source):
        raise ValueError(
            f"{path} is not a checkpoint of a crop ReID net: expected a 'model' with 'backbone.…'; "
            "train one with python -m reid_heads.train_net"
        )
    hooks = checkpoint.get("trainer", {}).get("hooks", {})
    average = hooks.get("WeightAverage", {}).get("average", {})
    return {**source, **average}


def _parts(model: nn.Module, transfer_neck: bool, transfer_detector: bool) -> list[tuple[str, str]]:
    """Return prefixes of the model beside those of the crop net."""
    branch = model.roi_heads.identity_branch
    own = [name for name, _ in branch.body.named_children() if name.startswith("res")]
    if not own:
        raise ValueError(
            "MODEL.PERSON_SEARCH.IDENTITY_BRANCH.BODY names no stages of the backbone, so there is "
            "nothing to transfer to; use 'res5', 'res4+res5' or 'res3+res4+res5'"
        )
    trunk, prefix = model.backbone, _BACKBONE
    if hasattr(trunk, "bottom_up"):
        trunk, prefix = trunk.bottom_up, f"{_BACKBONE}bottom_up."
    names = [name for name, _ in trunk.named_children()]
    taken = [name for name in names if transfer_detector or name == "stem" or name < min(own)]
    parts = [(f"{prefix}{name}.", f"{_BACKBONE}{name}.") for name in taken]
    parts += [(f"roi_heads.identity_branch.body.{name}.", f"{_BACKBONE}{name}.") for name in own]
    if transfer_neck:
        parts.append(("roi_heads.identity_branch.head.", _HEAD))
    return parts


def _find_problems(
    source: dict[str, Tensor],
    state: dict[str, Tensor],
    expected: dict[str, str],
    needed: list[str],
) -> list[str]:
    """Say what does not fit: all of ``expected``, and all that starts with a ``needed`` prefix."""
    problems = []
    for to, name in expected.items():
        if name not in source:
            if not name.endswith(_COUNTER):
                problems.append(f"{name} is missing there (for {to})")
        elif source[name].shape != state[to].shape:
            problems.append(
                f"{name} is {tuple(source[name].shape)} there, {tuple(state[to].shape)} here"
            )
        elif source[name].is_floating_point() and not bool(source[name].isfinite().all()):
            problems.append(f"{name} is not finite there")
    for prefix in needed:
        names = [name for name in source if name.startswith(prefix)]
        if not names:
            problems.append(f"there is no {prefix}… there")
        problems += [
            f"{name} has no place here"
            for name in names
            if name not in expected.values() and not name.endswith(_COUNTER)
        ]
        if not any(name.startswith(prefix) for name in expected.values()):
            problems.append(f"the model has nothing that takes {prefix}…")
    return problems


def _count_parts(names: list[str]) -> list[str]:
    """Return "part: count" by the first names of modules, down to a stage."""
    counts: dict[str, int] = {}
    for name in names:
        words = name.split(".")
        depth = next((i + 1 for i, w in enumerate(words) if w == "stem" or w[:3] == "res"), 2)
        part = ".".join(words[: min(depth, len(words))])
        counts[part] = counts.get(part, 0) + 1
    return [f"{part}: {count}" for part, count in counts.items()]


def check_same_input(cfg: CfgNode, stage1_cfg: CfgNode) -> None:
    """Compare what two configs do beside the weights' names and shapes.

    Args:
        cfg: of person search.
        stage1_cfg: of the crop net.

    Raises:
        ValueError: if the same weights would compute something else: pixel statistics, channel
            order, strides, the stem's ReLU and pooling, instance normalisation.
    """
    branch = cfg.MODEL.PERSON_SEARCH.IDENTITY_BRANCH
    # Only build_reid_resnet_backbone can have another stem and normalise by instance.
    reads_crop_keys = cfg.MODEL.BACKBONE.NAME == "build_reid_resnet_backbone"
    stage1_reads = stage1_cfg.MODEL.BACKBONE.NAME == "build_reid_resnet_backbone"
    crop, crop1 = cfg.MODEL.CROP_REID, stage1_cfg.MODEL.CROP_REID
    pairs = {
        "MODEL.PIXEL_MEAN": (list(cfg.MODEL.PIXEL_MEAN), list(stage1_cfg.MODEL.PIXEL_MEAN)),
        "MODEL.PIXEL_STD": (list(cfg.MODEL.PIXEL_STD), list(stage1_cfg.MODEL.PIXEL_STD)),
        "INPUT.FORMAT": (cfg.INPUT.FORMAT, stage1_cfg.INPUT.FORMAT),
        "MODEL.RESNETS.STRIDE_IN_1X1": (
            _stride_in_1x1(cfg),
            _stride_in_1x1(stage1_cfg),
        ),
        "MODEL.PERSON_SEARCH.IDENTITY_BRANCH.LAST_STRIDE and stage 1's CROP_REID.LAST_STRIDE": (
            branch.LAST_STRIDE,
            crop1.LAST_STRIDE,
        ),
        "MODEL.CROP_REID.STEM_RELU (always True in detectron2's backbones)": (
            crop.STEM_RELU if reads_crop_keys else True,
            crop1.STEM_RELU if stage1_reads else True,
        ),
        "MODEL.CROP_REID.STEM_POOL (always 'padded' in detectron2's backbones)": (
            crop.STEM_POOL if reads_crop_keys else "padded",
            crop1.STEM_POOL if stage1_reads else "padded",
        ),
        "MODEL.CROP_REID.IBN": (
            crop.IBN if reads_crop_keys else "none",
            crop1.IBN if stage1_reads else "none",
        ),
    }
    differing = [f"{key} is {b!r} there, {a!r} here" for key, (a, b) in pairs.items() if a != b]
    if differing:
        raise ValueError(
            f"stage 1 was trained with another input or network: {'; '.join(differing)}. The same "
            "weights would compute something else; make both configs agree"
        )


def _stride_in_1x1(cfg: CfgNode) -> bool | None:
    """Return where the backbone's bottlenecks have their stride; None where it has none."""
    name = cfg.MODEL.BACKBONE.NAME
    is_resnet = "slim" not in name and "mobilenet" not in name
    has_bottlenecks = is_resnet and cfg.MODEL.RESNETS.DEPTH >= 50
    return cfg.MODEL.RESNETS.STRIDE_IN_1X1 if has_bottlenecks else None
