"""What a gallery stores of frames and people."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from person_search.people import Box, Match, People


class FrameLike(Protocol):
    """What is stored of a frame: `footage.Frame` and `StoredFrame` have it."""

    @property
    def name(self) -> str:
        """Absolute path of the image, or ``FILE#frame=N``."""

    @property
    def content_hash(self) -> str:
        """Tells whether the frame changed."""

    @property
    def camera(self) -> str | None:
        """Name of the camera, None if unknown."""

    @property
    def timestamp(self) -> float | None:
        """Seconds, None if unknown."""


Entry = tuple[FrameLike, People]


class Stored(NamedTuple):
    """How many frames and people were stored or removed: counted in the database afterwards."""

    frames: int = 0
    people: int = 0

    def plus(self, other: "Stored") -> "Stored":
        """Return the sum."""
        return Stored(self.frames + other.frames, self.people + other.people)


@dataclass(frozen=True, slots=True)
class StoredFrame:
    """One frame of a gallery."""

    name: str
    """Path of the image, or ``FILE#frame=N`` of a video."""

    content_hash: str
    camera: str | None
    timestamp: float | None
    num_people: int


@dataclass(frozen=True, slots=True)
class StoredPerson:
    """One person of a gallery."""

    frame_name: str
    number: int
    """Place among the people of the frame, from 0."""

    box_xyxy: Box
    score: float
    camera: str | None
    timestamp: float | None
    similarity: float = 0.0
    """To the query, where there was one."""

    embedding: np.ndarray | None = None
    """(D,) float32, where it was asked for."""


class Counts(NamedTuple):
    """What a gallery holds; taken in a time that does not grow with it."""

    frames: int
    people: int
    cameras: Mapping[str, int]
    """Frames of each known camera, by name."""

    first_timestamp: float | None
    last_timestamp: float | None
    num_bytes: int | None
    """Of the file, with all galleries in it; None for a server."""


def frame_id(name: str) -> str:
    """Return the id of a frame: the first 128 bits of its name's SHA-256, in hex."""
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:32]


def unit_rows(embeddings: np.ndarray) -> np.ndarray:
    """Return embeddings as they are stored, (N, D) float32.

    Half precision may have left a norm a little off one, which the search takes it to be.
    """
    rows = np.asarray(embeddings, np.float32)
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    scaled: np.ndarray = np.where(abs(norms - 1) > 1e-6, rows / norms, rows)
    return scaled


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
        person=f"{frame_id(person.frame_name)}_{person.number}",
    )
