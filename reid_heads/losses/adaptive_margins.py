"""Margins that depend on how far training is or on how good a row is, as its feature's length says.

Letters: R rows, P identities.
"""

import math

import torch
from torch import Tensor

from reid_heads.losses.margins import Margin, add_angular_margin


class CurricularMargin(Margin):
    """ArcFace whose hard negatives count more as training goes on.

    CurricularFace, Huang et al., CVPR 2020: the true identity has cos(theta + m); a wrong one whose
    cosine c is above that gets c (t + c) in its place, t a moving average of the true identities'
    cosines, from 0. The test for hard ones takes the true identity's cosine as it enters the
    softmax, continued past pi - m as ``add_angular_margin`` does.

    The paper prints alpha = 0.99 as the share of the new batch and a sum where a mean is meant. The
    first author has called the printed alpha a mistake (issue 8 of the released code), whose share
    of the new batch is 0.01, as here. As there, t takes up a batch before it is used on it.
    """

    t: Tensor
    needs_statistics = True

    def __init__(self, margin: float = 0.5, momentum: float = 0.99, gradient: str = "exact"):
        """Start t at 0.

        Args:
            margin: m in radians, in [0, pi / 2).
            momentum: share of the old t that is kept, in [0, 1).
            gradient: of the true identity's cosine, see ``Margin``.

        Raises:
            ValueError: if a value is out of its range.
        """
        super().__init__(gradient)
        if not (0 <= margin < math.pi / 2 and 0 <= momentum < 1):
            raise ValueError(
                f"CurricularMargin got margin={margin}, momentum={momentum}; expected 0 <= margin "
                "< pi / 2 (radians) and 0 <= momentum < 1; see "
                "MODEL.REID_HEAD.COSINE_SOFTMAX.MARGIN.CURRICULARFACE"
            )
        self.margin = margin
        self.momentum = momentum
        self.register_buffer("t", torch.zeros(()))

    def _curve(self, cosines: Tensor, norms: Tensor | None) -> Tensor:
        return add_angular_margin(cosines, self.margin)

    def others(self, cosines: Tensor, target: Tensor) -> Tensor:
        """Return the cosines (R, P), those above the true identity's (R, 1) reweighted."""
        return torch.where(cosines > target, cosines * (self.t + cosines), cosines)

    @torch.no_grad()
    def observe(self, cosines: Tensor, norms: Tensor) -> None:
        """Blend the mean of the true identities' cosines (R, 1) into t; without rows do nothing."""
        if len(cosines):
            # A new tensor: the backward of an earlier batch may still need the old one.
            self.t = self.momentum * self.t + (1 - self.momentum) * cosines.mean()


class MagnitudeMargin(Margin):
    """An angular margin that grows with the feature's length, and a pull towards long features.

    MagFace, Meng et al., CVPR 2021: with a the length of the feature, cos(theta + m(a)), m rising
    from l_m at a = l_a to u_m at u_a in a straight line, and lambda_g g(a), g(a) = 1 / a + a /
    u_a^2, added to the loss of each row. A row that is easy to tell thus grows long and a poor one
    stays short, so that the length says how good it is. The gradient flows into the length through
    m and g, as the paper's proofs want; "straight_through" is of the cosine alone.

    The paper knows only lengths in [l_a, u_a]. Outside, m and g are those of the nearer end,
    without gradient, as in the released code: look at a head's lengths and choose the range.
    Past theta = pi - m the curve goes on as ``add_angular_margin`` says, where the code by default
    gives the margin up from 90 degrees ("easy margin").
    """

    has_penalty = True

    def __init__(
        self,
        norm_range: tuple[float, float] = (10.0, 110.0),
        margin_range: tuple[float, float] = (0.45, 0.8),
        regularizer: float = 35.0,
        gradient: str = "exact",
    ):
        """Keep the two lines.

        Args:
            norm_range: l_a and u_a, 0 < l_a < u_a.
            margin_range: l_m and u_m, radians, 0 <= l_m <= u_m < pi / 2.
            regularizer: lambda_g, at least 0.
            gradient: see ``Margin``.

        Raises:
            ValueError: if a value is out of its range.
        """
        super().__init__(gradient)
        (low, high), (small, large) = norm_range, margin_range
        if not (
            0 < low < high < math.inf
            and 0 <= small <= large < math.pi / 2
            and 0 <= regularizer < math.inf
        ):
            raise ValueError(
                f"MagnitudeMargin got norm_range={tuple(norm_range)}, margin_range="
                f"{tuple(margin_range)}, regularizer={regularizer}; expected 0 < l_a < u_a, 0 <= "
                "l_m <= u_m < pi / 2 (radians) and regularizer >= 0; see "
                "MODEL.REID_HEAD.COSINE_SOFTMAX.MARGIN.MAGFACE"
            )
        self.norm_range = (low, high)
        self.margin_range = (small, large)
        self.regularizer = regularizer

    def _curve(self, cosines: Tensor, norms: Tensor | None) -> Tensor:
        return add_angular_margin(cosines, self.margins(_need(norms, self)))

    def margins(self, norms: Tensor) -> Tensor:
        """Return m(a) of lengths a, of the same shape."""
        (low, high), (small, large) = self.norm_range, self.margin_range
        return small + (large - small) / (high - low) * (norms.clamp(low, high) - low)

    def penalty(self, norms: Tensor) -> Tensor:
        """Return lambda_g g(a) of each row (R,) for lengths a (R, 1)."""
        low, high = self.norm_range
        lengths = norms[:, 0].clamp(low, high)
        return self.regularizer * (1 / lengths + lengths / high**2)


