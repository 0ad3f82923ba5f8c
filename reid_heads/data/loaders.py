"""Data loaders of person crops on detectron2's parts."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import (
    DatasetCatalog,
    DatasetFromList,
    MetadataCatalog,
    build_detection_test_loader,
)
from detectron2.data.build import trivial_batch_collator, worker_init_reset_seed
from detectron2.utils import comm
from torch.utils.data import DataLoader

import reid_heads.data.builtin
import reid_heads.data.face_catalog  # noqa: F401  (both register the built-in names)
from reid_heads.data.cross_modality import CrossModalitySampler
from reid_heads.data.datasets.modalities import check_modalities
from reid_heads.data.domain_sampler import MultiDomainSampler
from reid_heads.data.mapper import CropMapper
from reid_heads.data.samplers import (
    IdentitySampler,
    IdentityUniformSampler,
    RandomIdentitySampler,
    ResumableSampler,
    SeededDicts,
)
from reid_heads.labels import UNKNOWN_ATTRIBUTE, VISIBLE

Crop = dict[str, Any]
"""A dataset dict, or what the mapper makes of it."""

CropSampler = IdentitySampler | CrossModalitySampler | MultiDomainSampler

SAMPLERS: dict[str, type[IdentitySampler] | type[CrossModalitySampler]] = {
    "random_identity": RandomIdentitySampler,
    "identity_uniform": IdentityUniformSampler,
    "cross_modality": CrossModalitySampler,
}

TEST_BATCH_SIZE = 64
"""Crops per step and process at test. It changes the speed only, hence no config key."""


def build_train_loader(cfg: CfgNode) -> tuple[DataLoader[Crop], CropSampler]:
    """Build the training loader and its sampler for ``cfg.DATASETS.TRAIN``.

    Returns:
        (loader, sampler); set ``sampler.start_iteration`` before the first batch to resume there.

    Raises:
        ValueError: if the data and ``cfg.MODEL.REID_HEAD`` disagree in the number of identities or
            in the attributes, or if the batch does not suit the data.
    """
    crops = load_train_crops(cfg)
    check_num_identities(cfg, max(crop["person_id"] for crop in crops) + 1)
    check_domain_identities(cfg, crops)
    check_cutting(cfg, crops)
    if cfg.MODEL.REID_HEAD.LOSSES.ATTRIBUTES != 0:
        check_attributes(cfg, crops)
    sampler = _build_sampler(cfg, crops, comm.get_rank(), comm.get_world_size())
    return build_resumable_loader(cfg, crops, CropMapper(cfg, True), sampler), sampler


def build_resumable_loader(
    cfg: CfgNode, dicts: list[Crop], mapper: Callable[[Crop], Crop], sampler: ResumableSampler
) -> DataLoader[Crop]:
    """Build a loader of lists of mapped dicts, in the order of the sampler.

    detectron2's own builder would run a copy of the sampler for each sample of a batch in each
    worker; here it runs once, in the main process.
    """
    return DataLoader(
        SeededDicts(DatasetFromList(dicts, copy=False), mapper),
        batch_size=sampler.batch_size // sampler.num_processes,
        sampler=sampler,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=trivial_batch_collator,
        worker_init_fn=worker_init_reset_seed,
        # Without one of its own, making the iterator draws from the global generator: a resumed run
        # makes it at another iteration than a straight one, and what the model draws (proposals,
        # dropout) would differ from there on.
        generator=torch.Generator().manual_seed(max(cfg.SEED, 0)),
    )


def build_test_loader(cfg: CfgNode, dataset_name: str) -> DataLoader[Crop]:
    """Build the loader of one test set, in its order; over several processes, a part for each.

    Raises:
        ValueError: if the set is empty.
    """
    loader: DataLoader[Crop] = build_detection_test_loader(
        _load_crops(dataset_name),
        mapper=CropMapper(cfg, False),
        batch_size=TEST_BATCH_SIZE,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
    return loader


def build_scan_loader(cfg: CfgNode, crops: list[Crop]) -> DataLoader[Crop]:
    """Build a loader of training crops in their order, each once, augmented as at test: not at all.

    Over several processes, a part for each.

    Args:
        cfg: of the training.
        crops: as `load_train_crops` gives them.
    """
    loader: DataLoader[Crop] = build_detection_test_loader(
        crops,
        mapper=CropMapper(cfg, False),
        batch_size=TEST_BATCH_SIZE,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
    return loader


def iterations_per_epoch(cfg: CfgNode) -> int:
    """Return the nominal iterations of an epoch for schedules, ``epoch_length`` of the sampler.

    It is the same for any number of processes. Reads the list of the training set, unless
    ``SOLVER.REID.ITERATIONS_PER_EPOCH`` gives the number.
    """
    given: int = cfg.SOLVER.REID.ITERATIONS_PER_EPOCH
    if given > 0:
        return given
    return _build_sampler(cfg, load_train_crops(cfg), rank=0, num_processes=1).epoch_length


def load_train_crops(cfg: CfgNode) -> list[Crop]:
    """Read the dicts of all sets of ``cfg.DATASETS.TRAIN``, person ids joined.

    Returns:
        Copies with ``domain``, the number of their set, and person ids that go on from one set to
        the next: nobody is taken to be in two sets.

    Raises:
        ValueError: if there is no set, an empty one, or one whose person ids are not 0..P-1.
    """
    if not cfg.DATASETS.TRAIN:
        raise ValueError("DATASETS.TRAIN is empty; expected the name of a training set at least")
    joined: list[Crop] = []
    offset = 0
    for domain, name in enumerate(cfg.DATASETS.TRAIN):
        crops = _load_crops(name)
        pids = np.unique([crop["person_id"] for crop in crops])
        if not np.array_equal(pids, np.arange(len(pids))):
            raise ValueError(
                f"the training set {name} has person ids from {pids[0]} to {pids[-1]}, "
                f"{len(pids)} of them; expected each of 0..{len(pids) - 1}: is it a test set?"
            )
        joined += [
            {**crop, "person_id": crop["person_id"] + offset, "domain": domain} for crop in crops
        ]
        offset += len(pids)
    return joined


def check_num_identities(cfg: CfgNode, found: int) -> None:
    """Compare the identities of the training data with the config.

    Raises:
        ValueError: if ``cfg.MODEL.REID_HEAD.NUM_IDENTITIES`` is not the number ``found``.
    """
    expected = cfg.MODEL.REID_HEAD.NUM_IDENTITIES
    names = " + ".join(cfg.DATASETS.TRAIN)
    # The heads refuse 0, so that it is no advice.
    if found == 0 != expected:
        raise ValueError(
            f"the training set {names} has nobody with an identity, and "
            f"MODEL.REID_HEAD.NUM_IDENTITIES is {expected}; give its people a person_id, the same "
            "number wherever the same person is seen"
        )
    if found != expected:
        raise ValueError(
            f"the training set {names} has {found} identities, but "
            f"MODEL.REID_HEAD.NUM_IDENTITIES is {expected}; set it to {found}"
        )


def check_domain_identities(cfg: CfgNode, crops: list[Crop]) -> None:
    """Compare the identities of each training set with the config, where it gives them.

    Args:
        cfg: with ``MODEL.REID_HEAD.DOMAIN_IDENTITIES``.
        crops: as `load_train_crops` gives them.

    Raises:
        ValueError: if they are other numbers.
    """
    expected = tuple(cfg.MODEL.REID_HEAD.DOMAIN_IDENTITIES)
    if not expected:
        return
    people: list[set[int]] = [set() for _ in cfg.DATASETS.TRAIN]
    for crop in crops:
        people[crop["domain"]].add(crop["person_id"])
    found = tuple(len(ids) for ids in people)
    if found != expected:
        raise ValueError(
            f"the training sets {' + '.join(cfg.DATASETS.TRAIN)} have {found} identities, but "
            f"MODEL.REID_HEAD.DOMAIN_IDENTITIES is {expected}; set it to {found}"
        )


def check_cutting(cfg: CfgNode, crops: list[Crop]) -> None:
    """Refuse settings of how crops are cut from frames where none is.

    Args:
        cfg: with ``INPUT.REID``.
        crops: as `load_train_crops` gives them.

    Raises:
        ValueError: if such a key is set and no crop has a box within a frame.
    """
    keys = ("BOX_JITTER", "FRAME_MIN_SIZE", "CACHE_MB")
    given = [f"INPUT.REID.{key} {cfg.INPUT.REID[key]}" for key in keys if cfg.INPUT.REID[key] != 0]
    if given and not any("bbox" in crop for crop in crops):
        raise ValueError(
            f"got {', '.join(given)}, but the training sets {' + '.join(cfg.DATASETS.TRAIN)} are "
            "crops already, none is cut from a frame; set them to 0"
        )


def check_attributes(cfg: CfgNode, crops: list[Crop]) -> None:
    """Compare the attributes of the training data with the config.

    Args:
        cfg: with ``MODEL.REID_HEAD.ATTRIBUTES.CLASSES``.
        crops: as `load_train_crops` gives them.

    Raises:
        ValueError: if a set has no attributes, if sets have different ones, if the config has other
            numbers of classes, or if a crop's ``attributes`` do not suit them.
    """
    groups = [_attribute_groups(name) for name in cfg.DATASETS.TRAIN]
    for name, other in zip(cfg.DATASETS.TRAIN, groups, strict=True):
        if not other:
            raise ValueError(
                f"the training set {name} has no attributes; set "
                "MODEL.REID_HEAD.LOSSES.ATTRIBUTES to 0.0"
            )
        if other != groups[0]:
            raise ValueError(
                f"the training sets {cfg.DATASETS.TRAIN[0]} and {name} have different attributes; "
                "set MODEL.REID_HEAD.LOSSES.ATTRIBUTES to 0.0, or train on one of them"
            )
    found = tuple(len(classes) for _, classes in groups[0])
    expected = tuple(cfg.MODEL.REID_HEAD.ATTRIBUTES.CLASSES)
    if found != expected:
        raise ValueError(
            f"the attributes of {cfg.DATASETS.TRAIN[0]} have {found} classes, but "
            f"MODEL.REID_HEAD.ATTRIBUTES.CLASSES is {expected}; set it to {found}"
        )
    for crop in crops:
        _check_crop_attributes(crop, found)


def _check_crop_attributes(crop: Crop, num_classes: tuple[int, ...]) -> None:
    numbers = crop.get("attributes", ())
    if len(numbers) != len(num_classes) or not all(
        UNKNOWN_ATTRIBUTE <= number < count
        for number, count in zip(numbers, num_classes, strict=True)
    ):
        raise ValueError(
            f"{crop['file_name']} has the attributes {list(numbers)}; expected one class number "
            f"for each group, each below {list(num_classes)}, or {UNKNOWN_ATTRIBUTE} where it is "
            "unknown"
        )


def _attribute_groups(dataset_name: str) -> Sequence[tuple[str, tuple[str, ...]]]:
    """Return the (name, class names) of each attribute of a set, () where it has none."""
    metadata = MetadataCatalog.get(dataset_name)
    # Some sets know them only once their annotation file is read.
    groups = metadata.get("attribute_groups", ()) or metadata.get("load_attribute_groups", tuple)()
    return tuple((name, tuple(classes)) for name, classes in groups)


def _load_crops(dataset_name: str) -> list[Crop]:
    crops: list[Crop] = DatasetCatalog.get(dataset_name)
    if not crops:
        raise ValueError(f"the data set {dataset_name} is empty; expected one image at least")
    return crops


def _build_sampler(cfg: CfgNode, crops: list[Crop], rank: int, num_processes: int) -> CropSampler:
    loader = cfg.DATALOADER.REID
    if loader.SAMPLER not in SAMPLERS:
        raise ValueError(
            f"DATALOADER.REID.SAMPLER is {loader.SAMPLER!r}; expected one of {sorted(SAMPLERS)}"
        )
    sampler = SAMPLERS[loader.SAMPLER]
    pids = [crop["person_id"] for crop in crops]
    settings: dict[str, Any] = {
        "batch_size": cfg.SOLVER.IMS_PER_BATCH,
        "images_per_identity": loader.IMAGES_PER_IDENTITY,
        "seed": max(cfg.SEED, 0),
        "rank": rank,
        "num_processes": num_processes,
    }
    if issubclass(sampler, IdentitySampler):
        if not loader.DOMAIN_BALANCED:
            return sampler(pids, **settings)
        domains = [crop["domain"] for crop in crops]
        return MultiDomainSampler(sampler, pids, domains, **settings)
    if loader.DOMAIN_BALANCED:
        raise ValueError(
            "DATALOADER.REID.DOMAIN_BALANCED is True, but DATALOADER.REID.SAMPLER 'cross_modality' "
            "draws from all training sets at once; set it to False"
        )
    check_modalities(crops)
    return sampler(pids, [crop.get("modality", VISIBLE) for crop in crops], **settings)
