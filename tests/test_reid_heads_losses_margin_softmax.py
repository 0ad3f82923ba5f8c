"""Cosine softmax with an additive angular margin, against angles computed one by one."""

import math

import pytest
import torch

from reid_heads.labels import UNLABELED_PID
from reid_heads.losses import CosineSoftmaxLoss, batch_hard_triplet_loss
from reid_heads.losses.margin_softmax import add_angular_margin

P = 4
DIMS = (5, 3)


def rows(count, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator, dtype=torch.float64)


def make_loss(dims=DIMS, margin=0.0, scale=8.0, eps=0.0):
    torch.manual_seed(0)
    return CosineSoftmaxLoss(dims, P, scale, margin, eps).double()


def loop(features, weights, pids, scale, margin, eps):
    each = []
    for feature, weight in zip(features, weights, strict=True):
        total, labeled = 0.0, 0
        for x, pid in zip(feature.tolist(), pids.tolist(), strict=True):
            if pid == UNLABELED_PID:
                continue
            logits = []
            for c, w in enumerate(weight.tolist()):
                dot = sum(a * b for a, b in zip(x, w, strict=True))
                theta = math.acos(dot / math.hypot(*x) / math.hypot(*w))
                if c == pid and theta < math.pi - margin:
                    logits.append(scale * math.cos(theta + margin))
                elif c == pid:
                    logits.append(scale * (math.cos(theta) + math.cos(margin) - 1))
                else:
                    logits.append(scale * math.cos(theta))
            log_sum = math.log(sum(math.exp(z) for z in logits))
            for c, z in enumerate(logits):
                total -= ((1 - eps) * (c == pid) + eps / P) * (z - log_sum)
            labeled += 1
        each.append(total / labeled)
    return sum(each) / len(each)


@pytest.mark.parametrize("margin", [0.0, 0.5, 1.5])
@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_equals_the_loop(margin, eps):
    loss = make_loss(margin=margin, eps=eps)
    features = [3 * rows(40, dim, dim) for dim in DIMS]
    pids = torch.arange(40) % (P + 1) + UNLABELED_PID
    expected = loop(features, loss.weights, pids, 8.0, margin, eps)
    assert loss(features, pids).item() == pytest.approx(expected, rel=1e-10)


def test_by_hand():
    # Feature (2, 0) at 0 degrees from identity 0 and 90 degrees from identity 1, s = 2, m = 60
    # degrees: logits 2 cos 60 = 1 and 2 cos 90 = 0.
    loss = CosineSoftmaxLoss((2,), 2, 2.0, math.pi / 3)
    with torch.no_grad():
        loss.weights[0].copy_(torch.tensor([[3.0, 0.0], [0.0, 0.5]]))
    got = loss([torch.tensor([[2.0, 0.0]])], torch.tensor([0]))
    # At 0 degrees the sine is cut at 1.4e-3, so that its gradient is finite.
    assert got.item() == pytest.approx(math.log(1 + math.exp(-1)), abs=1e-3)
    # Identity 1: 90 + 60 degrees, 2 cos 150 = -sqrt(3), against 2 cos 0 = 2.
    got = loss([torch.tensor([[2.0, 0.0]])], torch.tensor([1]))
    assert got.item() == pytest.approx(math.log(1 + math.exp(2 + math.sqrt(3))), rel=1e-5)


def test_no_margin_is_the_plain_softmax_to_the_last_bit():
    loss = make_loss(margin=0.0)
    features = [rows(9, dim, 40 + dim) for dim in DIMS]
    pids = torch.arange(9) % P
    plain = [
        torch.nn.functional.cross_entropy(
            8.0 * torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(w).t(),
            pids,
            reduction="sum",
        )
        for x, w in zip(features, loss.weights, strict=True)
    ]
    assert loss(features, pids).item() == (torch.stack(plain).mean() / 9).item()


@pytest.mark.parametrize("margin", [0.1, 0.5, 1.5])
def test_target_falls_over_the_whole_half_circle_without_a_jump(margin):
    theta = torch.linspace(0, math.pi, 20001, dtype=torch.float64)
    target = add_angular_margin(theta.cos(), margin)
    steps = target.diff()
    assert (steps < 0).all()
    # cos(theta + m) falls by at most 1 a radian; 2e-3 is the cut of the sine at 0 and pi.
    assert steps.min() > -math.pi / 20000 - 2e-3
    inside = theta <= math.pi - margin
    torch.testing.assert_close(
        target[inside], (theta[inside] + margin).cos(), rtol=0, atol=2e-3 * math.sin(margin)
    )


@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_is_finite_at_the_ends(margin, dtype):
    """acos without a clamp gives nan where a feature points along its weights (as in fast-reid)."""
    cosines = torch.tensor([1.0, -1.0, 1.0 + 1e-7, 1 - 2e-7], dtype=dtype, requires_grad=True)
    add_angular_margin(cosines, margin).sum().backward()
    assert torch.isfinite(cosines.grad).all()
    loss = CosineSoftmaxLoss((2,), 2, 30.0, margin).to(dtype)
    with torch.no_grad():
        loss.weights[0].copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    x = torch.tensor([[5.0, 0.0], [-5.0, 0.0], [3.0, 4.0]], dtype=dtype, requires_grad=True)
    value = loss([x], torch.tensor([0, 0, 1]))
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(x.grad).all()
    assert torch.isfinite(loss.weights[0].grad).all()


