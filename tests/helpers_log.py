"""A gallery with a log, and a process that writes into a log until it is killed."""

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
from helpers_gallery import DIM, FINGERPRINT, make_frame, unit

from person_search.accountability.chain_file import ChainFile
from person_search.gallery.index import GalleryIndex
from person_search.people import People

LOOKS = unit(np.eye(DIM)[:4])


def make_gallery(path, first=1.7e9):
    """Three frames of a hall with two people each, and one without a date."""
    with GalleryIndex.create(path, fingerprint=FINGERPRINT, embedding_dim=DIM) as index:
        boxes = np.float32([[0, 0, 40, 90], [60, 0, 100, 90]])
        people = People(boxes, np.float32([0.9, 0.8]), LOOKS[:2])
        frames = [make_frame(f"/hall/{n}.jpg", "hall", first + n) for n in range(3)]
        index.put([(frame, people) for frame in [*frames, make_frame("/undated.jpg")]])
        index.appearances.link()
    return path


_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["helpers_log"])


class LogWriter:
    """A process that appends entries, and tells the number of each when it is written."""

    def __init__(self, log, told):
        self.told = told
        self.process = _CONTEXT.Process(target=_append_for_ever, args=(log, told))
        self.process.start()

    def numbers(self):
        """Those that it was told of as written."""
        lines = self.told.read_text().split("\n") if self.told.exists() else []
        return [int(line) for line in lines[:-1]]

    def kill(self):
        self.process.kill()
        self.process.join()


def _append_for_ever(log, told):
    chain, write = ChainFile(Path(log)), os.write
    # As a disk that takes little at a time: a kill may come in the middle of an entry.
    os.write = lambda file, data: (time.sleep(0.0002), write(file, data[:100]))[1]
    out = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for turn in range(1_000_000):
        entry = chain.append({"action": "search", "text": "x" * (1 + turn % 7) * 3_000})
        write(out, f"{entry['seq']}\n".encode())
