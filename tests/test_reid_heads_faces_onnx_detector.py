"""Face detectors in ONNX files: made-up weights under the public names and shapes."""

import logging
import math

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from helpers_face_networks import FACE, draw_bright_cells, halve, save_graph, write_detector
from onnx import helper
from PIL import Image

from reid_heads.faces.alignment import align_face
from reid_heads.faces.command import main
from reid_heads.faces.detectors import DetectedFace, drop_unalignable
from reid_heads.faces.onnx_detector import OnnxFaces, letterbox

SIZE = (64, 96)
SPOTS = [(8, 8, 16), (64, 32, 32), (40, 0, 8), (0, 40, 16)]


def run(path, tensor):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [x.name for x in session.get_outputs()]
    return dict(zip(names, session.run(None, {session.get_inputs()[0].name: tensor}), strict=True))


def scrfd_oracle(path, picture, min_score):
    """Score, box and points of every place, one after the other, as insightface decodes them."""
    values = (picture.astype(np.float32) - 127.5) / 128
    found = run(path, values.transpose(2, 0, 1)[None])
    faces = []
    for stride, score, box, points in zip(
        *((8, 16, 32), ("448", "471", "494"), ("451", "474", "497"), ("454", "477", "500")),
        strict=True,
    ):
        row = 0
        for y in range(0, picture.shape[0], stride):
            for x in range(0, picture.shape[1], stride):
                for _ in range(2):
                    if found[score][row, 0] >= min_score:
                        left, up, right, down = found[box][row] * stride
                        ends = [x - left, y - up, x + right, y + down]
                        own = found[points][row] * stride
                        spots = [(x + own[2 * i], y + own[2 * i + 1]) for i in range(5)]
                        faces.append((found[score][row, 0], ends, spots))
                    row += 1
    return faces


