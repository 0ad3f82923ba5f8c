"""The built-in data sets of person search: folders, layouts, published numbers.

Expected below the root, which is ``$DETECTRON2_DATASETS`` or ``./datasets``::

    CUHK-SYSU/   drawn-cuhk/      Image/SSM/*.jpg, annotation/…
    PRW/         drawn-prw/       frames/*.jpg, annotations/*.jpg.mat, …
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
