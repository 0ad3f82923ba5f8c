"""Overlap of boxes, in float64 so that a threshold decides the same on every machine."""

import numpy as np


def paired_iou(boxes_a: np.ndarray, boxes_b: np.ndarray) -> np.ndarray:
    """Compute the intersection over union of box pairs.

    Args:
        boxes_a: (K, 4), (x1, y1, x2, y2) in pixels; widths are x2 - x1, without the +1 of integer
            boxes.
        boxes_b: (K, 4), the other box of each pair.

    Returns:
        (K,) float64 in 0..1; 0 where both boxes have no area.
    """
    a, b = boxes_a.astype(np.float64), boxes_b.astype(np.float64)
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    intersection = np.prod(np.maximum(sides, 0), axis=1)
    union: np.ndarray = np.prod(a[:, 2:] - a[:, :2], axis=1) + np.prod(b[:, 2:] - b[:, :2], axis=1)
    union -= intersection
    iou = np.zeros_like(union)
    np.divide(intersection, union, out=iou, where=union > 0)
    return iou
