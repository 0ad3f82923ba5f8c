"""Losses chosen by name and weight from the config, each on the features meant for it.

Letters: R people, D embedding size, A attribute groups.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from reid_heads.heads.features import HeadFeatures
from reid_heads.labels import UNLABELED_PID
from reid_heads.losses.attributes import AttributeLoss
from reid_heads.losses.center import CenterLoss
from reid_heads.losses.identity_memory import OIMLoss
from reid_heads.losses.margin_softmax import CosineSoftmaxLoss
from reid_heads.losses.softmax import SoftmaxLoss
from reid_heads.losses.triplet import TripletLoss


class HeadSizes(Protocol):
    """What a head says of the sizes of its ``HeadFeatures``."""

    embedding_dim: int
    metric_dims: tuple[int, ...]
    classified_dims: tuple[int, ...]


class _Kind(NamedTuple):
    build: Callable[[CfgNode, HeadSizes], nn.Module]
    """From ``cfg.MODEL.REID_HEAD`` and the head."""
    apply: Callable[[nn.Module, HeadFeatures, Tensor, Tensor | None], Tensor]
    """The module on features, pids (R,) and attributes (R, A)."""


def _build_oim(cfg: CfgNode, head: HeadSizes) -> nn.Module:
    return OIMLoss(
        num_identities=cfg.NUM_IDENTITIES,
        embedding_dim=head.embedding_dim,
        queue_size=cfg.OIM.QUEUE_SIZE,
        scale=cfg.OIM.SCALE,
        momentum=cfg.OIM.MOMENTUM,
    )


def _build_softmax(cfg: CfgNode, head: HeadSizes) -> nn.Module:
    return SoftmaxLoss(
        head.classified_dims,
        cfg.NUM_IDENTITIES,
        label_smoothing=cfg.SOFTMAX.LABEL_SMOOTHING,
        smoothing_over=cfg.SOFTMAX.SMOOTHING_OVER,
    )


def _build_cosine_softmax(cfg: CfgNode, head: HeadSizes) -> nn.Module:
    return CosineSoftmaxLoss(
        head.classified_dims,
        cfg.NUM_IDENTITIES,
        scale=cfg.COSINE_SOFTMAX.SCALE,
        margin=cfg.COSINE_SOFTMAX.MARGIN,
        label_smoothing=cfg.COSINE_SOFTMAX.LABEL_SMOOTHING,
    )


def _build_centers(cfg: CfgNode, head: HeadSizes) -> nn.Module:
    return nn.ModuleList(
        CenterLoss(cfg.NUM_IDENTITIES, dim, cfg.CENTER.LEARNING_RATE) for dim in head.metric_dims
    )


def _apply_centers(
    losses: nn.Module, features: HeadFeatures, pids: Tensor, attributes: Tensor | None
) -> Tensor:
    assert isinstance(losses, nn.ModuleList)
    each = [loss(rows, pids) for loss, rows in zip(losses, features.metric, strict=True)]
    return torch.stack(each).mean()


def _apply_attributes(
    loss: nn.Module, features: HeadFeatures, pids: Tensor, attributes: Tensor | None
) -> Tensor:
    if attributes is None:
        raise ValueError(
            "MODEL.REID_HEAD.LOSSES.ATTRIBUTES is on, but the batch has no attributes; train on a "
            "data set with attributes, or set it to 0"
        )
    labeled = pids != UNLABELED_PID
    result: Tensor = loss(features.metric[0][labeled], attributes[labeled])
    return result


_KINDS: dict[str, _Kind] = {
    "OIM": _Kind(_build_oim, lambda loss, x, pids, _: loss(x.unit_embeddings, pids)),
    "SOFTMAX": _Kind(_build_softmax, lambda loss, x, pids, _: loss(x.classified, pids)),
    "COSINE_SOFTMAX": _Kind(
        _build_cosine_softmax, lambda loss, x, pids, _: loss(x.classified, pids)
    ),
    "TRIPLET": _Kind(
        lambda cfg, head: TripletLoss(cfg.TRIPLET.MARGIN),
        lambda loss, x, pids, _: loss(x.metric, pids),
    ),
    "CENTER": _Kind(_build_centers, _apply_centers),
    "ATTRIBUTES": _Kind(
        lambda cfg, head: AttributeLoss(head.metric_dims[0], cfg.ATTRIBUTES.CLASSES),
        _apply_attributes,
    ),
}


class ReIDLosses(nn.Module):
    """A weighted set of losses on what a head gives, as ``MODEL.REID_HEAD.LOSSES`` says.

    OIM sees the unit embeddings; SOFTMAX and COSINE_SOFTMAX the features to classify; TRIPLET and
    CENTER the metric features, the mean over them; ATTRIBUTES the first metric feature. Unlabelled
    people are ignored by all but OIM, where they are negatives.
    """

    def __init__(self, losses: dict[str, nn.Module], weights: dict[str, float]):
        """Keep the losses with a weight other than 0, in the order given.

        Args:
            losses: by their name in ``MODEL.REID_HEAD.LOSSES``.
            weights: at least those of ``losses``.

        Raises:
            ValueError: for an unknown loss name.
        """
        super().__init__()
        _check_names(losses)
        self.losses = nn.ModuleDict({name: losses[name] for name in losses if weights[name] != 0})
        self.weights = dict(weights)

    @classmethod
    def from_config(cls, cfg: CfgNode, head: HeadSizes) -> "ReIDLosses":
        """Build the losses of a config for the features of a head.

        Raises:
            ValueError: for an unknown loss name or a setting out of range.
        """
        weights = dict(cfg.MODEL.REID_HEAD.LOSSES)
        # In the config's order: every process must hold the losses in the same one.
        active = [name for name, weight in weights.items() if weight != 0]
        _check_names(active)
        return cls(
            {name: _KINDS[name].build(cfg.MODEL.REID_HEAD, head) for name in active}, weights
        )

    def forward(
        self, features: HeadFeatures, pids: Tensor, attributes: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return ``{"loss_reid_<name>": weighted loss}``.

        Args:
            features: of R people; R may be 0.
            pids: (R,) int64, 0..P-1 or ``UNLABELED_PID``.
            attributes: (R, A) int64 class numbers, -1 for unknown; only ATTRIBUTES needs them.

        Raises:
            ValueError: for an id that is not below ``MODEL.REID_HEAD.NUM_IDENTITIES``, or without
                the attributes that a loss needs.
        """
        return {
            f"loss_reid_{name.lower()}": self.weights[name]
            * _KINDS[name].apply(loss, features, pids, attributes)
            for name, loss in self.losses.items()
        }


def _check_names(names: "list[str] | dict[str, nn.Module]") -> None:
    unknown = sorted(set(names) - set(_KINDS))
    if unknown:
        raise ValueError(
            f"MODEL.REID_HEAD.LOSSES names {unknown}; known losses are {sorted(_KINDS)}"
        )
