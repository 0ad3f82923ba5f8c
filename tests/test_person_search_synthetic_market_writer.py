import argparse
import dataclasses
import hashlib
import json
import re
from collections import Counter, defaultdict

import cv2
import numpy as np
import pytest
from helpers_drawing import plain_people, write_by_two_processes
from scipy.io import loadmat

from person_search.commands import draw as command
from person_search.people import paired_iou
from person_search.synthetic import market_writer
from person_search.synthetic.contact_sheet import crop_sheet
from person_search.synthetic.market_attributes import FIELDS, market_attributes
from person_search.synthetic.market_crops import (
    DISTRACTOR,
    HAND_DRAWN,
    JUNK,
    CutBox,
    _cut,
    cut_crops,
    jitter_box,
    reference_box,
)
from person_search.synthetic.market_plan import market_world, plan_visits
from person_search.synthetic.market_writer import (
    EncodedCrop,
    choose_queries,
    person_numbers,
    write_market1501,
)
from person_search.synthetic.output_folder import spec_record
from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.people.identity import sample_identity
from person_search.synthetic.world import UNLABELLED, World
from person_search.synthetic.world_spec import PRESETS, MarketSpec
from reid_heads.data.datasets.market1501 import load_market1501

TINY = PRESETS["tiny-market"]
FEW = dataclasses.replace(
    TINY, train_frames=8, test_frames=10, train_identities=2, test_identities=3
)
"""Enough frames for every folder to have something in it."""
NAME = re.compile(r"(-1|\d{4})_c(\d)s(\d+)_(\d{6})_(\d{2})\.jpg")


def iou(box, other):
    return paired_iou(np.array([box]), np.array([other])).item()


FOLDERS = ("bounding_box_train", "bounding_box_test", "query")


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    with plain_people():
        return write_market1501(TINY, tmp_path_factory.mktemp("drawn") / "market")


@pytest.fixture(scope="module")
def world():
    return market_world(TINY)


def parsed(root, folder):
    """Person, camera and box number of every file of a folder."""
    matches = [NAME.fullmatch(p.name) for p in sorted((root / folder).iterdir())]
    assert all(matches)
    return [(int(m[1]), int(m[2]), int(m[5])) for m in matches]


def files_of(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def boxes_of(spec, world, index):
    """What ``cut_crops`` was to cut: the boxes, before pixels."""
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "person_search.synthetic.market_crops._cut",
            lambda frame, number, cut: seen.append((number, cut)),
        )
        cut_crops(world, index)
    return seen


PINNED = {
    3: "6a60fc284c40ecdc5393bd96beb831de43d30d4359d6b7cfb021f8eb06df5e54",
    30: "a20ace321f7b4b96ba2c0f81c47e4224ea3e0066ef8b188f8123b5c1b99808ed",
}
"""SHA-256 of names and pixels of a frame's crops; a change needs a new FORMAT_VERSION."""


def test_crops_are_the_same_on_every_machine(world):
    def digest(index, of=world):
        crops = cut_crops(of, index)
        return hashlib.sha256(
            b"".join(f"{c.stem} {c.identity}".encode() + c.image.tobytes() for c in crops)
        ).hexdigest()

    assert {k: digest(k) for k in PINNED} == PINNED
    was_optimised = cv2.useOptimized()
    try:
        cv2.setUseOptimized(False)
        assert digest(30, market_world(TINY)) == PINNED[30]
    finally:
        cv2.setUseOptimized(was_optimised)


def test_the_folder_is_laid_out_as_the_real_one(market):
    assert {p.name for p in market.iterdir()} == {*FOLDERS, "market_attribute.mat", "drawn.json"}
    record = json.loads((market / "drawn.json").read_text())
    assert record["layout"] == "Market-1501"
    assert record["spec"]["cameras_per_identity"] == [2, 3]
    assert len(record["content_sha256"]) == 64
    for folder in FOLDERS:
        names = [p.name for p in (market / folder).iterdir()]
        assert len(names) == record[folder] > 0
        for name in names:
            image = cv2.imread(str(market / folder / name))
            assert image.shape == (128, 64, 3)
            assert (market / folder / name).read_bytes()[:2] == b"\xff\xd8"  # JPEG


