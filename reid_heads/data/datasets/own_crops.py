"""Crops of your own: folders of pictures, or a CSV file.

File names begin with person and camera, as ``12_c3_anything.jpg``; person -1 is junk and left out::

    FOLDER/                     training; also in train/ or bounding_box_train/
    FOLDER/query/               test
    FOLDER/gallery/             test; also bounding_box_test/

Or each of these folders holds a folder for each person, ``train/anna/any_name.jpg``. The camera is
that of the names where all of them begin with person and camera, else it is not known.

A CSV file has the header ``path,person`` and, to be used for tests, the columns ``camera`` and
``split`` (``train``, ``query`` or ``gallery``; without it all rows are for training). A column
``modality`` of ``visible`` and ``thermal`` is for visible-thermal methods. Paths are relative to
the file's folder and stay in it, or lie below that of the data sets; persons and cameras are whole
numbers or names, which are numbered by the alphabet. Spreadsheets' semicolons, capitals and spaces
mean nothing.

A test leaves out the gallery's crops of the query's person from the query's camera, so that every
crop of it needs one. To score without this rule, give all queries one camera and all of the gallery
another.
"""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reid_heads.data.datasets.crop_files import (
    JUNK_PID,
    SPLITS,
    TEST_SPLITS,
    CropFile,
    build_dataset_dicts,
    check_split,
    is_image_name,
    list_images,
    log_passed_over,
    parse_market_name,
    read_market_folder,
)
from reid_heads.labels import THERMAL, VISIBLE
from reid_heads.listed_files import (
    check_listed,
    get_datasets_root,
    hint_at_missing,
    local_name,
)
from reid_heads.text_files import number_ids, parse_id, read_table

MODALITIES = {"visible": VISIBLE, "thermal": THERMAL}

logger = logging.getLogger(__name__)

_LOOK_ALIKE = {
    "camera": "^cam",
    "split": "^(sub)?set$|^fold$|^mode$",
    "modality": "^modal|^spectrum",
}
"""Columns that are read, and how others call theirs."""

_FOLDERS = {
    "train": ("bounding_box_train", "train"),
    "query": ("query",),
    "gallery": ("gallery", "bounding_box_test"),
}


@dataclass(frozen=True)
class _Row:
    """A row of a CSV file, numbers and names as they stand there."""

    place: str
    split: str
    path: str
    person: int | str
    camera: int | str | None
    modality: int | None


def load_own_crops(path: str | Path, split: str) -> list[dict[str, Any]]:
    """Load a split of your own crops as dataset dicts.

    Args:
        path: a folder or a CSV file.
        split: ``train``, ``query`` or ``gallery``.

    Returns:
        One dict a crop, sorted by person and file name or in the order of the CSV file. ``cam_id``
        is None where a training set does not say it.

    Raises:
        FileNotFoundError: there is no such folder or file, or a listed crop is missing.
        ValueError: there are no crops, a name or a row does not parse, a crop is listed twice or
            lies elsewhere, a crop of a test has no camera, or training has one identity only.
    """
    check_split(split)
    path = Path(path)
    if path.is_dir():
        folder = _find_folder(path, split)
        crops = _read_folder(path, folder, split)
        source = path / folder
    else:
        crops, source, path = _read_csv(path, split), path, path.parent
    if split in TEST_SPLITS:
        _check_cameras(crops, source)
    return build_dataset_dicts(path, crops, split, source)


def list_own_splits(path: str | Path) -> list[str]:
    """List which of ``train``, ``query`` and ``gallery`` your own crops have.

    Args:
        path: a folder or a CSV file.

    Raises:
        FileNotFoundError: there is no such folder or file.
        ValueError: a row of the CSV file does not parse.
    """
    path = Path(path)
    if not path.is_dir():
        found = {row.split for row in _read_rows(path) if row.person != JUNK_PID}
        return [split for split in SPLITS if split in found]
    found = {
        split for split, names in _FOLDERS.items() if any((path / name).is_dir() for name in names)
    }
    if "train" not in found and (_holds_images(path) or _list_people(path)):
        found.add("train")
    return [split for split in SPLITS if split in found]


def _find_folder(path: Path, split: str) -> str:
    """Return the folder of a split, below the path."""
    for name in _FOLDERS[split]:
        if (path / name).is_dir():
            return name
    if split == "train":
        return ""
    raise FileNotFoundError(
        f"{path} has no folder {' or '.join(f'{name}/' for name in _FOLDERS[split])}: a test set "
        f"has the folders query/ and gallery/"
    )


def _holds_images(folder: Path) -> bool:
    return any(is_image_name(entry.name) and entry.is_file() for entry in folder.iterdir())


def _list_people(folder: Path) -> list[str]:
    """List the folders of people by name, sorted: those with an image that are no split's."""
    splits = {name for names in _FOLDERS.values() for name in names}
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir()
        and not entry.name.startswith(".")
        and entry.name not in splits
        and _holds_images(entry)
    )


