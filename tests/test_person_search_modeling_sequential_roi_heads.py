"""Sequential heads: the first one's boxes feed the second; scores, suppression, given boxes."""

import pytest
import torch
from conftest import assert_every_gradient
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from person_search.modeling.sequential_roi_heads import _as_proposals
from reid_heads.labels import UNLABELED_PID

SEQNET = {
    "MODEL__ROI_HEADS__NAME": "SequentialROIHeads",
    "MODEL__REID_HEAD__NAME": "NormAwareHead",
    "MODEL__REID_HEAD__POOLING": "max",
}
BNNECK = {**SEQNET, "MODEL__REID_HEAD__NAME": "BNNeckHead"}
SIZE = (96, 160)
BATCHES = {
    "persons": [[0, 1, 2], [3, 0]],
    "no persons": [[], []],
    "mixed, empty last": [[1, UNLABELED_PID], []],
    "one person": [[2], []],
}
# A tenth of the width to the right, for every box.
SHIFT = [1.0, 0.0, 0.0, 0.0]


def shift(boxes, share=0.1):
    width = boxes[:, 2] - boxes[:, 0]
    moved = boxes + share * torch.stack([width, 0 * width, width, 0 * width], dim=1)
    limit = torch.tensor([SIZE[1], SIZE[0]] * 2)
    return torch.minimum(moved.clamp(min=0), limit)


def shift_first(model):
    with torch.no_grad():
        model.roi_heads.box_predictor.bbox_pred.weight.zero_()
        model.roi_heads.box_predictor.bbox_pred.bias.copy_(torch.tensor(SHIFT))


def shift_second(model):
    with torch.no_grad():
        model.roi_heads.box_refiner.norm.weight.zero_()
        model.roi_heads.box_refiner.norm.bias.copy_(torch.tensor(SHIFT))


@pytest.mark.parametrize("head", [SEQNET, BNNECK], ids=["norm", "bnneck"])
def test_every_batch_gives_finite_losses_and_every_gradient(head, make_model, train_step):
    model = make_model(**head)
    expected = {"loss_cls", "loss_box_reg", "loss_rpn_cls", "loss_rpn_loc"}
    expected |= {"loss_reid_oim", "loss_reid_box_reg"}
    expected |= {"loss_reid_person"} if head is SEQNET else set()
    for name, pids in BATCHES.items():
        model.zero_grad()
        losses = train_step(model, pids)
        assert set(losses) == expected
        has_people = any(pid >= 0 for frame in pids for pid in frame)
        assert (losses["loss_reid_oim"] > 0) == has_people, name
        assert (losses["loss_reid_box_reg"] > 0) == has_people, name
        assert_every_gradient(model, losses)


def test_no_proposals_and_no_people(make_model, make_instances, make_input):
    """Nothing is left to embed: the losses are 0, and still of every parameter."""
    model = make_model(**SEQNET)
    heads = model.roi_heads
    features = model.backbone(model.preprocess_image([make_input([])]).tensor)
    nothing = Instances(SIZE, proposal_boxes=Boxes(torch.zeros(0, 4)))
    with EventStorage():
        losses = heads._forward_identity(features, [nothing], [make_instances([], [])])
    assert {k: v.item() for k, v in losses.items()} == {
        "loss_reid_oim": 0,
        "loss_reid_person": 0,
        "loss_reid_box_reg": 0,
    }
    sum(losses.values()).backward()
    for module in (heads.identity_branch, heads.box_refiner):
        assert all(p.grad is not None for p in module.parameters())


@pytest.mark.parametrize("kind", ["fpn", "c4"])
def test_two_steps_of_training(kind, make_model, train_step):
    model = make_model(kind, **SEQNET)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    for _ in range(2):
        losses = train_step(model, [[0, 1], [2]])
        optimizer.zero_grad()
        assert_every_gradient(model, losses)
        optimizer.step()


def test_save_and_load(make_model, train_step, make_input):
    model, other = (make_model(**SEQNET, MODEL__ROI_HEADS__SCORE_THRESH_TEST=0.0) for _ in range(2))
    train_step(model, [[0, 1], [2]])
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        first, second = (m.eval()([make_input([3, 1])])[0]["instances"] for m in (model, other))
    assert len(first) > 0
    for name in ("scores", "embeddings"):
        assert torch.equal(first.get(name), second.get(name)), name
    assert torch.equal(first.pred_boxes.tensor, second.pred_boxes.tensor)


