"""SYSU-MM01 (Wu et al., ICCV 2017; IJCV 2020) in its official layout: visible and infrared crops.

The layout, as unpacked from ``SYSU-MM01.zip``::

    cam1/ .. cam6/    0001/0001.jpg: a folder a person; not everybody is seen by every camera
    exp/              train_id, val_id, test_id, each as .txt (one line, "1,2,4,...") or .mat

The authors publish ``rand_perm_cam.mat``, which fixes the galleries of the ten trials, with their
code; it is looked for in ``exp/`` and beside it. Drawn sets come in the same layout.
"""

from pathlib import Path
from typing import Any

import numpy as np

from reid_heads.data.datasets.crop_files import (
    CropFile,
    build_dataset_dicts,
    check_split,
    list_images,
)
from reid_heads.data.datasets.mat_files import read_mat, read_whole_numbers
from reid_heads.data.datasets.modalities import add_modality, check_modalities
from reid_heads.sysu_protocol import (
    INFRARED_CAMERAS,
    VISIBLE_CAMERAS,
    Permutations,
    check_permutations,
    read_permutations,
)
from reid_heads.text_files import read_text

_CAMERAS = tuple(sorted((*VISIBLE_CAMERAS, *INFRARED_CAMERAS)))

# Id lists and cameras of each split.
_SPLITS = {
    "train": (("train",), _CAMERAS),
    "trainval": (("train", "val"), _CAMERAS),
    "query": (("test",), INFRARED_CAMERAS),
    "gallery": (("test",), VISIBLE_CAMERAS),
}

_PERMUTATION_FILE = "rand_perm_cam.mat"


def load_sysu_mm01(root: str | Path, split: str) -> list[dict[str, Any]]:
    """Load a split of SYSU-MM01 as dataset dicts.

    Papers train on ``trainval``. The gallery has all visible images of the test persons: which of
    them a trial ranks is the protocol's matter ("sysu_mm01").

    Args:
        root: the folder with ``cam1/`` .. ``cam6/`` and ``exp/``.
        split: ``train`` (296 persons), ``trainval`` (395), ``query`` or ``gallery`` (96).

    Returns:
        One dict a crop with its ``modality``, by person, camera and file name. Infrared images are
        the thermal ones.

    Raises:
        FileNotFoundError: a camera's folder or a list of persons is missing, or a listed person has
            no folder in any camera.
        ValueError: a list does not parse, a training person is seen in one modality only, or the
            gallery is another than that of the permutation file.
    """
    check_split(split, tuple(_SPLITS))
    root = Path(root)
    names, cameras = _SPLITS[split]
    for camera in cameras:
        if not (root / f"cam{camera}").is_dir():
            kind = "an infrared" if camera in INFRARED_CAMERAS else "a visible-light"
            raise FileNotFoundError(
                f"there is no folder {root / f'cam{camera}'}, which holds the images of {kind} "
                f"camera: is the root right, and SYSU-MM01 unpacked completely?"
            )
    pids = sorted({pid for name in names for pid in _read_ids(root, name)})
    crops = [crop for pid in pids for crop in _list_crops(root, pid, cameras)]
    dicts = add_modality(build_dataset_dicts(root, crops, split, root), INFRARED_CAMERAS)
    if split in ("train", "trainval"):
        check_modalities(dicts)
    if split == "gallery":
        _check_gallery(root, crops)
    return dicts


def find_permutations(root: str | Path) -> Path | None:
    """Return the path of ``rand_perm_cam.mat`` in ``exp/`` or in the root; None without one."""
    for path in (Path(root) / "exp" / _PERMUTATION_FILE, Path(root) / _PERMUTATION_FILE):
        if path.is_file():
            return path
    return None


def load_permutations(root: str | Path) -> Permutations | None:
    """Read the permutation file of a data set; None if it has none.

    Raises:
        ValueError: as `read_permutations`.
    """
    path = find_permutations(root)
    return None if path is None else read_permutations(path)


def _read_ids(root: Path, name: str) -> list[int]:
    path = root / "exp" / f"{name}_id.txt"
    if path.is_file():
        text = read_text(path).replace(",", " ").split()
        if not text or not all(word.isascii() and word.isdigit() for word in text):
            raise ValueError(f"{path}: expected identities as '1,2,4', got {' '.join(text)[:40]!r}")
        return [int(word) for word in text]
    twin = path.with_suffix(".mat")
    if not twin.is_file():
        raise FileNotFoundError(
            f"neither {path} nor {twin.name} beside it is there: is the root right?"
        )
    numbers: list[int] = read_whole_numbers(read_mat(twin, "id"), twin, "id").tolist()
    return numbers


def _list_crops(root: Path, pid: int, cameras: tuple[int, ...]) -> list[CropFile]:
    """List a person's images in some cameras; one that did not see it has no or an empty folder."""
    if not any((root / f"cam{camera}" / f"{pid:04d}").is_dir() for camera in _CAMERAS):
        raise FileNotFoundError(
            f"identity {pid} of the lists in {root / 'exp'} has no folder {pid:04d} in any camera: "
            f"is SYSU-MM01 unpacked completely?"
        )
    crops = []
    for camera in cameras:
        folder = root / f"cam{camera}" / f"{pid:04d}"
        if folder.is_dir() and any(folder.iterdir()):
            name = f"cam{camera}/{pid:04d}"
            crops += [CropFile(f"{name}/{image}", pid, camera) for image in list_images(folder)]
    return crops


def _check_gallery(root: Path, crops: list[CropFile]) -> None:
    permutations = load_permutations(root)
    if permutations is None:
        return
    pids = np.array([crop.pid for crop in crops])
    try:
        check_permutations(permutations, pids, np.array([crop.cam_id for crop in crops]))
    except ValueError as error:
        raise ValueError(f"{find_permutations(root)}: {error}") from None
