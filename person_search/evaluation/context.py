"""Context bipartite graph matching (CBGM): the people beside the query vote as well.

Li and Miao, "Sequential End-to-end Network for Efficient Person Search" (AAAI 2021), section 3.4.
Needs no training.
"""

from dataclasses import dataclass

import numpy as np

from person_search.evaluation.ranking import top_entries


@dataclass(frozen=True)
class ContextMatching:
    """Set how context is matched; `published_context` gives the sizes that papers take.

    Raises:
        ValueError: If a size is below 1.
    """

    k1: int
    """Frames of the k1 most similar detections are looked at again."""

    k2: int
    """People of the query's frame who take part, the query included."""

    use_sum: bool = False
    """Give the query's partner the sum of the matched edges, as the idea suggests; by default the
    largest single one, as the published code does and the published numbers have it."""

    def __post_init__(self) -> None:
        if self.k1 < 1 or self.k2 < 1:
            raise ValueError(f"k1 and k2: got {self.k1} and {self.k2}, expected 1 or more")


_PUBLISHED = {"cuhk_sysu": ContextMatching(k1=10, k2=3), "prw": ContextMatching(k1=30, k2=4)}


def published_context(layout: str) -> ContextMatching:
    """Return the sizes published for a layout; own data is searched as a whole, as PRW is."""
    return _PUBLISHED.get(layout, _PUBLISHED["prw"])


def match_context(
    similarities: np.ndarray,
    frames: np.ndarray,
    gallery_embeddings: np.ndarray,
    people_embeddings: np.ndarray,
    matching: ContextMatching,
) -> np.ndarray:
    """Rerank one query's gallery by the people around the query.

    In each of the frames concerned, the people of the query's frame and the detections form a
    bipartite graph whose edges are dot products. The assignment of the largest sum is found (every
    member of the smaller side is assigned); then the detection assigned to the query gets the
    largest matched edge as its similarity.

    Args:
        similarities: (E,) float32 of the query with the gallery's detections.
        frames: (E,) int, ascending: frame of each detection.
        gallery_embeddings: (E, D) of the detections, times their score if confidence weighting is
            on.
        people_embeddings: (K, D) people in the query's frame: the query first, then by falling
            score.
        matching: How to match.

    Returns:
        New similarities (E,) float32; the input is left as it was. Frames where the query finds no
        partner (fewer detections than people) keep theirs.
    """
    # Half a second to import, which every scoring without context is spared.
    from scipy.optimize import linear_sum_assignment

    revised = similarities.copy()
    people = people_embeddings[: matching.k2].astype(np.float64)
    for frame in np.unique(frames[top_entries(similarities, matching.k1)]):
        first, last = np.searchsorted(frames, [frame, frame + 1])
        edges = people @ gallery_embeddings[first:last].astype(np.float64).T
        persons, partners = linear_sum_assignment(edges, maximize=True)
        if persons[0] != 0:
            continue
        matched = edges[persons, partners]
        revised[first + partners[0]] = matched.sum() if matching.use_sum else matched.max()
    return revised