def yunet_oracle(path, picture, min_score):
    """The same of YuNet, as OpenCV's FaceDetectorYN decodes it."""
    found = run(path, picture[:, :, ::-1].astype(np.float32).transpose(2, 0, 1)[None])
    faces = []
    for stride in (8, 16, 32):
        columns = picture.shape[1] // stride
        for row in range(picture.shape[0] // stride * columns):
            r, c = divmod(row, columns)
            score = math.sqrt(found[f"cls_{stride}"][0, row, 0] * found[f"obj_{stride}"][0, row, 0])
            if score < min_score:
                continue
            dx, dy, log_w, log_h = found[f"bbox_{stride}"][0, row]
            x, y = (c + dx) * stride, (r + dy) * stride
            w, h = math.exp(log_w) * stride, math.exp(log_h) * stride
            own = found[f"kps_{stride}"][0, row]
            spots = [((own[2 * i] + c) * stride, (own[2 * i + 1] + r) * stride) for i in range(5)]
            faces.append((score, [x - w / 2, y - h / 2, x + w / 2, y + h / 2], spots))
    return faces


def overlap(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    inside = max(w, 0) * max(h, 0)
    return inside / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inside)


def suppressed(faces, iou):
    chosen = []
    for face in sorted(faces, key=lambda face: -face[0]):
        if all(overlap(face[1], other[1]) <= iou for other in chosen):
            chosen.append(face)
    return chosen


ORACLES = {"scrfd": (scrfd_oracle, 0.5, 0.4), "yunet": (yunet_oracle, 0.9, 0.3)}


@pytest.mark.parametrize("kind", ORACLES)
def test_faces_are_those_of_a_slow_oracle(tmp_path, kind):
    path = write_detector(tmp_path / "det.onnx", kind)
    oracle, min_score, iou = ORACLES[kind]
    picture = draw_bright_cells(SIZE, SPOTS)
    every = oracle(path, picture, min_score)
    expected = suppressed(every, iou)
    detect = OnnxFaces(path, device="cpu")
    found = detect(picture)
    assert detect.family.name.lower() == kind and detect.size == SIZE
    assert len(every) > len(expected) == len(found) > 2
    for face, (score, box, points) in zip(found, expected, strict=True):
        assert face.score == pytest.approx(score, abs=1e-6)
        np.testing.assert_allclose(face.box_xyxy, box, atol=1e-3)
        np.testing.assert_allclose(face.points, points, atol=1e-3)
    # A higher least score leaves the first ones.
    limit = found[1].score
    assert (
        OnnxFaces(path, limit, "cpu")(picture) and len(OnnxFaces(path, limit, "cpu")(picture)) == 2
    )


@pytest.mark.parametrize("kind", ORACLES)
def test_half_precision_is_near_single(tmp_path, kind):
    path = write_detector(tmp_path / "det.onnx", kind)
    picture = draw_bright_cells(SIZE, SPOTS[1:2])
    # In single precision the best face is one of many.
    every = OnnxFaces(path, device="cpu")(picture)
    best = OnnxFaces(halve(path), device="cpu")(picture)[0]
    nearest = min(every, key=lambda face: np.abs(np.subtract(face.box_xyxy, best.box_xyxy)).max())
    np.testing.assert_allclose(best.box_xyxy, nearest.box_xyxy, atol=0.5)
    np.testing.assert_allclose(best.points, nearest.points, atol=0.5)
    assert best.score == pytest.approx(nearest.score, abs=0.01)


def test_yunet_finds_what_opencv_finds_with_the_same_file(tmp_path):
    path = write_detector(tmp_path / "det.onnx", "yunet")
    picture = draw_bright_cells(SIZE, SPOTS)
    theirs = cv2.FaceDetectorYN.create(str(path), "", (SIZE[1], SIZE[0]))
    _, rows = theirs.detect(np.ascontiguousarray(picture[:, :, ::-1]))
    ours = OnnxFaces(path, device="cpu")(picture)
    assert len(rows) == len(ours)
    for row, face in zip(sorted(rows, key=lambda row: -row[14]), ours, strict=True):
        x1, y1, x2, y2 = face.box_xyxy
        np.testing.assert_allclose([x1, y1, x2 - x1, y2 - y1], row[:4], atol=1e-2)
        np.testing.assert_allclose(face.points.ravel(), row[4:14], atol=1e-2)
        assert face.score == pytest.approx(row[14], abs=1e-4)


@pytest.mark.parametrize("kind", ORACLES)
def test_pictures_of_other_sizes_lie_in_the_upper_left_corner(tmp_path, kind):
    """Shrunk to the input and filled up in black; faces are in pixels of the picture."""
    detect = OnnxFaces(write_detector(tmp_path / "det.onnx", kind), device="cpu")
    small = draw_bright_cells((64, 48), [(8, 8, 16), (0, 32, 16)])
    filled = np.zeros((*SIZE, 3), np.uint8)
    filled[:, :48] = small
    expected = detect(filled)
    found = detect(np.kron(small, np.ones((2, 2, 1), np.uint8)))
    assert len(expected) == len(found) > 1
    for one, two in zip(expected, found, strict=True):
        np.testing.assert_allclose(np.multiply(one.box_xyxy, 2), two.box_xyxy, atol=1e-3)
        np.testing.assert_allclose(one.points * 2, two.points, atol=1e-3)


def test_small_pictures_are_enlarged_for_scrfd_alone():
    picture = draw_bright_cells((32, 20), [(0, 0, 8)])
    filled, scale = letterbox(picture, SIZE, may_enlarge=True)
    assert filled[:, 40:].max() == 0 < filled[:, :40].min(axis=2).max()
    assert scale.tolist() == [2, 2]
    filled, scale = letterbox(picture, SIZE, may_enlarge=False)
    np.testing.assert_array_equal(filled[:32, :20], picture)
    assert scale.tolist() == [1, 1] and filled[32:].max() == filled[:, 20:].max() == 0
    # A side fills the input, whatever its length: no rounding takes a pixel of it.
    for side in range(40, 90):
        _, scale = letterbox(np.zeros((1, side, 3), np.uint8), (96, 96), may_enlarge=True)
        assert scale[0] == 96 / side
    # Sides are rounded, each with a scale of its own.
    _, scale = letterbox(np.zeros((100, 33, 3), np.uint8), SIZE, may_enlarge=True)
    assert scale.tolist() == [21 / 33, 64 / 100]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ORACLES)
def test_open_sizes_are_those_of_insightface(tmp_path, kind):
    detect = OnnxFaces(write_detector(tmp_path / "det.onnx", kind, ("h", "w")), device="cpu")
    assert detect.size == (640, 640)
    assert detect(draw_bright_cells((640, 640), [(64, 64, 32)]))


