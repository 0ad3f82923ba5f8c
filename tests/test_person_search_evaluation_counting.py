import numpy as np
import pytest

from person_search.data.protocol import SearchProtocol
from person_search.evaluation import counting
from person_search.evaluation.predictions import Predictions
from person_search.evaluation.ranking import rank_true
from person_search.evaluation.rules import PLAIN, SearchRules
from person_search.evaluation.search import iterate_queries, score_queries

FRAMES, QUERIES, SIZE = 40, 30, 16
BOX = np.float32([10, 10, 60, 160])


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def make_search(seed, density, spread):
    """Detections that are copies of few people, or that but for the last digits."""
    rng = np.random.default_rng(seed)
    frame_of = np.repeat(np.arange(FRAMES), rng.integers(0, 6, FRAMES))
    people = unit(rng.standard_normal((5, SIZE)))
    embeddings = people[rng.integers(0, 5, len(frame_of))].astype(np.float64)
    embeddings += spread * rng.standard_normal(embeddings.shape)
    query_frames = rng.integers(0, FRAMES, QUERIES)
    mask = rng.random((QUERIES, FRAMES)) < density
    mask[np.arange(QUERIES), query_frames] = False
    true = np.argwhere(mask & (rng.random(mask.shape) < 0.3))
    names = np.array([f"s{frame}.jpg" for frame in range(FRAMES)])
    boxes = BOX + rng.choice([0, 0, 900], (len(frame_of), 1)).astype(np.float32)
    protocol = SearchProtocol(
        name="drawn", frame_names=tuple(names.tolist()),
        frame_boxes=(np.zeros((0, 4), np.float32),) * FRAMES,
        frame_pids=(np.zeros(0, np.int64),) * FRAMES,
        query_frames=query_frames, query_boxes=np.tile(BOX, (QUERIES, 1)),
        query_pids=np.arange(QUERIES), gallery_mask=mask, true_queries=true[:, 0],
        true_frames=true[:, 1], true_boxes=np.tile(BOX, (len(true), 1)),
    )  # fmt: skip
    predictions = Predictions(
        image_names=names, image_index=frame_of, boxes=boxes,
        scores=rng.uniform(0.4, 1, len(frame_of)).astype(np.float32), embeddings=unit(embeddings),
        query_names=names[query_frames], query_boxes=np.tile(BOX, (QUERIES, 1)),
        query_embeddings=people[rng.integers(0, 5, QUERIES)],
    )  # fmt: skip
    return protocol, predictions


def score_one_by_one(protocol, predictions, rules):
    precisions, ranks = np.zeros(QUERIES), np.zeros(QUERIES, np.int64)
    counts = np.bincount(protocol.true_queries, minlength=QUERIES)
    for query, similarities, _, true in iterate_queries(protocol, predictions, rules):
        precision, ranks[query] = rank_true(similarities, true)
        precisions[query] = precision * (len(true) / max(counts[query], 1))
    return precisions, ranks


@pytest.mark.parametrize("is_sparse", [True, False])
@pytest.mark.parametrize(
    "rules", [PLAIN, SearchRules(confidence_weighting=True)], ids=["plain", "weighted"]
)
@pytest.mark.parametrize("spread", [0.0, 1e-8, 1e-7, 0.5])
def test_counting_gives_the_numbers_of_the_whole_ranking(spread, rules, is_sparse, monkeypatch):
    """Ties, near ties that float32 orders wrongly, and blocks of every size."""
    monkeypatch.setattr(counting, "_SPARSE_DENSITY", 2.0 if is_sparse else 0.0)
    monkeypatch.setattr(counting, "_DENSE_QUERIES", 7)
    monkeypatch.setattr(counting, "_SPARSE_ENTRIES", 90)
    monkeypatch.setattr(counting, "_GATHERED_ROWS", 11)
    monkeypatch.setattr(counting, "_EXACT_ROWS", 5)
    for seed, density in ((0, 0.1), (1, 0.5), (2, 1.0)):
        search = make_search(seed, density, spread)
        scores = score_queries(*search, rules)
        precisions, ranks = score_one_by_one(*search, rules)
        np.testing.assert_array_equal(scores.precisions, precisions)
        np.testing.assert_array_equal(scores.ranks, ranks)
        assert ranks.max() > 1


def test_only_what_is_nearly_as_similar_is_summed_again(monkeypatch):
    protocol, predictions = make_search(3, 1.0, 0.5)
    summed = []
    exact = counting.Embeddings.exact

    def note(self, queries, detections):
        summed.append(len(queries))
        return exact(self, queries, detections)

    monkeypatch.setattr(counting.Embeddings, "exact", note)
    score_queries(protocol, predictions)
    candidates, near = summed
    assert near < 0.1 * candidates


def test_a_query_finds_nothing_where_nothing_is_true():
    protocol, predictions = make_search(4, 0.0, 0.0)
    scores = score_queries(protocol, predictions)
    assert not scores.precisions.any()
    assert not scores.ranks.any()
