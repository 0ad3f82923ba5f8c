"""Identification with rejection against slow loops, and worked by hand."""

import numpy as np
import pytest

from reid_heads.evaluation.identification import evaluate_identification


def naive(similarities, probe_pids, enrolled_pids, rate):
    """Try every threshold, probe by probe; returns rank-1 and the best TPIR within the rate."""
    answers = []
    for row in similarities:
        best = 0
        for column in range(len(row)):
            if row[column] > row[best]:
                best = column
        answers.append((row[best], enrolled_pids[best]))
    mated = [p in set(enrolled_pids.tolist()) for p in probe_pids]
    right = [answer[1] == p for answer, p in zip(answers, probe_pids, strict=True)]
    best_tpir = 0.0
    for threshold in {score for score, _ in answers}:
        wrong = [s >= threshold for (s, _), m in zip(answers, mated, strict=True) if not m]
        if sum(wrong) / len(wrong) <= rate:
            hits = [
                r and s >= threshold
                for (s, _), m, r in zip(answers, mated, right, strict=True)
                if m
            ]
            best_tpir = max(best_tpir, sum(hits) / len(hits))
    rank1 = [r for r, m in zip(right, mated, strict=True) if m]
    return sum(rank1) / len(rank1), best_tpir


@pytest.mark.parametrize("levels", [4, 20, None])
@pytest.mark.parametrize("block", [1, 7, 100])
def test_against_loops(levels, block):
    rng = np.random.default_rng(5)
    for _ in range(5):
        enrolled, probes = rng.integers(0, 8, 14), rng.integers(0, 14, 40)
        similarities = rng.random((40, 14)) + 0.4 * (probes[:, None] == enrolled)
        if levels:
            similarities = np.round(similarities * levels)
        blocks = [similarities[i : i + block] for i in range(0, 40, block)]
        result = evaluate_identification(blocks, probes, enrolled)
        for rate in (0, 0.1, 0.25, 1):
            rank1, tpir = naive(similarities, probes, enrolled, rate)
            assert result.rank1() == pytest.approx(rank1)
            assert result.at_false_positive_rate(rate)[0] == pytest.approx(tpir)


def test_worked_by_hand():
    # Enrolled 1, 1, 2. Probes of 1, 2 and 2 are mated, 7 and 8 are nobody's.
    similarities = np.array(
        [[0.2, 0.9, 0.1], [0.1, 0.3, 0.6], [0.7, 0.1, 0.5], [0.1, 0.2, 0.5], [0.65, 0.1, 0.2]]
    )
    result = evaluate_identification([similarities], np.array([1, 2, 2, 7, 8]), np.array([1, 1, 2]))
    assert result.rank1() == pytest.approx(2 / 3)
    # Nobody of the two may pass: above 0.65 are 0.7, wrong, and 0.9, right.
    assert result.at_false_positive_rate(0.0) == (pytest.approx(1 / 3), 0.7)
    # One may: all above 0.5.
    assert result.at_false_positive_rate(0.5) == (pytest.approx(2 / 3), 0.6)
    assert result.metrics() == {"rank1": pytest.approx(200 / 3)}


@pytest.mark.parametrize(("number", "is_measured"), [(9, False), (10, True), (11, True)])
def test_a_rate_of_exactly_one_probe_counts(number, is_measured):
    """One of 10 probes of nobody is the rate 0.1; of 9, one is more than that."""
    similarities = np.concatenate([[0.5, 0.9], np.full(number - 1, 0.1)])[:, None]
    probes = np.arange(number + 1)  # Person 0 is enrolled; the first of the others is at 0.9.
    result = evaluate_identification([similarities], probes, np.zeros(1, dtype=np.int64))
    # Where one may pass it is the 0.9, and all above 0.1 are accepted.
    expected = {"rank1": 100.0} | ({"TPIR@FPIR0.1": 100.0} if is_measured else {})
    assert result.metrics() == expected


def test_equally_similar_images_answer_in_the_order_of_enrolment():
    similarities = np.array([[0.5, 0.5]])
    for enrolled, is_right in ((np.array([3, 4]), True), (np.array([4, 3]), False)):
        result = evaluate_identification([similarities], np.array([3]), enrolled)
        assert result.is_right.tolist() == [is_right]


def test_closed_sets_and_bad_input():
    closed = evaluate_identification([np.eye(2)], np.arange(2), np.arange(2))
    assert closed.metrics() == {"rank1": 100.0}
    with pytest.raises(ValueError, match="some that are not"):
        closed.at_false_positive_rate(0.1)
    with pytest.raises(ValueError, match="none of the 2 probes is of an enrolled person"):
        evaluate_identification([np.eye(2)], np.arange(2), np.arange(5, 7))
    with pytest.raises(ValueError, match="NaN in the row of query 1"):
        evaluate_identification([np.array([[1.0], [np.nan]])], np.arange(2), np.arange(1))
