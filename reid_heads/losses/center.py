"""Center loss.

Letters: R rows, B labelled rows of all processes, d size of a feature, P identities.
"""

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from torch import Tensor, nn

from reid_heads.distributed import gather_rows
from reid_heads.losses.labeled_rows import check_num_identities, labeled_rows, mean_over_rows
from reid_heads.losses.registry import Batch, HeadSizes, LossKind


class CenterLoss(nn.Module):
    """Pull each feature towards the center of its identity, which follows the features.

    Wen et al., ECCV 2016, as in the released code of Bag of Tricks (Luo et al., CVPRW 2019):
    L = sum_i |f_i - c_{y_i}|^2 / B. The paper's equation, as we recall it, has a factor 1/2 that
    this code has not.

    The published recipe trains the centers by an optimizer of their own, SGD with rate 0.5 and no
    momentum, whose gradients are first multiplied by 1 / beta, beta the weight of the loss: beta
    (5e-4) slows the network's pull but not the centers. The same step is done here in closed form,
    c <- c - rate dL/dc, on a buffer, after the loss and in training only. So neither the loss's
    weight nor the loss scale of mixed precision nor gradient clipping can touch it, and the state
    resumes from a checkpoint exactly.

    Over several processes every rank must call ``forward``, with zero rows too: differences are
    gathered from all ranks before the update, so that the centers stay equal (detectron2 does not
    broadcast buffers), and the loss is divided by the labelled rows of all ranks.

    Examples:
        >>> loss = CenterLoss(num_identities=2, dim=4)
        >>> loss(torch.zeros(3, 4, requires_grad=True), torch.tensor([0, 1, 1])).shape
        torch.Size([])
    """

    centers: Tensor

    def __init__(self, num_identities: int, dim: int, learning_rate: float = 0.5):
        """Draw centers from N(0, 1).

        Args:
            num_identities: P, at least 1. Person ids are 0..P-1.
            dim: d.
            learning_rate: of the centers, > 0.

        Raises:
            ValueError: if a value is out of its range.
        """
        super().__init__()
        check_num_identities(num_identities)
        if learning_rate <= 0:
            raise ValueError(
                f"CenterLoss got learning_rate={learning_rate}; expected a value above 0 "
                "(MODEL.REID_HEAD.CENTER.LEARNING_RATE)"
            )
        self.learning_rate = learning_rate
        # A generator of its own: detectron2 seeds each process differently and does not send
        # buffers, so that drawn from the global one the processes' centers would differ.
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("centers", torch.randn(num_identities, dim, generator=generator))

    def forward(self, features: Tensor, pids: Tensor) -> Tensor:
        """Return the loss, and move the centers when training.

        Args:
            features: (R, d), not normalised, any float type; computed in the centers' type.
            pids: (R,) int64, 0..P-1 or ``UNLABELED_PID``, whose rows are ignored.

        Returns:
            Scalar. Without labelled rows it is zero but still connected.

        Raises:
            ValueError: for an id out of range.
        """
        labeled = labeled_rows(pids, len(self.centers))
        pids = pids[labeled]
        with torch.autocast(pids.device.type, enabled=False):
            differences = features[labeled].to(self.centers.dtype) - self.centers[pids]
            num_rows = torch.tensor(len(pids), device=pids.device)
            loss = mean_over_rows(differences.square().sum(), num_rows)
            if self.training:
                self._update(gather_rows(differences.detach()), gather_rows(pids))
        return loss

    @torch.no_grad()
    def _update(self, differences: Tensor, pids: Tensor) -> None:
        if len(pids) == 0:
            return
        seen, place = torch.unique(pids, return_inverse=True)
        # A product instead of a scattered sum, whose order on a GPU differs between processes.
        sums = F.one_hot(place, len(seen)).to(differences.dtype).t() @ differences
        # dL/dc = -2 / B * sum of the differences of the identity's rows.
        self.centers[seen] += self.learning_rate * 2 / len(pids) * sums


def _add_keys(head: CfgNode) -> None:
    # Rate of the centers' own SGD, which the loss's weight does not scale.
    head.CENTER = CfgNode({"LEARNING_RATE": 0.5})


def _build(cfg: CfgNode, head: HeadSizes) -> nn.Module:
    return nn.ModuleList(
        CenterLoss(cfg.NUM_IDENTITIES, dim, cfg.CENTER.LEARNING_RATE) for dim in head.metric_dims
    )


def _apply(losses: nn.Module, batch: Batch) -> Tensor:
    assert isinstance(losses, nn.ModuleList)
    pairs = zip(losses, batch.features.metric, strict=True)
    return torch.stack([loss(rows, batch.pids) for loss, rows in pairs]).mean()


CENTER = LossKind("CENTER", _build, _apply, _add_keys)
