"""CUHK-SYSU (Xiao et al., CVPR 2017) as a folder of crops, as domain generalization trains on it.

The data set comes as frames. Public code for crops expects all its labelled boxes, training and
test, cut out and named by person and frame, in either of two styles::

    p11422_s16929_1.jpg             torchreid and fast-reid
    p00001_n01_s00001_hard0.png     MetaBIN (Choi et al., CVPR 2021), whose code cuts them

Person search on the frames themselves is `person_search.data`'s.
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

NO_CAMERA = -1
"""Camera of all crops: the data set has none. Crops always carry a number."""

_NAME = re.compile(r"p([0-9]+)_")


def load_cuhk_sysu_crops(root: str | Path, split: str = "all") -> list[dict[str, Any]]:
    """Load all crops of CUHK-SYSU as dataset dicts for training.

    Args:
        root: the folder with the crops.
        split: ``all``.

    Returns:
        One dict a crop, sorted by file name.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is empty, a file name does not parse, it shows one person only, or the split
            is unknown.
    """
    check_split(split, ("all",))
    root = Path(root)
    crops = []
    for name in list_images(root):
        match = _NAME.match(name)
        if match is None:
            raise ValueError(
                f"{root / name}: the name does not begin with the person, as p11422_s16929_1.jpg; "
                f"rename or remove the file"
            )
        crops.append(CropFile(name, int(match.group(1)), NO_CAMERA))
    return build_dataset_dicts(root, crops, split, root)
