"""Searching a gallery's matrix: bounds first, then the exact rows of what can still win.

By Cauchy and Schwarz the inner product of an embedding with a query of unit norm differs from that
of its rounded row by no more than the length of what rounding took. Whoever cannot be among the
best by this bound cannot be by the truth; of the few others the exact rows are read from the
database. A search is exact, but reads a quarter of the bytes.

Letters: F frames, P people of all of them, D embedding size.
"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import simsimd

from person_search.gallery.matrix import BLOCK_ROWS, Block, Matrix

# Work for less than this is not handed to another thread.
_THREAD_ROWS = 20_000
# Rows that a filter lets through are copied together if they are fewer than one in so many.
_GATHER_SHARE = 4
_GROUP = 64

Fetch = Callable[[np.ndarray], np.ndarray]
"""Given rows of the matrix, returns their exact similarities."""


def find_best(
    matrix: Matrix,
    query: np.ndarray,
    allowed: np.ndarray | None,
    top: int,
    one_per_frame: bool,
    fetch: Fetch,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the best rows and their exact similarities.

    Args:
        matrix: (P, D).
        query: (D,) float32 of unit norm.
        allowed: (F,) bool, frames to look at; None for all.
        top: how many rows, or frames, are wanted.
        one_per_frame: count frames rather than rows.
        fetch: reads the exact rows.

    Returns:
        (n,) rows and (n,) float32 similarities, best first: as many as wanted, if there are, and
        those that are as similar as the last one. Of a frame that counts as one, the first of the
        best rows.
    """

    def keys_of(rows: np.ndarray) -> np.ndarray:
        return matrix.locate(rows)[0] if one_per_frame else rows

    scanned, scores, losses = _scan(matrix, query, allowed)
    rows = _select(scores, losses, scanned, top, keys_of)
    # The same bound without what rounding the query took.
    scores, losses = _multiply(matrix, rows, query)
    kept = _select(scores, losses, rows, top, keys_of)
    most = (scores + losses)[np.searchsorted(rows, kept)]
    found, exact = _fetch_best(kept, most, top, keys_of, fetch)
    best = _best(found, exact, top, keys_of)
    return found[best], exact[best]


KeysOf = Callable[[np.ndarray], np.ndarray]
"""Given rows, returns what counts as one: their frames, or themselves."""


