"""VIPeR (Gray et al., PETS 2007) in its official layout: 632 people, one image in each camera.

::

    cam_a/000_45.bmp    person and angle
    cam_b/000_90.bmp
"""

import re
from pathlib import Path
from typing import Any

from reid_heads.data.datasets.crop_files import (
    TEST_SPLITS,
    CropFile,
    build_dataset_dicts,
    check_split,
)
from reid_heads.data.datasets.trials import draw_half, read_single_shots, trial_generator

_FOLDERS = {"query": "cam_a", "gallery": "cam_b"}
_CAM_IDS = {"query": 1, "gallery": 2}
_NAME = re.compile(r"([0-9]+)_")


def load_viper(root: str | Path, split: str, trial: int = 1) -> list[dict[str, Any]]:
    """Load a test split of VIPeR as dataset dicts: 316 random people of the 632.

    Camera a is searched in camera b, as in MetaBIN and DualNorm; torchreid averages over both
    directions.

    Args:
        root: the folder with ``cam_a/`` and ``cam_b/``.
        split: ``query`` or ``gallery``.
        trial: 1..10, which random half of the people.

    Returns:
        One dict a person, in the order of the file names.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: a folder is empty, a file name does not parse, a person is missing in one of the
            cameras or has two images, or split or trial is unknown.
    """
    check_split(split, TEST_SPLITS)
    generator = trial_generator(trial)
    root = Path(root)
    images = {
        part: read_single_shots(root, folder, _NAME, "000_45.bmp")
        for part, folder in _FOLDERS.items()
    }
    alone = images["query"].keys() ^ images["gallery"].keys()
    if alone:
        raise ValueError(
            f"{root}: person {min(alone)} is in one of cam_a/ and cam_b/ only, and so are "
            f"{len(alone) - 1} others; is the data set unpacked completely?"
        )
    tested = draw_half(images["query"], generator)
    crops = [
        CropFile(name, pid, _CAM_IDS[split]) for pid, name in images[split].items() if pid in tested
    ]
    return build_dataset_dicts(root, crops, split, root / _FOLDERS[split])
