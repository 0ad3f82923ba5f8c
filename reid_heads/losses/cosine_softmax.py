"""The loss COSINE_SOFTMAX: a softmax over cosines, with the margin that the config names."""

from collections.abc import Callable
from functools import partial

from detectron2.config import CfgNode
from torch import nn

from reid_heads.config_readers import Reader
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

MARGINS: dict[str, Callable[[CfgNode, str], Margin]] = {
    "arcface": lambda node, gradient: AdditiveAngularMargin(node.M, gradient),
    # Both gradients are the same.
    "cosface": lambda node, gradient: AdditiveCosineMargin(node.M),
    "sphereface": lambda node, gradient: MultiplicativeAngularMargin(node.M, gradient),
    "combined": lambda node, gradient: CombinedMargin(node.M1, node.M2, node.M3, gradient),
    "curricularface": lambda node, gradient: CurricularMargin(node.M, node.MOMENTUM, gradient),
    "magface": lambda node, gradient: MagnitudeMargin(
        node.NORM_RANGE, node.M_RANGE, node.REGULARIZER, gradient
    ),
    "adaface": lambda node, gradient: QualityAdaptiveMargin(
        node.M, node.CONCENTRATION, node.MOMENTUM, gradient
    ),
}
"""Every margin by its ``MARGIN.NAME``, from its own node, which has that name in capitals, and from
``MARGIN.GRADIENT``."""


def build_margin(node: CfgNode) -> Margin | None:
    """Build the margin that ``MODEL.REID_HEAD.COSINE_SOFTMAX.MARGIN`` names; None for "none".

    Raises:
        ValueError: for an unknown name, or a setting out of its range.
    """
    if node.NAME == "none":
        return None
    if node.NAME not in MARGINS:
        raise ValueError(
            f"MODEL.REID_HEAD.COSINE_SOFTMAX.MARGIN.NAME is {node.NAME!r}; expected one of "
            f"{['none', *MARGINS]}"
        )
    return MARGINS[node.NAME](node[node.NAME.upper()], node.GRADIENT)


def _add_keys(head: CfgNode) -> None:
    cosine = head.COSINE_SOFTMAX = CfgNode()
    # Inverse temperature s and label smoothing (over all identities) of the softmax over cosines.
    cosine.SCALE = 30.0
    cosine.LABEL_SMOOTHING = 0.0
    # Weight vectors of each identity, of which the nearest counts, 1 or more (sub-center ArcFace:
    # published 3).
    cosine.SUB_CENTERS = 1
    # Weights of two penalties, 0 for none: the angle to the true identity, and less the mean angle
    # between its weight vector and the others'.
    cosine.INTRA = 0.0
    cosine.INTER = 0.0
    cosine.MARGIN = _margin_keys()

    partial_fc = head.PARTIAL_FC = CfgNode()
    # For very many identities (Partial FC). Share, 0 < share <= 1, of the identities that a batch
    # lacks which it is compared with in training, drawn anew each time; 1.0: all.
    partial_fc.SAMPLE_SHARE = 1.0
    # Whether the identities are divided over the processes (GPUs). The result is the same; each
    # process saves its own beside the checkpoints, and training resumes on as many processes.
    partial_fc.SHARDED = False


def _margin_keys() -> CfgNode:
    margin = CfgNode()
    # What is taken from the true identity's cosine in training: "none" or one of the names below,
    # whose settings stand in the node of that name.
    margin.NAME = "none"
    # Gradient of the true identity's logit: "exact", as in the papers, or "straight_through", as if
    # there were no margin. They are the same for "cosface".
    margin.GRADIENT = "exact"
    # "arcface": an angle m in radians is added, 0 <= m < pi/2.
    margin.ARCFACE = CfgNode({"M": 0.3})
    # "cosface": m is subtracted from the cosine itself, 0 <= m < 2.
    margin.COSFACE = CfgNode({"M": 0.25})
    # "sphereface": the angle is multiplied by m >= 1.
    margin.SPHEREFACE = CfgNode({"M": 1.35})
    # "combined": all three, cos(M1 theta + M2) - M3.
    margin.COMBINED = CfgNode({"M1": 1.0, "M2": 0.3, "M3": 0.2})
    # "curricularface": that of ArcFace, with hard negatives that count more as training goes on;
    # MOMENTUM is the share of the old moving average t that is kept, 0 <= MOMENTUM < 1.
    margin.CURRICULARFACE = CfgNode({"M": 0.3, "MOMENTUM": 0.99})
    # "magface": an angle, radians, that grows from the first to the second of M_RANGE with the
    # feature's length over NORM_RANGE, and the weight of the pull towards long features. The values
    # are the paper's, for faces and SCALE 64: choose NORM_RANGE for the head (a BNNeck on 128
    # channels gives lengths around sqrt(128) = 11), and a smaller weight with a smaller SCALE.
    margin.MAGFACE = CfgNode(
        {"NORM_RANGE": (10.0, 110.0), "M_RANGE": (0.45, 0.8), "REGULARIZER": 35.0}
    )
    # "adaface": 0 <= m < 1, between an angle of m and twice CosFace's as the feature's length
    # stands in the moving statistics of lengths: 1 / CONCENTRATION standard deviations from the
    # mean give either end; MOMENTUM is the share of the old statistics that is kept.
    margin.ADAFACE = CfgNode({"M": 0.4, "CONCENTRATION": 0.333, "MOMENTUM": 0.99})
    return margin


def _build(cfg: CfgNode, head: HeadSizes) -> nn.Module:
    settings = cfg.COSINE_SOFTMAX
    share, is_sharded = cfg.PARTIAL_FC.SAMPLE_SHARE, cfg.PARTIAL_FC.SHARDED
    kind: Callable[..., nn.Module] = CosineSoftmaxLoss
    if share != 1 or is_sharded:
        kind = partial(PartialFCLoss, sample_share=share, is_sharded=is_sharded)
    return kind(
        head.classified_dims,
        cfg.NUM_IDENTITIES,
        scale=settings.SCALE,
        margin=build_margin(settings.MARGIN),
        label_smoothing=settings.LABEL_SMOOTHING,
        sub_centers=settings.SUB_CENTERS,
        intra=settings.INTRA,
        inter=settings.INTER,
    )


_NODE = "MODEL.REID_HEAD.COSINE_SOFTMAX.MARGIN"


def _is_named(*names: str) -> Callable[[CfgNode], bool]:
    return lambda cfg: cfg.MODEL.REID_HEAD.COSINE_SOFTMAX.MARGIN.NAME in names


COSINE_SOFTMAX = LossKind(
    "COSINE_SOFTMAX",
    _build,
    apply_to_classified,
    _add_keys,
    also_reads=("LOGIT_ADJUSTMENT",),
    parts=(
        *(
            Reader(f"{_NODE}.NAME {name}", (f"{_NODE}.{name.upper()}",), _is_named(name))
            for name in MARGINS
        ),
        Reader(
            f"every {_NODE}.NAME but none and cosface",
            (f"{_NODE}.GRADIENT",),
            _is_named(*(name for name in MARGINS if name != "cosface")),
        ),
    ),
)
