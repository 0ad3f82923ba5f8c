"""Boxes out of the MOT Challenge's text."""

import configparser
import csv
import io
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from person_search.data.coco_json import refuse_shares
from person_search.evaluation.tracks import MOT_PERSON
from person_search.footage.files import is_video
from person_search.formats.box_files import NOBODY, BoxFile, FrameBoxes, Place
from person_search.formats.mot import FRAMES_FILE, FRAMES_HEAD
from reid_heads.text_files import read_numbers, read_text

PEOPLE_CLASSES = (MOT_PERSON, 2, 7)
"""Of true tracks: a person who walks, one on a vehicle, one who sits or stands still."""

TRUTH_COLUMNS = 9
"""Numbers a line of true tracks, the last three: whether it counts, class, visibility."""


@dataclass(frozen=True)
class _Sequence:
    """One stream of frames."""

    text: Path
    name: str
    target: Path | None
    """The folder of its pictures, or its video, where it says which."""

    length: int | None
    size: tuple[int, int] | None
    listed: dict[tuple[str, int | None], int]
    """Numbers of frames by file and number in it, where `FRAMES_FILE` lists them."""

    files: dict[str, int]
    """Of these files the first number."""

    frames: dict[int, FrameBoxes] = field(default_factory=dict)


class MotBoxes(BoxFile):
    """Boxes of the MOT Challenge's text: ``gt.txt``, ``det.txt``, or a tracker's ``NAME.txt``.

    Frames count from 1. A sequence's pictures are found by ``imDir`` of its ``seqinfo.ini``, which
    may be a video; else by its name: a video ``NAME.mp4``, or pictures ``NAME/img1/000001.jpg`` or
    ``NAME/000001.jpg``; after `export_mot` by ``frames.csv``. Of true tracks, boxes that do not
    count, of other classes than people, and of people who are wholly hidden are left out. A frame
    without a line shows nobody. If a score is not in 0..1, all of its file are taken as 1. Ids are
    not used.
    """

    def __init__(self, path: Path, min_score: float = 0.0) -> None:
        """Read a file, the folder of a sequence, or all sequences below a folder.

        Raises:
            ValueError: There is none, or it is no such text.
        """
        super().__init__(path, min_score)
        self._sequences: list[_Sequence] = []
        all_boxes = []
        for file in _find_files(path):
            sequence = _read_sequence(file)
            all_boxes.append(self._read_boxes(file, sequence))
            self._sequences.append(sequence)
        refuse_shares(path, np.concatenate(all_boxes))
        self._place = cache(self._search_place)

    def _read_boxes(self, file: Path, sequence: _Sequence) -> np.ndarray:
        """Put the boxes of a file into a sequence; return them, left, top, width, height."""
        rows = _read_rows(file)
        scores = np.ones(len(rows))
        # Detectors, too, write nine numbers, but no class.
        if rows.shape[1] == TRUTH_COLUMNS and not (rows[:, 7] < 0).all():
            rows = self._people(rows)
            scores = np.ones(len(rows))
        elif rows.shape[1] >= 7 and ((rows[:, 6] >= 0) & (rows[:, 6] <= 1)).all():
            scores = rows[:, 6]
        has_area = np.asarray((rows[:, 4:6] > 0).all(axis=1))
        self._drop(~has_area, "boxes without width or height")
        rows, scores = rows[has_area], scores[has_area]
        order = np.argsort(rows[:, 0], kind="stable")
        numbers, starts = np.unique(rows[order, 0], return_index=True)
        boxes = np.hstack([rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]])
        for number, some in zip(numbers, np.split(order, starts[1:]), strict=False):
            sequence.frames[int(number)] = FrameBoxes(boxes[some], scores[some], sequence.size)
        return rows[:, 2:6]

    def _people(self, rows: np.ndarray) -> np.ndarray:
        for column, values, what in (
            (6, None, "boxes that do not count"),
            (7, PEOPLE_CLASSES, "boxes of other classes than people"),
            (8, None, "boxes of people who are wholly hidden"),
        ):
            found = rows[:, column]
            keep = found != 0 if values is None else np.isin(found, values)
            self._drop(~keep, what)
            rows = rows[keep]
        return rows

    def _drop(self, rows: np.ndarray, what: str) -> None:
        if rows.any():
            self._dropped[what] += int(rows.sum())

    def _locate(self, file: Path) -> Place | None:
        found = self._place(file)
        return None if found is None else Place(str(found[0].text), found[1])

    def _find(self, file: Path, number: int | None) -> FrameBoxes | None:
        found = self._place(file)
        if found is None:
            return None
        sequence, own = found
        if sequence.listed:
            own = sequence.listed.get((str(file), number))
        elif number is not None:
            own = number + 1
        # The first frame is 1: of pictures that count from 0 the first one is not in it.
        if own is None or own < 1 or (sequence.length is not None and own > sequence.length):
            return None
        return sequence.frames.get(own, FrameBoxes(NOBODY.boxes, NOBODY.scores, sequence.size))

    def _names(self) -> list[str]:
        return [str(sequence.text) for sequence in self._sequences]

    def _search_place(self, file: Path) -> tuple[_Sequence, int | None] | None:
        """Return the sequence of a file, and the number of a picture's frame."""
        real = file.resolve()
        for sequence in self._sequences:
            if sequence.listed:
                if str(file) in sequence.files:
                    return sequence, sequence.files[str(file)]
            elif is_video(file):
                by_name = sequence.target is None and file.stem == sequence.name
                if by_name or sequence.target == real:
                    return sequence, None
            elif (digits := re.search(r"\d+$", file.stem)) and _is_picture_of(file, real, sequence):
                return sequence, int(digits[0])
        return None


