"""ResNets for crops: free widths, last stride, instance normalisation, and the cut that MGN needs.

Letters: B images, C channels, H and W pixels or feature cells.
"""

from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.layers import CNNBlockBase, ShapeSpec, get_norm
from detectron2.modeling import BACKBONE_REGISTRY
from detectron2.modeling.backbone import ResNet
from detectron2.modeling.backbone.resnet import BasicBlock, BasicStem, BottleneckBlock
from torch import Tensor, nn

from reid_heads.config_readers import reads_config

NUM_BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Blocks of res2, res3, res4 and res5 by depth (He et al., CVPR 2016, table 1)."""

STEM_POOLS: dict[str, Any] = {"padded": {"padding": 1}, "ceil": {"ceil_mode": True}}
"""Ways of the stem's 3x3 max pooling, as arguments of torch's."""

RES4_1 = "res4_1"
"""Name of the map after res4's first block, where MGN's branches start."""


@BACKBONE_REGISTRY.register()
@reads_config(
    "MODEL.CROP_REID.LAST_STRIDE",
    "MODEL.CROP_REID.IBN",
    "MODEL.CROP_REID.STEM_RELU",
    "MODEL.CROP_REID.STEM_POOL",
)
def build_reid_resnet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> ResNet:
    """Build a ResNet for person crops from ``MODEL.RESNETS`` and ``MODEL.CROP_REID``.

    Other than in ``build_resnet_backbone``, ResNet-18 and -34 may have any ``RES2_OUT_CHANNELS``
    (32 makes a small network for laptops); the last stage's stride, IBN-a and the stem are
    chosen in ``MODEL.CROP_REID``; and ``MODEL.RESNETS.OUT_FEATURES ["res4_1"]`` ends the network
    after res4's first block. Parameters have detectron2's names in every case.

    Raises:
        ValueError: for a setting that this network does not have.
    """
    _check_settings(cfg)
    resnets = cfg.MODEL.RESNETS
    stem = CropStem(
        input_shape.channels,
        resnets.STEM_OUT_CHANNELS,
        resnets.NORM,
        use_relu=cfg.MODEL.CROP_REID.STEM_RELU,
        pool=cfg.MODEL.CROP_REID.STEM_POOL,
    )
    freeze_at = cfg.MODEL.BACKBONE.FREEZE_AT
    if list(resnets.OUT_FEATURES) == [RES4_1]:
        return SharedResNet(stem, [build_stage(cfg, n) for n in (2, 3, 4)], freeze_at)
    stages = [
        *(build_stage(cfg, number) for number in (2, 3, 4)),
        build_stage(cfg, 5, stride=cfg.MODEL.CROP_REID.LAST_STRIDE),
    ]
    return ResNet(stem, stages, out_features=resnets.OUT_FEATURES, freeze_at=freeze_at)


def build_stage(cfg: CfgNode, number: int, stride: int | None = None) -> list[CNNBlockBase]:
    """Build the blocks of one stage, with Kaiming initialisation as all of detectron2's blocks.

    Widths double from stage to stage. So a stage that has a stride has a new width too, which
    matters: detectron2's blocks project their shortcut only where the width changes.

    Args:
        cfg: ``MODEL.RESNETS`` and ``MODEL.CROP_REID.IBN`` are read.
        number: 2 for res2 to 5 for res5.
        stride: of the first block; None: ResNet's own, 1 in res2 and 2 elsewhere.

    Returns:
        The stage's blocks, in order.
    """
    resnets = cfg.MODEL.RESNETS
    place = number - 2
    num_blocks = NUM_BLOCKS[resnets.DEPTH][place]
    out_channels = resnets.RES2_OUT_CHANNELS * 2**place
    if stride is None:
        stride = 1 if number == 2 else 2
    settings = {
        "in_channels": resnets.STEM_OUT_CHANNELS if number == 2 else out_channels // 2,
        "out_channels": out_channels,
        "stride_per_block": [stride] + [1] * (num_blocks - 1),
        "norm": resnets.NORM,
    }
    block_class = BasicBlock
    if resnets.DEPTH >= 50:
        block_class = BottleneckBlock
        settings["bottleneck_channels"] = resnets.NUM_GROUPS * resnets.WIDTH_PER_GROUP * 2**place
        settings["num_groups"] = resnets.NUM_GROUPS
        settings["stride_in_1x1"] = resnets.STRIDE_IN_1X1
    blocks: list[Any] = ResNet.make_stage(block_class, num_blocks, **settings)
    if cfg.MODEL.CROP_REID.IBN == "a" and number < 5:
        for block in blocks:
            block.conv1.norm = HalfInstanceNorm(block.conv1.out_channels, resnets.NORM)
    return blocks


class HalfInstanceNorm(nn.Module):
    """The norm of IBN-a: InstanceNorm on the first half of the channels, BatchNorm on the rest.

    Pan et al., ECCV 2018: instance statistics remove appearance such as colour and light from
    shallow features; the other half keeps what tells things apart. The two attributes are named as
    in the published weights.
    """

    def __init__(self, channels: int, norm: str):
        """Make the two norms for C ``channels``; ``norm`` is detectron2's name of the second."""
        super().__init__()
        half = channels // 2
        self.IN = nn.InstanceNorm2d(half, affine=True)
        self.BN = get_norm(norm, channels - half)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise features (B, C, H, W); B may be 0."""
        instance, batch = torch.split(features, [self.IN.num_features, self.BN.num_features], dim=1)
        # torch's InstanceNorm raises on an empty batch.
        if len(features):
            instance = self.IN(instance)
        return torch.cat([instance, self.BN(batch)], dim=1)


class CropStem(BasicStem):
    """detectron2's stem with a choice of what follows its norm.

    The network that gave the published Bag of Tricks numbers (Luo et al., CVPRW 2019) has no ReLU
    there; its authors call it a mistake and keep it. fast-reid's pools without padding, and over
    what is left at the lower and the right edge: as many cells, a pixel further down and right.
    """

    def __init__(
        self, in_channels: int, out_channels: int, norm: str, *, use_relu: bool, pool: str
    ):
        """Make the stem.

        Args:
            in_channels: of the image.
            out_channels: C.
            norm: detectron2's name of it.
            use_relu: whether a ReLU follows the norm.
            pool: a name in ``STEM_POOLS``.
        """
        super().__init__(in_channels, out_channels, norm)
        self.use_relu = use_relu
        self.pool = pool

    def forward(self, image: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to features (B, C, H / 4, W / 4)."""
        features = self.conv1(image)
        if self.use_relu:
            features = F.relu_(features)
        pooled: Tensor = F.max_pool2d(features, kernel_size=3, stride=2, **STEM_POOLS[self.pool])
        return pooled


