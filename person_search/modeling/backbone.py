"""Small networks with a feature pyramid, for training on a laptop."""

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import FPN, ResNet
from torch import Tensor

from reid_heads.backbones.mobilenet_v2 import build_mobilenet_v2
from reid_heads.backbones.slim_resnet import build_slim_resnet
from reid_heads.config_readers import reads_config


class FPNWithBottomUp(FPN):
    """detectron2's FPN that also hands out the bottom-up maps (res2, res3, ...).

    The pyramid serves detection; an identity branch may start from a shallow map instead and share
    no more than the stem with it, since the two tasks want different features.
    """

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Map images (B, 3, H, W) to feature maps (B, C, H', W') by name."""
        bottom_up: dict[str, Tensor] = {}
        # FPN keeps these to itself; listening saves computing them twice.
        hook = self.bottom_up.register_forward_hook(lambda _, __, maps: bottom_up.update(maps))
        try:
            pyramid = super().forward(image)
        finally:
            hook.remove()
        return {**bottom_up, **pyramid}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return channels and stride of each map."""
        return {**self.bottom_up.output_shape(), **super().output_shape()}


@BACKBONE_REGISTRY.register()
@reads_config("MODEL.SLIM_RESNET")
def build_slim_resnet_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> FPNWithBottomUp:
    """Build the small residual network of ``MODEL.SLIM_RESNET`` under detectron2's FPN.

    Every other key (``MODEL.RESNETS.NORM``, ``MODEL.FPN.*``) means what it does for detectron2's
    own FPN builders.

    Raises:
        ValueError: if two stages have the same width.
    """
    channels = input_shape.channels
    return _build_pyramid(
        cfg, build_slim_resnet(cfg, channels, out_features=cfg.MODEL.FPN.IN_FEATURES)
    )


@BACKBONE_REGISTRY.register()
def build_mobilenet_v2_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> FPNWithBottomUp:
    """Build MobileNetV2 under detectron2's FPN.

    ``MODEL.RESNETS.NORM``, ``MODEL.BACKBONE.FREEZE_AT`` and ``MODEL.FPN.*`` mean what they do for
    detectron2's own FPN builders.
    """
    channels = input_shape.channels
    return _build_pyramid(
        cfg, build_mobilenet_v2(cfg, channels, out_features=cfg.MODEL.FPN.IN_FEATURES)
    )


def _build_pyramid(cfg: CfgNode, bottom_up: ResNet) -> FPNWithBottomUp:
    pyramid = FPNWithBottomUp(
        bottom_up,
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )
    _freeze_unread_outputs(pyramid, cfg)
    return pyramid


def _freeze_unread_outputs(pyramid: FPNWithBottomUp, cfg: CfgNode) -> None:
    """Freeze the output convolution of each level that nothing reads.

    It gets no gradient, and DistributedDataParallel stops at a trainable parameter without one.
    """
    read = {
        *cfg.MODEL.RPN.IN_FEATURES,
        *cfg.MODEL.ROI_HEADS.IN_FEATURES,
        *cfg.MODEL.PERSON_SEARCH.IDENTITY_BRANCH.IN_FEATURES,
    }
    for level in FPN.output_shape(pyramid):
        if level not in read:
            getattr(pyramid, f"fpn_output{level.removeprefix('p')}").requires_grad_(False)
