import errno
import multiprocessing
import random
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers_processes import run_processes
from PIL import Image

from person_search.footage import read_ahead
from person_search.footage.files import FootageOptions, Frame
from person_search.footage.read_ahead import ReadAhead, batch_same_size
from person_search.gallery.add_footage import NAMES_A_QUESTION, index_footage
from person_search.gallery.rows import Stored
from person_search.people import People

DIM = 4


class FakeFinder:
    """Finds as many people as the first pixel's red says, and embeds its colour."""

    fingerprint = "a" * 64
    embedding_dim = DIM

    def __init__(self, seconds=0.0):
        self.seconds = seconds
        self.batches = []

    def find(self, images, batch_size=4):
        time.sleep(self.seconds)
        self.batches.append([image.shape for image in images])
        return [people_in(image) for image in images]


def people_in(image):
    red, green, blue = (int(v) for v in image[0, 0])
    count = red % 10
    boxes = np.array([[k, green, k + 5, green + 9] for k in range(count)], np.float32)
    embeddings = np.array([[1.0 + k, red, green, blue] for k in range(count)], np.float32)
    embeddings = embeddings.reshape(-1, DIM)
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return People(boxes.reshape(-1, 4), np.full(count, 0.9, np.float32), embeddings / norms)


class FakeIndex:
    """Keeps frames in a dictionary, and notes what it was asked."""

    fingerprint, card = "a" * 64, None
    has_appearances = False

    def __init__(self):
        self.stored, self.questions, self.room = {}, [], None

    def known_frames(self, names):
        self.questions.append(list(names))
        return {n: self.stored[n][0].content_hash for n in names if n in self.stored}

    def put(self, entries, *, fingerprint=None):
        if self.room is not None and len(self.stored) + len(entries) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device", "gallery.db")
        self.stored.update({frame.name: (frame, people) for frame, people in entries})
        return Stored(len(entries), sum(len(people) for _, people in entries))

    def prepare(self):
        pass

    def remove(self, *, names, purge):
        assert not purge, "that is for who removes, not for each changed video"
        for name in [n for n in self.stored if n.split("#frame=")[0] in names]:
            del self.stored[name]


def save_images(folder, count, size=(12, 10), start=0):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(start, start + count):
        color = (number % 7, number // 7, 40)
        Image.new("RGB", size, color).save(folder / f"{number:04d}.png")
    return folder


def save_video(path, count, rate=10.0):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, (64, 48))
    for number in range(count):
        writer.write(np.full((48, 64, 3), 3 + number % 3, np.uint8))
    writer.release()
    return path


def run(index, paths, finder=None, **options):
    return index_footage(index, finder or FakeFinder(), paths, progress=False, **options)


def summary(report):
    return report.frames_added, report.people_added, report.frames_unchanged, len(report.broken)


def test_everybody_is_stored_with_frame_camera_and_time(tmp_path):
    save_images(tmp_path / "north", 9)
    index = FakeIndex()
    report = run(index, [tmp_path], options=FootageOptions(camera_from="folder"))
    assert summary(report) == (9, sum(n % 7 for n in range(9)), 0, 0) and report.seconds > 0
    for path in sorted((tmp_path / "north").iterdir()):
        frame, people = index.stored[str(path)]
        assert frame.camera == "north" and frame.timestamp is None
        expected = people_in(np.asarray(Image.open(path)))
        assert (people.embeddings == expected.embeddings).all()
        assert frame.source is None, "pixels are kept"


def test_unchanged_frames_are_skipped_and_changed_and_new_ones_are_not(tmp_path):
    folder = save_images(tmp_path / "a", 9)
    index = FakeIndex()
    run(index, [folder])
    finder = FakeFinder()
    assert summary(run(index, [folder], finder)) == (0, 0, 9, 0)
    assert finder.batches == []
    Image.new("RGB", (12, 10), (5, 0, 0)).save(folder / "0003.png")
    save_images(folder, 2, start=9)
    assert summary(run(index, [folder])) == (3, 5 + 2 + 3, 8, 0)
    assert len(index.stored) == 11


def test_the_gallery_is_asked_for_many_names_at_once(tmp_path):
    folder = save_images(tmp_path / "a", 30)
    video = save_video(tmp_path / "b.avi", 30)
    index = FakeIndex()
    run(index, [folder, video], options=FootageOptions(every=0.1))
    assert len(index.stored) == 60
    assert [len(names) for names in index.questions] == [30, NAMES_A_QUESTION]


def test_batches_are_of_one_size_and_full_where_possible(tmp_path):
    folder = tmp_path / "a"
    for number in range(9):
        save_images(folder, 1, size=(12, 10) if number % 2 else (20, 10), start=number)
    finder = FakeFinder()
    report = run(FakeIndex(), [folder], finder, batch_size=2)
    assert all(len(set(batch)) == 1 for batch in finder.batches)
    assert sorted(map(len, finder.batches)) == [1, 2, 2, 2, 2]
    assert report.frames_added == 9


