"""Register the built-in crop data sets, and your own, in detectron2's catalogs.

Expected below the root, which is ``$DETECTRON2_DATASETS`` or ``./datasets``; the loaders say what
is in each::

    Market-1501-v15.09.15/      also in market1501/
    DukeMTMC-reID/              also in dukemtmc-reid/
    MSMT17_V1/ or MSMT17_V2/    V1 if both are there; also in msmt17/
    cuhk03-np/ or cuhk03_release/    CUHK03-NP if both are there; also in cuhk03/
    drawn-market/               in Market-1501's layout; also drawn-noon/, drawn-dusk/, drawn-mall/
                                and drawn-vhs/, the drawn domains
    cuhk02/                     also in cuhk02/Dataset/
    CUHK-SYSU/cropped_image/    also in cuhksysu/ or cuhk_sysu/cropped_images/
    VIPeR/                      also in viper/
    underground_reid/           GRID; also in grid/
    prid_2011/                  also in prid2011/
    i-LIDS_Pedestrian/          also in ilids/; or QMUL-iLIDS/

Names are ``<set>_<split>``: training splits, among them ``all``, which is every image of every
person of training and test; ``test``, which is queries and gallery; and of the small test sets
``1_test`` to ``10_test``, their ten splits.

The metadata of each name, besides detectron2's ``evaluator_type`` ("reid"):

- ``protocol``: how the test set is scored: "market1501", "dukemtmc", "msmt17" and "cuhk03" (the
  new protocol) by Market-1501's rules, "cuhk03_classic" by its own.
- ``load_attribute_groups()``: the name and the class names of each attribute group, in the order of
  the dicts' ``attributes``; () for a set without attributes.
- ``describe()``: data set, version (MSMT17's V1 or V2) and splits, or what ``all`` joins, for the
  record.
- ``num_identities``: of training sets, where published.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from reid_heads.data.attributes import AttributeGroups
from reid_heads.data.combine_all import combine_all
from reid_heads.data.crop_files import SPLITS, TEST_SPLITS
from reid_heads.data.cuhk02 import load_cuhk02
from reid_heads.data.cuhk03 import load_cuhk03, load_cuhk03_classic
from reid_heads.data.cuhk_sysu_crops import load_cuhk_sysu_crops
from reid_heads.data.dukemtmc import load_dukemtmc, load_dukemtmc_attribute_groups
from reid_heads.data.grid import load_grid
from reid_heads.data.ilids import load_ilids
from reid_heads.data.market1501 import (
    DISTRACTOR_PID,
    load_market1501,
    load_market1501_attribute_groups,
)
from reid_heads.data.msmt17 import find_msmt17_version, load_msmt17
from reid_heads.data.own_crops import load_own_crops
from reid_heads.data.prid import load_prid
from reid_heads.data.trials import SMALL_SET_TRIALS
from reid_heads.data.viper import load_viper

ALL_SPLIT = "all"
"""The training split of every image of every person."""


@dataclass(frozen=True)
class CropDataset:
    """A data set of crops with a fixed folder and layout."""

    title: str
    folders: tuple[str, ...]
    """Where it may be below the root; the first that is there counts."""
    load: Callable[..., list[dict[str, Any]]]
    """Takes folder and split, and ``trial`` where there are several."""
    protocol: str
    """How its test split is scored."""
    train_splits: tuple[str, ...] = ("train",)
    """The splits for training; each is registered under its own name."""
    num_identities: int | Mapping[str, int] | None = None
    """Published number of training identities; by split where they differ."""
    combined: tuple[str, ...] = ()
    """The splits that ``all`` joins, where the loader has no such split itself."""
    distractor_pids: tuple[int, ...] = ()
    """Test persons that are left out of ``all``."""
    test_splits: tuple[str, ...] = TEST_SPLITS
    """The splits of a test set; () for a set for training only."""
    trials: int = 0
    """Number of the test sets, where there are several."""
    load_attribute_groups: Callable[[Path], AttributeGroups] | None = None
    find_version: Callable[[Path], str] | None = None

    def published_identities(self, split: str) -> int | None:
        """Return the published number of identities of a training split, None if unknown."""
        if isinstance(self.num_identities, Mapping):
            return self.num_identities[split]
        return self.num_identities

    def load_split(self, folder: Path, split: str, **options: Any) -> list[dict[str, Any]]:
        """Load any of the splits from the data set's own folder."""
        if split == ALL_SPLIT and self.combined:
            return combine_all(partial(self.load, folder), self.combined, self.distractor_pids)
        return self.load(folder, split, **options)

    def select_trial(self, trial: int) -> "CropDataset":
        """Return the data set with one of its test sets only."""
        load = partial(self.load, trial=trial)
        return replace(self, title=f"{self.title}, split {trial}", load=load, trials=0)


