"""The pipeline of faces with an embedding that can be checked by eye: the mean colour."""

import numpy as np
import pytest
import torch
from conftest import CONFIGS, overrides_of
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances

import reid_heads.crop_reid  # noqa: F401  (registers the model)
from reid_heads.config import load_config
from reid_heads.faces.alignment import TEMPLATE, align_face
from reid_heads.faces.detectors import (
    DetectedFace,
    Detectron2Faces,
    GivenFaces,
    cut_face,
    whole_picture,
)
from reid_heads.faces.pipeline import CropEmbedder, FacePipeline

RED, DARK_RED, GREEN, BLUE = (200, 0, 0), (100, 5, 0), (0, 200, 0), (0, 0, 200)


def plain(colour, size=112):
    return np.full((size, size, 3), colour, np.uint8)


def mean_colour(faces):
    assert faces.shape[1:] == (112, 112, 3)
    rows = faces.astype(np.float32).mean(axis=(1, 2))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def pipeline():
    return FacePipeline(whole_picture, mean_colour, threshold=0.9)


def test_verify(pipeline):
    same = pipeline.verify(plain(RED), plain(DARK_RED, 40))
    assert same.is_same
    assert same.similarity == pytest.approx(100 / np.hypot(100, 5), rel=1e-5)
    other = pipeline.verify(plain(RED), plain(GREEN))
    assert not other.is_same and other.similarity == pytest.approx(0)


def test_identify_and_reject(pipeline):
    with pytest.raises(ValueError, match="nobody is enrolled"):
        pipeline.identify(plain(RED))
    pipeline.enroll("Ann", [plain(RED), plain(DARK_RED)])
    pipeline.enroll("Bo", [plain(GREEN)])
    (ann,), (nobody,) = pipeline.identify(plain(RED)), pipeline.identify(plain(BLUE))
    assert (ann.name, nobody.name) == ("Ann", None)
    assert ann.similarity > 0.99 and nobody.similarity == pytest.approx(0)
    with pytest.raises(ValueError, match="'Bo' is already enrolled"):
        pipeline.enroll("Bo", [plain(BLUE)])
    with pytest.raises(ValueError, match="got no picture of 'Cid'"):
        pipeline.enroll("Cid", [])


def test_saved_means_are_enrolled_again(pipeline):
    pipeline.enroll("Ann", iter([plain(RED), plain(DARK_RED)]))
    (mean,) = pipeline.enrolled.values()
    assert mean.dtype == np.float32 and np.linalg.norm(mean) == pytest.approx(1)
    again = FacePipeline(whole_picture, mean_colour, threshold=0.9)
    again.enroll_embedding("Ann", mean)
    assert again.identify(plain(RED)) == pipeline.identify(plain(RED))
    with pytest.raises(ValueError, match="'Ann' is already enrolled"):
        again.enroll_embedding("Ann", mean)
    for wrong in (2 * mean, mean[None], mean[:2], mean * np.nan):
        with pytest.raises(
            ValueError, match=r"embedding of 'Bo': got shape .* expected \(3,\) and 1"
        ):
            again.enroll_embedding("Bo", wrong)


def test_another_detector_for_a_picture(pipeline):
    scene = np.zeros((80, 200, 3), np.uint8)
    scene[10:60, 20:70] = RED
    given = pipeline.with_detector(GivenFaces([[20, 10, 70, 60]]))
    pipeline.enroll("Ann", [plain(RED)])
    (face,) = given.identify(scene)
    assert (face.name, pipeline.detect) == ("Ann", whole_picture)
    result = pipeline.compare(given.embed_main_face(scene), pipeline.embed_main_face(plain(RED)))
    assert result.is_same and result.faces[0].box_xyxy == (20, 10, 70, 60)


def test_given_faces_are_of_the_picture():
    with pytest.raises(ValueError, match="has no area in the picture of 112 x 112"):
        GivenFaces([[200, 0, 300, 90]])(plain(RED))
    with pytest.raises(ValueError, match="lie outside of the picture of 112 x 112"):
        GivenFaces([[0, 0, 90, 90]], [TEMPLATE + 200])(plain(RED))
    # A face may be cut off by the border.
    assert GivenFaces([[-50, 0, 60, 90]], [TEMPLATE - 50])(plain(RED))


def test_each_given_face_of_a_picture_is_named(pipeline):
    scene = np.zeros((80, 200, 3), np.uint8)
    scene[10:60, 20:70], scene[10:60, 120:170] = GREEN, RED
    pipeline.enroll("Ann", [plain(RED)])
    pipeline.detect = GivenFaces([[20, 10, 70, 60], [120, 10, 170, 60]])
    assert [found.name for found in pipeline.identify(scene)] == [None, "Ann"]


