"""k-reciprocal re-ranking (Zhong et al., CVPR 2017) with sparse neighbourhoods.

A crop is described by its k-reciprocal neighbours: those that have it among their own k nearest
ones. Two crops are near when they share such neighbours, which a Jaccard distance measures; it is
mixed with the original distance. Everything is the same as in the authors' reference code, in
float32 throughout (theirs keeps half precision): squared Euclidean distances of normalised
features, each row divided by its largest, k1 + 1 neighbours counting the crop itself. The reference
holds several N x N matrices; here only neighbour lists and sparse rows are kept, so memory grows
with N.

Neighbours at the borders that matter (k2, k1/2 + 1, k1 + 1) are settled in float64 where float32
cannot tell, ties by row, query crops before gallery crops.

Letters: Q queries, G gallery crops, N = Q + G, B queries of a block, D embedding size, K
neighbours.
"""

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from reid_heads.evaluation.neighbors import Neighbors, find_neighbors
from reid_heads.evaluation.rules import Reranking
from reid_heads.evaluation.similarity import QUERY_BLOCK, iterate_similarities

# Neighbours kept beyond the last that counts, so that near-ties at the border can be settled.
_SPARE_NEIGHBORS = 8
# Rows whose sparse products are built at a time.
_SPARSE_ROWS = 4096
# The similarities of queries and gallery come by with the neighbours. Up to this many bytes they
# are kept, beyond they are multiplied again (at Market size: 214 MB, a fifth of the time).
_KEPT_BYTES = 512 * 2**20
# Float32 numbers gathered at a time for single similarities.
_GATHERED = 8_000_000


def rerank(
    query_features: np.ndarray,
    gallery_features: np.ndarray,
    options: Reranking | None = None,
    block_size: int = QUERY_BLOCK,
) -> Iterator[np.ndarray]:
    """Yield the re-ranked similarities of consecutive blocks of queries with the gallery.

    Args:
        query_features: (Q, D) float32 of unit norm.
        gallery_features: (G, D) float32 of unit norm.
        options: Sizes of neighbourhoods; None for the paper's.
        block_size: Queries a block.

    Yields:
        (B, G) float32: minus the final distance, so -1..0, higher is more similar. Valid until the
        next step.

    Examples:
        >>> crops = np.float32([[1, 0], [0.8, 0.6], [0, 1]])
        >>> (similarities,) = rerank(crops[:1], crops[1:], Reranking(k1=1, k2=1))
        >>> similarities.shape, bool(similarities[0, 0] > similarities[0, 1])
        ((1, 2), True)
    """
    options = options or Reranking()
    num_queries = len(query_features)
    features = np.concatenate([query_features, gallery_features])
    half = round(options.k1 / 2)  # to even, like the reference's np.around
    borders = (options.k2, half + 1, options.k1 + 1)
    shape = (num_queries, len(gallery_features))
    product = None if 4 * shape[0] * shape[1] > _KEPT_BYTES else np.empty(shape, np.float32)
    neighbors = find_neighbors(features, max(borders) + _SPARE_NEIGHBORS, borders, corner=product)
    weights = describe_by_neighbors(features, neighbors, options)
    del features
    largest = 2 - 2 * neighbors.least_similarity[:num_queries]
    jaccard = SharedNeighbors(weights[:num_queries], weights[num_queries:])
    start = 0
    for block in iterate_similarities(query_features, gallery_features, block_size, product):
        distances = _normalize_distances(block, largest[start : start + len(block), None])
        distances *= options.lambda_value
        for row in distances:
            row += (1 - options.lambda_value) * jaccard.distances(start)
            start += 1
        yield np.negative(distances, out=distances)


def describe_by_neighbors(
    features: np.ndarray, neighbors: Neighbors, options: Reranking
) -> sparse.csr_array:
    """Compute the weights of each row's k-reciprocal neighbours, averaged over its k2 nearest.

    Args:
        features: (N, D) float32 of unit norm.
        neighbors: Of the features, at least k1 + 1 and k2 each, or N.
        options: k1 and k2.

    Returns:
        (N, N) sparse float32; each row sums to 1.
    """
    total = len(features)
    reciprocal = _reciprocal(neighbors.indices[:, : options.k1 + 1])
    half = _reciprocal(neighbors.indices[:, : round(options.k1 / 2) + 1])
    parts = []
    for start in range(0, total, _SPARSE_ROWS):
        rows = slice(start, start + _SPARSE_ROWS)
        parts.append(_weigh(_expand(reciprocal[rows], half), start, features, neighbors))
    weights = sparse.vstack(parts, format="csr")
    if options.k2 == 1:
        return weights
    nearest = neighbors.indices[:, : options.k2]
    return _adjacency(nearest) @ weights * np.float32(1 / nearest.shape[1])


