"""Detection AP and recall as person search reports them, and COCO box AP beside them.

Letters: F frames, N detections, M annotated people of all frames, P pairs of a detection and a
person in one frame.
"""

import contextlib
import io
import logging
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from person_search.data.protocol import SearchProtocol
from person_search.evaluation.alignment import check_frames
from person_search.evaluation.frame_detections import (
    FrameDetections,
    expand_ranges,
    group_by_frame,
)
from person_search.evaluation.predictions import Predictions
from person_search.evaluation.ranking import average_precision
from person_search.people import paired_iou
from reid_heads.labels import UNLABELED_PID

logger = logging.getLogger(__name__)

_COCO_STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


def evaluate_detection(
    protocol: SearchProtocol,
    predictions: Predictions,
    score_threshold: float = 0.5,
    iou_threshold: float = 0.5,
) -> dict[str, float]:
    """Score the detections of all frames of the protocol.

    A detection and a person match where each overlaps the other most, the first of equals, and
    their IoU reaches the threshold; scores take no part. AP is the average precision of the
    detections times the recall. This is person search's own convention, not that of PASCAL VOC.

    Args:
        protocol: Frames with their people; a frame that the model has not seen counts as missed.
        predictions: What was found; unchanged.
        score_threshold: Least detection score, 0..1.
        iou_threshold: Least overlap of a match.

    Returns:
        In percent: ``ap`` and ``recall`` over all people, ``recall_labeled`` over those with an
        identity; 0 where there is nobody to find.

    Raises:
        ValueError: If a frame of the predictions is unknown to the protocol.
    """
    check_frames(predictions, protocol)
    detections = group_by_frame(protocol, predictions, score_threshold)
    labeled = [pids != UNLABELED_PID for pids in protocol.frame_pids]
    labeled_boxes = tuple(
        boxes[keep] for boxes, keep in zip(protocol.frame_boxes, labeled, strict=True)
    )
    matched, recall = _match(detections, protocol.frame_boxes, iou_threshold)
    _, recall_labeled = _match(detections, labeled_boxes, iou_threshold)
    precision = average_precision(detections.scores, matched)
    return {
        "ap": 100 * precision * recall,
        "recall": 100 * recall,
        "recall_labeled": 100 * recall_labeled,
    }


def coco_box_ap(protocol: SearchProtocol, predictions: Predictions) -> dict[str, float]:
    """Compute COCO's box AP over all saved detections, whatever their score, with pycocotools.

    Returns:
        ``AP`` (IoU 0.50 to 0.95), ``AP50``, ``AP75`` and, by size, ``APs``, ``APm``, ``APl``, in
        percent; -1 stays -1, pycocotools' sign for "nobody of this size".

    Raises:
        ValueError: If a frame of the predictions is unknown to the protocol.
    """
    check_frames(predictions, protocol)
    detections = group_by_frame(protocol, predictions)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        truth = _coco_truth(protocol)
        found = truth.loadRes(_coco_rows(detections)) if len(detections.rows) else COCO()
        evaluation = COCOeval(truth, found, iouType="bbox")
        evaluation.params.imgIds = list(range(len(protocol.frame_names)))
        evaluation.params.catIds = [1]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    logger.debug("%s", printed.getvalue())
    values = [float(value) for value in evaluation.stats[: len(_COCO_STATS)]]
    return {
        name: 100 * value if value >= 0 else value
        for name, value in zip(_COCO_STATS, values, strict=True)
    }


def _match(
    detections: FrameDetections, frame_boxes: tuple[np.ndarray, ...], iou_threshold: float
) -> tuple[np.ndarray, float]:
    """Return the detections that match a person, and the share of people matched (0..1)."""
    counts = np.array([len(boxes) for boxes in frame_boxes], dtype=np.int64)
    num_people = int(counts.sum())
    if not num_people or not len(detections.frames):
        return np.zeros(0, dtype=np.int64), 0.0
    people = np.concatenate(frame_boxes)
    starts = np.cumsum(counts) - counts
    # Pairs come by detection, then person.
    detection, person = expand_ranges(starts[detections.frames], counts[detections.frames])
    iou = paired_iou(detections.boxes[detection], people[person])
    best_of_detection = _best_pair(detection, iou)
    best_of_person = _best_pair(person, iou)
    mutual = np.intersect1d(best_of_detection, best_of_person, assume_unique=True)
    mutual = mutual[iou[mutual] >= iou_threshold]
    return detection[mutual], len(mutual) / num_people


def _best_pair(owner: np.ndarray, iou: np.ndarray) -> np.ndarray:
    """Return, for each owner, the pair of the largest IoU, the first of equals."""
    order = np.lexsort((-iou, owner))
    first = np.diff(owner[order], prepend=-1) > 0
    return order[first]


def _coco_truth(protocol: SearchProtocol) -> COCO:
    """Write the protocol's people as a COCO data set."""
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": frame} for frame in range(len(protocol.frame_names))],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [],
    }
    for frame, boxes in enumerate(protocol.frame_boxes):
        for x1, y1, x2, y2 in boxes.astype(np.float64).tolist():
            row = {
                # pycocotools takes id 0 for "not matched".
                "id": len(truth.dataset["annotations"]) + 1,
                "image_id": frame,
                "category_id": 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
            }
            truth.dataset["annotations"].append(row)
    truth.createIndex()
    return truth


def _coco_rows(detections: FrameDetections) -> list[dict[str, Any]]:
    """Write detections as COCO results."""
    boxes = detections.boxes.astype(np.float64)
    sizes = boxes[:, 2:] - boxes[:, :2]
    return [
        {
            "image_id": frame,
            "category_id": 1,
            "bbox": [*corner, *size],
            "score": score,
        }
        for frame, corner, size, score in zip(
            detections.frames.tolist(),
            boxes[:, :2].tolist(),
            sizes.tolist(),
            detections.scores.tolist(),
            strict=True,
        )
    ]
