"""``python -m reid_heads.data``: count a data set of crops beside its published numbers."""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from reid_heads.data.catalog import ALL_SPLIT, CROP_DATASETS, find_folder
from reid_heads.data.counts import Counts, find_differences, format_counts
from reid_heads.data.datasets.own_crops import list_own_splits, load_own_crops
from reid_heads.data.datasets.regdb import NUM_TRIALS
from reid_heads.data.face_catalog import FACE_DATASETS
from reid_heads.listed_files import get_datasets_root
from reid_heads.trust import add_trust_argument, trusted_files

NAMES = (*CROP_DATASETS, *FACE_DATASETS)
Load = Callable[..., list[dict[str, Any]]]


def _counts(images: int, identities: int, cameras: int) -> Counts:
    return {"images": images, "identities": identities, "cameras": cameras}


# Market-1501's gallery counts the distractors' number 0 as an identity. The sums are those of the
# authors, as torchreid prints them too; of the classic protocol only the identities are published.
# "all" is the sum of the others without Market-1501's distractors. Of CUHK-SYSU the sum is
# torchreid's. Of the small sets it is one split; GRID's gallery counts the number 0 as well.
_MARKET_QUERY = _counts(3368, 750, 6)
_CLASSIC = {
    "train": {"identities": 1367, "cameras": 2},
    "query": {"identities": 100, "cameras": 2},
    "gallery": {"identities": 100, "cameras": 2},
}
# The images of SYSU-MM01 are those that its authors' permutation file counts: 22,258 visible and
# 11,909 infrared ones in trainval.
_REGDB = {
    "train": _counts(4120, 206, 2),
    "query": _counts(2060, 206, 1),
    "gallery": _counts(2060, 206, 1),
}
PUBLISHED: dict[str, dict[str, Counts]] = {
    "market1501": {
        "train": _counts(12936, 751, 6),
        "query": _MARKET_QUERY,
        "gallery": _counts(15913, 751, 6),
        "all": _counts(29419, 1501, 6),
    },
    "market1501_500k": {"query": _MARKET_QUERY, "gallery": {"images": 515913, "identities": 751}},
    "dukemtmc": {
        "train": _counts(16522, 702, 8),
        "query": _counts(2228, 702, 8),
        "gallery": _counts(17661, 1110, 8),
        "all": _counts(36411, 1812, 8),
    },
    "msmt17": {
        "train": _counts(30248, 1041, 15),
        "trainval": _counts(32621, 1041, 15),
        "query": _counts(11659, 3060, 15),
        "gallery": _counts(82161, 3060, 15),
        "all": _counts(126441, 4101, 15),
    },
    "cuhk03_labeled": {
        "train": _counts(7368, 767, 2),
        "query": _counts(1400, 700, 2),
        "gallery": _counts(5328, 700, 2),
        "all": _counts(14096, 1467, 2),
    },
    "cuhk03_detected": {
        "train": _counts(7365, 767, 2),
        "query": _counts(1400, 700, 2),
        "gallery": _counts(5332, 700, 2),
        "all": _counts(14097, 1467, 2),
    },
    "cuhk03_classic_labeled": _CLASSIC,
    "cuhk03_classic_detected": _CLASSIC,
    "sysu_mm01": {
        "train": _counts(30213, 296, 6),
        "trainval": _counts(34167, 395, 6),
        "query": _counts(3803, 96, 2),
        "gallery": _counts(6775, 96, 4),
    },
    **{f"regdb_{trial}": _REGDB for trial in range(1, NUM_TRIALS + 1)},
    "cuhk02": {"all": _counts(7264, 1816, 10)},
    "cuhk_sysu_crops": {"all": {"images": 34574, "identities": 11934}},
    "viper": {"query": _counts(316, 316, 1), "gallery": _counts(316, 316, 1)},
    "grid": {
        "query": {"images": 125, "identities": 125},
        "gallery": {"images": 900, "identities": 126},
    },
    "prid": {"query": _counts(100, 100, 1), "gallery": _counts(649, 649, 1)},
    "ilids": {
        "query": {"images": 60, "identities": 60},
        "gallery": {"images": 60, "identities": 60},
    },
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the counts of a data set beside the published ones, and name what differs.

    Args:
        arguments: the command line without the program; None for the process's own.

    Returns:
        The exit status: 0, also where the numbers differ; 2 if the data set cannot be loaded.
    """
    parser = argparse.ArgumentParser(
        prog="python -m reid_heads.data",
        description="Count the images, identities and cameras of a data set of crops, and compare "
        "them with the published numbers.",
    )
    parser.add_argument(
        "--dataset",
        required=True,
        help=f"one of {', '.join(NAMES)}; or a folder or a CSV file of your own",
    )
    parser.add_argument(
        "--root",
        type=Path,
        help="the data set's own folder, or the one that holds it; default: $DETECTRON2_DATASETS "
        "or ./datasets",
    )
    add_trust_argument(parser)
    args = parser.parse_args(arguments)
    try:
        with trusted_files(args.trust_this_file):
            splits, load = find_splits(args.dataset, args.root)
            counts = {split: count_dicts(load(split)) for split in splits}
            trials = count_trials(args.dataset, load)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    published = PUBLISHED.get(args.dataset, {})
    print(format_counts(counts, published))
    if published:
        differences = find_differences(counts, published)
        print("\n".join(differences) if differences else "All numbers are the published ones.")
    if trials:
        print(compare_trials(trials))
    return 0


def find_splits(dataset: str, root: Path | None) -> tuple[list[str], Load]:
    """Find out which splits a data set has and how one is loaded.

    Args:
        dataset: a built-in name, or a folder or a CSV file of your own crops.
        root: a built-in set's own folder, or the one that holds it; None for the default. For your
            own crops: what their path is relative to.

    Returns:
        The splits, and the function that loads one; where there are several test sets, the first,
        or another by the keyword ``trial``.

    Raises:
        FileNotFoundError: files of the data set are missing.
        ValueError: the data set is unknown or not as it should be.
    """
    if dataset in CROP_DATASETS:
        builtin = CROP_DATASETS[dataset]
        if root is None:
            folder = find_folder(builtin, get_datasets_root())
        elif any((root / name).is_dir() for name in builtin.folders):
            folder = find_folder(builtin, root)
        elif root.is_dir():
            folder = root
        else:
            raise FileNotFoundError(f"there is no folder {root}")
        splits = [*builtin.train_splits, *builtin.test_splits]
        # The sum stands behind its parts.
        splits.sort(key=lambda split: split == ALL_SPLIT)
        return splits, partial(builtin.load_split, folder)
    if dataset in FACE_DATASETS:
        faces = FACE_DATASETS[dataset]
        holder = get_datasets_root() if root is None else root
        is_own = root is not None and not any((root / name).is_dir() for name in faces.folders)
        folder = holder if is_own else faces.find_folder(holder)
        return list(faces.splits), partial(faces.load_split, folder)
    path = Path(dataset) if root is None else root / dataset
    if not path.exists():
        raise ValueError(
            f"the data set {dataset!r} is unknown; choose one of {', '.join(NAMES)}, or "
            f"give a folder or a CSV file"
        )
    splits = list_own_splits(path)
    if not splits:
        raise ValueError(f"{path} holds no crops, neither itself nor in query/ or gallery/")
    return splits, partial(load_own_crops, path)


def count_trials(dataset: str, load: Load) -> list[dict[str, Counts]]:
    """Count each of the test sets of a data set that has several; [] for any other.

    Args:
        dataset: as for `find_splits`.
        load: what `find_splits` returned.

    Returns:
        For each test set, in order, the counts by split.
    """
    if dataset not in CROP_DATASETS:
        return []
    builtin = CROP_DATASETS[dataset]
    return [
        {split: count_dicts(load(split, trial=trial)) for split in builtin.test_splits}
        for trial in range(1, builtin.trials + 1)
    ]


def compare_trials(trials: list[dict[str, Counts]]) -> str:
    """Say that all test sets have the counts of the first, or name what differs, a line each.

    Cameras are passed over: the crops of a random split may come from any of them.
    """
    differences = [
        f"DIFFERS: {split} {row} of split {number}: found {counts[split][row]:,}, in split 1 "
        f"{first[row]:,}"
        for number, counts in enumerate(trials, start=1)
        for split, first in trials[0].items()
        for row in ("images", "identities")
        if counts[split][row] != first[row]
    ]
    same = f"This is split 1 of {len(trials)}; the others have as many images and identities."
    return "\n".join(differences) or same


def count_dicts(dicts: list[dict[str, Any]]) -> Counts:
    """Count images, identities and cameras of dataset dicts."""
    return _counts(
        len(dicts),
        len({entry["person_id"] for entry in dicts}),
        len({entry["cam_id"] for entry in dicts} - {None}),
    )
