"""Random galleries, what a search of them must return, and processes that write into them."""

import contextlib
import hashlib
import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
from helpers_demo import ColorFinder

from person_search.cli import main
from person_search.commands import index as index_command
from person_search.commands import search as search_command
from person_search.footage.files import Frame
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex
from person_search.people import People

FINGERPRINT = "ab" * 32
DIM = 16


def unit(rows):
    rows = np.asarray(rows, np.float64)
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def make_people(rng, count, dim=DIM, embeddings=None):
    corners = rng.uniform(0, 500, (count, 2))
    boxes = np.hstack([corners, corners + rng.uniform(5, 90, (count, 2))]).astype(np.float32)
    if embeddings is None:
        embeddings = unit(rng.normal(size=(count, dim)))
    return People(boxes, rng.uniform(0, 1, count).astype(np.float32), np.float32(embeddings))


def make_frame(name, camera=None, timestamp=None, content="first"):
    return Frame(name, hashlib.sha256(f"{name}{content}".encode()).hexdigest(), camera, timestamp)


def make_entries(rng, count, first=0, cameras=("north", "south", None), dim=DIM):
    """Frames of 0 to 6 people, of several cameras, some of unknown camera or time."""
    entries = []
    for number in range(first, first + count):
        camera = cameras[number % len(cameras)]
        time = None if number % 7 == 3 else 1.7e9 + 10.25 * number
        frame = make_frame(f"/nowhere/{number:05d}.jpg", camera, time)
        entries.append((frame, make_people(rng, int(rng.integers(0, 7)), dim)))
    return entries


def search_by_numpy(
    entries, query, top=10, cameras=None, since=None, until=None, least=-2, one=True
):
    """Return (similarity, name, place in the frame), best first."""
    found = []
    for frame, people in entries:
        if cameras is not None and (frame.camera or "") not in cameras:
            continue
        if since is not None and (frame.timestamp is None or frame.timestamp < since):
            continue
        if until is not None and (frame.timestamp is None or frame.timestamp > until):
            continue
        rows = [(float(s), frame.name, place) for place, s in enumerate(people.embeddings @ query)]
        found += [max(rows)] if one and rows else rows
    found.sort(key=lambda row: (-row[0], row[1], row[2]))
    return [row for row in found if row[0] >= least][:top]


def assert_matches(matches, expected, entries):
    by_name = {frame.name: (frame, people) for frame, people in entries}
    assert [m.image for m in matches] == [name for _, name, _ in expected]
    for match, (similarity, name, place) in zip(matches, expected, strict=True):
        frame, people = by_name[name]
        assert abs(match.similarity - similarity) < 1e-5
        assert match.box_xyxy == tuple(people.boxes[place].tolist())
        assert match.score == float(people.scores[place])
        assert (match.camera, match.timestamp) == (frame.camera, frame.timestamp)
        assert match.person.endswith(f"_{place}")


def assert_holds(index, entries):
    """The gallery holds exactly these frames and people, each once."""
    frames = list(index.frames())
    assert sorted(f.name for f in frames) == sorted(frame.name for frame, _ in entries)
    by_name = {f.name: f for f in frames}
    for frame, people in entries:
        kept = by_name[frame.name]
        assert (kept.content_hash, kept.camera, kept.timestamp, kept.num_people) == (
            frame.content_hash,
            frame.camera,
            frame.timestamp,
            len(people),
        )
        found = index.people_of(frame.name)
        np.testing.assert_array_equal(found.boxes, people.boxes)
        np.testing.assert_array_equal(found.scores, people.scores)
        np.testing.assert_array_equal(found.embeddings, people.embeddings)
    info = index.info()
    assert (info.frames, info.people) == (len(entries), sum(len(people) for _, people in entries))


def wait_until(condition, seconds=30, pause=0.02):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(pause)


_FORKSERVER = multiprocessing.get_context("forkserver")
_FORKSERVER.set_forkserver_preload(
    [
        *("helpers_gallery", "helpers_demo", "person_search.cli"),
        *("person_search.commands.index", "person_search.commands.search"),
        *("person_search.gallery.sqlite_store", "person_search.gallery.add_footage"),
    ]
)


