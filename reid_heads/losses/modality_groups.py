"""The labelled rows of a batch by identity, each seen in both modalities.

Letters: R rows, L labelled rows, P identities in the batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reid_heads.labels import THERMAL, UNLABELED_PID, VISIBLE
from reid_heads.losses.registry import Batch


@dataclass(frozen=True)
class ModalityGroups:
    """Which labelled rows belong together."""

    rows: Tensor
    """(R,) bool: the L labelled rows."""
    numbers: Tensor
    """(L,) int64: each labelled row's identity, counted 0..P-1 within the batch."""
    modalities: Tensor
    """(L,) int64: ``VISIBLE`` or ``THERMAL``."""
    pids: Tensor
    """(P,) int64: the identities, rising."""

    @property
    def count(self) -> int:
        """P."""
        return len(self.pids)

    @classmethod
    def of_labeled(cls, pids: Tensor, modalities: Tensor) -> "ModalityGroups":
        """Group the labelled rows of a batch.

        Args:
            pids: (R,) int64, 0 or more, or ``UNLABELED_PID``.
            modalities: (R,) int64.

        Raises:
            ValueError: if an identity is there in one modality only, or a modality is unknown.
        """
        rows = pids != UNLABELED_PID
        of_row = modalities[rows]
        if bool(((of_row != VISIBLE) & (of_row != THERMAL)).any()):
            raise ValueError(
                f"got the modalities {sorted(set(of_row.tolist()))}; expected {VISIBLE} for "
                f"visible and {THERMAL} for infrared or thermal images"
            )
        found, numbers = torch.unique(pids[rows], return_inverse=True)
        thermal = torch.zeros_like(found).index_add(0, numbers, of_row.to(found.dtype))
        total = torch.zeros_like(found).index_add(0, numbers, torch.ones_like(numbers))
        alone = (thermal == 0) | (thermal == total)
        if bool(alone.any()):
            pid = int(found[alone][0])
            name = "visible" if int(thermal[alone][0]) == 0 else "thermal"
            raise ValueError(
                f"in this batch {int(alone.sum())} of {len(found)} identities are seen in one "
                f"modality only, first identity {pid} in {name} images; a cross-modal loss needs "
                "both: set DATALOADER.REID.SAMPLER to 'cross_modality', and train on a set that "
                "has both"
            )
        return cls(rows, numbers, of_row, found)


def apply_across_modalities(loss: nn.Module, batch: Batch) -> Tensor:
    """Compute a loss on the metric features and modalities of a batch.

    Raises:
        ValueError: if the batch has no modalities.
    """
    if batch.modalities is None:
        raise ValueError(
            f"{type(loss).__name__} compares visible with thermal images, but the people of this "
            "batch have no modality; it is for crops of a visible-thermal data set"
        )
    result: Tensor = loss(batch.features.metric, batch.pids, batch.modalities)
    return result
