"""MobileNetV2 in the stages of a ResNet, for crops and for the detector's pyramid.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, table 2, at
width 1.0. The blocks are torchvision's, so ImageNet's weights fit: see ``mobilenet_weights``.

Letters: B images, C channels, H and W pixels or feature cells.
"""

from detectron2.config import CfgNode
from detectron2.layers import CNNBlockBase, ShapeSpec, get_norm
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import ResNet
from torch import Tensor, nn
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.ops import Conv2dNormActivation

from reid_heads.config_readers import reads_config

STEM_CHANNELS = (32, 16)
"""C of the stem's convolution and of the block behind it."""

STAGES = {
    2: ((24, 2), (24, 1)),
    3: ((32, 2), (32, 1), (32, 1)),
    4: ((64, 2), (64, 1), (64, 1), (64, 1), (96, 1), (96, 1), (96, 1)),
    5: ((160, 2), (160, 1), (160, 1), (320, 1)),
}
"""C and stride of the inverted residuals of res2 to res5 (the paper's table 2, from the rows with
an expansion of 6 on). A stage ends where the next stride begins, as a ResNet's does."""

LAST_CHANNELS = 1280
"""C of the 1x1 convolution behind the last block, which here belongs to res5."""


@BACKBONE_REGISTRY.register()
@reads_config("MODEL.CROP_REID.LAST_STRIDE")
def build_mobilenet_v2_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> ResNet:
    """Build MobileNetV2 for person crops.

    ``MODEL.CROP_REID.LAST_STRIDE`` is res5's stride; ``MODEL.RESNETS.NORM``,
    ``MODEL.RESNETS.OUT_FEATURES`` and ``MODEL.BACKBONE.FREEZE_AT`` mean what they do for
    detectron2's ResNets.

    Raises:
        ValueError: for another stride than 1 and 2.
    """
    return build_mobilenet_v2(
        cfg,
        input_shape.channels,
        out_features=cfg.MODEL.RESNETS.OUT_FEATURES,
        last_stride=cfg.MODEL.CROP_REID.LAST_STRIDE,
    )


def build_mobilenet_v2(
    cfg: CfgNode, in_channels: int, out_features: list[str], last_stride: int = 2
) -> ResNet:
    """Build MobileNetV2 as detectron2's ResNet, with "stem" (stride 2), "res2" (4) to "res5" (32).

    Args:
        cfg: ``MODEL.RESNETS.NORM`` and ``MODEL.BACKBONE.FREEZE_AT`` are read.
        in_channels: of the image.
        out_features: names of the maps to give.
        last_stride: of res5: 1 keeps a finer map, 2 is MobileNetV2's own.

    Raises:
        ValueError: for another ``last_stride``.
    """
    stages = [
        build_mobilenet_stage(cfg, number, stride=last_stride if number == 5 else None)
        for number in STAGES
    ]
    stem = MobileNetStem(in_channels, cfg.MODEL.RESNETS.NORM)
    return ResNet(stem, stages, out_features=out_features, freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT)


def build_mobilenet_stage(
    cfg: CfgNode, number: int, stride: int | None = None
) -> list[CNNBlockBase]:
    """Build the blocks of one stage.

    Args:
        cfg: ``MODEL.RESNETS.NORM`` is read.
        number: 2 for res2 to 5 for res5.
        stride: of the first block; None: MobileNetV2's own, 2.

    Raises:
        ValueError: for another stride than 1 and 2.
    """
    if stride not in (None, 1, 2):
        raise ValueError(f"the stride of MobileNetV2's res{number} is {stride}; expected 1 or 2")
    norm = cfg.MODEL.RESNETS.NORM
    channels = STEM_CHANNELS[-1] if number == 2 else STAGES[number - 1][-1][0]
    blocks: list[CNNBlockBase] = []
    for place, (width, own_stride) in enumerate(STAGES[number]):
        block_stride = own_stride if place or stride is None else stride
        blocks.append(InvertedResidualBlock(channels, width, block_stride, norm))
        channels = width
    if number == 5:
        blocks.append(PointwiseBlock(channels, LAST_CHANNELS, norm))
    return blocks


class InvertedResidualBlock(CNNBlockBase):
    """torchvision's inverted residual with an expansion of 6, as a block of detectron2's."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm: str):
        """Make the block; ``norm`` is detectron2's name of it."""
        super().__init__(in_channels, out_channels, stride)
        self.block = InvertedResidual(
            in_channels, out_channels, stride, 6, lambda channels: get_norm(norm, channels)
        )
        _initialise(self)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to (B, C', H / stride, W / stride)."""
        result: Tensor = self.block(features)
        return result


class PointwiseBlock(CNNBlockBase):
    """A 1x1 convolution, norm and ReLU6: what MobileNetV2 has before its classifier."""

    def __init__(self, in_channels: int, out_channels: int, norm: str):
        """Make the block; ``norm`` is detectron2's name of it."""
        super().__init__(in_channels, out_channels, 1)
        self.block = _conv_norm_relu6(in_channels, out_channels, norm, kernel_size=1)
        _initialise(self)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to (B, C', H, W)."""
        result: Tensor = self.block(features)
        return result


class MobileNetStem(CNNBlockBase):
    """The first convolution, of stride 2, and the one block that does not expand."""

    def __init__(self, in_channels: int, norm: str):
        """Make the stem; ``norm`` is detectron2's name of it."""
        middle, out_channels = STEM_CHANNELS
        super().__init__(in_channels, out_channels, 2)
        self.conv1 = _conv_norm_relu6(in_channels, middle, norm, kernel_size=3, stride=2)
        self.block = InvertedResidual(
            middle, out_channels, 1, 1, lambda channels: get_norm(norm, channels)
        )
        _initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to features (B, 16, H / 2, W / 2)."""
        result: Tensor = self.block(self.conv1(image))
        return result


def _conv_norm_relu6(
    in_channels: int, out_channels: int, norm: str, kernel_size: int, stride: int = 1
) -> nn.Module:
    return Conv2dNormActivation(
        in_channels,
        out_channels,
        kernel_size,
        stride,
        norm_layer=lambda channels: get_norm(norm, channels),
        activation_layer=nn.ReLU6,
    )


def _initialise(block: nn.Module) -> None:
    # As torchvision's MobileNetV2 starts.
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
