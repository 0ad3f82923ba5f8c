"""Every loss by its name in the config: how it is built, and on which features it is meant to be.

Letters: R people, D embedding size, P identities, A attribute groups.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from reid_heads.heads.balanced_sum import BalancedSum
from reid_heads.heads.features import HeadFeatures
from reid_heads.labels import UNLABELED_PID
from reid_heads.losses.adaptive_margins import (
    CurricularMargin,
    MagnitudeMargin,
    QualityAdaptiveMargin,
)
from reid_heads.losses.attributes import AttributeLoss
from reid_heads.losses.center import CenterLoss
from reid_heads.losses.domains import (
    DomainSoftmaxLoss,
    DomainTripletLoss,
    check_domain_identities,
)
from reid_heads.losses.ensemble import NamedEnsemble
from reid_heads.losses.hetero_center import HeteroCenterTripletLoss
from reid_heads.losses.identity_memory import OIMLoss
from reid_heads.losses.intra_class import build_pair_loss
from reid_heads.losses.margin_softmax import CosineSoftmaxLoss
from reid_heads.losses.margins import (
    AdditiveAngularMargin,
    AdditiveCosineMargin,
    CombinedMargin,
    Margin,
    MultiplicativeAngularMargin,
)
from reid_heads.losses.mmd import MarginalMMDLoss, MarginMMDLoss
from reid_heads.losses.pairs import (
    CompareRows,
    make_contrastive,
    make_hardest_negative_triplet,
    make_multi_similarity,
)
from reid_heads.losses.partial_fc import PartialFCLoss
from reid_heads.losses.softmax import SoftmaxLoss
from reid_heads.losses.triplet import TripletLoss


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


class Kind(NamedTuple):
    """A loss by name."""

    build: Callable[[CfgNode, HeadSizes], nn.Module]
    """From ``cfg.MODEL.REID_HEAD`` and the head."""
    apply: Callable[[nn.Module, Batch], Tensor]
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


def _cosine_softmax(name: str, margin: Callable[[CfgNode], Margin] | None = None) -> Kind:
    """Return the kind whose settings stand under ``name``, with a margin where there is one."""

    def build(cfg: CfgNode, head: HeadSizes) -> nn.Module:
        settings = cfg[name]
        share, is_sharded = cfg.PARTIAL_FC.SAMPLE_SHARE, cfg.PARTIAL_FC.SHARDED
        kind: Callable[..., nn.Module] = CosineSoftmaxLoss
        if share != 1 or is_sharded:
            kind = partial(PartialFCLoss, sample_share=share, is_sharded=is_sharded)
        return kind(
            head.classified_dims,
            cfg.NUM_IDENTITIES,
            scale=settings.SCALE,
            margin=None if margin is None else margin(settings),
            label_smoothing=settings.LABEL_SMOOTHING,
            sub_centers=settings.get("SUB_CENTERS", 1),
            intra=settings.get("INTRA", 0.0),
            inter=settings.get("INTER", 0.0),
        )

    return Kind(build, _apply_classifier)


def _apply_classifier(loss: nn.Module, batch: Batch) -> Tensor:
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


def _apply_centers(losses: nn.Module, batch: Batch) -> Tensor:
    assert isinstance(losses, nn.ModuleList)
    pairs = zip(losses, batch.features.metric, strict=True)
    return torch.stack([loss(rows, batch.pids) for loss, rows in pairs]).mean()


def _apply_attributes(loss: nn.Module, batch: Batch) -> Tensor:
    if batch.attributes is None:
        raise ValueError(
            "MODEL.REID_HEAD.LOSSES.ATTRIBUTES is on, but the batch has no attributes; train on a "
            "data set with attributes, or set it to 0"
        )
    labeled = batch.pids != UNLABELED_PID
    result: Tensor = loss(batch.features.metric[0][labeled], batch.attributes[labeled])
    return result


def _apply_cross_modal(loss: nn.Module, batch: Batch) -> Tensor:
    if batch.modalities is None:
        raise ValueError(
            f"{type(loss).__name__} compares visible with thermal images, but the people of this "
            "batch have no modality; it is for crops of a visible-thermal data set"
        )
    result: Tensor = loss(batch.features.metric, batch.pids, batch.modalities)
    return result


def _pairs(name: str, make: Callable[..., CompareRows]) -> Kind:
    """Return the kind of a pair loss whose settings are the arguments of ``make``."""

    def build(cfg: CfgNode, head: HeadSizes) -> nn.Module:
        compare = make(**_lower(cfg[name]))
        augmentation = _lower(cfg.INTRA_CLASS)
        return build_pair_loss(compare, head.metric_dims, cfg.NUM_IDENTITIES, augmentation)

    return Kind(build, lambda loss, x: loss(x.features.metric, x.pids))


def _build_ensemble(cfg: CfgNode, head: HeadSizes) -> nn.Module:
    settings = cfg.ENSEMBLE
    check_names(settings.MEMBERS)
    if "ENSEMBLE" in settings.MEMBERS or len(set(settings.MEMBERS)) < len(settings.MEMBERS):
        raise ValueError(
            f"MODEL.REID_HEAD.ENSEMBLE.MEMBERS is {settings.MEMBERS}; expected other losses, each "
            "once"
        )
    # A head with an embedding for each loss has the sum already: it compares by its weights.
    balanced = getattr(head, "balanced_sum", None)
    has_own = balanced is not None
    if has_own and cfg.INTRA_CLASS.COPIES > 0:
        raise ValueError(
            "MODEL.REID_HEAD.INTRA_CLASS.COPIES is above 0 with MODEL.REID_HEAD.NAME EnsembleHead, "
            "whose losses have features of their own; set COPIES to 0 or take another head"
        )
    members = {
        name: KINDS[name].build(cfg, _PartSizes(head, number) if has_own else head)
        for number, name in enumerate(settings.MEMBERS)
    }
    if balanced is None:
        balanced = BalancedSum(len(members), settings.PRIOR, penalty=settings.PENALTY)
    return NamedEnsemble(members, balanced, has_own, settings.DIVERSITY)


class _PartSizes:
    """The sizes of one of a head's features, as if it were the only one; see HeadSizes."""

    def __init__(self, head: HeadSizes, number: int):
        self.embedding_dim = head.metric_dims[number]
        self.metric_dims: tuple[int, ...] = (head.metric_dims[number],)
        self.classified_dims: tuple[int, ...] = (head.classified_dims[number],)


