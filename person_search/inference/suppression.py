"""Non-maximum suppression: of boxes that overlap, those of lower score go.

Letters: N boxes.
"""

import numpy as np

from person_search.people import paired_iou


def suppress(
    boxes: np.ndarray, scores: np.ndarray, iou: float, groups: np.ndarray | None = None
) -> np.ndarray:
    """Choose boxes greedily by falling score, as detectors do.

    Args:
        boxes: (N, 4), (x1, y1, x2, y2).
        scores: (N,); of equal ones the first counts as the higher.
        iou: a box goes that overlaps a chosen one by more than this.
        groups: (N,) numbers; boxes of one group leave each other alone. None: all suppress all.

    Returns:
        Rows of those chosen, by falling score; int64.

    Examples:
        >>> import numpy as np
        >>> boxes = np.array([[0, 0, 10, 20], [1, 0, 11, 20], [40, 0, 50, 20]])
        >>> suppress(boxes, np.array([0.5, 0.9, 0.7]), 0.5)
        array([1, 2])
    """
    waiting = np.argsort(-scores, kind="stable")
    chosen = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        chosen.append(best)
        goes = paired_iou(boxes[best], boxes[waiting]) > iou
        if groups is not None:
            goes &= groups[waiting] != groups[best]
        waiting = waiting[~goes]
    return np.array(chosen, np.int64)
