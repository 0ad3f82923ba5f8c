"""Verification against slow loops over thresholds, and worked by hand."""

import numpy as np
import pytest

from reid_heads.evaluation.similarity import normalize_rows
from reid_heads.evaluation.verification import (
    accuracy_at,
    evaluate_verification,
    find_best_grid_threshold,
    find_best_threshold,
    pair_similarities,
    roc_curve,
)


def draw_pairs(seed, num=60, levels=None):
    """Similarities in -1..1 that tie often where there are few levels, and labels."""
    rng = np.random.default_rng(seed)
    is_genuine = rng.random(num) < 0.5
    is_genuine[:2] = True, False
    similarities = np.clip(rng.standard_normal(num) * 0.3 + 0.3 * is_genuine, -1, 1)
    if levels:
        similarities = np.round(similarities * levels) / levels
    return similarities, is_genuine


def naive_accuracy(similarities, is_genuine, threshold):
    right = 0
    for similarity, genuine in zip(similarities, is_genuine, strict=True):
        right += (similarity >= threshold) == genuine
    return right / len(similarities)


def naive_fold(similarities, is_genuine, own, thresholds):
    """The published protocol, pair by pair; thresholds from strict to loose, the first best."""
    rest = ~own
    scores = [naive_accuracy(similarities[rest], is_genuine[rest], t) for t in thresholds]
    best = thresholds[int(np.argmax(scores))]
    return naive_accuracy(similarities[own], is_genuine[own], best)


@pytest.mark.parametrize("levels", [None, 3, 10])
@pytest.mark.parametrize("seed", range(4))
def test_best_threshold_is_best_of_all(seed, levels):
    similarities, is_genuine = draw_pairs(seed, levels=levels)
    values = np.unique(similarities)
    between = np.concatenate([[-9], (values[1:] + values[:-1]) / 2, [9]])
    scores = [naive_accuracy(similarities, is_genuine, t) for t in between]
    found = find_best_threshold(similarities, is_genuine)
    assert naive_accuracy(similarities, is_genuine, found) == max(scores)
    # The strictest of the best, and not on a similarity itself.
    last = max(i for i, score in enumerate(scores) if score == max(scores))
    if 0 < last < len(between) - 1:
        assert found == between[last]
    assert found not in values


def test_best_threshold_at_the_ends():
    values = np.array([0.1, 0.2, 0.4])
    assert find_best_threshold(values, np.ones(3, bool)) == pytest.approx(0.05)
    assert find_best_threshold(values, np.zeros(3, bool)) == pytest.approx(0.5)
    assert find_best_threshold(np.full(2, 0.3), np.ones(2, bool)) == pytest.approx(-0.7)
    assert find_best_threshold(np.full(2, 0.3), np.zeros(2, bool)) == pytest.approx(1.3)
    # There is no number between neighbours: the upper one still parts them.
    low = 0.5
    both = np.array([low, np.nextafter(low, 1)])
    assert find_best_threshold(both, np.array([False, True])) == both[1]


@pytest.mark.parametrize("levels", [None, 5])
def test_folds_as_the_slow_protocol(levels):
    similarities, is_genuine = draw_pairs(7, 120, levels)
    folds = np.arange(120) // 12
    result = evaluate_verification(similarities, is_genuine, folds)

    # Squared distances of unit vectors, nearer than the threshold: as the usual code has it.
    distances = 2 - 2 * similarities
    expected = []
    for fold in range(10):
        rest, own = folds != fold, folds == fold
        scores = [np.mean((distances[rest] < t) == is_genuine[rest]) for t in np.arange(0, 4, 0.01)]
        best = np.arange(0, 4, 0.01)[int(np.argmax(scores))]
        expected.append(np.mean((distances[own] < best) == is_genuine[own]))
    np.testing.assert_allclose(result.grid_accuracies, expected)

    for fold in range(10):
        rest = folds != fold
        values = np.unique(similarities[rest])[::-1]
        between = [values[0] + 1, *(values[1:] + values[:-1]) / 2, values[-1] - 1]
        slow = naive_fold(similarities, is_genuine, ~rest, between)
        assert result.fold_accuracies[fold] == pytest.approx(slow)
    assert result.metrics()["accuracy"] == pytest.approx(100 * result.fold_accuracies.mean())


def test_worked_by_hand():
    # Two folds of two and two. On fold 1 the best threshold is (0.5 + 0.3) / 2; it accepts 0.9 and
    # 0.6 of fold 0 rightly, rejects 0.1, and accepts the impostor 0.45: 3 of 4. On fold 0 it is
    # (0.6 + 0.45) / 2 = 0.525, which rejects the genuine 0.5: 3 of 4.
    similarities = np.array([0.9, 0.6, 0.45, 0.1, 0.8, 0.5, 0.3, 0.2])
    is_genuine = np.array([True, True, False, False] * 2)
    result = evaluate_verification(similarities, is_genuine, np.repeat([4, 9], 4))
    np.testing.assert_allclose(result.fold_thresholds, [0.4, 0.525])
    np.testing.assert_allclose(result.fold_accuracies, [0.75, 0.75])
    metrics = result.metrics()
    assert metrics["accuracy"] == 75 and metrics["accuracy_std"] == 0
    # Of 4 x 4 couples all are in order: the least genuine, 0.5, is above 0.45.
    assert metrics["AUC"] == 100
    # 4 impostors: no rate below 1/4 can be measured.
    assert not any(name.startswith("TAR") for name in metrics)


