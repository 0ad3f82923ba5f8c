"""Similarities of queries with the detections of their galleries, a block of queries at a time.

Similarities are cosines summed in float64 and rounded to float32. A float32 matrix product gives
equal embeddings similarities that differ in the last bit, depending on where in the matrix they
stand and on the number of threads; ties would then be broken by chance. Rounded from float64 they
stay ties, and every path below gives the same numbers.

Letters: Q queries, F frames, N detections of all frames, E entries (detections of one query's
gallery), D embedding size.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from person_search.evaluation.frame_detections import FrameDetections, expand_ranges

# Queries a matrix product; 128 x 41,000 similarities take 42 MB in float64.
_DENSE_QUERIES = 128
# Up to so many frames are struck out one by one; PRW leaves out only the query's own.
_FEW_FRAMES = 8
# Similarities in one sparse block, 28 bytes each with their indices.
_SPARSE_ENTRIES = 8_000_000
# Below this share of frames per gallery, the products frame by frame cost less than the whole
# matrix (measured).
_SPARSE_DENSITY = 0.06


def iterate_galleries(
    query_embeddings: np.ndarray,
    gallery_embeddings: np.ndarray,
    detections: FrameDetections,
    gallery_mask: np.ndarray,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield each query with its gallery.

    Args:
        query_embeddings: (Q, D) float64.
        gallery_embeddings: (N, D) float64, in the order of ``detections``.
        detections: The layout of the gallery by frame.
        gallery_mask: (Q, F) bool, frames searched for each query.

    Yields:
        The query; similarities (E,) float32; and which detections they belong to, (E,) int64
        ascending. A frame outside the query's gallery is left out or has similarity -inf. Both
        arrays are valid until the next step.
    """
    density = np.count_nonzero(gallery_mask) / max(gallery_mask.size, 1)
    walk = _iterate_sparse if density < _SPARSE_DENSITY else _iterate_dense
    yield from walk(query_embeddings, gallery_embeddings, detections, gallery_mask)


def _iterate_dense(
    query_embeddings: np.ndarray,
    gallery_embeddings: np.ndarray,
    detections: FrameDetections,
    gallery_mask: np.ndarray,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Multiply blocks of queries with all detections, then hide frames that are not searched."""
    members = np.arange(len(gallery_embeddings))
    shape = (min(_DENSE_QUERIES, len(query_embeddings)), len(members))
    product, similarities = np.empty(shape), np.empty(shape, dtype=np.float32)
    for start in range(0, len(query_embeddings), _DENSE_QUERIES):
        block = query_embeddings[start : start + _DENSE_QUERIES]
        np.matmul(block, gallery_embeddings.T, out=product[: len(block)])
        similarities[: len(block)] = product[: len(block)]
        for row, searched in enumerate(gallery_mask[start : start + len(block)]):
            hidden = np.flatnonzero(~searched)
            if len(hidden) > _FEW_FRAMES:
                visible = np.flatnonzero(searched.take(detections.frames))
                yield start + row, similarities[row].take(visible), visible
                continue
            for frame in hidden:
                span = slice(detections.starts[frame], detections.starts[frame + 1])
                similarities[row, span] = -np.inf
            yield start + row, similarities[row], members


def _iterate_sparse(
    query_embeddings: np.ndarray,
    gallery_embeddings: np.ndarray,
    detections: FrameDetections,
    gallery_mask: np.ndarray,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Multiply each frame's detections with only those queries that search the frame."""
    num_queries, num_frames = gallery_mask.shape
    lengths = np.diff(detections.starts)
    # One flat axis: NumPy lists the members of a matrix five times slower.
    queries, frames = np.divmod(np.flatnonzero(gallery_mask), max(num_frames, 1))
    first_pair = queries.searchsorted(np.arange(num_queries + 1))
    first_entry = np.concatenate([[0], np.cumsum(lengths[frames])])[first_pair]
    block_of = first_entry[1:] // _SPARSE_ENTRIES
    bounds = np.flatnonzero(np.diff(block_of, prepend=-1, append=-2)).tolist()
    for start, stop in pairwise(bounds):
        pairs = slice(first_pair[start], first_pair[stop])
        similarities, members = _sparse_block(
            query_embeddings, gallery_embeddings, detections.starts, queries[pairs], frames[pairs]
        )
        ends = (first_entry[start : stop + 1] - first_entry[start]).tolist()
        for row, (begin, end) in enumerate(pairwise(ends)):
            yield start + row, similarities[begin:end], members[begin:end]


def _sparse_block(
    query_embeddings: np.ndarray,
    gallery_embeddings: np.ndarray,
    starts: np.ndarray,
    queries: np.ndarray,
    frames: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the similarities of (query, frame) pairs that are sorted by query, then frame.

    Returns:
        Similarities (entries,) float32 and their detections (entries,) int64, pair by pair.
    """
    lengths = np.diff(starts)[frames]
    # uint16 sorts by radix, many times faster, and holds the frames of every published set.
    keys = frames.astype(np.uint16) if len(starts) <= 2**16 else frames
    order = np.argsort(keys, kind="stable")
    by_frame = np.empty(int(lengths.sum()), dtype=np.float32)
    offsets = np.cumsum(lengths[order]) - lengths[order]
    sorted_queries, sorted_frames = queries[order], frames[order]
    bounds = np.flatnonzero(np.diff(sorted_frames, prepend=-1, append=-2))
    spans = zip(
        bounds[:-1].tolist(),
        bounds[1:].tolist(),
        starts[sorted_frames[bounds[:-1]]].tolist(),
        starts[sorted_frames[bounds[:-1]] + 1].tolist(),
        strict=True,
    )
    filled = 0
    for first, last, begin, end in spans:
        asked = query_embeddings.take(sorted_queries[first:last], axis=0)
        product = np.dot(asked, gallery_embeddings[begin:end].T)
        by_frame[filled : filled + product.size] = product.ravel()
        filled += product.size
    position = np.empty_like(offsets)
    position[order] = offsets
    pairs, source = expand_ranges(position, lengths)
    members = source + (starts[frames] - position)[pairs]
    return by_frame[source], members
