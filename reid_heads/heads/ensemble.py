"""An embedding for each loss of an ensemble.

Letters: R people, C channels, H and W feature cells, K losses, D size of a loss's own embedding.
"""

from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from torch import Tensor, nn

from reid_heads.config_readers import reads_config
from reid_heads.heads.balanced_sum import BalancedSum
from reid_heads.heads.embedding import REID_HEADS_REGISTRY
from reid_heads.heads.features import HeadFeatures
from reid_heads.heads.pooling import build_pooling
from reid_heads.heads.row_batch_norm import RowBatchNorm


@REID_HEADS_REGISTRY.register()
@reads_config(
    "MODEL.REID_HEAD.EMBEDDING_DIM", "MODEL.REID_HEAD.POOLING", "MODEL.REID_HEAD.BATCH_NORM"
)
class EnsembleHead(nn.Module):
    """Pool each person, and project what is pooled once for each loss of the ensemble.

    The authors' WEDL (arXiv 2107.01130, after their code): the loss ``ENSEMBLE`` gives each of its
    members the embedding of the same place. At test the embeddings are compared together, each
    counting as much as its loss has come to weigh.

    Attributes:
        balanced_sum: the sum of the losses, which ``ENSEMBLE`` trains.
    """

    @configurable
    def __init__(
        self,
        *,
        in_channels: int,
        embedding_dim: int,
        pool: nn.Module,
        balanced_sum: BalancedSum,
        use_batch_norm: bool = True,
    ):
        """Make the head.

        Args:
            in_channels: C.
            embedding_dim: D.
            pool: a pooling of reid_heads.heads.pooling.
            balanced_sum: of K losses.
            use_batch_norm: whether the projections are followed by BatchNorm.
        """
        super().__init__()
        num_losses = len(balanced_sum.weights)
        self.embedding_dim = num_losses * embedding_dim
        self.metric_dims = (embedding_dim,) * num_losses
        self.classified_dims = self.metric_dims
        self.pool = pool
        self.balanced_sum = balanced_sum
        self.projections = nn.ModuleList(
            _projection(in_channels, embedding_dim, use_batch_norm) for _ in range(num_losses)
        )

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        """Translate the config.

        Raises:
            ValueError: if the loss ENSEMBLE, for whose members the embeddings are, is off.
        """
        head = cfg.MODEL.REID_HEAD
        ensemble = head.ENSEMBLE
        if head.LOSSES.ENSEMBLE == 0:
            raise ValueError(
                "MODEL.REID_HEAD.NAME is EnsembleHead, but MODEL.REID_HEAD.LOSSES.ENSEMBLE is 0; "
                "set it to 1.0 and name the losses in MODEL.REID_HEAD.ENSEMBLE.MEMBERS"
            )
        return {
            "in_channels": input_shape.channels,
            "embedding_dim": head.EMBEDDING_DIM,
            "pool": build_pooling(
                head.POOLING, gem_power=head.GEM_POWER, gem_learned=head.GEM_LEARNED
            ),
            "balanced_sum": BalancedSum(
                len(ensemble.MEMBERS), ensemble.PRIOR, penalty=ensemble.PENALTY
            ),
            "use_batch_norm": head.BATCH_NORM,
        }

    def forward(self, features: Tensor) -> HeadFeatures:
        """Embed each person.

        Args:
            features: (R, C, H, W); R may be 0 or 1.

        Returns:
            K features (R, D), the same to compare and to classify; the embeddings (R, K D) are the
            features at unit length, each times the root of its loss's weight, so that the cosine of
            two rows is the weighted mean of the losses' cosines. The authors compare by Euclidean
            distance without the unit length (``LossEnsemble.embed``); the weights get no gradient
            from the comparison.
        """
        pooled = self.pool(features).flatten(1)
        each = tuple(project(pooled) for project in self.projections)
        roots = self.balanced_sum.weights.detach().sqrt()
        joined = [root * F.normalize(x.float()) for root, x in zip(roots, each, strict=True)]
        return HeadFeatures(embeddings=torch.cat(joined, dim=1), metric=each, classified=each)


def _projection(in_channels: int, embedding_dim: int, use_batch_norm: bool) -> nn.Module:
    linear = nn.Linear(in_channels, embedding_dim, bias=not use_batch_norm)
    nn.init.normal_(linear.weight, std=0.01)
    if not use_batch_norm:
        nn.init.zeros_(linear.bias)
        return linear
    return nn.Sequential(linear, RowBatchNorm(embedding_dim))
