"""What a network gives, made what a user gets: original pixels, unit norm, scores that count."""

import numpy as np

from person_search.people import People
from reid_heads.unit_norm import is_unit_norm


def in_original_pixels(
    people: People, image: np.ndarray, prepared: np.ndarray, min_score: float
) -> People:
    """Scale and clip boxes as detectron2's ``detector_postprocess``; keep scores that count.

    Args:
        people: boxes in resized pixels.
        image: (H, W, 3), as it was given.
        prepared: (h, w, 3), as the network saw it.
        min_score: least score, 0..1, of who is kept.
    """
    (height, width), (new_height, new_width) = image.shape[:2], prepared.shape[:2]
    scale = np.array([width / new_width, height / new_height] * 2, np.float32)
    boxes = (people.boxes * scale).clip(0, np.array([width, height] * 2, np.float32))
    keep = (boxes[:, 2:] > boxes[:, :2]).all(axis=1) & (people.scores >= min_score)
    return People(boxes[keep], people.scores[keep], people.embeddings[keep])


def checked(people: People, embedding_dim: int) -> People:
    """Return people with float32 embeddings of unit norm, or refuse what cannot be compared.

    Raises:
        ValueError: if embeddings are not of unit norm already, but for rounding.
    """
    embeddings = people.embeddings.astype(np.float32).reshape(-1, embedding_dim)
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    if not is_unit_norm(norms).all():
        raise ValueError(
            f"the model gives embeddings of norm {norms.min():.4g} to {norms.max():.4g}, "
            "expected 1. With NaN its training has diverged or half precision overflows: try "
            "half=False, else other weights"
        )
    return People(people.boxes, people.scores.astype(np.float32), embeddings / norms)
