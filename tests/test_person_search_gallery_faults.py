"""Whatever happens to a gallery while it is written: nothing that was reported as stored is lost.

Each fault comes at random moments, twenty of each kind. Afterwards every frame is there once with
the right people after another run, or an error names the file and what happened.
"""

import errno
import json
import os
import resource
import shutil
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from helpers_demo import COLORS, ColorFinder, draw_colors
from helpers_gallery import (
    DIM,
    FINGERPRINT,
    Command,
    Writer,
    assert_finished,
    assert_matches,
    assert_whole,
    make_entries,
    make_frame,
    search_by_numpy,
    unit,
)
from PIL import Image

from demo.actions import SearchSettings, search_gallery
from demo.service import Gallery, Service
from person_search.gallery.checking import check_gallery_file
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex

pytestmark = pytest.mark.slow

TRIALS = range(20)
MODEL = {"fingerprint": FINGERPRINT, "embedding_dim": DIM}
BESIDE = ("", "-wal", "-shm", "-matrix1")


@pytest.fixture(autouse=True)
def small_galleries_keep_a_matrix(monkeypatch):
    monkeypatch.setattr("person_search.gallery.matrix_keeper.LEAST_ROWS", 1)


@pytest.fixture
def disk(tmp_path):
    """A folder in memory, where there is one: writing through to a disk takes most of the time."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(dir=memory))
    yield folder
    shutil.rmtree(folder)


class Trial:
    """One gallery with a moment at which something happens to it."""

    def __init__(self, folder, seed, num_frames=60):
        folder.mkdir(exist_ok=True)
        self.rng = np.random.default_rng(seed)
        self.path = folder / "g.db"
        self.entries = make_entries(self.rng, num_frames)
        self.batch = int(self.rng.choice([1, 3, 10]))
        self.moment = int(self.rng.integers(0, num_frames // self.batch))

    def start(self, **options):
        return Writer(self.path, self.entries, self.batch, **options)

    def wait_for_moment(self, writer):
        writer.wait_for(self.moment)
        time.sleep(self.rng.uniform(0, 0.004))

    def check_error(self, error, *said):
        assert error is not None and any(text in error for text in said), error
        assert str(self.path) in error


def each_trial(disk, **options):
    for seed in TRIALS:
        yield Trial(disk / str(seed), seed, **options)


def test_killed(disk):
    num_cut = 0
    for trial in each_trial(disk):
        writer = trial.start()
        trial.wait_for_moment(writer)
        writer.kill()
        if trial.path.exists():
            there = assert_whole(trial.path, trial.entries, writer.stored())
            assert len(there - writer.stored()) in (0, trial.batch)
            num_cut += len(there) < len(trial.entries)
        assert_finished(trial.path, trial.entries)
        assert set(os.listdir(trial.path.parent)) <= {"g.db", "g.db-matrix1"}
    assert num_cut > 5


def test_killed_while_a_reader_searches(disk):
    for trial in each_trial(disk):
        GalleryIndex.create(trial.path, **MODEL).close()
        with GalleryIndex.open(trial.path) as reader:
            writer = trial.start()
            for _ in range(5):
                _check_some_state(reader, trial)
            trial.wait_for_moment(writer)
            writer.kill()
            _check_some_state(reader, trial)
            assert writer.stored() <= {frame.name for frame in reader.frames()}
            assert_whole(trial.path, trial.entries, writer.stored())
            assert_finished(trial.path, trial.entries)
            query = unit(trial.rng.normal(size=DIM))
            expected = search_by_numpy(trial.entries, query)
            assert_matches(reader.search(query), expected, trial.entries)


def _check_some_state(reader, trial):
    """An answer is that of one state between the search's beginning and its end."""
    query = unit(trial.rng.normal(size=DIM))
    before = reader.info().frames
    found = [(m.image, m.person.rpartition("_")[2]) for m in reader.search(query)]
    after = reader.info().frames
    states = [trial.entries[:end] for end in range(before, after + 1)]
    expected = [[(n, str(p)) for _, n, p in search_by_numpy(s, query)] for s in states]
    assert found in expected, (before, after)


