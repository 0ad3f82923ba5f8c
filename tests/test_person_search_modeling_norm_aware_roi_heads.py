"""Norm-aware heads: what trains the norm, and what it scores at test."""

import math

import pytest
import torch
from conftest import assert_every_gradient
from detectron2.structures import Boxes, Instances

from reid_heads.labels import UNLABELED_PID

NAE = {
    "MODEL__ROI_HEADS__NAME": "NormAwareROIHeads",
    "MODEL__REID_HEAD__NAME": "NormAwareHead",
    "MODEL__REID_HEAD__POOLING": "max",
}
SIZE = (96, 160)
BATCHES = {
    "persons": [[0, 1, 2], [3, 0]],
    "no persons": [[], []],
    "mixed, empty last": [[1, UNLABELED_PID], []],
    "one unlabelled person": [[], [UNLABELED_PID]],
}


@pytest.mark.parametrize("pids", BATCHES.values(), ids=BATCHES.keys())
def test_every_batch_gives_finite_losses_and_every_gradient(pids, make_model, train_step):
    model = make_model(**NAE)
    losses = train_step(model, pids)
    assert {"loss_cls", "loss_box_reg", "loss_reid_oim", "loss_reid_person"} < set(losses)
    has_labelled = any(pid >= 0 for frame in pids for pid in frame)
    assert (losses["loss_reid_oim"] > 0) == has_labelled
    assert losses["loss_reid_person"] > 0, "background trains the norm without people too"
    assert_every_gradient(model, losses)


def test_two_steps_of_a_c4_detector(make_model, train_step):
    model = make_model("c4", **NAE)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    for _ in range(2):
        losses = train_step(model, [[0, 1], []])
        optimizer.zero_grad()
        assert_every_gradient(model, losses)
        optimizer.step()


def test_a_batch_without_a_box_gives_zero_and_every_gradient(make_model):
    model = make_model(**NAE)
    losses = model.roi_heads._losses_of_nobody(torch.zeros(0, dtype=torch.int64))
    assert {name: loss.item() for name, loss in losses.items()} == {
        "loss_reid_oim": 0,
        "loss_reid_person": 0,
    }
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.roi_heads.identity_branch.parameters())


def watch(monkeypatch, heads):
    """Record what the sampler gives, the branch embeds and the identity losses see."""
    seen = {}

    def sample(proposals, targets):
        seen["sampled"] = type(heads).label_and_sample_proposals(heads, proposals, targets)
        return seen["sampled"]

    monkeypatch.setattr(heads, "label_and_sample_proposals", sample)
    heads.identity_branch.register_forward_hook(
        lambda module, args, out: seen.update(boxes=args[1], embedded=out)
    )
    heads.identity_losses.register_forward_pre_hook(
        lambda module, args: seen.update(people=args[0], pids=args[1])
    )
    return seen


@pytest.mark.parametrize("boxes_per_person", [0, 1])
def test_background_trains_the_norm_and_no_identity(
    boxes_per_person, make_model, train_step, monkeypatch
):
    key = "MODEL__PERSON_SEARCH__IDENTITY_BRANCH__BOXES_PER_PERSON"
    model = make_model(**NAE, **{key: boxes_per_person})
    seen = watch(monkeypatch, model.roi_heads)
    losses = train_step(model, [[3, 1], [], [0]])
    background = [x.proposal_boxes[x.gt_classes == 1].tensor for x in seen["sampled"]]
    is_person = []
    for boxes, rest in zip(seen["boxes"], background, strict=True):
        people = len(boxes) - len(rest)
        assert torch.equal(boxes.tensor[people:], rest)
        is_person += [1.0] * people + [0.0] * len(rest)
    assert 0 < sum(is_person) < len(is_person)
    if boxes_per_person == 1:
        assert sum(is_person) == 3, "the ground truth of three people"
    mask = torch.tensor(is_person) > 0
    assert torch.equal(seen["people"].embeddings, seen["embedded"].embeddings[mask])
    assert len(seen["pids"]) == int(mask.sum()) and set(seen["pids"].tolist()) == {3, 1, 0}
    # Binary cross-entropy, one row at a time.
    logits = seen["embedded"].person_logits.tolist()
    each = [
        -math.log(1 / (1 + math.exp(-z if y else z)))
        for z, y in zip(logits, is_person, strict=True)
    ]
    assert losses["loss_reid_person"].item() == pytest.approx(sum(each) / len(each), rel=1e-4)


