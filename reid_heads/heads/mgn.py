"""MGN: a global view of each person, one of two stripes and one of three.

Letters: R people, C channels, H and W feature cells, d reduced feature size.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from torch import Tensor, cat, nn

from reid_heads.backbones.resnet import RES4_1, build_stage
from reid_heads.config_readers import reads_config
from reid_heads.heads.embedding import REID_HEADS_REGISTRY
from reid_heads.heads.features import HeadFeatures
from reid_heads.heads.pooling import build_pooling
from reid_heads.heads.row_batch_norm import RowBatchNorm

LAST_STRIDES = (2, 1, 1)
"""Stride of res5 in the global, the part-2 and the part-3 branch: 12x4, 24x8 and 24x8 cells for the
published input of 384x128 pixels."""

PARTS = (2, 3)
"""Stripes of the part-2 and of the part-3 branch."""


@REID_HEADS_REGISTRY.register()
@reads_config("MODEL.REID_HEAD.POOLING", "MODEL.REID_HEAD.MGN")
class MGNHead(nn.Module):
    """Multiple Granularity Network, Wang et al., ACM MM 2018, section 3.1 and table 1.

    Three branches continue from res4's first block, each with layers of its own. Each pools its
    whole map, the part branches their stripes too: eight vectors, which are reduced separately. In
    the order used everywhere here: three globals (global, part-2, part-3 branch), two stripes of
    part-2, three of part-3, from head to feet.

    The paper's reduction is a 1x1 convolution of a 1x1 map, BatchNorm and ReLU; on pooled vectors
    the convolution is this Linear without bias.

    Attributes:
        weight_copies: prefixes of the three branches' parameters within the head. In each stand the
            names of one plain ResNet (res4.1..., res5...): a checkpointer that matches names by
            their ending matches every prefix apart, so that all start from the same ImageNet
            weights, as published. From scratch each branch has random weights of its own.

    Examples:
        >>> import torch
        >>> from reid_heads.heads.pooling import MaxPooling
        >>> branches = [nn.Conv2d(8, 12, kernel_size=1) for _ in range(3)]
        >>> sizes = {"branch_channels": 12, "reduction_dim": 4}
        >>> head = MGNHead(branches=branches, pool=MaxPooling(), **sizes).eval()
        >>> given = head(torch.ones(2, 8, 12, 4))
        >>> given.embeddings.shape, [rows.shape[1] for rows in given.classified]
        (torch.Size([2, 32]), [12, 12, 12, 4, 4, 4, 4, 4])
    """

    weight_copies = tuple(f"branches.{i}." for i in range(len(LAST_STRIDES)))

    @configurable
    def __init__(
        self,
        *,
        branches: Sequence[nn.Module],
        branch_channels: int,
        pool: nn.Module,
        reduction_dim: int = 256,
        global_softmax: str = "pre",
    ):
        """Make the head.

        Args:
            branches: global, part-2 and part-3 branch, each from features (R, C, H, W) to a map of
                ``branch_channels``.
            branch_channels: length of a pooled vector, 2048 in the paper.
            pool: a pooling of reid_heads.heads.pooling; the paper's is the maximum.
            reduction_dim: d.
            global_softmax: what the classifiers of the three globals see: "pre", the pooled vector
                as in the paper, or "post", the reduced one as in the public re-implementations.

        Raises:
            ValueError: for another number of branches or an unknown ``global_softmax``.
        """
        super().__init__()
        if len(branches) != len(LAST_STRIDES):
            raise ValueError(f"MGN got {len(branches)} branches; expected {len(LAST_STRIDES)}")
        if global_softmax not in ("pre", "post"):
            raise ValueError(
                f"MODEL.REID_HEAD.MGN.GLOBAL_SOFTMAX is {global_softmax!r}; "
                "expected 'pre' or 'post'"
            )
        self.branches = nn.ModuleList(branches)
        self.pool = pool
        self.global_softmax = global_softmax
        num_globals, num_parts = len(LAST_STRIDES), sum(PARTS)
        self.reductions = nn.ModuleList(
            _build_reduction(branch_channels, reduction_dim) for _ in range(num_globals + num_parts)
        )
        classified_global = branch_channels if global_softmax == "pre" else reduction_dim
        self.embedding_dim = reduction_dim * (num_globals + num_parts)
        self.metric_dims = (reduction_dim,) * num_globals
        self.classified_dims = (classified_global,) * num_globals + (reduction_dim,) * num_parts

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        """Translate the config.

        Raises:
            ValueError: if the backbone does not end after res4's first block.
        """
        if list(cfg.MODEL.RESNETS.OUT_FEATURES) != [RES4_1]:
            raise ValueError(
                f"MODEL.RESNETS.OUT_FEATURES is {cfg.MODEL.RESNETS.OUT_FEATURES}; MGNHead goes on "
                f"from [{RES4_1!r}] of build_reid_resnet_backbone"
            )
        head = cfg.MODEL.REID_HEAD
        branches = [build_branch(cfg, stride) for stride in LAST_STRIDES]
        res5: Any = branches[0].res5
        return {
            "branches": branches,
            "branch_channels": res5[-1].out_channels,
            "pool": build_pooling(
                head.POOLING, gem_power=head.GEM_POWER, gem_learned=head.GEM_LEARNED
            ),
            "reduction_dim": head.MGN.REDUCTION_DIM,
            "global_softmax": head.MGN.GLOBAL_SOFTMAX,
        }

    def forward(self, features: Tensor) -> HeadFeatures:
        """Embed each person.

        Args:
            features: (R, C, H, W), the map after res4's first block. R may be 0 in evaluation mode.

        Returns:
            Float32: embeddings (R, 8 d); three reduced globals (R, d) for metric losses; three
            globals and five stripes to classify, in the sizes of ``classified_dims``.
        """
        maps = [branch(features) for branch in self.branches]
        pooled = [self.pool(branch_map).flatten(1) for branch_map in maps]
        num_globals = len(pooled)
        for branch_map, stripes in zip(maps[1:], PARTS, strict=True):
            pooled += self.pool(branch_map, stripes).unbind(2)
        reduced = [
            reduce(vectors).float() for reduce, vectors in zip(self.reductions, pooled, strict=True)
        ]
        first = pooled if self.global_softmax == "pre" else reduced
        return HeadFeatures(
            embeddings=cat(reduced, dim=1),
            metric=tuple(reduced[:num_globals]),
            classified=(*first[:num_globals], *reduced[num_globals:]),
        )


def build_branch(cfg: CfgNode, last_stride: int) -> nn.Sequential:
    """Build one branch: res4 but for its first block, and res5 with the given stride.

    ``MODEL.CROP_REID.LAST_STRIDE`` is not read: the paper fixes each branch's stride.
    """
    res4 = enumerate(build_stage(cfg, 4))
    return nn.Sequential(
        OrderedDict(
            # The blocks keep the numbers that they have in a whole ResNet.
            res4=nn.Sequential(OrderedDict((str(i), block) for i, block in res4 if i > 0)),
            res5=nn.Sequential(*build_stage(cfg, 5, stride=last_stride)),
        )
    )


def _build_reduction(in_channels: int, out_channels: int) -> nn.Sequential:
    linear = nn.Linear(in_channels, out_channels, bias=False)
    norm = RowBatchNorm(out_channels)
    # The initial values of the public re-implementations; the paper gives none.
    nn.init.kaiming_normal_(linear.weight, mode="fan_in", nonlinearity="relu")
    nn.init.normal_(norm.weight, mean=1.0, std=0.02)
    return nn.Sequential(linear, norm, nn.ReLU())