def test_boxes_of_the_first_head_feed_the_second(make_model, train_step, monkeypatch):
    model = make_model(**SEQNET)
    shift_first(model)
    heads = model.roi_heads
    calls = []

    def sample(proposals, targets):
        given = [x.proposal_boxes.tensor.clone() for x in proposals]
        sampled = type(heads).label_and_sample_proposals(heads, proposals, targets)
        # The first head writes its boxes into what it was given.
        calls.append((given, [x.proposal_boxes.tensor.clone() for x in sampled], sampled))
        return sampled

    monkeypatch.setattr(heads, "label_and_sample_proposals", sample)
    embedded = []
    heads.identity_branch.pooler.register_forward_pre_hook(lambda _, args: embedded.extend(args[1]))
    train_step(model, [[0, 1, 2], [3]])
    (_, first_boxes, _), (refined, second_boxes, second) = calls
    for before, after in zip(first_boxes, refined, strict=True):
        moved = shift(before)
        moved = moved[(moved[:, 2] > moved[:, 0]) & (moved[:, 3] > moved[:, 1])]
        torch.testing.assert_close(after, moved, rtol=1e-4, atol=1e-3)
    for boxes, given, sampled in zip(embedded, second_boxes, second, strict=True):
        people, rest = given[sampled.gt_classes == 0], given[sampled.gt_classes == 1]
        assert len(people) > 0 and len(rest) > 0
        assert torch.equal(boxes.tensor, torch.cat([people, rest]))


def test_people_alone_feed_a_head_without_a_person_score(make_model, train_step):
    model = make_model(**BNNECK, MODEL__PERSON_SEARCH__IDENTITY_BRANCH__BOXES_PER_PERSON=1)
    embedded = []
    model.roi_heads.identity_branch.pooler.register_forward_pre_hook(
        lambda _, args: embedded.extend(args[1])
    )
    train_step(model, [[0, 1, 2], [3]])
    assert [len(b) for b in embedded] == [3, 1], "each person's true box"


def gradient(module):
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    return sum(float(g.abs().sum()) for g in grads)


def test_the_second_heads_losses_do_not_reach_the_first(make_model, train_step):
    model = make_model(**SEQNET)
    # OIM's table is empty before the first step, and gives no gradient.
    train_step(model, [[0, 1, 2], [3]])
    losses = train_step(model, [[0, 1, 2], [3]])
    heads = model.roi_heads
    for name in ("loss_reid_oim", "loss_reid_person", "loss_reid_box_reg"):
        model.zero_grad()
        losses[name].backward(retain_graph=True)
        assert gradient(heads.box_head) == gradient(heads.box_predictor) == 0, name
        assert gradient(model.proposal_generator) == 0, name
        assert gradient(heads.identity_branch.body) > 0, name
        assert gradient(model.backbone) > 0, name
        assert (gradient(heads.box_refiner) > 0) == (name == "loss_reid_box_reg")


def test_the_first_heads_losses_do_not_reach_the_second(make_model, train_step):
    model = make_model(**SEQNET)
    losses = train_step(model, [[0, 1, 2], [3]])
    (losses["loss_cls"] + losses["loss_box_reg"]).backward()
    heads = model.roi_heads
    assert gradient(heads.identity_branch) == gradient(heads.box_refiner) == 0
    assert gradient(heads.box_head) > 0 and gradient(model.backbone) > 0


def test_box_loss_counts_the_sampled_background(make_model, train_step, monkeypatch):
    """Whether or not background is embedded."""
    for head in (SEQNET, BNNECK):
        model = make_model(**head)
        heads, seen = model.roi_heads, {}

        def sample(proposals, targets, heads=heads, seen=seen):
            seen["sampled"] = type(heads).label_and_sample_proposals(heads, proposals, targets)
            return seen["sampled"]

        def loss(*args, num_sampled, heads=heads, seen=seen):
            seen["divisor"] = num_sampled
            return type(heads.box_refiner).loss(heads.box_refiner, *args, num_sampled=num_sampled)

        monkeypatch.setattr(heads, "label_and_sample_proposals", sample)
        monkeypatch.setattr(heads.box_refiner, "loss", loss)
        train_step(model, [[0, 1], [3]])
        assert seen["divisor"] == sum(len(x) for x in seen["sampled"]) > 0


def test_broken_boxes_are_not_proposals():
    inf, nan = float("inf"), float("nan")
    boxes = [[-5.0, 10, 30, 200], [10, 10, 10, 50], [170, 10, 190, 50], [0, 0, inf, 9], [nan] * 4]
    labelled = Instances(SIZE, proposal_boxes=Boxes(torch.tensor(boxes)), gt_classes=torch.zeros(5))
    proposals = _as_proposals(labelled)
    assert proposals.proposal_boxes.tensor.tolist() == [[0, 10, 30, 96]]
    assert set(proposals.get_fields()) == {"proposal_boxes", "objectness_logits"}


@pytest.fixture
def frame(make_input):
    image = make_input([0, 1, 2])
    del image["instances"]
    return image


@pytest.fixture
def model(make_model):
    model = make_model(**SEQNET, MODEL__ROI_HEADS__SCORE_THRESH_TEST=0.0).eval()
    shift_second(model)
    return model