class SharedResNet(ResNet):
    """The part of a ResNet that MGN's branches share: up to and with res4's first block.

    That block is res4.0 as in a whole ResNet, so a whole ResNet's weights match by name.
    """

    def __init__(self, stem: CNNBlockBase, stages: list[list[CNNBlockBase]], freeze_at: int = 0):
        """Cut a ResNet: ``stages`` are the blocks of res2, res3 and res4."""
        res2, res3, res4 = stages
        super().__init__(stem, [res2, res3, res4[:1]], out_features=["res4"], freeze_at=freeze_at)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Map images (B, 3, H, W) to {"res4_1": features (B, C, H / 16, W / 16)}."""
        return {RES4_1: super().forward(image)["res4"]}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return channels and stride of the map."""
        return {RES4_1: super().output_shape()["res4"]}


def _check_settings(cfg: CfgNode) -> None:
    resnets, crop_reid = cfg.MODEL.RESNETS, cfg.MODEL.CROP_REID
    whole = {"stem", "res2", "res3", "res4", "res5"}
    expected = {
        "RESNETS.DEPTH": (resnets.DEPTH, resnets.DEPTH in NUM_BLOCKS, sorted(NUM_BLOCKS)),
        "RESNETS.OUT_FEATURES": (
            resnets.OUT_FEATURES,
            bool(resnets.OUT_FEATURES)
            and (set(resnets.OUT_FEATURES) <= whole or list(resnets.OUT_FEATURES) == [RES4_1]),
            f"some of {sorted(whole)}, or [{RES4_1!r}] alone",
        ),
        "RESNETS.NUM_GROUPS": (
            resnets.NUM_GROUPS,
            resnets.NUM_GROUPS == 1 or resnets.DEPTH >= 50,
            "1 where DEPTH is 18 or 34",
        ),
        "RESNETS.RES5_DILATION": (
            resnets.RES5_DILATION,
            resnets.RES5_DILATION == 1,
            "1; CROP_REID.LAST_STRIDE makes the map finer",
        ),
        "RESNETS.DEFORM_ON_PER_STAGE": (
            resnets.DEFORM_ON_PER_STAGE,
            not any(resnets.DEFORM_ON_PER_STAGE),
            "no deformable stage",
        ),
        "RESNETS.NORM": (
            resnets.NORM,
            crop_reid.IBN == "none" or resnets.NORM in ("BN", "SyncBN", "FrozenBN"),
            "'BN', 'SyncBN' or 'FrozenBN' beside instance normalisation",
        ),
        "CROP_REID.LAST_STRIDE": (crop_reid.LAST_STRIDE, crop_reid.LAST_STRIDE in (1, 2), "1 or 2"),
        "CROP_REID.STEM_POOL": (
            crop_reid.STEM_POOL,
            crop_reid.STEM_POOL in STEM_POOLS,
            " or ".join(map(repr, STEM_POOLS)),
        ),
        "CROP_REID.IBN": (crop_reid.IBN, crop_reid.IBN in ("none", "a"), "'none' or 'a'"),
    }
    for key, (value, is_known, answer) in expected.items():
        if not is_known:
            raise ValueError(f"MODEL.{key} is {value!r}; expected {answer}")
