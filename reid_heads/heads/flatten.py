"""The head of face networks: the map as it lies is projected, without pooling.

Letters: R faces, C channels, H and W feature cells, D embedding size.
"""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from torch import Tensor, nn

from reid_heads.config_readers import reads_config
from reid_heads.heads.embedding import REID_HEADS_REGISTRY
from reid_heads.heads.features import HeadFeatures
from reid_heads.heads.row_batch_norm import RowBatchNorm


@REID_HEADS_REGISTRY.register()
@reads_config("MODEL.REID_HEAD.EMBEDDING_DIM")
class FlattenHead(nn.Module):
    """A BatchNorm of the map, a projection of all its cells, and a BatchNorm without scale.

    Deng et al., "ArcFace", CVPR 2019, section 3.1, option E: aligned faces have each part in its
    own place, so cells are not pooled. The last BatchNorm's scale stays 1, as in insightface's
    networks; its dropout, 0 in their configs, is left out.

    Examples:
        >>> import torch
        >>> head = FlattenHead(in_channels=8, height=7, width=7, embedding_dim=16).eval()
        >>> head(torch.ones(3, 8, 7, 7)).unit_embeddings.shape
        torch.Size([3, 16])
    """

    @configurable
    def __init__(self, *, in_channels: int, height: int, width: int, embedding_dim: int):
        """Make the head.

        Args:
            in_channels: C.
            height: H of every map.
            width: W of every map.
            embedding_dim: D.
        """
        super().__init__()
        self.embedding_dim = embedding_dim
        self.metric_dims = (embedding_dim,)
        self.classified_dims = (embedding_dim,)
        self.cells = (height, width)
        self.map_norm = nn.BatchNorm2d(in_channels)
        self.project = nn.Linear(in_channels * height * width, embedding_dim)
        self.norm = RowBatchNorm(embedding_dim)
        self.norm.weight.requires_grad_(False)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        """Translate the config.

        Raises:
            ValueError: if the backbone does not tell the size of its map.
        """
        if input_shape.height is None or input_shape.width is None:
            raise ValueError(
                "MODEL.REID_HEAD.NAME is 'FlattenHead', which needs maps of one known size, as of "
                f"build_iresnet_backbone for crops; {cfg.MODEL.BACKBONE.NAME} tells none: choose "
                "another head"
            )
        return {
            "in_channels": input_shape.channels,
            "height": input_shape.height,
            "width": input_shape.width,
            "embedding_dim": cfg.MODEL.REID_HEAD.EMBEDDING_DIM,
        }

    def forward(self, features: Tensor) -> HeadFeatures:
        """Embed each face.

        Args:
            features: (R, C, H, W); R may be 0 or 1.

        Returns:
            The same (R, D) for every purpose.

        Raises:
            ValueError: if the maps are of another size.
        """
        if tuple(features.shape[-2:]) != self.cells:
            raise ValueError(
                f"got maps of {tuple(features.shape[-2:])} cells, expected {self.cells}: resize "
                "pictures to INPUT.REID.SIZE"
            )
        # BatchNorm2d and Linear take no batch of nothing on every device.
        if not len(features):
            rows = features.new_zeros(0, self.embedding_dim) + features.sum() * 0.0
            return HeadFeatures(embeddings=rows, metric=(rows,), classified=(rows,))
        rows = self.norm(self.project(torch.flatten(self.map_norm(features), 1)))
        return HeadFeatures(embeddings=rows, metric=(rows,), classified=(rows,))