def run(model, inputs):
    with torch.no_grad():
        return model(inputs)


def first_detections(model, frame):
    """The first head's, in resized pixels, and the maps they came from."""
    with torch.no_grad():
        images = model.preprocess_image([frame])
        features = model.backbone(images.tensor)
        proposals, _ = model.proposal_generator(images, features, None)
        return model.roi_heads._forward_box(features, proposals)[0], features


def test_detections_are_corrected_and_keep_the_first_heads_score(model, frame):
    model.roi_heads.refined_nms_thresh = 1.0
    first, features = first_detections(model, frame)
    found = run(model, [frame])[0]["instances"]
    moved = shift(first.pred_boxes.tensor)
    # What is empty at the border now, is dropped at the end.
    kept = Boxes(moved).nonempty()
    torch.testing.assert_close(found.pred_boxes.tensor, moved[kept], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found.scores, first.scores[kept])
    # Embeddings are of the boxes before the correction: one pooling for both.
    with torch.no_grad():
        (expected,) = model.roi_heads.embed(features, [first.pred_boxes])
    torch.testing.assert_close(found.embeddings, expected[kept], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.embeddings.norm(dim=1), torch.ones(len(found)))
    assert set(found.get_fields()) == {"pred_boxes", "scores", "pred_classes", "embeddings"}


def test_of_corrected_boxes_that_overlap_the_best_stays(model, frame, monkeypatch):
    first, features = first_detections(model, frame)
    boxes = torch.tensor([[10.0, 10, 30, 60], [80, 20, 100, 70]])
    place = torch.arange(len(first)) % 2
    monkeypatch.setattr(model.roi_heads.box_refiner, "refine", lambda *_: boxes[place])
    found = run(model, [frame])[0]["instances"]
    assert len(first) > 2
    assert torch.equal(found.pred_boxes.tensor, boxes)
    torch.testing.assert_close(found.scores, first.scores[:2])
    with torch.no_grad():
        (expected,) = model.roi_heads.embed(features, [first.pred_boxes[:2]])
    torch.testing.assert_close(found.embeddings, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("threshold", "expected"), [(0.5, 2), (0.3, 1)])
def test_the_second_suppression_has_a_threshold_of_its_own(
    threshold, expected, make_model, frame, monkeypatch
):
    model = make_model(
        **SEQNET,
        MODEL__ROI_HEADS__SCORE_THRESH_TEST=0.0,
        MODEL__PERSON_SEARCH__SEQUENTIAL__NMS_THRESH_TEST=threshold,
    ).eval()
    # Their IoU is 6 / 14 = 0.43.
    boxes = torch.tensor([[10.0, 10, 20, 60], [14, 10, 24, 60]])
    monkeypatch.setattr(
        model.roi_heads.box_refiner, "refine", lambda _, given: boxes[torch.arange(len(given)) % 2]
    )
    assert len(run(model, [frame])[0]["instances"]) == expected


def test_given_boxes_and_queries_stay_as_they_are(model, frame):
    boxes = torch.tensor([[50.0, 20, 75, 80], [10, 10, 30, 60]])
    given = Instances(
        SIZE,
        pred_boxes=Boxes(boxes),
        scores=torch.tensor([0.25, 1.0]),
        pred_classes=torch.zeros(2, dtype=torch.int64),
    )
    queries = Instances(SIZE, pred_boxes=Boxes(boxes), query_ids=torch.arange(2))
    (output,) = run(model, [{**frame, "given_boxes": given, "queries": queries}])
    for found in (output["instances"], output["queries"]):
        assert torch.equal(found.pred_boxes.tensor, boxes)
        torch.testing.assert_close(found.embeddings.norm(dim=1), torch.ones(2))
    assert output["instances"].scores.tolist() == [0.25, 1]
    torch.testing.assert_close(output["instances"].embeddings, output["queries"].embeddings)


def beside_by_hand(boxes, scores, query, threshold, limit):
    """SeqNet's rule, box by box: the query goes first, and whom it suppresses suppresses nobody."""
    kept, chosen = [], [query]
    for row in sorted(range(len(boxes)), key=lambda row: -scores[row]):
        if all(iou_by_hand(boxes[row], other) <= threshold for other in chosen):
            kept.append(row)
            chosen.append(boxes[row])
    return kept[: limit - 1]


