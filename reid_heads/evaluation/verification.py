"""1:1 verification: accuracy by folds, ROC, and the share accepted at a false accept rate.

A pair is accepted as one person where its similarity is at least the threshold. Everything is
counted, nothing interpolated: pairs of equal similarity are accepted or rejected together.

Letters: N pairs, F folds, T thresholds, D embedding size.
"""

from dataclasses import dataclass

import numpy as np

FALSE_ACCEPT_RATES = (0.1, 0.01, 0.001, 0.0001)

GRID_STEP = 0.01
"""Of squared Euclidean distances of unit vectors, 0..4: the published protocol tries thresholds
this far apart."""

_GATHERED = 4_000_000


@dataclass(frozen=True)
class RocCurve:
    """Hold the rates at every threshold that makes a difference, the strictest first."""

    thresholds: np.ndarray
    """(T,) float64, falling: +inf, which accepts nothing, then each similarity that occurs."""

    false_accept_rates: np.ndarray
    """(T,) in 0..1, rising: share of impostor pairs accepted."""

    true_accept_rates: np.ndarray
    """(T,) in 0..1, rising: share of genuine pairs accepted."""

    def area(self) -> float:
        """Return the area under the curve, 0..1, ties as straight lines.

        It is the share of (genuine, impostor) couples that are ordered rightly, ties half.
        """
        fars, tars = self.false_accept_rates, self.true_accept_rates
        return float((np.diff(fars) * (tars[1:] + tars[:-1])).sum() / 2)

    def at_false_accept_rate(self, rate: float) -> tuple[float, float]:
        """Return the true accept rate and the threshold with at most ``rate`` false accepts.

        Of all thresholds that keep to the rate it is the least strict one.

        Raises:
            ValueError: If the rate is not within 0..1.
        """
        if not 0.0 <= rate <= 1.0:
            raise ValueError(f"rate: got {rate}, expected a false accept rate within 0..1")
        last = int(self.false_accept_rates.searchsorted(rate, side="right")) - 1
        return float(self.true_accept_rates[last]), float(self.thresholds[last])


@dataclass(frozen=True)
class VerificationResult:
    """Hold what the scores of a list of pairs gave."""

    fold_accuracies: np.ndarray
    """(F,) in 0..1: of each fold with the threshold that is best on the others."""

    fold_thresholds: np.ndarray
    """(F,) similarities."""

    grid_accuracies: np.ndarray
    """(F,) in 0..1: the same with thresholds on the published grid only."""

    roc: RocCurve

    num_impostors: int

    def metrics(self) -> dict[str, float]:
        """Return the numbers by name.

        Returns:
            ``accuracy``, its standard deviation over the folds ``accuracy_std``,
            ``accuracy_grid``, ``AUC`` and ``TAR@FAR0.1`` .. in percent, and the mean ``threshold``,
            a similarity. A false accept rate that is less than one impostor pair is left out.
        """
        metrics = {
            "accuracy": 100 * float(self.fold_accuracies.mean()),
            "accuracy_std": 100 * float(self.fold_accuracies.std()),
            "accuracy_grid": 100 * float(self.grid_accuracies.mean()),
            "AUC": 100 * self.roc.area(),
        }
        for rate in FALSE_ACCEPT_RATES:
            if 1 / self.num_impostors <= rate:
                metrics[f"TAR@FAR{rate:g}"] = 100 * self.roc.at_false_accept_rate(rate)[0]
        return metrics | {"threshold": float(self.fold_thresholds.mean())}


def evaluate_verification(
    similarities: np.ndarray, is_genuine: np.ndarray, folds: np.ndarray
) -> VerificationResult:
    """Score the similarities of pairs.

    Args:
        similarities: (N,) cosines; higher is more similar.
        is_genuine: (N,) bool: whether a pair shows one person twice.
        folds: (N,) integer: the fold of each pair, at least two different ones.

    Returns:
        Accuracies and rates. The accuracy is that of LFW's protocol: for each fold the threshold is
        the one that is best on all the others.

    Raises:
        ValueError: If an array does not fit, a similarity is NaN, there is one fold only, or either
            kind of pairs is missing.

    Examples:
        >>> result = evaluate_verification(
        ...     similarities=np.array([0.9, 0.2, 0.8, 0.3]),
        ...     is_genuine=np.array([True, False, True, False]),
        ...     folds=np.array([0, 0, 1, 1]),
        ... )
        >>> result.fold_accuracies, result.fold_thresholds
        (array([1., 1.]), array([0.55, 0.55]))
    """
    _check_pairs(similarities, is_genuine)
    names = np.unique(folds)
    if folds.shape != similarities.shape or len(names) < 2:
        raise ValueError(
            f"folds: got shape {folds.shape} with {len(names)} different folds for "
            f"{len(similarities)} pairs, expected one number a pair and at least two folds: the "
            "threshold of each is chosen on the others"
        )
    # Once: sorting what is sorted already takes a fiftieth of the time, and each fold sorts.
    order = np.argsort(-similarities, kind="stable")
    similarities, is_genuine, folds = similarities[order], is_genuine[order], folds[order]
    accuracies, thresholds, on_grid = [], [], []
    for name in names:
        is_test = folds == name
        train = similarities[~is_test], is_genuine[~is_test]
        test = similarities[is_test], is_genuine[is_test]
        exact, coarse = find_best_threshold(*train), find_best_grid_threshold(*train)
        thresholds.append(exact)
        accuracies.append(accuracy_at(*test, exact))
        on_grid.append(accuracy_at(*test, coarse))
    return VerificationResult(
        fold_accuracies=np.array(accuracies),
        fold_thresholds=np.array(thresholds),
        grid_accuracies=np.array(on_grid),
        roc=roc_curve(similarities, is_genuine),
        num_impostors=int(np.count_nonzero(~is_genuine)),
    )


