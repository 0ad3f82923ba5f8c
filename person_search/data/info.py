"""``person-search info --dataset``: count a data set and compare it with the published numbers."""

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np

from person_search.data.catalog import BUILTIN_DATASETS, get_datasets_root, load_builtin
from person_search.data.coco_person import load_coco_person
from reid_heads.data.counts import Counts, find_differences, format_counts
from reid_heads.labels import UNLABELED_PID

# SeqNet pull request 7 counts CUHK-SYSU, the PRW numbers are those of its paper and of
# DeepAlchemist's loader. They give no labelled boxes for the other splits.
PUBLISHED: dict[str, dict[str, Counts]] = {
    "cuhk_sysu": {
        "train": {"images": 11206, "boxes": 55272, "identities": 5532},
        "test": {"images": 6978, "boxes": 40871, "identities": 2900, "queries": 2900},
    },
    "prw": {
        "train": {"images": 5704, "boxes": 18048, "labelled boxes": 14907, "identities": 483},
        "test": {"images": 6112, "boxes": 25062, "identities": 450, "queries": 2057},
    },
}


def run(args: argparse.Namespace) -> int:
    """Print a data set's counts beside the published ones, its long tails, and what differs.

    Args:
        args: with ``dataset`` and ``root``.

    Returns:
        The exit status: 0, also where the numbers differ.

    Raises:
        FileNotFoundError: files of the data set are missing.
        ValueError: the data set is unknown or not as it should be.
    """
    splits = load_splits(args.dataset, args.root)
    counts = {split: count_dicts(dicts) for split, dicts in splits.items()}
    published = PUBLISHED.get(args.dataset, {})
    print(format_counts(counts, published))
    for split, dicts in splits.items():
        print(f"{split}: {describe_tail(dicts)}")
    if published:
        differences = find_differences(counts, published)
        print("\n".join(differences) if differences else "All numbers are the published ones.")
    return 0


def load_splits(dataset: str, root: Path | None) -> dict[str, list[dict[str, Any]]]:
    """Load every split of a data set.

    Args:
        dataset: a built-in name or a COCO JSON file, of which all images count as one split,
            ``all``.
        root: the data set's own folder, or the JSON file's image folder; None for the default.

    Returns:
        Split to dataset dicts.

    Raises:
        FileNotFoundError: files of the data set are missing.
        ValueError: the data set is unknown or not as it should be.
    """
    if dataset in BUILTIN_DATASETS:
        builtin = BUILTIN_DATASETS[dataset]
        folder = get_datasets_root() / builtin.folder if root is None else root
        return {split: load_builtin(builtin, folder, split) for split in ("train", "test")}
    path = Path(dataset)
    if path.suffix != ".json":
        raise ValueError(
            f"the data set {dataset!r} is unknown; choose one of {', '.join(BUILTIN_DATASETS)}, "
            f"or give a .json file"
        )
    return {"all": load_coco_person(path, path.parent if root is None else root, "test")}


def count_dicts(dicts: list[dict[str, Any]]) -> Counts:
    """Count images, boxes, labelled boxes, identities and queries of dataset dicts."""
    pids = _list_pids(dicts)
    labelled = [pid for pid in pids if pid != UNLABELED_PID]
    return {
        "images": len(dicts),
        "boxes": len(pids),
        "labelled boxes": len(labelled),
        "identities": len(set(labelled)),
        "queries": sum(len(entry.get("queries", [])) for entry in dicts),
    }


def describe_tail(dicts: list[dict[str, Any]]) -> str:
    """Say in a line how unequally the labelled boxes of dataset dicts fall to identities."""
    labelled = [pid for pid in _list_pids(dicts) if pid != UNLABELED_PID]
    if not labelled:
        return "nobody has an identity"
    counts = np.sort(np.unique(labelled, return_counts=True)[1])
    tenth = math.ceil(len(counts) / 10)
    return (
        f"{counts[0]} to {counts[-1]} boxes per identity, median {np.median(counts):g}; the most "
        f"frequent tenth has {counts[-tenth:].sum() / len(labelled):.1%} of the labelled boxes"
    )


def _list_pids(dicts: list[dict[str, Any]]) -> list[int]:
    return [person["person_id"] for entry in dicts for person in entry["annotations"]]
