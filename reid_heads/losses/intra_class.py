"""Pair losses that compare with synthetic rows too: intra-class adaptive augmentation (IAA).

Letters: R rows, M synthetic rows of each, d size of a feature, P identities.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reid_heads.augmentation.class_moments import ClassMoments
from reid_heads.augmentation.intra_class import IntraClassGaussians, IntraClassSettings
from reid_heads.labels import UNLABELED_PID
from reid_heads.losses.labeled_rows import check_num_identities, labeled_rows
from reid_heads.losses.pairs import CompareRows, PairLoss


def build_pair_loss(
    compare: CompareRows, dims: Sequence[int], num_identities: int, settings: dict[str, Any]
) -> PairLoss:
    """Build a pair loss, augmented where ``MODEL.REID_HEAD.INTRA_CLASS`` has copies.

    Args:
        compare: the loss.
        dims: d of each feature.
        num_identities: P.
        settings: the values of ``INTRA_CLASS``, its keys in lower case.

    Raises:
        ValueError: if a value is out of its range.
    """
    if settings["copies"] == 0:
        return PairLoss(compare)
    # When estimates are due is the hook's business.
    own = {k: v for k, v in settings.items() if k not in ("start_epoch", "update_epochs")}
    return IntraClassAugmentedLoss(compare, dims, num_identities, IntraClassSettings(**own))


class IntraClassAugmentedLoss(PairLoss):
    """A pair loss whose candidates are the batch and M synthetic rows around each of its rows.

    Fu et al., IEEE TMM 2022, equations 18 to 20: the real rows are the only anchors, all synthetic
    ones are further positives and negatives. An anchor's own copies are among its positives, as the
    text says; the authors' code leaves them out.

    The Gaussians stand on unit rows, since the paper's embeddings are scaled to unit norm where
    they are compared and its scales sigma = 1 only then mean what it says of them. Rows drawn are
    scaled again.

    The trainer's hook ``UpdateIntraClass`` estimates the Gaussians every few epochs by a pass over
    the training set, through ``new_moments``, ``collect`` and ``update``.
    """

    def __init__(
        self,
        compare: CompareRows,
        dims: Sequence[int],
        num_identities: int,
        settings: IntraClassSettings,
    ):
        """Make the Gaussians of each feature.

        Args:
            compare: the loss, such as ``make_contrastive(0.6, 1.0)``.
            dims: d of each feature.
            num_identities: P.
            settings: of the augmentation.

        Raises:
            ValueError: without identities.
        """
        super().__init__(compare)
        check_num_identities(num_identities)
        self.gaussians = nn.ModuleList(
            IntraClassGaussians(num_identities, dim, settings) for dim in dims
        )
        self.is_waiting = False
        """Whether augmentation begins later: until then the loss is the plain one. Set by the
        hook."""

    def add_candidates(self, index: int, rows: Tensor, pids: Tensor) -> tuple[Tensor, Tensor]:
        """Append the synthetic rows in training.

        Raises:
            ValueError: for an id out of range.
            RuntimeError: if nobody has estimated the Gaussians.
        """
        gaussians = self.gaussians[index]
        assert isinstance(gaussians, IntraClassGaussians)
        labeled_rows(pids, len(gaussians.counts))
        if not self.training or self.is_waiting:
            return rows, pids
        if not gaussians.is_estimated:
            raise RuntimeError(
                "intra-class augmentation (MODEL.REID_HEAD.INTRA_CLASS.COPIES) has no statistics "
                "of the training set; reid_heads.train_net gathers them by its hook, other loops "
                "must call update() first"
            )
        copies = gaussians.settings.copies
        return torch.cat([rows, gaussians.draw(rows, pids)]), pids.repeat(1 + copies)

    @property
    def is_estimated(self) -> bool:
        """Whether ``update`` was called, maybe before a checkpoint."""
        return all(gaussians.is_estimated for gaussians in self._all_gaussians())

    def new_moments(self) -> list[ClassMoments]:
        """Return empty moments for a pass over the training set, one a feature."""
        means = [gaussians.means for gaussians in self._all_gaussians()]
        return [ClassMoments(len(x), x.shape[1], x.device) for x in means]

    @staticmethod
    @torch.no_grad()
    def collect(moments: Sequence[ClassMoments], features: Sequence[Tensor], pids: Tensor) -> None:
        """Add a batch of features, each (R, d) of any norm, with ids (R,) to the moments."""
        labeled = pids != UNLABELED_PID
        for of_one, feature in zip(moments, features, strict=True):
            of_one.add(F.normalize(feature[labeled].float()), pids[labeled])

    def update(self, moments: Sequence[ClassMoments]) -> None:
        """Estimate the Gaussians from what all processes collected; every one must call this.

        Raises:
            ValueError: if an identity has no row.
        """
        for gaussians, of_one in zip(self._all_gaussians(), moments, strict=True):
            of_one.merge_processes()
            gaussians.update(of_one)

    def _all_gaussians(self) -> list[IntraClassGaussians]:
        return [g for g in self.gaussians if isinstance(g, IntraClassGaussians)]
