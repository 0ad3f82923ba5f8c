"""The matrix that a gallery file is searched through: every embedding in 8 bits, derived from it.

A number of an embedding x is kept as a whole number c of -127..127, times one scale a row. What is
lost, |x - scale c|, is kept too, as one number a row: `matrix_search` bounds by it.

Letters: F frames, P people of all of them, D embedding size.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from person_search.gallery.schema import PEOPLE_IDS

BLOCK_ROWS = 65_536
# What float32 arithmetic may add to the bounds, and what more for each number of a row: sums of
# 2,048 products of one sign were seen to err by 3e-6, of 8,192 by 4.5e-6.
_SLACK, _SLACK_A_NUMBER = 4e-6, 4e-9


@dataclass(frozen=True, eq=False)
class Block:
    """Some rows of the matrix."""

    codes: np.ndarray
    """(n, D) int8."""

    scales: np.ndarray
    """(n,) float32."""

    losses: np.ndarray
    """(n,) float32: Euclidean length of what rounding took from each row, rounded up."""

    @classmethod
    def empty(cls, count: int, embedding_dim: int) -> "Block":
        """Make one of any rows, for `write`."""
        numbers = np.empty((2, count), np.float32)
        return cls(np.empty((count, embedding_dim), np.int8), *numbers)

    @classmethod
    def of(cls, embeddings: np.ndarray) -> "Block":
        """Round embeddings, (n, D) float32."""
        codes = np.empty(embeddings.shape, np.int8)
        scales = np.empty(len(embeddings), np.float32)
        losses = np.empty(len(embeddings), np.float32)
        slack = np.float32(_SLACK + _SLACK_A_NUMBER * embeddings.shape[1])
        for start in range(0, len(embeddings), 4096):
            part = slice(start, start + 4096)
            rows = embeddings[part]
            scale = np.maximum(np.abs(rows).max(axis=1, initial=0), 1e-30) / 127
            rounded = np.rint(rows / scale[:, None])
            codes[part], scales[part] = rounded, scale
            losses[part] = np.linalg.norm(rows - rounded * scale[:, None], axis=1) + slack
        return cls(codes, scales, losses)

    def rows(self, chosen: slice | np.ndarray) -> "Block":
        """Return some of the rows."""
        # Numpy takes four times as long to index rows by an array as to take them.
        codes = self.codes
        codes = codes[chosen] if isinstance(chosen, slice) else codes.take(chosen, axis=0)
        return Block(codes, self.scales[chosen], self.losses[chosen])

    def write(self, start: int, block: "Block") -> None:
        """Copy the rows of another into this one."""
        part = slice(start, start + len(block))
        self.codes[part], self.scales[part] = block.codes, block.scales
        self.losses[part] = block.losses

    def __len__(self) -> int:
        return len(self.scales)


@dataclass(frozen=True, eq=False)
class FrameTable:
    """What the matrix knows of frames, in the order of their ids and of its rows."""

    ids: np.ndarray
    """(F,) int64, rising."""

    checksums: np.ndarray
    """(F,) int64."""

    cameras: np.ndarray
    """(F,) int64 ids, 0 for an unknown one."""

    times: np.ndarray
    """(F,) float64 seconds, NaN for an unknown one."""

    counts: np.ndarray
    """(F,) int64 people."""

    @classmethod
    def of(cls, rows: Sequence[tuple[Any, ...]]) -> "FrameTable":
        """Make one of rows (id, checksum, camera or None, timestamp or None, people)."""
        columns = list(zip(*rows, strict=True)) or [()] * 5
        ids, checksums, cameras, times, counts = columns
        return cls(
            np.array(ids, np.int64),
            np.array(checksums, np.int64),
            np.array([c or 0 for c in cameras], np.int64),
            np.array([np.nan if t is None else t for t in times], np.float64),
            np.array(counts, np.int64),
        )

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Return the columns."""
        return self.ids, self.checksums, self.cameras, self.times, self.counts

    def joined(self, *others: "FrameTable") -> "FrameTable":
        """Return all, the others behind."""
        columns = zip(self.arrays(), *(other.arrays() for other in others), strict=True)
        return FrameTable(*(np.concatenate(column) for column in columns))

    def head(self, count: int) -> "FrameTable":
        """Return the first ones."""
        return FrameTable(*(column[:count] for column in self.arrays()))

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Matrix:
    """All people of a gallery at one state of the database; it is never changed."""

    frames: FrameTable
    blocks: tuple[Block, ...]
    """Their rows follow each other; all but the last hold at least BLOCK_ROWS."""

    changes: int
    removals: int
    """Counters of the database at that state."""

    is_gone: np.ndarray
    """(F,) bool: frames that were removed since their rows were read."""

    numbers: np.ndarray | None = None
    """(P,) uint16: number of each row's person in the frame; None where all are there, from 0."""

    starts: np.ndarray = field(init=False)
    """(F + 1,) first row of each frame."""

    def __post_init__(self) -> None:
        starts = np.concatenate([[0], np.cumsum(self.frames.counts)])
        object.__setattr__(self, "starts", starts)

    def __len__(self) -> int:
        return int(self.starts[-1])

    def grown(
        self,
        frames: FrameTable,
        blocks: Iterable[Block],
        changes: int,
        numbers: np.ndarray | None = None,
    ) -> "Matrix":
        """Return this with more frames behind; ``numbers`` are those of their people."""
        is_gone = np.concatenate([self.is_gone, np.zeros(len(frames), bool)])
        joined, every = _join([*self.blocks, *blocks]), self.numbers
        if every is not None or numbers is not None:
            parts = ((every, self.frames), (numbers, frames))
            every = np.concatenate([_all_numbers(f) if n is None else n for n, f in parts])
        return Matrix(self.frames.joined(frames), joined, changes, self.removals, is_gone, every)

    def locate(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return place of the frame, and number in it, of rows."""
        places = np.searchsorted(self.starts, rows, side="right") - 1
        return places, rows - self.starts[places]

    def ids_of(self, rows: np.ndarray) -> np.ndarray:
        """Return the ids of the people of rows in the database."""
        places, numbers = self.locate(rows)
        if self.numbers is not None:
            numbers = self.numbers[rows].astype(np.int64)
        ids: np.ndarray = self.frames.ids[places] * PEOPLE_IDS + numbers
        return ids

    def rows_of(self, places: np.ndarray) -> np.ndarray:
        """Return all rows of frames given by their places, rising."""
        counts = self.frames.counts[places]
        ends = np.cumsum(counts)
        total = int(ends[-1]) if len(ends) else 0
        offsets = np.repeat(self.starts[places] - (ends - counts), counts)
        return offsets + np.arange(total)


def known_numbers(frames: FrameTable, numbers: np.ndarray) -> np.ndarray | None:
    """Return the numbers of people of frames as a matrix keeps them: None if all are there."""
    return None if np.array_equal(numbers, _all_numbers(frames)) else numbers.astype(np.uint16)


def _all_numbers(frames: FrameTable) -> np.ndarray:
    ends = np.cumsum(frames.counts)
    total = int(ends[-1]) if len(ends) else 0
    numbers: np.ndarray = np.arange(total) - np.repeat(ends - frames.counts, frames.counts)
    return numbers.astype(np.uint16)


def empty(changes: int, removals: int) -> Matrix:
    """Return a matrix without rows."""
    return Matrix(FrameTable.of([]), (), changes, removals, np.zeros(0, bool))


def _join(blocks: Sequence[Block]) -> tuple[Block, ...]:
    """Join small blocks with their neighbours, so that there are few."""
    joined: list[Block] = []
    for block in blocks:
        if joined and len(joined[-1]) < BLOCK_ROWS:
            last = joined.pop()
            pairs = ((last.codes, block.codes), (last.scales, block.scales))
            codes, scales = (np.concatenate(pair) for pair in pairs)
            losses = np.concatenate([last.losses, block.losses])
            joined.append(Block(codes, scales, losses))
        elif len(block):
            joined.append(block)
    return tuple(joined)
