import numpy as np
import pytest
from helpers_gallery import unit

from person_search.gallery.errors import GalleryError
from person_search.gallery.ranking import (
    best_per_frame,
    check_embeddings,
    fuse_embeddings,
    match_with_context,
    rerank_candidates,
    sort_by_similarity,
)
from person_search.gallery.rows import StoredPerson


def _person(frame, number, similarity=0.0, embedding=None):
    return StoredPerson(
        frame_name=frame,
        number=number,
        box_xyxy=(0.0, 0.0, 1.0, 1.0),
        score=0.5,
        camera=None,
        timestamp=None,
        similarity=similarity,
        embedding=embedding,
    )


def _ids(people):
    return [f"{p.frame_name}_{p.number}" for p in people]


def _similarities(people):
    return {(p.frame_name, p.number): p.similarity for p in people}


def _with_similarities(query, people):
    return [_person(f, n, float(e @ query), e) for f, n, e in people]


def test_people_are_sorted_by_similarity_then_frame_then_place():
    people = [_person("b", 10, 0.5), _person("b", 9, 0.5), _person("a", 3, 0.5), _person("c", 0, 1)]
    assert _ids(sort_by_similarity(people)) == ["c_0", "a_3", "b_9", "b_10"]
    assert sort_by_similarity([]) == []


def test_the_first_of_each_frame_is_kept():
    people = [_person("a", 1, 0.9), _person("b", 0, 0.8), _person("a", 0, 0.7)]
    assert _ids(best_per_frame(people)) == ["a_1", "b_0"]


def test_fused_embeddings_are_the_normalised_mean():
    # (1, 0) and (0, 1) -> (0.5, 0.5) -> (0.7071, 0.7071)
    np.testing.assert_allclose(fuse_embeddings(np.eye(2, dtype=np.float32)), [0.5**0.5] * 2)
    one = unit([[3.0, 4.0]])
    np.testing.assert_allclose(fuse_embeddings(one), one[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("rows", "message"),
    [(np.zeros((0, 2)), "no query"), (np.array([[1.0, 0], [-1, 0]]), "cancel")],
)
def test_nothing_to_fuse_is_an_error(rows, message):
    with pytest.raises(GalleryError, match=message):
        fuse_embeddings(rows)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones(4), r"shape \(4,\), expected \(3,\)"),
        (np.ones((2, 2, 3)), "shape"),
        (np.array(1.0), "shape"),
        (np.array([np.nan, 0, 0]), "not finite"),
        (np.array([[1, 0, 0], [0.5, 0, 0]]), r"norm 0\.5, expected unit"),
        (np.zeros(3), "norm 0"),
    ],
)
def test_embeddings_of_another_kind_are_refused(rows, message):
    with pytest.raises(GalleryError, match=f"query: got .*{message}"):
        check_embeddings(rows, 3, "query")


def test_embeddings_come_back_as_float32_rows():
    for given in ([1.0, 0, 0], [[1.0, 0, 0]], np.array([1, 0, 0])):
        checked = check_embeddings(given, 3, "query")
        assert checked.shape == (1, 3) and checked.dtype == np.float32
    assert check_embeddings(np.zeros((0, 3)), 3, "query").shape == (0, 3)
    half = unit(np.random.default_rng(0).normal(size=(50, 256))).astype(np.float16)
    assert len(check_embeddings(half, 256, "query")) == 50


def test_context_prefers_the_frame_where_the_companion_is_too():
    """The query's look-alike in "a" is nearer, but in "b" her companion stands beside her."""
    query, companion, other = np.eye(4, dtype=np.float32)[:3]
    people = _with_similarities(
        query,
        [
            ("a", 0, unit([0.8, 0, 0, 0.6])),
            ("a", 1, other),
            ("b", 0, unit([0.7, 0, 0, 0.714])),
            ("b", 1, companion),
        ],
    )
    assert _ids(sort_by_similarity(people))[:2] == ["a_0", "b_0"]
    ranked = match_with_context(query, companion[None], people)
    assert _ids(ranked)[:2] == ["b_0", "a_0"]
    assert ranked[0].similarity == pytest.approx(0.7, abs=1e-3)  # the cosine, as it was
    # Without companions nothing changes.
    nobody = np.zeros((0, 4), np.float32)
    assert _ids(match_with_context(query, nobody, people))[:2] == ["a_0", "b_0"]


def test_context_does_not_depend_on_the_order_of_the_people():
    rng = np.random.default_rng(3)
    query, context = unit(rng.normal(size=8)), unit(rng.normal(size=(3, 8)))
    rows = [(f"f{i % 9}", i // 9, unit(rng.normal(size=8))) for i in range(36)]
    people = _with_similarities(query, rows)
    first = _ids(match_with_context(query, context, people))
    assert first == _ids(match_with_context(query, context, people[::-1]))
    assert sorted(first) == sorted(_ids(people))


def test_reranking_finds_the_member_of_the_cluster_that_cosine_misses():
    """Along a chain of views of one person, the far end shares neighbours with the query; a
    stranger, a little nearer to the query, shares none."""
    angles = np.deg2rad(np.arange(0, 61, 5))
    chain = np.stack([np.cos(angles), np.sin(angles), 0 * angles, 0 * angles], 1)
    stranger = [np.cos(np.deg2rad(50)), 0, np.sin(np.deg2rad(50)), 0]
    rng = np.random.default_rng(0)
    crowd = unit(np.hstack([np.zeros((40, 2)), rng.normal(size=(40, 2))]))
    query = unit(chain[0])
    rows = [(f"same{i:02d}", 0, unit(e)) for i, e in enumerate(chain[1:])]
    rows += [("stranger", 0, unit(stranger))]
    rows += [(f"crowd{i:02d}", 0, e) for i, e in enumerate(crowd)]
    people = _with_similarities(query, rows)
    by_cosine, by_neighbors = sort_by_similarity(people), rerank_candidates(query, people)
    last = "same11_0"  # at 60 degrees
    assert _ids(by_cosine).index(last) > _ids(by_cosine).index("stranger_0")
    assert _ids(by_neighbors).index(last) < _ids(by_neighbors).index("stranger_0")
    assert _similarities(by_neighbors) == _similarities(people)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_reranking_takes_few_people(count):
    rng = np.random.default_rng(count)
    query = unit(rng.normal(size=8))
    rows = [(f"f{i}", 0, unit(rng.normal(size=8))) for i in range(count)]
    rows[0] = ("f0", 0, query)
    ranked = rerank_candidates(query, _with_similarities(query, rows))
    assert len(ranked) == count and _ids(ranked)[0] == "f0_0"
