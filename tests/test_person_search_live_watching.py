import errno
import os
import threading
import time
from contextlib import contextmanager
from itertools import count

import numpy as np
import pytest
from helpers_demo import EMBEDDING_DIM, FINGERPRINT, ColorFinder, draw_colors
from helpers_gallery import wait_until
from helpers_streams import HttpServer, serving
from helpers_videos import write_video
from PIL import Image
from test_person_search_gallery_faults import small_disk

from person_search.footage.files import BrokenFile, FootageOptions
from person_search.footage.frames import read_frame
from person_search.gallery.add_footage import index_footage
from person_search.gallery.checking import check_gallery_file
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex
from person_search.live import keeping, watched_folders, watching
from person_search.live.alerts import StandingQueries, StandingQuery
from person_search.live.keeping import KeptPictures
from person_search.live.sources import parse_source
from person_search.live.streams import Shot
from person_search.live.watch_options import WatchOptions
from person_search.live.watched_folders import WatchedFolder
from person_search.live.watching import Watch

MODEL = {"fingerprint": FINGERPRINT, "embedding_dim": EMBEDDING_DIM}
RED, NOBODY = draw_colors(["red"]), draw_colors([])
LOOK = ColorFinder().find([RED])[0].embeddings[0]
FAST = WatchOptions(FootageOptions(every=1e-6), poll=0.01, settled=0.02, timeout=2.0)


@pytest.fixture
def index(tmp_path):
    with GalleryIndex.create(tmp_path / "g.db", **MODEL) as opened:
        yield opened


@pytest.fixture(autouse=True)
def link_often(monkeypatch):
    monkeypatch.setattr(watching, "LINK_EVERY", 0.0)


def _shots(monkeypatch, make):
    """Let every stream be what ``make(source)`` yields."""
    monkeypatch.setattr(watching, "read_shots", lambda source, *_, **__: make(source))


def _slowly(pictures, started=1.7e9):
    """A frame a second, each after the one before was taken."""
    for number, picture in enumerate(pictures):
        yield Shot(started + number, picture)
        time.sleep(0.03)


@contextmanager
def _running(watch):
    """Watch in a thread meanwhile."""
    thread = threading.Thread(target=watch.run)
    thread.start()
    try:
        yield
    finally:
        watch.stop()
        thread.join(20)


# --- keeping ---


def test_kept_pictures_say_their_camera_and_time(tmp_path):
    kept, source = KeptPictures(tmp_path / "kept"), parse_source("north gate=camera:0")
    first, same = (kept.keep(source, Shot(1_700_000_000.1234, RED)) for _ in range(2))
    assert first.name.endswith("/kept/2023-11-14/north_gate/2023-11-14_22-13-20.123Z.jpg")
    assert (first.camera, first.timestamp) == ("north gate", 1_700_000_000.123)
    assert same.timestamp == 1_700_000_000.124
    assert np.abs(read_frame(first.name).astype(int) - RED).mean() < 6
    with GalleryIndex.create(tmp_path / "again.db", **MODEL) as again:
        footage = FootageOptions(camera_from="folder", time_from="name")
        index_footage(again, ColorFinder(), [tmp_path / "kept"], footage, progress=False)
        found = {(f.name, f.camera, f.timestamp, f.content_hash) for f in again.frames()}
    assert found == {(f.name, "north_gate", f.timestamp, f.content_hash) for f in (first, same)}


# --- streams ---


def test_a_stream_is_stored_and_linked_while_it_runs(index, tmp_path):
    pictures = [NOBODY] * 2 + [RED] * 4 + [NOBODY] * 2 + [None]
    with serving(HttpServer({"/cam": pictures})) as server:
        source = parse_source(f"gate={server.address('/cam')}")
        watch = Watch(index, ColorFinder(), [source], keep=tmp_path / "kept", options=FAST)
        with _running(watch), GalleryIndex.open(tmp_path / "g.db") as page:
            # Another connection, as the page has one.
            wait_until(lambda: any(m.appearance for m in page.appearances.search(LOOK)))
            cameras = {m.camera for m in page.appearances.search(LOOK)}
    assert cameras == {"gate"}
    report = watch.report
    stored = list(index.frames())
    assert report.frames_added == report.people_added == len(stored) >= 1
    assert report.appearances_added == 1
    assert all(read_frame(f.name).shape == RED.shape for f in stored)
    assert abs(stored[0].timestamp - time.time()) < 60


