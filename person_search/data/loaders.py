"""Data loaders on detectron2's builders."""

import logging
from functools import reduce
from typing import Any

from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader, get_detection_dataset_dicts
from detectron2.utils import comm

import person_search.data.builtin  # noqa: F401  (registers the built-in names)
from person_search.data.mapper import PersonSearchMapper
from person_search.data.samplers import (
    ClassBalancedSampler,
    IdentityUniformFrameSampler,
    OrientationSampler,
    RepeatFactorSampler,
)
from reid_heads.config_readers import Reader
from reid_heads.data.loaders import build_resumable_loader, check_num_identities
from reid_heads.data.samplers import ResumableSampler
from reid_heads.labels import UNLABELED_PID

# Values of DATALOADER.SAMPLER_TRAIN beside "TrainingSampler", detectron2's own names where it has
# such a sampler: the class and the keys below DATALOADER that are its arguments, by their names.
TAIL_SAMPLERS: dict[str, tuple[Any, dict[str, str]]] = {
    "RepeatFactorTrainingSampler": (RepeatFactorSampler, {"threshold": "REPEAT_THRESHOLD"}),
    "ClassBalancedSampler": (
        ClassBalancedSampler,
        {"beta": "FRAMES.CLASS_BALANCED_BETA", "unlabeled_share": "FRAMES.UNLABELED_SHARE"},
    ),
    "IdentityUniformSampler": (
        IdentityUniformFrameSampler,
        {"unlabeled_share": "FRAMES.UNLABELED_SHARE"},
    ),
}


def _reader_of(sampler: str) -> Reader:
    keys = tuple(f"DATALOADER.{key}" for key in TAIL_SAMPLERS[sampler][1].values())
    return Reader(
        f"DATALOADER.SAMPLER_TRAIN {sampler}",
        keys,
        lambda cfg: sampler == cfg.DATALOADER.SAMPLER_TRAIN,
    )


CONFIG_READERS = tuple(_reader_of(sampler) for sampler in TAIL_SAMPLERS)

logger = logging.getLogger(__name__)


def build_train_loader(cfg: CfgNode) -> tuple[Any, ResumableSampler]:
    """Build the training loader and its sampler for ``cfg.DATASETS.TRAIN``.

    Returns:
        (loader, sampler); set ``sampler.start_iteration`` before the first batch to resume there.

    Raises:
        ValueError: if the data sets hold another number of identities than
            ``cfg.MODEL.REID_HEAD.NUM_IDENTITIES``, or if ``cfg.DATALOADER.SAMPLER_TRAIN`` is
            unknown or its settings do not suit the data.
    """
    frames = get_detection_dataset_dicts(
        cfg.DATASETS.TRAIN, filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS
    )
    check_num_identities(cfg, _count_identities(cfg, frames))
    sampler = _build_sampler(cfg, frames)
    return build_resumable_loader(cfg, frames, PersonSearchMapper(cfg, True), sampler), sampler


def build_test_loader(cfg: CfgNode, dataset_name: str):
    """Build the loader of one test set, each frame with its queries."""
    return build_detection_test_loader(cfg, dataset_name, mapper=PersonSearchMapper(cfg, False))


def _build_sampler(cfg: CfgNode, frames: list[dict]) -> ResumableSampler:
    """Build the sampler that ``cfg.DATALOADER.SAMPLER_TRAIN`` names; log what it does."""
    name = cfg.DATALOADER.SAMPLER_TRAIN
    common = {
        "is_portrait": [frame["height"] > frame["width"] for frame in frames],
        "batch_size": cfg.SOLVER.IMS_PER_BATCH,
        "seed": max(cfg.SEED, 0),
        "rank": comm.get_rank(),
        "num_processes": comm.get_world_size(),
    }
    if name == "TrainingSampler":
        return OrientationSampler(**common)
    if name not in TAIL_SAMPLERS:
        raise ValueError(
            f"DATALOADER.SAMPLER_TRAIN is {name!r}; expected one of "
            f"{['TrainingSampler', *TAIL_SAMPLERS]}"
        )
    kind, keys = TAIL_SAMPLERS[name]
    settings = {
        argument: reduce(getattr, key.split("."), cfg.DATALOADER) for argument, key in keys.items()
    }
    pids = [[person["person_id"] for person in frame["annotations"]] for frame in frames]
    sampler = kind(pids=pids, **common, **settings)
    logger.info("%s: %s", name, sampler.describe_tail())
    return sampler


def _count_identities(cfg: CfgNode, frames: list[dict]) -> int:
    if len(cfg.DATASETS.TRAIN) > 1:
        raise ValueError(
            f"DATASETS.TRAIN is {cfg.DATASETS.TRAIN}; expected one set, since person ids of "
            "several sets overlap"
        )
    pids = {a["person_id"] for frame in frames for a in frame["annotations"]} - {UNLABELED_PID}
    return max(pids) + 1 if pids else 0
