"""Data loaders on detectron2's builders."""

from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader, get_detection_dataset_dicts
from detectron2.utils import comm

from person_search.data.mapper import PersonSearchMapper
from person_search.data.samplers import OrientationSampler
from reid_heads.data.loaders import build_resumable_loader, check_num_identities
from reid_heads.labels import UNLABELED_PID


def build_train_loader(cfg: CfgNode):
    """Build the training loader and its sampler for ``cfg.DATASETS.TRAIN``.

    Returns:
        (loader, sampler); set ``sampler.start_iteration`` before the first batch to resume there.

    Raises:
        ValueError: if the data sets hold another number of identities than
            ``cfg.MODEL.REID_HEAD.NUM_IDENTITIES``.
    """
    frames = get_detection_dataset_dicts(
        cfg.DATASETS.TRAIN, filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS
    )
    check_num_identities(cfg, _count_identities(cfg, frames))
    sampler = OrientationSampler(
        [frame["height"] > frame["width"] for frame in frames],
        cfg.SOLVER.IMS_PER_BATCH,
        seed=max(cfg.SEED, 0),
        rank=comm.get_rank(),
        num_processes=comm.get_world_size(),
    )
    return build_resumable_loader(cfg, frames, PersonSearchMapper(cfg, True), sampler), sampler


def build_test_loader(cfg: CfgNode, dataset_name: str):
    """Build the loader of one test set, each frame with its queries."""
    return build_detection_test_loader(cfg, dataset_name, mapper=PersonSearchMapper(cfg, False))


def _count_identities(cfg: CfgNode, frames: list[dict]) -> int:
    if len(cfg.DATASETS.TRAIN) > 1:
        raise ValueError(
            f"DATASETS.TRAIN is {cfg.DATASETS.TRAIN}; expected one set, since person ids of "
            "several sets overlap"
        )
    pids = {a["person_id"] for frame in frames for a in frame["annotations"]} - {UNLABELED_PID}
    return max(pids) + 1 if pids else 0
