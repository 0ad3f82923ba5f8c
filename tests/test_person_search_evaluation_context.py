"""Context matching against a naive search over all assignments, and by hand."""

from itertools import permutations

import numpy as np
import pytest

from person_search.data.protocol import SearchProtocol
from person_search.evaluation.context import ContextMatching, match_context
from person_search.evaluation.predictions import Predictions
from person_search.evaluation.rules import SearchRules
from person_search.evaluation.search import evaluate_search, search_each_query


def embeddings_for(cosines):
    """Gallery rows whose dot products with the unit axes 0, 1, .. are the given ones."""
    return np.asarray(cosines, dtype=np.float64).T


def test_by_hand():
    # Rows are people (the query, a companion), columns two detections of one frame. Assignments:
    # query-0 and companion-1: 0.6 + 0.9 = 1.5; query-1 and companion-0: 0.7 + 0.1 = 0.8.
    edges = [[0.6, 0.7], [0.1, 0.9]]
    similarities = np.float32([0.6, 0.7])
    arguments = (similarities, np.array([4, 4]), embeddings_for(edges), np.eye(2))
    # The first wins, and its largest edge is 0.9, though that is the companion's.
    assert match_context(*arguments, ContextMatching(10, 3)) == pytest.approx([0.9, 0.7])
    # The sum as an option
    got = match_context(*arguments, ContextMatching(10, 3, use_sum=True))
    assert got == pytest.approx([1.5, 0.7])
    # With k2 = 1 the query is alone and takes its most similar detection: nothing changes.
    assert match_context(*arguments, ContextMatching(10, 1)) == pytest.approx([0.6, 0.7])
    assert similarities.tolist() == np.float32([0.6, 0.7]).tolist()


def test_only_frames_of_the_k1_most_similar_are_matched():
    edges = [[0.6, 0.1, 0.5, 0.1], [0.1, 0.9, 0.1, 0.8]]
    similarities = np.float32(edges[0])
    arguments = (similarities, np.array([0, 0, 1, 1]), embeddings_for(edges), np.eye(2))
    got = match_context(*arguments, ContextMatching(1, 2))
    assert got == pytest.approx([0.9, 0.1, 0.5, 0.1])
    got = match_context(*arguments, ContextMatching(2, 2))
    assert got == pytest.approx([0.9, 0.1, 0.8, 0.1])


def test_a_query_without_partner_keeps_its_similarities():
    # One detection, and the companion is the better match.
    similarities = np.float32([0.3])
    edges = [[0.3], [0.9]]
    got = match_context(
        similarities, np.array([0]), embeddings_for(edges), np.eye(2), ContextMatching(5, 2)
    )
    assert got == pytest.approx([0.3])


def naive(similarities, frames, gallery, people, k1, k2):
    revised = list(similarities)
    people = people[:k2]
    order = sorted(range(len(similarities)), key=lambda i: -similarities[i])
    for frame in {frames[i] for i in order[:k1] if similarities[i] > -np.inf}:
        members = [i for i in range(len(frames)) if frames[i] == frame]
        edge = {(p, i): float(people[p] @ gallery[i]) for p in range(len(people)) for i in members}
        matchings = []
        if len(people) <= len(members):
            for chosen in permutations(members, len(people)):
                matchings.append(list(zip(range(len(people)), chosen, strict=True)))
        else:
            for chosen in permutations(range(len(people)), len(members)):
                matchings.append(list(zip(chosen, members, strict=True)))
        best = max(matchings, key=lambda matching: sum(edge[pair] for pair in matching))
        for person, i in best:
            if person == 0:
                revised[i] = max(edge[pair] for pair in best)
    return revised


@pytest.mark.parametrize("seed", range(20))
def test_equals_the_naive_loop(seed):
    rng = np.random.default_rng(seed)
    frames = np.sort(rng.integers(0, 8, 25))
    gallery = rng.standard_normal((25, 6))
    people = rng.standard_normal((rng.integers(1, 6), 6))
    similarities = (gallery @ people[0]).astype(np.float32)
    similarities[frames == 5] = -np.inf  # not in this query's gallery
    before = similarities.copy(), gallery.copy(), people.copy()
    k1, k2 = int(rng.integers(1, 12)), int(rng.integers(1, 5))
    got = match_context(similarities, frames, gallery, people, ContextMatching(k1, k2))
    expected = naive(before[0], frames, before[1], before[2], k1, k2)
    assert got == pytest.approx(expected, rel=1e-6)
    for array, copy in zip((similarities, gallery, people), before, strict=True):
        assert np.array_equal(array, copy)


