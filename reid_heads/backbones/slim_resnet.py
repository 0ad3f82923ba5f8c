"""A small residual network of basic blocks with freely chosen widths, for training from scratch."""

from typing import Any

from detectron2.config import CfgNode
from detectron2.layers import CNNBlockBase, ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import ResNet
from detectron2.modeling.backbone.resnet import BasicBlock, BasicStem

from reid_heads.config_readers import reads_config


@BACKBONE_REGISTRY.register()
@reads_config("MODEL.SLIM_RESNET", "MODEL.CROP_REID.LAST_STRIDE")
def build_slim_resnet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> ResNet:
    """Build the network for person crops from ``MODEL.SLIM_RESNET``.

    ``MODEL.CROP_REID.LAST_STRIDE`` is the last stage's stride; ``MODEL.RESNETS.NORM`` and
    ``MODEL.RESNETS.OUT_FEATURES`` mean what they do for detectron2's ResNets.

    Raises:
        ValueError: if two stages have the same width.
    """
    return build_slim_resnet(
        cfg,
        input_shape.channels,
        out_features=cfg.MODEL.RESNETS.OUT_FEATURES,
        last_stride=cfg.MODEL.CROP_REID.LAST_STRIDE,
    )


def build_slim_resnet(
    cfg: CfgNode, in_channels: int, out_features: list[str], last_stride: int = 2
) -> ResNet:
    """Build detectron2's ResNet with the widths and depths of ``MODEL.SLIM_RESNET``.

    ``build_resnet_backbone`` fixes ResNet-18's widths at 64 and more. The parameters have
    detectron2's names.

    Args:
        cfg: ``MODEL.SLIM_RESNET`` and ``MODEL.RESNETS.NORM`` are read.
        in_channels: of the image.
        out_features: names of the maps to give: "stem", "res2", ...
        last_stride: of the last stage.

    Raises:
        ValueError: if two stages have the same width.
    """
    slim = cfg.MODEL.SLIM_RESNET
    if len(set(slim.CHANNELS)) < len(slim.CHANNELS):
        # detectron2's BasicBlock projects its shortcut only where the width changes, so a stride
        # needs a new width.
        raise ValueError(
            f"MODEL.SLIM_RESNET.CHANNELS is {slim.CHANNELS}; expected another width for each stage"
        )
    numbers = range(2, 2 + len(slim.CHANNELS))
    stages = [
        build_slim_stage(cfg, number, stride=last_stride if number == numbers[-1] else None)
        for number in numbers
    ]
    stem = BasicStem(in_channels, slim.STEM_CHANNELS, cfg.MODEL.RESNETS.NORM)
    return ResNet(stem, stages, out_features=out_features)


def build_slim_stage(cfg: CfgNode, number: int, stride: int | None = None) -> list[CNNBlockBase]:
    """Build the blocks of one stage.

    Args:
        cfg: ``MODEL.SLIM_RESNET`` and ``MODEL.RESNETS.NORM`` are read.
        number: 2 for res2, and so on.
        stride: of the first block; None: 1 in res2, as the stem has stride 4 already, 2 elsewhere.
    """
    slim = cfg.MODEL.SLIM_RESNET
    place = number - 2
    if stride is None:
        stride = 1 if number == 2 else 2
    blocks: Any = ResNet.make_stage(
        BasicBlock,
        slim.NUM_BLOCKS[place],
        stride_per_block=[stride] + [1] * (slim.NUM_BLOCKS[place] - 1),
        in_channels=slim.CHANNELS[place - 1] if place else slim.STEM_CHANNELS,
        out_channels=slim.CHANNELS[place],
        norm=cfg.MODEL.RESNETS.NORM,
    )
    return list(blocks)
