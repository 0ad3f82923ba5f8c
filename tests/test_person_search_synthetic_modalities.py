import argparse
import dataclasses
import json
import re
from collections import Counter, defaultdict

import cv2
import numpy as np
import pytest
from helpers_drawing import plain_people, write_by_two_processes
from scipy.io import loadmat

from person_search.commands import draw as command
from person_search.synthetic import modality_shots, sysu_writer
from person_search.synthetic.canvas import Light
from person_search.synthetic.contact_sheet import write_preview
from person_search.synthetic.infrared import far_infrared, near_infrared
from person_search.synthetic.modality_sheet import modality_sheet, modality_world
from person_search.synthetic.modality_spec import RegdbSpec, SysuSpec
from person_search.synthetic.modality_world import (
    NEAR_CAMERAS,
    THERMAL,
    RegdbWorld,
    SysuWorld,
    plan_sysu,
)
from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.people.figure import paint_person
from person_search.synthetic.people.identity import sample_identity
from person_search.synthetic.people.pose import sample_pose
from person_search.synthetic.presets import ALL_PRESETS
from person_search.synthetic.regdb_writer import halves, write_regdb
from person_search.synthetic.sysu_writer import split_numbers, write_sysu_mm01

SYSU = ALL_PRESETS["tiny-sysu"]
REGDB = ALL_PRESETS["tiny-regdb"]
SPLITS = ("train", "val", "test", "available")


@pytest.fixture(scope="module")
def sysu(tmp_path_factory):
    with plain_people():
        return write_sysu_mm01(SYSU, tmp_path_factory.mktemp("drawn") / "sysu")


@pytest.fixture(scope="module")
def regdb(tmp_path_factory):
    with plain_people():
        return write_regdb(REGDB, tmp_path_factory.mktemp("drawn") / "regdb")


