import pytest

from reid_heads.training import launch as launching
from reid_heads.training.told_errors import run_and_tell


def fail(error):
    def main(args):
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ValueError("the set has 5 identities, expected 4"),
            "the set has 5 identities, expected 4",
        ),
        (FileNotFoundError("a.json is missing"), "a.json is missing"),
        (KeyError("Non-existent config key: MODEL.X"), "Non-existent config key: MODEL.X"),
    ],
)
def test_an_error_of_what_was_given_is_a_line(monkeypatch, capsys, error, message):
    """The clear message stood below forty lines of traceback."""
    monkeypatch.setattr(launching, "launch", lambda run, *_, args, **options: run(*args))
    monkeypatch.setattr("sys.argv", ["train_net"])
    with pytest.raises(SystemExit) as end:
        launching.parse_and_launch(fail(error))
    assert end.value.code == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")


@pytest.mark.parametrize(
    "error", [KeyError("person_id"), RuntimeError("out of memory"), KeyError()]
)
def test_errors_of_the_program_keep_their_place(error):
    with pytest.raises(type(error)):
        run_and_tell(fail(error), None)


def test_without_an_error_the_result_is_returned(capsys):
    assert run_and_tell(lambda args: args + 1, 2) == 3
    assert capsys.readouterr() == ("", "")
