import json

import pytest

from person_search.cli import main


def test_draw_then_info(tmp_path, capsys):
    root = tmp_path / "sets"
    arguments = ["--set", "drawn-prw", "--scale", "0.02", "--processes", "1"]
    assert main(["draw", *arguments, "--root", str(root)]) == 0
    folder = root / "drawn-prw"
    assert json.loads((folder / "drawn.json").read_text())
    capsys.readouterr()
    assert main(["info", "--dataset", "drawn_prw", "--root", str(folder)]) == 0
    table = capsys.readouterr().out
    assert "queries" in table and "identities" in table


def test_a_mistake_gives_one_line_and_status_2(tmp_path, capsys):
    assert main(["info", "--dataset", "prw", "--root", str(tmp_path / "nowhere")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("person-search info: ") and "nowhere" in message
    assert "Traceback" not in message


def test_an_unknown_command_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["fly"])
    assert "invalid choice" in capsys.readouterr().err
