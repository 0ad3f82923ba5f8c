"""Detectors of PyTorch's zoos, with random weights: what they find is mapped back rightly."""

import numpy as np
import pytest
import torch
from conftest import undrawn
from detectron2.structures import Boxes, Instances

from person_search.inference.detectors import torch_detectors
from person_search.inference.detectors.load import load_detector
from person_search.inference.detectors.torch_detectors import (
    Detectron2Detector,
    TorchvisionDetector,
    load_from_zoo,
)
from person_search.inference.sight import Sight
from reid_heads.config import add_crop_reid_config
from reid_heads.config_file import read_config

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)

CONFIG = """
MODEL:
  META_ARCHITECTURE: GeneralizedRCNN
  BACKBONE: {NAME: build_slim_resnet_backbone, FREEZE_AT: 0}
  RESNETS: {NORM: BN, OUT_FEATURES: [res3]}
  SLIM_RESNET: {STEM_CHANNELS: 8, CHANNELS: [8, 12, 16, 24], NUM_BLOCKS: [1, 1, 1, 1]}
  ANCHOR_GENERATOR: {SIZES: [[32, 64]]}
  RPN: {IN_FEATURES: [res3], PRE_NMS_TOPK_TEST: 50, POST_NMS_TOPK_TEST: 9}
  ROI_HEADS: {NAME: StandardROIHeads, IN_FEATURES: [res3], NUM_CLASSES: 3, SCORE_THRESH_TEST: 0.0}
  ROI_BOX_HEAD: {NAME: FastRCNNConvFCHead, NUM_FC: 1, FC_DIM: 16, POOLER_RESOLUTION: 4}
INPUT: {MIN_SIZE_TEST: 80, MAX_SIZE_TEST: 200, FORMAT: BGR}
"""


class FakeTransform:
    min_size, max_size = (300, 400), 900


class FakeTorchvision(torch.nn.Module):
    """Finds what it is told, and remembers what it was shown."""

    def __init__(self):
        super().__init__()
        self.transform = FakeTransform()
        self.weight = torch.nn.Parameter(torch.ones(2))

    def forward(self, images):
        self.shown = images
        boxes = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8], [9, 9, 10, 12], [0, 0, 9, 9]])
        labels, scores = torch.tensor([1, 18, 1, 1]), torch.tensor([0.6, 0.9, 0.7, 0.2])
        return [{"boxes": boxes.float(), "labels": labels, "scores": scores}]


def test_torchvision_s_people_come_in_the_picture_s_pixels():
    model = FakeTorchvision()
    detector = TorchvisionDetector(model, "fake", 0.5, "cpu")
    boxes, scores = detector.detect(PICTURE)
    np.testing.assert_array_equal(boxes, [[9, 9, 10, 12], [1, 2, 3, 4]])
    np.testing.assert_allclose(scores, [0.7, 0.6])
    (shown,) = model.shown
    np.testing.assert_allclose(shown.numpy(), PICTURE.transpose(2, 0, 1) / 255, atol=1e-6)
    assert detector.sight == Sight(400, 900, 24, turns=True)
    same, other = FakeTorchvision(), FakeTorchvision()
    with torch.no_grad():
        other.weight += 1
    prints = [TorchvisionDetector(x, "fake", 0.1, "cpu").fingerprint for x in (same, other)]
    assert prints[0] == detector.fingerprint != prints[1]


def test_a_model_of_torchvision_is_loaded_by_its_name(monkeypatch):
    asked = []
    real = torch_detectors.torchvision.models.get_model

    def get_model(name, **options):
        asked.append((name, options))
        return real(name, weights=None, weights_backbone=None)

    monkeypatch.setattr(torch_detectors.torchvision.models, "get_model", get_model)
    with undrawn():
        detector = load_detector("torchvision:ssdlite320_mobilenet_v3_large", device="cpu")
        load_from_zoo("torchvision", "ssdlite320_mobilenet_v3_large", weights=None, device="cpu")
    assert asked == [
        ("ssdlite320_mobilenet_v3_large", {"weights": "DEFAULT"}),
        ("ssdlite320_mobilenet_v3_large", {"weights": None, "weights_backbone": None}),
    ]
    assert (detector.min_score, detector.sight) == (0.5, Sight(320, 320, 24))