def test_the_splits_share_cameras_but_no_people(market):
    train, test, query = (parsed(market, folder) for folder in FOLDERS)
    pids = [{pid for pid, _, _ in rows} for rows in (train, test, query)]
    assert len(pids[0]) == TINY.train_identities
    assert not pids[0] & {0, -1}
    assert {0, -1} < pids[1]
    assert not pids[0] & pids[1]
    assert pids[2] <= pids[1] - {0, -1}
    # As in the real set, the numbers of the two splits are mixed.
    assert pids[0] | pids[1] - {0, -1} <= set(range(1, 13))
    assert max(pids[0]) > min(pids[1] - {0, -1})
    assert {cam for _, cam, _ in train} == {cam for _, cam, _ in test} == {1, 2, 3}
    assert {number for _, _, number in query} == {HAND_DRAWN}
    assert HAND_DRAWN not in {number for _, _, number in train + test}


def test_every_query_has_a_match_under_another_camera(market):
    gallery = {(pid, cam) for pid, cam, _ in parsed(market, "bounding_box_test")}
    queries = [(pid, cam) for pid, cam, _ in parsed(market, "query")]
    assert max(Counter(queries).values()) == 1
    for pid, cam in queries:
        assert {c for p, c in gallery if p == pid} - {cam}


def test_the_loader_reads_it(market):
    splits = {split: load_market1501(market, split) for split in ("train", "query", "gallery")}
    record = json.loads((market / "drawn.json").read_text())
    assert len(splits["train"]) == record["bounding_box_train"]
    assert len(splits["query"]) == record["query"]
    junk = [pid for pid, _, _ in parsed(market, "bounding_box_test") if pid == -1]
    assert len(splits["gallery"]) == record["bounding_box_test"] - len(junk)
    assert {d["person_id"] for d in splits["train"]} == set(range(TINY.train_identities))
    assert 0 in {d["person_id"] for d in splits["gallery"]}


def test_the_attribute_file_has_the_official_structure(market):
    whole = loadmat(market / "market_attribute.mat")["market_attribute"]
    assert whole.shape == (1, 1)
    assert set(whole.dtype.names) == {"train", "test"}
    for split, folder in (("train", "bounding_box_train"), ("test", "bounding_box_test")):
        struct = whole[0, 0][split]
        assert struct.shape == (1, 1)
        # 27 attributes, in another order in each split, then the names.
        assert struct.dtype.names == (*FIELDS[split], "image_index")
        assert len(FIELDS[split]) == 27
        people = {pid for pid, _, _ in parsed(market, folder)} - {0, -1}
        names = [str(cell[0]) for cell in struct["image_index"][0, 0][0]]
        assert names == [f"{pid:04d}" for pid in sorted(people)]
        for field in FIELDS[split]:
            values = struct[field][0, 0]
            assert values.shape == (1, len(people))
            assert values.dtype == np.uint8
    assert set(FIELDS["train"]) == set(FIELDS["test"])
    assert FIELDS["train"] != FIELDS["test"]


def test_the_attribute_file_describes_the_people_of_the_crops(market, world):
    whole = loadmat(market / "market_attribute.mat")["market_attribute"][0, 0]
    numbers = person_numbers(TINY)
    for split in ("train", "test"):
        struct = whole[split][0, 0]
        for k, cell in enumerate(struct["image_index"][0]):
            identity = numbers.index(int(cell[0]))
            assert (identity < TINY.train_identities) == (split == "train")
            expected = market_attributes(world.identity(identity))
            assert {name: int(struct[name][0, k]) for name in FIELDS[split]} == expected


def person(**changes):
    base = sample_identity(make_rng(1, Stream.IDENTITY))
    plain = {
        "age_group": "adult", "girth": 1.0, "shoulder_width": 0.113, "hip_width": 0.079,
        "has_long_hair": False, "hat": "none", "bag": "none", "upper_type": "jacket",
        "upper_name": "red", "sleeve_length": "long", "lower_type": "trousers",
        "lower_name": "navy", "lower_length": "long",
    }  # fmt: skip
    return dataclasses.replace(base, **plain | changes)


def flagged(attributes, prefix):
    return {n for n in attributes if re.fullmatch(f"{prefix}[a-z]+", n) and attributes[n] == 2}


