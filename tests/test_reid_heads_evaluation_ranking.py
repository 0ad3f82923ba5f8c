"""Market rules and single-shot galleries against naive loops, and worked by hand."""

import numpy as np
import pytest

from reid_heads.evaluation.ranking import evaluate_market, rank_matches
from reid_heads.evaluation.similarity import (
    find_duplicate_rows,
    iterate_similarities,
    normalize_rows,
)
from reid_heads.evaluation.single_shot import evaluate_single_shot


def draw_labels(rng, num, people=6, cameras=3):
    return rng.integers(0, people, num), rng.integers(0, cameras, num)


def unit(rng, rows, size=8):
    return normalize_rows(rng.standard_normal((rows, size)))


def naive_market(similarities, query_pids, query_cams, gallery_pids, gallery_cams):
    """Sort and loop, query by query. Returns AP, INP and first rank; None where skipped."""
    results = []
    for row, pid, cam in zip(similarities, query_pids, query_cams, strict=True):
        hits = [
            gallery_pids[g] == pid
            for g in np.argsort(-row.astype(np.float64), kind="stable")
            if not (gallery_pids[g] == pid and gallery_cams[g] == cam)
        ]
        if not any(hits):
            results.append(None)
            continue
        found, precisions, ranks = 0, [], []
        for rank, hit in enumerate(hits, start=1):
            if hit:
                found += 1
                precisions.append(found / rank)
                ranks.append(rank)
        results.append((np.mean(precisions), len(ranks) / ranks[-1], ranks[0]))
    return results


def check_equal(result, expected):
    valid = [row for row in expected if row is not None]
    assert result.num_skipped == len(expected) - len(valid)
    assert result.queries.tolist() == [q for q, row in enumerate(expected) if row is not None]
    precisions, penalties, ranks = np.array(valid).T
    np.testing.assert_allclose(result.average_precisions, precisions, rtol=1e-12)
    np.testing.assert_allclose(result.inverse_penalties, penalties, rtol=1e-12)
    assert result.first_ranks[:, 0].tolist() == ranks.tolist()


@pytest.mark.parametrize("levels", [2, 5, 40, None])
@pytest.mark.parametrize("block", [1, 7, 100])
def test_random_ties_rank_as_a_stable_argsort(levels, block):
    rng = np.random.default_rng(0 if levels is None else levels)
    for _ in range(5):
        query, gallery = draw_labels(rng, 30, 12), draw_labels(rng, 90, 9)
        similarities = rng.uniform(-1, 1, (30, 90)).astype(np.float32)
        if levels:
            similarities = (np.round(similarities * levels) / levels).astype(np.float32)
        similarities.setflags(write=False)
        blocks = [similarities[start : start + block] for start in range(0, 30, block)]
        expected = naive_market(similarities, *query, *gallery)
        assert any(row is None for row in expected)
        check_equal(evaluate_market(blocks, *query, *gallery), expected)


def test_by_hand():
    # Query: person 1, camera 0. Gallery by falling similarity:
    #   .9 p1 c0 (junk), .8 p2, .7 p1 c1 (rank 2), .6 p3, .5 p1 c2 (rank 4), .4 p2.
    # AP = (1/2 + 2/4) / 2 = 1/2; INP = 2/4; first rank 2.
    similarities = np.float32([[0.4, 0.5, 0.6, 0.7, 0.8, 0.9]])
    pids, cams = np.array([2, 1, 3, 1, 2, 1]), np.array([1, 2, 1, 1, 0, 0])
    result = evaluate_market([similarities], np.array([1]), np.array([0]), pids, cams)
    assert result.metrics() == {"mAP": 50, "mINP": 50, "top1": 0, "top5": 100, "top10": 100}
    assert (result.first_ranks.tolist(), result.num_skipped) == ([[2]], 0)
    assert result.cmc(2) == 1


