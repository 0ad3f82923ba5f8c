"""Asking a gallery's database for the people most similar to a query."""

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from person_search.gallery.engine import GalleryError
from person_search.gallery.ranking import (
    best_per_frame,
    match_with_context,
    rerank_candidates,
    sort_by_similarity,
)
from person_search.gallery.rows import StoredPerson, any_of, between
from person_search.gallery.store import MAX_ROWS, Store

# People asked for at first, for each frame wanted; frames hold several, who look alike.
_FIRST_SHARE = 4
_FIRST_LEAST = 64
# Where everybody counts: for ties with the last one, and people of frames that a kill left half.
_SPARE = 16
_GROWTH = 4
# Context matching and re-ranking look at this many of the best frames, or at ``top`` if more.
CANDIDATE_FRAMES = 100


def make_filter(cameras: Sequence[str] | None, since: float | None, until: float | None) -> str:
    """Return the filter for frames of some cameras and times, "" for all.

    Raises:
        GalleryError: If nothing could fit.
    """
    parts = []
    if cameras is not None:
        if isinstance(cameras, str) or not cameras:
            raise GalleryError(f"cameras is {cameras!r}; expected names in a list, or None for all")
        parts.append(any_of("camera", cameras))
    if since is not None or until is not None:
        if not all(t is None or math.isfinite(t) for t in (since, until)):
            raise GalleryError(f"since {since} and until {until}: expected seconds, or None")
        if since is not None and until is not None and since > until:
            raise GalleryError(f"since {since} lies after until {until}")
        parts.append(between(since, until))
    return " and ".join(parts)


def check_range(top: int, min_similarity: float | None) -> None:
    """Refuse numbers out of range.

    Raises:
        GalleryError: With the range.
    """
    if not 1 <= top <= MAX_ROWS:
        raise GalleryError(f"top is {top}; expected 1 to {MAX_ROWS}")
    if min_similarity is not None and not -1 <= min_similarity <= 1:
        raise GalleryError(f"min_similarity is {min_similarity}; expected -1 to 1, or None")


def find_nearest(
    store: Store,
    query: np.ndarray,
    expression: str,
    top: int,
    one_per_frame: bool,
    without: Collection[str] = (),
) -> list[StoredPerson]:
    """Return the most similar people of complete frames, best first, without embeddings.

    The database ranks people, not frames. So more are asked for than wanted; while that gives too
    few frames, the next question leaves out the frames already found. It goes on past ``top`` as
    long as the last one has the same similarity, so that ties are settled by name.

    Args:
        store: Where.
        query: (D,) of unit norm.
        expression: A filter, or "".
        top: At most so many.
        one_per_frame: Only the best of each frame.
        without: Ids of frames to leave out.
    """
    found: list[StoredPerson] = []
    seen: set[str] = set(without)
    wanted = max(_FIRST_SHARE * top, _FIRST_LEAST) if one_per_frame else top + _SPARE
    limit = min(MAX_ROWS, wanted)
    while True:
        people = store.nearest(query, limit, expression, sorted(seen))
        complete = store.present_frames(list(dict.fromkeys(p.frame for p in people)))
        fresh = [p for p in people if p.frame in complete]
        if one_per_frame:
            found = sort_by_similarity([*found, *best_per_frame(sort_by_similarity(fresh))])
            seen.update(p.frame for p in people)
        else:
            found = sort_by_similarity(fresh)
        if len(people) < limit:
            return found[:top]
        has_all = len(found) >= top and people[-1].similarity < found[top - 1].similarity
        if has_all or (limit == MAX_ROWS and (len(found) >= top or not one_per_frame)):
            return found[:top]
        limit = min(MAX_ROWS, _GROWTH * limit)


def find_refined(
    store: Store,
    query: np.ndarray,
    expression: str,
    top: int,
    context: np.ndarray | None,
    rerank: bool,
    without: Collection[str] = (),
) -> list[StoredPerson]:
    """Find the best frames and sort all their people anew, by their context or by neighbours.

    Args:
        store: Where.
        query: (D,) of unit norm.
        expression: A filter, or "".
        top: Frames wanted; CANDIDATE_FRAMES are looked at, if more.
        context: (K, D) people beside the query, or None.
        rerank: Whether neighbours decide.
        without: Ids of frames to leave out.

    Raises:
        GalleryError: If both are asked for.
    """
    if context is not None and rerank:
        raise GalleryError("context matching and re-ranking exclude each other; choose one")
    wanted = max(top, CANDIDATE_FRAMES)
    best = find_nearest(store, query, expression, wanted, one_per_frame=True, without=without)
    people = [
        replace(p, similarity=float(p.embedding @ query))
        for p in store.people_of([p.frame for p in best])
        if p.embedding is not None
    ]
    if not people:
        return []
    if context is None:
        return rerank_candidates(query, people)
    return match_with_context(query, context, people)
