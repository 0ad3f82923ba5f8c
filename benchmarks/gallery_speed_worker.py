"""One step of `gallery_speed.py`, in a process of its own so that its memory is its own.

Called as `python gallery_speed_worker.py STEP JSON`; the result is the last line of the output.
"""

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from vector_store_baseline import choose_rows, rank_rows
from vector_store_rows import (
    KINDS,
    PEOPLE_PER_FRAME,
    Question,
    make_questions,
    make_rows,
    normalise,
)

from person_search.footage.files import Frame
from person_search.gallery.index import GalleryIndex
from person_search.gallery.search_options import FrameFilter
from person_search.people import Match, People

FINGERPRINT = "0" * 64
FRAMES_A_PUT = 200
SMALL_PUTS = 20
QUERIES = 20
ROUNDS = 5
WARM_UP = 3
# What is asked for: name, number of matches, one of each frame or all.
QUESTIONS = (("top 10, one per frame", 10, True), ("top 100, all people", 100, False))
TIE = 1e-5


class Clock:
    """Adds up the time that calls take."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.seconds = 0.0

    def wrap(self, call: Callable) -> Callable:
        """Return a function that does the same, timed; also as a method."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - begin

        return timed


def index(options: dict) -> dict:
    """Index frames end to end, and again; and what reading, model and store take alone."""
    from person_search.gallery.add_footage import index_footage
    from person_search.inference.finder import PersonFinder

    files = sorted(Path(options["footage"]).glob("*.jpg"))[: options["frames"]]
    path = Path(options["work"]) / "footage.db"
    path.unlink(missing_ok=True)
    finder = PersonFinder.load()
    finder.find([str(file) for file in files[:4]])
    model, store = Clock(), Clock()
    gallery = GalleryIndex.create(
        path, fingerprint=finder.fingerprint, embedding_dim=finder.embedding_dim
    )
    with (
        gallery,
        patch.object(PersonFinder, "find", model.wrap(PersonFinder.find)),
        patch.object(GalleryIndex, "put", store.wrap(GalleryIndex.put)),
    ):
        report = index_footage(gallery, finder, files, progress=False)
        again = index_footage(gallery, finder, files, progress=False)
        result = {
            "frames": report.frames_added,
            "people": report.people_added,
            "seconds": report.seconds,
            "model_seconds": model.seconds,
            "store_seconds": store.seconds,
            "reading_alone_seconds": time_reading(files),
            "again_seconds": again.seconds,
            "again_unchanged": again.frames_unchanged,
            "memory_mb": read_memory(),
        }
    result["disk_bytes"] = path.stat().st_size
    path.unlink()
    return result


def time_reading(files: list[Path]) -> float:
    """Return the seconds that hashing and decoding take where nobody waits for the model."""
    from person_search.footage.files import FootageOptions, iterate_files
    from person_search.footage.read_ahead import ReadAhead

    begin = time.perf_counter()
    with ReadAhead(iterate_files(files, FootageOptions(), lambda frame: False)) as frames:
        for _ in frames:
            pass
    return time.perf_counter() - begin