def read_tiny(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(CONFIG)
    return read_config(str(path), ["MODEL.DEVICE", "cpu"], add_crop_reid_config)


def test_detectron2_s_people_come_in_the_picture_s_pixels(tmp_path):
    torch.manual_seed(0)
    detector = Detectron2Detector(read_tiny(tmp_path), 0.0, "cpu")
    shown = []
    inference = detector.model.inference
    detector.model.inference = lambda x, **options: shown.append(x) or inference(x, **options)
    boxes, scores = detector.detect(PICTURE)
    ((x,),) = shown
    assert x["image"].shape == (3, 80, 120)
    # In resized pixels, twice as large as the picture's.
    with torch.inference_mode():
        (found,) = inference([{"image": x["image"]}], do_postprocess=False)
    expected = found[found.pred_classes == 0]
    assert 0 < len(boxes) == len(expected) < len(found)
    order = np.argsort(-expected.scores.numpy(), kind="stable")
    np.testing.assert_allclose(boxes, expected.pred_boxes.tensor.numpy()[order] / 2, atol=1e-4)
    np.testing.assert_allclose(scores, expected.scores.numpy()[order])
    assert detector.sight == Sight(80, 200, 24, turns=True)
    # BGR, as the config says.
    plain = np.full((40, 60, 3), (9, 20, 30), np.uint8)
    detector.detect(plain)
    assert shown[1][0]["image"][:, 0, 0].tolist() == [30, 20, 9]


def test_scores_below_the_least_are_left_out(tmp_path):
    detector = Detectron2Detector(read_tiny(tmp_path), 0.6, "cpu")
    boxes = Boxes(torch.tensor([[0, 0, 8, 8], [8, 8, 16, 24], [4, 4, 40, 80]]).float())
    scores, classes = torch.tensor([0.5, 0.8, 0.9]), torch.tensor([0, 0, 2])
    found = Instances((40, 60), pred_boxes=boxes, scores=scores, pred_classes=classes)
    detector.model.forward = lambda inputs: [{"instances": found}]
    kept, values = detector.detect(PICTURE)
    np.testing.assert_allclose(kept, [[8, 8, 16, 24]])
    np.testing.assert_allclose(values, [0.8])


@pytest.mark.filterwarnings("ignore:pkg_resources")
def test_a_config_of_the_model_zoo_is_loaded_by_its_name(tmp_path, monkeypatch):
    """With the trained weights' address, which detectron2 fetches and keeps."""
    asked, loaded = [], []

    def get_config(name, trained=False):
        asked.append((name, trained))
        cfg = read_tiny(tmp_path)
        cfg.MODEL.WEIGHTS = "detectron2://weights.pkl"
        return cfg

    class Checkpointer:
        def __init__(self, model):
            pass

        def load(self, path):
            loaded.append(path)

    monkeypatch.setattr("detectron2.model_zoo.get_config", get_config)
    monkeypatch.setattr(torch_detectors, "FileCheckpointer", Checkpointer)
    torch.manual_seed(0)
    detector = load_detector("detectron2:COCO/x.yaml", min_score=0.3, device="cpu")
    torch.manual_seed(0)
    untrained = load_from_zoo("detectron2", "COCO/x.yaml", weights=None, device="cpu")
    assert asked == [("COCO/x.yaml", True)] * 2 and loaded == ["detectron2://weights.pkl"]
    assert (detector.min_score, untrained.min_score) == (0.3, 0.5)
    assert untrained.fingerprint == detector.fingerprint


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="no detector 'resnet50'; it has fasterrcnn_mobilenet"):
        load_detector("torchvision:resnet50")
    with pytest.raises(ValueError, match=r"no trained config 'x\.yaml'.*faster_rcnn_R_50_FPN_3x"):
        load_detector("detectron2:x.yaml")
    with pytest.raises(ValueError, match="min_score is 5"):
        load_detector("torchvision:ssdlite320_mobilenet_v3_large", min_score=5)
