import argparse
import contextlib
import dataclasses
import errno
import json
import multiprocessing
import subprocess
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers_drawing import plain_people, write_by_two_processes
from scipy.io import loadmat

from person_search.commands import draw as command
from person_search.data.cuhk_sysu import load_cuhk_sysu, load_cuhk_sysu_protocol
from person_search.data.prw import load_prw, load_prw_protocol
from person_search.synthetic import output_folder
from person_search.synthetic.cuhk_writer import write_cuhk_sysu
from person_search.synthetic.prw_writer import write_prw
from person_search.synthetic.world import World
from person_search.synthetic.world_spec import PRESETS

CUHK, PRW = PRESETS["tiny-cuhk"], PRESETS["tiny-prw"]


@pytest.fixture(scope="module", autouse=True)
def quick_people():
    """These tests are about files; of people only their places matter."""
    with plain_people():
        yield


@pytest.fixture(scope="module")
def cuhk(tmp_path_factory):
    return write_cuhk_sysu(CUHK, tmp_path_factory.mktemp("drawn") / "cuhk")


@pytest.fixture(scope="module")
def prw(tmp_path_factory):
    return write_prw(PRW, tmp_path_factory.mktemp("drawn") / "prw")


def files_of(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_cuhk_structures_have_the_official_shapes_and_types(cuhk):
    """As read from the published TestG100.mat and described in the research notes, 3.1."""
    annotation = cuhk / "annotation"
    table = loadmat(annotation / "test/train_test/TestG50.mat")["TestG50"]
    assert table.shape == (1, CUHK.max_queries)
    assert table.dtype.names == ("Query", "Gallery")
    query = table["Query"][0, 0]
    assert query.shape == (1, 1)
    assert query.dtype.names == ("imname", "idlocate", "ishard", "idname")
    assert query["idlocate"][0, 0].dtype in (np.uint8, np.uint16)
    assert query["idlocate"][0, 0].shape == (1, 4)
    assert query["ishard"][0, 0].dtype == np.uint8
    gallery = table["Gallery"][0, 0]
    assert gallery.dtype.names == ("imname", "idlocate", "ishard")
    sizes = [item["idlocate"].size for item in gallery.squeeze()]
    assert sizes == sorted(sizes, reverse=True)  # the true frames come first
    assert sizes[0] == 4
    assert gallery["idlocate"][0, -1].shape == (1, 0)

    train = loadmat(annotation / "test/train_test/Train.mat")["Train"].squeeze()
    assert train[0][0, 0].dtype.names == ("idname", "nAppear", "scene")
    scene = train[0][0, 0]["scene"].squeeze()
    assert scene.dtype.names == ("imname", "idlocate", "ishard")
    assert len(train) == CUHK.train_identities
    assert len(loadmat(annotation / "pool.mat")["pool"].squeeze()) == CUHK.test_frames
    images = loadmat(annotation / "Images.mat")["Img"].squeeze()
    assert len(images) == CUHK.train_frames + CUHK.test_frames
    assert images.dtype.names == ("imname", "nAppear", "box")
    subset = annotation / "test/subset"
    hidden = loadmat(subset / "Occlusion.mat")["Occlusion1"]
    assert hidden.dtype.names == ("Query", "Gallery", "occlusion")
    assert loadmat(subset / "Resolution.mat")["Test_Size"].dtype.names == ("Query", "Gallery")


def test_boxes_use_the_small_types_of_the_real_files(cuhk):
    images = loadmat(cuhk / "annotation/Images.mat")["Img"].squeeze()
    boxes = [b for item in images for b in item["box"]["idlocate"].ravel()]
    for box in boxes:
        assert box.dtype == (np.uint8 if box.max() < 256 else np.uint16)
    assert {b.dtype.name for b in boxes} == {"uint8", "uint16"}


def test_the_cuhk_loader_reads_back_what_was_drawn(cuhk):
    world = World(CUHK)
    for split in ("train", "test"):
        frames = {Path(f["file_name"]).name: f for f in load_cuhk_sysu(cuhk, split)}
        plans = [p for p in world.plans if p.split == split]
        assert len(frames) == len(plans)
        pids = {}
        for plan in plans:
            drawn = world.draw(plan.index).people
            read = frames[f"s{plan.index + 1}.jpg"]["annotations"]
            assert len(read) == len(drawn)
            for person, annotation in zip(drawn, read, strict=True):
                x, y, w, h = person.box
                assert list(annotation["bbox"]) == [x, y, x + w, y + h]
                pids.setdefault(person.identity, set()).add(annotation["person_id"])
        assert pids.pop(-1) == {-1}
        assert all(len(found) == 1 for found in pids.values())


def test_cuhk_queries_can_be_found_and_are_not_in_their_own_gallery(cuhk):
    protocol = load_cuhk_sysu_protocol(cuhk, 50)
    assert len(protocol.query_pids) == CUHK.max_queries
    assert len(set(protocol.query_pids.tolist())) == CUHK.max_queries
    for q, frame in enumerate(protocol.query_frames):
        assert not protocol.gallery_mask[q, frame]
        true = protocol.true_frames[protocol.true_queries == q]
        assert len(true) >= 1
        assert protocol.gallery_mask[q, true].all()
        # Whoever is true in the gallery is that person there.
        for f in np.flatnonzero(protocol.gallery_mask[q]):
            assert (protocol.query_pids[q] in protocol.frame_pids[f]) == (f in true)


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    """A set with 12 queries in galleries of up to 100 frames, small ones."""
    small = {"width": 160, "height": 90, "median_height_px": 27.0, "height_range_px": (22.0, 55.0)}
    spec = dataclasses.replace(
        CUHK, train_frames=1, test_frames=104, test_identities=12, max_queries=12, **small
    )
    return write_cuhk_sysu(spec, tmp_path_factory.mktemp("larger") / "set")


def test_galleries_are_nested(larger):
    masks = {g: load_cuhk_sysu_protocol(larger, g).gallery_mask for g in (50, 100)}
    assert (masks[50].sum(axis=1) == 50).all()
    assert (masks[100].sum(axis=1) == 100).all()
    assert not (masks[50] & ~masks[100]).any()


def test_subsets_are_the_hardest_tenth_of_the_queries(larger):
    whole = load_cuhk_sysu_protocol(larger, 100)
    heights = np.diff(whole.query_boxes[:, 1::2]).ravel()
    small = load_cuhk_sysu_protocol(larger, 100, subset="resolution")
    assert len(small.query_pids) == len(whole.query_pids) // 10
    assert np.diff(small.query_boxes[:, 1::2]).max() <= np.sort(heights)[len(small.query_pids) - 1]
    hidden = load_cuhk_sysu_protocol(larger, 100, subset="occlusion")
    known = {
        (f, *box) for f, box in zip(whole.query_frames, whole.query_boxes.tolist(), strict=True)
    }
    for subset in (small, hidden):
        asked = zip(subset.query_frames, subset.query_boxes.tolist(), strict=True)
        assert {(f, *box) for f, box in asked} <= known


def test_prw_files_are_named_and_filled_as_the_real_ones(prw):
    names = sorted(p.name for p in (prw / "frames").iterdir())
    assert all(len(n) == len("c1s1_000001.jpg") for n in names)
    assert {p.name for p in (prw / "annotations").iterdir()} == {f"{n}.mat" for n in names}
    rows = np.concatenate([loadmat(p)["box_new"] for p in (prw / "annotations").iterdir()])
    assert rows.shape[1] == 5
    assert -2 in rows[:, 0]
    assert 0 not in rows[:, 0]
    text = (prw / "query_info.txt").read_bytes().decode()
    assert text.count("\r\n") == text.count("\n") == PRW.max_queries
    test_pids = set(loadmat(prw / "ID_test.mat")["ID_test2"].ravel().tolist())
    train_pids = set(loadmat(prw / "ID_train.mat")["ID_train"].ravel().tolist())
    assert not test_pids & train_pids
    for line in text.split("\r\n")[:-1]:
        pid, x, y, w, h, stem = line.split()
        annotated = loadmat(prw / "annotations" / f"{stem}.jpg.mat")["box_new"]
        assert [float(v) for v in (pid, x, y, w, h)] in annotated.tolist()
        crop = cv2.imread(str(prw / "query_box" / f"{int(pid):03d}_{stem}.jpg"))
        assert crop.shape == (int(float(h)), int(float(w)), 3)
        assert int(pid) in test_pids


def test_the_prw_loader_reads_it(prw):
    assert len(load_prw(prw, "train")) == PRW.train_frames
    test = load_prw(prw, "test")
    assert len(test) == PRW.test_frames
    assert sum(len(f.get("queries", [])) for f in test) == PRW.max_queries
    everywhere, elsewhere = (load_prw_protocol(prw, multi_view=m) for m in (False, True))
    assert (everywhere.gallery_mask.sum(axis=1) == PRW.test_frames - 1).all()
    assert (elsewhere.gallery_mask <= everywhere.gallery_mask).all()
    assert len(np.unique(everywhere.true_queries)) == PRW.max_queries


def test_processes_do_not_matter(prw, tmp_path):
    other = write_by_two_processes(write_prw, PRW, tmp_path / "prw")
    ours, theirs = files_of(prw), files_of(other)
    assert ours.keys() == theirs.keys()
    # MATLAB files carry the time at which they were written in their first 128 bytes.
    for name, data in ours.items():
        skip = 128 if name.suffix == ".mat" else 0
        assert data[skip:] == theirs[name][skip:], name


def test_drawing_processes_start_without_the_program_that_starts_them(monkeypatch):
    """A main module that brings torch along made each of them take 800 MB and seconds to start."""
    told = []

    class Pool(contextlib.nullcontext):
        def __init__(self, processes, context, *_):
            assert (processes, context.get_start_method()) == (2, "spawn")

        def __enter__(self):
            return self

        def map(self, task, indices, arguments, chunksize):
            # What a process that starts now would be told to import first.
            told.append(multiprocessing.spawn.get_preparation_data("drawing"))
            return [index + argument for index, argument in zip(indices, arguments, strict=True)]

    program = types.ModuleType("__main__")
    program.__file__ = "program.py"
    monkeypatch.setitem(sys.modules, "__main__", program)
    monkeypatch.setattr(output_folder, "ProcessPoolExecutor", Pool)
    assert output_folder.run_on_frames(dict, max, [1, 2], [10, 20], processes=2) == [11, 22]
    assert not {key for key in told[0] if key.startswith("init_main")}
    assert multiprocessing.spawn.get_preparation_data("drawing")["init_main_from_path"]


@pytest.mark.slow
def test_drawing_processes_do_not_import_the_program_that_starts_them(tmp_path):
    """The same with real ones."""
    program = tmp_path / "program.py"
    program.write_text(
        "import dataclasses, multiprocessing, sys\n"
        "if multiprocessing.parent_process() is not None:\n"
        "    sys.exit('the program was imported by a drawing process')\n"
        "from person_search.synthetic.prw_writer import write_prw\n"
        "from person_search.synthetic.world_spec import PRESETS\n"
        "spec = dataclasses.replace(PRESETS['tiny-prw'], train_frames=1, test_frames=4)\n"
        "write_prw(spec, sys.argv[1], processes=2)\n"
    )
    command = [sys.executable, str(program), str(tmp_path / "set")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "set/drawn.json").exists()


def test_a_second_run_does_nothing_and_another_set_is_refused(cuhk):
    before = {p: p.stat().st_mtime_ns for p in cuhk.rglob("*")}
    assert write_cuhk_sysu(CUHK, cuhk) == cuhk
    assert {p: p.stat().st_mtime_ns for p in cuhk.rglob("*")} == before
    with pytest.raises(FileExistsError, match="not empty"):
        write_cuhk_sysu(dataclasses.replace(CUHK, seed=99), cuhk)
    with pytest.raises(FileExistsError, match="not empty"):
        write_prw(PRW, cuhk)


def test_the_record_names_spec_and_content(cuhk):
    record = json.loads((cuhk / "drawn.json").read_text())
    assert record["spec"]["seed"] == CUHK.seed
    assert record["frames"] == CUHK.train_frames + CUHK.test_frames
    assert len(record["content_sha256"]) == 64


def test_foreign_folders_and_files_are_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="mine"):
        write_cuhk_sysu(CUHK, tmp_path / "mine")
    with pytest.raises(NotADirectoryError, match="is a file"):
        write_cuhk_sysu(CUHK, tmp_path / "mine/notes.txt")
    (tmp_path / "mine/drawn.json").write_text("[not a record")
    with pytest.raises(FileExistsError, match="mine"):
        write_prw(PRW, tmp_path / "mine")
    assert (tmp_path / "mine/notes.txt").read_text() == "keep"


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "set").mkdir()
    spec = dataclasses.replace(
        CUHK, train_frames=2, test_frames=3, train_identities=1, test_identities=1
    )
    assert (write_cuhk_sysu(spec, tmp_path / "set") / "drawn.json").exists()


