"""The drawn faces: people, poses, pictures and the set on disk."""

import collections
import dataclasses
import hashlib
import json
import math

import cv2
import numpy as np
import pytest
from helpers_drawing import write_by_two_processes

from person_search.commands import draw as command
from person_search.synthetic.face_writer import pair_lines, write_faces
from person_search.synthetic.faces.identity import make_face, resemble, sample_face
from person_search.synthetic.faces.sheet import face_sheet, write_face_preview
from person_search.synthetic.faces.spec import FACE_PRESETS, FaceSpec
from person_search.synthetic.faces.view import FaceView, five_points, sample_shot
from person_search.synthetic.faces.world import FaceWorld, draw_face, person_name, plan_faces
from person_search.synthetic.palette import Stream, make_rng
from reid_heads.data.datasets.face_folders import load_face_folder, load_paired_faces
from reid_heads.face_pairs import read_pairs
from reid_heads.faces.alignment import TEMPLATE

TINY = FACE_PRESETS["tiny-faces"]
STILL = dataclasses.replace(
    TINY, yaw=0, pitch=0, misalignment=0, light=0, expression=0, occlusion=0, colour_cast=0,
    exposure=0, blur=0, noise=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return write_faces(TINY, tmp_path_factory.mktemp("faces") / "tiny-faces")


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    total = hashlib.sha256()
    for path in files:
        total.update(f"{path.relative_to(folder)}".encode() + path.read_bytes())
    return len(files), total.hexdigest()


def test_the_real_loaders_read_the_set(drawn):
    train, test = (load_face_folder(drawn / split) for split in ("train", "test"))
    persons = [{f["image_id"].split("/")[0] for f in faces} for faces in (train, test)]
    assert [len(names) for names in persons] == [5, 6]
    assert not persons[0] & persons[1]
    assert len(load_paired_faces(drawn / "test", drawn / "pairs.txt")) <= len(test) == 18
    pairs = read_pairs(drawn / "pairs.txt")
    assert len(pairs.first) == 24
    # Nobody is in two folds.
    folds = collections.defaultdict(set)
    for one, other, fold in zip(pairs.first, pairs.second, pairs.folds, strict=True):
        folds[int(fold)] |= {one.split("/")[0], other.split("/")[0]}
    assert sum(map(len, folds.values())) == len(set.union(*folds.values())) == 6
    assert len(set(zip(pairs.first, pairs.second, strict=True))) == 24
    record = json.loads((drawn / "drawn.json").read_text())
    assert (record["train_faces"], record["test_faces"]) == (len(train), 18)
    assert cv2.imread(train[0]["file_name"]).shape == (112, 112, 3)


def test_same_bytes_with_two_processes_and_never_twice(drawn, tmp_path):
    again = write_by_two_processes(write_faces, TINY, tmp_path / "tiny-faces")
    assert digest(again) == digest(drawn)
    before = {path: path.stat().st_mtime_ns for path in again.rglob("*")}
    write_faces(TINY, again)
    assert before == {path: path.stat().st_mtime_ns for path in again.rglob("*")}
    with pytest.raises(FileExistsError, match="does not hold tiny-faces with seed 10"):
        write_faces(dataclasses.replace(TINY, seed=10), again)


def test_another_seed_is_another_set_and_nothing_half_written_stays(drawn, tmp_path, monkeypatch):
    first, other = FaceWorld(TINY), FaceWorld(dataclasses.replace(TINY, seed=10))
    assert not np.array_equal(first.draw(0), other.draw(0))

    def fail(*_):
        raise OSError(28, "no space")

    monkeypatch.setattr("person_search.synthetic.face_writer.save_record", fail)
    with pytest.raises(OSError, match="cannot write the drawn set"):
        write_faces(dataclasses.replace(TINY, train_identities=1), tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_does_not_depend_on_how_many_there_are():
    more = dataclasses.replace(TINY, train_images=(9, 9), occlusion=TINY.occlusion)
    few, many = FaceWorld(TINY), FaceWorld(more)
    index = next(p.index for p in many.plans if (p.identity, p.number) == (1, 2))
    other = next(p.index for p in few.plans if (p.identity, p.number) == (1, 2))
    np.testing.assert_array_equal(few.draw(other), many.draw(index))


def test_the_tail_has_few_faces():
    spec = FACE_PRESETS["drawn-faces"]
    counts = collections.Counter(plan.identity for plan in plan_faces(spec))
    head = [counts[i] for i in range(240)]
    tail = [counts[i] for i in range(240, 300)]
    test = [counts[i] for i in range(300, 400)]
    assert (min(head), max(head)) == (16, 20)
    assert (min(tail), max(tail)) == (2, 8)
    assert (min(test), max(test)) == (10, 12)
    # As LFW: ten folds of 300 pairs of each kind.
    assert len(pair_lines(spec, plan_faces(spec))) == 6001


def test_a_fold_with_too_few_pairs_is_refused(tmp_path):
    spec = dataclasses.replace(TINY, pairs_per_fold=7)
    with pytest.raises(ValueError, match="fold 1 of tiny-faces has 6 pairs of one person"):
        write_faces(spec, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_every_view_is_aligned_to_the_template():
    """Whatever the pose, the five points of the aligned picture are their best similarity fit."""
    rng = np.random.default_rng(0)
    face = sample_face(rng)
    spec = dataclasses.replace(TINY, misalignment=0, yaw=25)
    for _ in range(20):
        shot = sample_shot(spec, face, rng)
        view = FaceView(face, shot)
        seen = np.array([view.at(*point) for point in five_points(face, shot)])
        pixels = np.column_stack([seen[:, 0] * 112 + 55.5, (1 - seen[:, 1]) * 112 - 0.5])
        # At the least-squares optimum the rest has no mean, no turn and no scale.
        rest, centred = TEMPLATE - pixels, pixels - pixels.mean(axis=0)
        np.testing.assert_allclose(rest.mean(axis=0), 0, atol=1e-9)
        assert abs((rest * centred).sum()) < 1e-7
        assert abs((rest[:, 0] * centred[:, 1] - rest[:, 1] * centred[:, 0]).sum()) < 1e-7
        assert np.abs(rest).max() < 25


def test_the_eyes_are_dark_where_the_template_has_them():
    spec = dataclasses.replace(STILL, test_identities=12, folds=2, pairs_per_fold=1)
    for identity in range(3):
        rng = make_rng(0, Stream.FACE, identity)
        face = dataclasses.replace(
            sample_face(rng), glasses="none", skin_colour=(240, 196, 164), hair_style="short"
        )
        image = draw_face(spec, face, sample_shot(spec, face, rng), rng).astype(int).sum(axis=2)
        for x, y in TEMPLATE[:2].round().astype(int):
            around = image[y - 4 : y + 5, x - 5 : x + 6]
            assert around.min() < 0.4 * image[y + 14, x]


def test_turning_left_and_right_moves_the_nose_across_the_face():
    face = sample_face(np.random.default_rng(3))
    rng = np.random.default_rng(0)
    shot = dataclasses.replace(sample_shot(STILL, face, rng), pitch=0.0)

    def nose_from_eyes(yaw):
        view = FaceView(face, dataclasses.replace(shot, yaw=yaw))
        left, right, nose = (view.at(*p)[0] for p in five_points(face, shot)[:3])
        return nose - (left + right) / 2

    assert nose_from_eyes(30) > 0.05 > nose_from_eyes(0) > -0.05 > nose_from_eyes(-30)
    # The template is not quite symmetric.
    assert math.isclose(nose_from_eyes(30), -nose_from_eyes(-30), abs_tol=5e-3)


def test_near_duplicates_are_half_way_to_another_of_their_range():
    faces = [make_face(5, index, 1.0, 100) for index in range(100, 108)]
    first = [sample_face(make_rng(5, Stream.FACE, index)) for index in range(100, 108)]
    assert faces[0] == first[0]
    for index in range(1, 8):
        candidates = [resemble(first[index], model) for model in first[:index]]
        assert faces[index] in candidates
        assert faces[index] != first[index]
    assert make_face(5, 103, 0.0, 100) == first[3]


def test_pictures_of_one_person_are_nearer_than_of_others():
    """With faults off, pose and light still on: what differs between people shows."""
    spec = dataclasses.replace(STILL, yaw=8, pitch=4, light=0.5, expression=0.5)
    pictures, people = [], []
    for identity in range(6):
        face = sample_face(make_rng(1, Stream.FACE, identity))
        for number in range(4):
            rng = make_rng(1, Stream.FACE_SHOT, identity, number)
            image = draw_face(spec, face, sample_shot(spec, face, rng), rng)
            pictures.append(cv2.resize(image[20:100, 26:86], (12, 16)).astype(float).ravel())
            people.append(identity)
    pictures, people = np.array(pictures), np.array(people)
    distances = np.linalg.norm(pictures[:, None] - pictures, axis=2)
    np.fill_diagonal(distances, np.inf)
    assert np.mean(people[distances.argmin(axis=1)] == people) > 0.6


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"folds": 1}, "at least two folds"),
        ({"test_identities": 5}, "two test identities for each"),
        ({"train_images": (5, 3)}, "train_images must be two rising"),
        ({"test_images": (1, 3)}, "needs two faces"),
        ({"tail_share": 1.5}, r"tail_share must be within 0\.\.1"),
        ({"blur": -1.0}, "blur must not be negative"),
        ({"train_identities": 0}, "train_identities must be at least 1"),
        ({"seed": -1}, "seed must not be negative"),
    ],
)
def test_specs_that_cannot_be_drawn(values, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **values)


