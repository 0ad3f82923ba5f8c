"""Searching a gallery's matrix: bounds first, then the exact rows of what can still win.

By Cauchy and Schwarz the inner product of an embedding with a query of unit norm differs from that
of its rounded row by no more than the length of what rounding took. Whoever cannot be among the
best by this bound cannot be by the truth; of the few others the exact rows are read from the
database. A search is exact, but reads a quarter of the bytes.

Letters: F frames, P people of all of them, D embedding size.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple, TypeVar

import numpy as np
import simsimd

from person_search.gallery.matrix import Block, Matrix

# What a thread scores at a time.
_THREAD_ROWS = 32_768
# Where a filter lets more than this share of some rows through, all of them are scored in place:
# copying rows together takes as long as scoring them.
_IN_PLACE_SHARE = 0.5
_GROUP = 64

_Result = TypeVar("_Result")
Fetch = Callable[[np.ndarray], np.ndarray]
"""Given rows of the matrix, returns their exact similarities."""
KeysOf = Callable[[np.ndarray], np.ndarray]
"""Given rows, returns numbers that are equal where they count as one: frames, appearances, rows."""


def find_best(
    matrix: Matrix,
    query: np.ndarray,
    allowed: np.ndarray | None,
    top: int,
    keys_of: KeysOf,
    fetch: Fetch,
) -> tuple[np.ndarray, np.ndarray]:
    """Find the best rows and their exact similarities.

    Args:
        matrix: (P, D).
        query: (D,) float32 of unit norm.
        allowed: (F,) bool, frames to look at; None for all.
        top: how many keys are wanted.
        keys_of: what counts as one.
        fetch: reads the exact rows.

    Returns:
        (n,) rows and (n,) float32 similarities, best first: as many as wanted, if there are, and
        those that are as similar as the last one. Of rows that count as one, the first of the best.
    """
    rows = _select(_scan(matrix, query, allowed), top, keys_of)
    # The same bounds row by row, without what rounding the query took.
    scores, losses = _multiply(matrix, rows, query)
    bound = _last_of_best(scores - losses, keys_of(rows), top)
    most = scores + losses
    kept = most >= (-np.inf if bound is None else bound)
    found, exact = _fetch_best(rows[kept], most[kept], top, keys_of, fetch)
    best = _best(found, exact, top, keys_of)
    return found[best], exact[best]


class _Piece(NamedTuple):
    """Rows that one thread scores at a time."""

    start: int
    """Place of their first score."""

    block: Block
    chosen: slice | np.ndarray
    """Rows of the block that are scored."""

    picked: np.ndarray | None
    """Which of them count, by place; None for all."""

    def __len__(self) -> int:
        if self.picked is not None:
            return len(self.picked)
        chosen = self.chosen
        return chosen.stop - chosen.start if isinstance(chosen, slice) else len(chosen)


class _Scan(NamedTuple):
    """Rough similarities of rows to the query."""

    rows: np.ndarray | None
    """(n,) rows looked at, None for all."""

    scores: np.ndarray
    """(n,) float32; minus infinity for rows that are not allowed."""

    parts: list[slice]
    """Of the scores, one behind the other."""

    errors: list[float]
    """By how much scores of each part may be wrong at most."""

    tops: np.ndarray
    """The largest scores of groups of _GROUP rows, without the rows that fill no group."""


def _scan(matrix: Matrix, query: np.ndarray, allowed: np.ndarray | None) -> _Scan:
    rows, hidden = None, np.empty(0, np.int64)
    if allowed is not None:
        places = np.flatnonzero(allowed)
        if matrix.frames.counts[places].sum() < _IN_PLACE_SHARE * len(matrix):
            rows = matrix.rows_of(places)
        else:
            hidden = matrix.rows_of(np.flatnonzero(~allowed))
    step = np.float32(max(np.abs(query).max(), 1e-30) / 127)
    rounded = np.rint(query / step)
    query_loss = float(np.linalg.norm(query - rounded * step))
    codes = rounded.astype(np.int8)[None]
    pieces = list(_pieces(matrix, rows))
    parts = [slice(piece.start, piece.start + len(piece)) for piece in pieces]
    scores = np.empty(len(matrix) if rows is None else len(rows), np.float32)

    def work(place: int) -> tuple[float, np.ndarray]:
        piece, part = pieces[place], parts[place]
        block = piece.block.rows(piece.chosen)
        # Not into an array given as `out`: simsimd 6.5 then returns a None that it does not own.
        found = simsimd.cdist(codes, block.codes, "dot", out_dtype="float32")
        similar = np.asarray(found)[0] * (block.scales * step)
        scores[part] = similar if piece.picked is None else similar[piece.picked]
        scores[hidden[slice(*np.searchsorted(hidden, (part.start, part.stop)))]] = -np.inf
        groups = len(piece) // _GROUP
        tops = scores[part][: groups * _GROUP].reshape(_GROUP, groups).max(axis=0)
        return float(block.losses.max(initial=0)) * (1 + query_loss) + query_loss, tops

    results = _share(work, len(pieces))
    errors = [error for error, _ in results]
    return _Scan(
        rows, scores, parts, errors, np.concatenate([np.empty(0), *(t for _, t in results)])
    )


def _pieces(matrix: Matrix, rows: np.ndarray | None) -> Iterator[_Piece]:
    if rows is None:
        start = 0
        for block in matrix.blocks:
            for first in range(0, len(block), _THREAD_ROWS):
                yield _Piece(
                    start + first, block, slice(first, min(first + _THREAD_ROWS, len(block))), None
                )
            start += len(block)
        return
    for start, block, some in _by_block(matrix, rows):
        for first in range(0, len(some), _THREAD_ROWS):
            chosen = some[first : first + _THREAD_ROWS]
            whole = slice(int(chosen[0]), int(chosen[-1]) + 1)
            if len(chosen) == whole.stop - whole.start:
                yield _Piece(start + first, block, whole, None)
            elif len(chosen) > _IN_PLACE_SHARE * (whole.stop - whole.start):
                yield _Piece(start + first, block, whole, chosen - whole.start)
            else:
                yield _Piece(start + first, block, chosen, None)


def _by_block(matrix: Matrix, rows: np.ndarray) -> Iterator[tuple[int, Block, np.ndarray]]:
    """Split rising rows: place of the first, the block, rows in it."""
    start = done = 0
    for block in matrix.blocks:
        end = start + len(block)
        some = rows[done : np.searchsorted(rows, end)] - start
        if len(some):
            yield done, block, some
        done += len(some)
        start = end


def _select(scan: _Scan, top: int, keys_of: KeysOf) -> np.ndarray:
    """Return which rows can be among the best ``top`` keys, by their bounds, rising."""
    wanted, scores = top, scan.scores
    starts = [part.start for part in scan.parts]
    while True:
        first = _largest(scan, wanted)
        least = scores[first] - np.array(scan.errors)[np.searchsorted(starts, first, "right") - 1]
        keys = keys_of(first if scan.rows is None else scan.rows[first])
        bound = _last_of_best(least, keys, top)
        # Without so many keys in them, more are looked at.
        if bound is not None or len(first) >= len(scores):
            break
        wanted *= 4
    if bound is None:
        chosen = np.flatnonzero(scores > -np.inf)
    else:
        found = [
            part.start + np.flatnonzero(scores[part] >= bound - error)
            for part, error in zip(scan.parts, scan.errors, strict=True)
        ]
        chosen = np.concatenate(found)
    return chosen if scan.rows is None else scan.rows[chosen]


def _largest(scan: _Scan, count: int) -> np.ndarray:
    """Return at least ``count`` of the largest scores, by place; all if that is not worth it.

    The largest of each group are far fewer than all; the last of their best ``count`` is at most
    the last of the best ``count`` of all.
    """
    groups = len(scan.tops)
    if groups <= count:
        return np.arange(len(scan.scores))
    least = np.partition(scan.tops, groups - count)[groups - count]
    return np.flatnonzero(scan.scores >= least)


def _last_of_best(values: np.ndarray, keys: np.ndarray, top: int) -> np.float32 | None:
    """Return the ``top``-th largest of the keys' largest values, None where there are fewer."""
    if len(values) < top:
        return None
    order = np.argsort(-values, kind="stable")
    first = np.unique(keys[order], return_index=True)[1]
    if len(first) < top:
        return None
    best = values[order[np.sort(first)[top - 1]]]
    return np.float32(best) if best > -np.inf else None


