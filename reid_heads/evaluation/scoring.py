"""Score features by a data set's protocol, plain, expanded and re-ranked, and write the results."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from reid_heads.evaluation.cross_modality import CMC_RANKS, evaluate_sysu
from reid_heads.evaluation.features import ReIDFeatures
from reid_heads.evaluation.query_expansion import expand_queries
from reid_heads.evaluation.ranking import RankingResult, evaluate_market
from reid_heads.evaluation.rules import PLAIN, ReIDRules
from reid_heads.evaluation.similarity import iterate_similarities, normalize_rows
from reid_heads.evaluation.single_shot import evaluate_single_shot
from reid_heads.sysu_protocol import Permutations

logger = logging.getLogger(__name__)

MARKET_PROTOCOLS = ("market1501", "dukemtmc", "msmt17", "cuhk03")
"""Data sets scored by the rules of Market-1501; ``cuhk03`` is the new protocol of CUHK03."""

PROTOCOLS = (*MARKET_PROTOCOLS, "cuhk03_classic", "sysu_mm01", "regdb")


def check_protocol(protocol: str, rules: ReIDRules = PLAIN) -> None:
    """Raise a ValueError for an unknown protocol, and for one that does not allow what is asked.

    Args:
        protocol: One of ``PROTOCOLS``.
        rules: What is asked.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"protocol: got {protocol!r}, expected one of {', '.join(PROTOCOLS)}")
    if protocol == "sysu_mm01" and rules.reorders:
        raise ValueError(
            "sysu_mm01 is scored on drawn galleries, a few crops of each person; re-ranking and "
            "query expansion would use crops outside them: leave both out"
        )


def score_features(
    features: ReIDFeatures,
    protocol: str,
    rules: ReIDRules = PLAIN,
    *,
    permutations: Permutations | None = None,
) -> dict[str, RankingResult]:
    """Rank the gallery for each query by cosine similarity.

    Args:
        features: Of any norm; unchanged. Of ``regdb``, the queries are visible (camera 1), the
            gallery is thermal (camera 2).
        protocol: One of ``PROTOCOLS``.
        rules: What is ranked beside the plain ranking, and how galleries are drawn.
        permutations: The galleries that the authors of SYSU-MM01 have drawn, if at hand.

    Returns:
        ``reid``, and where asked for ``reid_expanded`` and ``reid_reranked``.

        ``sysu_mm01``: ``reid_{all,indoor}_{single,multi}_{official,agw}``, the official ones only
        with permutations; ``reid`` is all search, single shot, official if it is there, else agw.

        ``regdb``: ``reid_visible_to_thermal``, which ``reid`` is too, and
        ``reid_thermal_to_visible``; expanded and re-ranked of each where asked for.

    Raises:
        ValueError: If the protocol is unknown, a feature is all zeros, no query has a match, or
            SYSU-MM01 shall be expanded or re-ranked.
    """
    check_protocol(protocol, rules)
    if protocol == "sysu_mm01":
        return _score_sysu(features, rules, permutations)
    if protocol == "regdb":
        return _score_regdb(features, rules)
    return _score_crops(features, rules, is_single_shot=protocol == "cuhk03_classic")


def _score_crops(
    features: ReIDFeatures, rules: ReIDRules, *, is_single_shot: bool
) -> dict[str, RankingResult]:
    """Rank by the rules of Market-1501, or of CUHK03's classic protocol."""
    queries = normalize_rows(features.query_features, "query_features")
    gallery = normalize_rows(features.gallery_features, "gallery_features")

    def rank(similarities: Iterable[np.ndarray]) -> RankingResult:
        labels = (
            features.query_pids,
            features.query_camids,
            features.gallery_pids,
            features.gallery_camids,
        )
        if is_single_shot:
            return evaluate_single_shot(similarities, *labels, repeats=rules.single_shot_repeats)
        return evaluate_market(similarities, *labels)

    results = {"reid": rank(iterate_similarities(queries, gallery))}
    if rules.query_expansion is not None:
        expanded = expand_queries(queries, gallery, rules.query_expansion)
        results["reid_expanded"] = rank(iterate_similarities(expanded, gallery))
    if rules.reranking is not None:
        # scipy.sparse takes longer to import than a small set to score.
        from reid_heads.evaluation.reranking import rerank

        results["reid_reranked"] = rank(rerank(queries, gallery, rules.reranking))
    skipped = results["reid"].num_skipped
    if skipped:
        logger.info(
            "%d of %d queries have no match in another camera and are skipped",
            skipped,
            len(queries),
        )
    return results


def describe_settings(results: Mapping[str, RankingResult]) -> dict[str, Any]:
    """Name what each result is of and how many queries count, where a protocol has several ways.

    Returns:
        ``{"rankings": {name: {.., "num_valid_queries", "num_skipped_queries"}}}``; {} for
        protocols with one way.
    """
    rankings = {
        name: {
            **result.setting,
            "num_valid_queries": len(result.queries),
            "num_skipped_queries": result.num_skipped,
        }
        for name, result in results.items()
        if result.setting
    }
    return {"rankings": rankings} if rankings else {}


def _score_sysu(
    features: ReIDFeatures, rules: ReIDRules, permutations: Permutations | None
) -> dict[str, RankingResult]:
    scored = evaluate_sysu(
        iterate_similarities(
            normalize_rows(features.query_features, "query_features"),
            normalize_rows(features.gallery_features, "gallery_features"),
        ),
        features.query_pids,
        features.query_camids,
        features.gallery_pids,
        features.gallery_camids,
        permutations=permutations,
        trials=rules.gallery_trials,
        multi_shots=rules.multi_shots,
    )
    # The first is all search, single shot.
    results = {"reid": next(iter(scored.values()))}
    return results | {f"reid_{name}": result for name, result in scored.items()}


def _score_regdb(features: ReIDFeatures, rules: ReIDRules) -> dict[str, RankingResult]:
    """Search both ways by Market-1501's rules, under which the two cameras never exclude crops."""
    for name, cam_ids, camera in (
        ("query_camids", features.query_camids, 1),
        ("gallery_camids", features.gallery_camids, 2),
    ):
        if (cam_ids != camera).any():
            raise ValueError(
                f"{name}: got camera {cam_ids[cam_ids != camera][0]}, expected {camera} only: "
                "regdb's queries are visible crops (camera 1), its gallery is thermal (camera 2)"
            )
    swapped = ReIDFeatures(
        query_features=features.gallery_features,
        query_pids=features.gallery_pids,
        query_camids=features.gallery_camids,
        gallery_features=features.query_features,
        gallery_pids=features.query_pids,
        gallery_camids=features.query_camids,
    )
    results = {}
    for direction, side in (("visible_to_thermal", features), ("thermal_to_visible", swapped)):
        for name, result in score_features(side, "market1501", rules).items():
            kind = name.removeprefix("reid")
            results[f"reid_{direction}{kind}"] = replace(
                result, cmc_ranks=CMC_RANKS, setting={"direction": direction}
            )
    return {"reid": results["reid_visible_to_thermal"], **results}
