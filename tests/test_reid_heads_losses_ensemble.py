"""Ensembles of losses against loops written from equations 8 and 11, and by hand."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reid_heads.heads.balanced_sum import BalancedSum
from reid_heads.labels import UNLABELED_PID
from reid_heads.losses import batch_hard_triplet_loss
from reid_heads.losses.ensemble import (
    CompressionHead,
    LossEnsemble,
    distance_matching_loss,
    diversity_loss,
)

PIDS = torch.tensor([0, 0, 1, 1, 2, UNLABELED_PID])


def rows(count=6, dim=4, seed=0):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)).double()


def loop(history, coefficients, least, eta):
    """The last value of the sum, after these batches of losses."""
    k = len(coefficients)
    means = [max(sum(batch[j] for batch in history) / len(history), 1e-6) for j in range(k)]
    weights = [c * c + least for c in coefficients]
    total = eta * (sum(weights) - 1) ** 2
    for j in range(k):
        total += weights[j] * (sum(means) / k / means[j]) * history[-1][j]
    return total


@pytest.mark.parametrize("k", [1, 2, 4])
def test_sum_equals_the_loop(k):
    torch.manual_seed(k)
    balanced = BalancedSum(k, penalty=100.0).double()
    balanced.coefficients.data = torch.rand(k, dtype=torch.float64)
    history = []
    for _ in range(5):
        history.append(torch.rand(k, dtype=torch.float64) * torch.tensor([1, 10, 0.1, 5.0])[:k])
        got = balanced(list(history[-1])).item()
        expected = loop(
            [h.tolist() for h in history], balanced.coefficients.tolist(), 1 / (4 * k), 100.0
        )
        assert got == pytest.approx(expected, rel=1e-12)


def test_by_hand():
    # Equal weights 1/2, no penalty. First batch: both losses become the mean, 2. Second: the means
    # are 2 and 2, so that 3 and 1 stay as they are.
    balanced = BalancedSum(2)
    assert balanced([torch.tensor(1.0), torch.tensor(3.0)]).item() == pytest.approx(2.0)
    assert balanced([torch.tensor(3.0), torch.tensor(1.0)]).item() == pytest.approx(2.0)
    balanced = BalancedSum(2)
    balanced([torch.tensor(1.0), torch.tensor(4.0)])
    # Means 2 and 3, of both 2.5: (3 2.5 / 2 + 2 2.5 / 3) / 2.
    value = balanced([torch.tensor(3.0), torch.tensor(2.0)])
    assert value.item() == pytest.approx((3.75 + 5 / 3) / 2)


def test_gradients():
    """Scales carry none; that of c_j is 2 c_j l'_j and the penalty's."""
    balanced = BalancedSum(2, penalty=10.0).double()
    balanced.coefficients.data = torch.tensor([0.5, 0.9], dtype=torch.float64)
    first = torch.tensor([1.0, 4.0], dtype=torch.float64, requires_grad=True)
    balanced(list(first)).backward()
    # Both l' are 2.5; weights 0.375 and 0.935, their sum 0.31 above 1.
    torch.testing.assert_close(
        first.grad, torch.tensor([0.375 * 2.5, 0.935 * 2.5 / 4], dtype=torch.float64)
    )
    c = torch.tensor([0.5, 0.9], dtype=torch.float64)
    torch.testing.assert_close(balanced.coefficients.grad, 2 * c * 2.5 + 10 * 2 * 0.31 * 2 * c)


def test_gradcheck_at_evaluation():
    balanced = BalancedSum(3).double()
    balanced([torch.tensor(x, dtype=torch.float64) for x in (1.0, 2.0, 0.5)])
    balanced.eval()
    values = torch.tensor([0.7, 1.0, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda v, c: torch.func.functional_call(balanced, {"coefficients": c}, (list(v),)),
        (values, balanced.coefficients.detach().clone().requires_grad_()),
    )


def test_prior_is_where_the_weights_start():
    balanced = BalancedSum(4, prior=(2, 1, 2, 3))
    torch.testing.assert_close(balanced.weights, torch.tensor([0.25, 0.125, 0.25, 0.375]))
    # A share of 1/100, below the least weight of 1/8, gives NaN in the authors' code.
    small = BalancedSum(2, prior=(99, 1))
    assert small.weights.isfinite().all() and (small.coefficients > 0).all()
    assert small.weights[1].item() == pytest.approx(1 / 8, abs=1e-5)


def test_learned_weights_sum_to_one_and_favour_the_falling_loss():
    balanced = BalancedSum(2, penalty=10.0)
    optimizer = torch.optim.Adam(balanced.parameters(), 1e-3)
    for step in range(300):
        optimizer.zero_grad()
        balanced([torch.tensor(1.0), torch.tensor(math.exp(-step / 100))]).backward()
        optimizer.step()
    weights = balanced.weights
    assert weights.sum().item() == pytest.approx(1, abs=0.1)
    assert weights[1] > weights[0] + 0.1 and weights[0] >= 1 / 8


def test_a_loss_that_is_zero_stays_finite():
    balanced = BalancedSum(2)
    value = balanced([torch.tensor(0.0), torch.tensor(3.0)])
    assert value.isfinite() and balanced.scales().isfinite().all()


def test_evaluation_leaves_the_means_and_state_resumes():
    first = BalancedSum(2)
    first([torch.tensor(1.0), torch.tensor(4.0)])
    before = {k: v.clone() for k, v in first.state_dict().items()}
    first.eval()([torch.tensor(9.0), torch.tensor(9.0)])
    torch.testing.assert_close(first.state_dict(), before)
    second = BalancedSum(2)
    second.load_state_dict(before)
    batch = [torch.tensor(2.0), torch.tensor(1.0)]
    assert first.train()(batch) == second(batch)


@pytest.mark.parametrize(
    "settings",
    [
        {"num_losses": 0},
        {"num_losses": 2, "prior": (1.0,)},
        {"num_losses": 2, "prior": (1.0, 0.0)},
        {"num_losses": 2, "min_weight": 0.5},
        {"num_losses": 2, "min_weight": -0.1},
        {"num_losses": 2, "penalty": -1.0},
    ],
)
def test_bad_settings(settings):
    with pytest.raises(ValueError, match="ENSEMBLE"):
        BalancedSum(**settings)


def test_another_number_of_losses_is_refused():
    with pytest.raises(ValueError, match="got 1 losses; expected 2"):
        BalancedSum(2)([torch.tensor(1.0)])


class ProxyLoss(nn.Module):
    """A loss with weights, called as pytorch-metric-learning's are."""

    def __init__(self, dim):
        super().__init__()
        self.proxies = nn.Parameter(torch.randn(3, dim))

    def forward(self, embeddings, labels):
        return F.cross_entropy(F.linear(embeddings, self.proxies), labels)


