"""Losses within each training set against loops over the sets."""

import itertools
import math

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from detectron2.config import CfgNode
from helpers_processes import run_processes
from test_reid_heads_losses_composite import HEAD, features_of

from reid_heads.config import add_reid_head_config
from reid_heads.labels import UNLABELED_PID
from reid_heads.losses import ReIDLosses, batch_hard_triplet_loss
from reid_heads.losses.domains import DomainSoftmaxLoss, DomainTripletLoss

# Ids 0-1, 2-4 and 5-8.
DOMAINS = (2, 3, 4)
STARTS = (0, 2, 5, 9)
DIMS = (5, 3)
# Of the three sets 3, 2 and 0 labelled rows.
PIDS = torch.tensor([0, 4, UNLABELED_PID, 1, 2, 0])


def rows(count, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator, dtype=torch.float64)


def make_softmax(dims=DIMS, domains=DOMAINS, eps=0.1):
    torch.manual_seed(0)
    loss = DomainSoftmaxLoss(dims, domains, label_smoothing=eps).double()
    with torch.no_grad():
        for weight in loss.parameters():
            weight.mul_(1000)
    return loss


def softmax_loop(features, loss, pids, eps):
    by_domain = []
    for domain, first in enumerate(STARTS[:-1]):
        terms = []
        for feature, weight in zip(features, loss.domains[domain].weights, strict=True):
            for x, pid in zip(feature, pids.tolist(), strict=True):
                if not first <= pid < STARTS[domain + 1]:
                    continue
                logs = [
                    float(w @ x) - math.log(sum(math.exp(float(v @ x)) for v in weight.detach()))
                    for w in weight.detach()
                ]
                q = [eps / len(logs) + (1 - eps) * (first + c == pid) for c in range(len(logs))]
                terms.append(-sum(a * b for a, b in zip(q, logs, strict=True)))
        if terms:
            by_domain.append(sum(terms) / len(terms))
    return sum(by_domain) / len(by_domain)


@pytest.mark.parametrize("eps", [0.0, 0.1])
@pytest.mark.parametrize("pids", [PIDS, torch.tensor([8, 8, 7, 0, 3, 5]), torch.full((6,), 6)])
def test_softmax_equals_the_loop(pids, eps):
    loss = make_softmax(eps=eps)
    features = [rows(6, dim, dim) for dim in DIMS]
    expected = softmax_loop(features, loss, pids, eps)
    assert loss(features, pids).item() == pytest.approx(expected, rel=1e-9)


def test_softmax_by_hand():
    # Sets of two and of three identities. Logits (ln 3, 0): 3/4; logits (0, 0, 0): 1/3.
    loss = DomainSoftmaxLoss((1,), (2, 3))
    with torch.no_grad():
        loss.domains[0].weights[0].copy_(torch.tensor([[1.0], [0.0]]))
        loss.domains[1].weights[0].zero_()
    x = torch.full((3, 1), math.log(3))
    value = loss([x], torch.tensor([0, 2, 4]))
    # Set 0 has one row, set 1 two of ln 3 each: the mean over sets, not over rows.
    assert value.item() == pytest.approx((math.log(4 / 3) + math.log(3)) / 2, rel=1e-6)


def test_classifiers_are_bias_free_and_one_a_set():
    shapes = {name: tuple(p.shape) for name, p in make_softmax().named_parameters()}
    assert shapes == {
        f"domains.{d}.weights.{i}": (count, dim)
        for d, count in enumerate(DOMAINS)
        for i, dim in enumerate(DIMS)
    }


def triplet_mean(feature, pids, margin):
    values = []
    for first, end in itertools.pairwise(STARTS):
        own = (pids >= first) & (pids < end)
        if own.any():
            values.append(batch_hard_triplet_loss(feature[own], pids[own], margin).item())
    return sum(values) / len(values)


