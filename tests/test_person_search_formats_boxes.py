"""Boxes of other people's files take the place of a detector; the model only embeds."""

import json

import numpy as np
import pytest
from helpers_demo import COLORS, EMBEDDING_DIM, FINGERPRINT, ColorFinder, draw_colors
from helpers_formats import write_coco
from helpers_gallery import unit
from helpers_videos import write_video
from PIL import Image
from test_person_search_inference_two_step import ColorDetector, MeanCropNet

from person_search.cli import main
from person_search.commands import index as command
from person_search.footage.files import FootageOptions, list_footage
from person_search.formats.boxes import open_boxes
from person_search.formats.coco import export_coco
from person_search.formats.mot import export_mot
from person_search.gallery.add_footage import index_footage
from person_search.gallery.index import GalleryIndex
from person_search.inference.finder import PersonFinder
from person_search.inference.two_step import TwoStepNetwork

NAMES = ["red", "green", "blue"]


@pytest.fixture
def footage(tmp_path):
    folder = tmp_path / "MOT-1" / "img1"
    folder.mkdir(parents=True)
    for number in (1, 2, 3):
        Image.fromarray(draw_colors(NAMES)).save(folder / f"{number:06d}.png")
    return folder


def _boxes():
    (people,) = ColorFinder().find([draw_colors(NAMES)])
    left_to_right = people.from_left_to_right().boxes
    return np.hstack([left_to_right[:, :2], left_to_right[:, 2:] - left_to_right[:, :2]]).tolist()


def _index(tmp_path, footage, path, min_score=None, options=None, finder=None):
    finder = finder or ColorFinder()
    boxes = open_boxes(path, list_footage([footage]), min_score=min_score)
    index = GalleryIndex.create(
        tmp_path / "g.db", fingerprint=finder.fingerprint, embedding_dim=EMBEDDING_DIM
    )
    report = index_footage(index, finder, [footage], options, boxes=boxes, progress=False)
    report.left_out += boxes.left_out()
    with index:
        people = {f.name.rpartition("/")[2]: index.people_of(f.name) for f in index.frames()}
    return report, people


def _texts(some):
    return [f"{one.name.rpartition('/')[2]}: {one.reason}" for one in some]


def _write_mot(folder, kind, lines, info=None):
    (folder / kind).mkdir(parents=True, exist_ok=True)
    text = "".join(",".join(f"{v:g}" for v in line) + "\n" for line in lines)
    (folder / kind / f"{kind}.txt").write_text(text)
    if info is not None:
        said = "".join(f"{key}={value}\n" for key, value in info.items())
        (folder / "seqinfo.ini").write_text(f"[Sequence]\n{said}")
    return folder


# --- COCO ---


def test_boxes_of_coco_are_embedded_and_nothing_is_detected(tmp_path, footage):
    red, green, blue = _boxes()
    images = [(f"img1/00000{n}.png", 240, 120) for n in (1, 2)] + [("gone.png", 5, 5)]
    annotations = [
        (1, blue, {"score": 0.75, "person_id": 7}),
        (1, red, {}),
        (1, green, {"category_id": 2}),
        (1, green, {"iscrowd": 1}),
        (1, [3, 3, 0, 9], {}),
        (1, [500, 3, 20, 30], {}),
        (1, [-9, red[1], red[0] + red[2] + 9, red[3]], {}),
    ]
    path = write_coco(tmp_path / "boxes.json", images, annotations)
    finder = ColorFinder()
    report, people = _index(tmp_path, footage, path, finder=finder)
    assert finder.num_calls == 0 and (report.frames_added, report.people_added) == (2, 3)
    found = people["000001.png"]
    corners = np.float32([blue, red])
    corners[:, 2:] += corners[:, :2]
    np.testing.assert_array_equal(found.boxes[:2], corners)
    np.testing.assert_array_equal(found.boxes[2, [0, 2]], [0, red[0] + red[2]])
    np.testing.assert_array_equal(found.scores, np.float32([0.75, 1, 1]))
    blues = unit(np.array(COLORS["blue"]) - 128.0)
    np.testing.assert_allclose(found.embeddings[0], blues, atol=1e-6)
    assert len(people["000002.png"]) == 0
    assert _texts(report.left_out) == [
        f"boxes.json: files that it does not name: 1 ({footage / '000003.png'})",
        f"boxes.json: boxes outside their pictures: 1 ({footage / '000001.png'})",
        "boxes.json: boxes of other categories than person: 1",
        "boxes.json: boxes of crowds: 1",
        "boxes.json: boxes without width or height: 1",
        "boxes.json: pictures or sequences that are not in the footage: 1 (gone.png)",
    ]


