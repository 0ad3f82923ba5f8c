"""Register the built-in crop data sets in detectron2's catalogs.

Expected below the root, which is ``$DETECTRON2_DATASETS`` or ``./datasets``::

    Market-1501-v15.09.15/   drawn-market/    bounding_box_train/, bounding_box_test/, query/
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from reid_heads.data.market1501 import load_market1501


@dataclass(frozen=True)
class CropDataset:
    """A data set of crops with a fixed folder and layout."""

    folders: tuple[str, ...]
    """Where it may be below the root; the first that is there counts."""
    load: Callable[[Path, str], list[dict[str, Any]]]
    protocol: str
    """How its test split is scored."""
    splits: tuple[tuple[str, tuple[str, ...]], ...] = (
        ("train", ("train",)),
        ("test", ("query", "gallery")),
    )
    """Suffix of a registered name to the splits that it loads."""
    num_identities: int | None = None
    """Published number of training identities."""


_MARKET_FOLDERS = ("Market-1501-v15.09.15", "market1501/Market-1501-v15.09.15")

CROP_DATASETS = {
    "market1501": CropDataset(_MARKET_FOLDERS, load_market1501, "market1501", num_identities=751),
    "market1501_500k": CropDataset(
        _MARKET_FOLDERS,
        partial(load_market1501, with_500k=True),
        "market1501",
        (("test", ("query", "gallery")),),
    ),
    "drawn_market": CropDataset(("drawn-market",), load_market1501, "market1501"),
}


def get_datasets_root() -> Path:
    """Return ``$DETECTRON2_DATASETS``, or ``datasets`` in the working folder."""
    return Path(os.environ.get("DETECTRON2_DATASETS", "datasets"))


def register_all_crops(root: str | Path | None = None) -> None:
    """Register all built-in crop data sets; nothing is read before it is asked for.

    A second call with the same root does nothing, with another root it registers anew.

    Args:
        root: the folder that holds the data sets' folders; None for `get_datasets_root`.
    """
    root = get_datasets_root() if root is None else Path(root)
    for prefix, dataset in CROP_DATASETS.items():
        for suffix, splits in dataset.splits:
            name = f"{prefix}_{suffix}"
            if _is_new(name, root):
                DatasetCatalog.register(name, partial(_load, dataset, root, splits))
                metadata = MetadataCatalog.get(name)
                metadata.set(evaluator_type="reid", protocol=dataset.protocol, root=str(root))
                if dataset.num_identities is not None and suffix != "test":
                    metadata.set(num_identities=dataset.num_identities)


def find_folder(dataset: CropDataset, root: Path) -> Path:
    """Return a data set's own folder.

    Args:
        dataset: one of `CROP_DATASETS`.
        root: the folder that holds the data sets' folders.

    Raises:
        FileNotFoundError: there is none of the possible folders.
    """
    for folder in dataset.folders:
        if (root / folder).is_dir():
            return root / folder
    raise FileNotFoundError(
        f"there is no folder {' or '.join(dataset.folders)} in {root}: set DETECTRON2_DATASETS to "
        f"the folder that holds it"
    )


def _load(dataset: CropDataset, root: Path, splits: tuple[str, ...]) -> list[dict[str, Any]]:
    folder = find_folder(dataset, root)
    return [entry for split in splits for entry in dataset.load(folder, split)]


def _is_new(name: str, root: Path) -> bool:
    """Return whether a name is to be registered; one of another root is forgotten first."""
    if name not in DatasetCatalog.list():
        return True
    if MetadataCatalog.get(name).get("root") == str(root):
        return False
    # Neither catalog lets an entry be changed.
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)
    return True
