"""Batch-hard triplet loss against a loop over all pairs, written from Hermans et al., 2017."""

import math

import pytest
import torch

from reid_heads.labels import UNLABELED_PID
from reid_heads.losses import TripletLoss, batch_hard_triplet_loss

D = 6


def rows(count, seed, dim=D):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator, dtype=torch.float64)


def random_pids(count, seed, identities=4):
    generator = torch.Generator().manual_seed(seed + 500)
    return torch.randint(UNLABELED_PID, identities, (count,), generator=generator)


def loop(embeddings, pids, margin):
    people = [
        (x, p)
        for x, p in zip(embeddings.tolist(), pids.tolist(), strict=True)
        if p != UNLABELED_PID
    ]
    values = []
    for x, pid in people:
        positives = [math.dist(x, y) for y, other in people if other == pid]
        negatives = [math.dist(x, y) for y, other in people if other != pid]
        if not negatives:
            continue
        gap = max(*positives, 1e-6) - min(negatives)
        values.append(math.log1p(math.exp(gap)) if margin is None else max(0.0, margin + gap))
    return sum(values) / len(values) if values else 0.0


@pytest.mark.parametrize("margin", [None, 0.0, 0.3, 1.2])
@pytest.mark.parametrize("count", [2, 5, 12, 40])
def test_equals_the_loop(count, margin):
    for seed in range(5):
        x, pids = rows(count, seed), random_pids(count, seed)
        expected = loop(x, pids, margin)
        assert batch_hard_triplet_loss(x, pids, margin).item() == pytest.approx(expected, rel=1e-12)


def test_by_hand():
    # On a line: identity 0 at 0 and 3, identity 1 at 4 and 10; margin 2.
    x = torch.tensor([[0.0], [3.0], [4.0], [10.0]], requires_grad=True)
    pids = torch.tensor([0, 0, 1, 1])
    value = batch_hard_triplet_loss(x, pids, 2.0)
    # 0: 3 - 4 + 2 = 1.  3: 3 - 1 + 2 = 4.  4: 6 - 1 + 2 = 7.  10: 6 - 7 + 2 = 1.  Mean 13 / 4.
    assert value.item() == 13 / 4
    value.backward()
    # Four times the mean is 2 (x1 - x0) + 2 (x3 - x2) of the positives less (x2 - x0),
    # 2 (x2 - x1) and (x3 - x1) of the negatives: -2 + 1, 2 + 3, -2 - 3 and 2 - 1 by x0 to x3.
    assert (4 * x.grad).flatten().tolist() == [-1.0, 5.0, -5.0, 1.0]


def test_soft_margin_by_hand():
    # Anchors at 0 and 1 and their negatives: each gap is 0 (itself, 1e-6) - 1.
    value = batch_hard_triplet_loss(torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]), None)
    assert value.item() == pytest.approx(math.log1p(math.exp(-1)), rel=1e-5)


def test_a_lone_image_still_leaves_its_negatives():
    """Its only positive is itself: max(0, m + 0 - d)."""
    x = torch.tensor([[0.0], [0.5], [0.5]], requires_grad=True)
    value = batch_hard_triplet_loss(x, torch.tensor([0, 1, 1]), 2.0)
    assert value.item() == pytest.approx(1.5, abs=1e-5)
    value.backward()
    assert x.grad[0].item() > 0  # downhill is away from the others


@pytest.mark.parametrize("margin", [None, 0.3, 5.0])
def test_gradcheck(margin):
    pids = torch.tensor([0, 0, 1, 1, UNLABELED_PID, 2])
    x = rows(6, 7).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: batch_hard_triplet_loss(x, pids, margin), x)


def test_invariances():
    x, pids = rows(12, 8), random_pids(12, 8)
    expected = batch_hard_triplet_loss(x, pids, 1.2)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(batch_hard_triplet_loss(x[order], pids[order], 1.2), expected)
    torch.testing.assert_close(batch_hard_triplet_loss(-x + 5, pids, 1.2), expected)
    torch.testing.assert_close(batch_hard_triplet_loss(3 * x, pids, 3.6), 3 * expected)
    renamed = torch.where(pids == UNLABELED_PID, pids, 100 - pids)
    torch.testing.assert_close(batch_hard_triplet_loss(x, renamed, 1.2), expected)


def test_features_are_not_normalised():
    x, pids = rows(8, 9), torch.arange(8) // 2
    unit = torch.nn.functional.normalize(x)
    assert batch_hard_triplet_loss(x, pids, 1.2) != batch_hard_triplet_loss(unit, pids, 1.2)


@pytest.mark.parametrize("pids", [[], [0], [2, 2, 2], [UNLABELED_PID] * 3, [1, UNLABELED_PID, 1]])
@pytest.mark.parametrize("margin", [None, 0.3])
def test_without_negatives_a_connected_zero(pids, margin):
    x = rows(len(pids), 10).float().requires_grad_()
    value = batch_hard_triplet_loss(x, torch.tensor(pids, dtype=torch.int64), margin)
    value.backward()
    assert value.item() == 0.0
    assert x.grad.abs().sum() == 0.0


def test_identical_rows_give_finite_gradients():
    """The derivative of a square root at 0 is infinite, times 0 nan."""
    x = torch.ones(4, D, requires_grad=True)
    value = batch_hard_triplet_loss(x, torch.tensor([0, 0, 1, 1]), 0.3)
    value.backward()
    assert value.item() == pytest.approx(0.3)
    assert torch.equal(x.grad, torch.zeros(4, D))


def test_small_distances_of_long_features_are_right():
    """|a|^2 + |b|^2 - 2ab in float32 is off by |a|^2 1e-7: here by tens, where d^2 is 1 to 36."""
    offset = 10000 * torch.ones(D)
    x = torch.zeros(4, D)
    x[:, 0] = torch.tensor([0.0, 3.0, 4.0, 6.0])
    pids = torch.tensor([0, 0, 1, 1])
    # 0: 3 - 4.  3: 3 - 1.  4: 2 - 1.  6: 2 - 3.  With margin 2: 1, 4, 3, 1.
    assert batch_hard_triplet_loss(x + offset, pids, 2.0).item() == 9 / 4


def test_bfloat16_autocast_changes_nothing():
    x, pids = rows(12, 11).float(), random_pids(12, 11)
    expected = batch_hard_triplet_loss(x, pids, 0.3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = batch_hard_triplet_loss(x, pids, 0.3)
        low = batch_hard_triplet_loss(x.bfloat16(), pids, 0.3)
    assert got.dtype == low.dtype == torch.float32
    assert got.item() == expected.item()
    assert low.item() == pytest.approx(expected.item(), rel=0.05)


def test_several_features_are_averaged():
    features, pids = [rows(8, 12), rows(8, 13, dim=3)], torch.arange(8) // 2
    expected = sum(loop(x, pids, 1.2) for x in features) / 2
    assert TripletLoss(1.2)(features, pids).item() == pytest.approx(expected, rel=1e-12)


def test_negative_margin_is_refused():
    with pytest.raises(ValueError, match=r"margin=-0.3.*TRIPLET\.MARGIN"):
        TripletLoss(-0.3)
