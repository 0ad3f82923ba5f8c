"""VIPeR, PRID, i-LIDS and GRID: ten splits each, scored by the rules of Market-1501."""

import numpy as np
import pytest
from helpers_small_sets import (
    GRID_TRAIN,
    make_grid,
    make_ilids,
    make_prid,
    make_viper,
    touch,
    write_grid_partitions,
)

from reid_heads.data.datasets.grid import load_grid
from reid_heads.data.datasets.ilids import load_ilids
from reid_heads.data.datasets.prid import load_prid
from reid_heads.data.datasets.trials import draw_half, trial_generator
from reid_heads.data.datasets.viper import load_viper
from reid_heads.evaluation.ranking import evaluate_market

SETS = {
    "viper": (make_viper, load_viper),
    "prid": (make_prid, load_prid),
    "ilids": (make_ilids, load_ilids),
    "grid": (make_grid, load_grid),
}
TRIALS = range(1, 11)


def _load(load, root, trial):
    return load(root, "query", trial=trial), load(root, "gallery", trial=trial)


def _people(dicts):
    return [entry["person_id"] for entry in dicts]


@pytest.mark.parametrize("name", SETS)
def test_splits_are_whole_and_the_same_at_each_call(tmp_path, name):
    make, load = SETS[name]
    root = make(tmp_path)
    drawn = set()
    for trial in TRIALS:
        query, gallery = _load(load, root, trial)
        assert (query, gallery) == _load(load, root, trial)
        assert {d["split"] for d in query} == {"query"}
        assert {d["split"] for d in gallery} == {"gallery"}
        # One image of each person to search for, and one to find; no image is both.
        assert len(set(_people(query))) == len(query)
        assert [_people(gallery).count(pid) for pid in _people(query)] == [1] * len(query)
        assert not {d["image_id"] for d in query} & {d["image_id"] for d in gallery}
        assert all((root / d["image_id"]).is_file() for d in query + gallery)
        drawn.add(tuple(sorted(_people(query))))
    assert len(drawn) == 2 if name == "grid" else len(drawn) > 2


@pytest.mark.parametrize("name", SETS)
def test_markets_rules_leave_each_query_its_match(tmp_path, name):
    make, load = SETS[name]
    root = make(tmp_path)
    for trial in TRIALS:
        query, gallery = _load(load, root, trial)
        similarities = np.equal.outer(_people(query), _people(gallery)).astype(float)
        labels = [
            np.array([d[key] for d in dicts])
            for dicts in (query, gallery)
            for key in ("person_id", "cam_id")
        ]
        result = evaluate_market([similarities], *labels)
        assert result.num_skipped == 0
        assert result.metrics()["mAP"] == result.metrics()["top1"] == 100


def test_viper_searches_half_of_its_people_from_camera_a_in_b(tmp_path):
    query, gallery = _load(load_viper, make_viper(tmp_path), 3)
    assert _people(query) == _people(gallery) == sorted(_people(query))
    assert len(query) == 4 and set(_people(query)) <= {0, 3, 6, 9, 12, 15, 18}
    assert [(d["image_id"], d["cam_id"]) for d in query] == [
        (f"cam_a/{pid:03d}_45.bmp", 1) for pid in _people(query)
    ]
    assert [(d["image_id"], d["cam_id"]) for d in gallery] == [
        (f"cam_b/{pid:03d}_90.bmp", 2) for pid in _people(query)
    ]


def test_prid_has_100_queries_and_the_others_of_camera_b(tmp_path):
    query, gallery = _load(load_prid, make_prid(tmp_path), 1)
    assert len(query) == 100 and max(_people(query)) <= 200
    # Numbers above 200 are others in the two cameras: no query has one.
    assert _people(gallery) == [*_people(query), *range(201, 206)]
    assert query[0]["image_id"] == f"single_shot/cam_a/person_{_people(query)[0]:04d}.png"
    assert {d["cam_id"] for d in query} == {1} and {d["cam_id"] for d in gallery} == {2}


@pytest.mark.parametrize("folder", ["Persons", "images"])
def test_ilids_takes_two_images_of_each_person(tmp_path, folder):
    root = make_ilids(tmp_path, folder)
    query, gallery = _load(load_ilids, root, 2)
    assert len(query) == 4 and _people(query) == _people(gallery) == sorted(_people(query))
    for first, second in zip(query, gallery, strict=True):
        assert first["image_id"].startswith(f"{folder}/{first['person_id']:04d}")
        assert first["cam_id"] != second["cam_id"]
        assert first["cam_id"] == int(first["image_id"][-7:-4])
    # Any image is drawn some time, not the first two always.
    parts = [part for trial in TRIALS for part in _load(load_ilids, root, trial)]
    assert {1, 2, 3, 4} <= {entry["cam_id"] for part in parts for entry in part}


