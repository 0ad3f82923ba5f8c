"""Boxes out of COCO JSON, by file name."""

import os
import unicodedata
from collections.abc import Container, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from person_search.data.coco_json import (
    find_id,
    find_person_categories,
    is_crowd,
    is_person,
    is_pixels,
    read_box,
    read_coco,
    refuse_shares,
    stated_size,
)
from person_search.footage.frames import split_frame_name
from person_search.formats.box_files import NOBODY, BoxFile, FrameBoxes, Place
from reid_heads.text_files import parse_id

Parts = tuple[str, ...]


class CocoBoxes(BoxFile):
    """Boxes of the category ``person`` of a COCO JSON file.

    An image is meant by the end of a path, as much of it as ``file_name`` has; of several that fit
    by the longest. ``VIDEO#frame=N`` is a frame of a video. An image without annotations shows
    nobody.
    """

    def __init__(self, path: Path, min_score: float = 0.0) -> None:
        """Read a file.

        Raises:
            ValueError: It is no such file; says where and what was expected.
        """
        super().__init__(path, min_score)
        self._path = path
        content = read_coco(path)
        # The parts of a file's name, and the number of the frame: what is said of it.
        self._images: dict[tuple[Parts, int | None], FrameBoxes] = {}
        self._files: dict[str, set[Parts]] = {}
        ids = _read_ids(content["images"], path)
        people = self._read_people(content, ids)
        for row, (own_id, image) in enumerate(zip(ids, content["images"], strict=True)):
            self._add_image(f"{path}: images[{row}]", image, people.get(own_id))
        for found in people.values():
            refuse_shares(path, np.array([box for box, _ in found]))

    def _add_image(
        self, where: str, image: Mapping[str, Any], found: list[tuple[list[float], float]] | None
    ) -> None:
        name = image["file_name"]
        file, number = split_frame_name(name.replace("\\", "/"))
        parts = _plain_parts(os.path.normpath(file))
        if not parts:
            raise ValueError(f"{where} has the file_name {name!r}; expected that of a file")
        if (parts, number) in self._images:
            raise ValueError(f"{where} repeats the file_name {name!r}")
        self._files.setdefault(parts[-1], set()).add(parts)
        size = stated_size(image, where)
        if found is None:
            self._images[parts, number] = FrameBoxes(NOBODY.boxes, NOBODY.scores, size)
            return
        boxes = np.array([box for box, _ in found], np.float64)
        boxes[:, 2:] += boxes[:, :2]
        self._images[parts, number] = FrameBoxes(boxes, np.array([s for _, s in found]), size)

    def _read_people(
        self, content: Mapping[str, Any], ids: Container[int | str]
    ) -> dict[Any, list[tuple[list[float], float]]]:
        """Return (left, top, width, height) and score of the people of each image, by its id."""
        persons = find_person_categories(content, self._path)
        people: dict[Any, list[tuple[list[float], float]]] = {}
        for row, entry in enumerate(content["annotations"]):
            where = f"{self._path}: annotations[{row}]"
            if not is_person(entry, persons):
                self._dropped["boxes of other categories than person"] += 1
            elif is_crowd(entry):
                self._dropped["boxes of crowds"] += 1
            else:
                box, score = read_box(entry, where).tolist(), _read_score(entry, where)
                if min(box[2:]) <= 0:
                    self._dropped["boxes without width or height"] += 1
                else:
                    image_id = find_id(entry.get("image_id"), ids)
                    if image_id is None:
                        raise ValueError(
                            f"{where} has the image_id {entry.get('image_id')!r}, which no image "
                            "has"
                        )
                    people.setdefault(image_id, []).append((box, score))
        return people

    def _locate(self, file: Path) -> Place | None:
        parts = self._parts(file)
        return None if parts is None else Place(_join(parts))

    def _find(self, file: Path, number: int | None) -> FrameBoxes | None:
        parts = self._parts(file)
        return None if parts is None else self._images.get((parts, number))

    def _names(self) -> list[str]:
        return [_join(parts) for parts in dict.fromkeys(parts for parts, _ in self._images)]

    def _parts(self, file: Path) -> Parts | None:
        whole = _plain_parts(file)
        fitting = self._files.get(whole[-1], set()) if whole else ()
        # Of the names that fit, the one that says most.
        return max((p for p in fitting if whole[-len(p) :] == p), key=len, default=None)


def _plain_parts(path: str | Path) -> Parts:
    """Return the parts of a path with letters that have marks as one sign each (NFC)."""
    return PurePosixPath(unicodedata.normalize("NFC", str(path))).parts


def _join(parts: Parts) -> str:
    return str(PurePosixPath(*parts))


def _read_ids(images: Sequence[Mapping[str, Any]], path: Path) -> dict[int | str, None]:
    """Return the ids of the images in order; each has a name as well."""
    ids: dict[int | str, None] = {}
    for row, image in enumerate(images):
        where = f"{path}: images[{row}]"
        try:
            own_id = parse_id(image.get("id"))
        except ValueError as error:
            raise ValueError(f"{where} has the id {error}") from None
        if not isinstance(image.get("file_name"), str) or not image["file_name"] or own_id is None:
            raise ValueError(f"{where} needs 'id' and 'file_name', got {dict(image)}")
        if own_id in ids:
            raise ValueError(f"{where} repeats the id {own_id!r}")
        ids[own_id] = None
    return ids


def _read_score(entry: Mapping[str, Any], where: str) -> float:
    """Return the score of an annotation, 0..1; 1 where it has none."""
    score = entry.get("score")
    try:
        value = 1.0 if score is None else float(score)
    except (TypeError, ValueError, OverflowError):
        value = -1.0
    if isinstance(score, bool) or not is_pixels(value) or not 0 <= value <= 1:
        raise ValueError(f"{where} has the score {score!r}; expected 0 to 1")
    return value
