"""The losses over pairs as a config names them, and their intra-class augmentation."""

from collections.abc import Callable
from typing import Any

from detectron2.config import CfgNode
from torch import nn

from reid_heads.config_readers import Reader
from reid_heads.losses.intra_class import build_pair_loss
from reid_heads.losses.pairs import (
    CompareRows,
    make_contrastive,
    make_hardest_negative_triplet,
    make_multi_similarity,
)
from reid_heads.losses.registry import HeadSizes, LossKind, active_losses, apply_to_metric


def _pairs(
    name: str, make: Callable[..., CompareRows], add_keys: Callable[[CfgNode], None]
) -> LossKind:
    """Return the kind of a pair loss whose settings are the arguments of ``make``."""

    def build(cfg: CfgNode, head: HeadSizes) -> nn.Module:
        compare = make(**_lower(cfg[name]))
        augmentation = _lower(cfg.INTRA_CLASS)
        return build_pair_loss(compare, head.metric_dims, cfg.NUM_IDENTITIES, augmentation)

    return LossKind(name, build, apply_to_metric, add_keys)


def _lower(node: CfgNode) -> dict[str, Any]:
    return {key.lower(): value for key, value in node.items()}


def _add_contrastive_keys(head: CfgNode) -> None:
    # Euclidean distances of unit vectors, 0..2, that positives should stay below and negatives
    # above: cosines of 0.8 and 0.5, those of IAA's code.
    head.CONTRASTIVE = CfgNode({"POSITIVE_MARGIN": 0.63, "NEGATIVE_MARGIN": 1.0})


def _add_triplet_keys(head: CfgNode) -> None:
    # Margin of each positive's distance to the nearest negative's, of unit vectors; our choice.
    head.HARDEST_NEGATIVE_TRIPLET = CfgNode({"MARGIN": 0.3})


def _add_multi_similarity_keys(head: CfgNode) -> None:
    # Scales of positives and negatives, cosine from which both count, and how far (cosine) beyond
    # the hardest opposite a pair is still taken.
    head.MULTI_SIMILARITY = CfgNode({"ALPHA": 2.0, "BETA": 40.0, "THRESHOLD": 0.5, "MINING": 0.1})


PAIR_LOSSES = (
    _pairs("CONTRASTIVE", make_contrastive, _add_contrastive_keys),
    _pairs("HARDEST_NEGATIVE_TRIPLET", make_hardest_negative_triplet, _add_triplet_keys),
    _pairs("MULTI_SIMILARITY", make_multi_similarity, _add_multi_similarity_keys),
)


def add_intra_class_keys(head: CfgNode) -> None:
    """Add the settings of intra-class augmentation to ``MODEL.REID_HEAD``."""
    iaa = head.INTRA_CLASS = CfgNode()
    # Intra-class adaptive augmentation (arXiv 2211.16264) of the three: synthetic features around
    # each one, as wide as its identity varies in the training set. Crop ReID only. M, synthetic
    # features of each; 0: none. Published: 3.
    iaa.COPIES = 0
    # Factor of the variances, published 0.6 to 0.8 by data set.
    iaa.STRENGTH = 0.7
    # "corrected": the variances of identities with few crops are mended by those of similar ones;
    # "global": one set of variances for all; "own": each identity's as they are.
    iaa.COVARIANCE = "corrected"
    # Correction: similar identities K; beta, how fast it fades with the crops of an identity;
    # gamma, share of the global variances in it; identities with more crops than FEW have none;
    # widths of the Gaussians by which similar ones are weighed, in means and in variances.
    iaa.NEIGHBOURS = 25
    iaa.BETA = 0.1
    iaa.GAMMA = 0.1
    iaa.FEW = 40
    iaa.MEAN_SCALE = 1.0
    iaa.VARIANCE_SCALE = 1.0
    # Whether these widths are shares of an identity's own distances to its K neighbours (their root
    # mean square) rather than distances: at 1, the published distance, those of unit vectors all
    # weigh the same.
    iaa.RELATIVE_SCALES = False
    # Whether each further synthetic feature takes the root of the deviations of the one before, as
    # the published code does; the paper draws all with the same.
    iaa.REPEATED_ROOT = False
    # Epochs (of SOLVER.REID.ITERATIONS_PER_EPOCH, or the sampler's) without augmentation at the
    # start, and between estimates: each is a pass over the training set.
    iaa.START_EPOCH = 0
    iaa.UPDATE_EPOCHS = 4


_NAMES = tuple(kind.name for kind in PAIR_LOSSES)


def _has_pair_loss_of_crops(cfg: CfgNode) -> bool:
    # The estimates are made by the trainer of crops.
    return cfg.MODEL.META_ARCHITECTURE == "CropReID" and not set(_NAMES).isdisjoint(
        active_losses(cfg)
    )


INTRA_CLASS_READERS = (
    Reader(
        f"one of MODEL.REID_HEAD.LOSSES {', '.join(_NAMES)} in crop ReID",
        ("MODEL.REID_HEAD.INTRA_CLASS.COPIES",),
        _has_pair_loss_of_crops,
    ),
    Reader(
        "MODEL.REID_HEAD.INTRA_CLASS.COPIES above 0",
        ("MODEL.REID_HEAD.INTRA_CLASS",),
        lambda cfg: cfg.MODEL.REID_HEAD.INTRA_CLASS.COPIES > 0,
    ),
)
