import dataclasses
import hashlib
from collections import Counter

import cv2
import numpy as np
import pytest

from person_search.synthetic.crowd import draw_crowd
from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.places.camera import SCENES, make_camera, spoil
from person_search.synthetic.places.scene import build_scene
from person_search.synthetic.world import UNLABELLED, World, plan_frames
from person_search.synthetic.world_spec import PRESETS, WorldSpec

TINY = PRESETS["tiny-cuhk"]
FAULTLESS = {"colour_cast": 0.0, "exposure": 0.0, "blur": 0.0, "noise": 0.0}


def digest(frame):
    return hashlib.sha256(frame.image.tobytes() + repr(frame.people).encode()).hexdigest()


@pytest.fixture(scope="module")
def world():
    return World(TINY)


PINNED = {
    0: "bed996621c57996af15d52158441d0fb9caed4cb205571ae2cc4f1b611f30c3c",
    9: "252e13a9eba0bff25cd957ad55b3c84d4c434cbb25f36b345c9a4bdcefaeb648",
}
"""SHA-256 of pixels before compression and of the people: what "the same on every machine" means.

A change of how the world is drawn changes them: then raise ``output_folder.FORMAT_VERSION`` too.
"""


def test_frames_are_the_same_on_every_machine(world):
    assert {k: digest(world.draw(k)) for k in PINNED} == PINNED


def test_frames_do_not_depend_on_vector_instructions(world):
    was_optimised = cv2.useOptimized()
    try:
        cv2.setUseOptimized(False)
        plain = World(TINY)
        for k in (1, 10):
            assert digest(plain.draw(k)) == digest(world.draw(k))
    finally:
        cv2.setUseOptimized(was_optimised)


def test_frames_do_not_depend_on_the_order_of_drawing():
    forwards, backwards = World(TINY), World(TINY)
    last = len(forwards.plans) - 1
    first = [digest(forwards.draw(k)) for k in (0, 5, last)]
    assert first == [digest(backwards.draw(k)) for k in (last, 5, 0)][::-1]


def test_another_seed_is_another_world(world):
    other = World(dataclasses.replace(TINY, seed=TINY.seed + 1))
    assert digest(other.draw(0)) != digest(world.draw(0))


def test_annotations_lie_in_the_frame_and_people_are_visible(world):
    for k in range(len(world.plans)):
        frame = world.draw(k)
        assert frame.image.shape == (TINY.height, TINY.width, 3)
        wanted = Counter(frame.plan.people)
        got = Counter(p.identity for p in frame.people)
        assert not got - wanted
        for person in frame.people:
            x, y, w, h = person.box
            assert x >= 0
            assert y >= 0
            assert x + w <= TINY.width
            assert y + h <= TINY.height
            assert h >= 18
            assert w >= 8
            assert TINY.min_visible <= person.visible <= 1.0


