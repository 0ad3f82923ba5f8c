"""Weights of torchvision's ResNets and of IBN-Net's, under detectron2's names.

They were trained on RGB images with ImageNet's mean and standard deviation, with the stride in the
3x3 convolution (``MODEL.RESNETS.STRIDE_IN_1X1 False``) and a ReLU after the stem's norm.
"""

import re
from collections.abc import Mapping
from typing import Any

_LAYER = re.compile(r"layer([1-4])\.(\d+)\.(.+)")
_CONV = re.compile(r"conv([123])\.weight")
# IN and BN are the two halves of IBN-a's norms.
_NORM = re.compile(r"bn([123])\.((?:IN\.|BN\.)?(?:weight|bias|running_mean|running_var))")
_SHORTCUT_NORM = re.compile(r"downsample\.1\.(weight|bias|running_mean|running_var)")


def is_torchvision_resnet(state: Mapping[str, Any]) -> bool:
    """Tell whether the names of a state dict are those of torchvision's ResNets."""
    names = {_plain(name) for name in state}
    return {"conv1.weight", "layer1.0.conv1.weight", "layer4.0.conv1.weight"} <= names


def convert_torchvision_state_dict(state: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the weights of ResNet-18, -34, -50, -101, -152 or an IBN-a variant of them.

    Args:
        state: arrays or tensors by name, as ``torchvision.models.resnet50().state_dict()`` and
            ``resnet50_ibn_a`` of IBN-Net have them, with or without "module." before each name.

    Returns:
        The same values as detectron2 names them: "stem.conv1.weight", "res2.0.conv1.norm.weight",
        "res5.0.shortcut.weight" and so on. ImageNet's classifier "fc" is left out, and so are
        BatchNorm's counts of batches, which a frozen BatchNorm does not have and no other needs.

    Raises:
        ValueError: for a network that is built otherwise.
    """
    if not is_torchvision_resnet(state):
        found = sorted(state)[:3]
        raise ValueError(
            f"these are not weights of a torchvision ResNet: names like {found}; expected "
            "'conv1.weight', 'layer1.0.conv1.weight', 'layer4.0.conv1.weight' among them"
        )
    converted = {}
    for name, value in state.items():
        plain = _plain(name)
        if plain.startswith("fc.") or plain.endswith(".num_batches_tracked"):
            continue
        converted[convert_torchvision_name(plain)] = value
    return converted


def _plain(name: str) -> str:
    # Weights saved from DataParallel carry this prefix.
    return name.removeprefix("module.")


def convert_torchvision_name(name: str) -> str:
    """Return detectron2's name of a weight of a ResNet's stem or stages.

    Raises:
        ValueError: if a plain or IBN-a ResNet has no such weight.
    """
    layer = _LAYER.fullmatch(name)
    if layer:
        place, inner = f"res{int(layer[1]) + 1}.{layer[2]}", layer[3]
    else:
        place, inner = "stem", name
    if layer and inner == "downsample.0.weight":
        return f"{place}.shortcut.weight"
    if layer and (norm := _SHORTCUT_NORM.fullmatch(inner)):
        return f"{place}.shortcut.norm.{norm[1]}"
    # The stem has a single convolution and norm.
    if layer or name.startswith(("conv1.", "bn1.")):
        if conv := _CONV.fullmatch(inner):
            return f"{place}.conv{conv[1]}.weight"
        if norm := _NORM.fullmatch(inner):
            return f"{place}.conv{norm[1]}.norm.{norm[2]}"
    raise ValueError(
        f"{name!r} has no place in a plain or IBN-a ResNet: the weights are of another kind of "
        "network (squeeze-and-excitation, IBN-b, ...). Use weights of ResNet-18 to -152"
    )
