"""Detectors whose outputs are known, with boxes computed by hand."""

import json

import numpy as np
import onnx
import pytest
from helpers_onnx import FLOAT, INT64, UINT8, make_constant_detector, make_model
from onnx import helper

from person_search.inference.cards import KEY
from person_search.inference.detectors.load import load_detector
from person_search.inference.detectors.onnx_detector import OnnxDetector

BLACK = np.zeros((64, 64, 3), np.uint8)
# A picture as wide as two: in an input of 32 x 32 it is 32 x 16 pixels.
WIDE = np.zeros((32, 64, 3), np.uint8)


def assert_found(detector, image, boxes, scores):
    found, values = detector.detect(image)
    assert found.dtype == values.dtype == np.float32
    np.testing.assert_allclose(found, boxes, atol=1e-3)
    np.testing.assert_allclose(values, scores, atol=1e-5)


def make_yolo_rows(count, classes, rows, width=5):
    """(count, width + classes) of zeros, but for some rows."""
    table = np.zeros((count, width + classes), np.float32)
    for row, values in rows.items():
        table[row] = values
    return table


def test_yolov8_rows_are_columns_and_overlaps_go():
    rows = {
        # cx, cy, w, h, person, dog: the second lies on the first (IoU 8 / 10), the third is a dog.
        3: (16, 16, 10, 8, 0.6, 0),
        5: (17, 16, 10, 8, 0.9, 0),
        7: (16, 16, 10, 8, 0.1, 0.9),
        9: (6, 16, 4, 8, 0.5, 0),
    }
    table = make_yolo_rows(21, 2, rows, 4)
    detector = OnnxDetector(make_constant_detector({"output0": table.T[None].copy()}))
    assert (detector.card.output, detector.card.resizing) == ("yolov8", "letterbox_center")
    # 16 rows of padding, 8 of them above; then twice as large. (12, 12, 22, 20) is the best box.
    assert_found(detector, WIDE, [[24, 8, 44, 24], [8, 8, 16, 24]], [0.9, 0.5])


def test_yolov5_multiplies_how_sure_it_is_of_an_object():
    table = make_yolo_rows(63, 2, {1: (24, 8, 8, 16, 0.8, 0.5, 0.1), 2: (30, 8, 4, 8, 0.4, 0.5, 0)})
    detector = OnnxDetector(make_constant_detector({"output": table[None]}))
    assert detector.card.output == "yolov5"
    # The second has 0.2, less than 0.25.
    assert_found(detector, BLACK, [[40, 0, 56, 32]], [0.4])


def test_yolox_counts_from_its_cells():
    # Row 16 is the first cell of stride 16, row 19 the last; row 20 is the cell of stride 32.
    rows = {
        19: (0.5, 0.25, np.log(0.5), np.log(1.0), 1.0, 0.75, 0),
        20: (0.5, 0.5, np.log(0.25), np.log(0.5), 0.5, 1.0, 0),
    }
    table = make_yolo_rows(21, 2, rows)
    detector = OnnxDetector(make_constant_detector({"output": table[None]}))
    assert (detector.card.output, detector.card.color) == ("yolox", "BGR")
    # (1.5, 1.25) x 16 = (24, 20), 8 x 16: (20, 12, 28, 28); (16, 16), 8 x 16: (12, 8, 20, 24).
    assert_found(detector, BLACK, [[40, 24, 56, 56], [24, 16, 40, 48]], [0.75, 0.5])


def test_decoded_rows_of_yolox_are_told_by_their_sizes():
    table = make_yolo_rows(21, 2, {4: (16, 16, 22, 30, 1.0, 0.7, 0)})
    detector = OnnxDetector(make_constant_detector({"output": table[None]}))
    assert detector.card.output == "yolov5"
    assert_found(detector, BLACK, [[10, 2, 54, 62]], [0.7])


def test_final_rows_are_left_as_they_are():
    rows = [[0, 0, 8, 16, 0.9, 0], [1, 0, 9, 16, 0.8, 0], [8, 8, 16, 16, 0.9, 16], [0] * 6]
    detector = OnnxDetector(make_constant_detector({"output0": np.array([rows], np.float32)}))
    assert detector.card.output == "rows6"
    assert_found(detector, BLACK, [[0, 0, 16, 32], [2, 0, 18, 32]], [0.9, 0.8])


