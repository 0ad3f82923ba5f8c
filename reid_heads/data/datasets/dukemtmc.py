"""DukeMTMC-reID (Zheng et al., ICCV 2017) in its official layout, which is Market-1501's.

There is no junk, and the distractors of the gallery have person numbers of their own. The data set
was withdrawn by its authors in 2019.
"""

from pathlib import Path
from typing import Any

from reid_heads.data.datasets.attributes import (
    AttributeGroups,
    find_attribute_file,
    load_duke_attributes,
)
from reid_heads.data.datasets.crop_files import build_dataset_dicts, check_split, read_market_folder
from reid_heads.data.datasets.market1501 import MARKET_FOLDERS

_ATTRIBUTE_FILE = "duke_attribute.mat"


def load_dukemtmc(root: str | Path, split: str) -> list[dict[str, Any]]:
    """Load a split of DukeMTMC-reID as dataset dicts.

    Where ``duke_attribute.mat`` is in the root or in ``attribute/``, crops get attributes.

    Args:
        root: the folder with ``bounding_box_train/``, ``bounding_box_test/`` and ``query/``, files
            named as ``0005_c2_f0046985.jpg``.
        split: ``train``, ``query`` or ``gallery``.

    Returns:
        One dict a crop, sorted by file name.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: a folder is empty, a file name does not parse, training has one identity only,
            or the attribute file is not as it should be.
    """
    check_split(split)
    root = Path(root)
    folder = MARKET_FOLDERS[split]
    path = find_attribute_file(root, _ATTRIBUTE_FILE)
    attributes = None
    if path is not None:
        _, attributes = load_duke_attributes(path, "train" if split == "train" else "test")
    crops = read_market_folder(root, folder)
    return build_dataset_dicts(root, crops, split, root / folder, attributes)


def load_dukemtmc_attribute_groups(root: str | Path) -> AttributeGroups:
    """Return the name and the class names of each attribute group; () without attribute file.

    Args:
        root: as in `load_dukemtmc`.

    Raises:
        ValueError: the attribute file is not as it should be.
    """
    path = find_attribute_file(Path(root), _ATTRIBUTE_FILE)
    return () if path is None else load_duke_attributes(path, "train")[0]
