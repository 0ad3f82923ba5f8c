"""The identity branch: from shared feature maps and boxes to one embedding a person.

Letters: B images, R boxes over the batch, C channels, D embedding size.
"""

from collections import OrderedDict

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import CNNBlockBase, ShapeSpec
from detectron2.modeling.backbone import ResNet
from detectron2.modeling.backbone.resnet import BasicBlock
from detectron2.structures import Boxes
from torch import Tensor, nn

from person_search.modeling.fusion_pooling import MultiLevelRoIFusionPooling
from reid_heads.backbones.mobilenet_v2 import build_mobilenet_stage
from reid_heads.backbones.resnet import build_stage
from reid_heads.backbones.slim_resnet import build_slim_stage
from reid_heads.config_readers import Reader
from reid_heads.heads import build_reid_head
from reid_heads.heads.features import HeadFeatures

STAGE_BUILDERS = {
    "build_slim_resnet_backbone": build_slim_stage,
    "build_slim_resnet_fpn_backbone": build_slim_stage,
    "build_mobilenet_v2_backbone": build_mobilenet_stage,
    "build_mobilenet_v2_fpn_backbone": build_mobilenet_stage,
}
"""How backbones that are not ResNets of ``MODEL.RESNETS`` build a stage."""


class IdentityBranch(nn.Module):
    """Pool each person from the shared features, refine, embed.

    With own stages as the body, the path of a person is that of a crop through a ReID net: the
    shared stem and first stages, then the branch's own last ones.
    """

    # Its stages are copies of the backbone's, and start from the same ImageNet weights.
    weight_copies = ("",)

    @configurable
    def __init__(
        self,
        *,
        pooler: MultiLevelRoIFusionPooling,
        body: nn.Module,
        head: nn.Module,
        out_channels: int,
    ):
        """Assemble the branch.

        Args:
            pooler: maps (feature maps by name, boxes) to features (R, C, H, W).
            body: layers of the branch's own.
            head: a registered ReID head. One whose ``reads_pooled`` is true gets the pooled
                features as well.
            out_channels: of the body.
        """
        super().__init__()
        self.out_channels = out_channels
        self.pooler = pooler
        self.body = body
        self.head = head

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        """Translate the config."""
        branch = cfg.MODEL.PERSON_SEARCH.IDENTITY_BRANCH
        levels = {name: input_shape[name] for name in _known_features(branch, input_shape)}
        base = next(iter(levels.values()))
        body, in_channels, channels = build_identity_body(cfg, base.channels)
        pooler = MultiLevelRoIFusionPooling(
            levels=levels,
            out_channels=in_channels,
            output_size=tuple(branch.POOLER_RESOLUTION),
            sampling_ratio=branch.POOLER_SAMPLING_RATIO,
            pooler_type=branch.POOLER_TYPE,
            fusion=branch.FUSION,
            gate_start=branch.FUSION_GATE,
        )
        return {
            "pooler": pooler,
            "body": body,
            "out_channels": channels,
            "head": build_reid_head(
                cfg, ShapeSpec(channels=channels), ShapeSpec(channels=in_channels)
            ),
        }

    def forward(self, features: dict[str, Tensor], boxes: list[Boxes]) -> HeadFeatures:
        """Embed people.

        Args:
            features: feature maps (B, C, H, W) by name.
            boxes: B boxes structures in resized pixels, R boxes in all.

        Returns:
            The features of R people, in the order of ``boxes``. R may be 0 in evaluation mode.
        """
        return self.describe(*self.maps(features, boxes))

    def maps(self, features: dict[str, Tensor], boxes: list[Boxes]) -> tuple[Tensor, Tensor]:
        """Return the pooled features (R, C, H, W) and what the branch's own layers make of them."""
        pooled = self.pooler(features, boxes)
        # RoIAlign loses this layout of the images; convolutions are some percent faster in it.
        pooled = pooled.contiguous(memory_format=torch.channels_last)
        return pooled, self.body(pooled)

    def describe(self, pooled: Tensor, refined: Tensor) -> HeadFeatures:
        """Run the head on what ``maps`` gives."""
        if getattr(self.head, "reads_pooled", False):
            return self.head(refined, pooled)
        return self.head(refined)


