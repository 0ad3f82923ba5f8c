"""What people said of matches, right or wrong, and searching with it.

Letters: K embeddings of one person, D embedding size.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from person_search.gallery.appearances import GalleryAppearances
from person_search.gallery.errors import GalleryError
from person_search.gallery.feedback import refine_query
from person_search.gallery.ranking import check_embeddings, cut_besides, fuse_embeddings
from person_search.gallery.rows import Judgement, frame_id, to_match
from person_search.gallery.search_options import ALL_FRAMES, FrameFilter
from person_search.gallery.searching import MAX_TOP, check_model, check_range, to_matches
from person_search.gallery.store import Store
from person_search.people import Match

MOST_NAME = 200
"""Characters of a subject's or a judge's name."""


class GalleryJudgements:
    """The judgements of a gallery; get it from `GalleryIndex.judgements`.

    A *subject* is who is asked for, by a name that people choose. What was said of a match is kept
    for its subject, in the gallery, until it is taken back or its frame is removed.
    """

    def __init__(self, store: Store) -> None:
        """Use `GalleryIndex.judgements` instead.

        Raises:
            GalleryError: If the gallery is on a server.
        """
        if store.judgements is None:
            raise GalleryError(
                f"a server such as {store.uri} keeps no judgements; keep the gallery in a file"
            )
        self._store, self._rows = store, store.judgements

    def subjects(self) -> dict[str, tuple[int, int]]:
        """Return how many right and wrong matches each subject has, by name."""
        return self._rows.subjects()

    def of(self, subject: str) -> list[Judgement]:
        """Return what was said about a subject, in that order; nothing for a new one."""
        return self._rows.of(subject)

    def judge(
        self, subject: str, matches: Sequence[Match], *, is_right: bool, maker: str = ""
    ) -> int:
        """Say of matches that they show the subject, or do not; what was said of them before goes.

        Args:
            subject: Name of who is asked for.
            matches: From a search, or sights of an appearance.
            is_right: Whether they show the subject.
            maker: Who says so.

        Returns:
            How many judgements are in the gallery when read back.

        Raises:
            GalleryError: If a name cannot be, or a match is not in the gallery any more.
        """
        for what, name in (("subject", subject), ("maker", maker)):
            _check_name(what, name, may_be_empty=what == "maker")
        people = [(match.image, _number_of(match)) for match in matches]
        return self._rows.add(subject, people, is_right, maker)

    def undo(self, subject: str, count: int | None = 1) -> int:
        """Take back what was said last about a subject.

        Args:
            subject: Its name.
            count: How many judgements, None for all.

        Returns:
            How many of them are gone when read back.
        """
        if count is not None and count < 1:
            raise GalleryError(f"count is {count}; expected at least 1, or None for all")
        return self._rows.undo(subject, count)

    def search(
        self,
        subject: str,
        embeddings: np.ndarray,
        *,
        top: int = 10,
        frames: FrameFilter = ALL_FRAMES,
        min_similarity: float | None = None,
        by: str = "appearance",
        fingerprint: str | None = None,
        with_nobody: bool = False,
    ) -> list[Match]:
        """Search with what was said about a subject (`refine_query`).

        Args:
            subject: Its name; without judgements this is a plain search.
            embeddings: (D,), or (K, D) of several pictures of the same person, which are fused.
            top: At most so many, besides those that were called wrong.
            frames: Which to look at.
            min_similarity: Only matches at least so similar to the refined query, -1..1.
            by: Rank ``appearance`` or ``frame``.
            fingerprint: Of the model that made the embeddings, to be checked.
            with_nobody: See `GalleryAppearances.search`.

        Returns:
            Matches with their `judgement`: those called right first, by similarity of what was
            judged to the query itself, so that they keep their order whatever is judged next; those
            called wrong last, and they and all others by similarity to the refined query.

        Raises:
            GalleryError: See `GalleryAppearances.search`.
        """
        if by not in ("appearance", "frame"):
            raise GalleryError(f"by is {by!r}; expected appearance or frame")
        check_model(self._store, fingerprint)
        check_range(top, min_similarity)
        rows = check_embeddings(embeddings, self._store.embedding_dim, "query embeddings")
        judged = self.of(subject)
        asked = fuse_embeddings(rows)
        query = refine_query(
            asked, _embeddings(judged, True, rows), _embeddings(judged, False, rows)
        )
        # So many more, that those called wrong take nobody's place.
        wanted = min(top + len(judged), MAX_TOP)
        if by == "appearance":
            appearances = GalleryAppearances(self._store)
            found = appearances.search(
                query,
                top=wanted,
                frames=frames,
                min_similarity=min_similarity,
                with_nobody=with_nobody,
            )
        else:
            people = self._store.nearest(query, frames, wanted, one_per_frame=True)
            found = to_matches(people, wanted, min_similarity, with_nobody)
        verdicts = self._verdicts(judged, by)
        marked = [replace(m, judgement=verdicts.get(_key(m, by))) for m in found]
        wrong = [m for m in marked if m.judgement is False]
        others = [m for m in marked if m.judgement is not False]
        right = self._similarities(judged, by, asked)
        others.sort(key=lambda m: -right[_key(m, by)] if m.judgement else 2.0)
        return [*cut_besides(others, top), *wrong]

    def about(self, subject: str, matches: Sequence[Match]) -> list[list[Judgement]]:
        """Return what was said about each of some matches, asked for as this subject."""
        judged = self.of(subject)
        keys = self._keys(judged, "appearance")
        return [
            [one for one, key in zip(judged, keys, strict=True) if key == _key(match, "appearance")]
            for match in matches
        ]

    def _verdicts(self, judged: Sequence[Judgement], by: str) -> dict[str | int, bool]:
        """Say of appearances, or frames, what was said last of one of their people."""
        keys = self._keys(judged, by)
        return {key: one.is_right for key, one in zip(keys, judged, strict=True)}

    def _similarities(
        self, judged: Sequence[Judgement], by: str, query: np.ndarray
    ) -> dict[str | int, float]:
        """Say of appearances, or frames, how similar the best judged person is to a query."""
        found: dict[str | int, float] = {}
        for key, one in zip(self._keys(judged, by), judged, strict=True):
            embedding = one.person.embedding
            similarity = -1.0 if embedding is None else float(embedding @ query)
            found[key] = max(found.get(key, -1.0), similarity)
        return found

    def _keys(self, judged: Sequence[Judgement], by: str) -> list[str | int]:
        people = [one.person for one in judged]
        if by == "appearance" and self._store.appearances is not None:
            people = self._store.appearances.with_appearances(people)
        return [_key(to_match(person), by) for person in people]


def _key(match: Match, by: str) -> str | int:
    """Return what a judgement of a match holds for: its appearance, else its frame."""
    if by == "appearance" and match.appearance is not None:
        return match.appearance.id
    return match.image


def _embeddings(judged: Sequence[Judgement], is_right: bool, like: np.ndarray) -> np.ndarray:
    rows = [one.person.embedding for one in judged if one.is_right is is_right]
    return np.array(rows, np.float32).reshape(-1, like.shape[1])


def _number_of(match: Match) -> int:
    frame, _, number = match.person.rpartition("_")
    if frame != frame_id(match.image) or not number.isdigit():
        raise GalleryError(f"{match.image}: this match is of no gallery; search again")
    return int(number)


def _check_name(what: str, name: str, may_be_empty: bool) -> None:
    is_text = isinstance(name, str) and len(name) <= MOST_NAME and (may_be_empty or name.strip())
    if not is_text or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise GalleryError(
            f"{what} {str(name)[:60]!r}: expected 1 to {MOST_NAME} printable characters"
        )
