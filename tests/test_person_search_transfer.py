import logging
import os

import pytest
import torch
from conftest import CONFIGS
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from detectron2.structures import Boxes

import reid_heads.crop_reid  # noqa: F401  (registers the model)
from person_search.transfer import check_same_input, transfer_weights
from reid_heads.config import add_crop_reid_config

BRANCH = "MODEL__PERSON_SEARCH__IDENTITY_BRANCH__"
SLIM = ["MODEL.SLIM_RESNET.STEM_CHANNELS", 8, "MODEL.SLIM_RESNET.CHANNELS", (8, 12, 16, 24)]
SLIM += ["MODEL.SLIM_RESNET.NUM_BLOCKS", (1, 1, 1, 1)]
OWN = {
    BRANCH + "IN_FEATURES": ["res2"],
    BRANCH + "BODY": "res3+res4+res5",
    BRANCH + "LAST_STRIDE": 1,
    BRANCH + "POOLER_RESOLUTION": [12, 6],
    "MODEL__REID_HEAD__NAME": "BNNeckHead",
}


def crop_cfg(*overrides):
    cfg = get_cfg()
    add_crop_reid_config(cfg)
    cfg.merge_from_file(str(CONFIGS / "Base-Slim-CropReID.yaml"))
    cfg.merge_from_list(["MODEL.BACKBONE.NAME", "build_slim_resnet_backbone", *SLIM])
    cfg.merge_from_list(["MODEL.CROP_REID.LAST_STRIDE", 1, "MODEL.REID_HEAD.NUM_IDENTITIES", 5])
    cfg.merge_from_list(["MODEL.REID_HEAD.BATCH_NORM", True, *overrides])
    return cfg


def make_crop_net(*overrides):
    """Build a crop net whose BatchNorm statistics are no longer the initial ones."""
    torch.manual_seed(1)
    net = build_model(crop_cfg(*overrides)).train()
    with torch.no_grad():
        for _ in range(2):
            net.features(torch.randn(8, 3, 48, 24))
    return net.eval()


@pytest.fixture
def crop_net():
    return make_crop_net()


@pytest.fixture
def save(tmp_path):
    def write(state, name="stage1.pth", **more):
        torch.save({"model": state, **more}, tmp_path / name)
        return str(tmp_path / name)

    return write


def test_transferred_weights_are_bit_equal(crop_net, save, make_model):
    model = make_model(**OWN)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    source = crop_net.state_dict()
    report = transfer_weights(model, save(source))
    after = model.state_dict()
    trunk, body = "backbone.bottom_up.", "roi_heads.identity_branch.body."
    for name, value in source.items():
        if name.startswith(("backbone.stem.", "backbone.res2.")):
            to = trunk + name.removeprefix("backbone.")
        elif name.startswith("backbone."):
            to = body + name.removeprefix("backbone.")
        else:
            assert name in report.unused
            continue
        assert report.transferred[to] == name
        assert torch.equal(after[to], value), name
        if value.is_floating_point() and value.numel() > 100:
            assert not torch.equal(before[to], value), "was equal before, which proves nothing"
    loaded = set(report.transferred)
    assert set(report.kept) == set(after) - loaded
    for name in report.kept:
        assert torch.equal(before[name], after[name]), name
    assert any(name.startswith(trunk + "res3.") for name in report.kept), "the detector's own res3"


