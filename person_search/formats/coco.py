"""A gallery as COCO JSON, with ``person_id`` as `person_search.data.coco_person` reads it.

Beyond standard COCO, an image has ``camera``, ``cam_id`` (a number for each camera) and
``timestamp`` (seconds, see `Match.timestamp`) where these are known, an annotation ``score``,
``person`` (its id in the gallery), and where it belongs to one ``appearance_id`` and ``person_id``
(see `selection.identity_of`).
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from person_search.formats.pictures import Picture, find_pictures
from person_search.formats.selection import (
    EVERYTHING,
    ExportReport,
    Selection,
    by_file,
    identity_of,
    iterate_people,
    select_frames,
)
from person_search.gallery.rows import StoredFrame, StoredPerson, person_id
from person_search.progress import show_progress
from reid_heads.atomic_file import atomic_file, naming_full_disk

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex

PERSON_CATEGORY = 1


def export_coco(
    index: "GalleryIndex",
    output: str | Path,
    selection: Selection = EVERYTHING,
    *,
    frames_folder: str | Path | None = None,
) -> ExportReport:
    """Write a gallery as COCO JSON.

    Frames and people are numbered from 1, by file and place in it. ``file_name`` is relative to the
    deepest folder that holds all pictures, which ``info`` names as ``image_root``; without
    ``frames_folder`` that of a video's frame is ``VIDEO#frame=N``, which only this project reads.
    Boxes are not rounded. Memory grows with the frames, not with the people.

    Args:
        index: the gallery.
        output: file to write, whole or not at all.
        selection: whom to export.
        frames_folder: where frames of videos are written as JPEG files, for others to read.

    Returns:
        What was written. Frames whose source is missing are in it, without width and height.

    Raises:
        GalleryError: The gallery cannot be read.
        OSError: Something cannot be written.
    """
    report = ExportReport()
    frames = sorted(select_frames(index, selection), key=by_file)
    folder = None if frames_folder is None else Path(os.path.abspath(frames_folder))
    pictures = list(
        show_progress(find_pictures(frames, folder, report), "reading sizes", len(frames))
    )
    root = common_folder([picture.file for picture in pictures])
    with naming_full_disk(output), atomic_file(output) as file:
        info = {
            "description": f"gallery {index.name} of person-search",
            "model": index.fingerprint,
            "image_root": root,
        }
        categories = [{"id": PERSON_CATEGORY, "name": "person", "supercategory": "person"}]
        file.write(
            f'{{"info": {json.dumps(info)},\n"categories": {json.dumps(categories)},'.encode()
        )
        _write_list(file, "images", _images(pictures, root))
        file.write(b",")
        _write_list(file, "annotations", _annotations(index, selection, frames, report))
        file.write(b"}\n")
    return report


def common_folder(files: Sequence[str]) -> str:
    """Return the deepest folder that holds all files; "" where there is none."""
    try:
        return os.path.commonpath([os.path.dirname(file) for file in files])
    except ValueError:  # no files, or several drives
        return ""


def _write_list(file: BinaryIO, name: str, items: Iterable[dict[str, Any]]) -> None:
    """Write one at a time: together they may be larger than the memory."""
    file.write(f'\n"{name}": ['.encode())
    for number, item in enumerate(items):
        file.write(b",\n" if number else b"\n")
        file.write(json.dumps(item).encode())
    file.write(b"]")


def _images(pictures: Sequence[Picture], root: str) -> Iterator[dict[str, Any]]:
    names = sorted({p.frame.camera for p in pictures if p.frame.camera})
    cameras = {name: number for number, name in enumerate(names)}
    for number, picture in enumerate(pictures, 1):
        name = os.path.relpath(picture.file, root) if root else picture.file
        image: dict[str, Any] = {"id": number, "file_name": Path(name).as_posix()}
        if picture.size is not None:
            image["width"], image["height"] = picture.size
        if picture.frame.camera:
            image |= {"camera": picture.frame.camera, "cam_id": cameras[picture.frame.camera]}
        if picture.frame.timestamp is not None:
            image["timestamp"] = picture.frame.timestamp
        yield image


def _annotations(
    index: "GalleryIndex", selection: Selection, frames: Sequence[StoredFrame], report: ExportReport
) -> Iterator[dict[str, Any]]:
    for _, people in iterate_people(index, selection, frames, report):
        for number, person in enumerate(people, report.people - len(people) + 1):
            yield _annotation(person, number, report.frames)


def _annotation(person: StoredPerson, number: int, image: int) -> dict[str, Any]:
    x1, y1, x2, y2 = person.box_xyxy
    found: dict[str, Any] = {
        "id": number,
        "image_id": image,
        "category_id": PERSON_CATEGORY,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": 0,
        "score": person.score,
        "person": person_id(person.frame_name, person.number),
    }
    if person.appearance is not None:
        found["appearance_id"] = person.appearance.id
    if (identity := identity_of(person)) is not None:
        found["person_id"] = identity
    return found
