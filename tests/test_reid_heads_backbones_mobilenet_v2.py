import pytest
import torch
import torchvision
from conftest import undrawn
from detectron2.modeling import build_backbone, build_model

from person_search.config import load_config as load_search_config
from person_search.transfer import transfer_weights
from reid_heads.backbones.mobilenet_v2 import build_mobilenet_stage
from reid_heads.backbones.mobilenet_weights import (
    convert_mobilenet_v2_state_dict,
    is_torchvision_mobilenet_v2,
)
from reid_heads.config import load_config
from reid_heads.training.checkpoint import WeightCopyCheckpointer

CROPS = "configs/drawn_cuhk/stl_mobilenet_stage1.yaml"
SEARCH = "configs/drawn_cuhk/stl_mobilenet.yaml"
# Names of a block's layers now and before torchvision 0.3, of one that expands and of the first.
GROUPED = {"0.0": "0", "0.1": "1", "1.0": "3", "1.1": "4", "2": "6", "3": "7"}
GROUPED_FIRST = {"0.0": "0", "0.1": "1", "1": "3", "2": "4"}


@pytest.fixture(scope="module")
def published():
    """torchvision's network, at random, with BatchNorm statistics that matter."""
    torch.manual_seed(0)
    model = torchvision.models.mobilenet_v2(weights=None).eval()
    for name, value in model.state_dict().items():
        if "running" in name:
            value.uniform_(0.5, 1.5)
    return model


def number_through(state):
    """Rename to what torchvision called the layers before 0.3."""
    renamed = {}
    for name, value in state.items():
        words = name.split(".")
        if words[0] == "features" and words[2] == "conv":
            groups = GROUPED_FIRST if words[1] == "1" else GROUPED
            inner = ".".join(words[3:-1])
            name = ".".join([*words[:3], groups[inner], words[-1]])
        renamed[name] = value
    return renamed


def make_crop_backbone(*overrides):
    cfg = load_config(CROPS, ["MODEL.DEVICE", "cpu", *overrides])
    return build_backbone(cfg).eval()


@pytest.mark.parametrize("is_old", [False, True])
@torch.no_grad()
def test_converted_weights_give_torchvisions_map(published, is_old):
    state = published.state_dict()
    state = number_through(state) if is_old else state
    assert is_torchvision_mobilenet_v2(state)
    with undrawn():
        backbone = make_crop_backbone("MODEL.CROP_REID.LAST_STRIDE", "2")
    missing, left_over = backbone.load_state_dict(
        convert_mobilenet_v2_state_dict(state), strict=False
    )
    assert not left_over
    assert all(name.endswith("num_batches_tracked") for name in missing)
    x = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(backbone(x)["res5"], published.features(x))


@torch.no_grad()
def test_maps_have_the_channels_and_strides_they_say():
    cfg = load_search_config(SEARCH)
    backbone = build_backbone(cfg).eval()
    image = torch.zeros(1, 3, 64, 96)
    shapes = backbone.output_shape()
    maps = backbone(image)
    assert {name: (s.channels, s.stride) for name, s in shapes.items() if name[0] == "r"} == {
        "res2": (24, 4),
        "res3": (32, 8),
        "res4": (96, 16),
        "res5": (1280, 32),
    }
    for name, shape in shapes.items():
        size = (64 // shape.stride, 96 // shape.stride)
        assert maps[name].shape == (1, shape.channels, *size), name


@torch.no_grad()
def test_a_last_stride_of_1_keeps_a_finer_map():
    with undrawn():
        net = make_crop_backbone()
    assert net(torch.zeros(1, 3, 64, 32))["res5"].shape == (1, 1280, 4, 2)


def test_other_strides_are_refused():
    cfg = load_config(CROPS)
    with pytest.raises(ValueError, match="res5 is 4; expected 1 or 2"):
        build_mobilenet_stage(cfg, 5, stride=4)


def test_frozen_stages_do_not_train():
    with undrawn():
        net = make_crop_backbone("MODEL.BACKBONE.FREEZE_AT", "2")
    assert not any(p.requires_grad for p in [*net.stem.parameters(), *net.res2.parameters()])
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in net.res2.modules())
    assert all(p.requires_grad for p in net.res3.parameters())


def test_imagenet_weights_start_the_detector_and_the_identity_branch(published, tmp_path):
    torch.save(number_through(published.state_dict()), tmp_path / "mobilenet_v2.pth")
    with undrawn():
        model = build_model(load_search_config(SEARCH))
    WeightCopyCheckpointer(model).load(str(tmp_path / "mobilenet_v2.pth"))
    state = model.state_dict()
    trunk, body = "backbone.bottom_up.", "roi_heads.identity_branch.body."
    for name, value in convert_mobilenet_v2_state_dict(published.state_dict()).items():
        assert torch.equal(state[trunk + name], value), name
        if name.startswith(("res3.", "res4.", "res5.")):
            assert torch.equal(state[body + name], value), name


def test_stage_1_starts_stage_2(tmp_path):
    source = build_model(load_config(CROPS, ["MODEL.DEVICE", "cpu"])).state_dict()
    path = tmp_path / "stage1.pth"
    torch.save({"model": source}, path)
    with undrawn():
        model = build_model(load_search_config(SEARCH))
    report = transfer_weights(model, str(path), transfer_neck=True, transfer_detector=True)
    assert all(name.startswith("losses.") for name in report.unused)
    assert len(report.transferred) > 400
    state = model.state_dict()
    for to, name in report.transferred.items():
        assert torch.equal(state[to], source[name]), to


@pytest.mark.parametrize("names", [[], ["features.0.0.weight"], ["conv1.weight"]])
def test_other_files_are_told_apart(names):
    state = dict.fromkeys(names, 0)
    assert not is_torchvision_mobilenet_v2(state)
    with pytest.raises(ValueError, match="not weights of torchvision's MobileNetV2"):
        convert_mobilenet_v2_state_dict(state)


@pytest.mark.parametrize("odd", ["features.19.0.weight", "scale.weight"])
def test_layers_without_a_place_are_named(published, odd):
    state = {**published.state_dict(), odd: 0}
    with pytest.raises(ValueError, match=f"'{odd}' has no place in MobileNetV2"):
        convert_mobilenet_v2_state_dict(state)


def test_a_block_that_is_built_otherwise_is_refused(published):
    state = number_through(published.state_dict())
    state["features.3.conv.9.weight"] = state.pop("features.3.conv.7.weight")
    with pytest.raises(ValueError, match=r"'features\.3\.conv\.9\.weight' has no place"):
        convert_mobilenet_v2_state_dict(state)
