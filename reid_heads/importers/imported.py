"""What an importer makes of a checkpoint of another project."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from reid_heads.importers.checkpoint_file import listed


@dataclass(frozen=True)
class ImportedModel:
    """Weights of another project under this project's names, and the config that they belong to."""

    family: str
    """Whose network it is, for people to read: "SeqNet", "fast-reid BoT", "torchreid OSNet"."""

    config_file: str
    """One of this project's configs, as ``reid_heads.config_file.find_config`` takes it."""

    overrides: list[str]
    """Keys and values, alternating, on top of the config: what the family does otherwise."""

    state: dict[str, Tensor]
    """By this project's names: every parameter and buffer of the network that the config builds,
    but those in ``untouched``."""

    placed: dict[str, int]
    """How many of the file's tensors went into each group, such as "backbone" or "head"."""

    passed_over: dict[str, str]
    """Names in the file that no weight was taken from, and why: "optimizer", ..."""

    notes: list[str]
    """What a user must be told, a sentence each."""

    untouched: list[str] = field(default_factory=list)
    """This project's names of what the file has nothing for, and embeddings do not need."""


def misfits(
    state: Mapping[str, Tensor], network: Mapping[str, Tensor], optional: Collection[str] = ()
) -> str:
    """Say which tensors keep a state from filling a network, "" where it does.

    Args:
        state: that is to be loaded.
        network: state of the network.
        optional: names that may be missing in ``state``.
    """
    reshaped = [
        f"{name} is {tuple(value.shape)} instead of {tuple(network[name].shape)}"
        for name, value in state.items()
        if name in network and network[name].shape != value.shape
    ]
    found = {
        "nothing for": [name for name in network if name not in state and name not in optional],
        "no place for": [name for name in state if name not in network],
        "another shape:": reshaped,
    }
    return "; ".join(f"{what} {listed(names)}" for what, names in found.items() if names)