class Writer:
    """A process that puts entries into a gallery as indexing does, and tells what it was told.

    It begins with what is missing. Each batch that `put` has returned from is a line in a file.
    """

    def __init__(self, path, entries, batch=3, prepare=None, told="told"):
        self.told = path.parent.parent / f"{path.parent.name}.{told}"
        self.told.write_text("")
        self.told.chmod(0o666)  # for a process of another user
        self.process = _FORKSERVER.Process(
            target=_write, args=(path, entries, batch, self.told, prepare)
        )
        self.process.start()

    def lines(self):
        """What it has told so far: a dict a line."""
        *whole, _ = self.told.read_text().split("\n")
        return [json.loads(line) for line in whole]

    def stored(self):
        """The names of the frames that it was told are stored."""
        return {name for line in self.lines() for name in line.get("stored", ())}

    def error(self):
        """What it ended with, None without an error."""
        return next((line["error"] for line in self.lines() if "error" in line), None)

    def wait_for(self, num_batches):
        """Wait until it has put so many, or has ended."""
        wait_until(lambda: len(self.lines()) >= num_batches or not self.process.is_alive(), pause=0)

    def kill(self):
        """As ``kill -9`` does."""
        self.process.kill()
        self.process.join()

    def stop(self):
        """Stop it where it is, until it is killed or sent SIGCONT."""
        state = Path(f"/proc/{self.process.pid}/stat")
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it may have ended
            os.kill(self.process.pid, signal.SIGSTOP)
            wait_until(lambda: state.read_text().rpartition(") ")[2][0] in "TZ", pause=0)

    def go_on(self):
        """Let it go on after `stop`."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGCONT)

    def join(self, timeout=60):
        """Wait for its end; return its error."""
        self.process.join(timeout)
        assert not self.process.is_alive(), "it hangs"
        assert self.process.exitcode == (0 if self.error() is None else 2)
        return self.error()


def _write(path, entries, batch, told, prepare):
    if prepare is not None:
        prepare()
    out = os.open(told, os.O_WRONLY | os.O_APPEND)

    def tell(**what):
        os.write(out, (json.dumps(what) + "\n").encode())

    try:
        with GalleryIndex.open_or_create(path, fingerprint=FINGERPRINT, embedding_dim=DIM) as index:
            for first in range(0, len(entries), batch):
                part = entries[first : first + batch]
                known = index.known_frames([frame.name for frame, _ in part])
                new = [e for e in part if known.get(e[0].name) != e[0].content_hash]
                found = index.put(new)
                assert found == (len(new), sum(len(people) for _, people in new))
                tell(stored=[frame.name for frame, _ in part])
    except GalleryError as error:
        tell(error=str(error))
        sys.exit(2)


def assert_whole(path, entries, stored=()):
    """Each frame in the gallery is whole, and those stored are there; return the names there."""
    with GalleryIndex.open_or_create(path, fingerprint=FINGERPRINT, embedding_dim=DIM) as index:
        there = {frame.name for frame in index.frames()}
        assert set(stored) <= there, "what was reported as stored is there"
        assert_holds(index, [entry for entry in entries if entry[0].name in there])
    return there


def assert_finished(path, entries, seed=0):
    """Another run puts what is missing; then each frame is there once and found as it should be."""
    rng = np.random.default_rng(seed)
    with GalleryIndex.open_or_create(path, fingerprint=FINGERPRINT, embedding_dim=DIM) as index:
        known = index.known_frames([frame.name for frame, _ in entries])
        index.put([e for e in entries if known.get(e[0].name) != e[0].content_hash])
        assert_holds(index, entries)
        for _ in range(2):
            query = unit(rng.normal(size=DIM))
            assert_matches(index.search(query), search_by_numpy(entries, query), entries)


class Command:
    """The program person-search in a process of its own, with a finder that sees colours."""

    def __init__(self, out, *arguments):
        self.out = out
        self.process = _FORKSERVER.Process(
            target=_run_command, args=(out, [str(argument) for argument in arguments])
        )
        self.process.start()

    def wait_until(self, condition):
        """Wait for what it does, or for its end."""
        wait_until(lambda: condition() or not self.process.is_alive(), pause=0)

    def join(self, timeout=60):
        """Wait for its end; return its exit status and the last lines of output and messages."""
        self.process.join(timeout)
        assert not self.process.is_alive(), "it hangs"
        texts = (self.out.with_suffix(end).read_text().strip() for end in (".out", ".err"))
        return self.process.exitcode, *(text.rpartition("\n")[2] for text in texts)


def _run_command(out, arguments):
    for number, end in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(out.with_suffix(end), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    for command in (index_command, search_command):
        command.load_finder = lambda *_: ColorFinder()
    sys.exit(main(arguments))
