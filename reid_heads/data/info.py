"""``python -m reid_heads.data``: count a data set of crops beside its published numbers."""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from reid_heads.data.builtin import CROP_DATASETS, TEST_SPLITS, find_folder, get_datasets_root
from reid_heads.data.counts import Counts, find_differences, format_counts
from reid_heads.data.own_crops import list_own_splits, load_own_crops
from reid_heads.data.regdb import NUM_TRIALS

Load = Callable[[str], list[dict[str, Any]]]


def _counts(images: int, identities: int, cameras: int) -> Counts:
    return {"images": images, "identities": identities, "cameras": cameras}


# Market-1501's gallery counts the distractors' number 0 as an identity. The sums are those of the
# authors, as torchreid prints them too; of the classic protocol only the identities are published.
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
    },
    "market1501_500k": {"query": _MARKET_QUERY, "gallery": {"images": 515913, "identities": 751}},
    "dukemtmc": {
        "train": _counts(16522, 702, 8),
        "query": _counts(2228, 702, 8),
        "gallery": _counts(17661, 1110, 8),
    },
    "msmt17": {
        "train": _counts(30248, 1041, 15),
        "trainval": _counts(32621, 1041, 15),
        "query": _counts(11659, 3060, 15),
        "gallery": _counts(82161, 3060, 15),
    },
    "cuhk03_labeled": {
        "train": _counts(7368, 767, 2),
        "query": _counts(1400, 700, 2),
        "gallery": _counts(5328, 700, 2),
    },
    "cuhk03_detected": {
        "train": _counts(7365, 767, 2),
        "query": _counts(1400, 700, 2),
        "gallery": _counts(5332, 700, 2),
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
        help=f"one of {', '.join(CROP_DATASETS)}; or a folder or a CSV file of your own",
    )
    parser.add_argument(
        "--root",
        type=Path,
        help="the data set's own folder, or the one that holds it; default: $DETECTRON2_DATASETS "
        "or ./datasets",
    )
    args = parser.parse_args(arguments)
    try:
        splits, load = find_splits(args.dataset, args.root)
        counts = {split: count_dicts(load(split)) for split in splits}
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    published = PUBLISHED.get(args.dataset, {})
    print(format_counts(counts, published))
    if published:
        differences = find_differences(counts, published)
        print("\n".join(differences) if differences else "All numbers are the published ones.")
    return 0


def find_splits(dataset: str, root: Path | None) -> tuple[list[str], Load]:
    """Find out which splits a data set has and how one is loaded.

    Args:
        dataset: a built-in name, or a folder or a CSV file of your own crops.
        root: a built-in set's own folder, or the one that holds it; None for the default. For your
            own crops: what their path is relative to.

    Returns:
        The splits, and the function that loads one.

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
        return [*builtin.train_splits, *TEST_SPLITS], partial(builtin.load, folder)
    path = Path(dataset) if root is None else root / dataset
    if not path.exists():
        raise ValueError(
            f"the data set {dataset!r} is unknown; choose one of {', '.join(CROP_DATASETS)}, or "
            f"give a folder or a CSV file"
        )
    splits = list_own_splits(path)
    if not splits:
        raise ValueError(f"{path} holds no crops, neither itself nor in query/ or gallery/")
    return splits, partial(load_own_crops, path)


def count_dicts(dicts: list[dict[str, Any]]) -> Counts:
    """Count images, identities and cameras of dataset dicts."""
    return _counts(
        len(dicts),
        len({entry["person_id"] for entry in dicts}),
        len({entry["cam_id"] for entry in dicts}),
    )