def test_ties_by_hand():
    # All equal: ranks by row. Row 0 is junk, row 1 another person, rows 2 and 4 match: they rank
    # 2 and 4 of rows 1-4. AP = (1/2 + 2/4) / 2.
    pids, cams = np.array([1, 2, 1, 3, 1]), np.array([0, 0, 1, 1, 2])
    rows = np.full((1, 5), 0.25, np.float32)
    result = evaluate_market([rows], np.array([1]), np.array([0]), pids, cams)
    assert (result.average_precisions.tolist(), result.first_ranks.tolist()) == ([0.5], [[2]])


def test_rank_matches_knows_junk_before_and_behind():
    similarities = np.float32([0.5, 0.9, 0.5, 0.1, 0.5])
    # Without rows 0 and 3: 0.9 (row 1), 0.5 (row 2), 0.5 (row 4).
    ranks = rank_matches(similarities, np.array([2, 4]), np.array([0, 3]))
    assert ranks.tolist() == [2, 3]


def test_perfect_embeddings_score_100():
    rng = np.random.default_rng(0)
    pids = np.repeat(np.arange(20), 4)
    cams = np.tile(np.arange(4), 20)
    features = unit(rng, 20, 32)[pids]
    for evaluate in (evaluate_market, evaluate_single_shot):
        blocks = iterate_similarities(features, features, block_size=9)
        metrics = evaluate(blocks, pids, cams, pids, cams).metrics()
        assert metrics == dict.fromkeys(("mAP", "mINP", "top1", "top5", "top10"), 100)


@pytest.mark.parametrize("evaluate", [evaluate_market, evaluate_single_shot])
def test_no_query_with_a_match_is_an_error(evaluate):
    # Person 1 stands in the gallery, but in the query's own camera only.
    labels = np.array([1]), np.array([0]), np.array([1, 2]), np.array([0, 1])
    with pytest.raises(ValueError, match="none of the 1 queries has a match"):
        evaluate([np.zeros((1, 2), np.float32)], *labels)