def fill(options: dict) -> dict:
    """Put `size` people into a new gallery: rows/s, without making them up."""
    size, dim = options["size"], options["dim"]
    seconds, cpu, last = 0.0, 0.0, 0.0
    step = PEOPLE_PER_FRAME * FRAMES_A_PUT
    path = Path(options["path"])
    gallery = GalleryIndex.create(path, fingerprint=FINGERPRINT, embedding_dim=dim)
    with gallery:
        entries = make_entries(size, dim)
        for first in range(0, size // PEOPLE_PER_FRAME, FRAMES_A_PUT):
            some = [next(entries) for _ in range(min(FRAMES_A_PUT, size // 4 - first))]
            begin, cpu_begin = time.perf_counter(), time.process_time()
            gallery.put(some)
            last = time.perf_counter() - begin
            seconds += last
            cpu += time.process_time() - cpu_begin
    disk = path.stat().st_size
    with GalleryIndex.open(path) as gallery:
        small = time_small_puts(gallery, size, dim)
    return {
        "rows_per_second": size / seconds,
        "rows_per_cpu_second": size / cpu,
        "last_rows_per_second": step / last,
        "small_put_ms": small,
        "disk": disk,
    }


def time_small_puts(gallery: GalleryIndex, size: int, dim: int) -> float:
    """Return the median ms of putting four new frames, as indexing does, and remove them again."""
    entries = list(make_entries(4 * PEOPLE_PER_FRAME * SMALL_PUTS, dim, size))
    times = []
    for first in range(0, len(entries), 4):
        begin = time.perf_counter()
        gallery.put(entries[first : first + 4])
        times.append(time.perf_counter() - begin)
    gallery.remove(names=[frame.name for frame, _ in entries], purge=False)
    return 1000 * float(np.median(times))


def make_entries(size: int, dim: int, start: int = 0) -> Any:
    """Yield frames with four made-up people each, from person `start` on."""
    for first in range(start, start + size, 1000):
        rows = make_rows(first, min(1000, start + size - first))
        vectors = normalise(rows.vectors[:, :dim])
        for row in range(0, len(vectors), PEOPLE_PER_FRAME):
            part = slice(row, row + PEOPLE_PER_FRAME)
            # All people of a frame have the camera and the time of the first.
            frame = Frame(
                frame_name(first + row), f"{first + row:064x}",
                rows.cameras[row], float(rows.timestamps[row]),
            )  # fmt: skip
            yield frame, People(rows.boxes[part], rows.scores[part], vectors[part])


def frame_name(row: int) -> str:
    """Return the path of the frame that a person is on."""
    number = row // PEOPLE_PER_FRAME
    return f"/footage/2026-10-09/frame_{number:08d}.jpg"


class NumpyGallery:
    """The baseline: the same questions and answers, from arrays in memory."""

    def __init__(self, size: int, dim: int) -> None:
        """Hold `size` people."""
        self.vectors = np.empty((size, dim), np.float32)
        self.boxes = np.empty((size, 4), np.float32)
        self.scores = np.empty(size, np.float32)
        self.cameras = np.empty(size, "S16")
        self.timestamps = np.empty(size)
        row = 0
        for frame, people in make_entries(size, dim):
            part = slice(row, row + len(people))
            self.vectors[part], self.boxes[part] = people.embeddings, people.boxes
            self.scores[part], self.timestamps[part] = people.scores, frame.timestamp
            self.cameras[part] = (frame.camera or "").encode()
            row += len(people)

    def search(self, question: Question, top: int, one_per_frame: bool) -> list[Match]:
        """Return what `GalleryIndex.search` returns."""
        allowed = choose_rows(question, self.cameras, self.timestamps)
        limit = PEOPLE_PER_FRAME * top if one_per_frame else top
        matches: dict[int, Match] = {}
        for row, similarity in rank_rows(self.vectors, question.vector, allowed, limit):
            frame = row // PEOPLE_PER_FRAME
            if not one_per_frame or frame not in matches:
                matches[frame if one_per_frame else row] = self._match(row, similarity)
        return list(matches.values())[:top]

    def _match(self, row: int, similarity: float) -> Match:
        x1, y1, x2, y2 = self.boxes[row].tolist()
        return Match(
            frame_name(row), (x1, y1, x2, y2), float(self.scores[row]), similarity,
            self.cameras[row].decode(), float(self.timestamps[row]),
            f"{row // PEOPLE_PER_FRAME}_{row % PEOPLE_PER_FRAME}",
        )  # fmt: skip


def first_answer(options: dict) -> dict:
    """Open a gallery and ask it once: seconds, MB, and the matrix that lies beside it then."""
    question = make_questions(KINDS[0], 1, options["size"])[0]
    question = Question(normalise(question.vector[: options["dim"]]))
    path = Path(options["path"])
    begin = time.perf_counter()
    with GalleryIndex.open(path) as gallery:
        search_gallery(gallery, question, 10, True)
        seconds = time.perf_counter() - begin
        memory = read_memory()
    matrices = path.parent.glob(f"{path.name}-matrix*")
    return {
        "seconds": seconds,
        "memory_mb": memory,
        "matrix": sum(file.stat().st_size for file in matrices),
    }


def remove(options: dict) -> dict:
    """Remove one frame: seconds with all bytes of it, which writes the file anew, and without."""
    size, dim = options["size"], options["dim"]
    names = [frame_name(0), frame_name(size // 2)]
    seconds = {}
    with GalleryIndex.open(options["path"]) as gallery:
        for name, purge in zip(names, (False, True), strict=True):
            begin = time.perf_counter()
            gallery.remove(names=[name], purge=purge)
            seconds["purged" if purge else "deleted"] = time.perf_counter() - begin
        if gallery.info().people != size - 2 * PEOPLE_PER_FRAME:
            raise RuntimeError(f"expected two frames fewer, {dim} numbers")
    return {"seconds": seconds}


def ask(options: dict) -> dict:
    """Open a gallery and ask it; then ask numpy the same, in turns with it."""
    size, dim = options["size"], options["dim"]
    questions = {
        kind: [
            Question(normalise(q.vector[:dim]), q.camera, q.window)
            for q in make_questions(kind, QUERIES, size)
        ]
        for kind in KINDS
    }
    with GalleryIndex.open(options["path"]) as gallery:
        for kind in KINDS:
            search_gallery(gallery, questions[kind][0], 10, True)
            search_gallery(gallery, questions[kind][1], 100, False)
        result: dict = {"memory_mb": read_memory(), "info_ms": time_info(gallery)}
        numpy_gallery = NumpyGallery(size, dim)
        result["numpy_memory_mb"] = (
            numpy_gallery.vectors.nbytes + numpy_gallery.boxes.nbytes
        ) / 1e6
        result["kinds"] = {
            name: {
                kind: compare(gallery, numpy_gallery, questions[kind], top, one_per_frame)
                for kind in KINDS
            }
            for name, top, one_per_frame in QUESTIONS
        }
    return result


def time_info(gallery: GalleryIndex) -> float:
    """Return the median ms of counting what a gallery holds."""
    times = []
    for _ in range(QUERIES):
        begin = time.perf_counter()
        gallery.info()
        times.append(time.perf_counter() - begin)
    return 1000 * float(np.median(times))


def compare(
    gallery: GalleryIndex,
    numpy_gallery: NumpyGallery,
    questions: list[Question],
    top: int,
    one_per_frame: bool,
) -> dict:
    """Ask gallery and numpy in rounds: times of the quietest of each, CPU time, and the recall."""
    rounds: dict[str, list[dict]] = {"gallery": [], "numpy": []}
    recalls = []
    for _ in range(ROUNDS):
        found, times = ask_round(
            questions, lambda q: search_gallery(gallery, q, top, one_per_frame)
        )
        true, numpy_times = ask_round(
            questions, lambda q: numpy_gallery.search(q, top, one_per_frame)
        )
        # The threads of numpy's product go on spinning for a while, on the gallery's account.
        time.sleep(0.3)
        rounds["gallery"].append(times)
        rounds["numpy"].append(numpy_times)
        recalls += [recall(ours, best) for ours, best in zip(found, true, strict=True)]
    result: dict = {}
    for name, parts in rounds.items():
        best = min(parts, key=lambda part: part["p50"])
        cpu = float(np.median([part["cpu"] for part in parts]))
        result[f"{name}_ms"] = {**best, "cpu": cpu}
    return {**result, "recall": float(np.mean(recalls))}


def ask_round(
    questions: list[Question], search: Callable[[Question], list[Match]]
) -> tuple[list[list[Match]], dict]:
    """Return the answers to questions, and the times in ms."""
    for question in questions[:WARM_UP]:
        search(question)
    answers, seconds = [], []
    cpu = time.process_time()
    for question in questions:
        begin = time.perf_counter()
        answers.append(search(question))
        seconds.append(time.perf_counter() - begin)
    cpu = time.process_time() - cpu
    return answers, {
        "p50": 1000 * float(np.median(seconds)),
        "p95": 1000 * float(np.percentile(seconds, 95)),
        "cpu": 1000 * cpu / len(questions),
    }


def search_gallery(
    gallery: GalleryIndex, question: Question, top: int, one_per_frame: bool
) -> list[Match]:
    """Ask a gallery."""
    since, until = question.window or (None, None)
    if until is not None:
        # The question's window is open at its end, the gallery's is closed.
        until = float(np.nextafter(until, -np.inf))
    return gallery.search(
        question.vector, top=top, one_per_frame=one_per_frame,
        frames=FrameFilter(
            cameras=None if question.camera is None else [question.camera],
            since=since, until=until,
        ),
    )  # fmt: skip


def recall(found: list[Match], true: list[Match]) -> float:
    """Return the share of the true matches found; who ties with the last one counts as well."""
    if not true:
        return float(not found)
    least = true[-1].similarity - TIE
    return min(sum(match.similarity >= least for match in found), len(true)) / len(true)


def read_memory() -> dict:
    """Return MB of this process: resident, of it its own (not of files mapped), and at most."""
    text = Path("/proc/self/smaps_rollup").read_text() + Path("/proc/self/status").read_text()
    names = {"resident": "Rss", "own": "Anonymous", "most": "VmHWM"}
    found = {key: re.search(rf"^{name}:\s+(\d+) kB", text, re.M) for key, name in names.items()}
    return {key: int(match[1]) / 1024 for key, match in found.items() if match}


STEPS = {"index": index, "fill": fill, "first": first_answer, "ask": ask, "remove": remove}

if __name__ == "__main__":
    print(json.dumps(STEPS[sys.argv[1]](json.loads(sys.argv[2]))))
