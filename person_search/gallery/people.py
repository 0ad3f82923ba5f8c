"""The people of one picture, as a model finds them.

Letters: N people, D embedding size.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class People:
    """Boxes, scores and embeddings, one row a person; no rows where nobody is."""

    boxes: np.ndarray
    """(N, 4) float32, (x1, y1, x2, y2) in original pixels."""

    scores: np.ndarray
    """(N,) float32: the detector's confidence, 0..1; 1 for boxes that were given."""

    embeddings: np.ndarray
    """(N, D) float32 of unit norm."""

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, rows: np.ndarray) -> "People":
        """Return some of them: ``rows`` are numbers, or a (N,) mask."""
        return People(self.boxes[rows], self.scores[rows], self.embeddings[rows])
