import logging
from itertools import islice

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog

from person_search.data.loaders import TAIL_SAMPLERS, build_test_loader, build_train_loader
from person_search.data.samplers import OrientationSampler
from reid_heads.labels import UNLABELED_PID

PIDS = [[0, 1], [], [UNLABELED_PID], [2, 3], [1], [0, UNLABELED_PID, 3], [2]]


@pytest.fixture
def dataset(write_frames):
    """Register toy frames, some of them portrait, under a name."""
    name = "toy_loaders"
    sizes = [(96, 160), (96, 160), (120, 80), (96, 160), (120, 80), (96, 160), (120, 80)]
    frames = write_frames(PIDS, size=sizes)
    frames[3]["queries"] = [{"query_id": 0, "bbox": [5.0, 5.0, 20.0, 50.0], "person_id": 2}]
    DatasetCatalog.register(name, lambda: frames)
    MetadataCatalog.get(name).set(thing_classes=["person"])
    yield name
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def make_cfg(tiny_cfg, dataset, **overrides):
    settings = {
        "DATASETS__TRAIN": (dataset,),
        "DATASETS__TEST": (dataset,),
        "SOLVER__IMS_PER_BATCH": 2,
        "INPUT__MIN_SIZE_TRAIN": (48, 64),
        **overrides,
    }
    return tiny_cfg(**settings)


def first_batches(cfg, count, start=0):
    loader, sampler = build_train_loader(cfg)
    sampler.start_iteration = start
    batches = list(islice(loader, count))
    del loader
    return batches


def assert_same(first, second):
    assert len(first) == len(second)
    for one, two in zip(first, second, strict=True):
        assert [x["file_name"] for x in one] == [x["file_name"] for x in two]
        for a, b in zip(one, two, strict=True):
            assert torch.equal(a["image"], b["image"])
            assert torch.equal(a["instances"].gt_boxes.tensor, b["instances"].gt_boxes.tensor)
            assert torch.equal(a["instances"].gt_pids, b["instances"].gt_pids)


def test_workers_give_the_batches_of_the_main_process(tiny_cfg, dataset):
    alone = first_batches(make_cfg(tiny_cfg, dataset), 7)
    shared = first_batches(make_cfg(tiny_cfg, dataset, DATALOADER__NUM_WORKERS=2), 7)
    assert_same(alone, shared)
    assert len({x["image"].shape for batch in alone for x in batch}) > 2, "scales do not vary"


@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_loader_continues_the_straight_one(workers, tiny_cfg, dataset):
    cfg = make_cfg(tiny_cfg, dataset, DATALOADER__NUM_WORKERS=workers)
    straight = first_batches(make_cfg(tiny_cfg, dataset), 7)
    assert_same(first_batches(cfg, 4, start=3), straight[3:])


def test_frames_without_people_are_kept(tiny_cfg, dataset):
    batches = first_batches(make_cfg(tiny_cfg, dataset), 12)
    sizes = {len(x["instances"]) for batch in batches for x in batch}
    assert sizes == {0, 1, 2, 3}


def test_seed_changes_the_order(tiny_cfg, dataset):
    names = []
    for seed in (1, 2):
        batches = first_batches(make_cfg(tiny_cfg, dataset, SEED=seed), 12)
        names.append([x["file_name"] for batch in batches for x in batch])
    assert names[0] != names[1]


def test_building_an_iterator_draws_nothing_from_torch(tiny_cfg, dataset):
    """DataLoader's iterator takes its workers' seed from torch's global generator: a resumed run,
    which makes it at another iteration, then sampled other proposals than a straight run."""
    loader, _ = build_train_loader(make_cfg(tiny_cfg, dataset))
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    next(iter(loader))
    assert torch.equal(torch.rand(1), expected)


def test_test_loader_gives_each_frame_once_with_its_queries(tiny_cfg, dataset):
    loader = build_test_loader(make_cfg(tiny_cfg, dataset), dataset)
    frames = [x for batch in loader for x in batch]
    assert [f["image_id"] for f in frames] == [f"{i}.jpg" for i in range(len(PIDS))]
    assert [i for i, f in enumerate(frames) if "queries" in f] == [3]


