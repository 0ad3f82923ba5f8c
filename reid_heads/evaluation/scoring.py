"""Score features by a data set's protocol, plain, expanded and re-ranked, and write the results."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from reid_heads.evaluation.features import ReIDFeatures
from reid_heads.evaluation.query_expansion import QueryExpansion, expand_queries
from reid_heads.evaluation.ranking import RankingResult, evaluate_market
from reid_heads.evaluation.similarity import iterate_similarities, normalize_rows
from reid_heads.evaluation.single_shot import evaluate_single_shot

logger = logging.getLogger(__name__)

MARKET_PROTOCOLS = ("market1501", "dukemtmc", "msmt17", "cuhk03")
"""Data sets scored by the rules of Market-1501; ``cuhk03`` is the new protocol of CUHK03."""

PROTOCOLS = (*MARKET_PROTOCOLS, "cuhk03_classic")


def check_protocol(protocol: str) -> None:
    """Raise a ValueError for an unknown protocol."""
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol: got {protocol!r}, expected one of {', '.join(PROTOCOLS)}")


def score_features(
    features: ReIDFeatures,
    protocol: str,
    *,
    reranking: Mapping[str, Any] | None = None,
    query_expansion: Mapping[str, Any] | None = None,
    single_shot_repeats: int = 10,
) -> dict[str, RankingResult]:
    """Rank the gallery for each query by cosine similarity.

    Args:
        features: Of any norm; unchanged.
        protocol: One of ``PROTOCOLS``.
        reranking: ``k1``, ``k2`` and ``lambda_value`` to rank by k-reciprocal re-ranking as well;
            missing ones are the paper's. None leaves it out.
        query_expansion: ``neighbours`` and ``alpha`` to rank with expanded queries as well.
        single_shot_repeats: Random galleries of ``cuhk03_classic``.

    Returns:
        ``reid``, and where asked for ``reid_expanded`` and ``reid_reranked``.

    Raises:
        ValueError: If the protocol or an option is unknown or out of its range, a feature is all
            zeros, or no query has a match.
    """
    check_protocol(protocol)
    expansion = None if query_expansion is None else QueryExpansion(**query_expansion)
    queries = normalize_rows(features.query_features, "query_features")
    gallery = normalize_rows(features.gallery_features, "gallery_features")

    def rank(similarities: Iterable[np.ndarray]) -> RankingResult:
        labels = (
            features.query_pids,
            features.query_camids,
            features.gallery_pids,
            features.gallery_camids,
        )
        if protocol == "cuhk03_classic":
            return evaluate_single_shot(similarities, *labels, repeats=single_shot_repeats)
        return evaluate_market(similarities, *labels)

    results = {"reid": rank(iterate_similarities(queries, gallery))}
    if expansion is not None:
        expanded = expand_queries(queries, gallery, expansion)
        results["reid_expanded"] = rank(iterate_similarities(expanded, gallery))
    if reranking is not None:
        # scipy.sparse takes longer to import than a small set to score.
        from reid_heads.evaluation.reranking import Reranking, rerank

        results["reid_reranked"] = rank(rerank(queries, gallery, Reranking(**reranking)))
    skipped = results["reid"].num_skipped
    if skipped:
        logger.info(
            "%d of %d queries have no match in another camera and are skipped",
            skipped,
            len(queries),
        )
    return results
