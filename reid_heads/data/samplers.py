"""Training order that can be resumed at any iteration, and P x K batches on it.

detectron2's sampler starts its stream anew after a resume. Here batch i is a function of the seed
and of i alone, and so are the augmentations of its samples.

Letters: N crops, P identities and K crops of each in a batch, B = P x K.
"""

import itertools
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Sampler

DRAW_KEY = "draw"
"""Key of a dataset dict for the number of the draw, which seeds the sample's augmentations."""

logger = logging.getLogger(__name__)


class ResumableSampler(Sampler[int], ABC):
    """An endless stream of keys, batch after batch, that can start at any batch.

    Set ``start_iteration`` before the first key is taken. Over several processes each one gets its
    share of every batch, the first process the front. A key is ``draw * size + index``:
    ``SeededDicts`` takes it apart.
    """

    def __init__(
        self, size: int, batch_size: int, seed: int, rank: int = 0, num_processes: int = 1
    ):
        """Set the stream up.

        Args:
            size: of the data set.
            batch_size: samples per iteration over all processes.
            seed: of the order, at least 0.
            rank: of this process.
            num_processes: that share each batch.

        Raises:
            ValueError: if the set is empty, or if the batch does not divide among the processes.
        """
        if size == 0:
            raise ValueError("the training set is empty; expected at least one image")
        if batch_size < 1 or batch_size % num_processes:
            raise ValueError(
                f"SOLVER.IMS_PER_BATCH is {batch_size}; expected a multiple of "
                f"the {num_processes} processes"
            )
        self.size = size
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.num_processes = num_processes
        self.start_iteration = 0

    @abstractmethod
    def batches_from(self, start: int) -> Iterator[np.ndarray]:
        """Yield the batches from number ``start`` on without end: (B,) int64 indices each."""

    def __iter__(self) -> Iterator[int]:
        share = self.batch_size // self.num_processes
        first = self.rank * share
        iteration = self.start_iteration
        for batch in self.batches_from(iteration):
            for place in range(first, first + share):
                draw = iteration * self.batch_size + place
                yield draw * self.size + int(batch[place])
            iteration += 1


class SeededDicts(Dataset[dict[str, Any]]):
    """Mapped dataset dicts under the keys of ``ResumableSampler``.

    The mapper gets each dict with its draw number under ``DRAW_KEY``. detectron2's ``MapDataset``
    would keep every key that it has seen.
    """

    def __init__(
        self,
        dicts: Dataset[dict[str, Any]] | list[dict[str, Any]],
        mapper: Callable[[dict[str, Any]], dict[str, Any]],
    ):
        """Wrap a list of dataset dicts."""
        self.dicts = dicts
        self.mapper = mapper

    def __len__(self) -> int:
        return len(self.dicts)  # type: ignore[arg-type]

    def __getitem__(self, key: int) -> dict[str, Any]:
        draw, index = divmod(key, len(self))
        return self.mapper({**self.dicts[index], DRAW_KEY: draw})


def epoch_after_epoch(
    plan_epoch: Callable[[int], Sequence[np.ndarray]], start: int
) -> Iterator[np.ndarray]:
    """Yield the batches of ``plan_epoch(0)``, ``plan_epoch(1)``, … from batch ``start`` on.

    Epochs may differ in length; each must have a batch at least.
    """
    for epoch in itertools.count():
        batches = plan_epoch(epoch)
        yield from batches[start:]
        start = max(start - len(batches), 0)


