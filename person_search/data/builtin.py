"""Register the built-in data sets in detectron2's catalogs.

Expected below the root, which is ``$DETECTRON2_DATASETS`` or ``./datasets``::

    CUHK-SYSU/   drawn-cuhk/      Image/SSM/*.jpg, annotation/…
    PRW/         drawn-prw/       frames/*.jpg, annotations/*.jpg.mat, …
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from person_search.data.crops import register_crops
from person_search.data.cuhk_sysu import load_cuhk_sysu, load_cuhk_sysu_protocol
from person_search.data.protocol import SearchProtocol
from person_search.data.prw import load_prw, load_prw_protocol


@dataclass(frozen=True)
class BuiltinDataset:
    """A data set with a fixed folder and layout."""

    folder: str
    layout: str
    """``cuhk_sysu`` or ``prw``: says which options its protocol has."""
    load: Callable[[Path, str], list[dict[str, Any]]]
    load_protocol: Callable[..., SearchProtocol]
    num_identities: dict[str, int]
    """Published number of identities of each split; empty for drawn sets."""


BUILTIN_DATASETS = {
    "cuhk_sysu": BuiltinDataset(
        "CUHK-SYSU",
        "cuhk_sysu",
        load_cuhk_sysu,
        load_cuhk_sysu_protocol,
        {"train": 5532, "test": 2900},
    ),
    "prw": BuiltinDataset("PRW", "prw", load_prw, load_prw_protocol, {"train": 483, "test": 450}),
    "drawn_cuhk": BuiltinDataset(
        "drawn-cuhk", "cuhk_sysu", load_cuhk_sysu, load_cuhk_sysu_protocol, {}
    ),
    "drawn_prw": BuiltinDataset("drawn-prw", "prw", load_prw, load_prw_protocol, {}),
}


def get_datasets_root() -> Path:
    """Return ``$DETECTRON2_DATASETS``, or ``datasets`` in the working folder."""
    return Path(os.environ.get("DETECTRON2_DATASETS", "datasets"))


def register_all(root: str | Path | None = None) -> None:
    """Register all built-in data sets; nothing is read before it is asked for.

    Of each training set the labelled boxes are registered too, as crops: ``prw_train_crops``.

    A second call with the same root does nothing, with another root it registers anew.

    Args:
        root: the folder that holds the data sets' folders; None for `get_datasets_root`.
    """
    root = get_datasets_root() if root is None else Path(root)
    for prefix, dataset in BUILTIN_DATASETS.items():
        for split in ("train", "test"):
            _register(f"{prefix}_{split}", dataset, root / dataset.folder, split)


def load_builtin(dataset: BuiltinDataset, folder: Path, split: str) -> list[dict[str, Any]]:
    """Load one split, after checking that the data set is there at all.

    Args:
        dataset: one of `BUILTIN_DATASETS`.
        folder: the data set's own folder.
        split: ``train`` or ``test``.

    Raises:
        FileNotFoundError: there is no such folder, or files in it are missing.
        ValueError: an annotation is not as it should be.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder {folder}: set DETECTRON2_DATASETS to the folder that holds "
            f"{dataset.folder}/, or name the data set's own folder by --root"
        )
    return dataset.load(folder, split)


def _register(name: str, dataset: BuiltinDataset, folder: Path, split: str) -> None:
    if name in DatasetCatalog.list():
        if MetadataCatalog.get(name).get("root") == str(folder):
            return
        # Neither catalog lets an entry be changed.
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, partial(load_builtin, dataset, folder, split))
    metadata = MetadataCatalog.get(name)
    metadata.set(
        thing_classes=["person"],
        evaluator_type="person_search",
        layout=dataset.layout,
        root=str(folder),
    )
    if split == "test":
        metadata.set(load_protocol=partial(dataset.load_protocol, folder, title=dataset.folder))
    if split in dataset.num_identities:
        metadata.set(num_identities=dataset.num_identities[split])
    if split == "train":
        register_crops(name)