def _scan(
    matrix: Matrix, query: np.ndarray, allowed: np.ndarray | None
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Return the rows looked at (None for all), rough similarities and by how much they may err.

    Rows that are not allowed have a similarity of minus infinity.
    """
    rows, hidden = None, None
    if allowed is not None:
        num_allowed = int(matrix.frames.counts[allowed].sum())
        if num_allowed * _GATHER_SHARE < len(matrix):
            rows = matrix.rows_of(np.flatnonzero(allowed))
        else:
            hidden = matrix.rows_of(np.flatnonzero(~allowed))
    step = np.float32(max(np.abs(query).max(), 1e-30) / 127)
    codes = np.rint(query / step)
    query_loss = np.float32(np.linalg.norm(query - codes * step))
    pieces = list(_pieces(matrix, rows))
    scores = np.empty(len(matrix) if rows is None else len(rows), np.float32)
    losses = np.empty_like(scores)

    def work(piece: tuple[int, Block]) -> None:
        start, block = piece
        part = slice(start, start + len(block))
        found = simsimd.cdist(codes.astype(np.int8)[None], block.codes, "dot", out_dtype="float32")
        np.multiply(np.asarray(found)[0], block.scales, out=scores[part])
        scores[part] *= step
        np.multiply(block.losses, 1 + query_loss, out=losses[part])
        losses[part] += query_loss

    if len(scores) < 2 * _THREAD_ROWS:
        for piece in pieces:
            work(piece)
    else:
        list(_threads().map(work, pieces))
    if hidden is not None:
        scores[hidden] = -np.inf
    return rows, scores, losses


def _pieces(matrix: Matrix, rows: np.ndarray | None) -> Iterable[tuple[int, Block]]:
    """Yield what one thread scores at a time, and where its scores begin."""
    start = done = 0
    for block in matrix.blocks:
        end = start + len(block)
        if rows is None:
            for first in range(0, len(block), BLOCK_ROWS):
                yield start + first, block.rows(slice(first, first + BLOCK_ROWS))
        else:
            some = rows[done : np.searchsorted(rows, end)] - start
            for first in range(0, len(some), _THREAD_ROWS):
                yield done + first, block.rows(some[first : first + _THREAD_ROWS])
            done += len(some)
        start = end


def _select(
    scores: np.ndarray, losses: np.ndarray, rows: np.ndarray | None, top: int, keys_of: KeysOf
) -> np.ndarray:
    """Return which rows can be among the best ``top`` keys, by their bounds; None are all rows."""
    wanted = top
    while True:
        first = _largest(scores, wanted)
        keys = keys_of(first if rows is None else rows[first])
        bound = _last_of_best(scores[first] - losses[first], keys, top)
        # Without so many keys in them, more are looked at.
        if bound is not None or len(first) >= len(scores):
            break
        wanted *= 4
    least = -np.inf if bound is None else bound
    chosen = np.flatnonzero((scores + losses >= least) & (scores > -np.inf))
    return chosen if rows is None else rows[chosen]


def _largest(scores: np.ndarray, count: int) -> np.ndarray:
    """Return at least ``count`` of the largest, those of minus infinity left out if others do.

    The largest of each group of 64 are a hundredth of all; the last of their best ``count`` is at
    most the last of the best ``count`` of all.
    """
    groups = len(scores) // _GROUP
    if groups <= count:
        return np.arange(len(scores))
    most = scores[: groups * _GROUP].reshape(groups, _GROUP).max(axis=1)
    least = np.partition(most, groups - count)[groups - count]
    return np.flatnonzero(scores >= least) if least > -np.inf else np.arange(len(scores))


def _last_of_best(values: np.ndarray, keys: np.ndarray, top: int) -> np.float32 | None:
    """Return the ``top``-th largest of the keys' largest values, None where there are fewer."""
    order = np.argsort(-values, kind="stable")
    first = np.unique(keys[order], return_index=True)[1]
    if len(first) < top:
        return None
    best = values[order[np.sort(first)[top - 1]]]
    return np.float32(best) if best > -np.inf else None


def _multiply(matrix: Matrix, rows: np.ndarray, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return similarities of rounded rows, rising ones, to the query as it is, and their losses."""
    pieces = [block for _, block in _pieces(matrix, rows)]
    if not pieces:
        return np.empty(0, np.float32), np.empty(0, np.float32)
    codes = np.concatenate([block.codes for block in pieces])
    scales = np.concatenate([block.scales for block in pieces])
    losses = np.concatenate([block.losses for block in pieces])
    return (codes.astype(np.float32) @ query) * scales, losses


def _fetch_best(
    rows: np.ndarray, most: np.ndarray, top: int, keys_of: KeysOf, fetch: Fetch
) -> tuple[np.ndarray, np.ndarray]:
    """Read exact rows by falling bound, until no other can reach the last one wanted."""
    order = np.argsort(-most, kind="stable")
    rows, most = rows[order], most[order]
    found = np.empty(0, np.float32)
    count = max(2 * top, 64)
    while len(found) < len(rows):
        if len(found):
            last = _last_of_best(found, keys_of(rows[: len(found)]), top)
            if last is not None and most[len(found)] < last:
                break
        found = np.concatenate([found, fetch(rows[len(found) : len(found) + count])])
        # A camera that shows the same picture for hours makes ties by the thousand.
        count *= 2
    return rows[: len(found)], found


def _best(rows: np.ndarray, exact: np.ndarray, top: int, keys_of: KeysOf) -> np.ndarray:
    """Return the places of the first row of each of the best keys, with ties of the last one."""
    order = np.lexsort((rows, -exact))
    first = np.unique(keys_of(rows[order]), return_index=True)[1]
    order = order[np.sort(first)]
    if len(order) > top:
        order = order[exact[order] >= exact[order[top - 1]]]
    return order


@cache
def _threads() -> ThreadPoolExecutor:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ThreadPoolExecutor(min(count or 1, 8), thread_name_prefix="search")
