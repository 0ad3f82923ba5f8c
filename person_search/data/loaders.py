"""Data loaders on detectron2's builders."""

import torch
from detectron2.config import CfgNode
from detectron2.data import (
    DatasetFromList,
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.utils import comm

from person_search.data.mapper import PersonSearchMapper
from person_search.data.samplers import ResumableSampler, SeededFrames
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
    check_num_identities(cfg, frames)
    sampler = ResumableSampler(
        [frame["height"] > frame["width"] for frame in frames],
        cfg.SOLVER.IMS_PER_BATCH,
        seed=max(cfg.SEED, 0),
        rank=comm.get_rank(),
        num_processes=comm.get_world_size(),
    )
    loader = build_detection_train_loader(
        dataset=SeededFrames(DatasetFromList(frames, copy=False)),
        mapper=PersonSearchMapper(cfg, True),
        sampler=sampler,
        total_batch_size=cfg.SOLVER.IMS_PER_BATCH,
        # The sampler groups by orientation itself.
        aspect_ratio_grouping=False,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        # Without one of its own, making the iterator draws from the global generator: a resumed run
        # makes it at another iteration than a straight one, and would sample other proposals there.
        generator=torch.Generator().manual_seed(max(cfg.SEED, 0)),
    )
    return loader, sampler


def build_test_loader(cfg: CfgNode, dataset_name: str):
    """Build the loader of one test set, each frame with its queries."""
    return build_detection_test_loader(cfg, dataset_name, mapper=PersonSearchMapper(cfg, False))


def check_num_identities(cfg: CfgNode, frames: list[dict]) -> None:
    """Compare the identities of the training frames with the config.

    Raises:
        ValueError: if they differ, or if several training sets would share ids.
    """
    if len(cfg.DATASETS.TRAIN) > 1:
        raise ValueError(
            f"DATASETS.TRAIN is {cfg.DATASETS.TRAIN}; expected one set, since person ids of "
            "several sets overlap"
        )
    pids = {a["person_id"] for frame in frames for a in frame["annotations"]} - {UNLABELED_PID}
    expected = cfg.MODEL.REID_HEAD.NUM_IDENTITIES
    found = max(pids) + 1 if pids else 0
    if found != expected:
        raise ValueError(
            f"the training set {cfg.DATASETS.TRAIN[0]} has {found} identities, but "
            f"MODEL.REID_HEAD.NUM_IDENTITIES is {expected}; set it to {found}"
        )
