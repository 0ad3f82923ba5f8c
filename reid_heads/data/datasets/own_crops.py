"""Crops of your own: a folder of files named as Market-1501's, or a CSV file.

File names begin with person and camera, as ``12_c3_anything.jpg``; person -1 is junk and left out::

    FOLDER/                     training; also in train/ or bounding_box_train/
    FOLDER/query/               test
    FOLDER/gallery/             test; also bounding_box_test/

A CSV file has the header ``path,person,camera`` and, to be used for tests, a column ``split`` of
``train``, ``query`` and ``gallery``; without it all rows are for training. A column ``modality`` of
``visible`` and ``thermal`` is for visible-thermal methods. Paths are relative to the file's folder
and stay in it, or lie below that of the data sets; persons and cameras are whole numbers.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from reid_heads.data.datasets.crop_files import (
    JUNK_PID,
    SPLITS,
    CropFile,
    build_dataset_dicts,
    check_split,
    is_image_name,
    read_market_folder,
)
from reid_heads.labels import THERMAL, VISIBLE
from reid_heads.listed_files import check_listed, get_datasets_root

MODALITIES = {"visible": VISIBLE, "thermal": THERMAL}

_FOLDERS = {
    "train": ("bounding_box_train", "train"),
    "query": ("query",),
    "gallery": ("gallery", "bounding_box_test"),
}


def load_own_crops(path: str | Path, split: str) -> list[dict[str, Any]]:
    """Load a split of your own crops as dataset dicts.

    Args:
        path: a folder or a CSV file.
        split: ``train``, ``query`` or ``gallery``.

    Returns:
        One dict a crop, sorted by file name or in the order of the CSV file.

    Raises:
        FileNotFoundError: there is no such folder or file, or a listed crop is missing.
        ValueError: there are no crops, a name or a row does not parse, a crop is listed twice, or
            training has one identity only; a listed crop lies elsewhere.
    """
    check_split(split)
    path = Path(path)
    if path.is_dir():
        folder = _find_folder(path, split)
        crops = read_market_folder(path, folder)
        return build_dataset_dicts(path, crops, split, path / folder)
    crops = [crop for row_split, crop in _read_csv(path) if row_split == split]
    return build_dataset_dicts(path.parent, crops, split, path)


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
        found = {split for split, _ in _read_csv(path)}
        return [split for split in SPLITS if split in found]
    found = {
        split for split, names in _FOLDERS.items() if any((path / name).is_dir() for name in names)
    }
    if "train" not in found and any(is_image_name(entry.name) for entry in path.iterdir()):
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


def _read_csv(path: Path) -> Iterator[tuple[str, CropFile]]:
    """Yield the split and the crop of each row, junk left out."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no folder and no CSV file {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")  # Excel writes a byte order mark
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 ({error}); save it as such") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if not {"path", "person", "camera"} <= set(reader.fieldnames or ()):
        raise ValueError(
            f"{path}: the header is {reader.fieldnames}, expected path,person,camera and perhaps "
            f"split and modality"
        )
    for row in reader:
        place = f"{path}, line {reader.line_num}"
        split, crop = _parse_row(row, place)
        check_listed(crop.name, path.parent, place, [get_datasets_root()])
        if not (path.parent / crop.name).is_file():
            raise FileNotFoundError(f"{place} lists {path.parent / crop.name}: it is missing")
        if crop.pid != JUNK_PID:
            yield split, crop


def _parse_row(row: dict[str, Any], place: str) -> tuple[str, CropFile]:
    split = row.get("split", "train")
    try:
        crop = CropFile(row["path"], int(row["person"]), int(row["camera"]))
        if crop.pid < JUNK_PID:
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(
            f"{place}: expected a path and whole numbers for person (-1 or more) and camera, "
            f"got {row['path']!r}, {row['person']!r}, {row['camera']!r}"
        ) from None
    if split not in SPLITS:
        raise ValueError(f"{place}: the split is {split!r}, expected one of {', '.join(SPLITS)}")
    if "modality" in row:
        if row["modality"] not in MODALITIES:
            raise ValueError(
                f"{place}: the modality is {row['modality']!r}, expected one of "
                f"{', '.join(MODALITIES)}"
            )
        crop = replace(crop, modality=MODALITIES[row["modality"]])
    return split, crop
