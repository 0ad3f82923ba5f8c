import numpy as np
import pytest

from person_search.people import People
from person_search.tracking.stays import gather_stays, view_qualities

LOOKS = np.eye(8, dtype=np.float32)


def make_people(boxes, scores=None, looks=None):
    count = len(boxes)
    scores = [0.9] * count if scores is None else scores
    looks = [LOOKS[0]] * count if looks is None else looks
    return People(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(looks, np.float32).reshape(-1, 8),
    )


def box(x, height=100):
    return (x, 200 - height, x + 0.4 * height, 200)


def test_stays_have_start_end_and_mean_look():
    times = np.array([1.0, 1.0, 2.5, 4.0, 4.0])
    numbers = np.array([5, 3, 5, 9, 5])
    looks = LOOKS[[0, 1, 0, 2, 3]]
    people = make_people([box(x) for x in (0, 200, 10, 400, 20)], looks=looks)
    stays = gather_stays(times, numbers, people)
    assert [(s.number, s.start, s.end, s.num_sights) for s in stays] == [
        (3, 1.0, 1.0, 1),
        (5, 1.0, 4.0, 3),
        (9, 4.0, 4.0, 1),
    ]
    assert [s.rows.tolist() for s in stays] == [[1], [0, 2, 4], [3]]
    # Two of one look and one of another: (2, 1) over the root of 5.
    expected = (2 * LOOKS[0] + LOOKS[3]) / np.sqrt(5)
    np.testing.assert_allclose(stays[1].embedding, expected, rtol=1e-6)
    assert stays[1].embedding.dtype == np.float32


def test_the_best_sight_is_sure_large_and_free():
    small, large = box(0, 60), box(100, 120)
    # Somebody who ends lower in the picture covers half of the second frame's.
    covered, before = box(100, 120), (124, 100, 172, 220)
    times = np.array([0.0, 1.0, 1.0, 2.0, 3.0])
    people = make_people([small, covered, before, large, large], [0.9, 0.9, 0.9, 0.9, 0.6])
    qualities = view_qualities(times, people)
    # sqrt(24 * 60), half of sqrt(48 * 120) but for what is above the other's upper edge, and so on.
    np.testing.assert_allclose(
        qualities,
        [0.9 * 24 * 2.5**0.5, 0.9 * 48 * 2.5**0.5 * (1 - 24 * 100 / 5760), 68.305, 68.305, 45.537],
        rtol=1e-4,
    )
    (stay, _) = gather_stays(times, np.array([0, 0, 1, 0, 0]), people)
    assert stay.best == 3


def test_in_different_frames_nobody_covers_anybody():
    people = make_people([box(0), box(0)])
    alone = view_qualities(np.array([0.0, 1.0]), people)
    assert alone[0] == alone[1] == pytest.approx(0.9 * np.sqrt(4000))


def test_the_best_few_are_spread_over_time():
    times = np.arange(12.0)
    scores = [0.5, 0.6, 0.5, 0.9, 0.95, 0.9, 0.5, 0.5, 0.7, 0.5, 0.8, 0.5]
    (stay,) = gather_stays(times, np.zeros(12, int), make_people([box(0)] * 12, scores))
    assert stay.best == 4
    assert stay.keep_best(1).tolist() == [4]
    assert stay.keep_best(3).tolist() == [3, 4, 10]
    assert stay.keep_best(4).tolist() == [1, 4, 8, 10]
    assert stay.keep_best(99).tolist() == list(range(12))
    with pytest.raises(ValueError, match="count is 0"):
        stay.keep_best(0)


def test_of_equal_sights_the_first_is_best():
    people = make_people([box(0)] * 3)
    (stay,) = gather_stays(np.arange(3.0), np.zeros(3, int), people)
    assert stay.best == 0


def test_embeddings_that_cancel_out_leave_the_best():
    people = make_people([box(0)] * 2, [0.8, 0.9], [LOOKS[0], -LOOKS[0]])
    (stay,) = gather_stays(np.arange(2.0), np.zeros(2, int), people)
    assert stay.embedding.tolist() == (-LOOKS[0]).tolist()


def test_nobody_gives_no_stay():
    assert gather_stays(np.zeros(0), np.zeros(0, int), make_people([])) == []


def test_times_that_fall_and_rows_that_are_missing_are_refused():
    people = make_people([box(0)] * 3)
    with pytest.raises(ValueError, match="time 1 comes after 2"):
        gather_stays(np.array([0.0, 2.0, 1.0]), np.zeros(3, int), people)
    with pytest.raises(ValueError, match="2 times and 3 numbers of tracks for 3 people"):
        gather_stays(np.zeros(2), np.zeros(3, int), people)
