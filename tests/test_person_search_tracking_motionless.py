import numpy as np
import pytest

from person_search.people import paired_iou
from person_search.tracking import motionless
from person_search.tracking.motionless import find_motionless, find_same_place, measure_place

BENCH = np.float64([100, 50, 120, 90])


def test_the_place_is_that_of_most_sights():
    walking = np.array([BENCH + np.array([9 * t, 0, 9 * t, 0]) for t in range(3)])
    place, share = measure_place(walking)
    assert place.tolist() == walking[1].tolist()
    assert share == pytest.approx(1 / 3), "its neighbours share 11 of 29 columns"
    place, share = measure_place(np.array([*[BENCH] * 4, BENCH + 500]))
    assert place.tolist() == BENCH.tolist() and share == 0.8
    assert measure_place(BENCH[None])[1] == 1


def motionless_of(boxes, shares, sights, seconds, things=None):
    return find_motionless(
        np.float64(boxes),
        np.float64(shares),
        np.array(sights),
        np.float64(seconds),
        np.zeros(len(boxes), np.int64) if things is None else np.array(things),
    ).tolist()


def test_long_at_one_place():
    boxes = [BENCH + 300 * k for k in range(5)]
    shares = [1, 0.8, 0.79, 1, 1]
    assert motionless_of(boxes, shares, [10, 99, 99, 9, 10], [10, 60, 60, 60, 9]) == [1, 1, 0, 0, 0]


def test_again_and_again_at_one_place():
    boxes = [BENCH, BENCH + 1, BENCH + 0.5, BENCH + 300, BENCH + 301, BENCH]
    short = [1] * 6, [2] * 6, [1.0] * 6
    assert motionless_of(boxes, *short, [0, 0, 0, 0, 0, 1]) == [3, 3, 3, 0, 0, 0]
    # Two of them lie too far from each other, and each near the one between them.
    aside = np.array([3, 0, 3, 0])
    boxes = [BENCH - aside, BENCH, BENCH + aside]
    assert motionless_of(boxes, [1] * 3, [2] * 3, [1.0] * 3) == [0, 3, 0]


def test_the_same_as_comparing_every_pair(monkeypatch):
    rng = np.random.default_rng(0)
    boxes = rng.integers(0, 30, (60, 2)).repeat(2, axis=0).reshape(-1, 4)[:, [0, 2, 1, 3]]
    boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + rng.integers(20, 30, (len(boxes), 2))], 1)
    things = rng.integers(0, 2, len(boxes))
    counts = [
        sum(
            things[a] == things[b]
            and paired_iou(boxes[a], boxes[b][None])[0] >= motionless.ONE_PLACE
            for b in range(len(boxes))
        )
        for a in range(len(boxes))
    ]
    expected = [count if count >= 3 else 0 for count in counts]
    ones = [1] * len(boxes)
    assert any(expected) and not all(expected)
    assert motionless_of(boxes, ones, ones, ones, things) == expected
    monkeypatch.setattr(motionless, "LEAST_STAYS", 1)
    assert motionless_of(boxes, ones, ones, ones, things) == counts


def test_the_same_place_and_look_as_a_known_one():
    looks = np.eye(3)[[0, 0, 1, 0, 0, 0]]
    places = np.array([BENCH, BENCH + 2, BENCH, BENCH + 40, BENCH, BENCH])
    streams = np.array([0, 0, 0, 0, 1, 0])
    known = np.array([1, 0, 0, 0, 0, 1], bool)
    assert find_same_place(places, looks, streams, known, 0.8).tolist() == [-1, 0, -1, -1, -1, -1]
    assert (find_same_place(places, looks, streams, ~known & False, 0.8) == -1).all()
    # The most similar of several, of equal ones the first.
    looks = np.float64([[1, 0], [0.8, 0.6], [0.6, 0.8], [0.8, 0.6]])
    known = np.array([False, False, True, True])
    both = [BENCH] * 4, looks, np.zeros(4, np.int64)
    assert find_same_place(np.array(both[0]), *both[1:], known, 0.5).tolist() == [3, 3, -1, -1]
    looks[3] = looks[2]
    assert find_same_place(np.array(both[0]), *both[1:], known, 0.5).tolist() == [2, 2, -1, -1]


def test_nothing_at_all():
    assert motionless_of(np.zeros((0, 4)), [], [], []) == []
