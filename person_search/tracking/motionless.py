"""What never moves, and is probably not a person: a bench, a sign, that a detector takes for one.

The numbers below were chosen on drawn towns (``benchmarks/people.py``), where all people walk. A
person who sits or sleeps keeps a place, too: what is found here is doubtful, not proven.

Letters: N people of an appearance, S appearances.
"""

import numpy as np

from person_search.people import paired_iou

SAME_BOX = 0.7
"""IoU with the median box from which on a sight counts as in its place."""
STILL_SHARE = 0.8
"""Share of the sights of an appearance that are in its place, for the whole to keep it."""
LEAST_SIGHTS, LEAST_SECONDS = 10, 10.0
"""From which on an appearance that keeps its place is motionless by itself."""
LEAST_STAYS = 3
"""From which on short ones at one place are, too."""
ONE_PLACE = 0.7
"""IoU of the median boxes from which on two appearances are at one place."""


def measure_place(boxes: np.ndarray) -> tuple[np.ndarray, float]:
    """Say where an appearance stands, and how much of the time.

    Args:
        boxes: (N, 4) of its sights, x1, y1, x2, y2 in original pixels; N from 1.

    Returns:
        (4,) float64 median box, and the share, 0..1, of the sights with an IoU of at least
        `SAME_BOX` with it.

    Examples:
        >>> bench = np.array([[0, 0, 10, 20], [0, 0, 10, 21], [0, 0, 10, 20]])
        >>> measure_place(bench)
        (array([ 0.,  0., 10., 20.]), 1.0)
    """
    place = np.median(np.asarray(boxes, np.float64), axis=0)
    return place, float((paired_iou(boxes, place) >= SAME_BOX).mean())


def find_motionless(
    places: np.ndarray,
    shares: np.ndarray,
    sights: np.ndarray,
    seconds: np.ndarray,
    things: np.ndarray,
) -> np.ndarray:
    """Find the appearances that keep one place, for long or again and again.

    Args:
        places: (S, 4) median boxes in original pixels.
        shares: (S,) share of the sights in that place; see `measure_place`.
        sights: (S,) in how many frames each was seen.
        seconds: (S,) how long each lasted.
        things: (S,) int64, equal for those that may be one thing: before one camera, and of one
            look, as many people in turn stand at a counter.

    Returns:
        (S,) int64: 0 for what moves, or is too short to say; else how many appearances, this one
        included, keep that place.
    """
    found = np.zeros(len(places), np.int64)
    is_still = shares >= STILL_SHARE
    is_long = (sights >= LEAST_SIGHTS) & (seconds >= LEAST_SECONDS)
    still = np.flatnonzero(is_still)
    order = still[np.argsort(things[still], kind="stable")]
    for rows in np.split(order, np.flatnonzero(np.diff(things[order])) + 1) if len(order) else ():
        for row in rows.tolist():
            count = int((paired_iou(places[rows], places[row]) >= ONE_PLACE).sum())
            if is_long[row] or count >= LEAST_STAYS:
                found[row] = count
    return found


def find_same_place(
    places: np.ndarray,
    embeddings: np.ndarray,
    streams: np.ndarray,
    known: np.ndarray,
    threshold: float,
    min_iou: float = 0.5,
) -> np.ndarray:
    """Find the appearances that stand where a known one does, and look like it.

    Args:
        places: (S, 4) median boxes in original pixels.
        embeddings: (S, D) of unit norm.
        streams: (S,) int64, the stream of each.
        known: (S,) bool, which are known.
        threshold: Least similarity, -1..1.
        min_iou: Least IoU of the median boxes.

    Returns:
        (S,) int64: the row of the most similar known one, of equal ones the first; -1 for none, and
        for the known, too.
    """
    found = np.full(len(places), -1, np.int64)
    best = np.full(len(places), -np.inf)
    for row in np.flatnonzero(known).tolist():
        others = np.flatnonzero(~known & (streams == streams[row]))
        near = others[paired_iou(places[others], places[row]) >= min_iou]
        similar = embeddings[near] @ embeddings[row]
        is_better = (similar >= threshold) & (similar > best[near])
        found[near[is_better]], best[near[is_better]] = row, similar[is_better]
    return found