def files_of(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def pictures_of(sysu):
    """Numbers of the pictures by (camera, person), from 1."""
    found = defaultdict(list)
    for path in sorted(sysu.glob("cam*/*/*.jpg")):
        camera, person, number = path.relative_to(sysu).parts
        assert re.fullmatch(r"cam[1-6]", camera)
        assert re.fullmatch(r"\d{4}", person)
        assert re.fullmatch(r"\d{4}\.jpg", number)
        found[int(camera[3:]), int(person)].append(int(number[:4]))
    return found


def listed(sysu, split):
    text = (sysu / f"exp/{split}_id.txt").read_text()
    assert text.count("\n") == 1
    return [int(word) for word in text.split(",")]


def test_sysu_is_laid_out_as_the_real_one(sysu):
    assert {p.name for p in sysu.iterdir()} == {*(f"cam{c}" for c in range(1, 7)), "exp",
                                                "drawn.json"}  # fmt: skip
    assert {p.name for p in (sysu / "exp").iterdir()} == {
        "rand_perm_cam.mat",
        *(f"{s}_id{suffix}" for s in SPLITS for suffix in (".txt", ".mat")),
    }
    pictures = pictures_of(sysu)
    for numbers in pictures.values():
        assert numbers == list(range(1, len(numbers) + 1))
    record = json.loads((sysu / "drawn.json").read_text())
    assert record["layout"] == "SYSU-MM01"
    infrared = sum(len(n) for (camera, _), n in pictures.items() if camera in (3, 6))
    assert record["infrared"] == infrared
    assert record["visible"] == sum(map(len, pictures.values())) - infrared
    assert record["identities"] == 9


def test_sysu_lists_agree_and_share_nobody(sysu):
    members = {split: listed(sysu, split) for split in SPLITS}
    for split, numbers in members.items():
        mat = loadmat(sysu / f"exp/{split}_id.mat")["id"]
        assert mat.shape == (1, len(numbers))
        assert mat.dtype == np.uint16
        assert mat[0].tolist() == numbers == sorted(set(numbers))
    train, val, test = (set(members[s]) for s in SPLITS[:3])
    assert (len(train), len(val), len(test)) == (4, 1, 4)  # a quarter of 5, rounded
    assert not train & val
    assert not (train | val) & test
    assert train | val | test == set(members["available"])
    assert {person for _, person in pictures_of(sysu)} == set(members["available"])
    # Some numbers are nobody's, and the splits are mixed, as in the real set.
    big = split_numbers(ALL_PRESETS["drawn-sysu"])
    assert max(big["available"]) > len(big["available"])
    assert min(big["test"]) < max(big["train"])
    assert max(big["test"]) > min(big["train"])


def test_everybody_can_be_found_in_the_other_modality(sysu):
    cameras = defaultdict(set)
    for camera, person in pictures_of(sysu):
        cameras[person].add(camera)
    for passed in cameras.values():
        assert passed & {3, 6}
        # Camera 2 hangs where camera 3 does and does not count for it.
        assert passed & {1, 4, 5}


def test_sysu_permutations_have_the_official_structure(sysu):
    cell = loadmat(sysu / "exp/rand_perm_cam.mat")["rand_perm_cam"]
    assert cell.shape == (6, 1)
    assert cell.dtype == object
    counts = {key: len(numbers) for key, numbers in pictures_of(sysu).items()}
    largest = max(listed(sysu, "available"))
    for camera in range(6):
        people = cell[camera, 0]
        assert people.shape == (largest, 1)
        for person in range(1, largest + 1):
            trials = people[person - 1, 0]
            count = counts.get((camera + 1, person), 0)
            assert trials.shape == (10, count)
            assert trials.dtype == np.uint8
            for trial in trials:
                assert sorted(trial.tolist()) == list(range(1, count + 1))
    trials = np.concatenate([cell[0, 0][p - 1, 0] for p in listed(sysu, "test")], axis=1)
    assert len({tuple(trial) for trial in trials.tolist()}) > 1


def test_infrared_pictures_are_grey_and_others_are_not(sysu, regdb):
    colour, grey = [], []
    for path in sysu.glob("cam*/*/*.jpg"):
        (grey if path.parts[-3] in ("cam3", "cam6") else colour).append(cv2.imread(str(path)))
    for folder, pictures in (("Visible", colour), ("Thermal", grey)):
        for path in (regdb / folder).glob("*/*.bmp"):
            pictures.append(cv2.imread(str(path)))
            assert pictures[-1].shape == (128, 64, 3)
    assert len(grey) > 20
    for world in (SysuWorld(SYSU), RegdbWorld(REGDB)):  # with whole people, not plain ones
        infrared = [shot.index for shot in world.shots if world.is_infrared(shot.camera)]
        grey += [world.crop(index) for index in infrared[:4]]
    for picture in grey:
        assert (picture == picture[:, :, :1]).all()
        assert picture.std() > 4  # somebody is on it
    assert all((picture != picture[:, :, :1]).mean() > 0.5 for picture in colour)


@pytest.mark.parametrize("seen", [near_infrared, far_infrared])
def test_infrared_keeps_the_silhouette_but_not_the_colours(seen):
    for k in range(12):
        person = sample_identity(make_rng(3, Stream.IDENTITY, k))
        pose = sample_pose(make_rng(3, Stream.PREVIEW, k))
        drawn = []
        for who in (person, seen(person, make_rng(3, Stream.INFRARED, k))):
            drawn.append(paint_person(who, pose, 100.0, Light(0.0, 0.1)))
        ours, theirs = drawn
        assert (ours.left, ours.top) == (theirs.left, theirs.top)
        # Prints, which heat does not show, blunt the smooth edge a little.
        ours_in, theirs_in = (sprite.bgra[:, :, 3] > 127 for sprite in drawn)
        assert (ours_in != theirs_in).mean() < 0.01
        assert not np.array_equal(ours.bgra, theirs.bgra)


def test_near_infrared_is_about_materials_not_dyes():
    """The brightness of a garment in colour says little of its brightness in near infrared."""
    seen, shown, again = [], [], []
    for k in range(300):
        person = sample_identity(make_rng(4, Stream.IDENTITY, k))
        shown.append(sum(person.upper_colour))
        for levels in (seen, again):
            levels.append(near_infrared(person, make_rng(4, Stream.INFRARED, k)).upper_colour[0])
    assert seen == again
    assert min(seen) < 70
    assert max(seen) > 200
    assert abs(np.corrcoef(shown, seen)[0, 1]) < 0.65


def test_heat_shows_thin_clothes_brighter_and_no_prints():
    base = sample_identity(make_rng(5, Stream.IDENTITY))

    def warmth(**changes):
        person = dataclasses.replace(base, **{"upper_pattern": "stripes"} | changes)
        return far_infrared(person, make_rng(5, Stream.INFRARED))

    thin, thick = warmth(upper_type="t-shirt"), warmth(upper_type="coat")
    assert thin.skin_colour[0] > thin.upper_colour[0] > thick.upper_colour[0]
    assert thick.upper_colour[0] > thick.bag_colour[0]
    assert thin.upper_pattern == thick.upper_pattern == "plain"
    black, white = (warmth(upper_colour=(c, c, c)) for c in (20, 240))
    assert black.upper_colour == white.upper_colour


def test_the_infrared_camera_three_hangs_where_camera_two_does():
    world = SysuWorld(SYSU)
    two, three, six = (world.scene(k) for k in (1, 2, 5))
    assert [(o.x, o.y) for o in two.objects] == [(o.x, o.y) for o in three.objects]
    assert (two.camera.horizon, two.camera.scene) == (three.camera.horizon, three.camera.scene)
    assert (six.camera.horizon, six.camera.scene) != (three.camera.horizon, three.camera.scene)
    dim = world.scene(4).camera.brightness
    assert dim < min(world.scene(k).camera.brightness for k in (0, 1, 3))


def test_the_plan_of_the_full_set_gives_ten_shots_of_every_test_camera():
    shots = plan_sysu(ALL_PRESETS["drawn-sysu"])
    counts = Counter((s.identity, s.camera, s.split) for s in shots)
    assert {n for (_, _, split), n in counts.items() if split == "test"} == {10, 11, 12}
    assert {n for (_, _, split), n in counts.items() if split == "train"} == {3, 4}
    assert {s.index for s in shots} == set(range(len(shots)))
    assert {s.camera for s in shots} == set(range(6))
    per_person = Counter(identity for identity, camera, _ in counts if camera in NEAR_CAMERAS)
    assert set(per_person.values()) == {1, 2}


def test_regdb_is_laid_out_as_the_real_one(regdb):
    assert {p.name for p in regdb.iterdir()} == {"Visible", "Thermal", "idx", "drawn.json"}
    for folder, letter in (("Visible", "v"), ("Thermal", "t")):
        assert {p.name for p in (regdb / folder).iterdir()} == {str(i) for i in range(1, 8)}
        for person in (regdb / folder).iterdir():
            names = sorted(p.name for p in person.iterdir())
            assert len(names) == REGDB.images
            for k, name in enumerate(names, 1):
                form = rf"(fe)?male_(front|back)_{letter}_{k:05d}_{person.name}\.bmp"
                assert re.fullmatch(form, name)
    assert len(list((regdb / "idx").iterdir())) == 4 * REGDB.trials


def test_regdb_labels_mean_the_same_person_in_both_modalities(regdb):
    trials = []
    for trial in range(1, REGDB.trials + 1):
        people = {}
        for split in ("train", "test"):
            for modality in ("visible", "thermal"):
                lines = (regdb / f"idx/{split}_{modality}_{trial}.txt").read_text().splitlines()
                who = {}
                for line in lines:
                    name, label = line.split(" ")
                    assert (regdb / name).is_file()
                    assert name.startswith(f"{modality.capitalize()}/")
                    assert who.setdefault(int(label), name.split("/")[1]) == name.split("/")[1]
                assert sorted(who) == list(range(len(who)))
                assert len(lines) == REGDB.images * len(who)
                people[split, modality] = who
            assert people[split, "visible"] == people[split, "thermal"]
        train, test = (set(people[s, "visible"].values()) for s in ("train", "test"))
        assert not train & test
        assert train | test == {str(i) for i in range(1, 8)}
        assert len(train) == 3
        trials.append(frozenset(train))
    assert len(set(trials)) > 1


def test_ten_halves_of_the_full_set_differ():
    spec = ALL_PRESETS["drawn-regdb"]
    trials = [tuple(halves(spec, k)["train"]) for k in range(1, 11)]
    assert len(set(trials)) == 10
    assert {len(trial) for trial in trials} == {60}


def test_regdb_shows_one_side_of_everybody():
    world = RegdbWorld(REGDB)
    for identity in range(4):
        yaws = [world._pose(identity, make_rng(0, Stream.SHOT, k)).yaw for k in range(20)]
        middle = 180 if world.is_seen_from_behind(identity) else 0
        assert max(abs((yaw - middle + 180) % 360 - 180) for yaw in yaws) <= 24


@pytest.mark.parametrize(
    ("write", "spec"),
    [(write_sysu_mm01, SYSU), pytest.param(write_regdb, REGDB, marks=pytest.mark.slow)],
)
def test_processes_do_not_matter(write, spec, sysu, regdb, tmp_path):
    ours = files_of(sysu if spec is SYSU else regdb)
    theirs = files_of(write_by_two_processes(write, spec, tmp_path / "set"))
    assert ours.keys() == theirs.keys()
    # MATLAB files carry the time at which they were written in their first 128 bytes.
    for name, data in ours.items():
        skip = 128 if name.suffix == ".mat" else 0
        assert data[skip:] == theirs[name][skip:], name


def test_drawing_is_the_same_without_vendor_kernels():
    was_optimised = cv2.useOptimized()
    digests = {}
    try:
        for optimised in (True, False):
            cv2.setUseOptimized(optimised)
            crops = [world.crop(k) for world in (SysuWorld(SYSU), RegdbWorld(REGDB))
                     for k in range(0, 48, 12)]  # fmt: skip
            digests[optimised] = [crop.tobytes() for crop in crops]
    finally:
        cv2.setUseOptimized(was_optimised)
    assert digests[True] == digests[False]


@pytest.mark.parametrize(("write", "spec"), [(write_sysu_mm01, SYSU), (write_regdb, REGDB)])
def test_a_second_run_does_nothing_and_another_set_is_refused(write, spec, sysu, regdb):
    root = sysu if spec is SYSU else regdb
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    assert write(spec, root) == root
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before
    with pytest.raises(FileExistsError, match="not empty"):
        write(dataclasses.replace(spec, seed=99), root)


@plain_people()
def test_nothing_half_written_stays(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sysu_writer, "savemat", full)
    few = dataclasses.replace(SYSU, train_identities=3, test_identities=2)
    with pytest.raises(OSError, match=r"cannot write the drawn set to .*No space left"):
        write_sysu_mm01(few, tmp_path / "set")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(modality_shots, "_draw_and_encode", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_regdb(REGDB, tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_specs_of_another_kind_are_refused(tmp_path):
    with pytest.raises(TypeError, match="SysuSpec"):
        write_sysu_mm01(REGDB, tmp_path / "set")
    with pytest.raises(TypeError, match="RegdbSpec"):
        write_regdb(ALL_PRESETS["tiny-market"], tmp_path / "set")
    crowd = dataclasses.replace(SYSU, train_identities=9000, test_identities=900)
    with pytest.raises(ValueError, match="four digits"):
        write_sysu_mm01(crowd, tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


@plain_people()
def test_a_place_where_nobody_can_stand_is_named():
    hidden = dataclasses.replace(REGDB, height_range_px=(4.0, 5.0), median_height_px=4.0)
    with pytest.raises(RuntimeError, match="nobody can stand in frame 0"):
        RegdbWorld(hidden).draw(0)


@pytest.mark.parametrize(
    ("spec", "changes", "message"),
    [
        (SYSU, {"visible_cameras": (1, 3)}, "camera 2 alone"),
        (SYSU, {"visible_cameras": (2, 5)}, "visible_cameras"),
        (SYSU, {"infrared_cameras": (0, 1)}, "infrared_cameras"),
        (SYSU, {"test_images": (4, 3)}, "test_images"),
        (SYSU, {"train_images": (4, 256)}, "train_images"),
        (SYSU, {"val_share": 1.0}, "val_share"),
        (SYSU, {"train_cameras": 4}, "6 cameras"),
        (SYSU, {"passer_by_share": 1.1}, "passer_by_share"),
        (SYSU, {"infrared_noise": -1.0}, "infrared_noise"),
        (REGDB, {"images": 0}, "images"),
        (REGDB, {"trials": 0}, "trials"),
        (REGDB, {"test_cameras": 3}, "one pair"),
    ],
)
def test_specs_that_cannot_be_drawn_are_named(spec, changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(spec, **changes)


def test_the_sheet_shows_colour_left_and_infrared_right():
    sheet = modality_sheet(modality_world(REGDB), 2, per_side=3)
    assert sheet.shape == (4 + 2 * 132, 4 + 6 * 68 + 8, 3)
    cells = sheet[4:132, 4:].astype(int)
    spread = cells.max(axis=2) - cells.min(axis=2)
    assert spread[:, : 3 * 68].max() > 30
    assert spread[:, 3 * 68 + 8 :].max() == 0
    with pytest.raises(TypeError, match="neither"):
        modality_world(ALL_PRESETS["tiny-prw"])


def arguments(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args([str(w) for w in words])


@plain_people()
@pytest.mark.parametrize("name", ["sysu", "regdb"])
def test_the_command_draws_the_set_and_its_preview(name, tmp_path, monkeypatch):
    few = {"train_identities": 3, "test_identities": 2}
    tiny = dataclasses.replace(ALL_PRESETS[f"tiny-{name}"], name=f"drawn-{name}", **few)
    monkeypatch.setitem(command.PRESETS, f"drawn-{name}", tiny)
    words = ("--set", f"drawn-{name}", "--root", tmp_path, "--processes", 1, "--seed", 5)
    assert command.run(arguments(*words)) == 0
    record = json.loads((tmp_path / f"drawn-{name}/drawn.json").read_text())
    assert record["spec"]["seed"] == 5
    paths = write_preview(tiny, tmp_path, 1)
    assert [p.name for p in paths] == [f"drawn-{name}-{k}.png" for k in ("frames", "people",
                                                                         "crops")]  # fmt: skip


def test_the_presets_scale():
    assert isinstance(ALL_PRESETS["drawn-sysu"].scaled(0.1), SysuSpec)
    assert ALL_PRESETS["drawn-sysu"].scaled(0.1).train_identities == 40
    small = ALL_PRESETS["drawn-regdb"].scaled(0.1)
    assert isinstance(small, RegdbSpec)
    assert len(RegdbWorld(small).shots) == 12 * 20
    assert RegdbWorld(small).is_infrared(THERMAL)
