"""What a search may be told: which frames to look at, and how to sort the best of them anew."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from person_search.gallery.errors import GalleryError
from person_search.gallery.rows import StoredFrame


@dataclass(frozen=True)
class FrameFilter:
    """Which frames are looked at: those that fit everything given, all of them by default.

    Raises:
        GalleryError: If nothing could fit.
    """

    cameras: Sequence[str] | None = None
    """Only frames of these cameras; "" stands for an unknown one."""

    since: float | None = None
    """Only frames of a known time, at or after this one, in seconds."""

    until: float | None = None
    """Likewise, at or before."""

    without: Sequence[str] = ()
    """Names of frames to leave out, such as the one that the query was taken from, as the protocols
    do."""

    def __post_init__(self) -> None:
        if self.cameras is not None and (isinstance(self.cameras, str) or not self.cameras):
            raise GalleryError(
                f"cameras is {self.cameras!r}; expected names in a list, or None for all"
            )
        if isinstance(self.without, str):
            raise GalleryError(f"without is {self.without!r}; expected names in a list")
        since, until = self.since, self.until
        if not all(t is None or math.isfinite(t) for t in (since, until)):
            raise GalleryError(f"since {since} and until {until}: expected seconds, or None")
        if since is not None and until is not None and since > until:
            raise GalleryError(
                f"the time range ends before it begins: since {since} lies after until {until}; "
                "swap them"
            )

    def fits(self, frame: StoredFrame) -> bool:
        """Say whether a frame is looked at."""
        if frame.name in self.without:
            return False
        if self.cameras is not None and (frame.camera or "") not in self.cameras:
            return False
        if self.since is None and self.until is None:
            return True
        since = -math.inf if self.since is None else self.since
        until = math.inf if self.until is None else self.until
        return frame.timestamp is not None and since <= frame.timestamp <= until


ALL_FRAMES = FrameFilter()


@dataclass(frozen=True, eq=False)
class ByContext:
    """Sort by whether the people beside the query are there too (`match_with_context`)."""

    embeddings: np.ndarray
    """(K, D) of the people beside the query, by falling score."""


@dataclass(frozen=True)
class ByNeighbors:
    """Sort by the k-reciprocal neighbours shared with the query (`rerank_candidates`)."""


Refinement = ByContext | ByNeighbors
"""How the people of the best frames are sorted anew."""
