"""The C4 detector's box head as a registered box head.

Letters: R boxes over the batch, C channels, H and W feature cells.
"""

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import ROI_BOX_HEAD_REGISTRY
from torch import Tensor, nn

from reid_heads.backbones.resnet import build_stage
from reid_heads.config_readers import reads_config

POOLINGS = {"avg": torch.mean, "max": torch.amax}


@ROI_BOX_HEAD_REGISTRY.register()
@reads_config("MODEL.PERSON_SEARCH.RES5_BOX_HEAD")
class Res5BoxHead(nn.Module):
    """ResNet's last stage and global pooling on pooled res4 features.

    detectron2 has this inside ``Res5ROIHeads``, with ResNet-50's blocks for every depth; as a box
    head it serves ``StandardROIHeads``, so that one ROI heads class covers C4 and FPN detectors.
    Its parameters keep the name ``res5``, by which ImageNet weights find them.
    """

    @configurable
    def __init__(self, *, res5: nn.Module, out_channels: int, pooling: str = "avg"):
        """Wrap the stage.

        Args:
            res5: the stage.
            out_channels: its number of output channels.
            pooling: of its output: "avg" as in detectron2, or "max" as in the released code of NAE
                and SeqNet.

        Raises:
            ValueError: for another pooling.
        """
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(
                f"MODEL.PERSON_SEARCH.RES5_BOX_HEAD.POOLING is {pooling!r}; expected one of "
                f"{list(POOLINGS)}"
            )
        self.res5 = res5
        self.out_channels = out_channels
        self.pooling = pooling

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict:
        """Translate the config."""
        blocks = build_stage(cfg, 5)
        return {
            "res5": nn.Sequential(*blocks),
            "out_channels": blocks[-1].out_channels,
            "pooling": cfg.MODEL.PERSON_SEARCH.RES5_BOX_HEAD.POOLING,
        }

    @property
    def output_shape(self) -> ShapeSpec:
        """Shape of the output: a vector of ``out_channels``."""
        return ShapeSpec(channels=self.out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Map pooled features (R, C, H, W) to (R, out_channels)."""
        return POOLINGS[self.pooling](self.res5(features), dim=(2, 3))