class IdentitySampler(ResumableSampler):
    """What both P x K samplers share: the crops of each identity, and the checks."""

    epoch_length: int
    """Iterations that schedules count as an epoch."""

    def __init__(
        self,
        pids: Sequence[int],
        batch_size: int,
        images_per_identity: int,
        seed: int,
        rank: int = 0,
        num_processes: int = 1,
    ):
        """Set the stream up.

        Identities with fewer than K crops are counted in a warning: some of their crops come
        several times in a batch.

        Args:
            pids: person id of each of the N crops.
            batch_size: B, crops per iteration over all processes.
            images_per_identity: K.
            seed: of the order, at least 0.
            rank: of this process.
            num_processes: that share each batch, whole identities each.

        Raises:
            ValueError: if there is no crop or one single identity, if there are fewer identities
                than a batch has, or if the batch does not divide into whole identities for each
                process.
        """
        super().__init__(len(pids), batch_size, seed, rank, num_processes)
        ids, rows, counts = np.unique(
            np.asarray(pids, dtype=np.int64), return_inverse=True, return_counts=True
        )
        _check_batch(ids, batch_size, images_per_identity, num_processes)
        self.identity_of = rows
        self.counts = counts
        self.images_per_identity = images_per_identity
        self.identities_per_batch = batch_size // images_per_identity
        few = int((counts < images_per_identity).sum())
        if few:
            logger.warning(
                "%d of %d identities have fewer than %d images "
                "(DATALOADER.REID.IMAGES_PER_IDENTITY); theirs are drawn with replacement",
                few,
                len(ids),
                images_per_identity,
            )


