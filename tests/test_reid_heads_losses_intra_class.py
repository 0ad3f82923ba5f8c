"""Augmented pair losses, and the hook that keeps their statistics."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from reid_heads.augmentation.intra_class import IntraClassSettings
from reid_heads.heads.features import HeadFeatures
from reid_heads.labels import UNLABELED_PID
from reid_heads.losses.intra_class import IntraClassAugmentedLoss
from reid_heads.losses.pairs import (
    PairLoss,
    make_contrastive,
    make_hardest_negative_triplet,
    make_multi_similarity,
)
from reid_heads.training.hooks import UpdateIntraClass

COMPARE = {
    "contrastive": make_contrastive(0.4, 1.2),
    "triplet": make_hardest_negative_triplet(0.3),
    "multi_similarity": make_multi_similarity(2.0, 40.0, 0.5, 0.1),
}
PIDS = torch.tensor([0, 0, 1, 1, 2, UNLABELED_PID])


def features(seed=0, dim=4, count=6):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)).double()


def make_loss(name="contrastive", dims=(4,), **settings):
    loss = IntraClassAugmentedLoss(COMPARE[name], dims, 3, IntraClassSettings(**settings))
    return loss.double()


def estimate(loss, seed=7):
    moments = loss.new_moments()
    rows = [features(seed, len(g.means[0]), 30) for g in loss.gaussians]
    loss.collect(moments, rows, torch.arange(30) % 3)
    loss.update(moments)
    return loss


@pytest.mark.parametrize("name", COMPARE)
def test_synthetic_rows_are_candidates_and_real_rows_the_anchors(name):
    loss, x = estimate(make_loss(name, copies=2)), features()
    torch.manual_seed(3)
    got = loss([x], PIDS)
    labeled = PIDS != UNLABELED_PID
    rows, pids = F.normalize(x[labeled]), PIDS[labeled]
    torch.manual_seed(3)
    noise = torch.randn(2, 5, 4, dtype=torch.float64)
    drawn = [
        F.normalize(rows + n * (0.7 * loss.gaussians[0].corrected[pids]).sqrt()) for n in noise
    ]
    expected = COMPARE[name](torch.cat([rows, *drawn]), pids.repeat(3), 5)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=0)
    assert got != PairLoss(COMPARE[name])([x], PIDS)


@pytest.mark.parametrize("name", COMPARE)
def test_gradcheck(name):
    loss = estimate(make_loss(name, copies=2))

    def value(x):
        torch.manual_seed(3)
        return loss([x], PIDS)

    assert torch.autograd.gradcheck(value, features().requires_grad_())


def test_evaluation_and_waiting_are_plain():
    loss, plain = estimate(make_loss()), PairLoss(COMPARE["contrastive"])
    x = features()
    expected = plain([x], PIDS)
    torch.testing.assert_close(loss.eval()([x], PIDS), expected)
    waiting = make_loss()
    waiting.is_waiting = True
    torch.testing.assert_close(waiting([x], PIDS), expected)


def test_training_without_statistics_is_refused():
    with pytest.raises(RuntimeError, match="no statistics"):
        make_loss()([features()], PIDS)


def test_statistics_stand_on_unit_rows():
    first, second = make_loss(), make_loss()
    rows, pids = features(7, 4, 30), torch.arange(30) % 3
    for loss, scale in ((first, 1.0), (second, 50.0)):
        moments = loss.new_moments()
        loss.collect(moments, [rows * scale], pids)
        loss.update(moments)
    torch.testing.assert_close(first.state_dict(), second.state_dict())


def test_each_feature_has_its_own_gaussians():
    loss = estimate(make_loss(dims=(4, 2)))
    assert [tuple(g.means.shape) for g in loss.gaussians] == [(3, 4), (3, 2)]
    assert loss([features(), features(1, 2)], PIDS).isfinite()


def test_edges():
    loss = estimate(make_loss())
    x = features(count=2).requires_grad_()
    value = loss([x], torch.tensor([UNLABELED_PID, UNLABELED_PID]))
    value.backward()
    assert value == 0 and x.grad.tolist() == [[0] * 4] * 2
    # A lone crop: its copies are its positives.
    assert loss([features(count=1)], torch.tensor([2])).isfinite()
    with pytest.raises(ValueError, match="NUM_IDENTITIES"):
        loss([features(count=1)], torch.tensor([3]))
    with pytest.raises(ValueError, match="NUM_IDENTITIES"):
        IntraClassAugmentedLoss(COMPARE["triplet"], (4,), 0, IntraClassSettings())


class Model(nn.Module):
    """Features are the images times the weight."""

    device = torch.device("cpu")

    def __init__(self, *losses):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        self.norm = nn.BatchNorm1d(4)
        self.losses = nn.ModuleList(losses)

    def batch_features(self, batch):
        rows = self.norm(torch.stack([crop["image"] for crop in batch]) * self.weight)
        return HeadFeatures(rows, (rows,), (rows,))


def crops():
    return [{"image": row.float(), "person_id": i % 3} for i, row in enumerate(features(7, 4, 30))]


def make_hook(model, start, period, passes):
    def make_batches():
        passes.append(1)
        return [crops()[:20], crops()[20:]]

    return UpdateIntraClass(model, make_batches, start, period)


def run(hook, iterations, passes):
    """Return in which iterations a pass was made."""
    seen = []
    for iteration in iterations:
        before = len(passes)
        hook.trainer = SimpleNamespace(iter=iteration)
        hook.before_step()
        seen += [iteration] * (len(passes) - before)
    return seen


def test_the_hook_updates_every_period_from_the_start():
    passes, loss = [], make_loss()
    hook = make_hook(Model(loss), 4, 3, passes)
    assert run(hook, range(4), passes) == []
    assert loss.is_waiting and not loss.is_estimated
    assert run(hook, range(4, 12), passes) == [4, 7, 10]
    assert not loss.is_waiting and loss.is_estimated


def test_a_resumed_run_keeps_the_estimate_it_brings():
    passes = []
    hook = make_hook(Model(estimate(make_loss())), 0, 4, passes)
    assert run(hook, range(6, 10), passes) == [8]
    passes = []
    hook = make_hook(Model(make_loss()), 0, 4, passes)
    assert run(hook, range(6, 10), passes) == [6, 8]


def test_the_pass_leaves_the_model_as_it_is():
    first, second, passes = make_loss(), make_loss("triplet"), []
    model = Model(first, second).float()
    before = {k: v.clone() for k, v in model.state_dict().items() if "gaussians" not in k}
    run(make_hook(model, 0, 1, passes), [0], passes)
    assert model.training and model.norm.training
    after = model.state_dict()
    assert all(torch.equal(after[k], value) for k, value in before.items())
    torch.testing.assert_close(first.state_dict(), second.state_dict())
    rows = F.normalize(torch.stack([c["image"] for c in crops()]) / (1 + 1e-5) ** 0.5)
    expected = rows.view(10, 3, 4).mean(dim=0)
    torch.testing.assert_close(first.gaussians[0].means, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("start", "period"), [(0, 0), (-1, 1)])
def test_bad_periods(start, period):
    with pytest.raises(ValueError, match="UPDATE_EPOCHS"):
        make_hook(Model(), start, period, [])
