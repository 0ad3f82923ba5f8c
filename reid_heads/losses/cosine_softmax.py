"""The softmax over cosines as a config names it, with its margins."""

from collections.abc import Callable
from functools import partial

from detectron2.config import CfgNode
from torch import nn

from reid_heads.losses.adaptive_margins import (
    CurricularMargin,
    MagnitudeMargin,
    QualityAdaptiveMargin,
)
from reid_heads.losses.margin_softmax import CosineSoftmaxLoss
from reid_heads.losses.margins import (
    AdditiveAngularMargin,
    AdditiveCosineMargin,
    CombinedMargin,
    Margin,
    MultiplicativeAngularMargin,
)
from reid_heads.losses.partial_fc import PartialFCLoss
from reid_heads.losses.registry import HeadSizes, LossKind, apply_to_classified


def add_cosine_softmax_keys(head: CfgNode) -> None:
    """Add the settings of the softmaxes over cosines to ``MODEL.REID_HEAD``."""
    cosine = head.COSINE_SOFTMAX = CfgNode()
    # Inverse temperature s and label smoothing (over all identities) of the softmax over cosines.
    cosine.SCALE = 30.0
    cosine.LABEL_SMOOTHING = 0.0
    _add_margin_keys(head)
    partial_fc = head.PARTIAL_FC = CfgNode()
    # COSINE_SOFTMAX and every margin, for very many identities (Partial FC). Share, 0 < share <= 1,
    # of the identities that a batch lacks which it is compared with in training, drawn anew each
    # time; 1.0: all.
    partial_fc.SAMPLE_SHARE = 1.0
    # Whether the identities are divided over the processes (GPUs). The result is the same; each
    # process saves its own beside the checkpoints, and training resumes on as many processes.
    partial_fc.SHARDED = False


def _add_margin_keys(head: CfgNode) -> None:
    # COSINE_SOFTMAX with a margin. Every node has SCALE and LABEL_SMOOTHING as there; GRADIENT of
    # the true identity's logit: "exact", as in the papers, or "straight_through", as if there were
    # no margin; SUB_CENTERS: weight vectors an identity, of which the nearest counts, 1 or more.
    common = {"SCALE": 30.0, "LABEL_SMOOTHING": 0.0, "GRADIENT": "exact"}
    # An additive angular margin m in radians, 0 <= m < pi/2 (ArcFace), without and with sub-centers
    # (sub-center ArcFace).
    head.ARCFACE = CfgNode({**common, "MARGIN": 0.3})
    head.SUBCENTER_ARCFACE = CfgNode({**common, "MARGIN": 0.3, "SUB_CENTERS": 3})
    # A margin m on the cosine itself, 0 <= m < 2 (CosFace); both gradients are the same.
    head.COSFACE = CfgNode({"SCALE": 30.0, "LABEL_SMOOTHING": 0.0, "MARGIN": 0.25})

    common["SUB_CENTERS"] = 1
    # A factor m >= 1 of the angle (SphereFace).
    head.SPHEREFACE = CfgNode({**common, "MARGIN": 1.35})
    # All three, cos(M1 theta + M2) - M3, and the weights of two penalties: the angle to the true
    # identity (INTRA), less the mean angle between its weight vector and the others' (INTER).
    head.COMBINED_MARGIN = CfgNode(
        {**common, "M1": 1.0, "M2": 0.3, "M3": 0.2, "INTRA": 0.0, "INTER": 0.0}
    )
    # ArcFace with hard negatives that count more as training goes on; MOMENTUM is the share of the
    # old moving average t that is kept, 0 <= MOMENTUM < 1.
    head.CURRICULARFACE = CfgNode({**common, "MARGIN": 0.3, "MOMENTUM": 0.99})
    # An angular margin, radians, that grows from the first to the second of MARGIN_RANGE with the
    # feature's length over NORM_RANGE, and the weight of the pull towards long features. The values
    # are the paper's, for faces and SCALE 64: choose NORM_RANGE for the head (a BNNeck on 128
    # channels gives lengths around sqrt(128) = 11), and a smaller weight with a smaller SCALE.
    head.MAGFACE = CfgNode(
        {**common, "NORM_RANGE": (10.0, 110.0), "MARGIN_RANGE": (0.45, 0.8), "REGULARIZER": 35.0}
    )
    # A margin m, 0 <= m < 1, between an angular one and twice CosFace's as the feature's length
    # stands in the moving statistics of lengths: 1 / CONCENTRATION standard deviations from the
    # mean give either end; MOMENTUM is the share of the old statistics that is kept.
    head.ADAFACE = CfgNode({**common, "MARGIN": 0.4, "CONCENTRATION": 0.333, "MOMENTUM": 0.99})


def _cosine_softmax(name: str, margin: Callable[[CfgNode], Margin] | None = None) -> LossKind:
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

    return LossKind(
        name, build, apply_to_classified, also_reads=(name, "PARTIAL_FC", "LOGIT_ADJUSTMENT")
    )


COSINE_SOFTMAXES = (
    _cosine_softmax("COSINE_SOFTMAX"),
    _cosine_softmax("ARCFACE", lambda x: AdditiveAngularMargin(x.MARGIN, x.GRADIENT)),
    _cosine_softmax("COSFACE", lambda x: AdditiveCosineMargin(x.MARGIN)),
    _cosine_softmax("SUBCENTER_ARCFACE", lambda x: AdditiveAngularMargin(x.MARGIN, x.GRADIENT)),
    _cosine_softmax("SPHEREFACE", lambda x: MultiplicativeAngularMargin(x.MARGIN, x.GRADIENT)),
    _cosine_softmax("COMBINED_MARGIN", lambda x: CombinedMargin(x.M1, x.M2, x.M3, x.GRADIENT)),
    _cosine_softmax("CURRICULARFACE", lambda x: CurricularMargin(x.MARGIN, x.MOMENTUM, x.GRADIENT)),
    _cosine_softmax(
        "MAGFACE",
        lambda x: MagnitudeMargin(x.NORM_RANGE, x.MARGIN_RANGE, x.REGULARIZER, x.GRADIENT),
    ),
    _cosine_softmax(
        "ADAFACE",
        lambda x: QualityAdaptiveMargin(x.MARGIN, x.CONCENTRATION, x.MOMENTUM, x.GRADIENT),
    ),
)
