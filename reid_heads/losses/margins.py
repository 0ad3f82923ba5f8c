"""Margins: what a softmax over cosines takes from its identities' cosines in training.

A margin is a module called as ``margin(cosines (R, P), pids (R,), norms (R, 1)) -> (R, P)``. Its
parts can be called apart, for classes that lie on several processes: ``observe`` takes up the
statistics of a batch, ``shift`` changes the true identities' cosines, ``others`` the wrong ones',
``penalty`` gives what is added to the loss. Margins that adapt to the batch are in
``adaptive_margins.py``.

Letters: R rows, P identities.
"""

import math

import torch
from torch import Tensor, nn

# Cosines closer to +-1 than this give the sine no gradient, which is infinite there. In float32 the
# sine is noise below about 5e-4 anyway; this cuts it at 1.4e-3.
_COSINE_EPS = 1e-6

GRADIENTS = ("exact", "straight_through")


class Margin(nn.Module):
    """A margin on the true identity's cosine; those of the other identities stay as they are."""

    needs_statistics = False
    """Whether ``observe`` does anything."""
    has_penalty = False
    """Whether ``penalty`` gives anything but 0."""

    def __init__(self, gradient: str = "exact"):
        """Keep the kind of gradient.

        Args:
            gradient: "exact", the one of the function itself, as in the papers; or
                "straight_through", which passes the gradient of the shifted cosine on to the cosine
                as if there were no margin, as the present PyTorch code of ArcFace's authors does
                for stability.

        Raises:
            ValueError: for another word.
        """
        super().__init__()
        if gradient not in GRADIENTS:
            raise ValueError(
                f"{type(self).__name__} got gradient={gradient!r}; expected one of "
                f"{list(GRADIENTS)} (MODEL.REID_HEAD.COSINE_SOFTMAX.MARGIN.GRADIENT)"
            )
        self.gradient = gradient

    def forward(self, cosines: Tensor, pids: Tensor, norms: Tensor | None = None) -> Tensor:
        """Return the cosines with the margin taken from them.

        Args:
            cosines: (R, P), -1..1 up to rounding; R may be 0.
            pids: (R,) int64, 0..P-1.
            norms: (R, 1), the lengths of the features; only margins that depend on them need them.
        """
        columns = pids[:, None]
        target = self.shift(cosines.gather(1, columns), norms)
        return self.others(cosines, target.detach()).scatter(1, columns, target)

    def shift(self, cosines: Tensor, norms: Tensor | None = None) -> Tensor:
        """Return the true identity's cosines (R, 1) less the margin."""
        if self.gradient == "exact":
            return self._curve(cosines, norms)
        constant = cosines.detach()
        return self._curve(constant, norms) + (cosines - constant)

    def _curve(self, cosines: Tensor, norms: Tensor | None) -> Tensor:
        raise NotImplementedError

    def others(self, cosines: Tensor, target: Tensor) -> Tensor:
        """Return the cosines (R, P) as the wrong identities' enter the softmax.

        Args:
            cosines: (R, P); what comes out for the true identity is not used.
            target: (R, 1), what ``shift`` gave, without gradient.
        """
        return cosines

    def observe(self, cosines: Tensor, norms: Tensor) -> None:
        """Take up a training batch before it is classified, where ``needs_statistics``.

        Args:
            cosines: (R, 1), the true identities', of the rows of all processes: whatever is kept
                must be the same on each.
            norms: (R, 1), the lengths of the features.
        """

    def penalty(self, norms: Tensor) -> Tensor:
        """Return what is added to the loss of each row (R,), where ``has_penalty``."""
        return norms.new_zeros(len(norms))


