"""Which numbers a results file holds, and where they are from."""

import sys

import pytest

from person_search.evaluation.results_file import ResultsFile, command_line, save_results

RESULTS = {
    "detection": {"ap": 90.5},
    "search": {"mAP": 61.25, "top1": 80.0},
    "search_head": {"mAP": 70.0, "queries": 12},
    "bbox": {"AP": 55.0, "APl": -1.0, "APs": float("nan")},
}
RECORD = {"model": "f" * 64, "dataset": "drawn_cuhk_test", "command": "python -m x"}


def test_percentages_are_read_with_what_they_are_of(tmp_path):
    save_results(tmp_path / "r.json", RESULTS, RECORD)
    found = ResultsFile.load(tmp_path / "r.json")
    assert found.numbers == {
        "detection ap": 90.5,
        "search mAP": 61.25,
        "search top1": 80.0,
        "search_head mAP": 70.0,
        "bbox AP": 55.0,
    }
    assert [found.model, found.dataset, found.command] == list(RECORD.values())
    save_results(tmp_path / "r.json", RESULTS, {})
    found = ResultsFile.load(tmp_path / "r.json")
    assert (found.model, found.dataset, found.command) == ("", "", "")


@pytest.mark.parametrize("text", ["", "[1]", "{}", '{"reid": {"mAP": 3.5}}', '{"search": 3.5}'])
def test_what_holds_no_results_is_named(text, tmp_path):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(ValueError, match=r"r\.json .*expected OUTPUT_DIR/inference/results\.json"):
        ResultsFile.load(tmp_path / "r.json")
    with pytest.raises(FileNotFoundError, match=r"no results file .*gone\.json"):
        ResultsFile.load(tmp_path / "gone.json")


@pytest.mark.parametrize(
    ("program", "start"),
    [
        ("/home/me/person_search/person_search/train_net.py", "python -m person_search.train_net"),
        ("/x/.venv/bin/person-search", "person-search"),
        ("/x/mine.py", "mine.py"),
    ],
)
def test_the_command_can_be_typed_again(program, start, monkeypatch):
    monkeypatch.setattr(sys, "argv", [program, "--eval-only", "DATASETS.TEST", "('a b',)"])
    assert command_line() == f"""{start} --eval-only DATASETS.TEST '('"'"'a b'"'"',)'"""
