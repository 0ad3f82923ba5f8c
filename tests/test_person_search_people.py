import numpy as np
import pytest

from person_search.people import People, check_box, paired_intersection, paired_iou


@pytest.mark.parametrize(
    ("box", "other", "shared", "iou"),
    [
        ((0, 0, 10, 10), (5, 0, 15, 10), 50, 50 / 150),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0, 0),  # they touch
        ((0, 0, 10, 10), (20, 30, 25, 40), 0, 0),  # apart both ways
        ((2, 3, 6, 9), (2, 3, 6, 9), 24, 1),
        ((0, 0, 8, 8), (2, 2, 4, 6), 8, 8 / 64),
        ((5, 5, 5, 5), (5, 5, 5, 5), 0, 0),  # no area
        ((0, 0, 0.5, 4), (0.25, 0, 0.5, 4), 1, 0.5),
    ],
)
def test_overlap_by_hand(box, other, shared, iou):
    for dtype in (np.float32, np.float64):
        a, b = np.array([box], dtype), np.array([other], dtype)
        for first, second in ((a, b), (b, a), (a[0], b)):
            assert paired_intersection(first, second).tolist() == [shared]
            assert paired_iou(first, second).tolist() == [pytest.approx(iou, abs=1e-15)]


def test_one_box_with_many_is_as_in_pairs():
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0, 50, (40, 4)).astype(np.float32)
    boxes[:, 2:] += boxes[:, :2]
    together = paired_iou(boxes[7], boxes)
    assert together.dtype == np.float64 and together[7] == 1
    np.testing.assert_array_equal(together, paired_iou(np.repeat(boxes[7:8], 40, axis=0), boxes))
    assert paired_iou(boxes[7], boxes[:0]).shape == (0,)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ((10, 20, 30, 40), (10, 20, 30, 40)),
        ([-5, -5, 50, 500], (0, 0, 50, 80)),
        (np.float32([99, 79, 120, 90]), (99, 79, 100, 80)),  # a pixel is enough
    ],
)
def test_boxes_are_cut_at_the_border(given, kept):
    box = check_box(given, 100, 80)
    assert box == kept and all(type(v) is float for v in box)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([1, 2, 3], "got .* as a box; expected four numbers"),
        ([1, 2, 3, float("nan")], "expected four numbers"),
        ([1, 2, float("inf"), 4], "expected four numbers"),
        (["1", 2, 3, 4], "expected four numbers"),
        ([True] * 4, "expected four numbers"),
        ([40, 10, 20, 30], r"\(40, 10, 20, 30\) has no area; .* not a width and a height"),
        ([10, 10, 10, 40], "has no area"),
        ([10, 40, 20, 10], "has no area"),
        ([120, 10, 150, 40], "outside the picture, .* is 100 x 80 pixels"),
        ([10, -40, 30, 0.9], "less than a pixel of it is inside"),
        ([99.1, 10, 150, 40], "less than a pixel of it is inside"),
    ],
)
def test_boxes_that_are_refused(bad, message):
    with pytest.raises(ValueError, match=message):
        check_box(bad, 100, 80)


@pytest.fixture
def people():
    """The second and fourth have one middle; the first and third one score."""
    boxes = np.float32([[50, 0, 60, 9], [10, 0, 20, 9], [0, 0, 9, 9], [5, 0, 25, 9]])
    return People(boxes, np.float32([0.5, 0.9, 0.5, 0.7]), np.eye(4, dtype=np.float32))


def test_people_are_sorted_by_place_or_score_and_ties_stay(people):
    assert people.from_left_to_right().embeddings.argmax(axis=1).tolist() == [2, 1, 3, 0]
    assert people.by_score().embeddings.argmax(axis=1).tolist() == [1, 3, 0, 2]
    nobody = people.select(np.zeros(4, bool))
    assert len(nobody.from_left_to_right()) == len(nobody.by_score()) == 0


def test_people_by_number(people):
    for number in (1, 2, 3, 4):
        person = people.numbered(number)
        assert len(person) == 1 and people.number_of(person.box(0)) == number
    assert people.numbered(2).box(0) == people.box(1) == (10.0, 0.0, 20.0, 9.0)
    assert people.number_of((10.0, 0.0, 20.0, 8.0)) is None
    for number in (0, 5, -1):
        with pytest.raises(ValueError, match=f"no person {number} in the picture: 4 found"):
            people.numbered(number)