def test_the_whole_image_as_a_box_gives_the_crop_nets_feature(crop_net, save, make_model):
    """One RoIAlign sample a cell hits the cell's centre when the box is the image."""
    overrides = {**OWN, BRANCH + "POOLER_SAMPLING_RATIO": 1}
    model = make_model(**overrides).eval()
    transfer_weights(model, save(crop_net.state_dict()), transfer_neck=True)
    images = torch.randn(3, 3, 48, 24, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = crop_net.features(images)
        maps = model.backbone.bottom_up(images)
        boxes = [Boxes([[0.0, 0.0, 24.0, 48.0]])] * 3
        got = model.roi_heads.identity_branch(maps, boxes)
    torch.testing.assert_close(got.embeddings, expected.embeddings, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got.metric[0], expected.metric[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fusion", ["sum", "concat", "attention"])
def test_several_levels_start_from_the_same_feature(fusion, crop_net, save, make_model):
    path = save(crop_net.state_dict())
    several = {BRANCH + "IN_FEATURES": ["res2", "res3", "p2"], BRANCH + "FUSION": fusion}
    features = []
    image = torch.randn(1, 3, 96, 160, generator=torch.Generator().manual_seed(2))
    for overrides in (OWN, {**OWN, **several}):
        model = make_model(**overrides).eval()
        transfer_weights(model, path)
        with torch.no_grad():
            boxes = [Boxes([[10.0, 8.0, 40.0, 70.0], [60.0, 8.0, 80.0, 60.0]])]
            branch = model.roi_heads.identity_branch
            features.append(branch(model.backbone(image), boxes).embeddings)
    torch.testing.assert_close(features[0], features[1], rtol=1e-4, atol=1e-5)


def test_the_neck_is_transferred_on_request(crop_net, save, make_model):
    path = save(crop_net.state_dict())
    model = make_model(**OWN)
    report = transfer_weights(model, path)
    neck = "roi_heads.identity_branch.head.neck.running_mean"
    assert neck in report.kept and "head.neck.running_mean" in report.unused
    report = transfer_weights(model, path, transfer_neck=True)
    assert report.transferred[neck] == "head.neck.running_mean"
    assert torch.equal(model.state_dict()[neck], crop_net.head.neck.running_mean)


def test_the_detectors_own_stages_are_transferred_on_request(crop_net, save, make_model):
    """A later stage goes to two places then, the identity branch and the detector."""
    model = make_model(**OWN)
    report = transfer_weights(model, save(crop_net.state_dict()), transfer_detector=True)
    name, source = "res4.0.conv1.weight", crop_net.state_dict()["backbone.res4.0.conv1.weight"]
    for prefix in ("backbone.bottom_up.", "roi_heads.identity_branch.body."):
        assert report.transferred[prefix + name] == f"backbone.{name}"
        assert torch.equal(model.state_dict()[prefix + name], source)
    assert not any(name.startswith("backbone.bottom_up") for name in report.kept)
    assert any(name.startswith("backbone.fpn_output") for name in report.kept)


def test_the_moving_average_is_what_is_taken(crop_net, save, make_model):
    name = "backbone.stem.conv1.weight"
    average = {name: torch.full_like(crop_net.state_dict()[name], 0.5)}
    trainer = {"hooks": {"WeightAverage": {"average": average}}}
    model = make_model(**OWN)
    transfer_weights(model, save(crop_net.state_dict(), trainer=trainer))
    assert (model.backbone.bottom_up.stem.conv1.weight == 0.5).all()


def test_the_log_says_what_was_done(crop_net, save, make_model, caplog):
    with caplog.at_level(logging.INFO, logger="person_search.transfer"):
        transfer_weights(make_model(**OWN), save(crop_net.state_dict()))
    text = caplog.text
    assert "transferred" in text and "kept as they were" in text and "not used" in text
    assert "roi_heads.identity_branch.body.res5" in text and "losses.losses" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("backbone.res4.0.conv1.weight"), "res4.0.conv1.weight is missing there"),
        (
            lambda s: s.update({"backbone.res3.1.conv1.weight": torch.zeros(12, 12, 3, 3)}),
            r"res3.1.conv1.weight has no place here",
        ),
        (
            lambda s: s.update({"backbone.stem.conv1.weight": torch.zeros(16, 3, 7, 7)}),
            r"stem.conv1.weight is \(16, 3, 7, 7\) there, \(8, 3, 7, 7\) here",
        ),
        (
            lambda s: s.update({"backbone.res2.0.conv1.norm.bias": torch.full((8,), torch.nan)}),
            "not finite",
        ),
    ],
)
def test_nothing_is_lost_in_silence(change, message, crop_net, save, make_model):
    state = dict(crop_net.state_dict())
    change(state)
    model = make_model(**OWN)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        transfer_weights(model, save(state))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_another_backbone_is_refused(save, make_model):
    other = make_crop_net("MODEL.BACKBONE.NAME", "build_reid_resnet_backbone")
    with pytest.raises(ValueError, match="does not fit the model"):
        transfer_weights(make_model(**OWN), save(other.state_dict()))


