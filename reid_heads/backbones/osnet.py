"""OSNet: small networks for crops whose blocks see several scales at once.

Zhou, Yang, Cavallaro and Xiang, "Omni-Scale Feature Learning for Person Re-Identification", ICCV
2019 (section 3, table 1), and with instance normalisation "Learning Generalisable Omni-Scale
Representations for Person Re-Identification", TPAMI 2021. The behaviour agrees with torchreid's
networks of that name, whose weights are public; the fully connected layer behind them is
``EmbeddingHead`` with a ReLU.

Letters: B images, C channels, H and W pixels or feature cells.
"""

import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import Conv2d, ShapeSpec, get_norm
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import Backbone
from fvcore.nn.weight_init import c2_msra_fill
from torch import Tensor, nn

from reid_heads.config_readers import reads_config

STREAMS = 4
"""Streams of a block: one, two, three and four light convolutions deep (T in the ICCV paper)."""

BOTTLENECK = 4
"""By what a block's channels are divided within it."""

GATE_REDUCTION = 16
"""By what the channels are divided within a gate."""

INSTANCE_NORMS = {
    "none": (("", ""), ("", ""), ("", "")),
    "ibn": (("behind", "behind"), ("", ""), ("", "")),
    "ain": (("within", "within"), ("", "within"), ("within", "")),
}
"""For each block of conv2, conv3 and conv4 where it has instance normalisation. The stem has it in
all but "none"."""


@BACKBONE_REGISTRY.register()
@reads_config("MODEL.OSNET")
def build_osnet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> "OSNet":
    """Build the network from ``MODEL.OSNET``; ``MODEL.RESNETS.NORM`` names its BatchNorm.

    Raises:
        ValueError: for a setting that this network does not have.
    """
    return OSNet(cfg, input_shape)


class OSNet(Backbone):
    """A stem, three pairs of omni-scale blocks with a transition after each of the first two.

    Its map, "conv5", has a sixteenth of the image's height and width.
    """

    @configurable
    def __init__(
        self,
        *,
        in_channels: int,
        channels: tuple[int, int, int, int],
        norm: str = "BN",
        instance_norm: str = "none",
    ):
        """Make the network.

        Args:
            in_channels: of the image.
            channels: C of conv1, conv2, conv3, and of conv4 and conv5.
            norm: detectron2's name of the norm.
            instance_norm: a name in ``INSTANCE_NORMS``.

        Raises:
            ValueError: for an unknown name, or channels that blocks cannot divide.
        """
        super().__init__()
        _check_settings(channels, instance_norm)
        stem, *widths = channels
        self.channels = widths[-1]
        self.conv1 = Conv2d(
            in_channels,
            stem,
            7,
            stride=2,
            padding=3,
            bias=False,
            norm=get_norm(norm, stem) if instance_norm == "none" else _instance_norm(stem),
            activation=F.relu,
        )
        places = INSTANCE_NORMS[instance_norm]
        self.conv2 = _build_pair(stem, widths[0], norm, places[0])
        self.transition2 = _build_transition(widths[0], norm)
        self.conv3 = _build_pair(widths[0], widths[1], norm, places[1])
        self.transition3 = _build_transition(widths[1], norm)
        self.conv4 = _build_pair(widths[1], widths[2], norm, places[2])
        self.conv5 = _conv1x1(widths[2], widths[2], norm)
        for module in self.modules():
            if isinstance(module, Conv2d):
                c2_msra_fill(module)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict:
        """Translate the config."""
        return {
            "in_channels": input_shape.channels,
            "channels": tuple(cfg.MODEL.OSNET.CHANNELS),
            "norm": cfg.MODEL.RESNETS.NORM,
            "instance_norm": cfg.MODEL.OSNET.INSTANCE_NORM,
        }

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Map images (B, 3, H, W) to {"conv5": features (B, C, H / 16, W / 16)}."""
        x = F.max_pool2d(self.conv1(image), kernel_size=3, stride=2, padding=1)
        x = self.transition2(self.conv2(x))
        x = self.transition3(self.conv3(x))
        return {"conv5": self.conv5(self.conv4(x))}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return channels and stride of the map."""
        return {"conv5": ShapeSpec(channels=self.channels, stride=16)}


