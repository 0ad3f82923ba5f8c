"""Crops on disk and as detectron2 dataset dicts; what all data sets of crops have in common.

The common file name is Market-1501's: person and camera first, as ``0002_c1s1_000451_03.jpg``.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reid_heads.listed_files import check_listed, get_datasets_root
from reid_heads.pictures import IMAGE_SUFFIXES

TEST_SPLITS = ("query", "gallery")
SPLITS = ("train", *TEST_SPLITS)

JUNK_PID = -1
"""Person of false detections, which no protocol counts."""

logger = logging.getLogger(__name__)

_MARKET_NAME = re.compile(r"(-1|[0-9]+)_c([0-9]+)")


@dataclass(frozen=True)
class CropFile:
    """A crop as its data set names it."""

    name: str
    """Path below the data set's root, with ``/``."""
    pid: int
    """Person, as numbered on disk."""
    cam_id: int | None
    """Camera, as numbered on disk; None where it is not known, in training sets of your own."""
    modality: int | None = None
    """``VISIBLE`` or ``THERMAL``; None in sets that do not tell them apart."""


def check_split(split: str, splits: Sequence[str] = SPLITS) -> None:
    """Raise ValueError if there is no such split."""
    if split not in splits:
        raise ValueError(f"the split {split!r} is unknown; choose one of {', '.join(splits)}")


def list_images(folder: Path, passed_over: Counter[str] | None = None) -> list[str]:
    """List the images of a folder by name, sorted.

    Args:
        folder: where they are. Hidden files, folders and what is no image are passed over.
        passed_over: counts what is no image by suffix, and folders, for a caller that looks into
            the folders of many people; None logs the former.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no image, or one image in two file formats.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder {folder}: is the root right, and the data set unpacked completely?"
        )
    with os.scandir(folder) as entries:
        shown = [(e.name, e.is_dir()) for e in entries if not e.name.startswith(".")]
    files = [name for name, is_folder in shown if not is_folder]
    names = sorted(name for name in files if is_image_name(name))
    others = Counter(Path(name).suffix.lower() or name for name in files if not is_image_name(name))
    if not names:
        held = f" but {describe_passed_over(others)}" if others else ""
        raise ValueError(
            f"{folder} holds no image{held}; is the data set unpacked completely? Images end in "
            f"{' '.join(sorted(IMAGE_SUFFIXES))}"
        )
    if passed_over is not None:
        passed_over.update(others)
        passed_over.update("folder" for _, is_folder in shown if is_folder)
    else:
        log_passed_over(folder, others)
    first: dict[str, str] = {}
    for name in names:
        twin = first.setdefault(os.path.splitext(name)[0], name)
        if twin != name:
            raise ValueError(
                f"{folder} holds an image twice, as {twin} and as {name}; remove one of them"
            )
    return names


def log_passed_over(folder: Path, others: Counter[str]) -> None:
    """Log which files of a folder were passed over, if any, for being no images."""
    # Windows' own pictures of folders, which the published sets have.
    others = Counter({kind: number for kind, number in others.items() if kind != ".db"})
    if others:
        logger.warning("%s: passed over %s", folder, describe_passed_over(others))


def describe_passed_over(others: Counter[str]) -> str:
    """Say how many files of which suffixes there are, as ``3 other files (.txt 2, .csv 1)``."""
    kinds = ", ".join(f"{kind} {number}" for kind, number in others.most_common(5))
    more = ", …" if len(others) > 5 else ""
    return f"{others.total()} other file{'s' if others.total() > 1 else ''} ({kinds}{more})"


def is_image_name(name: str) -> bool:
    """Return whether a file is an image, by its name; hidden files are none (macOS makes some)."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def parse_market_name(name: str, folder: Path) -> tuple[int, int]:
    """Read the person and the camera from a file name in Market-1501's style.

    Args:
        name: the file name without folder; what stands after the camera does not matter.
        folder: for the error message.

    Raises:
        ValueError: the name is in another style.
    """
    match = _MARKET_NAME.match(name)
    if match is None:
        raise ValueError(
            f"{folder / name}: the name does not begin with person and camera, as "
            f"0002_c1s1_000451_03.jpg; rename or remove the file"
        )
    return int(match.group(1)), int(match.group(2))


def read_market_folder(root: Path, folder: str) -> list[CropFile]:
    """Read a folder of files in Market-1501's style, junk (person -1) left out.

    Args:
        root: the data set's root.
        folder: path below the root; ``""`` for the root itself.

    Returns:
        The crops in the order of their names; maybe none, if all are junk.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is empty, or a name is in another style.
    """
    path = root / folder
    crops = []
    for name in list_images(path):
        pid, cam_id = parse_market_name(name, path)
        if pid != JUNK_PID:
            crops.append(CropFile(f"{folder}/{name}" if folder else name, pid, cam_id))
    return crops


def build_dataset_dicts(
    root: Path,
    crops: Sequence[CropFile],
    split: str,
    source: Path,
    attributes: Mapping[int, Sequence[int]] | None = None,
) -> list[dict[str, Any]]:
    """Make detectron2 dataset dicts of crops.

    Args:
        root: the data set's root.
        crops: of one split.
        split: ``query`` and ``gallery`` keep the persons' own numbers and are marked as such; every
            other split is for training: its persons become 0..P-1, sorted by number.
        source: the file or folder that names the crops, for error messages.
        attributes: person as on disk to one class a group; None for a set without attributes.
            Gallery persons may be missing (distractors have no attributes), others may not.

    Returns:
        One dict a crop, in the given order.

    Raises:
        ValueError: there are no crops, one is named twice or lies outside the root, a person has no
            attributes, or a training split has one person only.
    """
    _check_crops(root, crops, split, source)
    is_test = split in ("query", "gallery")
    pids = sorted({crop.pid for crop in crops})
    labels = {pid: pid if is_test else row for row, pid in enumerate(pids)}
    dicts = []
    for crop in crops:
        entry: dict[str, Any] = {
            "file_name": str(root / crop.name),
            "image_id": crop.name,
            "person_id": labels[crop.pid],
            "cam_id": crop.cam_id,
        }
        if crop.modality is not None:
            entry["modality"] = crop.modality
        if is_test:
            entry["split"] = split
        if attributes is not None:
            if crop.pid in attributes:
                entry["attributes"] = list(attributes[crop.pid])
            elif split != "gallery":
                raise ValueError(
                    f"person {crop.pid} of {root / crop.name} has no attributes: the attribute "
                    f"file does not belong to these images"
                )
        dicts.append(entry)
    return dicts


def _check_crops(root: Path, crops: Sequence[CropFile], split: str, source: Path) -> None:
    if not crops:
        raise ValueError(f"{source}: the {split} split has no crops")
    names: set[str] = set()
    for crop in crops:
        if crop.name in names:
            raise ValueError(f"{source} names the image {crop.name} twice in the {split} split")
        check_listed(crop.name, root, str(source), [get_datasets_root()])
        names.add(crop.name)
    if split not in ("query", "gallery") and all(crop.pid == crops[0].pid for crop in crops):
        raise ValueError(
            f"{source}: all {len(crops)} crops show person {crops[0].pid}; training needs at least "
            f"two identities"
        )
