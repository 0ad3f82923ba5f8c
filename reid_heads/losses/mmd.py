"""Maximum mean discrepancy between the features of two modalities.

Letters: R rows, d size of a feature, P identities in the batch.
"""

from collections.abc import Callable, Sequence

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from reid_heads.labels import UNLABELED_PID
from reid_heads.losses.labeled_rows import mean_over_rows
from reid_heads.losses.modality_groups import ModalityGroups, apply_across_modalities
from reid_heads.losses.registry import HeadSizes, LossKind

NUM_KERNELS = 5
"""Gaussians whose sum is the kernel, each twice as wide as the one before."""

# Keeps a kernel of equal rows, whose bandwidth is 0, from dividing by it.
_MIN_BANDWIDTH = 1e-9


def squared_mmd_by_group(features: Tensor, groups: Tensor, modalities: Tensor) -> Tensor:
    """Return MMD^2 between the two modalities within each group of rows.

    Jambigi, Rawal and Chakraborty, MMD-ReID, BMVC 2021, as its published code has it: for the rows
    V and T of a group, MMD^2 = mean k(V, V) + mean k(T, T) - 2 mean k(V, T), the biased estimate
    with the diagonals, between 0 and 2 ``NUM_KERNELS``. The kernel is a sum of Gaussians, k(a, b)
    = sum over i of exp(-|a - b|^2 / (2^i w)); w is a quarter of the mean squared distance between
    different rows of the group and carries no gradient.

    Args:
        features: (R, d) float32 or float64, not normalised.
        groups: (R,) int64, 0..P-1, none left out.
        modalities: (R,), ``VISIBLE`` or ``THERMAL``; each group has both.

    Returns:
        (P,), of the features' type.
    """
    same = groups[:, None] == groups[None, :]
    # Not |a|^2 + |b|^2 - 2ab, which loses the small distances of long features.
    distances = torch.cdist(
        features, features, compute_mode="donot_use_mm_for_euclid_dist"
    ).square()
    bandwidths = _bandwidths(distances.detach(), same)[:, None]
    kernel = torch.stack(
        [(-distances / (bandwidths * 2**i + _MIN_BANDWIDTH)).exp() for i in range(NUM_KERNELS)]
    ).sum(dim=0)
    # With +1/|V| for each row of V and -1/|T| for each of T, MMD^2 is one quadratic form.
    of_both = same & (modalities[:, None] == modalities[None, :])
    signs = 1 - 2 * modalities.to(features.dtype)
    weights = signs / of_both.sum(dim=1)
    pairs = kernel * same * weights[:, None] * weights[None, :]
    num_groups = int(groups.max()) + 1
    by_group: Tensor = pairs.new_zeros(num_groups).index_add(0, groups, pairs.sum(dim=1))
    return by_group


