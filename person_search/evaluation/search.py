"""Person search mAP and top-k for every data set, exactly as the official protocol counts.

The rules are those of the CUHK-SYSU evaluation, which PRW's follows: Xiao et al., "Joint Detection
and Identification Feature Learning for Person Search" (CVPR 2017). Data sets differ only in their
``SearchProtocol``.

Letters: Q queries, F frames, N detections above the score threshold, T true rows, E entries of one
query's gallery.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from person_search.data.protocol import SearchProtocol
from person_search.evaluation.alignment import check_against_protocol
from person_search.evaluation.context import match_context
from person_search.evaluation.counting import Embeddings, count_ranks, pick_true
from person_search.evaluation.frame_detections import (
    group_by_frame,
)
from person_search.evaluation.predictions import Predictions
from person_search.evaluation.ranking import rank_true, top_entries
from person_search.evaluation.rules import PLAIN, SearchRules
from person_search.evaluation.similarity import iterate_galleries
from person_search.evaluation.true_boxes import find_candidates

TOP_K = (1, 5, 10)


@dataclass(frozen=True)
class SearchScores:
    """Every query's scores, in the protocol's order."""

    precisions: np.ndarray
    """(Q,) average precision in 0..1, with the recall already multiplied in."""

    ranks: np.ndarray
    """(Q,) int64: rank, from 1, of the best true detection; 0 where none was found."""

    def summarize(self, rows: np.ndarray | None = None) -> dict[str, float]:
        """Return ``mAP``, ``top1``, ``top5``, ``top10`` in percent.

        Args:
            rows: Which queries count, one at least; None for all.
        """
        precisions = self.precisions if rows is None else self.precisions[rows]
        ranks = self.ranks if rows is None else self.ranks[rows]
        result = {"mAP": 100 * float(precisions.mean())}
        for k in TOP_K:
            result[f"top{k}"] = 100 * float(np.mean((ranks > 0) & (ranks <= k)))
        return result


@dataclass(frozen=True)
class QueryResult:
    """One query's search, for looking at."""

    query: int
    """Row of the protocol's queries."""

    average_precision: float
    """0..1, with the recall already multiplied in."""

    recall: float
    """Share of the true rows that were found, 0..1."""

    best_rank: int
    """Rank, from 1, of the best true detection; 0 where none was found."""

    top_rows: np.ndarray
    """(K,) int64: the most similar detections, best first: rows in the predictions."""

    top_similarities: np.ndarray
    """(K,) float32."""

    top_is_true: np.ndarray
    """(K,) bool."""


def evaluate_search(
    protocol: SearchProtocol, predictions: Predictions, rules: SearchRules = PLAIN
) -> dict[str, float]:
    """Score a search.

    1. Only detections with ``score >= score_threshold`` are searched.
    2. In each true frame, the most similar among the detections that overlap the true box by an IoU
       of at least ``min(0.5, w*h / ((w+10)*(h+10)))`` is true, w and h being those of the true box.
       Every other detection is false.
    3. A query's AP is the average precision of the whole gallery's detections times the share of
       its true rows that were found; a frame that the model has not seen, or that is listed twice,
       counts as not found. AP is 0 if none was found.
    4. top-k asks whether one of the k most similar detections is true. Ties go by the protocol's
       order of frames, then by the model's order of boxes.

    Args:
        protocol: What is asked.
        predictions: What was found; unchanged.
        rules: How it is ranked; the plain protocol by default. Which gallery is searched, the
            protocol says. Context matching needs the predictions' context arrays.

    Returns:
        ``mAP``, ``top1``, ``top5``, ``top10`` in percent.

    Raises:
        ValueError: If protocol and predictions do not fit, there is no query, or context is asked
            for but absent.
    """
    return score_queries(protocol, predictions, rules).summarize()


def score_queries(
    protocol: SearchProtocol, predictions: Predictions, rules: SearchRules = PLAIN
) -> SearchScores:
    """Score each query, with the arguments and errors of ``evaluate_search``."""
    num_queries = len(protocol.query_frames)
    precisions = np.zeros(num_queries)
    ranks = np.zeros(num_queries, dtype=np.int64)
    num_true = np.bincount(protocol.true_queries, minlength=num_queries)
    search = _Search(protocol, predictions, rules)
    if rules.context is None:
        embeddings = search.compared()
        true = pick_true(find_candidates(protocol, search.detections), embeddings)
        precisions, ranks = count_ranks(embeddings, search.detections, protocol.gallery_mask, true)
        num_found = np.bincount(true.queries, minlength=num_queries)
        return SearchScores(precisions * (num_found / np.maximum(num_true, 1)), ranks)
    for query, similarities, _, true_entries in search:
        if len(true_entries):
            recall = len(true_entries) / num_true[query]
            precision, ranks[query] = rank_true(similarities, true_entries)
            precisions[query] = precision * recall
    return SearchScores(precisions, ranks)