def test_scaling():
    spec = FACE_PRESETS["drawn-faces"].scaled(0.1)
    assert (spec.train_identities, spec.test_identities, spec.folds) == (30, 10, 5)
    assert spec.pairs_per_fold == 30
    assert len(pair_lines(spec, plan_faces(spec))) == 301
    assert isinstance(FACE_PRESETS["drawn-faces"].scaled(1.0), FaceSpec)
    with pytest.raises(ValueError, match="scale must be between"):
        spec.scaled(0)


def test_command_draws_and_previews(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(command.FACE_PRESETS, "drawn-faces", TINY)
    parser = command.argparse.ArgumentParser()
    command.add_arguments(parser)
    base = ["--set", "drawn-faces", "--root", str(tmp_path), "--processes", "1"]
    assert command.run(parser.parse_args([*base, "--preview", "2"])) == 0
    assert cv2.imread(str(tmp_path / "tiny-faces.png")).shape == (224, 1120, 3)
    with pytest.raises(ValueError, match=r"expected 1\.\.6 people"):
        command.run(parser.parse_args([*base, "--preview", "7"]))
    assert command.run(parser.parse_args([*base, "--seed", "3"])) == 0
    assert "drawn-faces is in" in capsys.readouterr().out
    record = json.loads((tmp_path / "drawn-faces/drawn.json").read_text())
    assert record["spec"]["seed"] == 3
    assert (tmp_path / "drawn-faces/test" / person_name(5)).is_dir()


def test_the_sheet_shows_test_people(tmp_path):
    sheet = face_sheet(FaceWorld(TINY), 2)
    np.testing.assert_array_equal(
        sheet[:112, 112:224],
        FaceWorld(TINY).draw(next(p.index for p in plan_faces(TINY) if p.identity == 5)),
    )
    assert write_face_preview(TINY, tmp_path, 1).stat().st_size > 1000
