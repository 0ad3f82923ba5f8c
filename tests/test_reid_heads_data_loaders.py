from itertools import islice

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from reid_heads.config import add_crop_reid_config
from reid_heads.data import loaders
from reid_heads.data.loaders import (
    build_test_loader,
    build_train_loader,
    check_num_identities,
    iterations_per_epoch,
)

# Crops of each person; P x K is 2 x 2 below.
COUNTS = (3, 5, 2, 6, 4)
GROUPS = (("hat", ("no", "yes")), ("up", ("red", "blue", "none")))


def write_crops(folder, counts, first_pid=0):
    folder.mkdir()
    crops = []
    for pid, count in enumerate(counts, first_pid):
        for number in range(count):
            name = f"{pid:04}_c{number % 3 + 1}s1_{number:06}_00.png"
            noise = np.random.default_rng([pid, number]).integers(0, 255, (12, 6, 3))
            Image.fromarray(noise.astype(np.uint8)).save(folder / name)
            crops.append(
                {
                    "file_name": str(folder / name),
                    "image_id": name,
                    "person_id": pid,
                    "cam_id": number % 3 + 1,
                    "attributes": [pid % 2, number % 3],
                }
            )
    return crops


@pytest.fixture
def register(tmp_path):
    """Register crops of people under a name, with metadata."""
    names = []

    def make(name="toy_crops", counts=COUNTS, first_pid=0, crops=None, **metadata):
        if crops is None:
            crops = write_crops(tmp_path / name, counts, first_pid)
        DatasetCatalog.register(name, lambda: crops)
        names.append(name)
        MetadataCatalog.get(name).set(evaluator_type="reid", **metadata)
        return name

    yield make
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def make_cfg(*names, **overrides):
    cfg = get_cfg()
    add_crop_reid_config(cfg)
    settings = {
        "DATASETS__TRAIN": names,
        "SOLVER__IMS_PER_BATCH": 4,
        "DATALOADER__REID__IMAGES_PER_IDENTITY": 2,
        "DATALOADER__NUM_WORKERS": 0,
        "INPUT__REID__SIZE": (16, 8),
        "INPUT__REID__PADDING": 2,
        "MODEL__REID_HEAD__NUM_IDENTITIES": len(COUNTS),
        "SEED": 0,
        **overrides,
    }
    for key, value in settings.items():
        cfg.merge_from_list([key.replace("__", "."), value])
    return cfg


def first_batches(cfg, count, start=0):
    loader, sampler = build_train_loader(cfg)
    sampler.start_iteration = start
    return list(islice(loader, count))


def assert_same(first, second):
    assert len(first) == len(second)
    for one, two in zip(first, second, strict=True):
        assert [x["image_id"] for x in one] == [x["image_id"] for x in two]
        for a, b in zip(one, two, strict=True):
            assert torch.equal(a["image"], b["image"])


# --- training --------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["random_identity", "identity_uniform"])
def test_batches_are_p_identities_of_k_augmented_crops(sampler, register):
    cfg = make_cfg(register(), DATALOADER__REID__SAMPLER=sampler)
    for batch in first_batches(cfg, 9):
        pids = [x["person_id"] for x in batch]
        assert pids[0] == pids[1] != pids[2] == pids[3]
        for x in batch:
            assert x["image"].shape == (3, 16, 8)
            assert x["image_id"].startswith(f"{x['person_id']:04}_c{x['cam_id']}")
            assert x["attributes"].tolist()[0] == x["person_id"] % 2
            assert x["domain"] == 0


def test_workers_give_the_batches_of_the_main_process(register):
    name = register()
    alone = first_batches(make_cfg(name), 7)
    assert_same(alone, first_batches(make_cfg(name, DATALOADER__NUM_WORKERS=2), 7))


@pytest.mark.parametrize(
    ("sampler", "workers"),
    [("random_identity", 0), ("identity_uniform", 0), ("random_identity", 2)],
)
def test_resumed_loader_continues_the_straight_one(sampler, workers, register):
    name = register()
    straight = first_batches(make_cfg(name, DATALOADER__REID__SAMPLER=sampler), 9)
    cfg = make_cfg(name, DATALOADER__REID__SAMPLER=sampler, DATALOADER__NUM_WORKERS=workers)
    assert_same(first_batches(cfg, 4, start=5), straight[5:])


