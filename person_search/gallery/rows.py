"""What a gallery stores of frames and people, and the filters that ask for it."""

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from person_search.gallery.engine import GalleryError
from person_search.people import Box, Match, People

MAX_NAME_BYTES = 8_192
MAX_CAMERA_BYTES = 1_024
# Stands for "time unknown": the engine keeps no empty fields. Real times lie above.
NO_TIME = -1e18


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """One frame of a gallery."""

    name: str
    """Path of the image, or ``FILE#frame=N`` of a video."""

    content_hash: str
    camera: str | None
    timestamp: float | None
    num_people: int

    @property
    def id(self) -> str:
        """Id of the frame's rows."""
        return frame_id(self.name)


@dataclass(frozen=True, slots=True)
class StoredPerson:
    """One person of a gallery."""

    id: str
    frame: str
    """Id of the frame."""

    frame_name: str
    box_xyxy: Box
    score: float
    camera: str | None
    timestamp: float | None
    similarity: float = 0.0
    """To the query, where there was one."""

    embedding: np.ndarray | None = None
    """(D,) float32, where it was asked for."""

    @property
    def number(self) -> int:
        """Place among the people of the frame, from 0."""
        return int(self.id.rpartition("_")[2])


def frame_id(name: str) -> str:
    """Return the id of a frame: the first 128 bits of its name's SHA-256, in hex."""
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:32]


def text_literal(text: str) -> str:
    r"""Quote a text for a filter: the engine knows \" and \\ but no other escapes.

    Raises:
        GalleryError: On control characters, which cannot be written.
    """
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
        raise GalleryError(f"{text!r} holds control characters; expected printable text")
    return json.dumps(text, ensure_ascii=False)


def any_of(field: str, values: Sequence[str]) -> str:
    """Return the filter for rows whose text field is one of the values."""
    return f"{field} in [{', '.join(map(text_literal, values))}]"


def between(since: float | None, until: float | None) -> str:
    """Return the filter for rows of a known time from ``since`` to ``until``, both included."""
    parts = [f"timestamp > {NO_TIME!r}"]
    if since is not None:
        parts.append(f"timestamp >= {float(since)!r}")
    if until is not None:
        parts.append(f"timestamp <= {float(until)!r}")
    return " and ".join(parts)


def to_frame(row: dict[str, Any]) -> StoredFrame:
    """Read a row of the frames."""
    return StoredFrame(
        row["name"],
        row["content_hash"],
        row["camera"] or None,
        _to_time(row["timestamp"]),
        row["num_people"],
    )


def to_person(row: dict[str, Any], similarity: float = 0.0) -> StoredPerson:
    """Read a row of the people."""
    embedding = row.get("embedding")
    return StoredPerson(
        id=row["id"],
        frame=row["frame"],
        frame_name=row["frame_name"],
        box_xyxy=(row["x1"], row["y1"], row["x2"], row["y2"]),
        score=row["score"],
        camera=row["camera"] or None,
        timestamp=_to_time(row["timestamp"]),
        similarity=similarity,
        embedding=None if embedding is None else np.asarray(embedding, np.float32),
    )


def _to_time(stored: float) -> float | None:
    return stored if stored > NO_TIME else None


def to_people(group: Sequence[StoredPerson], embedding_dim: int) -> People:
    """Return rows of one frame, with embeddings, as they were put in."""
    embeddings = [p.embedding for p in group]
    return People(
        np.array([p.box_xyxy for p in group], np.float32).reshape(-1, 4),
        np.array([p.score for p in group], np.float32),
        np.array(embeddings, np.float32).reshape(-1, embedding_dim),
    )


def to_match(person: StoredPerson) -> Match:
    """Return a row as a search result."""
    return Match(
        image=person.frame_name,
        box_xyxy=person.box_xyxy,
        score=person.score,
        similarity=person.similarity,
        camera=person.camera,
        timestamp=person.timestamp,
        person=person.id,
    )
