"""Neighbours, re-ranking and query expansion against dense, direct implementations."""

import numpy as np
import pytest

from reid_heads.evaluation.neighbors import TopColumns, find_neighbors
from reid_heads.evaluation.query_expansion import expand_queries
from reid_heads.evaluation.reranking import rerank
from reid_heads.evaluation.rules import QueryExpansion, Reranking
from reid_heads.evaluation.similarity import normalize_rows


def draw_clusters(seed, num, people, size=16, spread=1.0):
    """Draw unit features around one direction a person."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((people, size))
    return normalize_rows(
        centers[rng.integers(0, people, num)] + spread * rng.standard_normal((num, size))
    )


def dense_rerank(queries, gallery, k1, k2, lambda_value):
    """The paper, with N x N matrices in float64: returns (Q, G) final distances."""
    features = np.concatenate([queries, gallery]).astype(np.float64)
    total, num_queries = len(features), len(queries)
    squared = np.maximum(2 - 2 * features @ features.T, 0)
    largest = squared.max(axis=1, keepdims=True)
    squared = squared / np.where(largest > 0, largest, 1)
    # Rounded, so that duplicates, whose products differ in the last bit, tie.
    order = np.argsort(np.round(squared, 12), axis=1, kind="stable")

    def reciprocal(row, size):
        return {j for j in order[row, : size + 1] if row in order[j, : size + 1]}

    weights = np.zeros((total, total))
    for row in range(total):
        base = reciprocal(row, k1)
        members = set(base)
        for candidate in base:
            half = reciprocal(candidate, int(np.around(k1 / 2)))
            if len(half & base) > 2 / 3 * len(half):
                members |= half
        members = sorted(members)
        weights[row, members] = np.exp(-squared[row, members])
        # Nobody is left where too many duplicates stand before the row itself.
        weights[row] /= weights[row].sum() or 1
    weights = np.stack([weights[order[row, :k2]].mean(axis=0) for row in range(total)])
    final = np.zeros((num_queries, len(gallery)))
    for q in range(num_queries):
        for g in range(len(gallery)):
            least = np.minimum(weights[q], weights[num_queries + g]).sum()
            jaccard = 1 - least / np.maximum(weights[q], weights[num_queries + g]).sum()
            distance = squared[q, num_queries + g]
            final[q, g] = (1 - lambda_value) * jaccard + lambda_value * distance
    return final


def run_rerank(queries, gallery, *options, block_size=7):
    blocks = rerank(queries, gallery, Reranking(*options), block_size)
    return np.concatenate([block.copy() for block in blocks])


@pytest.mark.parametrize(
    ("k1", "k2", "lambda_value"),
    [(20, 6, 0.3), (1, 1, 0.3), (2, 3, 0.0), (3, 1, 1.0), (5, 2, 0.5), (7, 12, 0.3), (10, 4, 0.3)],
)
def test_equals_the_dense_paper(k1, k2, lambda_value):
    queries, gallery = np.split(draw_clusters(k1, 90, 8), [20])
    expected = dense_rerank(queries, gallery, k1, k2, lambda_value)
    found = run_rerank(queries, gallery, k1, k2, lambda_value)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, -expected, atol=2e-6)


@pytest.mark.parametrize(("num_queries", "num_gallery"), [(1, 1), (1, 6), (4, 3), (9, 12)])
def test_fewer_rows_than_neighbours(num_queries, num_gallery):
    features = draw_clusters(3, num_queries + num_gallery, 3)
    queries, gallery = np.split(features, [num_queries])
    expected = dense_rerank(queries, gallery, 30, 25, 0.3)
    np.testing.assert_allclose(run_rerank(queries, gallery, 30, 25, 0.3), -expected, atol=2e-6)


def test_duplicates():
    features = draw_clusters(4, 60, 6)
    features[[5, 30, 31, 58]] = features[20]
    features[[40, 41]] = features[[0, 1]]
    queries, gallery = np.split(features, [15])
    for k1, k2 in ((6, 3), (2, 2), (12, 6)):
        expected = dense_rerank(queries, gallery, k1, k2, 0.3)
        np.testing.assert_allclose(run_rerank(queries, gallery, k1, k2, 0.3), -expected, atol=2e-6)


def test_blocks_do_not_matter(monkeypatch):
    queries, gallery = np.split(draw_clusters(5, 130, 9), [33])
    expected = run_rerank(queries, gallery, 10, 4, 0.3, block_size=33)
    monkeypatch.setattr("reid_heads.evaluation.reranking._SPARSE_ROWS", 11)
    monkeypatch.setattr("reid_heads.evaluation.reranking._GATHERED", 50)
    monkeypatch.setattr("reid_heads.evaluation.neighbors._GATHERED", 50)
    for size, kept in ((1, 0), (4, 0), (100, 0), (4, 2**30)):
        monkeypatch.setattr("reid_heads.evaluation.reranking._KEPT_BYTES", kept)
        found = run_rerank(queries, gallery, 10, 4, 0.3, block_size=size)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_lambda_1_is_the_plain_order():
    queries, gallery = np.split(draw_clusters(6, 60, 5), [10])
    order = np.argsort(-(queries @ gallery.T), axis=1)
    found = run_rerank(queries, gallery, 5, 2, 1.0)
    assert (np.argsort(-found, axis=1) == order).all()


def test_all_features_equal():
    features = np.tile(normalize_rows(np.ones((1, 5))), (12, 1))
    found = run_rerank(features[:4], features[4:], 3, 2, 0.3)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("options", [(0, 6, 0.3), (20, 0, 0.3), (20, 6, 1.1), (20, 6, np.nan)])
def test_bad_options(options):
    with pytest.raises(ValueError, match="expected k1 >= 1"):
        Reranking(*options)


@pytest.mark.parametrize("tile_rows", [5, 16, 37, 100])
@pytest.mark.parametrize("number", [1, 4, 30, 200])
def test_neighbours_equal_a_stable_argsort(tile_rows, number):
    """Multiples of 1/8, whose products are exact in float32, so that there are many ties."""
    rng = np.random.default_rng(tile_rows)
    features = rng.integers(-2, 3, (100, 4)).astype(np.float32) / 8
    products = features @ features.T
    order = np.argsort(-products, axis=1, kind="stable")[:, :number]
    corner = np.full((43, 57), np.nan, np.float32)
    found = find_neighbors(features, number, tile_rows=tile_rows, corner=corner)
    np.testing.assert_array_equal(corner, products[:43, 43:])
    np.testing.assert_array_equal(found.indices, order)
    np.testing.assert_array_equal(found.similarities, np.take_along_axis(products, order, axis=1))
    np.testing.assert_array_equal(found.least_similarity, products.min(axis=1))


def test_near_ties_are_settled_in_float64():
    """Columns whose similarities to row 0 differ by less than float32 can tell."""
    rng = np.random.default_rng(0)
    row = normalize_rows(rng.standard_normal((1, 64)))
    others = np.repeat(normalize_rows(row + 0.1 * rng.standard_normal((1, 64))), 40, axis=0)
    for i in range(40):
        others[i, i] = np.nextafter(others[i, i], np.float32(rng.choice([-2, 2])))
    features = np.concatenate([row, others])
    exact = features.astype(np.float64) @ features[0].astype(np.float64)
    order = np.argsort(-exact, kind="stable")
    assert not (np.argsort(-(features @ features[0]), kind="stable") == order).all()
    found = find_neighbors(features, 41 - 1, exact_at=(10, 20))
    assert set(found.indices[0, :10]) == set(order[:10])
    assert set(found.indices[0, :20]) == set(order[:20])


def test_top_columns_of_many_tiles_with_ties():
    rng = np.random.default_rng(1)
    values = np.round(rng.standard_normal((30, 500)), 1).astype(np.float32)
    values[3] = -0.0
    values[3, ::2] = 0.0
    values[4] = np.sort(values[4])  # each tile is better than those before
    top = TopColumns(30, 7)
    for start in range(0, 500, 90):
        top.update(0, start, values[:20, start : start + 90])
        top.update(20, start, np.asfortranarray(values[20:, start : start + 90]))
    order = np.argsort(-values, axis=1, kind="stable")[:, :7]
    np.testing.assert_array_equal(top.columns, order)
    np.testing.assert_array_equal(top.similarities, np.take_along_axis(values, order, axis=1))


@pytest.mark.parametrize(("neighbours", "alpha"), [(1, 0.0), (5, 3.0), (4, 0.5), (100, 1.0)])
def test_query_expansion_against_a_loop(neighbours, alpha):
    queries, gallery = np.split(draw_clusters(7, 70, 6), [20])
    found = expand_queries(queries, gallery, QueryExpansion(neighbours, alpha), block_size=6)
    for query, expanded in zip(queries.astype(np.float64), found, strict=True):
        similarities = gallery.astype(np.float64) @ query
        total = query.copy()
        for g in np.argsort(-similarities)[:neighbours]:
            total += max(similarities[g], 0) ** alpha * gallery[g]
        np.testing.assert_allclose(expanded, total / np.linalg.norm(total), atol=1e-6)


def test_query_expansion_by_hand():
    # Neighbours of (1, 0): (0.8, 0.6) with 0.8, (0.6, 0.8) with 0.6. alpha 1, two of them:
    # (1, 0) + 0.8 (0.8, 0.6) + 0.6 (0.6, 0.8) = (2, 0.96), norm 2.2185.
    gallery = np.float32([[0.8, 0.6], [-1, 0], [0.6, 0.8]])
    found = expand_queries(np.float32([[1, 0]]), gallery, QueryExpansion(2, 1.0))
    np.testing.assert_allclose(found, [[2 / 2.2185, 0.96 / 2.2185]], atol=1e-4)


@pytest.mark.parametrize("options", [(0, 3.0), (5, -1.0), (5, np.nan)])
def test_bad_expansion(options):
    with pytest.raises(ValueError, match="expected neighbours >= 1"):
        QueryExpansion(*options)