def test_two_processes_join_to_the_batch(register, monkeypatch):
    name = register()
    whole = first_batches(make_cfg(name), 6)
    monkeypatch.setattr(loaders.comm, "get_world_size", lambda: 2)
    parts = []
    for rank in range(2):
        monkeypatch.setattr(loaders.comm, "get_rank", lambda rank=rank: rank)
        parts.append(first_batches(make_cfg(name), 6))
    assert_same([a + b for a, b in zip(*parts, strict=True)], whole)


def test_building_an_iterator_draws_nothing_from_torch(register):
    """DataLoader's iterator takes its workers' seed from torch's global generator: a resumed run,
    which makes it at another iteration, would then draw other numbers than a straight run."""
    loader, _ = build_train_loader(make_cfg(register()))
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    next(iter(loader))
    assert torch.equal(torch.rand(1), expected)


def test_a_long_run_keeps_no_keys(register):
    """detectron2's MapDataset remembers every key that it was asked for: memory grew all along."""
    loader, _ = build_train_loader(make_cfg(register()))
    list(islice(loader, 30))
    held = [value for value in vars(loader.dataset).values() if isinstance(value, set | list)]
    assert not held


def test_a_broken_image_stops_training_with_its_name(register, tmp_path):
    name = register()
    for path in (tmp_path / name).glob("*"):
        path.write_bytes(b"")
    loader, _ = build_train_loader(make_cfg(name))
    with pytest.raises(OSError, match=r"toy_crops/.*is empty"):
        next(iter(loader))


# --- several training sets -------------------------------------------------------------------


def test_several_sets_are_joined_with_their_own_people(register):
    names = register("toy_a"), register("toy_b", counts=(2, 2))
    cfg = make_cfg(*names, MODEL__REID_HEAD__NUM_IDENTITIES=7)
    seen = {}
    for batch in first_batches(cfg, 30):
        for x in batch:
            seen.setdefault(x["domain"], set()).add(x["person_id"])
    assert seen == {0: {0, 1, 2, 3, 4}, 1: {5, 6}}
    # The catalogued dicts are as they were.
    assert {crop["person_id"] for crop in DatasetCatalog.get("toy_b")} == {0, 1}
    assert "domain" not in DatasetCatalog.get("toy_b")[0]


def test_ids_that_are_no_training_ids_are_refused(register):
    name = register("toy_ids", first_pid=3)
    with pytest.raises(ValueError, match=r"toy_ids has person ids from 3 to 7, 5 of them.*0\.\.4"):
        build_train_loader(make_cfg(name))


def test_a_set_without_identities_is_not_told_to_expect_none():
    """The advice "set it to 0" ended in the heads' error that 0 is too few."""
    cfg = make_cfg(MODEL__REID_HEAD__NUM_IDENTITIES=5)
    with pytest.raises(ValueError, match=r"nobody with an identity, .* give its people"):
        check_num_identities(cfg, 0)


@pytest.mark.parametrize("configured", [4, 6, 0])
def test_wrong_number_of_identities_is_refused(configured, register):
    cfg = make_cfg(register(), MODEL__REID_HEAD__NUM_IDENTITIES=configured)
    message = f"toy_crops has 5 identities.*NUM_IDENTITIES is {configured}; set it to 5"
    with pytest.raises(ValueError, match=message):
        build_train_loader(cfg)


def test_no_set_and_empty_sets_are_refused(register):
    with pytest.raises(ValueError, match=r"DATASETS\.TRAIN is empty"):
        build_train_loader(make_cfg())
    name = register(crops=[])
    with pytest.raises(ValueError, match="toy_crops is empty"):
        build_train_loader(make_cfg(name))
    with pytest.raises(ValueError, match="toy_crops is empty"):
        build_test_loader(make_cfg(), name)


def test_unknown_sampler_is_refused(register):
    cfg = make_cfg(register(), DATALOADER__REID__SAMPLER="balanced")
    with pytest.raises(ValueError, match=r"SAMPLER is 'balanced'.*'identity_uniform'"):
        build_train_loader(cfg)


# --- attributes ------------------------------------------------------------------------------


def make_attribute_cfg(*names, classes=(2, 3), **overrides):
    return make_cfg(
        *names,
        MODEL__REID_HEAD__LOSSES__ATTRIBUTES=1.0,
        MODEL__REID_HEAD__ATTRIBUTES__CLASSES=classes,
        **overrides,
    )


@pytest.mark.parametrize(
    "metadata", [{"attribute_groups": GROUPS}, {"load_attribute_groups": lambda: list(GROUPS)}]
)
def test_attributes_that_agree_are_taken(metadata, register):
    (batch,) = first_batches(make_attribute_cfg(register(**metadata)), 1)
    assert all(x["attributes"].dtype == torch.int64 for x in batch)


