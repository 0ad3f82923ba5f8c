"""Nearest neighbours of every row among all rows, exact, without the N x N matrix.

Similarities are symmetric, so only tiles on and above the diagonal are multiplied; each serves
the neighbours of its rows and of its columns. A row keeps its best candidates as 64-bit keys,
similarity above column, which sort as numbers: by falling similarity, then by column.

Letters: N rows, D embedding size, K neighbours kept, R rows and C columns of a tile.
"""

from dataclasses import dataclass

import numpy as np

# 16 MB a tile in float32. No power of two: equal distances in memory evict one another from caches.
TILE_ROWS = 1984
# Neighbours whose similarity differs by less than this may be in the wrong order: sums of float32
# products of unit vectors are off by some 1e-7.
ROUNDING = 1e-6
# Candidates of a tile, in multiples of K a row, beyond which the bound is tightened first.
_MANY_CANDIDATES = 4
# Float64 numbers gathered at a time when near-ties are settled.
_GATHERED = 8_000_000

_NO_COLUMN = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


@dataclass(frozen=True)
class Neighbors:
    """Hold the most similar rows of each row; it is usually the first of its own."""

    indices: np.ndarray
    """(N, K) int64, by falling similarity, ties by row."""

    similarities: np.ndarray
    """(N, K) float32."""

    least_similarity: np.ndarray
    """(N,) float32: similarity to the least similar of all rows."""


class TopColumns:
    """Keep the K most similar columns of each of N rows while tiles of similarities come in."""

    def __init__(self, num_rows: int, number: int) -> None:
        """Start with no columns: their similarity is -inf, their number 2^32 - 1."""
        empty = _make_keys(np.array([-np.inf], np.float32), np.array([_NO_COLUMN]))[0]
        self._keys = np.full((num_rows, number), empty, dtype=np.uint64)

    @property
    def columns(self) -> np.ndarray:
        """(N, K) int64, best first, ties by column."""
        return (self._keys & _NO_COLUMN).astype(np.int64)

    @property
    def similarities(self) -> np.ndarray:
        """(N, K) float32."""
        return _read_similarities(self._keys)

    def update(self, first_row: int, first_column: int, tile: np.ndarray) -> None:
        """Consider the similarities (R, C) of consecutive rows and columns, none of them NaN.

        Columns must come in ascending order for each row; fast for a transposed tile as well.
        """
        keys = self._keys[first_row : first_row + len(tile)]
        bound = _read_similarities(keys[:, -1])
        rows, columns = _find_above(tile, bound, keys.shape[1])
        if not len(rows):
            return
        new = _make_keys(tile[rows, columns], (columns + first_column).astype(np.uint64))
        hit_rows, starts, counts = np.unique(rows, return_index=True, return_counts=True)
        number = keys.shape[1]
        padded = np.full((len(hit_rows), number + counts.max()), np.iinfo(np.uint64).max)
        padded[:, :number] = keys[hit_rows]
        places = np.arange(len(rows)) - np.repeat(starts, counts)
        padded[np.repeat(np.arange(len(hit_rows)), counts), number + places] = new
        padded.sort(axis=1)
        keys[hit_rows] = padded[:, :number]


def find_neighbors(
    features: np.ndarray,
    number: int,
    exact_at: tuple[int, ...] = (),
    tile_rows: int = TILE_ROWS,
    corner: np.ndarray | None = None,
) -> Neighbors:
    """Find the most similar rows of each row.

    Args:
        features: (N, D) float32 of unit norm.
        number: K, at least 1; at most N are kept.
        exact_at: For each n of these, that the first n neighbours are the right ones is settled in
            float64 wherever float32 cannot tell. So the sets do not depend on tiles, threads or
            machine; give a ``number`` somewhat larger than the largest n.
        tile_rows: Rows and columns multiplied at a time.
        corner: (Q, N - Q) float32, filled with the similarities of the first rows to all others.

    Returns:
        The neighbours, the row itself among them.
    """
    total = len(features)
    top = TopColumns(total, min(number, total))
    least = np.full(total, np.inf, dtype=np.float32)
    buffer = np.empty(min(tile_rows, total) ** 2, dtype=np.float32)
    for i in range(0, total, tile_rows):
        rows = features[i : i + tile_rows]
        for j in range(i, total, tile_rows):
            columns = features[j : j + tile_rows]
            tile = buffer[: len(rows) * len(columns)].reshape(len(rows), len(columns))
            np.matmul(rows, columns.T, out=tile)
            if corner is not None:
                _copy_corner(tile, i, j, corner)
            top.update(i, j, tile)
            np.minimum(least[i : i + len(rows)], tile.min(axis=1), out=least[i : i + len(rows)])
            if i != j:
                top.update(j, i, tile.T)
                ends = slice(j, j + len(columns))
                np.minimum(least[ends], tile.min(axis=0), out=least[ends])
    indices, similarities = top.columns, top.similarities
    _settle_near_ties(features, indices, similarities, exact_at)
    return Neighbors(indices, similarities, least)


