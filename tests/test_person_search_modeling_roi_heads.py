"""Training of the whole model: what reaches the identity losses, and that every step is sound."""

import pytest
import torch
from conftest import assert_every_gradient
from detectron2.structures import pairwise_iou
from detectron2.utils.events import EventStorage

from reid_heads.labels import UNLABELED_PID
from reid_heads.losses.cosine_softmax import MARGINS

BATCHES = {
    "persons": [[0, 1, 2], [3, 0]],
    "no persons": [[], []],
    "mixed": [[], [1, 2]],
    "mixed, empty last": [[1, UNLABELED_PID], []],
    "only unlabelled": [[UNLABELED_PID] * 2, [UNLABELED_PID]],
    "one person": [[2], []],
    "one unlabelled person": [[], [UNLABELED_PID]],
}

CLASSIFIERS = ("SOFTMAX", "COSINE_SOFTMAX")
CROP_LOSSES = (*CLASSIFIERS, "TRIPLET", "CENTER")


@pytest.fixture
def train_on_batches(train_step):
    """Train one model on every batch; give its name, whether anybody in it is labelled, the losses.

    Each parameter must get its gradient from each batch. Building a model takes longer than a step.
    """

    def train(model, names=tuple(BATCHES)):
        for name in names:
            model.zero_grad()
            losses = train_step(model, BATCHES[name])
            has_labelled = any(pid >= 0 for frame in BATCHES[name] for pid in frame)
            yield name, has_labelled, losses
            assert_every_gradient(model, losses)

    return train


@pytest.mark.parametrize("kind", ["fpn", "c4"])
def test_every_batch_gives_finite_losses_and_every_gradient(kind, make_model, train_on_batches):
    """Images without people yield proposals without gt_pids and gt_boxes (trap 2), one person a
    batch of one row (trap 7); DDP wants every parameter in the graph in any case (trap 5)."""
    for name, has_labelled, losses in train_on_batches(make_model(kind)):
        assert set(losses) == {
            "loss_cls",
            "loss_box_reg",
            "loss_rpn_cls",
            "loss_rpn_loc",
            "loss_reid_oim",
        }
        assert (losses["loss_reid_oim"] > 0) == has_labelled, name


def test_exactly_one_row_reaches_the_identity_branch(make_model, train_step):
    """BatchNorm1d in train mode raises on one row (trap 7): one person, few proposals."""
    model = make_model(MODEL__ROI_HEADS__BATCH_SIZE_PER_IMAGE=2)
    rows = []
    model.roi_heads.identity_losses.register_forward_pre_hook(
        lambda module, args: rows.append(len(args[1]))
    )
    losses = train_step(model, [[2]])
    assert rows == [1]
    assert torch.isfinite(losses["loss_reid_oim"])


@pytest.mark.parametrize("kind", ["fpn", "c4"])
def test_backgrounds_carry_no_identity(kind, make_model, make_input, train_step, monkeypatch):
    """label_and_sample_proposals gives background proposals a real gt_pids too (trap 1)."""
    model = make_model(kind)
    heads = model.roi_heads
    seen = {}

    def spy_pool(features, boxes):
        seen["boxes"] = boxes
        return type(heads.identity_branch).forward(heads.identity_branch, features, boxes)

    def spy_losses(people, pids):
        seen["rows"], seen["pids"] = len(people.embeddings), pids
        return type(heads.identity_losses).forward(heads.identity_losses, people, pids)

    def spy_sample(proposals, targets):
        seen["sampled"] = type(heads).label_and_sample_proposals(heads, proposals, targets)
        return seen["sampled"]

    monkeypatch.setattr(heads.identity_branch, "forward", spy_pool)
    monkeypatch.setattr(heads.identity_losses, "forward", spy_losses)
    monkeypatch.setattr(heads, "label_and_sample_proposals", spy_sample)
    people = [[3, UNLABELED_PID, 1], [], [0]]
    train_step(model, people)

    background = sum(int((x.gt_classes == 1).sum()) for x in seen["sampled"])
    assert background > 0 and seen["sampled"][0].has("gt_pids"), "the trap is not there to avoid"
    foreground = [x[x.gt_classes == 0] for x in seen["sampled"]]
    assert seen["rows"] == sum(len(x) for x in foreground)
    expected = []
    # Drawn as for the step.
    frames = [make_input(p, seed=i)["instances"] for i, p in enumerate(people)]
    for targets, boxes, sampled in zip(frames, seen["boxes"], foreground, strict=True):
        assert torch.equal(boxes.tensor, sampled.proposal_boxes.tensor)
        if len(boxes) == 0:
            continue
        overlap, nearest = pairwise_iou(boxes, targets.gt_boxes).max(dim=1)
        assert (overlap >= 0.5).all()
        expected += targets.gt_pids[nearest].tolist()
    assert seen["pids"].tolist() == expected
    assert set(expected) == {3, UNLABELED_PID, 1, 0}, "true boxes are among the proposals"


