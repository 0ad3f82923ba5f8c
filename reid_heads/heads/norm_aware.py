"""Norm-aware embedding: its direction says who, its length whether there is a person at all.

Letters: R regions, C channels, H and W feature cells, D embedding size.
"""

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from torch import Tensor, nn

from reid_heads.config_readers import reads_config
from reid_heads.heads.embedding import REID_HEADS_REGISTRY
from reid_heads.heads.features import HeadFeatures
from reid_heads.heads.pooling import build_pooling
from reid_heads.heads.row_batch_norm import RowBatchNorm


@REID_HEADS_REGISTRY.register()
@reads_config(
    "MODEL.REID_HEAD.EMBEDDING_DIM", "MODEL.REID_HEAD.POOLING", "MODEL.REID_HEAD.NORM_AWARE"
)
class NormAwareHead(nn.Module):
    """The embedding of NAE (Chen et al., CVPR 2020), as SeqNet (Li and Miao, AAAI 2021) has it too.

    Pooled and refined features are each pooled to a vector and projected to half of the embedding
    by a linear layer and BatchNorm. The norm of the whole goes through a BatchNorm of one value and
    is then the logit of "this is a person", which is trained on background as well.

    Layers and initial values are those of the authors' released code, not checked against the text
    of the paper. The linear layers have no bias here: the BatchNorm behind them takes it away.

    Examples:
        >>> import torch
        >>> from reid_heads.heads.pooling import MaxPooling
        >>> head = NormAwareHead(in_channels=(8, 16), embedding_dim=12, pool=MaxPooling()).eval()
        >>> given = head(torch.ones(3, 16, 3, 1), torch.ones(3, 8, 6, 2))
        >>> given.embeddings.shape, given.person_logits.shape
        (torch.Size([3, 12]), torch.Size([3]))
    """

    reads_pooled = True
    scores_people = True

    @configurable
    def __init__(self, *, in_channels: Sequence[int], embedding_dim: int, pool: nn.Module):
        """Make the head.

        Args:
            in_channels: C of the pooled and of the refined features; or of the refined ones alone,
                which then give the whole embedding.
            embedding_dim: D; where it is odd, the refined features get the larger half.
            pool: a pooling of reid_heads.heads.pooling; the authors' is the maximum.

        Raises:
            ValueError: if D cannot be divided among the features.
        """
        super().__init__()
        parts = len(in_channels)
        if parts not in (1, 2) or embedding_dim < parts:
            raise ValueError(
                f"a norm-aware embedding of {embedding_dim} values from {parts} maps; expected one "
                "map or two, and at least one value of each"
            )
        self.embedding_dim = embedding_dim
        self.metric_dims = (embedding_dim,)
        self.classified_dims = (embedding_dim,)
        self.pool = pool
        dims = [embedding_dim // parts] * (parts - 1)
        dims.append(embedding_dim - sum(dims))
        self.projections = nn.ModuleList(
            _build_projection(c, d) for c, d in zip(in_channels, dims, strict=True)
        )
        self.rescale = RowBatchNorm(1)

    @classmethod
    def from_config(
        cls, cfg: CfgNode, input_shape: ShapeSpec, pooled_shape: ShapeSpec
    ) -> dict[str, Any]:
        """Translate the config."""
        head = cfg.MODEL.REID_HEAD
        used = [pooled_shape, input_shape] if head.NORM_AWARE.USE_POOLED else [input_shape]
        return {
            "in_channels": [shape.channels for shape in used],
            "embedding_dim": head.EMBEDDING_DIM,
            "pool": build_pooling(
                head.POOLING, gem_power=head.GEM_POWER, gem_learned=head.GEM_LEARNED
            ),
        }

    def forward(self, features: Tensor, pooled: Tensor) -> HeadFeatures:
        """Embed each region.

        Args:
            features: (R, C, H, W), refined by layers before the head; R may be 0 or 1, where the
                BatchNorms take their running statistics.
            pooled: (R, C', H', W'), what those layers were given.

        Returns:
            Float32: the same (R, D) for every purpose, and person logits (R,).
        """
        maps = (pooled, features)[-len(self.projections) :]
        halves = [
            projection(self.pool(feature).flatten(1)).float()
            for projection, feature in zip(self.projections, maps, strict=True)
        ]
        rows = torch.cat(halves, dim=1)
        norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        return HeadFeatures(
            embeddings=rows,
            metric=(rows,),
            classified=(rows,),
            person_logits=self.rescale(norms).squeeze(1),
        )


def _build_projection(in_channels: int, out_channels: int) -> nn.Sequential:
    linear = nn.Linear(in_channels, out_channels, bias=False)
    norm = RowBatchNorm(out_channels)
    for layer in (linear, norm):
        nn.init.normal_(layer.weight, std=0.01)
    return nn.Sequential(linear, norm)