class OmniScaleBlock(nn.Module):
    """A residual block of streams that see 3, 5, 7 and 9 cells, added with gates of their own.

    The ICCV paper's figure 4b and equations 1 to 3: the streams run on a fourth of the channels,
    and one gate, shared by all, weighs the channels of each by what the whole map holds.
    """

    def __init__(self, in_channels: int, out_channels: int, norm: str, instance_norm: str = ""):
        """Make the block.

        Args:
            in_channels: C of the input.
            out_channels: C of the output; where it is another one, the shortcut is a projection.
            norm: detectron2's name of the norm.
            instance_norm: "within" the residual, "behind" the addition, or "" for none.
        """
        super().__init__()
        middle = out_channels // BOTTLENECK
        self.reduce = _conv1x1(in_channels, middle, norm)
        self.streams = nn.ModuleList(
            nn.Sequential(*(LightConv(middle, norm) for _ in range(depth)))
            for depth in range(1, STREAMS + 1)
        )
        self.gate = ChannelGate(middle)
        is_within = instance_norm == "within"
        last = _instance_norm(out_channels) if is_within else get_norm(norm, out_channels)
        self.expand = Conv2d(middle, out_channels, 1, bias=False, norm=last)
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = _conv1x1(in_channels, out_channels, norm, is_linear=True)
        is_behind = instance_norm == "behind"
        self.behind = _instance_norm(out_channels) if is_behind else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to (B, C', H, W)."""
        reduced = self.reduce(features)
        scales = [self.gate(stream(reduced)) for stream in self.streams]
        residual = self.expand(scales[0] + scales[1] + scales[2] + scales[3])
        return F.relu(self.behind(residual + self.shortcut(features)))


class LightConv(nn.Module):
    """A 3x3 convolution in two: across channels, then across cells, channel by channel.

    Figure 3b of the ICCV paper ("Lite 3x3"). Other than in MobileNet the 1x1 convolution comes
    first, without a nonlinearity between the two.
    """

    def __init__(self, channels: int, norm: str):
        """Make it for C ``channels``; ``norm`` is detectron2's name of the norm behind it."""
        super().__init__()
        self.pointwise = Conv2d(channels, channels, 1, bias=False)
        self.depthwise = Conv2d(
            channels,
            channels,
            3,
            padding=1,
            groups=channels,
            bias=False,
            norm=get_norm(norm, channels),
            activation=F.relu,
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to the same shape."""
        return self.depthwise(self.pointwise(features))


class ChannelGate(nn.Module):
    """Weigh each channel by 0..1, by what all channels hold on average over the map."""

    def __init__(self, channels: int):
        """Make it for C ``channels``."""
        super().__init__()
        # Narrower than any published width there would be nothing left.
        reduced = max(channels // GATE_REDUCTION, 1)
        self.fc1 = Conv2d(channels, reduced, 1, activation=F.relu)
        self.fc2 = Conv2d(reduced, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to the same shape."""
        return features * self.fc2(self.fc1(features.mean((2, 3), keepdim=True))).sigmoid()


def _build_pair(in_channels: int, channels: int, norm: str, places: tuple[str, str]) -> nn.Module:
    return nn.Sequential(
        OmniScaleBlock(in_channels, channels, norm, places[0]),
        OmniScaleBlock(channels, channels, norm, places[1]),
    )


def _build_transition(channels: int, norm: str) -> nn.Module:
    return nn.Sequential(_conv1x1(channels, channels, norm), nn.AvgPool2d(2, stride=2))


def _conv1x1(in_channels: int, channels: int, norm: str, is_linear: bool = False) -> nn.Module:
    return Conv2d(
        in_channels,
        channels,
        1,
        bias=False,
        norm=get_norm(norm, channels),
        activation=None if is_linear else F.relu,
    )


def _instance_norm(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=True)


def _check_settings(channels: tuple[int, ...], instance_norm: str) -> None:
    if len(channels) != 4 or any(c < BOTTLENECK or c % BOTTLENECK for c in channels[1:]):
        raise ValueError(
            f"MODEL.OSNET.CHANNELS is {tuple(channels)}; expected four numbers, the last three "
            f"multiples of {BOTTLENECK}"
        )
    if instance_norm not in INSTANCE_NORMS:
        raise ValueError(
            f"MODEL.OSNET.INSTANCE_NORM is {instance_norm!r}; expected one of "
            f"{', '.join(map(repr, INSTANCE_NORMS))}"
        )