@pytest.mark.parametrize("evaluate", [evaluate_market, evaluate_single_shot])
def test_bad_blocks_are_errors(evaluate):
    labels = np.array([1, 2]), np.array([0, 0]), np.array([1, 2, 3]), np.array([1, 1, 1])
    good = np.zeros((1, 3), np.float32)
    bad = np.float32([[0, np.nan, 0]])
    for blocks, message in (
        ([good], "got 1 rows, expected 2"),
        ([good, good, good], "after 2 rows"),
        ([good[:, :2]], "expected 3 columns"),
        ([good, bad], "NaN in the row of query 1"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate(blocks, *labels)


def test_one_query_and_infinite_similarity():
    labels = np.array([1]), np.array([0]), np.array([2, 1]), np.array([1, 1])
    result = evaluate_market([np.float32([[-np.inf, -np.inf]])], *labels)
    assert result.first_ranks.tolist() == [[2]]


def test_order_of_the_gallery_matters_only_for_ties():
    rng = np.random.default_rng(1)
    query, (pids, cams) = draw_labels(rng, 10), draw_labels(rng, 60)
    similarities = rng.permuted(np.tile(np.arange(60, dtype=np.float32), (10, 1)), axis=1)
    order = rng.permutation(60)
    first = evaluate_market([similarities], *query, pids, cams)
    second = evaluate_market([similarities[:, order]], *query, pids[order], cams[order])
    assert first.metrics() == second.metrics()


def test_duplicates_in_the_gallery_tie_whatever_the_product_rounds():
    rng = np.random.default_rng(2)
    queries, gallery = unit(rng, 50, 515), unit(rng, 701, 515)
    copies = rng.permutation(701)[:300]
    gallery[copies[150:]] = gallery[copies[:150]]
    duplicates, firsts = find_duplicate_rows(gallery)
    assert len(duplicates) == 150
    assert (firsts < duplicates).all() and (np.diff(duplicates) > 0).all()
    np.testing.assert_array_equal(gallery[duplicates], gallery[firsts])
    for size in (1, 7, 50, 99):
        blocks = [block.copy() for block in iterate_similarities(queries, gallery, size)]
        product = np.concatenate(blocks)
        np.testing.assert_array_equal(product[:, duplicates], product[:, firsts])
        np.testing.assert_allclose(product, queries @ gallery.T, atol=1e-6)


def test_three_copies_have_one_first():
    rows = np.float32([[1, 2], [0, 1], [1, 2], [0, 1], [1, 2]])
    duplicates, firsts = find_duplicate_rows(rows)
    assert (duplicates.tolist(), firsts.tolist()) == ([2, 3, 4], [0, 1, 0])


def test_block_size_below_one():
    with pytest.raises(ValueError, match="block_size: got 0"):
        next(iterate_similarities(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), 0))


def test_normalize_rows():
    rows = np.float32([[3, 4], [3e-30, 4e-30], [-3e30, 4e30]])
    expected = np.float32([[0.6, 0.8], [0.6, 0.8], [-0.6, 0.8]])
    np.testing.assert_allclose(normalize_rows(rows), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="query_features: row 1 is all zeros"):
        normalize_rows(np.float32([[1, 0], [0, 0]]), "query_features")


def naive_single_shot(row, pid, cam, gallery_pids, gallery_cams, draws):
    """Draw with ``draws`` (R, P): the n-th of a person's crops that are not junk, by row."""
    ranks = []
    for draw in draws:
        chosen = []
        for number, person in enumerate(np.unique(gallery_pids)):
            rows = [
                g
                for g in np.flatnonzero(gallery_pids == person)
                if not (person == pid and gallery_cams[g] == cam)
            ]
            if rows:
                chosen.append(rows[int(draw[number] * len(rows))])
        chosen.sort(key=lambda g: (-row[g], g))
        ranks.append(1 + [gallery_pids[g] for g in chosen].index(pid))
    return ranks


@pytest.mark.parametrize("levels", [3, 1000])
def test_single_shot_against_a_loop(levels):
    rng = np.random.default_rng(levels)
    query, gallery = draw_labels(rng, 25, 12), draw_labels(rng, 70, 9)
    gallery = (gallery[0] * 7 + 3, gallery[1])
    query = (query[0] * 7 + 3, query[1])
    similarities = np.round(rng.uniform(-1, 1, (25, 70)) * levels).astype(np.float32)
    blocks = [similarities[:11], similarities[11:]]
    result = evaluate_single_shot(blocks, *query, *gallery, repeats=4, seed=5)
    draws = np.random.default_rng(5)
    people, expected, skipped = len(np.unique(gallery[0])), [], 0
    for row, pid, cam in zip(similarities, *query, strict=True):
        draw = draws.random((4, people))
        if ((gallery[0] == pid) & (gallery[1] != cam)).any():
            expected.append(naive_single_shot(row, pid, cam, *gallery, draw))
        else:
            skipped += 1
    assert skipped and result.num_skipped == skipped
    assert result.first_ranks.tolist() == expected
    assert result.metrics()["mAP"] == pytest.approx(100 * np.mean(1 / np.array(expected)))
    assert result.metrics()["top1"] == pytest.approx(100 * np.mean(np.array(expected) == 1))


def test_single_shot_draws_each_crop_equally_often():
    # One match at rank 1 or 2, by whether the better or the worse of two crops of person 2 is
    # drawn: top-1 is about 1/2. 2,000 draws: standard deviation 1.1 percent.
    labels = np.array([1]), np.array([0]), np.array([2, 2, 1]), np.array([1, 1, 1])
    row = np.float32([[0.9, 0.1, 0.5]])
    result = evaluate_single_shot([row], *labels, repeats=2000)
    assert abs(result.metrics()["top1"] - 50) < 5
    again = evaluate_single_shot([row], *labels, repeats=2000)
    assert again.first_ranks.tolist() == result.first_ranks.tolist()
    other = evaluate_single_shot([row], *labels, repeats=2000, seed=1)
    assert other.first_ranks.tolist() != result.first_ranks.tolist()


def test_single_shot_repeats_below_one():
    labels = np.array([1]), np.array([0]), np.array([1]), np.array([1])
    with pytest.raises(ValueError, match="repeats: got 0"):
        evaluate_single_shot([np.zeros((1, 1), np.float32)], *labels, repeats=0)