def test_a_slow_model_drops_frames_and_says_so(index, tmp_path, monkeypatch):
    said, finder = [], ColorFinder()
    _shots(monkeypatch, lambda _: (Shot(1.7e9 + n, RED) for n in range(500)))
    watch = Watch(
        index,
        finder,
        [parse_source("camera:0")],
        keep=tmp_path / "k",
        options=FAST,
        say=said.append,
    )
    report = watch.run()
    assert report.frames_seen + report.frames_dropped == 500 and report.frames_dropped > 400
    assert sum("frames were dropped" in text for text in said) == 1
    assert any(f"{report.frames_dropped} frames were dropped" in text for text in said)


def test_it_ends_by_itself_after_its_time_and_when_stopped(index, tmp_path, monkeypatch):
    def make(source):
        for _ in range(100):
            yield Shot(time.time(), NOBODY)
            time.sleep(0.01)

    _shots(monkeypatch, make)
    options = WatchOptions(seconds=0.1, timeout=0.1)
    watch = Watch(index, ColorFinder(), [parse_source("camera:0")], keep=tmp_path, options=options)
    assert watch.run().frames_added == 0 and 0.1 <= watch.report.seconds < 5
    assert not any(tmp_path.rglob("*.jpg"))


def test_a_mistake_in_a_cameras_thread_is_raised(index, tmp_path, monkeypatch):
    def make(source):
        yield Shot(1.7e9, NOBODY)
        raise ZeroDivisionError("ours")

    _shots(monkeypatch, make)
    with pytest.raises(ZeroDivisionError, match="ours"):
        Watch(index, ColorFinder(), [parse_source("camera:0")], keep=tmp_path, options=FAST).run()


def test_a_full_disk_is_waited_out(index, tmp_path, monkeypatch):
    said, number, write = [], count(), keeping.atomic_file

    def fail(path, *rest):
        if next(number) in (1, 2):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, *rest)

    monkeypatch.setattr(keeping, "atomic_file", fail)
    _shots(monkeypatch, lambda _: _slowly([RED] * 5))
    source = parse_source("camera:0")
    watch = Watch(index, ColorFinder(), [source], keep=tmp_path, options=FAST, say=said.append)
    report = watch.run()
    assert report.frames_not_stored == 2
    assert report.frames_added == report.frames_seen - 2 == index.info().frames
    assert [text for text in said if "room" in text] == [
        next(text for text in said if "No space left" in text),
        "there is room on the disk again",
    ]


def test_a_full_gallery_leaves_no_pictures_behind_that_it_does_not_know(
    index, tmp_path, monkeypatch
):
    said = []

    def put(entries):
        error = GalleryError("the disk of g.db is full")
        error.__cause__ = OSError(errno.ENOSPC, "full")
        raise error

    monkeypatch.setattr(index, "put", put)
    _shots(monkeypatch, lambda _: _slowly([RED] * 3))
    source = parse_source("camera:0")
    watch = Watch(index, ColorFinder(), [source], keep=tmp_path, options=FAST, say=said.append)
    report = watch.run()
    assert report.frames_not_stored == report.frames_seen > 0 == report.frames_added
    assert not any(tmp_path.rglob("*.jpg")) and sum("is full" in text for text in said) == 1


@pytest.mark.slow
@pytest.mark.parametrize("is_pictures", [False, True])
def test_a_real_disk_that_is_full_is_waited_out(tmp_path, monkeypatch, is_pictures):
    """The disk of the gallery, or of the pictures as well; it grows while the watch goes on."""
    said = []
    disk = tmp_path / "disk"
    with small_disk(disk, "size=1200k") as change:
        kept = (disk if is_pictures else tmp_path) / "kept"

        def make(source):
            start = 1.7e9
            while not any("not stored until" in text for text in said):
                yield from _slowly([RED], start)
                start += 1
            yield from _slowly([RED] * 3, start)
            change("size=64m")
            yield from _slowly([RED] * 3, start + 10)

        _shots(monkeypatch, make)
        with GalleryIndex.create(disk / "g.db", **MODEL) as index:
            watch = Watch(
                *(index, ColorFinder(), [parse_source("camera:0")]),
                keep=kept,
                options=FAST,
                say=said.append,
            )
            report = watch.run()
            assert report.frames_not_stored > 0 < report.frames_added == index.info().frames
            assert report.frames_added + report.frames_not_stored == report.frames_seen
            assert sum("full" in t or "No space" in t for t in said) == 1, said
            assert said.count("there is room on the disk again") == 1
            names = {frame.name for frame in index.frames()}
        assert names == {str(path) for path in kept.rglob("*.jpg")}
        assert not check_gallery_file(disk / "g.db").problems


