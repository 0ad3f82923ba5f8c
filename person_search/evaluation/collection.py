"""Put together what processes found frame by frame.

Letters: M detections in one frame, K queries cut from it, Q queries of the protocol, D embedding
size.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from person_search.data.protocol import SearchProtocol
from person_search.evaluation.predictions import Predictions
from person_search.people import paired_iou

# The query takes the place of detections of the same person.
CONTEXT_NMS_IOU = 0.5


@dataclass(frozen=True)
class FrameResult:
    """What a model found in one frame; boxes (x1, y1, x2, y2) in original pixels."""

    name: str
    boxes: np.ndarray
    """(M, 4)."""
    scores: np.ndarray
    """(M,)."""
    embeddings: np.ndarray
    """(M, D)."""
    query_ids: np.ndarray
    """(K,) int64: rows of the protocol's queries."""
    query_boxes: np.ndarray
    """(K, 4)."""
    query_embeddings: np.ndarray
    """(K, D)."""
    context: Mapping[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=dict)
    """By query id, where the model tells who stands beside a query: their boxes (P, 4), scores (P,)
    by which they fall, and embeddings (P, D); without the query."""


def merge_frames(frames: list[FrameResult], protocol: SearchProtocol) -> Predictions:
    """Join frames into predictions, in the protocol's order of frames and queries.

    Args:
        frames: In any order. Of several results of one frame, as padded samplers give them, the
            first that holds each query, and the first for the detections, counts.
        protocol: Gives the order.

    Returns:
        The predictions with context people: for each query the query itself, then the people beside
        it by falling score: those that the model tells, else the detections of its frame that it
        does not overlap by more than ``CONTEXT_NMS_IOU``.

    Raises:
        ValueError: If there is no frame, a frame or query is unknown to the protocol, or a query
            has no result.
    """
    if not frames:
        raise ValueError("no frames: the model was run on no image. Is the test loader empty?")
    row_of = {name: row for row, name in enumerate(protocol.frame_names)}
    by_name: dict[str, FrameResult] = {}
    for frame in frames:
        if frame.name not in row_of:
            raise ValueError(
                f"image_id: the frame {frame.name!r} is not in {protocol.name}, expected names "
                f"like {protocol.frame_names[0]!r}. Does the test set fit the protocol?"
            )
        by_name.setdefault(frame.name, frame)
    seen = sorted(by_name.values(), key=lambda frame: row_of[frame.name])
    asked = _locate_queries(frames, protocol)
    sizes = [e.shape[1] for frame in frames for e in (frame.embeddings, frame.query_embeddings)]
    size = max(sizes)
    context = [_context_of(by_name[frame.name], frame, k, size) for frame, k in asked]
    counts = [len(scores) for _, scores, _ in context]
    return Predictions(
        image_names=np.array([frame.name for frame in seen]),
        image_index=np.repeat(np.arange(len(seen)), [len(frame.scores) for frame in seen]),
        boxes=_join([frame.boxes for frame in seen], 4),
        scores=_join([frame.scores for frame in seen]),
        embeddings=_join([frame.embeddings for frame in seen if len(frame.scores)], size),
        query_names=np.array([frame.name for frame, _ in asked], dtype=np.str_),
        query_boxes=_join([frame.query_boxes[k : k + 1] for frame, k in asked], 4),
        query_embeddings=_join([frame.query_embeddings[k : k + 1] for frame, k in asked], size),
        context_query_index=np.repeat(np.arange(len(asked)), counts),
        context_boxes=_join([boxes for boxes, _, _ in context], 4),
        context_scores=_join([scores for _, scores, _ in context]),
        context_embeddings=_join([embeddings for _, _, embeddings in context], size),
    )


def _locate_queries(
    frames: list[FrameResult], protocol: SearchProtocol
) -> list[tuple[FrameResult, int]]:
    """Find each query of the protocol: its frame's result and its row there."""
    num_queries = len(protocol.query_frames)
    places: dict[int, tuple[FrameResult, int]] = {}
    for frame in frames:
        for k, query in enumerate(frame.query_ids.tolist()):
            if not 0 <= query < num_queries:
                raise ValueError(
                    f"query_ids: {frame.name} has query {query}, but {protocol.name} has queries "
                    f"0..{num_queries - 1}. Does the test set fit the protocol?"
                )
            places.setdefault(query, (frame, k))
    missing = [query for query in range(num_queries) if query not in places]
    if missing:
        name = protocol.frame_names[protocol.query_frames[missing[0]]]
        raise ValueError(
            f"queries: {len(missing)} of {num_queries} have no embedding, the first is query "
            f"{missing[0]} in {name!r}. Either its frame was not run, its dataset dict lacks "
            "'queries', or its box has no area inside the image."
        )
    return [places[query] for query in range(num_queries)]


def _context_of(
    detected: FrameResult, frame: FrameResult, k: int, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return boxes, scores and embeddings of the people around query ``k``, itself first."""
    box = frame.query_boxes[k : k + 1]
    told = frame.context.get(int(frame.query_ids[k]))
    if told is None:
        overlaps = paired_iou(detected.boxes, np.repeat(box, len(detected.boxes), axis=0))
        others = np.flatnonzero(overlaps <= CONTEXT_NMS_IOU)
        others = others[np.argsort(-detected.scores[others], kind="stable")]
        told = detected.boxes[others], detected.scores[others], detected.embeddings[others]
    boxes, scores, embeddings = told
    return (
        np.concatenate([box, boxes]),
        np.concatenate([np.ones(1, dtype=np.float32), scores]),
        np.concatenate([frame.query_embeddings[k : k + 1], embeddings.reshape(-1, size)]),
    )


def _join(parts: list[np.ndarray], *row_shape: int) -> np.ndarray:
    """Concatenate float32 parts, also where there are none."""
    return np.concatenate([np.zeros((0, *row_shape), dtype=np.float32), *parts])