@pytest.mark.parametrize("trial", [1, 2, 10])
def test_grid_has_its_own_partitions_and_keeps_distractors(tmp_path, trial):
    query, gallery = _load(load_grid, make_grid(tmp_path), trial)
    tested = [pid for pid in range(1, 6) if pid not in GRID_TRAIN.get(trial, GRID_TRAIN[1])]
    assert _people(query) == tested
    assert _people(gallery) == [0, 0, 0, *tested]
    assert [d["cam_id"] for d in gallery] == [1, 5, 7, 5, 5, 5]
    assert {d["cam_id"] for d in query} == {1}


def test_a_half_is_drawn_by_number_whatever_the_order():
    people = [9, 4, 7, 1, 5]
    half = draw_half(people, trial_generator(1))
    assert len(half) == 3 and half < set(people)
    assert half == draw_half(sorted(people), trial_generator(1))
    # The halves of split 1 of every version of NumPy: RandomState's stream is frozen.
    assert half == {sorted(people)[row] for row in np.random.RandomState(1).permutation(5)[2:]}
    counts = np.zeros(10)
    for trial in TRIALS:
        counts[list(draw_half(range(10), trial_generator(trial)))] += 1
    assert counts.sum() == 50 and counts.min() >= 1


@pytest.mark.parametrize("name", SETS)
def test_unknown_trials_and_splits(tmp_path, name):
    make, load = SETS[name]
    root = make(tmp_path)
    for trial in (0, 11):
        with pytest.raises(ValueError, match=f"the trial is {trial}, expected 1 to 10"):
            load(root, "query", trial=trial)
    with pytest.raises(ValueError, match="the split 'train' is unknown; choose one of query, gal"):
        load(root, "train")


@pytest.mark.parametrize("name", SETS)
def test_missing_folders(tmp_path, name):
    _, load = SETS[name]
    with pytest.raises(FileNotFoundError, match=r"(no folder|missing).*: is the"):
        load(tmp_path, "query")


def test_incomplete_viper(tmp_path):
    root = make_viper(tmp_path)
    (root / "cam_b" / "006_90.bmp").unlink()
    (root / "cam_b" / "018_90.bmp").unlink()
    with pytest.raises(ValueError, match="person 6 is in one of cam_a/ and cam_b/ only, and so a"):
        load_viper(root, "query")
    touch(root / "cam_a", ["006_135.bmp"])
    with pytest.raises(ValueError, match=r"two images of person 6, 006_135\.bmp and 006_45\.bmp"):
        load_viper(root, "query")
    touch(root / "cam_a", ["000.bmp"])
    with pytest.raises(ValueError, match=r"000\.bmp: expected a name as 000_45\.bmp"):
        load_viper(root, "query")


def test_incomplete_prid(tmp_path):
    root = make_prid(tmp_path)
    (root / "single_shot" / "cam_b" / "person_0007.png").unlink()
    for split in ("query", "gallery"):
        with pytest.raises(ValueError, match=r"cam_b has no image of person 7, one of the 200"):
            load_prid(root, split)


def test_incomplete_ilids(tmp_path):
    root = make_ilids(tmp_path)
    touch(root / "Persons", ["0099001.jpg"])
    with pytest.raises(ValueError, match=r"one image of person 99 only, 0099001\.jpg"):
        load_ilids(root, "query")
    touch(root / "Persons", ["person1.jpg"])
    with pytest.raises(ValueError, match=r"person1\.jpg: expected a name as 0001001\.jpg"):
        load_ilids(root, "query")


def test_incomplete_grid(tmp_path):
    root = make_grid(tmp_path)
    (root / "gallery" / "0004_5_25023_116_134_128_4.jpeg").unlink()
    with pytest.raises(ValueError, match=r"0004_1_.*: person 4 is not in gallery/"):
        load_grid(root, "query", trial=1)
    touch(root / "probe", ["person5.jpeg"])
    with pytest.raises(ValueError, match=r"person5\.jpeg: the name does not begin with person an"):
        load_grid(root, "query")


def test_broken_partitions_of_grid(tmp_path):
    root = make_grid(tmp_path)
    path = root / "features_and_partitions.mat"
    write_grid_partitions(path, trials=2)
    assert load_grid(root, "query", trial=2)
    with pytest.raises(ValueError, match="'trainIdxAll' has 2 partitions, not 3"):
        load_grid(root, "query", trial=3)
    write_grid_partitions(path, field="people")
    with pytest.raises(ValueError, match=r"fields \['galleryImIdx', 'people', .*not 'personIdx'"):
        load_grid(root, "query")
    write_grid_partitions(path, people={1: (0, 1)})
    with pytest.raises(ValueError, match="people numbered from 1 in 'personIdx', got"):
        load_grid(root, "query")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"features_and_partitions\.mat is missing"):
        load_grid(root, "query")
