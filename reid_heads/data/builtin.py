"""Register the built-in crop data sets, and your own, in detectron2's catalogs.

Expected below the root, which is ``$DETECTRON2_DATASETS`` or ``./datasets``; the loaders say what
is in each::

    Market-1501-v15.09.15/      also in market1501/
    DukeMTMC-reID/              also in dukemtmc-reid/
    MSMT17_V1/ or MSMT17_V2/    V1 if both are there; also in msmt17/
    cuhk03-np/ or cuhk03_release/    CUHK03-NP if both are there; also in cuhk03/
    SYSU-MM01/                  also in sysu-mm01/
    RegDB/                      also in regdb/; each of its ten splits has a name of its own
    drawn-market/               in Market-1501's layout
    drawn-sysu/, drawn-regdb/   in the layouts of SYSU-MM01 and RegDB

The metadata of each name, besides detectron2's ``evaluator_type`` ("reid"):

- ``protocol``: how the test set is scored: "market1501", "dukemtmc", "msmt17" and "cuhk03" (the
  new protocol) by Market-1501's rules, "cuhk03_classic", "sysu_mm01" and "regdb" by their own.
- ``load_permutations()``: of SYSU-MM01, the galleries that its authors have drawn; None where the
  file is not there.
- ``load_attribute_groups()``: the name and the class names of each attribute group, in the order of
  the dicts' ``attributes``; () for a set without attributes.
- ``describe()``: data set, version (MSMT17's V1 or V2) and splits, for the record.
- ``num_identities``: of training sets, where published.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from reid_heads.data.attributes import AttributeGroups
from reid_heads.data.cuhk03 import load_cuhk03, load_cuhk03_classic
from reid_heads.data.dukemtmc import load_dukemtmc, load_dukemtmc_attribute_groups
from reid_heads.data.market1501 import load_market1501, load_market1501_attribute_groups
from reid_heads.data.msmt17 import find_msmt17_version, load_msmt17
from reid_heads.data.own_crops import load_own_crops
from reid_heads.data.regdb import NUM_TRIALS, load_regdb
from reid_heads.data.sysu_mm01 import load_permutations, load_sysu_mm01
from reid_heads.sysu_protocol import Permutations

TEST_SPLITS = ("query", "gallery")


@dataclass(frozen=True)
class CropDataset:
    """A data set of crops with a fixed folder and layout."""

    title: str
    folders: tuple[str, ...]
    """Where it may be below the root; the first that is there counts."""
    load: Callable[[Path, str], list[dict[str, Any]]]
    protocol: str
    """How its test split is scored."""
    train_splits: tuple[str, ...] = ("train",)
    """The splits for training; each is registered under its own name."""
    num_identities: int | Mapping[str, int] | None = None
    """Published number of training identities; by split where they differ."""
    load_attribute_groups: Callable[[Path], AttributeGroups] | None = None
    find_version: Callable[[Path], str] | None = None
    load_permutations: Callable[[Path], Permutations | None] | None = None

    def published_identities(self, split: str) -> int | None:
        """Return the published number of identities of a training split, None if unknown."""
        if isinstance(self.num_identities, Mapping):
            return self.num_identities[split]
        return self.num_identities


def _market(title: str, folders: tuple[str, ...], **options: Any) -> CropDataset:
    options = {
        "load": load_market1501,
        "load_attribute_groups": load_market1501_attribute_groups,
        **options,
    }
    return CropDataset(title, folders, protocol="market1501", **options)


def _cuhk03(boxes: str, is_classic: bool = False) -> CropDataset:
    release = ("cuhk03_release", "cuhk03/cuhk03_release")
    if is_classic:
        load = partial(load_cuhk03_classic, boxes=boxes)
        return CropDataset(
            f"CUHK03 {boxes}, classic", release, load, "cuhk03_classic", num_identities=1367
        )
    return CropDataset(
        f"CUHK03 {boxes}",
        ("cuhk03-np", "cuhk03/cuhk03-np", *release),
        partial(load_cuhk03, boxes=boxes),
        "cuhk03",
        num_identities=767,
    )


def _sysu(title: str, folders: tuple[str, ...], **options: Any) -> CropDataset:
    return CropDataset(
        title,
        folders,
        load_sysu_mm01,
        "sysu_mm01",
        train_splits=("train", "trainval"),
        load_permutations=load_permutations,
        **options,
    )


def _regdb(name: str, title: str, folders: tuple[str, ...], **options: Any) -> dict[str, Any]:
    return {
        f"{name}_{trial}": CropDataset(
            f"{title}, split {trial}", folders, partial(load_regdb, trial=trial), "regdb", **options
        )
        for trial in range(1, NUM_TRIALS + 1)
    }


_MARKET_FOLDERS = ("Market-1501-v15.09.15", "market1501/Market-1501-v15.09.15")

CROP_DATASETS: dict[str, CropDataset] = {
    "market1501": _market("Market-1501", _MARKET_FOLDERS, num_identities=751),
    "market1501_500k": _market(
        "Market-1501 + 500k",
        _MARKET_FOLDERS,
        load=partial(load_market1501, with_500k=True),
        train_splits=(),
    ),
    "dukemtmc": CropDataset(
        "DukeMTMC-reID",
        ("DukeMTMC-reID", "dukemtmc-reid/DukeMTMC-reID"),
        load_dukemtmc,
        "dukemtmc",
        num_identities=702,
        load_attribute_groups=load_dukemtmc_attribute_groups,
    ),
    "msmt17": CropDataset(
        "MSMT17",
        ("MSMT17_V1", "msmt17/MSMT17_V1", "MSMT17_V2", "msmt17/MSMT17_V2"),
        load_msmt17,
        "msmt17",
        train_splits=("train", "trainval"),
        num_identities=1041,
        find_version=find_msmt17_version,
    ),
    "cuhk03_labeled": _cuhk03("labeled"),
    "cuhk03_detected": _cuhk03("detected"),
    "cuhk03_classic_labeled": _cuhk03("labeled", is_classic=True),
    "cuhk03_classic_detected": _cuhk03("detected", is_classic=True),
    "sysu_mm01": _sysu(
        "SYSU-MM01",
        ("SYSU-MM01", "sysu-mm01/SYSU-MM01"),
        num_identities={"train": 296, "trainval": 395},
    ),
    **_regdb("regdb", "RegDB", ("RegDB", "regdb/RegDB"), num_identities=206),
    "drawn_market": _market("drawn-market", ("drawn-market",)),
    "drawn_sysu": _sysu("drawn-sysu", ("drawn-sysu",)),
    **_regdb("drawn_regdb", "drawn-regdb", ("drawn-regdb",)),
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
        for split in dataset.train_splits:
            _register(f"{prefix}_{split}", dataset, root, (split,))
        _register(f"{prefix}_test", dataset, root, TEST_SPLITS)


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
    )
    if dataset.load_permutations is not None:
        metadata.set(load_permutations=partial(_load_permutations, dataset, root))
    if dataset.num_identities is not None and splits != TEST_SPLITS:
        metadata.set(num_identities=dataset.published_identities(splits[0]))


def _load(dataset: CropDataset, root: Path, splits: tuple[str, ...]) -> list[dict[str, Any]]:
    folder = find_folder(dataset, root)
    return [entry for split in splits for entry in dataset.load(folder, split)]


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
    return f"{title}, {' + '.join(splits)}"
