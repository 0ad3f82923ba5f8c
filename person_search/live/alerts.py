"""Standing queries: tell when somebody appears, once for each stay.

Letters: D embedding size.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from person_search.footage.files import Frame
from person_search.gallery.errors import GalleryError
from person_search.gallery.search_options import FrameFilter
from person_search.people import Appearance, Match, People

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex

MOST_STAYS = 64
"""Of a query that one look can tell of."""
_REMEMBERED = 10_000
_ROUNDING = 1e-4


@dataclass(frozen=True)
class StandingQuery:
    """Somebody who is waited for."""

    name: str
    embedding: np.ndarray
    """(D,) float32 of unit norm."""

    @property
    def key(self) -> str:
        """What the gallery keeps under that it was told: the same for the same name and look."""
        # Rounded, as another machine computes the last digits differently.
        rounded = np.round(self.embedding.astype(np.float64), 3) + 0.0
        return f"{self.name} {hashlib.sha256(rounded.tobytes()).hexdigest()[:12]}"


@dataclass(frozen=True)
class Alert:
    """Somebody has appeared."""

    name: str
    """Of the standing query."""

    match: Match
    """The most similar sight so far, with its appearance where it has one."""

    threshold: float
    """What the similarity had to reach."""


class StandingQueries:
    """Compares the people who were stored with those who are waited for."""

    def __init__(
        self,
        queries: Sequence[StandingQuery],
        threshold: float,
        tell: Callable[[Alert], None],
    ) -> None:
        """Wait from now on.

        Args:
            queries: Who is waited for.
            threshold: Least similarity, -1..1.
            tell: Called with each alert, once for each stay, and for each picture that belongs to
                none.

        Raises:
            ValueError: The threshold is out of its range.
        """
        if not -1 <= threshold <= 1:
            raise ValueError(f"the least similarity of an alert is {threshold:g}; expected -1..1")
        self._queries, self._threshold, self._tell = queries, threshold, tell
        self._waiting: dict[str, dict[str, Match]] = {query.name: {} for query in queries}
        self._told: OrderedDict[tuple[str, int], Appearance] = OrderedDict()
        self._is_restored = False
        self._unkept: list[tuple[str, Match]] = []

    def look(self, stored: Sequence[tuple[Frame, People]]) -> None:
        """Remember in which frames somebody is similar enough; see `settle`."""
        for query in self._queries:
            for frame, people in stored:
                if not len(people):
                    continue
                similarities = people.embeddings @ query.embedding
                best = int(similarities.argmax())
                if similarities[best] >= self._threshold - _ROUNDING:
                    self._waiting[query.name][frame.name] = Match(
                        frame.name,
                        people.box(best),
                        float(people.scores[best]),
                        float(similarities[best]),
                        frame.camera,
                        frame.timestamp,
                    )

    def settle(self, index: "GalleryIndex") -> None:
        """Tell of the stays of these frames that were not told of. The gallery must be linked.

        What was told is kept in the gallery, so that it is not told again after a restart.

        Raises:
            GalleryError: If the gallery cannot be read, or written, after everything was told; then
                the next call tries again to write.
        """
        self._restore(index)
        for query in self._queries:
            seen, self._waiting[query.name] = self._waiting[query.name], {}
            for match in self._ask(index, query, list(seen.values())):
                if match.image not in seen:
                    continue  # undated footage that was there before
                stay = match.appearance
                if stay is None or not self._was_told(index, query.name, stay):
                    self._tell(Alert(query.name, match, self._threshold))
                    self._unkept.append((query.key, match))
                if stay is not None:
                    self._remember(query.name, stay)
            for match in seen.values():
                # Without a time it is in no stay, and no search by time finds it.
                if match.timestamp is None and match.similarity >= self._threshold:
                    self._tell(Alert(query.name, match, self._threshold))
        if self._unkept:
            index.appearances.keep_told(self._unkept)
            self._unkept = []

    def _restore(self, index: "GalleryIndex") -> None:
        """Remember what was told before a restart, the first time."""
        if self._is_restored:
            return
        for query in self._queries:
            for stay in index.appearances.told(query.key):
                self._remember(query.name, stay)
        self._is_restored = True

    def _ask(
        self, index: "GalleryIndex", query: StandingQuery, seen: Sequence[Match]
    ) -> list[Match]:
        found: list[Match] = []
        for camera in sorted({match.camera or "" for match in seen}):
            times = [
                match.timestamp
                for match in seen
                if (match.camera or "") == camera and match.timestamp is not None
            ]
            if times:
                found += index.appearances.search(
                    query.embedding,
                    top=MOST_STAYS,
                    frames=FrameFilter(cameras=[camera], since=min(times), until=max(times)),
                    min_similarity=self._threshold,
                )
        return found

    def _was_told(self, index: "GalleryIndex", name: str, stay: Appearance) -> bool:
        if (name, stay.id) in self._told:
            return True
        # Linked anew, as after a clock was set back, the same stay has another number.
        return any(
            other == name
            and told.camera == stay.camera
            and told.start <= stay.end
            and told.end >= stay.start
            and _is_gone(index, number)
            for (other, number), told in self._told.items()
        )

    def _remember(self, name: str, stay: Appearance) -> None:
        self._told[name, stay.id] = stay
        self._told.move_to_end((name, stay.id))
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)


def _is_gone(index: "GalleryIndex", appearance: int) -> bool:
    try:
        index.appearances.get(appearance)
    except GalleryError:
        return True
    return False
