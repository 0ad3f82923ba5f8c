"""NAE with one head: what it finds is what its identity branch says of the proposals."""

import pytest
import torch
from conftest import assert_every_gradient
from detectron2.structures import Boxes
from torchvision.ops import nms

from reid_heads.labels import UNLABELED_PID

NAE = {
    "MODEL__ROI_HEADS__NAME": "NormScoredROIHeads",
    "MODEL__REID_HEAD__NAME": "NormAwareHead",
    "MODEL__REID_HEAD__POOLING": "max",
    "MODEL__ROI_HEADS__SCORE_THRESH_TEST": 0.5,
    "MODEL__ROI_HEADS__NMS_THRESH_TEST": 0.4,
}


@pytest.mark.parametrize("pids", [[[0, 1, 2], [3, UNLABELED_PID]], [[], []]])
def test_every_batch_gives_finite_losses_and_every_gradient(pids, make_model, train_step):
    model = make_model(**NAE)
    losses = train_step(model, pids)
    heads = {name for name in losses if not name.startswith("loss_rpn")}
    assert heads == {"loss_reid_oim", "loss_reid_person", "loss_reid_box_reg"}
    assert losses["loss_reid_person"] > 0
    assert (losses["loss_reid_box_reg"] > 0) == any(pids)
    assert_every_gradient(model, losses)
    assert not [name for name, _ in model.named_parameters() if "box_predictor" in name]


def test_detections_are_proposals_that_the_norm_scores(make_model, make_input):
    """Step by step: embed, score, correct, clip, drop, suppress, and keep the best."""
    model = make_model(**NAE, TEST__DETECTIONS_PER_IMAGE=4).eval()
    heads = model.roi_heads
    # Scores and corrections that differ between proposals.
    torch.nn.init.normal_(heads.box_refiner.linear.weight, std=5.0)
    torch.nn.init.ones_(heads.box_refiner.norm.weight)
    for projection, norm in heads.identity_branch.head.projections:
        torch.nn.init.normal_(projection.weight, std=1.0)
        torch.nn.init.ones_(norm.weight)
    with torch.no_grad():
        frames = [make_input([0, 1]), make_input([2])]
        images = model.preprocess_image(frames)
        features = model.backbone(images.tensor)
        proposals, _ = model.proposal_generator(images, features, None)
        norms = heads.identity_branch(features, [x.proposal_boxes for x in proposals]).embeddings
        heads.identity_branch.head.rescale.running_mean.fill_(norms.norm(dim=1).median())
        found, losses = heads(images, features, proposals)
        assert losses == {}
        for place, (people, before) in enumerate(zip(found, proposals, strict=True)):
            one = {name: x[place : place + 1] for name, x in features.items()}
            pooled, refined = heads.identity_branch.maps(one, [before.proposal_boxes])
            described = heads.identity_branch.describe(pooled, refined)
            scores = described.person_logits.sigmoid()
            boxes = heads.box_refiner.refine(refined, before.proposal_boxes)
            boxes[:, 0::2] = boxes[:, 0::2].clamp(0, 160)
            boxes[:, 1::2] = boxes[:, 1::2].clamp(0, 96)
            rows = torch.nonzero(scores > 0.5).squeeze(1)
            assert 0 < len(rows) < len(scores), "the threshold matters"
            rows = rows[nms(boxes[rows], scores[rows], 0.4)][:4]
            torch.testing.assert_close(people.scores, scores[rows])
            torch.testing.assert_close(people.pred_boxes.tensor, boxes[rows], atol=1e-3, rtol=0)
            torch.testing.assert_close(people.embeddings, described.unit_embeddings[rows])


def test_no_proposals_are_nobody(make_model, make_input):
    model = make_model(**NAE).eval()
    with torch.no_grad():
        images = model.preprocess_image([make_input([0])])
        features = model.backbone(images.tensor)
        proposals, _ = model.proposal_generator(images, features, None)
        (people,), _ = model.roi_heads(images, features, [proposals[0][:0]])
        assert len(people) == 0 and people.embeddings.shape == (0, 16)
        (rows,) = model.roi_heads.embed(features, [Boxes(torch.tensor([[5.0, 5, 30, 60]]))])
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(1))


def test_a_head_without_a_person_score_is_refused(make_model):
    with pytest.raises(ValueError, match=r"'NormScoredROIHeads', but .* 'EmbeddingHead'"):
        make_model(**{**NAE, "MODEL__REID_HEAD__NAME": "EmbeddingHead"})
