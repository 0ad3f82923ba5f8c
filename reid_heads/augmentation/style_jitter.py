"""Style jitter: give each crop's feature map the style of another crop of the batch.

Letters: B images, C channels, H and W feature cells, n stripes.
"""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

VARIANCE_FLOOR = 1e-5
"""Added to each variance, as in the authors' code."""

CHILD_NAME = "style_jitter"
"""The backbone's submodule that holds the jitters; they have neither parameters nor buffers."""


class StyleJitter(nn.Module):
    """Mix the style of a feature map with a donor's; the identity at test.

    The style jitter module of SVIL (Chen et al., arXiv 2209.05235, 2022; ACM TOMM 2024), called
    style mixture in its authors' code, which is followed here. Style is the mean and the standard
    deviation of each channel over the map's cells, as in AdaIN (Huang and Belongie, ICCV 2017). The
    donors are a random order of the whole batch, whatever their domain and identity; a crop may be
    its own donor. With mixing weight l, content x and donor s

        y = (l sigma(s) + (1 - l) sigma(x)) (x - mu(x)) / sigma(x) + l mu(s) + (1 - l) mu(x).

    Random numbers come from torch's global generator. Over several processes donors come from the
    process's own crops.

    Examples:
        >>> jitter = StyleJitter(mix_range=(0.0, 1.0), stripes=2)
        >>> crops = torch.rand(4, 8, 6, 2)
        >>> jitter(crops).shape, jitter.eval()(crops) is crops
        (torch.Size([4, 8, 6, 2]), True)
    """

    def __init__(
        self,
        *,
        mix_range: tuple[float, float] = (1.0, 1.0),
        stripes: int = 1,
        probability: float = 1.0,
        has_style_gradient: bool = True,
    ):
        """Set the distribution up.

        Args:
            mix_range: the mixing weight of each crop is drawn uniformly from here, within 0..1;
                equal ends fix it. 1 is the donor's style alone, as in the authors' final scripts.
            stripes: n; the donor's style is taken of n horizontal stripes of equal height (as near
                as H allows) and given to the same stripes of the content, whose own style is that
                of the whole map.
            probability: that a batch is restyled at all.
            has_style_gradient: whether gradients flow into the donor's style, as in the authors'
                code; the content's own style always carries them.

        Raises:
            ValueError: for a value out of its range.
        """
        super().__init__()
        _check_settings(mix_range, stripes, probability)
        self.mix_range = tuple(mix_range)
        self.stripes = stripes
        self.probability = probability
        self.has_style_gradient = has_style_gradient
        self.is_on = True

    def forward(self, features: Tensor) -> Tensor:
        """Restyle feature maps.

        Args:
            features: (B, C, H, W), any float type; statistics are in float32 or better.

        Returns:
            The same shape and type. The very tensor that was given at test, while switched off,
            with mixing weight 0, and for fewer than two crops, which have no donor but themselves.

        Raises:
            ValueError: for a map with fewer rows than stripes, or stripes of a single cell, which
                have no deviation.
        """
        if not (self.training and self.is_on) or self.mix_range[1] == 0 or len(features) < 2:
            return features
        if self.probability < 1 and torch.rand(()) >= self.probability:
            return features
        donors = torch.randperm(len(features)).to(features.device)
        weights = torch.empty(len(features), 1, 1, 1).uniform_(*self.mix_range)
        return self.restyle(features, donors, weights.to(features.device))

    def restyle(self, features: Tensor, donors: Tensor, weights: Tensor) -> Tensor:
        """Mix the style of each map with that of its donor.

        Args:
            features: (B, C, H, W).
            donors: (B,) int64, the row of each one's donor.
            weights: (B, 1, 1, 1), 0..1.
        """
        with torch.autocast(features.device.type, enabled=False):
            x = features.to(torch.promote_types(features.dtype, torch.float32))
            weights = weights.to(x.dtype)
            mean, deviation = style_of(x, 1)
            donor_mean, donor_deviation = (
                (mean, deviation) if self.stripes == 1 else style_of(x, self.stripes)
            )
            if not self.has_style_gradient:
                donor_mean, donor_deviation = donor_mean.detach(), donor_deviation.detach()
            mixed_mean = torch.lerp(mean, donor_mean[donors], weights)
            mixed_deviation = torch.lerp(deviation, donor_deviation[donors], weights)
            # As scale and shift of the content: one pass over the map.
            scale = mixed_deviation / deviation
            return (x * scale + (mixed_mean - mean * scale)).to(features.dtype)

    def restyle_output(self, module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        """Act as a forward hook of a stage of a backbone."""
        restyled: Tensor = self(output)
        return restyled

    def extra_repr(self) -> str:
        """Show the settings where the model is printed."""
        return f"mix_range={self.mix_range}, stripes={self.stripes}, probability={self.probability}"


def style_of(features: Tensor, stripes: int) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of each channel of each stripe, laid out by row.

    Args:
        features: (B, C, H, W).
        stripes: n, at most H; the first H mod n stripes have a row more than the others.

    Returns:
        Two of shape (B, C, H, 1), or (B, C, 1, 1) for one stripe: mean, and the root of the
        unbiased variance plus ``VARIANCE_FLOOR``.

    Raises:
        ValueError: for fewer rows than stripes, or stripes of a single cell.
    """
    height, width = features.shape[2:]
    if height < stripes or (height // stripes) * width < 2:
        raise ValueError(
            f"got feature maps of {height}x{width} for {stripes} stripes; each stripe needs two "
            "cells at least: lower MODEL.CROP_REID.STYLE_JITTER.STRIPES or jitter an earlier stage"
        )
    parts = torch.tensor_split(features, stripes, dim=2)
    styles = [torch.var_mean(part, dim=(2, 3), correction=1, keepdim=True) for part in parts]
    if stripes == 1:
        variance, mean = styles[0]
    else:
        variance, mean = (
            torch.cat(
                [x.expand(-1, -1, part.shape[2], -1) for x, part in zip(kind, parts, strict=True)],
                dim=2,
            )
            for kind in zip(*styles, strict=True)
        )
    return mean, (variance + VARIANCE_FLOOR).sqrt()


def add_style_jitter(
    backbone: nn.Module,
    places: Sequence[str],
    *,
    mix_range: tuple[float, float] = (1.0, 1.0),
    stripes: int = 1,
    probability: float = 1.0,
    has_style_gradient: bool = True,
) -> None:
    """Restyle what stages of a backbone give, in training; see ``StyleJitter``.

    Names of parameters and buffers stay as they are, so weights load with and without jitter. Each
    place draws donors of its own.

    Args:
        backbone: any network whose stages are submodules that map a tensor to one (B, C, H, W),
            such as detectron2's ResNet.
        places: names of stages, "stem", "res2", ...; none: nothing is changed. Published: "stem"
            (after its pooling) in one of the two authors' repositories, "res2" in the other.
        mix_range: see ``StyleJitter``, as the others.
        stripes: of the donor's style.
        probability: that a batch is restyled at a place.
        has_style_gradient: whether gradients flow into the donor's style.

    Raises:
        ValueError: for a place that the backbone lacks or that is named twice, or for a setting out
            of its range.
    """
    stages = dict(backbone.named_children())
    if not set(places) <= set(stages) or len(set(places)) < len(places):
        raise ValueError(
            f"MODEL.CROP_REID.STYLE_JITTER.PLACES is {tuple(places)}; expected some of "
            f"{list(stages)}, each once"
        )
    jitters = {}
    for place in places:
        jitters[place] = StyleJitter(
            mix_range=mix_range,
            stripes=stripes,
            probability=probability,
            has_style_gradient=has_style_gradient,
        )
        # A bound method, so that a deep copy of the backbone has hooks of its own.
        stages[place].register_forward_hook(jitters[place].restyle_output)
    if jitters:
        # A submodule of the backbone follows its training mode; a stage, which may be a Sequential,
        # would take one for a layer of its own.
        backbone.add_module(CHILD_NAME, nn.ModuleDict(jitters))


@contextlib.contextmanager
def style_jitter_off(model: nn.Module) -> Iterator[None]:
    """Switch all style jitter of a model off inside the context."""
    jitters = [module for module in model.modules() if isinstance(module, StyleJitter)]
    before = [jitter.is_on for jitter in jitters]
    for jitter in jitters:
        jitter.is_on = False
    try:
        yield
    finally:
        for jitter, was_on in zip(jitters, before, strict=True):
            jitter.is_on = was_on


def _check_settings(mix_range: tuple[float, float], stripes: int, probability: float) -> None:
    node = "MODEL.CROP_REID.STYLE_JITTER"
    if len(mix_range) != 2 or not 0 <= mix_range[0] <= mix_range[1] <= 1:
        raise ValueError(
            f"{node}.MIX_RANGE is {tuple(mix_range)}; expected the lowest and the highest mixing "
            "weight, 0 <= lowest <= highest <= 1"
        )
    if stripes < 1:
        raise ValueError(f"{node}.STRIPES is {stripes}; expected 1 or more")
    if not 0 <= probability <= 1:
        raise ValueError(f"{node}.PROBABILITY is {probability}; expected 0..1")
