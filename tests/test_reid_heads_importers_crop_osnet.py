import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from detectron2.modeling import build_model
from helpers_public_weights import cosines, osnet_rows, osnet_state
from test_reid_heads_importers_crop_resnets import undrawn_weights  # noqa: F401

from reid_heads.config import load_config
from reid_heads.importers.checkpoint_file import read_checkpoint
from reid_heads.importers.crop_networks import convert
from reid_heads.training.checkpoint import WeightCopyCheckpointer

pytestmark = pytest.mark.usefixtures("undrawn_weights")

WIDTHS = {
    "x1.0": (64, 256, 384, 512),
    "x0.75": (48, 192, 288, 384),
    "x0.5": (32, 128, 192, 256),
    "x0.25": (16, 64, 96, 128),
}
REAL_DATA = Path(os.environ.get("PERSON_SEARCH_REAL_DATA", "/nowhere"))
ONNX_FILE = REAL_DATA / "models/osnet_x0_25_msmt17.onnx"


def save(folder, state):
    torch.save({f"module.{name}": value for name, value in state.items()}, folder / "osnet.pth")
    return folder / "osnet.pth"


def build(imported):
    cfg = load_config(imported.config_file, [*imported.overrides, "MODEL.DEVICE", "cpu"])
    model = build_model(cfg).eval()
    left = model.load_state_dict(imported.state, strict=False)
    assert left.missing_keys == imported.untouched == ["losses.losses.SOFTMAX.weights.0"]
    assert not left.unexpected_keys
    return model


@torch.no_grad()
def agreement(tmp_path, state, kind, size):
    imported = convert(read_checkpoint(save(tmp_path, state)))
    assert sum(imported.placed.values()) + len(imported.passed_over) == len(state)
    images = torch.randn(3, 3, *size, generator=torch.Generator().manual_seed(1))
    ours = build(imported).embed(images)
    return imported, cosines(ours, osnet_rows(state, images, kind)).min().item()


@pytest.mark.parametrize("kind", ["", pytest.param("ibn", marks=pytest.mark.slow), "ain"])
def test_embeddings_are_those_of_the_public_networks_operations(tmp_path, kind):
    state = osnet_state(kind=kind, people=1000)
    imported, cosine = agreement(tmp_path, state, kind, (64, 32))
    assert cosine > 1 - 1e-6
    # The bias of the projection has its place in the mean behind it.
    assert set(imported.passed_over) == {"classifier.weight", "classifier.bias"}
    assert kind.upper() in imported.family
    (note,) = imported.notes
    assert "ImageNet" in note


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["", "ibn", "ain"])
@pytest.mark.parametrize("width", WIDTHS)
def test_networks_of_every_published_width_agree(tmp_path, width, kind):
    state = osnet_state(WIDTHS[width], kind, people=751, size=512)
    imported, cosine = agreement(tmp_path, state, kind, (256, 128))
    print(f"{imported.family}: 1 - cosine at most {1 - cosine:.1e}, {imported.placed}")
    assert imported.family.endswith(width) and "CHANNELS" not in " ".join(imported.overrides)
    assert cosine > 1 - 1e-6


@pytest.mark.slow
def test_training_starts_from_a_public_file(tmp_path):
    state = osnet_state()
    imported = convert(read_checkpoint(save(tmp_path, state)))
    words = [*imported.overrides, "MODEL.DEVICE", "cpu", "MODEL.REID_HEAD.NUM_IDENTITIES", "3"]
    model = build_model(load_config("configs/market1501/osnet_x0_25.yaml", words))
    WeightCopyCheckpointer(model).load(str(tmp_path / "osnet.pth"))
    assert torch.equal(model.backbone.conv1.weight, state["conv1.conv.weight"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s | {"conv4.2.0.conv.weight": torch.ones(1)}, r"place for conv4\.2\.0\.conv"),
        (lambda s: s | {"conv5.bn.bias": torch.ones(3)}, r"conv5\.bn\.bias is \(3,\) instead of"),
        (lambda s: {k: v for k, v in s.items() if k[:3] != "fc."}, r"nothing for head\.project"),
    ],
)
def test_what_is_not_all_there_is_refused_by_name(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        convert(read_checkpoint(save(tmp_path, change(osnet_state()))))


def unfold(path):
    """The weights of an ONNX OSNet whose BatchNorms are folded into convolutions, unfolded.

    The norms that are left do nothing: mean 0, variance 1 minus what torch adds, the folded bias.
    """
    onnx = pytest.importorskip("onnx")
    numpy_helper = pytest.importorskip("onnx.numpy_helper")
    graph = onnx.load(path).graph
    values = {
        one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer
    }
    state = {name: value for name, value in values.items() if not name.startswith("onnx::")}
    state = {k: v for k, v in state.items() if k.startswith(("conv", "fc."))}
    for node in graph.node:
        if node.op_type != "Conv" or not node.input[1].startswith("onnx::"):
            continue
        # "/conv2/conv2.0/conv2b/conv2b.1/conv2/Conv_output_0" is conv2.0.conv2b.1.conv2: what
        # follows a name that it begins with takes its place.
        words = []
        for word in node.output[0].split("/")[1:-1]:
            if words and word.startswith(f"{words[-1]}."):
                words[-1] = word
            else:
                words.append(word)
        conv = ".".join(words)
        state[f"{conv}.weight"] = values[node.input[1]]
        norm = f"{conv.removesuffix('.conv').removesuffix('.conv2')}.bn"
        bias = values[node.input[2]]
        one = torch.ones_like(bias)
        state |= {f"{norm}.weight": one, f"{norm}.bias": bias, f"{norm}.running_mean": 0 * one}
        state[f"{norm}.running_var"] = one - 1e-5
    return state


@pytest.mark.slow
@pytest.mark.skipif(not ONNX_FILE.is_file(), reason=f"there is no {ONNX_FILE}")
@torch.no_grad()
def test_the_public_onnx_file_agrees_with_this_network_of_the_same_numbers(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    imported = convert(read_checkpoint(save(tmp_path, unfold(ONNX_FILE))))
    assert imported.family == "torchreid OSNet x0.25"
    scale = torch.linspace(0.2, 3, 8).view(8, 1, 1, 1)
    images = scale * torch.randn(8, 3, 256, 128, generator=torch.Generator().manual_seed(1))
    session = onnxruntime.InferenceSession(str(ONNX_FILE))
    (theirs,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    theirs = F.normalize(torch.from_numpy(np.asarray(theirs)))
    ours = build(imported).embed(images)
    difference = (ours - theirs).abs().max().item()
    print(f"least cosine {cosines(ours, theirs).min():.9f}, largest difference {difference:.1e}")
    assert cosines(ours, theirs).min() > 0.9999 and difference < 1e-4
