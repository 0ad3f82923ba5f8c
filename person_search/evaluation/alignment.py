"""Do predictions answer a protocol: the same frames, the same queries in the same order?"""

from dataclasses import fields

import numpy as np

from person_search.data.protocol import SearchProtocol
from person_search.evaluation.predictions import (
    CONTEXT_FIELDS,
    QUERY_BOX_TOLERANCE,
    Predictions,
)


def check_against_protocol(predictions: Predictions, protocol: SearchProtocol) -> None:
    """Check that the predictions answer this protocol's questions.

    Raises:
        ValueError: If a frame is unknown to the protocol, or the query rows differ from it in
            number, frame or box.
    """
    check_frames(predictions, protocol)
    num_queries = len(protocol.query_frames)
    if len(predictions.query_names) != num_queries:
        raise ValueError(
            f"query_names: {len(predictions.query_names)} rows, but {protocol.name} has "
            f"{num_queries} queries. Run the model on the queries of this protocol, in its order."
        )
    for row, (got, frame) in enumerate(
        zip(predictions.query_names.tolist(), protocol.query_frames.tolist(), strict=True)
    ):
        if got != protocol.frame_names[frame]:
            raise ValueError(
                f"query_names: row {row} is {got!r}, but query {row} of {protocol.name} is cut "
                f"from {protocol.frame_names[frame]!r}. Keep the protocol's order."
            )
    agree = _boxes_agree(predictions.query_boxes, protocol.query_boxes)
    if not agree.all():
        row = int(np.argmin(agree))
        raise ValueError(
            f"query_boxes: row {row} is {predictions.query_boxes[row].tolist()}, but query {row} "
            f"of {protocol.name} is {protocol.query_boxes[row].tolist()}. "
            "Boxes are (x1, y1, x2, y2) in original pixels."
        )


def check_frames(predictions: Predictions, protocol: SearchProtocol) -> None:
    """Check that the protocol knows every frame of the predictions.

    Raises:
        ValueError: If not; names the first unknown frame.
    """
    known = set(protocol.frame_names)
    unknown = [name for name in predictions.image_names.tolist() if name not in known]
    if unknown:
        expected = f", expected names like {protocol.frame_names[0]!r}" if known else ""
        raise ValueError(
            f"image_names: {len(unknown)} of {len(predictions.image_names)} frames are not in "
            f"{protocol.name}, the first is {unknown[0]!r}{expected}. "
            "Were these predictions made on another data set or split?"
        )


def select_queries(predictions: Predictions, protocol: SearchProtocol) -> Predictions:
    """Pick, by frame and box, the rows of the queries that a protocol asks for.

    For a protocol whose queries are part of those that were predicted, such as a subset of
    CUHK-SYSU.

    Raises:
        ValueError: If a query of the protocol was not predicted.
    """
    rows_of: dict[str, list[int]] = {}
    for row, name in enumerate(predictions.query_names.tolist()):
        rows_of.setdefault(name, []).append(row)
    chosen = []
    for query, frame in enumerate(protocol.query_frames.tolist()):
        rows = np.array(rows_of.get(protocol.frame_names[frame], []), dtype=np.int64)
        box = protocol.query_boxes[query]
        rows = rows[_boxes_agree(predictions.query_boxes[rows], box)]
        if not len(rows):
            raise ValueError(
                f"query_names, query_boxes: no row for query {query} of {protocol.name}, "
                f"{protocol.frame_names[frame]!r} {box.tolist()}. "
                "Run the model on the queries of this protocol."
            )
        off = np.abs(predictions.query_boxes[rows] - box).sum(axis=1)
        chosen.append(rows[np.argmin(off)])
    return _take_queries(predictions, np.array(chosen, dtype=np.int64))


def _boxes_agree(predicted: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Tell for each row whether a predicted query box is the protocol's, maybe clipped.

    Protocols keep boxes that reach beyond the image; models clip them. The image's size is not
    known here, so the right and lower sides may lie nearer, as long as half of the side is left.
    """
    low, high = np.maximum(expected[..., :2], 0), expected[..., 2:]
    tolerance = QUERY_BOX_TOLERANCE
    same_corner = np.abs(predicted[:, :2] - low) <= tolerance
    not_beyond = predicted[:, 2:] <= high + tolerance
    not_short = predicted[:, 2:] >= np.minimum((low + high) / 2, high - tolerance)
    agree: np.ndarray = (same_corner & not_beyond & not_short).all(axis=1)
    return agree


def _take_queries(predictions: Predictions, chosen: np.ndarray) -> Predictions:
    """Keep the given query rows, in that order, with their context people."""
    arrays = {field.name: getattr(predictions, field.name) for field in fields(Predictions)}
    for name in ("query_names", "query_boxes", "query_embeddings"):
        arrays[name] = arrays[name][chosen]
    if predictions.context_query_index is not None:
        people = [np.flatnonzero(predictions.context_query_index == row) for row in chosen]
        rows = np.concatenate([np.empty(0, dtype=np.int64), *people])
        for name in CONTEXT_FIELDS:
            arrays[name] = arrays[name][rows]
        arrays["context_query_index"] = np.repeat(np.arange(len(chosen)), [len(p) for p in people])
    return Predictions(**arrays)
