"""The identity branch: from shared feature maps and boxes to one embedding a person.

Letters: B images, R boxes over the batch, D embedding size.
"""

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.backbone import ResNet
from detectron2.modeling.backbone.resnet import BasicBlock
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads import Res5ROIHeads
from detectron2.structures import Boxes
from torch import Tensor, nn

from reid_heads.heads import build_reid_head
from reid_heads.heads.features import HeadFeatures


class IdentityBranch(nn.Module):
    """Pool each person from the shared features, refine, embed."""

    # Its stages are copies of the backbone's, and start from the same ImageNet weights.
    weight_copies = ("",)

    @configurable
    def __init__(self, *, in_feature: str, pooler: ROIPooler, body: nn.Module, head: nn.Module):
        """Assemble the branch.

        Args:
            in_feature: name of the feature map that ``pooler`` reads.
            pooler: maps (one feature map, boxes) to features (R, C, H, W).
            body: layers of the branch's own.
            head: a registered ReID head.
        """
        super().__init__()
        self.in_feature = in_feature
        self.pooler = pooler
        self.body = body
        self.head = head

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        """Translate the config."""
        branch = cfg.MODEL.PERSON_SEARCH.IDENTITY_BRANCH
        (in_feature,) = _known_features(branch.IN_FEATURES, input_shape)
        body, channels = build_identity_body(cfg, input_shape[in_feature].channels)
        return {
            "in_feature": in_feature,
            "pooler": ROIPooler(
                output_size=tuple(branch.POOLER_RESOLUTION),
                scales=(1.0 / input_shape[in_feature].stride,),
                sampling_ratio=branch.POOLER_SAMPLING_RATIO,
                pooler_type="ROIAlignV2",
            ),
            "body": body,
            "head": build_reid_head(cfg, ShapeSpec(channels=channels)),
        }

    def forward(self, features: dict[str, Tensor], boxes: list[Boxes]) -> HeadFeatures:
        """Embed people.

        Args:
            features: feature maps (B, C, H, W) by name.
            boxes: B boxes structures in resized pixels, R boxes in all.

        Returns:
            The features of R people, in the order of ``boxes``. R may be 0 in evaluation mode.
        """
        return self.head(self.body(self.pooler([features[self.in_feature]], boxes)))


def _known_features(names: list[str], input_shape: dict[str, ShapeSpec]) -> list[str]:
    key = "MODEL.PERSON_SEARCH.IDENTITY_BRANCH.IN_FEATURES"
    if len(names) != 1:
        raise ValueError(f"{key} is {list(names)}; expected exactly one feature map")
    if names[0] not in input_shape:
        raise ValueError(f"{key} is {list(names)}; the backbone gives {sorted(input_shape)}")
    return list(names)


def build_identity_body(cfg: CfgNode, in_channels: int) -> tuple[nn.Module, int]:
    """Build the branch's own layers; return them with their number of output channels.

    Raises:
        ValueError: for an unknown ``BODY`` or a normalisation that cannot work per region.
    """
    branch = cfg.MODEL.PERSON_SEARCH.IDENTITY_BRANCH
    if branch.BODY == "none":
        return nn.Identity(), in_channels
    if branch.BODY == "res5":
        body = nn.Sequential()
        res5, out_channels = Res5ROIHeads._build_res5_block(cfg)
        body.add_module("res5", res5)
        return body, out_channels
    if branch.BODY == "basic_blocks":
        return _build_basic_blocks(branch.BASIC_BLOCKS, in_channels)
    raise ValueError(
        f"MODEL.PERSON_SEARCH.IDENTITY_BRANCH.BODY is {branch.BODY!r}; "
        "expected 'res5', 'basic_blocks' or 'none'"
    )


def _build_basic_blocks(blocks_cfg: CfgNode, in_channels: int) -> tuple[nn.Module, int]:
    if "Sync" in blocks_cfg.NORM:
        # A process whose images hold no person skips the branch; synchronised statistics would wait
        # for it for ever.
        raise ValueError(
            f"IDENTITY_BRANCH.BASIC_BLOCKS.NORM is {blocks_cfg.NORM!r}; "
            "use 'BN', 'GN' or 'FrozenBN'"
        )
    if in_channels == blocks_cfg.CHANNELS and blocks_cfg.STRIDE > 1:
        # detectron2's BasicBlock projects its shortcut only where the width changes.
        raise ValueError(
            f"IDENTITY_BRANCH.BASIC_BLOCKS.CHANNELS is {blocks_cfg.CHANNELS}, as many as the "
            f"feature map has, with STRIDE {blocks_cfg.STRIDE}; use another number, or STRIDE 1"
        )
    blocks = ResNet.make_stage(
        BasicBlock,
        blocks_cfg.NUM_BLOCKS,
        stride_per_block=[blocks_cfg.STRIDE] + [1] * (blocks_cfg.NUM_BLOCKS - 1),
        in_channels=in_channels,
        out_channels=blocks_cfg.CHANNELS,
        norm=blocks_cfg.NORM,
    )
    return nn.Sequential(*blocks), blocks_cfg.CHANNELS
