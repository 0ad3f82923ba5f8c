"""Which detections count as a true box: the protocol's rule of overlap, lenient to small boxes.

That of the CUHK-SYSU evaluation, which PRW's follows: Xiao et al., "Joint Detection and
Identification Feature Learning for Person Search" (CVPR 2017).
"""

from dataclasses import dataclass

import numpy as np

from person_search.data.protocol import SearchProtocol
from person_search.evaluation.frame_detections import FrameDetections, expand_ranges
from person_search.people import paired_iou


@dataclass(frozen=True)
class TrueCandidates:
    """Detections that overlap a true box well enough, by query, true row, then detection."""

    queries: np.ndarray
    true_rows: np.ndarray
    detections: np.ndarray


def least_iou(boxes: np.ndarray) -> np.ndarray:
    """Return the IoU (N,) that a detection of each true box needs, at most 0.5.

    ``min(0.5, w*h / ((w+10)*(h+10)))``: a small box may be off by as many pixels as a large one.

    Args:
        boxes: (N, 4) float64, (x1, y1, x2, y2) in original pixels.

    Examples:
        >>> least_iou(np.array([[0, 0, 100, 200], [0, 0, 10, 20]], float)).round(3)
        array([0.5  , 0.333])
    """
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    least: np.ndarray = np.minimum(0.5, width * height / ((width + 10) * (height + 10)))
    return least


def find_candidates(protocol: SearchProtocol, detections: FrameDetections) -> TrueCandidates:
    """Find the detections that overlap the true box of their frame by the protocol's threshold."""
    num_frames = len(protocol.frame_names)
    pairs = protocol.true_queries * num_frames + protocol.true_frames
    rows = np.unique(pairs, return_index=True)[1]  # a frame listed twice is matched once
    rows = rows[protocol.gallery_mask[protocol.true_queries[rows], protocol.true_frames[rows]]]
    frames = protocol.true_frames[rows]
    owner, members = expand_ranges(detections.starts[frames], np.diff(detections.starts)[frames])
    boxes = protocol.true_boxes[rows].astype(np.float64)
    keep = paired_iou(detections.boxes[members], boxes[owner]) >= least_iou(boxes)[owner]
    owner, members = owner[keep], members[keep]
    return TrueCandidates(protocol.true_queries[rows[owner]], owner, members)
