"""Tracks of a stream, true ones or found ones, and the MOT Challenge's text that keeps them.

Letters: N boxes of a stream, in all its frames.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from person_search.people import paired_iou
from reid_heads.text_files import read_numbers

MIN_IOU = 0.5
"""From this overlap on a found box may be a true one: the MOT Challenge's."""

_EPS = float(np.finfo(float).eps)

MOT_PERSON = 1
MOT_DISTRACTORS = (2, 7, 8, 12)
"""Classes of the MOT Challenge that nobody has to find, and may: a person on a vehicle, one who
sits, a likeness, a reflection."""


@dataclass(frozen=True)
class Tracks:
    """Boxes with the numbers of their tracks.

    Raises:
        ValueError: The arrays do not fit each other, or a frame has a number twice.
    """

    frames: np.ndarray
    """(N,) int64, number of the frame of each box."""

    ids: np.ndarray
    """(N,) int64, number of its track; at most once a frame."""

    boxes: np.ndarray
    """(N, 4) float64, (x1, y1, x2, y2) in original pixels."""

    def __post_init__(self) -> None:
        count = len(self.frames)
        if self.ids.shape != (count,) or self.boxes.shape != (count, 4):
            raise ValueError(
                f"frames, ids and boxes have shapes {self.frames.shape}, {self.ids.shape} and "
                f"{self.boxes.shape}; expected (N,), (N,) and (N, 4)"
            )
        pairs, counts = np.unique(np.stack([self.frames, self.ids]), axis=1, return_counts=True)
        if (counts > 1).any():
            frame, number = pairs[:, int(np.argmax(counts > 1))].tolist()
            raise ValueError(
                f"frame {frame} has track {number} more than once; expected one box of a track in "
                "a frame"
            )

    def __len__(self) -> int:
        return len(self.frames)

    def select(self, rows: np.ndarray) -> "Tracks":
        """Return some of the boxes: ``rows`` are numbers, or a (N,) mask."""
        return Tracks(self.frames[rows], self.ids[rows], self.boxes[rows])


def join_streams(streams: Sequence[Tracks]) -> Tracks:
    """Put streams behind each other, as one whose numbers of tracks mean the same in all.

    A scorer then asks whether somebody keeps a number from one camera to the next.
    """
    frames, offset = [], 0
    for stream in streams:
        frames.append(stream.frames + offset)
        # Far enough apart for any numbering that leaves frames out at the end.
        offset += 1 << 32
    return Tracks(
        np.concatenate([np.zeros(0, np.int64), *frames]),
        np.concatenate([np.zeros(0, np.int64), *(stream.ids for stream in streams)]),
        np.concatenate([np.zeros((0, 4)), *(stream.boxes for stream in streams)]),
    )


@dataclass(frozen=True)
class MotTruth:
    """The true tracks of a stream in the MOT Challenge's text, with what does not count."""

    annotated: Tracks
    """Everything that has a box."""

    counts: np.ndarray
    """(N,) bool: a person to be found."""

    is_distractor: np.ndarray
    """(N,) bool: finding it is neither right nor wrong."""

    @property
    def people(self) -> Tracks:
        """The people to be found."""
        return self.annotated.select(self.counts)

    def without_distractors(self, found: Tracks) -> Tracks:
        """Return what was found, without the boxes of distractors, by the MOT Challenge's rule.

        In each frame, the found boxes are assigned to everything annotated, at an IoU of 0.5 or
        more; whatever falls to a distractor goes.
        """
        keep = np.ones(len(found), bool)
        for rows, others in pair_frames(self.annotated, found):
            pairs = _assign(self.annotated.boxes[rows], found.boxes[others])
            for row, other in zip(*pairs, strict=True):
                keep[others[other]] = not self.is_distractor[rows[row]]
        return found.select(keep)


def read_mot(path: str | Path) -> MotTruth:
    """Read tracks of the MOT Challenge's text.

    A line has nine numbers, a box: frame and id, left, top, width and height in pixels, whether it
    counts (1) or not (0), class, and visibility, 0..1. Lines of seven, as results have them, count
    all as people whatever their seventh number, a score, is.

    Raises:
        ValueError: The file is no such text; says what was expected.
    """
    rows = read_numbers(path)
    if not len(rows):
        rows = np.zeros((0, 9))
    if rows.shape[1] < 7:
        raise ValueError(
            f"{path} has {rows.shape[1]} numbers a line; expected frame, id, left, top, width, "
            "height, conf, and of true tracks class and visibility"
        )
    boxes = rows[:, 2:6].copy()
    boxes[:, 2:] += boxes[:, :2]
    tracks = Tracks(rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64), boxes)
    if rows.shape[1] != 9:
        everything = np.ones(len(rows), bool)
        return MotTruth(tracks, everything, ~everything)
    counts = (rows[:, 6] != 0) & (rows[:, 7] == MOT_PERSON)
    return MotTruth(tracks, counts, np.isin(rows[:, 7], MOT_DISTRACTORS))


def pair_frames(first: Tracks, second: Tracks) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield, for each frame that either has, in order, the rows of both that lie in it."""
    frames = np.union1d(first.frames, second.frames)
    rows = [_rows_by_frame(tracks, frames) for tracks in (first, second)]
    yield from zip(*rows, strict=True)


def box_overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compute the IoU of each of some boxes (M, 4) with each of others (N, 4), as (M, N)."""
    return paired_iou(first[:, None], second[None])


def _rows_by_frame(tracks: Tracks, frames: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(tracks.frames, kind="stable")
    return np.split(order, np.searchsorted(tracks.frames[order], frames[1:]))


def _assign(true: np.ndarray, found: np.ndarray) -> tuple[list[int], list[int]]:
    from scipy.optimize import linear_sum_assignment

    overlaps = box_overlaps(true, found)
    overlaps[overlaps < MIN_IOU - _EPS] = 0
    rows, columns = linear_sum_assignment(-overlaps)
    chosen = overlaps[rows, columns] > 0
    return rows[chosen].tolist(), columns[chosen].tolist()