def test_a_branch_without_own_stages_is_refused(crop_net, save, make_model):
    with pytest.raises(ValueError, match="BODY names no stages"):
        transfer_weights(make_model(), save(crop_net.state_dict()))


def test_another_head_is_refused_for_the_neck(crop_net, save, make_model):
    other = {**OWN, "MODEL__REID_HEAD__NAME": "EmbeddingHead"}
    with pytest.raises(ValueError, match=r"head\.project\.weight is missing there"):
        transfer_weights(make_model(**other), save(crop_net.state_dict()), transfer_neck=True)


class Runs:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_files_that_are_no_crop_net_are_refused(save, make_model, tmp_path):
    model = make_model(**OWN)
    with pytest.raises(FileNotFoundError, match="there is no stage 1 checkpoint"):
        transfer_weights(model, str(tmp_path / "absent.pth"))
    (tmp_path / "broken.pth").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(ValueError, match="not a checkpoint"):
        transfer_weights(model, str(tmp_path / "broken.pth"))
    marker = tmp_path / "was_run"
    torch.save({"model": {"backbone.x": Runs(marker)}}, tmp_path / "code.pth")
    with pytest.raises(ValueError, match=r"code\.pth holds more than weights.*mkdir"):
        transfer_weights(model, str(tmp_path / "code.pth"))
    assert not marker.exists()
    with pytest.raises(ValueError, match="not a checkpoint of a crop ReID net"):
        transfer_weights(model, save({"conv1.weight": torch.zeros(3)}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL.PIXEL_MEAN", [103.53, 116.28, 123.675]),
        ("INPUT.FORMAT", "BGR"),
        ("MODEL.CROP_REID.LAST_STRIDE", 2),
    ],
)
def test_another_input_is_refused(key, value, tiny_cfg):
    cfg = tiny_cfg(**OWN)
    check_same_input(cfg, crop_cfg())
    with pytest.raises(ValueError, match=r"another input or network.*" + key.split(".")[-1]):
        check_same_input(cfg, crop_cfg(key, value))


@pytest.mark.parametrize(("key", "value"), [("STEM_RELU", False), ("STEM_POOL", "ceil")])
def test_another_stem_is_refused(key, value, tiny_cfg):
    stage1 = crop_cfg("MODEL.BACKBONE.NAME", "build_reid_resnet_backbone")
    stage1.MODEL.CROP_REID.STEM_RELU = True
    stage1.MODEL.CROP_REID[key] = value
    cfg = tiny_cfg(**OWN)
    with pytest.raises(ValueError, match=f"CROP_REID.{key}"):
        check_same_input(cfg, stage1)


def test_only_bottlenecks_have_a_place_for_their_stride(tiny_cfg):
    stage1 = crop_cfg("MODEL.BACKBONE.NAME", "build_reid_resnet_backbone")
    stage1.MODEL.CROP_REID.STEM_RELU = True
    cfg = tiny_cfg("c4", MODEL__RESNETS__DEPTH=18, **{BRANCH + "LAST_STRIDE": 1})
    stage1.MODEL.PIXEL_MEAN, stage1.MODEL.PIXEL_STD = cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD
    stage1.INPUT.FORMAT = cfg.INPUT.FORMAT
    check_same_input(cfg, stage1)
    cfg.MODEL.RESNETS.DEPTH = stage1.MODEL.RESNETS.DEPTH = 50
    cfg.MODEL.RESNETS.STRIDE_IN_1X1 = not stage1.MODEL.RESNETS.STRIDE_IN_1X1
    with pytest.raises(ValueError, match="STRIDE_IN_1X1"):
        check_same_input(cfg, stage1)
