"""IResNets of insightface's arcface_torch: ``backbone.pth``, in every published depth."""

import re
from collections.abc import Collection

from reid_heads.backbones.iresnet import NUM_BLOCKS
from reid_heads.importers.checkpoint_file import CheckpointFile
from reid_heads.importers.crop_shapes import crop_net_state
from reid_heads.importers.imported import ImportedModel
from reid_heads.importers.placing import Placement

IRESNET = "insightface IResNet"

CONFIG_FILE = "configs/faces/arcface_iresnet50.yaml"

_LANDMARKS = ("prelu.weight", "layer1.0.prelu.weight", "layer4.0.bn3.weight", "features.weight")
_DEPTH, _CHANNELS, _EMBEDDING_DIM = 50, (64, 128, 256, 512), 512
_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.(.+)")
# Beginnings of names, theirs -> ours: of a block, and of what is before and behind the blocks.
_PARTS = {
    "bn1.": "norm.",
    "conv1.": "conv1.",
    "bn2.": "conv1.norm.",
    "prelu.": "prelu.",
    "conv2.": "conv2.",
    "bn3.": "conv2.norm.",
    "downsample.0.": "shortcut.",
    "downsample.1.": "shortcut.norm.",
}
_ENDS = {
    "conv1.": "backbone.conv1.",
    "bn1.": "backbone.conv1.norm.",
    "prelu.": "backbone.prelu.",
    "bn2.": "head.map_norm.",
    "fc.": "head.project.",
    "features.": "head.norm.",
}


def recognise(names: Collection[str]) -> str | None:
    """Return the family where these are the names of insightface's IResNets, None otherwise."""
    return IRESNET if set(names).issuperset(_LANDMARKS) else None


def convert(file: CheckpointFile, family: str) -> ImportedModel:
    """Map a file of insightface's IResNet.

    Args:
        file: as read.
        family: as ``recognise`` gave it.

    Raises:
        ValueError: if not all of its tensors find a place, or its blocks are those of no known
            depth; the message names them.
    """
    depth = _find_depth(file)
    placement = Placement(file)
    for name in list(placement.left):
        if (ours := rename(name)) is not None:
            placement.place(name, ours, ours.partition(".")[0])
    channels = tuple(len(file.state.get(f"layer{n}.0.bn3.weight", ())) for n in (1, 2, 3, 4))
    settings = {
        "MODEL.IRESNET.DEPTH": (depth, _DEPTH),
        "MODEL.IRESNET.CHANNELS": (channels, _CHANNELS),
        "MODEL.REID_HEAD.EMBEDDING_DIM": (len(file.state["features.weight"]), _EMBEDDING_DIM),
    }
    overrides = [
        word
        for key, (value, usual) in settings.items()
        if value != usual
        for word in (key, str(value).replace(" ", ""))
    ]
    return placement.finish(
        family=f"{family}-{depth}",
        config_file=CONFIG_FILE,
        overrides=overrides,
        expected=crop_net_state(CONFIG_FILE, overrides),
        optional=("losses.",),
        notes=["It embeds faces that are aligned by five points, 112 x 112 pixels, and no people."],
    )


def rename(name: str) -> str | None:
    """Return this project's name of a tensor of insightface's IResNet, None of one without."""
    if block := _BLOCK.fullmatch(name):
        stage, place, part = block.groups()
        if (ours := _replace_beginning(part, _PARTS)) is None:
            return None
        return f"backbone.res{int(stage) + 1}.{place}.{ours}"
    return _replace_beginning(name, _ENDS)


def _replace_beginning(name: str, rules: dict[str, str]) -> str | None:
    beginning = next((start for start in rules if name.startswith(start)), None)
    return None if beginning is None else rules[beginning] + name.removeprefix(beginning)


def _find_depth(file: CheckpointFile) -> int:
    places = {match.group(1, 2) for name in file.state if (match := _BLOCK.match(name))}
    counts = tuple(sum(stage == str(n) for stage, _ in places) for n in (1, 2, 3, 4))
    depth = next((depth for depth, blocks in NUM_BLOCKS.items() if blocks == counts), None)
    if depth is None:
        raise ValueError(
            f"{file.path} is an {IRESNET} of {counts} blocks a stage; expected one of the depths "
            f"{', '.join(map(str, NUM_BLOCKS))}"
        )
    return depth
