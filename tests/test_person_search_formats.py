"""A gallery is written in other people's formats, and their own programs read it."""

import csv
import errno
import importlib.util
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers_formats import DIM, START, make_gallery
from helpers_gallery import FINGERPRINT
from PIL import Image
from pycocotools.coco import COCO

from person_search.data.coco_person import load_coco_person, load_coco_person_protocol
from person_search.evaluation.tracks import read_mot
from person_search.footage.files import Frame
from person_search.formats.coco import common_folder, export_coco
from person_search.formats.mot import export_mot, frame_rate, name_folders
from person_search.formats.parquet import export_parquet
from person_search.formats.pictures import find_pictures
from person_search.formats.selection import (
    EVERYTHING,
    ExportReport,
    Selection,
    read_matches,
    select_appearances,
)
from person_search.gallery.index import GalleryIndex
from person_search.gallery.search_options import FrameFilter
from person_search.people import People


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_gallery(tmp_path_factory.mktemp("formats"))


@pytest.fixture
def index(root):
    with GalleryIndex.open(root / "g.db") as opened:
        yield opened


def _stays(index):
    return {s.appearance.frames: s.appearance.id for s in index.appearances.within()}


# --- COCO ---


def test_our_loader_reads_the_coco_file_back(index, root, tmp_path):
    out = tmp_path / "people.json"
    report = export_coco(index, out, frames_folder=tmp_path / "frames")
    assert (report.frames, report.people, report.without_id, report.missing) == (10, 11, 1, [])
    content = json.loads(out.read_text())
    folder = content["info"]["image_root"]
    dicts = load_coco_person(out, folder, "train")
    assert len(dicts) == 10
    (found,) = [d for d in dicts if d["file_name"].endswith("000035.jpg")]
    assert Image.open(found["file_name"]).size == (128, 96)
    # The loader makes corners of them.
    boxes = np.float32([a["bbox"] for a in found["annotations"]])
    expected = index.people_of(f"{root / 'hall.mp4'}#frame=35").boxes
    np.testing.assert_array_equal(boxes, expected)
    assert len({a["person_id"] for d in dicts for a in d["annotations"]}) == 3
    # Each of the two stays is searched, by its first sight.
    assert len(load_coco_person_protocol(out, folder).query_pids) == 2


def test_pycocotools_reads_it_and_finds_people_as_the_gallery_has_them(index, root, tmp_path):
    out = tmp_path / "people.json"
    export_coco(index, out)
    coco = COCO(str(out))
    (image,) = [i for i in coco.imgs.values() if i["file_name"] == "hall.mp4#frame=35"]
    assert (image["width"], image["height"]) == (128, 96)
    assert (image["camera"], image["timestamp"]) == ("hall", START + 3.5)
    people = coco.loadAnns(coco.getAnnIds(image["id"], iscrowd=False))
    stays = _stays(index)
    assert [p["person_id"] for p in people] == [stays[8], stays[2]]
    assert [p["appearance_id"] for p in people] == [stays[8], stays[2]]
    assert people[0]["area"] == pytest.approx(30.3 * 60.2, rel=1e-5)
    (alone,) = [i for i in coco.imgs.values() if i["file_name"] == "still/alone.jpg"]
    (nobody,) = coco.loadAnns(coco.getAnnIds(alone["id"]))
    assert "person_id" not in nobody and "camera" not in alone
    assert content_of(out)["info"]["image_root"] == str(root)


def content_of(path):
    return json.loads(path.read_text())


def test_a_missing_source_is_named_and_its_people_are_written(root, tmp_path):
    index_root = make_gallery(tmp_path)
    (index_root / "hall.mp4").unlink()
    (index_root / "still" / "gate.jpg").write_bytes(b"no picture")
    with GalleryIndex.open(index_root / "g.db") as index:
        report = export_coco(index, tmp_path / "a.json", frames_folder=tmp_path / "frames")
        again = export_mot(index, tmp_path / "mot")
    assert len(report.missing) == 9 and report.people == 11
    assert len(again.missing) == 9
    without = [i for i in content_of(tmp_path / "a.json")["images"] if "width" not in i]
    assert len(without) == 9 and not (tmp_path / "frames").exists()


def test_a_picture_on_its_side_is_as_large_as_it_is_seen(tmp_path):
    from person_search.footage.frames import read_frame, read_frame_size

    picture = Image.new("RGB", (64, 80))
    picture.getexif()[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=picture.getexif())
    height, width = read_frame(str(tmp_path / "a.jpg")).shape[:2]
    assert read_frame_size(str(tmp_path / "a.jpg")) == (width, height) == (80, 64)


