import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from helpers_demo import ColorFinder, draw_colors
from helpers_gallery import wait_until
from helpers_streams import HttpServer, RtspServer, encode_h264, serving
from helpers_videos import write_video
from PIL import Image

from person_search.accountability.activity_log import ActivityLog
from person_search.accountability.retention import keep_rules
from person_search.accountability.retention_rules import RetentionRules
from person_search.cli import main
from person_search.commands import watch as watch_command
from person_search.footage.files import FootageOptions
from person_search.gallery.add_footage import index_footage
from person_search.gallery.index import GalleryIndex
from person_search.live import watching

RED, NOBODY = draw_colors(["red"]), draw_colors([])


@pytest.fixture(autouse=True)
def finder(monkeypatch):
    finder = ColorFinder()
    monkeypatch.setattr(watch_command, "load_finder", lambda *args, **kwargs: finder)
    monkeypatch.setattr(watching, "LINK_EVERY", 0.0)
    return finder


@pytest.fixture
def anna(tmp_path):
    Image.fromarray(RED).save(tmp_path / "anna.png")
    return str(tmp_path / "anna.png")


def _run(capsys, tmp_path, *arguments):
    # At last, where a test goes wrong.
    status = main(["watch", "--for", "30", *arguments, "--gallery", str(tmp_path / "g.db")])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_alerts_are_logged_and_old_pictures_go(tmp_path, capsys, anna, finder):
    """Its name stays out of the log; what was kept for long enough goes as soon as it starts."""
    path, old = tmp_path / "g.db", tmp_path / "g-pictures/2020-05-04/hall/2020-05-04_08-00-00Z.png"
    old.parent.mkdir(parents=True)
    Image.fromarray(RED).save(old)
    made = {"fingerprint": finder.fingerprint, "embedding_dim": finder.embedding_dim}
    with GalleryIndex.create(path, **made) as index:
        index_footage(index, finder, [old], FootageOptions("hall", time_from="name"))
        keep_rules(index, RetentionRules(keep=30 * 86_400.0))
        ActivityLog(index).switch_on()
    (tmp_path / "in").mkdir()
    Image.fromarray(RED).save(tmp_path / "in/new.png")
    arguments = ("--settled", "0", "--poll", "0.1", "--alert", f"anna={anna}")
    with _ctrl_c_when(lambda: not old.exists() and "alert" in _actions(path)):
        status, out, err = _run(capsys, tmp_path, str(tmp_path / "in"), *arguments)
    assert status == 0 and "anna" in out and "removed 1 frames that were kept" in err
    with GalleryIndex.open(path) as index:
        entries = ActivityLog(index).entries()
        assert [frame.name for frame in index.frames()] == [str(tmp_path / "in/new.png")]
    (alert,) = [entry for entry in entries if entry["action"] == "alert"]
    assert alert["results"][0]["similarity"] > 0.99 and "anna" not in json.dumps(alert)
    assert {"watch begins", "alert", "retention", "watch"} <= {e["action"] for e in entries}


def _actions(path):
    log = path.with_name("g-log.jsonl")
    return [json.loads(line)["action"] for line in log.read_text().splitlines()]


@contextlib.contextmanager
def _ctrl_c_when(condition):
    """Press Ctrl-C once something has happened."""
    left = threading.Event()

    def press():
        while not (condition() or left.is_set()):
            time.sleep(0.02)
        if not left.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()


def test_a_camera_with_a_password_is_watched_and_an_alert_told(tmp_path, anna, capsys):
    """The whole way: RTSP, the gallery, a webhook, a program, JSON; no password anywhere."""
    program = f"{sys.executable} -c 'import sys; open(sys.argv[1], \"w\").write(sys.stdin.read())'"
    arguments = ["--alert", f"anna={anna}", "--run", f"{program} {tmp_path}/ran.json", "--json"]
    with (
        serving(RtspServer(encode_h264([RED]), password="pw1")) as camera,
        serving(HttpServer()) as hook,
        _ctrl_c_when(lambda: hook.posted and (tmp_path / "ran.json").exists()),
    ):
        status, out, err = _run(
            *(capsys, tmp_path, f"gate={camera.address}", "--every", "0.1"),
            *(*arguments, "--webhook", hook.address("/hook")),
        )
    assert status == 0 and "pw1" not in out + err
    (alert,) = map(json.loads, out.splitlines())
    assert (alert["alert"], alert["camera"], alert["threshold"]) == ("anna", "gate", 0.95)
    assert alert["similarity"] > 0.95 and alert["appearance"]["camera"] == "gate"
    assert alert["image"].startswith(str(tmp_path / "g-pictures"))
    assert [json.loads(body) for _, _, body in hook.posted] == [alert]
    assert json.loads((tmp_path / "ran.json").read_text()) == alert
    assert "1 appearances" in err and "1 alerts" in err
    with GalleryIndex.open(tmp_path / "g.db") as index:
        assert index.info().appearances == 1


