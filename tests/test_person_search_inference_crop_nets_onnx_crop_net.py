"""Crop nets whose embeddings are known."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from helpers_onnx import FLOAT, make_constant_detector, make_mean_crop_net, make_model
from onnx import helper
from PIL import Image

from person_search.inference.cards import KEY
from person_search.inference.crop_nets.onnx_crop_net import OnnxCropNet
from reid_heads.crop_description import KEY as REID_HEADS_KEY

REAL_DATA = os.environ.get("PERSON_SEARCH_REAL_DATA", "")
OSNET = Path(REAL_DATA) / "models/osnet_x0_25_msmt17.onnx"
COLOR = (100, 150, 200)
PLAIN = {"mean": [0, 0, 0], "std": [100, 100, 100]}
DESCRIPTION = {
    "version": 1,
    "height": 8,
    "width": 4,
    "mean": [100, 100, 100],
    "std": [50, 50, 50],
    "interpolation": "bicubic",
    "color": "BGR",
    "embedding_dim": 4,
    "fingerprint": "ab" * 32,
}


def plain_crop(color=COLOR, size=(20, 9)):
    return np.full((*size, 3), color, np.uint8)


def unit(*values):
    return np.array(values) / np.linalg.norm(values)


def with_card(card, **options):
    return OnnxCropNet(make_mean_crop_net(metadata={KEY: json.dumps(card)}, **options))


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        (PLAIN, (1, 1.5, 2, 1)),
        ({**PLAIN, "color": "BGR"}, (2, 1.5, 1, 1)),
        ({"mean": [50, 100, 150], "std": [50, 25, 100]}, (1, 2, 0.5, 1)),
        # ImageNet's, of 0 to 255.
        ({}, ((100 - 123.675) / 58.395, (150 - 116.28) / 57.12, (200 - 103.53) / 57.375, 1)),
    ],
)
def test_pixels_are_prepared_as_the_card_says(card, expected):
    net = with_card(card)
    rows = net.embed([plain_crop()])
    assert rows.dtype == np.float32 and net.embedding_dim == 4
    np.testing.assert_allclose(rows, [unit(*expected)], atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3, "batch"])
def test_crops_of_any_number_and_size_are_embedded_alike(batch):
    net = with_card(PLAIN, batch=batch)
    crops = [plain_crop((10 * k, 100, 90), (4 + k, 30 - k)) for k in range(1, 8)]
    rows = net.embed(crops)
    expected = [unit(k / 10, 1, 0.9, 1) for k in range(1, 8)]
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    assert net.embed([]).shape == (0, 4)


def make_corner_crop_net():
    """A crop net that gives the three numbers of the first pixel."""
    nodes = [
        helper.make_node("Slice", ["crops", "from", "to", "axes"], ["pixel"]),
        helper.make_node("Flatten", ["pixel"], ["embeddings"]),
    ]
    constants = {
        "from": np.array([0, 0], np.int64),
        "to": np.array([1, 1], np.int64),
        "axes": np.array([2, 3], np.int64),
    }
    inputs = {"crops": (FLOAT, ["n", 3, 8, 4])}
    return make_model(nodes, inputs, {"embeddings": (FLOAT, ["n", 3])}, constants)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resizing_is_pillows(tmp_path, interpolation):
    path = tmp_path / "net.onnx"
    path.write_bytes(make_corner_crop_net())
    path.with_suffix(".card.json").write_text(json.dumps({**PLAIN, "interpolation": interpolation}))
    crop = np.random.default_rng(0).integers(1, 255, (30, 11, 3), dtype=np.uint8)
    method = Image.Resampling[interpolation.upper()]
    expected = np.asarray(Image.fromarray(crop).resize((4, 8), method))[0, 0].astype(float)
    np.testing.assert_allclose(OnnxCropNet(path).embed([crop]), [unit(*expected)], atol=1e-5)


def test_without_a_size_crops_are_256_by_128():
    card = OnnxCropNet(make_mean_crop_net(size=("height", "width"))).card
    assert (card.height, card.width) == (256, 128)
    card = OnnxCropNet(make_mean_crop_net(size=(384, 192))).card
    assert (card.height, card.width) == (384, 192)


def test_an_export_of_reid_heads_says_itself_what_it_takes():
    metadata = {REID_HEADS_KEY: json.dumps(DESCRIPTION)}
    net = OnnxCropNet(make_mean_crop_net(metadata=metadata))
    # (200 - 100) / 50 and so on.
    np.testing.assert_allclose(net.embed([plain_crop()]), [unit(2, 1, 0, 1)], atol=1e-5)
    assert net.fingerprint == "ab" * 32 and net.card.interpolation == "bicubic"
    # A card that says the same changes nothing; with another one it is another model.
    metadata[KEY] = json.dumps({"color": DESCRIPTION["color"], "mean": DESCRIPTION["mean"]})
    assert OnnxCropNet(make_mean_crop_net(metadata=metadata)).fingerprint == "ab" * 32
    metadata[KEY] = json.dumps({"color": "RGB"})
    other = OnnxCropNet(make_mean_crop_net(metadata=metadata))
    np.testing.assert_allclose(other.embed([plain_crop()]), [unit(0, 1, 2, 1)], atol=1e-5)
    assert other.fingerprint != net.fingerprint


def test_fingerprints_are_of_the_file_and_its_card():
    nets = [with_card(PLAIN), with_card({**PLAIN, "color": "BGR"}), with_card(PLAIN, batch=2)]
    assert len({net.fingerprint for net in nets}) == 3
    assert with_card(PLAIN).fingerprint == nets[0].fingerprint


def test_what_a_card_beside_a_file_says_as_usual_does_not_change_the_fingerprint(tmp_path):
    """Whole numbers did, and would every field that a later version adds."""
    path = tmp_path / "net.onnx"
    path.write_bytes(make_mean_crop_net())
    nets = []
    for card in (PLAIN, {"mean": [0.0] * 3, "std": [100.0] * 3, "interpolation": "bilinear"}, {}):
        path.with_suffix(".card.json").write_text(json.dumps(card))
        nets.append(OnnxCropNet(path).fingerprint)
    assert nets[0] == nets[1] != nets[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "is of version 2; this program reads version 1"),
        ({"mean": None}, "mean is None; expected three numbers"),
        ({"embedding_dim": 5}, "gives 4 numbers a crop, but its description says 5"),
        ({"height": 16}, "takes crops of height 8, but its card says 16"),
    ],
)
def test_a_wrong_description_is_refused(change, message):
    metadata = {REID_HEADS_KEY: json.dumps({**DESCRIPTION, **change})}
    with pytest.raises(ValueError, match=message):
        OnnxCropNet(make_mean_crop_net(metadata=metadata))
    short = {REID_HEADS_KEY: json.dumps({"version": 1})}
    with pytest.raises(ValueError, match=r"is damaged \(KeyError\('height'\)\); export"):
        OnnxCropNet(make_mean_crop_net(metadata=short))


def test_what_is_no_crop_net_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no crop net .*none\.onnx"):
        OnnxCropNet(tmp_path / "none.onnx")
    detector = make_constant_detector({"table": np.zeros((1, 3, 3), np.float32)})
    with pytest.raises(ValueError, match=r"images \[1, 3, 32, 32\] to table \[1, 3, 3\]; expected"):
        OnnxCropNet(detector)
    with pytest.raises(ValueError, match="interpolation is 'nearest'; expected one of bilinear"):
        with_card({"interpolation": "nearest"})


def test_embeddings_without_a_direction_are_refused():
    """Of NaN weights, for one."""
    for value, message in (
        (np.nan, "crop net holds weights .*: weights. The"),
        (np.inf, "NaN for a grey crop"),
        (0, "embeddings of norm 0 to 0; exp"),
    ):
        nodes = [helper.make_node("ReduceMean", ["crops"], ["means"], axes=[2, 3], keepdims=0)]
        nodes += [helper.make_node("Mul", ["means", "weights"], ["embeddings"])]
        constants = {"weights": np.full(3, value, np.float32)}
        inputs, outputs = {"crops": (FLOAT, ["n", 3, 8, 4])}, {"embeddings": (FLOAT, ["n", 3])}
        with pytest.raises(ValueError, match=message):
            OnnxCropNet(make_model(nodes, inputs, outputs, constants)).embed([plain_crop()])


@pytest.mark.slow
@pytest.mark.skipif(not OSNET.is_file(), reason="PERSON_SEARCH_REAL_DATA has no OSNet")
def test_a_public_crop_net_works_without_a_card():
    net = OnnxCropNet(OSNET)
    assert (net.embedding_dim, net.card.height, net.card.width) == (512, 256, 128)
    rng = np.random.default_rng(0)
    crops = [rng.integers(0, 255, (90 + k, 40, 3), dtype=np.uint8) for k in range(35)]
    rows = net.embed(crops)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(net.embed(crops[34:]), rows[34:], atol=1e-5)
