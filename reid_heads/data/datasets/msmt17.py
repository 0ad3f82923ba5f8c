"""MSMT17 (Wei et al., CVPR 2018) in its official layouts: V1, and V2 with blurred faces.

Papers train on the training list alone or together with the validation list, and their numbers
differ by it: the two are splits of their own here.
"""

from pathlib import Path
from typing import Any

from reid_heads.data.datasets.crop_files import CropFile, build_dataset_dicts, check_split
from reid_heads.text_files import read_text

_LISTS = {
    "train": ("list_train.txt",),
    "val": ("list_val.txt",),
    "trainval": ("list_train.txt", "list_val.txt"),
    "query": ("list_query.txt",),
    "gallery": ("list_gallery.txt",),
}

# Folders of the training (and validation) crops and of the test crops.
_FOLDERS = {"V1": ("train", "test"), "V2": ("mask_train_v2", "mask_test_v2")}


def load_msmt17(root: str | Path, split: str) -> list[dict[str, Any]]:
    """Load a split of MSMT17 as dataset dicts.

    The person is the second column of the lists; test persons are numbered from 0 anew.

    Args:
        root: the folder with the lists and with ``train/`` and ``test/`` (V1) or
            ``mask_train_v2/`` and ``mask_test_v2/`` (V2).
        split: ``train``, ``val``, ``trainval``, ``query`` or ``gallery``.

    Returns:
        One dict a crop, in the order of the lists.

    Raises:
        FileNotFoundError: a folder, a list or a listed crop is missing.
        ValueError: a line does not parse, a crop is listed twice, or training has one identity
            only.
    """
    check_split(split, tuple(_LISTS))
    root = Path(root)
    is_test = split in ("query", "gallery")
    folder = _FOLDERS[find_msmt17_version(root)][is_test]
    if not (root / folder).is_dir():
        raise FileNotFoundError(
            f"there is no folder {root / folder}: is MSMT17 unpacked completely?"
        )
    crops = [crop for name in _LISTS[split] for crop in _read_list(root, folder, name)]
    return build_dataset_dicts(root, crops, split, root / " and ".join(_LISTS[split]))


def find_msmt17_version(root: str | Path) -> str:
    """Return ``V1`` or ``V2``, by the folders that are there.

    Raises:
        FileNotFoundError: the folders of neither version are there.
        ValueError: the folders of both are there.
    """
    root = Path(root)
    found = [
        version
        for version, folders in _FOLDERS.items()
        if any((root / folder).is_dir() for folder in folders)
    ]
    if not found:
        raise FileNotFoundError(
            f"{root} has neither train/ and test/ (MSMT17 V1) nor mask_train_v2/ and "
            f"mask_test_v2/ (V2): is the root right?"
        )
    if len(found) > 1:
        raise ValueError(f"{root} has folders of MSMT17 V1 and of V2; keep them in separate roots")
    return found[0]


def _read_list(root: Path, folder: str, name: str) -> list[CropFile]:
    """Read lines as ``0000/0000_000_01_0303morning_0015_0.jpg 0``."""
    path = root / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: is the root right?")
    crops = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            image, pid = line.split()
            # Fields: person, running number, camera, day and time, frame, number in the frame.
            crop = CropFile(f"{folder}/{image}", int(pid), int(Path(image).name.split("_")[2]))
        except (ValueError, IndexError):
            raise ValueError(
                f"{path}, line {number}: expected an image and a person, as "
                f"'0000/0000_000_01_0303morning_0015_0.jpg 0', got {line!r}"
            ) from None
        if not (root / crop.name).is_file():
            raise FileNotFoundError(
                f"{path}, line {number} lists {root / crop.name}: it is missing"
            )
        crops.append(crop)
    return crops
