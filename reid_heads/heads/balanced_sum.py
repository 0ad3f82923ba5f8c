"""A sum of losses whose scales are balanced and whose weights are learned.

Zabihzadeh, Alitbi and Mousavirad, "Ensemble of Loss Functions to Improve Generalizability of Deep
Metric Learning methods", arXiv 2107.01130, MTAP 2023; see ``losses.ensemble``. It stands apart
because a head with an embedding for each loss compares by the same weights.

Letter: K losses.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reid_heads.distributed import mean_over_processes

# A loss's running mean is taken as at least this in the ratio, which a loss that has gone to 0
# would let grow without bound.
_MIN_MEAN = 1e-6
# Smallest initial coefficient: at 0 its gradient would be 0 for ever.
_MIN_COEFFICIENT = 1e-3


class BalancedSum(nn.Module):
    """Sum losses on one scale, with learned weights.

    Each loss l_j is brought to the mean scale of all, l'_j = l_j (mean of lbar) / lbar_j (equation
    8), lbar_j the mean of l_j over all batches so far, this one too; the factors carry no gradient.
    The sum is L = sum_j w_j l'_j + eta (sum_j w_j - 1)^2 with w_j = c_j^2 + a (equation 11): the
    c_j are learned, a is the least weight, and the penalty keeps the sum of the weights near 1.

    Losses should not be negative. The running means are buffers; at evaluation they stay. Over
    several processes they are those of all; every rank must call ``forward``. Train the
    coefficients with Adam, as the authors do: under plain SGD the penalty wants a rate below about
    1 / (4 eta).
    """

    means: Tensor
    steps: Tensor

    def __init__(
        self,
        num_losses: int,
        prior: Sequence[float] = (),
        min_weight: float | None = None,
        penalty: float = 1e4,
    ):
        """Start at the prior weights.

        Args:
            num_losses: K, at least 1.
            prior: K relative weights above 0, of any sum; () for equal ones. A share below the
                least weight starts just above that (the authors' code gives NaN there).
            min_weight: a, at least 0 and below 1 / K; None is the published 1 / (4 K).
            penalty: eta, at least 0.

        Raises:
            ValueError: if a value is out of its range.
        """
        super().__init__()
        self.min_weight = 1 / (4 * max(num_losses, 1)) if min_weight is None else min_weight
        prior = tuple(prior) or (1.0,) * num_losses
        if num_losses < 1 or len(prior) != num_losses or min(prior) <= 0:
            raise ValueError(
                f"got {num_losses} losses with the prior weights {prior}; expected one loss at "
                "least, and a weight above 0 for each (MODEL.REID_HEAD.ENSEMBLE.PRIOR)"
            )
        if not 0 <= self.min_weight < 1 / num_losses or penalty < 0:
            raise ValueError(
                f"got min_weight={self.min_weight}, penalty={penalty} for {num_losses} losses; "
                f"expected 0 <= min_weight < {1 / num_losses:.3g} and penalty >= 0 "
                "(MODEL.REID_HEAD.ENSEMBLE)"
            )
        self.penalty = penalty
        shares = torch.tensor(prior) / sum(prior)
        roots = (shares - self.min_weight).clamp(min=_MIN_COEFFICIENT**2).sqrt()
        self.coefficients = nn.Parameter(roots)
        self.register_buffer("means", torch.zeros(num_losses))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def weights(self) -> Tensor:
        """(K,), what each balanced loss counts: c^2 + a."""
        return self.coefficients.square() + self.min_weight

    def forward(self, losses: Sequence[Tensor]) -> Tensor:
        """Return the scalar sum of K scalar losses; in training take up their running means."""
        if len(losses) != len(self.coefficients):
            raise ValueError(f"got {len(losses)} losses; expected {len(self.coefficients)}")
        values = torch.stack([loss.to(self.means.dtype) for loss in losses])
        if self.training:
            self._update(mean_over_processes(values.detach()))
        weights = self.weights
        penalty = self.penalty * (weights.sum() - 1).square()
        result: Tensor = (weights * self.scales() * values).sum() + penalty
        return result

    def scales(self) -> Tensor:
        """Return the factors (K,) that bring the losses to one scale; 1 before the first batch."""
        if int(self.steps) == 0:
            return torch.ones_like(self.means)
        means = self.means.clamp(min=_MIN_MEAN)
        return means.mean() / means

    @torch.no_grad()
    def _update(self, values: Tensor) -> None:
        self.steps += 1
        self.means += (values - self.means) / self.steps
