"""QMUL i-LIDS (Zheng et al., BMVC 2009): 476 images of 119 people.

::

    Persons/0001001.jpg    person and number of the image; also in images/
"""

import re
from pathlib import Path
from typing import Any

from reid_heads.data.datasets.crop_files import (
    TEST_SPLITS,
    CropFile,
    build_dataset_dicts,
    check_split,
    list_images,
)
from reid_heads.data.datasets.trials import draw_half, trial_generator

_FOLDERS = ("Persons", "images")
_NAME = re.compile(r"([0-9]{4})([0-9]{3})\.")


def load_ilids(root: str | Path, split: str, trial: int = 1) -> list[dict[str, Any]]:
    """Load a test split of i-LIDS as dataset dicts: 60 random people of the 119.

    Of each person two random images are taken, one as the query and one for the gallery, as in
    torchreid and MetaBIN. The files do not tell the camera; as in torchreid the number of the image
    stands for it, so that no match is dropped for being of the query's camera.

    Args:
        root: the folder with ``Persons/`` or ``images/``.
        split: ``query`` or ``gallery``.
        trial: 1..10, which people and which images.

    Returns:
        One dict a person, in the order of their numbers.

    Raises:
        FileNotFoundError: there is neither folder.
        ValueError: the folder is empty, a file name does not parse, a person has one image only, or
            split or trial is unknown.
    """
    check_split(split, TEST_SPLITS)
    generator = trial_generator(trial)
    root = Path(root)
    folder = next((name for name in _FOLDERS if (root / name).is_dir()), _FOLDERS[0])
    images = _read_images(root, folder)
    tested = draw_half(images, generator)
    crops = []
    for pid in sorted(tested):
        rows = generator.permutation(len(images[pid])).tolist()
        crops.append(images[pid][rows[TEST_SPLITS.index(split)]])
    return build_dataset_dicts(root, crops, split, root / folder)


def _read_images(root: Path, folder: str) -> dict[int, list[CropFile]]:
    """Read the images of each person."""
    images: dict[int, list[CropFile]] = {}
    for name in list_images(root / folder):
        match = _NAME.match(name)
        if match is None:
            raise ValueError(
                f"{root / folder / name}: expected a name as 0001001.jpg, person and number; "
                f"rename or remove the file"
            )
        crop = CropFile(f"{folder}/{name}", int(match.group(1)), int(match.group(2)))
        images.setdefault(crop.pid, []).append(crop)
    for pid, crops in images.items():
        if len(crops) == 1:
            raise ValueError(
                f"{root / folder} has one image of person {pid} only, {Path(crops[0].name).name}; "
                f"expected two or more: is it unpacked completely?"
            )
    return images
