"""The anchors of SSD, and the boxes that are told relative to them.

SSD: Single Shot MultiBox Detector (Liu et al., ECCV 2016), section 2.2, with the settings of
TensorFlow's object detection models: six feature maps, the first of three anchors a cell, of which
the square one is half as large, the others of six.

Letters: A anchors. Anchors are (A, 4) float32: y and x of the middle, height, width, as shares of
the input's height and width.
"""

from collections.abc import Sequence

import numpy as np

MIN_SCALE, MAX_SCALE = 0.2, 0.95
FIRST_SCALES = (0.1, 0.2, 0.2)
FIRST_RATIOS = (1.0, 2.0, 0.5)
RATIOS = (1.0, 2.0, 0.5, 3.0, 0.3333)
"""Width by height; of each map but the first, beside a square between it and the next map's."""
CENTER_SCALE, SIZE_SCALE = 10.0, 5.0
"""What a detector's four numbers of a box were multiplied by in training: middle, size."""


def make_anchors(cells: Sequence[int]) -> np.ndarray:
    """Return the anchors of square feature maps, row by row, cell by cell.

    Args:
        cells: of a side of each map.
    """
    # Equation 4, with 1 after the last.
    scales = [*np.linspace(MIN_SCALE, MAX_SCALE, len(cells)), 1.0]
    anchors = [_grid(cells[0], FIRST_SCALES, FIRST_RATIOS)]
    for count, scale, larger in zip(cells[1:], scales[1:-1], scales[2:], strict=True):
        sizes = (*[scale] * len(RATIOS), np.sqrt(scale * larger))
        anchors.append(_grid(count, sizes, (*RATIOS, 1.0)))
    return np.concatenate(anchors).astype(np.float32)


def _grid(count: int, scales: Sequence[float], ratios: Sequence[float]) -> np.ndarray:
    """Return the anchors (count * count * shapes, 4) of a map of count x count cells."""
    y, x = (np.mgrid[:count, :count] + 0.5) / count
    middles = np.repeat(np.stack([y, x], axis=-1).reshape(-1, 2), len(scales), axis=0)
    roots = np.sqrt(ratios)
    shapes = np.stack([scales / roots, scales * roots], axis=1)
    return np.concatenate([middles, np.tile(shapes, (count * count, 1))], axis=1)
