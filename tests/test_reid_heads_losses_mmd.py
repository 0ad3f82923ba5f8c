"""MMD between modalities against loops in float64 written from MMD-ReID's formulas."""

import math

import pytest
import torch
from helpers_processes import run_processes

from reid_heads.labels import THERMAL, UNLABELED_PID, VISIBLE
from reid_heads.losses.mmd import MarginalMMDLoss, MarginMMDLoss, squared_mmd_by_group

D = 5


def rows(count, seed=0, scale=1.0, dim=D):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(count, dim, generator=generator, dtype=torch.float64)


def batch(identities, visible, thermal, seed=0):
    """Return features, ids and modalities of a batch whose rows are shuffled."""
    pids = torch.arange(identities).repeat_interleave(visible + thermal)
    modalities = torch.tensor(([VISIBLE] * visible + [THERMAL] * thermal) * identities)
    order = torch.randperm(len(pids), generator=torch.Generator().manual_seed(seed + 9))
    x = rows(len(pids), seed) + 0.7 * modalities[:, None]
    return x[order], pids[order], modalities[order]


def loop(first, second):
    """MMD^2 of two lists of points."""
    points = first + second
    n = len(points)
    total = sum(math.dist(a, b) ** 2 for a in points for b in points)
    bandwidth = total / (n * n - n) / 4

    def kernel(a, b):
        squared = math.dist(a, b) ** 2
        return sum(math.exp(-squared / (bandwidth * 2**i + 1e-9)) for i in range(5))

    def mean(left, right):
        return sum(kernel(a, b) for a in left for b in right) / (len(left) * len(right))

    return mean(first, first) + mean(second, second) - 2 * mean(first, second)


def by_identity(x, pids, modalities):
    values = []
    for pid in sorted(set(pids.tolist()) - {UNLABELED_PID}):
        own = [
            [r for r, p, m in zip(x.tolist(), pids, modalities, strict=True) if p == pid and m == k]
            for k in (VISIBLE, THERMAL)
        ]
        values.append(loop(*own))
    return values


@pytest.mark.parametrize(("identities", "visible", "thermal"), [(1, 4, 4), (4, 4, 4), (3, 2, 5)])
@pytest.mark.parametrize("margin", [0.0, 2.0, 3.0])
def test_margin_mmd_equals_the_loop(identities, visible, thermal, margin):
    for seed in range(3):
        x, pids, modalities = batch(identities, visible, thermal, seed)
        values = by_identity(x, pids, modalities)
        expected = sum(v for v in values if v > margin) / identities
        got = MarginMMDLoss(margin)([x], pids, modalities)
        assert got.item() == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_marginal_mmd_equals_the_loop_over_the_whole_batch():
    x, pids, modalities = batch(3, 2, 4)
    pids[2] = UNLABELED_PID
    kept = [r for r, p in zip(x.tolist(), pids, strict=True) if p != UNLABELED_PID]
    kinds = modalities[pids != UNLABELED_PID].tolist()
    expected = loop(*([r for r, k in zip(kept, kinds, strict=True) if k == m] for m in (0, 1)))
    got = MarginalMMDLoss()([x], pids, modalities)
    assert got.item() == pytest.approx(expected, rel=1e-10)


def test_by_hand():
    """One row each, squared distance 4: w = (4 + 4) / 2 / 4 = 1, |a - b|^2 / (w 2^i) = 4 / 2^i."""
    x = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    kernel = sum(math.exp(-4 / 2**i) for i in range(5))
    # k(a, a) = 5 each: 5 + 5 - 2 k(a, b).
    got = squared_mmd_by_group(x, torch.zeros(2, dtype=torch.int64), torch.tensor([0, 1]))
    assert got.tolist() == [pytest.approx(10 - 2 * kernel, rel=1e-8)]


