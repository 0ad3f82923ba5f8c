"""Register the built-in data sets in detectron2's catalogs; importing this does."""

from functools import partial
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog

from person_search.data.catalog import (
    BUILTIN_DATASETS,
    BuiltinDataset,
    get_datasets_root,
    load_builtin,
)
from person_search.data.crops import register_crops


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


register_all()  # a registration import: nothing is read
