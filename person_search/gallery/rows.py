"""What a gallery stores of frames and people."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from person_search.footage.frames import split_frame_name
from person_search.footage.time_text import YEAR
from person_search.people import Appearance, Box, Match, People


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

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height in pixels, None if unknown."""


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
    size: tuple[int, int] | None = None
    """Width and height in pixels, turned upright; None where it was not stored."""


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

    appearance: Appearance | None = None
    """That this person belongs to, where it was asked for and there is one."""

    embedding: np.ndarray | None = None
    """(D,) float32, where it was asked for."""

    is_nobody: bool = False
    """Whether somebody said that it is not a person, where it was asked for."""


@dataclass(frozen=True, slots=True)
class StoredAppearance:
    """One appearance of a gallery."""

    appearance: Appearance
    best: Match
    """The sight of the person to show: large and sure."""

    embedding: np.ndarray
    """(D,) float32, the mean of all sights, of unit norm."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What somebody said of a person of a gallery."""

    subject: str
    """Who was asked for."""

    person: StoredPerson
    """With embedding."""

    is_right: bool
    made: float
    """When, seconds since 1970 (UTC)."""

    maker: str
    """Who said so; may be empty."""


@dataclass(frozen=True, slots=True)
class Group:
    """Appearances that look like one person: a look, not a proven identity."""

    number: int
    """In the gallery; never given to another group."""

    name: str
    """That somebody gave; "" for none."""

    appearances: Sequence[Appearance]
    """By start."""

    company: Sequence[tuple[int, int]]
    """Number of another group, and how many of these appearances overlap one of it before the same
    camera; the most frequent first."""

    best: int
    """Id of the appearance whose best sight to show."""

    is_said: bool
    """Whether somebody named it, or put an appearance into it."""

    is_nobody: bool = False
    """Whether somebody said that it is not a person: a bench, a sign, that the detector took for
    one."""

    motionless: str = ""
    """Why it is probably not a person, in words: its appearances keep one place. "" if they move,
    or somebody named or changed the group."""

    like_nobody: int | None = None
    """Number of a group that was called nobody, and stands at the same place and looks alike; None
    without one, or where somebody named or changed this group."""

    @property
    def is_doubtful(self) -> bool:
        """Whether it is probably not a person, though nobody said so."""
        return bool(self.motionless) or self.like_nobody is not None

    @property
    def frames(self) -> int:
        """In how many frames the person was seen."""
        return sum(one.frames for one in self.appearances)

    @property
    def cameras(self) -> list[str]:
        """Names of the cameras, sorted; "" for an unknown one."""
        return sorted({one.camera or "" for one in self.appearances})


class Linked(NamedTuple):
    """What was linked."""

    frames: int = 0
    people: int = 0
    """In these frames."""

    appearances: int = 0
    """That began in them."""

    def plus(self, other: "Linked") -> "Linked":
        """Return the sum."""
        return Linked(*map(sum, zip(self, other, strict=True)))


class Thinned(NamedTuple):
    """What was not kept of stays."""

    people: int = 0
    appearances: int = 0
    """That they belonged to."""

    def plus(self, other: "Thinned") -> "Thinned":
        """Return the sum."""
        return Thinned(self.people + other.people, self.appearances + other.appearances)


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

    appearances: int | None = None
    """None for a server, which keeps none."""

    not_kept: int = 0
    """People of appearances whose sights are counted and not kept; see
    `GalleryAppearances.keep_best`."""


def frame_id(name: str) -> str:
    """Return the id of a frame: the first 128 bits of its name's SHA-256, in hex."""
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:32]


def person_id(frame_name: str, number: int) -> str:
    """Return the id of a person: that of the frame, and the place in it."""
    return f"{frame_id(frame_name)}_{number}"


def stream_of(frame: FrameLike) -> str | None:
    """Return the name of the stream that a frame is of, None for a picture that stands alone.

    A stream is what one camera saw on one clock: ``camera:NAME`` where its name and the date are
    known, else ``file:PATH`` of a video.
    """
    if frame.timestamp is None:
        return None
    if frame.camera and frame.timestamp >= YEAR:
        return f"camera:{frame.camera}"
    file, number = split_frame_name(frame.name)
    return None if number is None else f"file:{file}"


def stored_frame(said: Sequence[Any]) -> StoredFrame:
    """Return what a frame's row says.

    Args:
        said: Name, content hash, name of the camera, timestamp, number of people, width, height.
    """
    name, content_hash, camera, timestamp, num_people, width, height = said
    size = None if width is None or height is None else (width, height)
    return StoredFrame(name, content_hash, camera, timestamp, num_people, size)


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


def by_frame(
    people: Sequence[StoredPerson], names: Sequence[str], embedding_dim: int
) -> dict[str, People]:
    """Return the rows of frames, with embeddings, as they were put in, by the frames' names."""
    groups: dict[str, list[StoredPerson]] = {name: [] for name in names}
    for person in people:
        groups[person.frame_name].append(person)
    return {name: to_people(group, embedding_dim) for name, group in groups.items()}


def to_match(person: StoredPerson) -> Match:
    """Return a row as a search result."""
    return Match(
        image=person.frame_name,
        box_xyxy=person.box_xyxy,
        score=person.score,
        similarity=person.similarity,
        camera=person.camera,
        timestamp=person.timestamp,
        person=person_id(person.frame_name, person.number),
        appearance=person.appearance,
        is_nobody=person.is_nobody,
    )
