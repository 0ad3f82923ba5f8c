"""Results by how often an identity is seen: the head, the middle and the tail of a test set.

Test people are never training people, so this is the test set's own long tail: the boxes of a
person to be found, not examples that the model learned from. Compare two models within a group: the
groups differ from each other in the number of true boxes too, which AP depends on by itself.

Letters: Q queries, P identities that are searched for, V different frequencies among them.
"""

import logging
from dataclasses import dataclass

import numpy as np

from person_search.data.protocol import SearchProtocol
from person_search.evaluation.search import SearchScores
from reid_heads.labels import UNLABELED_PID

logger = logging.getLogger(__name__)

# Names of the groups, most frequent first, by how many there are.
_GROUP_NAMES = {1: ("middle",), 2: ("head", "tail"), 3: ("head", "middle", "tail")}


@dataclass(frozen=True)
class FrequencyGroup:
    """Queries whose identities are about equally frequent."""

    name: str
    """``head``, ``middle`` or ``tail``."""

    queries: np.ndarray
    """(q,) int64, rising: rows of the protocol's queries; one at least."""

    num_identities: int

    least: int
    """Boxes of the rarest identity."""

    most: int
    """Boxes of the most frequent identity."""


def count_boxes(protocol: SearchProtocol) -> np.ndarray:
    """Count the ground-truth boxes of each query's identity in all frames of the protocol.

    The query's own box is among them. Which frames are searched for which query does not matter.

    Returns:
        (Q,) int64; 0 where no box of the protocol has the identity.
    """
    labels = np.concatenate([np.zeros(0, dtype=np.int64), *protocol.frame_pids])
    pids, counts = np.unique(labels[labels != UNLABELED_PID], return_counts=True)
    if not len(pids):
        return np.zeros(len(protocol.query_pids), dtype=np.int64)
    rows = np.minimum(np.searchsorted(pids, protocol.query_pids), len(pids) - 1)
    return np.where(pids[rows] == protocol.query_pids, counts[rows], 0)


def group_queries(protocol: SearchProtocol) -> list[FrequencyGroup]:
    """Part the queries by the frequency of their identities: about a third of the identities each.

    Identities of one frequency always stay together, so that a group is about frequency and not
    about the order of ids: the two cuts are those between different frequencies whose distances
    from a third and from two thirds of the identities are least in sum; of several such pairs the
    one with the smaller head, then the smaller middle. With two frequencies there is no middle,
    with one there is nothing else.

    Returns:
        One to three groups, most frequent first. Each query is in one of them.
    """
    boxes = count_boxes(protocol)
    of_each_identity = boxes[np.unique(protocol.query_pids, return_index=True)[1]]
    frequencies, num_identities = np.unique(-of_each_identity, return_counts=True)
    bounds = [0, *_choose_cuts(np.cumsum(num_identities)), len(frequencies)]
    names = _GROUP_NAMES[len(bounds) - 1]
    groups = []
    for name, start, end in zip(names, bounds[:-1], bounds[1:], strict=True):
        most, least = -int(frequencies[start]), -int(frequencies[end - 1])
        queries = np.flatnonzero((boxes >= least) & (boxes <= most))
        groups.append(
            FrequencyGroup(name, queries, int(num_identities[start:end].sum()), least, most)
        )
    return groups


def summarize_by_frequency(
    protocol: SearchProtocol, scores: SearchScores, prefix: str = "search"
) -> dict[str, dict[str, float]]:
    """Summarise the scores of each group, and log who is in it.

    Args:
        protocol: What was asked.
        scores: Of all its queries.
        prefix: Of the groups' names.

    Returns:
        ``search_head``, ``search_middle`` and ``search_tail``, as far as they exist: the metrics in
        percent, and the number of ``queries``.
    """
    results: dict[str, dict[str, float]] = {}
    for group in group_queries(protocol):
        name = f"{prefix}_{group.name}"
        results[name] = {**scores.summarize(group.queries), "queries": len(group.queries)}
        logger.info(
            "%s: %d identities with %d to %d boxes each in the test set, %d queries",
            name,
            group.num_identities,
            group.least,
            group.most,
            len(group.queries),
        )
    return results


def _choose_cuts(reached: np.ndarray) -> list[int]:
    """Choose after how many of the frequencies the groups end, all but the last.

    Args:
        reached: (V,) identities up to and with each frequency, P at last.
    """
    inner = len(reached) - 1
    if inner < 2:
        return [1] * inner
    total = int(reached[-1])
    # Three times the distances, so that they are whole and ties exact.
    pairs = (
        (abs(3 * int(reached[i]) - total) + abs(3 * int(reached[j]) - 2 * total), i, j)
        for i in range(inner)
        for j in range(i + 1, inner)
    )
    _, head, middle = min(pairs)
    return [head + 1, middle + 1]
