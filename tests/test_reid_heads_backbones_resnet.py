import pytest
import torch
from detectron2.config import get_cfg
from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling import build_backbone
from torch import nn

import reid_heads.backbones.resnet
from reid_heads.backbones.resnet import HalfInstanceNorm
from reid_heads.config import add_crop_reid_config


@pytest.fixture
def make_cfg():
    """Make a config of a narrow ResNet; overrides like RESNETS__DEPTH=50 go below MODEL."""

    def make(**overrides):
        cfg = get_cfg()
        add_crop_reid_config(cfg)
        cfg.MODEL.BACKBONE.NAME = "build_reid_resnet_backbone"
        cfg.MODEL.BACKBONE.FREEZE_AT = 0
        settings = {
            "DEPTH": 18,
            "NORM": "BN",
            "STEM_OUT_CHANNELS": 4,
            "RES2_OUT_CHANNELS": 4,
            "WIDTH_PER_GROUP": 2,
            "STRIDE_IN_1X1": False,
            "OUT_FEATURES": ["res5"],
        }
        for key, value in settings.items():
            cfg.MODEL.RESNETS[key] = value
        for key, value in overrides.items():
            cfg.merge_from_list([f"MODEL.{key.replace('__', '.')}", value])
        return cfg

    return make


@pytest.fixture
def make_backbone(make_cfg):
    def make(**overrides):
        torch.manual_seed(0)
        return build_backbone(make_cfg(**overrides))

    return make


def images(count, height=64, width=32, seed=0):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def count_blocks(backbone):
    return [len(stage) for stage in backbone.stages]


@pytest.mark.parametrize(
    ("last_stride", "cells"),
    # 256x128 pixels: 4 from the stem, 2 each from res3 and res4; then res5's own.
    [(1, (16, 8)), (2, (8, 4))],
)
@pytest.mark.parametrize("depth", [18, 50])
def test_last_stride_sets_the_cells_of_res5(make_backbone, depth, last_stride, cells):
    backbone = make_backbone(RESNETS__DEPTH=depth, CROP_REID__LAST_STRIDE=last_stride).eval()
    features = backbone(images(1, 256, 128))
    assert set(features) == {"res5"}
    assert features["res5"].shape == (1, 32, *cells)
    assert backbone.output_shape()["res5"].stride == 16 * last_stride
    assert backbone.output_shape()["res5"].channels == 32


@pytest.mark.parametrize(
    ("depth", "blocks"),
    [
        (18, [2, 2, 2, 2]),
        (34, [3, 4, 6, 3]),
        (50, [3, 4, 6, 3]),
        (101, [3, 4, 23, 3]),
        (152, [3, 8, 36, 3]),
    ],
)
def test_depth_counts_the_layers(make_backbone, depth, blocks):
    backbone = make_backbone(RESNETS__DEPTH=depth)
    assert count_blocks(backbone) == blocks
    convolutions = [
        name
        for name, module in backbone.named_modules()
        if isinstance(module, nn.Conv2d) and "shortcut" not in name
    ]
    # The name counts the classifier too.
    assert len(convolutions) + 1 == depth


def test_plain_settings_give_the_network_of_detectron2(make_cfg):
    """Same names, same shapes, and the same map from the same weights."""
    cfg = make_cfg(
        RESNETS__DEPTH=50,
        RESNETS__RES2_OUT_CHANNELS=16,
        CROP_REID__LAST_STRIDE=2,
        CROP_REID__STEM_RELU=True,
    )
    ours = build_backbone(cfg).eval()
    cfg.MODEL.BACKBONE.NAME = "build_resnet_backbone"
    theirs = build_backbone(cfg).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = images(2)
    torch.testing.assert_close(ours(x)["res5"], theirs(x)["res5"], rtol=0, atol=0)


def test_resnet18_may_be_32_wide(make_backbone):
    backbone = make_backbone(RESNETS__STEM_OUT_CHANNELS=32, RESNETS__RES2_OUT_CHANNELS=32)
    assert backbone.eval()(images(1))["res5"].shape == (1, 256, 4, 2)
    # Width and stride of res2's first block are those of its input: no projection, as in ResNet-18.
    assert backbone.res2[0].shortcut is None
    for stage in (backbone.res3, backbone.res4, backbone.res5):
        assert stage[0].shortcut is not None


