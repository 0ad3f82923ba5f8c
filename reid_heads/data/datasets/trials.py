"""The small test sets: random splits with numbers, and folders with one image a person.

Domain generalization tests on ten splits of each set and reports the mean. Where the authors give
no splits, public code draws half of the people at random (torchreid; DualNorm, Jia et al., BMVC
2019; MetaBIN, Choi et al., CVPR 2021), each its own halves. Here split k is drawn with the seed k.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from reid_heads.data.datasets.crop_files import list_images

SMALL_SET_TRIALS = 10
"""Splits of a set, numbered from 1."""


def trial_generator(trial: int) -> np.random.RandomState:
    """Return the random numbers of a split.

    Of NumPy's generators this one promises the same stream in every version.

    Raises:
        ValueError: there is no such split.
    """
    check_trial(trial)
    return np.random.RandomState(trial)


def check_trial(trial: int) -> None:
    """Raise ValueError if there is no such split."""
    if trial not in range(1, SMALL_SET_TRIALS + 1):
        raise ValueError(f"the trial is {trial!r}, expected 1 to {SMALL_SET_TRIALS}")


def draw_half(people: Iterable[int], generator: np.random.RandomState) -> set[int]:
    """Draw half of the people to be tested on, the larger half of an odd number."""
    order: list[int] = generator.permutation(sorted(people)).tolist()
    return set(order[len(order) // 2 :])


def read_single_shots(
    root: Path, folder: str, pattern: re.Pattern[str], example: str
) -> dict[int, str]:
    """Read a folder that has one image of each person.

    Args:
        root: the data set's root.
        folder: of one camera, below the root.
        pattern: matches the beginning of the file names; its group 1 is the person.
        example: a file name, for the error message.

    Returns:
        Person to path below the root, with ``/``, in the order of the file names.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it is empty, a name is in another style, or a person has two images.
    """
    found: dict[int, str] = {}
    for name in list_images(root / folder):
        match = pattern.match(name)
        if match is None:
            raise ValueError(
                f"{root / folder / name}: expected a name as {example}; rename or remove the file"
            )
        pid = int(match.group(1))
        if pid in found:
            raise ValueError(
                f"{root / folder} has two images of person {pid}, {Path(found[pid]).name} and "
                f"{name}; expected one"
            )
        found[pid] = f"{folder}/{name}"
    return found
