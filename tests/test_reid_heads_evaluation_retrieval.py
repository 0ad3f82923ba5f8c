"""Recall@K, R-precision and MAP@R against naive loops, and worked by hand."""

import numpy as np
import pytest

from reid_heads.evaluation.retrieval import evaluate_retrieval


def naive(similarities, query_pids, gallery_pids, are_same_images, k):
    """Sort and loop; returns recall@k, R-precision and MAP@R of each query, None where skipped."""
    results = []
    for q, row in enumerate(similarities):
        order = [g for g in np.argsort(-row.astype(float), kind="stable")]
        if are_same_images:
            order.remove(q)
        hits = [bool(gallery_pids[g] == query_pids[q]) for g in order]
        number = sum(hits)
        if not number:
            results.append(None)
            continue
        total = 0.0
        for place in range(1, number + 1):
            if hits[place - 1]:
                total += sum(hits[:place]) / place
        results.append((any(hits[:k]), sum(hits[:number]) / number, total / number))
    return results


@pytest.mark.parametrize("levels", [3, 30, None])
@pytest.mark.parametrize("are_same_images", [True, False])
@pytest.mark.parametrize("block", [1, 9, 100])
def test_against_loops(levels, are_same_images, block):
    rng = np.random.default_rng(1)
    gallery = rng.integers(0, 12, 40)
    queries = gallery if are_same_images else rng.integers(0, 14, 25)
    similarities = rng.random((len(queries), 40)) + 0.3 * (queries[:, None] == gallery)
    if levels:
        similarities = np.round(similarities * levels)
    blocks = [similarities[i : i + block] for i in range(0, len(queries), block)]
    result = evaluate_retrieval(
        blocks, queries, gallery, are_same_images=are_same_images, ranks=(1, 3)
    )
    expected = naive(similarities, queries, gallery, are_same_images, 3)
    valid = np.array([row for row in expected if row is not None])
    assert result.num_skipped == len(expected) - len(valid)
    assert result.queries.tolist() == [q for q, row in enumerate(expected) if row is not None]
    np.testing.assert_array_equal(result.first_ranks <= 3, valid[:, 0])
    np.testing.assert_allclose(result.r_precisions, valid[:, 1])
    np.testing.assert_allclose(result.average_precisions_at_r, valid[:, 2])
    assert result.metrics()["recall3"] == pytest.approx(100 * valid[:, 0].mean())


def test_worked_by_hand():
    # The query's three matches are at the places 1, 3 and 4 of five: R = 3, of which two are found;
    # precisions 1/1 and 2/3, so MAP@R = (1 + 2/3) / 3.
    similarities = np.array([[0.9, 0.8, 0.7, 0.6, 0.5]])
    result = evaluate_retrieval(
        [similarities], np.array([1]), np.array([1, 0, 1, 1, 0]), are_same_images=False
    )
    assert result.metrics() == {
        **dict.fromkeys(["recall1", "recall2", "recall4", "recall8"], 100.0),
        "R_precision": pytest.approx(200 / 3),
        "MAP@R": pytest.approx(500 / 9),
    }


def test_an_image_is_not_its_own_match_even_as_a_tie():
    pids = np.array([0, 1, 0])
    result = evaluate_retrieval([np.ones((3, 3))], pids, pids, are_same_images=True, ranks=(1, 2))
    # Image 0 finds 1 before 2; image 2 finds 0 first; image 1 has no other.
    assert result.first_ranks.tolist() == [2, 1]
    assert (result.queries.tolist(), result.num_skipped) == ([0, 2], 1)


def test_bad_input():
    pids = np.arange(2)
    with pytest.raises(ValueError, match="none of the 2 images has another one"):
        evaluate_retrieval([np.eye(2)], pids, pids, are_same_images=True)
    with pytest.raises(ValueError, match="expected whole numbers of at least 1"):
        evaluate_retrieval([np.eye(2)], pids, pids, are_same_images=False, ranks=(0, 1))
    with pytest.raises(ValueError, match="pids of queries and gallery differ"):
        evaluate_retrieval([np.eye(2)], pids, pids + 1, are_same_images=True)
    with pytest.raises(ValueError, match="got 1 rows, expected 2"):
        evaluate_retrieval([np.eye(2)[:1]], pids, pids * 0, are_same_images=False)
