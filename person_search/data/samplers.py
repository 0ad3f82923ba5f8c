"""Resumable training order of frames, in batches of one orientation: plain, and for long tails.

detectron2's aspect-ratio grouping keeps half-filled buffers that no checkpoint holds.
"""

import itertools
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from reid_heads.data.samplers import ResumableSampler, epoch_after_epoch
from reid_heads.labels import UNLABELED_PID

OWN_SHARE = -1.0
"""Draw frames without labelled people as often as they stand in the set."""


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


class IdentityFrameSampler(ResumableSampler):
    """What the long-tail samplers share: who is in which frame, and batches of one orientation.

    Each epoch is a list of drawn frames, cut into batches of landscape frames and batches of
    portrait frames; what does not fill a batch opens the next epoch, so that no draw is lost. A
    batch can hold a frame twice. The whole stream comes from one generator: a resumed one is drawn
    anew from the start, which takes milliseconds an epoch.

    Letters: N frames, P identities, L (frame, identity) pairs: who is seen in which frame.
    """

    expected_draws: np.ndarray
    """(N,) float64: how often each frame is drawn in an epoch, on average."""

    def __init__(
        self,
        is_portrait: Sequence[bool],
        pids: Sequence[Sequence[int]],
        batch_size: int,
        seed: int,
        rank: int = 0,
        num_processes: int = 1,
    ):
        """Set the stream up.

        Args:
            is_portrait: for each frame, whether it is higher than wide.
            pids: for each frame, the person ids of its people; ``UNLABELED_PID`` is passed over.
            batch_size: frames per iteration over all processes.
            seed: of the draws, at least 0.
            rank: of this process.
            num_processes: that share each batch.

        Raises:
            ValueError: if there is no frame or nobody has an identity, or if the batch does not
                divide among the processes.
        """
        super().__init__(len(is_portrait), batch_size, seed, rank, num_processes)
        self.is_portrait = np.asarray(is_portrait, dtype=bool)
        pairs = {
            (pid, frame)
            for frame, people in enumerate(pids)
            for pid in people
            if pid != UNLABELED_PID
        }
        if not pairs:
            raise ValueError(
                f"nobody in the {self.size} training frames has an identity, so there is no long "
                "tail; set DATALOADER.SAMPLER_TRAIN to 'TrainingSampler', or check the person ids"
            )
        # By identity, then by frame.
        identities, self.frame_of = np.array(sorted(pairs), dtype=np.int64).T
        _, self.identity_of, self.counts = np.unique(
            identities, return_inverse=True, return_counts=True
        )
        self.is_labeled = np.isin(np.arange(self.size), self.frame_of)

    @abstractmethod
    def epochs(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield the frames of each epoch in the order drawn, without end: int64 indices."""

    def batches_from(self, start: int) -> Iterator[np.ndarray]:
        """Yield the batches from number ``start`` on: (B,) int64 indices of frames."""
        return itertools.islice(self._batches(), start, None)

    def _batches(self) -> Iterator[np.ndarray]:
        rng = np.random.default_rng(self.seed)
        left = [np.empty(0, dtype=np.int64)] * 2
        for drawn in self.epochs(rng):
            batches: list[np.ndarray] = []
            for kind in (0, 1):
                frames = np.concatenate([left[kind], drawn[self.is_portrait[drawn] == kind]])
                full = len(frames) - len(frames) % self.batch_size
                batches.extend(frames[:full].reshape(-1, self.batch_size))
                left[kind] = frames[full:]
            yield from (batches[i] for i in rng.permutation(len(batches)))

    def describe_tail(self) -> str:
        """Say in a line how often an epoch shows the rarest and the most frequent identities.

        An identity is shown by every frame that it stands in, whoever the frame was drawn for.
        """
        shown = np.bincount(self.identity_of, weights=self.expected_draws[self.frame_of])
        parts = [f"an epoch draws {self.expected_draws.sum():.0f} from {self.size} frames"]
        for word, count in (("rarest", self.counts.min()), ("most frequent", self.counts.max())):
            some = self.counts == count
            parts.append(
                f"the {word} identities ({int(some.sum())}, in {count} frames each) are shown "
                f"{shown[some].mean():.1f} times each on average"
            )
        return ", ".join(parts)

    def _share_out(self, labeled: np.ndarray, unlabeled_share: float) -> np.ndarray:
        """Turn weights of the frames with labelled people into expected draws of all frames.

        Args:
            labeled: (N,) weights of any sum, 0 for the other frames.
            unlabeled_share: of an epoch's N draws, 0..1, that the other frames get in equal parts;
                ``OWN_SHARE`` is their share of the set.

        Returns:
            (N,) float64 of sum N.
        """
        others = int((~self.is_labeled).sum())
        if unlabeled_share == OWN_SHARE:
            unlabeled_share = others / self.size
        elif not 0 <= unlabeled_share < 1:
            raise ValueError(
                f"DATALOADER.FRAMES.UNLABELED_SHARE is {unlabeled_share}; expected 0 or more and "
                f"less than 1, or {OWN_SHARE} for the share that such frames have in the set"
            )
        elif unlabeled_share and not others:
            raise ValueError(
                f"DATALOADER.FRAMES.UNLABELED_SHARE is {unlabeled_share}, but every training frame "
                f"shows somebody with an identity; set it to 0.0 or {OWN_SHARE}"
            )
        draws: np.ndarray = labeled * (self.size * (1 - unlabeled_share) / labeled.sum())
        draws[~self.is_labeled] = self.size * unlabeled_share / max(others, 1)
        return draws


class RepeatFactorSampler(IdentityFrameSampler):
    """Repeat the frames of rare identities.

    Gupta et al., "LVIS" (CVPR 2019), with identities for categories: an identity in a share f of
    the frames has the factor r = max(1, sqrt(t / f)), a frame the largest factor of its identities,
    1 where nobody has one. In each epoch a frame comes floor(r) times and once more with the
    probability of the rest.
    """

    def __init__(self, *args: Any, threshold: float, **kwargs: Any):
        """Set the stream up; see ``IdentityFrameSampler``.

        Args:
            args: as there.
            threshold: t, the share of frames, 0..1, below which an identity's frames are repeated.
            kwargs: as there.

        Raises:
            ValueError: as there, or if the threshold is not above 0 and at most 1.
        """
        super().__init__(*args, **kwargs)
        if not 0 < threshold <= 1:
            raise ValueError(
                f"DATALOADER.REPEAT_THRESHOLD is {threshold}; expected above 0 and at most 1: the "
                "share of frames below which an identity's frames are repeated"
            )
        factors = np.maximum(np.sqrt(threshold / (self.counts / self.size)), 1)
        self.expected_draws = np.ones(self.size)
        np.maximum.at(self.expected_draws, self.frame_of, factors[self.identity_of])

    def epochs(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield the frames of each epoch in random order, without end: int64 indices."""
        whole = np.floor(self.expected_draws)
        rest = self.expected_draws - whole
        while True:
            times = (whole + (rng.random(self.size) < rest)).astype(np.int64)
            yield rng.permutation(np.repeat(np.arange(self.size), times))


class ClassBalancedSampler(IdentityFrameSampler):
    """Draw frames with replacement, those of rare identities more often.

    An identity in n frames weighs (1 - beta) / (1 - beta**n), the inverse of its effective number
    of samples (Cui et al., CVPR 2019, eq. 2); the paper weighs losses by it, here it weighs draws.
    A frame weighs as much as the weightiest of its identities: the mean would make a rare person
    rarer in a crowd. An epoch is N draws.
    """

    def __init__(self, *args: Any, beta: float, unlabeled_share: float = OWN_SHARE, **kwargs: Any):
        """Set the stream up; see ``IdentityFrameSampler``.

        Args:
            args: as there.
            beta: 0 draws all frames alike; towards 1 an identity weighs 1 / n.
            unlabeled_share: share of the draws, 0..1, for frames without labelled people, so that
                detection goes on seeing them; ``OWN_SHARE`` is their share of the set.
            kwargs: as there.

        Raises:
            ValueError: as there, or if beta or the share is out of range, or no frame is without
                labelled people and the share is above 0.
        """
        super().__init__(*args, **kwargs)
        if not 0 <= beta < 1:
            raise ValueError(
                f"DATALOADER.FRAMES.CLASS_BALANCED_BETA is {beta}; expected 0 or more and less "
                "than 1"
            )
        weights = (1 - beta) / (1 - beta ** self.counts.astype(np.float64))
        labeled = np.zeros(self.size)
        np.maximum.at(labeled, self.frame_of, weights[self.identity_of])
        self.expected_draws = self._share_out(labeled, unlabeled_share)

    def epochs(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield N draws for each epoch, without end: (N,) int64 indices."""
        shares = self.expected_draws / self.expected_draws.sum()
        while True:
            yield rng.choice(self.size, self.size, p=shares)


class IdentityUniformFrameSampler(IdentityFrameSampler):
    """Draw every identity equally often, and for it one of the frames that show it.

    Identities come in shuffled passes without gaps; each goes through its own frames in shuffled
    passes as well. Its frame shows other people too, so that who is often seen with others still
    comes more often: the log line says how much. An epoch is N draws.
    """

    def __init__(self, *args: Any, unlabeled_share: float = OWN_SHARE, **kwargs: Any):
        """Set the stream up; see ``IdentityFrameSampler``.

        Args:
            args: as there.
            unlabeled_share: as for ``ClassBalancedSampler``; these frames come in shuffled passes.
            kwargs: as there.

        Raises:
            ValueError: as there, or if the share is out of range, or no frame is without labelled
                people and the share is above 0.
        """
        super().__init__(*args, **kwargs)
        labeled = np.bincount(self.frame_of, 1 / self.counts[self.identity_of], self.size)
        self.expected_draws = self._share_out(labeled, unlabeled_share)

    def epochs(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield N draws for each epoch in random order, without end: (N,) int64 indices."""
        unlabeled = np.flatnonzero(~self.is_labeled)
        for_identities = itertools.chain.from_iterable(self._passes(rng))
        others = itertools.chain.from_iterable(
            rng.permutation(unlabeled) for _ in itertools.count()
        )
        per_epoch = self.expected_draws[unlabeled].sum()
        for epoch in itertools.count(1):
            # Rounded over all epochs so far: a share of less than a frame an epoch adds up.
            number = round(epoch * per_epoch) - round((epoch - 1) * per_epoch)
            drawn = [
                *itertools.islice(for_identities, self.size - number),
                *itertools.islice(others, number),
            ]
            yield rng.permutation(np.array(drawn, dtype=np.int64))

    def _passes(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield for each pass over the identities one frame of each: (P,) int64 indices."""
        starts = np.cumsum(self.counts) - self.counts
        order = self.frame_of
        for number in itertools.count():
            place = number % self.counts
            # Who has come to the end of his frames, or has not begun, gets a new order of them.
            shuffled = self.frame_of[np.lexsort((rng.random(len(order)), self.identity_of))]
            order = np.where((place == 0)[self.identity_of], shuffled, order)
            yield rng.permutation(order[starts + place])
