"""Variants of COCO JSON and MOT text, in each reader of boxes: for training, and for a gallery."""

import json
import logging
from unicodedata import normalize

import numpy as np
import pytest
from PIL import Image

from person_search.data.box_checks import look_like_corners
from person_search.data.coco_person import load_coco_person
from person_search.formats.boxes import open_boxes

NAMES = ("a.png", "b.png")
SIZE = (200, 100)
BOX = [10, 10, 20, 40]
READ = [10, 10, 30, 50]


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        Image.new("RGB", SIZE).save(tmp_path / name)
    return tmp_path


def person(number, image=1, box=BOX, **more):
    entry = {"id": number, "image_id": image, "bbox": box, "category_id": 1, "person_id": number}
    return {key: value for key, value in (entry | more).items() if value != "without"}


def write(folder, annotations, categories=({"id": 1, "name": "person"},), **image):
    images = [{"id": 1, "file_name": "a.png"} | image, {"id": 2, "file_name": "b.png"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "boxes.json").write_text(json.dumps(content))
    return folder / "boxes.json"


def read_for_training(path, folder):
    dicts = load_coco_person(path, folder, "train")
    return [[a["bbox"] for a in entry["annotations"]] for entry in dicts]


def read_for_a_gallery(path, folder):
    boxes = open_boxes(path, [folder / name for name in NAMES])
    found = [boxes.of(str(folder / name), *SIZE) for name in NAMES]
    return [[] if given is None else given.boxes.tolist() for given in found]


READERS = pytest.mark.parametrize("read", [read_for_training, read_for_a_gallery])


@READERS
@pytest.mark.parametrize(
    "more",
    [
        {"bbox": ["10", "10", "20.0", "40"]},
        {"bbox": [0, 0, 0, 0], "segmentation": [[10, 10, 30, 10, 30, 50]]},
        {"bbox": {"x": 10, "y": 10, "width": 20, "height": 40, "cx": 20, "w": 20}},
        {"category_id": "1"},
        {"category_id": 1.0},
        {"category_id": "without"},
        {"score": None},
        {"score": "0.9"},
    ],
)
def test_what_means_one_box_only_is_read(folder, read, more):
    """A category that is text, or none where there is only one, cost all boxes."""
    assert read(write(folder, [person(1, **more), person(2, 2)]), folder) == [[READ], [READ]]


@READERS
@pytest.mark.parametrize(("width", "height"), [("200", "100"), (200.0, "100.0")])
def test_sizes_that_are_text(folder, read, width, height):
    path = write(folder, [person(1), person(2, 2)], width=width, height=height)
    assert read(path, folder) == [[READ], [READ]]


@READERS
def test_a_category_with_an_id_that_is_text(folder, read):
    path = write(folder, [person(1), person(2, 2)], [{"id": "1", "name": " Person"}])
    assert read(path, folder) == [[READ], [READ]]


@READERS
def test_without_a_category_nobody_is_a_person_where_there_are_others(folder, read):
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]
    path = write(folder, [person(1, category_id="without"), person(2, 2)], categories)
    assert read(path, folder) == [[], [READ]]


@READERS
@pytest.mark.parametrize("crowd", ["true", " True", "1", 1.0])
def test_crowds_that_are_text(folder, read, crowd):
    path = write(folder, [person(1, iscrowd=crowd), person(2, 2, iscrowd="false")])
    assert read(path, folder) == [[], [READ]]


@READERS
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"bbox": "10,10,20,40"}, r"bbox '10,10,20,40'; expected \[x, y, w, h\] in pixels"),
        ({"bbox": {"cx": 1, "cy": 1, "w": 2, "h": 2}}, r"bbox {'cx': 1.*}; expected"),
        ({"bbox": [BOX]}, r"bbox \[\[10, 10, 20, 40\]\]; expected"),
        ({"bbox": [10, float("inf"), 20, 40]}, r"bbox \[10, inf, 20, 40\]; expected"),
        (
            {"bbox": None, "segmentation": {"counts": [0, 5], "size": [100, 200]}},
            r"bbox None; expected .*a mask of run lengths only: write the box around it",
        ),
        ({"bbox": [0.1, 0.2, 0.3, 0.4]}, r"boxes of 0 to 1.* multiply them"),
        ({"image_id": 2.0**53}, "which no image has"),
    ],
)
def test_what_is_no_box_says_why_in_each_reader(folder, read, more, message):
    with pytest.raises(ValueError, match=message):
        read(write(folder, [person(1, **more), person(2, 2)]), folder)


