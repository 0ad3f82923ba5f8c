"""What is remembered of tracks: the last sights of each, and what follows from them.

Everything that is derived is computed anew from the sights, and of each track alone, so that tracks
which are read back from where their sights are kept go on exactly as if they had never been away.

Letters: T tracks, M sights that are remembered of each, N people of a frame, D embedding size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from person_search.people import Box, People

MEMORY = 10
"""How many of its last sights a track is judged by: M."""

SPEED_WINDOW = 0.5
"""Seconds after which a sight counts e times less for the speed."""

SPEED_SHRINKAGE = 0.02
"""Square seconds: the spread of the sights in time at which a measured speed is halved. Two sights
0.1 seconds apart tell little about the speed, since detected boxes tremble."""


@dataclass(frozen=True)
class Sight:
    """One detection of a track."""

    time: float
    """Seconds."""

    box: Box
    """(x1, y1, x2, y2) in original pixels of its frame."""

    score: float
    """The detector's confidence, 0..1."""

    embedding: np.ndarray
    """(D,) of unit norm."""


class TrackMemory:
    """The last sights of all tracks that are alive, in the order of the tracks' numbers."""

    def __init__(self) -> None:
        self.numbers = np.zeros(0, np.int64)
        """(T,) rising."""
        self.velocities = np.zeros((0, 2))
        """(T, 2): of the middle of the box's upper edge, x and y, original pixels a second."""
        self.looks = np.zeros((0, 0), np.float32)
        """(T, D) of unit norm: the mean of the embeddings, weighted by their scores."""
        # Sights from the oldest to the newest, at the end; before them nothing, with weight 0.
        self._times = np.zeros((0, MEMORY))
        self._boxes = np.zeros((0, MEMORY, 4))
        self._weights = np.zeros((0, MEMORY), np.float32)
        self._embeddings = np.zeros((0, MEMORY, 0), np.float32)
        """(T, M, D), each times its weight."""

    @classmethod
    def of(cls, tracks: Mapping[int, Sequence[Sight]]) -> "TrackMemory":
        """Remember tracks by their numbers; of each, the last M sights, in order of time.

        Raises:
            ValueError: A track has no sight, or its sights are not in order of time.
        """
        memory = cls()
        numbers = sorted(tracks)
        for number in numbers:
            times = [sight.time for sight in tracks[number]]
            if not times or any(b <= a for a, b in pairwise(times)):
                raise ValueError(
                    f"track {number} has sights at the times {times}; expected at least one, in "
                    "order of time"
                )
        if numbers:
            memory._append(np.array(numbers, np.int64), len(tracks[numbers[0]][-1].embedding))
        for row, number in enumerate(numbers):
            sights = tracks[number][-MEMORY:]
            last = (row, slice(MEMORY - len(sights), None))
            memory._times[last] = [sight.time for sight in sights]
            memory._boxes[last] = np.array([sight.box for sight in sights], np.float32)
            weights = _weights(np.array([sight.score for sight in sights]))
            embeddings = np.array([sight.embedding for sight in sights], np.float32)
            memory._weights[last] = weights
            memory._embeddings[last] = weights[:, None] * embeddings
        memory._derive(np.arange(len(memory)))
        return memory

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def times(self) -> np.ndarray:
        """(T,) seconds: when each was seen last."""
        return self._times[:, -1]

    @property
    def boxes(self) -> np.ndarray:
        """(T, 4): where each was seen last."""
        return self._boxes[:, -1]

    @property
    def counts(self) -> np.ndarray:
        """(T,) how many sights are remembered of each, 1 to M."""
        return np.asarray((self._weights > 0).sum(axis=1))

    def keep(self, rows: np.ndarray) -> None:
        """Forget all other tracks; ``rows`` is a (T,) mask."""
        if rows.all():
            return
        for name, array in vars(self).items():
            setattr(self, name, array[rows])

    def start(self, numbers: np.ndarray, time: float, people: People) -> None:
        """Add a track for each of the people, with numbers above all there are."""
        if len(numbers):
            self._append(np.asarray(numbers, np.int64), people.embeddings.shape[1])
            self.see(np.arange(len(self) - len(numbers), len(self)), time, people)

    def see(self, rows: np.ndarray, time: float, people: People) -> None:
        """Add a sight to some tracks: one of the people to each of the rows."""
        if not len(rows):
            return
        weights = _weights(people.scores)
        for array, new in (
            (self._times, np.full(len(rows), time)),
            (self._boxes, np.asarray(people.boxes, np.float32)),
            (self._weights, weights),
            (self._embeddings, weights[:, None] * np.asarray(people.embeddings, np.float32)),
        ):
            array[rows, :-1] = array[rows, 1:]
            array[rows, -1] = new
        self._derive(rows)

    def _append(self, numbers: np.ndarray, dim: int) -> None:
        if not len(self):
            self.looks = np.zeros((0, dim), np.float32)
            self._embeddings = np.zeros((0, MEMORY, dim), np.float32)
        for name, array in vars(self).items():
            more = np.zeros((len(numbers), *array.shape[1:]), array.dtype)
            setattr(self, name, np.concatenate([array, more]))
        self.numbers[len(self) - len(numbers) :] = numbers

    def _derive(self, rows: np.ndarray) -> None:
        """Compute speed and look of some tracks from their sights."""
        # Sight after sight, so that no track's sum depends on which others are summed beside it.
        looks = self._embeddings[rows, 0]
        for k in range(1, MEMORY):
            looks += self._embeddings[rows, k]
        norms = np.sqrt((looks * looks).sum(axis=1, keepdims=True))
        self.looks[rows] = looks / np.maximum(norms, 1e-12)
        boxes, times = self._boxes[rows], self._times[rows]
        ages = times[:, -1:] - times
        weights = np.where(self._weights[rows] > 0, np.exp(-ages / SPEED_WINDOW), 0)
        weights /= weights.sum(axis=1, keepdims=True)
        heads = np.stack([(boxes[..., 0] + boxes[..., 2]) / 2, boxes[..., 1]], axis=-1)
        lags = (weights * ages).sum(axis=1, keepdims=True) - ages
        spread = (weights * lags * lags).sum(axis=1)
        shared = weights * lags
        moved = np.stack([(shared * heads[..., axis]).sum(axis=1) for axis in (0, 1)], axis=1)
        self.velocities[rows] = moved / (spread + SPEED_SHRINKAGE)[:, None]


def _weights(scores: np.ndarray) -> np.ndarray:
    """Return scores as weights: a sight is one whatever its score, only what is none weighs 0."""
    return np.maximum(np.asarray(scores, np.float32), 1e-3)
