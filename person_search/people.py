"""People in pictures: where one stands, what a model finds, what a search returns.

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


@dataclass(frozen=True)
class Match:
    """A person found in a gallery frame."""

    image: str
    """File of the frame, or for a video ``FILE#frame=N`` with N from 0; `read_frame` reads both."""

    box_xyxy: tuple[float, float, float, float]
    """Where the person stands, in original pixels."""

    score: float
    """The detector's confidence, 0..1."""

    similarity: float
    """Cosine similarity to the query, -1..1; higher is better."""

    camera: str | None = None
    """Name of the camera that took the frame, where known."""

    timestamp: float | None = None
    """When the frame was taken, where known: seconds since 1970 (UTC) where the footage's date is
    known, else since the start of its video."""

    person: str = ""
    """Id of this person in the gallery, where the match comes from one."""
