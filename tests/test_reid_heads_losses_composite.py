"""Losses by name and weight: which features each one sees, and that processes stay in step."""

from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from detectron2.config import CfgNode
from helpers_processes import run_processes
from torch import nn

from reid_heads.config import add_reid_head_config
from reid_heads.heads.balanced_sum import BalancedSum
from reid_heads.heads.features import HeadFeatures
from reid_heads.labels import UNLABELED_PID
from reid_heads.losses import (
    AttributeLoss,
    CenterLoss,
    CosineSoftmaxLoss,
    OIMLoss,
    ReIDLosses,
    SoftmaxLoss,
    TripletLoss,
)
from reid_heads.losses.intra_class import IntraClassAugmentedLoss
from reid_heads.losses.pairs import PairLoss

P = 4
# As of a head with two metric features and three to classify.
HEAD = SimpleNamespace(embedding_dim=9, metric_dims=(6, 5), classified_dims=(6, 5, 4))
CLASSES = (2, 3)
CLASSIFIERS = ("SOFTMAX", "COSINE_SOFTMAX")
ALL = {
    "OIM": 1.0,
    "SOFTMAX": 2.0,
    "COSINE_SOFTMAX": 0.5,
    "TRIPLET": 3.0,
    "CENTER": 5e-4,
    "ATTRIBUTES": 0.1,
}


def make_cfg(weights=None, **settings):
    cfg = CfgNode({"MODEL": CfgNode()})
    add_reid_head_config(cfg)
    head = cfg.MODEL.REID_HEAD
    head.NUM_IDENTITIES = P
    head.OIM.QUEUE_SIZE = 3
    head.ATTRIBUTES.CLASSES = CLASSES
    for name, weight in {**dict.fromkeys(ALL, 0.0), **(weights or ALL)}.items():
        head.LOSSES[name] = weight
    for key, value in settings.items():
        cfg.merge_from_list(["MODEL.REID_HEAD." + key.replace("__", "."), value])
    return cfg


def make_losses(weights=None, **settings):
    torch.manual_seed(0)
    return ReIDLosses.from_config(make_cfg(weights, **settings), HEAD)