def test_the_margin_leaves_out_identities_and_their_gradient():
    """One identity is far apart (2.9 or so), the other the same in both modalities (0)."""
    close, far = rows(2, 1), rows(2, 2)
    x = torch.cat([close, close, far, far + 9]).requires_grad_()
    pids = torch.tensor([0] * 4 + [1] * 4)
    modalities = torch.tensor([0, 0, 1, 1] * 2)
    values = by_identity(x.detach(), pids, modalities)
    assert values[0] < 1e-9 and values[1] > 2
    loss = MarginMMDLoss(1.4)([x], pids, modalities)
    # The value as it is, not less the margin.
    assert loss.item() == pytest.approx(values[1] / 2)
    loss.backward()
    assert x.grad[:4].abs().sum() == 0 and x.grad[4:].abs().sum() > 0


def test_an_identity_at_the_margin_is_left_alone():
    x, pids, modalities = batch(1, 3, 3)
    (value,) = squared_mmd_by_group(x, pids, modalities).tolist()
    assert MarginMMDLoss(value)([x], pids, modalities).item() == 0
    below = math.nextafter(value, 0)
    assert MarginMMDLoss(below)([x], pids, modalities).item() == value


def test_the_gate_has_the_gradient_of_the_hinge():
    margin = 2.5
    x, pids, modalities = batch(4, 3, 3)
    gated, hinged = x.clone().requires_grad_(), x.clone().requires_grad_()
    MarginMMDLoss(margin)([gated], pids, modalities).backward()
    mmd = squared_mmd_by_group(hinged, pids, modalities)
    assert 0 < (mmd > margin).sum() < 4
    torch.relu(mmd - margin).mean().backward()
    torch.testing.assert_close(gated.grad, hinged.grad, rtol=1e-10, atol=1e-14)


def test_gradient_is_that_of_a_fixed_bandwidth():
    """Numerically, with the bandwidths of the start: they carry no gradient."""
    x, pids, modalities = batch(2, 2, 2)
    x.requires_grad_()
    squared_mmd_by_group(x, pids, modalities).sum().backward()

    def value(points):
        total = 0.0
        for pid in range(2):
            mine = (pids == pid).nonzero().flatten().tolist()
            origin = x.detach()[mine]
            n = len(mine)
            width = torch.cdist(origin, origin).square().sum() / (n * n - n) / 4
            weight = [1 / 2 if modalities[i] == VISIBLE else -1 / 2 for i in mine]
            for i, wi in zip(mine, weight, strict=True):
                for j, wj in zip(mine, weight, strict=True):
                    squared = (points[i] - points[j]).square().sum()
                    total += wi * wj * sum(torch.exp(-squared / (width * 2**k)) for k in range(5))
        return total

    step = 1e-6
    for place in ((0, 0), (3, 2), (7, 4)):
        moved = [x.detach().clone(), x.detach().clone()]
        moved[0][place] += step
        moved[1][place] -= step
        numeric = (value(moved[0]) - value(moved[1])) / (2 * step)
        assert x.grad[place].item() == pytest.approx(float(numeric), rel=1e-5, abs=1e-9)


def test_invariances():
    x, pids, modalities = batch(3, 3, 3)
    loss = MarginMMDLoss(0.5)
    expected = loss([x], pids, modalities)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(loss([x[order]], pids[order], modalities[order]), expected)
    torch.testing.assert_close(loss([x], pids + 7, 1 - modalities), expected)
    torch.testing.assert_close(loss([30 * x + 4], pids, modalities), expected)  # own bandwidth
    torch.testing.assert_close(loss([x, -x], pids, modalities), expected)  # mean over features


