"""From the feature map of each person to one embedding.

Letters: R people, C channels, H and W feature cells, D embedding size.
"""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.utils.registry import Registry
from torch import Tensor, nn

from reid_heads.config_readers import reads_config
from reid_heads.heads.features import HeadFeatures
from reid_heads.heads.pooling import build_pooling
from reid_heads.heads.row_batch_norm import RowBatchNorm

REID_HEADS_REGISTRY = Registry("REID_HEADS")
REID_HEADS_REGISTRY.__doc__ = """
Heads that map features (R, C, H, W) of people to ``HeadFeatures``. They know nothing of boxes,
images or losses. Called with ``obj(cfg, input_shape)``; they have the attributes ``embedding_dim``
(int), ``metric_dims`` and ``classified_dims`` (tuples of int), the sizes of what they give. A head
whose class attribute ``reads_pooled`` is true is for person search: it is built with a third
argument, the shape of the features as pooled from the frame, and called with those as well. One
whose class attribute ``scores_people`` is true gives person logits, and wants to be trained on
background too. ``reads_config`` says which config keys a head reads.
"""


def build_reid_head(
    cfg: CfgNode, input_shape: ShapeSpec, pooled_shape: ShapeSpec | None = None
) -> nn.Module:
    """Build the head that ``cfg.MODEL.REID_HEAD.NAME`` names.

    Args:
        cfg: of the model.
        input_shape: of the features that the head reads.
        pooled_shape: of the features before the layers that refine them, where there are such.

    Raises:
        ValueError: if the head reads pooled features and there are none.
    """
    head_class = REID_HEADS_REGISTRY.get(cfg.MODEL.REID_HEAD.NAME)
    shapes = [input_shape]
    if getattr(head_class, "reads_pooled", False):
        if pooled_shape is None:
            raise ValueError(
                f"MODEL.REID_HEAD.NAME is {cfg.MODEL.REID_HEAD.NAME!r}, a head of person search; "
                "choose another one for crops"
            )
        shapes.append(pooled_shape)
    head: nn.Module = head_class(cfg, *shapes)
    return head


@REID_HEADS_REGISTRY.register()
@reads_config(
    "MODEL.REID_HEAD.EMBEDDING_DIM",
    "MODEL.REID_HEAD.STRIPES",
    "MODEL.REID_HEAD.POOLING",
    "MODEL.REID_HEAD.BATCH_NORM",
    "MODEL.REID_HEAD.RELU",
)
class EmbeddingHead(nn.Module):
    """Pool horizontal stripes and project their concatenation.

    With ``stripes=(1,)`` it is the global pooling and linear projection of OIM (Xiao et al., CVPR
    2017) and its followers; ``stripes=(1, 2)`` adds the upper and the lower body. The BatchNorm
    after the projection is NAE's (Chen et al., CVPR 2020); with a ReLU after it, it is the fully
    connected layer of OSNet (Zhou et al., ICCV 2019, table 1).

    Examples:
        >>> import torch
        >>> head = EmbeddingHead(in_channels=8, embedding_dim=16, stripes=(1, 2)).eval()
        >>> head(torch.ones(3, 8, 6, 2)).unit_embeddings.shape
        torch.Size([3, 16])
    """

    @configurable
    def __init__(
        self,
        *,
        in_channels: int,
        embedding_dim: int,
        stripes: Sequence[int] = (1,),
        pooling: str = "avg",
        gem_power: float = 3.0,
        gem_learned: bool = False,
        use_batch_norm: bool = True,
        use_relu: bool = False,
    ):
        """Make the head.

        Args:
            in_channels: C.
            embedding_dim: D.
            stripes: each number n >= 1 adds n horizontal stripes of equal height.
            pooling: "avg", "max" or "gem" within a stripe.
            gem_power: exponent of "gem", at the start.
            gem_learned: whether that exponent is learned.
            use_batch_norm: whether the projection is followed by BatchNorm.
            use_relu: whether a ReLU comes last.

        Raises:
            ValueError: for an unknown pooling, an exponent that is not positive, or a stripe number
                below 1.
        """
        super().__init__()
        if not stripes or min(stripes) < 1:
            raise ValueError(f"got stripes {tuple(stripes)}; expected numbers of 1 or more")
        self.embedding_dim = embedding_dim
        self.metric_dims = (embedding_dim,)
        self.classified_dims = (embedding_dim,)
        self.stripes = tuple(stripes)
        self.pool = build_pooling(pooling, gem_power=gem_power, gem_learned=gem_learned)
        self.project = nn.Linear(in_channels * sum(stripes), embedding_dim, bias=not use_batch_norm)
        nn.init.normal_(self.project.weight, std=0.01)
        if self.project.bias is not None:
            nn.init.zeros_(self.project.bias)
        self.norm = RowBatchNorm(embedding_dim) if use_batch_norm else nn.Identity()
        self.activation = nn.ReLU() if use_relu else nn.Identity()

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        """Translate the config."""
        head = cfg.MODEL.REID_HEAD
        return {
            "in_channels": input_shape.channels,
            "embedding_dim": head.EMBEDDING_DIM,
            "stripes": head.STRIPES,
            "pooling": head.POOLING,
            "gem_power": head.GEM_POWER,
            "gem_learned": head.GEM_LEARNED,
            "use_batch_norm": head.BATCH_NORM,
            "use_relu": head.RELU,
        }

    def forward(self, features: Tensor) -> HeadFeatures:
        """Embed each person.

        Args:
            features: (R, C, H, W); R may be 0 or 1.

        Returns:
            The same (R, D) for every purpose.
        """
        pooled = [self.pool(features, n).flatten(1) for n in self.stripes]
        rows = self.activation(self.norm(self.project(torch.cat(pooled, dim=1))))
        return HeadFeatures(embeddings=rows, metric=(rows,), classified=(rows,))