def test_attributes_of_a_known_person():
    got = market_attributes(person())
    expected = dict.fromkeys(FIELDS["test"], 1)  # "no", long sleeves, short hair, male ...
    expected |= {"age": 3, "clothes": 2, "upred": 2, "downblue": 2}  # navy is a blue
    assert got == expected
    got = market_attributes(
        person(
            age_group="child", has_long_hair=True, hat="cap", bag="shoulder bag",
            upper_type="dress", upper_name="pink", sleeve_length="none", lower_type="dress",
            lower_name="pink", lower_length="short",
        )
    )  # fmt: skip
    expected = dict.fromkeys(FIELDS["test"], 1) | {"downpink": 2}  # no pink above in Market
    expected |= {"bag": 2, "hat": 2, "hair": 2, "up": 2, "down": 2, "gender": 2}
    assert got == expected


@pytest.mark.parametrize("colour", ["orange", "teal", "beige"])
def test_a_colour_without_counterpart_flags_none(colour):
    got = market_attributes(person(upper_name=colour, lower_name=colour))
    assert not flagged(got, "up")
    assert not flagged(got, "down")


@pytest.mark.parametrize(
    ("changes", "gender"),
    [
        ({}, 1),
        ({"has_long_hair": True}, 1),
        ({"shoulder_width": 0.098, "hip_width": 0.086}, 1),
        ({"shoulder_width": 0.098, "hip_width": 0.086, "has_long_hair": True}, 2),
        ({"lower_type": "skirt", "has_long_hair": True}, 2),
        ({"lower_type": "leggings", "shoulder_width": 0.098, "hip_width": 0.086}, 2),
    ],
)
def test_gender_is_two_of_three_drawn_properties(changes, gender):
    assert market_attributes(person(**changes))["gender"] == gender


@pytest.mark.parametrize(
    ("changes", "age"),
    [
        ({"age_group": "child"}, 1),
        ({"girth": 0.94}, 2),
        ({"girth": 0.95}, 3),
        ({"age_group": "senior", "girth": 0.9}, 4),
    ],
)
def test_age_is_drawn_too(changes, age):
    assert market_attributes(person(**changes))["age"] == age


def test_attributes_of_many_people_are_within_the_official_values():
    rng = make_rng(7, Stream.IDENTITY)
    rows = [market_attributes(sample_identity(rng)) for _ in range(400)]
    for row in rows:
        assert len(flagged(row, "up")) <= 1
        assert len(flagged(row, "down")) <= 1
    for name in FIELDS["test"]:
        values = {row[name] for row in rows}
        assert values == ({1, 2, 3, 4} if name == "age" else {1, 2}), name


def test_a_crop_is_the_part_of_the_frame_in_its_box(world):
    frame = world.draw(0)
    crop = _cut(frame, 4, CutBox(2, (10, 20, 74, 148)))
    assert np.array_equal(crop.image, frame.image[20:148, 10:74])  # of just that size
    assert crop.stem.endswith("_000001_04")
    half = _cut(frame, 4, CutBox(2, (10, 20, 42, 84)))
    mean = frame.image[20:84, 10:42].reshape(-1, 3).mean(axis=0)
    assert np.abs(half.image.reshape(-1, 3).mean(axis=0) - mean).max() < 3


@plain_people()
def test_boxes_keep_the_rule_of_the_real_set(world):
    """Good from an IoU of 0.5 with the hand-drawn box, junk from 0.2, distractors below."""
    kinds = Counter()
    for index in range(TINY.train_frames, TINY.train_frames + TINY.test_frames):
        people = world.draw(index).people
        references = {p.identity: reference_box(TINY, p.box) for p in people if p.identity >= 0}
        all_references = [reference_box(TINY, p.box) for p in people]
        cut = boxes_of(TINY, world, index)
        numbers = sorted(number for number, _ in cut if number != HAND_DRAWN)
        assert numbers == list(range(1, len(numbers) + 1))
        for number, c in cut:
            overlap = max((iou(c.box, r) for r in all_references), default=0.0)
            x1, y1, x2, y2 = c.box
            assert 0 <= x1 < x2 <= TINY.width
            assert 0 <= y1 < y2 <= TINY.height
            if number == HAND_DRAWN:
                assert c.box == references[c.identity]
            elif c.identity >= 0:
                assert iou(c.box, references[c.identity]) >= 0.5
                kinds["good"] += 1
            elif c.identity == JUNK:
                assert 0.2 <= overlap < 0.5
                kinds["junk"] += 1
            else:
                assert c.identity == DISTRACTOR
                assert overlap < 0.2 or overlap >= 0.5  # nothing, or a passer-by
                kinds["nothing" if overlap < 0.2 else "passer-by"] += 1
    assert min(kinds[k] for k in ("good", "junk", "nothing", "passer-by")) >= 3


