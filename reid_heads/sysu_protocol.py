"""What the loader and the scorer of SYSU-MM01 (Wu et al., ICCV 2017) share: cameras and draws.

Six cameras: 1, 2, 4 and 5 see visible light, 3 and 6 infrared. Cameras 2 and 3 stand in the same
room. The authors' ``rand_perm_cam.mat`` fixes which images each trial's gallery holds.

Letters: G gallery crops, T trials, N images of one person in one camera.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

VISIBLE_CAMERAS = (1, 2, 4, 5)

INFRARED_CAMERAS = (3, 6)

SEARCH_MODES = {"all": VISIBLE_CAMERAS, "indoor": (1, 2)}
"""The cameras of the gallery in each mode; the probes are those of cameras 3 and 6 in both."""

Permutations = Mapping[tuple[int, int], np.ndarray]
"""Camera and person to (T, N) int64: in each trial the order, counted from 0, in which the person's
images of that camera, sorted by name, enter the gallery. Where there are none, the key is
missing."""

_NUM_CAMERAS = 6
_VARIABLE = "rand_perm_cam"


def read_permutations(path: str | Path) -> Permutations:
    """Read ``rand_perm_cam.mat``: a cell a camera, in it a cell a person, in it (trials, images).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no such file; names the camera and the person where one is to blame.
    """
    path = Path(path)
    cameras = np.ravel(_load_variable(path))
    if cameras.dtype != object or len(cameras) != _NUM_CAMERAS:
        raise ValueError(
            f"{path}: expected {_NUM_CAMERAS} cells in '{_VARIABLE}', one a camera, got "
            f"{len(cameras)} of type {cameras.dtype}"
        )
    permutations = {}
    for camera, people in enumerate(cameras, start=1):
        for person, cell in enumerate(np.ravel(people), start=1):
            if np.size(cell):
                where = f"{path}: camera {camera}, identity {person}"
                permutations[camera, person] = _check_cell(cell, where)
    if len({len(cell) for cell in permutations.values()}) != 1:
        raise ValueError(
            f"{path}: expected the same number of trials for every camera and identity, got "
            f"{sorted({len(cell) for cell in permutations.values()})}"
        )
    return permutations


def _load_variable(path: Path) -> Any:
    # Scoring needs SciPy for nothing else, and starts sooner without.
    from scipy.io import loadmat

    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: give the path of rand_perm_cam.mat")
    try:
        # Not squeezed: a person with one image would look like one trial.
        content = loadmat(str(path), appendmat=False, variable_names=[_VARIABLE])
    except NotImplementedError as error:
        raise ValueError(
            f"{path} is a MATLAB file of version 7.3; expected 4 to 7.2: save it in MATLAB with -v7"
        ) from error
    except Exception as error:  # scipy raises whatever the broken bytes happen to lead to
        raise ValueError(
            f"{path} cannot be read as a MATLAB file of version 4 to 7.2 "
            f"({type(error).__name__}: {error}); download it again"
        ) from error
    if _VARIABLE not in content:
        raise ValueError(f"{path} has no variable '{_VARIABLE}': is it SYSU-MM01's file?")
    return content[_VARIABLE]


def _check_cell(cell: Any, where: str) -> np.ndarray:
    """Return a person's permutations, (trials, images), counted from 0."""
    numbers = np.atleast_1d(cell)
    expected = np.arange(1, numbers.shape[-1] + 1)
    if (
        numbers.ndim != 2
        or numbers.dtype.kind not in "iuf"
        or not (np.sort(numbers, axis=1) == expected).all()
    ):
        raise ValueError(f"{where}: expected a permutation of 1..images a row, one row a trial")
    return numbers.astype(np.int64) - 1


def check_permutations(
    permutations: Permutations, gallery_pids: np.ndarray, gallery_cam_ids: np.ndarray
) -> None:
    """Compare the permutations with the images that there are.

    Persons of the permutations who are not in the gallery are passed over: the official file has
    the training persons too.

    Args:
        permutations: as read from the file.
        gallery_pids: (G,) integer, as numbered on disk.
        gallery_cam_ids: (G,) integer.

    Raises:
        ValueError: if a camera has another number of images of a person than the permutations;
            names the first one.
    """
    found = Counter(zip(gallery_cam_ids.tolist(), gallery_pids.tolist(), strict=True))
    people = sorted(set(gallery_pids.tolist()))
    for key in ((camera, person) for camera in VISIBLE_CAMERAS for person in people):
        expected = permutations[key].shape[1] if key in permutations else 0
        if found[key] != expected:
            raise ValueError(
                f"the permutation file has {expected} images of identity {key[1]} in camera "
                f"{key[0]}, but the gallery {found[key]}: use the file that came with these "
                f"images, and unpack them completely"
            )
