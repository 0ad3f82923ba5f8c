"""How well a sight shows its person.

Letter: N people, in all frames of a stream.
"""

from collections.abc import Iterator

import numpy as np

from person_search.people import People, paired_intersection


def view_qualities(times: np.ndarray, people: People) -> np.ndarray:
    """Say how well each sight shows its person.

    The score, times the root of the box's area, times the share of it that nobody stands before: of
    two boxes that overlap, the one that ends lower in the picture is in front.

    Args:
        times: (N,) seconds, not falling; people of the same time are of the same frame.
        people: All of them, N rows.

    Returns:
        (N,) float64; comparable within a stream.

    Raises:
        ValueError: Times fall.
    """
    boxes = np.asarray(people.boxes, np.float64)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    free = np.ones(len(boxes))
    for rows in _frames(times):
        own = boxes[rows]
        covered = paired_intersection(own[:, None], own[None]) / np.maximum(areas[rows, None], 1e-9)
        in_front = own[None, :, 3] > own[:, None, 3]
        free[rows] -= np.where(in_front, covered, 0).max(axis=1)
    scores = np.asarray(people.scores, np.float64)
    return np.asarray(scores * np.sqrt(np.maximum(areas, 0)) * free)


def _frames(times: np.ndarray) -> Iterator[np.ndarray]:
    steps = np.diff(times)
    if (steps < 0).any():
        row = int(np.argmax(steps < 0))
        raise ValueError(
            f"time {times[row + 1]:g} comes after {times[row]:g}; expected the people in order of "
            "time"
        )
    yield from np.split(np.arange(len(times)), np.flatnonzero(steps) + 1) if len(times) else ()
