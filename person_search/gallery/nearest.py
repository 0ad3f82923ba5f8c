"""Asking a gallery's database for the people most similar to a query."""

from dataclasses import replace

import numpy as np

from person_search.gallery.engine import GalleryError
from person_search.gallery.ranking import (
    best_per_frame,
    match_with_context,
    rerank_candidates,
    sort_by_similarity,
)
from person_search.gallery.rows import StoredPerson, any_of, between, frame_id
from person_search.gallery.search_options import ByContext, FrameFilter, Refinement
from person_search.gallery.store import MAX_ROWS, Store

# People asked for at first, for each frame wanted; frames hold several, who look alike.
_FIRST_SHARE = 4
_FIRST_LEAST = 64
# Where everybody counts: for ties with the last one, and people of frames that a kill left half.
_SPARE = 16
_GROWTH = 4
# Context matching and re-ranking look at this many of the best frames, or at ``top`` if more.
CANDIDATE_FRAMES = 100


def make_filter(frames: FrameFilter) -> str:
    """Return the database's filter for cameras and times, "" for all."""
    parts = []
    if frames.cameras is not None:
        parts.append(any_of("camera", frames.cameras))
    if frames.since is not None or frames.until is not None:
        parts.append(between(frames.since, frames.until))
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
    frames: FrameFilter,
    top: int,
    one_per_frame: bool,
) -> list[StoredPerson]:
    """Return the most similar people of complete frames, best first, without embeddings.

    The database ranks people, not frames. So more are asked for than wanted; while that gives too
    few frames, the next question leaves out the frames already found. It goes on past ``top`` as
    long as the last one has the same similarity, so that ties are settled by name.

    Args:
        store: Where.
        query: (D,) of unit norm.
        frames: Which to look at.
        top: At most so many.
        one_per_frame: Only the best of each frame.

    Raises:
        GalleryError: If a camera's name holds control characters.
    """
    expression = make_filter(frames)
    found: list[StoredPerson] = []
    seen = {frame_id(name) for name in frames.without}
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
    store: Store, query: np.ndarray, frames: FrameFilter, top: int, refine: Refinement
) -> list[StoredPerson]:
    """Find the best frames and sort all their people anew, by their context or by neighbours.

    Args:
        store: Where.
        query: (D,) of unit norm.
        frames: Which to look at.
        top: Frames wanted; CANDIDATE_FRAMES are looked at, if more.
        refine: What decides.
    """
    best = find_nearest(store, query, frames, max(top, CANDIDATE_FRAMES), one_per_frame=True)
    people = [
        replace(p, similarity=float(p.embedding @ query))
        for p in store.people_of([p.frame for p in best])
        if p.embedding is not None
    ]
    if not people:
        return []
    if isinstance(refine, ByContext):
        return match_with_context(query, refine.embeddings, people)
    return rerank_candidates(query, people)
