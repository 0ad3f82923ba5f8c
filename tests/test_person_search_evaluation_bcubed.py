import numpy as np
import pytest

from person_search.evaluation.bcubed import evaluate_groups


def by_the_definition(true, found):
    """The slow, obvious way: item by item."""
    precisions, recalls = [], []
    for person, group in zip(true, found, strict=True):
        in_group = [p for p, g in zip(true, found, strict=True) if g == group]
        of_person = [g for p, g in zip(true, found, strict=True) if p == person]
        precisions.append(in_group.count(person) / len(in_group))
        recalls.append(of_person.count(group) / len(of_person))
    precision, recall = np.mean(precisions), np.mean(recalls)
    return {
        "precision": 100 * precision,
        "recall": 100 * recall,
        "F": 200 * precision * recall / (precision + recall),
        "groups": len(set(found)),
        "people": len(set(true)),
    }


def test_a_case_by_hand():
    # Two people, a a a b b, in groups x x y y y.
    # precision: 1, 1, 1/3, 2/3, 2/3 -> 11/3 / 5 = 11/15
    # recall: 2/3, 2/3, 1/3, 1, 1 -> 11/3 / 5 = 11/15
    said = evaluate_groups(np.array(["a", "a", "a", "b", "b"]), np.array([1, 1, 2, 2, 2]))
    assert [said[k] for k in ("precision", "recall", "F")] == pytest.approx([1100 / 15] * 3)
    assert (said["groups"], said["people"]) == (2, 2)


def test_everybody_alone_and_all_in_one():
    true = np.array([0, 0, 0, 0, 1])
    alone = evaluate_groups(true, np.arange(5))
    # recall: four times 1/4 and once 1 -> 2 / 5
    assert (alone["precision"], alone["recall"]) == (100, 40)
    together = evaluate_groups(true, np.zeros(5))
    # precision: four times 4/5 and once 1/5 -> 17/5 / 5
    assert (together["precision"], together["recall"]) == (pytest.approx(68), 100)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_definition_whatever_things_are_called(seed):
    rng = np.random.default_rng(seed)
    true, found = rng.integers(0, 6, 40), rng.integers(0, 5, 40)
    expected = by_the_definition(true.tolist(), found.tolist())
    assert evaluate_groups(true, found) == pytest.approx(expected)
    renamed = evaluate_groups(np.array(list("qwerty"))[true], 100 - found)
    assert renamed == pytest.approx(expected)
    other_way = evaluate_groups(found, true)
    assert other_way["precision"] == pytest.approx(expected["recall"])


def test_nobody_and_wrong_shapes():
    assert evaluate_groups(np.zeros(0), np.zeros(0))["F"] == 0
    with pytest.raises(ValueError, match=r"\(3,\) and \(2,\)"):
        evaluate_groups(np.zeros(3), np.zeros(2))
