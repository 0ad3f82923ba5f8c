"""BNNeck: a BatchNorm between what metric losses see and what classifiers see.

Letters: R people, C channels, H and W feature cells.
"""

from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from torch import Tensor, nn

from reid_heads.config_readers import reads_config
from reid_heads.heads.embedding import REID_HEADS_REGISTRY
from reid_heads.heads.features import HeadFeatures
from reid_heads.heads.pooling import build_pooling
from reid_heads.heads.row_batch_norm import RowBatchNorm


@REID_HEADS_REGISTRY.register()
@reads_config("MODEL.REID_HEAD.POOLING", "MODEL.REID_HEAD.BATCH_NORM")
class BNNeckHead(nn.Module):
    """Pool each person to f_t; a BatchNorm without bias gives f_i.

    Luo et al., CVPRW 2019, section 3.5 (Bag of Tricks): triplet and center loss see f_t, where
    Euclidean distances mean something; the classifier and the comparison at test see f_i, which
    lies around the origin. The BatchNorm's bias stays 0, so that the bias-free classifier's planes
    go through that origin. Without the neck all three see f_t, as in the paper's ablation.

    Examples:
        >>> import torch
        >>> from reid_heads.heads.pooling import AveragePooling
        >>> head = BNNeckHead(in_channels=8, pool=AveragePooling()).eval()
        >>> given = head(torch.ones(3, 8, 6, 2))
        >>> given.embeddings.shape, len(given.metric), len(given.classified)
        (torch.Size([3, 8]), 1, 1)
    """

    @configurable
    def __init__(self, *, in_channels: int, pool: nn.Module, use_batch_norm: bool = True):
        """Make the head.

        Args:
            in_channels: C, which is the length of f_t and f_i too.
            pool: a pooling of reid_heads.heads.pooling.
            use_batch_norm: whether there is a neck.
        """
        super().__init__()
        self.embedding_dim = in_channels
        self.metric_dims = (in_channels,)
        self.classified_dims = (in_channels,)
        self.pool = pool
        self.neck = RowBatchNorm(in_channels) if use_batch_norm else nn.Identity()
        if use_batch_norm:
            self.neck.bias.requires_grad_(False)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        """Translate the config."""
        head = cfg.MODEL.REID_HEAD
        return {
            "in_channels": input_shape.channels,
            "pool": build_pooling(
                head.POOLING, gem_power=head.GEM_POWER, gem_learned=head.GEM_LEARNED
            ),
            "use_batch_norm": head.BATCH_NORM,
        }

    def forward(self, features: Tensor) -> HeadFeatures:
        """Embed each person.

        Args:
            features: (R, C, H, W); R may be 0 or 1, where the neck takes its running statistics.

        Returns:
            Float32 features (R, C): one for metric losses and one to classify.
        """
        pooled = self.pool(features).flatten(1)
        normed = self.neck(pooled)
        return HeadFeatures(embeddings=normed, metric=(pooled,), classified=(normed,))