def test_training_does_not_change_the_targets(make_model, make_input):
    model = make_model()
    image = make_input([0, 1])
    boxes = image["instances"].gt_boxes.tensor.clone()
    with EventStorage():
        model([image])
    assert torch.equal(image["instances"].gt_boxes.tensor, boxes)
    assert set(image["instances"].get_fields()) == {"gt_boxes", "gt_classes", "gt_pids"}


def test_twelve_iterations_on_toy_scenes_lower_the_losses(make_model, make_input):
    model = make_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    people = [[0, 1, 2], [2, 3], [1, 3, 0], [0, 2]]
    batches = [
        [make_input(people[i], seed=i), make_input(people[j], seed=j)] for i, j in [(0, 1), (2, 3)]
    ]
    history = []
    with EventStorage():
        for iteration in range(12):
            losses = model(batches[iteration % 2])
            optimizer.zero_grad()
            sum(losses.values()).backward()
            optimizer.step()
            history.append({name: loss.item() for name, loss in losses.items()})

    def mean(name, rows):
        return sum(row[name] for row in rows) / len(rows)

    for name in ("loss_rpn_cls", "loss_cls", "loss_reid_oim"):
        assert mean(name, history[-4:]) < 0.7 * mean(name, history[:4]), name


def test_losses_of_crops_train_people_in_scenes(make_model, train_on_batches):
    """Every parameter, the classifiers' too, takes part in any batch, as DDP wants (trap 5)."""
    weights = {f"MODEL__REID_HEAD__LOSSES__{x}": 0.5 for x in CROP_LOSSES}
    model = make_model(**weights, MODEL__REID_HEAD__LOSSES__OIM=0.0)
    for batch, has_labelled, losses in train_on_batches(model):
        reid = {name: loss for name, loss in losses.items() if name.startswith("loss_reid")}
        assert list(reid) == [f"loss_reid_{name.lower()}" for name in CROP_LOSSES]
        for name in [f"loss_reid_{name.lower()}" for name in (*CLASSIFIERS, "CENTER")]:
            assert torch.isfinite(reid[name]), (batch, name)
            assert (reid[name] > 0) == has_labelled, (batch, name)


@pytest.mark.parametrize("margin", MARGINS)
def test_every_margin_trains_people_in_scenes(margin, make_model, train_on_batches):
    model = make_model(
        MODEL__REID_HEAD__LOSSES__OIM=0.0,
        MODEL__REID_HEAD__LOSSES__COSINE_SOFTMAX=0.5,
        MODEL__REID_HEAD__COSINE_SOFTMAX__SUB_CENTERS=2,
        MODEL__REID_HEAD__COSINE_SOFTMAX__MARGIN__NAME=margin,
    )
    for name, _, losses in train_on_batches(
        model, ("no persons", "mixed, empty last", "one person")
    ):
        assert (losses["loss_reid_cosine_softmax"] > 0) == (name != "no persons")


