"""The copy of a model that runs on a CPU: faster layers, the same people."""

import pytest
import torch
from detectron2.layers import ROIAlign
from detectron2.modeling.backbone.resnet import BottleneckBlock
from detectron2.structures import Boxes
from torch import nn

from person_search.modeling import pooled_stage
from person_search.modeling.for_inference import InParts, copy_for_inference
from person_search.modeling.pooled_stage import PooledStage
from person_search.modeling.separable_pooling import SeparableRoIAlign
from reid_heads.backbones import folded

NORM_AWARE = {"MODEL__REID_HEAD__NAME": "NormAwareHead"}
METHODS = {
    "oim": {},
    "oim c4": {"kind": "c4"},
    "oim c4, stride in the 3x3, maximum": {
        "kind": "c4",
        "MODEL__RESNETS__STRIDE_IN_1X1": False,
        "MODEL__PERSON_SEARCH__RES5_BOX_HEAD__POOLING": "max",
    },
    "seqnet c4": {"kind": "c4", "MODEL__ROI_HEADS__NAME": "SequentialROIHeads", **NORM_AWARE},
    "seqnet": {"MODEL__ROI_HEADS__NAME": "SequentialROIHeads", **NORM_AWARE},
    "nae": {"MODEL__ROI_HEADS__NAME": "NormAwareROIHeads", **NORM_AWARE},
    "nae with one head": {"MODEL__ROI_HEADS__NAME": "NormScoredROIHeads", **NORM_AWARE},
    "stl": {
        "MODEL__PERSON_SEARCH__IDENTITY_BRANCH__IN_FEATURES": "['res2','res3','res4']",
        "MODEL__PERSON_SEARCH__IDENTITY_BRANCH__BODY": "res3+res4+res5",
        "MODEL__PERSON_SEARCH__IDENTITY_BRANCH__FUSION": "attention",
        "MODEL__PERSON_SEARCH__IDENTITY_BRANCH__FUSION_GATE": "0.5",
        "MODEL__REID_HEAD__NAME": "BNNeckHead",
    },
}


@pytest.fixture
def make_trained(make_model):
    """A tiny model in evaluation mode whose norms are not at their start; blocks stay calm."""

    def make(**overrides):
        model = make_model(**overrides).eval()
        torch.manual_seed(5)
        for part in model.modules():
            norm = getattr(part, "norm", None)
            if norm is not None and getattr(norm, "running_mean", None) is not None:
                norm.running_mean.normal_(0, 0.1)
                norm.running_var.uniform_(0.7, 1.5)
                norm.weight.data.uniform_(0.7, 1.3)
            if isinstance(part, BottleneckBlock):
                part.conv3.norm.weight.data.mul_(0.2)
        return model

    return make


def find(model, inputs):
    with torch.inference_mode():
        return model.inference(inputs, do_postprocess=False)


@pytest.mark.parametrize("method", METHODS)
def test_the_same_people_are_found(method, make_trained, make_input, monkeypatch):
    # Tiny models have few channels, and few proposals.
    monkeypatch.setattr(folded, "MIN_WINOGRAD_CHANNELS", 8)
    monkeypatch.setattr(pooled_stage, "BOXES_AT_ONCE", 7)
    model = make_trained(
        **METHODS[method],
        MODEL__RPN__POST_NMS_TOPK_TEST=20,
        MODEL__ROI_HEADS__SCORE_THRESH_TEST=0.0,
    )
    fast = copy_for_inference(model)
    inputs = [{"image": make_input([1, 2], seed=seed)["image"]} for seed in (0, 1)]
    for ours, theirs in zip(find(fast, inputs), find(model, inputs), strict=True):
        assert len(ours) == len(theirs) > 5
        kwargs = {"rtol": 0, "atol": 2e-3}
        torch.testing.assert_close(ours.scores, theirs.scores, **kwargs)
        torch.testing.assert_close(ours.pred_boxes.tensor, theirs.pred_boxes.tensor, **kwargs)
        assert (ours.embeddings * theirs.embeddings).sum(dim=1).min() > 0.99999
    assert (fast.roi_heads.pooled_stage is not None) == ("c4" in method)


def test_layers_are_exchanged_in_the_copy_alone(make_trained):
    model = make_trained()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fast = copy_for_inference(model)
    assert any(isinstance(part, folded.FoldedConv2d) for part in fast.modules())
    assert any(isinstance(part, SeparableRoIAlign) for part in fast.modules())
    assert not any(isinstance(part, nn.BatchNorm2d) for part in fast.backbone.modules())
    assert isinstance(fast.roi_heads.identity_branch.body, InParts)
    assert any(isinstance(part, ROIAlign) for part in model.modules())
    assert not any(isinstance(part, folded.FoldedConv2d) for part in model.modules())
    assert model.roi_heads.pooled_stage is None
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    # What was not exchanged is not there twice.
    predictor = (fast.roi_heads.box_predictor, model.roi_heads.box_predictor)
    assert predictor[0].cls_score.weight is predictor[1].cls_score.weight


def test_the_last_stage_runs_on_the_map_only_where_that_is_less_work(make_trained):
    fast = copy_for_inference(make_trained(kind="c4"))
    stage = fast.roi_heads.pooled_stage
    assert isinstance(stage, PooledStage)
    feature = torch.randn(1, stage.first.conv1.weight.shape[1], 20, 30)
    few = pooled_stage._PooledConv(stage.first.conv1, stage.roi_align, feature, 1)
    many = pooled_stage._PooledConv(stage.first.conv1, stage.roi_align, feature, 300)
    assert (few.is_done, many.is_done) == (False, True)
    rois = torch.tensor([[0.0, 10, 20, 200, 250], [0, 3, 5, 90, 300]])
    torch.testing.assert_close(few(rois), many(rois), rtol=1e-4, atol=1e-4)


def test_no_proposals_give_nobody(make_trained):
    stage = copy_for_inference(make_trained(kind="c4")).roi_heads.pooled_stage
    feature = torch.randn(1, stage.first.conv1.weight.shape[1], 6, 8)
    assert len(stage(feature, [Boxes(torch.zeros(0, 4))])) == 0


def test_a_model_in_training_mode_is_refused(make_model):
    with pytest.raises(ValueError, match="training mode"):
        copy_for_inference(make_model())