def test_a_gallery_that_is_moved_away_ends_the_watch_and_loses_nothing(
    index, tmp_path, monkeypatch
):
    def make(source):
        yield from _slowly([RED] * 2)
        wait_until(lambda: watch.report.frames_added == 2)
        for file in tmp_path.glob("g.db*"):
            file.rename(tmp_path / file.name.replace("g.db", "away.db"))
        yield from _slowly([RED] * 2, 1.7e9 + 2)

    _shots(monkeypatch, make)
    source = parse_source("camera:0")
    watch = Watch(index, ColorFinder(), [source], keep=tmp_path / "k", options=FAST)
    with pytest.raises(GalleryError, match="no longer there"):
        watch.run()
    index.close()
    with GalleryIndex.open(tmp_path / "away.db") as kept:
        names = {frame.name for frame in kept.frames()}
    assert names == {str(path) for path in (tmp_path / "k").rglob("*.jpg")} and len(names) == 2


def test_another_model_a_server_or_a_wrong_option_is_refused(index, tmp_path, monkeypatch):
    finder = ColorFinder()
    finder.fingerprint = "ab" * 32
    with pytest.raises(GalleryError, match="use the gallery's model"):
        Watch(index, finder, [parse_source("camera:0")], keep=tmp_path)
    monkeypatch.setattr(GalleryIndex, "has_appearances", False)  # as on a server
    with pytest.raises(GalleryError, match="keeps none; use a gallery in a file"):
        Watch(index, ColorFinder(), [parse_source("camera:0")], keep="k", standing=_standing([]))
    for wrong in ({"poll": 0}, {"timeout": -1}, {"seconds": 0}, {"batch_size": 0}):
        with pytest.raises(ValueError, match="expected"):
            WatchOptions(**wrong)


# --- folders ---


def test_a_half_written_file_is_waited_for(tmp_path):
    folder = WatchedFolder(tmp_path, print, settled=0.05, patience=0.2)
    assert folder.ready() == []
    part, old = tmp_path / "part.jpg", tmp_path / "old.jpg"
    old.write_bytes(b"x")
    os.utime(old, (1e9, 1e9))
    part.write_bytes(b"half")
    assert folder.ready() == [old]
    part.write_bytes(b"half more")
    os.utime(part)
    assert folder.ready() == [old] and folder.done([old], []) == []
    wait_until(lambda: folder.ready() == [part])
    # Its writer had only paused; broken for good is only what stays so.
    broken = [BrokenFile(str(part), "cut off")]
    assert folder.done([part], broken) == [] and folder.ready() == []
    wait_until(lambda: folder.ready() == [part])
    assert folder.done([part], broken) == broken and folder.ready() == []
    part.write_bytes(b"whole, at last")
    wait_until(lambda: folder.ready() == [part])


def test_the_oldest_files_come_first_and_broken_ones_again_later(tmp_path, monkeypatch):
    monkeypatch.setattr(watched_folders, "AT_ONCE", 2)
    now = time.time()
    for age, name in enumerate(("c", "b", "a")):
        (tmp_path / f"{name}.png").write_bytes(b"half")
        os.utime(tmp_path / f"{name}.png", (now, now + age - 3))
    folder = WatchedFolder(tmp_path, lambda text: None, settled=0.0)
    some = folder.ready()
    assert [path.name for path in some] == ["c.png", "b.png"]
    # Their writer may have paused: none is broken for good before half a minute.
    assert folder.done(some, [BrokenFile(str(path), "damaged") for path in some]) == []
    assert [path.name for path in folder.ready()] == ["a.png"]


def test_a_folder_that_goes_and_comes_is_said_once(tmp_path):
    said = []
    folder = WatchedFolder(tmp_path / "in", said.append, settled=0.0)
    for _ in range(2):
        assert folder.ready() == []
    (tmp_path / "in").mkdir()
    for _ in range(2):
        assert folder.ready() == []
    assert len(said) == 2 and "no longer there" in said[0] and "there again" in said[1]


