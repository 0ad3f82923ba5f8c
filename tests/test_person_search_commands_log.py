"""The shell's commands tell the log what they did, and ``person-search log`` tells of it."""

import csv
import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from helpers_demo import EMBEDDING_DIM, FINGERPRINT, ColorFinder, draw_colors
from helpers_gallery import Command
from PIL import Image

from person_search.accountability import chain_file
from person_search.accountability.activity_log import ActivityLog
from person_search.cli import main
from person_search.commands import export_case, people, recorded, search
from person_search.commands import index as index_command
from person_search.commands.registry import find_commands
from person_search.footage.files import FootageOptions
from person_search.gallery.add_footage import index_footage
from person_search.gallery.index import GalleryIndex

NO_GALLERY = "it reads and changes no gallery"
NOBODY = "it counts and compares, and shows nobody"
RULES = {
    "index": ("import begins", "import"),
    "watch": ("watch begins", "watch", "alert", "retention"),
    "search": ("search",),
    "appearances": ("view stays", "view stay", "clip"),
    "review": ("judge", "undo judgements", "view judgements"),
    "export-case": ("export case begins", "export case"),
    "people": ("view people", "people"),
    "find": NO_GALLERY,
    "info": NOBODY,
    "remove": ("remove",),
    "log": ("log on", "log off", "log show", "log export"),
    "retain": ("keep rules", "retention"),
    "forget": ("forget",),
    "merge": ("import", "export gallery"),
    "check": ("repair",),
    "backup": ("backup",),
    "calibrate": NO_GALLERY,
    "models": NO_GALLERY,
    "export-gallery": ("export gallery begins", "export gallery"),
    "export": NO_GALLERY,
    "draw": NO_GALLERY,
    "user": NO_GALLERY,
    "doctor": NO_GALLERY,
    "completion": NO_GALLERY,
    "serve": ("log on", "retention"),  # and what visitors do, see test_demo_activity
}
"""What each command tells the log; as text, why it tells nothing."""


def test_every_command_has_a_rule():
    """A new one that nobody thought of would search, or change, without a trace."""
    assert sorted(RULES) == sorted(find_commands()), "say in RULES what the new command logs"


