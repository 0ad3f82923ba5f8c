import json
import logging

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers_layouts import write_coco_person
from PIL import Image

from person_search.data.coco_person import load_coco_person, load_coco_person_protocol
from person_search.data.own_data import register_coco_person
from person_search.evaluation.detection import evaluate_detection
from person_search.evaluation.predictions import Predictions
from person_search.evaluation.search import evaluate_search


def _image(number, name, **more):
    return {"id": number, "file_name": name, "width": 64, "height": 48, **more}


def _person(number, image, box, **more):
    return {"id": number, "image_id": image, "bbox": box, "category_id": 1, **more}


IMAGES = [
    _image(10, "b.jpg", cam_id=1),
    _image(11, "a.jpg", cam_id=1),
    _image(12, "c.jpg", cam_id=2),
]
ANNOTATIONS = [
    _person(1, 10, [1.5, 2, 10, 20], person_id=70),
    _person(2, 10, [30, 2, 10, 20]),
    _person(3, 11, [5, 5, 10, 20], person_id=70),
    _person(4, 11, [20, 5, 10, 20], person_id=70),
    _person(5, 12, [5, 5, 10, 20], person_id=8),
    _person(6, 12, [9, 9, 10, 20], person_id=70),
    _person(7, 12, [40, 5, 10, 20], person_id=-1),
    _person(8, 11, [40, 5, 10, 20], person_id=8),
    _person(9, 11, [2, 5, 10, 20], person_id=9),
    _person(10, 10, [50, 5, 10, 20], person_id=None),
]


@pytest.fixture
def json_file(tmp_path):
    return write_coco_person(tmp_path, IMAGES, ANNOTATIONS)


def _change(path, **changes):
    content = json.loads(path.read_text())
    content.update(changes)
    path.write_text(json.dumps(content))
    return path


def test_identities_are_numbered_in_sorted_order(json_file, tmp_path):
    dicts = load_coco_person(json_file, tmp_path, "train")
    assert [entry["image_id"] for entry in dicts] == ["b.jpg", "a.jpg", "c.jpg"]
    assert [entry["cam_id"] for entry in dicts] == [1, 1, 2]
    assert dicts[0]["file_name"] == str(tmp_path / "b.jpg")
    # Ids 8, 9, 70 become 0, 1, 2; absent, null and -1 are people without identity.
    pids = [[person["person_id"] for person in entry["annotations"]] for entry in dicts]
    assert pids == [[2, -1, -1], [2, 2, 0, 1], [0, 2, -1]]
    assert dicts[0]["annotations"][0]["bbox"] == [1.5, 2.0, 11.5, 22.0]
    assert "queries" not in dicts[0]


def test_without_queries_each_identity_of_two_frames_is_searched_once(json_file, tmp_path):
    """Identity 9 appears in one frame only; the query order is that of the identities."""
    protocol = load_coco_person_protocol(json_file, tmp_path)
    assert protocol.name == "people, all frames"
    assert protocol.query_pids.tolist() == [0, 2]
    assert protocol.query_frames.tolist() == [2, 0]
    assert protocol.query_boxes.tolist() == [[5, 5, 15, 25], [1.5, 2, 11.5, 22]]
    assert protocol.gallery_mask.tolist() == [[True, True, False], [False, True, True]]
    assert protocol.true_queries.tolist() == [0, 1, 1]
    assert protocol.true_frames.tolist() == [1, 1, 2]
    # Identity 70 stands in a.jpg twice: the first box counts.
    assert protocol.true_boxes.tolist() == [[40, 5, 50, 25], [5, 5, 15, 25], [9, 9, 19, 29]]
    dicts = load_coco_person(json_file, tmp_path, "test")
    rows = {entry["image_id"]: [q["query_id"] for q in entry["queries"]] for entry in dicts}
    assert rows == {"b.jpg": [1], "a.jpg": [], "c.jpg": [0]}


def test_multi_view_searches_other_cameras_only(json_file, tmp_path):
    protocol = load_coco_person_protocol(json_file, tmp_path, multi_view=True)
    assert protocol.gallery_mask.tolist() == [[True, True, False], [False, False, True]]
    assert protocol.true_frames.tolist() == [1, 2]


def test_multi_view_without_cameras_names_the_frames(tmp_path):
    images = [IMAGES[0], _image(11, "a.jpg"), IMAGES[2]]
    path = write_coco_person(tmp_path, images, ANNOTATIONS)
    with pytest.raises(
        ValueError, match=r"multi_view needs .* 1 have no cam_id, first \['a.jpg'\]"
    ):
        load_coco_person_protocol(path, tmp_path, multi_view=True)


