"""Hetero-center triplet loss: triplets of the centers of identities in each modality.

Letters: R rows, d size of a feature, P identities in the batch.
"""

from collections.abc import Sequence

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from reid_heads.losses.modality_groups import ModalityGroups, apply_across_modalities
from reid_heads.losses.registry import HeadSizes, LossKind
from reid_heads.losses.triplet import batch_hard_triplet_loss


def hetero_center_triplet_loss(
    features: Tensor, pids: Tensor, modalities: Tensor, margin: float | None
) -> Tensor:
    """Compare each center with its own identity's other one and the nearest of anybody else.

    Liu, Tan and Zhou, "Parameter Sharing Exploration and Hetero-Center Triplet Loss for
    Visible-Thermal Person Re-Identification" (2020), which MMD-ReID (BMVC 2021) builds on: a
    batch's rows of an identity in a modality are replaced by their mean; the 2P centers go through
    the batch-hard triplet loss with Euclidean distances. Groups may differ in size.

    Over several processes each compares its own identities.

    Args:
        features: (R, d), any float type, not normalised; computed in float32 or better.
        pids: (R,) int64; rows of ``UNLABELED_PID`` are ignored.
        modalities: (R,) int64, ``VISIBLE`` or ``THERMAL``.
        margin: m >= 0, in the unit of the features; None is the soft margin.

    Returns:
        Scalar; zero, but still connected, with fewer than two identities.

    Raises:
        ValueError: if an identity has one modality only.
    """
    groups = ModalityGroups.of_labeled(pids, modalities)
    with torch.autocast(pids.device.type, enabled=False):
        rows = features[groups.rows].to(torch.promote_types(features.dtype, torch.float32))
        place = groups.numbers + groups.count * groups.modalities
        size = (2 * groups.count, rows.shape[1])
        sums = rows.new_zeros(size).index_add(0, place, rows)
        counts = torch.bincount(place, minlength=size[0])
        centers = sums / counts[:, None].to(rows.dtype)
        # Without a row there is no center, and the sum keeps the connection.
        if not len(centers):
            return rows.sum() * 0.0
        return batch_hard_triplet_loss(centers, groups.pids.repeat(2), margin)


class HeteroCenterTripletLoss(nn.Module):
    """The mean of ``hetero_center_triplet_loss`` over several features of the same people.

    Examples:
        >>> loss = HeteroCenterTripletLoss(margin=0.3)
        >>> pids, modalities = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
        >>> loss([torch.tensor([[0.0], [0.0], [9.0], [9.0]])], pids, modalities)
        tensor(0.)
    """

    def __init__(self, margin: float | None = 0.3):
        """Keep the margin.

        Args:
            margin: 0 or more; None is the soft margin.

        Raises:
            ValueError: for a negative margin.
        """
        super().__init__()
        if margin is not None and margin < 0:
            raise ValueError(
                f"HeteroCenterTripletLoss got margin={margin}; expected 0 or more "
                "(MODEL.REID_HEAD.HETERO_CENTER_TRIPLET.MARGIN)"
            )
        self.margin = margin

    def forward(self, features: Sequence[Tensor], pids: Tensor, modalities: Tensor) -> Tensor:
        """Return the scalar loss of one or more features, each (R, d)."""
        losses = [
            hetero_center_triplet_loss(feature, pids, modalities, self.margin)
            for feature in features
        ]
        return torch.stack(losses).mean()


def _add_keys(head: CfgNode) -> None:
    # Margin of the triplet loss on the centers of each identity in each modality.
    head.HETERO_CENTER_TRIPLET = CfgNode({"MARGIN": 0.3})


def _build(cfg: CfgNode, head: HeadSizes) -> nn.Module:
    return HeteroCenterTripletLoss(cfg.HETERO_CENTER_TRIPLET.MARGIN)


HETERO_CENTER_TRIPLET = LossKind(
    "HETERO_CENTER_TRIPLET", _build, apply_across_modalities, _add_keys, needs=("modalities",)
)
