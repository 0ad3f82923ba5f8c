"""Resumable training order of frames, in batches of one orientation.

detectron2's aspect-ratio grouping keeps half-filled buffers that no checkpoint holds.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from reid_heads.data.samplers import ResumableSampler, epoch_after_epoch


class OrientationSampler(ResumableSampler):
    """A resumable shuffled stream, each batch of one orientation.

    Each epoch is a permutation, cut into batches of landscape frames and batches of portrait
    frames, so that padding stays small; a last incomplete batch of either kind is dropped, other
    frames each epoch.
    """

    def __init__(
        self,
        is_portrait: Sequence[bool],
        batch_size: int,
        seed: int,
        rank: int = 0,
        num_processes: int = 1,
    ):
        """Set the stream up.

        Args:
            is_portrait: for each frame, whether it is higher than wide.
            batch_size: frames per iteration over all processes.
            seed: of the permutations, at least 0.
            rank: of this process.
            num_processes: that share each batch.

        Raises:
            ValueError: if there is no frame, or if the batch does not divide among the processes.
        """
        super().__init__(len(is_portrait), batch_size, seed, rank, num_processes)
        self.is_portrait = np.asarray(is_portrait, dtype=bool)

    def batches_from(self, start: int) -> Iterator[np.ndarray]:
        """Yield the batches from number ``start`` on: (B,) int64 indices of frames."""
        return epoch_after_epoch(self._epoch, start)

    def _epoch(self, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(self.size)
        batches = []
        for kind in (False, True):
            frames = order[self.is_portrait[order] == kind]
            batches += [
                frames[i : i + self.batch_size]
                for i in range(0, len(frames) - self.batch_size + 1, self.batch_size)
            ]
        if not batches:
            # Fewer frames than a batch: repeat them.
            return [np.resize(order, self.batch_size)]
        return [batches[i] for i in rng.permutation(len(batches))]