def test_stem_without_relu_is_pooled_norm(make_backbone):
    """Bag of Tricks' published network lets negative values through its stem."""
    x = images(2)
    plain = make_backbone(RESNETS__OUT_FEATURES=["stem"]).eval()
    normed = plain.stem.conv1.norm(nn.functional.conv2d(x, plain.stem.conv1.weight, None, 2, 3))
    expected = nn.functional.max_pool2d(normed, 3, 2, 1)
    torch.testing.assert_close(plain(x)["stem"], expected)
    assert expected.min() < 0
    rectified = make_backbone(RESNETS__OUT_FEATURES=["stem"], CROP_REID__STEM_RELU=True).eval()
    torch.testing.assert_close(rectified(x)["stem"], expected.clamp(min=0))


def test_stem_pools_without_padding_up_to_the_edge_on_request(make_backbone):
    """fast-reid's stem: windows from the first pixel on, the last ones cut off at the edge."""
    x = images(2)
    stems = {
        pool: make_backbone(
            RESNETS__OUT_FEATURES=["stem"],
            CROP_REID__STEM_RELU=True,
            CROP_REID__STEM_POOL=pool,
        ).eval()
        for pool in ("padded", "ceil")
    }
    normed = stems["ceil"].stem.conv1(x).clamp(min=0)
    # What a window lacks beyond the edge never is a maximum.
    beyond = nn.functional.pad(normed, (0, 1, 0, 1), value=-1.0)
    expected = beyond.unfold(2, 3, 2).unfold(3, 3, 2).amax((-2, -1))
    torch.testing.assert_close(stems["ceil"](x)["stem"], expected)
    padded = stems["padded"](x)["stem"]
    assert padded.shape == expected.shape and not torch.allclose(padded, expected)


@pytest.mark.parametrize("depth", [18, 50])
def test_ibn_stands_first_in_each_block_of_res2_to_res4(make_backbone, depth):
    backbone = make_backbone(RESNETS__DEPTH=depth, CROP_REID__IBN="a")
    found = {n for n, module in backbone.named_modules() if isinstance(module, HalfInstanceNorm)}
    stages = ("res2", "res3", "res4")
    assert found == {
        f"{stage}.{i}.conv1.norm" for stage in stages for i in range(len(getattr(backbone, stage)))
    }
    names = {name.removeprefix("res2.0.conv1.norm.") for name in backbone.state_dict()}
    assert {"IN.weight", "IN.bias", "BN.weight", "BN.bias", "BN.running_mean"} <= names
    assert not any(isinstance(m, nn.InstanceNorm2d) for m in make_backbone().modules())


def test_half_instance_norm_normalises_each_half_its_own_way():
    norm = HalfInstanceNorm(5, "BN").train()
    x = images(4)[:, :1].repeat(1, 5, 1, 1) * torch.arange(1.0, 6.0).view(1, 5, 1, 1)
    x = x + torch.arange(4.0).view(4, 1, 1, 1)
    out = norm(x)
    # 2 of 5 channels: mean and variance of each image and channel.
    for image in range(4):
        for channel in range(2):
            cells = x[image, channel]
            expected = (cells - cells.mean()) / (cells.var(unbiased=False) + 1e-5).sqrt()
            torch.testing.assert_close(out[image, channel], expected, rtol=1e-4, atol=1e-5)
    # The other 3: of each channel over the batch.
    for channel in range(2, 5):
        cells = x[:, channel]
        expected = (cells - cells.mean()) / (cells.var(unbiased=False) + 1e-5).sqrt()
        torch.testing.assert_close(out[:, channel], expected, rtol=1e-4, atol=1e-5)


def test_ibn_ignores_an_images_own_contrast_in_half_the_channels():
    norm = HalfInstanceNorm(8, "BN").eval()
    x = images(2).repeat(1, 3, 1, 1)[:, :8]
    torch.testing.assert_close(norm(3 * x + 1)[:, :4], norm(x)[:, :4], rtol=1e-4, atol=1e-4)
    assert (norm(3 * x + 1)[:, 4:] - norm(x)[:, 4:]).abs().max() > 1


@pytest.mark.parametrize("ibn", ["none", "a"])
def test_res4_1_is_the_map_after_res4s_first_block(make_backbone, ibn):
    whole = make_backbone(CROP_REID__IBN=ibn).eval()
    cut = make_backbone(CROP_REID__IBN=ibn, RESNETS__OUT_FEATURES=["res4_1"]).eval()
    assert count_blocks(cut) == [2, 2, 1]
    # A whole ResNet's weights match by name, and only what lies behind the cut is left over.
    missing, left_over = cut.load_state_dict(whole.state_dict(), strict=False)
    assert not missing
    assert {name.split(".conv")[0].split(".shortcut")[0] for name in left_over} == {
        "res4.1",
        "res5.0",
        "res5.1",
    }
    heard = {}
    whole.res4[0].register_forward_hook(lambda _, __, out: heard.update(res4_1=out))
    x = images(2)
    whole(x)
    features = cut(x)
    assert set(features) == {"res4_1"}
    torch.testing.assert_close(features["res4_1"], heard["res4_1"])
    assert cut.output_shape()["res4_1"] == whole_shape(features["res4_1"], x)