def _multiply(matrix: Matrix, rows: np.ndarray, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return similarities of rounded rows, rising ones, to the query as it is, and their losses."""
    scores, losses = np.empty(len(rows), np.float32), np.empty(len(rows), np.float32)
    for start, block, some in _by_block(matrix, rows):
        for first in range(0, len(some), _THREAD_ROWS):
            chosen = block.rows(some[first : first + _THREAD_ROWS])
            part = slice(start + first, start + first + len(chosen))
            scores[part] = (chosen.codes.astype(np.float32) @ query) * chosen.scales
            losses[part] = chosen.losses
    return scores, losses


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


def _share(work: Callable[[int], _Result], count: int) -> list[_Result]:
    """Return what ``work`` does for 0..count - 1, by this thread and whichever have time."""
    results: dict[int, _Result] = {}
    waiting = iter(range(count))

    def run() -> None:
        for place in waiting:
            results[place] = work(place)

    helpers = [_threads().submit(run) for _ in range(min(_count_cores(), count) - 1)]
    run()
    for helper in helpers:
        # Who has not begun is not needed any more.
        if not helper.cancel():
            helper.result()
    return [results[place] for place in range(count)]


@cache
def _count_cores() -> int:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(count or 1, 8)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_count_cores(), thread_name_prefix="search")


if hasattr(os, "register_at_fork"):
    # A forked process has none of its parent's threads.
    os.register_at_fork(after_in_child=_threads.cache_clear)
