"""Head, middle and tail of the searched identities, by hand and against a slow oracle."""

import logging
from collections import Counter
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest

from person_search.data.protocol import SearchProtocol
from person_search.evaluation.frequency import (
    count_boxes,
    group_queries,
    summarize_by_frequency,
)
from person_search.evaluation.search import SearchScores
from reid_heads.labels import UNLABELED_PID


def make_protocol(frequencies, queries=None):
    """Identity to its number of boxes, two a frame; one query an identity unless given.

    Every frame shows somebody without identity as well.
    """
    labels = [pid for pid, number in frequencies.items() for _ in range(number)]
    labels += [UNLABELED_PID] * (len(labels) % 2 + 2)
    pids = [np.array([*labels[i : i + 2], UNLABELED_PID]) for i in range(0, len(labels), 2)]
    queries = np.array(list(frequencies) if queries is None else queries, dtype=np.int64)
    boxes = np.float32([[0, 0, 10, 20]] * 3)
    return SearchProtocol(
        name="by hand",
        frame_names=tuple(f"{i}.jpg" for i in range(len(pids))),
        frame_boxes=(boxes,) * len(pids),
        frame_pids=tuple(pids),
        query_frames=np.zeros(len(queries), dtype=np.int64),
        query_boxes=boxes[:1].repeat(len(queries), axis=0),
        query_pids=queries,
        gallery_mask=np.zeros((len(queries), len(pids)), dtype=bool),
        true_queries=np.zeros(0, dtype=np.int64),
        true_frames=np.zeros(0, dtype=np.int64),
        true_boxes=np.zeros((0, 4), dtype=np.float32),
    )


def describe(protocol):
    return [
        (g.name, g.queries.tolist(), g.num_identities, g.least, g.most)
        for g in group_queries(protocol)
    ]


def test_by_hand():
    # Identity 8 has 9 boxes and two queries, 5 has 6, 2 and 6 have 3, 0 has 2, 4 has 1: six
    # identities, two a third.
    frequencies = {4: 1, 8: 9, 2: 3, 6: 3, 0: 2, 5: 6}
    protocol = make_protocol(frequencies, queries=[8, 4, 2, 8, 0, 6, 5])
    assert count_boxes(protocol).tolist() == [9, 1, 3, 9, 2, 3, 6]
    assert describe(protocol) == [
        ("head", [0, 3, 6], 2, 6, 9),
        ("middle", [2, 5], 2, 3, 3),
        ("tail", [1, 4], 2, 1, 2),
    ]


def test_only_people_who_are_searched_for_count():
    """Identities 1 and 2 have no query; they must not move the cuts."""
    frequencies = {1: 100, 2: 50, 3: 4, 4: 3, 5: 2}
    names = [(g[0], g[1]) for g in describe(make_protocol(frequencies, queries=[3, 4, 5]))]
    assert names == [("head", [0]), ("middle", [1]), ("tail", [2])]


@pytest.mark.parametrize(
    ("frequencies", "expected"),
    [
        # 1 with five, 2 with four, 7 with two boxes: a third is 3.3 identities. The tail cannot be
        # parted, and the cuts are the only ones there are.
        ([5, 4, 4, 2, 2, 2, 2, 2, 2, 2], {"head": 1, "middle": 2, "tail": 7}),
        # Cuts after 1, 4 or 5 of 6. Distances from 2 and from 4: (1, 4) 1 + 0, (1, 5) 1 + 1,
        # (4, 5) 2 + 1.
        ([9, 5, 5, 5, 3, 1], {"head": 1, "middle": 3, "tail": 2}),
        # Cuts after 1, 3, 5 and 6 of 7; a third is 2.33, so that 3 is nearer, two thirds 4.67: 5.
        ([9, 8, 8, 7, 7, 6, 5], {"head": 3, "middle": 2, "tail": 2}),
        # Cuts after 1, 3 and 4 of 6: a third is 2, (1, 4) and (3, 4) tie; the smaller head.
        ([9, 8, 8, 7, 6, 6], {"head": 1, "middle": 3, "tail": 2}),
    ],
)
def test_equal_frequencies_stay_together(frequencies, expected):
    protocol = make_protocol(dict(enumerate(frequencies)))
    groups = group_queries(protocol)
    assert {group.name: group.num_identities for group in groups} == expected