@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_gradcheck(margin):
    loss = make_loss(margin=margin, eps=0.1)
    features = [rows(3, dim, 10 + dim).requires_grad_() for dim in DIMS]
    pids = torch.tensor([3, UNLABELED_PID, 0])
    assert torch.autograd.gradcheck(lambda *x: loss(x, pids), features)
    assert torch.autograd.gradcheck(lambda *w: loss(features, pids), tuple(loss.weights))


def test_gradcheck_past_the_margin():
    cosines = torch.tensor([-0.99, -0.9, -0.5, 0.0, 0.99], dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: add_angular_margin(x, 0.6), cosines)


def test_only_angles_count():
    loss = make_loss(margin=0.3)
    features = [rows(6, dim, 50 + dim) for dim in DIMS]
    pids = torch.tensor([0, 1, 2, 3, 0, UNLABELED_PID])
    expected = loss(features, pids)
    torch.testing.assert_close(loss([100 * x for x in features], pids), expected)
    order = torch.tensor([5, 3, 4, 0, 1, 2])
    torch.testing.assert_close(loss([x[order] for x in features], pids[order]), expected)
    with torch.no_grad():
        for weight in loss.weights:
            weight.mul_(7)
    torch.testing.assert_close(loss(features, pids), expected)


def radial_parts(gradient, features):
    """<f, dL/df> of each row, as a share of |f| |dL/df|."""
    return (gradient * features).sum(1) / features.norm(dim=1) / gradient.norm(dim=1)


@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_triplet_restores_the_radial_gradient_that_cosines_lack(margin):
    """The claim of Sabri et al., arXiv 2212.14107: a softmax over cosines limits the gradient that
    supervises the feature, and a batch-hard triplet loss on the feature as it is stands in."""
    torch.manual_seed(0)
    loss = CosineSoftmaxLoss((16,), P, 30.0, margin)
    pids = torch.arange(8) // 2
    values = 4 * rows(8, 16, 3).float()

    features = values.clone().requires_grad_()
    loss([features], pids).backward()
    alone = features.grad
    assert radial_parts(alone, values).abs().max() < 1e-6

    features = values.clone().requires_grad_()
    joint = loss([features], pids) + batch_hard_triplet_loss(features, pids, None)
    joint.backward()
    assert radial_parts(features.grad, values).abs().min() > 1e-3

    # On normalised features the triplet loss could not restore it.
    features = values.clone().requires_grad_()
    unit = torch.nn.functional.normalize(features)
    batch_hard_triplet_loss(unit, pids, None).backward()
    assert radial_parts(features.grad, values).abs().max() < 1e-6


@pytest.mark.parametrize("factor", [0.1, 10.0, 1000.0])
def test_gradient_shrinks_with_the_norm_of_the_feature(factor):
    """dL/df = (I - e e^T) dL/de / |f|, with e = f / |f|."""
    loss = make_loss(dims=(16,), margin=0.0)
    pids = torch.arange(8) // 2
    gradients = []
    for scale in (1.0, factor):
        features = (scale * rows(8, 16, 3)).requires_grad_()
        loss([features], pids).backward()
        gradients.append(features.grad)
    torch.testing.assert_close(gradients[1] * factor, gradients[0])


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_no_labelled_rows_give_a_connected_zero(count, margin):
    loss = CosineSoftmaxLoss((5,), P, 30.0, margin)
    x = rows(count, 5, 1).float().requires_grad_()
    value = loss([x], torch.full((count,), UNLABELED_PID))
    value.backward()
    assert value.item() == 0.0
    assert x.grad.abs().sum() == 0.0
    assert loss.weights[0].grad.abs().sum() == 0.0


def test_bfloat16_autocast_changes_nothing():
    loss = make_loss(margin=0.5).float()
    features = [rows(4, dim, 30 + dim).float() for dim in DIMS]
    pids = torch.tensor([0, 1, 2, 3])
    expected = loss(features, pids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = loss(features, pids)
        low = loss([x.bfloat16() for x in features], pids)
    assert got.dtype == low.dtype == torch.float32
    assert got.item() == expected.item()
    assert low.item() == pytest.approx(expected.item(), rel=0.02)


@pytest.mark.parametrize("bad", [P, -2])
def test_id_out_of_range_is_refused(bad):
    with pytest.raises(ValueError, match=r"0\.\.3.*NUM_IDENTITIES"):
        make_loss()([rows(2, dim, 1) for dim in DIMS], torch.tensor([0, bad]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": 0.0}, "scale=0.0"),
        ({"margin": -0.1}, "margin=-0.1"),
        ({"margin": 28.6}, "radians"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"num_identities": 0}, "NUM_IDENTITIES"),
        ({"in_dims": ()}, "no feature"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CosineSoftmaxLoss(
            **{"in_dims": DIMS, "num_identities": P, "scale": 30.0, "margin": 0.0, **settings}
        )
