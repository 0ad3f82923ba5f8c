import json
import os
import signal
import subprocess
import sys

import pytest

from person_search import cli
from person_search.cli import main
from person_search.commands import registry
from person_search.commands.registry import BUILTIN, Command, find_commands

HEAVY = {"torch", "detectron2", "LabGym", "pymilvus", "simsimd", "gradio", "cv2", "numpy"}


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


def test_help_lists_every_command_and_imports_nothing_heavy():
    """It took ten seconds: the list of commands imported detectron2."""
    program = (
        "import sys; from person_search.cli import main\n"
        "try: main(['--help'])\n"
        "finally: print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    text, _, modules = done.stdout.rpartition("\n[")
    for command in BUILTIN:
        assert f"\n    {command.name}" in text
    assert not HEAVY & set(modules.strip(" ]\n").replace("'", "").split(", "))


@pytest.mark.parametrize("name", find_commands())
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert f"person-search {name}" in capsys.readouterr().out


@pytest.fixture
def one_command(tmp_path, monkeypatch):
    """Install a package whose command ``fly`` runs a given body."""

    def make(body):
        source = (
            '"""``person-search fly``: leave the ground."""\n'
            "def add_arguments(parser): parser.add_argument('--high', action='store_true')\n"
            f"def run(args):\n    {body}\n"
        )
        (tmp_path / "flying.py").write_text(source)
        info = tmp_path / "flying-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: flying\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            "[person_search.commands]\nfly = flying\nindex = flying\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "flying", raising=False)

    return make


def test_an_installed_package_adds_a_command(one_command, capsys):
    one_command("print('up', args.high); return 5")
    assert main(["fly", "--high"]) == 5
    assert capsys.readouterr().out == "up True\n"


def test_a_package_s_command_is_listed_without_running_it(one_command):
    one_command("pass")
    found = find_commands()
    assert found["fly"] == Command("fly", "leave the ground", "flying")
    assert found["index"].module == "person_search.commands.index"
    assert "flying" not in sys.modules


def test_a_missing_extra_is_named(one_command, capsys, monkeypatch):
    monkeypatch.setitem(registry.EXTRAS, "gradio_that_is_not_there", "train")
    one_command("import gradio_that_is_not_there.components")
    assert main(["fly"]) == 2
    message = capsys.readouterr().err
    assert "[train]'" in message and "pip install" in message and "Traceback" not in message


def test_a_missing_module_that_no_extra_brings_is_a_bug_and_shows(one_command, capsys):
    one_command("import nothing_of_this_name")
    assert main(["fly"]) == cli.FAILURE
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("raise KeyError('MODEL.NO_KEY is unknown')", 2, "fly: MODEL.NO_KEY is unknown\n"),
        (
            "raise PermissionError(13, 'Permission denied', 'a.png')",
            2,
            "a.png: Permission denied; choose a file or folder that you may read and write\n",
        ),
        ("raise RuntimeError('of ours')", 2, "fly: failed; the lines above say where\n"),
        ("raise ImportError('of GLIBC', name='cv2')", 2, "run: person-search doctor\n"),
        ("raise KeyboardInterrupt", cli.STOPPED, "fly: stopped; the same command starts again\n"),
        ("return None", 0, ""),
    ],
)
def test_statuses(one_command, capsys, body, status, message):
    one_command(body)
    assert main(["fly"]) == status
    assert capsys.readouterr().err.endswith(message)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_command_as_a_ctrl_c_does(one_command, capsys, number, status):
    """It ended where it stood, and half-written files stayed."""
    one_command(
        f"import os, time\n    try: os.kill(os.getpid(), {number:d}); time.sleep(9)\n"
        "    finally: print('tidied up')"
    )
    before = signal.getsignal(number)
    assert before == signal.SIG_DFL and main(["fly"]) == status
    said = capsys.readouterr()
    assert said.out == "tidied up\n" and signal.getsignal(number) == before
    name = signal.Signals(number).name
    assert said.err == f"person-search fly: stopped by {name}; the same command starts again\n"


def test_a_signal_that_is_ignored_stays_ignored(one_command, monkeypatch):
    """As under nohup, whose commands outlive their terminal."""
    one_command("import os, signal; os.kill(os.getpid(), signal.SIGHUP)")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(["fly"]) == 0 and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_worker_that_is_told_to_end_is_silent(one_command, tmp_path):
    one_command(
        "import multiprocessing, time; fork = multiprocessing.get_context('fork')\n"
        "    here, there = fork.Pipe()\n"
        "    p = fork.Process(target=lambda: (there.send(1), time.sleep(9)))\n"
        "    p.start(); here.recv(); p.terminate(); p.join(); return 50 - p.exitcode"
    )
    done = subprocess.run(
        [sys.executable, "-m", "person_search.cli", "fly"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (65, "", "")


@pytest.mark.parametrize("num_lines", [1, 100_000])
def test_a_reader_that_goes_away_is_no_error(one_command, tmp_path, num_lines):
    """``search --json | head`` must not complain of a broken pipe."""
    one_command(f"print('line\\n' * {num_lines})")
    done = subprocess.run(
        f"{sys.executable} -m person_search.cli fly | true",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.stderr == ""