def accuracy_at(similarities: np.ndarray, is_genuine: np.ndarray, threshold: float) -> float:
    """Return the share of pairs, 0..1, that a threshold puts on the right side."""
    return float(np.mean((similarities >= threshold) == is_genuine))


def roc_curve(similarities: np.ndarray, is_genuine: np.ndarray) -> RocCurve:
    """Count accepted pairs at every threshold.

    Args:
        similarities: (N,), none NaN.
        is_genuine: (N,) bool.

    Raises:
        ValueError: If an array does not fit or either kind of pairs is missing.
    """
    _check_pairs(similarities, is_genuine)
    values, genuine, impostors = _count_accepted(similarities, is_genuine)
    return RocCurve(
        thresholds=np.concatenate([[np.inf], values]),
        false_accept_rates=np.concatenate([[0.0], impostors / impostors[-1]]),
        true_accept_rates=np.concatenate([[0.0], genuine / genuine[-1]]),
    )


def find_best_threshold(similarities: np.ndarray, is_genuine: np.ndarray) -> float:
    """Return a threshold that puts the most pairs on the right side.

    It lies half-way between two similarities that occur; of several equally good ones it is the
    strictest. Where it is best to accept all pairs, or none, it is the last that does so with a
    margin of half the distance between the similarities at that end, or 1 where all are equal.

    Args:
        similarities: (N,) of at least one pair, none NaN.
        is_genuine: (N,) bool.
    """
    values, genuine, impostors = _count_accepted(similarities, is_genuine)
    right = np.concatenate([[0], genuine - impostors])
    best = int(np.argmax(right))
    if 0 < best < len(values):
        middle = (values[best - 1] + values[best]) / 2
        # Between neighbouring numbers there is no middle; the upper one accepts the same pairs.
        return float(middle if middle > values[best] else values[best - 1])
    if len(values) == 1:
        return float(values[0] + (1.0 if best == 0 else -1.0))
    if best == 0:
        return float(values[0] + (values[0] - values[1]) / 2)
    return float(values[-1] - (values[-2] - values[-1]) / 2)


def find_best_grid_threshold(similarities: np.ndarray, is_genuine: np.ndarray) -> float:
    """Return the best threshold whose squared Euclidean distance is on the published grid.

    The usual code tries the squared distances 0, 0.01, .. below 4 of unit vectors, accepts what is
    nearer, and keeps the first, strictest, of equally good ones; published accuracies of LFW,
    CFP-FP and AgeDB are from there. A squared distance d is the cosine 1 - d / 2.
    """
    distances = np.arange(0, 4, GRID_STEP)
    # "Nearer than" as "at least": the next number above the cosine.
    grid = np.nextafter(1 - distances / 2, np.inf)
    genuine = np.sort(similarities[is_genuine], kind="stable")
    impostors = np.sort(similarities[~is_genuine], kind="stable")
    accepted = len(genuine) - genuine.searchsorted(grid)
    wrongly = len(impostors) - impostors.searchsorted(grid)
    return float(grid[int(np.argmax(accepted - wrongly))])


def pair_similarities(features: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the cosine of each pair of rows.

    Args:
        features: (rows, D) of unit norm.
        first: (N,) row of one image of each pair.
        second: (N,) row of the other.

    Returns:
        (N,) float64; the rows are gathered a block at a time.
    """
    similarities = np.empty(len(first))
    step = max(1, _GATHERED // features.shape[1])
    for start in range(0, len(first), step):
        rows = slice(start, start + step)
        one = features[first[rows]].astype(np.float64)
        other = features[second[rows]].astype(np.float64)
        similarities[rows] = np.einsum("nd,nd->n", one, other)
    return similarities


def _count_accepted(
    similarities: np.ndarray, is_genuine: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each similarity that occurs, falling, and the genuine and impostor pairs at it."""
    order = np.argsort(-similarities, kind="stable")
    ordered = similarities[order].astype(np.float64)
    genuine = np.cumsum(is_genuine[order])
    is_last = np.append(ordered[1:] != ordered[:-1], True)
    ends = np.flatnonzero(is_last)
    return ordered[ends], genuine[ends], ends + 1 - genuine[ends]


def _check_pairs(similarities: np.ndarray, is_genuine: np.ndarray) -> None:
    if similarities.ndim != 1 or similarities.shape != is_genuine.shape:
        raise ValueError(
            f"pairs: got similarities of shape {similarities.shape} and labels of shape "
            f"{is_genuine.shape}, expected one axis, one of each for a pair"
        )
    if is_genuine.dtype != np.bool_:
        raise ValueError(f"is_genuine: got {is_genuine.dtype}, expected bool")
    if np.isnan(similarities).any():
        raise ValueError(f"similarities: NaN, first of pair {int(np.isnan(similarities).argmax())}")
    genuine = int(np.count_nonzero(is_genuine))
    if genuine in (0, len(is_genuine)):
        raise ValueError(
            f"pairs: got {genuine} genuine and {len(is_genuine) - genuine} impostor pairs, "
            "expected some of both"
        )