@pytest.mark.parametrize("levels", [None, 2, 8])
def test_roc_against_loops(levels):
    similarities, is_genuine = draw_pairs(3, 80, levels)
    roc = roc_curve(similarities, is_genuine)
    genuine, impostors = similarities[is_genuine], similarities[~is_genuine]
    for threshold, far, tar in zip(
        roc.thresholds, roc.false_accept_rates, roc.true_accept_rates, strict=True
    ):
        assert far == np.mean(impostors >= threshold)
        assert tar == np.mean(genuine >= threshold)
    ordered = [(g > i) + 0.5 * (g == i) for g in genuine for i in impostors]
    assert roc.area() == pytest.approx(np.mean(ordered))
    for rate in (0, 0.01, 0.1, 0.3, 1):
        allowed = [t for t in [np.inf, *similarities] if np.mean(impostors >= t) <= rate]
        best = max(np.mean(genuine >= t) for t in allowed)
        assert roc.at_false_accept_rate(rate) == (best, min(allowed))


def test_a_rate_of_exactly_one_impostor_counts():
    """0.001 x 1000 is a little more or less than 1 in floating point."""
    similarities = np.concatenate([np.full(5, 0.5), [0.9], np.full(999, 0.1)])
    is_genuine = np.arange(1005) < 5
    metrics = evaluate_verification(similarities, is_genuine, np.arange(1005) % 2).metrics()
    assert metrics["TAR@FAR0.001"] == 100
    assert "TAR@FAR0.0001" not in metrics


def test_pair_similarities_block_by_block(monkeypatch):
    rng = np.random.default_rng(0)
    rows = normalize_rows(rng.standard_normal((20, 6)))
    first, second = rng.integers(0, 20, (2, 33))
    expected = [float(rows[a].astype(float) @ rows[b]) for a, b in zip(first, second, strict=True)]
    for gathered in (1, 40, 10_000):
        monkeypatch.setattr("reid_heads.evaluation.verification._GATHERED", gathered)
        np.testing.assert_allclose(pair_similarities(rows, first, second), expected, rtol=1e-12)


def test_bad_input():
    similarities, is_genuine = draw_pairs(0)
    folds = np.arange(60) // 6
    with pytest.raises(ValueError, match="1 different folds"):
        evaluate_verification(similarities, is_genuine, folds * 0)
    with pytest.raises(ValueError, match="0 genuine and 60 impostor pairs"):
        evaluate_verification(similarities, is_genuine & False, folds)
    with pytest.raises(ValueError, match="NaN, first of pair 3"):
        evaluate_verification(np.where(np.arange(60) == 3, np.nan, similarities), is_genuine, folds)
    with pytest.raises(ValueError, match="expected bool"):
        roc_curve(similarities, is_genuine.astype(int))
    with pytest.raises(ValueError, match="one of each for a pair"):
        roc_curve(similarities[1:], is_genuine)
    with pytest.raises(ValueError, match=r"got 1\.5"):
        roc_curve(similarities, is_genuine).at_false_accept_rate(1.5)


def test_a_pair_at_the_threshold_is_accepted():
    similarities = np.array([0.5, 0.5, 0.25, 0.5])
    is_genuine = np.array([True, True, False, False])
    # The three of 0.5 are accepted, the last of them wrongly; the impostor of 0.25 is rejected.
    assert accuracy_at(similarities, is_genuine, 0.5) == 0.75


def test_the_grid_begins_with_accepting_nothing():
    """The squared distance 0, which no pair is nearer than, even of equal images."""
    similarities, is_genuine = np.array([1.0, 0.25]), np.array([False, True])
    # Whoever accepts the genuine pair accepts the impostor: 1 of 2 right either way.
    threshold = find_best_grid_threshold(similarities, is_genuine)
    assert threshold == np.nextafter(1, np.inf)
    assert accuracy_at(similarities, is_genuine, threshold) == 0.5


def test_grid_is_strict_at_its_points():
    """A pair exactly at a threshold of the grid is not nearer than it."""
    # Squared distances 1 and 0.5: the grid's first threshold above 0.5 parts them.
    threshold = find_best_grid_threshold(np.array([0.5, 0.75]), np.array([False, True]))
    assert 0.5 < threshold < 0.75
    assert threshold == pytest.approx(1 - 0.51 / 2)