def _copy_corner(tile: np.ndarray, first_row: int, first_column: int, corner: np.ndarray) -> None:
    """Copy what a tile has of the similarities of the first Q rows to the rows from Q on."""
    num_first = len(corner)
    skipped = max(num_first - first_column, 0)
    shared = tile[: max(num_first - first_row, 0), skipped:]
    if shared.size:
        start = first_column + skipped - num_first
        corner[first_row : first_row + len(shared), start : start + shared.shape[1]] = shared


def _settle_near_ties(
    features: np.ndarray, indices: np.ndarray, similarities: np.ndarray, exact_at: tuple[int, ...]
) -> None:
    """Reorder, in place, rows whose first n neighbours float32 cannot tell from the rest."""
    cuts = [n for n in exact_at if 0 < n < indices.shape[1]]
    if not cuts:
        return
    cut = np.array(cuts)
    unsure = similarities[:, cut - 1] - similarities[:, cut] < ROUNDING
    rows = np.flatnonzero(unsure.any(axis=1))
    step = max(1, _GATHERED // (indices.shape[1] * features.shape[1]))
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        gathered = features[indices[some]].astype(np.float64)
        exact = np.einsum("rkd,rd->rk", gathered, features[some].astype(np.float64))
        order = np.lexsort((indices[some], -exact), axis=1)
        indices[some] = np.take_along_axis(indices[some], order, axis=1)
        similarities[some] = np.take_along_axis(exact, order, axis=1)


def _find_above(tile: np.ndarray, bound: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """List the entries of a tile above their row's bound, at least the ``number`` best.

    Args:
        tile: (R, C), contiguous or the transpose of a contiguous array.
        bound: (R,).
        number: K.

    Returns:
        Rows and columns, sorted by row, then column; both int64.
    """
    transposed = not tile.flags.c_contiguous
    above = tile > bound[:, None]
    if np.count_nonzero(above) > _MANY_CANDIDATES * number * len(tile) and number < tile.shape[1]:
        # Too many to sort: those below the tile's own K-th best are not needed.
        least = np.partition(np.ascontiguousarray(tile), -number, axis=1)[:, -number]
        above &= tile >= least[:, None]
    if not transposed:
        rows, columns = np.divmod(np.flatnonzero(above), tile.shape[1])
        return rows, columns
    columns, rows = np.divmod(np.flatnonzero(above.T), tile.shape[0])
    # uint16 sorts by radix, many times faster.
    order = np.argsort(rows.astype(np.uint16) if len(tile) <= 2**16 else rows, kind="stable")
    return rows[order], columns[order]


def _make_keys(similarities: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Pack float32 similarities and columns (uint64, below 2^32) into keys that sort best first."""
    # Adding 0 turns -0 into 0. Positive floats sort like their bits, negative ones the other way.
    bits = (similarities + np.float32(0)).view(np.uint32)
    falling = np.where(bits >> np.uint32(31), bits, ~bits & np.uint32(0x7FFFFFFF))
    keys: np.ndarray = (falling.astype(np.uint64) << _SHIFT) | columns
    return keys


def _read_similarities(keys: np.ndarray) -> np.ndarray:
    """Unpack the float32 similarities of keys."""
    falling = (keys >> _SHIFT).astype(np.uint32)
    bits = np.where(falling >> np.uint32(31), falling, ~falling & np.uint32(0x7FFFFFFF))
    return bits.view(np.float32)
