import threading
import time

import cv2
import numpy as np
import pytest
from helpers_demo import draw_colors
from helpers_gallery import wait_until
from helpers_streams import HttpServer, RtspServer, encode_h264, serving
from helpers_videos import write_video

from person_search.live.cameras import CameraReader
from person_search.live.clock import Clock
from person_search.live.sources import check_sources, parse_source
from person_search.live.streams import LostError, Shot, read_shots

RED, BLUE = draw_colors(["red"]), draw_colors(["blue"])


def _read(address, count=None, every=1e-9, timeout=2.0, said=None):
    """Read a number of frames, or all."""
    stop, shots = threading.Event(), []
    clock = Clock((said or []).append)
    for shot in read_shots(parse_source(address), stop, clock, every=every, timeout=timeout):
        shots.append(shot)
        if len(shots) == count:
            stop.set()
    return shots


def _is_like(pixels, picture):
    return np.abs(pixels.astype(int) - picture).mean() < 6


# --- sources as they are written ---


@pytest.mark.parametrize(
    ("text", "kind", "shown", "camera"),
    [
        ("camera:0", "webcam", "camera:0", "camera-0"),
        ("door=camera:1", "webcam", "camera:1", "door"),
        ("rtsp://me:pw1@10.0.0.5:8554/a", "stream", "rtsp://10.0.0.5:8554/a", "10.0.0.5-8554-a"),
        ("gate=http://h/v?user=me&pwd=pw1", "stream", "http://h/v?…", "gate"),
        ("rtsp://h:554/user=me_password=pw1_channel=1", "stream", "rtsp://h:554/…", "h-554"),
        ("rtsp://[::1]/x", "stream", "rtsp://[::1]/x", "1-x"),
    ],
)  # fmt: skip
def test_sources_and_no_password_in_what_is_shown(text, kind, shown, camera):
    source = parse_source(text)
    assert (source.kind, source.shown, source.camera) == (kind, shown, camera)
    assert "pw1" not in repr(source)


def test_a_folder_is_a_source(tmp_path):
    (tmp_path / "a=b").mkdir()
    assert parse_source(f"hall={tmp_path}").camera == "hall"
    assert parse_source(str(tmp_path / "a=b")).camera is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rtsp://me:pw/1@host/live", "write @ as %40"),
        ("rtsp://me:pw#1@host/live", "write @ as %40"),
        ("ftp://host/x", "ftp:// cannot be watched"),
        ("http:///x", "names no host"),
        ("camera:front", "expected camera:0"),
        ("nowhere/at/all", "there is no folder"),
        (__file__, "is no folder"),
        ("a" * 300 + "=rtsp://host/live", "expected 1 to 200 bytes"),
        ("a\x1b[31m=rtsp://host/live", "that can be printed"),
        (" =rtsp://host/live", "expected 1 to 200 bytes"),
    ],
)
def test_wrong_sources(text, words):
    with pytest.raises((ValueError, OSError), match=words) as error:
        parse_source(text)
    assert "pw" not in str(error.value)


def test_a_camera_without_a_name_has_one_that_a_folder_can_have():
    assert len(parse_source("rtsp://host/" + "a/" * 300).folder_name) == 200


def test_sources_that_cannot_be_watched_together(tmp_path):
    def parse(*texts):
        return [parse_source(text) for text in texts]

    check_sources(parse("camera:0", "rtsp://h/x", str(tmp_path)), tmp_path.parent / "kept")
    check_sources(parse(str(tmp_path)), tmp_path / "kept")  # nothing is kept
    for sources, keep, words in (
        ([], None, "nothing to watch"),
        (parse("a b=camera:0", "a_b=camera:1"), tmp_path, "name them apart"),
        (parse(str(tmp_path), f"x={tmp_path}"), None, "given twice"),
        (parse("camera:0"), None, "say where to keep"),
        (parse(str(tmp_path), "camera:0"), tmp_path / "kept", "watched itself"),
    ):
        with pytest.raises(ValueError, match=words):
            check_sources(sources, keep)


# --- streams ---


