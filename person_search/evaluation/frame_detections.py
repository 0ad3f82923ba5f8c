"""Detections laid out by frame: the form in which all metrics read them.

Letters: F frames of the protocol, N detections that are kept, D embedding size.
"""

from dataclasses import dataclass

import numpy as np

from person_search.data.protocol import SearchProtocol
from person_search.evaluation.predictions import Predictions


@dataclass(frozen=True)
class FrameDetections:
    """Detections sorted by frame in the protocol's order, then as the model gave them."""

    rows: np.ndarray
    """(N,) int64: row in the predictions."""

    frames: np.ndarray
    """(N,) int64, ascending: row of the protocol's ``frame_names``."""

    starts: np.ndarray
    """(F + 1,) int64: frame f holds detections ``starts[f]`` to ``starts[f + 1]``, maybe none."""

    boxes: np.ndarray
    """(N, 4), (x1, y1, x2, y2) in original pixels."""

    scores: np.ndarray
    """(N,)."""


def group_by_frame(
    protocol: SearchProtocol, predictions: Predictions, score_threshold: float = 0.0
) -> FrameDetections:
    """Sort detections by frame and keep those with ``score >= score_threshold``.

    All names of the predictions must be known to the protocol, see ``check_against_protocol``.
    Frames that the model has not seen, or where nothing is kept, are simply empty.
    """
    frame_of_name = {name: frame for frame, name in enumerate(protocol.frame_names)}
    frame_of_image = np.array(
        [frame_of_name[name] for name in predictions.image_names.tolist()], dtype=np.int64
    )
    rows = np.flatnonzero(predictions.scores >= score_threshold)
    frames = frame_of_image[predictions.image_index[rows]]
    order = np.argsort(frames, kind="stable")
    rows, frames = rows[order], frames[order]
    return FrameDetections(
        rows=rows,
        frames=frames,
        starts=np.searchsorted(frames, np.arange(len(protocol.frame_names) + 1)),
        boxes=predictions.boxes[rows],
        scores=predictions.scores[rows],
    )


def expand_ranges(starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """List the members of many integer ranges one after the other.

    Args:
        starts: (K,) first member of each range.
        lengths: (K,) number of members, may be 0.

    Returns:
        ``owner``, the range of each member, and ``member``; both (sum of lengths,) int64.
    """
    owner = np.repeat(np.arange(len(lengths)), lengths)
    first = np.cumsum(lengths) - lengths
    return owner, np.arange(len(owner)) + (starts - first)[owner]
