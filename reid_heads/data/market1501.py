"""Market-1501 (Zheng et al., ICCV 2015) in its official layout, also with 500k distractors.

Drawn sets and many others come in the same layout.
"""

import logging
from pathlib import Path
from typing import Any

from reid_heads.data.crop_files import (
    CropFile,
    build_dataset_dicts,
    check_split,
    list_images,
    read_market_folder,
)

logger = logging.getLogger(__name__)

DISTRACTOR_PID = 0
"""Person of detections of nobody who is searched; they stay in the gallery."""

DISTRACTOR_CAM_ID = 0
"""Camera of the 500k distractors; no query has it, so that no rule ever drops them."""

_FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}


def load_market1501(root: str | Path, split: str, with_500k: bool = False) -> list[dict[str, Any]]:
    """Load a split of Market-1501 as dataset dicts.

    Junk (person -1) is dropped, which leaves 15,913 of the 19,732 gallery files. Distractors
    (person 0) are dropped from training and kept in the gallery.

    Args:
        root: the folder with ``bounding_box_train/``, ``bounding_box_test/`` and ``query/``.
        split: ``train``, ``query`` or ``gallery``.
        with_500k: add the distractors of ``images/`` to the gallery. Every image there counts as
            one, whatever its name, with person 0 and camera 0.

    Returns:
        One dict a crop: those of the split's folder sorted by name, then the 500k.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: a folder is empty or a file name does not parse.
    """
    check_split(split)
    root = Path(root)
    crops = read_market_folder(root, _FOLDERS[split])
    if split == "train":
        crops = [crop for crop in crops if crop.pid != DISTRACTOR_PID]
    if split == "gallery" and with_500k:
        crops += [
            CropFile(f"images/{name}", DISTRACTOR_PID, DISTRACTOR_CAM_ID)
            for name in list_images(root / "images")
        ]
    return build_dataset_dicts(root, crops, split, root / _FOLDERS[split])