@plain_people()
def test_training_frames_give_only_people_with_identity(world):
    for index in range(TINY.train_frames):
        assert all(c.identity >= 0 for c in cut_crops(world, index))


def test_boxes_are_as_inexact_as_the_spec_says():
    spec = dataclasses.replace(TINY, width=900, height=700)
    reference = (400, 200, 490, 400)

    def overlaps(**changes):
        changed = dataclasses.replace(spec, **changes)
        rng = make_rng(0, Stream.CROP)
        return np.array([iou(jitter_box(changed, reference, rng), reference) for _ in range(300)])

    exact = overlaps(box_shift=0.0, box_scale=0.0, partial_share=0.0)
    default, halved = overlaps(), overlaps(partial_share=1.0)
    assert exact.mean() > default.mean() + 0.05 > halved.mean() + 0.1
    assert halved.min() >= 0.5


def test_narrow_people_get_room_and_wide_ones_keep_their_box():
    assert reference_box(TINY, (100, 50, 20, 100)) == (92, 50, 128, 150)  # 36 wide
    assert reference_box(TINY, (100, 50, 60, 100)) == (100, 50, 160, 150)
    assert reference_box(TINY, (0, 50, 20, 100)) == (0, 50, 28, 150)  # cut at the frame


@plain_people()
def test_missed_people_have_no_crop():
    spec = dataclasses.replace(TINY, miss_share=1.0, junk_share=0.0, background_crops=0.0)
    world = market_world(spec)
    crops = [c for k in range(TINY.train_frames, 32) for c in cut_crops(world, k)]
    assert {c.number for c in crops} == {HAND_DRAWN}


def test_identities_pass_the_cameras_that_they_are_planned_for():
    spec = dataclasses.replace(
        TINY, train_cameras=6, test_cameras=6, cameras_per_identity=(2, 4), train_identities=20,
        test_identities=15, train_frames=150, test_frames=120,
    )  # fmt: skip
    plans = plan_visits(spec)
    assert [p.index for p in plans] == list(range(270))
    counts = defaultdict(Counter)
    splits = defaultdict(set)
    for plan in plans:
        people = [i for i in plan.people if i >= 0]
        assert len(set(people)) == len(people)
        for identity in people:
            counts[identity][plan.camera] += 1
            splits[plan.split].add(identity)
    assert splits == {"train": set(range(20)), "test": set(range(20, 35))}
    assert {len(cameras) for cameras in counts.values()} == {2, 3, 4}
    assert min(min(cameras.values()) for cameras in counts.values()) >= 2
    assert any(UNLABELLED in plan.people for plan in plans)


def crop(identity, camera, number=HAND_DRAWN, visible=1.0, split="test"):
    stem = f"c{camera + 1}s1_000001_{number:02d}"
    return EncodedCrop(split, camera, identity, number, stem, visible, b"", "")


def test_queries_are_one_per_identity_and_camera():
    crops = [crop(6, c, n) for c in (0, 2) for n in (HAND_DRAWN, HAND_DRAWN, 3)]
    crops += [crop(7, 1), crop(7, 1, 2), crop(7, 1, 5)]  # seen by one camera only
    crops += [crop(8, 0), crop(8, 2), crop(8, 0, 1)]  # detected by one camera only
    crops += [crop(DISTRACTOR, 0, 1), crop(JUNK, 1, 2), crop(0, 0, split="train")]
    queries = choose_queries(TINY, crops)
    assert [(q.identity, q.camera, q.number) for q in queries] == [(6, 0, 0), (6, 2, 0)]


def test_the_better_visible_box_is_the_query():
    crops = [crop(6, 0, visible=0.5), crop(6, 0, visible=0.9), crop(6, 0, 1), crop(6, 1, 1)]
    assert [q.visible for q in choose_queries(TINY, crops)] == [0.9]