class CombinedMargin(Margin):
    """cos(m1 theta + m2) - m3: Deng et al., TPAMI 2022 (ArcFace), equation 4.

    (1, 0, 0) is no margin, (m, 0, 0) SphereFace, (1, m, 0) ArcFace, (1, 0, m) CosFace; the paper's
    combined ones are (1, 0.3, 0.2) and (0.9, 0.4, 0.15). Where the angle of the sum passes pi, the
    paper leaves open what follows: see ``add_angular_margin`` for m1 = 1 and
    ``multiply_angle`` otherwise. Either falls all the way to theta = pi.
    """

    def __init__(self, m1: float = 1.0, m2: float = 0.0, m3: float = 0.0, gradient: str = "exact"):
        """Keep the margins.

        Args:
            m1: factor of the angle, above 0.
            m2: added to the angle, radians, in [0, pi / 2).
            m3: taken from the cosine, in [0, 2). From 2, the whole range of a cosine, no identity
                could ever win.
            gradient: see ``Margin``.

        Raises:
            ValueError: if a value is out of its range.
        """
        super().__init__(gradient)
        if not (0 < m1 < math.inf and 0 <= m2 < math.pi / 2 and 0 <= m3 < 2):
            raise ValueError(
                f"CombinedMargin got m1={m1}, m2={m2}, m3={m3}; expected m1 > 0, 0 <= m2 < pi / 2 "
                "(radians) and 0 <= m3 < 2 (of a cosine); see "
                "MODEL.REID_HEAD.COSINE_SOFTMAX.MARGIN.COMBINED"
            )
        self.m1, self.m2, self.m3 = m1, m2, m3

    def _curve(self, cosines: Tensor, norms: Tensor | None) -> Tensor:
        if self.m1 == 1:
            return add_angular_margin(cosines, self.m2) - self.m3
        return multiply_angle(cosines, self.m1, self.m2) - self.m3


class MultiplicativeAngularMargin(CombinedMargin):
    """cos(m theta): SphereFace, Liu et al., CVPR 2017, with the scale and unit features of ArcFace.

    SphereFace itself has whole m, no scale and features as they are. ArcFace's authors train the
    form here with m = 1.35.
    """

    def __init__(self, margin: float, gradient: str = "exact"):
        """Keep the margin.

        Args:
            margin: m, at least 1; 1 changes nothing.
            gradient: see ``Margin``.

        Raises:
            ValueError: if it is out of its range.
        """
        if not 1 <= margin < math.inf:
            raise ValueError(
                f"MultiplicativeAngularMargin got margin={margin}; expected margin >= 1 (a factor "
                "of the angle); see "
                "MODEL.REID_HEAD.COSINE_SOFTMAX.MARGIN.SPHEREFACE"
            )
        super().__init__(m1=margin, gradient=gradient)
        self.margin = margin


class AdditiveAngularMargin(CombinedMargin):
    """cos(theta + m): ArcFace, Deng et al., CVPR 2019, equation 3; see ``add_angular_margin``.

    Examples:
        >>> cosines = torch.tensor([[0.8, 0.1], [0.8, 0.1]])
        >>> AdditiveAngularMargin(0.3)(cosines, torch.tensor([0, 1])).numpy().round(3)
        array([[ 0.587,  0.1  ],
               [ 0.8  , -0.199]], dtype=float32)
    """

    def __init__(self, margin: float, gradient: str = "exact"):
        """Keep the margin.

        Args:
            margin: m in radians, in [0, pi / 2); 0 changes nothing.
            gradient: see ``Margin``.

        Raises:
            ValueError: if it is out of its range.
        """
        if not 0 <= margin < math.pi / 2:
            raise ValueError(
                f"AdditiveAngularMargin got margin={margin}; expected 0 <= margin < pi / 2 "
                "(radians); see MODEL.REID_HEAD.COSINE_SOFTMAX.MARGIN.ARCFACE"
            )
        super().__init__(m2=margin, gradient=gradient)
        self.margin = margin