BRANCH = "MODEL__PERSON_SEARCH__IDENTITY_BRANCH__"
STL = {
    BRANCH + "IN_FEATURES": ["res2", "res3", "res4"],
    BRANCH + "BODY": "res3+res4+res5",
    BRANCH + "LAST_STRIDE": 1,
    BRANCH + "BOXES_PER_PERSON": 2,
    "MODEL__REID_HEAD__NAME": "BNNeckHead",
    **{f"MODEL__REID_HEAD__LOSSES__{x}": 0.5 for x in CROP_LOSSES},
}


@pytest.mark.parametrize(
    "fusion",
    # The poolings of the others have quick tests of the same.
    ["attention", *(pytest.param(x, marks=pytest.mark.slow) for x in ("sum", "concat"))],
)
def test_fused_levels_and_own_stages_train_in_any_batch(fusion, make_model, train_on_batches):
    trained = train_on_batches(make_model(**STL, **{BRANCH + "FUSION": fusion}))
    assert [name for name, _, _ in trained] == list(BATCHES)


@pytest.mark.parametrize("overrides", [{}, STL], ids=["baseline", "stl"])
def test_boxes_without_area_give_finite_losses(overrides, make_model, make_input):
    """The mapper drops them; a model that gets them all the same must not become NaN."""
    model = make_model(**overrides)
    inputs = [make_input([0, 1], seed=0), make_input([2], seed=1)]
    for x in inputs:
        boxes = x["instances"].gt_boxes.tensor
        boxes[0, 2:] = boxes[0, :2]
    with EventStorage():
        losses = model(inputs)
    # The regression target of a box without width is the logarithm of zero: detectron2's own loss.
    identity = {name: loss for name, loss in losses.items() if name.startswith("loss_reid")}
    assert identity and all(torch.isfinite(loss) for loss in identity.values())
    sum(identity.values()).backward()
    branch = model.roi_heads.identity_branch
    assert all(torch.isfinite(p.grad).all() for p in branch.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("ATTRIBUTES", "attributes"),
        ("HETERO_CENTER_TRIPLET", "modalities"),
        ("MMD_ID", "modalities"),
        ("MMD", "modalities"),
        ("DOMAIN_SOFTMAX", "domains"),
        ("DOMAIN_TRIPLET", "domains"),
    ],
)
def test_losses_on_what_people_in_frames_do_not_have_are_refused(name, needed, make_model):
    """LOSSES.MMD 1.0 failed at the first batch only, after the data was read."""
    with pytest.raises(ValueError, match=rf"{name} needs {needed}, which the batches of this"):
        make_model(**{f"MODEL__REID_HEAD__LOSSES__{name}": 1.0})


def test_members_of_an_ensemble_are_refused_likewise(make_model):
    with pytest.raises(ValueError, match="MMD needs modalities"):
        make_model(
            MODEL__REID_HEAD__LOSSES__ENSEMBLE=1.0,
            MODEL__REID_HEAD__ENSEMBLE__MEMBERS=("SOFTMAX", "MMD"),
        )


def test_weight_zero_is_not_computed(make_model, train_step):
    model = make_model(MODEL__REID_HEAD__LOSSES__OIM=0.0)
    assert len(model.roi_heads.identity_losses.losses) == 0
    losses = train_step(model, [[0, 1]])
    assert "loss_reid_oim" not in losses


def test_weight_scales_the_loss(make_model, train_step):
    plain = train_step(make_model(), [[0, 1]])["loss_reid_oim"]
    tripled = train_step(make_model(MODEL__REID_HEAD__LOSSES__OIM=3.0), [[0, 1]])
    torch.testing.assert_close(tripled["loss_reid_oim"], 3 * plain)


def test_id_outside_the_config_is_refused(make_model, train_step):
    with pytest.raises(ValueError, match="NUM_IDENTITIES"):
        train_step(make_model(), [[0, 4]])


def test_identity_memory_travels_with_the_weights(make_model, train_step):
    model = make_model()
    train_step(model, [[0, UNLABELED_PID]])
    state = model.state_dict()
    prefix = "roi_heads.identity_losses.losses.OIM."
    assert state[prefix + "table"][0].norm() > 0
    assert state[prefix + "queue_pointer"] > 0
    assert prefix + "queue" in state