class QualityAdaptiveMargin(Margin):
    """A margin that asks hard angles of rows with long features and is lenient to short ones.

    AdaFace, Kim et al., CVPR 2022: with z = clip(h (a - mu) / sigma, -1, 1), a the length of the
    feature and mu and sigma moving averages of the lengths' mean and standard deviation, the true
    identity has cos(theta - m z) - (m z + m). z = -1 is ArcFace, 0 CosFace, 1 an angular margin of
    -m and twice CosFace's. z has no gradient.

    Of the released code we keep what is added to sigma, 1e-3, that the averages take up a batch
    before they are used on it, and the share of the new batch, 0.01; the paper prints 0.99, which a
    reader of the code has reported as a mismatch (issue 155 there). We depart from it where the
    paper has nothing of the kind: lengths are not cut at 100, and the averages start with the first
    batch and not with 20 and 100, which only fit its own networks. Where theta - m z leaves 0..pi,
    the code cuts it there, which leaves no gradient; ``add_angular_margin`` says how we go on.
    """

    mean: Tensor
    std: Tensor
    num_batches: Tensor
    needs_statistics = True

    def __init__(
        self,
        margin: float = 0.4,
        concentration: float = 0.333,
        momentum: float = 0.99,
        gradient: str = "exact",
    ):
        """Start without statistics: until a batch is seen, z is 0.

        Args:
            margin: m, radians and of a cosine at a time, in [0, 1): the margin on the cosine goes
                up to 2 m.
            concentration: h > 0; 1 / h standard deviations give the whole margin.
            momentum: share of the old statistics that is kept, in [0, 1).
            gradient: see ``Margin``.

        Raises:
            ValueError: if a value is out of its range.
        """
        super().__init__(gradient)
        if not (0 <= margin < 1 and 0 < concentration < math.inf and 0 <= momentum < 1):
            raise ValueError(
                f"QualityAdaptiveMargin got margin={margin}, concentration={concentration}, "
                f"momentum={momentum}; expected 0 <= margin < 1, concentration > 0 and 0 <= "
                "momentum < 1; see "
                "MODEL.REID_HEAD.COSINE_SOFTMAX.MARGIN.ADAFACE"
            )
        self.margin = margin
        self.concentration = concentration
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.zeros(()))
        self.register_buffer("num_batches", torch.zeros((), dtype=torch.int64))

    def _curve(self, cosines: Tensor, norms: Tensor | None) -> Tensor:
        shares = self.margin * self.quality(_need(norms, self))
        return add_angular_margin(cosines, -shares) - (shares + self.margin)

    @torch.no_grad()
    def quality(self, norms: Tensor) -> Tensor:
        """Return z, -1..1, of lengths, of the same shape."""
        # Added so that equal lengths do not divide by 0.
        z = self.concentration * (norms - self.mean) / (self.std + 1e-3)
        return torch.where(self.num_batches > 0, z.clamp(-1, 1), 0.0)

    @torch.no_grad()
    def observe(self, cosines: Tensor, norms: Tensor) -> None:
        """Blend mean and standard deviation of the lengths (R, 1) in; from two rows on."""
        if len(norms) < 2:
            return
        # The first batch is taken whole.
        keep = self.momentum if self.num_batches > 0 else 0.0
        self.mean.copy_(keep * self.mean + (1 - keep) * norms.mean())
        self.std.copy_(keep * self.std + (1 - keep) * norms.std())
        self.num_batches += 1


def _need(norms: Tensor | None, margin: Margin) -> Tensor:
    if norms is None:
        raise ValueError(
            f"{type(margin).__name__} depends on the lengths of the features; call it with norms"
        )
    return norms