def triplet(embeddings, labels):
    return batch_hard_triplet_loss(embeddings, labels, 0.3)


@pytest.mark.parametrize("dim", [0, 5])
def test_ensemble_equals_its_parts(dim):
    torch.manual_seed(0)
    proxy = ProxyLoss(dim or 4)
    ensemble = LossEnsemble([triplet, proxy], 4, dim, diversity=0.1 if dim else 0.0).double()
    x, labeled = rows(), PIDS != UNLABELED_PID
    embeddings = [p(x[labeled]) for p in ensemble.projections] or [x[labeled]] * 2
    pids = PIDS[labeled]
    values = [triplet(embeddings[0], pids), proxy(embeddings[1], pids)]
    expected = BalancedSum(2).double()(values)
    if dim:
        expected = expected + 0.1 * diversity_loss(embeddings)
    got = ensemble(x, PIDS)
    torch.testing.assert_close(got, expected)
    got.backward()
    assert proxy.proxies.grad.abs().sum() > 0
    names = dict(ensemble.named_parameters())
    assert "modules_among_losses.0.proxies" in names and "sum.coefficients" in names


def test_ensemble_gradcheck():
    ensemble = LossEnsemble([triplet, ProxyLoss(3)], 4, 3, diversity=0.5).double()
    ensemble(rows(), PIDS)
    ensemble.eval()
    assert torch.autograd.gradcheck(lambda x: ensemble(x, PIDS), rows(seed=1).requires_grad_())


