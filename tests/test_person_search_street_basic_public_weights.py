"""The public weights do as in the programs they come from; skipped where they are not at hand."""

import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from person_search.street_basic.crop_net import build_crop_net
from person_search.street_basic.detector import build_detector
from person_search.street_basic.tf_graph import read_constants
from person_search.street_basic.torch_file import read_tensors
from person_search.street_basic.wheels import CROP_NET, DETECTOR, open_wheel

pytestmark = pytest.mark.slow
WHEELS = "PERSON_SEARCH_WHEELS"
OUTPUTS = "PERSON_SEARCH_SSDLITE_OUTPUTS"


def path_in(variable, what):
    path = os.environ.get(variable)
    if not path:
        pytest.skip(f"needs {what}: name it by ${variable}")
    return Path(path)


def read(wheel):
    return open_wheel(wheel, path_in(WHEELS, "the folder of the two wheels"))


def open_session(content):
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def test_the_detector_gives_what_tensorflow_gives():
    recorded = np.load(path_in(OUTPUTS, "what TensorFlow says, an npz"))
    detector = open_session(build_detector(read_constants(read(DETECTOR), "the graph")))
    pictures = [key for key in recorded.files if key.endswith("_input")]
    assert pictures
    for key in pictures:
        number = key.removesuffix("_input")
        image = recorded[key].transpose(2, 0, 1)[None].astype(np.float32)
        boxes, scores = detector.run(["boxes", "scores"], {"image": image})
        expected = recorded[f"{number}_boxes_y1x1y2x2"][:, [1, 0, 3, 2]] * 300
        np.testing.assert_allclose(scores[0], recorded[f"{number}_scores"], atol=1e-5)
        np.testing.assert_allclose(boxes[0], expected, atol=1e-3)


def test_the_crop_net_is_torchvisions_mobilenet():
    from torchvision.models import mobilenet_v2

    tensors = read_tensors(read(CROP_NET), "the file")
    network = mobilenet_v2().eval()
    names = [name for name in network.state_dict() if name.startswith("features.")]
    state = {
        name: torch.from_numpy(np.array(value))
        for name, value in zip(names, tensors.values(), strict=True)
    }
    network.load_state_dict(state, strict=False)
    crops = np.random.default_rng(0).uniform(0, 255, (2, 3, 256, 128)).astype(np.float32)
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    with torch.no_grad():
        features = network.features[:18]((torch.from_numpy(crops) / 255 - mean) / std)
    expected = features.reshape(2, 320, 2, 4, 4).mean(dim=(3, 4)).flatten(1).numpy()
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    (rows,) = open_session(build_crop_net(tensors)).run(["embeddings"], {"crops": crops})
    np.testing.assert_allclose(np.sqrt(1 + 1.5**2) * rows[:, : 2 * 320], expected, atol=1e-5)