class RandomIdentitySampler(IdentitySampler):
    """The classic P x K sampler of the published ReID baselines.

    In each epoch every identity's crops are shuffled and cut into chunks of K; a remainder is
    dropped, and an identity with fewer than K crops gives one chunk of K draws with replacement.
    Each batch takes a chunk of P random identities out of those that still have one, until fewer
    than P do. So identities with more crops come more often, and the length of an epoch varies a
    little: ``epoch_length`` is that of the first.

    Hermans et al., "In Defense of the Triplet Loss" (2017) have the P x K batch; the chunks are
    those of the strong baseline of Luo et al. (CVPRW 2019) and of torchreid.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        """Set the stream up; see ``IdentitySampler``."""
        super().__init__(*args, **kwargs)
        self.epoch_length = len(self.plan_epoch(0))

    def batches_from(self, start: int) -> Iterator[np.ndarray]:
        """Yield the batches from number ``start`` on: (B,) int64 indices, K after K."""
        return epoch_after_epoch(self.plan_epoch, start)

    def plan_epoch(self, epoch: int) -> list[np.ndarray]:
        """Return all batches of an epoch: (B,) int64 indices each."""
        rng = np.random.default_rng([self.seed, epoch])
        identities, chunks = self._draw_chunks(rng)
        k = self.images_per_identity
        # Crops by identity, in random order within each.
        order = np.lexsort((rng.random(self.size), self.identity_of))
        starts = np.cumsum(self.counts) - self.counts
        places = chunks[..., None] * k + np.arange(k)
        counts = self.counts[identities][..., None]
        with_replacement = (rng.random(places.shape) * counts).astype(np.int64)
        places = np.where(counts < k, with_replacement, places)
        return list(order[starts[identities][..., None] + places].reshape(-1, self.batch_size))

    def _draw_chunks(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return for each batch its identities and which chunk of each: (batches, P) int64."""
        left = np.maximum(self.counts // self.images_per_identity, 1)
        identities, chunks = [], []
        while len(available := np.flatnonzero(left)) >= self.identities_per_batch:
            drawn = rng.choice(available, self.identities_per_batch, replace=False)
            left[drawn] -= 1
            identities.append(drawn)
            # Chunks are in random order already: take an identity's last one first.
            chunks.append(left[drawn])
        return np.stack(identities), np.stack(chunks)


class IdentityUniformSampler(IdentitySampler):
    """A P x K sampler that draws every identity equally often, however many crops it has.

    Identities come in shuffled passes without gaps: a batch that ends one pass and begins the next
    holds nobody twice. Each identity goes through its own crops in the same way, K a time, so that
    none is left out or comes too often over the passes.

    ``epoch_length`` is N // B iterations, so that an epoch means about as many crops as with the
    other sampler; it is no pass over anything.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        """Set the stream up; see ``IdentitySampler``."""
        super().__init__(*args, **kwargs)
        self.epoch_length = max(self.size // self.batch_size, 1)
        order = np.argsort(self.identity_of, kind="stable")
        self.images_of = np.split(order, np.cumsum(self.counts)[:-1])

    def batches_from(self, start: int) -> Iterator[np.ndarray]:
        """Yield the batches from number ``start`` on: (B,) int64 indices, K after K."""
        num_identities, per_batch = len(self.counts), self.identities_per_batch
        period = num_identities // math.gcd(num_identities, per_batch)
        # Of each identity, the number and the content of the period that it is in.
        images: dict[int, tuple[int, np.ndarray]] = {}
        for iteration in itertools.count(start):
            cycle, row = divmod(iteration, period)
            if row == 0 or iteration == start:
                rng = np.random.default_rng([self.seed, cycle])
                identities = balanced_blocks(rng, num_identities, per_batch)
            batch = [
                # Each pass holds each identity once, so the pass's number is the count of its
                # earlier appearances.
                self._images(images, identity, (iteration * per_batch + place) // num_identities)
                for place, identity in enumerate(identities[row].tolist())
            ]
            yield np.concatenate(batch)

    def _images(
        self, known: dict[int, tuple[int, np.ndarray]], identity: int, appearance: int
    ) -> np.ndarray:
        """Return the K crops of an identity at its n-th appearance; ``known`` is a cache."""
        own = self.images_of[identity]
        k = self.images_per_identity
        cycle, row = divmod(appearance, len(own) // math.gcd(len(own), k))
        if known.get(identity, (-1,))[0] != cycle:
            # A trailing 0 would not change the seed: identity + 1 keeps it apart from a cycle of
            # identities.
            rng = np.random.default_rng([self.seed, cycle, identity + 1])
            known[identity] = cycle, own[balanced_blocks(rng, len(own), k)]
        block: np.ndarray = known[identity][1][row]
        return block


def balanced_blocks(rng: np.random.Generator, num_items: int, size: int) -> np.ndarray:
    """Cut shuffled passes over items into blocks, until a pass and a block end together.

    Args:
        rng: source of the order.
        num_items: n, at least 1.
        size: of a block, s.

    Returns:
        (n / g, s) int64 with g = gcd(n, s): each item s / g times in all. A block that spans two
        passes holds no item twice; where s > n, none over once more often than another.
    """
    stream = np.empty(0, dtype=np.int64)
    for _ in range(size // math.gcd(num_items, size)):
        order = rng.permutation(num_items)
        unfinished = stream[len(stream) - len(stream) % size :]
        if len(unfinished):
            # What the unfinished block has least comes first.
            have = np.bincount(unfinished, minlength=num_items)
            fill = order[np.argsort(have[order], kind="stable")][: size - len(unfinished)]
            is_rest = np.ones(num_items, dtype=bool)
            is_rest[fill] = False
            order = np.concatenate([fill, order[is_rest[order]]])
        stream = np.concatenate([stream, order])
    return stream.reshape(-1, size)


def _check_batch(ids: np.ndarray, batch_size: int, k: int, num_processes: int) -> None:
    if k < 1 or batch_size % k:
        raise ValueError(
            f"SOLVER.IMS_PER_BATCH is {batch_size}; expected a multiple of "
            f"DATALOADER.REID.IMAGES_PER_IDENTITY, which is {k}"
        )
    if len(ids) == 1:
        raise ValueError(
            f"every training image shows the one person {ids[0]}; telling people apart needs two "
            "identities at least, check the person ids of the data set"
        )
    p = batch_size // k
    if len(ids) < p:
        raise ValueError(
            f"the training set has {len(ids)} identities, but a batch holds {p} "
            f"(SOLVER.IMS_PER_BATCH {batch_size} / DATALOADER.REID.IMAGES_PER_IDENTITY {k}); set "
            f"SOLVER.IMS_PER_BATCH to at most {len(ids) * k}"
        )
    if p % num_processes:
        raise ValueError(
            f"the {p} identities of a batch (SOLVER.IMS_PER_BATCH {batch_size} / "
            f"DATALOADER.REID.IMAGES_PER_IDENTITY {k}) do not divide among {num_processes} "
            "processes; each takes whole identities"
        )
