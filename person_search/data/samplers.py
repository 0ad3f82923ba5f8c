"""Training order that can be resumed at any iteration.

detectron2's sampler starts its stream anew after a resume, and its aspect-ratio grouping keeps
half-filled buffers that no checkpoint holds. Here batch i is a function of the seed and of i alone.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Sampler

DRAW_KEY = "draw"
"""Key of a dataset dict for the number of the draw, which seeds the sample's augmentations."""


class ResumableSampler(Sampler[int]):
    """An endless shuffled stream of keys, batch after batch of one orientation each.

    Each epoch is a permutation, cut into batches of landscape frames and batches of portrait
    frames, so that padding stays small; a last incomplete batch of either kind is dropped, other
    frames each epoch. Over several processes each one gets its share of every batch. A key is
    ``draw * size + index``: ``SeededFrames`` takes it apart.
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
        if len(is_portrait) == 0:
            raise ValueError("the training set is empty; expected at least one frame")
        if batch_size < 1 or batch_size % num_processes:
            raise ValueError(
                f"SOLVER.IMS_PER_BATCH is {batch_size}; expected a multiple of "
                f"the {num_processes} processes"
            )
        self.is_portrait = np.asarray(is_portrait, dtype=bool)
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.num_processes = num_processes
        self.start_iteration = 0

    def __iter__(self) -> Iterator[int]:
        iteration = 0
        share = self.batch_size // self.num_processes
        first = self.rank * share
        epoch = 0
        while True:
            batches = self._epoch(epoch)
            skipped = min(max(self.start_iteration - iteration, 0), len(batches))
            iteration += skipped
            for batch in batches[skipped:]:
                for place in range(first, first + share):
                    draw = iteration * self.batch_size + place
                    yield draw * len(self.is_portrait) + int(batch[place])
                iteration += 1
            epoch += 1

    def _epoch(self, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.is_portrait))
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


class SeededFrames(Dataset[dict[str, Any]]):
    """Dataset dicts under the keys of ``ResumableSampler``; each gets its draw number."""

    def __init__(self, frames: Dataset[dict[str, Any]] | list[dict[str, Any]]):
        """Wrap a list of dataset dicts."""
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)  # type: ignore[arg-type]

    def __getitem__(self, key: int) -> dict[str, Any]:
        draw, index = divmod(key, len(self))
        return {**self.frames[index], DRAW_KEY: draw}