def test_the_name_that_says_most_is_meant_and_one_name_is_one_file(tmp_path, footage):
    other = tmp_path / "MOT-2" / "img1"
    other.mkdir(parents=True)
    (other / "000001.png").write_bytes((footage / "000001.png").read_bytes())
    files = list_footage([footage, other])
    both = [(f"{name}/img1/000001.png", None, None) for name in ("MOT-1", "MOT-2")]
    annotations = [(number, _boxes()[0], {}) for number in (1, 2, 2)]
    boxes = open_boxes(write_coco(tmp_path / "a.json", both, annotations), files)
    assert len(boxes.of(str(other / "000001.png"), 240, 120).boxes) == 2
    assert boxes.of(str(footage / "000002.png"), 240, 120) is None
    both[0] = ("000001.png", None, None)
    boxes = open_boxes(write_coco(tmp_path / "a.json", both, annotations), files)
    assert len(boxes.of(str(other / "000001.png"), 240, 120).boxes) == 2, "the longer name"
    assert len(boxes.of(str(footage / "000001.png"), 240, 120).boxes) == 1
    path = write_coco(tmp_path / "b.json", [("000001.png", None, None)], [])
    with pytest.raises(ValueError, match=r"000001.png may be .*MOT-1.* or .*names with folders"):
        open_boxes(path, files)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_coco_of_other_editors_and_of_pandas(tmp_path, footage, encoding):
    """A byte order mark, and ids that are floats."""
    path = write_coco(tmp_path / "a.json", [("000001.png", 240, 120)], [(1, _boxes()[0], {})])
    content = json.loads(path.read_text())
    content["annotations"][0]["image_id"] = 1.0
    path.write_bytes(json.dumps(content, indent=1).replace("\n", "\r\n").encode(encoding))
    boxes = open_boxes(path, list_footage([footage]))
    assert len(boxes.of(str(footage / "000001.png"), 240, 120).boxes) == 1


def test_mot_text_with_a_byte_order_mark(tmp_path, footage):
    red = _boxes()[0]
    folder = _write_mot(footage.parent, "det", [[1, -1, *red, 1, 1, 1]], info=None)
    file = folder / "det" / "det.txt"
    file.write_bytes(file.read_text().replace("\n", "\r\n").encode("utf-8-sig"))
    boxes = open_boxes(file, list_footage([footage]))
    assert len(boxes.of(str(footage / "000001.png"), 240, 120).boxes) == 1


def test_pictures_of_another_size_are_named(tmp_path, footage):
    images = [("000001.png", 480, 240), ("000002.png", 120, 240), ("000003.png", None, None)]
    path = write_coco(tmp_path / "boxes.json", images, [(n, _boxes()[0], {}) for n in (1, 2, 3)])
    report, people = _index(tmp_path, footage, path)
    assert list(people) == ["000003.png"]
    first, second = _texts(report.broken)
    assert "a picture of 480 x 240 pixels, this one has 240 x 120: give" in first
    assert "turned by its EXIF note" in second


