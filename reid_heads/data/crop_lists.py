"""Write lists of crops as the CSV files that ``own_crops`` reads."""

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reid_heads.atomic_file import atomic_file
from reid_heads.data.datasets.own_crops import MODALITIES
from reid_heads.listed_files import get_datasets_root, lies_below
from reid_heads.trust import SWITCH

logger = logging.getLogger(__name__)

_MODALITY_NAMES = {number: name for name, number in MODALITIES.items()}


def write_crop_list(
    path: str | Path,
    crops: Sequence[Mapping[str, Any]],
    persons: Sequence[int],
    columns: Mapping[str, Sequence[Any]] | None = None,
) -> None:
    """Write a CSV file that `load_own_crops` and ``DATASETS.CROPS`` take, whole or not at all.

    Crops below the file's folder are named relative to it, so that both can be moved together;
    others by their absolute path, with a warning of those that a reader would refuse. The column
    ``modality`` is written where the crops have one. Attributes are not: sets of your own have
    none.

    Args:
        path: the file; its folder is made if missing.
        crops: dataset dicts of whole images.
        persons: the person to write for each of them.
        columns: further columns by name, a value for each crop; the loader passes them over.

    Raises:
        ValueError: if a crop is a box of a frame, which the file cannot say, or if some crops have
            a modality and others have none.
    """
    path = Path(path)
    columns = columns or {}
    with_modality = _have_modality(crops)
    header = ["path", "person", "camera", *(["modality"] if with_modality else []), *columns]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for i, (crop, person) in enumerate(zip(crops, persons, strict=True)):
        _check_crop(crop)
        row = [path_from(path.parent, crop["file_name"]), int(person), crop["cam_id"]]
        row += [_MODALITY_NAMES[crop["modality"]]] if with_modality else []
        writer.writerow([*row, *(values[i] for values in columns.values())])
    with atomic_file(path) as file:
        file.write(text.getvalue().encode())
    roots = path.parent, get_datasets_root()
    names = (path_from(path.parent, crop["file_name"]) for crop in crops)
    outside = sum(not lies_below(name, roots) for name in names)
    if outside:
        logger.warning(
            "%s names %d crops outside of its folder and that of the data sets; who reads it adds "
            "%s, or sets DETECTRON2_DATASETS to a folder that holds them",
            path,
            outside,
            SWITCH,
        )


def path_from(folder: Path, file_name: str) -> str:
    """Return how a list in ``folder`` names a file: relative where it lies below, else absolute."""
    file, base = Path(file_name).absolute(), folder.absolute()
    return file.relative_to(base).as_posix() if file.is_relative_to(base) else str(file)


def _have_modality(crops: Sequence[Mapping[str, Any]]) -> bool:
    number = sum("modality" in crop for crop in crops)
    if 0 < number < len(crops):
        raise ValueError(
            f"{number} of {len(crops)} crops have a modality; a list has it for all or for none: "
            "write the sets apart"
        )
    return number > 0


def _check_crop(crop: Mapping[str, Any]) -> None:
    if "bbox" in crop:
        raise ValueError(
            f"a crop is a box of the frame {crop['file_name']}; a list of crops names whole images "
            "only: save the boxes as images first"
        )