def test_rtsp_is_played_and_asks_for_a_password():
    with serving(RtspServer(encode_h264([RED, BLUE]), password="pw1")) as server:
        before = time.time()
        shots = _read(server.address, 4)
        wrong = server.address.replace("pw1", "pw2")
        with pytest.raises(LostError, match="user or password is missing or wrong"):
            _read(wrong)
    assert [_is_like(s.pixels, RED) for s in shots] in ([True, False] * 2, [False, True] * 2)
    assert all(_is_like(s.pixels, RED) or _is_like(s.pixels, BLUE) for s in shots)
    assert before <= shots[0].time <= shots[3].time <= time.time()


def test_rtsp_that_stalls_or_is_closed():
    with serving(RtspServer([*encode_h264([RED] * 3), None])) as server:
        with pytest.raises(LostError, match=r"stalled: nothing came for 0\.5 s"):
            _read(server.address, timeout=0.5)
        server.frames, server.most_frames = server.frames[:1], 3
        with pytest.raises(LostError, match="closed"):
            _read(server.address)


def test_rtsp_that_sends_rubbish_is_read_on_and_lost_where_nothing_else_comes():
    good = encode_h264([RED])[0]
    rubbish = [[b"\x65" + np.random.default_rng(n).bytes(200)] for n in range(3)]
    with serving(RtspServer([good, *rubbish], rate=40)) as server:
        assert sum(_is_like(shot.pixels, RED) for shot in _read(server.address, 4)) >= 2
        server.frames = [good, *rubbish * 200]
        with pytest.raises(LostError, match=r"no picture for 0\.5 s"):
            _read(server.address, timeout=0.5)


def test_mjpeg_changes_size_ends_and_is_sampled():
    wide = draw_colors(["green"], size=(100, 300))
    with serving(HttpServer({"/cam": [RED] * 6 + [wide] * 6})) as server:
        shots = _read(server.address("/cam"), 12)
        assert [s.pixels.shape for s in shots] == [RED.shape] * 6 + [wide.shape] * 6
        assert _is_like(shots[0].pixels, RED) and _is_like(shots[-1].pixels, wide)
        with pytest.raises(LostError):
            assert len(_read(server.address("/cam"), every=0.2)) <= 4


def test_a_video_file_is_played_once_at_its_own_speed(tmp_path):
    video = write_video(tmp_path / "a.mp4", [RED] * 8, rate=10).read_bytes()
    with serving(HttpServer({"/a.mp4": video})) as server:
        started = time.monotonic()
        shots = _read(server.address("/a.mp4"))
    assert len(shots) == 8 and time.monotonic() - started > 0.65
    assert shots[7].time - shots[0].time > 0.65


def test_pixels_of_a_stream_that_are_not_square_are_stretched(tmp_path):
    video = write_video(tmp_path / "a.mp4", [RED] * 2, rate=10, aspect=(2, 1)).read_bytes()
    with serving(HttpServer({"/a.mp4": video})) as server:
        (shot,) = _read(server.address("/a.mp4"), count=1)
    height, width = RED.shape[:2]
    assert shot.pixels.shape == (height, 2 * width, 3)
    assert _is_like(shot.pixels[:, ::2], RED)


def test_what_is_no_video_is_said():
    with serving(HttpServer({"/x": b"rubbish " * 9000})) as server:
        address = server.address("/x?pwd=pw1")
        for place, words in (
            (address, "no video"),
            (address.replace("/x", "/nothing"), "has nothing at this address"),
            ("rtsp://me:pw1@host.invalid/x", "there is no host host.invalid"),
            ("http://me:pw1@127.0.0.1:9/x", "connection refused"),
        ):
            with pytest.raises(LostError, match=words) as error:
                _read(place)
            assert "pw1" not in str(error.value)


class _Webcam:
    def __init__(self, number):
        self.is_there = number == 0
        self.left = 3

    def isOpened(self):
        return self.is_there

    def grab(self):
        self.left -= 1
        return self.left >= 0

    def retrieve(self):
        return True, RED[:, :, ::-1].copy()

    def release(self):
        pass


