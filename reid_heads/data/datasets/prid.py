"""PRID 2011 (Hirzer et al., SCIA 2011), its single-shot version in the official layout.

::

    single_shot/cam_a/person_0001.png    385 people
    single_shot/cam_b/person_0001.png    749 people

The people 1 to 200 are in both cameras; any other number means another person in each.
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

NUM_SHARED = 200
"""People in both cameras; they have the first numbers."""

_FOLDERS = {"query": "single_shot/cam_a", "gallery": "single_shot/cam_b"}
_CAM_IDS = {"query": 1, "gallery": 2}
_NAME = re.compile(r"person_([0-9]+)\.")


def load_prid(root: str | Path, split: str, trial: int = 1) -> list[dict[str, Any]]:
    """Load a test split of PRID 2011 as dataset dicts: 100 queries, 649 gallery images.

    The queries are camera a's images of 100 random people of the 200; the gallery is camera b's of
    the same people and of the 549 whom only camera b has seen. The other 100 people, on whom
    systems for this set train, are in neither.

    Args:
        root: the folder with ``single_shot/``.
        split: ``query`` or ``gallery``.
        trial: 1..10, which random half of the people.

    Returns:
        One dict a person, in the order of the file names.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: a folder is empty, a file name does not parse, one of the 200 people is missing,
            or split or trial is unknown.
    """
    check_split(split, TEST_SPLITS)
    generator = trial_generator(trial)
    root = Path(root)
    shared = range(1, NUM_SHARED + 1)
    images = {}
    for part, folder in _FOLDERS.items():
        images[part] = read_single_shots(root, folder, _NAME, "person_0001.png")
        missing = [pid for pid in shared if pid not in images[part]]
        if missing:
            raise ValueError(
                f"{root / folder} has no image of person {missing[0]}, one of the {NUM_SHARED} in "
                f"both cameras; {len(missing)} are missing: is it unpacked completely?"
            )
    shown = draw_half(shared, generator)
    if split == "gallery":
        shown |= {pid for pid in images["gallery"] if pid > NUM_SHARED}
    crops = [
        CropFile(name, pid, _CAM_IDS[split]) for pid, name in images[split].items() if pid in shown
    ]
    return build_dataset_dicts(root, crops, split, root / _FOLDERS[split])
