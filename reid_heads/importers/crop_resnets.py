"""ResNets for crops of reid-strong-baseline, fast-reid and torchreid.

What each does otherwise than the config it is mapped to follows from public code and is a key here:
strong-baseline's stem has no ReLU (its IBN-a variant has one); fast-reid's has one, pools without
padding, and its pictures are resized bicubically; torchreid keeps ResNet's last stride and has no
neck, or with fc512 a last stride of 1 and a projection. All read RGB with ImageNet's mean and
deviation, and all are compared by the feature after their neck.
"""

import re
from collections.abc import Collection

import torch

from reid_heads.backbones.resnet import NUM_BLOCKS
from reid_heads.backbones.torchvision_weights import convert_torchvision_name
from reid_heads.importers.checkpoint_file import CheckpointFile
from reid_heads.importers.crop_shapes import crop_net_state
from reid_heads.importers.imported import ImportedModel
from reid_heads.importers.placing import Placement

STRONG_BASELINE = "reid-strong-baseline"
FAST_REID = "fast-reid"
TORCHREID = "torchreid ResNet"

CONFIG_FILE = "configs/market1501/bag_of_tricks_r50.yaml"
CLASSIFIER = "losses.losses.SOFTMAX.weights.0"

_PREFIXES = {STRONG_BASELINE: "base.", FAST_REID: "backbone.", TORCHREID: ""}
# The first block of the last stage: what has these names is a ResNet.
_LANDMARKS = ("conv1.weight", "layer1.0.conv1.weight", "layer4.0.conv1.weight")
_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.")
_NECK = re.compile(r"bottleneck\.(\w+)|heads\.(?:bnneck|bottleneck|bottleneck\.0)\.([a-z_]+)")
_COUNTER = "num_batches_tracked"
_WRITTEN_FOR_TRAINING = "training alone needs it"


def recognise(names: Collection[str]) -> str | None:
    """Return whose ResNet has tensors of these names; None if none of the three."""
    for family, prefix in _PREFIXES.items():
        if not set(names).issuperset(prefix + name for name in _LANDMARKS):
            continue
        # Without its classifier torchreid's has the names of ImageNet's ResNets.
        if family != TORCHREID or "classifier.weight" in names:
            return family
    return None


def convert(file: CheckpointFile, family: str) -> ImportedModel:
    """Map a file of one of the three families.

    Args:
        file: as read.
        family: as ``recognise`` gave it.

    Raises:
        ValueError: for a network that this project cannot express, or not all of whose tensors find
            a place; the message names what stands in the way.
    """
    _check_expressible(file, family)
    placement = Placement(file)
    prefix = _PREFIXES[family]
    overrides = _resnet_settings(file, prefix)
    add = {STRONG_BASELINE: _strong_baseline, FAST_REID: _fast_reid, TORCHREID: _torchreid}
    kind, settings, notes = add[family](placement)
    for name in list(placement.left):
        if name.startswith(prefix):
            place_resnet_weight(placement, name, prefix)
    overrides |= settings
    words = [word for pair in overrides.items() for word in pair]
    return placement.finish(
        family=kind,
        config_file=CONFIG_FILE,
        overrides=words,
        expected=crop_net_state(CONFIG_FILE, words),
        optional=("losses.",),
        notes=notes,
    )


def place_resnet_weight(placement: Placement, name: str, prefix: str) -> None:
    """Give a weight of a torchvision-like ResNet its place; leave one that has none."""
    counted = name.endswith(_COUNTER)
    plain = name.removeprefix(prefix).replace(_COUNTER, "running_var")
    try:
        ours = f"backbone.{convert_torchvision_name(plain)}"
    except ValueError:
        return
    if counted:
        ours = ours.removesuffix("running_var") + _COUNTER
    placement.place(name, ours, "backbone")


def _check_expressible(file: CheckpointFile, family: str) -> None:
    """Refuse by its name what these families can be built with and this project cannot."""
    prefix = _PREFIXES[family]
    signs = {
        f"{prefix}NL_": "non-local blocks (MODEL.BACKBONE.WITH_NL); only nets trained with it off "
        "can be imported",
        "heads.bottleneck.1.": "a reduced embedding (MODEL.HEADS.EMBEDDING_DIM above 0); only nets "
        "trained with 0 can be imported",
        "b1.": "MGN's branches; only BoT, AGW and SBS can be imported",
    }
    for sign, what in signs.items():
        if found := next((name for name in file.state if name.startswith(sign)), None):
            raise ValueError(f"{file.path} is a {family} network with {what} (it holds {found})")


def _resnet_settings(file: CheckpointFile, prefix: str) -> dict[str, str]:
    """Read depth, widths and IBN off the weights; return the keys that differ from ResNet-50's."""
    names = [name.removeprefix(prefix) for name in file.state if name.startswith(prefix)]
    places = {match.groups() for name in names if (match := _BLOCK.match(name))}
    counts = tuple(sum(layer == str(n) for layer, _ in places) for n in (1, 2, 3, 4))
    last = 3 if "layer1.0.conv3.weight" in names else 2
    depths = [
        d for d, blocks in NUM_BLOCKS.items() if blocks == counts and (d >= 50) == (last == 3)
    ]
    if not depths:
        raise ValueError(
            f"{file.path} is a ResNet of {counts} blocks a stage with {last} convolutions each; "
            f"expected one of the depths {', '.join(map(str, NUM_BLOCKS))}"
        )
    settings = {
        "MODEL.RESNETS.DEPTH": 50 if 50 in depths else depths[0],
        "MODEL.RESNETS.STEM_OUT_CHANNELS": len(file.state[f"{prefix}conv1.weight"]),
        "MODEL.RESNETS.RES2_OUT_CHANNELS": len(file.state[f"{prefix}layer1.0.conv{last}.weight"]),
    }
    if last == 3:
        settings["MODEL.RESNETS.WIDTH_PER_GROUP"] = len(
            file.state[f"{prefix}layer1.0.conv1.weight"]
        )
    usual = {"DEPTH": 50, "STEM_OUT_CHANNELS": 64, "RES2_OUT_CHANNELS": 256, "WIDTH_PER_GROUP": 64}
    changed = {
        key: str(value) for key, value in settings.items() if value != usual[key.rpartition(".")[2]]
    }
    if "layer1.0.bn1.IN.weight" in names:
        changed["MODEL.CROP_REID.IBN"] = "a"
    return changed


