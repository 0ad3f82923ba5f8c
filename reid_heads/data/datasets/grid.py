"""QMUL GRID (Loy et al., CVPR 2009) in its official layout and with its official ten partitions.

::

    probe/0001_1_25004_107_32_106_221.jpeg      person, camera and more; 250 people
    gallery/0001_2_25023_116_134_128_330.jpeg   the same people; 0000 is one of 775 others
    features_and_partitions.mat
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from reid_heads.data.datasets.crop_files import (
    TEST_SPLITS,
    CropFile,
    build_dataset_dicts,
    check_split,
    list_images,
)
from reid_heads.data.datasets.mat_files import read_mat, read_struct, read_whole_numbers
from reid_heads.data.datasets.trials import check_trial

DISTRACTOR_PID = 0
"""Person of the gallery's images of people who are not searched."""

_FOLDERS = {"query": "probe", "gallery": "gallery"}
_NAME = re.compile(r"([0-9]+)_([0-9]+)_")
_PARTITIONS = "features_and_partitions.mat"


def load_grid(root: str | Path, split: str, trial: int = 1) -> list[dict[str, Any]]:
    """Load a test split of GRID as dataset dicts: 125 queries, 900 gallery images.

    Tested is on those of the 250 people that are not in the partition's training part. The gallery
    has their other images and all 775 of nobody searched.

    Args:
        root: the folder with ``probe/``, ``gallery/`` and ``features_and_partitions.mat``.
        split: ``query`` or ``gallery``.
        trial: 1..10, one of the official partitions.

    Returns:
        One dict an image, in the order of the file names.

    Raises:
        FileNotFoundError: a folder or the file is missing.
        ValueError: a folder is empty, a file name does not parse, the file is not as it should be,
            a query has no match, or split or trial is unknown.
    """
    check_split(split, TEST_SPLITS)
    check_trial(trial)
    root = Path(root)
    trained = _read_training_people(root / _PARTITIONS, trial)
    crops = {
        part: [crop for crop in _read_images(root, folder) if crop.pid not in trained]
        for part, folder in _FOLDERS.items()
    }
    matched = {crop.pid for crop in crops["gallery"]}
    for crop in crops["query"]:
        if crop.pid not in matched:
            raise ValueError(
                f"{root / crop.name}: person {crop.pid} is not in gallery/; is the data set "
                f"unpacked completely?"
            )
    return build_dataset_dicts(root, crops[split], split, root / _FOLDERS[split])


def _read_images(root: Path, folder: str) -> list[CropFile]:
    crops = []
    for name in list_images(root / folder):
        match = _NAME.match(name)
        if match is None:
            raise ValueError(
                f"{root / folder / name}: the name does not begin with person and camera, as "
                f"0001_1_25004_107_32_106_221.jpeg; rename or remove the file"
            )
        crops.append(CropFile(f"{folder}/{name}", int(match.group(1)), int(match.group(2))))
    return crops


def _read_training_people(path: Path, trial: int) -> set[int]:
    """Read whom a partition trains on: a cell of one struct a partition, field ``personIdx``."""
    partitions = np.ravel(read_mat(path, "trainIdxAll"))
    if len(partitions) < trial:
        raise ValueError(f"{path}: 'trainIdxAll' has {len(partitions)} partitions, not {trial}")
    fields = read_struct(partitions[trial - 1], path)
    if "personIdx" not in fields:
        raise ValueError(
            f"{path}: 'trainIdxAll' has the fields {sorted(fields)}, but not 'personIdx'"
        )
    people = read_whole_numbers(fields["personIdx"], path, "personIdx")
    # Person 0 would take all the distractors out of the gallery.
    if not len(people) or people.min() <= DISTRACTOR_PID:
        raise ValueError(f"{path}: expected people numbered from 1 in 'personIdx', got {people}")
    return {int(pid) for pid in people}
