"""Link the people of a stream's frames: who is who, from frame to frame.

Every person in sight is compared with every track in two ways: by place, that is how far the head
is from where the track's should be by now, in heights of the person; and by look, the similarity of
the embeddings. Both speak as evidence for or against, and those links are chosen that have the most
of it together; evidence against makes none. So nobody is linked across a cut, where boxes overlap
and looks disagree. Distances, not overlaps: at a frame a second, who walks overlaps nobody.

Whoever walked out of the picture has left: who comes back later stays anew. Whoever was lost inside
of it may be hidden, and is waited for.

The numbers below were chosen on drawn towns at rates from ten frames a second to one in five
seconds; ``benchmarks/results/appearances.md`` has what came of them.

Of ByteTrack (Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box",
ECCV 2022) it has the two rounds, people found for sure before all others. Its Kalman filter, which
takes frames of one rate, is replaced by what follows from the last sights and the time between.

Letters: T tracks, N people of a frame, D embedding size.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from person_search.people import People
from person_search.tracking.memory import MEMORY, Sight, TrackMemory

__all__ = ["LinkOptions", "Linker", "Sight"]

COAST = 4.0
"""Seconds that somebody out of sight is expected to go on as before; then the expected place stays
where it is."""

SIZE_TOLERANCE = 0.25
"""Spread of the logarithm of a person's height from sight to sight."""

WIDE = 4.0
"""Heights: how far from a track's place somebody else may stand as well."""

TRUST = 1.0
"""Power of the share of its memory that a track has filled, as a prior: a track of few sights may
be a false one, or the second of somebody who was found twice."""


