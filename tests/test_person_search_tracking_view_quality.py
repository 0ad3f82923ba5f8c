import numpy as np
import pytest

from person_search.people import People
from person_search.tracking.view_quality import view_qualities

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


def test_in_different_frames_nobody_covers_anybody():
    people = make_people([box(0), box(0)])
    alone = view_qualities(np.array([0.0, 1.0]), people)
    assert alone[0] == alone[1] == pytest.approx(0.9 * np.sqrt(4000))


def test_nobody_and_times_that_fall():
    assert view_qualities(np.zeros(0), make_people([])).shape == (0,)
    with pytest.raises(ValueError, match="time 1 comes after 2"):
        view_qualities(np.array([0.0, 2.0, 1.0]), make_people([box(0)] * 3))