@pytest.mark.parametrize("margin", [0.3, None])
def test_triplet_is_the_mean_over_the_sets_present(margin):
    loss = DomainTripletLoss(DOMAINS, margin)
    features = [rows(12, dim, dim) for dim in DIMS]
    for pids in (
        torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 5, 5, 6, UNLABELED_PID]),
        # The second set is there with one identity, which has no triplet.
        torch.tensor([0, 0, 1, 1, 2, 2, 2, 2, 0, 1, 1, UNLABELED_PID]),
    ):
        expected = sum(triplet_mean(x, pids, margin) for x in features) / 2
        assert loss(features, pids).item() == pytest.approx(expected, rel=1e-12)


def test_triplet_by_hand():
    # Set 0: ids 0 at 0 and 2, 1 at 3. Set 1: id 2 at 3.1, id 3 at 9. Margin 1.
    x = torch.tensor([[0.0], [2.0], [3.0], [3.1], [9.0]], dtype=torch.float64)
    value = DomainTripletLoss((2, 2), 1.0)([x], torch.tensor([0, 0, 1, 2, 3]))
    # 2 - 3 + 1 = 0, 2 - 1 + 1 = 2, 0 - 1 + 1 = 0: 2/3, since 3.1 is no negative of 3.
    # In set 1: 0 - 5.9 + 1 < 0.
    assert value.item() == pytest.approx((2 / 3 + 0) / 2, abs=1e-5)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_no_labelled_rows_give_a_connected_zero(count):
    softmax, triplet = make_softmax(), DomainTripletLoss(DOMAINS)
    features = [rows(count, dim, 1).requires_grad_() for dim in DIMS]
    pids = torch.full((count,), UNLABELED_PID)
    for value in (softmax(features, pids), triplet(features, pids)):
        assert value.item() == 0.0
        value.backward()
    for leaf in [*features, *softmax.parameters()]:
        assert leaf.grad is not None and leaf.grad.abs().sum() == 0


def test_an_absent_sets_classifier_has_gradient_zero():
    loss = make_softmax()
    loss([rows(6, dim, dim) for dim in DIMS], PIDS).backward()
    moved = [bool(d.weights[0].grad.abs().sum() > 0) for d in loss.domains]
    assert moved == [True, True, False]


def test_one_set_is_the_plain_loss():
    loss = make_softmax(domains=(9,), eps=0.1)
    features = [rows(6, dim, dim) for dim in DIMS]
    assert torch.equal(loss(features, PIDS), loss.domains[0](features, PIDS))
    x = rows(6, 4, 0)
    own = DomainTripletLoss((9,))([x], PIDS)
    torch.testing.assert_close(own, batch_hard_triplet_loss(x, PIDS, 0.3))


def test_gradcheck():
    softmax, triplet = make_softmax(), DomainTripletLoss(DOMAINS, None)
    features = [rows(6, dim, 10 + dim).requires_grad_() for dim in DIMS]
    assert torch.autograd.gradcheck(lambda *x: softmax(x, PIDS), features)
    assert torch.autograd.gradcheck(lambda *x: triplet(x, PIDS), features)


# --- by config -------------------------------------------------------------------------------


def make_losses(weights, domains=DOMAINS, identities=9):
    cfg = CfgNode({"MODEL": CfgNode()})
    add_reid_head_config(cfg)
    head = cfg.MODEL.REID_HEAD
    head.NUM_IDENTITIES, head.DOMAIN_IDENTITIES = identities, domains
    head.SOFTMAX.LABEL_SMOOTHING, head.TRIPLET.MARGIN = 0.1, 1.2
    head.LOSSES.OIM = 0.0
    for name, weight in weights.items():
        head.LOSSES[name] = weight
    torch.manual_seed(0)
    return ReIDLosses.from_config(cfg, HEAD)