@dataclass(frozen=True)
class LinkOptions:
    """How people are linked.

    Raises:
        ValueError: A value that cannot be; says which.
    """

    max_gap: float = 20.0
    """Seconds without a sight after which a stay ends."""

    exit_gap: float = 1.5
    """Seconds, likewise, of somebody who by then has walked out of the picture."""

    min_similarity: float = 0.45
    """Cosine, -1..1: whoever is less similar to a track is somebody else, wherever they stand."""

    even_similarity: float = 0.6
    """Cosine, -1..1, that speaks neither for the same person nor against."""

    similarity_weight: float = 20.0
    """How much a similarity more by 1 weighs, as the logarithm of a likelihood ratio."""

    tremble: float = 0.12
    """Heights by which a box is off though its person has not moved."""

    reach: float = 0.3
    """Heights a second by which a person gets elsewhere than expected."""

    high_score: float = 0.8
    """Score, 0..1, from which on a person chooses a track before the others do."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            low = -1.0 if field.name in ("min_similarity", "even_similarity") else 0.0
            high = 1.0 if low < 0 or field.name == "high_score" else math.inf
            is_open = field.name in ("max_gap", "exit_gap", "tremble")
            is_above = value > low if is_open else value >= low
            if not (is_above and value <= high and math.isfinite(value)):
                least = "above" if is_open else "from"
                most = "" if high == math.inf else f" to {high:g}"
                raise ValueError(f"{field.name} is {value}; expected {least} {low:g}{most}")


DEFAULTS = LinkOptions()


class Linker:
    """Gives the people of one stream numbers of tracks, frame by frame.

    Whatever it knows of a track follows from the track's last sights: linking in pieces, with
    `restore` between them, gives the numbers of linking in one go. It is deterministic.

    Examples:
        >>> import numpy as np
        >>> linker = Linker()
        >>> boxes = np.array([[10, 20, 40, 110], [60, 15, 95, 120]], np.float32)
        >>> people = People(boxes, np.array([0.9, 0.8], np.float32), np.eye(2, 8, dtype=np.float32))
        >>> linker.step(0.0, people), linker.step(0.4, people.select(np.array([1, 0])))
        (array([0, 1]), array([1, 0]))
        >>> linker.alive()
        (0, 1)
    """

    MEMORY = MEMORY
    """How many of a track's last sights its state depends on."""

    def __init__(self, options: LinkOptions = DEFAULTS, *, first_number: int = 0):
        """Start without tracks.

        Args:
            options: How people are linked.
            first_number: Of the next new track; those after it rise by one.
        """
        self._options = options
        self._memory = TrackMemory()
        self._next_number = first_number
        self._time = -math.inf

    def restore(self, tracks: Mapping[int, Sequence[Sight]]) -> None:
        """Go on with these tracks in place of those there are.

        Args:
            tracks: Each track that is alive by its number, with its last sights in order of time,
                `MEMORY` of them or all there are. New tracks get numbers above these, too.

        Raises:
            ValueError: A track has no sight, or its sights are not in order of time.
        """
        self._memory = TrackMemory.of(tracks)
        self._time = float(self._memory.times.max()) if tracks else -math.inf
        self._next_number = max(self._next_number, 1 + max(tracks, default=-1))

    def alive(self) -> tuple[int, ...]:
        """Return the numbers, rising, of the tracks that may still be linked to."""
        return tuple(self._memory.numbers.tolist())

    def step(self, time: float, people: People, size: tuple[int, int] | None = None) -> np.ndarray:
        """Link the people of the next frame.

        Args:
            time: Of the frame, seconds, later than all before; how much later does not matter.
            people: Who was found in it; boxes in pixels of this frame.
            size: Width and height of this frame, pixels; None where they are not known: then
                nobody is taken to have walked out of it.

        Returns:
            (N,) int64: the number of each one's track, a new one where none fits.

        Raises:
            ValueError: The time is not later, or the embeddings are not of the size of those
                before.
        """
        self._check(time, people)
        self._time = time
        memory = self._memory
        memory.keep(time - memory.times <= self._options.max_gap)
        numbers = np.full(len(people), -1, np.int64)
        if len(memory) and len(people):
            rows, columns = self._choose(time, people, size)
            numbers[columns] = memory.numbers[rows]
            memory.see(rows, time, people.select(columns))
        new = np.flatnonzero(numbers < 0)
        numbers[new] = self._next_number + np.arange(len(new))
        self._next_number += len(new)
        memory.start(numbers[new], time, people.select(new))
        return numbers

    def _check(self, time: float, people: People) -> None:
        if not (time > self._time and math.isfinite(time)):
            raise ValueError(
                f"a frame of time {time} comes after one of {self._time}; expected frames in order "
                "of time, one of a time"
            )
        got, expected = people.embeddings.shape[-1], self._memory.looks.shape[-1]
        if len(people) and len(self._memory) and got != expected:
            raise ValueError(
                f"embeddings of {got} numbers after those of {expected}; expected the same model's "
                "for all frames of a stream"
            )

    def _choose(
        self, time: float, people: People, size: tuple[int, int] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Choose pairs of tracks and people: rows of the memory, rows of the people."""
        # Half a second to import, which whoever links nobody is spared.
        from scipy.optimize import linear_sum_assignment

        evidence = np.maximum(self._evidence(time, people), 0)
        if size is not None:
            evidence[self._have_left(time, size)] = 0
        is_high = people.scores >= self._options.high_score
        tracks = np.arange(len(self._memory))
        rows, columns = [], []
        for asked in (np.flatnonzero(is_high), np.flatnonzero(~is_high)):
            open_pairs = evidence[np.ix_(tracks, asked)]
            i, j = linear_sum_assignment(open_pairs, maximize=True)
            is_link = open_pairs[i, j] > 0
            rows.append(tracks[i[is_link]])
            columns.append(asked[j[is_link]])
            is_free = np.ones(len(tracks), bool)
            is_free[i[is_link]] = False
            tracks = tracks[is_free]
        return np.concatenate(rows), np.concatenate(columns)

    def _evidence(self, time: float, people: People) -> np.ndarray:
        """Weigh each track against each person: (T, N), log likelihood ratios of being the same.

        Place: around where the track should be, people of the track are spread normally, by
        `tremble` and, the longer ago, by `reach`; others evenly over about `WIDE` heights.
        """
        options, memory = self._options, self._memory
        gaps = (time - memory.times)[:, None]
        tracks, boxes = memory.boxes, np.asarray(people.boxes, np.float64)
        expected = _heads(tracks) + self._moved(time)
        # Of boxes without height, those of a pixel.
        tall = (
            np.maximum(tracks[:, 3:] - tracks[:, 1:2], 1),
            np.maximum(boxes[:, 3] - boxes[:, 1], 1),
        )
        away = ((expected[:, None] - _heads(boxes)) ** 2).sum(axis=2) / (tall[0] * tall[1])
        spread = options.tremble + options.reach * gaps
        place = -away / (2 * spread**2) - 2 * np.log(spread / WIDE)
        size = -(np.log(tall[0] / tall[1]) ** 2) / (2 * SIZE_TOLERANCE**2)
        similarities = memory.looks @ np.asarray(people.embeddings, np.float32).T
        look = options.similarity_weight * (similarities - options.even_similarity)
        is_other = similarities < options.min_similarity
        known = TRUST * np.log(memory.counts / MEMORY)[:, None]
        return np.where(is_other, -np.inf, place + size + look + known)

    def _have_left(self, time: float, size: tuple[int, int]) -> np.ndarray:
        """Say of each track, (T,), whether its person has walked out of a picture of this size.

        By then the middle of the box should lie outside of it. A track that has left has left for
        good: the longer ago, the further away the middle is.
        """
        boxes = self._memory.boxes
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2 + self._moved(time)
        is_outside = ((middles < 0) | (middles > size)).any(axis=1)
        is_outside &= time - self._memory.times > self._options.exit_gap
        return np.asarray(is_outside)

    def _moved(self, time: float) -> np.ndarray:
        """Return how far, (T, 2) in pixels, each track should have got since its last sight."""
        gaps = (time - self._memory.times)[:, None]
        moved: np.ndarray = self._memory.velocities * (COAST * -np.expm1(-gaps / COAST))
        return moved


def _heads(boxes: np.ndarray) -> np.ndarray:
    """Return the middles of the upper edges: feet are hidden more often than heads."""
    return np.stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 1]], axis=1)
