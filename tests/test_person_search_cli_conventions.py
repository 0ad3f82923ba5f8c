"""What all commands have in common: version, help, streams, Ctrl-C, completion."""

import importlib
import json
import os
import re
import runpy
import signal
import subprocess
import sys

import numpy as np
import pytest
from detectron2.utils.logger import setup_logger
from helpers_gallery import DIM, FINGERPRINT, make_entries, wait_until
from termcolor import termcolor

from person_search import cli
from person_search.cli import main
from person_search.commands import registry, version
from person_search.commands.registry import BUILTIN, find_commands, install_line
from person_search.gallery.index import GalleryIndex

PROGRAMS = (
    "person_search.evaluate",
    "person_search.train_net",
    "person_search.train_stage1",
    "reid_heads.data",
    "reid_heads.data.label_noise",
    "reid_heads.evaluate",
    "reid_heads.faces",
    "reid_heads.imagenet_mobilenet",
    "reid_heads.invert",
    "reid_heads.purify",
    "reid_heads.train_net",
)


def test_the_version_is_the_installed_one(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith(f"person-search {version.installed_version()} from ")
    assert str(version.PACKAGE) in text


def test_sources_that_are_not_installed_say_so(monkeypatch):
    monkeypatch.setattr(version, "DISTRIBUTION", "person-search-that-nobody-installed")
    assert "sources that are not installed from " in version.describe_version()


def test_an_extra_of_sources_is_installed_from_their_folder(monkeypatch):
    """By its name pip would fetch whatever an index has under it."""
    assert install_line("torch") == "pip install 'person-search[train]'"
    monkeypatch.setattr(registry, "DISTRIBUTION", "person-search-that-nobody-installed")
    assert install_line("torch") == f"pip install '{version.PACKAGE.parent}[train]'"
    assert install_line("scipy") == "pip install scipy"
    assert install_line("nothing_of_ours") is None


@pytest.mark.parametrize("name", find_commands())
def test_help_is_without_markup(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    text = capsys.readouterr().out
    assert "`" not in text and "**" not in text


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_of_programs_is_without_markup(name, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    # Run anew, as "python -m" does.
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(SystemExit) as end:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    text = capsys.readouterr().out
    # A single one stands in what detectron2 says about --resume.
    assert end.value.code == 0 and "usage: " in text and "``" not in text


def test_descriptions_lose_the_name_of_their_program():
    describe = registry.describe
    assert describe("``person-search fly``: leave ``the`` ground.") == "Leave the ground."
    assert describe("leave `the` ground.") == "Leave the ground."


# --- exit statuses and streams ---


@pytest.fixture
def gallery(tmp_path):
    path = tmp_path / "g.db"
    with GalleryIndex.create(path, fingerprint=FINGERPRINT, embedding_dim=DIM) as index:
        index.put(make_entries(np.random.default_rng(0), 4))
    return path


def test_nothing_to_remove_is_no_failure(gallery, capsys):
    """A script that removes old frames each night goes on."""
    assert main(["remove", "--gallery", str(gallery), "--camera", "nowhere", "--yes"]) == 0
    assert "all 4 stay" in capsys.readouterr().out


def test_a_store_without_a_gallery_has_status_1(monkeypatch, capsys):
    monkeypatch.setattr("person_search.gallery.index.list_galleries", lambda uri: [])
    assert main(["info", "--gallery", "empty.db"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "holds no gallery" in err
    assert main(["info", "--gallery", "empty.db", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"galleries": []}


def test_questions_are_asked_on_the_standard_error(gallery, monkeypatch, capsys):
    """``remove > log`` waited in silence."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin.readline", lambda: "n\n", raising=False)
    assert main(["remove", "--gallery", str(gallery), "--camera", "north"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "Remove 2 of 4 frames" in err and "nothing was removed" in err
    monkeypatch.setattr("sys.stdin.readline", lambda: "y\n", raising=False)
    assert main(["remove", "--gallery", str(gallery), "--camera", "north"]) == 0
    out = capsys.readouterr().out
    assert re.match(r"removed 2 of 4 frames with their \d+ people: .*pictures .* are yours\n$", out)


@pytest.mark.parametrize("arguments", [[], ["search"], ["search", "--top", "many"], ["--nobody"]])
def test_wrong_use_has_status_2_and_says_nothing_on_the_standard_output(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    out, err = capsys.readouterr()
    assert end.value.code == 2 and out == "" and "usage: " in err


@pytest.mark.parametrize(
    ("arguments", "usage"),
    [
        (["index", "footage", "--gallery", "g.db", "--min-scor", "1", "--fast"], "index [-h]"),
        (["models", "list", "--fast"], "models list [-h]"),
        (["doctor", "--fast"], "doctor [-h]"),
    ],
)
def test_a_wrong_option_shows_the_usage_of_its_command(arguments, usage, capsys):
    """That of the whole program was shown, which has hardly any option."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    err = capsys.readouterr().err
    assert end.value.code == 2 and err.startswith(f"usage: person-search {usage}")
    assert "unrecognized arguments: " in err and err.rstrip().endswith("--fast")


# --- Ctrl-C ---


@pytest.mark.parametrize("command", BUILTIN, ids=lambda command: command.name)
def test_every_command_says_how_to_go_on_after_a_ctrl_c(command, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    module = importlib.import_module(command.module)
    monkeypatch.setattr(module, "add_arguments", lambda parser: None)
    monkeypatch.setattr(module, "run", stop)
    assert main([command.name]) == cli.STOPPED
    message = capsys.readouterr().err
    assert f"person-search {command.name}: stopped; " in message and "the same command" in message


@pytest.mark.skipif(os.name == "nt", reason="SIGINT reaches no single process there")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_real_signal_ends_a_command_which_leaves_nothing_half_drawn(tmp_path, number, status):
    command = [sys.executable, "-m", "person_search.cli", "draw", "--root", str(tmp_path)]
    process = subprocess.Popen(
        [*command, "--processes", "1"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Where the tests run in the background they ignore it, and would pass that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    # Drawing has begun.
    wait_until(lambda: any(tmp_path.rglob("*.jpg")) or process.poll() is not None)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == status and out == "", err
    assert "stopped" in err and "; nothing half-drawn stays" in err and "Traceback" not in err
    assert not list(tmp_path.iterdir())


# --- colours and completion ---


@pytest.mark.parametrize(("no_color", "is_colored"), [("", True), ("1", False)])
def test_logs_of_detectron2_respect_no_color(no_color, is_colored, monkeypatch, tmp_path):
    """Nothing else of ours colours a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", no_color)
    # It remembers its answer.
    termcolor.can_colorize.cache_clear()
    name = f"colors{no_color}"
    logger = setup_logger(name=name, configure_stdout=True)
    record = logger.makeRecord(name, 30, "f.py", 1, "careful", (), None)
    text = logger.handlers[0].format(record)
    termcolor.can_colorize.cache_clear()
    assert "careful" in text and ("\x1b[" in text) == is_colored


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_options_choices_and_files(shell, capsys):
    pytest.importorskip("shtab", reason="shtab is not installed")
    assert main(["completion", shell]) == 0
    script, err = capsys.readouterr()
    assert err == ""
    assert all(re.search(rf"\b{command}\b", script) for command in find_commands())
    assert "min-similarity" in script and "torchscript" in script
    if shell == "bash":
        assert "search___gallery_COMPGEN=_shtab_compgen_files" in script
        assert "search___top_COMPGEN" not in script


@pytest.mark.skipif(sys.platform == "win32", reason="needs bash")
def test_bash_completes(tmp_path, capsys):
    pytest.importorskip("shtab", reason="shtab is not installed")
    main(["completion", "bash"])
    (tmp_path / "script").write_text(capsys.readouterr().out)
    lines = (
        "source ./script; COMP_WORDS=(person-search search --min); COMP_CWORD=2; "
        "_shtab_person_search; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(["bash", "-c", lines], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["--min-similarity"], done.stderr


def test_completion_names_what_is_missing(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    message = capsys.readouterr().err
    assert "shtab is not installed; run: pip install" in message and message.count("shtab") == 2
