"""Register the data sets that a config lists."""

from detectron2.config import CfgNode

from reid_heads.data.builtin import register_own_crops
from reid_heads.data.face_catalog import register_own_faces


def register_own_data(cfg: CfgNode) -> None:
    """Register the data sets that ``cfg.DATASETS.CROPS`` and ``cfg.DATASETS.FACES`` list.

    Raises:
        ValueError: if an entry is not (name, folder or CSV, split), or (name, folder, use).
    """
    for entry in cfg.DATASETS.CROPS:
        if isinstance(entry, str) or len(entry) != 3:
            raise ValueError(
                f"DATASETS.CROPS has {entry!r}; expected (name, folder or CSV, 'train' or 'test')"
            )
        register_own_crops(*entry)
    for entry in cfg.DATASETS.FACES:
        if isinstance(entry, str) or len(entry) != 3:
            raise ValueError(
                f"DATASETS.FACES has {entry!r}; expected (name, folder, 'train', 'recall' or the "
                "path of a pair list)"
            )
        register_own_faces(*entry)
