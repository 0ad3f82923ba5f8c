"""What a search benchmark asks, as plain arrays: the contract between data sets and the scorer.

Letters: F frames, M people in one frame, Q queries, T true (query, frame) pairs.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SearchProtocol:
    """Queries, each query's gallery and where the true person stands, for any data set.

    All boxes are float32 (x1, y1, x2, y2) in original pixels. Data sets differ only in what they
    put in here; one scorer reads it.
    """

    name: str
    """Human-readable name with the setting, e.g. ``CUHK-SYSU, gallery size 100``."""

    frame_names: tuple[str, ...]
    """(F,) distinct frame names, without folder; all gallery and query frames are among them."""

    frame_boxes: tuple[np.ndarray, ...]
    """F arrays (M, 4): every annotated person of the frame, labelled or not."""

    frame_pids: tuple[np.ndarray, ...]
    """F arrays (M,) int64: identity of each of these people, or ``UNLABELED_PID``."""

    query_frames: np.ndarray
    """(Q,) int64: row of ``frame_names`` that each query is cut from."""

    query_boxes: np.ndarray
    """(Q, 4): the query person in that frame."""

    query_pids: np.ndarray
    """(Q,) int64."""

    gallery_mask: np.ndarray
    """(Q, F) bool: the frames that are searched for each query."""

    true_queries: np.ndarray
    """(T,) int64, ascending: row of the query for each true person. All T rows count towards the
    recall's denominator, also
    where the same frame is listed twice for a query, or was not searched by the model at all."""

    true_frames: np.ndarray
    """(T,) int64: the frame in which that person stands."""

    true_boxes: np.ndarray
    """(T, 4): where in that frame. Only the first row of a (query, frame) pair is matched."""
