"""Average precision and ranks of the few true detections in a long list, without sorting the list.

Only the similarities at or above the least similar true detection matter, and only their number.
"""

import numpy as np


def average_precision(similarities: np.ndarray, true_entries: np.ndarray) -> float:
    """Compute the step-wise average precision over the true entries.

    Equal to scikit-learn's ``average_precision_score`` since 0.19: entries of one similarity share
    one threshold, so their order does not matter. (Before 0.19 it interpolated linearly; numbers
    published before 2018 may differ.)

    Args:
        similarities: (E,) of all entries; -inf never counts.
        true_entries: (T,) rows of the true ones, distinct and finite.

    Returns:
        0..1; 0 if nothing is true.
    """
    if not len(true_entries):
        return 0.0
    true = np.sort(similarities[true_entries])
    above = np.sort(similarities[similarities >= true[0]])
    num_above = len(above) - np.searchsorted(above, true)
    num_true = len(true) - np.searchsorted(true, true)
    return float(np.mean(num_true / num_above))


def first_true_rank(similarities: np.ndarray, true_entries: np.ndarray) -> int:
    """Return the rank, from 1, of the best true entry; 0 if nothing is true.

    Ties go by row, the earlier first. The official evaluators call ``argsort()[::-1]``, whose order
    among ties depends on NumPy's sorting algorithm and on the machine.
    """
    if not len(true_entries):
        return 0
    true = similarities[true_entries]
    best = true.max()
    entry = true_entries[true == best].min()
    ahead = np.count_nonzero(similarities > best)
    return int(ahead + np.count_nonzero(similarities[:entry] == best)) + 1


def top_entries(similarities: np.ndarray, number: int) -> np.ndarray:
    """Return the rows of the most similar entries, best first, ties by row; never one at -inf.

    Args:
        similarities: (E,).
        number: How many, at least 0; fewer come back where there are fewer.
    """
    candidates = np.flatnonzero(similarities > -np.inf)
    if 0 < number < len(candidates):
        least = np.partition(similarities, len(similarities) - number)[-number]
        candidates = np.flatnonzero(similarities >= least)
    order = np.argsort(-similarities[candidates], kind="stable")
    return candidates[order[: max(number, 0)]]
