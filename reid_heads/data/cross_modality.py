"""Batches of identities seen in both modalities.

Letters: N crops, P identities in a batch, K crops of each in each modality, B = P x 2K.
"""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from reid_heads.data.samplers import ResumableSampler, balanced_blocks
from reid_heads.labels import THERMAL, VISIBLE


class CrossModalitySampler(ResumableSampler):
    """A sampler of P identities with K visible and K thermal crops each, all equally often.

    The batches of Jambigi, Rawal and Chakraborty (MMD-ReID, BMVC 2021), whose code draws the
    identities of a batch without and the crops with replacement. Here identities come in shuffled
    passes, a batch holds nobody twice, and crops are drawn with replacement only where an identity
    has fewer than K. Each identity's rows are neighbours, the visible ones first, so that a
    process's share holds whole identities.

    ``epoch_length`` is M // PK + 1 iterations, with M the crops of the larger modality, as in that
    code: an epoch is as long as a pass over M crops, but passes over nothing exactly.
    """

    def __init__(
        self,
        pids: Sequence[int],
        modalities: Sequence[int],
        batch_size: int,
        images_per_identity: int,
        seed: int,
        rank: int = 0,
        num_processes: int = 1,
    ):
        """Set the stream up.

        Args:
            pids: person id of each of the N crops.
            modalities: ``VISIBLE`` or ``THERMAL``, of each.
            batch_size: B, crops per iteration over all processes.
            images_per_identity: K, in each modality.
            seed: of the order, at least 0.
            rank: of this process.
            num_processes: that share each batch, whole identities each.

        Raises:
            ValueError: if somebody is seen in one modality only, or the batch does not suit the
                data.
        """
        super().__init__(len(pids), batch_size, seed, rank, num_processes)
        rows = np.arange(len(pids))
        of_crop, kind = np.asarray(pids), np.asarray(modalities)
        ids = np.unique(of_crop)
        self.crops = {
            modality: [rows[(of_crop == pid) & (kind == modality)] for pid in ids]
            for modality in (VISIBLE, THERMAL)
        }
        by_identity = zip(self.crops[VISIBLE], self.crops[THERMAL], strict=True)
        lacking = ids[[not len(seen) or not len(felt) for seen, felt in by_identity]]
        if len(lacking):
            raise ValueError(
                f"{len(lacking)} of {len(ids)} identities have crops of one modality only, first "
                f"identity {lacking[0]}; cross-modal batches need both of everybody"
            )
        _check_batch(len(ids), batch_size, images_per_identity, num_processes)
        self.images_per_identity = images_per_identity
        self.identities_per_batch = batch_size // (2 * images_per_identity)
        most = max(np.count_nonzero(kind == VISIBLE), np.count_nonzero(kind == THERMAL))
        self.epoch_length = int(most) * 2 // batch_size + 1

    def batches_from(self, start: int) -> Iterator[np.ndarray]:
        """Yield the batches from number ``start`` on: (B,) int64 indices, identity by identity."""
        num_identities = len(self.crops[VISIBLE])
        # Every pass is as long: a resumed run need not plan those before.
        period = num_identities // math.gcd(num_identities, self.identities_per_batch)
        number, skipped = divmod(start, period)
        for later in itertools.count(number):
            yield from self.plan_pass(later)[skipped:]
            skipped = 0

    def plan_pass(self, number: int) -> list[np.ndarray]:
        """Return the batches until a shuffled pass over the identities ends with a batch."""
        rng = np.random.default_rng([self.seed, number])
        blocks = balanced_blocks(rng, len(self.crops[VISIBLE]), self.identities_per_batch)
        return [
            np.concatenate([self._draw(rng, identity) for identity in block.tolist()])
            for block in blocks
        ]

    def _draw(self, rng: np.random.Generator, identity: int) -> np.ndarray:
        """Return K visible and K thermal crops of an identity."""
        k = self.images_per_identity
        drawn = [
            rng.choice(own, k, replace=len(own) < k)
            for own in (self.crops[VISIBLE][identity], self.crops[THERMAL][identity])
        ]
        return np.concatenate(drawn)


def _check_batch(num_identities: int, batch_size: int, k: int, num_processes: int) -> None:
    if k < 1 or batch_size % (2 * k):
        raise ValueError(
            f"SOLVER.IMS_PER_BATCH is {batch_size}; expected a multiple of {2 * k}: "
            f"DATALOADER.REID.IMAGES_PER_IDENTITY, which is {k}, in each of the two modalities"
        )
    p = batch_size // (2 * k)
    if num_identities < max(p, 2):
        raise ValueError(
            f"the training set has {num_identities} identities; a batch of {batch_size} "
            f"(SOLVER.IMS_PER_BATCH) with {k} crops of each in each modality holds {p}, and "
            "telling people apart needs two at least"
        )
    if p % num_processes:
        raise ValueError(
            f"the {p} identities of a batch (SOLVER.IMS_PER_BATCH {batch_size}) do not divide "
            f"among {num_processes} processes; each takes whole identities"
        )
