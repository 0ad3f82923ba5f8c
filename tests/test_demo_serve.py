"""Starting the page: logins, arguments, the drawn gallery."""

import argparse
import importlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from helpers_demo import ColorFinder
from PIL import Image
from PIL.ExifTags import Base as Tag

from demo import serve
from demo.service import Gallery
from demo.start_gallery import choose_examples, draw_footage
from person_search.cli import main
from person_search.commands.registry import find_commands
from person_search.commands.user import read_password
from person_search.gallery.index import GalleryIndex
from person_search.synthetic.world import DrawnPerson


def test_passwords_come_from_the_environment_or_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("PAGE_PASSWORD", "one")
    (tmp_path / "password").write_text("two\n")
    (tmp_path / "empty").write_text("\n")
    assert read_password("PAGE_PASSWORD", None) == "one"
    assert read_password(None, tmp_path / "password") == "two"
    assert read_password(None, None) is None
    with pytest.raises(ValueError, match=r"the password is empty.*NOT_SET"):
        read_password("NOT_SET", None)
    with pytest.raises(ValueError, match="empty"):
        read_password(None, tmp_path / "empty")
    with pytest.raises(ValueError, match="expected one of them"):
        read_password("PAGE_PASSWORD", tmp_path / "password")
    with pytest.raises(FileNotFoundError):
        read_password(None, tmp_path / "gone")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "others can reach the page"),
        (["--host", "example.org"], "others can reach the page"),
        (["--user", "ann"], "got only --user"),
        (["--users", "u.json", "--user", "ann"], "expected one way to log in"),
        (["--allow-host", "http://x"], "expected a name"),
        (["--behind-proxy", "nginx"], "expected the proxy's IP address"),
        (["--max-upload", "much"], "as a size"),
        (["--password-env", "HOME"], "got only a password"),
        (["--config-file", "x.yaml"], "belong together"),
    ],
)
def test_serving_refuses_before_anything_is_loaded(arguments, message):
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    with pytest.raises(ValueError, match=message):
        serve.run(parser.parse_args(arguments))


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty current folder, in which no model is loaded."""

    def load(*_):
        pytest.fail("the model was loaded before everything was checked")

    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(find_commands()["serve"].module)
    monkeypatch.setattr(module, "load_finder", load)
    return tmp_path


def test_a_port_in_use_is_refused_before_anything_is_drawn(elsewhere, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    message = capsys.readouterr().err
    assert f"port {port} of 127.0.0.1 cannot be used" in message and "--port" in message
    assert not list(elsewhere.iterdir())


def test_a_gallery_that_is_not_there_is_made_only_if_asked_for(elsewhere, capsys, monkeypatch):
    """A name mistyped gave an empty page."""
    assert main(["serve", "--gallery", "typo.db", "--port", "0"]) == 2
    message = capsys.readouterr().err
    assert f"there is no gallery {elsewhere}/typo.db" in message and "--create" in message
    serve.check_places(["typo.db"], None, may_create=True)
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gallery", "nowhere/g.db", "--create"], "there is no folder"),
        (["--gallery", "g.sqlite", "--create"], "expected a file ending in .db"),
        (["--footage", "file/kept"], "file is a file, where file/kept would be"),
        (["--port", "70000"], "the port is 70000"),
        (["--host", "203.0.113.7", "--public-without-password"], "choose another by --port"),
    ],
)
def test_places_that_cannot_be_used_are_refused(arguments, message, elsewhere, capsys):
    (elsewhere / "file").touch()
    assert main(["serve", "--port", "0", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert [path.name for path in elsewhere.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_written_to_is_named_with_what_to_do(
    elsewhere, capsys, monkeypatch
):
    # Root, as tests in containers are run, may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    for arguments, advice in (
        ([], "go to a folder of yours, or give a --gallery in one"),
        (["--footage", "kept"], "give another --footage"),
        (["--gallery", "http://127.0.0.1:1"], "give --footage"),
    ):
        assert main(["serve", "--port", "0", *arguments]) == 2
        message = capsys.readouterr().err
        assert f"{elsewhere} is read-only" in message and advice in message


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_signals_end_the_page_in_order(number, status, tmp_path):
    command = [sys.executable, "-m", "person_search.cli", "serve", "--gallery", "g.db"]
    process = subprocess.Popen(
        [*command, "--create", "--port", "0"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(serve.__file__).parents[1])},
    )
    line = process.stdout.readline()
    url = line.partition("ready: ")[2].split()[0]
    assert urllib.request.urlopen(url, timeout=30).status == 200
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status and out == "" and "Traceback" not in err
    assert ("the same command opens the page again" in err) == (number == signal.SIGINT)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".db"] == ["g.db"]


def test_drawn_footage_has_cameras_and_times_and_is_drawn_once(tmp_path):
    seen = []
    arguments = {"num_frames": 4, "num_examples": 2}
    footage, examples = draw_footage(
        tmp_path / "drawn", **arguments, on_progress=lambda *done: seen.append(done)
    )
    frames = sorted(footage.rglob("*.jpg"))
    assert len(frames) == 4 and len(examples) == 2 and seen[-1] == (6, 6)
    assert all(frame.name.startswith(frame.parent.name) for frame in frames)
    tags = Image.open(frames[0]).getexif().get_ifd(Tag.ExifOffset)
    assert tags[Tag.DateTimeOriginal].startswith("2025:06:02 ")
    assert tags[Tag.OffsetTimeOriginal] == "+00:00"
    before = frames[0].stat().st_mtime_ns
    assert draw_footage(tmp_path / "drawn", **arguments) == (footage, examples)
    assert frames[0].stat().st_mtime_ns == before
    with pytest.raises(FileExistsError, match="remove it"):
        draw_footage(tmp_path / "drawn", num_frames=5)


def test_examples_show_people_that_other_frames_show_too():
    def person(identity, height=150):
        return DrawnPerson(identity, (0, 0, 50, height), 1.0)

    often = [[person(1), person(2, height=60)] for _ in range(4)]
    frames = [[person(9), person(8)], *often, [person(-1), person(-1)], [person(1), person(2)]]
    assert choose_examples(frames, 1) == [6]
    assert sorted(choose_examples(frames, 7)) == list(range(7))
    assert choose_examples([], 2) == []


def test_labels_of_galleries_are_unique():
    taken = [Gallery("town", None, Path("x"))]
    assert serve._label("a/town.db", "gallery", []) == "town"
    assert serve._label("a/town.db", "east", []) == "town: east"
    assert serve._label("b/town.db", "gallery", taken) == "town (2)"
    more = [*taken, Gallery("town (2)", None, Path("x"))]
    assert serve._label("c/town.db", "gallery", more) == "town (3)"
    assert serve._beside("http://h:1", "g").name == "g"


def test_a_drawn_gallery_of_an_earlier_version_is_put_aside(tmp_path, monkeypatch, capsys):
    """It cannot be read, and its frames are drawn; but somebody may have added pictures to it."""
    frames = tmp_path / "frames"
    frames.mkdir()
    Image.new("RGB", (60, 40), "red").save(frames / "a.png")
    monkeypatch.setattr("demo.start_gallery.draw_footage", lambda *_, **__: (frames, []))
    old = tmp_path / serve.DRAWN_FILE
    connection = sqlite3.connect(old)
    connection.execute("CREATE TABLE collection_meta (name)")
    connection.close()
    before = old.read_bytes()
    for _ in range(2):  # the second time it is one of ours
        assert serve.prepare_drawn_gallery(tmp_path, ColorFinder()) == []
        with GalleryIndex.open(old) as index:
            assert index.info().frames == 1
    assert (tmp_path / "drawn-city-earlier.db").read_bytes() == before
    assert capsys.readouterr().err.count("was made by an earlier version; it is kept as") == 1
