"""What is said of the model that a command uses."""

import argparse

import numpy as np
import pytest
from PIL import Image

from person_search.cli import main
from person_search.commands import index, model_arguments
from person_search.inference.model_card import DRAWN_PEOPLE, ModelCard

STREET = ModelCard("street", "people on streets", "MIT", "nothing")
DRAWN = ModelCard("drawn", DRAWN_PEOPLE, "MIT", "nothing")


@pytest.mark.parametrize(
    ("card", "is_chosen", "expected"),
    [
        (DRAWN, False, "this model (drawn) knows drawn people only; for real footage"),
        (DRAWN, True, "this model (drawn) knows drawn people only; for real footage"),
        (STREET, False, "model: street\n"),
        (STREET, True, ""),
        (None, False, "model: one without a card\n"),
        (None, True, ""),
    ],
)
def test_who_a_model_knows_is_said_on_the_standard_error(card, is_chosen, expected, capsys):
    model_arguments.say_what_it_knows(card, is_chosen)
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith(expected)
    assert bool(printed.err) == bool(expected)


def test_a_model_is_chosen_by_an_argument_or_the_environment(monkeypatch):
    nothing = {"model": None, "config_file": None}
    assert not model_arguments.is_model_chosen(argparse.Namespace(**nothing))
    assert model_arguments.is_model_chosen(argparse.Namespace(**nothing | {"model": "street"}))
    assert model_arguments.is_model_chosen(argparse.Namespace(**nothing | {"config_file": "c"}))
    monkeypatch.setenv("PERSON_SEARCH_MODEL", "street")
    assert model_arguments.is_model_chosen(argparse.Namespace(**nothing))


@pytest.mark.parametrize("words", [["index", "gone", "--gallery", "g.db"], ["find", "gone.jpg"]])
@pytest.mark.parametrize("score", ["-0.1", "1.5", "nan"])
def test_a_least_score_that_cannot_be_is_refused_before_anything_is_read(words, score, capsys):
    """After the seconds that a model takes to load, it named an argument of Python's."""
    assert main([*words, "--min-score", score]) == 2
    assert f"--min-score is {score}; expected 0..1" in capsys.readouterr().err


def test_index_asks_the_model_for_people_of_the_least_score(tmp_path, monkeypatch):
    asked = []

    def load(args, device, min_score):
        asked.append(min_score)
        raise ValueError("enough")

    monkeypatch.setattr(index, "load_finder", load)
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    words = ["index", str(tmp_path), "--gallery", str(tmp_path / "g.db")]
    assert main([*words, "--min-score", "0.2"]) == main(words) == 2
    assert asked == [0.2, None]


def test_every_command_that_loads_a_model_says_it(capsys):
    """The model that comes along, loaded as `index`, `search`, `find` and `serve` do."""
    parser = argparse.ArgumentParser()
    model_arguments.add_model_arguments(parser)
    finder = model_arguments.load_finder(parser.parse_args(["--device", "cpu", "--parts", "never"]))
    assert finder.parts is False
    assert "knows drawn people only" in capsys.readouterr().err