def test_nothing_half_written_stays_when_the_disk_is_full(tmp_path, monkeypatch):
    written = []

    def full(self, data):
        written.append(self)
        if len(written) > 5:
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return len(data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"cannot write the drawn set to .*No space left"):
        write_cuhk_sysu(CUHK, tmp_path / "set")
    assert len(written) == 6
    assert list(tmp_path.iterdir()) == []


def test_nothing_stays_when_drawing_is_interrupted(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(output_folder, "_draw_one", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_prw(PRW, tmp_path / "set")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write the drawn set to"):
        write_cuhk_sysu(CUHK, tmp_path / "file" / "below" / "set")


def test_bad_numbers_are_refused(tmp_path):
    with pytest.raises(ValueError, match="processes"):
        write_cuhk_sysu(CUHK, tmp_path / "a", processes=0)
    crowd = dataclasses.replace(PRW, train_cameras=10, test_cameras=10)
    with pytest.raises(ValueError, match="one digit"):
        write_prw(crowd, tmp_path / "b")
    assert list(tmp_path.iterdir()) == []


def arguments(*words):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args([str(w) for w in words])


def test_the_command_draws_a_set(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(command.PRESETS, "drawn-prw", dataclasses.replace(PRW, name="drawn-prw"))
    args = arguments("--set", "drawn-prw", "--root", tmp_path, "--seed", 8, "--processes", 1)
    assert command.run(args) == 0
    record = json.loads((tmp_path / "drawn-prw/drawn.json").read_text())
    assert record["spec"]["seed"] == 8
    assert str(tmp_path / "drawn-prw") in capsys.readouterr().out


def test_the_command_draws_previews(tmp_path, monkeypatch):
    monkeypatch.setitem(command.PRESETS, "drawn-cuhk", dataclasses.replace(CUHK, name="drawn-cuhk"))
    assert command.run(arguments("--root", tmp_path, "--preview", 2)) == 0
    frames = cv2.imread(str(tmp_path / "drawn-cuhk-frames.png"))
    assert frames.shape == (CUHK.height, 2 * CUHK.width, 3)
    assert cv2.imread(str(tmp_path / "drawn-cuhk-people.png")) is not None
    with pytest.raises(ValueError, match="preview"):
        command.run(arguments("--root", tmp_path, "--preview", 0))
