"""Losses within each training set of several, and their mean over the sets of a batch.

Two people of different sets differ in light and camera too, which is easier to tell than people
are. A classifier for each set, and triplets within each, leave that shortcut out.

Letters: R rows, d size of a feature, P identities, S training sets (domains).
"""

import itertools
from collections.abc import Sequence

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from reid_heads.distributed import mean_over_processes
from reid_heads.losses.labeled_rows import labeled_rows
from reid_heads.losses.registry import HeadSizes, LossKind, apply_to_metric
from reid_heads.losses.softmax import SoftmaxLoss
from reid_heads.losses.triplet import TripletLoss


class DomainSoftmaxLoss(nn.Module):
    """Softmax over the identities of a row's own training set, the mean over the sets present.

    The "local" classifiers of SVIL (Chen et al., arXiv 2209.05235), as in its authors' code: one
    bias-free classifier a set, and the mean of the sets' mean losses, however many rows each has.
    A set is present where it has a labelled row in any process. Label smoothing spreads eps over
    the identities of the set.

    Over several processes every rank must call ``forward``, with zero rows too.
    """

    def __init__(
        self,
        in_dims: Sequence[int],
        domain_identities: Sequence[int],
        label_smoothing: float = 0.0,
        smoothing_over: str = "all",
    ):
        """Make the classifiers, which start as those of ``SoftmaxLoss``.

        Args:
            in_dims: d of each feature, at least one.
            domain_identities: identities of each of the S sets; person ids go on from one set to
                the next.
            label_smoothing: eps; see ``SoftmaxLoss``.
            smoothing_over: see ``SoftmaxLoss``.

        Raises:
            ValueError: if a value is out of its range.
        """
        super().__init__()
        self.bounds = _bounds(domain_identities)
        self.domains = nn.ModuleList(
            SoftmaxLoss(in_dims, count, label_smoothing, smoothing_over)
            for count in domain_identities
        )

    def forward(self, features: Sequence[Tensor], pids: Tensor) -> Tensor:
        """Return the mean over the sets present of the mean over a set's rows and the features.

        Args:
            features: each (R, d).
            pids: (R,) int64, 0..P-1 or ``UNLABELED_PID``, whose rows are ignored.

        Returns:
            Scalar. Without labelled rows it is zero but still connected, to every classifier too.

        Raises:
            ValueError: for an id out of range.
        """
        losses, counts = [], []
        for (first, rows), loss in zip(
            _rows_by_domain(pids, self.bounds), self.domains, strict=True
        ):
            losses.append(loss([feature[rows] for feature in features], pids[rows] - first))
            counts.append(rows.sum())
        present = mean_over_processes(torch.stack(counts).to(losses[0].dtype)) > 0
        # A set without rows has a loss of zero.
        return torch.stack(losses).sum() / present.sum().clamp(min=1)


class DomainTripletLoss(nn.Module):
    """Batch-hard triplets within each training set, the mean over the sets present.

    As ``TripletLoss``, over several processes each searches its own rows only.
    """

    def __init__(self, domain_identities: Sequence[int], margin: float | None = 0.3):
        """Keep the sets and the margin.

        Args:
            domain_identities: identities of each of the S sets.
            margin: see ``TripletLoss``.

        Raises:
            ValueError: if a value is out of its range.
        """
        super().__init__()
        self.bounds = _bounds(domain_identities)
        self.triplet = TripletLoss(margin)

    def forward(self, features: Sequence[Tensor], pids: Tensor) -> Tensor:
        """Return the scalar loss of features, each (R, d), and pids (R,).

        A set with labelled rows of one identity only is present, with loss zero. Without labelled
        rows the loss is zero but still connected.

        Raises:
            ValueError: for an id out of range.
        """
        losses, present = [], []
        for _, rows in _rows_by_domain(pids, self.bounds):
            losses.append(self.triplet([feature[rows] for feature in features], pids[rows]))
            present.append(rows.any())
        return torch.stack(losses).sum() / torch.stack(present).sum().clamp(min=1)


def check_domain_identities(domain_identities: Sequence[int], num_identities: int) -> None:
    """Raise a ValueError if the sets' identities do not add up to ``num_identities``."""
    if sum(domain_identities) != num_identities:
        raise ValueError(
            f"MODEL.REID_HEAD.DOMAIN_IDENTITIES is {tuple(domain_identities)}, which is "
            f"{sum(domain_identities)} in all, but MODEL.REID_HEAD.NUM_IDENTITIES is "
            f"{num_identities}; give the number of identities of each set of DATASETS.TRAIN"
        )


def _bounds(domain_identities: Sequence[int]) -> tuple[int, ...]:
    """Return where the ids of each set begin, and where the last one's end: S + 1 numbers."""
    if not domain_identities or min(domain_identities) < 1:
        raise ValueError(
            f"got domain_identities={tuple(domain_identities)}; set "
            "MODEL.REID_HEAD.DOMAIN_IDENTITIES to the number of identities of each set of "
            "DATASETS.TRAIN"
        )
    bounds = [0]
    for count in domain_identities:
        bounds.append(bounds[-1] + count)
    return tuple(bounds)


def _rows_by_domain(pids: Tensor, bounds: tuple[int, ...]) -> list[tuple[int, Tensor]]:
    """Return for each set its first id and which rows are of it, bool (R,)."""
    labeled_rows(pids, bounds[-1])
    return [(first, (pids >= first) & (pids < end)) for first, end in itertools.pairwise(bounds)]


def _build_softmax(cfg: CfgNode, head: HeadSizes) -> nn.Module:
    check_domain_identities(cfg.DOMAIN_IDENTITIES, cfg.NUM_IDENTITIES)
    return DomainSoftmaxLoss(
        head.classified_dims,
        cfg.DOMAIN_IDENTITIES,
        label_smoothing=cfg.SOFTMAX.LABEL_SMOOTHING,
        smoothing_over=cfg.SOFTMAX.SMOOTHING_OVER,
    )


def _build_triplet(cfg: CfgNode, head: HeadSizes) -> nn.Module:
    check_domain_identities(cfg.DOMAIN_IDENTITIES, cfg.NUM_IDENTITIES)
    return DomainTripletLoss(cfg.DOMAIN_IDENTITIES, cfg.TRIPLET.MARGIN)


# With the settings of SOFTMAX and TRIPLET.
DOMAIN_SOFTMAX = LossKind(
    "DOMAIN_SOFTMAX",
    _build_softmax,
    lambda loss, x: loss(x.features.classified, x.pids),
    also_reads=("DOMAIN_IDENTITIES", "SOFTMAX"),
    needs=("domains",),
)
DOMAIN_TRIPLET = LossKind(
    "DOMAIN_TRIPLET",
    _build_triplet,
    apply_to_metric,
    also_reads=("DOMAIN_IDENTITIES", "TRIPLET"),
    needs=("domains",),
)
