"""CUHK03 (Li et al., CVPR 2014): the new protocol in both its layouts, and the classic one.

The layouts, either of which does for the new protocol (Zhong et al., CVPR 2017)::

    cuhk03_release/  cuhk-03.mat, cuhk03_new_protocol_config_{detected,labeled}.mat
    cuhk03-np/       {detected,labeled}/{bounding_box_train,bounding_box_test,query}/0001_c1_1.png

The classic protocol needs the release. Its images are written to ``images_labeled/`` and
``images_detected/`` in the same folder when they are first asked for.

Boxes are "labeled" (drawn by hand) or "detected" (by a part model); papers report either. Cameras
are numbered 1 and 2 within their pair.
"""

import re
from pathlib import Path
from typing import Any

from reid_heads.data.datasets.crop_files import (
    CropFile,
    build_dataset_dicts,
    check_split,
    list_images,
    read_market_folder,
)
from reid_heads.data.datasets.cuhk03_release import extract_images, read_test_sets
from reid_heads.data.datasets.market1501 import MARKET_FOLDERS
from reid_heads.data.datasets.mat_files import read_mat, read_strings, read_whole_numbers

_RELEASE_FILE = "cuhk-03.mat"
_RELEASE_NAME = re.compile(r"([1-9])_([0-9]{3})_([12])_[0-9]{2}\.png")


def load_cuhk03(root: str | Path, split: str, boxes: str = "labeled") -> list[dict[str, Any]]:
    """Load a split of the new protocol (767 training, 700 test persons) as dataset dicts.

    Args:
        root: ``cuhk03_release`` or ``cuhk03-np``. In a release, the ``…config….mat`` files may also
            lie beside the folder.
        split: ``train``, ``query`` or ``gallery``.
        boxes: ``labeled`` or ``detected``.

    Returns:
        One dict a crop, in the order of the official lists or of the file names.

    Raises:
        FileNotFoundError: a file or folder is missing.
        ValueError: a file is not as it should be, or training has one identity only.
        OSError: the images of a release cannot be written.
    """
    check_split(split)
    _check_boxes(boxes)
    root = Path(root)
    if (root / boxes).is_dir():
        folder = f"{boxes}/{MARKET_FOLDERS[split]}"
        return build_dataset_dicts(root, read_market_folder(root, folder), split, root / folder)
    _check_release(root, boxes)
    config = _find_config(root, boxes)
    images = _list_release_images(root, boxes)
    crops = _read_new_protocol(config, split, f"images_{boxes}", images)
    return build_dataset_dicts(root, crops, split, config)


def load_cuhk03_classic(
    root: str | Path, split: str, boxes: str = "labeled", split_number: int = 0
) -> list[dict[str, Any]]:
    """Load a split of the classic protocol (1,367 training, 100 test persons) as dataset dicts.

    All images of the test persons are queries, and the same images are the gallery, as in torchreid
    and fast-reid: a query is searched in both directions between the two cameras, and its protocol
    "cuhk03_classic" drops what its own camera saw of it and draws one gallery image a person. The
    authors' own evaluation searches images of the first camera among those of the second. Papers
    average over the 20 test sets.

    Args:
        root: ``cuhk03_release``.
        split: ``train``, ``query`` or ``gallery``.
        boxes: ``labeled`` or ``detected``.
        split_number: 0..19, one of the official test sets.

    Returns:
        One dict a crop, sorted by file name. Persons keep the number 1000 x camera pair + person in
        it. Queries and gallery have the same ``image_id``.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not as it should be, or there is no such test set.
        OSError: the images cannot be written.
    """
    check_split(split)
    _check_boxes(boxes)
    root = Path(root)
    _check_release(root, boxes)
    test_sets = read_test_sets(root / _RELEASE_FILE)
    if not 0 <= split_number < len(test_sets):
        raise ValueError(
            f"split_number is {split_number}, but {root / _RELEASE_FILE} has the test sets 0 to "
            f"{len(test_sets) - 1}"
        )
    crops = []
    for name in _list_release_images(root, boxes):
        match = _RELEASE_NAME.fullmatch(name)
        if match is None:
            raise ValueError(
                f"{root / f'images_{boxes}' / name}: expected a name as 1_001_1_01.png; remove the "
                f"file, or the folder, which is then extracted anew"
            )
        pair, person, camera = (int(group) for group in match.groups())
        if ((pair, person) in test_sets[split_number]) == (split != "train"):
            crops.append(CropFile(f"images_{boxes}/{name}", 1000 * pair + person, camera))
    return build_dataset_dicts(root, crops, split, root / f"images_{boxes}")


def _check_boxes(boxes: str) -> None:
    if boxes not in ("labeled", "detected"):
        raise ValueError(f"boxes are 'labeled' or 'detected', not {boxes!r}")


def _check_release(root: Path, boxes: str) -> None:
    if not (root / _RELEASE_FILE).is_file() and not (root / f"images_{boxes}").is_dir():
        raise FileNotFoundError(
            f"{root} has neither {_RELEASE_FILE} (CUHK03's release) nor {boxes}/ (CUHK03-NP): is "
            f"the root right?"
        )


def _find_config(root: Path, boxes: str) -> Path:
    name = f"cuhk03_new_protocol_config_{boxes}.mat"
    for path in (root / name, root.parent / name):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{root / name} is missing: it comes with the code of Zhong et al. "
        f"(github.com/zhunzhong07/person-re-ranking, evaluation/data/CUHK03)"
    )


def _list_release_images(root: Path, boxes: str) -> list[str]:
    folder = root / f"images_{boxes}"
    extract_images(root / _RELEASE_FILE, folder, boxes)
    return list_images(folder)


def _read_new_protocol(config: Path, split: str, folder: str, images: list[str]) -> list[CropFile]:
    """Read the crops of a split from the official lists, which count from 1."""
    names = read_strings(read_mat(config, "filelist"), config)
    pids = read_whole_numbers(read_mat(config, "labels"), config, "labels")
    if len(pids) != len(names):
        raise ValueError(f"{config}: 'filelist' has {len(names)} names, but 'labels' {len(pids)}")
    key = f"{split}_idx"
    rows = read_whole_numbers(read_mat(config, key), config, key)
    outside = rows[(rows < 1) | (rows > len(names))]
    if len(outside):
        raise ValueError(f"{config}: {key!r} has {outside[0]}, expected 1 to {len(names)}")
    present = set(images)
    crops = []
    for row in rows - 1:
        name = names[row]
        match = _RELEASE_NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"{config}: expected names as 1_001_1_01.png, got {name!r}")
        if name not in present:
            raise FileNotFoundError(
                f"{config} lists {name}, but {folder}/{name} is missing: remove the folder, it is "
                f"then extracted anew"
            )
        crops.append(CropFile(f"{folder}/{name}", int(pids[row]), int(match.group(3))))
    return crops
