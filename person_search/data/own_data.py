"""Register data sets of one's own, such as a config lists."""

from pathlib import Path
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

import person_search.data.builtin  # noqa: F401  (registers the built-in names, which are taken)
from person_search.data.coco_person import load_coco_person, load_coco_person_protocol
from person_search.data.crops import register_crops
from person_search.data.frames import check_split
from person_search.data.protocol import SearchProtocol


def register_own_data(cfg: CfgNode) -> None:
    """Register the data sets that ``cfg.DATASETS.COCO_PERSON`` lists.

    Raises:
        ValueError: if an entry is not (name, JSON file, image folder, split).
    """
    for entry in cfg.DATASETS.COCO_PERSON:
        if isinstance(entry, str) or len(entry) != 4:
            raise ValueError(
                f"DATASETS.COCO_PERSON has {entry!r}; expected (name, JSON file, image folder, "
                "'train' or 'test')"
            )
        register_coco_person(*entry)


def register_coco_person(
    name: str, json_file: str | Path, image_root: str | Path, split: str
) -> None:
    """Register a COCO JSON file with person ids in detectron2's catalogs; nothing is read yet.

    The labelled boxes of a training set are registered too, as the crops ``<name>_crops``.

    Args:
        name: the name for ``DATASETS.TRAIN`` or ``DATASETS.TEST``.
        json_file: the annotations.
        image_root: the folder of the images.
        split: ``train`` or ``test``.

    Raises:
        ValueError: the name is taken by other data. Registering the same again does nothing.
    """
    check_split(split)
    origin = (str(json_file), str(image_root), split)
    if name in DatasetCatalog.list():
        if MetadataCatalog.get(name).get("origin") == origin:
            return
        raise ValueError(f"the data set name {name!r} is already registered; choose another")
    if split == "train":
        register_crops(name)
    DatasetCatalog.register(name, lambda: load_coco_person(json_file, image_root, split))
    metadata = MetadataCatalog.get(name)
    metadata.set(
        thing_classes=["person"],
        evaluator_type="person_search",
        layout="coco_person",
        origin=origin,
    )
    if split == "test":

        def load_protocol(**options: Any) -> SearchProtocol:
            return load_coco_person_protocol(json_file, image_root, **options)

        metadata.set(load_protocol=load_protocol)
