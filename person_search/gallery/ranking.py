"""Ranking of what a gallery's database returns: fusing queries, best per frame, refining the top.

Letters: K embeddings of one person, P people of the candidate frames, D embedding size.
"""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from person_search.gallery.errors import GalleryError
from person_search.gallery.rows import StoredPerson
from person_search.people import Match
from reid_heads.unit_norm import is_unit_norm

_Found = TypeVar("_Found", StoredPerson, Match)


def check_embeddings(embeddings: np.ndarray, embedding_dim: int, name: str) -> np.ndarray:
    """Return embeddings as (K, D) float32.

    Args:
        embeddings: (D,) or (K, D), K may be 0.
        embedding_dim: The gallery's D.
        name: What they are, for the message.

    Raises:
        GalleryError: If the size differs, or a row is not finite or not of unit norm. They are not
            normalised here: embeddings of another norm come from another model or a mistake.
    """
    rows = np.asarray(embeddings, dtype=np.float32)
    if rows.ndim not in (1, 2) or rows.shape[-1] != embedding_dim:
        raise GalleryError(
            f"{name}: got an array of shape {rows.shape}, expected ({embedding_dim},) or "
            f"(K, {embedding_dim}), as the gallery's model makes them"
        )
    rows = rows.reshape(-1, embedding_dim)
    if not np.isfinite(rows).all():
        raise GalleryError(f"{name}: got numbers that are not finite (NaN or infinity)")
    norms = np.linalg.norm(rows, axis=1)
    if not is_unit_norm(norms).all():
        worst = norms[np.argmax(abs(norms - 1))]
        raise GalleryError(f"{name}: got a row of norm {worst:.4g}, expected unit norm")
    return rows


def fuse_embeddings(embeddings: np.ndarray) -> np.ndarray:
    """Return the mean of several embeddings of one person, (D,) of unit norm.

    Args:
        embeddings: (K, D) of unit norm, K at least 1.

    Raises:
        GalleryError: Without rows, or if they cancel each other out.
    """
    if not len(embeddings):
        raise GalleryError("no query embeddings; expected at least one")
    mean = embeddings.astype(np.float64).mean(axis=0)
    norm = np.linalg.norm(mean)
    if norm < 1e-6:
        raise GalleryError("the query embeddings cancel each other out; are they of one person?")
    fused: np.ndarray = (mean / norm).astype(np.float32)
    return fused


def sort_by_similarity(people: Iterable[StoredPerson]) -> list[StoredPerson]:
    """Sort best first; ties by name of the frame, then by place in it."""
    return sorted(people, key=lambda p: (-p.similarity, p.frame_name, p.number))


def best_per_frame(people: Iterable[StoredPerson]) -> list[StoredPerson]:
    """Keep the first person of each frame, in the order given."""
    best: dict[str, StoredPerson] = {}
    for person in people:
        best.setdefault(person.frame_name, person)
    return list(best.values())


def cut_besides(people: Sequence[_Found], top: int) -> list[_Found]:
    """Keep the first ``top``, and of those called nobody whoever comes before the last of them."""
    left = top
    for place, person in enumerate(people):
        left -= not person.is_nobody
        if left < 0:
            return list(people[:place])
    return list(people)


def match_with_context(
    query: np.ndarray, context: np.ndarray, people: Sequence[StoredPerson]
) -> list[StoredPerson]:
    """Sort candidates anew by the people beside the query (context bipartite graph matching).

    Args:
        query: (D,) of unit norm.
        context: (K, D) people beside the query, by falling score; only the first few count.
        people: All people, with embeddings, of the candidate frames.

    Returns:
        The same people, best first. Their similarity stays the cosine to the query, so it need not
        fall along the list.
    """
    from person_search.evaluation.context import match_context, published_context

    frames = np.unique([p.frame_name for p in people], return_inverse=True)[1]
    order = np.argsort(frames, kind="stable")
    grouped = [people[i] for i in order]
    similarities = np.array([p.similarity for p in grouped], np.float32)
    revised = match_context(
        similarities,
        frames[order],
        _embeddings(grouped),
        np.vstack([query[None], context]),
        published_context("prw"),  # Whose galleries are the larger ones.
    )
    return _sort_by(revised, grouped)


def rerank_candidates(query: np.ndarray, people: Sequence[StoredPerson]) -> list[StoredPerson]:
    """Sort candidates anew by the neighbours that they share with the query (k-reciprocal).

    Args:
        query: (D,) of unit norm.
        people: All people, with embeddings, of the candidate frames.

    Returns:
        As `match_with_context`.
    """
    from reid_heads.evaluation.reranking import rerank

    similarities = next(rerank(query[None], _embeddings(people)))[0].copy()
    return _sort_by(similarities, people)


def _embeddings(people: Sequence[StoredPerson]) -> np.ndarray:
    rows: np.ndarray = np.stack([p.embedding for p in people if p.embedding is not None])
    return rows


def _sort_by(values: np.ndarray, people: Sequence[StoredPerson]) -> list[StoredPerson]:
    """Sort by falling value; ties by similarity, name of the frame, place in it."""
    keys = [
        (-v, -p.similarity, p.frame_name, p.number) for v, p in zip(values, people, strict=True)
    ]
    return [people[i] for i in sorted(range(len(people)), key=keys.__getitem__)]