def test_torchvision_takes_pictures_of_any_size_and_counts_people_as_1():
    outputs = {
        "1843": np.array([[3, 4, 20, 30], [5, 6, 25, 60]], np.float32),
        "1844": np.array([1, 18], np.int64),
        "1845": np.array([0.9, 0.95], np.float32),
    }
    model = make_constant_detector(outputs, ("height", "width"), batch=None)
    detector = OnnxDetector(model)
    assert (detector.card.output, detector.card.resizing) == ("boxes_scores_labels", "none")
    assert_found(detector, WIDE, [[3, 4, 20, 30]], [0.9])
    # It resizes to 800 pixels by itself.
    assert detector.sight.scale(1600, 2000) == 0.5


def test_outputs_are_known_where_nothing_is_found_in_the_grey_picture():
    outputs = {
        "labels": np.zeros(0, np.int64),
        "scores": np.zeros(0, np.float32),
        "boxes": np.zeros((0, 4), np.float32),
    }
    detector = OnnxDetector(make_constant_detector(outputs, ("h", "w"), batch=None))
    assert_found(detector, WIDE, np.zeros((0, 4)), np.zeros(0))


def test_rt_detr_is_told_the_size_of_its_input():
    """Boxes come back in pixels of the size it was told: width and height, in this order."""
    nodes = [
        helper.make_node("Cast", ["orig_target_sizes"], ["sizes"], to=FLOAT),
        helper.make_node("Concat", ["sizes", "sizes"], ["twice"], axis=1),
        helper.make_node("Mul", ["shares", "twice"], ["rows"]),
        helper.make_node("Unsqueeze", ["rows", "axis"], ["boxes"]),
        helper.make_node("Identity", ["known_labels"], ["labels"]),
        helper.make_node("Identity", ["known_scores"], ["scores"]),
    ]
    constants = {
        "shares": np.array([[0.25, 0.5, 0.5, 1]], np.float32),
        "axis": np.array([0], np.int64),
        "known_labels": np.array([[0]], np.int64),
        "known_scores": np.array([[0.7]], np.float32),
    }
    inputs = {
        "images": (FLOAT, ["N", 3, 32, 16]),
        "orig_target_sizes": (INT64, ["N", 2]),
    }
    outputs = {
        "labels": (INT64, ["N", 1]),
        "boxes": (FLOAT, ["N", 1, 4]),
        "scores": (FLOAT, ["N", 1]),
    }
    detector = OnnxDetector(make_model(nodes, inputs, outputs, constants))
    assert (detector.card.resizing, detector.card.person_class) == ("squeeze", 0)
    assert_found(detector, WIDE, [[16, 16, 32, 32]], [0.7])


def test_rf_detr_s_logits_are_of_coco_s_own_numbers():
    logits = np.full((1, 2, 91), -9, np.float32)
    logits[0, 0, 1], logits[0, 1, 0] = np.log(3), 9  # 3 / (3 + 1) = 0.75
    boxes = np.array([[[0.5, 0.5, 0.25, 0.5], [0.5, 0.5, 1, 1]]], np.float32)
    detector = OnnxDetector(make_constant_detector({"dets": boxes, "labels": logits}))
    assert (detector.card.output, detector.card.mean[0]) == ("boxes_logits", 123.675)
    assert_found(detector, WIDE, [[24, 8, 40, 24]], [0.75])


def make_nanodet(classes=2):
    """One person in row 1, column 2 of stride 8, whose sides are 1, 0, 2 and 3 strides away."""
    outputs = {}
    for stride, cells in ((8, 16), (16, 4), (32, 1)):
        outputs[f"class{stride}"] = np.zeros((1, cells, classes), np.float32)
        outputs[f"side{stride}"] = np.zeros((1, cells, 32), np.float32)
    outputs["class8"][0, 6, 0] = 0.8
    for side, distance in enumerate((1, 0, 2, 3)):
        outputs["side8"][0, 6, side * 8 + distance] = 50
    return outputs


@pytest.mark.parametrize("order", [1, -1])
def test_nanodet_s_distances_are_means_of_distributions(order):
    outputs = dict(list(make_nanodet().items())[::order])
    detector = OnnxDetector(make_constant_detector(outputs))
    assert (detector.card.output, detector.card.color) == ("nanodet", "BGR")
    # The middle of the cell is (20, 12).
    assert_found(detector, BLACK, [[24, 24, 72, 72]], [0.8])