@pytest.mark.parametrize(("k1", "k2"), [(0, 3), (10, 0), (-1, 1)])
def test_sizes_must_be_positive(k1, k2):
    with pytest.raises(ValueError, match="k1 and k2"):
        ContextMatching(k1, k2)


BOX, OTHER = [0, 0, 100, 200], [200, 0, 300, 200]


def companion_case(companion_score=0.9, query_score=1.0):
    """A query with a companion; frame a holds both, frame b a stranger more like the query."""
    boxes = np.float32([BOX])
    protocol = SearchProtocol(
        name="companions",
        frame_names=("q", "a", "b"),
        frame_boxes=(boxes,) * 3,
        frame_pids=(np.zeros(1, np.int64),) * 3,
        query_frames=np.array([0]),
        query_boxes=boxes,
        query_pids=np.array([0]),
        gallery_mask=np.array([[False, True, True]]),
        true_queries=np.array([0]),
        true_frames=np.array([1]),
        true_boxes=boxes,
    )

    def with_axis_0_and_1(x, y):
        return [x, y, np.sqrt(1 - x * x - y * y)]

    gallery = [
        with_axis_0_and_1(0.5, 0.1),
        with_axis_0_and_1(0.0, 0.9),
        with_axis_0_and_1(0.7, 0.0),
    ]
    predictions = Predictions(
        image_names=np.array(["a", "b"]),
        image_index=np.array([0, 0, 1]),
        boxes=np.float32([BOX, OTHER, BOX]),
        scores=np.float32([1, 1, 1]),
        embeddings=np.float32(gallery),
        query_names=np.array(["q"]),
        query_boxes=boxes,
        query_embeddings=np.float32([[1, 0, 0]]),
        context_query_index=np.array([0, 0]),
        context_boxes=np.float32([BOX, OTHER]),
        context_scores=np.float32([query_score, companion_score]),
        context_embeddings=np.float32([[1, 0, 0], [0, 1, 0]]),
    )
    return protocol, predictions


def test_a_companion_brings_the_right_frame_up():
    protocol, predictions = companion_case()
    # Without: 0.7 (false), 0.5 (true): AP 1/2. With: the true one gets max(0.5, 0.9) = 0.9.
    assert evaluate_search(protocol, predictions)["mAP"] == pytest.approx(50)
    context = ContextMatching(2, 2)
    result = evaluate_search(protocol, predictions, SearchRules(context=context))
    assert result == pytest.approx({"mAP": 100, "top1": 100, "top5": 100, "top10": 100})
    query = search_each_query(protocol, predictions, SearchRules(context=context))[0]
    assert query.top_similarities == pytest.approx([0.9, 0.7, 0.0])
    assert query.top_rows.tolist() == [0, 2, 1]
    # The inputs were not touched: the plain search is as before.
    assert evaluate_search(protocol, predictions)["mAP"] == pytest.approx(50)


def test_companions_below_the_score_threshold_take_no_part():
    protocol, predictions = companion_case(companion_score=0.4)
    context = ContextMatching(2, 2)
    for threshold, expected in ((0.5, 50), (0.3, 100)):
        rules = SearchRules(score_threshold=threshold, context=context)
        assert evaluate_search(protocol, predictions, rules)["mAP"] == pytest.approx(expected)
    # At the threshold they do.
    protocol, predictions = companion_case(companion_score=0.5)
    assert evaluate_search(protocol, predictions, SearchRules(context=context))["mAP"] == 100


def test_the_query_takes_part_whatever_its_score():
    """Without it the companion, first of those left, would be taken for the query."""
    protocol, predictions = companion_case(query_score=0.4)
    rules = SearchRules(context=ContextMatching(2, 2))
    assert evaluate_search(protocol, predictions, rules)["mAP"] == 100


def test_weighted_edges():
    """With confidence weighting the gallery's side of each edge is times the score."""
    protocol, predictions = companion_case()
    arrays = {n: getattr(predictions, n) for n in Predictions.__dataclass_fields__}
    arrays["scores"] = np.float32([1, 0.75, 1])
    query = search_each_query(
        protocol,
        Predictions(**arrays),
        SearchRules(confidence_weighting=True, context=ContextMatching(2, 2)),
    )[0]
    # 0.9 * 0.75 = 0.675 < 0.7
    assert query.top_similarities == pytest.approx([0.7, 0.675, 0.0])