def test_beside_the_global_losses_with_their_settings():
    weights = {"SOFTMAX": 1.0, "TRIPLET": 1.0, "DOMAIN_SOFTMAX": 0.5, "DOMAIN_TRIPLET": 2.0}
    losses, x = make_losses(weights), features_of(6)
    got = losses(x, PIDS)
    assert list(got) == [f"loss_reid_{name.lower()}" for name in weights]
    softmax, triplet = losses.losses["DOMAIN_SOFTMAX"], losses.losses["DOMAIN_TRIPLET"]
    assert softmax.domains[2].label_smoothing == 0.1 and triplet.triplet.margin == 1.2
    torch.testing.assert_close(got["loss_reid_domain_softmax"], 0.5 * softmax(x.classified, PIDS))
    torch.testing.assert_close(got["loss_reid_domain_triplet"], 2.0 * triplet(x.metric, PIDS))


@pytest.mark.parametrize("name", ["DOMAIN_SOFTMAX", "DOMAIN_TRIPLET"])
@pytest.mark.parametrize(
    ("domains", "message"),
    [
        ((4, 4), r"\(4, 4\), which is 8 in all, but MODEL\.REID_HEAD\.NUM_IDENTITIES is 9"),
        ((), r"DOMAIN_IDENTITIES is \(\)"),
        ((9, 0), r"domain_identities=\(9, 0\)"),
    ],
)
def test_numbers_that_do_not_add_up_are_refused(name, domains, message):
    with pytest.raises(ValueError, match=message):
        make_losses({name: 1.0}, domains)


def test_no_sets_at_all_are_refused():
    with pytest.raises(ValueError, match=r"domain_identities=\(\)"):
        DomainTripletLoss(())


@pytest.mark.parametrize("name", ["DOMAIN_SOFTMAX", "DOMAIN_TRIPLET"])
def test_id_out_of_range_is_refused(name):
    with pytest.raises(ValueError, match=r"9.*0\.\.8"):
        make_losses({name: 1.0})(features_of(2), torch.tensor([0, 9]))


# --- two processes ---------------------------------------------------------------------------

# Unequal; a set on one rank only; one rank empty; both unlabelled.
SHARES = [([0, 1, 2], [3, 3, 4, 8, 8]), ([0, 0], [5]), ([], [1, 6]), ([-1], [-1, -1])]


def _softmax_step(loss, pids, seed):
    features = [rows(len(pids), dim, seed + dim) for dim in DIMS]
    value = loss(features, torch.tensor(pids, dtype=torch.int64))
    gradients = torch.autograd.grad(value, list(loss.parameters()))
    return value.detach(), features, torch.cat([g.flatten() for g in gradients])


def _softmax_of_rank(rank):
    loss = make_softmax()
    results = []
    for step, shares in enumerate(SHARES):
        value, _, gradient = _softmax_step(loss, shares[rank], 100 * step + 10 * rank)
        dist.all_reduce(value), dist.all_reduce(gradient)
        results.append((value / 2, gradient / 2))
    return results


def test_two_processes_equal_one_with_the_joined_batch():
    first, second = run_processes(_softmax_of_rank, 2)
    loss = make_softmax()
    for step, shares in enumerate(SHARES):
        parts = [
            [rows(len(pids), dim, 100 * step + 10 * rank + dim) for dim in DIMS]
            for rank, pids in enumerate(shares)
        ]
        joined = [torch.cat(pair) for pair in zip(*parts, strict=True)]
        value = loss(joined, torch.tensor(shares[0] + shares[1]))
        gradient = torch.autograd.grad(value, list(loss.parameters()))
        for results in (first, second):
            torch.testing.assert_close(results[step][0], value.detach())
            expected = torch.cat([g.flatten() for g in gradient])
            torch.testing.assert_close(results[step][1], expected)


def test_domain_softmax_of_one_set_is_cross_entropy():
    """A check of the check: the loop above against torch."""
    loss, x = make_softmax((5,), (9,), 0.1), rows(6, 5, 5)
    own = PIDS != UNLABELED_PID
    logits = x[own] @ loss.domains[0].weights[0].T
    expected = F.cross_entropy(logits, PIDS[own], label_smoothing=0.1)
    torch.testing.assert_close(loss([x], PIDS), expected)
