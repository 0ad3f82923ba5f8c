"""Write tiny visible-thermal sets in the layouts of SYSU-MM01 and RegDB."""

from pathlib import Path

import numpy as np
import scipy.io
from helpers_crop_layouts import write_crops

# Camera and person to the number of images. Persons 1, 2 train, 4 validates, 3, 5 test; nobody is
# everywhere, and 5 was seen by camera 2 alone of the indoor ones.
SYSU_IMAGES = {
    **{(1, 1): 2, (3, 1): 1, (2, 2): 1, (5, 2): 2, (6, 2): 3},
    **{(4, 4): 1, (3, 4): 2},
    **{(1, 3): 3, (4, 3): 2, (6, 3): 2},
    **{(2, 5): 4, (5, 5): 1, (3, 5): 1, (6, 5): 1},
}
SYSU_IDS = {"train": (2, 1), "val": (4,), "test": (5, 3)}


def make_sysu(root, images=SYSU_IMAGES, ids=SYSU_IDS, trials=10):
    """Write crops, the id lists as text and ``exp/rand_perm_cam.mat``."""
    root = Path(root)
    for camera in range(1, 7):
        (root / f"cam{camera}").mkdir(parents=True)
    for (camera, person), count in images.items():
        names = [f"{number:04d}.jpg" for number in range(1, count + 1)]
        write_crops(root / f"cam{camera}" / f"{person:04d}", names)
    (root / "exp").mkdir()
    for name, people in ids.items():
        (root / "exp" / f"{name}_id.txt").write_text(",".join(map(str, people)))
    write_permutations(root / "exp" / "rand_perm_cam.mat", images, trials)
    return root


def draw_permutations(images, trials=10, seed=0):
    """Camera and person to (trials, images), counted from 1."""
    rng = np.random.default_rng(seed)
    return {
        key: np.stack([rng.permutation(count) + 1 for _ in range(trials)])
        for key, count in images.items()
    }


def write_permutations(path, images=SYSU_IMAGES, trials=10, **changes):
    """Write cells in cells as the authors' file has them; changes replace a camera's, ``cam3=..``.

    Returns what was written, counted from 1.
    """
    drawn = draw_permutations(images, trials)
    number = max(person for _, person in images)
    cameras = np.empty((6, 1), dtype=object)
    for camera in range(1, 7):
        people = np.empty((number, 1), dtype=object)
        for person in range(1, number + 1):
            empty = np.zeros((trials, 0), dtype=np.uint8)
            people[person - 1, 0] = drawn.get((camera, person), empty).astype(np.uint8)
        cameras[camera - 1, 0] = changes.get(f"cam{camera}", people)
    scipy.io.savemat(path, {"rand_perm_cam": cameras})
    return drawn


REGDB_PEOPLE = {"train": (7, 2), "test": (11, 3, 5)}


def make_regdb(root, trials=(1, 2), people=REGDB_PEOPLE, images=2):
    """Write crops and lists; in every trial the persons change their numbers."""
    root = Path(root)
    (root / "idx").mkdir(parents=True)
    for folder, letter in (("Visible", "v"), ("Thermal", "t")):
        for part, persons in people.items():
            names = {
                person: [f"{folder}/{person}/back_{letter}_{n}_{person}.bmp" for n in range(images)]
                for person in persons
            }
            write_crops(root, [name for of_person in names.values() for name in of_person])
            for trial in trials:
                order = np.roll(persons, trial)
                lines = [
                    f"{n} {label}" for label, person in enumerate(order) for n in names[person]
                ]
                path = root / "idx" / f"{part}_{folder.lower()}_{trial}.txt"
                path.write_text("\n".join(lines) + "\n")
    return root