@pytest.mark.parametrize(
    ("frequencies", "names"),
    [
        ({0: 4}, ["middle"]),
        ({0: 4, 1: 2}, ["head", "tail"]),
        ({0: 3, 1: 3}, ["middle"]),
        ({0: 3, 1: 3, 2: 3, 3: 3}, ["middle"]),
        ({0: 3, 1: 3, 2: 3, 3: 1}, ["head", "tail"]),
        ({0: 3, 1: 2, 2: 1}, ["head", "middle", "tail"]),
    ],
)
def test_few_identities_and_equal_frequencies(frequencies, names):
    protocol = make_protocol(frequencies)
    groups = group_queries(protocol)
    assert [group.name for group in groups] == names
    assert sorted(np.concatenate([g.queries for g in groups])) == list(range(len(frequencies)))


def oracle_groups(frequencies, queries):
    """Try every pair of cuts in the list of identities that parts no equal frequencies."""
    ranked = sorted(set(queries), key=lambda pid: -frequencies[pid])
    total = len(ranked)
    allowed = [i for i in range(1, total) if frequencies[ranked[i - 1]] != frequencies[ranked[i]]]
    if len(allowed) < 2:
        cuts = allowed
    else:
        cuts = min(
            combinations(allowed, 2),
            key=lambda cut: (abs(3 * cut[0] - total) + abs(3 * cut[1] - 2 * total), cut),
        )
    ends = [0, *cuts, total]
    members = [set(ranked[a:b]) for a, b in pairwise(ends)]
    return [[row for row, pid in enumerate(queries) if pid in some] for some in members]


@pytest.mark.parametrize("seed", range(20))
def test_equals_the_oracle(seed):
    rng = np.random.default_rng(seed)
    pids = rng.choice(100, rng.integers(1, 30), replace=False).tolist()
    frequencies = {pid: int(rng.geometric(0.3)) for pid in pids}
    queries = rng.choice(pids, rng.integers(1, 60)).tolist()
    protocol = make_protocol(frequencies, queries)
    shown = Counter(pid for people in protocol.frame_pids for pid in people.tolist())
    assert count_boxes(protocol).tolist() == [shown[pid] for pid in queries]
    expected = oracle_groups(frequencies, queries)
    assert [group.queries.tolist() for group in group_queries(protocol)] == expected
    # Renaming identities changes nothing.
    swapped = make_protocol({99 - p: n for p, n in frequencies.items()}, [99 - p for p in queries])
    assert [group.queries.tolist() for group in group_queries(swapped)] == expected


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_over_groups_is_the_overall_result(seed, caplog):
    rng = np.random.default_rng(seed)
    frequencies = {pid: int(rng.geometric(0.3)) for pid in range(20)}
    protocol = make_protocol(frequencies, rng.integers(0, 20, 50))
    ranks = rng.integers(0, 20, 50)
    scores = SearchScores(rng.random(50) * (ranks > 0), ranks)
    with caplog.at_level(logging.INFO, "person_search.evaluation.frequency"):
        groups = summarize_by_frequency(protocol, scores)
    assert list(groups) == ["search_head", "search_middle", "search_tail"]
    assert sum(group["queries"] for group in groups.values()) == 50
    for metric, overall in scores.summarize().items():
        parts = [group[metric] * group["queries"] for group in groups.values()]
        assert sum(parts) / 50 == pytest.approx(overall)
    assert len({round(group["mAP"], 6) for group in groups.values()}) == 3
    assert len(caplog.messages) == 3
    most = max(frequencies[pid] for pid in protocol.query_pids.tolist())
    assert f"to {most} boxes each in the test set" in caplog.messages[0]


def test_queries_whose_identity_no_box_has():
    protocol = make_protocol({3: 2, 5: 1}, queries=[3, 9, 5, 0])
    assert count_boxes(protocol).tolist() == [2, 0, 1, 0]
    nobody = replace(protocol, frame_pids=(np.array([UNLABELED_PID] * 3),) * 4)
    assert count_boxes(nobody).tolist() == [0] * 4
    assert describe(nobody) == [("middle", [0, 1, 2, 3], 4, 0, 0)]
