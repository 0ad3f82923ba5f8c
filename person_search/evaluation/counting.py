"""Average precision and ranks of many queries at once, from similarities of single precision.

A true detection's rank asks only how many others are more similar. A product in float32, in half
the time of one in float64, answers that for all but the few whose similarity differs by less than
float32 may be off; of those, similarities are summed in float64 and rounded to float32, as in
``similarity``. The numbers are those of ``ranking.rank_true``, to the last digit.

Letters: Q queries, F frames, N detections above the score threshold, T true detections, D embedding
size.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from person_search.evaluation.frame_detections import FrameDetections, expand_ranges
from person_search.evaluation.true_boxes import TrueCandidates

# Queries a matrix product; 128 x 41,000 similarities take 21 MB in float32.
_DENSE_QUERIES = 128
# Similarities that may be kept for one block of queries, 24 bytes each; all only if a model fails.
_SPARSE_ENTRIES = 8_000_000
# Query embeddings that are gathered at once, 1 KB each: what the processor's cache holds.
_GATHERED_ROWS = 2048
# Below this share of frames per gallery, products frame by frame cost less than the whole matrix
# (measured).
_SPARSE_DENSITY = 0.2
_EXACT_ROWS = 2048

Selected = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Queries, detections and approximate similarities, each (K,), in any order."""


