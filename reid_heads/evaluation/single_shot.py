"""The classic protocol of CUHK03 (Li et al., CVPR 2014): galleries with one crop of each person.

As in ``ranking``, crops of the query's person from its own camera are dropped and a query without a
match is skipped. Then, several times over, one random crop of each person stays in the gallery, so
that a query has one match; the mean over the repeats is what counts. The single-gallery-shot metric
of public code draws anew for each query, and so does this.

Letters: Q queries, V queries with a match, G gallery crops, P people of the gallery, R repeats.
"""

from collections.abc import Iterable

import numpy as np

from reid_heads.evaluation.ranking import (
    PersonIndex,
    RankingResult,
    check_any_valid,
    iterate_rows,
)


def evaluate_single_shot(
    similarities: Iterable[np.ndarray],
    query_pids: np.ndarray,
    query_cam_ids: np.ndarray,
    gallery_pids: np.ndarray,
    gallery_cam_ids: np.ndarray,
    repeats: int = 10,
    seed: int = 0,
) -> RankingResult:
    """Rank random galleries of one crop a person for each query.

    The draws depend on the seed, the number of people and the number of queries before, not on
    blocks or similarities: two models are scored on the same galleries. Ties go by gallery row.

    Args:
        similarities: Blocks (B, G) of consecutive queries, together Q rows; unchanged.
        query_pids: (Q,) integer.
        query_cam_ids: (Q,) integer.
        gallery_pids: (G,) integer.
        gallery_cam_ids: (G,) integer.
        repeats: R, at least 1; 10 in public code.
        seed: Of the draws.

    Returns:
        Ranks for each repeat. With one match AP and INP are both the inverse of its rank.

    Raises:
        ValueError: If no query has a match, ``repeats`` is below 1, a similarity is NaN, or the
            blocks do not fit.
    """
    if repeats < 1:
        raise ValueError(f"repeats: got {repeats}, expected at least 1")
    rng = np.random.default_rng(seed)
    index = PersonIndex(query_pids, gallery_pids)
    people, starts, counts = np.unique(
        gallery_pids[index.order], return_index=True, return_counts=True
    )
    queries, ranks = [], []
    for query, row in iterate_rows(similarities, len(query_pids), len(gallery_pids)):
        draws = rng.random((repeats, len(people)))
        same = index.rows_of(query)
        matches = same.compress(gallery_cam_ids[same] != query_cam_ids[query])
        if not len(matches):
            continue
        chosen = index.order[starts + _pick(draws, counts)]
        own = int(people.searchsorted(query_pids[query]))
        chosen[:, own] = matches[_pick(draws[:, own], len(matches))]
        queries.append(query)
        ranks.append(_rank_own(row[chosen], chosen, own))
    check_any_valid(len(queries), len(query_pids))
    inverse = np.mean(1 / np.array(ranks), axis=1)
    return RankingResult(
        queries=np.array(queries),
        first_ranks=np.array(ranks),
        average_precisions=inverse,
        inverse_penalties=inverse,
        num_skipped=len(query_pids) - len(queries),
    )


def _pick(draws: np.ndarray, counts: np.ndarray | int) -> np.ndarray:
    """Turn draws from [0, 1) into numbers 0..count-1, each equally likely."""
    # Rounding can reach the count itself only for counts beyond 2^52.
    picked: np.ndarray = (draws * counts).astype(np.int64)
    return picked


def _rank_own(values: np.ndarray, rows: np.ndarray, own: int) -> np.ndarray:
    """Rank column ``own`` of each repeat. values, rows: (R, P). Returns (R,) int64 from 1."""
    value, row = values[:, own : own + 1], rows[:, own : own + 1]
    ahead = (values > value) | ((values == value) & (rows < row))
    ranks: np.ndarray = 1 + np.count_nonzero(ahead, axis=1)
    return ranks
