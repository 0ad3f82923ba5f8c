"""Margins: what a softmax over cosines takes from its identities' cosines in training.

A margin is a module called as ``margin(cosines (R, P), pids (R,)) -> (R, P)``: it sees the cosines
of every identity and knows the true one, so that margins on the wrong ones, and margins with a
state of their own, fit in as well.

Letters: R rows, P identities.
"""

import math

import torch
from torch import Tensor, nn

# Cosines closer to +-1 than this give the sine no gradient, which is infinite there. In float32 the
# sine is noise below about 5e-4 anyway; this cuts it at 1.4e-3.
_COSINE_EPS = 1e-6


class TargetMargin(nn.Module):
    """A margin on the true identity's cosine; those of the other identities stay as they are."""

    def forward(self, cosines: Tensor, pids: Tensor) -> Tensor:
        """Return the cosines with the true identity's made smaller.

        Args:
            cosines: (R, P), -1..1 up to rounding; R may be 0.
            pids: (R,) int64, 0..P-1.
        """
        columns = pids[:, None]
        return cosines.scatter(1, columns, self.shift(cosines.gather(1, columns)))

    def shift(self, cosines: Tensor) -> Tensor:
        """Return the true identity's cosines (R, 1) less the margin."""
        raise NotImplementedError


class AdditiveAngularMargin(TargetMargin):
    """cos(theta + m): ArcFace, Deng et al., CVPR 2019, equation 3; see ``add_angular_margin``."""

    def __init__(self, margin: float):
        """Keep the margin.

        Args:
            margin: m in radians, in [0, pi / 2); 0 changes nothing.

        Raises:
            ValueError: if it is out of its range.
        """
        super().__init__()
        if not 0 <= margin < math.pi / 2:
            raise ValueError(
                f"AdditiveAngularMargin got margin={margin}; expected 0 <= margin < pi / 2 "
                "(radians); see MODEL.REID_HEAD.ARCFACE and MODEL.REID_HEAD.SUBCENTER_ARCFACE"
            )
        self.margin = margin

    def shift(self, cosines: Tensor) -> Tensor:
        """Return cos(theta + m) of cos(theta), of the same shape."""
        return add_angular_margin(cosines, self.margin)


class AdditiveCosineMargin(TargetMargin):
    """cos(theta) - m: the large margin cosine loss of CosFace, Wang et al., CVPR 2018."""

    def __init__(self, margin: float):
        """Keep the margin.

        Args:
            margin: m in [0, 2), no unit; 0 changes nothing. From 2, the whole range of a cosine, no
                identity could ever win.

        Raises:
            ValueError: if it is out of its range.
        """
        super().__init__()
        if not 0 <= margin < 2:
            raise ValueError(
                f"AdditiveCosineMargin got margin={margin}; expected 0 <= margin < 2 (of a "
                "cosine); see MODEL.REID_HEAD.COSFACE"
            )
        self.margin = margin

    def shift(self, cosines: Tensor) -> Tensor:
        """Return cos(theta) - m of cos(theta), of the same shape."""
        return cosines - self.margin


def add_angular_margin(cosines: Tensor, margin: float) -> Tensor:
    """Return cos(theta + m) of cos(theta), continued so that it falls all the way to theta = pi.

    Past theta = pi - m the cosine of the sum would rise again and reward a worse angle. From there
    it goes on as cos(theta) + cos(m) - 1, which joins it without a jump at -1 and has slope 1 in
    cos(theta). ArcFace's paper leaves this open; its first released code (MXNet) goes on as
    cos(theta) - m sin(m), which falls too but jumps. The gradient is the function's own; the
    authors' present PyTorch code passes the one of cos(theta) on instead.

    Args:
        cosines: any shape, -1..1 up to rounding.
        margin: m in radians, in [0, pi / 2).

    Returns:
        The shape of ``cosines``. The gradient is finite at +-1 too.
    """
    limit = 1 - _COSINE_EPS
    sines = (1 - cosines.clamp(-limit, limit).square()).sqrt()
    shifted = cosines * math.cos(margin) - sines * math.sin(margin)
    continued = cosines + (math.cos(margin) - 1)
    return torch.where(cosines > -math.cos(margin), shifted, continued)
