"""Searching a store: what may be asked, and sorting the best frames anew."""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from person_search.footage.frames import split_frame_name
from person_search.gallery.errors import GalleryError
from person_search.gallery.ranking import cut_besides, match_with_context, rerank_candidates
from person_search.gallery.rows import StoredFrame, StoredPerson, to_match
from person_search.gallery.search_options import ByContext, FrameFilter, Refinement
from person_search.gallery.store import Store
from person_search.people import Match

MAX_TOP = 16_384
# Context matching and re-ranking look at this many of the best frames, or at ``top`` if more.
CANDIDATE_FRAMES = 100


def check_model(store: Store, fingerprint: str | None) -> None:
    """Refuse embeddings of another model than a gallery's; None is not known and not refused.

    Raises:
        GalleryError: Naming both.
    """
    if fingerprint is not None and fingerprint != store.fingerprint:
        name = "" if store.card is None else f" {store.card.name}"
        raise GalleryError(
            f"the gallery was made with model{name} {store.fingerprint[:12]}, the embeddings are "
            f"of model {fingerprint[:12]}, and cannot be compared; use the gallery's model, or "
            "index the footage anew into another gallery"
        )


def check_copied(store: Store, other: Store) -> None:
    """Refuse to copy another gallery's frames into one where they would be wrong.

    Raises:
        GalleryError: The models differ, or not all people of the other one's stays were kept: what
            is left of a stay would be linked to another one.
    """
    check_model(store, other.fingerprint)
    not_kept = other.counts().not_kept
    if not_kept:
        raise GalleryError(
            f"{not_kept} people of stays of the gallery {other.name!r} of {other.uri} were not "
            "kept (index --keep-best), so that their stays cannot be linked in another gallery; "
            "index the footage into it, or copy the file by person-search backup"
        )


def check_range(top: int, min_similarity: float | None) -> None:
    """Refuse numbers out of range.

    Raises:
        GalleryError: With the range.
    """
    if not 1 <= top <= MAX_TOP:
        raise GalleryError(f"top is {top}; expected 1 to {MAX_TOP}")
    if min_similarity is not None and not -1 <= min_similarity <= 1:
        raise GalleryError(f"min_similarity is {min_similarity}; expected -1 to 1, or None")


def to_matches(
    people: Sequence[StoredPerson], top: int, min_similarity: float | None, with_nobody: bool
) -> list[Match]:
    """Return people as matches.

    Args:
        people: Best first.
        top: At most so many, besides those called nobody.
        min_similarity: Only those at least so similar; None for all.
        with_nobody: Keep those called nobody.
    """
    least = -math.inf if min_similarity is None else min_similarity
    similar = cut_besides([p for p in people if p.similarity >= least], top)
    return [to_match(p) for p in similar if with_nobody or not p.is_nobody]


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
    best = store.nearest(query, frames, max(top, CANDIDATE_FRAMES), one_per_frame=True)
    names = [p.frame_name for p in best if not p.is_nobody]
    people = [
        replace(p, similarity=float(p.embedding @ query))
        for p in _without_nobodies(store, store.people_of(names))
        if p.embedding is not None
    ]
    if not people:
        return []
    if isinstance(refine, ByContext):
        return match_with_context(query, refine.embeddings, people)
    return rerank_candidates(query, people)


def _without_nobodies(store: Store, people: list[StoredPerson]) -> list[StoredPerson]:
    known = store.appearances
    if known is None or not known.nobodies():
        return people
    marked = known.with_appearances(people)
    return [person for person, told in zip(people, marked, strict=True) if not told.is_nobody]


def check_removal(
    names: Iterable[str] | None, camera: str | None, until: float | None, missing: bool
) -> None:
    """Refuse to remove everything because nothing says what.

    Raises:
        GalleryError: If nothing is given.
    """
    if names is None and camera is None and until is None and not missing:
        raise GalleryError(
            "nothing says which frames to remove; give names, a camera, a time or missing"
        )


def choose_frames(
    frames: Iterable[StoredFrame], names: Iterable[str] | None, missing: bool
) -> list[str]:
    """Return the names of the frames that fit everything that is given.

    Args:
        frames: All that could.
        names: Of frames, or of videos for all their frames; None for all.
        missing: Only frames whose file is no longer there.
    """
    wanted = None if names is None else set(names)
    chosen = []
    for frame in frames:
        file = split_frame_name(frame.name)[0]
        is_wanted = wanted is None or frame.name in wanted or file in wanted
        if is_wanted and not (missing and os.path.exists(file)):
            chosen.append(frame.name)
    return chosen
