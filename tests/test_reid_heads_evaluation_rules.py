"""The rules that crops are scored by, and the config's keys for them."""

import pytest

from reid_heads.config import load_config
from reid_heads.evaluation.rules import QueryExpansion, ReIDRules, Reranking
from reid_heads.training.crop_trainer import read_rules


def test_every_key_of_the_config_reaches_its_rule():
    assert read_rules(load_config("").TEST.REID) == ReIDRules()
    keys = {
        "RERANKING.ENABLED": True,
        "RERANKING.K1": 11,
        "RERANKING.K2": 12,
        "RERANKING.LAMBDA": 0.13,
        "QUERY_EXPANSION.ENABLED": True,
        "QUERY_EXPANSION.NEIGHBOURS": 14,
        "QUERY_EXPANSION.ALPHA": 1.5,
        "SINGLE_SHOT_REPEATS": 16,
        "GALLERY_TRIALS": 17,
        "MULTI_SHOTS": 18,
    }
    overrides = [str(word) for key, value in keys.items() for word in (f"TEST.REID.{key}", value)]
    assert read_rules(load_config("", overrides).TEST.REID) == ReIDRules(
        reranking=Reranking(k1=11, k2=12, lambda_value=0.13),
        query_expansion=QueryExpansion(neighbours=14, alpha=1.5),
        single_shot_repeats=16,
        gallery_trials=17,
        multi_shots=18,
    )


def test_what_is_switched_on_has_the_default_numbers():
    overrides = ["TEST.REID.RERANKING.ENABLED", "True", "TEST.REID.QUERY_EXPANSION.ENABLED", "True"]
    rules = read_rules(load_config("", overrides).TEST.REID)
    assert rules == ReIDRules(reranking=Reranking(), query_expansion=QueryExpansion())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"single_shot_repeats": 0}, "single_shot_repeats: got 0, expected at least 1"),
        ({"gallery_trials": -1}, "gallery_trials: got -1, expected at least 1"),
        ({"multi_shots": 0}, "multi_shots: got 0, expected at least 1"),
        ({"recall_ranks": ()}, r"recall_ranks: got \(\), expected whole numbers"),
        ({"recall_ranks": (1, 0)}, r"recall_ranks: got \(1, 0\), expected whole numbers"),
    ],
)
def test_numbers_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        ReIDRules(**options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, False),
        ({"multi_shots": 2}, False),
        ({"reranking": Reranking()}, True),
        ({"query_expansion": QueryExpansion()}, True),
    ],
)
def test_what_reorders(options, expected):
    assert ReIDRules(**options).reorders is expected
