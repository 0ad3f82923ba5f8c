"""Faces that are known already, as a CSV file: one row a face, several rows a picture.

::

    path,x1,y1,x2,y2,lx1,ly1,lx2,ly2,lx3,ly3,lx4,ly4,lx5,ly5
    party/one.jpg,40,25,140,155,66,75,113,74,90,102,70,128,110,127

``path`` is relative to the file's folder. ``x1,y1,x2,y2`` is the box. ``lx1,ly1`` to ``lx5,ly5``
are the five points, for each face or for none: the eye on the left side of the picture, the one on
the right, tip of the nose, left and right corner of the mouth. All are pixels of the original
picture, turned upright as its EXIF data say, x to the right and y down from its upper left corner.
The columns may be in any order, apart by commas, semicolons or tabs, and further ones are passed
over.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reid_heads.faces.alignment import estimate_similarity
from reid_heads.faces.detectors import GivenFaces
from reid_heads.listed_files import check_listed, hint_at_missing, local_name
from reid_heads.text_files import read_table

BOX_COLUMNS = ("x1", "y1", "x2", "y2")
POINT_COLUMNS = tuple(f"l{axis}{number}" for number in range(1, 6) for axis in "xy")


@dataclass(frozen=True)
class FaceList:
    """The faces of a list by picture."""

    source: Path
    """The file, for messages."""

    faces: Mapping[str, GivenFaces]
    """By the picture's real path."""

    def __call__(self, picture: Path) -> GivenFaces:
        """Return the detector of a picture: it gives the picture's faces.

        Raises:
            ValueError: If the list does not name the picture.
        """
        found = self.faces.get(os.path.realpath(picture))
        if found is None:
            raise ValueError(
                f"{self.source} has no face of {picture}; expected a row with its path, as seen "
                f"from {self.source.parent}: add it, or leave the picture out"
            )
        return found


def read_face_list(path: str | os.PathLike[str]) -> FaceList:
    """Read a list of faces.

    Raises:
        FileNotFoundError: If there is no such file, or it names a picture that is missing.
        ValueError: If a picture lies outside the list's folder, a column is missing, a number is
            none, a box has no area or all are shares of 0 to 1, points are degenerate or mirrored,
            or there is no row; names file and line.
    """
    path = Path(path)
    boxes: dict[str, list[list[float]]] = {}
    points: dict[str, list[np.ndarray]] = {}
    for place, row, has_points in _read_rows(path):
        picture = os.path.realpath(_find_picture(path, row, place))
        boxes.setdefault(picture, []).append(_read_box(row, place))
        if has_points:
            points.setdefault(picture, []).append(_read_points(row, place))
    if not boxes:
        raise ValueError(f"{path} lists no face; expected a row for each below the header")
    every = np.concatenate([np.array(own) for own in boxes.values()])
    if (every >= 0).all() and (every <= 1).all():
        raise ValueError(
            f"{path} has boxes of 0 to 1, such as {every[0].tolist()}; expected pixels: multiply "
            "them by the picture's width and height"
        )
    faces = {
        picture: GivenFaces(np.array(own), np.array(points[picture]) if points else None)
        for picture, own in boxes.items()
    }
    return FaceList(path, faces)


def _read_rows(path: Path) -> Iterator[tuple[str, Mapping[str, str], bool]]:
    """Yield the place of each row, for messages, its fields, and whether there are points."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no list of faces {path}; check --faces")
    for place, row in read_table(path, ("path", *BOX_COLUMNS), POINT_COLUMNS):
        yield place, row, POINT_COLUMNS[0] in row


def _find_picture(path: Path, row: Mapping[str, str], place: str) -> Path:
    name = local_name(row["path"], path.parent)
    check_listed(name, path.parent, place)
    picture = path.parent / name
    if not name or not picture.is_file():
        raise FileNotFoundError(
            f"{place}: there is no picture {name!r} in {path.parent}; expected its path as seen "
            f"from there{hint_at_missing(picture) if name else ''}"
        )
    return picture


def _read_numbers(row: Mapping[str, str], columns: tuple[str, ...], place: str) -> list[float]:
    numbers = []
    for column in columns:
        text = row[column]
        try:
            # Between semicolons or tabs, a comma may be the decimal point.
            number = float(text.replace(",", ".") if text.count(",") == 1 else text)
        except ValueError:
            number = np.nan
        if not np.isfinite(number):
            raise ValueError(f"{place}: {column} is {text!r}; expected a number of pixels")
        numbers.append(number)
    return numbers


def _read_box(row: Mapping[str, str], place: str) -> list[float]:
    box = _read_numbers(row, BOX_COLUMNS, place)
    if box[2] <= box[0] or box[3] <= box[1]:
        raise ValueError(f"{place}: the box {box} has no area; expected x1 < x2 and y1 < y2")
    return box


def _read_points(row: Mapping[str, str], place: str) -> np.ndarray:
    points = np.array(_read_numbers(row, POINT_COLUMNS, place)).reshape(5, 2)
    try:
        estimate_similarity(points)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
    return points