@pytest.mark.parametrize("classes", [(), (2,), (3, 2), (2, 4)])
def test_wrong_classes_are_refused(classes, register):
    cfg = make_attribute_cfg(register(attribute_groups=GROUPS), classes=classes)
    with pytest.raises(
        ValueError, match=r"toy_crops have \(2, 3\) .*CLASSES is .*set it to \(2, 3"
    ):
        build_train_loader(cfg)


@pytest.mark.parametrize("metadata", [{}, {"attribute_groups": ()}])
def test_a_set_without_attributes_is_refused(metadata, register):
    name = register(**metadata)
    with pytest.raises(ValueError, match=r"toy_crops has no attributes; set .*ATTRIBUTES to 0"):
        build_train_loader(make_attribute_cfg(name))
    # Without the loss it does not matter.
    assert first_batches(make_cfg(name), 1)


def test_sets_with_different_attributes_are_refused(register):
    names = (
        register("toy_a", attribute_groups=GROUPS),
        register("toy_b", attribute_groups=GROUPS[:1]),
    )
    cfg = make_attribute_cfg(*names, MODEL__REID_HEAD__NUM_IDENTITIES=10)
    with pytest.raises(ValueError, match="toy_a and toy_b have different attributes"):
        build_train_loader(cfg)


@pytest.mark.parametrize("attributes", [None, [1], [1, 2, 0], [1, 3], [-2, 0]])
def test_a_crop_with_unsuitable_attributes_is_named(attributes, register, tmp_path):
    crops = write_crops(tmp_path / "crops", COUNTS)
    if attributes is None:
        del crops[4]["attributes"]
    else:
        crops[4]["attributes"] = attributes
    name = register(crops=crops, attribute_groups=GROUPS)
    with pytest.raises(ValueError, match=rf"{crops[4]['image_id']} has the attributes.*\[2, 3\]"):
        build_train_loader(make_attribute_cfg(name))


@pytest.mark.parametrize(
    ("key", "value"), [("BOX_JITTER", 0.1), ("FRAME_MIN_SIZE", 64), ("CACHE_MB", 8)]
)
def test_settings_of_cutting_without_anything_to_cut_are_refused(key, value, register, tmp_path):
    crops = write_crops(tmp_path / "crops", COUNTS)
    cfg = make_cfg(register(crops=crops), **{f"INPUT__REID__{key}": value})
    with pytest.raises(ValueError, match=rf"got INPUT\.REID\.{key} {value}, but .* are crops"):
        build_train_loader(cfg)
    crops[3]["bbox"] = (0, 0, 2, 4)
    build_train_loader(cfg)


# --- epochs ----------------------------------------------------------------------------------


def test_iterations_per_epoch(register):
    """20 crops in batches of 4. Chunks of 2: 1 + 2 + 1 + 3 + 2 = 9, two a batch: 4 batches, or 3
    if three chunks of one person are left over."""
    name = register()
    uniform = make_cfg(name, DATALOADER__REID__SAMPLER="identity_uniform")
    assert iterations_per_epoch(uniform) == 5
    lengths = set()
    for seed in range(12):
        cfg = make_cfg(name, SEED=seed)
        lengths.add(iterations_per_epoch(cfg))
        assert iterations_per_epoch(cfg) == build_train_loader(cfg)[1].epoch_length
    assert lengths <= {3, 4} and 4 in lengths


# --- test ------------------------------------------------------------------------------------


def test_test_loader_gives_each_crop_once_in_order(register, monkeypatch):
    monkeypatch.setattr(loaders, "TEST_BATCH_SIZE", 8)
    # A test set keeps its own numbers.
    name = register(first_pid=700)
    batches = list(build_test_loader(make_cfg(), name))
    assert [len(batch) for batch in batches] == [8, 8, 4]
    crops = [x for batch in batches for x in batch]
    expected = DatasetCatalog.get(name)
    assert [x["image_id"] for x in crops] == [crop["image_id"] for crop in expected]
    assert [x["person_id"] for x in crops] == [crop["person_id"] for crop in expected]
    assert all(x["image"].shape == (3, 16, 8) and "attributes" not in x for x in crops)


@pytest.mark.slow  # the training loader's workers are started as these are
def test_test_loader_with_workers(register):
    name = register()
    alone = list(build_test_loader(make_cfg(), name))
    assert_same(list(build_test_loader(make_cfg(DATALOADER__NUM_WORKERS=2), name)), alone)
