"""Softmax over cosines, without or with a margin, with one or several weight vectors an identity.

Letters: R rows, d size of a feature, P identities, K sub-centers of an identity.
"""

import copy
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_heads.distributed import gather_rows
from reid_heads.losses.labeled_rows import check_num_identities, labeled_rows, mean_over_rows
from reid_heads.losses.margins import Margin, angles_of
from reid_heads.losses.softmax import check_label_smoothing, make_weights, mean_cross_entropy


class CosineSoftmaxLoss(nn.Module):
    """Classify each feature by the angle to its identity's weight vector.

    The logit of identity c is s cos(theta_c), theta_c the angle between the feature and weight
    vector c. A margin makes the true identity's smaller while training: ``AdditiveAngularMargin``
    gives ArcFace, ``AdditiveCosineMargin`` CosFace; ``margins.py`` and ``adaptive_margins.py`` have
    the others. With K > 1 an identity has K weight vectors, of which the nearest one counts, before
    the margin: sub-center ArcFace (Deng et al., ECCV 2020), so that wrongly labelled boxes may
    gather around a vector of their own.

    Without a margin this is the discriminative part of "Joint Discriminative and Metric Embedding
    Learning for Person Re-Identification" (Sabri, Randhawa and Doretto, arXiv 2212.14107, 2022): a
    loss of the normalised feature has no gradient along the feature and one across it that shrinks
    with the feature's norm, and a batch-hard triplet loss on the feature as it is stands in for
    what is missing. Its abstract fixes that pairing, the further attribute heads, and that the
    margin is no longer needed then. The scale s, the weights of the losses, the initial values and
    everything else that the abstract does not say are our choice.

    Two penalties may be added (Deng et al., TPAMI 2022): the angle to the true identity (intra,
    equation 5) and less the mean angle from its weight vector to all others (inter, equation 6).

    Over several processes every rank must call ``forward``, with zero rows too: the loss is divided
    by the labelled rows of all ranks, and what a margin keeps is taken from the rows of all ranks.

    Examples:
        >>> import torch
        >>> from reid_heads.losses.margins import AdditiveAngularMargin
        >>> arcface = CosineSoftmaxLoss((8,), 3, scale=30.0, margin=AdditiveAngularMargin(0.3))
        >>> loss = arcface([torch.ones(4, 8, requires_grad=True)], torch.tensor([0, 1, 2, 2]))
        >>> loss.shape, loss.requires_grad
        (torch.Size([]), True)
    """

    def __init__(
        self,
        in_dims: Sequence[int],
        num_identities: int,
        *,
        scale: float,
        margin: Margin | None = None,
        label_smoothing: float = 0.0,
        sub_centers: int = 1,
        intra: float = 0.0,
        inter: float = 0.0,
        held_identities: int | None = None,
    ):
        """Make K weight vectors an identity for each feature.

        Args:
            in_dims: d of each feature, at least one.
            num_identities: P, at least 1. Person ids are 0..P-1.
            scale: s > 0, the inverse temperature.
            margin: takes from the cosines (R, P) of people with ids (R,); None leaves them. Each
                feature has a copy of its own, as what it keeps is of that feature.
            label_smoothing: probability mass spread evenly over all P identities, in [0, 1).
            sub_centers: K, at least 1.
            intra: weight of the penalty theta_y / pi, at least 0.
            inter: weight of the penalty -sum of the angles between W_y and W_j / (pi (P - 1)), at
                least 0; above 0 only with K = 1, as the paper has it for one vector an identity.
            held_identities: identities whose weight vectors are made here; None for all P. For
                classes that are divided over processes.

        Raises:
            ValueError: if a value is out of its range.
            TypeError: if the margin is a number.
        """
        super().__init__()
        if margin is not None and not isinstance(margin, Margin):
            raise TypeError(
                f"CosineSoftmaxLoss got margin={margin!r}; expected a module of "
                "reid_heads.losses.margins such as AdditiveAngularMargin(0.3), or None"
            )
        if scale <= 0 or sub_centers < 1:
            raise ValueError(
                f"CosineSoftmaxLoss got scale={scale}, sub_centers={sub_centers}; expected "
                "scale > 0 and sub_centers >= 1; see MODEL.REID_HEAD.COSINE_SOFTMAX.SCALE and "
                "SUB_CENTERS"
            )
        _check_penalties(intra, inter, sub_centers)
        check_num_identities(num_identities)
        check_label_smoothing(label_smoothing)
        self.num_identities = num_identities
        self.scale = scale
        self.label_smoothing = label_smoothing
        self.sub_centers = sub_centers
        self.intra, self.inter = intra, inter
        # Only directions count; the length sets how fast the first steps turn them. The rows of
        # identity c are c K .. c K + K - 1.
        held = num_identities if held_identities is None else held_identities
        self.weights = make_weights(in_dims, held * sub_centers, std=0.01)
        self.margins = nn.ModuleList(
            [] if margin is None else [margin, *(copy.deepcopy(margin) for _ in in_dims[1:])]
        )

    @property
    def margin(self) -> Margin | None:
        """The margin, that of the first feature; None for none."""
        return self.margin_of(0)

    def margin_of(self, place: int) -> Margin | None:
        """Return the margin of the feature with this number; None for none."""
        if not self.margins:
            return None
        margin = self.margins[place]
        assert isinstance(margin, Margin)
        return margin

    def forward(
        self, features: Sequence[Tensor], pids: Tensor, logit_offsets: Tensor | None = None
    ) -> Tensor:
        """Return the mean of the cross-entropies over the labelled rows and the features.

        Args:
            features: each (R, d), not normalised, any float type; the loss is computed in the
                weights' type.
            pids: (R,) int64, 0..P-1 or ``UNLABELED_PID``, whose rows are ignored.
            logit_offsets: (P,), added to the logits; see ``LogitAdjustment``.

        Returns:
            Scalar, the penalties included. Without labelled rows it is zero but still connected.

        Raises:
            ValueError: for an id out of range.
        """
        labeled = labeled_rows(pids, self.num_identities)
        with torch.autocast(pids.device.type, enabled=False):
            rows = [
                feature[labeled].to(weight.dtype)
                for feature, weight in zip(features, self.weights, strict=True)
            ]
            return self._loss(rows, list(self.weights), pids[labeled], logit_offsets)

    def _loss(
        self,
        rows: Sequence[Tensor],
        weights: Sequence[Tensor],
        pids: Tensor,
        logit_offsets: Tensor | None,
    ) -> Tensor:
        """Return the loss of labelled rows, each (R, d), over the classes of ``weights``."""
        cosines = [self._cosines(x, w) for x, w in zip(rows, weights, strict=True)]
        logits = [
            self._logits(x, cosine, pids, self.margin_of(place))
            for place, (x, cosine) in enumerate(zip(rows, cosines, strict=True))
        ]
        loss = mean_cross_entropy(logits, pids, self.label_smoothing, logit_offsets)
        if not self._has_penalties():
            return loss
        penalties = [
            self._penalties(lengths(x), cosine.gather(1, pids[:, None]), self.margin_of(place))
            for place, (x, cosine) in enumerate(zip(rows, cosines, strict=True))
        ]
        if self.inter > 0:
            penalties += [self.inter * inter_penalty(weight, pids) for weight in weights]
        total = torch.stack([p.sum() for p in penalties]).sum() / len(rows)
        return loss + mean_over_rows(total, torch.tensor(len(pids), device=pids.device))

    def _cosines(self, rows: Tensor, weight: Tensor) -> Tensor:
        """Return the cosines (R, C) with the nearest vectors of the C classes of a weight."""
        cosines = F.linear(F.normalize(rows), F.normalize(weight))
        if self.sub_centers > 1:
            num_classes = len(weight) // self.sub_centers
            cosines = cosines.view(len(rows), num_classes, self.sub_centers).amax(dim=2)
        return cosines

    def _logits(self, rows: Tensor, cosines: Tensor, pids: Tensor, margin: Margin | None) -> Tensor:
        if margin is not None:
            norms = lengths(rows)
            if self.training and margin.needs_statistics:
                target = cosines.detach().gather(1, pids[:, None])
                margin.observe(gather_rows(target), gather_rows(norms.detach()))
            cosines = margin(cosines, pids, norms)
        return self.scale * cosines

    def _has_penalties(self) -> bool:
        margin = self.margin
        return self.intra > 0 or self.inter > 0 or (margin is not None and margin.has_penalty)

    def _penalties(self, norms: Tensor, target: Tensor, margin: Margin | None) -> Tensor:
        """Return the penalties (R,) of rows with lengths (R, 1) and true cosines (R, 1)."""
        penalties = self.intra * angles_of(target[:, 0]) / math.pi
        return penalties if margin is None else penalties + margin.penalty(norms)