def decode_nanodet_slowly(outputs, size):
    """Box and score of every cell, by the definition, one number at a time."""
    found = []
    for stride in (8, 16, 32):
        columns = -(-size[1] // stride)
        for cell, sides in enumerate(outputs[f"side{stride}"][0]):
            x, y = (cell % columns + 0.5) * stride, (cell // columns + 0.5) * stride
            distances = []
            for side in range(4):
                weights = [np.exp(float(v)) for v in sides[8 * side : 8 * side + 8]]
                mean = sum(k * w for k, w in enumerate(weights)) / sum(weights)
                distances.append(mean * stride)
            left, top, right, bottom = distances
            box = (x - left, y - top, x + right, y + bottom)
            found.append((*box, float(outputs[f"class{stride}"][0, cell, 0])))
    return np.array(sorted(found, key=lambda row: -row[4]))


def test_nanodet_equals_a_slow_decode():
    """Of an input that is not square, whose sides are no multiple of the strides."""
    size, rng, outputs = (40, 72), np.random.default_rng(0), {}
    for stride in (8, 16, 32):
        cells = -(-size[0] // stride) * -(-size[1] // stride)
        outputs[f"class{stride}"] = rng.random((1, cells, 80), np.float32)
        outputs[f"side{stride}"] = 3 * rng.standard_normal((1, cells, 32), np.float32)
    model = make_constant_detector(
        outputs, size, metadata={KEY: json.dumps({"nms_iou": 1.0, "resizing": "squeeze"})}
    )
    expected = decode_nanodet_slowly(outputs, size)
    picture = np.zeros((*size, 3), np.uint8)
    detector = OnnxDetector(model, min_score=0)
    assert_found(detector, picture, expected[:, :4], expected[:, 4])


def test_nanodet_plus_is_one_table_seen_from_the_corners():
    # 16 + 4 + 1 + 1 cells; the same person, so 4 pixels further up and left.
    table = np.zeros((1, 22, 2 + 32), np.float32)
    table[0, 6, 0] = 0.8
    table[0, 6, 2:] = make_nanodet()["side8"][0, 6]
    detector = OnnxDetector(make_constant_detector({"out": table}))
    assert detector.card.output == "nanodet_plus"
    assert_found(detector, BLACK, [[16, 16, 64, 64]], [0.8])


def test_without_labels_all_are_people_and_shares_become_pixels():
    outputs = {
        "boxes": np.array([[[0.25, 0, 0.5, 1], [0, 0, 0, 0]]], np.float32),
        "scores": np.array([[0.9, 0.8]], np.float32),
    }
    card = {"relative_boxes": True, "resizing": "squeeze"}
    model = make_constant_detector(outputs, metadata={KEY: json.dumps(card)})
    # The second is no box.
    assert_found(OnnxDetector(model), WIDE, [[16, 0, 32, 32]], [0.9])


# What the graph gets.


def make_looking_detector(kind, shape):
    """A detector of one box, whose score is the first number of the input / 1000."""
    nodes = [
        helper.make_node("Cast", ["picture"], ["floats"], to=FLOAT),
        helper.make_node("Reshape", ["floats", "flat"], ["row"]),
        helper.make_node("Gather", ["row", "first"], ["value"]),
        helper.make_node("Mul", ["value", "unit"], ["scores"]),
        helper.make_node("Identity", ["known"], ["boxes"]),
    ]
    constants = {
        "flat": np.array([-1], np.int64),
        "first": np.array([0], np.int64),
        "unit": np.array([1e-3], np.float32),
        "known": np.array([[0, 0, 8, 8]], np.float32),
    }
    outputs = {"boxes": (FLOAT, [1, 4]), "scores": (FLOAT, [1])}
    return make_model(nodes, {"picture": (kind, shape)}, outputs, constants)


@pytest.mark.parametrize(
    ("kind", "batch", "card", "expected"),
    [
        (UINT8, 1, {}, 0.010),
        (UINT8, 1, {"color": "BGR"}, 0.030),
        # (10 - 4) / 3 and (30 - 6) / 2
        (FLOAT, 1, {"mean": [4, 5, 6], "std": [3, 1, 1]}, 0.002),
        (FLOAT, 1, {"color": "BGR", "mean": [6, 5, 4], "std": [2, 1, 1]}, 0.012),
        (FLOAT, 3, {"std": [1, 1, 1]}, 0.010),
        # Twelve of sixteen rows are padding.
        (UINT8, 1, {"resizing": "letterbox_center", "padding": 77}, 0.077),
    ],
)
def test_pixels_are_prepared_as_the_card_says(tmp_path, kind, batch, card, expected):
    path = tmp_path / "looks.onnx"
    path.write_bytes(make_looking_detector(kind, [batch, 3, 16, 16]))
    path.with_suffix(".card.json").write_text(json.dumps({"min_score": 0, **card}))
    picture = np.full((8, 32, 3), (10, 20, 30), np.uint8)
    _, scores = load_detector(path).detect(picture)
    np.testing.assert_allclose(scores, [expected], atol=1e-6)


def test_a_card_beside_the_file_goes_before_what_is_usual(tmp_path):
    path = tmp_path / "own.onnx"
    path.write_bytes(
        make_constant_detector(
            {"output": make_yolo_rows(21, 2, {4: (8, 8, 4, 4, 1, 0, 0.7)})[None]}
        )
    )
    usual = OnnxDetector(path)
    card = {"output": "yolov5", "person_class": 1, "min_score": 0.4, "smallest_person": 30}
    path.with_suffix(".card.json").write_text(json.dumps(card))
    detector = OnnxDetector(path)
    assert_found(detector, BLACK, [[12, 12, 20, 20]], [0.7])
    assert (detector.min_score, detector.sight.smallest_person) == (0.4, 30)
    assert OnnxDetector(path, min_score=0.8).min_score == 0.8
    # Of everything that decides boxes, but what a caller may change: the score, and parts.
    assert len({usual.fingerprint, detector.fingerprint}) == 2
    for said in ({"min_score": 0.1}, {"smallest_person": 50}, {"padding": usual.card.padding}):
        path.with_suffix(".card.json").write_text(json.dumps({**card, **said}))
        assert OnnxDetector(path).fingerprint == detector.fingerprint, said


def test_the_detector_of_an_exported_search_model_finds_the_same_people():
    from person_search.inference.finder import PersonFinder, default_model
    from person_search.synthetic.sample_pictures import draw_sample_pictures

    picture = draw_sample_pictures()[0]
    finder = PersonFinder.load()
    (people,) = finder.find([picture])
    assert len(people)
    detector = load_detector(default_model())
    boxes, scores = detector.detect(picture)
    order = np.argsort(-people.scores, kind="stable")
    limits = np.array(picture.shape[1::-1] * 2, np.float32)
    np.testing.assert_allclose(boxes.clip(0, limits), people.boxes[order], atol=1e-3)
    np.testing.assert_allclose(scores, people.scores[order], atol=1e-6)
    assert detector.sight == finder.network.settings.sight
    detector.min_score = float(scores[0])
    assert len(detector.detect(picture)[0]) == 1


# What is refused.


def test_outputs_of_no_known_kind_are_refused_with_what_was_found():
    outputs = {"heat": np.zeros((1, 1, 8, 8), np.float32)}
    with pytest.raises(ValueError, match=r"heat float32 \(1, 1, 8, 8\).*Known are.*nanodet.*card"):
        OnnxDetector(make_constant_detector(outputs))
    # On no grid of the input.
    outputs = {"table": np.zeros((1, 30, 7), np.float32)}
    with pytest.raises(ValueError, match=r"table float32 \(1, 30, 7\) for an input of 32 x 32"):
        OnnxDetector(make_constant_detector(outputs))


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("[", "is no JSON"),
        ("[1]", "expected an object"),
        ({"size": 3}, "has the unknown size; expected output, height"),
        ({"output": "yolov99"}, "output is 'yolov99'; expected one of boxes_scores_labels"),
        ({"output": "yolox"}, r"output float32 \(1, 63, 7\).*do not fit the card's 'yolox'"),
        ({"color": "GRAY"}, "color is 'GRAY'"),
        ({"mean": [1, 2]}, "expected three numbers"),
        ({"std": [0, 1, 1]}, "std is 0; expected a number, 0.001 to 255"),
        ({"min_score": 35}, "min_score is 35; expected a number, 0 to 1"),
        ({"height": 64}, "says height 64, but its graph takes 32"),
        ({"person_class": True}, "person_class is True; expected a whole number"),
        ({"resizing": "crop"}, "resizing is 'crop'; expected one of letterbox"),
    ],
)
def test_a_wrong_card_is_refused(tmp_path, card, message):
    path = tmp_path / "own.onnx"
    path.write_bytes(make_constant_detector({"output": np.zeros((1, 63, 7), np.float32)}))
    text = card if isinstance(card, str) else json.dumps(card)
    path.with_suffix(".card.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        OnnxDetector(path)


@pytest.mark.parametrize(
    ("kind", "card", "message"),
    [
        (UINT8, {"std": [1, 1, 1]}, "says std, .* since it takes uint8 pixels as they are; leave"),
        (UINT8, {"mean": [0, 0, 0], "std": [1, 1, 1]}, "says mean, std, which is not read"),
        (FLOAT, {"nms_iou": 0.5}, "says nms_iou, .* since its boxes are final"),
        (FLOAT, {"resizing": "squeeze", "padding": 9}, "says padding, .* since nothing is filled"),
    ],
)
def test_what_a_card_says_in_vain_is_refused(tmp_path, kind, card, message):
    path = tmp_path / "looks.onnx"
    path.write_bytes(make_looking_detector(kind, [1, 3, 16, 16]))
    path.with_suffix(".card.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match=message):
        OnnxDetector(path)


@pytest.mark.parametrize("score", [np.nan, 1.5, -3])
def test_scores_that_are_no_shares_are_refused(score):
    outputs = {
        "boxes": np.array([[0, 0, 8, 8]], np.float32),
        "scores": np.array([score], np.float32),
    }
    detector = OnnxDetector(make_constant_detector(outputs))
    with pytest.raises(ValueError, match=f"gives scores from {score:.4g} to .*expected 0 to 1"):
        detector.detect(BLACK)


def test_boxes_of_nan_are_refused_not_passed_over():
    """They were left out like boxes without an area, so that nobody was found."""
    boxes = np.array([[0, 0, np.nan, 8], [np.inf, 0, 8, 8]], np.float32)
    outputs = {"boxes": boxes, "scores": np.array([0.9, 0.1], np.float32)}
    detector = OnnxDetector(make_constant_detector(outputs))
    with pytest.raises(ValueError, match="boxes with NaN or infinity as 'boxes_scores_labels'"):
        detector.detect(BLACK)
    outputs["boxes"] = boxes[::-1]
    outputs["scores"] = np.array([0.1, 0.2], np.float32)
    assert len(OnnxDetector(make_constant_detector(outputs)).detect(BLACK)[0]) == 0


def test_weights_may_lie_beside_the_file(tmp_path):
    """As PyTorch's exporter writes them."""
    path = tmp_path / "big.onnx"
    model = onnx.load_from_string(make_looking_detector(UINT8, [1, 3, 16, 16]))
    options = {"location": "big.onnx.data", "size_threshold": 0}
    onnx.save(model, str(path), save_as_external_data=True, **options)
    _, scores = load_detector(path, min_score=0).detect(np.full((8, 8, 3), 20, np.uint8))
    np.testing.assert_allclose(scores, [0.02], atol=1e-6)
    (tmp_path / "big.onnx.data").unlink()
    with pytest.raises(FileNotFoundError, match=r"keeps its weights in big\.onnx\.data, which is"):
        load_detector(path)


def test_what_is_no_detector_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no detector .*none\.onnx"):
        load_detector(tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(ValueError, match=r"text\.onnx is no ONNX model.*a detector's ONNX file"):
        load_detector(tmp_path / "text.onnx")
    outputs = {"boxes": np.zeros((1, 4), np.float32), "scores": np.zeros(1, np.float32)}
    two = make_constant_detector(outputs, inputs={"prompt": (FLOAT, [1, 5])})
    with pytest.raises(ValueError, match=r"prompt tensor\(float\) \[1, 5\]; expected one picture"):
        OnnxDetector(two)
    with pytest.raises(ValueError, match="min_score is 2"):
        OnnxDetector(make_constant_detector(outputs), min_score=2)