def test_outputs_that_are_not_understood(tmp_path):
    path = tmp_path / "det.onnx"
    with pytest.raises(FileNotFoundError, match=r"no face detector .*; check --detector"):
        OnnxFaces(path, device="cpu")
    write_detector(path, has_points=False)
    with pytest.raises(ValueError, match="none of them has the five points of each face"):
        OnnxFaces(path, device="cpu")
    # Sides that cells of 32 pixels do not fill.
    write_detector(path, "scrfd", (64, 100))
    OnnxFaces(path, device="cpu")
    relu = helper.make_node("Relu", ["data"], ["out"])
    save_graph(path, [relu], {"data": [1, 3, 64, 64]}, {"out": [1, 3, 64, 64]}, {})
    with pytest.raises(ValueError, match=r"gives out \(1, 3, 64, 64\) for a picture of 64 x 64"):
        OnnxFaces(path, device="cpu")
    save_graph(path, [relu], {"data": [1, 1, 64, 64]}, {"out": [1, 1, 64, 64]}, {})
    with pytest.raises(ValueError, match=r"expected a picture, float \(1, 3, height, width\)"):
        OnnxFaces(path, device="cpu")
    model = onnx.load(write_detector(path))
    model.graph.node.append(helper.make_node("Reshape", ["input.1", "odd"], ["sum"]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([7, 7]), "odd"))
    model.graph.output.append(helper.make_tensor_value_info("sum", 1, None))
    onnx.save(model, path)
    with pytest.raises(ValueError, match=r"det\.onnx cannot be run on input\.1 \(1, 3, 64, 96\)"):
        OnnxFaces(path, device="cpu")
    del model.graph.output[:]
    onnx.save(model, path)
    with pytest.raises(ValueError, match=r"det\.onnx cannot be run .* output should be requested"):
        OnnxFaces(path, device="cpu")
    write_detector(path, spoil=np.nan)
    with pytest.raises(ValueError, match="NaN or infinite"):
        OnnxFaces(path, device="cpu")
    write_detector(path, "yunet", spoil=1e4)
    with pytest.raises(ValueError, match="boxes or points of NaN or infinity"):
        OnnxFaces(path, device="cpu")(draw_bright_cells(SIZE, SPOTS))


def test_scores_that_are_no_shares(tmp_path, monkeypatch):
    detect = OnnxFaces(write_detector(tmp_path / "det.onnx"), device="cpu")
    values = detect._run(np.zeros((1, 3, *SIZE), np.float32))
    monkeypatch.setattr(detect, "_run", lambda tensor: [value + 2 for value in values])
    with pytest.raises(ValueError, match=r"gives scores from .* expected 0 to 1"):
        detect(np.zeros((*SIZE, 3), np.uint8))


def test_a_face_that_cannot_be_aligned_does_not_hide_the_others(caplog):
    good = DetectedFace((0, 0, 9, 9), FACE * 40 + 50)
    mirrored = DetectedFace((1, 2, 9, 9), good.points * (-1, 1))
    flat = DetectedFace((3, 4, 9, 9), np.outer(np.arange(5.0), (1, 1)))
    boxed = DetectedFace((5, 6, 9, 9))
    with caplog.at_level(logging.WARNING):
        assert drop_unalignable([mirrored, good, flat, boxed]) == [good, boxed]
    assert "the face at 1 2 9 9 is left out: points: " in caplog.text
    assert "the face at 3 4 9 9 is left out" in caplog.text


def test_the_command_aligns_by_a_detector(tmp_path, capsys):
    detector = write_detector(tmp_path / "det.onnx")
    picture = draw_bright_cells(SIZE, SPOTS)
    (tmp_path / "people" / "Ann").mkdir(parents=True)
    Image.fromarray(picture).save(tmp_path / "people" / "Ann" / "1.png")
    align = ["align", "--people", str(tmp_path / "people"), "--output", str(tmp_path / "aligned")]
    assert main([*align, "--detector", str(detector), "--device", "cpu"]) == 0
    written = np.asarray(Image.open(tmp_path / "aligned" / "Ann" / "1.png"))
    best = OnnxFaces(detector, device="cpu")(picture)[0]
    np.testing.assert_array_equal(written, align_face(picture, best.points))
    capsys.readouterr()
    align[-1] = str(tmp_path / "again")
    for options, message in [
        (["--detector", "x.pth"], "expected the ONNX file of SCRFD or YuNet"),
        (["--detector", str(detector), "--min-score", "2"], "--min-score is 2.0"),
        (["--detector", "x.onnx", "--faces", "f.csv"], "got --faces and --detector; faces come"),
        (["--detector", "x.onnx", "--detector-class", "1"], "belongs to --detector-config"),
        (["--detector", "gone.onnx"], "there is no face detector gone.onnx; check --detector"),
    ]:
        assert main([*align, *options]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "again").exists()