@pytest.mark.parametrize(
    ("images", "annotations", "message"),
    [
        ([("x.png", 1, 1)], [], r"says nothing of the footage given: it knows x.png, and the foot"),
        ([("000001.png", 1, 1)], [(1, [0.1, 0.2, 0.3, 0.4], {})], "boxes of 0 to 1.*multiply"),
        ([("000001.png", 1, 1)], [(9, [1, 2, 3, 4], {})], "image_id 9, which no image has"),
        (
            [("000001.png", 1, 1)],
            [(1, [1, 2, 3], {})],
            r"annotations\[0\] has the bbox \[1, 2, 3\]",
        ),
        ([("000001.png", 1, 1)], [(1, [1, 2, 3, 4], {"score": 80})], "score 80; expected 0 to 1"),
        ([("000001.png", 1, 1), ("./000001.png", 1, 1)], [], "repeats the file_name"),
        ([("000001.png", "1 px", 1)], [], "has the width '1 px'"),
        ([("000001.png", 10**400, 1)], [], "has the width 1000"),
        ([("000001.png", 1, 1)], [(1, [10**400, 2, 3, 4], {})], "bbox .*expected .x, y, w, h."),
        ([("000001.png", 1, 1)], [(1, [float("nan"), 2, 3, 4], {})], r"has the bbox \[nan"),
        ([("000001.png", 1, 1)], [([1], [1, 2, 3, 4], {})], r"image_id \[1\], which no image"),
        ([(".", 1, 1)], [], "file_name '.'; expected that of a file"),
    ],
)
def test_a_coco_file_that_cannot_be_used_is_refused(
    tmp_path, footage, images, annotations, message
):
    path = write_coco(tmp_path / "boxes.json", images, annotations)
    with pytest.raises(ValueError, match=message):
        open_boxes(path, list_footage([footage]))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "is not a JSON file"),
        ("a.json", "[]", "is a list, as COCO's results are"),
        ("a.json", "[" * 100_000, "is not a JSON file: maximum recursion"),
        (
            "a.json",
            '{"images": [], "annotations": [], "categories": [{"id": [], "name": "dog"}]}',
            "'person'",
        ),
        (
            "a.json",
            '{"images": [], "annotations": [], "categories": [{"name": "dog"}]}',
            "'person'",
        ),
        ("a.txt", "hello\n", "is no line of numbers"),
        ("a.txt", "1,1,2,3\n", "4 numbers a line; expected frame"),
        ("a.txt", "1,1,2,3,4,5,1\n0,1,2,3,4,5,1\n", "row 2 has the frame 0"),
        ("a.txt", "1,1,0.1,0.2,0.3,0.4,1\n", "boxes of 0 to 1"),
    ],
)
def test_what_is_no_file_of_boxes_is_refused(tmp_path, footage, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        open_boxes(tmp_path / name, list_footage([footage]))


# --- MOT ---


def test_true_tracks_of_pictures_are_embedded(tmp_path, footage):
    red, green, blue = _boxes()
    lines = [
        (1, 4, *red, 1, 1, 1),
        (1, 5, *green, 1, 1, 0),
        (1, 6, *green, 0, 1, 1),
        (1, 7, *green, 1, 3, 1),
        (3, 4, *blue, 1, 7, 0.3),
    ]
    folder = _write_mot(footage.parent, "gt", lines, {"imWidth": 240, "imHeight": 120})
    report, people = _index(tmp_path, footage, folder)
    assert {name: len(some) for name, some in people.items()} == {
        "000001.png": 1, "000002.png": 0, "000003.png": 1,
    }  # fmt: skip
    np.testing.assert_allclose(
        people["000003.png"].embeddings[0], unit(np.array(COLORS["blue"]) - 128.0), atol=1e-6
    )
    assert [text.partition(": ")[2] for text in _texts(report.left_out)] == [
        "boxes that do not count: 1",
        "boxes of other classes than people: 1",
        "boxes of people who are wholly hidden: 1",
    ]


def test_what_a_detector_found_has_scores(tmp_path, footage):
    lines = [(2, -1, *box, s, -1, -1, -1) for box, s in zip(_boxes(), (0.9, 0.2, 0.5), strict=True)]
    folder = _write_mot(footage.parent, "det", lines)
    _, people = _index(tmp_path, footage, folder / "det" / "det.txt", min_score=0.5)
    np.testing.assert_array_equal(people["000002.png"].scores, np.float32([0.9, 0.5]))


def test_scores_of_another_range_are_none(tmp_path, footage):
    lines = [(2, -1, *box, s, -1, -1, -1) for box, s in zip(_boxes(), (-0.4, 3, 1), strict=True)]
    # A tracker's results lie beside each other, named by their sequences.
    path = tmp_path / "MOT-1.txt"
    _write_mot(tmp_path, "det", lines)
    (tmp_path / "det" / "det.txt").rename(path)
    _, people = _index(tmp_path, footage, path, min_score=0.5)
    assert people["000002.png"].scores.tolist() == [1, 1, 1]


def test_a_picture_numbered_0_is_in_no_sequence(tmp_path, footage):
    """It was taken to show nobody, and all the others to be one later than they are."""
    (footage / "000003.png").rename(footage / "000000.png")
    folder = _write_mot(footage.parent, "gt", [(1, 4, *_boxes()[0], 1, 1, 1)])
    report, people = _index(tmp_path, footage, folder)
    assert sorted(people) == ["000001.png", "000002.png"]
    assert _texts(report.left_out) == [f"000000.png: sampled frames that are not in {folder}: 1"]


@pytest.mark.parametrize("text", ["x,/a.png,,,", ",/a.png", "\xff"])
def test_a_list_of_frames_that_is_damaged_is_named(tmp_path, footage, text):
    folder = _write_mot(footage.parent, "gt", [(1, 4, *_boxes()[0], 1, 1, 1)], {"imWidth": 240})
    head = "number,file,frame,seconds,camera\n"
    (folder / "frames.csv").write_text(head + text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"frames\.csv is not as export-gallery writes it"):
        open_boxes(folder, list_footage([footage]))


def test_frames_of_a_video_count_from_1(tmp_path):
    pictures = [draw_colors(NAMES if number == 4 else []) for number in range(6)]
    video = write_video(tmp_path / "hall.mp4", pictures, rate=2)
    lines = [(5, 1, *_boxes()[2], 1, 1, 1)]
    info = {"imDir": "../hall.mp4", "seqLength": 5}
    folder = _write_mot(tmp_path / "any", "gt", lines, info)
    report, people = _index(tmp_path, video, folder, options=FootageOptions(every=0.5))
    assert {name: len(some) for name, some in people.items()} == {
        f"hall.mp4#frame={number}": int(number == 4) for number in range(5)
    }
    blue = unit(np.array(COLORS["blue"]) - 128.0)
    assert people["hall.mp4#frame=4"].embeddings[0] @ blue > 0.99
    assert _texts(report.left_out) == [f"hall.mp4: sampled frames that are not in {folder}: 1"]


@pytest.mark.parametrize("export", [export_coco, export_mot])
def test_what_we_export_we_read(tmp_path, export):
    pictures = [draw_colors(NAMES[: number % 4]) for number in range(8)]
    video = write_video(tmp_path / "hall.mp4", pictures, rate=2)
    finder, options = ColorFinder(), FootageOptions(every=1.0, camera="hall", start=1.7e9)
    path = tmp_path / ("boxes.json" if export is export_coco else "boxes")
    with GalleryIndex.create(
        tmp_path / "found.db", fingerprint=FINGERPRINT, embedding_dim=EMBEDDING_DIM
    ) as index:
        index_footage(index, finder, [video], options, progress=False)
        expected = {f.name.rpartition("/")[2]: index.people_of(f.name) for f in index.frames()}
        export(index, path)
    # The true tracks have no scores.
    path = path if export is export_coco else path / "hall" / "det" / "det.txt"
    report, people = _index(tmp_path, video, path, options=options)
    assert report.left_out == report.broken == [] and report.people_added > 0
    assert people.keys() == expected.keys()
    for name, some in people.items():
        np.testing.assert_array_equal(some.boxes, expected[name].boxes)
        np.testing.assert_array_equal(some.scores, expected[name].scores)
        np.testing.assert_allclose(some.embeddings, expected[name].embeddings, atol=1e-6)


def test_without_true_tracks_what_a_detector_found_is_taken(tmp_path, footage):
    """As in an export of people who belong to no appearance: its gt.txt is empty."""
    _write_mot(footage.parent, "gt", [])
    _write_mot(footage.parent, "det", [(1, -1, *_boxes()[0], 0.5, -1, -1, -1)])
    boxes = open_boxes(footage.parent, list_footage([footage]))
    assert boxes.of(str(footage / "000001.png"), 240, 120).scores.tolist() == [0.5]


def test_a_folder_without_sequences_is_refused(tmp_path, footage):
    with pytest.raises(ValueError, match="holds no sequence of MOT text"):
        open_boxes(tmp_path, list_footage([footage]))
    _write_mot(footage.parent, "gt", [(1, 1, 2, 3, 4, 5, 1, 1, 1)], {"seqLength": "many"})
    with pytest.raises(ValueError, match=r"seqinfo\.ini is no seqinfo\.ini"):
        open_boxes(tmp_path, list_footage([footage]))
    with pytest.raises(FileNotFoundError, match="expected COCO JSON or MOT text"):
        open_boxes(tmp_path / "no.json", list_footage([footage]))


# --- models and the command ---


def test_of_two_steps_only_the_second_is_taken(tmp_path, footage):
    detector = ColorDetector()
    finder = PersonFinder(TwoStepNetwork(detector, MeanCropNet()))
    lines = [(1, 1, *_boxes()[0], 1, 1, 1)]
    folder = _write_mot(footage.parent, "gt", lines)
    _, people = _index(tmp_path, footage, folder, finder=finder)
    assert detector.seen == []
    (embedding,) = people["000001.png"].embeddings
    np.testing.assert_allclose(embedding, unit(COLORS["red"]), atol=1e-6)


def test_the_command_says_what_it_left_out(tmp_path, footage, monkeypatch, capsys):
    monkeypatch.setattr(command, "load_finder", lambda *_: ColorFinder())
    path = write_coco(tmp_path / "b.json", [("000001.png", None, None)], [(1, _boxes()[0], {})])
    arguments = ["index", str(footage), "--gallery", str(tmp_path / "g.db"), "--boxes", str(path)]
    assert main(arguments) == 0
    said, talk = capsys.readouterr()
    assert f"left out: {path}: files that it does not name: 2 ({footage / '000002.png'}, " in talk
    assert "added 1 frames with 1 people" in said
    assert main([*arguments[:-1], str(tmp_path / "no.json")]) == 2
    assert "does not exist; expected COCO JSON or MOT text" in capsys.readouterr().err
