"""Softmax cross-entropy over identities, with label smoothing.

Letters: R rows, d size of a feature, P identities.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from torch import Tensor, nn

from reid_heads.losses.labeled_rows import check_num_identities, labeled_rows, mean_over_rows
from reid_heads.losses.registry import HeadSizes, LossKind, apply_to_classified

SMOOTHING_OVER = ("all", "others")


class SoftmaxLoss(nn.Module):
    """Classify each feature by a linear classifier of its own, without bias.

    The ID loss of Bag of Tricks (Luo et al., CVPRW 2019) with one feature, of MGN (Wang et al., ACM
    MM 2018) with eight. There is no bias, so that the classes differ by direction as they do in the
    cosine of retrieval. The classifiers are part of the loss and take no part at test.

    Over several processes every rank must call ``forward``, with zero rows too: the loss is divided
    by the labelled rows of all ranks.

    Examples:
        >>> loss = SoftmaxLoss(in_dims=(8, 16), num_identities=3, label_smoothing=0.1)
        >>> features = [torch.zeros(4, 8), torch.zeros(4, 16)]
        >>> round(loss(features, torch.tensor([0, 1, 2, 2])).item(), 4)  # the logarithm of 3
        1.0986
    """

    def __init__(
        self,
        in_dims: Sequence[int],
        num_identities: int,
        label_smoothing: float = 0.0,
        smoothing_over: str = "all",
    ):
        """Make the classifiers, their weights drawn from N(0, 0.001) as in Bag of Tricks' code.

        Args:
            in_dims: d of each feature, at least one.
            num_identities: P, at least 1. Person ids are 0..P-1.
            label_smoothing: eps, the probability mass taken from the true identity, in [0, 1).
            smoothing_over: who gets it. "all": q = (1 - eps) onehot + eps / P for all P identities
                (Szegedy et al., CVPR 2016; Bag of Tricks, torchreid). "others": 1 - eps for the
                true one and eps / (P - 1) for each wrong one (fast-reid).

        Raises:
            ValueError: if a value is out of its range.
        """
        super().__init__()
        self.num_identities = num_identities
        self.weights = make_weights(in_dims, num_identities, std=0.001)
        self.label_smoothing = _mass_over_all(label_smoothing, smoothing_over, num_identities)

    def forward(
        self, features: Sequence[Tensor], pids: Tensor, logit_offsets: Tensor | None = None
    ) -> Tensor:
        """Return the mean of the cross-entropies over the labelled rows and the features.

        Args:
            features: each (R, d), any float type; the loss is computed in the weights' type.
            pids: (R,) int64, 0..P-1 or ``UNLABELED_PID``, whose rows are ignored.
            logit_offsets: (P,), added to the logits; see ``LogitAdjustment``.

        Returns:
            Scalar. Without labelled rows it is zero but still connected.

        Raises:
            ValueError: for an id out of range.
        """
        labeled = labeled_rows(pids, self.num_identities)
        with torch.autocast(pids.device.type, enabled=False):
            logits = [
                F.linear(feature[labeled].to(weight.dtype), weight)
                for feature, weight in zip(features, self.weights, strict=True)
            ]
            return mean_cross_entropy(logits, pids[labeled], self.label_smoothing, logit_offsets)


def make_weights(in_dims: Sequence[int], num_identities: int, std: float) -> nn.ParameterList:
    """Draw the weights (P, d) of one bias-free linear classifier a feature from N(0, std).

    Raises:
        ValueError: without features or identities.
    """
    check_num_identities(num_identities)
    if not in_dims:
        raise ValueError("got no feature to classify; expected the sizes of one or more in in_dims")
    return nn.ParameterList(torch.randn(num_identities, dim) * std for dim in in_dims)


def mean_cross_entropy(
    logits: Sequence[Tensor],
    pids: Tensor,
    label_smoothing: float,
    logit_offsets: Tensor | None = None,
) -> Tensor:
    """Return the mean cross-entropy over rows and features.

    Args:
        logits: each (R, P), one a feature.
        pids: (R,), 0..P-1.
        label_smoothing: mass spread evenly over all P identities.
        logit_offsets: (P,), added to the logits of every row; None for none.
    """
    if logit_offsets is not None:
        logits = [x + logit_offsets.to(x.dtype) for x in logits]
    losses = [
        F.cross_entropy(x, pids, reduction="sum", label_smoothing=label_smoothing) for x in logits
    ]
    total = torch.stack(losses).mean()
    return mean_over_rows(total, torch.tensor(len(pids), device=pids.device))


def _mass_over_all(eps: float, smoothing_over: str, num_identities: int) -> float:
    """Translate eps to the mass that, spread over all identities, gives the same distribution."""
    if smoothing_over not in SMOOTHING_OVER:
        raise ValueError(
            f"got smoothing_over={smoothing_over!r}; expected one of {list(SMOOTHING_OVER)} "
            "(MODEL.REID_HEAD.SOFTMAX.SMOOTHING_OVER)"
        )
    check_label_smoothing(eps)
    if smoothing_over == "all" or num_identities == 1:
        return eps
    # Each wrong one gets eps / (P - 1) = mass / P, the true one 1 - mass + mass / P = 1 - eps.
    mass = eps * num_identities / (num_identities - 1)
    if mass > 1:
        raise ValueError(
            f"got label_smoothing={eps} over the others of {num_identities} identities: a wrong "
            "one would weigh more than the true one; use a smaller value"
        )
    return mass


def check_label_smoothing(eps: float) -> None:
    """Raise a ValueError for a label smoothing outside [0, 1)."""
    if not 0 <= eps < 1:
        raise ValueError(f"got label_smoothing={eps}; expected 0 <= label_smoothing < 1")


def _add_keys(head: CfgNode) -> None:
    softmax = head.SOFTMAX = CfgNode()
    # Probability mass eps taken from the true identity, 0 <= eps < 1; 0 is plain cross-entropy.
    softmax.LABEL_SMOOTHING = 0.0
    # Who gets it: "all", eps/C to each of the C identities (Bag of Tricks, torchreid); "others",
    # eps/(C-1) to each wrong one (fast-reid).
    softmax.SMOOTHING_OVER = "all"


def _build(cfg: CfgNode, head: HeadSizes) -> nn.Module:
    return SoftmaxLoss(
        head.classified_dims,
        cfg.NUM_IDENTITIES,
        label_smoothing=cfg.SOFTMAX.LABEL_SMOOTHING,
        smoothing_over=cfg.SOFTMAX.SMOOTHING_OVER,
    )


SOFTMAX = LossKind(
    "SOFTMAX", _build, apply_to_classified, _add_keys, also_reads=("LOGIT_ADJUSTMENT",)
)