def test_a_webcam(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", _Webcam)
    stop = threading.Event()
    reading = read_shots(parse_source("camera:0"), stop, Clock(print), every=1e-9, timeout=1)
    assert [np.array_equal(next(reading).pixels, RED) for _ in range(3)] == [True] * 3
    with pytest.raises(LostError, match="no more pictures"):
        next(reading)
    with pytest.raises(LostError, match="cannot be opened"):
        _read("camera:1")


# --- the clock ---


def test_a_clock_that_is_set_back_is_said_once():
    said, times = [], iter([(100.0, 0.0), (101.0, 1.0), (42.0, 2.0), (43.0, 3.0), (90.0, 4.0)])
    now = {}

    def wall():
        now["wall"], now["monotonic"] = next(times)
        return now["wall"]

    clock = Clock(said.append, wall, lambda: now["monotonic"])
    assert [clock.now() for _ in range(4)] == [101.0, 42.0, 43.0, 90.0]
    assert len(said) == 1 and "set back by 60 s" in said[0]


# --- a camera in a thread ---


def _reader(read, said, first_pause=0.01):
    stop, news = threading.Event(), threading.Event()
    source = parse_source("gate=rtsp://me:pw1@host/live")
    return CameraReader(source, read, said.append, stop, news, first_pause), stop


def test_a_camera_comes_back_and_each_loss_is_said_once():
    said, tries = [], []

    def read():
        tries.append(time.monotonic())
        if len(tries) in (1, 2, 4):
            raise LostError("nothing answers")
        yield Shot(1.0, RED)
        if len(tries) < 5:
            raise LostError("it was closed")

    reader, _ = _reader(read, said)
    reader.start()
    reader.join(10)
    losses = [text.partition(";")[0] for text in said if "lost" in text]
    assert losses == [
        "gate: lost rtsp://host/live: nothing answers",
        "gate: lost rtsp://host/live: it was closed",
    ]
    assert sum("is back after" in text for text in said) == 2 and said[-1].endswith("has ended")
    pauses = np.diff(tries)
    assert len(tries) == 5 and pauses[3] > 4 * pauses[0] * 0.5


def test_a_stream_that_the_camera_closes_is_played_again():
    said = []
    with serving(RtspServer(encode_h264([RED]), rate=40)) as server:
        server.most_frames = 4
        source, clock = parse_source(server.address), Clock(said.append)
        reader, stop = _reader(
            lambda: read_shots(source, stop, clock, every=1e-9, timeout=2.0), said
        )
        reader.start()
        wait_until(lambda: sum("is back" in text for text in said) >= 2)
        stop.set()
        reader.join(10)
    assert server.num_plays >= 3 and reader.num_frames >= 3 and reader.error is None
    assert "lost" in said[0] and "is back after" in said[1] and "lost" in said[2]


def test_frames_that_nobody_takes_are_dropped_and_counted():
    said, is_read = [], threading.Event()

    def read():
        for number in range(100):
            yield Shot(float(number), RED)
        is_read.set()

    reader, _ = _reader(read, said)
    reader.start()
    assert is_read.wait(10)
    reader.join(10)
    assert reader.take().time == 99.0 and reader.take() is None and reader.is_done
    assert (reader.num_frames, reader.num_dropped) == (100, 99)


def test_dark_pictures_new_sizes_and_silence_are_said_once():
    said, go_on = [], threading.Event()
    dark = np.full_like(RED, 4)

    def read():
        for picture in (RED, dark, dark, RED, RED[:60], RED, RED[:60]):
            yield Shot(1.0, picture)
        go_on.wait(10)
        yield Shot(2.0, RED[:60])

    reader, _ = _reader(read, said)
    reader.start()
    wait_until(lambda: reader.num_frames == 7)
    time.sleep(0.03)
    reader.notice_silence(0.01)
    reader.notice_silence(0.01)
    go_on.set()
    reader.join(10)
    assert [text.partition(": ")[2][:14] for text in said] == [
        "shows one colo",
        "shows somethin",
        "its pictures a",
        "rtsp://host/li",
        "is back after ",
        "rtsp://host/li",
    ]