def test_what_is_said_without_json(tmp_path, anna, capsys):
    video = write_video(tmp_path / "a.mp4", [RED] * 4, rate=10).read_bytes()
    with serving(HttpServer({"/a.mp4": video})) as server:
        status, out, err = _run(
            *(capsys, tmp_path, f"gate={server.address('/a.mp4')}", "--every", "0.01"),
            *("--alert", f"anna={anna}"),
        )
    alert, report = out.splitlines()
    assert status == 0 and "  anna  gate  similarity " in alert and ", appearance 1  " in alert
    assert report.startswith(f"{tmp_path}/g.db: watched for ") and ", 1 alerts" in report
    assert "/a.mp4 has ended" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_with_one_line(tmp_path, capsys, number, monkeypatch):
    class Say:
        def __init__(self, *args, **kwargs):
            os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    (tmp_path / "in").mkdir()
    monkeypatch.setattr(watching.Watch, "_step", lambda self: Say())
    status, out, err = _run(capsys, tmp_path, str(tmp_path / "in"))
    assert status == 0 and out.count("\n") == 1 and "stored 0 frames" in out
    assert signal.getsignal(number) is before and "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rtsp://me:pw/1@h/x"], "write @ as %40"),
        (["camera:0", "--webhook", "http://h/x"], "--webhook is for alerts"),
        (["camera:0", "--alert", "anna.jpg"], "expected NAME=QUERY"),
        (["camera:0", "--alert", "anna=nowhere.jpg"], "there is no picture nowhere.jpg"),
        (["camera:0", "--alert", "anna=ANNA", "--webhook", "file:///x"], "expected http://HOST"),
        (["camera:0", "--alert", "anna=ANNA", "--min-similarity", "7"], "expected -1..1"),
        (["camera:0", "--every", "0"], "expected more than 0"),
        (["HERE", "camera:0", "--keep", "HERE/kept"], "watched itself"),
    ],
)
def test_wrong_use(tmp_path, anna, capsys, arguments, words):
    arguments = [a.replace("ANNA", anna).replace("HERE", str(tmp_path)) for a in arguments]
    status, out, err = _run(capsys, tmp_path, *arguments)
    assert status == 2 and out == "" and words in err and "pw" not in err


def test_an_address_behind_an_option_is_refused_without_its_password(capsys):
    with pytest.raises(SystemExit):
        main(["watch", "camera:0", "--gallery", "g.db", "rtsp://me:pw1@h/x"])
    err = capsys.readouterr().err
    assert "unrecognized arguments: rtsp://…" in err and "pw1" not in err


def test_a_model_without_a_threshold_needs_one(tmp_path, anna, capsys, finder):
    finder.threshold = None
    status, _, err = _run(capsys, tmp_path, "camera:0", "--alert", f"anna={anna}")
    assert status == 2 and "give --min-similarity" in err


def test_of_several_people_one_must_be_chosen(tmp_path, capsys):
    Image.fromarray(draw_colors(["red", "blue"])).save(tmp_path / "two.png")
    status, out, _ = _run(capsys, tmp_path, "camera:0", "--alert", f"anna={tmp_path}/two.png")
    assert status == 3 and "two.png" in out and not (tmp_path / "g.db").exists()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals reach no single process there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_watches_a_stream_ends_cleanly(tmp_path, number):
    """The stream stalls, so that the reading thread waits when the signal comes."""
    with serving(HttpServer({"/cam": [NOBODY] * 5 + [None]})) as server:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "person_search.cli", "watch", server.address("/cam")),
                *("--gallery", str(tmp_path / "g.db"), "--model", "drawn-people"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        wait_until(lambda: (tmp_path / "g.db").exists() or process.poll() is not None, 60)
        time.sleep(1)
        process.send_signal(number)
        started = time.monotonic()
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert time.monotonic() - started < 9  # not as long as a stream may stall
    assert out.count("\n") == 1 and ": stored 0 frames" in out and "Traceback" not in err
