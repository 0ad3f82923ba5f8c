"""Write a drawn world in the layout of SYSU-MM01: crops of two modalities, named by camera.

Layout (research notes, section 6): ``cam{1..6}/{id:04d}/{image:04d}.jpg``, cameras 3 and 6 near
infrared; ``exp/{train,val,test,available}_id`` as ``.txt`` (one line, comma separated) and ``.mat``
(key ``id``); and ``exp/rand_perm_cam.mat``, which fixes the gallery of the ten trials: for each
camera and identity ten permutations of that identity's images, from 1, empty where there are none.
"""

import logging
from functools import partial
from pathlib import Path

import numpy as np
from scipy.io import savemat

from person_search.synthetic.modality_shots import Named, write_shots
from person_search.synthetic.modality_spec import SYSU_CAMERAS, SysuSpec
from person_search.synthetic.modality_world import Shot, SysuWorld
from person_search.synthetic.output_folder import is_already_drawn, staged_folder
from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.world_spec import WorldSpec

logger = logging.getLogger(__name__)

LAYOUT = "SYSU-MM01"
TRIALS = 10


def write_sysu_mm01(spec: WorldSpec, root: str | Path, processes: int = 1) -> Path:
    """Draw a world into ``root``; do nothing when it is there already.

    Args:
        spec: The world, a ``SysuSpec``.
        root: Folder to make; the one that then contains ``cam1/`` and ``exp/``.
        processes: How many to draw with.

    Returns:
        ``root``.

    Raises:
        TypeError: ``spec`` is no ``SysuSpec``.
        ValueError: It has more identities than folder names have digits.
        FileExistsError: ``root`` holds something else.
        OSError: It cannot be written; nothing half-written stays.
    """
    if not isinstance(spec, SysuSpec):
        raise TypeError(
            f"SYSU-MM01's layout needs a SysuSpec, got the {type(spec).__name__} {spec.name}"
        )
    numbers = person_numbers(spec)
    if max(numbers) > 9999:
        raise ValueError(
            f"SYSU-MM01's folder names have four digits; {len(numbers)} identities need more"
        )
    root = Path(root)
    if is_already_drawn(spec, LAYOUT, root):
        logger.info("%s is already drawn in %s", spec.name, root)
        return root
    with staged_folder(root) as staging:
        shots = SysuWorld(spec).shots
        files: list[Named] = [(_path_of(shot, numbers), shot) for shot in shots]
        make_world = partial(SysuWorld, spec)
        write_shots(spec, make_world, files, staging, LAYOUT, None, processes)
        _write_protocol(spec, list(shots), numbers, staging / "exp")
    return root


def person_numbers(spec: SysuSpec) -> list[int]:
    """Return for each identity of the world its number in folder names, from 1.

    As in the real set, the splits are mixed in one row of numbers, some of which are nobody's.
    """
    total = spec.train_identities + spec.test_identities
    rng = make_rng(spec.seed, Stream.PROTOCOL, 0)
    return [int(n) + 1 for n in rng.permutation(total + max(1, total // 20))[:total]]


def _path_of(shot: Shot, numbers: list[int]) -> str:
    return f"cam{shot.camera + 1}/{numbers[shot.identity]:04d}/{shot.number:04d}.jpg"


def split_numbers(spec: SysuSpec) -> dict[str, list[int]]:
    """Return the sorted numbers of ``train``, ``val``, ``test`` and ``available`` people."""
    numbers = person_numbers(spec)
    train, test = numbers[: spec.train_identities], numbers[spec.train_identities :]
    # The identities are alike: the first ones serve for validation as well as any.
    val = round(spec.val_share * spec.train_identities)
    splits = {"train": train[val:], "val": train[:val], "test": test, "available": numbers}
    return {name: sorted(members) for name, members in splits.items()}


def _write_protocol(spec: SysuSpec, shots: list[Shot], numbers: list[int], folder: Path) -> None:
    folder.mkdir()
    for split, members in split_numbers(spec).items():
        text = ",".join(str(number) for number in members)
        (folder / f"{split}_id.txt").write_text(text + "\n", encoding="utf-8")
        savemat(folder / f"{split}_id.mat", {"id": np.array([members], np.uint16)})
    savemat(folder / "rand_perm_cam.mat", {"rand_perm_cam": _permutations(spec, shots, numbers)})


def _permutations(spec: SysuSpec, shots: list[Shot], numbers: list[int]) -> np.ndarray:
    """Return the (6, 1) cell of (largest number, 1) cells of (10, images) uint8."""
    counts = np.zeros((SYSU_CAMERAS, max(numbers)), np.int64)
    for shot in shots:
        counts[shot.camera, numbers[shot.identity] - 1] += 1
    cell = np.empty((SYSU_CAMERAS, 1), object)
    for camera, row in enumerate(counts):
        people = np.empty((len(row), 1), object)
        for k, count in enumerate(row):
            rng = make_rng(spec.seed, Stream.PROTOCOL, 1, camera, k)
            trials = [rng.permutation(int(count)) + 1 for _ in range(TRIALS)]
            people[k, 0] = np.array(trials, np.uint8).reshape(TRIALS, int(count))
        cell[camera, 0] = people
    return cell