def test_queries_by_annotation_id_or_by_box(json_file, tmp_path):
    _change(json_file, queries=[6, {"image_id": 12, "bbox": [5, 5, 9, 9], "person_id": 8}])
    protocol = load_coco_person_protocol(json_file, tmp_path)
    assert protocol.query_pids.tolist() == [2, 0]
    assert protocol.query_boxes.tolist() == [[9, 9, 19, 29], [5, 5, 14, 14]]
    assert protocol.query_frames.tolist() == [2, 2]


def test_a_query_that_appears_nowhere_else_is_warned_of(json_file, tmp_path, caplog):
    _change(json_file, queries=[9, 6])
    with caplog.at_level(logging.WARNING):
        protocol = load_coco_person_protocol(json_file, tmp_path)
    assert protocol.true_queries.tolist() == [1, 1]
    assert "1 of 2 queries appear in no searched frame" in caplog.text


def test_images_in_folders_keep_short_names_only_where_distinct(tmp_path):
    images = [_image(1, "cam1/x.jpg"), _image(2, "cam2/y.jpg")]
    path = write_coco_person(tmp_path, images, [])
    assert [e["image_id"] for e in load_coco_person(path, tmp_path, "train")] == ["x.jpg", "y.jpg"]
    images[1]["file_name"] = "cam2/x.jpg"
    path = write_coco_person(tmp_path, images, [])
    dicts = load_coco_person(path, tmp_path, "train")
    assert [entry["image_id"] for entry in dicts] == ["cam1/x.jpg", "cam2/x.jpg"]


