"""Stays: what the sights of one track say together.

Letters: N people, in all frames of a stream, K of them of one stay, D embedding size.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from person_search.people import People, paired_intersection


@dataclass(frozen=True, eq=False)
class Stay:
    """One person's unbroken stay before one camera."""

    number: int
    """Of its track."""

    start: float
    """Time of the first sight, seconds."""

    end: float
    """Time of the last one; of a single sight, the same."""

    rows: np.ndarray
    """(K,) int64: its people, in order of time."""

    qualities: np.ndarray
    """(K,) of each of them: see `view_qualities`."""

    embedding: np.ndarray
    """(D,) float32 of unit norm: the mean of its people's."""

    @property
    def num_sights(self) -> int:
        """How often the person was found: K."""
        return len(self.rows)

    @property
    def best(self) -> int:
        """The row of the sight to show: that of the highest quality, of equal ones the first."""
        return int(self.rows[np.argmax(self.qualities)])

    def keep_best(self, count: int) -> np.ndarray:
        """Choose some sights that show the person well and at different times.

        The stay is cut into as many pieces, of about as many sights each; of each piece the best
        stays. So does the best of all.

        Args:
            count: how many, at least 1.

        Returns:
            Their rows in order of time, (min(count, K),) int64.

        Raises:
            ValueError: ``count`` is not positive.
        """
        if count < 1:
            raise ValueError(f"count is {count}; expected at least 1")
        pieces = np.array_split(np.arange(len(self.rows)), min(count, len(self.rows)))
        chosen = [piece[np.argmax(self.qualities[piece])] for piece in pieces]
        return self.rows[chosen]


def gather_stays(times: np.ndarray, numbers: np.ndarray, people: People) -> list[Stay]:
    """Put the people of a stream's frames together by the tracks that they were linked to.

    Args:
        times: (N,) seconds, not falling; people of the same time are of the same frame.
        numbers: (N,) int64, the track of each, as `Linker.step` returns it.
        people: all of them, N rows.

    Returns:
        The stays by their start, of equal ones by number.

    Raises:
        ValueError: Times fall, or there is not one of everything for each person.

    Examples:
        >>> import numpy as np
        >>> boxes = np.array([[0, 0, 10, 30], [0, 0, 20, 60], [90, 0, 99, 30]], np.float32)
        >>> people = People(boxes, np.full(3, 0.9, np.float32), np.eye(3, 8, dtype=np.float32))
        >>> first, second = gather_stays(np.array([0, 1, 1]), np.array([7, 7, 8]), people)
        >>> first.number, first.start, first.end, first.best
        (7, 0.0, 1.0, 1)
    """
    if not len(times) == len(numbers) == len(people):
        raise ValueError(
            f"{len(times)} times and {len(numbers)} numbers of tracks for {len(people)} people; "
            "expected one of both for each"
        )
    times = np.asarray(times, np.float64)
    qualities = view_qualities(times, people)
    order = np.argsort(numbers, kind="stable")
    cuts = np.flatnonzero(np.diff(np.asarray(numbers)[order])) + 1
    stays = []
    for rows in np.split(order, cuts) if len(order) else []:
        start, end = float(times[rows[0]]), float(times[rows[-1]])
        embedding = _mean(people.embeddings[rows], qualities[rows])
        stays.append(Stay(int(numbers[rows[0]]), start, end, rows, qualities[rows], embedding))
    return sorted(stays, key=lambda stay: (stay.start, stay.number))


def view_qualities(times: np.ndarray, people: People) -> np.ndarray:
    """Say how well each sight shows its person; arguments as of `gather_stays`.

    The score, times the root of the box's area, times the share of it that nobody stands before: of
    two boxes that overlap, the one that ends lower in the picture is in front.

    Returns:
        (N,) float64; comparable within a stream.
    """
    boxes = np.asarray(people.boxes, np.float64)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    free = np.ones(len(boxes))
    for rows in _frames(times):
        own = boxes[rows]
        covered = paired_intersection(own[:, None], own[None]) / np.maximum(areas[rows, None], 1e-9)
        in_front = own[None, :, 3] > own[:, None, 3]
        free[rows] -= np.where(in_front, covered, 0).max(axis=1)
    scores = np.asarray(people.scores, np.float64)
    return np.asarray(scores * np.sqrt(np.maximum(areas, 0)) * free)


def _frames(times: np.ndarray) -> Iterator[np.ndarray]:
    steps = np.diff(times)
    if (steps < 0).any():
        row = int(np.argmax(steps < 0))
        raise ValueError(
            f"time {times[row + 1]:g} comes after {times[row]:g}; expected the people in order of "
            "time"
        )
    yield from np.split(np.arange(len(times)), np.flatnonzero(steps) + 1) if len(times) else ()


def _mean(embeddings: np.ndarray, qualities: np.ndarray) -> np.ndarray:
    mean = embeddings.sum(axis=0, dtype=np.float64)
    norm = np.linalg.norm(mean)
    if norm < 1e-6:
        # Embeddings that cancel out have no mean direction.
        mean = embeddings[np.argmax(qualities)].astype(np.float64)
        norm = np.linalg.norm(mean)
    return np.asarray(mean / norm, np.float32)