@pytest.mark.parametrize(("k", "expected"), [(4, 1.55), (8, 0.77), (16, 0.39)])
def test_the_estimate_is_biased_by_what_the_guide_says(k, expected):
    """Both modalities from one distribution in 256 dimensions; all distances are alike there.

    The kernel of a pair is then the sum of exp(-4 / 2^i) for i = 0..4, 1.91, that of a row with
    itself 5: the bias is 2 / K (5 - 1.91).
    """
    kernel = sum(math.exp(-4 / 2**i) for i in range(5))
    assert 2 / k * (5 - kernel) == pytest.approx(expected, abs=0.01)
    draws = torch.stack([rows(2 * k, seed, dim=256) for seed in range(12)]).flatten(0, 1)
    groups = torch.arange(12).repeat_interleave(2 * k)
    mmd = squared_mmd_by_group(draws, groups, torch.arange(2 * k).repeat(12) % 2)
    assert mmd.mean().item() == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("loss", [MarginMMDLoss(0.0), MarginalMMDLoss()])
def test_equal_features_give_zero_and_no_nan(loss):
    x = torch.ones(4, D, requires_grad=True)
    value = loss([x], torch.zeros(4, dtype=torch.int64), torch.tensor([0, 0, 1, 1]))
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert torch.equal(x.grad, torch.zeros(4, D))


@pytest.mark.parametrize("pids", [[], [UNLABELED_PID] * 3])
@pytest.mark.parametrize("loss", [MarginMMDLoss(), MarginalMMDLoss()])
def test_without_labelled_rows_a_connected_zero(loss, pids):
    x = rows(len(pids)).requires_grad_()
    modalities = torch.zeros(len(pids), dtype=torch.int64)
    value = loss([x], torch.tensor(pids, dtype=torch.int64), modalities)
    value.backward()
    assert value.item() == 0 and x.grad.abs().sum() == 0


@pytest.mark.parametrize(
    ("modalities", "name"), [([0, 0, 0, 1], "visible"), ([0, 1, 1, 1], "thermal")]
)
def test_an_identity_in_one_modality_is_refused(modalities, name):
    pids = torch.tensor([3, 3, 8, 8] if name == "thermal" else [8, 8, 3, 3])
    with pytest.raises(ValueError, match=rf"identity 8 in {name} images.*cross_modality"):
        MarginMMDLoss()([rows(4)], pids, torch.tensor(modalities))


def test_a_batch_of_one_modality_is_refused():
    with pytest.raises(ValueError, match="one modality only"):
        MarginalMMDLoss()([rows(4)], torch.tensor([0, 0, 1, 1]), torch.ones(4, dtype=torch.int64))


def test_an_unknown_modality_is_refused():
    with pytest.raises(ValueError, match=r"modalities \[0, 2\]"):
        MarginMMDLoss()([rows(2)], torch.tensor([0, 0]), torch.tensor([0, 2]))


def test_a_negative_margin_is_refused():
    with pytest.raises(ValueError, match=r"margin=-0.1.*MMD_ID\.MARGIN"):
        MarginMMDLoss(-0.1)


def test_bfloat16_autocast_computes_in_float32():
    x, pids, modalities = batch(3, 4, 4)
    expected = MarginMMDLoss(0.1)([x.float()], pids, modalities)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = MarginMMDLoss(0.1)([x.float()], pids, modalities)
    assert got.dtype == torch.float32 and got.item() == expected.item()


def in_process(rank):
    """Two of four identities on each process."""
    x, pids, modalities = batch(4, 3, 3)
    mine = pids // 2 == rank
    own = x[mine].requires_grad_()
    loss = MarginMMDLoss(2.5)([own], pids[mine], modalities[mine])
    loss.backward()
    return {"loss": loss.item(), "rows": mine, "grad": own.grad}


def test_two_processes_equal_one_with_the_joined_batch():
    x, pids, modalities = batch(4, 3, 3)
    x.requires_grad_()
    loss = MarginMMDLoss(2.5)([x], pids, modalities)
    loss.backward()
    parts = run_processes(in_process, 2)
    assert sum(part["loss"] for part in parts) / 2 == pytest.approx(loss.item())
    for part in parts:
        torch.testing.assert_close(part["grad"] / 2, x.grad[part["rows"]])
