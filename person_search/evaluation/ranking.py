"""Average precision and ranks of the few true detections in a long list, without sorting the list.

Only the similarities at or above the least similar true detection matter, and only their number.
"""

import numpy as np


def average_precision(similarities: np.ndarray, true_entries: np.ndarray) -> float:
    """Compute the average precision alone, as ``rank_true`` does.

    Examples:
        >>> similarities = np.array([0.9, 0.8, 0.7, 0.1])
        >>> round(average_precision(similarities, np.array([0, 2])), 3)  # (1/1 + 2/3) / 2
        0.833
    """
    return rank_true(similarities, true_entries)[0]


def rank_true(similarities: np.ndarray, true_entries: np.ndarray) -> tuple[float, int]:
    """Compute the step-wise average precision over the true entries, and the best one's rank.

    The precision equals scikit-learn's ``average_precision_score`` since 0.19: entries of one
    similarity share one threshold, so their order does not matter. (Before 0.19 it interpolated
    linearly; numbers published before 2018 may differ.)

    In the rank, ties go by row, the earlier first. The official evaluators call
    ``argsort()[::-1]``, whose order among ties depends on NumPy's sorting algorithm and on the
    machine.

    Args:
        similarities: (E,) of all entries; -inf never counts.
        true_entries: (T,) rows of the true ones, distinct and finite.

    Returns:
        Precision in 0..1 and rank from 1; 0 and 0 if nothing is true.

    Examples:
        >>> rank_true(np.array([0.9, 0.8, 0.7, 0.1]), true_entries=np.array([1]))
        (0.5, 2)
    """
    if not len(true_entries):
        return 0.0, 0
    # Methods, not functions: a gallery of 100 frames is so small that NumPy's wrappers would take
    # as long as the work.
    true = similarities[true_entries]
    true.sort()
    above = similarities.compress(similarities >= true[0])  # five times faster than indexing
    above.sort()
    num_above = len(above) - above.searchsorted(true)
    num_true = len(true) - true.searchsorted(true)
    precision = float((num_true / num_above).sum()) / len(true)
    best = true[-1]
    rank = len(above) - int(above.searchsorted(best, side="right")) + 1
    if num_above[-1] > num_true[-1]:
        entry = true_entries[similarities[true_entries] == best].min()
        rank += int(np.count_nonzero(similarities[:entry] == best))
    return precision, rank


def top_entries(similarities: np.ndarray, number: int) -> np.ndarray:
    """Return the rows of the most similar entries, best first, ties by row; never one at -inf.

    Args:
        similarities: (E,).
        number: How many, at least 0; fewer come back where there are fewer.

    Examples:
        >>> top_entries(np.array([0.1, 0.9, -np.inf, 0.8]), number=2)
        array([1, 3])
    """
    candidates = np.flatnonzero(similarities > -np.inf)
    if 0 < number < len(candidates):
        least = np.partition(similarities, len(similarities) - number)[-number]
        candidates = np.flatnonzero(similarities >= least)
    order = np.argsort(-similarities[candidates], kind="stable")
    return candidates[order[: max(number, 0)]]
