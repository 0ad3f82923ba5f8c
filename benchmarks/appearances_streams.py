"""The streams that ``appearances.py`` links: who was found, and who was truly there.

Letters: N people found in all frames of a stream.
"""

import csv
import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from person_search.evaluation.tracks import MotTruth, Tracks, read_mot
from person_search.inference.finder import PersonFinder
from person_search.people import People

SEEN = 0.1
"""Share of a person that is visible from which on they are to be found, as in ``stays.csv``."""
BATCH = 8


@dataclass(frozen=True)
class Stream:
    """Frames of one camera, in order of time."""

    name: str
    times: np.ndarray
    """(F,) seconds."""
    rows: np.ndarray
    """(F + 1,): people of frame k are ``rows[k]`` up to ``rows[k + 1]``."""
    people: People
    """All who were found, N rows."""
    truth: MotTruth
    """Its frames are numbers of ``times``; an id is one stay of one person."""
    identities: dict[int, int]
    """Who a stay's person is."""
    size: tuple[int, int]
    """Width and height of its frames, pixels."""

    @property
    def frames(self) -> np.ndarray:
        """(N,) number of the frame of each person found."""
        return np.repeat(np.arange(len(self.times)), np.diff(self.rows))

    def of_frame(self, frame: int) -> People:
        """Return who was found in a frame."""
        return self.people.select(np.arange(self.rows[frame], self.rows[frame + 1]))

    def tracks(self, numbers: np.ndarray) -> Tracks:
        """Return the people found as tracks; a number below 0 is none."""
        is_one = numbers >= 0
        boxes = self.people.boxes[is_one].astype(np.float64)
        return Tracks(self.frames[is_one], numbers[is_one].astype(np.int64), boxes)

    def every(self, step: int) -> "Stream":
        """Return every ``step``-th frame alone, numbered anew."""
        kept = np.arange(0, len(self.times), step)
        counts = np.diff(self.rows)[kept]
        rows = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        is_kept = self.frames % step == 0
        true = self.truth.annotated
        counted = true.frames % step == 0
        tracks = Tracks(true.frames[counted] // step, true.ids[counted], true.boxes[counted])
        truth = MotTruth(tracks, self.truth.counts[counted], self.truth.is_distractor[counted])
        people = self.people.select(is_kept)
        return Stream(self.name, self.times[kept], rows, people, truth, self.identities, self.size)


def load_town(town: Path, finder: PersonFinder, cache: Path, frames: int) -> list[Stream]:
    """Find everybody in a drawn town's footage, or read who was found before; a stream a camera.

    Args:
        town: The folder.
        finder: Finds them.
        cache: Folder for who was found.
        frames: So many of each camera, the first.
    """
    told = f"{finder.fingerprint} {frames}".encode()
    key = hashlib.sha256((town / "drawn.json").read_bytes() + told)
    folder = cache / f"{town.name}-{key.hexdigest()[:12]}"
    with (town / "stays.csv").open() as file:
        stays = list(csv.DictReader(file))
    streams = []
    for camera in sorted((town / "footage").iterdir()):
        clips, found, rest = [], [], frames
        for clip in sorted(camera.glob("*.mp4")):
            if rest:
                path = folder / f"{camera.name}-{clip.stem}.npz"
                clips.append(clip)
                found.append(_find(clip, finder, path, rest))
                rest -= len(found[-1][0])
        streams.append(_join(town, camera.name, clips, found, stays))
    return streams


def _find(clip: Path, finder: PersonFinder, path: Path, frames: int) -> tuple[np.ndarray, People]:
    """Return how many people were found in each of the first frames of a clip, and all of them."""
    if not path.exists():
        batches = islice(_batches(clip), math.ceil(frames / BATCH))
        people = [one for batch in batches for one in finder.find(batch, batch_size=BATCH)]
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {
            name: np.concatenate([vars(one)[name] for one in people])
            for name in ("boxes", "scores", "embeddings")
        }
        np.savez(path, counts=[len(one) for one in people], **arrays)
    with np.load(path) as content:
        counts = content["counts"][:frames]
        arrays = [content[name][: counts.sum()] for name in ("boxes", "scores", "embeddings")]
        return counts, People(*arrays)


def _batches(clip: Path) -> Iterator[list[np.ndarray]]:
    video, waiting = cv2.VideoCapture(str(clip)), []
    while True:
        is_read, image = video.read()
        if is_read:
            waiting.append(np.ascontiguousarray(image[..., ::-1]))
        if waiting and (not is_read or len(waiting) == BATCH):
            yield waiting
            waiting = []
        if not is_read:
            return


def _join(
    town: Path,
    camera: str,
    clips: list[Path],
    found: list[tuple[np.ndarray, People]],
    stays: list[dict[str, str]],
) -> Stream:
    spec = json.loads((town / "drawn.json").read_text())["spec"]
    rate, size = spec["rate"], (spec["width"], spec["height"])
    times, counts, true, first = [], [], [], 0
    identities = {}
    for clip, (numbers, _) in zip(clips, found, strict=True):
        start = datetime.strptime(clip.stem, "%Y-%m-%d_%H-%M-%S").timestamp()
        times.append(start + np.arange(len(numbers)) / rate)
        counts.append(numbers)
        path = town / "tracks" / f"{camera}-{clip.stem}" / "gt" / "gt.txt"
        tracks = _visible(path)
        ids = np.full(len(tracks), -1)
        for number, stay in enumerate(stays):
            if stay["camera"] == camera and stay["clip"] == clip.name:
                low, high = int(stay["first_frame"]) + 1, int(stay["last_frame"]) + 1
                # A clip may be looked at in part.
                high = min(high, len(numbers))
                if low > high:
                    continue
                inside = (tracks.frames >= low) & (tracks.frames <= high)
                ids[inside & (tracks.ids == int(stay["identity"]))] = number
                identities[number] = int(stay["identity"])
        kept = ids >= 0
        true.append(Tracks(tracks.frames[kept] - 1 + first, ids[kept], tracks.boxes[kept]))
        first += len(numbers)
    joined = Tracks(
        *(np.concatenate([vars(t)[n] for t in true]) for n in ("frames", "ids", "boxes"))
    )
    people = People(
        *(
            np.concatenate([vars(p)[name] for _, p in found])
            for name in ("boxes", "scores", "embeddings")
        )
    )
    everything = np.ones(len(joined), bool)
    rows = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    truth = MotTruth(joined, everything, ~everything)
    return Stream(camera, np.concatenate(times), rows, people, truth, identities, size)


def _visible(path: Path) -> Tracks:
    tracks = read_mot(path).people
    return tracks.select(np.loadtxt(path, delimiter=",", ndmin=2)[:, 8] >= SEEN)


def load_street(folder: Path, finder: PersonFinder, cache: Path) -> list[Stream]:
    """Find everybody in real frames of MOT17, or read who was found before; a stream a sequence."""
    streams = []
    for sequence in sorted(x for x in folder.iterdir() if x.is_dir()):
        pictures = sorted((sequence / "img1").glob("*.jpg"))
        path = cache / f"{sequence.name}-{finder.fingerprint[:12]}.npz"
        if not path.exists():
            people = [finder.find([picture])[0] for picture in pictures]
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(
                path,
                counts=[len(one) for one in people],
                boxes=np.concatenate([one.boxes for one in people]),
                scores=np.concatenate([one.scores for one in people]),
                embeddings=np.concatenate([one.embeddings for one in people]),
            )
        with np.load(path) as content:
            people = People(content["boxes"], content["scores"], content["embeddings"])
            rows = np.concatenate([[0], np.cumsum(content["counts"])]).astype(np.int64)
        lines = (sequence / "seqinfo.ini").read_text().splitlines()
        said = dict(line.split("=") for line in lines if "=" in line)
        rate, size = float(said["frameRate"]), (int(said["imWidth"]), int(said["imHeight"]))
        truth = read_mot(sequence / "gt" / "gt.txt")
        tracks = truth.annotated
        truth = MotTruth(
            Tracks(tracks.frames - int(pictures[0].stem), tracks.ids, tracks.boxes),
            truth.counts,
            truth.is_distractor,
        )
        times = np.arange(len(pictures)) / rate
        streams.append(Stream(sequence.name, times, rows, people, truth, {}, size))
    return streams
