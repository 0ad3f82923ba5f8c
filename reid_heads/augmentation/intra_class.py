"""Synthetic embeddings around real ones, as wide as their class varies (IAA).

Fu, Zheren et al., "Intra-class Adaptive Augmentation with Neighbor Correction for Deep Metric
Learning", IEEE TMM 2022, arXiv 2211.16264.

Letters: R rows, M synthetic rows of each, d size of a feature, P classes, K neighbours of a class.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_heads.augmentation.class_moments import ClassMoments

COVARIANCES = ("corrected", "global", "own")
# Classes whose distances to all others are computed at a time.
_CHUNK = 256


@dataclass(frozen=True)
class IntraClassSettings:
    """The settings of ``MODEL.REID_HEAD.INTRA_CLASS``, the paper's values where it gives one.

    Raises:
        ValueError: if a value is out of its range.
    """

    copies: int = 3
    """M, at least 1."""
    strength: float = 0.7
    """lambda, factor of the variances, at least 0. Published: 0.6 to 0.8, by data set."""
    covariance: str = "corrected"
    """"corrected" by neighbours (equation 15), "global", or the class's "own"."""
    neighbours: int = 25
    """K, at least 1; all other classes where there are fewer."""
    beta: float = 0.1
    """How fast the correction fades with the samples of a class, at least 0."""
    gamma: float = 0.1
    """Share of the global variances in the correction, 0..1."""
    few: int = 40
    """tau: classes with more samples are not corrected."""
    mean_scale: float = 1.0
    """sigma_m, above 0."""
    variance_scale: float = 1.0
    """sigma_cv, above 0."""
    relative_scales: bool = False
    """Whether the two sigmas are shares of a class's own distances to its K neighbours (their root
    mean square) rather than distances."""
    repeated_root: bool = False
    """Whether each copy takes the root of the one before's deviations, as the authors' code."""

    def __post_init__(self) -> None:
        if self.covariance not in COVARIANCES:
            raise ValueError(
                f"MODEL.REID_HEAD.INTRA_CLASS.COVARIANCE is {self.covariance!r}; expected one of "
                f"{list(COVARIANCES)}"
            )
        if (
            min(self.copies, self.neighbours) < 1
            or min(self.strength, self.beta) < 0
            or not 0 <= self.gamma <= 1
            or min(self.mean_scale, self.variance_scale) <= 0
        ):
            raise ValueError(
                f"MODEL.REID_HEAD.INTRA_CLASS is {self}; expected copies and neighbours of 1 or "
                "more, strength and beta of 0 or more, gamma in 0..1, scales above 0"
            )


def correct_variances(
    means: Tensor, variances: Tensor, counts: Tensor, settings: IntraClassSettings
) -> Tensor:
    """Mend the variances of classes with few samples by those of classes alike (equation 15).

    (1 - alpha) V_k + alpha ((1 - gamma) V_neighbours + gamma V_global), with

    - V_global = sum n_i V_i / sum n_i over all classes (equation 14),
    - V_neighbours the same over the K classes i != k whose squared means (element by element) are
      nearest to those of k, with n_i exp(-|m_i^2 - m_k^2|^2 / 2 sigma_m^2 - |V_i - V_k|^2 / 2
      sigma_cv^2) for n_i (equations 11 to 13); with ``relative_scales`` both sigmas are times the
      root mean square of those K distances, ours: the squared means of unit rows lie so close that
      sigma = 1 tells no neighbour from another,
    - alpha = 1 / (1 + log(1 + beta (n_k - 1))), and 0 for more than tau samples (equation 16).

    A class with one sample has no variance of its own; its alpha is 1, so that it takes all from
    its neighbours and the whole set. This follows the paper where the authors' code departs from
    it: that never calls its correction, takes a running mix of estimates, scales the distances of a
    class to all others to 0..1 (those of the means by a range that holds the 1e12 put on the
    diagonal, so that they become 0), and leaves classes with one sample out of the neighbours.

    Args:
        means: (P, d) float64.
        variances: (P, d) float64, maximum likelihood estimates.
        counts: (P,) int64, at least 1 each.
        settings: of the correction.

    Returns:
        (P, d) float64.
    """
    weights = counts.double()
    of_all = (weights @ variances / weights.sum())[None]
    if settings.covariance == "own":
        return variances
    if settings.covariance == "global":
        return of_all.expand_as(variances)
    alpha = 1 / (1 + torch.log(1 + settings.beta * (weights - 1)))
    alpha = torch.where(counts <= settings.few, alpha, 0)[:, None]
    rows = torch.arange(len(counts), device=counts.device)
    of_alike = torch.cat(
        [
            _neighbour_variances(rows[i : i + _CHUNK], means, variances, weights, settings)
            for i in range(0, len(rows), _CHUNK)
        ]
    )
    mended = (1 - settings.gamma) * of_alike + settings.gamma * of_all
    return (1 - alpha) * variances + alpha * mended


def _neighbour_variances(
    chunk: Tensor, means: Tensor, variances: Tensor, counts: Tensor, settings: IntraClassSettings
) -> Tensor:
    """Return V_neighbours (len(chunk), d) of the classes of a chunk."""
    if len(means) == 1:
        return variances[chunk]
    weights, index = weigh_neighbours(chunk, means, variances, counts, settings)
    # A full (chunk, P) matrix rather than (chunk, K, d) gathered rows.
    matrix = weights.new_zeros(len(chunk), len(means)).scatter_(1, index, weights)
    return matrix @ variances