def test_weight_scales_the_person_loss(make_model, train_step):
    plain = train_step(make_model(**NAE), [[0, 1]])["loss_reid_person"]
    model = make_model(**NAE, MODEL__PERSON_SEARCH__NORM_AWARE__LOSS_WEIGHT=3.0)
    torch.testing.assert_close(train_step(model, [[0, 1]])["loss_reid_person"], 3 * plain)


@pytest.fixture
def frame(make_input):
    image = make_input([0, 1, 2])
    del image["instances"]
    return image


def run(model, inputs):
    with torch.no_grad():
        return model(inputs)


def test_the_norm_scores_the_detectors_choice(make_model, frame, monkeypatch):
    model = make_model(**NAE, MODEL__ROI_HEADS__SCORE_THRESH_TEST=0.0).eval()
    (found,) = (x["instances"] for x in run(model, [frame]))
    assert len(found) > 1
    # As untrained as this, all norms are alike: they have to be told apart.
    rescale = model.roi_heads.identity_branch.head.rescale
    rescale.running_mean.fill_(0.01)
    rescale.running_var.fill_(1e-6)
    (found,) = (x["instances"] for x in run(model, [frame]))
    monkeypatch.setattr(model.roi_heads, "score", "detector")
    (plain,) = (x["instances"] for x in run(model, [frame]))
    assert set(found.get_fields()) == set(plain.get_fields())
    assert {"scores", "embeddings"} < set(found.get_fields())
    assert (found.scores[:-1] >= found.scores[1:]).all()
    with torch.no_grad():
        image = model.preprocess_image([frame])
        features = model.backbone(image.tensor)
        embedded = model.roi_heads.identity_branch(features, [found.pred_boxes])
    torch.testing.assert_close(found.scores, embedded.person_logits.sigmoid())
    torch.testing.assert_close(found.embeddings, embedded.unit_embeddings)
    order = torch.cdist(found.pred_boxes.tensor, plain.pred_boxes.tensor).argmin(dim=1)
    assert sorted(order.tolist()) == list(range(len(plain))), "the same boxes"
    torch.testing.assert_close(found.embeddings, plain.embeddings[order], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found.scores, plain.scores[order])


def test_given_boxes_keep_their_scores_and_order(make_model, frame):
    model = make_model(**NAE).eval()
    boxes = torch.tensor([[50.0, 20, 75, 80], [10, 10, 30, 60]])
    given = Instances(
        SIZE,
        pred_boxes=Boxes(boxes),
        scores=torch.tensor([0.25, 1.0]),
        pred_classes=torch.zeros(2, dtype=torch.int64),
    )
    (output,) = run(model, [{**frame, "given_boxes": given}])
    assert output["instances"].scores.tolist() == [0.25, 1]
    assert torch.equal(output["instances"].pred_boxes.tensor, boxes)
    torch.testing.assert_close(output["instances"].embeddings.norm(dim=1), torch.ones(2))


def test_no_detections(make_model, frame):
    model = make_model(**NAE, MODEL__ROI_HEADS__SCORE_THRESH_TEST=1.1).eval()
    (output,) = run(model, [frame])
    assert output["instances"].embeddings.shape == (0, 16)
    assert output["instances"].scores.shape == (0,)


def test_another_score_is_refused(make_model):
    with pytest.raises(ValueError, match=r"NORM_AWARE\.SCORE is 'length'.*'norm'"):
        make_model(**NAE, MODEL__PERSON_SEARCH__NORM_AWARE__SCORE="length")


def test_a_head_without_a_person_score_is_refused(make_model):
    with pytest.raises(ValueError, match=r"'EmbeddingHead'.*use 'NormAwareHead'"):
        make_model(**{**NAE, "MODEL__REID_HEAD__NAME": "EmbeddingHead"})


def test_plain_heads_train_a_person_score_too(make_model, train_step):
    """Or its parameters would be missing from the loss, which DDP refuses."""
    model = make_model(**{**NAE, "MODEL__ROI_HEADS__NAME": "PersonSearchROIHeads"})
    losses = train_step(model, [[0, 1]])
    assert losses["loss_reid_person"] > 0
    assert_every_gradient(model, losses)
