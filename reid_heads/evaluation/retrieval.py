"""Recall@K, R-precision and MAP@R, the numbers of metric learning, a block of queries at a time.

Each image is searched for among all others, or each query in a gallery. R is the number of a
query's matches. Recall@K: whether one is among the first K. R-precision: share of matches among the
first R. MAP@R (Musgrave et al., A Metric Learning Reality Check, ECCV 2020, section 3.2): the mean
over the first R places of the precision there where the place holds a match, else 0. Equal
similarities rank by gallery row. Queries without a match are skipped and counted.

Letters: Q queries, V queries with a match, G gallery images, B queries of a block.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from reid_heads.evaluation.ranking import PersonIndex, iterate_rows, rank_matches

RECALL_RANKS = (1, 2, 4, 8)


@dataclass(frozen=True)
class RetrievalResult:
    """Hold the numbers of each query with a match, in the order of the queries."""

    queries: np.ndarray
    """(V,) int64: which queries these are."""

    first_ranks: np.ndarray
    """(V,) int64 from 1: rank of the best match."""

    r_precisions: np.ndarray
    """(V,) in 0..1."""

    average_precisions_at_r: np.ndarray
    """(V,) in 0..1."""

    num_skipped: int

    ranks: tuple[int, ...] = RECALL_RANKS

    def metrics(self) -> dict[str, float]:
        """Return ``recall1``, ``recall2`` .., ``R_precision`` and ``MAP@R`` in percent."""
        recalls = {f"recall{k}": 100 * float(np.mean(self.first_ranks <= k)) for k in self.ranks}
        return recalls | {
            "R_precision": 100 * float(self.r_precisions.mean()),
            "MAP@R": 100 * float(self.average_precisions_at_r.mean()),
        }


def evaluate_retrieval(
    similarities: Iterable[np.ndarray],
    query_pids: np.ndarray,
    gallery_pids: np.ndarray,
    *,
    are_same_images: bool,
    ranks: Sequence[int] = RECALL_RANKS,
) -> RetrievalResult:
    """Rank the gallery for each query.

    Args:
        similarities: Blocks (B, G) of consecutive queries, together Q rows; unchanged. Only a block
            is in memory at a time.
        query_pids: (Q,) integer.
        gallery_pids: (G,) integer.
        are_same_images: Whether queries and gallery are the same images in the same order; each is
            then searched for among the others.
        ranks: K of the recalls, at least 1 each.

    Raises:
        ValueError: If no query has a match, a similarity is NaN, or something does not fit.

    Examples:
        >>> pids = np.array([1, 1, 2])
        >>> similarities = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
        >>> evaluate_retrieval([similarities], pids, pids, are_same_images=True).first_ranks
        array([1, 1])
    """
    if not ranks or min(ranks) < 1:
        raise ValueError(f"ranks: got {tuple(ranks)}, expected whole numbers of at least 1")
    if are_same_images and not np.array_equal(query_pids, gallery_pids):
        raise ValueError("are_same_images, but the pids of queries and gallery differ")
    index = PersonIndex(query_pids, gallery_pids)
    none = np.empty(0, dtype=np.int64)
    queries, first_ranks, precisions, averages = [], [], [], []
    for query, row in iterate_rows(similarities, len(query_pids), len(gallery_pids)):
        matches = index.rows_of(query)
        itself = none
        if are_same_images:
            itself, matches = np.array([query]), matches[matches != query]
        if not len(matches):
            continue
        number = len(matches)
        found = rank_matches(row, matches, itself)
        within = found[: found.searchsorted(number, side="right")]
        queries.append(query)
        first_ranks.append(int(found[0]))
        precisions.append(len(within) / number)
        averages.append(float((np.arange(1, len(within) + 1) / within).sum()) / number)
    if not queries:
        raise ValueError(
            f"none of the {len(query_pids)} images has another one of its person; expected persons "
            "with two images at least"
        )
    return RetrievalResult(
        queries=np.array(queries),
        first_ranks=np.array(first_ranks),
        r_precisions=np.array(precisions),
        average_precisions_at_r=np.array(averages),
        num_skipped=len(query_pids) - len(queries),
        ranks=tuple(ranks),
    )
