"""Several losses as one: their scales balanced, their weights learned.

Zabihzadeh, Alitbi and Mousavirad, "Ensemble of Loss Functions to Improve Generalizability of Deep
Metric Learning methods", arXiv 2107.01130, MTAP 2023. The paper's text was not at hand: the
equations are those that the authors' code computes, numbered as a re-implementation cites them.

Letters: R rows, d size of a feature, K losses, D size of a loss's own embedding.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_heads.heads.balanced_sum import BalancedSum
from reid_heads.labels import UNLABELED_PID

EmbeddingLoss = Callable[[Tensor, Tensor], Tensor]
"""From embeddings (R, D) and labels (R,) int64 to a scalar, as pytorch-metric-learning's."""


class LossEnsemble(nn.Module):
    """Any losses over one extractor's features, on these or each on an embedding of its own.

    With shared embeddings (the paper's WEL) every loss sees the features; with ``embedding_dim``
    (WEDL) each sees a linear projection of its own, which ``embed`` concatenates for the test.

    Examples:
        >>> from reid_heads.losses.triplet import TripletLoss
        >>> triplet = TripletLoss(margin=0.3)
        >>> loss = LossEnsemble([lambda rows, pids: triplet([rows], pids)] * 2, 8, embedding_dim=4)
        >>> features = torch.ones(4, 8)
        >>> loss(features, torch.tensor([0, 0, 1, 1])).shape, loss.embed(features).shape
        (torch.Size([]), torch.Size([4, 8]))
    """

    def __init__(
        self,
        losses: Sequence[EmbeddingLoss],
        feature_dim: int,
        embedding_dim: int = 0,
        diversity: float = 0.0,
        prior: Sequence[float] = (),
        min_weight: float | None = None,
        penalty: float = 1e4,
    ):
        """Keep the losses; those that are modules are trained, moved and saved with this one.

        Args:
            losses: K callables of (embeddings, labels), such as ``PairLoss`` behind a lambda or
                those of pytorch-metric-learning.
            feature_dim: d, of the extractor's features.
            embedding_dim: D; 0 for shared embeddings.
            diversity: weight of the diversity term, which needs embeddings of their own for two
                losses or more. Published: 0.01.
            prior: see ``BalancedSum``; the next two as well.
            min_weight: a.
            penalty: eta.

        Raises:
            ValueError: if a value is out of its range.
            TypeError: if a loss cannot be called.
        """
        super().__init__()
        for loss in losses:
            if not callable(loss):
                raise TypeError(
                    f"got the loss {loss!r}; expected a callable of (embeddings, labels)"
                )
        if diversity < 0 or (diversity > 0 and (embedding_dim == 0 or len(losses) < 2)):
            raise ValueError(
                f"got diversity={diversity} with embedding_dim={embedding_dim} and {len(losses)} "
                "losses; it is 0 or more, and needs an embedding_dim and two losses"
            )
        self.losses = list(losses)
        self.modules_among_losses = nn.ModuleList(x for x in losses if isinstance(x, nn.Module))
        self.sum = BalancedSum(len(losses), prior, min_weight, penalty)
        self.diversity = diversity
        projections = [nn.Linear(feature_dim, embedding_dim) for _ in losses]
        self.projections = nn.ModuleList(projections if embedding_dim else [])

    def forward(self, features: Tensor, pids: Tensor) -> Tensor:
        """Return the scalar loss.

        Args:
            features: (R, d), any float type; losses are computed in float32 or better.
            pids: (R,) int64; rows of ``UNLABELED_PID``, of which other losses know nothing, are
                left out.

        Returns:
            Scalar. Without labelled rows it is zero but still connected, and no loss is called:
            over several processes each must have some.
        """
        labeled = pids != UNLABELED_PID
        pids = pids[labeled]
        with torch.autocast(pids.device.type, enabled=False):
            rows = features[labeled].to(torch.promote_types(features.dtype, torch.float32))
            embeddings = self._embed_each(rows)
            if len(rows) == 0:
                return torch.stack([x.sum() * 0.0 for x in embeddings]).sum()
            pairs = zip(self.losses, embeddings, strict=True)
            total: Tensor = self.sum([loss(own, pids) for loss, own in pairs])
            if self.diversity > 0:
                total = total + self.diversity * diversity_loss(embeddings)
            return total

    def _embed_each(self, rows: Tensor) -> list[Tensor]:
        if not self.projections:
            return [rows] * len(self.losses)
        return [project(rows) for project in self.projections]

    def embed(self, features: Tensor) -> Tensor:
        """Return what to compare at test, by Euclidean distance.

        Args:
            features: (R, d).

        Returns:
            (R, K D): the losses' own embeddings, each times the root of its weight, so that the
            squared distance of two rows is the weighted sum of the losses' squared distances; with
            shared embeddings, the features.
        """
        if not self.projections:
            return features
        roots = self.sum.weights.sqrt()
        each = self._embed_each(features)
        return torch.cat([root * x for root, x in zip(roots, each, strict=True)], dim=1)


def diversity_loss(embeddings: Sequence[Tensor]) -> Tensor:
    """Push the embeddings of one row by different losses apart.

    max(0, 2 - mean distance) over the rows and the pairs of losses, after the authors' code. Rows
    are scaled to unit norm here, for which 2 is the largest distance: our choice.

    Args:
        embeddings: K >= 2 of (R, D).

    Returns:
        Scalar, 0..2.
    """
    rows = torch.stack([F.normalize(x) for x in embeddings])
    first, second = torch.triu_indices(len(rows), len(rows), 1, device=rows.device)
    squared = (rows[first] - rows[second]).square().sum(dim=-1)
    # The root has no gradient at 0.
    return F.relu(2 - squared.clamp(min=1e-12).sqrt().mean())


class CompressionHead(nn.Module):
    """Make an ensemble's long embedding short: Linear, tanh, Linear (the paper's WEDL_C).

    Trained by ``distance_matching_loss`` between what goes in, detached, and what comes out.
    """

    def __init__(self, in_dim: int, out_dim: int):
        """Make the layers.

        Args:
            in_dim: K D, of the ensemble's embedding.
            out_dim: of the short one, and of the layer between; the authors' code has 2 D.

        Raises:
            ValueError: for a size below 1.
        """
        super().__init__()
        if in_dim < 1 or out_dim < 1:
            raise ValueError(f"got sizes {in_dim} and {out_dim}; expected 1 or more")
        self.layers = nn.Sequential(
            nn.Linear(in_dim, out_dim), nn.Tanh(), nn.Linear(out_dim, out_dim)
        )

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the short embeddings (R, out_dim) of (R, in_dim)."""
        result: Tensor = self.layers(embeddings)
        return result


def distance_matching_loss(full: Tensor, short: Tensor) -> Tensor:
    """Compare the squared distances within a batch, each matrix divided by its sum.

    R |D_1 / sum D_1 - D_2 / sum D_2|, the Frobenius norm. Only ratios of distances count.

    Args:
        full: (R, any), the target: without gradient.
        short: (R, any).

    Returns:
        Scalar. Zero, but still connected, for less than two rows.
    """
    if len(full) < 2:
        return short.sum() * 0.0
    gap = _shares(full.detach()) - _shares(short)
    # Not norm(), which has no gradient at 0.
    return len(full) * (gap.square().sum() + 1e-24).sqrt()


def _shares(rows: Tensor) -> Tensor:
    squared = (rows[:, None] - rows[None]).square().sum(dim=-1)
    return squared / squared.sum().clamp(min=torch.finfo(rows.dtype).tiny)