@dataclass(frozen=True)
class Embeddings:
    """What is compared: queries, and the detections above the threshold."""

    queries: np.ndarray
    """(Q, D)."""
    gallery: np.ndarray
    """(all detections, D)."""
    rows: np.ndarray
    """(N,) int64: which of them are above the threshold, by frame."""
    weights: np.ndarray | None = None
    """(N,) their scores where they weight similarities."""

    def single(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Return the float32 embeddings of some of the N detections, weighted; None for all."""
        taken = self.rows if rows is None else self.rows[rows]
        found: np.ndarray = self.gallery[taken].astype(np.float32, copy=False)
        if self.weights is not None:
            weights = self.weights if rows is None else self.weights[rows]
            found *= weights[..., None].astype(np.float32)
        return found

    def exact(self, queries: np.ndarray, detections: np.ndarray) -> np.ndarray:
        """Return similarities (K,) of pairs, summed in float64 and rounded to float32."""
        found = np.empty(len(queries), np.float32)
        for start in range(0, len(queries), _EXACT_ROWS):
            some = slice(start, start + _EXACT_ROWS)
            one = self.queries[queries[some]].astype(np.float64)
            other = self.gallery[self.rows[detections[some]]].astype(np.float64)
            if self.weights is not None:
                other *= self.weights[detections[some], None]
            found[some] = np.einsum("nd,nd->n", one, other)
        return found

    def margin(self) -> float:
        """Return by how much a similarity of float32 may differ from an exact one.

        The bound of any order of summation (Higham, Accuracy and Stability of Numerical Algorithms,
        2002, 3.1), with room for rounding the numbers before and the exact sum after.
        """
        queries, gallery = (
            float(np.sqrt(np.einsum("nd,nd->n", rows, rows).max(initial=0.0)))
            for rows in (self.queries, self.gallery)
        )
        return float(1.02 * (self.queries.shape[1] + 8) * 2.0**-24 * queries * gallery)


@dataclass(frozen=True)
class TrueDetections:
    """The detection that counts for each true box that was found, by query, then similarity."""

    queries: np.ndarray
    """(T,) int64."""
    detections: np.ndarray
    """(T,) int64."""
    similarities: np.ndarray
    """(T,) float32, exact, rising within a query."""

    def of_queries(self, first: int, end: int) -> tuple[slice, "TrueDetections"]:
        """Return those of some queries, and where they are."""
        span = slice(*self.queries.searchsorted([first, end]).tolist())
        return span, TrueDetections(
            self.queries[span], self.detections[span], self.similarities[span]
        )


def pick_true(candidates: TrueCandidates, embeddings: Embeddings) -> TrueDetections:
    """Keep each true row's most similar candidate, the first of equals."""
    queries, detections, rows = candidates.queries, candidates.detections, candidates.true_rows
    similarities = embeddings.exact(queries, detections)
    best = np.lexsort((detections, -similarities, rows))
    best = best[np.diff(rows[best], prepend=-1) > 0]
    best = best[np.lexsort((similarities[best], queries[best]))]
    return TrueDetections(queries[best], detections[best], similarities[best])


def count_ranks(
    embeddings: Embeddings,
    detections: FrameDetections,
    gallery_mask: np.ndarray,
    true: TrueDetections,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the average precision of what was found, and the rank of the best, for each query.

    Args:
        embeddings: Of the queries and of ``detections``.
        detections: By frame.
        gallery_mask: (Q, F) bool, frames searched for each query.
        true: What was found.

    Returns:
        (Q,) float64 in 0..1 and (Q,) int64 from 1; 0 and 0 where nothing was found.
    """
    margin = embeddings.margin()
    num_queries = len(gallery_mask)
    # Nothing below a query's least similar true detection matters, and no query that has none.
    least = np.full(num_queries, np.inf, np.float32)
    first = np.flatnonzero(np.diff(true.queries, prepend=-1))
    least[true.queries[first]] = _down(true.similarities[first], margin)
    density = np.count_nonzero(gallery_mask) / max(gallery_mask.size, 1)
    select = _select_sparse if density < _SPARSE_DENSITY else _select_dense
    above = np.zeros(len(true.queries), np.int64)
    before = np.zeros(len(true.queries), np.int64)
    for start, end, selected in select(embeddings, detections, gallery_mask, least):
        span, some = true.of_queries(start, end)
        above[span], before[span] = _count(selected, some, margin, embeddings.exact)
    return _precisions(true, above, num_queries), _ranks(true, before, num_queries)


def _down(similarities: np.ndarray, margin: float) -> np.ndarray:
    lower = (similarities.astype(np.float64) - margin).astype(np.float32)
    return np.nextafter(lower, np.float32(-np.inf))


def _up(similarities: np.ndarray, margin: float) -> np.ndarray:
    return -_down(-similarities, margin)


def _select_dense(
    embeddings: Embeddings, detections: FrameDetections, gallery_mask: np.ndarray, least: np.ndarray
) -> Iterator[tuple[int, int, Selected]]:
    """Multiply blocks of queries with all detections; keep what is at least ``least`` (Q,)."""
    gallery = embeddings.single()
    queries = embeddings.queries.astype(np.float32, copy=False)
    product = np.empty((min(_DENSE_QUERIES, len(queries)), len(gallery)), np.float32)
    step = min(_DENSE_QUERIES, _most_queries(detections))
    for start in range(0, len(queries), step):
        end = min(len(queries), start + step)
        similarities = np.matmul(queries[start:end], gallery.T, out=product[: end - start])
        kept = np.flatnonzero(similarities >= least[start:end, None])
        asked, found = np.divmod(kept, max(len(gallery), 1))
        asked += start
        seen = gallery_mask[asked, detections.frames[found]]
        yield start, end, (asked[seen], found[seen], similarities.ravel()[kept[seen]])


def _most_queries(detections: FrameDetections) -> int:
    """Return of how many queries number, similarity and detection together fit into 64 bits."""
    return 1 << max(0, 31 - len(detections.frames).bit_length())


def _select_sparse(
    embeddings: Embeddings, detections: FrameDetections, gallery_mask: np.ndarray, least: np.ndarray
) -> Iterator[tuple[int, int, Selected]]:
    """Multiply each frame's detections with only those queries that search the frame."""
    num_queries, num_frames = gallery_mask.shape
    lengths = np.diff(detections.starts)
    # One flat axis: NumPy lists the members of a matrix five times slower.
    queries, frames = np.divmod(np.flatnonzero(gallery_mask), max(num_frames, 1))
    first_pair = queries.searchsorted(np.arange(num_queries + 1))
    entries = np.concatenate([[0], np.cumsum(lengths[frames])])[first_pair[1:]]
    block_of = entries // _SPARSE_ENTRIES
    block_of = block_of * num_queries + np.arange(num_queries) // _most_queries(detections)
    bounds = np.flatnonzero(np.diff(block_of, prepend=-1, append=-2)).tolist()
    for start, end in pairwise(bounds):
        pairs = slice(first_pair[start], first_pair[end])
        parts = list(
            _multiply_frames(
                embeddings, detections.starts, least, queries[pairs], frames[pairs]
            )
        )  # fmt: skip
        columns = zip(*parts, strict=True) if parts else ([np.zeros(0, np.int64)],) * 3
        asked, found, similarities = (np.concatenate(column) for column in columns)
        yield start, end, (asked, found, similarities.astype(np.float32, copy=False))


def _multiply_frames(
    embeddings: Embeddings,
    starts: np.ndarray,
    least: np.ndarray,
    queries: np.ndarray,
    frames: np.ndarray,
) -> Iterator[Selected]:
    """Yield what (query, frame) pairs have that is similar enough.

    Frames of as many detections, searched by about as many queries, go through one stacked product:
    a call for each frame would take longer than the product itself.
    """
    lengths = np.diff(starts)
    matters = np.isfinite(least[queries]) & (lengths[frames] > 0)
    queries, frames = queries[matters], frames[matters]
    # uint16 sorts by radix, many times faster, and holds the frames of every published set.
    keys = frames.astype(np.uint16) if len(starts) <= 2**16 else frames
    queries = queries[np.argsort(keys, kind="stable")]
    counts = np.bincount(frames, minlength=len(lengths))
    firsts = np.cumsum(counts) - counts
    searched = np.flatnonzero(counts)
    searched = searched[np.lexsort((counts[searched], lengths[searched]))]
    asked_embeddings = embeddings.queries.astype(np.float32, copy=False)
    largest = max(_GATHERED_ROWS, int(counts.max(initial=0)))
    gathered = np.empty((largest, asked_embeddings.shape[1]), np.float32)
    for some in _stacks(lengths[searched], counts[searched]):
        stack = searched[some]
        places = np.arange(counts[stack[-1]])
        is_real = places < counts[stack, None]
        asked = queries.take(firsts[stack, None] + places, mode="clip")
        found = starts[stack, None] + np.arange(lengths[stack[0]])
        buffer = gathered[: asked.size]
        asked_embeddings.take(asked.ravel(), axis=0, out=buffer, mode="clip")
        similarities = np.matmul(
            embeddings.single(found), buffer.reshape(*asked.shape, -1).transpose(0, 2, 1)
        )
        wanted = np.where(is_real, least.take(asked), np.float32(np.inf))
        kept = np.flatnonzero(similarities >= wanted[:, None])
        member, pair = np.divmod(kept, len(places))
        frame = member // found.shape[1]
        yield asked[frame, pair], found.ravel()[member], similarities.ravel()[kept]


def _stacks(lengths: np.ndarray, counts: np.ndarray) -> Iterator[slice]:
    """Cut frames, sorted by detections and then by queries, into runs of one shape."""
    ends = np.append(np.flatnonzero(np.diff(lengths)) + 1, len(lengths))
    first = 0
    for end in ends.tolist():
        while first < end:
            # The last of a run has the most queries; the others are filled up to it.
            run = max(1, _GATHERED_ROWS // int(counts[first]))
            last = min(end, first + run)
            last = first + max(1, min(last - first, _GATHERED_ROWS // int(counts[last - 1])))
            yield slice(first, last)
            first = last


def _count(
    selected: Selected,
    true: TrueDetections,
    margin: float,
    exact: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Count for each true detection what is at least as similar, and what ranks before it."""
    start = int(true.queries[0]) if len(true.queries) else 0
    # Query, similarity and detection in one number: sorting numbers is six times faster than
    # sorting places.
    bits = np.uint64(int(selected[1].max(initial=0)).bit_length())
    keys = _keys(selected[0] - start, selected[2]) << bits | selected[1].astype(np.uint64)
    keys.sort()
    asked, wanted = true.queries - start, true.similarities
    first = keys.searchsorted(_keys(asked, _down(wanted, margin)) << bits)
    last = keys.searchsorted(_keys(asked, _up(wanted, margin)) + np.uint64(1) << bits)
    end = keys.searchsorted((asked + 1).astype(np.uint64) << np.uint64(32) + bits)
    owner, places = expand_ranges(first, last - first)
    members = keys[places] & ((np.uint64(1) << bits) - np.uint64(1))
    near, wanted = members.astype(np.int64), wanted[owner]
    values, own = wanted.copy(), true.detections[owner]
    others = np.flatnonzero(near != own)
    values[others] = exact(true.queries[owner[others]], near[others])
    is_before = (values > wanted) | ((values == wanted) & (near < own))
    num_true = len(true.queries)
    above = end - last + np.bincount(owner[values >= wanted], minlength=num_true)
    return above, end - last + np.bincount(owner[is_before], minlength=num_true)


def _keys(queries: np.ndarray, similarities: np.ndarray) -> np.ndarray:
    """Return uint64 numbers that rise by query, then by similarity (float32)."""
    # + 0.0 makes one zero of two. Bits of floats rise with them once negative ones are turned.
    bits = (similarities + np.float32(0.0)).view(np.uint32)
    turned = np.where(bits >> 31, ~bits, bits | np.uint32(2**31))
    return queries.astype(np.uint64) << np.uint64(32) | turned


def _precisions(true: TrueDetections, above: np.ndarray, num_queries: int) -> np.ndarray:
    """Average over each query's true detections the share of true ones down to them."""
    keys = _keys(true.queries, true.similarities)
    counts = np.bincount(true.queries, minlength=num_queries)
    ends = np.cumsum(counts)
    shares = (ends[true.queries] - keys.searchsorted(keys)) / above
    precisions = np.zeros(num_queries)
    for count in np.unique(counts[counts > 0]).tolist():
        queries = np.flatnonzero(counts == count)
        rows = ends[queries, None] - count + np.arange(count)
        precisions[queries] = shares[rows].sum(axis=1) / count
    return precisions


def _ranks(true: TrueDetections, before: np.ndarray, num_queries: int) -> np.ndarray:
    """Return the rank of each query's best true detection; nothing true is before that."""
    ranks = np.zeros(num_queries, np.int64)
    least = np.full(num_queries, np.iinfo(np.int64).max)
    np.minimum.at(least, true.queries, before + 1)
    ranks[true.queries] = least[true.queries]
    return ranks
