"""One search result."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Match:
    """A person found in a gallery frame."""

    image: str
    """File of the frame."""

    box_xyxy: tuple[float, float, float, float]
    """Where the person stands, in original pixels."""

    score: float
    """The detector's confidence, 0..1."""

    similarity: float
    """Cosine similarity to the query, -1..1; higher is better."""

    camera: int | None = None
    """Camera that took the frame, where known."""

    timestamp: float | None = None
    """Seconds since the start of the footage, where known."""
