"""The two-stream backbone: each modality its own first stages, the same last ones."""

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, build_backbone

from reid_heads.backbones.two_stream import TwoStreamBackbone
from reid_heads.config import load_config
from reid_heads.crop_reid import CropReID
from reid_heads.labels import THERMAL, VISIBLE
from reid_heads.training.checkpoint import WeightCopyCheckpointer

pytestmark = pytest.mark.usefixtures("shallow")

TINY = """MODEL.DEVICE cpu MODEL.WEIGHTS '' MODEL.BACKBONE.NAME build_two_stream_backbone
MODEL.BACKBONE.FREEZE_AT 0 MODEL.RESNETS.DEPTH 18 MODEL.RESNETS.NORM BN
MODEL.RESNETS.STRIDE_IN_1X1 False
MODEL.RESNETS.STEM_OUT_CHANNELS 8 MODEL.RESNETS.RES2_OUT_CHANNELS 8
MODEL.RESNETS.OUT_FEATURES ['res5'] MODEL.REID_HEAD.NUM_IDENTITIES 4"""
MODALITIES = torch.tensor([0, 1, 1, 0, 1])


def make_cfg(*overrides):
    return load_config("", [*TINY.split(), *overrides])


def make(*overrides, seed=0):
    torch.manual_seed(seed)
    return build_backbone(make_cfg(*overrides))


def images(count=5):
    return torch.randn(count, 3, 64, 32, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("shared", [1, 2, 4])
def test_equals_running_each_image_through_its_own_stages(shared):
    net = make("MODEL.TWO_STREAM.SHARED_STAGES", str(shared)).eval()
    with torch.no_grad():
        for p in net.thermal.parameters():
            p.mul_(1.2)
    x = images()
    got = net(x, MODALITIES)["res5"]
    for row, modality in enumerate(MODALITIES.tolist()):
        y = x[row : row + 1]
        for module in (net.visible, net.thermal)[modality].values():
            y = module(y)
        for module in net.shared.values():
            y = module(y)
        torch.testing.assert_close(got[row], y[0], rtol=1e-3, atol=1e-4)
    assert list(net.shared) == ["res2", "res3", "res4", "res5"][4 - shared :]
    assert list(net.visible) == list(net.thermal) == ["stem", "res2", "res3", "res4"][: 5 - shared]


def test_both_streams_start_alike_and_equal_the_plain_backbone():
    net = make().eval()
    torch.manual_seed(0)
    plain = BACKBONE_REGISTRY.get("build_reid_resnet_backbone")(make_cfg(), ShapeSpec(3)).eval()
    expected = plain(images())["res5"]
    for modality in (VISIBLE, THERMAL):
        got = net(images(), torch.full((5,), modality))["res5"]
        torch.testing.assert_close(got, expected)
    shape = net.output_shape()["res5"]
    assert (shape.channels, shape.stride) == (64, plain.output_shape()["res5"].stride)


def test_shared_norms_see_both_modalities_in_one_batch():
    net = make()
    seen = []
    net.shared["res4"][0].conv1.register_forward_hook(lambda m, i, o: seen.append(len(i[0])))
    own = []
    net.thermal["stem"].conv1.register_forward_hook(lambda m, i, o: own.append(len(i[0])))
    net(images(), MODALITIES)
    assert seen == [5] and own == [3]


def test_gradients_reach_only_the_own_stream():
    net = make()
    out = net(images(), MODALITIES)["res5"]
    out[MODALITIES == VISIBLE].sum().backward()
    assert net.visible["stem"].conv1.weight.grad.abs().sum() > 0
    # The shared batch statistics connect the modalities; without them there is no way across.
    frozen = make("MODEL.RESNETS.NORM", "FrozenBN")
    frozen.train()(images(), MODALITIES)["res5"][MODALITIES == VISIBLE].sum().backward()
    assert frozen.thermal["stem"].conv1.weight.grad.abs().sum() == 0


def test_training_without_a_modality_is_refused():
    with pytest.raises(ValueError, match=r"modalities \[0\].*cross_modality"):
        make()(images(2), torch.tensor([0, 0]))
    with pytest.raises(ValueError, match=r"modalities \[0, 2\]"):
        make().eval()(images(2), torch.tensor([0, 2]))


@pytest.mark.parametrize("shared", ["0", "5"])
def test_a_number_of_stages_out_of_range_is_refused(shared):
    with pytest.raises(ValueError, match=rf"SHARED_STAGES is {shared}; expected 1 to 4"):
        make("MODEL.TWO_STREAM.SHARED_STAGES", shared)


def test_other_backbones_and_maps_are_refused():
    with pytest.raises(ValueError, match=r"OUT_FEATURES is .'res4_1'.; expected the last"):
        make("MODEL.RESNETS.OUT_FEATURES", "['res4_1']")
    with pytest.raises(ValueError, match=r"expected a ResNet with one"):
        make("MODEL.RESNETS.OUT_FEATURES", "['res4', 'res5']")


def test_imagenet_weights_go_into_both_streams(tmp_path):
    torch.manual_seed(1)
    plain = BACKBONE_REGISTRY.get("build_reid_resnet_backbone")(make_cfg(), ShapeSpec(3))
    path = tmp_path / "imagenet.pth"
    torch.save({"model": plain.state_dict(), "matching_heuristics": True}, path)
    torch.manual_seed(2)
    cfg = make_cfg("MODEL.REID_HEAD.LOSSES.OIM", "0.0", "MODEL.REID_HEAD.LOSSES.SOFTMAX", "1.0")
    model = CropReID(cfg)
    WeightCopyCheckpointer(model, str(tmp_path)).load(str(path))
    for name, value in plain.state_dict().items():
        first, rest = name.split(".", 1)
        parts = ("visible", "thermal") if first in ("stem", "res2", "res3") else ("shared",)
        for part in parts:
            own = model.backbone.state_dict()[f"{part}.{first}.{rest}"]
            assert torch.equal(own, value), (part, name)


def test_crops_go_through_their_own_stream():
    """An image embeds differently as visible and as thermal once the streams differ."""
    cfg = make_cfg("MODEL.REID_HEAD.LOSSES.OIM", "0.0", "MODEL.REID_HEAD.LOSSES.SOFTMAX", "1.0")
    torch.manual_seed(0)
    model = CropReID(cfg).eval()
    with torch.no_grad():
        model.backbone.thermal["stem"].conv1.weight.neg_()
    image = torch.randint(0, 256, (3, 64, 32), generator=torch.Generator().manual_seed(0))
    asked = [{"image": image}, {"image": image, "modality": THERMAL}, {"image": image}]
    first, second, third = (row["embedding"] for row in model(asked))
    torch.testing.assert_close(first, third)
    assert not torch.allclose(first, second, atol=1e-3)
    assert isinstance(model.backbone, TwoStreamBackbone)
