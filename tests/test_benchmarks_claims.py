"""What the papers claim: the page says what the results say, and the rule of its verdicts."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# By their benchmarks: rows that are compared as soon as they have been run.
WAITING = {
    "leave_one_out": (
        *("all", "none", "mgn", "no_warm_up", "no_random_erasing", "no_label_smoothing"),
        *("no_last_stride", "no_bnneck", "no_center"),
    ),
    "person_search_methods": (
        *("multi_stl_oim_attention", "multi_stl_oim_pyramid"),
        *("multi_stl_oim_res4_attention", "multi_stl_oim_res4_pyramid"),
    ),
    "mobilenet_starts": ("imagenet", "imagenet_longer", "imagenet_slower", "stl_imagenet"),
    "margins_behind_norm": ("cosine", "arcface"),
    "label_noise_look_alikes": ("arcface", "sub_centers", "purified"),
    "intra_class_augmentation": ("triplet_relative",),
    "loss_ensemble": (
        *("unit_sum", "unit_ensemble", "two_ensemble"),
        *("softmax_again", "ensemble_again"),
    ),
}


@pytest.fixture
def claims(monkeypatch):
    """The command, which is a script, run from the repository's root."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.chdir(ROOT)
    return importlib.import_module("claims")


@pytest.fixture
def claim_list(claims):
    return importlib.import_module("claim_list").CLAIMS


def report(**rows):
    """Return a report with the values of each row by seed, 1 first."""
    runs = [
        {"row": row, "seed": seed, "results": {"mAP": value}}
        for row, values in rows.items()
        for seed, value in enumerate(values, start=1)
    ]
    return {"one": {"runs": runs}}


def make_check(claims, expected="above"):
    a, b = (claims.Side(row, "one", {"row": row}, "results/mAP") for row in "ab")
    return claims.Check("mAP", a, b, expected)


def test_the_page_is_what_the_results_say(claims, claim_list):
    page = claims.format_page(claim_list, claims.read_reports())
    assert (ROOT / claims.PAGE).read_text() == page, "run python benchmarks/claims.py"


@pytest.mark.parametrize(
    ("a", "b", "relation", "is_decided"),
    [
        # Deviations of 1 and 2, means 2.5 apart, and 1.5.
        ([11, 12, 13], [7.5, 9.5, 11.5], "above", True),
        ([11, 12, 13], [8.5, 10.5, 12.5], "alike", True),
        ([7.5, 9.5, 11.5], [11, 12, 13], "below", True),
        # Without a deviation any difference counts, and decides nothing.
        ([10.1], [10, 50], "above", False),
        ([10], [10], "alike", False),
        ([], [10, 11], "", False),
    ],
)
def test_things_differ_beyond_the_larger_deviation(claims, a, b, relation, is_decided):
    got = claims.answer(make_check(claims), report(a=a, b=b))
    assert (got.relation, got.is_decided) == (relation, is_decided)


def test_both_sides_are_compared_on_the_seeds_of_both(claims):
    got = claims.answer(make_check(claims), report(a=[10, 12, 90], b=[1, 3]))
    assert got.first == {1: 10, 2: 12} and got.second == {1: 1, 2: 3}


def test_several_runs_of_a_seed_count_as_their_mean(claims):
    """Those of a benchmark with four targets."""
    reports = report(a=[10, 20])
    reports["one"]["runs"].append({"row": "a", "seed": 1, "results": {"mAP": 30}})
    side = claims.Side("a", "one", {"row": "a"}, "results/mAP")
    assert claims.read_side(side, reports) == {1: 20, 2: 20}


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ({"a": [11, 12], "b": [1, 2], "c": [21, 22], "d": [1, 2]}, "holds"),
        ({"a": [11, 12], "b": [1, 2], "c": [1, 2], "d": [1, 2]}, "holds partly"),
        ({"a": [1, 2], "b": [1, 2], "c": [1, 2], "d": [21, 22]}, "not here"),
        # A seed alone neither makes a claim hold nor refutes it.
        ({"a": [11, 12], "b": [1, 2], "c": [21], "d": [1]}, "holds partly"),
        ({"a": [1, 2], "b": [1, 2], "c": [21], "d": [1]}, "not here"),
        ({"a": [11], "b": [1], "c": [21], "d": [1]}, "open"),
        ({"a": [11, 12], "b": [1, 2]}, "holds partly"),
    ],
)
def test_a_claim_holds_where_every_comparison_does(claims, rows, verdict):
    c, d = (claims.Side(row, "one", {"row": row}, "results/mAP") for row in "cd")
    checks = (make_check(claims), claims.Check("mAP", c, d))
    claim = claims.Claim("A", "Paper", "something", "paper", checks, "reasons")
    assert claims.judge(claim, report(**rows)) == verdict


@pytest.mark.parametrize(
    ("expected", "a", "b", "word"),
    [
        ("above", [11, 12], [1, 2], "yes"),
        ("below", [1, 2], [11, 12], "yes"),
        ("alike", [1, 2], [1, 2], "yes"),
        ("alike", [1, 2], [11, 12], "no, below"),
        ("above", [1, 2], [1, 2], "alike"),
        ("above", [1], [11], "no, below (one seed)"),
        ("above", [], [11], "not run yet"),
    ],
)
def test_the_words_of_an_answer(claims, expected, a, b, word):
    line = claims.format_check(make_check(claims, expected), report(a=a, b=b))
    assert line.split(" | ")[6] == word


def test_what_has_no_numbers_yet_is_known(claims, claim_list):
    """A misspelt row would pass for one that has not been run."""
    reports = claims.read_reports()
    sides = [side for c in claim_list for check in c.checks for side in check[1:3]]
    empty = {(s.file, s.select["row"]) for s in sides if not claims.read_side(s, reports)}
    assert empty <= {(file, row) for file, rows in WAITING.items() for row in rows}


def test_what_does_not_hold_has_a_reason(claims, claim_list):
    reports = claims.read_reports()
    for claim in claim_list:
        assert claims.judge(claim, reports) == "holds" or claim.because, claim.system
        assert claim.source in claims.SOURCES