def iou_by_hand(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


@pytest.mark.parametrize("limit", [100, 3])
def test_a_query_takes_part_in_the_suppression_of_its_frame(limit, model, frame, monkeypatch):
    """Beside the query (0, 0, 20, 50) stands (14, 0, 34, 50), whom (7, 0, 27, 50) hides otherwise.

    Neighbours of 20 pixels that lie 7 apart have an IoU of 13 / 27 = 0.48.
    """
    heads = model.roi_heads
    heads.refined_nms_thresh = 0.45
    heads.box_predictor.test_topk_per_image = limit
    near = torch.tensor([[7.0, 0, 27, 50], [14, 0, 34, 50], [90, 5, 120, 75]])
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(200, 2, generator=generator) * torch.tensor([90.0, 40])
    spread = torch.cat([corner, corner + 15 + 25 * torch.rand(200, 2, generator=generator)], dim=1)
    queries = Boxes(torch.tensor([[0.0, 0, 20, 50], [60, 20, 90, 60], [200, 0, 220, 50]]))
    for boxes in (near, spread):
        scores = torch.linspace(1, 0.1, len(boxes))
        candidates = Instances(
            SIZE,
            pred_boxes=Boxes(boxes),
            scores=scores,
            pred_classes=torch.zeros(len(boxes), dtype=torch.int64),
            embeddings=torch.arange(len(boxes)).float()[:, None],
        )
        monkeypatch.setattr(heads, "_search", lambda *_, found=candidates: [found])
        asked = Instances(SIZE, pred_boxes=queries)
        (found,), told = heads(None, *inputs_of(model, frame), [asked])
        assert found.scores.tolist() == heads._suppress(candidates).scores.tolist()
        for query, people in zip(queries.tensor.tolist(), told["context"][0], strict=True):
            expected = beside_by_hand(boxes.tolist(), scores.tolist(), query, 0.45, limit)
            assert people.embeddings.flatten().tolist() == expected
    assert heads(None, *inputs_of(model, frame), [None])[1] == {"context": [[]]}


def inputs_of(model, frame):
    with torch.no_grad():
        images = model.preprocess_image([frame])
        features = model.backbone(images.tensor)
        return features, model.proposal_generator(images, features, None)[0]


def test_who_stands_beside_a_query_comes_in_original_pixels(model, frame, make_input):
    other = make_input([3], seed=5)
    del other["instances"]
    boxes = Boxes(torch.tensor([[50.0, 20, 75, 80], [10, 10, 30, 60]]))
    asked = {
        **frame,
        "height": 2 * SIZE[0],
        "width": 2 * SIZE[1],
        "queries": Instances(SIZE, pred_boxes=boxes, query_ids=torch.tensor([7, 4])),
    }
    without, output = run(model, [other, asked])
    assert "context" not in without
    assert list(output["context"]) == [7, 4]
    people = output["context"][7]
    assert people.pred_boxes.tensor.max() > SIZE[1]
    torch.testing.assert_close(people.embeddings.norm(dim=1), torch.ones(len(people)))
    # Without the query's own place, they are the frame's detections.
    far = {**asked, "queries": Instances(SIZE, pred_boxes=Boxes(torch.tensor([[0.0, 0, 1, 1]])))}
    far["queries"].query_ids = torch.tensor([0])
    _, output = run(model, [other, far])
    assert torch.equal(
        output["context"][0].pred_boxes.tensor, output["instances"].pred_boxes.tensor
    )


def test_a_batch_of_frames_is_split_again(model, frame, make_input):
    other = make_input([3], seed=5)
    del other["instances"]
    model.roi_heads.refined_nms_thresh = 1.0
    both = [x["instances"] for x in run(model, [frame, other])]
    alone = [run(model, [x])[0]["instances"] for x in (frame, other)]
    for found, expected in zip(both, alone, strict=True):
        torch.testing.assert_close(
            found.pred_boxes.tensor, expected.pred_boxes.tensor, rtol=1e-3, atol=1e-2
        )
        torch.testing.assert_close(found.embeddings, expected.embeddings, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["fpn", "c4"])
def test_no_detections(kind, make_model, frame):
    model = make_model(kind, **SEQNET, MODEL__ROI_HEADS__SCORE_THRESH_TEST=1.1).eval()
    (output,) = run(model, [frame])
    assert output["instances"].embeddings.shape == (0, 16)
    assert output["instances"].pred_boxes.tensor.shape == (0, 4)


def test_sixteen_iterations_on_toy_scenes_lower_the_losses(make_model, make_input):
    model = make_model(**SEQNET)
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3)
    people = [[0, 1, 2], [2, 3], [1, 3, 0], [0, 2]]
    batches = [[make_input(p, seed=i)] for i, p in enumerate(people)]
    history = []
    with EventStorage():
        for iteration in range(16):
            losses = model(batches[iteration % 4])
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
            history.append({name: loss.item() for name, loss in losses.items()})

    def mean(name, rows):
        return sum(row[name] for row in rows) / len(rows)

    for name, share in {"loss_cls": 0.8, "loss_reid_oim": 0.3}.items():
        assert mean(name, history[-8:]) < share * mean(name, history[:8]), name
