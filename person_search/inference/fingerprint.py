"""A name for what decides embeddings: vectors of two models must never meet in one gallery."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from detectron2.config import CfgNode, get_cfg

from person_search.config import add_person_search_config

# Raised when the same config and weights come to mean other embeddings, as after a changed default.
_VERSION = "1"

# Below MODEL: where the model runs and how it came about.
_ELSEWHERE = ("MODEL.DEVICE", "MODEL.WEIGHTS", "MODEL.PERSON_SEARCH.STL.")
_INPUT = ("INPUT.FORMAT", "INPUT.MIN_SIZE_TEST", "INPUT.MAX_SIZE_TEST", "INPUT.RESIZE")
# What only training reads, such as OIM's table of identities.
_TRAINING_WEIGHTS = ("roi_heads.identity_losses.",)


def fingerprint_of(cfg: CfgNode, state: Mapping[str, torch.Tensor]) -> str:
    """Return the fingerprint of a model: the same on every machine and device.

    It covers the weights, byte by byte in the precision they were loaded in, the config's node
    ``MODEL`` except where it names files or a device, and how test pictures are resized and their
    channels ordered.

    Args:
        cfg: of the model.
        state: its state dict, before any conversion to half precision.

    Returns:
        SHA-256, 64 hexadecimal digits.
    """
    digest = hashlib.sha256(f"person-search model {_VERSION}\n".encode())
    digest.update(json.dumps(_deciding_settings(cfg), sort_keys=True).encode())
    for name in sorted(state):
        if is_for_training(name):
            continue
        array = state[name].detach().cpu().contiguous().numpy()
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def is_for_training(name: str) -> bool:
    """Say whether only training reads a tensor of a model, by its name in the state dict."""
    return name.startswith(_TRAINING_WEIGHTS)


def _deciding_settings(cfg: CfgNode) -> dict[str, Any]:
    """Return the settings that differ from the defaults, by their full name.

    Only those, so that a key which a later version adds leaves old galleries valid.
    """
    defaults = get_cfg()
    add_person_search_config(defaults)
    usual = dict(_flatten(defaults))
    return {
        name: value
        for name, value in _flatten(cfg)
        if decides_embeddings(name) and (name not in usual or usual[name] != value)
    }


def decides_embeddings(name: str) -> bool:
    """Say whether a model reads a key of its config, by its full name, where it embeds."""
    return name in _INPUT or (name.startswith("MODEL.") and not name.startswith(_ELSEWHERE))


def _flatten(node: CfgNode, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, CfgNode):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            # Through JSON tuples and lists become the same.
            yield prefix + key, json.loads(json.dumps(value))
