"""Score embeddings by the protocols of faces and of metric learning.

- ``verification``: a pair list, by folds; see ``verification``.
- ``recall``: each image among all others, or queries in a gallery; see ``retrieval``.
- ``identification``: queries are probes, the gallery is enrolled; see ``identification``.
"""

import os
import zipfile
from collections.abc import Iterator

import numpy as np

from reid_heads.evaluation.embeddings import ImageEmbeddings, load_embeddings
from reid_heads.evaluation.features import ReIDFeatures, load_features
from reid_heads.evaluation.identification import IdentificationResult, evaluate_identification
from reid_heads.evaluation.retrieval import RetrievalResult, evaluate_retrieval
from reid_heads.evaluation.rules import PLAIN, ReIDRules
from reid_heads.evaluation.similarity import iterate_similarities, normalize_rows
from reid_heads.evaluation.verification import (
    VerificationResult,
    evaluate_verification,
    pair_similarities,
)
from reid_heads.face_pairs import FacePairs, read_pairs

IMAGE_PROTOCOLS = ("verification", "recall")
"""Scored on ``embeddings.npz``; a test set's ``protocol`` may be one of them."""

EMBEDDING_PROTOCOLS = (*IMAGE_PROTOCOLS, "identification")


def score_verification(embeddings: ImageEmbeddings, pairs: FacePairs) -> VerificationResult:
    """Compare the images of each pair by their cosine.

    Raises:
        ValueError: If an image of the list has no embedding, an embedding is all zeros, or the list
            has one fold only.
    """
    first, second = (
        embeddings.rows_of(names, pairs.source) for names in (pairs.first, pairs.second)
    )
    features = normalize_rows(embeddings.features)
    similarities = pair_similarities(features, first, second)
    return evaluate_verification(similarities, pairs.is_genuine, pairs.folds)


def score_recall(
    embeddings: ImageEmbeddings | ReIDFeatures, rules: ReIDRules = PLAIN
) -> RetrievalResult:
    """Search for each image among all others, or for each query in the gallery, by cosine.

    Raises:
        ValueError: If no image has another one of its person, or an embedding is all zeros.
    """
    ranks = rules.recall_ranks
    if isinstance(embeddings, ImageEmbeddings):
        rows = normalize_rows(embeddings.features)
        similarities = iterate_similarities(rows, rows)
        pids = embeddings.pids
        return evaluate_retrieval(similarities, pids, pids, are_same_images=True, ranks=ranks)
    return evaluate_retrieval(
        _similarities(embeddings),
        embeddings.query_pids,
        embeddings.gallery_pids,
        are_same_images=False,
        ranks=ranks,
    )


def score_identification(features: ReIDFeatures) -> IdentificationResult:
    """Search for each probe (query) among the enrolled images (gallery), by cosine.

    Raises:
        ValueError: If no probe's person is enrolled, or an embedding is all zeros.
    """
    return evaluate_identification(
        _similarities(features), features.query_pids, features.gallery_pids
    )


def _similarities(features: ReIDFeatures) -> Iterator[np.ndarray]:
    return iterate_similarities(
        normalize_rows(features.query_features, "query_features"),
        normalize_rows(features.gallery_features, "gallery_features"),
    )


def score_file(
    protocol: str,
    path: str | os.PathLike[str],
    pairs: str | os.PathLike[str] | None = None,
    rules: ReIDRules = PLAIN,
) -> tuple[str, dict[str, float]]:
    """Score a saved file.

    Args:
        protocol: One of ``EMBEDDING_PROTOCOLS``.
        path: ``embeddings.npz``; ``features.npz`` for identification, and for recall of queries in
            a gallery.
        pairs: Pair list of verification.
        rules: Of which the K of Recall@K counts.

    Returns:
        What was scored, for a reader, and the metrics.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is not as it should be, or cannot be scored.
    """
    if protocol == "verification":
        if pairs is None:
            raise ValueError("verification needs a pair list")
        listed = read_pairs(pairs)
        embeddings = load_embeddings(path)
        title = f"{len(listed.first)} pairs of {len(embeddings.pids)} images"
        return title, score_verification(embeddings, listed).metrics()
    if protocol == "identification":
        features = load_features(path)
        found = score_identification(features)
        mated = int(np.count_nonzero(found.is_mated))
        title = f"{mated} probes of enrolled persons, {len(found.is_mated) - mated} of others"
        return title, found.metrics()
    if protocol != "recall":
        raise ValueError(
            f"protocol: got {protocol!r}, expected one of {', '.join(EMBEDDING_PROTOCOLS)}"
        )
    images = load_features(path) if _has_queries(path) else load_embeddings(path)
    result = score_recall(images, rules)
    title = f"{len(result.queries)} images searched for, {result.num_skipped} without a match"
    return title, result.metrics()


def _has_queries(path: str | os.PathLike[str]) -> bool:
    """Return whether a file looks like ``features.npz``; False for what cannot be read."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "query_features.npy" in archive.namelist()
