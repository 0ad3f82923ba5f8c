"""Register the data sets that a config lists."""

from detectron2.config import CfgNode

from person_search.data.coco_person import register_coco_person


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