def lengths(rows: Tensor) -> Tensor:
    """Return the lengths (R, 1) of rows (R, d)."""
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return norms


def inter_penalty(weight: Tensor, pids: Tensor) -> Tensor:
    """Return -sum_j angle(W_y, W_j) / (pi (P - 1)) over the others j of each row's identity y (R,).

    Zero where there is one identity only.

    Args:
        weight: (P, d).
        pids: (R,) int64, 0..P-1.
    """
    unit = F.normalize(weight)
    angles = angles_of(F.linear(unit[pids], unit))
    is_other = torch.ones_like(angles).scatter(1, pids[:, None], 0.0)
    return -(angles * is_other).sum(dim=1) / (math.pi * max(len(weight) - 1, 1))


def _check_penalties(intra: float, inter: float, sub_centers: int) -> None:
    if not (0 <= intra < math.inf and 0 <= inter < math.inf):
        raise ValueError(
            f"CosineSoftmaxLoss got intra={intra}, inter={inter}; expected 0 (none) or more; see "
            "MODEL.REID_HEAD.COSINE_SOFTMAX.INTRA and INTER"
        )
    if inter > 0 and sub_centers > 1:
        raise ValueError(
            f"CosineSoftmaxLoss got inter={inter} with sub_centers={sub_centers}; the penalty on "
            "the angles between identities is defined for one weight vector an identity"
        )