class SharedNeighbors:
    """Compute Jaccard distances of queries to the whole gallery (the paper's equation 10)."""

    def __init__(self, queries: sparse.csr_array, gallery: sparse.csr_array) -> None:
        """Turn the gallery's rows of weights into lists by neighbour."""
        self._queries = queries
        self._by_neighbor = gallery.tocsc()
        self._num_gallery = gallery.shape[0]

    def distances(self, query: int) -> np.ndarray:
        """Return (G,) float32 distances in 0..1; 1 where no neighbour is shared."""
        own = slice(self._queries.indptr[query], self._queries.indptr[query + 1])
        of_query, shared = self._queries.data[own], self._queries.indices[own]
        starts = self._by_neighbor.indptr[shared]
        counts = self._by_neighbor.indptr[shared + 1] - starts
        entries = np.arange(counts.sum()) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
        least = np.minimum(self._by_neighbor.data.take(entries), np.repeat(of_query, counts))
        if not len(entries):  # of nothing, bincount makes integers
            return np.ones(self._num_gallery, dtype=np.float32)
        rows = self._by_neighbor.indices.take(entries)
        common = np.bincount(rows, weights=least, minlength=self._num_gallery)
        # Both rows sum to 1, so the sum of the larger weights is 2 minus that of the smaller.
        np.divide(common, 2 - common, out=common)
        distances: np.ndarray = (1 - common).astype(np.float32)
        return distances


def _normalize_distances(similarities: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Turn similarities, in place, into squared distances over ``largest``, 0 where that is 0."""
    similarities *= -2
    similarities += 2
    np.maximum(similarities, 0, out=similarities)
    # If no row is any distance away, all distances are rounding.
    similarities /= np.maximum(largest, np.finfo(np.float32).tiny)
    np.minimum(similarities, 1, out=similarities)
    return similarities


def _adjacency(indices: np.ndarray) -> sparse.csr_array:
    """Build the (N, N) graph with a 1 at each of the (N, K) neighbours."""
    total, number = indices.shape
    starts = np.arange(0, total * number + 1, number)
    ones = np.ones(indices.size, dtype=np.float32)
    graph = sparse.csr_array((ones, indices.ravel(), starts), shape=(total, total))
    graph.sort_indices()
    return graph


def _reciprocal(indices: np.ndarray) -> sparse.csr_array:
    """Keep of (N, K) neighbours those that have the row among their own. (N, N), ones."""
    graph = _adjacency(indices)
    return graph.multiply(graph.T.tocsr()).tocsr()


def _expand(reciprocal: sparse.csr_array, half: sparse.csr_array) -> sparse.csr_array:
    """Add the half-size sets of members that share more than 2/3 of them (equation 5).

    Args:
        reciprocal: (R, N) sets of some rows, ones.
        half: (N, N) sets of half size of all rows, ones; symmetric, as being reciprocal is.

    Returns:
        (R, N); non-zero at the members.
    """
    overlap = (reciprocal @ half).multiply(reciprocal).tocsr()
    sizes = half.sum(axis=1)
    accepted = 3 * overlap.data > 2 * sizes[overlap.indices]
    overlap.data = accepted.astype(np.float32)
    overlap.eliminate_zeros()
    expanded = (reciprocal + overlap @ half).tocsr()
    expanded.sort_indices()
    return expanded


def _weigh(
    members: sparse.csr_array, first_row: int, features: np.ndarray, neighbors: Neighbors
) -> sparse.csr_array:
    """Weigh the members of consecutive rows by exp(-distance), each row to the sum 1 (eq. 7)."""
    counts = np.diff(members.indptr)
    rows = np.repeat(np.arange(len(counts)) + first_row, counts)
    similarities = _look_up(rows, members.indices, first_row, features, neighbors)
    largest = 2 - 2 * neighbors.least_similarity[rows]
    weights = np.exp(-_normalize_distances(similarities, largest))
    # A row without members, possible only where it has more than k1 duplicates, stays empty.
    sums = np.bincount(rows - first_row, weights=weights, minlength=len(counts))
    members.data = (weights / sums[rows - first_row]).astype(np.float32)
    return members


def _look_up(
    rows: np.ndarray,
    columns: np.ndarray,
    first_row: int,
    features: np.ndarray,
    neighbors: Neighbors,
) -> np.ndarray:
    """Return similarities of (row, column) pairs: from the neighbour lists, else multiplied."""
    total = np.int64(len(features))
    span = slice(first_row, int(rows[-1]) + 1 if len(rows) else first_row)
    listed = neighbors.indices[span] + np.arange(span.start, span.stop)[:, None] * total
    order = np.argsort(listed, axis=None)
    listed, known = listed.ravel()[order], neighbors.similarities[span].ravel()[order]
    wanted = rows * total + columns
    place = np.minimum(listed.searchsorted(wanted), max(len(listed) - 1, 0))
    similarities: np.ndarray = known[place]
    missing = np.flatnonzero(listed[place] != wanted)
    step = max(1, _GATHERED // features.shape[1])
    for start in range(0, len(missing), step):
        some = missing[start : start + step]
        similarities[some] = np.einsum(
            "nd,nd->n", features[rows[some]], features[columns[some]], dtype=np.float32
        )
    return similarities