def _is_picture_of(file: Path, real: Path, sequence: _Sequence) -> bool:
    if sequence.target is not None:
        return real.parent == sequence.target
    folder = file.parent.parent if file.parent.name == "img1" else file.parent
    return folder.name == sequence.name


def _find_files(path: Path) -> list[Path]:
    """Return the text of each sequence: of the true tracks, else of what a detector found."""
    if path.is_file():
        return [path]
    found = [*path.rglob("gt/gt.txt"), *path.rglob("det/det.txt")]
    # An empty one is that of an export of people who belong to no appearance.
    found.sort(key=lambda file: (file.stat().st_size == 0, file.name != "gt.txt"))
    by_folder: dict[Path, Path] = {}
    for file in found:
        by_folder.setdefault(file.parent.parent, file)
    if not by_folder:
        raise ValueError(f"{path} holds no sequence of MOT text; expected SEQUENCE/gt/gt.txt in it")
    return [by_folder[folder] for folder in sorted(by_folder)]


def _read_rows(file: Path) -> np.ndarray:
    """Return the lines of a file, (N, 6 or more) float64."""
    try:
        rows = read_numbers(file)
    except ValueError as error:
        raise ValueError(
            f"{error}; expected MOT text, or COCO JSON in a file whose name ends in .json"
        ) from error
    if not len(rows):
        rows = np.zeros((0, 7))
    if rows.shape[1] < 6:
        raise ValueError(
            f"{file} has {rows.shape[1]} numbers a line; expected frame, id, left, top, width and "
            "height, and what follows"
        )
    is_frame = (rows[:, 0] >= 1) & (rows[:, 0] == np.floor(rows[:, 0]))
    bad = ~is_frame | ~np.isfinite(rows[:, :6]).all(axis=1)
    if bad.any():
        raise ValueError(
            f"{file}: row {int(np.argmax(bad)) + 1} has the frame {rows[np.argmax(bad), 0]:g} and "
            f"the box {rows[np.argmax(bad), 2:6].tolist()}; expected frames from 1 on, and numbers"
        )
    return rows


def _read_sequence(file: Path) -> _Sequence:
    """Read what stands beside a file: ``seqinfo.ini``, and the list of frames of our own."""
    in_layout = file.parent.name in ("gt", "det")
    folder = file.parent.parent if in_layout else file.parent
    info = folder / "seqinfo.ini"
    if not info.is_file():
        target = (folder / "img1").resolve() if in_layout and (folder / "img1").is_dir() else None
        name = folder.resolve().name if in_layout else file.stem
        return _Sequence(file, name, target, None, None, {}, {})
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(read_text(info))
        said = parser["Sequence"]
        length, width, height = (said.getint(key) for key in ("seqLength", "imWidth", "imHeight"))
    except (ValueError, KeyError, configparser.Error) as error:
        raise ValueError(f"{info} is no seqinfo.ini of the MOT Challenge: {error}") from error
    target = (folder / said.get("imDir", "img1")).resolve()
    listed = _read_frames(folder / FRAMES_FILE)
    files: dict[str, int] = {}
    for (name, _), number in listed.items():
        files.setdefault(name, number)
    return _Sequence(
        file,
        said.get("name", folder.resolve().name),
        target if target.exists() else None,
        length,
        (width, height) if width and height else None,
        listed,
        files,
    )


def _read_frames(file: Path) -> dict[tuple[str, int | None], int]:
    if not file.is_file():
        return {}
    try:
        reader = csv.DictReader(io.StringIO(read_text(file)))
        if tuple(reader.fieldnames or ()) != FRAMES_HEAD:
            return {}  # somebody else's file of that name
        return {
            (row["file"], int(row["frame"]) if row["frame"] else None): int(row["number"])
            for row in reader
        }
    except (ValueError, TypeError, csv.Error) as error:  # also bytes that are no text
        raise ValueError(f"{file} is not as export-gallery writes it: {error}") from error
