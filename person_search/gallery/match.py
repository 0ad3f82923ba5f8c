"""One search result."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Match:
    """A person found in a gallery frame."""

    image: str
    """File of the frame, or for a video ``FILE#frame=N`` with N from 0; `read_frame` reads both."""

    box_xyxy: tuple[float, float, float, float]
    """Where the person stands, in original pixels."""

    score: float
    """The detector's confidence, 0..1."""

    similarity: float
    """Cosine similarity to the query, -1..1; higher is better."""

    camera: str | None = None
    """Name of the camera that took the frame, where known."""

    timestamp: float | None = None
    """When the frame was taken, where known: seconds since 1970 (UTC) where the footage's date is
    known, else since the start of its video."""

    person: str = ""
    """Id of this person in the gallery, where the match comes from one."""
