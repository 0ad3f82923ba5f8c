"""CUHK02 (Li and Wang, CVPR 2013) in its official layout: five pairs of cameras, 1,816 people.

::

    P1/cam1/001_1.png    begins with the person; P1 to P5, each with cam1 and cam2

It serves as a training set of domain generalization here, with all its images.
"""

import re
from pathlib import Path
from typing import Any

from reid_heads.data.datasets.crop_files import (
    CropFile,
    build_dataset_dicts,
    check_split,
    list_images,
)

_NUM_PAIRS = 5
_NAME = re.compile(r"([0-9]+)_")


def load_cuhk02(root: str | Path, split: str = "all") -> list[dict[str, Any]]:
    """Load all images of CUHK02 as dataset dicts for training.

    Args:
        root: the folder with ``P1/`` to ``P5/``.
        split: ``all``.

    Returns:
        One dict a crop, by pair of cameras, camera and file name. The people of a pair are
        numbered by themselves; no two pairs show the same person here. Cameras are 1 to 10.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: a folder is empty, a file name does not parse, or the split is unknown.
    """
    check_split(split, ("all",))
    root = Path(root)
    crops = []
    for pair in range(1, _NUM_PAIRS + 1):
        for camera in (1, 2):
            folder = f"P{pair}/cam{camera}"
            for name in list_images(root / folder):
                match = _NAME.match(name)
                if match is None:
                    raise ValueError(
                        f"{root / folder / name}: the name does not begin with the person, as "
                        f"001_1.png; rename or remove the file"
                    )
                # A pair has 971 people at most.
                pid = 10000 * pair + int(match.group(1))
                crops.append(CropFile(f"{folder}/{name}", pid, 2 * (pair - 1) + camera))
    return build_dataset_dicts(root, crops, split, root)