def test_too_many_queries_cost_every_identity_its_last_cameras():
    crops = [crop(i, c, n) for i in (6, 7, 8) for c in (0, 1, 2) for n in (HAND_DRAWN, 1)]
    spec = dataclasses.replace(TINY, max_queries=5)
    asked = Counter(q.identity for q in choose_queries(spec, crops))
    assert asked == {6: 2, 7: 2, 8: 1}


def test_processes_do_not_matter(market, tmp_path):
    other = write_by_two_processes(write_market1501, TINY, tmp_path / "market")
    ours, theirs = files_of(market), files_of(other)
    assert ours.keys() == theirs.keys()
    # MATLAB files carry the time at which they were written in their first 128 bytes.
    for name, data in ours.items():
        skip = 128 if name.suffix == ".mat" else 0
        assert data[skip:] == theirs[name][skip:], name


def test_a_second_run_does_nothing_and_another_set_is_refused(market):
    before = {p: p.stat().st_mtime_ns for p in market.rglob("*")}
    assert write_market1501(TINY, market) == market
    assert {p: p.stat().st_mtime_ns for p in market.rglob("*")} == before
    with pytest.raises(FileExistsError, match="not empty"):
        write_market1501(dataclasses.replace(TINY, box_shift=0.1), market)


@plain_people()
def test_nothing_stays_when_drawing_fails(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(market_writer, "write_market_attributes", fail)
    with pytest.raises(OSError, match=r"cannot write the drawn set to .*No space left"):
        write_market1501(FEW, tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


@plain_people()
def test_specs_that_cannot_be_written_are_refused(tmp_path):
    with pytest.raises(TypeError, match="MarketSpec"):
        write_market1501(PRESETS["tiny-prw"], tmp_path / "a")
    with pytest.raises(TypeError, match="MarketSpec"):
        cut_crops(World(PRESETS["tiny-prw"]), 0)
    with pytest.raises(ValueError, match="10 cameras"):
        write_market1501(
            dataclasses.replace(TINY, train_cameras=10, test_cameras=10), tmp_path / "a"
        )
    with pytest.raises(ValueError, match="query of tiny-market would be empty"):
        write_market1501(dataclasses.replace(FEW, cameras_per_identity=(1, 1)), tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"partial_share": 1.2}, "partial_share"),
        ({"box_shift": -0.1}, "box_shift"),
        ({"cameras_per_identity": (2, 4)}, "cameras_per_identity"),
        ({"shares_cameras": False}, "shares_cameras"),
        ({"seed": -1}, "seed"),
    ],
)
def test_specs_that_cannot_be_drawn_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **changes)


def test_records_of_other_sets_know_nothing_of_crops():
    """Else sets drawn before there were crops would be taken for other sets."""
    assert isinstance(PRESETS["drawn-market"], MarketSpec)
    for name in ("drawn-cuhk", "drawn-prw"):
        assert "box_shift" not in spec_record(PRESETS[name], "any")["spec"]


def arguments(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args([str(w) for w in words])


@plain_people()
def test_the_command_draws_the_set_and_its_preview(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(
        command.PRESETS, "drawn-market", dataclasses.replace(FEW, name="drawn-market")
    )
    words = ("--set", "drawn-market", "--root", tmp_path, "--processes", 1)
    assert command.run(arguments(*words)) == 0
    assert str(tmp_path / "drawn-market") in capsys.readouterr().out
    assert (tmp_path / "drawn-market/market_attribute.mat").exists()
    assert command.run(arguments(*words, "--preview", 2)) == 0
    sheet = cv2.imread(str(tmp_path / "drawn-market-crops.png"))
    # Two columns a camera; two people, a row of distractors, one of junk.
    assert sheet.shape == (4 * 132, 6 * 68, 3)


@plain_people()
def test_the_sheet_shows_people_under_their_camera(world):
    sheet = crop_sheet(world, 1)
    first = TINY.train_identities
    for plan in (p for p in world.plans if first in p.people):
        shown = [c for c in cut_crops(world, plan.index) if c.identity == first and c.number]
        if shown:
            x = 2 * plan.camera * 68 + 2
            assert np.array_equal(sheet[2:130, x : x + 64], shown[0].image)
            return
    pytest.fail("the first test identity was never detected")
