"""Config keys and losses of earlier versions, and what they are called now."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from detectron2.config import CfgNode

_HEAD = "MODEL.REID_HEAD"
_COSINE = f"{_HEAD}.COSINE_SOFTMAX"
_MARGIN = f"{_COSINE}.MARGIN"

FORMER_MARGIN_LOSSES = {
    "ARCFACE": "arcface",
    "SUBCENTER_ARCFACE": "arcface",
    "COSFACE": "cosface",
    "SPHEREFACE": "sphereface",
    "COMBINED_MARGIN": "combined",
    "CURRICULARFACE": "curricularface",
    "MAGFACE": "magface",
    "ADAFACE": "adaface",
}
"""Losses that are COSINE_SOFTMAX with the margin of this name now."""

# Their keys, beside SCALE, LABEL_SMOOTHING, GRADIENT and SUB_CENTERS, with their defaults then and
# their names now, within MARGIN's node of the name.
_OWN: dict[str, dict[str, tuple[Any, str]]] = {
    "ARCFACE": {"MARGIN": (0.3, "M")},
    "SUBCENTER_ARCFACE": {"MARGIN": (0.3, "M")},
    "COSFACE": {"MARGIN": (0.25, "M")},
    "SPHEREFACE": {"MARGIN": (1.35, "M")},
    "COMBINED_MARGIN": {"M1": (1.0, "M1"), "M2": (0.3, "M2"), "M3": (0.2, "M3")},
    "CURRICULARFACE": {"MARGIN": (0.3, "M"), "MOMENTUM": (0.99, "MOMENTUM")},
    "MAGFACE": {
        "NORM_RANGE": ((10.0, 110.0), "NORM_RANGE"),
        "MARGIN_RANGE": ((0.45, 0.8), "M_RANGE"),
        "REGULARIZER": (35.0, "REGULARIZER"),
    },
    "ADAFACE": {
        "MARGIN": (0.4, "M"),
        "CONCENTRATION": (0.333, "CONCENTRATION"),
        "MOMENTUM": (0.99, "MOMENTUM"),
    },
}


class FormerKey(NamedTuple):
    """A key of an earlier version."""

    name: str
    default: Any
    """What it was where nobody set it, as configs that training wrote have it."""
    now: str
    """What to write instead."""


def _keys_of_margin_loss(loss: str, margin: str) -> Iterator[FormerKey]:
    is_subcenter = loss == "SUBCENTER_ARCFACE"
    more = f" and {_COSINE}.SUB_CENTERS 3" if is_subcenter else ""
    now = f"{_HEAD}.LOSSES.COSINE_SOFTMAX, with {_MARGIN}.NAME {margin}{more}"
    yield FormerKey(f"{_HEAD}.LOSSES.{loss}", 0.0, now)
    node = f"{_HEAD}.{loss}"
    yield FormerKey(f"{node}.SCALE", 30.0, f"{_COSINE}.SCALE")
    yield FormerKey(f"{node}.LABEL_SMOOTHING", 0.0, f"{_COSINE}.LABEL_SMOOTHING")
    if loss != "COSFACE":
        yield FormerKey(f"{node}.GRADIENT", "exact", f"{_MARGIN}.GRADIENT")
    if loss not in ("ARCFACE", "COSFACE"):
        yield FormerKey(f"{node}.SUB_CENTERS", 3 if is_subcenter else 1, f"{_COSINE}.SUB_CENTERS")
    for key, (default, own) in _OWN[loss].items():
        yield FormerKey(f"{node}.{key}", default, f"{_MARGIN}.{margin.upper()}.{own}")
    if loss == "COMBINED_MARGIN":
        yield FormerKey(f"{node}.INTRA", 0.0, f"{_COSINE}.INTRA")
        yield FormerKey(f"{node}.INTER", 0.0, f"{_COSINE}.INTER")


FORMER_KEYS: dict[str, FormerKey] = {
    key.name: key
    for loss, margin in FORMER_MARGIN_LOSSES.items()
    for key in _keys_of_margin_loss(loss, margin)
} | {"MODEL.CROP_REID.EMA_DECAY": FormerKey("MODEL.CROP_REID.EMA_DECAY", 0.0, "SOLVER.EMA_DECAY")}
"""Every former key by its full name."""


def add_former_keys(cfg: CfgNode) -> None:
    """Add the former keys with their defaults of then, so that a file that has them can be read."""
    for key in FORMER_KEYS.values():
        *path, last = key.name.split(".")
        node = cfg
        for part in path:
            node = node.setdefault(part, CfgNode())
        node[last] = key.default


def take_former_keys_out(cfg: CfgNode) -> None:
    """Remove the former keys from a config that was read.

    Raises:
        KeyError: if one is set to something else than its default of then, naming it and what it
            is called now. A key at that default says nothing: configs that training wrote have all.
    """
    problems = []
    for key in FORMER_KEYS.values():
        *path, last = key.name.split(".")
        nodes = [cfg]
        for part in path:
            nodes.append(nodes[-1][part])
        if nodes[-1].pop(last) != key.default:
            problems.append(key)
        if not nodes[-1]:
            del nodes[-2][path[-1]]
    _refuse(problems)


def check_no_former_keys(names: Sequence[str]) -> None:
    """Raise a KeyError if a former key is among full names, telling what it is called now."""
    _refuse([FORMER_KEYS[name] for name in names if name in FORMER_KEYS])


def _refuse(keys: Sequence[FormerKey]) -> None:
    if keys:
        renamed = "; ".join(f"{key.name} is now {key.now}" for key in keys)
        raise KeyError(f"{renamed}. Change the config")
