import numpy as np
import pytest

from person_search.tracking import groups
from person_search.tracking.groups import find_overlaps, group_looks

NOBODY = np.zeros((0, 2), np.int64)


def unit(rows):
    return np.float32(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def looks(rng, people=5, each=6, noise=0.25, dim=12):
    """Appearances of some people in mixed order: (N, D) and whose each is."""
    centres = unit(rng.normal(size=(people, dim)))
    whose = rng.permutation(np.repeat(np.arange(people), each))
    return unit(centres[whose] + noise * rng.normal(size=(len(whose), dim))), whose


def one_by_one(embeddings, threshold, weights, fixed, apart):
    """The slow, obvious way: join the most similar pair of groups, again and again."""
    members = [[i] for i in np.flatnonzero(fixed < 0)]
    members += [list(np.flatnonzero(fixed == g)) for g in np.unique(fixed[fixed >= 0])]
    strange = {frozenset(pair) for pair in apart.tolist()}
    similar = np.float64(embeddings) @ np.float64(embeddings).T

    def mean(a, b):
        both_fixed = max(fixed[a]) >= 0 and max(fixed[b]) >= 0
        is_apart = any(frozenset((i, j)) in strange for i in a for j in b)
        if both_fixed or is_apart:
            return -np.inf
        return weights[a] @ similar[np.ix_(a, b)] @ weights[b] / weights[a].sum() / weights[b].sum()

    while len(members) > 1:
        value, i, j = max(
            (mean(members[i], members[j]), -i, -j)
            for i in range(len(members))
            for j in range(i + 1, len(members))
        )
        if value < threshold:
            break
        members[-i] += members.pop(-j)
    return {frozenset(map(int, group)) for group in members}


def as_sets(labels):
    return {frozenset(np.flatnonzero(labels == g).tolist()) for g in np.unique(labels)}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("block", [7, groups.BLOCK_VALUES])
def test_it_is_average_linkage_with_what_is_fixed_and_what_is_apart(seed, block, monkeypatch):
    monkeypatch.setattr(groups, "BLOCK_VALUES", block)
    rng = np.random.default_rng(seed)
    embeddings, _ = looks(rng, people=4, each=4, noise=0.4)
    pairs = np.sort(rng.integers(0, len(embeddings), (12, 2)), axis=1)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    weights = rng.integers(1, 6, len(embeddings)).astype(float)
    none = np.full(len(embeddings), -1)
    fixed = np.where(rng.random(len(embeddings)) < 0.3, rng.integers(0, 4, len(none)), none)
    for given, apart in ((none, NOBODY), (none, pairs), (fixed, pairs)):
        found = group_looks(embeddings, 0.5, weights=weights, fixed=given, apart=apart)
        assert as_sets(found) == one_by_one(embeddings, 0.5, weights, given, apart)
        assert (found[given >= 0] == given[given >= 0]).all()


def test_the_order_of_rows_changes_nothing():
    rng = np.random.default_rng(3)
    embeddings, whose = looks(rng, noise=0.1)
    found = group_looks(embeddings, 0.6)
    assert as_sets(found) == as_sets(whose)
    order = rng.permutation(len(found))
    again = group_looks(embeddings[order], 0.6)
    back = np.empty_like(again)
    back[order] = again
    assert as_sets(back) == as_sets(found)


def test_new_groups_get_the_next_numbers_in_order():
    embeddings = np.float32(np.eye(4)[[3, 0, 1, 0, 2]])
    found = group_looks(embeddings, 0.5, fixed=np.array([-1, -1, 7, -1, 2]))
    assert found.tolist() == [8, 9, 7, 9, 2]


def test_overlaps_are_those_of_one_stream():
    rng = np.random.default_rng(4)
    starts = np.round(rng.uniform(0, 30, 40))
    ends = starts + np.round(rng.exponential(3, 40))
    streams = rng.integers(0, 3, 40)
    expected = [
        [i, j]
        for i in range(40)
        for j in range(i + 1, 40)
        if streams[i] == streams[j] and starts[i] <= ends[j] and starts[j] <= ends[i]
    ]
    assert find_overlaps(starts, ends, streams).tolist() == expected
    long = [[i, j] for i, j in expected if min(ends[i], ends[j]) - max(starts[i], starts[j]) > 2]
    assert 0 < len(long) < len(expected)
    assert find_overlaps(starts, ends, streams, 2).tolist() == long


def test_nobody_one_and_equal_looks():
    assert group_looks(np.zeros((0, 3), np.float32), 0.5).tolist() == []
    assert group_looks(np.float32([[1, 0]]), 0.5).tolist() == [0]
    same = np.tile(np.float32([[0.6, 0.8]]), (5, 1))
    assert group_looks(same, 0.9).tolist() == [0] * 5
    with pytest.raises(ValueError, match=r"expected \(N, D\), \(N,\), \(N,\) and"):
        group_looks(same, 0.5, fixed=np.zeros(2))
