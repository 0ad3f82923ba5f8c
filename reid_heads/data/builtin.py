"""Register the built-in crop data sets, and your own, in detectron2's catalogs.

They lie below the root, ``$DETECTRON2_DATASETS`` or ``./datasets``, as `catalog` says. Names are
``<set>_<split>``: training splits, among them ``all``, which is every image of every person of
training and test; ``test``, which is queries and gallery; of the small test sets ``1_test`` to
``10_test``, their ten splits, and of RegDB ``1_train`` to ``10_train`` besides.

The metadata of each name, besides detectron2's ``evaluator_type`` ("reid"):

- ``protocol``: how the test set is scored: "market1501", "dukemtmc", "msmt17" and "cuhk03" (the
  new protocol) by Market-1501's rules, "cuhk03_classic", "sysu_mm01" and "regdb" by their own.
- ``load_permutations()``: of SYSU-MM01, the galleries that its authors have drawn; None where the
  file is not there.
- ``load_attribute_groups()``: the name and the class names of each attribute group, in the order of
  the dicts' ``attributes``; () for a set without attributes.
- ``describe()``: data set, version (MSMT17's V1 or V2) and splits, or what ``all`` joins, for the
  record.
- ``num_identities``: of training sets, where published.
- ``people``: see `check_people_are_new`.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from detectron2.data import DatasetCatalog, MetadataCatalog

from reid_heads.data.catalog import ALL_SPLIT, CROP_DATASETS, CropDataset, find_folder
from reid_heads.data.datasets.attributes import AttributeGroups
from reid_heads.data.datasets.crop_files import TEST_SPLITS
from reid_heads.data.datasets.own_crops import load_own_crops
from reid_heads.listed_files import get_datasets_root
from reid_heads.sysu_protocol import Permutations


class PeopleOfSet(NamedTuple):
    """Whose people a name has: what tells a test set that was trained on."""

    folders: tuple[str, ...]
    trial: int
    is_all: bool


def check_people_are_new(train_names: Sequence[str], test_names: Sequence[str]) -> None:
    """Find out whether people of a test set are trained on, by the names of built-in sets.

    Raises:
        ValueError: if a set is tested on of which all images are trained on, or RegDB on another
            split than the one trained on, which has most of its people.
    """
    for train in train_names:
        for test in test_names:
            seen, asked = (MetadataCatalog.get(name).get("people") for name in (train, test))
            if seen is None or asked is None or not set(seen.folders) & set(asked.folders):
                continue
            if seen.is_all or seen.trial != asked.trial:
                raise ValueError(
                    f"people of the test set {test} are in the training set {train}: the numbers "
                    "would say nothing; train on another split or test on another set"
                )


def register_all_crops(root: str | Path | None = None) -> None:
    """Register all built-in crop data sets; nothing is read before it is asked for.

    A second call with the same root does nothing, with another root it registers anew.

    Args:
        root: the folder that holds the data sets' folders; None for `get_datasets_root`.
    """
    root = get_datasets_root() if root is None else Path(root)
    for prefix, dataset in CROP_DATASETS.items():
        for split in dataset.train_splits:
            _register(f"{prefix}_{split}", dataset, root, (split,))
        for trial in range(1, dataset.trials + 1):
            selected = dataset.select_trial(trial)
            _register(f"{prefix}_{trial}_test", selected, root, selected.test_splits)
        if dataset.test_splits and not dataset.trials:
            _register(f"{prefix}_test", dataset, root, dataset.test_splits)


def register_own_crops(name: str, path: str | Path, split: str) -> None:
    """Register a folder or a CSV file of your own crops; nothing is read yet.

    Args:
        name: the name for ``DATASETS.TRAIN`` or ``DATASETS.TEST``.
        path: as in `load_own_crops`.
        split: ``train``, or ``test``, which is queries and gallery.

    Raises:
        ValueError: the split is unknown, or the name is taken by other data. Registering the same
            again does nothing.
    """
    if split not in ("train", "test"):
        raise ValueError(f"the split of {name} is {split!r}, expected 'train' or 'test'")
    origin = (str(path), split)
    if name in DatasetCatalog.list():
        if MetadataCatalog.get(name).get("origin") == origin:
            return
        raise ValueError(f"the data set name {name!r} is already registered; choose another")
    splits = TEST_SPLITS if split == "test" else (split,)
    DatasetCatalog.register(
        name, lambda: [entry for part in splits for entry in load_own_crops(path, part)]
    )
    MetadataCatalog.get(name).set(
        evaluator_type="reid",
        protocol="market1501",
        origin=origin,
        load_attribute_groups=lambda: (),
        describe=lambda: f"{path}, {' + '.join(splits)}",
    )


def _register(name: str, dataset: CropDataset, root: Path, splits: tuple[str, ...]) -> None:
    if name in DatasetCatalog.list():
        if MetadataCatalog.get(name).get("root") == str(root):
            return
        # Neither catalog lets an entry be changed.
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, partial(_load, dataset, root, splits))
    metadata = MetadataCatalog.get(name)
    metadata.set(
        evaluator_type="reid",
        protocol=dataset.protocol,
        root=str(root),
        load_attribute_groups=partial(_load_attribute_groups, dataset, root),
        describe=partial(_describe, dataset, root, splits),
        people=PeopleOfSet(dataset.folders, dataset.trial, splits == (ALL_SPLIT,)),
    )
    if dataset.load_permutations is not None:
        metadata.set(load_permutations=partial(_load_permutations, dataset, root))
    if dataset.num_identities is not None and splits != TEST_SPLITS:
        metadata.set(num_identities=dataset.published_identities(splits[0]))


def _load(dataset: CropDataset, root: Path, splits: tuple[str, ...]) -> list[dict[str, Any]]:
    folder = find_folder(dataset, root)
    return [entry for split in splits for entry in dataset.load_split(folder, split)]


def _load_attribute_groups(dataset: CropDataset, root: Path) -> AttributeGroups:
    if dataset.load_attribute_groups is None:
        return ()
    return dataset.load_attribute_groups(find_folder(dataset, root))


def _load_permutations(dataset: CropDataset, root: Path) -> Permutations | None:
    load = dataset.load_permutations
    return None if load is None else load(find_folder(dataset, root))


def _describe(dataset: CropDataset, root: Path, splits: tuple[str, ...]) -> str:
    title = dataset.title
    if dataset.find_version is not None:
        title += f" {dataset.find_version(find_folder(dataset, root))}"
    if splits == (ALL_SPLIT,):
        parts = f" ({' + '.join(dataset.combined)})" if dataset.combined else ""
        return f"{title}, all images{parts}"
    return f"{title}, {' + '.join(splits)}"


register_all_crops()  # a registration import: nothing is read
