"""What is said of the model that a command uses."""

import argparse

import pytest

from person_search.commands import model_arguments
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


def test_every_command_that_loads_a_model_says_it(capsys):
    """The model that comes along, loaded as `index`, `search`, `find` and `serve` do."""
    parser = argparse.ArgumentParser()
    model_arguments.add_model_arguments(parser)
    finder = model_arguments.load_finder(parser.parse_args(["--device", "cpu", "--parts", "never"]))
    assert finder.parts is False
    assert "knows drawn people only" in capsys.readouterr().err
