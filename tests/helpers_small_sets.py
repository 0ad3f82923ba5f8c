"""Write small sets of crops in the layouts on disk of the sets of domain generalization.

The files are empty: loaders read names only.
"""

from pathlib import Path

import numpy as np
import scipy.io


def touch(folder, names):
    """Make empty files."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def make_viper(root, people=7):
    """People 0, 3, 6, ...: the numbers have gaps, as the real ones."""
    for camera, angle in (("cam_a", 45), ("cam_b", 90)):
        touch(Path(root) / camera, [f"{3 * row:03d}_{angle}.bmp" for row in range(people)])
    return Path(root)


def make_prid(root, people_a=203, people_b=205):
    """People 1..200 in both cameras; 201 and up are others in each."""
    for camera, people in (("cam_a", people_a), ("cam_b", people_b)):
        folder = Path(root) / "single_shot" / camera
        touch(folder, [f"person_{pid:04d}.png" for pid in range(1, people + 1)])
    return Path(root)


def make_ilids(root, folder="Persons", people=7):
    """Person n has n + 1 images."""
    names = [f"{pid:04d}{n:03d}.jpg" for pid in range(1, people + 1) for n in range(1, pid + 2)]
    touch(Path(root) / folder, names)
    return Path(root)


GRID_TRAIN = {1: (1, 3), 2: (2, 4)}
"""Partition to its training people of the people 1 to 5; those from 3 on have 1 and 2."""


def make_grid(root, **changes):
    """Five people and three distractors; changes go to the file of the partitions."""
    root = Path(root)
    touch(root / "probe", [f"{pid:04d}_1_25004_107_32_106_{pid}.jpeg" for pid in range(1, 6)])
    gallery = [f"{pid:04d}_5_25023_116_134_128_{pid}.jpeg" for pid in range(1, 6)]
    touch(root / "gallery", [*gallery, *(f"0000_{cam}_250_1_1_1_{cam}.jpeg" for cam in (1, 5, 7))])
    write_grid_partitions(root / "features_and_partitions.mat", **changes)
    return root


def write_grid_partitions(path, trials=10, field="personIdx", people=GRID_TRAIN):
    """Write the file as MATLAB does: a cell of one struct a partition."""
    cell = np.empty((1, trials), dtype=object)
    for row in range(trials):
        pids = people.get(row + 1, people[1])
        cell[0, row] = {
            "probeImIdx": np.array([[2 * pid for pid in pids]], dtype=np.uint16),
            "galleryImIdx": np.array([[2 * pid - 1 for pid in pids]], dtype=np.int32),
            field: np.array([pids], dtype=np.uint16),
        }
    scipy.io.savemat(path, {"trainIdxAll": cell, "features": np.zeros((2, 3))})


def make_cuhk02(root):
    """Pair n of cameras has the people 1..n, two images of each in each camera."""
    for pair in range(1, 6):
        for camera in ("cam1", "cam2"):
            names = [f"{pid:03d}_{n}.png" for pid in range(1, pair + 1) for n in (1, 2)]
            touch(Path(root) / f"P{pair}" / camera, names)
    return Path(root)
