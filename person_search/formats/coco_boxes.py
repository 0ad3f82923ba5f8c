"""Boxes out of COCO JSON, by file name."""

import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from person_search.footage.frames import split_frame_name
from person_search.formats.box_files import NOBODY, BoxFile, FrameBoxes, Place, refuse_shares

Parts = tuple[str, ...]
_LARGE = 1e9
"""Pixels that no box and no picture has."""


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
        content = _read(path)
        # The parts of a file's name, and the number of the frame: what is said of it.
        self._images: dict[tuple[Parts, int | None], FrameBoxes] = {}
        self._files: dict[str, set[Parts]] = {}
        people = self._read_people(content)
        ids: set[Any] = set()
        for row, image in enumerate(content["images"]):
            self._add_image(f"{path}: images[{row}]", image, people, ids)
        if unknown := people.keys() - ids:
            some = next(iter(unknown))
            raise ValueError(f"{path}: annotations have the image_id {some!r}, which no image has")
        all_boxes = [b for found in people.values() for b, _ in found]
        refuse_shares(path, np.array(all_boxes).reshape(-1, 4))

    def _add_image(
        self, where: str, image: Mapping[str, Any], people: Mapping[Any, Any], ids: set[Any]
    ) -> None:
        name, own_id = image.get("file_name"), image.get("id")
        if not isinstance(name, str) or not name or not isinstance(own_id, int | str):
            raise ValueError(f"{where} needs 'id' and 'file_name', got {dict(image)}")
        file, number = split_frame_name(name.replace("\\", "/"))
        parts = PurePosixPath(os.path.normpath(file)).parts
        if not parts:
            raise ValueError(f"{where} has the file_name {name!r}; expected that of a file")
        if own_id in ids or (parts, number) in self._images:
            raise ValueError(f"{where} repeats the id {own_id!r} or the file_name {name!r}")
        ids.add(own_id)
        self._files.setdefault(parts[-1], set()).add(parts)
        size = _size(image, where)
        found = people.get(own_id)
        if found is None:
            self._images[parts, number] = FrameBoxes(NOBODY.boxes, NOBODY.scores, size)
            return
        boxes = np.array([box for box, _ in found], np.float64)
        boxes[:, 2:] += boxes[:, :2]
        self._images[parts, number] = FrameBoxes(boxes, np.array([s for _, s in found]), size)

    def _read_people(
        self, content: Mapping[str, Any]
    ) -> dict[Any, list[tuple[list[float], float]]]:
        """Return (left, top, width, height) and score of the people of each image, by its id."""
        categories = content.get("categories") or []
        persons = [c.get("id") for c in categories if c.get("name") == "person"]
        if categories and not persons:
            names = [c.get("name") for c in categories]
            raise ValueError(f"{self._path} has the categories {names}, but none named 'person'")
        people: dict[Any, list[tuple[list[float], float]]] = {}
        for row, entry in enumerate(content["annotations"]):
            where = f"{self._path}: annotations[{row}]"
            if categories and entry.get("category_id") not in persons:
                self._dropped["boxes of other categories than person"] += 1
            elif entry.get("iscrowd"):
                self._dropped["boxes of crowds"] += 1
            else:
                box, score = _numbers(entry.get("bbox"), where), entry.get("score", 1.0)
                image = entry.get("image_id")
                if not isinstance(image, int | float | str):
                    raise ValueError(
                        f"{where} has the image_id {image!r}; expected that of an image"
                    )
                if not _is_number(score) or not 0 <= score <= 1:
                    raise ValueError(f"{where} has the score {score!r}; expected 0 to 1")
                if min(box[2:]) <= 0:
                    self._dropped["boxes without width or height"] += 1
                else:
                    people.setdefault(image, []).append((box, float(score)))
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
        fitting = self._files.get(file.name, set())
        whole = file.parts
        # Of the names that fit, the one that says most.
        return max((p for p in fitting if whole[-len(p) :] == p), key=len, default=None)


def _join(parts: Parts) -> str:
    return str(PurePosixPath(*parts))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    # Also bytes that are no text, and brackets in brackets without end.
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error
    for key in ("images", "annotations"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise ValueError(f"{path} has no list {key!r}; expected COCO JSON")
    for key in ("images", "annotations", "categories"):
        if not all(isinstance(entry, dict) for entry in content.get(key) or []):
            raise ValueError(f"{path}: {key!r} has entries that are no JSON objects")
    return dict(content)


def _size(image: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    if width is None and height is None:
        return None
    if not _is_number(width) or not _is_number(height):
        raise ValueError(f"{where} has the width {width!r} and height {height!r}; expected pixels")
    return round(float(width or 0)), round(float(height or 0))


def _numbers(box: Any, where: str) -> list[float]:
    is_box = isinstance(box, list) and len(box) == 4 and all(_is_number(v) for v in box)
    if not is_box:
        raise ValueError(f"{where} has the bbox {box!r}; expected [x, y, w, h] in pixels")
    return [float(v) for v in box]


def _is_number(value: Any) -> bool:
    # A whole number may be larger than any float, and no picture is that large.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGE
