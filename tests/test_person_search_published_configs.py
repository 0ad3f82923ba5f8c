"""Settings of the published systems, and pixels that fit the weights, in every config."""

import pytest
import torch
from conftest import CONFIGS, root_config, undrawn
from detectron2.modeling import build_model

import person_search.modeling  # noqa: F401  (registers the models)
from person_search.config import load_config

YAMLS = [p for p in sorted(CONFIGS.rglob("*.yaml")) if root_config(p) == "Base-PersonSearch"]
IMAGENET_RGB = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
MSRA_BGR = ([103.53, 116.28, 123.675], [1.0, 1.0, 1.0])
# Frames / 5 of the training sets, as with drop_last (11,206 and 5,704 frames).
EPOCH = {"cuhk_sysu": 2241, "prw": 1140}


@pytest.mark.parametrize("path", YAMLS, ids=lambda p: str(p.relative_to(CONFIGS)))
def test_pixels_and_strides_are_those_of_the_weights(path):
    """A network of the wrong mean or channel order trains as well, only worse."""
    cfg = load_config(str(path))
    source = cfg.MODEL.WEIGHTS.removeprefix("detectron2://ImageNetPretrained/").split("/")[0]
    if not cfg.MODEL.WEIGHTS.startswith("detectron2://"):
        pytest.skip("no ImageNet weights")
    pixels, order, stride_in_1x1 = {
        "MSRA": (MSRA_BGR, "BGR", True),
        "torchvision": (IMAGENET_RGB, "RGB", False),
    }[source]
    assert (list(cfg.MODEL.PIXEL_MEAN), list(cfg.MODEL.PIXEL_STD)) == pixels
    assert order == cfg.INPUT.FORMAT
    assert cfg.MODEL.RESNETS.STRIDE_IN_1X1 is stride_in_1x1


@pytest.mark.parametrize("dataset", ["cuhk_sysu", "prw"])
@pytest.mark.parametrize("method", ["nae", "seqnet"])
def test_schedule_is_counted_in_epochs(method, dataset):
    cfg = load_config(str(CONFIGS / dataset / f"{method}_r50.yaml"))
    epochs = 22 if method == "nae" else {"cuhk_sysu": 20, "prw": 18}[dataset]
    solver = cfg.SOLVER
    assert epochs * EPOCH[dataset] == solver.MAX_ITER
    assert (16 * EPOCH[dataset],) == solver.STEPS and solver.GAMMA == 0.1
    assert EPOCH[dataset] == solver.WARMUP_ITERS and solver.WARMUP_FACTOR == 0.001
    assert (solver.BASE_LR, solver.IMS_PER_BATCH, solver.MOMENTUM) == (0.003, 5, 0.9)
    assert solver.WEIGHT_DECAY == solver.WEIGHT_DECAY_NORM == 0.0005
    clip = solver.CLIP_GRADIENTS
    assert (clip.ENABLED, clip.CLIP_TYPE, clip.CLIP_VALUE) == (True, "full_model", 10)
    oim = cfg.MODEL.REID_HEAD.OIM
    assert (oim.SCALE, oim.MOMENTUM) == (30, 0.5)
    sizes = {"cuhk_sysu": (5532, 5000), "prw": (483, 500)}[dataset]
    assert sizes == (cfg.MODEL.REID_HEAD.NUM_IDENTITIES, oim.QUEUE_SIZE)


def test_detector_and_second_head_of_seqnet():
    cfg = load_config(str(CONFIGS / "cuhk_sysu/seqnet_r50.yaml"))
    rpn, roi, box = cfg.MODEL.RPN, cfg.MODEL.ROI_HEADS, cfg.MODEL.ROI_BOX_HEAD
    assert (rpn.IOU_THRESHOLDS, rpn.NMS_THRESH) == ([0.3, 0.7], 0.7)
    assert (rpn.BATCH_SIZE_PER_IMAGE, rpn.POSITIVE_FRACTION) == (256, 0.5)
    assert (roi.BATCH_SIZE_PER_IMAGE, roi.POSITIVE_FRACTION) == (128, 0.5)
    assert (roi.IOU_THRESHOLDS, roi.PROPOSAL_APPEND_GT) == ([0.5], True)
    assert (roi.SCORE_THRESH_TEST, roi.NMS_THRESH_TEST) == (0.5, 0.4)
    assert (box.BBOX_REG_WEIGHTS, box.BBOX_REG_LOSS_WEIGHT) == ((10.0, 10.0, 5.0, 5.0), 10)
    assert (box.SMOOTH_L1_BETA, cfg.TEST.DETECTIONS_PER_IMAGE) == (1, 300)
    assert cfg.TEST.SEARCH.CONFIDENCE_WEIGHTING


@pytest.mark.parametrize(
    ("name", "heads"),
    [
        ("cuhk_sysu/seqnet_r50", "SequentialROIHeads"),
        ("prw/nae_r50", "NormAwareROIHeads"),
        ("drawn_prw/seqnet", "SequentialROIHeads"),
    ],
)
def test_heads_of_the_built_model(name, heads):
    cfg = load_config(str(CONFIGS / f"{name}.yaml"))
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "meta", ""
    with torch.device("meta"), undrawn():
        model = build_model(cfg)
    assert type(model.roi_heads).__name__ == heads
    embedder = model.roi_heads.identity_branch.head
    dim = cfg.MODEL.REID_HEAD.EMBEDDING_DIM
    assert [p[0].out_features for p in embedder.projections] == [dim // 2, dim // 2]
    if "r50" in name:
        assert [p[0].in_features for p in embedder.projections] == [1024, 2048]
        # Only the stem is frozen, weights and statistics.
        assert not any(p.requires_grad for p in model.backbone.stem.parameters())
        assert all(p.requires_grad for p in model.backbone.res2.parameters())
        assert all(p.requires_grad for p in model.roi_heads.parameters())
