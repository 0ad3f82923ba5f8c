"""A gallery as the MOT Challenge's text: a folder for each stream.

A stream is what one camera saw on one clock, or one video (`gallery.rows.stream_of`). Its frames
are those of the gallery, numbered from 1 by their time, whatever the rate at which footage was
sampled: ``frames.csv`` says which file, frame of a video, and time each number is.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from person_search.footage.frames import split_frame_name
from person_search.formats.pictures import find_pictures
from person_search.formats.selection import (
    EVERYTHING,
    ExportReport,
    Selection,
    by_file,
    identity_of,
    iterate_people,
    select_frames,
)
from person_search.gallery.rows import StoredFrame, StoredPerson, stream_of
from reid_heads.atomic_file import naming_full_disk, new_folder

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex

FRAMES_FILE = "frames.csv"
FRAMES_HEAD = ("number", "file", "frame", "seconds", "camera")


def export_mot(
    index: "GalleryIndex", output: str | Path, selection: Selection = EVERYTHING
) -> ExportReport:
    """Write a gallery as tracks of the MOT Challenge's text.

    Each stream has ``gt/gt.txt`` (frame, id, left, top, width, height, 1, 1, 1) of the people with
    an id, ``det/det.txt`` (frame, -1, left, top, width, height, score, -1, -1, -1) of all, and
    ``seqinfo.ini``. Coordinates are pixels from 0. Memory grows with the frames, not with the
    people.

    Args:
        index: the gallery.
        output: folder to make, whole or not at all.
        selection: whom to export.

    Returns:
        What was written. Pictures that stand alone, as those without camera or date do, are of no
        stream and left out.

    Raises:
        GalleryError: The gallery cannot be read.
        OSError: Something cannot be written, or the folder is there already.
    """
    report = ExportReport()
    streams: dict[str, list[StoredFrame]] = {}
    for frame in select_frames(index, selection):
        stream = stream_of(frame)
        if stream is None:
            report.left_out.append(frame.name)
        else:
            streams.setdefault(stream, []).append(frame)
    report.left_out.sort()
    with naming_full_disk(output), new_folder(output) as folder:
        names = name_folders(sorted(streams))
        for stream, name in names.items():
            frames = sorted(streams[stream], key=lambda f: (f.timestamp or 0.0, *by_file(f)))
            (folder / name / "gt").mkdir(parents=True)
            (folder / name / "det").mkdir()
            _write_text(index, folder / name, selection, frames, report)
            _write_frames(folder / name / FRAMES_FILE, frames)
            _write_seqinfo(folder / name, frames, report)
    return report


def name_folders(streams: Sequence[str]) -> dict[str, str]:
    """Return a folder's name for each stream, of its camera or video; none twice."""
    names: dict[str, str] = {}
    # Names that differ by case only are one folder on some disks.
    taken: set[str] = set()
    for stream in streams:
        kind, _, said = stream.partition(":")
        plain = re.sub(r"[^\w.-]+", "_", Path(said).stem if kind == "file" else said)
        plain = plain.strip(".")[:80] or "stream"
        name, number = plain, 1
        while name.casefold() in taken:
            number += 1
            name = f"{plain}-{number}"
        taken.add(name.casefold())
        names[stream] = name
    return names


def _write_text(
    index: "GalleryIndex",
    folder: Path,
    selection: Selection,
    frames: Sequence[StoredFrame],
    report: ExportReport,
) -> None:
    with (
        (folder / "gt" / "gt.txt").open("w", encoding="utf-8") as true,
        (folder / "det" / "det.txt").open("w", encoding="utf-8") as found,
    ):
        rows = iterate_people(index, selection, frames, report)
        for number, (_, people) in enumerate(rows, 1):
            _write_people(number, people, true, found)


def _write_people(number: int, people: Iterable[StoredPerson], true: TextIO, found: TextIO) -> None:
    for person in people:
        x1, y1, x2, y2 = person.box_xyxy
        # Ten digits bring back every float32 of a picture.
        box = ",".join(f"{v:.10g}" for v in (x1, y1, x2 - x1, y2 - y1))
        found.write(f"{number},-1,{box},{person.score:.9g},-1,-1,-1\n")
        if (identity := identity_of(person)) is not None:
            true.write(f"{number},{identity},{box},1,1,1\n")


def _write_frames(file: Path, frames: Sequence[StoredFrame]) -> None:
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(FRAMES_HEAD)
        for number, frame in enumerate(frames, 1):
            path, own_number = split_frame_name(frame.name)
            own = "" if own_number is None else own_number
            writer.writerow((number, path, own, frame.timestamp, frame.camera or ""))


def _write_seqinfo(folder: Path, frames: Sequence[StoredFrame], report: ExportReport) -> None:
    """Write the stream's rate and size; of several sizes that of the first frame."""
    pictures = find_pictures(frames, None, report)
    width, height = next(iter([p.size for p in pictures if p.size is not None]), (0, 0))
    lines = [
        "[Sequence]",
        f"name={folder.name}",
        "imDir=.",
        f"frameRate={frame_rate([f.timestamp or 0.0 for f in frames]):g}",
        f"seqLength={len(frames)}",
        f"imWidth={width}",
        f"imHeight={height}",
        "imExt=",
    ]
    (folder / "seqinfo.ini").write_text("\n".join(lines) + "\n", encoding="utf-8")


def frame_rate(times: Sequence[float]) -> float:
    """Return frames a second by the middle step from one to the next; 1 where there is none.

    Args:
        times: seconds, rising.
    """
    steps = np.diff(np.asarray(times, np.float64))
    steps = steps[steps > 0]
    return round(float(1 / np.median(steps)), 3) if len(steps) else 1.0