def test_many_sizes_do_not_fill_the_memory():
    frames = [(Frame(str(n), "", None, None), np.zeros((n + 1, 5, 3), np.uint8)) for n in range(99)]
    taken = 0

    def counted():
        nonlocal taken
        for frame in frames:
            taken += 1
            yield frame

    given = 0
    for batch in batch_same_size(counted(), 4):
        given += len(batch)
        assert taken - given < 16
    assert given == 99


def test_broken_files_are_listed_and_do_not_stop_the_rest(tmp_path):
    folder = save_images(tmp_path / "a", 5)
    (folder / "0001.png").write_bytes((folder / "0001.png").read_bytes()[:50])
    (folder / "0002b.jpg").touch()
    (folder / "x.mp4").write_text("no video")
    index = FakeIndex()
    report = run(index, [folder])
    assert summary(report) == (4, 0 + 2 + 3 + 4, 0, 3)
    names = [Path(item.name).name for item in report.broken]
    assert names == ["0001.png", "0002b.jpg", "x.mp4"]
    assert all(item.name in item.reason for item in report.broken)
    assert summary(run(index, [folder])) == (0, 0, 4, 3)


def test_videos_are_sampled_and_skipped_when_known(tmp_path):
    video = save_video(tmp_path / "b.avi", 35)
    index = FakeIndex()
    assert run(index, [video]).frames_added == 4
    assert sorted(index.stored) == [f"{video}#frame={n}" for n in (0, 10, 20, 30)]
    assert index.stored[f"{video}#frame=20"][0].timestamp == pytest.approx(2.0)
    assert summary(run(index, [video])) == (0, 0, 4, 0)
    report = run(index, [video], options=FootageOptions(every=0.5))
    assert summary(report)[0::2] == (3, 4)


def test_of_a_video_that_changed_no_frame_of_the_old_one_stays(tmp_path):
    """A shorter version would leave the old one's later frames in the gallery."""
    save_images(tmp_path / "a", 3)
    video = save_video(tmp_path / "a/b.avi", 35)
    index = FakeIndex()
    run(index, [tmp_path])
    save_video(video, 15)
    assert summary(run(index, [tmp_path]))[0::2] == (2, 3)
    assert len(index.stored) == 5
    assert sorted(n for n in index.stored if "#" in n) == [f"{video}#frame={n}" for n in (0, 10)]
    video.write_text("no longer a video")
    run(index, [tmp_path])
    assert len(index.stored) == 5, "a damaged file cost what was stored"


def test_another_model_is_refused_before_anything_is_read(tmp_path):
    finder = FakeFinder()
    finder.fingerprint = "b" * 64
    with pytest.raises(
        ValueError, match="made with model aaaaaaaaaaaa, this model is bbbbbbbbbbbb"
    ):
        run(FakeIndex(), [tmp_path / "not there"], finder)


def test_wrong_arguments(tmp_path):
    with pytest.raises(ValueError, match="batch_size is 0"):
        run(FakeIndex(), [tmp_path], batch_size=0)
    with pytest.raises(ValueError, match="neither image nor video"):
        run(FakeIndex(), [tmp_path])
    with pytest.raises(FileNotFoundError, match="gone"):
        run(FakeIndex(), [tmp_path / "gone"])


def readers():
    return [t for t in threading.enumerate() if t.name.startswith(("read-footage", "decode"))]


def wait_until_readers_end():
    deadline = time.monotonic() + 5
    while readers() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not readers()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_an_error_of_the_store_ends_it_and_keeps_what_is_stored(tmp_path, error):
    folder = save_images(tmp_path / "a", 40)
    index = FakeIndex()
    put = index.put

    def fill_up(entries, *, fingerprint=None):
        if len(index.stored) >= 8:
            raise error
        return put(entries)

    index.put = fill_up
    with pytest.raises(type(error)):
        run(index, [folder])
    assert len(index.stored) == 8
    assert wait_until_readers_end()
    index.put = put
    assert summary(run(index, [folder]))[0::2] == (32, 8)


def test_an_error_in_the_reading_thread_reaches_the_caller(tmp_path):
    folder = save_images(tmp_path / "a", 40)
    index = FakeIndex()

    def lost(names):
        raise ConnectionError("the store is gone")

    index.known_frames = lost
    with pytest.raises(ConnectionError, match="the store is gone"):
        run(index, [folder])
    assert wait_until_readers_end()


def test_reading_is_ahead_of_the_model_but_not_far(tmp_path, monkeypatch):
    monkeypatch.setattr(read_ahead, "READ_AHEAD", 4)
    loaded = []

    class Counted(Frame):
        def load(self):
            loaded.append(self.name)
            return np.zeros((2, 2, 3), np.uint8)

    def frames():
        for number in range(50):
            yield Counted(str(number), "")

    with ReadAhead(frames()) as ahead:
        items = iter(ahead)
        next(items)
        deadline = time.monotonic() + 5
        while len(loaded) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        assert 5 <= len(loaded) <= 7
        # In order, however long each takes to decode.
        assert [frame.name for frame, _ in items] == [str(n) for n in range(1, 50)]