def test_frames_of_videos_of_one_name_do_not_mix(index, root, tmp_path):
    """Each camera of an archive has its ``0001.mp4``."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "hall.mp4").write_bytes((root / "hall.mp4").read_bytes())
    frames = [f for f in index.frames() if "hall.mp4" in f.name][:2]
    frames += [replace(f, name=f.name.replace(str(root), str(other))) for f in frames]
    pictures = list(find_pictures(frames, tmp_path / "frames", ExportReport()))
    assert len({picture.file for picture in pictures}) == 4
    assert all(Image.open(picture.file).size == picture.size for picture in pictures)


def test_files_on_no_common_disk_keep_their_whole_names():
    assert common_folder([]) == ""
    assert common_folder(["/a/b/c.jpg", "/a/d/e.jpg"]) == "/a"


# --- MOT ---


def test_mot_text_has_the_stream_s_frames_and_says_which_they_are(index, root, tmp_path):
    report = export_mot(index, tmp_path / "mot")
    assert (report.frames, report.people) == (9, 10)
    assert report.left_out == [str(root / "still" / "alone.jpg")]
    assert {p.name for p in (tmp_path / "mot").iterdir()} == {"hall", "gate"}
    truth = read_mot(tmp_path / "mot" / "hall" / "gt" / "gt.txt").people
    stays = _stays(index)
    assert truth.frames.tolist() == [1, 2, 3, 4, 5, 6, 7, 7, 8, 8]
    assert truth.ids.tolist() == [stays[8]] * 7 + [stays[2], stays[8], stays[2]]
    boxes = index.people_of(f"{root / 'hall.mp4'}#frame=35").boxes
    np.testing.assert_array_equal(np.float32(truth.boxes[-2:]), boxes)
    found = np.loadtxt(tmp_path / "mot" / "hall" / "det" / "det.txt", delimiter=",")
    assert (found[:, 1] == -1).all() and np.allclose(found[:, 6], 0.9)
    with (tmp_path / "mot" / "hall" / "frames.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(0, 40, 5))
    assert float(rows[3]["seconds"]) == START + 1.5 and rows[3]["file"] == str(root / "hall.mp4")
    info = (tmp_path / "mot" / "hall" / "seqinfo.ini").read_text()
    assert "frameRate=2\nseqLength=8\nimWidth=128\nimHeight=96\n" in info
    assert read_mot(tmp_path / "mot" / "gate" / "gt" / "gt.txt").people.frames.size == 0


def test_mot_frames_are_in_the_order_of_their_times(tmp_path):
    """Of files of one camera, whatever their names."""
    nobody = People(np.zeros((0, 4)), np.zeros(0), np.zeros((0, DIM)))
    path = tmp_path / "g.db"
    with GalleryIndex.create(path, fingerprint=FINGERPRINT, embedding_dim=DIM) as index:
        times = {"c": 2.0, "a": 3.0, "b": 1.0}
        index.put([(Frame(f"/{n}.jpg", n, "hall", START + t), nobody) for n, t in times.items()])
        export_mot(index, tmp_path / "mot")
    with (tmp_path / "mot" / "hall" / "frames.csv").open() as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["/b.jpg", "/c.jpg", "/a.jpg"]


def test_a_camera_s_name_cannot_leave_the_folder_nor_take_another_s():
    names = name_folders(["camera:../../etc", "camera:<b>A</b>", "camera:a", "file:/x/A.mp4"])
    assert list(names.values()) == ["_.._etc", "_b_A_b_", "a", "A-2"]


def test_the_rate_is_that_of_the_middle_step():
    assert frame_rate([0, 0.1, 0.2, 0.3, 90]) == 10
    assert frame_rate([5.0]) == frame_rate([1, 1]) == 1


# --- Parquet ---


def test_parquet_is_read_back_as_it_was(index, root, tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    out = tmp_path / "people.parquet"
    report = export_parquet(index, out, group_rows=4)
    assert (report.frames, report.people) == (10, 11)
    file = parquet.ParquetFile(out)
    assert file.num_row_groups == 3
    assert file.schema_arrow.field("embedding").type == pa.list_(pa.float32(), DIM)
    assert file.schema_arrow.metadata[b"person_search.model"] == index.fingerprint.encode()
    rows = file.read().to_pylist()
    assert file.schema_arrow.field("time").type == pa.timestamp("us", tz="UTC")
    assert len({row["person"] for row in rows}) == 11
    for row in rows:
        people = index.people_of(row["image"])
        place = int(row["person"].rpartition("_")[2])
        assert np.array_equal(np.float32(row["embedding"]), people.embeddings[place])
        box = np.float32([row[side] for side in ("x1", "y1", "x2", "y2")])
        assert np.array_equal(box, people.boxes[place])
    first, *_, last = rows
    assert (first["seconds"], first["video_frame"], first["camera"]) == (START, 0, "hall")
    assert first["time"].timestamp() == START and first["person_id"] == _stays(index)[8]
    empty = ("seconds", "time", "video_frame", "camera", "person_id", "appearance_id")
    assert last["file"] == str(root / "still" / "alone.jpg")
    assert [last[name] for name in empty] == [None] * 6


def test_nobody_makes_an_empty_table(index, tmp_path):
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    out = tmp_path / "people.parquet"
    export_parquet(index, out, Selection(FrameFilter(cameras=["gate"])))
    assert parquet.read_table(out).num_rows == 0


# --- what is selected ---


def _matches(index, tmp_path, **more):
    """The two matches of a search: a stay, and somebody who belongs to none."""
    stay = next(s for s in index.appearances.within() if s.appearance.frames == 2)
    (alone,) = [f.name for f in index.frames() if f.name.endswith("alone.jpg")]
    said = {"id": stay.appearance.id, "camera": "hall", "start": stay.appearance.start}
    said |= {"end": stay.appearance.end, "frames": 2} | more
    best = {"image": stay.best.image, "box": [0, 0, 1, 1], "appearance": said}
    single = {"image": alone, "box": [3.1, 10.7, 33.4, 70.9], "appearance": None}
    file = tmp_path / "found.json"
    file.write_text(json.dumps({"matches": [best, single]}))
    return file


def test_a_search_selects_whole_stays_and_single_people(index, tmp_path):
    selection = read_matches(index, _matches(index, tmp_path))
    report = export_coco(index, tmp_path / "some.json", selection)
    assert (report.frames, report.people, report.without_id) == (3, 3, 1)
    late = FrameFilter(since=START + 3.5)
    report = export_coco(
        index, tmp_path / "late.json", read_matches(index, tmp_path / "found.json", late)
    )
    assert (report.frames, report.people) == (1, 1)


def test_somebody_who_stands_elsewhere_is_not_the_one_who_was_found(index, tmp_path):
    file = _matches(index, tmp_path)
    text = file.read_text()
    file.write_text(text.replace("33.4", "33.41"))
    assert len(read_matches(index, file).people) == 3, "boxes are printed rounded"
    file.write_text(text.replace("33.4", "33.5"))
    with pytest.raises(ValueError, match=r"has nobody at .*33\.5.*search again"):
        read_matches(index, file)


def test_the_list_of_appearances_selects_them_too(index, tmp_path):
    stay = next(index.appearances.within()).appearance
    said = {"id": stay.id, "camera": "hall", "start": stay.start, "end": stay.end}
    file = tmp_path / "list.json"
    file.write_text(json.dumps({"appearances": [said | {"frames": stay.frames}]}))
    assert read_matches(index, file) == select_appearances(index, [stay.id])


@pytest.mark.parametrize("more", [{"frames": 3}, {"start": 5.0}, {"camera": "gate"}, {"end": None}])
def test_a_stay_that_was_linked_anew_is_not_taken_for_the_old_one(index, tmp_path, more):
    with pytest.raises(ValueError, match="linked anew"):
        read_matches(index, _matches(index, tmp_path, **more))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not a JSON file"),
        ("[]", "has no matches; expected what person-search search"),
        ('{"matches": []}', "has no match"),
        ('{"matches": [{"image": "/nowhere.jpg"}]}', "match 1 needs 'image' and 'box'"),
        (
            '{"matches": [{"image": "/no.jpg", "box": [1, 2, 3, 4]}]}',
            r"has nobody at .* search again",
        ),
    ],
)
def test_what_is_no_search_is_refused(index, tmp_path, text, message):
    file = tmp_path / "found.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_matches(index, file)


def test_an_error_leaves_what_was_there(index, tmp_path, monkeypatch):
    out = tmp_path / "people.json"
    out.write_text("old")

    def fail(names):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(index, "stored_people", fail)
    exports = [(export_coco, out), (export_mot, tmp_path / "mot")]
    if importlib.util.find_spec("pyarrow"):
        exports.append((export_parquet, out))
    for export, target in exports:
        said = f"^{target} cannot be written: No space left on device; nothing of it stays"
        with pytest.raises(OSError, match=said):
            export(index, target, EVERYTHING)
    monkeypatch.setattr("PIL.Image.Image.save", lambda *_, **__: fail(()))
    said = r"frames/hall-\w+/000000\.jpg cannot be written"
    with pytest.raises(OSError, match=said):
        export_coco(index, out, EVERYTHING, frames_folder=tmp_path / "frames")
    shutil.rmtree(tmp_path / "frames")
    assert out.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["people.json"]
