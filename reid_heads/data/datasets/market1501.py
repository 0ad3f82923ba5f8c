"""Market-1501 (Zheng et al., ICCV 2015) in its official layout, also with 500k distractors.

Drawn sets and many others come in the same layout.
"""

from pathlib import Path
from typing import Any

from reid_heads.data.datasets.attributes import (
    AttributeGroups,
    find_attribute_file,
    load_market_attributes,
)
from reid_heads.data.datasets.crop_files import (
    CropFile,
    build_dataset_dicts,
    check_split,
    list_images,
    read_market_folder,
)

DISTRACTOR_PID = 0
"""Person of detections of nobody who is searched; they stay in the gallery."""

DISTRACTOR_CAM_ID = 0
"""Camera of the 500k distractors; no query has it, so that no rule ever drops them."""

MARKET_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}

_ATTRIBUTE_FILE = "market_attribute.mat"


def load_market1501(root: str | Path, split: str, with_500k: bool = False) -> list[dict[str, Any]]:
    """Load a split of Market-1501 as dataset dicts.

    Junk (person -1) is dropped, which leaves 15,913 of the 19,732 gallery files. Distractors
    (person 0) are dropped from training and kept in the gallery. Where ``market_attribute.mat`` is
    in the root or in ``attribute/``, crops get attributes; distractors have none.

    Args:
        root: the folder with ``bounding_box_train/``, ``bounding_box_test/`` and ``query/``.
        split: ``train``, ``query`` or ``gallery``.
        with_500k: add the distractors of ``images/`` to the gallery. Every image there counts as
            one, whatever its name, with person 0 and camera 0.

    Returns:
        One dict a crop: those of the split's folder sorted by name, then the 500k.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: a folder is empty, a file name does not parse, training has one identity only,
            or the attribute file is not as it should be.
    """
    check_split(split)
    root = Path(root)
    folder = MARKET_FOLDERS[split]
    crops = read_market_folder(root, folder)
    if split == "train":
        crops = [crop for crop in crops if crop.pid != DISTRACTOR_PID]
    if split == "gallery" and with_500k:
        crops += [
            CropFile(f"images/{name}", DISTRACTOR_PID, DISTRACTOR_CAM_ID)
            for name in list_images(root / "images")
        ]
    path = find_attribute_file(root, _ATTRIBUTE_FILE)
    attributes = None
    if path is not None:
        _, attributes = load_market_attributes(path, "train" if split == "train" else "test")
    return build_dataset_dicts(root, crops, split, root / folder, attributes)


def load_market1501_attribute_groups(root: str | Path) -> AttributeGroups:
    """Return the name and the class names of each attribute group; () without attribute file.

    Args:
        root: as in `load_market1501`.

    Raises:
        ValueError: the attribute file is not as it should be.
    """
    path = find_attribute_file(Path(root), _ATTRIBUTE_FILE)
    return () if path is None else load_market_attributes(path, "train")[0]
