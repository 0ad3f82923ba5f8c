"""Mean and variance of each class, gathered batch by batch.

Letters: N rows, d size of a feature, P classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from reid_heads.distributed import gather_rows


class ClassMoments:
    """Count, mean and sum of squared deviations of each class, in float64.

    Batches are merged by the exact rule for joining two sets of samples (Chan, Golub and LeVeque,
    1979), so that no more than P x d numbers are kept, however many samples pass.

    Examples:
        >>> moments = ClassMoments(num_classes=2, dim=1)
        >>> moments.add(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1]))
        >>> moments.counts, moments.means.flatten()
        (tensor([2, 1]), tensor([2., 5.], dtype=torch.float64))
    """

    def __init__(self, num_classes: int, dim: int, device: torch.device | str = "cpu"):
        """Start empty, for P classes of rows of size d."""
        self.counts = torch.zeros(num_classes, dtype=torch.int64, device=device)
        self.means = torch.zeros(num_classes, dim, dtype=torch.float64, device=device)
        self.squares = torch.zeros_like(self.means)

    @torch.no_grad()
    def add(self, rows: Tensor, pids: Tensor) -> None:
        """Take up rows (N, d) of classes (N,), 0..P-1, in any order and number."""
        if len(rows) == 0:
            return
        rows = rows.detach().double()
        seen, place = torch.unique(pids, return_inverse=True)
        # A product instead of a scattered sum, whose order on a GPU differs between runs.
        member = F.one_hot(place, len(seen)).double()
        counts = member.sum(dim=0).long()
        means = member.t() @ rows / counts[:, None]
        squares = member.t() @ (rows - means[place]).square()
        self._merge(seen, counts, means, squares)

    def _merge(self, seen: Tensor, counts: Tensor, means: Tensor, squares: Tensor) -> None:
        before, after = self.counts[seen], self.counts[seen] + counts
        gap = means - self.means[seen]
        # Of classes that nobody has seen yet, 0 / 0.
        share = (counts.double() / after.clamp(min=1))[:, None]
        self.means[seen] += gap * share
        self.squares[seen] += squares + gap.square() * share * before[:, None]
        self.counts[seen] = after

    @property
    def variances(self) -> Tensor:
        """(P, d): the maximum likelihood estimates, which divide by the count; 0 of empty ones."""
        return self.squares / self.counts.clamp(min=1)[:, None]

    def merge_processes(self) -> None:
        """Join the moments of all processes, equal on each then. Every process must call this."""
        parts = [gather_rows(x[None]) for x in (self.counts, self.means, self.squares)]
        if len(parts[0]) == 1:
            return
        for total in (self.counts, self.means, self.squares):
            total.zero_()
        everyone = torch.arange(len(self.counts), device=self.counts.device)
        for counts, means, squares in zip(*parts, strict=True):
            self._merge(everyone, counts, means, squares)
