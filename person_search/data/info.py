"""``person-search info``: count a data set and compare it with the published numbers."""

import argparse
from pathlib import Path
from typing import Any

from person_search.data.builtin import BUILTIN_DATASETS, get_datasets_root, load_builtin
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search info``."""
    parser.add_argument(
        "--dataset",
        required=True,
        help=f"one of {', '.join(BUILTIN_DATASETS)}, or a COCO JSON file with person ids",
    )
    parser.add_argument(
        "--root",
        type=Path,
        help="the data set's own folder; default: below $DETECTRON2_DATASETS or ./datasets. "
        "For a JSON file: the folder of its images; default: the file's own folder",
    )


def run(args: argparse.Namespace) -> int:
    """Print the counts of a data set beside the published ones, and name what differs.

    Args:
        args: with ``dataset`` and ``root``, as `add_arguments` gives them.

    Returns:
        The exit status: 0, also where the numbers differ.

    Raises:
        FileNotFoundError: files of the data set are missing.
        ValueError: the data set is unknown or not as it should be.
    """
    counts = count_dataset(args.dataset, args.root)
    published = PUBLISHED.get(args.dataset, {})
    print(format_counts(counts, published))
    if published:
        differences = find_differences(counts, published)
        print("\n".join(differences) if differences else "All numbers are the published ones.")
    return 0


def count_dataset(dataset: str, root: Path | None) -> dict[str, Counts]:
    """Count every split of a data set.

    Args:
        dataset: a built-in name or a COCO JSON file, of which all images count as one split,
            ``all``.
        root: the data set's own folder, or the JSON file's image folder; None for the default.

    Returns:
        Split to counts.

    Raises:
        FileNotFoundError: files of the data set are missing.
        ValueError: the data set is unknown or not as it should be.
    """
    if dataset in BUILTIN_DATASETS:
        builtin = BUILTIN_DATASETS[dataset]
        folder = get_datasets_root() / builtin.folder if root is None else root
        return {
            split: count_dicts(load_builtin(builtin, folder, split)) for split in ("train", "test")
        }
    path = Path(dataset)
    if path.suffix != ".json":
        raise ValueError(
            f"the data set {dataset!r} is unknown; choose one of {', '.join(BUILTIN_DATASETS)}, "
            f"or give a .json file"
        )
    return {
        "all": count_dicts(load_coco_person(path, path.parent if root is None else root, "test"))
    }


def count_dicts(dicts: list[dict[str, Any]]) -> Counts:
    """Count images, boxes, labelled boxes, identities and queries of dataset dicts."""
    pids = [person["person_id"] for entry in dicts for person in entry["annotations"]]
    labelled = [pid for pid in pids if pid != UNLABELED_PID]
    return {
        "images": len(dicts),
        "boxes": len(pids),
        "labelled boxes": len(labelled),
        "identities": len(set(labelled)),
        "queries": sum(len(entry.get("queries", [])) for entry in dicts),
    }
