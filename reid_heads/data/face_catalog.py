"""Register data sets of aligned faces, the built-in ones and your own, in detectron2's catalogs.

Expected below the root, which is ``$DETECTRON2_DATASETS`` or ``./datasets``::

    drawn-faces/    train/ and test/ with a folder a person, pairs.txt
    lfw/            a folder a person, pairs.txt; aligned to 112x112 if embeddings shall be good

Names: ``<set>_train``; ``<set>_test``, verification by the pair list; ``<set>_recall``, each test
face searched for among the others. The metadata is that of crops (see `builtin`), with the
``protocol`` "verification" or "recall", and ``load_pairs()`` of "verification".
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from reid_heads.data.datasets.face_folders import load_face_folder, load_paired_faces
from reid_heads.face_pairs import FacePairs, read_pairs
from reid_heads.listed_files import get_datasets_root


@dataclass(frozen=True)
class FaceDataset:
    """A data set of aligned faces with a fixed folder and layout."""

    title: str
    folders: tuple[str, ...]
    """Where it may be below the root; the first that is there counts."""
    train: str | None
    """Folder of the training persons; None if there are none."""
    test: str
    """Folder of the test persons; "" for the data set's own."""
    pairs: str = "pairs.txt"

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of its splits: those that `load_split` takes."""
        return ("test", "recall") if self.train is None else ("train", "test", "recall")

    def find_folder(self, root: Path) -> Path:
        """Return the data set's own folder.

        Raises:
            FileNotFoundError: there is none of the possible folders.
        """
        for folder in self.folders:
            if (root / folder).is_dir():
                return root / folder
        raise FileNotFoundError(
            f"there is no folder {' or '.join(self.folders)} in {root}: set DETECTRON2_DATASETS to "
            f"the folder that holds it"
        )

    def load_split(self, folder: Path, split: str) -> list[dict[str, Any]]:
        """Load the training faces, those of the pair list ("test"), or all test faces ("recall").

        Raises:
            ValueError: there is no such split.
        """
        if split not in self.splits:
            raise ValueError(
                f"the split {split!r} of {self.title} is unknown; choose one of "
                f"{', '.join(self.splits)}"
            )
        if split == "test":
            return load_paired_faces(folder / self.test, folder / self.pairs)
        return load_face_folder(folder / (self.train or "" if split == "train" else self.test))


FACE_DATASETS: dict[str, FaceDataset] = {
    "drawn_faces": FaceDataset("drawn-faces", ("drawn-faces",), "train", "test"),
    "lfw": FaceDataset("LFW", ("lfw", "LFW"), None, ""),
}

_PROTOCOLS = {"train": "recall", "test": "verification", "recall": "recall"}


def register_all_faces(root: str | Path | None = None) -> None:
    """Register all built-in sets of faces; nothing is read before it is asked for.

    A second call with the same root does nothing, with another root it registers anew.

    Args:
        root: the folder that holds the data sets' folders; None for `get_datasets_root`.
    """
    root = get_datasets_root() if root is None else Path(root)
    for prefix, dataset in FACE_DATASETS.items():
        for split in dataset.splits:
            _register(
                f"{prefix}_{split}",
                (str(root), split),
                _PROTOCOLS[split],
                partial(_load_builtin, dataset, root, split),
                partial(_read_builtin_pairs, dataset, root),
                f"{dataset.title}, {split}",
                replace=True,
            )


def register_own_faces(name: str, path: str | Path, use: str) -> None:
    """Register a folder of your own aligned faces; nothing is read yet.

    Args:
        name: the name for ``DATASETS.TRAIN`` or ``DATASETS.TEST``.
        path: a folder with one folder a person.
        use: ``train``; ``recall``, to search for each among the others; or the path of a pair list,
            to verify its pairs.

    Raises:
        ValueError: the name is taken by other data. Registering the same again does nothing.
    """
    origin = (str(path), use)
    load: Callable[[], list[dict[str, Any]]] = partial(load_face_folder, path)
    protocol = "recall"
    if use not in ("train", "recall"):
        load, protocol = partial(load_paired_faces, path, use), "verification"
    _register(name, origin, protocol, load, partial(read_pairs, use), f"{path}, {use}")


def _register(
    name: str,
    origin: tuple[str, str],
    protocol: str,
    load: Callable[[], list[dict[str, Any]]],
    load_pairs: Callable[[], FacePairs],
    description: str,
    replace: bool = False,
) -> None:
    if name in DatasetCatalog.list():
        if MetadataCatalog.get(name).get("origin") == origin:
            return
        if not replace:
            raise ValueError(f"the data set name {name!r} is already registered; choose another")
        # Neither catalog lets an entry be changed.
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, load)
    metadata = MetadataCatalog.get(name)
    metadata.set(
        evaluator_type="reid",
        protocol=protocol,
        origin=origin,
        load_attribute_groups=tuple,
        describe=lambda: description,
    )
    if protocol == "verification":
        metadata.set(load_pairs=load_pairs)


def _load_builtin(dataset: FaceDataset, root: Path, split: str) -> list[dict[str, Any]]:
    return dataset.load_split(dataset.find_folder(root), split)


def _read_builtin_pairs(dataset: FaceDataset, root: Path) -> FacePairs:
    return read_pairs(dataset.find_folder(root) / dataset.pairs)


register_all_faces()  # a registration import: nothing is read
