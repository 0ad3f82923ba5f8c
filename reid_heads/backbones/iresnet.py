"""IResNet: the residual networks of face recognition, which keep their map fine at the start.

Deng et al., "ArcFace", CVPR 2019, section 3.1, and Duta et al., "Improved Residual Networks for
Image and Video Recognition", ICPR 2020; the behaviour agrees with insightface's networks of that
name, whose weights are public. The layers behind the map are ``FlattenHead``.

Letters: B images, C channels, H and W pixels or feature cells.
"""

from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import Conv2d, ShapeSpec, get_norm
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import Backbone
from torch import Tensor, nn

from reid_heads.config_readers import reads_config

NUM_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 14, 3), 100: (3, 13, 30, 3)}
"""Blocks of res2, res3, res4 and res5 by depth, of two convolutions each."""

STRIDE = 16


@BACKBONE_REGISTRY.register()
@reads_config("MODEL.IRESNET")
def build_iresnet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> "IResNet":
    """Build the network from ``MODEL.IRESNET``; ``MODEL.RESNETS.NORM`` names its BatchNorm.

    Raises:
        ValueError: for a depth that this network does not have, or widths that are not four.
    """
    network: IResNet = IResNet(cfg, input_shape)
    return network


class IResNet(Backbone):
    """A stem of stride 1 and four stages, each of which halves the map.

    Its map, "res5", has a sixteenth of the image's height and width: 7 x 7 for faces of 112 x 112.
    """

    @configurable
    def __init__(
        self,
        *,
        in_channels: int,
        channels: tuple[int, int, int, int],
        num_blocks: tuple[int, int, int, int],
        norm: str = "BN",
        size: tuple[int, int] | None = None,
    ):
        """Make the network.

        Args:
            in_channels: of the image.
            channels: C of res2 to res5; the stem has that of res2.
            num_blocks: of res2 to res5.
            norm: detectron2's name of the norm.
            size: height and width of the images, pixels, where they are all of one size:
                ``output_shape`` then tells those of the map.
        """
        super().__init__()
        self.channels = channels[-1]
        self.size = size
        stem_norm = get_norm(norm, channels[0])
        self.conv1 = Conv2d(in_channels, channels[0], 3, padding=1, bias=False, norm=stem_norm)
        self.prelu = nn.PReLU(channels[0])
        before = channels[0]
        stages = []
        for own, count in zip(channels, num_blocks, strict=True):
            blocks = [PreNormBlock(before, own, norm, stride=2)]
            blocks += [PreNormBlock(own, own, norm) for _ in range(count - 1)]
            stages.append(nn.Sequential(*blocks))
            before = own
        self.res2, self.res3, self.res4, self.res5 = stages
        for module in self.modules():
            if isinstance(module, Conv2d):
                # As insightface's, which start with wider weights than He et al.'s.
                nn.init.normal_(module.weight, std=0.1)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        """Translate the config.

        Raises:
            ValueError: for a depth that this network does not have, or widths that are not four.
        """
        node = cfg.MODEL.IRESNET
        if node.DEPTH not in NUM_BLOCKS:
            raise ValueError(
                f"MODEL.IRESNET.DEPTH is {node.DEPTH}; expected one of "
                f"{', '.join(map(str, NUM_BLOCKS))}"
            )
        if len(node.CHANNELS) != 4 or min(node.CHANNELS) < 1:
            raise ValueError(
                f"MODEL.IRESNET.CHANNELS is {tuple(node.CHANNELS)}; expected four numbers"
            )
        return {
            "in_channels": input_shape.channels,
            "channels": tuple(node.CHANNELS),
            "num_blocks": NUM_BLOCKS[node.DEPTH],
            "norm": cfg.MODEL.RESNETS.NORM,
            "size": tuple(cfg.INPUT.REID.SIZE),
        }

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Map images (B, 3, H, W) to {"res5": features (B, C, H / 16, W / 16)}, rounded up."""
        x = self.prelu(self.conv1(image))
        return {"res5": self.res5(self.res4(self.res3(self.res2(x))))}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return channels and stride of the map, and its height and width where they are known."""
        height, width = (None, None)
        if self.size is not None:
            height, width = (-(-side // STRIDE) for side in self.size)
        return {"res5": ShapeSpec(self.channels, height, width, STRIDE)}


class PreNormBlock(nn.Module):
    """A residual block that begins with a norm, and ends without a nonlinearity.

    ArcFace's "BN-Conv-BN-PReLU-Conv-BN"; the second convolution has the stride.
    """

    def __init__(self, in_channels: int, out_channels: int, norm: str, stride: int = 1):
        """Make the block.

        Args:
            in_channels: C of the input.
            out_channels: C of the output.
            norm: detectron2's name of the norm.
            stride: above 1, or with another C, the shortcut is a projection.
        """
        super().__init__()
        self.norm = get_norm(norm, in_channels)
        self.conv1 = _conv(in_channels, out_channels, norm, 3)
        self.prelu = nn.PReLU(out_channels)
        self.conv2 = _conv(out_channels, out_channels, norm, 3, stride)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or in_channels != out_channels:
            self.shortcut = _conv(in_channels, out_channels, norm, 1, stride)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to (B, C', H / stride, W / stride), rounded up."""
        residual = self.conv2(self.prelu(self.conv1(self.norm(features))))
        summed: Tensor = residual + self.shortcut(features)
        return summed


def _conv(in_channels: int, channels: int, norm: str, size: int, stride: int = 1) -> nn.Module:
    conv: nn.Module = Conv2d(
        in_channels,
        channels,
        size,
        stride=stride,
        padding=size // 2,
        bias=False,
        norm=get_norm(norm, channels),
    )
    return conv