def test_power_is_cut(disk):
    """The files as they are at one moment; the memory that processes share is not in them."""
    for trial in each_trial(disk):
        writer = trial.start()
        trial.wait_for_moment(writer)
        writer.stop()
        stored = writer.stored()
        copy = disk / f"copy{trial.moment}-{trial.batch}"
        copy.mkdir(exist_ok=True)
        for end in BESIDE:
            file = trial.path.with_name(f"g.db{end}")
            if file.exists() and (end != "-shm" or trial.rng.random() < 0.5):
                shutil.copy(file, copy)
        writer.kill()
        if (copy / "g.db").exists():
            there = assert_whole(copy / "g.db", trial.entries, stored)
            assert len(there) <= len(stored) + trial.batch
        assert_finished(copy / "g.db", trial.entries)
        shutil.rmtree(copy)


@contextmanager
def small_disk(folder, options):
    """A disk of its own; called with options, it becomes of another size."""
    folder.mkdir()

    def mount(*arguments):
        done = subprocess.run(["mount", *arguments, str(folder)], capture_output=True)
        if done.returncode:
            pytest.skip(f"mounting is not allowed here: {done.stderr.decode()}")

    mount("-t", "tmpfs", "-o", options, "tmpfs")
    try:
        yield lambda changed: mount("-o", f"remount,{changed}")
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_the_disk_is_full(disk):
    for seed in TRIALS:
        size = int(np.random.default_rng(seed).integers(40, 700))
        with small_disk(disk / str(seed), f"size={size}k") as change:
            trial = Trial(disk / str(seed), seed, num_frames=100)
            writer = trial.start()
            trial.check_error(writer.join(), "is full")
            assert_kept_while_full(trial, writer)
            change("size=64m")
            assert_whole(trial.path, trial.entries, writer.stored())
            assert_finished(trial.path, trial.entries)


def assert_kept_while_full(trial, writer):
    """What was stored can be read without any room, or the error says what lacks."""
    try:
        assert_whole(trial.path, trial.entries, writer.stored())
    except GalleryError as error:
        assert not writer.stored() or "is full" in str(error) or "no inodes" in str(error)
        trial.check_error(str(error), "is full", "no inodes")


def test_another_program_fills_the_disk(disk):
    for seed in TRIALS:
        with small_disk(disk / str(seed), "size=4m") as change:
            trial = Trial(disk / str(seed), seed, num_frames=60)
            writer = trial.start()
            trial.wait_for_moment(writer)
            film = trial.path.parent / "film.mp4"
            with pytest.raises(OSError, match="No space left"):
                film.write_bytes(b"x" * 2**24)
            error = writer.join()
            if error is not None:
                trial.check_error(error, "is full")
                assert_kept_while_full(trial, writer)
            film.unlink()
            assert_whole(trial.path, trial.entries, writer.stored())
            change("size=64m")
            assert_finished(trial.path, trial.entries)


def test_inodes_are_used_up(disk):
    """From the beginning, or by another program's files at some moment."""
    for seed in TRIALS:
        with small_disk(disk / str(seed), "size=64m,nr_inodes=12") as change:
            trial = Trial(disk / str(seed), seed)
            is_early = seed % 2
            if not is_early:
                writer = trial.start()
                trial.wait_for_moment(writer)
            fill_inodes(trial.path.parent, leave=int(trial.rng.integers(0, 3)))
            if is_early:
                writer = trial.start()
            error = writer.join()
            if error is not None:
                trial.check_error(error, "no inodes left")
                assert_kept_while_full(trial, writer)
            change("nr_inodes=100")
            assert_whole(trial.path, trial.entries, writer.stored())
            assert_finished(trial.path, trial.entries)


