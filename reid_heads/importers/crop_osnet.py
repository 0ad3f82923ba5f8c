"""OSNets of torchreid, in every width, with and without instance normalisation."""

import re
from collections.abc import Collection

from reid_heads.importers.checkpoint_file import CheckpointFile
from reid_heads.importers.crop_resnets import pass_over_biased_classifier, place_projection
from reid_heads.importers.crop_shapes import crop_net_state
from reid_heads.importers.imported import ImportedModel
from reid_heads.importers.placing import Placement

OSNET = "torchreid OSNet"

_WIDTHS = {
    "1.0": (64, 256, 384, 512),
    "0.75": (48, 192, 288, 384),
    "0.5": (32, 128, 192, 256),
    "0.25": (16, 64, 96, 128),
}
_IMAGENET_CLASSES = 1000

# A single pattern each, theirs -> ours; "bn" is "norm" afterwards. The streams of AIN nets are
# numbered, those of the others have letters.
_RULES = (
    (r"(conv[15])\.conv\.weight", r"\1.weight"),
    (r"(conv[15])\.bn\.", r"\1.norm."),
    (r"conv([23])\.2\.0\.conv\.weight", r"transition\1.0.weight"),
    (r"conv([23])\.2\.0\.bn\.", r"transition\1.0.norm."),
    (r"pool([23])\.0\.conv\.weight", r"transition\1.0.weight"),
    (r"pool([23])\.0\.bn\.", r"transition\1.0.norm."),
)
_PARTS = (
    (r"conv1\.conv\.weight", "reduce.weight"),
    (r"conv1\.bn\.", "reduce.norm."),
    (r"conv2(\d+)\.(\d)\.conv1\.", r"streams.\1.\2.pointwise."),
    (r"conv2(\d+)\.(\d)\.conv2\.", r"streams.\1.\2.depthwise."),
    (r"conv2(\d+)\.(\d)\.bn\.", r"streams.\1.\2.depthwise.norm."),
    (r"conv3\.conv\.weight", "expand.weight"),
    (r"conv3\.bn\.", "expand.norm."),
    (r"downsample\.conv\.weight", "shortcut.weight"),
    (r"downsample\.bn\.", "shortcut.norm."),
)
_BLOCK = re.compile(r"(conv[234]\.[01])\.(.+)")
_LETTERED = re.compile(r"conv2([abcd])\.(?:(\d)\.)?")
_NUMBERED = re.compile(r"conv2\.(\d)\.layers\.(\d)\.")


def recognise(names: Collection[str]) -> str | None:
    """Return the family where these are the names of torchreid's OSNets, None otherwise."""
    streams = ("conv2.0.conv2a.conv1.weight", "conv2.0.conv2.0.layers.0.conv1.weight")
    is_osnet = "conv1.conv.weight" in names and any(name in names for name in streams)
    return OSNET if is_osnet else None


def convert(file: CheckpointFile, family: str) -> ImportedModel:
    """Map a file of torchreid's OSNet.

    Args:
        file: as read.
        family: as ``recognise`` gave it.

    Raises:
        ValueError: if not all of its tensors find a place; the message names them.
    """
    placement = Placement(file)
    is_behind = "conv2.0.conv3.bn.weight" in file.state
    classes = len(file.state.get("classifier.weight", ()))
    for name in list(placement.left):
        if (ours := rename(name, is_behind)) is not None:
            placement.place(name, f"backbone.{ours}", "backbone")
    size = None
    if {"fc.0.weight", "fc.1.weight"} <= set(placement.left):
        size = len(placement.left["fc.0.weight"])
        place_projection(placement)
    pass_over_biased_classifier(placement)
    kind, config_file, overrides = _choose_config(file)
    if size not in (None, 512):
        overrides += ["MODEL.REID_HEAD.EMBEDDING_DIM", str(size)]
    notes = []
    if classes == _IMAGENET_CLASSES:
        notes.append(
            "It was trained on the 1000 classes of ImageNet, not to tell people apart: a start for "
            "a training."
        )
    return placement.finish(
        family=kind,
        config_file=config_file,
        overrides=overrides,
        expected=crop_net_state(config_file, overrides),
        optional=("losses.",),
        notes=notes,
    )


def rename(name: str, is_behind: bool) -> str | None:
    """Return this project's name, within the backbone, of a tensor of torchreid's OSNet.

    Args:
        name: theirs.
        is_behind: whether a block's instance normalisation follows the addition; otherwise it is
            that of its last convolution.

    Returns:
        None for what is no part of the backbone.
    """
    if block := _BLOCK.fullmatch(name):
        place, part = block.groups()
        part = _LETTERED.sub(lambda m: f"conv2{'abcd'.index(m[1])}.{m[2] or 0}.", part)
        part = _NUMBERED.sub(r"conv2\1.\2.", part)
        if part.startswith("IN."):
            return f"{place}.{'behind' if is_behind else 'expand.norm'}.{part[3:]}"
        if part.startswith("gate."):
            return f"{place}.{part}"
        found = _first_match(part, _PARTS)
        return None if found is None else f"{place}.{found}"
    return _first_match(name, _RULES)


def _first_match(name: str, rules: tuple[tuple[str, str], ...]) -> str | None:
    for pattern, replacement in rules:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name, count=1)
    return None


def _choose_config(file: CheckpointFile) -> tuple[str, str, list[str]]:
    """Return the network's name, its config, and the keys on top of it."""
    stages = ("conv1.conv", "conv2.0.conv3.conv", "conv3.0.conv3.conv", "conv4.0.conv3.conv")
    weights = [file.state.get(f"{stage}.weight", ()) for stage in stages]
    channels = tuple(len(weight) for weight in weights)
    overrides = []
    kind = "none"
    if "conv2.0.IN.weight" in file.state:
        kind = "ibn" if "conv2.0.conv3.bn.weight" in file.state else "ain"
    width = next((name for name, own in _WIDTHS.items() if own == channels), None)
    config = f"osnet_x{(width or '1.0').replace('.', '_')}"
    if width is None:
        overrides += ["MODEL.OSNET.CHANNELS", str(channels).replace(" ", "")]
    if kind == "ain" and config == "osnet_x1_0":
        config = "osnet_ain_x1_0"
    elif kind != "none":
        overrides += ["MODEL.OSNET.INSTANCE_NORM", kind]
    words = [OSNET, *([] if kind == "none" else [kind.upper()])]
    words.append(f"x{width}" if width else f"of {channels} channels")
    return " ".join(words), f"configs/market1501/{config}.yaml", overrides
