"""Weights of torchvision's MobileNetV2 under the names of ``mobilenet_v2``.

They were trained on ImageNet, on RGB images with ImageNet's mean and standard deviation.
"""

import re
from collections.abc import Mapping
from typing import Any

from reid_heads.backbones.mobilenet_v2 import STAGES

_FEATURE = re.compile(r"features\.(\d+)\.(.+)")
_NUMBERED = re.compile(r"conv\.(\d)\.(weight|bias|running_mean|running_var)")
# torchvision first numbered convolutions, norms and activations of a block through; since 0.3 the
# first two convolutions stand in groups with theirs. By whether the block expands.
_GROUPS = {
    False: {"0": "0.0", "1": "0.1", "3": "1", "4": "2"},
    True: {"0": "0.0", "1": "0.1", "3": "1.0", "4": "1.1", "6": "2", "7": "3"},
}


def is_torchvision_mobilenet_v2(state: Mapping[str, Any]) -> bool:
    """Tell whether the names of a state dict are those of torchvision's MobileNetV2."""
    names = {name.removeprefix("module.") for name in state}
    needed = {"features.0.0.weight", "features.18.0.weight"}
    return needed <= names and any(name.startswith("features.17.conv.") for name in names)


def convert_mobilenet_v2_state_dict(state: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the weights of MobileNetV2.

    Args:
        state: arrays or tensors by name, as ``torchvision.models.mobilenet_v2().state_dict()`` has
            them, or torchvision before 0.3, with or without "module." before each name.

    Returns:
        The same values as ``build_mobilenet_v2`` names them: "stem.conv1.0.weight",
        "res2.0.block.conv.0.0.weight" and so on. ImageNet's classifier is left out, and so are
        BatchNorm's counts of batches.

    Raises:
        ValueError: for a network that is built otherwise.
    """
    if not is_torchvision_mobilenet_v2(state):
        raise ValueError(
            f"these are not weights of torchvision's MobileNetV2: names like {sorted(state)[:3]}; "
            "expected 'features.0.0.weight', 'features.18.0.weight' among them"
        )
    plain = {name.removeprefix("module."): value for name, value in state.items()}
    is_numbered = "features.1.conv.0.weight" in plain
    return {
        _convert_name(name, is_numbered): value
        for name, value in plain.items()
        if not name.startswith("classifier.") and not name.endswith(".num_batches_tracked")
    }


def _convert_name(name: str, is_numbered: bool) -> str:
    feature = _FEATURE.fullmatch(name)
    prefix = _block_prefixes().get(int(feature[1])) if feature else None
    if feature is None or prefix is None:
        raise ValueError(
            f"{name!r} has no place in MobileNetV2: the weights are of another kind of network"
        )
    inner = feature[2]
    if is_numbered and (layer := _NUMBERED.fullmatch(inner)):
        groups = _GROUPS[prefix != "stem.block"]
        if layer[1] not in groups:
            raise ValueError(
                f"{name!r} has no place in MobileNetV2: its blocks are built otherwise"
            )
        inner = f"conv.{groups[layer[1]]}.{layer[2]}"
    return f"{prefix}.{inner}"


def _block_prefixes() -> dict[int, str]:
    """Return the name of each of torchvision's ``features``."""
    prefixes = ["stem.conv1", "stem.block"]
    for number, blocks in STAGES.items():
        prefixes += [f"res{number}.{place}.block" for place in range(len(blocks))]
    prefixes.append(f"res5.{len(STAGES[5])}.block")
    return dict(enumerate(prefixes))
