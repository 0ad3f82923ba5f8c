"""What a loss of the config is: its name, its keys, how it is built and on what it is computed.

Letters: R people, A attribute groups, P identities.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from detectron2.config import CfgNode
from torch import Tensor, nn

from reid_heads.config_readers import Reader
from reid_heads.heads.features import HeadFeatures

BATCH_EXTRAS = ("attributes", "modalities", "domains")
"""What a batch may have beside features and person ids, and a loss may need."""


class HeadSizes(Protocol):
    """What a head says of the sizes of its ``HeadFeatures``."""

    embedding_dim: int
    metric_dims: tuple[int, ...]
    classified_dims: tuple[int, ...]


class Batch(NamedTuple):
    """What losses see of R people."""

    features: HeadFeatures
    pids: Tensor
    """(R,)"""
    attributes: Tensor | None
    """(R, A)"""
    logit_offsets: Tensor | None
    """(P,)"""
    modalities: Tensor | None
    """(R,)"""


def _no_keys(head: CfgNode) -> None:
    pass


@dataclass(frozen=True)
class LossKind:
    """A loss that a config can name in ``MODEL.REID_HEAD.LOSSES``."""

    name: str
    build: Callable[[CfgNode, HeadSizes], nn.Module]
    """From ``cfg.MODEL.REID_HEAD`` and the head."""
    apply: Callable[[nn.Module, Batch], Tensor]
    """The module on a batch: a scalar."""
    add_keys: Callable[[CfgNode], None] = _no_keys
    """Adds nodes with the loss's settings to ``MODEL.REID_HEAD``; they are read where it is on."""
    also_reads: tuple[str, ...] = ()
    """Keys or nodes below ``MODEL.REID_HEAD`` that it reads beside its own."""
    parts: tuple[Reader, ...] = ()
    """Who reads keys of its own nodes that not every choice within them reads."""
    needs: tuple[str, ...] = ()
    """Of ``BATCH_EXTRAS``, what a batch must have."""
    weight: float = 0.0
    """In ``MODEL.REID_HEAD.LOSSES``, by default."""

    def readers(self) -> list[Reader]:
        """Return who reads the keys of this loss."""
        own = CfgNode()
        self.add_keys(own)
        keys = tuple(f"MODEL.REID_HEAD.{key}" for key in (*own, *self.also_reads))
        whole = Reader(
            f"MODEL.REID_HEAD.LOSSES.{self.name}", keys, lambda cfg: self.name in active_losses(cfg)
        )
        return [whole, *self.parts]


LOSS_KINDS: dict[str, LossKind] = {}
"""Every loss by its name, in the order of ``MODEL.REID_HEAD.LOSSES``."""


def register_loss(kind: LossKind) -> None:
    """Make a loss known to configs that are made after this.

    Raises:
        ValueError: if the name is taken or ``needs`` names something unknown.
    """
    if kind.name in LOSS_KINDS:
        raise ValueError(f"there is a loss {kind.name} already; give the new one another name")
    if not set(kind.needs) <= set(BATCH_EXTRAS):
        raise ValueError(f"{kind.name} needs {kind.needs}; expected some of {list(BATCH_EXTRAS)}")
    LOSS_KINDS[kind.name] = kind


def active_losses(cfg: CfgNode) -> list[str]:
    """Return the names of the losses that a config computes, the members of ENSEMBLE too."""
    head = cfg.MODEL.REID_HEAD
    active = [name for name, weight in head.LOSSES.items() if weight != 0]
    return [*active, *(head.ENSEMBLE.MEMBERS if "ENSEMBLE" in active else ())]


def check_names(names: Collection[str]) -> None:
    """Raise a ValueError for names that no loss has."""
    unknown = sorted(set(names) - set(LOSS_KINDS))
    if unknown:
        raise ValueError(
            f"MODEL.REID_HEAD.LOSSES names {unknown}; known losses are {sorted(LOSS_KINDS)}"
        )


def check_needs(names: Collection[str], batch_has: Collection[str]) -> None:
    """Refuse losses for which a model's batches lack something.

    Args:
        names: of losses.
        batch_has: of ``BATCH_EXTRAS``, what the batches may have.

    Raises:
        ValueError: naming each such loss and what it needs.
    """
    missing = {
        name: [extra for extra in LOSS_KINDS[name].needs if extra not in batch_has]
        for name in names
        if name in LOSS_KINDS
    }
    problems = [f"{name} needs {' and '.join(lacks)}" for name, lacks in missing.items() if lacks]
    if problems:
        raise ValueError(
            f"of MODEL.REID_HEAD.LOSSES {'; '.join(problems)}, which the batches of this model "
            "never have; set their weight to 0.0, or train them on crops (MODEL.META_ARCHITECTURE "
            "CropReID)"
        )


def apply_to_classified(loss: nn.Module, batch: Batch) -> Tensor:
    """Compute a classifier's loss on the features to classify."""
    result: Tensor = loss(batch.features.classified, batch.pids, batch.logit_offsets)
    return result


def apply_to_metric(loss: nn.Module, batch: Batch) -> Tensor:
    """Compute a loss on the metric features."""
    result: Tensor = loss(batch.features.metric, batch.pids)
    return result