def weigh_neighbours(
    chunk: Tensor, means: Tensor, variances: Tensor, counts: Tensor, settings: IntraClassSettings
) -> tuple[Tensor, Tensor]:
    """Find the classes nearest to each of some, and what each counts (equations 11 and 12).

    Args:
        chunk: (C,) int64, the classes to find neighbours of.
        means: (P, d) float64, of all classes, two at least.
        variances: (P, d) float64.
        counts: (P,) float64, n.
        settings: of the correction.

    Returns:
        The weights (C, K), which sum to 1 in each row, and the classes (C, K) int64, nearest first;
        K is P - 1 where there are fewer others.
    """
    number = min(settings.neighbours, len(means) - 1)
    squared = means.square()
    mode = "donot_use_mm_for_euclid_dist"
    distances = torch.cdist(squared[chunk], squared, compute_mode=mode)
    distances.scatter_(1, chunk[:, None], torch.inf)
    nearest, index = distances.topk(number, dim=1, largest=False)
    gaps = torch.cdist(variances[chunk], variances, compute_mode=mode).gather(1, index)
    if settings.relative_scales:
        nearest, gaps = _relative(nearest), _relative(gaps)
    exponents = -nearest.square() / (2 * settings.mean_scale**2)
    exponents = exponents - gaps.square() / (2 * settings.variance_scale**2)
    # As a softmax: the weights are divided by their sum, which may be too small for a number.
    return (exponents + counts[index].log()).softmax(dim=1), index


def _relative(distances: Tensor) -> Tensor:
    """Divide each row of distances by its root mean square; rows of zeros stay."""
    scale = distances.square().mean(dim=1, keepdim=True).sqrt()
    return distances / scale.clamp(min=torch.finfo(distances.dtype).tiny)


class IntraClassGaussians(nn.Module):
    """A diagonal Gaussian for each class, and rows drawn around given ones.

    All of it is in buffers: training resumes exactly. Memory is P x d.

    Examples:
        >>> settings = IntraClassSettings(copies=4, covariance="own")
        >>> gaussians = IntraClassGaussians(2, 3, settings)
        >>> pids = torch.tensor([0, 0, 1, 1])
        >>> moments = ClassMoments(2, dim=3)
        >>> moments.add(torch.eye(4)[:, :3], pids)
        >>> gaussians.update(moments)
        >>> gaussians.draw(F.normalize(torch.ones(4, 3)), pids).shape
        torch.Size([16, 3])
    """

    counts: Tensor
    means: Tensor
    variances: Tensor
    corrected: Tensor

    def __init__(self, num_classes: int, dim: int, settings: IntraClassSettings):
        """Make Gaussians that are not estimated yet.

        Args:
            num_classes: P.
            dim: d.
            settings: checked.
        """
        super().__init__()
        self.settings = settings
        self.register_buffer("counts", torch.zeros(num_classes, dtype=torch.int64))
        for name in ("means", "variances", "corrected"):
            self.register_buffer(name, torch.zeros(num_classes, dim))

    @property
    def is_estimated(self) -> bool:
        """Whether ``update`` was called, maybe before a checkpoint."""
        return bool(self.counts.any())

    @torch.no_grad()
    def update(self, moments: ClassMoments) -> None:
        """Estimate anew from the moments of the training set's unit rows.

        Raises:
            ValueError: if a class has no sample.
        """
        empty = (moments.counts == 0).nonzero()[:, 0].tolist()
        if empty:
            raise ValueError(
                f"{len(empty)} of {len(moments.counts)} identities, {empty[:5]} among them, have "
                "no crop to estimate their variation from; MODEL.REID_HEAD.NUM_IDENTITIES must be "
                "those of the training set"
            )
        variances = moments.variances
        self.counts.copy_(moments.counts)
        self.means.copy_(moments.means)
        self.variances.copy_(variances)
        self.corrected.copy_(
            correct_variances(moments.means, variances, moments.counts, self.settings)
        )

    def draw(self, rows: Tensor, pids: Tensor) -> Tensor:
        """Draw M rows around each row from N(row, lambda V) of its class (equation 17).

        With ``repeated_root`` the m-th copy's deviations are sqrt(lambda) V^(1/2^m), as the
        authors' code has it: of variances below 1, each copy is noisier than the one before.

        Args:
            rows: (R, d) of unit norm. Gradients flow through to them.
            pids: (R,) int64, 0..P-1.

        Returns:
            (M R, d) of unit norm again, the first copy of every row first. Noise comes from torch's
            global generator.
        """
        noise = torch.randn(
            (self.settings.copies, *rows.shape), dtype=rows.dtype, device=rows.device
        )
        deviations = self._deviations(pids).to(rows.dtype)
        return F.normalize((rows + noise * deviations).flatten(0, 1))

    def _deviations(self, pids: Tensor) -> Tensor:
        """Return the standard deviations, (1, R, d) for all copies or (M, R, d)."""
        variances, strength = self.corrected[pids], self.settings.strength
        if not self.settings.repeated_root:
            return (strength * variances).sqrt()[None]
        powers = [0.5**copy for copy in range(1, self.settings.copies + 1)]
        roots = torch.stack([variances.pow(power) for power in powers])
        return roots * float(strength**0.5)
