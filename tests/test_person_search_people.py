import numpy as np
import pytest

from person_search.people import paired_intersection, paired_iou


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