def fill_inodes(folder, leave):
    made = []
    with pytest.raises(OSError) as caught:
        for number in range(100):
            made.append(folder / f"{number}.txt")
            made[-1].touch()
    assert caught.value.errno == errno.ENOSPC
    for file in made[:-1][:leave]:
        file.unlink()


def test_no_file_may_grow_further(disk):
    """A limit of the account; a quota of the disk needs a file system that has them."""
    for trial in each_trial(disk):
        limit = int(trial.rng.integers(20_000, 400_000))
        writer = trial.start(prepare=LimitFileSize(limit))
        trial.check_error(writer.join(), "the disk of", "cannot be")
        assert_whole(trial.path, trial.entries, writer.stored())
        assert_finished(trial.path, trial.entries)


class LimitFileSize:
    """Lets no file of the process grow beyond this."""

    def __init__(self, num_bytes):
        self.num_bytes = num_bytes

    def __call__(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.num_bytes, self.num_bytes))


def make_anew(path):
    """Another file in its place, as by a tool that edits a copy."""
    shutil.copy(path, path.with_name("other"))
    path.with_name("other").replace(path)


HARMS = {
    "moved": (lambda path: path.rename(path.with_name("moved.db")), "is no longer there"),
    "deleted": (lambda path: path.unlink(), "is no longer there"),
    "replaced": (make_anew, "was replaced by another file"),
    "log deleted": (lambda path: path.with_name("g.db-wal").unlink(), "g.db-wal, which belongs"),
    "index deleted": (lambda path: path.with_name("g.db-shm").unlink(), "g.db-shm, which belongs"),
    "both deleted": (
        lambda path: [path.with_name(f"g.db-{end}").unlink() for end in ("shm", "wal")],
        "which belongs",
    ),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_file_is_taken_away(disk, harm):
    do_harm, message = HARMS[harm]
    num_errors = 0
    for trial in each_trial(disk):
        writer = trial.start()
        writer.wait_for(max(trial.moment, 1))
        writer.stop()
        early = writer.stored()
        beside = set(os.listdir(trial.path.parent))
        if {"g.db-shm", "g.db-wal"} <= beside:
            do_harm(trial.path)
        writer.go_on()
        error = writer.join()
        num_errors += error is not None
        if error is not None:
            trial.check_error(error, message)
            # One batch was on its way when the file went.
            assert len(writer.stored() - early) <= trial.batch
        else:
            assert len(writer.stored()) == len(trial.entries)
        moved = trial.path.with_name("moved.db")
        if moved.exists():
            moved.rename(trial.path)
        if harm == "moved":
            assert_whole(trial.path, trial.entries, writer.stored())
        if not trial.path.exists() and {"g.db-shm", "g.db-wal"} <= set(
            os.listdir(trial.path.parent)
        ):
            with pytest.raises(GalleryError, match=r"no gallery .*g\.db-wal.* bring it back"):
                assert_finished(trial.path, trial.entries)
            for end in ("shm", "wal"):
                trial.path.with_name(f"g.db-{end}").unlink()
        if harm == "replaced":
            _finish_or_say_damaged(trial)
        else:
            assert_finished(trial.path, trial.entries)
    assert num_errors > 5


def _finish_or_say_damaged(trial):
    """A copy of the file without its log may be torn, and the old log lies beside it."""
    try:
        assert_finished(trial.path, trial.entries)
    except GalleryError as error:
        assert f"{trial.path} is damaged" in str(error)
        for file in trial.path.parent.glob("g.db*"):
            file.unlink()
        assert_finished(trial.path, trial.entries)


def become_nobody():
    os.setgid(65_534)
    os.setuid(65_534)


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("place", ["file", "folder"])
def test_reading_or_writing_is_forbidden(disk, place):
    disk.chmod(0o777)
    for trial in each_trial(disk):
        trial.path.parent.chmod(0o777)
        writer = trial.start(prepare=become_nobody)
        trial.wait_for_moment(writer)
        if trial.path.exists():
            (trial.path if place == "file" else trial.path.parent).chmod(0o000)
        error = writer.join()
        trial.path.parent.chmod(0o777)
        trial.path.chmod(0o666)
        if error is not None:
            trial.check_error(error, "may not be", "cannot be", "is no longer there")
        assert_whole(trial.path, trial.entries, writer.stored())
        assert_finished(trial.path, trial.entries)


def test_the_folder_becomes_read_only(disk):
    for seed in TRIALS:
        with small_disk(disk / str(seed), "size=64m") as change:
            trial = Trial(disk / str(seed), seed)
            writer = trial.start()
            trial.wait_for_moment(writer)
            stored = None
            if seed % 2:
                writer.kill()
                stored = writer.stored()
            else:
                assert writer.join() is None
            change("ro")
            other = trial.start()
            assert other.stored() == set()
            trial.check_error(other.join(), "read-only", "may not be", "no gallery")
            change("rw")
            assert_whole(trial.path, trial.entries, stored or ())
            assert_finished(trial.path, trial.entries)


def test_two_write_at_once(disk):
    """The same frames, as when a command is given twice; one of them may be killed."""
    for trial in each_trial(disk):
        writers = [trial.start(told=name) for name in ("a", "b")]
        trial.wait_for_moment(writers[0])
        if trial.rng.random() < 0.5:
            writers[0].kill()
        else:
            assert writers[0].join() is None
        assert writers[1].join() is None
        assert len(assert_whole(trial.path, trial.entries)) == len(trial.entries)
        assert_finished(trial.path, trial.entries)


class SetClockBack:
    """Every clock that a program may ask for the time of day goes back by an hour, now and then."""

    def __call__(self):
        honest, rng = time.time, np.random.default_rng(0)
        time.time = lambda: honest() - 3600 * rng.integers(0, 1000)
        time.time_ns = lambda: int(time.time() * 1e9)


def test_the_clock_is_set_back(disk):
    for trial in each_trial(disk):
        writer = trial.start(prepare=SetClockBack())
        trial.wait_for_moment(writer)
        if trial.path.exists():
            os.utime(trial.path, (0, 0))
        assert writer.join() is None
        assert len(assert_whole(trial.path, trial.entries, writer.stored())) == len(trial.entries)
        assert_finished(trial.path, trial.entries)


def flip_bytes(file, rng, count=8):
    data = bytearray(file.read_bytes())
    for place in rng.integers(0, len(data), count):
        data[place] ^= int(rng.integers(1, 256))
    file.write_bytes(data)


def ask(path, states):
    """List and search; return whether that is right or an error names the file.

    Args:
        path: Of the gallery.
        states: What may be in it, each a list of entries.
    """
    try:
        with GalleryIndex.open(path) as index:
            there = {frame.name for frame in index.frames()}
            (state,) = [s for s in states if {frame.name for frame, _ in s} == there]
            assert index.info().people == sum(len(people) for _, people in state)
            query = unit(np.random.default_rng(len(there)).normal(size=DIM))
            assert_matches(index.search(query), search_by_numpy(state, query), state)
    except GalleryError as error:
        assert str(path) in str(error)
    except (AssertionError, ValueError):
        return False
    return True


def has_problems(path):
    try:
        return bool(check_gallery_file(path).problems)
    except GalleryError as error:
        return str(path) in str(error)


def repair(path):
    """Return whether it could be; else an error names the file and says what to do."""
    try:
        check_gallery_file(path, repair=True)
    except GalleryError as error:
        assert str(path) in str(error) and (
            "backup" in str(error) or "choose another" in str(error)
        )
        return False
    assert not check_gallery_file(path).problems
    return True


def make_gallery(trial):
    """Fill it, a batch at a time."""
    with GalleryIndex.create(trial.path, **MODEL) as index:
        for first in range(0, len(trial.entries), trial.batch):
            index.put(trial.entries[first : first + trial.batch])
        index.prepare()


def test_bytes_of_the_file_change(disk):
    num_found = num_repaired = 0
    for trial in each_trial(disk):
        make_gallery(trial)
        flip_bytes(trial.path, trial.rng)
        is_found = has_problems(trial.path)
        num_found += is_found
        assert ask(trial.path, [trial.entries]) or is_found
        if repair(trial.path):
            num_repaired += 1
            assert ask(trial.path, [intact(trial)])
        else:
            trial.path.unlink()
        assert_finished(trial.path, trial.entries)
    assert num_found > 5 and num_repaired > 5


def intact(trial):
    with GalleryIndex.open(trial.path) as index:
        there = {frame.name for frame in index.frames()}
    return [entry for entry in trial.entries if entry[0].name in there]


def test_bytes_of_the_file_and_its_log_change(disk):
    """SQLite believes a log up to the first damaged place, as after a power cut.

    What was committed behind it is gone, and put again by the next run.
    """
    for trial in each_trial(disk):
        whole = [trial.entries[:end] for end in range(0, len(trial.entries) + 1, trial.batch)]
        copy = disk / f"copy{trial.moment}-{trial.batch}"
        copy.mkdir(exist_ok=True)
        with GalleryIndex.create(trial.path, **MODEL) as index:
            for first in range(0, len(trial.entries), trial.batch):
                index.put(trial.entries[first : first + trial.batch])
            for end in ("", "-wal"):
                shutil.copy(f"{trial.path}{end}", copy)
        for file in copy.iterdir():
            flip_bytes(file, trial.rng)
        path = copy / "g.db"
        is_found = has_problems(path)
        assert ask(path, whole) or is_found
        if not repair(path):
            shutil.rmtree(copy)
            copy.mkdir()
        assert_finished(path, trial.entries)
        shutil.rmtree(copy)


def test_bytes_of_the_matrix_change(disk):
    """It is only derived: answers are right with any bytes in it."""
    for trial in each_trial(disk):
        make_gallery(trial)
        kept = trial.path.with_name("g.db-matrix1")
        flip_bytes(kept, trial.rng, count=8 if trial.moment % 2 else 1)
        assert check_gallery_file(trial.path).problems == [
            "g.db-matrix1, from which the gallery is searched, is damaged"
        ]
        assert ask(trial.path, [trial.entries])
        assert_finished(trial.path, trial.entries)
        flip_bytes(kept, trial.rng)
        assert repair(trial.path) and not kept.exists()
        assert_finished(trial.path, trial.entries)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Sixty pictures of two people, and what is found in them, in the order of indexing."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(3)
    entries = []
    for number in range(60):
        file, image = folder / f"{number:02d}.png", draw_colors(rng.choice(list(COLORS), 2))
        Image.fromarray(image).save(file)
        entries.append((make_frame(str(file)), *ColorFinder().find([image])))
    return folder, entries


def assert_indexed(path, entries, said=None):
    """These frames are in the gallery, each once, and what was said of them is true."""
    with GalleryIndex.open(path) as index:
        frames = sorted(index.frames(), key=lambda frame: frame.name)
        assert [frame.name for frame in frames] == [frame.name for frame, _ in entries]
        for frame, people in entries:
            np.testing.assert_array_equal(index.people_of(frame.name).boxes, people.boxes)
        info = index.info()
    if said is not None:
        assert f"added {info.frames} frames with {info.people} people" in said


@pytest.mark.parametrize("fault", ["killed", "moved", "disk full"])
def test_the_command_says_what_is_there(disk, pictures, fault):
    folder, entries = pictures
    num_faults = 0
    for seed in TRIALS:
        rng = np.random.default_rng(seed)
        size = int(rng.integers(100, 900)) if fault == "disk full" else 64_000
        with small_disk(disk / str(seed), f"size={size}k") as change:
            path = disk / str(seed) / "g.db"
            arguments = ("index", folder, "--gallery", path, "--batch-size", "2")
            command = Command(disk / "first", *arguments)
            if fault != "disk full":
                command.wait_until(lambda path=path: count(path) >= 1)
                time.sleep(rng.uniform(0, 0.1))
            if fault == "killed":
                command.process.kill()
            if fault == "moved":
                path.rename(path.with_name("moved.db"))
            status, said, error = command.join()
            if path.with_name("moved.db").exists():
                path.with_name("moved.db").rename(path)
            assert status in ((0, -9) if fault == "killed" else (0, 2))
            if status == 0:
                assert_indexed(path, entries, said)
            else:
                num_faults += 1
                assert "added" not in said
            if status == 2:
                assert error.startswith("person-search index: ") and str(path) in error, error
                assert ("is full" if fault == "disk full" else "no longer there") in error
            change("size=64m")
            status, said, _ = Command(disk / "again", *arguments).join()
            assert status == 0 and " 0 broken" in said
            assert_indexed(path, entries)
    assert num_faults > 5


def count(path):
    try:
        with GalleryIndex.open(path) as index:
            return index.info().frames
    except GalleryError:
        return 0


def test_fifty_search_while_one_indexes(disk, pictures):
    """From the page, from Python and from shells at once: each answer is that of one state."""
    folder, entries = pictures
    path = disk / "g.db"
    model = {"fingerprint": ColorFinder.fingerprint, "embedding_dim": ColorFinder.embedding_dim}
    GalleryIndex.create(path, **model).close()
    image = draw_colors(["red"])
    Image.fromarray(image).save(disk / "red.png")
    query = ColorFinder().find([image])[0].embeddings
    expected = [rank(entries[:end], query[0]) for end in range(len(entries) + 1)]
    search = ("search", "--gallery", path, "--query", disk / "red.png", "--top", "5", "--json")
    barrier, faults, answers = threading.Barrier(51), [], []

    def ask(name, use):
        with GalleryIndex.open(path) as watcher:
            barrier.wait()
            for _ in range(1 if name == "shell" else 6):
                before = watcher.info().frames
                found = use()
                states = expected[before : watcher.info().frames + 1]
                answers.append(name)
                if found not in states:
                    faults.append((name, before, found))

    def from_page():
        answer = search_gallery(page, page.gallery("g"), query, SearchSettings(top=5))
        return [(match.image, match.box_xyxy) for match in answer.matches]

    def from_python():
        with GalleryIndex.open(path) as own:
            return [(match.image, match.box_xyxy) for match in own.search(query, top=5)]

    def from_shell():
        out = disk / str(threading.get_native_id())
        shell = Command(out, *search)
        assert shell.join()[0] in (0, 1)
        found = json.loads(out.with_suffix(".out").read_text())["matches"]
        return [(match["image"], tuple(match["box"])) for match in found]

    users = (
        [("page", from_page)] * 24 + [("python", from_python)] * 22 + [("shell", from_shell)] * 4
    )
    with GalleryIndex.open(path) as index, ThreadPoolExecutor(50) as pool:
        page = Service(ColorFinder(), {"g": Gallery("g", index, disk)})
        done = [pool.submit(ask, *user) for user in users]
        barrier.wait()
        arguments = ("index", folder, "--gallery", path, "--batch-size", "1")
        writer = Command(disk / "index", *arguments)
        for future in done:
            future.result(timeout=120)
        status, said, _ = writer.join()
        assert status == 0
        assert_indexed(path, entries, said)
        assert from_page() == from_python() == from_shell() == expected[-1]
    assert not faults and len(answers) == 46 * 6 + 4


def rank(entries, query):
    """The best five frames by float64, as names and boxes."""
    found = []
    for frame, people in entries:
        similar = (people.embeddings.astype(float) @ query.astype(float)).astype(np.float32)
        best = int(np.argmax(similar))
        found.append((-similar[best], frame.name, tuple(people.boxes[best].tolist())))
    return [(name, box) for _, name, box in sorted(found)[:5]]
