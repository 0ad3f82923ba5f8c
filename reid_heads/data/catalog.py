"""The built-in data sets of crops: folders, layouts, splits, published numbers.

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
    SYSU-MM01/                  also in sysu-mm01/; drawn-sysu/ in the same layout
    RegDB/                      also in regdb/; drawn-regdb/ in the same layout
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from reid_heads.data.datasets.attributes import AttributeGroups
from reid_heads.data.datasets.combine_all import combine_all
from reid_heads.data.datasets.crop_files import SPLITS, TEST_SPLITS
from reid_heads.data.datasets.cuhk02 import load_cuhk02
from reid_heads.data.datasets.cuhk03 import load_cuhk03, load_cuhk03_classic
from reid_heads.data.datasets.cuhk_sysu_crops import load_cuhk_sysu_crops
from reid_heads.data.datasets.dukemtmc import load_dukemtmc, load_dukemtmc_attribute_groups
from reid_heads.data.datasets.grid import load_grid
from reid_heads.data.datasets.ilids import load_ilids
from reid_heads.data.datasets.market1501 import (
    DISTRACTOR_PID,
    load_market1501,
    load_market1501_attribute_groups,
)
from reid_heads.data.datasets.msmt17 import find_msmt17_version, load_msmt17
from reid_heads.data.datasets.prid import load_prid
from reid_heads.data.datasets.regdb import NUM_TRIALS, load_regdb
from reid_heads.data.datasets.sysu_mm01 import load_permutations, load_sysu_mm01
from reid_heads.data.datasets.trials import SMALL_SET_TRIALS
from reid_heads.data.datasets.viper import load_viper
from reid_heads.sysu_protocol import Permutations

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
    trial: int = 0
    """Of a set whose people are divided anew in several trials: which of them this is."""
    load_attribute_groups: Callable[[Path], AttributeGroups] | None = None
    find_version: Callable[[Path], str] | None = None
    load_permutations: Callable[[Path], Permutations | None] | None = None
    """Of SYSU-MM01: its authors' draws of the gallery, where the file is there."""

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
            f"{title}, split {trial}",
            folders,
            partial(load_regdb, trial=trial),
            "regdb",
            trial=trial,
            **options,
        )
        for trial in range(1, NUM_TRIALS + 1)
    }


_MARKET_FOLDERS = ("Market-1501-v15.09.15", "market1501/Market-1501-v15.09.15")

CROP_DATASETS: dict[str, CropDataset] = {
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
    "sysu_mm01": _sysu(
        "SYSU-MM01",
        ("SYSU-MM01", "sysu-mm01/SYSU-MM01"),
        num_identities={"train": 296, "trainval": 395},
    ),
    **_regdb("regdb", "RegDB", ("RegDB", "regdb/RegDB"), num_identities=206),
    "drawn_market": _market("drawn-market", ("drawn-market",)),
    "drawn_noon": _market("drawn-noon", ("drawn-noon",)),
    "drawn_dusk": _market("drawn-dusk", ("drawn-dusk",)),
    "drawn_mall": _market("drawn-mall", ("drawn-mall",)),
    "drawn_vhs": _market("drawn-vhs", ("drawn-vhs",)),
    "drawn_sysu": _sysu("drawn-sysu", ("drawn-sysu",)),
    **_regdb("drawn_regdb", "drawn-regdb", ("drawn-regdb",)),
}


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
