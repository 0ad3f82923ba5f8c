"""Losses chosen by name and weight from the config, each on the features meant for it.

Letters: R people, D embedding size, P identities, A attribute groups.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from reid_heads.heads.features import HeadFeatures
from reid_heads.labels import UNLABELED_PID
from reid_heads.losses.attributes import AttributeLoss
from reid_heads.losses.center import CenterLoss
from reid_heads.losses.domains import (
    DomainSoftmaxLoss,
    DomainTripletLoss,
    check_domain_identities,
)
from reid_heads.losses.ensemble import BalancedSum, NamedEnsemble
from reid_heads.losses.hetero_center import HeteroCenterTripletLoss
from reid_heads.losses.identity_memory import OIMLoss
from reid_heads.losses.intra_class import build_pair_loss
from reid_heads.losses.logit_adjustment import LogitAdjustment
from reid_heads.losses.margin_softmax import CosineSoftmaxLoss
from reid_heads.losses.margins import AdditiveAngularMargin, AdditiveCosineMargin
from reid_heads.losses.mmd import MarginalMMDLoss, MarginMMDLoss
from reid_heads.losses.pairs import (
    CompareRows,
    make_contrastive,
    make_hardest_negative_triplet,
    make_multi_similarity,
)
from reid_heads.losses.softmax import SoftmaxLoss
from reid_heads.losses.triplet import TripletLoss


class HeadSizes(Protocol):
    """What a head says of the sizes of its ``HeadFeatures``."""

    embedding_dim: int
    metric_dims: tuple[int, ...]
    classified_dims: tuple[int, ...]


class _Batch(NamedTuple):
    features: HeadFeatures
    pids: Tensor
    """(R,)"""
    attributes: Tensor | None
    """(R, A)"""
    logit_offsets: Tensor | None
    """(P,)"""
    modalities: Tensor | None
    """(R,)"""


class _Kind(NamedTuple):
    build: Callable[[CfgNode, HeadSizes], nn.Module]
    """From ``cfg.MODEL.REID_HEAD`` and the head."""
    apply: Callable[[nn.Module, _Batch], Tensor]
    """The module on a batch."""


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


def _cosine_softmax(name: str, margin: Callable[[float], nn.Module] | None = None) -> _Kind:
    """Return the kind whose settings stand under ``name``, with a margin where there is one."""

    def build(cfg: CfgNode, head: HeadSizes) -> nn.Module:
        settings = cfg[name]
        return CosineSoftmaxLoss(
            head.classified_dims,
            cfg.NUM_IDENTITIES,
            scale=settings.SCALE,
            margin=None if margin is None else margin(settings.MARGIN),
            label_smoothing=settings.LABEL_SMOOTHING,
            sub_centers=settings.get("SUB_CENTERS", 1),
        )

    return _Kind(build, _apply_classifier)


def _apply_classifier(loss: nn.Module, batch: _Batch) -> Tensor:
    result: Tensor = loss(batch.features.classified, batch.pids, batch.logit_offsets)
    return result


def _build_domain_softmax(cfg: CfgNode, head: HeadSizes) -> nn.Module:
    check_domain_identities(cfg.DOMAIN_IDENTITIES, cfg.NUM_IDENTITIES)
    return DomainSoftmaxLoss(
        head.classified_dims,
        cfg.DOMAIN_IDENTITIES,
        label_smoothing=cfg.SOFTMAX.LABEL_SMOOTHING,
        smoothing_over=cfg.SOFTMAX.SMOOTHING_OVER,
    )


def _build_domain_triplet(cfg: CfgNode, head: HeadSizes) -> nn.Module:
    check_domain_identities(cfg.DOMAIN_IDENTITIES, cfg.NUM_IDENTITIES)
    return DomainTripletLoss(cfg.DOMAIN_IDENTITIES, cfg.TRIPLET.MARGIN)


def _build_centers(cfg: CfgNode, head: HeadSizes) -> nn.Module:
    return nn.ModuleList(
        CenterLoss(cfg.NUM_IDENTITIES, dim, cfg.CENTER.LEARNING_RATE) for dim in head.metric_dims
    )


def _apply_centers(losses: nn.Module, batch: _Batch) -> Tensor:
    assert isinstance(losses, nn.ModuleList)
    pairs = zip(losses, batch.features.metric, strict=True)
    return torch.stack([loss(rows, batch.pids) for loss, rows in pairs]).mean()


def _apply_attributes(loss: nn.Module, batch: _Batch) -> Tensor:
    if batch.attributes is None:
        raise ValueError(
            "MODEL.REID_HEAD.LOSSES.ATTRIBUTES is on, but the batch has no attributes; train on a "
            "data set with attributes, or set it to 0"
        )
    labeled = batch.pids != UNLABELED_PID
    result: Tensor = loss(batch.features.metric[0][labeled], batch.attributes[labeled])
    return result


def _apply_cross_modal(loss: nn.Module, batch: _Batch) -> Tensor:
    if batch.modalities is None:
        raise ValueError(
            f"{type(loss).__name__} compares visible with thermal images, but the people of this "
            "batch have no modality; it is for crops of a visible-thermal data set"
        )
    result: Tensor = loss(batch.features.metric, batch.pids, batch.modalities)
    return result


def _pairs(name: str, make: Callable[..., CompareRows]) -> _Kind:
    """Return the kind of a pair loss whose settings are the arguments of ``make``."""

    def build(cfg: CfgNode, head: HeadSizes) -> nn.Module:
        compare = make(**_lower(cfg[name]))
        augmentation = _lower(cfg.INTRA_CLASS)
        return build_pair_loss(compare, head.metric_dims, cfg.NUM_IDENTITIES, augmentation)

    return _Kind(build, lambda loss, x: loss(x.features.metric, x.pids))


def _build_ensemble(cfg: CfgNode, head: HeadSizes) -> nn.Module:
    settings = cfg.ENSEMBLE
    _check_names(settings.MEMBERS)
    if "ENSEMBLE" in settings.MEMBERS or len(set(settings.MEMBERS)) < len(settings.MEMBERS):
        raise ValueError(
            f"MODEL.REID_HEAD.ENSEMBLE.MEMBERS is {settings.MEMBERS}; expected other losses, each "
            "once"
        )
    members = {name: _KINDS[name].build(cfg, head) for name in settings.MEMBERS}
    balanced = BalancedSum(len(members), settings.PRIOR, penalty=settings.PENALTY)
    return NamedEnsemble(members, balanced)


def _lower(node: CfgNode) -> dict[str, Any]:
    return {key.lower(): value for key, value in node.items()}


_KINDS: dict[str, _Kind] = {
    "OIM": _Kind(
        _build_oim, lambda loss, x: loss(x.features.unit_embeddings, x.pids, x.logit_offsets)
    ),
    "SOFTMAX": _Kind(_build_softmax, _apply_classifier),
    "COSINE_SOFTMAX": _cosine_softmax("COSINE_SOFTMAX"),
    "ARCFACE": _cosine_softmax("ARCFACE", AdditiveAngularMargin),
    "COSFACE": _cosine_softmax("COSFACE", AdditiveCosineMargin),
    "SUBCENTER_ARCFACE": _cosine_softmax("SUBCENTER_ARCFACE", AdditiveAngularMargin),
    "TRIPLET": _Kind(
        lambda cfg, head: TripletLoss(cfg.TRIPLET.MARGIN),
        lambda loss, x: loss(x.features.metric, x.pids),
    ),
    "CENTER": _Kind(_build_centers, _apply_centers),
    "ATTRIBUTES": _Kind(
        lambda cfg, head: AttributeLoss(head.metric_dims[0], cfg.ATTRIBUTES.CLASSES),
        _apply_attributes,
    ),
    "HETERO_CENTER_TRIPLET": _Kind(
        lambda cfg, head: HeteroCenterTripletLoss(cfg.HETERO_CENTER_TRIPLET.MARGIN),
        _apply_cross_modal,
    ),
    "MMD_ID": _Kind(lambda cfg, head: MarginMMDLoss(cfg.MMD_ID.MARGIN), _apply_cross_modal),
    "MMD": _Kind(lambda cfg, head: MarginalMMDLoss(), _apply_cross_modal),
    "DOMAIN_SOFTMAX": _Kind(
        _build_domain_softmax, lambda loss, x: loss(x.features.classified, x.pids)
    ),
    "DOMAIN_TRIPLET": _Kind(_build_domain_triplet, lambda loss, x: loss(x.features.metric, x.pids)),
    "CONTRASTIVE": _pairs("CONTRASTIVE", make_contrastive),
    "HARDEST_NEGATIVE_TRIPLET": _pairs("HARDEST_NEGATIVE_TRIPLET", make_hardest_negative_triplet),
    "MULTI_SIMILARITY": _pairs("MULTI_SIMILARITY", make_multi_similarity),
    "ENSEMBLE": _Kind(
        _build_ensemble, lambda loss, x: loss(lambda name, member: _KINDS[name].apply(member, x))
    ),
}


class ReIDLosses(nn.Module):
    """A weighted set of losses on what a head gives, as ``MODEL.REID_HEAD.LOSSES`` says.

    OIM sees the unit embeddings; SOFTMAX, COSINE_SOFTMAX, ARCFACE, COSFACE and SUBCENTER_ARCFACE
    the features to classify; TRIPLET and CENTER the metric features, the mean over them; ATTRIBUTES
    the first metric feature; DOMAIN_SOFTMAX and DOMAIN_TRIPLET what SOFTMAX and TRIPLET see.
    CONTRASTIVE, HARDEST_NEGATIVE_TRIPLET and MULTI_SIMILARITY see the metric features too;
    ENSEMBLE is several of these as one.
    HETERO_CENTER_TRIPLET, MMD_ID and MMD compare the modalities of the metric features. Unlabelled
    people are ignored by all but OIM, where they are negatives. Logit adjustment, where it is on,
    is for the losses of the first two groups.
    """

    def __init__(
        self,
        losses: dict[str, nn.Module],
        weights: dict[str, float],
        logit_adjustment: LogitAdjustment | None = None,
    ):
        """Keep the losses with a weight other than 0, in the order given.

        Args:
            losses: by their name in ``MODEL.REID_HEAD.LOSSES``.
            weights: at least those of ``losses``.
            logit_adjustment: applied in training; None for none.

        Raises:
            ValueError: for an unknown loss name.
        """
        super().__init__()
        _check_names(losses)
        self.losses = nn.ModuleDict({name: losses[name] for name in losses if weights[name] != 0})
        self.weights = dict(weights)
        self.logit_adjustment = logit_adjustment

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
        settings = cfg.MODEL.REID_HEAD
        adjustment = None
        if settings.LOGIT_ADJUSTMENT != 0:
            adjustment = LogitAdjustment(settings.LOGIT_ADJUSTMENT, settings.NUM_IDENTITIES)
        return cls(
            {name: _KINDS[name].build(settings, head) for name in active}, weights, adjustment
        )

    def set_identity_counts(self, counts: Tensor) -> None:
        """Tell logit adjustment how often each identity is seen; without adjustment do nothing.

        Args:
            counts: (P,) int64, the training boxes of each identity, at least 1.

        Raises:
            ValueError: for another shape or type, or an identity without a box.
        """
        if self.logit_adjustment is not None:
            self.logit_adjustment.set_identity_counts(counts)

    def forward(
        self,
        features: HeadFeatures,
        pids: Tensor,
        attributes: Tensor | None = None,
        modalities: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return ``{"loss_reid_<name>": weighted loss}``.

        Args:
            features: of R people; R may be 0.
            pids: (R,) int64, 0..P-1 or ``UNLABELED_PID``.
            attributes: (R, A) int64 class numbers, -1 for unknown; only ATTRIBUTES needs them.
            modalities: (R,) int64, ``VISIBLE`` or ``THERMAL``; only the cross-modal losses need
                them.

        Raises:
            ValueError: for an id that is not below ``MODEL.REID_HEAD.NUM_IDENTITIES``, or without
                the attributes or modalities that a loss needs.
            FloatingPointError: for features that are not finite, before any memory takes them up.
            RuntimeError: in training with logit adjustment, if ``set_identity_counts`` was not
                called.
        """
        _check_finite(features)
        offsets = None
        if self.logit_adjustment is not None and self.training:
            offsets = self.logit_adjustment()
        batch = _Batch(features, pids, attributes, offsets, modalities)
        return {
            f"loss_reid_{name.lower()}": self.weights[name] * _KINDS[name].apply(loss, batch)
            for name, loss in self.losses.items()
        }


def _check_finite(features: HeadFeatures) -> None:
    # Heads give one tensor several times.
    tensors = {id(x): x for x in (features.embeddings, *features.metric, *features.classified)}
    if not torch.stack([x.isfinite().all() for x in tensors.values()]).all():
        raise FloatingPointError(
            "the features of people hold NaN or infinity: the training has diverged; lower "
            "SOLVER.BASE_LR, set SOLVER.CLIP_GRADIENTS.ENABLED to True or warm up for longer"
        )


def _check_names(names: "list[str] | dict[str, nn.Module]") -> None:
    unknown = sorted(set(names) - set(_KINDS))
    if unknown:
        raise ValueError(
            f"MODEL.REID_HEAD.LOSSES names {unknown}; known losses are {sorted(_KINDS)}"
        )