def _bandwidths(distances: Tensor, same: Tensor) -> Tensor:
    """Return for each row (R,) the narrowest kernel's bandwidth of its group."""
    rows = distances.masked_fill(~same, 0).sum(dim=1)
    total, count = (same * rows).sum(dim=1), same.sum(dim=1)
    widths: Tensor = total / (count * (count - 1)).clamp(min=1) / 2 ** (NUM_KERNELS // 2)
    return widths


class MarginMMDLoss(nn.Module):
    """The MMD between the modalities of each identity, where it is above a margin (MMD-ID).

    Jambigi et al., BMVC 2021: aligning the modalities of an identity, not those of the whole batch,
    and only as far as a margin, keeps the features from collapsing. An identity above the margin
    adds its MMD^2 as it is, another one nothing: the gradient is that of the hinge max(MMD^2 -
    margin, 0), which the published code replaces so.

    Examples:
        >>> pids, modalities = torch.tensor([0, 0, 0, 0]), torch.tensor([0, 0, 1, 1])
        >>> alike = torch.tensor([[0.0], [1.0]] * 2)
        >>> apart = torch.tensor([[0.0], [0.1], [9.0], [9.1]])
        >>> loss = MarginMMDLoss(margin=1.4)
        >>> [round(loss([rows], pids, modalities).item(), 1) for rows in (alike, apart)]
        [0.0, 7.1]
    """

    def __init__(self, margin: float = 1.4):
        """Keep the margin.

        Args:
            margin: on MMD^2, at least 0; 1.4 is what the published code has for SYSU-MM01.

        Raises:
            ValueError: if it is negative.
        """
        super().__init__()
        if margin < 0:
            raise ValueError(
                f"MarginMMDLoss got margin={margin}; expected 0 or more "
                "(MODEL.REID_HEAD.MMD_ID.MARGIN)"
            )
        self.margin = margin

    def forward(self, features: Sequence[Tensor], pids: Tensor, modalities: Tensor) -> Tensor:
        """Return the mean over the identities of the batch, and over the features.

        Args:
            features: each (R, d), any float type; computed in float32 or better.
            pids: (R,) int64; rows of ``UNLABELED_PID`` are ignored.
            modalities: (R,).

        Returns:
            Scalar; zero, but still connected, without labelled rows. Over several processes each
            has whole identities, and every one must call this.

        Raises:
            ValueError: if an identity has one modality only.
        """
        return _mean_over_features(features, pids, modalities, self._of_groups)

    def _of_groups(self, rows: Tensor, groups: ModalityGroups) -> Tensor:
        values = squared_mmd_by_group(rows, groups.numbers, groups.modalities)
        return values * (values > self.margin)


class MarginalMMDLoss(nn.Module):
    """The MMD between the modalities of the whole batch, whoever is in it.

    The ablation of Jambigi et al., BMVC 2021: the same kernel, no margin. Over several processes
    each compares its own rows.

    Examples:
        >>> loss = MarginalMMDLoss()
        >>> rows = torch.tensor([[0.0], [1.0], [0.0], [1.0]])
        >>> round(loss([rows], torch.tensor([0, 1, 2, 3]), torch.tensor([0, 0, 1, 1])).item(), 6)
        0.0
    """

    def forward(self, features: Sequence[Tensor], pids: Tensor, modalities: Tensor) -> Tensor:
        """Return the mean over the features; arguments and result as in ``MarginMMDLoss``.

        Raises:
            ValueError: if the batch has one modality only.
        """
        # One group: identities do not matter, but unlabelled rows stay out as everywhere.
        together = torch.where(pids == UNLABELED_PID, pids, 0)
        return _mean_over_features(
            features,
            together,
            modalities,
            lambda rows, groups: squared_mmd_by_group(rows, groups.numbers, groups.modalities),
        )


def _mean_over_features(
    features: Sequence[Tensor],
    pids: Tensor,
    modalities: Tensor,
    of_groups: Callable[[Tensor, ModalityGroups], Tensor],
) -> Tensor:
    """Average ``of_groups(rows, groups)``, (P,), over groups, processes and features."""
    groups = ModalityGroups.of_labeled(pids, modalities)
    with torch.autocast(pids.device.type, enabled=False):
        totals = []
        for feature in features:
            rows = feature[groups.rows].to(torch.promote_types(feature.dtype, torch.float32))
            totals.append(of_groups(rows, groups).sum() if len(rows) else rows.sum())
        count = torch.tensor(groups.count, device=pids.device)
        return mean_over_rows(torch.stack(totals).mean(), count)


def _add_keys(head: CfgNode) -> None:
    # Margin on the squared discrepancy (0..10) of an identity's two modalities, below which it is
    # left alone. MMD, of the whole batch, has no setting.
    head.MMD_ID = CfgNode({"MARGIN": 1.4})


def _build(cfg: CfgNode, head: HeadSizes) -> nn.Module:
    return MarginMMDLoss(cfg.MMD_ID.MARGIN)


MMD_ID = LossKind("MMD_ID", _build, apply_across_modalities, _add_keys, needs=("modalities",))
MMD = LossKind(
    "MMD", lambda cfg, head: MarginalMMDLoss(), apply_across_modalities, needs=("modalities",)
)
