import pytest
import torch
import torchvision
from conftest import undrawn
from detectron2.config import get_cfg
from detectron2.modeling import build_backbone
from torch import nn

import reid_heads.backbones.resnet  # noqa: F401  (registers the backbone)
from reid_heads.backbones.torchvision_weights import (
    convert_torchvision_state_dict,
    is_torchvision_resnet,
)
from reid_heads.config import add_crop_reid_config


@pytest.fixture
def make_backbone():
    """Make the backbone that has torchvision's layers."""

    def make(depth, width, ibn="none"):
        cfg = get_cfg()
        add_crop_reid_config(cfg)
        cfg.MODEL.BACKBONE.NAME = "build_reid_resnet_backbone"
        cfg.MODEL.BACKBONE.FREEZE_AT = 0
        cfg.MODEL.CROP_REID.LAST_STRIDE = 2
        cfg.MODEL.CROP_REID.STEM_RELU = True
        cfg.MODEL.CROP_REID.IBN = ibn
        resnets = cfg.MODEL.RESNETS
        resnets.DEPTH = depth
        resnets.NORM = "BN"
        resnets.RES2_OUT_CHANNELS = width
        resnets.STRIDE_IN_1X1 = False
        resnets.OUT_FEATURES = ["res5"]
        with undrawn():
            return build_backbone(cfg)

    return make


class PublishedIBN(nn.Module):
    """Both norms of IBN-a under their published names, as bn1 of a torchvision block."""

    def __init__(self, channels):
        super().__init__()
        self.half = channels // 2
        self.IN = nn.InstanceNorm2d(self.half, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.half)

    def forward(self, x):
        return torch.cat([self.IN(x[:, : self.half]), self.BN(x[:, self.half :])], dim=1)


def make_torchvision(name, ibn=False):
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None)
    if ibn:
        for stage in (model.layer1, model.layer2, model.layer3):
            for block in stage:
                block.bn1 = PublishedIBN(block.bn1.num_features)
    # Random affine values and statistics, so that no norm can stand in for another one.
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.8, 1.2)
    return model.eval()


def last_map(model, x):
    heard = []
    model.layer4.register_forward_hook(lambda _, __, out: heard.append(out))
    model(x)
    return heard[0]


@pytest.mark.parametrize(
    ("name", "depth", "width", "ibn"),
    [
        ("resnet18", 18, 64, False),
        # The same blocks, more often or with the other norms.
        pytest.param("resnet18", 18, 64, True, marks=pytest.mark.slow),
        pytest.param("resnet34", 34, 64, False, marks=pytest.mark.slow),
        pytest.param("resnet50", 50, 256, False, marks=pytest.mark.slow),
        # The norms of its last stage are plain ones.
        ("resnet50", 50, 256, True),
    ],
)
@torch.no_grad()
def test_converted_weights_give_torchvisions_map(make_backbone, name, depth, width, ibn):
    model = make_torchvision(name, ibn)
    state = model.state_dict()
    assert is_torchvision_resnet(state)
    backbone = make_backbone(depth, width, "a" if ibn else "none").eval()
    converted = convert_torchvision_state_dict(state)
    missing, left_over = backbone.load_state_dict(converted, strict=False)
    assert not left_over
    assert all(key.endswith("num_batches_tracked") for key in missing)
    x = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(1))
    expected = last_map(model, x)
    # Untrained residuals grow from stage to stage: compare at the size of the map.
    scale = expected.abs().max()
    torch.testing.assert_close(backbone(x)["res5"] / scale, expected / scale, rtol=0, atol=1e-5)


def test_names():
    with undrawn():
        state = dict.fromkeys(make_torchvision("resnet50", ibn=True).state_dict(), 0)
    names = set(convert_torchvision_state_dict(state))
    assert {
        "stem.conv1.weight",
        "stem.conv1.norm.running_var",
        "res2.0.conv1.weight",
        "res2.0.conv1.norm.IN.bias",
        "res2.0.conv1.norm.BN.running_mean",
        "res2.0.shortcut.weight",
        "res2.0.shortcut.norm.weight",
        "res5.2.conv3.norm.bias",
    } <= names
    assert not any(name.startswith("fc") for name in names)


def test_resnet101_and_152_are_converted_whole(make_backbone):
    for name, depth in (("resnet101", 101), ("resnet152", 152)):
        with undrawn(), torch.device("meta"):
            state = getattr(torchvision.models, name)(weights=None).state_dict()
            expected = make_backbone(depth, 256).state_dict()
        converted = convert_torchvision_state_dict(state)
        assert {k: v.shape for k, v in converted.items()} == {
            k: v.shape for k, v in expected.items() if not k.endswith("num_batches_tracked")
        }


def test_values_are_kept_and_the_argument_is_not_changed():
    with undrawn():
        state = make_torchvision("resnet18").state_dict()
    names = list(state)
    converted = convert_torchvision_state_dict(state)
    assert converted["stem.conv1.weight"] is state["conv1.weight"]
    assert list(state) == names


def test_weights_of_data_parallel():
    with undrawn():
        state = make_torchvision("resnet18").state_dict()
    wrapped = {f"module.{name}": value for name, value in state.items()}
    assert is_torchvision_resnet(wrapped)
    converted = convert_torchvision_state_dict(wrapped)
    assert set(converted) == set(convert_torchvision_state_dict(state))


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["stem.conv1.weight", "res2.0.conv1.weight"],
        ["backbone.conv1.weight"],
        ["conv1_w", "res2_0_branch2a_w"],
    ],
)
def test_other_files_are_told_apart(names):
    state = dict.fromkeys(names, 0)
    assert not is_torchvision_resnet(state)
    with pytest.raises(ValueError, match="not weights of a torchvision ResNet"):
        convert_torchvision_state_dict(state)


@pytest.mark.parametrize(
    "odd",
    [
        "layer1.0.se.fc1.weight",
        "layer1.0.IN.weight",
        "layer5.0.conv1.weight",
        "conv2.weight",
        "conv1.0.weight",
    ],
)
def test_networks_built_otherwise_are_refused(odd):
    with undrawn():
        state = make_torchvision("resnet18").state_dict()
    with pytest.raises(ValueError, match=f"{odd}.*another kind of network"):
        convert_torchvision_state_dict({**state, odd: torch.zeros(1)})
