"""Losses over pairs against loops written from Fu et al., TMM 2022, equations 3 to 6, 18 to 20."""

import math

import pytest
import torch
import torch.nn.functional as F

from reid_heads.labels import UNLABELED_PID
from reid_heads.losses.pairs import (
    PairLoss,
    make_contrastive,
    make_hardest_negative_triplet,
    make_multi_similarity,
)

D = 5
MAKE = {
    "contrastive": lambda: make_contrastive(0.6, 1.2),
    "triplet": lambda: make_hardest_negative_triplet(0.3),
    "multi_similarity": lambda: make_multi_similarity(2.0, 40.0, 0.5, 0.1),
}


def unit_rows(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, D, generator=generator, dtype=torch.float64))


def random_pids(count, seed, identities=4):
    return torch.randint(identities, (count,), generator=torch.Generator().manual_seed(seed + 99))


def loop(name, rows, pids, anchors):
    rows, pids = rows.tolist(), pids.tolist()
    total = 0.0
    for i in range(anchors):
        others = [j for j in range(len(rows)) if j != i]
        positives = [j for j in others if pids[j] == pids[i]]
        negatives = [j for j in others if pids[j] != pids[i]]
        d = [math.dist(rows[i], row) for row in rows]
        s = [sum(a * b for a, b in zip(rows[i], row, strict=True)) for row in rows]
        if name == "contrastive":
            total += sum(max(0, d[j] - 0.6) for j in positives)
            total += sum(max(0, 1.2 - d[k]) for k in negatives)
        elif name == "triplet" and negatives:
            total += sum(max(0, d[j] - min(d[k] for k in negatives) + 0.3) for j in positives)
        elif name == "multi_similarity" and positives and negatives:
            hard_n = [s[k] for k in negatives if s[k] > min(s[j] for j in positives) - 0.1]
            hard_p = [s[j] for j in positives if s[j] < max(s[k] for k in negatives) + 0.1]
            total += math.log(1 + sum(math.exp(2 * (0.5 - x)) for x in hard_p)) / 2
            total += math.log(1 + sum(math.exp(40 * (x - 0.5)) for x in hard_n)) / 40
    return total / anchors


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize(("count", "anchors"), [(1, 1), (2, 2), (9, 9), (20, 20), (24, 6)])
def test_equals_the_loop(name, count, anchors):
    for seed in range(5):
        rows, pids = unit_rows(count, seed), random_pids(count, seed)
        got = MAKE[name]()(rows, pids, anchors).item()
        assert got == pytest.approx(loop(name, rows, pids, anchors), rel=1e-10, abs=1e-12)


# On a circle at 0, 90 and 180 degrees; the last two are one identity's.
CIRCLE = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
CIRCLE_PIDS = torch.tensor([0, 1, 1])


def test_contrastive_by_hand():
    # d(0, 1) = d(1, 2) = sqrt 2, d(0, 2) = 2. Margins 0.4 and 1.5: the positive pair is sqrt 2 -
    # 0.4 too far, seen from both; the negative pair (0, 1) 1.5 - sqrt 2 too near, from both.
    expected = 2 * (2**0.5 - 0.4) / 3 + 2 * (1.5 - 2**0.5) / 3
    value = make_contrastive(0.4, 1.5)(CIRCLE, CIRCLE_PIDS, 3)
    assert value.item() == pytest.approx(expected, rel=1e-12)


def test_triplet_by_hand():
    # Anchor 0 has no positive. 1: sqrt 2 - sqrt 2 + 0.5. 2: sqrt 2 - 2 + 0.5 < 0.
    value = make_hardest_negative_triplet(0.5)(CIRCLE, CIRCLE_PIDS, 3)
    assert value.item() == pytest.approx(0.5 / 3, rel=1e-12)


def test_multi_similarity_by_hand():
    # Anchor 1: cosine 0 to its positive and to its negative: both hard. Anchor 2: its positive 0
    # is above -1 + 0.1, so nothing is hard.
    pull, push = math.log(1 + math.exp(1)) / 2, math.log(1 + math.exp(-20)) / 40
    value = make_multi_similarity(2.0, 40.0, 0.5, 0.1)(CIRCLE, CIRCLE_PIDS, 3)
    assert value.item() == pytest.approx((pull + push) / 3, rel=1e-12)
    # With eps 0 a pair has to be harder than the other kind's, not just as hard.
    assert make_multi_similarity(2.0, 40.0, 0.5, 0.0)(CIRCLE, CIRCLE_PIDS, 3).item() == 0


@pytest.mark.parametrize("name", MAKE)
def test_gradcheck(name):
    x = (unit_rows(8, 3) * 2).requires_grad_()
    pids = torch.tensor([0, 0, 1, 1, UNLABELED_PID, 2, 2, 0])
    assert torch.autograd.gradcheck(lambda x: PairLoss(MAKE[name]())([x], pids), x)


@pytest.mark.parametrize("name", MAKE)
def test_invariances(name):
    loss, x, pids = PairLoss(MAKE[name]()), unit_rows(12, 5), random_pids(12, 5)
    expected = loss([x], pids)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(loss([x[order]], pids[order]), expected)
    scales = torch.arange(1.0, 13.0, dtype=torch.float64)[:, None]
    torch.testing.assert_close(loss([-x * scales], pids), expected)
    torch.testing.assert_close(loss([x, x], 7 - pids), expected)


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("pids", [[], [-1, -1], [3], [2, 2, 2], [0, 1, 2], [0, 0, -1]], ids=str)
def test_edges_are_finite_and_connected(name, pids):
    x = unit_rows(len(pids), 1).requires_grad_()
    value = PairLoss(MAKE[name]())([x], torch.tensor(pids, dtype=torch.int64))
    value.backward()
    assert value.isfinite() and x.grad.isfinite().all()


@pytest.mark.parametrize("name", MAKE)
def test_equal_rows_have_a_finite_gradient(name):
    x = torch.ones(4, D, dtype=torch.float64, requires_grad=True)
    PairLoss(MAKE[name]())([x], torch.tensor([0, 0, 1, 1])).backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", MAKE)
def test_unlabelled_rows_do_not_matter(name):
    loss, x = PairLoss(MAKE[name]()), unit_rows(8, 9)
    pids = torch.tensor([0, 0, 1, 1, 2, 2, UNLABELED_PID, UNLABELED_PID])
    torch.testing.assert_close(loss([x], pids), loss([x[:6]], pids[:6]))


@pytest.mark.parametrize("name", MAKE)
def test_half_precision_is_computed_in_float32(name):
    loss, x, pids = PairLoss(MAKE[name]()), unit_rows(12, 5), random_pids(12, 5)
    rounded = x.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = loss([rounded], pids)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), loss([rounded.double()], pids), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: make_contrastive(-0.1, 1.0), "CONTRASTIVE"),
        (lambda: make_contrastive(0.5, 2.5), "CONTRASTIVE"),
        (lambda: make_hardest_negative_triplet(-0.1), "HARDEST_NEGATIVE_TRIPLET"),
        (lambda: make_multi_similarity(0, 40, 0.5, 0.1), "MULTI_SIMILARITY"),
        (lambda: make_multi_similarity(2, 40, 0.5, -0.1), "MULTI_SIMILARITY"),
    ],
)
def test_bad_settings_name_their_key(make, key):
    with pytest.raises(ValueError, match=key):
        make()