def search_each_query(
    protocol: SearchProtocol,
    predictions: Predictions,
    rules: SearchRules = PLAIN,
    num_top: int = 10,
) -> list[QueryResult]:
    """Search as ``evaluate_search`` does, and return each query's result.

    Args:
        protocol: As there.
        predictions: As there.
        rules: As there.
        num_top: Detections to list for each query; fewer where its gallery has fewer.
    """
    num_true = np.bincount(protocol.true_queries, minlength=len(protocol.query_frames))
    search = _Search(protocol, predictions, rules)
    results = []
    for query, similarities, members, true_entries in search:
        recall = len(true_entries) / max(num_true[query], 1)
        precision, best_rank = rank_true(similarities, true_entries)
        top = top_entries(similarities, num_top)
        results.append(
            QueryResult(
                query=query,
                average_precision=precision * recall,
                recall=recall,
                best_rank=best_rank,
                top_rows=search.detections.rows[members[top]],
                top_similarities=similarities[top],
                top_is_true=np.isin(top, true_entries),
            )
        )
    return results


def iterate_queries(
    protocol: SearchProtocol, predictions: Predictions, rules: SearchRules = PLAIN
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Search as ``evaluate_search`` does, and yield each query with its whole gallery.

    Args:
        protocol: As there.
        predictions: As there.
        rules: As there.

    Yields:
        The query's row; similarities (E,) float32, -inf where a frame is not searched; the frame of
        each detection, (E,) rows of ``protocol.frame_names``; and which of them are true, (T,) rows
        of these arrays. Arrays are valid until the next step.
    """
    search = _Search(protocol, predictions, rules)
    for query, similarities, members, true_entries in search:
        yield query, similarities, search.detections.frames[members], true_entries


class _Search:
    """Walk through the queries: each with its gallery's similarities and which of them are true."""

    def __init__(
        self, protocol: SearchProtocol, predictions: Predictions, rules: SearchRules
    ) -> None:
        check_against_protocol(predictions, protocol)
        if not len(protocol.query_frames):
            raise ValueError(f"{protocol.name}: no queries, so there is nothing to score")
        if rules.context is not None and not predictions.has_context:
            raise ValueError(
                "context_query_index: absent, but context matching needs the people around each "
                "query. "
                "Write the predictions with "
                "person_search.evaluation.evaluator.PersonSearchEvaluator."
            )
        self.protocol = protocol
        self.context = rules.context
        self.detections = group_by_frame(protocol, predictions, rules.score_threshold)
        self.predictions = predictions
        self.weights = self.detections.scores if rules.confidence_weighting else None
        has_context = rules.context is not None
        self.people = _context_people(predictions, rules.score_threshold) if has_context else None

    def compared(self) -> Embeddings:
        """Return the embeddings of queries and detections as the model gave them."""
        queries, gallery = self.predictions.query_embeddings, self.predictions.embeddings
        return Embeddings(queries, gallery, self.detections.rows, self.weights)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield query, similarities (E,), their detections (E,) and the rows of the true ones."""
        query_embeddings = self.predictions.query_embeddings.astype(np.float64)
        embeddings = self.predictions.embeddings[self.detections.rows].astype(np.float64)
        if self.weights is not None:
            embeddings *= self.weights[:, None]
        candidates = find_candidates(self.protocol, self.detections)
        bounds = np.searchsorted(
            candidates.queries, np.arange(len(self.protocol.query_frames) + 1)
        ).tolist()
        for query, similarities, members in iterate_galleries(
            query_embeddings, embeddings, self.detections, self.protocol.gallery_mask
        ):
            if self.context is not None and self.people is not None:
                similarities = match_context(
                    similarities,
                    self.detections.frames[members],
                    embeddings[members],
                    self.people[query],
                    self.context,
                )
            span = slice(bounds[query], bounds[query + 1])
            entries = members.searchsorted(candidates.detections[span])
            yield (
                query,
                similarities,
                members,
                _pick_true(similarities, entries, candidates.true_rows[span]),
            )


def _context_people(predictions: Predictions, score_threshold: float) -> list[np.ndarray]:
    """Collect each query's context embeddings.

    People below the score threshold are left out, as in the gallery.
    """
    index, scores = predictions.context_query_index, predictions.context_scores
    embeddings = predictions.context_embeddings
    assert index is not None and scores is not None and embeddings is not None
    # The query's own row comes first and stays at any threshold.
    own = np.zeros(len(index), dtype=bool)
    own[np.unique(index, return_index=True)[1]] = True
    rows = np.flatnonzero(own | (scores >= score_threshold))
    rows = rows[np.argsort(index[rows], kind="stable")]
    bounds = np.searchsorted(index[rows], np.arange(1, len(predictions.query_names)))
    return np.split(embeddings[rows], bounds)


def _pick_true(similarities: np.ndarray, entries: np.ndarray, true_rows: np.ndarray) -> np.ndarray:
    """Keep each true row's most similar candidate, the first of equals."""
    if len(entries) < 2 or bool((true_rows[1:] > true_rows[:-1]).all()):
        return entries
    order = np.lexsort((entries, -similarities[entries], true_rows))
    first = np.diff(true_rows[order], prepend=-1) > 0
    return entries[order[first]]