def test_what_was_stored_is_told_batch_by_batch_and_may_end_it(tmp_path):
    folder, index, told = save_images(tmp_path / "a", 5), FakeIndex(), []

    def tell(entries):
        assert {frame.name for frame, _ in entries} <= set(index.stored)
        told.extend(entries)
        if len(told) >= 2:
            raise InterruptedError("enough")

    with pytest.raises(InterruptedError, match="enough"):
        run(index, [folder], on_stored=tell, batch_size=1)
    assert len(told) == len(index.stored) == 2
    assert all(frame.source is None and isinstance(people, People) for frame, people in told)


def test_progress_counts_everything_and_ends_at_the_total(tmp_path):
    folder = save_images(tmp_path / "a", 9)
    (folder / "x.jpg").touch()
    save_video(folder / "y.avi", 35)
    index, calls = FakeIndex(), []
    run(index, [folder], on_progress=lambda *call: calls.append(call))
    assert calls[-1] == (14, 14) and all(total == 14 for _, total in calls)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    calls.clear()
    run(index, [folder], on_progress=lambda *call: calls.append(call))
    assert calls[-1] == (14, 14)


def test_the_total_may_be_unknown(tmp_path, monkeypatch):
    video = save_video(tmp_path / "y.avi", 35)
    monkeypatch.setattr(
        "person_search.gallery.add_footage.estimate_num_samples", lambda path, every: None
    )
    calls = []
    run(FakeIndex(), [video], on_progress=lambda *call: calls.append(call), batch_size=2)
    assert calls == [(2, None), (4, None), (4, 4)]


def test_the_bar_shows_rate_time_left_and_people(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    folder = save_images(tmp_path / "a", 6)
    index_footage(FakeIndex(), FakeFinder(), [folder])
    shown = capsys.readouterr().err
    assert "indexing: 100%" in shown and "6/6" in shown and "frames/s" in shown
    assert "15 people, 0 broken" in shown


# With the real store


def open_gallery(path):
    from person_search.gallery.index import GalleryIndex

    return GalleryIndex.open_or_create(path, fingerprint=FakeFinder.fingerprint, embedding_dim=DIM)


def index_slowly(gallery, folder, progress):
    with open_gallery(gallery) as index:
        index_footage(
            index,
            FakeFinder(0.01),
            [folder],
            batch_size=2,
            progress=False,
            on_progress=lambda done, total: progress.send(done),
        )


def index_and_kill(rank, gallery, folder, after, delay):
    """Index in a process of its own, and kill -9 it some time after ``after`` frames are done."""
    context = multiprocessing.get_context("fork")
    progress, far_end = context.Pipe(duplex=False)
    process = context.Process(target=index_slowly, args=(gallery, folder, far_end))
    process.start()
    far_end.close()
    try:
        while progress.recv() < after:
            pass
        time.sleep(delay)
    finally:
        process.kill()
        process.join()
        progress.close()


def check_each_image_is_there_once(index, folder):
    paths = sorted(str(path) for path in folder.iterdir())
    assert sorted(frame.name for frame in index.frames()) == paths
    for path in paths:
        expected, got = people_in(np.asarray(Image.open(path))), index.people_of(path)
        assert len(got) == len(expected)
        assert np.allclose(got.boxes, expected.boxes)
        assert np.allclose(got.embeddings, expected.embeddings, atol=1e-6)
    assert index.info().people == sum(len(people_in(np.asarray(Image.open(p)))) for p in paths)


@pytest.mark.parametrize(
    "num_kills", [2, pytest.param(10, marks=pytest.mark.slow)], ids=["2 kills", "10 kills"]
)
def test_kills_at_any_moment_lose_and_double_nothing(tmp_path, num_kills):
    folder = save_images(tmp_path / "a", 30 * num_kills)
    gallery = tmp_path / "gallery.db"
    rng = random.Random(num_kills)
    counts = []
    for number in range(num_kills):
        after = 30 * number + rng.randrange(30)
        run_processes(index_and_kill, 1, gallery, folder, after, rng.uniform(0, 0.02))
        if number in (0, num_kills - 1):
            with open_gallery(gallery) as index:
                counts.append(index.info().frames)
    # They were killed on the way, not before or after.
    assert 0 <= counts[0] < counts[-1] < 30 * num_kills
    with open_gallery(gallery) as index:
        report = run(index, [folder])
        assert report.frames_unchanged >= counts[-1] and report.frames_added > 0
        check_each_image_is_there_once(index, folder)


def test_images_and_videos_in_the_real_store(tmp_path):
    folder = save_images(tmp_path / "a", 5)
    video = save_video(tmp_path / "b.avi", 35)
    with open_gallery(tmp_path / "gallery.db") as index:
        options = FootageOptions(camera_from="folder")
        assert summary(run(index, [folder, video], options=options))[0::2] == (9, 0)
        assert summary(run(index, [folder, video], options=options))[0::2] == (0, 9)
        save_video(video, 15)
        assert summary(run(index, [folder, video], options=options))[0::2] == (2, 5)
        frames = {frame.name: frame for frame in index.frames()}
        assert len(frames) == 7
        assert frames[f"{video}#frame=10"].timestamp == pytest.approx(1.0)
        assert frames[str(folder / "0001.png")].camera == "a"