def test_the_box_holds_the_drawn_person():
    spec = dataclasses.replace(
        TINY, people_per_frame=(1, 1), empty_share=0.0, clutter=0.0, train_identities=1, **FAULTLESS
    )
    world = World(spec)
    checked = 0
    for k in range(spec.train_frames):
        frame = world.draw(k)
        if len(frame.people) != 1:
            continue
        background = build_scene(spec, frame.plan.camera).background
        clean = spoil(
            background, world.scene(frame.plan.camera).camera, spec, make_rng(0, Stream.FRAME)
        )
        changed = np.abs(frame.image.astype(int) - clean).max(axis=2) > 0
        x, y, w, h = frame.people[0].box
        above = changed.copy()
        above[y : y + h, x : x + w] = False
        # Only the shadow, on the ground round the feet, may lie outside.
        assert not above[: y + h // 2].any()
        inside = changed[y : y + h, x : x + w]
        assert inside[0].any()
        if y + h < spec.height:  # else feet below the frame may be what reaches farthest
            assert inside[:, 0].any()
            assert inside[:, -1].any()
            checked += 1
    assert checked >= 5


def test_plans_keep_the_splits_apart_and_show_everybody_twice():
    spec = dataclasses.replace(TINY, train_frames=60, test_frames=40)
    plans = plan_frames(spec)
    assert [p.index for p in plans] == list(range(100))
    ids = {
        s: Counter(i for p in plans if p.split == s for i in p.people) for s in ("train", "test")
    }
    cameras = {s: {p.camera for p in plans if p.split == s} for s in ("train", "test")}
    assert set(ids["train"]) & set(ids["test"]) == {UNLABELLED}
    assert not cameras["train"] & cameras["test"]
    for split, count in (("train", spec.train_identities), ("test", spec.test_identities)):
        labelled = {i: n for i, n in ids[split].items() if i != UNLABELLED}
        assert len(labelled) == count
        assert min(labelled.values()) >= 2
    for plan in plans:
        assert max(Counter(i for i in plan.people if i >= 0).values(), default=1) == 1


def test_plans_follow_the_knobs():
    base = dataclasses.replace(
        TINY, train_frames=800, train_identities=40, people_per_frame=(4, 6), empty_share=0.1
    )

    def train_people(**changes):
        plans = plan_frames(dataclasses.replace(base, **changes))
        return [p.people for p in plans if p.split == "train"]

    people = train_people(unlabelled_share=0.3)
    # 720 frames of 5 people: standard deviation of the share 0.0076, of the empty frames 8.5.
    everybody = [i for members in people for i in members]
    assert everybody.count(UNLABELLED) / len(everybody) == pytest.approx(0.3, abs=0.04)
    assert sum(not members for members in people) == pytest.approx(80, abs=40)
    assert {len(members) for members in people} == {0, 4, 5, 6}

    def imbalance(exponent):
        shown = Counter(i for m in train_people(zipf_exponent=exponent) for i in m if i >= 0)
        return max(shown.values()) / min(shown.values())

    assert imbalance(0.0) < 2.2 < 4 < imbalance(1.0)


def test_shared_cameras_are_shared():
    plans = plan_frames(dataclasses.replace(PRESETS["tiny-prw"], train_frames=90, test_frames=90))
    assert {p.camera for p in plans if p.split == "test"} == set(range(6))


def test_sizes_follow_the_spec():
    spec = dataclasses.replace(TINY, train_frames=20, median_height_px=60.0, height_spread=0.3)
    world = World(spec)
    heights = [p.box[3] for k in range(20) for p in world.draw(k).people]
    assert 48 < np.median(heights) < 72
    assert max(heights) <= spec.height_range_px[1] * 1.25  # a hat on top


@pytest.mark.parametrize("index", range(6))
def test_every_kind_of_scene_can_be_painted(index):
    scene = build_scene(dataclasses.replace(TINY, seed=0), index)
    assert scene.camera.scene == SCENES[index]
    assert scene.background.shape == (TINY.height, TINY.width, 3)
    assert scene.background.std() > 10
    assert [o.y for o in scene.objects] == sorted(o.y for o in scene.objects)


def test_camera_geometry_is_consistent():
    camera = make_camera(TINY, 0)
    row = camera.foot_row(40.0)
    assert camera.person_height(row, 1.7) == pytest.approx(40.0)
    assert camera.person_height(row, 0.85) == pytest.approx(20.0)
    left, right = camera.walkable(row)
    assert -5 < left < right < TINY.width + 5


def test_a_faultless_camera_changes_nothing_but_the_brightest_levels():
    spec = dataclasses.replace(TINY, **FAULTLESS)
    image = make_rng(1, Stream.PREVIEW).integers(0, 204, (180, 320, 3), dtype=np.uint8)
    before = image.copy()
    seen = spoil(image, make_camera(spec, 0), spec, make_rng(1, Stream.FRAME))
    assert np.array_equal(seen, before)
    assert np.array_equal(image, before)


def test_faults_show():
    image = np.full((180, 320, 3), 120, np.uint8)
    camera = dataclasses.replace(
        make_camera(TINY, 0), noise=7.0, gains=(0.8, 1.0, 1.2), brightness=1.0
    )
    spec = dataclasses.replace(TINY, colour_cast=0.0, exposure=0.0, blur=0.0)
    seen = spoil(image, dataclasses.replace(camera, blur=0.0), spec, make_rng(1, Stream.FRAME))
    assert seen[:, :, 0].mean() == pytest.approx(96, abs=1.5)
    assert seen[:, :, 2].mean() == pytest.approx(144, abs=1.5)
    # Strength 5..9 of a tile with standard deviation 64 in 64ths.
    assert 4 < seen[:, :, 1].std() < 10


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("train_frames", 0),
        ("unlabelled_share", 1.5),
        ("height_range_px", (90.0, 30.0)),
        ("people_per_frame", (0, 3)),
        ("seed", -1),
    ],
)
def test_specs_that_cannot_be_drawn_are_named(field, value):
    with pytest.raises(ValueError, match=field):
        dataclasses.replace(TINY, **{field: value})


def test_scaling_changes_counts_only():
    spec = PRESETS["drawn-cuhk"]
    half = spec.scaled(0.5)
    assert (half.train_frames, half.test_identities) == (
        spec.train_frames / 2,
        spec.test_identities / 2,
    )
    assert (half.width, half.seed, half.train_cameras) == (
        spec.width,
        spec.seed,
        spec.train_cameras,
    )
    assert spec.scaled(1.0) is spec
    with pytest.raises(ValueError, match="scale"):
        spec.scaled(0.0)


def test_presets_are_valid_and_named_after_their_key():
    assert all(isinstance(s, WorldSpec) and s.name == name for name, s in PRESETS.items())
    assert PRESETS["drawn-cuhk"].shares_cameras is False


def test_a_crowd_from_above_fills_the_picture():
    frame = draw_crowd(960, 540, people=15, is_from_above=True)
    assert len(frame.people) == 15
    assert min(person.visible for person in frame.people) >= 0.5
    feet = [person.box[1] + person.box[3] for person in frame.people]
    assert min(feet) < 0.4 * 540 and max(feet) > 0.7 * 540