_Settings = tuple[str, dict[str, str], list[str]]


def _strong_baseline(placement: Placement) -> _Settings:
    settings = {}
    if "base.layer1.0.bn1.IN.weight" in placement.left:
        settings["MODEL.CROP_REID.STEM_RELU"] = "True"
    # Without the neck the classifier has a bias, which the loss here does not.
    settings |= _place_neck(placement) | _place_classifier(placement, "classifier")
    return STRONG_BASELINE, settings, []


def _fast_reid(placement: Placement) -> _Settings:
    settings = {
        "MODEL.CROP_REID.STEM_RELU": "True",
        "MODEL.CROP_REID.STEM_POOL": "ceil",
        "INPUT.REID.INTERPOLATION": "bicubic",
    }
    for name in ("pixel_mean", "pixel_std"):
        if name in placement.left:
            values = [round(x, 3) for x in placement.left[name].flatten().tolist()]
            settings[f"MODEL.{name.upper()}"] = str(values).replace(" ", "")
            placement.pass_over(name, "the config has it")
    settings |= _place_neck(placement)
    if "heads.pool_layer.p" not in placement.left:
        settings |= _place_classifier(placement, "heads")
        note = (
            "A generalised mean with a fixed exponent leaves no trace in the weights: say "
            "MODEL.REID_HEAD.POOLING gem for a net with it, as some AGW nets are."
        )
        return f"{FAST_REID} BoT", settings, [note]
    placement.place("heads.pool_layer.p", "head.pool.power", "pooling")
    for name in ("heads.weight", "heads.classifier.weight"):
        if name in placement.left:
            placement.pass_over(name, "classifier, of a loss that the weights do not tell")
    settings |= {
        "MODEL.REID_HEAD.POOLING": "gem",
        "MODEL.REID_HEAD.GEM_LEARNED": "True",
        "INPUT.REID.SIZE": "(384,128)",
    }
    note = (
        "Weights do not tell AGW from SBS: the size is SBS's, 384x128; say INPUT.REID.SIZE "
        "(256,128) for AGW."
    )
    return f"{FAST_REID} SBS or AGW", settings, [note]


def _torchreid(placement: Placement) -> _Settings:
    settings = {"MODEL.CROP_REID.STEM_RELU": "True"}
    has_projection = "fc.0.weight" in placement.left
    if has_projection:
        place_projection(placement)
        size = len(placement.file.state["fc.0.weight"])
        settings |= {
            "MODEL.REID_HEAD.NAME": "EmbeddingHead",
            "MODEL.REID_HEAD.EMBEDDING_DIM": str(size),
            "MODEL.REID_HEAD.RELU": "True",
        }
    else:
        settings |= {"MODEL.CROP_REID.LAST_STRIDE": "2", "MODEL.REID_HEAD.BATCH_NORM": "False"}
    pass_over_biased_classifier(placement)
    return f"{TORCHREID} with a projection" if has_projection else TORCHREID, settings, []


def place_projection(placement: Placement) -> None:
    """Place torchreid's fully connected layer: linear, BatchNorm, ReLU.

    Before a BatchNorm the projection here has no bias: BN(x + b) with mean m is BN(x) with m - b.
    """
    bias = torch.zeros(())
    if "fc.0.bias" in placement.left:
        bias = placement.fold("fc.0.bias", "head")
    for name in ("weight", "bias", "running_mean", "running_var", _COUNTER):
        theirs = f"fc.1.{name}"
        if theirs in placement.left:
            value = placement.left[theirs]
            value = value - bias if name == "running_mean" else value
            placement.place(theirs, f"head.norm.{name}", "head", value)
    placement.place("fc.0.weight", "head.project.weight", "head")


def pass_over_biased_classifier(placement: Placement) -> None:
    """Leave torchreid's classifier out, which has a bias where this project's has none."""
    for name in ("classifier.weight", "classifier.bias"):
        if name in placement.left:
            placement.pass_over(name, f"classifier with a bias; {_WRITTEN_FOR_TRAINING}")


def _place_neck(placement: Placement) -> dict[str, str]:
    """Place the BatchNorm between pooling and classifier; return the keys of a net without."""
    found = {name: match for name in placement.left if (match := _NECK.fullmatch(name))}
    for name, match in found.items():
        placement.place(name, f"head.neck.{match[1] or match[2]}", "head")
    return {} if found else {"MODEL.REID_HEAD.BATCH_NORM": "False"}


def _place_classifier(placement: Placement, module: str) -> dict[str, str]:
    """Place a classifier without bias; return the key of its identities."""
    if "classifier.bias" in placement.left:
        pass_over_biased_classifier(placement)
        return {}
    for name in (f"{module}.weight", f"{module}.classifier.weight"):
        if name in placement.left:
            count = len(placement.left[name])
            placement.place(name, CLASSIFIER, "classifier")
            return {"MODEL.REID_HEAD.NUM_IDENTITIES": str(count)}
    return {}