def _apply_ensemble(loss: nn.Module, batch: Batch) -> Tensor:
    assert isinstance(loss, NamedEnsemble)
    features = batch.features
    losses = []
    for number, (name, member) in enumerate(loss.members.items()):
        own = features.part(number) if loss.has_own_features else features
        losses.append(KINDS[name].apply(member, batch._replace(features=own)))
    labeled = batch.pids != UNLABELED_PID
    result: Tensor = loss(losses, [x[labeled] for x in features.metric])
    return result


def _lower(node: CfgNode) -> dict[str, Any]:
    return {key.lower(): value for key, value in node.items()}


KINDS: dict[str, Kind] = {
    "OIM": Kind(
        _build_oim, lambda loss, x: loss(x.features.unit_embeddings, x.pids, x.logit_offsets)
    ),
    "SOFTMAX": Kind(_build_softmax, _apply_classifier),
    "COSINE_SOFTMAX": _cosine_softmax("COSINE_SOFTMAX"),
    "ARCFACE": _cosine_softmax("ARCFACE", lambda x: AdditiveAngularMargin(x.MARGIN, x.GRADIENT)),
    "COSFACE": _cosine_softmax("COSFACE", lambda x: AdditiveCosineMargin(x.MARGIN)),
    "SUBCENTER_ARCFACE": _cosine_softmax(
        "SUBCENTER_ARCFACE", lambda x: AdditiveAngularMargin(x.MARGIN, x.GRADIENT)
    ),
    "SPHEREFACE": _cosine_softmax(
        "SPHEREFACE", lambda x: MultiplicativeAngularMargin(x.MARGIN, x.GRADIENT)
    ),
    "COMBINED_MARGIN": _cosine_softmax(
        "COMBINED_MARGIN", lambda x: CombinedMargin(x.M1, x.M2, x.M3, x.GRADIENT)
    ),
    "CURRICULARFACE": _cosine_softmax(
        "CURRICULARFACE", lambda x: CurricularMargin(x.MARGIN, x.MOMENTUM, x.GRADIENT)
    ),
    "MAGFACE": _cosine_softmax(
        "MAGFACE",
        lambda x: MagnitudeMargin(x.NORM_RANGE, x.MARGIN_RANGE, x.REGULARIZER, x.GRADIENT),
    ),
    "ADAFACE": _cosine_softmax(
        "ADAFACE",
        lambda x: QualityAdaptiveMargin(x.MARGIN, x.CONCENTRATION, x.MOMENTUM, x.GRADIENT),
    ),
    "TRIPLET": Kind(
        lambda cfg, head: TripletLoss(cfg.TRIPLET.MARGIN),
        lambda loss, x: loss(x.features.metric, x.pids),
    ),
    "CENTER": Kind(_build_centers, _apply_centers),
    "ATTRIBUTES": Kind(
        lambda cfg, head: AttributeLoss(head.metric_dims[0], cfg.ATTRIBUTES.CLASSES),
        _apply_attributes,
    ),
    "HETERO_CENTER_TRIPLET": Kind(
        lambda cfg, head: HeteroCenterTripletLoss(cfg.HETERO_CENTER_TRIPLET.MARGIN),
        _apply_cross_modal,
    ),
    "MMD_ID": Kind(lambda cfg, head: MarginMMDLoss(cfg.MMD_ID.MARGIN), _apply_cross_modal),
    "MMD": Kind(lambda cfg, head: MarginalMMDLoss(), _apply_cross_modal),
    "DOMAIN_SOFTMAX": Kind(
        _build_domain_softmax, lambda loss, x: loss(x.features.classified, x.pids)
    ),
    "DOMAIN_TRIPLET": Kind(_build_domain_triplet, lambda loss, x: loss(x.features.metric, x.pids)),
    "CONTRASTIVE": _pairs("CONTRASTIVE", make_contrastive),
    "HARDEST_NEGATIVE_TRIPLET": _pairs("HARDEST_NEGATIVE_TRIPLET", make_hardest_negative_triplet),
    "MULTI_SIMILARITY": _pairs("MULTI_SIMILARITY", make_multi_similarity),
    "ENSEMBLE": Kind(_build_ensemble, _apply_ensemble),
}


def check_names(names: "list[str] | dict[str, nn.Module]") -> None:
    """Raise a ValueError for names that no loss has."""
    unknown = sorted(set(names) - set(KINDS))
    if unknown:
        raise ValueError(
            f"MODEL.REID_HEAD.LOSSES names {unknown}; known losses are {sorted(KINDS)}"
        )