def _market(title: str, folders: tuple[str, ...], **options: Any) -> CropDataset:
    options = {
        "load": load_market1501,
        "load_attribute_groups": load_market1501_attribute_groups,
        "train_splits": ("train", ALL_SPLIT),
        "combined": SPLITS,
        "distractor_pids": (DISTRACTOR_PID,),
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
        train_splits=("train", ALL_SPLIT),
        combined=SPLITS,
        num_identities={"train": 767, ALL_SPLIT: 1467},
    )


def _small(title: str, folders: tuple[str, ...], load: Callable[..., Any]) -> CropDataset:
    return CropDataset(title, folders, load, "market1501", train_splits=(), trials=SMALL_SET_TRIALS)


def _whole(
    title: str, folders: tuple[str, ...], load: Callable[..., Any], num_identities: int
) -> CropDataset:
    return CropDataset(
        title,
        folders,
        load,
        "market1501",
        train_splits=(ALL_SPLIT,),
        num_identities=num_identities,
        test_splits=(),
    )


_MARKET_FOLDERS = ("Market-1501-v15.09.15", "market1501/Market-1501-v15.09.15")

CROP_DATASETS = {
    "market1501": _market(
        "Market-1501", _MARKET_FOLDERS, num_identities={"train": 751, ALL_SPLIT: 1501}
    ),
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
        train_splits=("train", ALL_SPLIT),
        combined=SPLITS,
        num_identities={"train": 702, ALL_SPLIT: 1812},
        load_attribute_groups=load_dukemtmc_attribute_groups,
    ),
    "msmt17": CropDataset(
        "MSMT17",
        ("MSMT17_V1", "msmt17/MSMT17_V1", "MSMT17_V2", "msmt17/MSMT17_V2"),
        load_msmt17,
        "msmt17",
        train_splits=("train", "trainval", ALL_SPLIT),
        combined=("trainval", *TEST_SPLITS),
        num_identities={"train": 1041, "trainval": 1041, ALL_SPLIT: 4101},
        find_version=find_msmt17_version,
    ),
    "cuhk03_labeled": _cuhk03("labeled"),
    "cuhk03_detected": _cuhk03("detected"),
    "cuhk03_classic_labeled": _cuhk03("labeled", is_classic=True),
    "cuhk03_classic_detected": _cuhk03("detected", is_classic=True),
    "cuhk02": _whole("CUHK02", ("cuhk02/Dataset", "cuhk02"), load_cuhk02, 1816),
    "cuhk_sysu_crops": _whole(
        "CUHK-SYSU crops",
        ("CUHK-SYSU/cropped_image", "cuhksysu/cropped_images", "cuhk_sysu/cropped_images"),
        load_cuhk_sysu_crops,
        11934,
    ),
    "viper": _small("VIPeR", ("viper/VIPeR", "VIPeR", "viper"), load_viper),
    "grid": _small("GRID", ("underground_reid", "grid/underground_reid", "GRID"), load_grid),
    "prid": _small("PRID 2011", ("prid_2011", "prid2011/prid_2011"), load_prid),
    "ilids": _small(
        "i-LIDS", ("i-LIDS_Pedestrian", "ilids/i-LIDS_Pedestrian", "QMUL-iLIDS"), load_ilids
    ),
    "drawn_market": _market("drawn-market", ("drawn-market",)),
    "drawn_noon": _market("drawn-noon", ("drawn-noon",)),
    "drawn_dusk": _market("drawn-dusk", ("drawn-dusk",)),
    "drawn_mall": _market("drawn-mall", ("drawn-mall",)),
    "drawn_vhs": _market("drawn-vhs", ("drawn-vhs",)),
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
    if dataset.num_identities is not None and splits != TEST_SPLITS:
        metadata.set(num_identities=dataset.published_identities(splits[0]))


def _load(dataset: CropDataset, root: Path, splits: tuple[str, ...]) -> list[dict[str, Any]]:
    folder = find_folder(dataset, root)
    return [entry for split in splits for entry in dataset.load_split(folder, split)]


def _load_attribute_groups(dataset: CropDataset, root: Path) -> AttributeGroups:
    if dataset.load_attribute_groups is None:
        return ()
    return dataset.load_attribute_groups(find_folder(dataset, root))


def _describe(dataset: CropDataset, root: Path, splits: tuple[str, ...]) -> str:
    title = dataset.title
    if dataset.find_version is not None:
        title += f" {dataset.find_version(find_folder(dataset, root))}"
    if splits == (ALL_SPLIT,):
        parts = f" ({' + '.join(dataset.combined)})" if dataset.combined else ""
        return f"{title}, all images{parts}"
    return f"{title}, {' + '.join(splits)}"