def test_embedding_distances_are_the_weighted_sum():
    ensemble = LossEnsemble([triplet, triplet, triplet], 4, 5, prior=(1, 2, 3)).double()
    x = rows()
    got = torch.cdist(*[ensemble.embed(x)] * 2).square()
    each = [torch.cdist(*[p(x)] * 2).square() for p in ensemble.projections]
    expected = sum(w * d for w, d in zip(ensemble.sum.weights, each, strict=True))
    torch.testing.assert_close(got, expected)
    assert ensemble.embed(x).shape == (6, 15)
    shared = LossEnsemble([triplet], 4)
    assert shared.embed(x) is x


@pytest.mark.parametrize("dim", [0, 5])
def test_without_labelled_rows(dim):
    ensemble = LossEnsemble([triplet, ProxyLoss(dim or 4)], 4, dim).double()
    x = rows(2).requires_grad_()
    value = ensemble(x, torch.tensor([UNLABELED_PID] * 2))
    value.backward()
    assert value == 0 and x.grad.tolist() == [[0] * 4] * 2
    assert int(ensemble.sum.steps) == 0


def test_bad_ensembles():
    with pytest.raises(TypeError, match="callable"):
        LossEnsemble([0.5], 4)
    for settings in ({"diversity": -1.0}, {"diversity": 0.1}):
        with pytest.raises(ValueError, match="diversity"):
            LossEnsemble([triplet, triplet], 4, **settings)
    with pytest.raises(ValueError, match="two losses"):
        LossEnsemble([triplet], 4, 5, diversity=0.1)


def test_diversity_equals_the_loop_and_by_hand():
    each = [rows(5, 3, seed) for seed in range(3)]
    gaps = []
    for a, b in itertools.combinations(each, 2):
        for x, y in zip(a.tolist(), b.tolist(), strict=True):
            gaps.append(math.dist([v / math.hypot(*x) for v in x], [v / math.hypot(*y) for v in y]))
    assert diversity_loss(each).item() == pytest.approx(2 - sum(gaps) / 15, rel=1e-12)
    one = torch.tensor([[1.0, 0.0]])
    assert diversity_loss([one, one]).item() == pytest.approx(2, abs=1e-5)
    assert diversity_loss([one, -2 * one]).item() == 0
    same = one.clone().requires_grad_()
    diversity_loss([same, one]).backward()
    assert same.grad.isfinite().all()


def test_distance_matching_equals_the_loop():
    full, short = rows(5, 8), rows(5, 2, 1)

    def shares(x):
        squared = [[math.dist(a, b) ** 2 for b in x.tolist()] for a in x.tolist()]
        total = sum(map(sum, squared))
        return [value / total for row in squared for value in row]

    gaps = [(a - b) ** 2 for a, b in zip(shares(full), shares(short), strict=True)]
    expected = 5 * math.sqrt(sum(gaps))
    assert distance_matching_loss(full, short).item() == pytest.approx(expected, rel=1e-10)
    # Only ratios count.
    assert distance_matching_loss(full, 3 * full + 7).item() == pytest.approx(0, abs=1e-10)
    assert torch.autograd.gradcheck(
        lambda x: distance_matching_loss(full, x), short.requires_grad_()
    )


@pytest.mark.parametrize("count", [0, 1, 2])
def test_distance_matching_edges(count):
    short = torch.ones(count, 2, requires_grad=True)
    value = distance_matching_loss(torch.ones(count, 3), short)
    value.backward()
    assert value.isfinite() and short.grad.isfinite().all()


def test_compression_learns_the_distances():
    torch.manual_seed(0)
    full = torch.randn(32, 12)
    head = CompressionHead(12, 8)
    optimizer = torch.optim.Adam(head.parameters(), 0.01)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = distance_matching_loss(full, head(full))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    with pytest.raises(ValueError, match="1 or more"):
        CompressionHead(12, 0)
