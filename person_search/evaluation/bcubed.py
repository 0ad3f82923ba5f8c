"""How well a grouping of appearances is that of the people: B-cubed.

Bagga and Baldwin, "Algorithms for Scoring Coreference Chains" (LREC 1998 workshop); Amigó et al.,
"A Comparison of Extrinsic Clustering Evaluation Metrics Based on Formal Constraints" (Information
Retrieval, 2009).

Letters: N items, K pairs of a person and a group that meet.
"""

import numpy as np


def evaluate_groups(true: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Score a grouping against the true one.

    Of an item, precision is the share of its found group, itself counted, that is of its person;
    recall is the share of its person's items that is in its group. Both are averaged over items, so
    that a person who comes often weighs more.

    Args:
        true: (N,) the person of each item: equal values mean the same.
        found: (N,) the group of each item, likewise.

    Returns:
        In percent: ``precision``, ``recall`` and ``F``, the harmonic mean of the two; 0 for no
        items. ``groups`` and ``people``: how many there are.

    Raises:
        ValueError: Shapes do not fit each other.

    Examples:
        >>> evaluate_groups(np.array([1, 1, 2]), np.array([7, 7, 7]))["recall"]
        100.0
    """
    true, found = np.asarray(true), np.asarray(found)
    if true.ndim != 1 or true.shape != found.shape:
        raise ValueError(
            f"true and found have shapes {true.shape} and {found.shape}; expected (N,) both"
        )
    if not len(true):
        return {"precision": 0.0, "recall": 0.0, "F": 0.0, "groups": 0, "people": 0}
    people, of_person = np.unique(true, return_inverse=True)
    groups, of_group = np.unique(found, return_inverse=True)
    pairs, counts = np.unique(np.stack([of_person, of_group]), axis=1, return_counts=True)
    # Each of the items of a pair has as many of its own kind in its group as the pair has items.
    precision = (counts**2 / np.bincount(of_group)[pairs[1]]).sum() / len(true)
    recall = (counts**2 / np.bincount(of_person)[pairs[0]]).sum() / len(true)
    return {
        "precision": 100 * float(precision),
        "recall": 100 * float(recall),
        "F": 100 * float(2 * precision * recall / (precision + recall)),
        "groups": len(groups),
        "people": len(people),
    }