def features_of(count, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def rows(dims):
        return tuple(torch.randn(count, dim, generator=generator) for dim in dims)

    return HeadFeatures(
        rows((HEAD.embedding_dim,))[0], rows(HEAD.metric_dims), rows(HEAD.classified_dims)
    )


def attributes_of(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.randint(-1, n, (count,), generator=generator) for n in CLASSES]
    return torch.stack(columns, dim=1)


PIDS = torch.tensor([0, 0, 1, 1, 3, 3, UNLABELED_PID])


class Constant(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, features, pids, logit_offsets):
        return torch.tensor(self.value)


def test_each_loss_has_its_weight_and_name():
    constants = {"OIM": Constant(3.0), "SOFTMAX": Constant(5.0)}
    losses = ReIDLosses(constants, {"OIM": 2.0, "SOFTMAX": 0.5})
    got = losses(features_of(2), torch.zeros(2, dtype=torch.int64))
    # 2 * 3 and 0.5 * 5.
    assert {name: value.item() for name, value in got.items()} == {
        "loss_reid_oim": 6.0,
        "loss_reid_softmax": 2.5,
    }


def test_weight_zero_is_left_out():
    losses = ReIDLosses(
        {"OIM": Constant(3.0), "SOFTMAX": Constant(5.0)}, {"OIM": 1.0, "SOFTMAX": 0}
    )
    assert list(losses(features_of(2), torch.zeros(2))) == ["loss_reid_oim"]
    built = make_losses({"TRIPLET": 1.0})
    assert list(built.losses) == ["TRIPLET"]
    assert list(built.state_dict()) == []


@pytest.mark.parametrize("name", ALL)
def test_each_loss_sees_the_features_meant_for_it(name):
    losses, x, attributes = make_losses(), features_of(7), attributes_of(7)
    got = losses(x, PIDS, attributes)[f"loss_reid_{name.lower()}"]
    torch.manual_seed(0)
    state = {}
    for module_name, module in make_losses().losses.items():  # as they were before the step
        state[module_name] = module
    module = state[name]
    if name == "OIM":
        expected = module(nn.functional.normalize(x.embeddings), PIDS)
    elif name in CLASSIFIERS:
        expected = module(x.classified, PIDS)
    elif name == "TRIPLET":
        expected = module(x.metric, PIDS)
    elif name == "CENTER":
        expected = (module[0](x.metric[0], PIDS) + module[1](x.metric[1], PIDS)) / 2
    else:
        expected = module(x.metric[0][:6], attributes[:6])
    torch.testing.assert_close(got, ALL[name] * expected)


def test_losses_come_in_the_order_of_the_config():
    """Processes must call them in one order: each may gather."""
    expected = [f"loss_reid_{name.lower()}" for name in ALL]
    assert list(make_losses()(features_of(7), PIDS, attributes_of(7))) == expected


def test_settings_of_the_config_arrive():
    losses = make_losses(
        OIM__SCALE=12.0,
        OIM__MOMENTUM=0.25,
        SOFTMAX__LABEL_SMOOTHING=0.3,
        SOFTMAX__SMOOTHING_OVER="others",
        COSINE_SOFTMAX__SCALE=16.0,
        COSINE_SOFTMAX__LABEL_SMOOTHING=0.1,
        TRIPLET__MARGIN=1.2,
        CENTER__LEARNING_RATE=0.25,
    ).losses
    oim, softmax, cosine = losses["OIM"], losses["SOFTMAX"], losses["COSINE_SOFTMAX"]
    assert isinstance(oim, OIMLoss) and (oim.scale, oim.momentum) == (12.0, 0.25)
    assert oim.table.shape == (P, 9) and oim.queue.shape == (3, 9)
    assert isinstance(softmax, SoftmaxLoss)
    assert softmax.label_smoothing == pytest.approx(0.3 * P / (P - 1))
    assert [w.shape[1] for w in softmax.weights] == [6, 5, 4]
    assert isinstance(cosine, CosineSoftmaxLoss)
    assert (cosine.scale, cosine.margin, cosine.label_smoothing) == (16.0, None, 0.1)
    assert cosine.sub_centers == 1
    assert isinstance(losses["TRIPLET"], TripletLoss) and losses["TRIPLET"].margin == 1.2
    assert [type(x) for x in losses["CENTER"]] == [CenterLoss] * 2
    assert [x.learning_rate for x in losses["CENTER"]] == [0.25] * 2
    assert [x.centers.shape for x in losses["CENTER"]] == [(P, 6), (P, 5)]
    assert isinstance(losses["ATTRIBUTES"], AttributeLoss)
    assert [x.weight.shape for x in losses["ATTRIBUTES"].classifiers] == [(2, 6), (3, 6)]


def test_unlabelled_people_are_nothing_but_negatives_of_oim():
    x, attributes = features_of(7), attributes_of(7)
    some = HeadFeatures(x.embeddings[:6], *(tuple(f[:6] for f in fs) for fs in x[1:3]))
    with_them, without = make_losses(), make_losses()
    first = with_them(x, PIDS, attributes)
    second = without(some, PIDS[:6], attributes[:6])
    for name, value in first.items():
        torch.testing.assert_close(value, second[name])
    assert with_them.losses["OIM"].queue_pointer == 1
    assert without.losses["OIM"].queue_pointer == 0
    for first_center, second_center in zip(
        with_them.losses["CENTER"], without.losses["CENTER"], strict=True
    ):
        torch.testing.assert_close(first_center.centers, second_center.centers)


@pytest.mark.parametrize("pids", [[], [2], [UNLABELED_PID] * 2, [1, 1, 1]])
def test_every_batch_gives_finite_losses_and_every_gradient(pids):
    losses, x = make_losses(), features_of(len(pids))
    leaves = [x.embeddings, *x.metric, *x.classified]
    for leaf in leaves:
        leaf.requires_grad_()
    got = losses(x, torch.tensor(pids, dtype=torch.int64), attributes_of(len(pids)))
    assert len(got) == len(ALL)
    for name, value in got.items():
        assert value.shape == () and torch.isfinite(value), name
        assert (value == 0) == (set(pids) <= {UNLABELED_PID} or name == "loss_reid_triplet"), name
    sum(got.values()).backward()
    for leaf in [*leaves, *losses.parameters()]:
        assert leaf.grad is not None and torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("place", ["embeddings", "metric", "classified"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_refused_and_leave_no_trace(name, place, bad):
    """A NaN in the table of OIM or in a center would stay there for good."""
    losses, x = make_losses({name: 1.0}), features_of(7)
    before = {key: state.clone() for key, state in losses.state_dict().items()}
    rows = x.embeddings if place == "embeddings" else getattr(x, place)[-1]
    rows[2, 1] = bad
    with pytest.raises(FloatingPointError, match=r"NaN or infinity.*SOLVER\.BASE_LR"):
        losses(x, PIDS, attributes_of(7))
    for key, state in losses.state_dict().items():
        assert torch.equal(state, before[key]), key


@pytest.mark.parametrize("name", ["OIM", *CLASSIFIERS, "CENTER"])
def test_id_out_of_range_is_refused(name):
    losses = make_losses({name: 1.0})
    with pytest.raises(ValueError, match=r"5555.*0\.\.3.*MODEL\.REID_HEAD\.NUM_IDENTITIES"):
        losses(features_of(2), torch.tensor([0, 5555]))


def test_missing_attributes_are_refused():
    with pytest.raises(ValueError, match=r"LOSSES\.ATTRIBUTES is on.*no attributes"):
        make_losses({"ATTRIBUTES": 1.0})(features_of(7), PIDS)


def test_unknown_loss_is_refused():
    cfg = make_cfg()
    cfg.MODEL.REID_HEAD.LOSSES = CfgNode({"OIM": 1.0, "TRIPLETT": 1.0})
    with pytest.raises(
        ValueError, match=r"names \['TRIPLETT'\]; known losses are \['ATTRIBUTES', 'CENTER'"
    ):
        ReIDLosses.from_config(cfg, HEAD)
    cfg.MODEL.REID_HEAD.LOSSES = CfgNode({"OIM": 1.0, "TRIPLETT": 0.0})
    assert list(ReIDLosses.from_config(cfg, HEAD).losses) == ["OIM"]


@pytest.mark.parametrize("name", ["OIM", *CLASSIFIERS, "CENTER"])
def test_unset_number_of_identities_is_refused(name):
    """The default is 0: the message must lead to the key."""
    with pytest.raises(ValueError, match="num_identities=0"):
        make_losses({name: 1.0}, NUM_IDENTITIES=0)


def test_unset_attribute_classes_are_refused():
    with pytest.raises(ValueError, match=r"ATTRIBUTES\.CLASSES"):
        make_losses({"ATTRIBUTES": 1.0}, ATTRIBUTES__CLASSES=())


def test_bfloat16_features_give_float32_losses():
    losses, x, attributes = make_losses(), features_of(7), attributes_of(7)
    expected = make_losses()(x, PIDS, attributes)
    low = HeadFeatures(x.embeddings.bfloat16(), *(tuple(f.bfloat16() for f in fs) for fs in x[1:3]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = losses(low, PIDS, attributes)
    for name, value in got.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected[name], rtol=0.05, atol=0.01)


# Rows on rank 0 and rank 1 in each step: unequal, one empty, the other empty, both empty.
ROWS = [(3, 5), (0, 4), (2, 0), (0, 0), (6, 6)]
# Each process searches its own triplets.
JOINED = {name: weight for name, weight in ALL.items() if name != "TRIPLET"}


def _batch(step, rank):
    count, seed = ROWS[step][rank], 20 * step + rank
    generator = torch.Generator().manual_seed(seed)
    pids = torch.randint(UNLABELED_PID, P, (count,), generator=generator)
    return features_of(count, seed), pids, attributes_of(count, seed)


def _join(first, second):
    x, y = first[0], second[0]
    fields = [
        tuple(torch.cat(pair) for pair in zip(a, b, strict=True))
        for a, b in zip(x[1:3], y[1:3], strict=True)
    ]
    features = HeadFeatures(torch.cat([x.embeddings, y.embeddings]), *fields)
    return features, torch.cat([first[1], second[1]]), torch.cat([first[2], second[2]])


def _steps(batches):
    """Train the classifiers; return the losses and the whole state."""
    losses = make_losses(JOINED, LOGIT_ADJUSTMENT=0.5)
    losses.set_identity_counts(torch.tensor([1, 2, 3, 10]))
    optimizer = torch.optim.SGD(losses.parameters(), lr=0.5)
    history = []
    for batch in batches:
        values = losses(*batch)
        optimizer.zero_grad()
        sum(values.values()).backward()
        if dist.is_initialized():
            for parameter in losses.parameters():
                dist.all_reduce(parameter.grad)
                parameter.grad /= dist.get_world_size()
        optimizer.step()
        history.append({name: value.detach() for name, value in values.items()})
    return {"history": history, "state": losses.state_dict()}


def _steps_of_rank(rank):
    return _steps([_batch(step, rank) for step in range(len(ROWS))])


def test_two_processes_equal_one_with_the_joined_batch():
    first, second = run_processes(_steps_of_rank, 2)
    alone = _steps([_join(_batch(step, 0), _batch(step, 1)) for step in range(len(ROWS))])
    for step, expected in enumerate(alone["history"]):
        for name, value in expected.items():
            mean = (first["history"][step][name] + second["history"][step][name]) / 2
            torch.testing.assert_close(mean, value, msg=f"{name} in step {step}")
    for name, value in alone["state"].items():
        assert torch.equal(first["state"][name], second["state"][name]), name
        # Weight vectors of cosines grow long at this rate; only their directions count.
        scale = value.abs().max().item()
        torch.testing.assert_close(
            first["state"][name], value, rtol=1e-5, atol=1e-6 * scale, msg=name
        )


MEMBERS = ("SOFTMAX", "TRIPLET", "MULTI_SIMILARITY")


def test_an_ensemble_is_the_balanced_sum_of_its_members():
    losses = make_losses({"ENSEMBLE": 2.0}, ENSEMBLE__MEMBERS=str(MEMBERS))
    ensemble, x = losses.losses["ENSEMBLE"], features_of(7)
    assert list(ensemble.members) == list(MEMBERS)
    values = [
        ensemble.members["SOFTMAX"](x.classified, PIDS),
        ensemble.members["TRIPLET"](x.metric, PIDS),
        ensemble.members["MULTI_SIMILARITY"](x.metric, PIDS),
    ]
    expected = 2 * BalancedSum(3)(values)
    got = losses(x, PIDS)
    assert list(got) == ["loss_reid_ensemble"]
    torch.testing.assert_close(got["loss_reid_ensemble"], expected)


@pytest.mark.parametrize("members", [(), ("ENSEMBLE",), ("TRIPLET", "TRIPLET"), ("NONE",)])
def test_bad_ensembles_name_the_key(members):
    with pytest.raises(ValueError, match=r"MODEL\.REID_HEAD\.(ENSEMBLE|LOSSES)"):
        make_losses({"ENSEMBLE": 1.0}, ENSEMBLE__MEMBERS=str(members))


@pytest.mark.parametrize("copies", [0, 2])
@pytest.mark.parametrize("name", ["CONTRASTIVE", "HARDEST_NEGATIVE_TRIPLET", "MULTI_SIMILARITY"])
def test_pair_losses_are_augmented_on_request(name, copies):
    losses, x = make_losses({name: 1.0}, INTRA_CLASS__COPIES=copies), features_of(7)
    loss = losses.losses[name]
    assert isinstance(loss, IntraClassAugmentedLoss) == (copies > 0)
    losses.eval()
    expected = PairLoss(loss.compare)(x.metric, PIDS)
    torch.testing.assert_close(losses(x, PIDS)[f"loss_reid_{name.lower()}"], expected)
