"""Batches that hold the same number of crops of every training set.

Letters: S training sets (domains), P identities of each set and K crops of each identity in a
batch, B = S x P x K.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from reid_heads.data.samplers import IdentitySampler, ResumableSampler


class MultiDomainSampler(ResumableSampler):
    """Draw P x K crops of every training set by an identity sampler for each.

    A batch holds K crops of an identity of the first set, K of one of the second, …, K of the next
    identity of the first set, and so on: every process's share holds all sets, and the order is
    the same for any number of processes. Batch i is a function of the seed and of i, since that of
    each set is.

    ``epoch_length`` is that of the set with the longest epoch, so that an epoch goes about once
    through the largest set, and more often through the others.
    """

    def __init__(
        self,
        kind: Callable[..., IdentitySampler],
        pids: Sequence[int],
        domains: Sequence[int],
        batch_size: int,
        images_per_identity: int,
        seed: int,
        rank: int = 0,
        num_processes: int = 1,
    ):
        """Set the stream up.

        Args:
            kind: the sampler of each set, made from person ids, crops a batch, K and a seed.
            pids: person id of each of the N crops; no id in two sets.
            domains: number of the set of each crop, 0..S-1.
            batch_size: B, crops per iteration over all processes.
            images_per_identity: K.
            seed: of the order, at least 0. Each set has one of its own from it.
            rank: of this process.
            num_processes: that share each batch, whole identities of every set each.

        Raises:
            ValueError: if the batch does not divide into equal shares of the sets, or if a share
                does not suit its set; see ``IdentitySampler``.
        """
        super().__init__(len(pids), batch_size, seed, rank, num_processes)
        sets = np.asarray(domains, dtype=np.int64)
        count = int(sets.max()) + 1
        if batch_size % (count * images_per_identity * num_processes):
            raise ValueError(
                f"SOLVER.IMS_PER_BATCH is {batch_size}; with DATALOADER.REID.DOMAIN_BALANCED "
                f"expected a multiple of {count * images_per_identity * num_processes} = {count} "
                f"training sets x DATALOADER.REID.IMAGES_PER_IDENTITY {images_per_identity} x "
                f"{num_processes} processes"
            )
        self.images_per_identity = images_per_identity
        self.rows = [np.flatnonzero(sets == number) for number in range(count)]
        self.samplers = []
        for number, rows in enumerate(self.rows):
            share = batch_size // count
            own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
            own_pids = np.asarray(pids, dtype=np.int64)[rows].tolist()
            try:
                self.samplers.append(kind(own_pids, share, images_per_identity, own_seed))
            except ValueError as error:
                raise ValueError(
                    f"training set number {number} of DATASETS.TRAIN does not suit its share of "
                    f"{share} crops of a batch of {batch_size}: {error}"
                ) from error
        self.epoch_length: int = max(sampler.epoch_length for sampler in self.samplers)

    def batches_from(self, start: int) -> Iterator[np.ndarray]:
        """Yield the batches from number ``start`` on: (B,) int64 indices, K after K."""
        streams = [sampler.batches_from(start) for sampler in self.samplers]
        for parts in zip(*streams, strict=True):
            chosen = [
                rows[part].reshape(-1, self.images_per_identity)
                for rows, part in zip(self.rows, parts, strict=True)
            ]
            yield np.stack(chosen, axis=1).reshape(-1)
