"""Public person search networks, whichever it is: SeqNet's and NAE's become this project's.

Their layers and names are those of the released code (Li and Miao, AAAI 2021; Chen et al., CVPR
2020). What it does otherwise than this project's own configs is in the configs ``..._released``.
"""

import dataclasses
import functools
from collections.abc import Collection, Sequence

import torch
from detectron2.modeling import build_model
from torch import Tensor

from person_search.config import load_config
from person_search.importers.identity_tables import place_memory
from person_search.importers.torchvision_detectors import (
    background_last,
    persons_rows,
    place_linear_and_norm,
    place_rpn,
    place_stages,
)
from reid_heads.config_readers import flat_items
from reid_heads.importers.checkpoint_file import CheckpointFile, listed
from reid_heads.importers.imported import ImportedModel
from reid_heads.importers.placing import Placement
from reid_heads.importers.registry import Importer, register_importer

SEQNET, NAE = "SeqNet", "NAE"
FAMILIES = "SeqNet (CUHK-SYSU, PRW) and NAE, both with ResNet-50"

_REFUSED = {
    "bbox_head.": "AlignPS, or another network of mmdetection",
    "box_head_2nd": "COAT",
    "embedding_head_2nd": "COAT",
    "gfn.": "SeqNeXt with GFN",
}
"""Parts of names that only these networks have, which cannot be imported."""

_CONFIGS = {SEQNET: "seqnet_r50", NAE: "nae_r50"}
# The identity of PRW whose row is the first of the table.
_FIRST_PRW_NUMBER = {SEQNET: 1, NAE: 0}
_BRANCH = "roi_heads.identity_branch."


def recognise(names: Collection[str]) -> str | None:
    """Return whose person search network has tensors of these names; None for any other.

    Args:
        names: of a checkpoint's tensors, without "module.".

    Returns:
        One of ``FAMILIES``, or the name of a network that ``convert`` refuses.
    """
    for part, family in _REFUSED.items():
        if any(part in name for name in names):
            return family
    has_norm_aware_head = any(
        name.startswith("roi_heads.embedding_head.rescaler.") for name in names
    )
    if any(name.startswith("roi_heads.reid_head.") for name in names):
        if any(name.startswith("backbone.layer1.0.conv1.") for name in names):
            return SEQNET
        return "SeqNeXt, or SeqNet on another backbone"
    if has_norm_aware_head:
        return NAE
    if any(name.endswith("reid_loss.lut") for name in names):
        return "another network with an OIM loss"
    return None


def convert(file: CheckpointFile) -> ImportedModel:
    """Turn a public checkpoint of a person search network into weights of this project.

    Args:
        file: as read, of one of ``FAMILIES``.

    Raises:
        ValueError: if it is of another network, or not every tensor finds a place; the message
            names them.
    """
    family = recognise(file.state)
    if family not in (SEQNET, NAE):
        what = f"a network of {family}" if family else "no person search network that is known"
        raise ValueError(
            f"{file.path} is {what}, which cannot be imported; it holds "
            f"{listed(sorted(file.state))}. Expected a network of {FAMILIES}"
        )
    _refuse_pixel_wise(file)
    placement = Placement(file)
    _place_common_layers(placement)
    if family == SEQNET:
        _place_first_head(placement)
    else:
        _pass_over_classifier(placement)
    memory = place_memory(placement, _FIRST_PRW_NUMBER[family])
    config_file = f"configs/{memory.dataset}/{_CONFIGS[family]}.yaml"
    overrides = [*_released_settings(config_file), *memory.overrides]
    imported = placement.finish(
        family=f"{family} ({'PRW' if memory.dataset == 'prw' else 'CUHK-SYSU'})",
        config_file=config_file,
        overrides=overrides,
        expected=_state_of(config_file, overrides),
        optional=("roi_heads.identity_losses.",),
        notes=memory.notes,
    )
    return dataclasses.replace(
        imported,
        state={**imported.state, **memory.pointer},
        untouched=[name for name in imported.untouched if name not in memory.pointer],
    )


def _refuse_pixel_wise(file: CheckpointFile) -> None:
    for name, value in file.state.items():
        if ".projectors." in name and value.ndim == 4:
            raise ValueError(
                f"{file.path} is a network of NAE+, whose embeddings are made pixel by pixel "
                f"({name} is {tuple(value.shape)}), which cannot be imported; expected a network "
                f"of {FAMILIES}"
            )


def _place_common_layers(placement: Placement) -> None:
    """Place what NAE and SeqNet have in common."""
    place_stages(placement, "backbone.", "backbone.", "backbone")
    place_rpn(placement)
    is_seqnet = any(name.startswith("roi_heads.reid_head.") for name in placement.left)
    body = "roi_heads.reid_head." if is_seqnet else "roi_heads.box_head."
    place_stages(placement, body, f"{_BRANCH}body.", "identity branch")
    projectors = "roi_heads.embedding_head.projectors."
    for place, name in enumerate(("feat_res4", "feat_res5")):
        ours = f"{_BRANCH}head.projections.{place}"
        parts = (f"{ours}.0", f"{ours}.1")
        place_linear_and_norm(placement, f"{projectors}{name}.", parts, "identity branch")
    rescaler = "roi_heads.embedding_head.rescaler."
    for name in [name for name in placement.left if name.startswith(rescaler)]:
        ours = f"{_BRANCH}head.rescale.{name.removeprefix(rescaler)}"
        placement.place(name, ours, "identity branch")
    place_linear_and_norm(
        placement,
        "roi_heads.box_predictor.bbox_pred.",
        ("roi_heads.box_refiner.linear", "roi_heads.box_refiner.norm"),
        "box regression of the identity branch",
        is_box=True,
    )


def _place_first_head(placement: Placement) -> None:
    """Place SeqNet's Faster R-CNN head."""
    group = "first head"
    place_stages(placement, "roi_heads.box_head.", "roi_heads.box_head.", group)
    for layer, rows in (("cls_score", background_last), ("bbox_pred", persons_rows)):
        for kind in ("weight", "bias"):
            name = f"roi_heads.faster_rcnn_predictor.{layer}.{kind}"
            if name in placement.left:
                value = rows(placement.left[name])
                placement.place(name, f"roi_heads.box_predictor.{layer}.{kind}", group, value)


def _pass_over_classifier(placement: Placement) -> None:
    for kind in ("weight", "bias"):
        name = f"roi_heads.box_predictor.cls_score.{kind}"
        if name in placement.left:
            placement.pass_over(name, "a classifier that NAE makes and does not use")


@functools.cache
def _released_settings(config_file: str) -> tuple[str, ...]:
    """Return what the config ``..._released`` of a config sets otherwise, as keys and values."""
    own = dict(flat_items(load_config(config_file)))
    released = flat_items(load_config(config_file.replace(".yaml", "_released.yaml")))
    changed = {k: v for k, v in released if v != own[k] and k != "OUTPUT_DIR"}
    return tuple(word for key, value in changed.items() for word in (key, str(value)))


def _state_of(config_file: str, overrides: Sequence[str]) -> dict[str, Tensor]:
    """Return the state of a config's network on PyTorch's meta device: it has no values."""
    cfg = load_config(config_file, list(overrides))
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        return dict(build_model(cfg).state_dict())


register_importer(Importer(recognise, convert))
