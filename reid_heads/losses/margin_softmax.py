"""Softmax over cosines, with or without an additive angular margin.

Letters: R rows, d size of a feature, P identities.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_heads.losses.labeled_rows import labeled_rows
from reid_heads.losses.softmax import check_label_smoothing, make_weights, mean_cross_entropy

# Cosines closer to +-1 than this give the sine no gradient, which is infinite there. In float32 the
# sine is noise below about 5e-4 anyway; this cuts it at 1.4e-3.
_COSINE_EPS = 1e-6


class CosineSoftmaxLoss(nn.Module):
    """Classify each feature by the angle to its identity's weight vector.

    The logit of identity c is s cos(theta_c), theta_c the angle between the feature and weight
    vector c; the true identity's is s cos(theta + m), the additive angular margin of ArcFace (Deng
    et al., CVPR 2019, equation 3).

    This is the discriminative part of "Joint Discriminative and Metric Embedding Learning for
    Person Re-Identification" (Sabri, Randhawa and Doretto, arXiv 2212.14107, 2022): a loss of the
    normalised feature has no gradient along the feature and one across it that shrinks with the
    feature's norm, and a batch-hard triplet loss on the feature as it is stands in for what is
    missing. Its abstract fixes that pairing, the further attribute heads, and that the margin is no
    longer needed then (m = 0 here by default). The scale s, the weights of the losses, the initial
    values and everything else that the abstract does not say are our choice.

    Over several processes every rank must call ``forward``, with zero rows too: the loss is divided
    by the labelled rows of all ranks.
    """

    def __init__(
        self,
        in_dims: Sequence[int],
        num_identities: int,
        scale: float,
        margin: float,
        label_smoothing: float = 0.0,
    ):
        """Make one weight vector an identity for each feature.

        Args:
            in_dims: d of each feature, at least one.
            num_identities: P, at least 1. Person ids are 0..P-1.
            scale: s > 0, the inverse temperature.
            margin: m in radians, in [0, pi / 2); 0 is the plain softmax over cosines.
            label_smoothing: probability mass spread evenly over all P identities, in [0, 1).

        Raises:
            ValueError: if a value is out of its range.
        """
        super().__init__()
        if scale <= 0 or not 0 <= margin < math.pi / 2:
            raise ValueError(
                f"CosineSoftmaxLoss got scale={scale}, margin={margin}; expected scale > 0 and "
                "0 <= margin < pi / 2 (radians); see MODEL.REID_HEAD.COSINE_SOFTMAX"
            )
        check_label_smoothing(label_smoothing)
        self.num_identities = num_identities
        self.scale = scale
        self.margin = margin
        self.label_smoothing = label_smoothing
        # Only directions count; the length sets how fast the first steps turn them.
        self.weights = make_weights(in_dims, num_identities, std=0.01)

    def forward(self, features: Sequence[Tensor], pids: Tensor) -> Tensor:
        """Return the mean of the cross-entropies over the labelled rows and the features.

        Args:
            features: each (R, d), not normalised, any float type; the loss is computed in the
                weights' type.
            pids: (R,) int64, 0..P-1 or ``UNLABELED_PID``, whose rows are ignored.

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
            return mean_cross_entropy(logits, pids, self.label_smoothing)

    def _logits(self, rows: Tensor, weight: Tensor, pids: Tensor) -> Tensor:
        cosines = F.linear(F.normalize(rows), F.normalize(weight))
        if self.margin > 0:
            columns = pids[:, None]
            target = add_angular_margin(cosines.gather(1, columns), self.margin)
            cosines = cosines.scatter(1, columns, target)
        return self.scale * cosines


def add_angular_margin(cosines: Tensor, margin: float) -> Tensor:
    """Return cos(theta + m) of cos(theta), continued so that it falls all the way to theta = pi.

    Past theta = pi - m the cosine of the sum would rise again and reward a worse angle. From there
    it goes on as cos(theta) + cos(m) - 1, which joins it without a jump at -1 and has slope 1 in
    cos(theta). ArcFace's paper leaves this open; its released code, as we recall it, goes on as
    cos(theta) - m sin(m), which falls too but jumps.

    Args:
        cosines: any shape, -1..1 up to rounding.
        margin: m in radians, in [0, pi / 2).

    Returns:
        The shape of ``cosines``. The gradient is finite at +-1 too.
    """
    limit = 1 - _COSINE_EPS
    sines = (1 - cosines.clamp(-limit, limit).square()).sqrt()
    shifted = cosines * math.cos(margin) - sines * math.sin(margin)
    continued = cosines + (math.cos(margin) - 1)
    return torch.where(cosines > -math.cos(margin), shifted, continued)
