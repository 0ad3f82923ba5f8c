"""What was tried to join the groups of one person, for `benchmarks/people.py`: it gains nothing.

Each is compared with a lower threshold, which joins groups, too. N appearances of D numbers.
"""

from collections.abc import Callable

import numpy as np

from person_search.tracking.groups import group_looks

Similar = Callable[[np.ndarray, np.ndarray, list[np.ndarray]], np.ndarray]


def centroids(embeddings: np.ndarray, frames: np.ndarray, groups: list[np.ndarray]) -> np.ndarray:
    """Compare the means of groups, of unit norm: what differs from stay to stay is evened out."""
    sums = np.stack([(embeddings[rows] * frames[rows, None]).sum(axis=0) for rows in groups])
    means = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    return means @ means.T


def best_pairs(count: int) -> Similar:
    """Compare groups by the mean of their so many most similar pairs of appearances."""

    def similar(embeddings: np.ndarray, _: np.ndarray, groups: list[np.ndarray]) -> np.ndarray:
        found = np.full((len(groups), len(groups)), -1.0)
        for a, rows in enumerate(groups):
            for b, others in enumerate(groups[:a]):
                pairs = np.sort((embeddings[rows] @ embeddings[others].T).ravel())[::-1]
                if len(pairs) >= count:
                    found[a, b] = found[b, a] = pairs[:count].mean()
        return found

    return similar


def second_pass(
    embeddings: np.ndarray,
    frames: np.ndarray,
    labels: np.ndarray,
    apart: np.ndarray,
    similar: Similar,
    threshold: float,
) -> np.ndarray:
    """Join groups, the most similar first, as long as any are similar enough.

    Args:
        embeddings: (N, D) of unit norm.
        frames: (N,) in how many each was seen.
        labels: (N,) groups of the first pass.
        apart: (P, 2) rows that are different people.
        similar: how similar groups are.
        threshold: least similarity.

    Returns:
        (N,) labels.
    """
    labels = labels.copy()
    while True:
        numbers = np.unique(labels)
        groups = [np.flatnonzero(labels == number) for number in numbers]
        values = np.triu(similar(embeddings, frames, groups) + 2, 1) - 2
        values[np.tril_indices(len(groups))] = -1
        places = np.searchsorted(numbers, labels[apart])
        values[places[:, 0], places[:, 1]] = values[places[:, 1], places[:, 0]] = -1
        first, second = np.unravel_index(values.argmax(), values.shape)
        if values[first, second] < threshold:
            return labels
        labels[groups[second]] = numbers[first]


def without_cameras(embeddings: np.ndarray, cameras: np.ndarray) -> np.ndarray:
    """Take the mean of each camera away, as what its light and angle do to everybody."""
    rows = embeddings.astype(np.float64)
    for camera in np.unique(cameras):
        rows[cameras == camera] -= rows[cameras == camera].mean(axis=0)
    scaled: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return scaled.astype(np.float32)


def try_all(
    embeddings: np.ndarray,
    frames: np.ndarray,
    cameras: np.ndarray,
    apart: np.ndarray,
    calibrated: float,
) -> dict[str, np.ndarray]:
    """Return the labels that each way gives, by its name."""

    def plain(threshold: float, rows: np.ndarray = embeddings) -> np.ndarray:
        return group_looks(rows, threshold, weights=frames, apart=apart)

    first = plain(calibrated)
    found = {"as people does": first}
    ways = {"means of groups": centroids, "two best pairs": best_pairs(2),
            "three best pairs": best_pairs(3)}  # fmt: skip
    for name, similar in ways.items():
        for threshold in (calibrated, 0.75, 0.7):
            found[f"second pass, {name} from {threshold:.2f} on"] = second_pass(
                embeddings, frames, first, apart, similar, threshold
            )
    plainer = without_cameras(embeddings, cameras)
    for threshold in (calibrated, 0.75, 0.7):
        found[f"without the mean of the camera, from {threshold:.2f} on"] = plain(
            threshold, plainer
        )
    for threshold in (0.75, 0.7, 0.6):
        found[f"no second pass, from {threshold:.2f} on"] = plain(threshold)
    return found
