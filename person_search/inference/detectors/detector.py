"""What a detector is to a model of two steps.

Letters: H, W height and width in original pixels, N boxes.
"""

from typing import Protocol

import numpy as np

from person_search.inference.sight import Sight

Detections = tuple[np.ndarray, np.ndarray]
"""Boxes (N, 4) float32, (x1, y1, x2, y2) in original pixels, and scores (N,) float32, 0..1, by
falling score. Boxes may reach beyond the picture."""


class Detector(Protocol):
    """Finds the people of a picture, in whatever program it runs."""

    fingerprint: str
    """SHA-256 (hex) of what decides its boxes: file or weights, and how pictures are prepared."""

    min_score: float
    """Least score, 0..1, of the people it returns."""

    sight: Sight | None
    """How large it sees people; None where it sees pictures as they are."""

    def detect(self, image: np.ndarray) -> Detections:
        """Find people; called by as many threads at once as the model of two steps allows.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            Those of at least ``min_score``, after non-maximum suppression.
        """
        ...