CORNERS = [[50, 20, 90, 80], [120, 20, 180, 90], [130, 10, 190, 99], [100, 40, 150, 80]]


def test_corners_instead_of_sizes_are_refused_for_training(folder):
    """Each box reached from its person to the border of the picture."""
    path = write(folder, [person(n, 1 + n % 2, box) for n, box in enumerate(CORNERS)])
    with pytest.raises(ValueError, match=r"all lie inside as x1, y1, x2, y2, such as \[50"):
        read_for_training(path, folder)


@pytest.mark.parametrize("kind", ["json", "txt"])
def test_corners_instead_of_sizes_are_told_of_a_gallery(folder, kind):
    """Sizes of the pictures are known only when they are read: told with what is left out."""
    files = [folder / "a.png"]
    if kind == "json":
        path = write(folder, [person(n, 1, box) for n, box in enumerate(CORNERS)])
    else:
        files = [folder / "walk" / "000001.png"]
        files[0].parent.mkdir()
        Image.new("RGB", SIZE).save(files[0])
        path = folder / "walk.txt"
        path.write_text("".join(f"1,-1,{','.join(map(str, box))},1\n" for box in CORNERS))
    boxes = open_boxes(path, files)
    boxes.of(str(files[0]), *SIZE)
    assert any("as x1, y1, x2, y2, such as [50.0" in str(said) for said in boxes.left_out())


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        (CORNERS, True),
        (CORNERS[:2], False),
        ([*CORNERS, BOX], True),
        ([*CORNERS, [150, 10, 20, 40]], False),
        ([[1, 1, 20, 40], [5, 5, 20, 40], [2, 3, 30, 40]], False),
    ],
)
def test_what_looks_like_corners(boxes, expected):
    assert look_like_corners(np.array(boxes), np.array([SIZE] * len(boxes))) is expected


def test_somebody_twice_in_an_image_is_warned_of(folder, caplog):
    """As 'unknown' for everybody without a name, which would be one person."""
    people = [person(n, 1 + n % 2, [10 * n, 10, 20, 40], person_id="unknown") for n in range(4)]
    with caplog.at_level(logging.WARNING):
        load_coco_person(write(folder, people), folder, "train")
    said = "in 2 of 2 images somebody is annotated twice, such as the person_id 'unknown'"
    assert said in caplog.text
    caplog.clear()
    load_coco_person(write(folder, [person(1), person(2), person(3, 2)]), folder, "train")
    assert "twice" not in caplog.text


def test_nine_numbers_of_a_detector_are_no_true_tracks(folder):
    """All boxes were left out as of other classes than people."""
    (folder / "walk").mkdir()
    file = folder / "walk" / "000001.png"
    Image.new("RGB", SIZE).save(file)
    path = folder / "walk.txt"
    path.write_text("1,-1,10,10,20,40,0.9,-1,-1\n1,-1,50,10,20,40,0.25,-1,-1\n")
    given = open_boxes(path, [file]).of(str(file), *SIZE)
    assert given.boxes.tolist()[0] == READ
    assert given.scores.tolist() == [np.float32(0.9), 0.25]


def test_a_listed_picture_is_found_however_its_letters_are_composed(folder):
    """macOS writes them as two signs, and the list as one."""
    file = folder / normalize("NFD", "é.png")
    Image.new("RGB", SIZE).save(file)
    path = write(folder, [person(1)], file_name=normalize("NFC", "x/é.png"))
    (folder / "x").mkdir()
    moved = file.rename(folder / "x" / file.name)
    assert open_boxes(path, [moved]).of(str(moved), *SIZE).boxes.tolist() == [READ]


def test_attributes_that_are_a_list_of_names_and_values(folder):
    attributes = [{"name": "Person ID", "value": "anna"}, {"name": "bag", "value": 1}]
    annotations = [person(1, person_id=None, attributes=attributes), person(2, 2, person_id="bo")]
    dicts = load_coco_person(write(folder, annotations), folder, "train")
    assert [entry["annotations"][0]["person_id"] for entry in dicts] == [0, 1]
