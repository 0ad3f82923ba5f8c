"""Rows and filters of a Milvus server's gallery.

The server is asked by ids, which are hexadecimal, or by literals made here, never by text as it
came.
"""

import json
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from person_search.gallery.entries import LEAST_TIME
from person_search.gallery.errors import GalleryError
from person_search.gallery.rows import FrameLike, StoredFrame, StoredPerson, frame_id, unit_rows
from person_search.gallery.search_options import FrameFilter
from person_search.people import People

QUESTION_IDS = 4_000
"""Ids in one filter."""
HAS_TIME = f"timestamp > {LEAST_TIME!r}"
FRAME_FIELDS = ["name", "content_hash", "camera", "timestamp", "num_people"]
PERSON_FIELDS = ["id", "frame_name", "camera", "timestamp", "score", "x1", "y1", "x2", "y2"]


def literals(texts: Sequence[str]) -> str:
    r"""Quote texts for a filter: the server knows \" and \\ but no other escapes.

    Raises:
        GalleryError: On control characters, which cannot be written.
    """
    for text in texts:
        if any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
            raise GalleryError(f"{text!r} holds control characters; expected printable text")
    return json.dumps(list(texts), ensure_ascii=False)


def filters_of(frames: FrameFilter) -> list[str]:
    """Return the filters for cameras and times, all of which must hold."""
    filters = [] if frames.cameras is None else [f"camera in {literals(frames.cameras)}"]
    if frames.since is not None:
        filters += [HAS_TIME, f"timestamp >= {float(frames.since)!r}"]
    if frames.until is not None:
        filters += [HAS_TIME, f"timestamp <= {float(frames.until)!r}"]
    return filters


def any_of(field: str, names: Sequence[str]) -> Iterator[str]:
    """Yield the filters that together let through the rows of frames, by the field of their id."""
    for start in range(0, len(names), QUESTION_IDS):
        ids = [frame_id(name) for name in names[start : start + QUESTION_IDS]]
        yield f"{field} in {json.dumps(ids)}"


def frame_row(frame: FrameLike, people: People) -> dict[str, Any]:
    """Return the row of a frame."""
    own = {"id": frame_id(frame.name), "name": frame.name, "num_people": len(people.boxes)}
    return {**own, **_shared_fields(frame), "unused": [0.0, 1.0]}


def person_rows(frame: FrameLike, people: People) -> Iterator[dict[str, Any]]:
    """Yield the rows of a frame's people."""
    shared = {"frame": frame_id(frame.name), "frame_name": frame.name, **_shared_fields(frame)}
    boxes = np.asarray(people.boxes, np.float32).tolist()
    scores = np.asarray(people.scores, np.float32).tolist()
    for number, embedding in enumerate(unit_rows(people.embeddings)):
        box = dict(zip(("x1", "y1", "x2", "y2"), boxes[number], strict=True))
        own = {"id": f"{shared['frame']}_{number}", "score": scores[number], "embedding": embedding}
        yield {**shared, **box, **own}


def to_frame(row: dict[str, Any]) -> StoredFrame:
    """Read the row of a frame."""
    camera, time = row["camera"] or None, _to_time(row["timestamp"])
    return StoredFrame(row["name"], row["content_hash"], camera, time, row["num_people"])


def to_person(row: dict[str, Any], similarity: float = 0.0) -> StoredPerson:
    """Read the row of a person."""
    embedding = row.get("embedding")
    return StoredPerson(
        frame_name=row["frame_name"],
        number=int(row["id"].rpartition("_")[2]),
        box_xyxy=(row["x1"], row["y1"], row["x2"], row["y2"]),
        score=row["score"],
        camera=row["camera"] or None,
        timestamp=_to_time(row["timestamp"]),
        similarity=similarity,
        embedding=None if embedding is None else np.asarray(embedding, np.float32),
    )


def _shared_fields(frame: FrameLike) -> dict[str, Any]:
    return {
        "content_hash": frame.content_hash,
        "camera": frame.camera or "",
        "timestamp": LEAST_TIME if frame.timestamp is None else float(frame.timestamp),
    }


def _to_time(stored: float) -> float | None:
    return stored if stored > LEAST_TIME else None