def whole_shape(feature_map, x):
    from detectron2.layers import ShapeSpec

    return ShapeSpec(channels=feature_map.shape[1], stride=x.shape[2] // feature_map.shape[2])


def test_state_dict_round_trip(make_backbone):
    overrides = {"CROP_REID__IBN": "a"}
    first = make_backbone(**overrides)
    first(images(4))
    second = make_backbone(**overrides)
    second.load_state_dict(first.state_dict(), strict=True)
    x = images(2, seed=1)
    torch.testing.assert_close(first.eval()(x)["res5"], second.eval()(x)["res5"], rtol=0, atol=0)


def test_freeze_at_stops_gradients_and_statistics(make_backbone):
    backbone = make_backbone(BACKBONE__FREEZE_AT=2, CROP_REID__IBN="a").train()
    backbone(images(2))["res5"].sum().backward()
    frozen = {name.split(".")[0] for name, p in backbone.named_parameters() if p.grad is None}
    assert frozen == {"stem", "res2"}
    assert isinstance(backbone.res2[0].conv1.norm.BN, FrozenBatchNorm2d)
    assert isinstance(backbone.res3[0].conv1.norm.BN, nn.BatchNorm2d)


@pytest.mark.parametrize("ibn", ["none", "a"])
@pytest.mark.parametrize("out_feature", ["res5", "res4_1"])
def test_nobody_gives_an_empty_map(make_backbone, ibn, out_feature):
    backbone = make_backbone(CROP_REID__IBN=ibn, RESNETS__OUT_FEATURES=[out_feature]).eval()
    assert backbone(images(0))[out_feature].shape[0] == 0


def test_bfloat16_autocast_trains(make_backbone):
    backbone = make_backbone(CROP_REID__IBN="a")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = backbone(images(4))["res5"].float().square().mean()
    loss.backward()
    for name, parameter in backbone.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"RESNETS__DEPTH": 20}, r"RESNETS.DEPTH is 20; expected \[18, 34, 50, 101, 152\]"),
        ({"RESNETS__OUT_FEATURES": ["res4_1", "res5"]}, "OUT_FEATURES.*'res4_1'.*alone"),
        ({"RESNETS__OUT_FEATURES": ["res6"]}, "OUT_FEATURES is .*res6"),
        ({"RESNETS__OUT_FEATURES": []}, "OUT_FEATURES"),
        ({"RESNETS__NUM_GROUPS": 2}, "NUM_GROUPS is 2"),
        ({"RESNETS__RES5_DILATION": 2}, "RES5_DILATION is 2.*LAST_STRIDE"),
        ({"RESNETS__DEFORM_ON_PER_STAGE": [False, False, False, True]}, "DEFORM_ON_PER_STAGE"),
        ({"CROP_REID__IBN": "b"}, "IBN is 'b'; expected 'none' or 'a'"),
        ({"CROP_REID__IBN": "a", "RESNETS__NORM": "GN"}, "NORM is 'GN'"),
        ({"CROP_REID__STEM_POOL": "same"}, "STEM_POOL is 'same'; expected 'padded' or 'ceil'"),
        ({"CROP_REID__LAST_STRIDE": 4}, "LAST_STRIDE is 4; expected 1 or 2"),
    ],
)
def test_unknown_settings_are_refused(make_backbone, overrides, message):
    with pytest.raises(ValueError, match=message):
        make_backbone(**overrides)


def test_a_map_depends_on_its_own_image_only(make_backbone):
    backbone = make_backbone(CROP_REID__IBN="a").eval()
    x = images(3)
    torch.testing.assert_close(
        backbone(x)["res5"][1:2], backbone(x[1:2])["res5"], rtol=1e-4, atol=1e-5
    )


def test_registered_once():
    from detectron2.modeling import BACKBONE_REGISTRY

    builder = BACKBONE_REGISTRY.get("build_reid_resnet_backbone")
    assert builder is reid_heads.backbones.resnet.build_reid_resnet_backbone
