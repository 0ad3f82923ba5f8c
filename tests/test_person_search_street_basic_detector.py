"""The detector of made-up weights against plain formulas, and against PyTorch layer by layer."""

import json

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.nn import functional

from person_search.inference.detectors.onnx_detector import OnnxDetector
from person_search.street_basic.anchors import make_anchors
from person_search.street_basic.detector import CELLS, MAX_BOXES, build_detector

TRUNK = "FeatureExtractor/MobilenetV2/"
STRIDES = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)
# Two blocks in a row of as many channels add what comes in, as in the real network.
CHANNELS = (4, 6, 6, 8, 8, 8, 10, 10, 10, 10, 6, 6, 6, 4, 4, 4, 8)
EXTRAS = {2: (256, 512), 3: (128, 256), 4: (128, 256), 5: (64, 128)}


class MadeUpWeights:
    """Random weights with TensorFlow's names, few channels in each layer."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.weights = {}
        self.convolution(TRUNK + "Conv", 3, 4, 3)
        taken = 4
        for number, given in enumerate(CHANNELS):
            name = TRUNK + (f"expanded_conv_{number}/" if number else "expanded_conv/")
            inner = taken
            if number:
                inner = 2 * taken
                self.convolution(name + "expand", taken, inner)
            self.depthwise(name + "depthwise", inner)
            self.convolution(name + "project", inner, given)
            taken = given
        self.convolution(TRUNK + "Conv_1", taken, 8)
        maps = [2 * CHANNELS[12], 8]
        for number, (between, end) in EXTRAS.items():
            name = f"{TRUNK}layer_19_2_Conv2d_{number}_3x3_s2_{end}"
            self.convolution(f"{TRUNK}layer_19_1_Conv2d_{number}_1x1_{between}", 8, 4)
            self.depthwise(name + "_depthwise", 4)
            self.convolution(name, 4, 8)
            maps.append(8)
        for number, channels in enumerate(maps):
            for kind, count in (("BoxEncodingPredictor", 4), ("ClassPredictor", 2)):
                name = f"BoxPredictor_{number}/{kind}"
                self.depthwise(name + "_depthwise", channels)
                outputs = count * (6 if number else 3)
                self.weights[name + "/weights"] = self.normal(1, 1, channels, outputs)
                self.weights[name + "/biases"] = self.rng.normal(0, 1, outputs).astype(np.float32)

    def normal(self, *shape):
        # As large as keeps rounding errors from growing from layer to layer.
        fan_in = np.prod(shape[:3]) if shape[-1] > 1 else 9
        return (self.rng.normal(0, 1, shape) / np.sqrt(fan_in)).astype(np.float32)

    def convolution(self, name, taken, given, kernel=1):
        self.weights[name + "/weights"] = self.normal(kernel, kernel, taken, given)
        self.norm(name, given)

    def depthwise(self, name, channels):
        self.weights[name + "/depthwise_weights"] = self.normal(3, 3, channels, 1)
        self.norm(name, channels)

    def norm(self, name, channels):
        parts = {"gamma": self.rng.uniform(0.5, 1.5, channels)}
        parts["beta"] = self.rng.normal(1, 0.5, channels)
        parts["moving_mean"] = self.rng.normal(0, 0.5, channels)
        parts["moving_variance"] = self.rng.uniform(0.5, 2, channels)
        for part, value in parts.items():
            self.weights[f"{name}/BatchNorm/{part}"] = value.astype(np.float32)


class PlainNetwork:
    """The same network in PyTorch, nothing folded, padded as TensorFlow's SAME says."""

    def __init__(self, weights):
        self.weights = {name: torch.from_numpy(value) for name, value in weights.items()}

    def __call__(self, image):
        x = torch.from_numpy(image).float()[None] * (2 / 255) - 1
        x = self.layer(x, TRUNK + "Conv", 2)
        maps = []
        for number, stride in enumerate(STRIDES):
            name = TRUNK + (f"expanded_conv_{number}/" if number else "expanded_conv/")
            inner = self.layer(x, name + "expand") if number else x
            if number == 13:
                maps.append(inner)
            inner = self.layer(inner, name + "depthwise", stride)
            inner = self.layer(inner, name + "project", linear=True)
            x = x + inner if x.shape == inner.shape and number else inner
        maps.append(self.layer(x, TRUNK + "Conv_1"))
        for number, (between, end) in EXTRAS.items():
            name = f"{TRUNK}layer_19_2_Conv2d_{number}_3x3_s2_{end}"
            x = self.layer(maps[-1], f"{TRUNK}layer_19_1_Conv2d_{number}_1x1_{between}")
            maps.append(self.layer(self.layer(x, name + "_depthwise", 2), name))
        assert tuple(x.shape[3] for x in maps) == CELLS
        kinds = (("BoxEncodingPredictor", 4), ("ClassPredictor", 2))
        return [
            np.concatenate([self.predict(x, n, kind, count) for n, x in enumerate(maps)])
            for kind, count in kinds
        ]

    def layer(self, x, name, stride=1, linear=False):
        depthwise = self.weights.get(name + "/depthwise_weights")
        kernel = self.weights[name + "/weights"] if depthwise is None else depthwise
        kernel = kernel.permute((3, 2, 0, 1) if depthwise is None else (2, 3, 0, 1))
        size = x.shape[3]
        missing = max((-(-size // stride) - 1) * stride + kernel.shape[3] - size, 0)
        low, high = missing // 2, missing - missing // 2
        x = functional.pad(x, (low, high, low, high))
        groups = 1 if depthwise is None else len(kernel)
        x = functional.conv2d(x, kernel, stride=stride, groups=groups)
        names = ("moving_mean", "moving_variance", "gamma", "beta")
        norm = [self.weights[f"{name}/BatchNorm/{part}"] for part in names]
        x = functional.batch_norm(x, *norm, eps=1e-3)
        return x if linear else x.clamp(0, 6)

    def predict(self, x, number, kind, count):
        name = f"BoxPredictor_{number}/{kind}"
        x = self.layer(x, name + "_depthwise")
        kernel = self.weights[name + "/weights"].permute(3, 2, 0, 1)
        x = functional.conv2d(x, kernel, self.weights[name + "/biases"])
        return x[0].permute(1, 2, 0).reshape(-1, count).numpy()


def expected_detections(encodings, logits):
    """Decode, suppress and clip box by box."""
    boxes = []
    for (ty, tx, th, tw), (y, x, h, w) in zip(encodings, make_anchors(CELLS), strict=True):
        middle = ty / 10 * h + y, tx / 10 * w + x
        size = np.exp(th / 5) * h, np.exp(tw / 5) * w
        low = [m - s / 2 for m, s in zip(middle, size, strict=True)]
        boxes.append([low[1], low[0], low[1] + size[1], low[0] + size[0]])
    boxes, scores = np.array(boxes), 1 / (1 + np.exp(-logits[:, 1].astype(float)))
    chosen = []
    for row in np.argsort(-scores, kind="stable"):
        if len(chosen) < MAX_BOXES and all(iou(boxes[row], boxes[i]) <= 0.6 for i in chosen):
            chosen.append(row)
    return 300 * boxes[chosen].clip(0, 1), scores[chosen]


def iou(a, b):
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = np.prod(sides.clip(0))
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def run(content, image):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(["boxes", "scores"], {"image": image[None].astype(np.float32)})


@pytest.fixture(scope="module")
def weights():
    return MadeUpWeights().weights


def test_anchors_by_hand():
    anchors = make_anchors((19, 10, 5, 3, 2, 1))
    assert anchors.shape == (3 * 361 + 6 * (100 + 25 + 9 + 4 + 1), 4)
    # The first cell of 19 is seen from 1/38. Anchors: a square of 0.1, then 0.2 by ratios 2, 1/2.
    middle = [1 / 38, 1 / 38]
    first = [[*middle, 0.1, 0.1], [*middle, 0.2 / 2**0.5, 0.2 * 2**0.5]]
    first.append([*middle, 0.2 * 2**0.5, 0.2 / 2**0.5])
    np.testing.assert_allclose(anchors[:3], first, atol=1e-7)
    # The next one is on its right.
    np.testing.assert_allclose(anchors[3, :2], [1 / 38, 3 / 38], atol=1e-7)
    # The last map is one cell of scale 0.95, and a square of the root of 0.95 times 1.
    np.testing.assert_allclose(anchors[-6], [0.5, 0.5, 0.95, 0.95], atol=1e-7)
    np.testing.assert_allclose(anchors[-1], [0.5, 0.5, 0.9746794, 0.9746794], atol=1e-7)
    # Scale 0.35 and ratio 3 on the map of 10 x 10.
    np.testing.assert_allclose(anchors[1083 + 3, 2:], [0.35 / 3**0.5, 0.35 * 3**0.5], atol=1e-7)


def test_boxes_are_those_of_the_network_layer_by_layer(weights):
    image = np.random.default_rng(1).integers(0, 256, (3, 300, 300))
    encodings, logits = PlainNetwork(weights)(image)
    boxes, scores = run(build_detector(weights), image)
    expected_boxes, expected_scores = expected_detections(encodings, logits)
    np.testing.assert_allclose(scores[0], expected_scores, atol=1e-5)
    # Two of nearly the same score may change places.
    differences = np.abs(boxes[0][:, None] - expected_boxes).max(axis=2)
    assert differences.min(axis=0).max() < 2e-3
    assert differences.min(axis=1).max() < 2e-3


def test_the_file_says_what_it_takes_and_gives(weights):
    model = onnx.load_from_string(build_detector(weights))
    (entry,) = model.metadata_props
    assert entry.key == "person_search_card"
    card = json.loads(entry.value)
    assert card["output"] == "boxes_scores_labels"
    assert card["color"] == "RGB"
    assert build_detector(weights) == build_detector(dict(reversed(weights.items())))


def test_it_finds_people_as_any_detector_does(weights):
    """In original pixels; the input's shape is not the picture's."""
    image = np.random.default_rng(2).integers(0, 256, (300, 300, 3), np.uint8)
    content = build_detector(weights)
    boxes, scores = run(content, image.transpose(2, 0, 1))
    detector = OnnxDetector(content)
    # Every pixel twice and three times; bilinear resizing gives them back.
    wide = image.repeat(2, axis=0).repeat(3, axis=1)
    small = cv2.resize(wide, (300, 300), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(small, image)
    found, found_scores = detector.detect(wide)
    keep = (scores[0] >= detector.min_score) & (boxes[0, :, 2:] > boxes[0, :, :2]).all(axis=1)
    np.testing.assert_allclose(found_scores, scores[0][keep], atol=1e-6)
    np.testing.assert_allclose(found, boxes[0][keep] * [3, 2, 3, 2], atol=1e-3)


def test_a_graph_of_another_network_is_refused(weights):
    rest = {key: value for key, value in weights.items() if "BoxPredictor_5" not in key}
    with pytest.raises(ValueError, match=r"no constant 'BoxPredictor_5/\S+', but \d+ others"):
        build_detector(rest)