@pytest.mark.parametrize("name", [n for n, rule in RULES.items() if rule == NO_GALLERY])
def test_what_tells_nothing_opens_no_gallery(name):
    module = find_commands()[name].module
    source = Path(importlib.util.find_spec(module).origin).read_text()
    for way in ("GalleryIndex", "list_galleries", "gallery.checking", "gallery.store"):
        assert way not in source, f"{name} opens a gallery: say in RULES what it logs"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two pictures of a hall at known times."""
    folder = tmp_path_factory.mktemp("log")
    for second in (2, 3):
        file = folder / f"hall/2026-05-04_08-00-0{second}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(draw_colors(["red", "blue"])).save(file)
    options = FootageOptions("hall", time_from="name")
    with GalleryIndex.create(
        folder / "g.db", fingerprint=FINGERPRINT, embedding_dim=EMBEDDING_DIM
    ) as index:
        index_footage(index, ColorFinder(), [folder / "hall"], options, progress=False)
    return folder / "g.db"


@pytest.fixture
def run(made, tmp_path, capsys, monkeypatch):
    """A copy of that gallery, whose log is on."""
    for module in (index_command, search, export_case, people):
        monkeypatch.setattr(module, "load_finder", lambda *_, **__: ColorFinder())
    monkeypatch.setattr(recorded, "system_user", lambda: "anna")
    shutil.copy(made, tmp_path / "g.db")
    Image.fromarray(draw_colors(["red"])).save(tmp_path / "red.png")

    def call(*words, gallery=("--gallery", str(tmp_path / "g.db"))):
        status = main([*map(str, words), *gallery])
        said = capsys.readouterr()
        return status, said.out, said.err

    assert call("log", "on")[1].startswith("logging is on: ")
    return call


def _entries(run):
    return [json.loads(line) for line in run("log", "show", "--json")[1].splitlines()]


def test_every_command_tells_what_it_did(run, tmp_path):
    status, out, err = run("search", "--query", tmp_path / "red.png")
    assert status == 0 and "search is logged: anna" in err and "logged" not in out
    run("appearances")
    run("appearances", "--id", "1")
    run("appearances", "--id", "1", "--clip", tmp_path / "a.webm")
    run("people")
    run("people", "name", "1", "Zoe", "Berg")
    run("review", "--subject", "Zoe Berg", "--right", "1")
    run("review", "--subject", "Zoe Berg", "--undo")
    run("review")
    run("export-case", "--query", tmp_path / "red.png", "--out", tmp_path / "case.zip")
    run("export-gallery", "--format", "coco", "--output", tmp_path / "coco.json")
    run("index", tmp_path / "red.png")
    assert run("backup", tmp_path / "g.db", tmp_path / "copy.db", gallery=())[0] == 0
    run("remove", "--frames", tmp_path / "red.png", "--yes")
    for words in (["people", "show", "1"], ["retain", "--keep", "9000d", "--yes"]):
        assert run(*words)[0] == 0
    run("people", "show", "77")
    assert run("check", tmp_path / "g.db", gallery=())[0] == 0
    assert run("check", "--repair", tmp_path / "g.db", gallery=())[0] == 0
    assert run("merge", tmp_path / "g.db", "--into", tmp_path / "h.db", gallery=())[0] == 0
    run("info")
    run("log", "verify")
    run("forget", "--id", "1", "--yes")
    run("retain", "--keep", "1d", "--yes")
    run("log", "export", "--output", tmp_path / "log.csv")
    entries = _entries(run)
    assert {entry["user"] for entry in entries} == {"anna"}
    said = {entry["action"]: entry for entry in entries}
    assert [entry["action"] for entry in entries] == [
        *("log on", "search", "view stays", "view stay", "clip", "view people", "people name"),
        *("judge", "undo judgements", "view judgements", "export case begins", "export case"),
        *("export gallery begins", "export gallery", "import begins", "import"),
        *("backup", "remove", "people show", "keep rules", "people show", "repair"),
        *("export gallery", "forget", "keep rules", "retention", "log export"),
    ]
    logged = {command: action for command, action in RULES.items() if isinstance(action, tuple)}
    del logged["watch"], logged["serve"]  # which have their own tests
    seen = {action.partition(" ")[0] if "people " in action else action for action in said}
    assert seen | {"log off", "log show"} == {a for some in logged.values() for a in some}
    assert len(said["search"]["queries"]) == 1 and said["search"]["results"][0]["similarity"] > 0.99
    assert said["people name"]["words"] == ["1"]
    assert said["judge"]["results"][0]["judgement"] == "right"
    assert said["judge"]["subject"] == said["undo judgements"]["subject"]
    assert said["export case"]["others"] == "blurred" and said["export case"]["queries"]
    gallery = next(entry for entry in entries if entry["action"] == "export gallery")
    assert (gallery["people"], said["import"]["frames"], said["import"]["not_kept"]) == (4, 1, 0)
    assert said["export case"]["personal_data"] is False
    shown, refused = (entry for entry in entries if entry["action"] == "people show")
    assert [r["stay"] for r in shown["results"]] == [1] and refused["failed"] == "GalleryError"
    assert said["repair"]["problems"] == 0 and said["repair"]["frames"] == 2
    assert said["keep rules"]["rules"][0] == "keep 1d" and said["retention"]["frames"] == 2
    assert said["remove"]["frames"] == 1
    assert said["remove"]["gallery"]["state"] != said["search"]["gallery"]["state"]
    assert said["search"]["gallery"]["state"] == said["import"]["gallery"]["state"]
    assert b"Berg" not in (tmp_path / "g-log.jsonl").read_bytes()


def test_nothing_is_shown_once_the_disk_of_the_log_is_full(run, tmp_path, monkeypatch):
    def fill(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(chain_file, "_write", fill)
    for words in (
        ["search", "--query", tmp_path / "red.png", "--save", tmp_path / "sheet.png"],
        ["appearances"],
        ["people", "show", "1"],
        ["export-case", "--id", "1", "--out", tmp_path / "case.zip"],
        ["export-gallery", "--format", "coco", "--output", tmp_path / "coco.json"],
    ):
        before = sorted(tmp_path.iterdir())
        status, out, err = run(*words)
        assert (status, out) == (2, "") and "cannot be written (No space left on device)" in err
        assert sorted(tmp_path.iterdir()) == before, words


def test_nothing_is_repaired_that_the_log_cannot_tell_of(run, tmp_path):
    log, before = tmp_path / "g-log.jsonl", (tmp_path / "g.db").read_bytes()
    log.rename(tmp_path / "away")
    log.mkdir()
    status, out, err = run("check", "--repair", tmp_path / "g.db", gallery=())
    assert (status, out) == (2, "") and "g-log.jsonl cannot be read (Is a directory)" in err
    assert (tmp_path / "g.db").read_bytes() == before


def test_show_filters_and_names_frames(run, tmp_path):
    run("search", "--query", tmp_path / "red.png")
    _, out, err = run("log", "show", "--action", "search", "--frames")
    first, *results = out.splitlines()
    assert first.split()[0] == "1" and "anna" in first and "search  2 shown" in first
    assert results[0].endswith("hall/2026-05-04_08-00-02.png  person 1")
    assert err.startswith("head 1:")
    assert run("log", "show", "--user", "eve")[:2] == (1, "no entry fits\n")
    assert run("log", "show", "--until", "2026-01-01")[0] == 1
    assert [e["action"] for e in _entries(run)][-1] == "log show", "who looks is told of, too"


def test_a_name_moves_no_cursor(run, tmp_path):
    with GalleryIndex.open(tmp_path / "g.db") as index:
        ActivityLog(index).login("eve\x1b[2J\n0  root", succeeded=False)
    out = run("log", "show", "--action", "login")[1]
    assert "eve?[2J?0  root" in out and "\x1b" not in out


def test_verify_says_what_holds_and_what_does_not(run, tmp_path):
    run("search", "--query", tmp_path / "red.png")
    status, out, _ = run("log", "verify")
    head = out.splitlines()[-1].removeprefix("head ")
    assert status == 0 and "2 entries, 0 things wrong" in out
    assert run("log", "verify", "--head", head, "--head", head[2:])[0] == 0
    log = tmp_path / "g-log.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"anna"', b'"hans"', 1))
    status, out, _ = run("log", "verify", "--head", head)
    assert status == 1 and "before entry 1: its hash is not that of what it says" in out


def test_export(run, tmp_path):
    run("search", "--query", tmp_path / "red.png")
    assert run("log", "export", "--output", tmp_path / "log.jsonl")[0] == 0
    lines = (tmp_path / "log.jsonl").read_bytes().splitlines()
    assert lines == (tmp_path / "g-log.jsonl").read_bytes().splitlines()[:2]
    run("log", "export", "--action", "search", "--output", tmp_path / "log.csv")
    (row,) = csv.DictReader((tmp_path / "log.csv").read_text().splitlines())
    assert row["user"] == "anna" and row["start"].endswith("+00:00")
    assert len(row["query_sha256"]) == 64 and len(row["results"].split()) == 2


def test_off(run, tmp_path):
    assert run("log", "off")[1] == "logging is off\n"
    run("search", "--query", tmp_path / "red.png")
    assert [entry["action"] for entry in _entries(run)] == ["log on", "log off"]
    assert run("log", "on", "--pictures")[1].endswith("it keeps what is in the box\n")
    assert run("log", "on", "--no-pictures")[1].endswith("it keeps the hash alone\n")


def test_wrong_use(run):
    for words, said in (
        (["show", "--pictures"], "--pictures is for log on"),
        (["on", "--user", "anna"], "--user is for log show and log export"),
        (["verify", "--head", "7"], "expected NUMBER:HASH"),
        (["export"], "say --output FILE.csv or FILE.jsonl"),
        (["export", "--output", "log.txt"], "say --output FILE.csv or FILE.jsonl"),
    ):
        status, out, err = run("log", *words)
        assert (status, out) == (2, "") and said in err


@pytest.mark.slow
def test_processes_share_a_log(tmp_path):
    Image.fromarray(draw_colors(["red"])).save(tmp_path / "red.png")
    gallery = ("--gallery", tmp_path / "g.db")
    assert Command(tmp_path / "first", "index", tmp_path / "red.png", *gallery).join()[0] == 0
    with GalleryIndex.open(tmp_path / "g.db") as index:
        log = ActivityLog(index)
        log.switch_on()
        query = ("search", "--query", tmp_path / "red.png", "--own-frame", *gallery)
        running = [Command(tmp_path / f"out-{k}", *query) for k in range(4)]
        assert [one.join()[0] for one in running] == [0] * 4
        assert log.verify().problems == [] and len(log.entries()) == 5