def _read_folder(root: Path, folder: str, split: str) -> list[CropFile]:
    """Read a folder of images, or of a folder for each person, junk left out."""
    place = root / folder
    people = _list_people(place)
    if _holds_images(place):
        if people:
            logger.warning(
                "%s: passed over %d folders of images, such as %s/, since there are images beside "
                "them",
                *(place, len(people), people[0]),
            )
        return read_market_folder(root, folder)
    if not people:
        raise ValueError(
            f"{place} holds no image; expected images named by person and camera, as "
            "12_c3_anything.jpg, or a folder for each person"
        )
    # A person has one number in queries and gallery.
    named = set(people)
    for other in TEST_SPLITS if split in TEST_SPLITS else ():
        named |= {
            name for part in _FOLDERS[other] if (root / part).is_dir()
            for name in _list_people(root / part)
        }  # fmt: skip
    ids = {name: _person_of_folder(name, place) for name in named}
    _check_folders(place, people, ids)
    numbers = number_ids(ids.values())
    passed_over: Counter[str] = Counter()
    files = [(name, image) for name in people for image in list_images(place / name, passed_over)]
    log_passed_over(place, passed_over)
    cameras = _find_cameras([image for _, image in files], place)
    below = f"{folder}/" if folder else ""
    return [
        CropFile(f"{below}{name}/{image}", numbers[ids[name]], cameras.get(image))
        for name, image in files
        if ids[name] != JUNK_PID
    ]


def _person_of_folder(name: str, place: Path) -> int | str:
    """Return the person of a folder: a whole number, or the name as it is, also "Na" or "1.5"."""
    if re.fullmatch(r"[+-]?[0-9]+", name):
        return _parse_person(name, f"the folder {place / name}")
    return unicodedata.normalize("NFC", name)


def _check_folders(place: Path, people: list[str], ids: Mapping[str, int | str]) -> None:
    """Refuse two folders of one person, and warn of folders that hold no image."""
    first: dict[int | str, str] = {}
    for name in people:
        twin = first.setdefault(ids[name], name)
        if twin != name:
            raise ValueError(
                f"{place} has the folders {twin} and {name}, which are one person by their names; "
                "put the images into one folder, or rename one of them"
            )
    splits = {name for names in _FOLDERS.values() for name in names}
    known = {*people, *splits}
    empty = sorted(
        entry.name
        for entry in place.iterdir()
        if entry.is_dir() and entry.name not in known and not entry.name.startswith(".")
    )
    if empty:
        logger.warning(
            "%s: passed over %d folders that hold no image themselves, such as %s/; images lie in "
            "the folder of their person, not below it",
            *(place, len(empty), empty[0]),
        )


def _find_cameras(images: list[str], folder: Path) -> Mapping[str, int]:
    """Return the camera of each image by its name; nothing unless all names have one."""
    try:
        return {image: parse_market_name(image, folder)[1] for image in images}
    except ValueError:
        return {}


def _read_csv(path: Path, split: str) -> list[CropFile]:
    """Read the crops of a split, junk left out."""
    rows = _read_rows(path)
    people = number_ids(row.person for row in rows)
    cameras = number_ids(row.camera for row in rows if row.camera is not None)
    return [
        CropFile(
            row.path,
            people[row.person],
            None if row.camera is None else cameras[row.camera],
            row.modality,
        )
        for row in rows
        if row.split == split and row.person != JUNK_PID
    ]


def _read_rows(path: Path) -> list[_Row]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no folder and no CSV file {path}")
    rows: list[_Row] = []
    for place, cells in read_table(path, ("path", "person")):
        if not rows:
            _tell_other_columns(path, cells)
        row = _parse_row(cells, place, path.parent)
        check_listed(row.path, path.parent, place, [get_datasets_root()])
        file = path.parent / row.path
        if not file.is_file():
            why = "it is a folder" if file.is_dir() else f"it is missing{hint_at_missing(file)}"
            raise FileNotFoundError(f"{place} lists {file}: {why}")
        rows.append(row)
    return rows


def _tell_other_columns(path: Path, columns: Iterable[str]) -> None:
    """Warn of columns that look like one that is read; others are anybody's own."""
    names = set(columns)
    for known, pattern in _LOOK_ALIKE.items():
        alike = sorted(name for name in names if re.search(pattern, name))
        if alike and known not in names:
            logger.warning(
                "%s: the column %r is not read; is it %r? Call it so", path, alike[0], known
            )


def _parse_row(cells: Mapping[str, str], place: str, folder: Path) -> _Row:
    person = _parse_person(cells["person"], place)
    try:
        camera = parse_id(cells.get("camera"))
    except ValueError as error:
        raise ValueError(f"{place}: the camera is {error}") from None
    if not cells["path"]:
        raise ValueError(f"{place}: the path is empty; expected one relative to {folder}")
    split = cells.get("split", "train").lower()
    if split not in SPLITS:
        raise ValueError(f"{place}: the split is {split!r}, expected one of {', '.join(SPLITS)}")
    modality = None
    if "modality" in cells:
        modality = MODALITIES.get(cells["modality"].lower())
        if modality is None:
            raise ValueError(
                f"{place}: the modality is {cells['modality']!r}, expected one of "
                f"{', '.join(MODALITIES)}"
            )
    return _Row(place, split, local_name(cells["path"], folder), person, camera, modality)


def _parse_person(text: str, place: str) -> int | str:
    try:
        person = parse_id(text)
    except ValueError as error:
        raise ValueError(f"{place}: the person is {error}") from None
    if person is None or (isinstance(person, int) and person < JUNK_PID):
        raise ValueError(
            f"{place}: the person is {text!r}; expected a name or a number from 0 on, or -1 for a "
            "crop that shows nobody"
        )
    return person


def _check_cameras(crops: list[CropFile], source: Path) -> None:
    without = [crop.name for crop in crops if crop.cam_id is None]
    if without:
        raise ValueError(
            f"{source}: {len(without)} crops of the test have no camera, first {without[0]}; a "
            "test leaves out the query's own camera: write cameras into the column 'camera' of a "
            "CSV file, or into the files' names, as 12_c3_anything.jpg. To score without this "
            "rule, give all queries one camera and all of the gallery another"
        )
