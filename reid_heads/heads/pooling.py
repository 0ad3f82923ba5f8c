"""Poolings: from a map to one vector of each horizontal stripe.

Letters: R people, C channels, H and W feature cells, n stripes. Every pooling is called with
features (R, C, H, W) and n, and gives (R, C, n) in float32 (float64 for float64), under autocast
too. Stripe i covers the rows from floor(i H / n) to before ceil((i + 1) H / n): equal heights where
n divides H, else stripes that overlap by a row, as torch's adaptive poolings do. R may be 0.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_heads.config_readers import Reader

GEM_EPS = 1e-6
"""Features below this count as this in a generalised mean, which takes their logarithm."""


class AveragePooling(nn.Module):
    """The mean over the cells of each stripe."""

    def forward(self, features: Tensor, stripes: int = 1) -> Tensor:
        """Pool (R, C, H, W) to (R, C, n)."""
        return F.adaptive_avg_pool2d(_widen(features), (stripes, 1)).squeeze(3)


class MaxPooling(nn.Module):
    """The maximum over the cells of each stripe."""

    def forward(self, features: Tensor, stripes: int = 1) -> Tensor:
        """Pool (R, C, H, W) to (R, C, n)."""
        return _widen(F.adaptive_max_pool2d(features, (stripes, 1))).squeeze(3)


class GeMPooling(nn.Module):
    """The generalised mean over the cells of each stripe, (mean x^p)^(1/p).

    Radenovic et al., TPAMI 2019, equation 3: p = 1 is the average of non-negative features, and the
    maximum is the limit of large p. It is computed through logarithms, so that x^p neither under-
    nor overflows for any p.

    Examples:
        >>> rows = torch.tensor([1.0, 3.0]).view(1, 1, 2, 1)
        >>> GeMPooling(power=1.0)(rows).flatten()  # the mean
        tensor([2.])
        >>> GeMPooling(power=1.0)(rows, stripes=2).shape
        torch.Size([1, 1, 2])
    """

    power: nn.Parameter | float

    def __init__(self, power: float = 3.0, learned: bool = False):
        """Make the pooling.

        Args:
            power: p > 0, at the start.
            learned: whether p is a parameter, one for all channels.

        Raises:
            ValueError: if ``power`` is not positive.
        """
        super().__init__()
        if not power > 0:
            raise ValueError(f"the power of a generalised mean is {power}; expected more than 0")
        self.power = nn.Parameter(torch.tensor([float(power)])) if learned else float(power)

    def forward(self, features: Tensor, stripes: int = 1) -> Tensor:
        """Pool (R, C, H, W) to (R, C, n)."""
        logs = _widen(features).clamp(min=GEM_EPS).log() * self.power
        height = logs.shape[2]
        means = []
        for i in range(stripes):
            rows = logs[:, :, i * height // stripes : -(-(i + 1) * height // stripes)]
            cells = rows.shape[2] * rows.shape[3]
            means.append(rows.logsumexp(dim=(2, 3)) - math.log(cells))
        return (torch.stack(means, dim=2) / self.power).exp()


def build_pooling(name: str, *, gem_power: float = 3.0, gem_learned: bool = False) -> nn.Module:
    """Make a pooling.

    Args:
        name: "avg", "max" or "gem".
        gem_power: exponent of "gem", at the start.
        gem_learned: whether that exponent is learned.

    Raises:
        ValueError: for an unknown name or an exponent that is not positive.
    """
    if name == "gem":
        return GeMPooling(gem_power, gem_learned)
    poolings = {"avg": AveragePooling, "max": MaxPooling}
    if name not in poolings:
        raise ValueError(f"unknown pooling {name!r}; expected one of {sorted([*poolings, 'gem'])}")
    return poolings[name]()


CONFIG_READERS = (
    Reader(
        "MODEL.REID_HEAD.POOLING gem",
        ("MODEL.REID_HEAD.GEM_POWER", "MODEL.REID_HEAD.GEM_LEARNED"),
        lambda cfg: cfg.MODEL.REID_HEAD.POOLING == "gem",
    ),
)


def _widen(features: Tensor) -> Tensor:
    """Turn half precision, which autocast gives, into float32."""
    return features if features.dtype == torch.float64 else features.float()
