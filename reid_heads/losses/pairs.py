"""Losses over all pairs of a batch: contrastive, hardest-negative triplet, multi-similarity.

Each compares anchors with candidates. The anchors are the first of the candidates; the others, if
any, are synthetic (``intra_class``). Rows have unit norm: distances are 0..2, cosines -1..1.

Letters: R anchors, C >= R candidates, d size of a feature.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_heads.labels import UNLABELED_PID

CompareRows = Callable[[Tensor, Tensor, int], Tensor]
"""From unit rows (C, d), ids (C,) and the number R of anchors to the mean over the anchors."""


def contrastive_loss(
    rows: Tensor, pids: Tensor, num_anchors: int, positive_margin: float, negative_margin: float
) -> Tensor:
    """Pull positives nearer than one margin and push negatives farther than another.

    For each anchor the sum over its positives of max(0, d - b_p) and over its negatives of max(0,
    b_n - d), d the Euclidean distance; the mean over the anchors (Fu et al., TMM 2022, equation 18,
    which sums over pairs, so that a larger batch has a larger loss).

    Args:
        rows: (C, d) float32 or float64, of unit norm, the anchors first.
        pids: (C,) int64, all labelled.
        num_anchors: R, at least 1.
        positive_margin: b_p, a distance, 0..2.
        negative_margin: b_n.

    Examples:
        >>> rows, pids = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([0, 0, 1])
        >>> contrastive_loss(
        ...     rows, pids, num_anchors=2, positive_margin=0.5, negative_margin=2.5
        ... )  # (0.5 + 0 + 0.5 + 0.5) / 2
        tensor(0.7500)
    """
    positive, negative = _pair_masks(pids, num_anchors)
    distances = _distances(rows, num_anchors)
    too_far = F.relu(distances - positive_margin) * positive
    too_near = F.relu(negative_margin - distances) * negative
    return (too_far + too_near).sum() / num_anchors


def hardest_negative_triplet_loss(
    rows: Tensor, pids: Tensor, num_anchors: int, margin: float
) -> Tensor:
    """Compare each positive of an anchor with the anchor's nearest negative.

    For each anchor the sum over its positives of max(0, m + d(a, p) - min d(a, n)), d the Euclidean
    distance; the mean over the anchors (Fu et al., TMM 2022, equation 19).

    Args:
        rows: (C, d) float32 or float64, of unit norm, the anchors first.
        pids: (C,) int64, all labelled.
        num_anchors: R, at least 1.
        margin: m >= 0, a distance.

    Returns:
        Scalar; an anchor without a positive or without a negative adds nothing.
    """
    positive, negative = _pair_masks(pids, num_anchors)
    distances = _distances(rows, num_anchors)
    nearest = distances.masked_fill(~negative, torch.inf).amin(dim=1)
    gaps = F.relu(distances + margin - nearest[:, None])
    return gaps.masked_fill(~positive, 0).sum() / num_anchors


def multi_similarity_loss(
    rows: Tensor,
    pids: Tensor,
    num_anchors: int,
    alpha: float,
    beta: float,
    threshold: float,
    mining: float,
) -> Tensor:
    """Weigh the hard pairs of each anchor by all of its similarities.

    Wang et al., CVPR 2019, as Fu et al., TMM 2022, equations 4 to 6 and 20, have it: log(1 + sum
    over P of exp(alpha (t - s))) / alpha + log(1 + sum over N of exp(beta (s - t))) / beta, s the
    cosine; the mean over the anchors. N are the negatives more similar than the least similar
    positive less eps, P the positives less similar than the most similar negative plus eps.

    Args:
        rows: (C, d) float32 or float64, of unit norm, the anchors first.
        pids: (C,) int64, all labelled.
        num_anchors: R, at least 1.
        alpha: of the positives, above 0.
        beta: of the negatives, above 0.
        threshold: t, a cosine.
        mining: eps, at least 0.

    Returns:
        Scalar; an anchor without a positive or without a negative, for which nothing can be mined,
        adds nothing.
    """
    positive, negative = _pair_masks(pids, num_anchors)
    cosines = rows[:num_anchors] @ rows.t()
    known = cosines.detach()
    least = known.masked_fill(~positive, torch.inf).amin(dim=1, keepdim=True)
    most = known.masked_fill(~negative, -torch.inf).amax(dim=1, keepdim=True)
    hard_positive = positive & (known < most + mining)
    hard_negative = negative & (known > least - mining)
    pulls = _log_one_plus_sum(alpha * (threshold - cosines), hard_positive) / alpha
    pushes = _log_one_plus_sum(beta * (cosines - threshold), hard_negative) / beta
    return (pulls + pushes).sum() / num_anchors


def _log_one_plus_sum(exponents: Tensor, mask: Tensor) -> Tensor:
    """Return log(1 + sum of exp over the masked columns), (R,)."""
    masked = exponents.masked_fill(~mask, -torch.inf)
    return torch.cat([torch.zeros_like(masked[:, :1]), masked], dim=1).logsumexp(dim=1)


def _pair_masks(pids: Tensor, num_anchors: int) -> tuple[Tensor, Tensor]:
    """Return which candidates are positives and which negatives of each anchor, (R, C) each."""
    same = pids[:num_anchors, None] == pids[None, :]
    itself = torch.eye(num_anchors, len(pids), dtype=torch.bool, device=pids.device)
    return same & ~itself, ~same


def _distances(rows: Tensor, num_anchors: int) -> Tensor:
    """Return the Euclidean distances (R, C); without gradient where they are 0."""
    # Differences, not |a|^2 + |b|^2 - 2ab, whose root loses the small distances.
    return torch.cdist(rows[:num_anchors], rows, compute_mode="donot_use_mm_for_euclid_dist")


class PairLoss(nn.Module):
    """A loss over pairs, the mean over several features of the same people.

    Examples:
        >>> loss = PairLoss(make_contrastive(positive_margin=0.0, negative_margin=0.5))
        >>> loss([torch.eye(3)], torch.tensor([0, 1, 2]))  # further apart than the margin
        tensor(0.)
    """

    def __init__(self, compare: CompareRows):
        """Keep what compares rows, such as a ``contrastive_loss`` with its margins given."""
        super().__init__()
        self.compare = compare

    def forward(self, features: Sequence[Tensor], pids: Tensor) -> Tensor:
        """Return the scalar loss.

        Over several processes each compares its own rows only, as is usual.

        Args:
            features: one or more, each (R, d), of any norm and float type: they are scaled to unit
                norm here, and compared in float32 or better.
            pids: (R,) int64; rows of ``UNLABELED_PID`` are ignored.

        Returns:
            Scalar. Zero, but still connected, without labelled rows.
        """
        return torch.stack(
            [self._of_one(i, feature, pids) for i, feature in enumerate(features)]
        ).mean()

    def _of_one(self, index: int, feature: Tensor, pids: Tensor) -> Tensor:
        labeled = pids != UNLABELED_PID
        pids = pids[labeled]
        with torch.autocast(pids.device.type, enabled=False):
            rows = feature[labeled].to(torch.promote_types(feature.dtype, torch.float32))
            if len(rows) == 0:
                return rows.sum() * 0.0
            rows = F.normalize(rows)
            return self.compare(*self.add_candidates(index, rows, pids), len(rows))

    def add_candidates(self, index: int, rows: Tensor, pids: Tensor) -> tuple[Tensor, Tensor]:
        """Return the candidates (C, d) of a feature and their ids: here the anchors alone.

        Args:
            index: number of the feature.
            rows: (R, d) anchors, of unit norm.
            pids: (R,), all labelled.
        """
        return rows, pids


def make_contrastive(positive_margin: float, negative_margin: float) -> CompareRows:
    """Return ``contrastive_loss`` with its margins.

    Raises:
        ValueError: unless 0 <= positive_margin <= 2 and 0 < negative_margin <= 2.
    """
    if not (0 <= positive_margin <= 2 and 0 < negative_margin <= 2):
        raise ValueError(
            f"the contrastive loss got the margins {positive_margin} and {negative_margin}; "
            "expected distances of unit vectors, 0..2 (MODEL.REID_HEAD.CONTRASTIVE)"
        )
    return partial(
        contrastive_loss, positive_margin=positive_margin, negative_margin=negative_margin
    )


def make_hardest_negative_triplet(margin: float) -> CompareRows:
    """Return ``hardest_negative_triplet_loss`` with its margin.

    Raises:
        ValueError: for a negative margin.
    """
    if margin < 0:
        raise ValueError(
            f"the triplet loss got margin={margin}; expected 0 or more "
            "(MODEL.REID_HEAD.HARDEST_NEGATIVE_TRIPLET.MARGIN)"
        )
    return partial(hardest_negative_triplet_loss, margin=margin)


def make_multi_similarity(
    alpha: float, beta: float, threshold: float, mining: float
) -> CompareRows:
    """Return ``multi_similarity_loss`` with its settings.

    Raises:
        ValueError: for a scale that is not positive, or a negative mining margin.
    """
    if alpha <= 0 or beta <= 0 or mining < 0:
        raise ValueError(
            f"the multi-similarity loss got alpha={alpha}, beta={beta}, mining={mining}; expected "
            "alpha > 0, beta > 0 and mining >= 0 (MODEL.REID_HEAD.MULTI_SIMILARITY)"
        )
    return partial(
        multi_similarity_loss, alpha=alpha, beta=beta, threshold=threshold, mining=mining
    )