def test_crowds_other_categories_and_empty_boxes_are_left_out(tmp_path, caplog):
    annotations = [
        _person(1, 10, [1, 2, 10, 20]),
        {**_person(2, 10, [1, 2, 10, 20]), "category_id": 2},
        _person(3, 10, [1, 2, 60, 20], iscrowd=1),
        _person(4, 10, [1, 2, 0, 20]),
    ]
    path = write_coco_person(tmp_path, IMAGES, annotations)
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]
    _change(path, categories=categories)
    with caplog.at_level(logging.WARNING):
        dicts = load_coco_person(path, tmp_path, "train")
    assert [len(entry["annotations"]) for entry in dicts] == [1, 0, 0]
    assert "3 annotations left out" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": {}}, "has no list 'images'"),
        ({"annotations": [3]}, "'annotations' has entries that are no JSON objects"),
        ({"images": [IMAGES[0], IMAGES[0]]}, r"images\[1\] repeats the id 10"),
        ({"images": [_image(10, "../b.jpg")]}, r"images\[0\] names '../b.jpg', which is outside"),
        ({"images": [_image(10, "/etc/b.jpg")]}, r"images\[0\] names '/etc/b.jpg', which is out"),
        ({"images": [{"id": 1}]}, r"images\[0\] needs 'id' and 'file_name'"),
        ({"images": [_image(10, "b.jpg", cam_id=1.5)]}, r"images\[0\] has the cam_id 1\.5"),
        ({"images": [_image(10, "b.jpg", cam_id=[1])]}, r"images\[0\] has the cam_id \[1\]"),
        (
            {"images": [_image(10, "b.jpg") | {"height": "48 px"}]},
            r"images\[0\] has the width 64 and height '48 px'; expected pixels",
        ),
        ({"annotations": [_person(1, 99, [1, 1, 2, 2])]}, "image_id 99, which no image has"),
        (
            {"annotations": [_person(1, 10, [1, 1, 2])]},
            r"annotations\[0\] has the bbox \[1, 1, 2\]",
        ),
        ({"annotations": [_person(1, 10, None)]}, "has the bbox None"),
        ({"annotations": [_person(1, 10, [1, 1, 2, float("nan")])]}, "has the bbox .*nan"),
        (
            {"annotations": [_person(1, 10, [1, 1, 2, 2], person_id=7.5)]},
            r"annotations\[0\] has the person_id 7.5; expected a whole number or a name",
        ),
        ({"annotations": [ANNOTATIONS[0]] * 2}, r"annotations\[1\] repeats the id 1"),
        ({"annotations": []}, "has nobody to search for"),
        ({"categories": [{"id": 1, "name": "cat"}]}, r"\['cat'\], but none named 'person'"),
        ({"queries": 5}, "'queries' must be a list"),
        ({"queries": [77]}, r"queries\[0\] is 77, which is not the id of a person's annotation"),
        ({"queries": [2]}, r"queries\[0\] has no person_id, or one that no annotation has"),
        (
            {"queries": [{"image_id": 10, "bbox": [1, 1, 9, 9], "person_id": 71}]},
            r"queries\[0\] has no person_id, or one that no annotation has",
        ),
        ({"queries": [{"image_id": [1], "bbox": [1, 1, 9, 9]}]}, r"queries\[0\] has the image_id"),
    ],
)
def test_bad_entries_are_named(json_file, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        load_coco_person_protocol(_change(json_file, **changes), tmp_path)


def test_an_image_listed_under_two_ids_is_named(tmp_path):
    path = write_coco_person(tmp_path, [IMAGES[0], _image(11, "b.jpg")], [])
    with pytest.raises(ValueError, match=r"1 frame name\(s\) more than once, first \['b.jpg'\]"):
        load_coco_person(path, tmp_path, "train")


def test_an_image_listed_under_two_names_is_named(tmp_path):
    """The protocol searched the query's own picture under its other name."""
    path = write_coco_person(tmp_path, [_image(1, "a.jpg"), _image(2, "./a.jpg")], [])
    _change(path, annotations=[_person(n, n, [1, 1, 9, 9], person_id=5) for n in (1, 2)])
    with pytest.raises(ValueError, match=r"more than once, first \['a\.jpg'\]"):
        load_coco_person_protocol(path, tmp_path)


def test_a_query_outside_its_image_is_named(json_file, tmp_path):
    _change(json_file, queries=[{"image_id": 10, "bbox": [64, 1, 9, 9], "person_id": 8}])
    with pytest.raises(ValueError, match=r"queries\[0\] .* no area inside b.jpg \(64x48 pixels\)"):
        load_coco_person(json_file, tmp_path, "test")


def test_a_file_that_is_missing_or_no_json_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none.json is missing"):
        load_coco_person(tmp_path / "none.json", tmp_path, "train")
    (tmp_path / "bad.json").write_bytes(b"\xff{")
    with pytest.raises(ValueError, match=r"bad.json is not a JSON file"):
        load_coco_person(tmp_path / "bad.json", tmp_path, "train")


def test_registering_twice_is_harmless_and_a_taken_name_an_error(json_file, tmp_path):
    name = "tests_coco_person_park"
    try:
        register_coco_person(name, json_file, tmp_path, "test")
        register_coco_person(name, json_file, tmp_path, "test")
        with pytest.raises(ValueError, match="already registered"):
            register_coco_person(name, json_file, tmp_path, "train")
        metadata = MetadataCatalog.get(name)
        assert (metadata.thing_classes, metadata.evaluator_type) == (["person"], "person_search")
        protocol = metadata.load_protocol(multi_view=True)
        assert protocol.name == "people, other cameras only"
        assert len(DatasetCatalog.get(name)) == len(protocol.frame_names) == 3
        np.testing.assert_array_equal(protocol.frame_pids[2], [0, 2, -1])
    finally:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def _scored_with_itself(path, root):
    """Return mAP and AP of detections that are the boxes of the dataset dicts, in percent."""
    frames = load_coco_person(path, root, "test")
    protocol = load_coco_person_protocol(path, root)
    boxes = [np.array([p["bbox"] for p in frame["annotations"]]).reshape(-1, 4) for frame in frames]
    pids = [[p["person_id"] for p in frame["annotations"]] for frame in frames]
    size = 1 + max(pid for own in pids for pid in own)
    for own, frame_boxes, frame_pids in zip(boxes, protocol.frame_boxes, pids, strict=True):
        np.testing.assert_array_equal(own.astype(np.float32), frame_boxes)
        assert len(own) == len(frame_pids)
    embeddings = [np.eye(size, dtype=np.float32)[own] for own in pids]
    predictions = Predictions(
        image_names=np.array([frame["image_id"] for frame in frames]),
        image_index=np.repeat(np.arange(len(frames)), [len(own) for own in pids]),
        boxes=np.concatenate(boxes).astype(np.float32),
        scores=np.ones(sum(map(len, pids)), np.float32),
        embeddings=np.concatenate(embeddings),
        query_names=np.array(protocol.frame_names)[protocol.query_frames],
        query_boxes=protocol.query_boxes,
        query_embeddings=np.eye(size, dtype=np.float32)[protocol.query_pids],
    )
    ap = evaluate_detection(protocol, predictions)["ap"]
    return evaluate_search(protocol, predictions)["mAP"], ap


@pytest.mark.parametrize("has_size", [True, False])
def test_perfect_detections_score_100_where_boxes_stick_out(tmp_path, has_size, caplog):
    """The scorer kept the raw boxes: the boxes of the dicts had IoU 0.42 with themselves."""
    images = [_image(1, "a.jpg"), _image(2, "b.jpg")]
    if not has_size:
        images = [{"id": image["id"], "file_name": image["file_name"]} for image in images]
    annotations = [
        _person(1, 1, [-9, 2, 16, 20], person_id=1),
        _person(2, 2, [57, 2, 16, 20], person_id=1),
        _person(3, 2, [80, 2, 10, 20], person_id=1),
        _person(4, 1, [5, 30, 10, 30], person_id=2),
        _person(5, 2, [5, 5, 10, 20], person_id=2),
    ]
    for image in images:
        Image.new("RGB", (64, 48)).save(tmp_path / image["file_name"])
    path = tmp_path / "people.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    assert _scored_with_itself(path, tmp_path) == pytest.approx((100, 100))
    assert "3 boxes stick out of their image" in caplog.text
    assert "1 annotations left out: 1 outside their image" in caplog.text


@pytest.mark.parametrize(
    ("size", "orientation", "message"),
    [
        ((320, 240), 6, r"a\.jpg: 320x240 there, 240x320 pixels in the file as shown; .*EXIF"),
        ((640, 480), 1, r"a\.jpg: 640x480 there, 320x240 pixels in the file; give boxes"),
        ((320, 241), 1, r"1 of 2 images have another size .*320x241 there"),
    ],
)
def test_an_image_of_another_size_than_its_boxes_are_of(tmp_path, size, orientation, message):
    """Boxes of a turned or scaled image were taken for its own pixels."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (320, 240)).save(tmp_path / "a.jpg", exif=exif)
    Image.new("RGB", (64, 48)).save(tmp_path / "b.jpg")
    images = [
        {"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1]},
        _image(2, "b.jpg"),
    ]
    path = tmp_path / "people.json"
    path.write_text(json.dumps({"images": images, "annotations": []}))
    with pytest.raises(ValueError, match=message):
        load_coco_person(path, tmp_path, "train")


def test_boxes_that_are_shares_of_the_picture_are_refused(tmp_path):
    """Boxes of a tenth of a pixel were trained on. In one image is enough: sets get merged."""
    annotations = [*ANNOTATIONS[:2], _person(50, 12, [0.1, 0.2, 0.3, 0.4])]
    path = write_coco_person(tmp_path, IMAGES, annotations)
    with pytest.raises(ValueError, match=r"boxes of 0 to 1 in the image c\.jpg, such as \[0\.1,"):
        load_coco_person(path, tmp_path, "train")


def test_ids_that_pandas_wrote_as_floats(tmp_path):
    """1.0 is 1, and NaN is nobody."""
    annotations = [
        {**entry, "id": float(entry["id"]), "image_id": float(entry["image_id"])}
        for entry in ANNOTATIONS
    ]
    for entry in annotations:
        pid = entry.get("person_id")
        entry["person_id"] = float("nan") if pid is None else float(pid)
    images = [{**image, "cam_id": float(image["cam_id"])} for image in IMAGES]
    plain = write_coco_person(tmp_path, IMAGES, ANNOTATIONS)
    expected = load_coco_person(plain, tmp_path, "test")
    path = write_coco_person(tmp_path, images, annotations)
    _change(path, queries=[3.0, 5])
    expected[1]["queries"][:] = load_coco_person(path, tmp_path, "test")[1]["queries"]
    found = load_coco_person(path, tmp_path, "train")
    assert [entry["annotations"] for entry in found] == [e["annotations"] for e in expected]
    assert [entry["cam_id"] for entry in found] == [1, 1, 2]
    assert load_coco_person_protocol(path, tmp_path).query_frames.tolist() == [1, 2]


def test_ids_that_are_text(tmp_path):
    """Names follow the numbers, as cameras as people do; text that is a number is that number."""
    images = [
        _image("x1", "a.jpg", cam_id="hall"),
        _image("2", "b.jpg", cam_id="door"),
        _image(3, "c.jpg", cam_id="7"),
    ]
    annotations = [
        _person("p", "x1", [1, 2, 10, 20], person_id="anna"),
        _person("q", 2, [1, 2, 10, 20], person_id="5"),
        _person("r", "3", [1, 2, 10, 20], person_id="anna"),
    ]
    path = write_coco_person(tmp_path, images, annotations)
    _change(path, queries=["r"])
    frames = load_coco_person(path, tmp_path, "test")
    assert [frame["annotations"][0]["person_id"] for frame in frames] == [1, 0, 1]
    assert [frame["cam_id"] for frame in frames] == [9, 8, 7]
    assert load_coco_person_protocol(path, tmp_path).true_frames.tolist() == [0]


@pytest.mark.parametrize("key", ["person_id", "Person ID", "person-id"])
def test_the_persons_number_in_the_attributes_of_cvat(json_file, tmp_path, key):
    annotations = [
        _person(1, 10, [1, 2, 10, 20], attributes={key: 4, "occluded": False}),
        _person(2, 11, [1, 2, 10, 20], attributes={key: "4", "occluded": False}),
        _person(3, 11, [9, 2, 10, 20], attributes={key: "", "occluded": True}),
    ]
    _change(json_file, annotations=annotations)
    frames = load_coco_person(json_file, tmp_path, "train")
    assert [[p["person_id"] for p in f["annotations"]] for f in frames] == [[0], [0, -1], []]


def test_a_key_that_looks_like_the_persons_number_is_named(json_file, tmp_path, caplog):
    annotations = [
        _person(1, 10, [1, 2, 10, 20], attributes={"occluded": False, "ID": 3}, track_id=1),
        _person(2, 11, [1, 2, 10, 20], attributes={"occluded": True, "ID": 3}, track_id=1),
    ]
    _change(json_file, annotations=annotations)
    load_coco_person(json_file, tmp_path, "train")
    expected = "'track_id' or 'attributes.ID', which look like it"
    assert "no annotation of a person has a person_id; the annotations have" in caplog.text
    assert expected in caplog.text
    with pytest.raises(ValueError, match=f"has nobody to search for: .*{expected}"):
        load_coco_person_protocol(json_file, tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_and_other_line_ends(json_file, tmp_path, encoding):
    expected = load_coco_person(json_file, tmp_path, "train")
    text = json.dumps(json.loads(json_file.read_text()), indent=1).replace("\n", "\r\n")
    json_file.write_bytes(text.encode(encoding))
    assert load_coco_person(json_file, tmp_path, "train") == expected


def test_paths_of_windows_are_found(tmp_path):
    images = [_image(1, "cam1/x.jpg"), _image(2, "cam2/x.jpg")]
    path = write_coco_person(tmp_path, images, [])
    for image in images:
        image["file_name"] = image["file_name"].replace("/", "\\")
    _change(path, images=images)
    frames = load_coco_person(path, tmp_path, "train")
    assert [frame["image_id"] for frame in frames] == ["cam1/x.jpg", "cam2/x.jpg"]
    assert frames[0]["file_name"] == str(tmp_path / "cam1/x.jpg")


def test_paths_of_another_machine_are_explained(tmp_path):
    path = write_coco_person(tmp_path, [_image(1, "x.jpg")], [])
    _change(path, images=[_image(1, r"C:\data\cam1\x.jpg")])
    with pytest.raises(FileNotFoundError, match=r"x\.jpg; .* Windows machine \(C:\): write them"):
        load_coco_person(path, tmp_path, "train")


def test_a_crowd_is_one_only_where_it_is_1(tmp_path):
    """The text "0" made a crowd of everybody."""
    annotations = [
        _person(number, 10, [1, 2, 10, 20], iscrowd=value)
        for number, value in enumerate(["0", 0, False, None, "1", 1, 1.0, True])
    ]
    path = write_coco_person(tmp_path, IMAGES[:1], annotations)
    assert len(load_coco_person(path, tmp_path, "train")[0]["annotations"]) == 4


def test_without_a_box_the_one_around_the_polygons_counts(tmp_path):
    polygons = [[5, 6, 20, 6, 20, 30], [18, 28, 25, 40]]
    annotations = [{"id": 1, "image_id": 10, "segmentation": polygons, "category_id": 1}]
    path = write_coco_person(tmp_path, IMAGES[:1], annotations)
    (person,) = load_coco_person(path, tmp_path, "train")[0]["annotations"]
    assert person["bbox"] == [5, 6, 25, 40]
    _change(path, annotations=[{**annotations[0], "segmentation": {"counts": "x"}}])
    with pytest.raises(ValueError, match=r"annotations\[0\] has the bbox None"):
        load_coco_person(path, tmp_path, "train")