class AdditiveCosineMargin(CombinedMargin):
    """cos(theta) - m: the large margin cosine loss of CosFace, Wang et al., CVPR 2018.

    Examples:
        >>> cosines = torch.tensor([[0.8, 0.1], [0.8, 0.1]])
        >>> AdditiveCosineMargin(0.2)(cosines, torch.tensor([0, 1])).numpy().round(3)
        array([[ 0.6,  0.1],
               [ 0.8, -0.1]], dtype=float32)
    """

    def __init__(self, margin: float, gradient: str = "exact"):
        """Keep the margin.

        Args:
            margin: m in [0, 2), no unit; 0 changes nothing.
            gradient: see ``Margin``; both are the same here, as in the paper.

        Raises:
            ValueError: if it is out of its range.
        """
        if not 0 <= margin < 2:
            raise ValueError(
                f"AdditiveCosineMargin got margin={margin}; expected 0 <= margin < 2 (of a "
                "cosine); see "
                "MODEL.REID_HEAD.COSINE_SOFTMAX.MARGIN.COSFACE"
            )
        super().__init__(m3=margin, gradient=gradient)
        self.margin = margin


def add_angular_margin(cosines: Tensor, margin: float | Tensor) -> Tensor:
    """Return cos(theta + m) of cos(theta), continued so that it falls all the way to theta = pi.

    Past theta = pi - m the cosine of the sum would rise again and reward a worse angle. From there
    it goes on as cos(theta) + cos(m) - 1, which joins it without a jump at -1 and has slope 1 in
    cos(theta). ArcFace's paper leaves this open; its first released code (MXNet) goes on as
    cos(theta) - m sin(m), which falls too but jumps. The gradient is the function's own; the
    authors' present PyTorch code passes the one of cos(theta) on instead. A negative margin has
    the same trouble at the other end: below theta = -m, cos(theta) - cos(m) + 1 is taken.

    Args:
        cosines: any shape, -1..1 up to rounding.
        margin: m in radians, in (-pi / 2, pi / 2), one for all or each its own.

    Returns:
        The shape of ``cosines``. The gradient is finite at +-1 too.
    """
    limit = 1 - _COSINE_EPS
    sines = (1 - cosines.clamp(-limit, limit).square()).sqrt()
    if isinstance(margin, Tensor):
        cos_margin, is_positive = margin.cos(), margin >= 0
        shifted = cosines * cos_margin - sines * margin.sin()
        continued = torch.where(is_positive, cosines + (cos_margin - 1), cosines + (1 - cos_margin))
        is_inside = torch.where(is_positive, cosines > -cos_margin, cosines < cos_margin)
        return torch.where(is_inside, shifted, continued)
    cosine, sign = math.cos(margin), 1 if margin >= 0 else -1
    shifted = cosines * cosine - sines * math.sin(margin)
    continued = cosines + sign * (cosine - 1)
    return torch.where(sign * cosines > -cosine, shifted, continued)


def multiply_angle(cosines: Tensor, factor: float, margin: float = 0.0) -> Tensor:
    """Return cos(x), x = m1 theta + m2, of cos(theta), folded on where x passes pi.

    SphereFace's function (Liu et al., CVPR 2017), there for whole m1 and m2 = 0:
    (-1)^k cos(x) - 2k for x in [k pi, (k + 1) pi]. It falls all the way, without a jump.

    Args:
        cosines: any shape, -1..1 up to rounding.
        factor: m1 > 0.
        margin: m2 >= 0, radians.

    Returns:
        The shape of ``cosines``. The gradient is finite at +-1 too: within 1e-6 of them the slope
        in cos(theta) is 1.
    """
    limit = 1 - _COSINE_EPS
    inside = cosines.clamp(-limit, limit)
    angles = factor * inside.acos() + margin
    folds = (angles.detach() / math.pi).floor()
    signs = 1 - 2 * (folds % 2)
    return signs * angles.cos() - 2 * folds + (cosines - inside)


def angles_of(cosines: Tensor) -> Tensor:
    """Return the angles of cosines, radians in 0..pi; no gradient within 1e-6 of +-1."""
    limit = 1 - _COSINE_EPS
    return cosines.clamp(-limit, limit).acos()
