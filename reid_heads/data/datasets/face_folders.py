"""Aligned faces on disk: one folder a person, and pair lists that name them as LFW's do.

::

    FOLDER/Ann_Lee/Ann_Lee_0001.jpg     any image format; any names, where no pair list is used
    FOLDER/Bo/Bo_0001.jpg
    pairs.txt                           see ``face_pairs``
"""

import os
from collections import Counter
from pathlib import Path
from typing import Any

from reid_heads.data.datasets.crop_files import (
    CropFile,
    build_dataset_dicts,
    list_images,
    log_passed_over,
)
from reid_heads.face_pairs import FacePairs, image_stem, read_pairs

NO_CAMERA = 0
"""``cam_id`` of every face: where it was taken is not known and does not matter."""


def load_face_folder(path: str | Path) -> list[dict[str, Any]]:
    """Load every face below a folder as dataset dicts, persons numbered by name.

    Files beside the persons' folders are passed over, and folders whose names begin with a dot;
    what is no image in the persons' folders is counted and logged.

    Returns:
        One dict a face, by person and file name: ``file_name, image_id`` ("person/file"),
        ``person_id`` 0..P-1, ``cam_id`` 0.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there are no persons, one person only, or a folder without an image.
    """
    path = Path(path)
    passed_over: Counter[str] = Counter()
    crops = [
        CropFile(f"{person}/{name}", pid, NO_CAMERA)
        for pid, person in enumerate(list_persons(path))
        for name in list_images(path / person, passed_over)
    ]
    log_passed_over(path, passed_over)
    return build_dataset_dicts(path, crops, "train", path)


def list_persons(path: Path) -> list[str]:
    """List the folders of a folder of faces by name, sorted.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no folder.
    """
    if not path.is_dir():
        raise FileNotFoundError(
            f"there is no folder {path}: is the path right, and the data set unpacked completely?"
        )
    with os.scandir(path) as entries:
        persons = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    if not persons:
        raise ValueError(f"{path} holds no folders; expected one for each person")
    return persons


def load_paired_faces(path: str | Path, pairs: str | Path) -> list[dict[str, Any]]:
    """Load the faces that a pair list names, each once, as `load_face_folder` does.

    Args:
        path: the folder of the persons' folders.
        pairs: the list.

    Raises:
        FileNotFoundError: there is no such folder or list, or the list names images that are not
            there.
        ValueError: the list is not as it should be, or the folder.
    """
    listed = read_pairs(pairs)
    by_stem = {image_stem(face["image_id"]): face for face in load_face_folder(path)}
    missing = missing_images(listed, set(by_stem))
    if missing:
        raise FileNotFoundError(
            f"{listed.source} names {len(missing)} images that are not in {path}, {missing[0]} "
            f"first; do list and folder belong together, and is the folder complete?"
        )
    return [by_stem[name] for name in listed.names()]


def missing_images(pairs: FacePairs, known: set[str]) -> list[str]:
    """Return the images of a list that are not known, in the order of the list, each once."""
    in_order = dict.fromkeys(
        name for both in zip(pairs.first, pairs.second, strict=True) for name in both
    )
    return [name for name in in_order if name not in known]