def _known_features(branch: CfgNode, input_shape: dict[str, ShapeSpec]) -> list[str]:
    names = list(branch.IN_FEATURES)
    if not names or len(set(names)) < len(names) or not set(names) <= set(input_shape):
        raise ValueError(
            f"MODEL.PERSON_SEARCH.IDENTITY_BRANCH.IN_FEATURES is {names}; expected one or more of "
            f"{sorted(input_shape)}, each once"
        )
    return names


def build_identity_body(cfg: CfgNode, in_channels: int) -> tuple[nn.Module, int, int]:
    """Build the branch's own layers.

    Args:
        cfg: of the model.
        in_channels: of the base level; own stages have the input channels that they have in the
            backbone instead.

    Returns:
        The layers, their input channels and their output channels.

    Raises:
        ValueError: for an unknown ``BODY`` or a normalisation that cannot work per region.
    """
    branch = cfg.MODEL.PERSON_SEARCH.IDENTITY_BRANCH
    if branch.BODY == "none":
        return nn.Identity(), in_channels, in_channels
    if branch.BODY == "basic_blocks":
        body, channels = _build_basic_blocks(branch.BASIC_BLOCKS, in_channels)
        return body, in_channels, channels
    stages = own_stages(branch.BODY)
    if not stages:
        raise ValueError(
            f"MODEL.PERSON_SEARCH.IDENTITY_BRANCH.BODY is {branch.BODY!r}; expected 'res5', "
            "'res4+res5', 'res3+res4+res5', 'basic_blocks' or 'none'"
        )
    if "Sync" in cfg.MODEL.RESNETS.NORM:
        raise _no_synchronised_norm("MODEL.RESNETS.NORM", cfg.MODEL.RESNETS.NORM)
    blocks = {f"res{number}": _build_own_stage(cfg, number) for number in stages}
    first, last = blocks[f"res{stages[0]}"][0], blocks[f"res{stages[-1]}"][-1]
    body = nn.Sequential(OrderedDict((name, nn.Sequential(*b)) for name, b in blocks.items()))
    return body, first.in_channels, last.out_channels


def own_stages(body: str) -> list[int]:
    """Return the numbers of the stages that a ``BODY`` names, [4, 5] for "res4+res5"; else []."""
    known = {"res5": [5], "res4+res5": [4, 5], "res3+res4+res5": [3, 4, 5]}
    return known.get(body, [])


_NODE = "MODEL.PERSON_SEARCH.IDENTITY_BRANCH"

CONFIG_READERS = (
    Reader(
        f"two or more {_NODE}.IN_FEATURES",
        (f"{_NODE}.FUSION", f"{_NODE}.FUSION_GATE"),
        lambda cfg: len(cfg.MODEL.PERSON_SEARCH.IDENTITY_BRANCH.IN_FEATURES) > 1,
    ),
    Reader(
        f"a {_NODE}.BODY with a res5",
        (f"{_NODE}.LAST_STRIDE",),
        lambda cfg: 5 in own_stages(cfg.MODEL.PERSON_SEARCH.IDENTITY_BRANCH.BODY),
    ),
    Reader(
        f"{_NODE}.BODY basic_blocks",
        (f"{_NODE}.BASIC_BLOCKS",),
        lambda cfg: cfg.MODEL.PERSON_SEARCH.IDENTITY_BRANCH.BODY == "basic_blocks",
    ),
)


def _build_own_stage(cfg: CfgNode, number: int) -> list[CNNBlockBase]:
    build = STAGE_BUILDERS.get(cfg.MODEL.BACKBONE.NAME, build_stage)
    last_stride = cfg.MODEL.PERSON_SEARCH.IDENTITY_BRANCH.LAST_STRIDE
    return build(cfg, number, stride=last_stride if number == 5 else None)


def _no_synchronised_norm(key: str, norm: str) -> ValueError:
    # A process whose images hold no person skips the branch; synchronised statistics would wait for
    # it for ever.
    return ValueError(f"{key} is {norm!r}; use 'BN', 'GN' or 'FrozenBN' beside an identity branch")


def _build_basic_blocks(blocks_cfg: CfgNode, in_channels: int) -> tuple[nn.Module, int]:
    if "Sync" in blocks_cfg.NORM:
        raise _no_synchronised_norm("IDENTITY_BRANCH.BASIC_BLOCKS.NORM", blocks_cfg.NORM)
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
