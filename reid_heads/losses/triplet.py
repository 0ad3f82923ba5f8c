"""Batch-hard triplet loss.

Letters: R rows, d size of a feature.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from torch import Tensor, nn

from reid_heads.labels import UNLABELED_PID
from reid_heads.losses.registry import HeadSizes, LossKind, apply_to_metric

# Below this a distance counts as this and has no gradient, which is undefined at 0.
_MIN_DISTANCE = 1e-6


def batch_hard_triplet_loss(embeddings: Tensor, pids: Tensor, margin: float | None) -> Tensor:
    """Compare each anchor's farthest positive with its nearest negative in the batch.

    Hermans, Beyer and Leibe, arXiv 1703.07737, 2017, equation 5, as the mean over the anchors of
    max(0, m + d(a, p) - d(a, n)), d the Euclidean distance of the features as given: they are not
    normalised here, so that the loss has a gradient along a feature too. As in Bag of Tricks (Luo
    et al., CVPRW 2019) the anchor is one of its own positives; with two images an identity or more
    that changes nothing, and an identity seen once is still pushed away from its negatives.

    Over several processes each searches its own rows only, as is usual: no row crosses processes.

    Args:
        embeddings: (R, d), any float type; the loss is computed in float32 or better.
        pids: (R,) int64; rows of ``UNLABELED_PID`` are ignored.
        margin: m >= 0, in the unit of the features; None is the soft margin
            log(1 + exp(d(a, p) - d(a, n))).

    Returns:
        Scalar. Zero, but still connected to ``embeddings``, where no anchor has a negative: no
        labelled row, or one identity only.

    Examples:
        >>> rows = torch.tensor([[0.0], [1.0], [3.0], [5.0]])
        >>> pids = torch.tensor([0, 0, 1, 1])
        >>> batch_hard_triplet_loss(rows, pids, margin=2.0)  # (0 + 1 + 2 + 0) / 4
        tensor(0.7500)
    """
    labeled = pids != UNLABELED_PID
    with torch.autocast(pids.device.type, enabled=False):
        rows = embeddings[labeled].to(torch.promote_types(embeddings.dtype, torch.float32))
        mined = _hardest_pairs(rows.detach(), pids[labeled])
        if mined is None:
            return rows.sum() * 0.0
        positive, negative = mined
        gap = _distances(rows, rows[positive]) - _distances(rows, rows[negative])
        return (F.softplus(gap) if margin is None else F.relu(gap + margin)).mean()


def _hardest_pairs(rows: Tensor, pids: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return the row numbers (R,) of each anchor's positive and negative; None without negatives.

    With two identities or more, each anchor has a negative. Of equally hard rows the first is
    taken.
    """
    same = pids[:, None] == pids[None, :]
    if bool(same.all()):
        return None
    # Differences, not |a|^2 + |b|^2 - 2ab, which loses the small distances of long features.
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    positive = distances.masked_fill(~same, -torch.inf).argmax(dim=1)
    negative = distances.masked_fill(same, torch.inf).argmin(dim=1)
    return positive, negative


def _distances(first: Tensor, second: Tensor) -> Tensor:
    """Return the Euclidean distance (R,) of each row to its partner."""
    return (first - second).square().sum(dim=1).clamp(min=_MIN_DISTANCE**2).sqrt()


class TripletLoss(nn.Module):
    """The mean of ``batch_hard_triplet_loss`` over several features of the same people.

    Examples:
        >>> loss = TripletLoss(margin=0.3)
        >>> loss([torch.zeros(4, 8), torch.zeros(4, 16)], torch.tensor([0, 0, 1, 1]))
        tensor(0.3000)
    """

    def __init__(self, margin: float | None = 0.3):
        """Keep the margin.

        Args:
            margin: 0 or more; None is the soft margin. Bag of Tricks has 0.3, MGN 1.2.

        Raises:
            ValueError: for a negative margin.
        """
        super().__init__()
        if margin is not None and margin < 0:
            raise ValueError(
                f"TripletLoss got margin={margin}; expected 0 or more "
                "(MODEL.REID_HEAD.TRIPLET.MARGIN)"
            )
        self.margin = margin

    def forward(self, features: Sequence[Tensor], pids: Tensor) -> Tensor:
        """Return the scalar loss of one or more features, each (R, d), and pids (R,)."""
        losses = [batch_hard_triplet_loss(feature, pids, self.margin) for feature in features]
        return torch.stack(losses).mean()


def _add_keys(head: CfgNode) -> None:
    # Margin of the batch-hard triplet loss on Euclidean distances.
    head.TRIPLET = CfgNode({"MARGIN": 0.3})


def _build(cfg: CfgNode, head: HeadSizes) -> nn.Module:
    return TripletLoss(cfg.TRIPLET.MARGIN)


TRIPLET = LossKind("TRIPLET", _build, apply_to_metric, _add_keys)
