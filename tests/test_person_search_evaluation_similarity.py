"""Which of the two ways to the same similarities is taken."""

import numpy as np
import pytest

from person_search.evaluation import similarity
from person_search.evaluation.frame_detections import FrameDetections


@pytest.mark.parametrize(("searched", "expected"), [(5, "sparse"), (6, "dense"), (100, "dense")])
def test_small_galleries_are_multiplied_frame_by_frame(searched, expected, monkeypatch):
    """5 of 100 frames are less than the share of 0.06 from which one whole product is cheaper."""
    for name in ("sparse", "dense"):
        monkeypatch.setattr(similarity, f"_iterate_{name}", lambda *_, name=name: iter([name]))
    mask = np.zeros((2, 100), dtype=bool)
    mask[:, :searched] = True
    none = np.zeros(0, dtype=np.int64)
    detections = FrameDetections(none, none, np.zeros(101, np.int64), np.zeros((0, 4)), none)
    walk = similarity.iterate_galleries(np.eye(2), np.zeros((0, 2)), detections, mask)
    assert list(walk) == [expected]