@pytest.mark.parametrize("configured", [3, 5, 0])
def test_wrong_number_of_identities_is_refused(configured, tiny_cfg, dataset):
    cfg = make_cfg(tiny_cfg, dataset, MODEL__REID_HEAD__NUM_IDENTITIES=configured)
    message = f"{dataset} has 4 identities.*NUM_IDENTITIES is {configured}; set it to 4"
    with pytest.raises(ValueError, match=message):
        build_train_loader(cfg)


def test_two_training_sets_are_refused(tiny_cfg, dataset):
    cfg = make_cfg(tiny_cfg, dataset, DATASETS__TRAIN=(dataset, dataset))
    with pytest.raises(ValueError, match=r"DATASETS\.TRAIN.*overlap"):
        build_train_loader(cfg)


@pytest.mark.parametrize("name", ["TrainingSampler", *TAIL_SAMPLERS])
def test_the_config_chooses_the_sampler(name, tiny_cfg, dataset, caplog):
    cfg = make_cfg(
        tiny_cfg, dataset, DATALOADER__SAMPLER_TRAIN=name, DATALOADER__REPEAT_THRESHOLD=0.9
    )
    with caplog.at_level(logging.INFO, "person_search.data.loaders"):
        _, sampler = build_train_loader(cfg)
    lines = [line for line in caplog.messages if line.startswith(name)]
    if name == "TrainingSampler":
        assert type(sampler) is OrientationSampler
        assert not lines
        return
    assert type(sampler) is TAIL_SAMPLERS[name][0]
    assert sampler.is_labeled.tolist() == [True, False, False, True, True, True, True]
    # Each identity is in two frames.
    assert sampler.counts.tolist() == [2, 2, 2, 2]
    assert len(lines) == 1
    assert "the rarest identities (4, in 2 frames each) are shown" in lines[0]
    straight = first_batches(cfg, 6)
    assert_same(first_batches(cfg, 2, start=4), straight[4:])


def test_settings_reach_the_samplers(tiny_cfg, dataset):
    settings = {"DATALOADER__SAMPLER_TRAIN": "RepeatFactorTrainingSampler"}
    cfg = make_cfg(tiny_cfg, dataset, DATALOADER__REPEAT_THRESHOLD=2 / 7, **settings)
    assert build_train_loader(cfg)[1].expected_draws == pytest.approx([1] * 7)
    cfg = make_cfg(tiny_cfg, dataset, DATALOADER__REPEAT_THRESHOLD=8 / 7 - 1e-9, **settings)
    with pytest.raises(ValueError, match="REPEAT_THRESHOLD"):
        build_train_loader(cfg)
    settings = {
        "DATALOADER__SAMPLER_TRAIN": "ClassBalancedSampler",
        "DATALOADER__FRAMES__UNLABELED_SHARE": 0.5,
    }
    cfg = make_cfg(tiny_cfg, dataset, **settings)
    draws = build_train_loader(cfg)[1].expected_draws
    assert draws[[1, 2]] == pytest.approx([7 / 4] * 2)
    cfg = make_cfg(tiny_cfg, dataset, DATALOADER__FRAMES__CLASS_BALANCED_BETA=2.0, **settings)
    with pytest.raises(ValueError, match=r"CLASS_BALANCED_BETA is 2\.0"):
        build_train_loader(cfg)


def test_an_unknown_sampler_is_refused(tiny_cfg, dataset):
    cfg = make_cfg(tiny_cfg, dataset, DATALOADER__SAMPLER_TRAIN="RandomSubsetTrainingSampler")
    message = (
        r"SAMPLER_TRAIN is 'RandomSubset.*expected one of \['TrainingSampler', "
        "'RepeatFactorTrainingSampler', 'ClassBalancedSampler', 'IdentityUniformSampler'"
    )
    with pytest.raises(ValueError, match=message):
        build_train_loader(cfg)