def test_new_files_of_a_folder_are_indexed(index, tmp_path):
    root, said = tmp_path / "hall", []
    root.mkdir()
    Image.fromarray(RED).save(root / "2024-05-31_14-00-00.png")
    (root / "notes.txt").touch()
    options = WatchOptions(
        FootageOptions(every=0.5, time_from="name"), poll=0.02, settled=0.05, timeout=1.0
    )
    source = parse_source(f"hall={root}")
    watch = Watch(index, ColorFinder(), [source], options=options, say=said.append)
    with _running(watch):
        wait_until(lambda: watch.report.frames_added == 1)
        made = write_video(tmp_path / "made.mp4", [RED] * 10, rate=10).read_bytes()
        video = root / "2024-05-31_14-00-02.mp4"
        with video.open("wb") as file:
            file.write(made[: len(made) // 2])
            file.flush()
            time.sleep(0.3)
            file.write(made[len(made) // 2 :])
        wait_until(lambda: watch.report.frames_added == 3)
        wait_until(lambda: watch.report.appearances_added == 1)
    (match,) = index.appearances.search(LOOK)
    assert (match.camera, match.appearance.frames, watch.report.files_broken) == ("hall", 3, 0)
    assert watch.report.files_passed_over == 1
    # The same again adds nothing.
    options = WatchOptions(options.footage, seconds=0.2, poll=0.05, settled=0.0)
    assert Watch(index, ColorFinder(), [source], options=options).run().frames_added == 0


# --- standing queries ---


def _standing(told, threshold=0.9):
    return StandingQueries([StandingQuery("anna", LOOK)], threshold, told.append)


def test_an_alert_is_told_once_for_each_stay(index, tmp_path, monkeypatch):
    told = []
    # She stays, is away for more than ten seconds, and comes back; somebody else is there as well.
    both, other = draw_colors(["red", "green"]), draw_colors(["green"])

    def make(source):
        yield from _slowly([other, RED, both, both, other])
        yield from _slowly([both, both], 1.7e9 + 60)

    _shots(monkeypatch, make)
    source, kept = parse_source("gate=camera:0"), tmp_path / "k"
    Watch(
        *(index, ColorFinder(), [source]), keep=kept, options=FAST, standing=_standing(told)
    ).run()
    assert [(a.name, a.match.camera, a.match.timestamp >= 1.7e9 + 60) for a in told] == [
        ("anna", "gate", False),
        ("anna", "gate", True),
    ]
    assert all(a.match.similarity >= 0.9 and a.match.appearance.id for a in told)
    assert told[0].match.appearance.id != told[1].match.appearance.id


def test_pictures_that_stand_alone_raise_an_alert_each(index, tmp_path):
    told, root = [], tmp_path / "in"
    root.mkdir()
    for name, who in (("a", "red"), ("b", "blue"), ("c", "red")):
        Image.fromarray(draw_colors([who])).save(root / f"{name}.png")
    options = WatchOptions(seconds=0.3, poll=0.05, settled=0.0)
    source = parse_source(str(root))
    Watch(index, ColorFinder(), [source], options=options, standing=_standing(told)).run()
    assert sorted(os.path.basename(a.match.image) for a in told) == ["a.png", "c.png"]
    assert [a.match.appearance for a in told] == [None, None]


def test_a_stay_that_is_linked_anew_is_not_told_again(index, tmp_path):
    """Numbers of appearances change when a clock is set back."""
    told, kept = [], KeptPictures(tmp_path)
    standing, source = _standing(told), parse_source("gate=camera:0")
    people = ColorFinder().find([RED])[0]
    for second in (5, 6, 7, 0, 1, 6.5, 8):
        entries = [(kept.keep(source, Shot(1.7e9 + second, RED)), people)]
        index.put(entries)
        standing.look(entries)
        index.appearances.link()
        standing.settle(index)
    numbers = {match.appearance.id for match in index.appearances.search(LOOK)}
    assert len(told) == 1 and told[0].match.appearance.id not in numbers


def test_two_who_look_alike_at_once_are_two_alerts(index, tmp_path):
    told, kept = [], KeptPictures(tmp_path)
    standing, source, twins = (
        _standing(told),
        parse_source("gate=camera:0"),
        draw_colors(["red"] * 2),
    )
    (people,) = ColorFinder().find([twins])
    for second in (0, 1, 2):
        entries = [(kept.keep(source, Shot(1.7e9 + second, twins)), people)]
        index.put(entries)
        standing.look(entries)
        index.appearances.link()
        standing.settle(index)
    assert len(people) == 2 and len({alert.match.appearance.id for alert in told}) == 2
    assert len(told) == 2


def test_a_threshold_out_of_range_is_refused():
    with pytest.raises(ValueError, match="expected -1"):
        _standing([], 1.5)
