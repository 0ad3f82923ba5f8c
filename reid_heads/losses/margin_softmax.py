"""Softmax over cosines, without or with a margin, with one or several weight vectors an identity.

Letters: R rows, d size of a feature, P identities, K sub-centers of an identity.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_heads.losses.labeled_rows import check_num_identities, labeled_rows
from reid_heads.losses.softmax import check_label_smoothing, make_weights, mean_cross_entropy


class CosineSoftmaxLoss(nn.Module):
    """Classify each feature by the angle to its identity's weight vector.

    The logit of identity c is s cos(theta_c), theta_c the angle between the feature and weight
    vector c. A margin makes the true identity's smaller while training: ``AdditiveAngularMargin``
    gives ArcFace, ``AdditiveCosineMargin`` CosFace. With K > 1 an identity has K weight vectors, of
    which the nearest one counts, before the margin: sub-center ArcFace (Deng et al., ECCV 2020), so
    that wrongly labelled boxes may gather around a vector of their own.

    Without a margin this is the discriminative part of "Joint Discriminative and Metric Embedding
    Learning for Person Re-Identification" (Sabri, Randhawa and Doretto, arXiv 2212.14107, 2022): a
    loss of the normalised feature has no gradient along the feature and one across it that shrinks
    with the feature's norm, and a batch-hard triplet loss on the feature as it is stands in for
    what is missing. Its abstract fixes that pairing, the further attribute heads, and that the
    margin is no longer needed then. The scale s, the weights of the losses, the initial values and
    everything else that the abstract does not say are our choice.

    Over several processes every rank must call ``forward``, with zero rows too: the loss is divided
    by the labelled rows of all ranks.
    """

    def __init__(
        self,
        in_dims: Sequence[int],
        num_identities: int,
        scale: float,
        margin: nn.Module | None = None,
        label_smoothing: float = 0.0,
        sub_centers: int = 1,
    ):
        """Make K weight vectors an identity for each feature.

        Args:
            in_dims: d of each feature, at least one.
            num_identities: P, at least 1. Person ids are 0..P-1.
            scale: s > 0, the inverse temperature.
            margin: changes the cosines (R, P) of people with ids (R,); None leaves them. See
                ``reid_heads/losses/margins.py``.
            label_smoothing: probability mass spread evenly over all P identities, in [0, 1).
            sub_centers: K, at least 1.

        Raises:
            ValueError: if a value is out of its range.
            TypeError: if the margin is a number.
        """
        super().__init__()
        if margin is not None and not isinstance(margin, nn.Module):
            raise TypeError(
                f"CosineSoftmaxLoss got margin={margin!r}; expected a module of "
                "reid_heads.losses.margins such as AdditiveAngularMargin(0.3), or None"
            )
        if scale <= 0 or sub_centers < 1:
            raise ValueError(
                f"CosineSoftmaxLoss got scale={scale}, sub_centers={sub_centers}; expected "
                "scale > 0 and sub_centers >= 1; see MODEL.REID_HEAD.COSINE_SOFTMAX, ARCFACE, "
                "COSFACE and SUBCENTER_ARCFACE"
            )
        check_num_identities(num_identities)
        check_label_smoothing(label_smoothing)
        self.num_identities = num_identities
        self.scale = scale
        self.margin = margin
        self.label_smoothing = label_smoothing
        self.sub_centers = sub_centers
        # Only directions count; the length sets how fast the first steps turn them. The rows of
        # identity c are c K .. c K + K - 1.
        self.weights = make_weights(in_dims, num_identities * sub_centers, std=0.01)

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
            Scalar. Without labelled rows it is zero but still connected.

        Raises:
            ValueError: for an id out of range.
        """
        labeled = labeled_rows(pids, self.num_identities)
        pids = pids[labeled]
        with torch.autocast(pids.device.type, enabled=False):
            logits = [
                self._logits(feature[labeled].to(weight.dtype), weight, pids)
                for feature, weight in zip(features, self.weights, strict=True)
            ]
            return mean_cross_entropy(logits, pids, self.label_smoothing, logit_offsets)

    def _logits(self, rows: Tensor, weight: Tensor, pids: Tensor) -> Tensor:
        cosines = F.linear(F.normalize(rows), F.normalize(weight))
        if self.sub_centers > 1:
            of_each = cosines.view(len(rows), self.num_identities, self.sub_centers)
            cosines = of_each.amax(dim=2)
        if self.margin is not None:
            cosines = self.margin(cosines, pids)
        return self.scale * cosines