def test_main_face_is_the_best_scored_then_the_largest(pipeline):
    faces = [
        DetectedFace((0, 0, 10, 10), score=0.8),
        DetectedFace((0, 0, 5, 5), score=0.9),
        DetectedFace((0, 0, 6, 6), score=0.9),
    ]
    pipeline.detect = lambda image: faces
    assert pipeline.embed_main_face(plain(RED))[0] is faces[2]
    pipeline.detect = lambda image: []
    with pytest.raises(ValueError, match="there is no face"):
        pipeline.verify(plain(RED), plain(RED))
    pipeline._enrolled["Ann"] = np.ones(3)
    assert pipeline.identify(plain(RED)) == []


def test_points_align_and_boxes_are_cut():
    image = np.random.default_rng(0).integers(0, 256, (200, 240, 3), dtype=np.uint8)
    points = TEMPLATE + 50
    face = DetectedFace((50, 50, 162, 162), points)
    np.testing.assert_array_equal(cut_face(image, face), align_face(image, points))
    np.testing.assert_array_equal(cut_face(image, face), image[50:162, 50:162])
    box = DetectedFace((-20.0, 30.0, 112.0, 142.0))
    np.testing.assert_array_equal(cut_face(image, box), image[30:142, :112])
    for outside in ((300, 0, 320, 20), (-30, -30, -5, -5), (10, 10, 10, 20)):
        with pytest.raises(ValueError, match="has no area in the picture of 240 x 200"):
            cut_face(image, DetectedFace(outside))
    with pytest.raises(ValueError, match="lie on one line"):
        cut_face(image, DetectedFace((0, 0, 9, 9), np.arange(10).reshape(5, 2)))


def test_bad_settings():
    with pytest.raises(ValueError, match=r"threshold: got 1\.2"):
        FacePipeline(whole_picture, mean_colour, 1.2)
    with pytest.raises(ValueError, match=r"boxes_xyxy: got shape \(4,\)"):
        GivenFaces([1, 2, 3, 4])
    with pytest.raises(ValueError, match=r"points: got shape \(2, 5, 2\), expected \(1, 5, 2\)"):
        GivenFaces([[1, 2, 3, 4]], np.zeros((2, 5, 2)))
    with pytest.raises(ValueError, match="image_format: got 'HSV'"):
        CropEmbedder(torch.nn.Identity(), (4, 4), "HSV")


@pytest.mark.parametrize("num_points", [None, 5, 17])
def test_any_detectron2_predictor(num_points):
    seen = []

    def predictor(image_bgr):
        seen.append(image_bgr[0, 0].tolist())
        found = Instances((112, 112))
        found.pred_boxes = Boxes(torch.tensor([[1.0, 2, 30, 40], [5, 5, 50, 60], [0, 0, 9, 9]]))
        found.scores = torch.tensor([0.6, 0.9, 0.2])
        found.pred_classes = torch.tensor([1, 0, 1])
        if num_points:
            found.pred_keypoints = torch.arange(3 * num_points * 3.0).reshape(3, num_points, 3)
        return {"instances": found}

    faces = Detectron2Faces(predictor)(plain(RED))
    assert seen == [[0, 0, 200]]
    assert [face.box_xyxy for face in faces] == [(5, 5, 50, 60), (1, 2, 30, 40)]
    if num_points == 5:
        assert faces[1].points.tolist() == [[0, 1], [3, 4], [6, 7], [9, 10], [12, 13]]
    else:
        assert faces[0].points is None
    (face,) = Detectron2Faces(predictor, class_number=1)(plain(RED))
    assert face.box_xyxy == (1, 2, 30, 40)
    with pytest.raises(ValueError, match="the detector gives sem_seg; expected instances"):
        Detectron2Faces(lambda image: {"sem_seg": image})(plain(RED))
    found = Detectron2Faces(predictor, find_points=lambda image, box: TEMPLATE + box[0])
    np.testing.assert_array_equal(found(plain(RED))[0].points, TEMPLATE + 5)


def test_embedder_is_the_model_with_flip_test():
    options = """
    MODEL.DEVICE cpu
    MODEL.WEIGHTS ''
    MODEL.RESNETS.DEPTH 18
    MODEL.RESNETS.STEM_OUT_CHANNELS 8
    MODEL.RESNETS.RES2_OUT_CHANNELS 8
    MODEL.REID_HEAD.NUM_IDENTITIES 3
    MODEL.CROP_REID.FLIP_TEST True
    """
    words = [word.strip() for word in overrides_of(options)]
    cfg = load_config(str(CONFIGS / "Base-CropReID.yaml"), words)
    torch.manual_seed(0)
    model = build_model(cfg)
    faces = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    embed = CropEmbedder(model, (112, 112))
    rows = embed(faces)
    images = [{"image": torch.from_numpy(face.transpose(2, 0, 1).copy())} for face in faces]
    with torch.no_grad():
        expected = torch.stack([output["embedding"] for output in model(images)]).numpy()
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    np.testing.assert_allclose(rows, embed(faces[:, :, ::-1]), atol=1e-5)
    swapped = CropEmbedder(model, (112, 112), "BGR")(faces[..., ::-1])
    np.testing.assert_allclose(rows, swapped, atol=1e-5)
    with torch.no_grad():
        model.backbone.stem.conv1.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match="NaN, infinity or all zeros, 3 of 3 faces, the first in"):
        embed(faces)
