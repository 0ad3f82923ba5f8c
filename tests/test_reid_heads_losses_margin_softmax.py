"""Cosine softmax without and with margins and sub-centers, against angles taken one by one."""

import math

import pytest
import torch

from reid_heads.labels import UNLABELED_PID
from reid_heads.losses import CosineSoftmaxLoss, batch_hard_triplet_loss
from reid_heads.losses.margins import AdditiveAngularMargin, AdditiveCosineMargin
from reid_heads.losses.partial_fc import PartialFCLoss

P = 4
DIMS = (5, 3)
KINDS = {
    "none": lambda margin: None,
    "angular": AdditiveAngularMargin,
    "cosine": AdditiveCosineMargin,
}


def rows(count, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator, dtype=torch.float64)


def make_loss(dims=DIMS, margin=0.0, scale=8.0, eps=0.0, kind="angular", sub_centers=1):
    torch.manual_seed(0)
    made = KINDS[kind](margin)
    return CosineSoftmaxLoss(
        dims, P, scale=scale, margin=made, label_smoothing=eps, sub_centers=sub_centers
    ).double()


def shifted(kind, cosine, margin):
    """The true identity's cosine less the margin."""
    theta = math.acos(cosine)
    if kind == "none":
        return cosine
    if kind == "cosine":
        return cosine - margin
    if theta < math.pi - margin:
        return math.cos(theta + margin)
    return cosine + math.cos(margin) - 1


def loop(features, weights, pids, scale, margin, eps, kind="angular", sub_centers=1):
    each = []
    for feature, weight in zip(features, weights, strict=True):
        total, labeled = 0.0, 0
        for x, pid in zip(feature.tolist(), pids.tolist(), strict=True):
            if pid == UNLABELED_PID:
                continue
            logits = []
            for c in range(P):
                cosine = -1.0
                for w in weight.tolist()[c * sub_centers : (c + 1) * sub_centers]:
                    dot = sum(a * b for a, b in zip(x, w, strict=True))
                    cosine = max(cosine, dot / math.hypot(*x) / math.hypot(*w))
                logits.append(scale * (shifted(kind, cosine, margin) if c == pid else cosine))
            log_sum = math.log(sum(math.exp(z) for z in logits))
            for c, z in enumerate(logits):
                total -= ((1 - eps) * (c == pid) + eps / P) * (z - log_sum)
            labeled += 1
        each.append(total / labeled)
    return sum(each) / len(each)


@pytest.mark.parametrize("sub_centers", [1, 3])
@pytest.mark.parametrize(
    ("kind", "margin"),
    [("none", 0.0), ("angular", 0.0), ("angular", 0.5), ("angular", 1.5), ("cosine", 0.35)],
)
@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_equals_the_loop(kind, margin, eps, sub_centers):
    loss = make_loss(margin=margin, eps=eps, kind=kind, sub_centers=sub_centers)
    features = [3 * rows(40, dim, dim) for dim in DIMS]
    pids = torch.arange(40) % (P + 1) + UNLABELED_PID
    expected = loop(features, loss.weights, pids, 8.0, margin, eps, kind, sub_centers)
    assert loss(features, pids).item() == pytest.approx(expected, rel=1e-10)


def test_by_hand():
    # Feature (2, 0) at 0 degrees from identity 0 and 90 degrees from identity 1, s = 2, m = 60
    # degrees: logits 2 cos 60 = 1 and 2 cos 90 = 0.
    loss = CosineSoftmaxLoss((2,), 2, scale=2.0, margin=AdditiveAngularMargin(math.pi / 3))
    with torch.no_grad():
        loss.weights[0].copy_(torch.tensor([[3.0, 0.0], [0.0, 0.5]]))
    got = loss([torch.tensor([[2.0, 0.0]])], torch.tensor([0]))
    # At 0 degrees the sine is cut at 1.4e-3, so that its gradient is finite.
    assert got.item() == pytest.approx(math.log(1 + math.exp(-1)), abs=1e-3)
    # Identity 1: 90 + 60 degrees, 2 cos 150 = -sqrt(3), against 2 cos 0 = 2.
    got = loss([torch.tensor([[2.0, 0.0]])], torch.tensor([1]))
    assert got.item() == pytest.approx(math.log(1 + math.exp(2 + math.sqrt(3))), rel=1e-5)


def test_nearest_sub_center_by_hand():
    # Two sub-centers an identity, s = 2, m = 0.5 on the cosine, feature (3, 4) / 5 = (0.6, 0.8).
    # Identity 0: (1, 0) and (0, 1) give 0.6 and 0.8, the nearer 0.8, less the margin 0.3. Identity
    # 1: (-1, 0) and (0, -1) give -0.6 and -0.8, the nearer -0.6. Logits 0.6 and -1.2.
    loss = CosineSoftmaxLoss((2,), 2, scale=2.0, margin=AdditiveCosineMargin(0.5), sub_centers=2)
    with torch.no_grad():
        loss.weights[0].copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]))
    value = loss([torch.tensor([[3.0, 4.0]])], torch.tensor([0]))
    assert value.item() == pytest.approx(math.log(1 + math.exp(-1.8)), rel=1e-6)
    value.backward()
    # Only the nearest vectors move.
    moved = loss.weights[0].grad.abs().sum(dim=1) > 0
    assert moved.tolist() == [False, True, True, False]


def test_one_sub_center_is_none_to_the_last_bit():
    features = [rows(9, dim, 40 + dim) for dim in DIMS]
    pids = torch.arange(9) % P
    one, many = make_loss(margin=0.3), make_loss(margin=0.3, sub_centers=3)
    assert [tuple(w.shape) for w in one.weights] == [(P, dim) for dim in DIMS]
    assert [tuple(w.shape) for w in many.weights] == [(3 * P, dim) for dim in DIMS]
    with torch.no_grad():
        for weight, repeated in zip(one.weights, many.weights, strict=True):
            repeated.copy_(weight.repeat_interleave(3, dim=0))
    assert one(features, pids).item() == pytest.approx(many(features, pids).item(), rel=1e-12)


@pytest.mark.parametrize("kind", ["none", "angular", "cosine"])
def test_offsets_are_added_to_the_logits(kind):
    """To every feature's, after scale and margin."""
    loss = make_loss(margin=0.3, kind=kind)
    features, pids = [rows(6, dim, 60 + dim) for dim in DIMS], torch.arange(6) % P
    offsets = torch.tensor([0.0, -1.0, 2.0, 0.5])
    total = 0.0
    for x, weight in zip(features, loss.weights, strict=True):
        logits = loss._logits(x, loss._cosines(x, weight), pids, loss.margin).tolist()
        for row, pid in zip(logits, pids.tolist(), strict=True):
            exps = [math.exp(z + o) for z, o in zip(row, offsets.tolist(), strict=True)]
            total -= math.log(exps[pid] / sum(exps))
    assert loss(features, pids, offsets).item() == pytest.approx(total / 12, rel=1e-10)
    same = loss(features, pids, torch.full((P,), 3.0))
    torch.testing.assert_close(same, loss(features, pids))


@pytest.mark.parametrize("kind", ["none", "angular", "cosine"])
def test_no_margin_is_the_plain_softmax_to_the_last_bit(kind):
    loss = make_loss(margin=0.0, kind=kind)
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


@pytest.mark.parametrize("sub_centers", [1, 2])
@pytest.mark.parametrize(("kind", "margin"), [("none", 0.0), ("angular", 0.5), ("cosine", 0.35)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_is_finite_at_the_ends(kind, margin, dtype, sub_centers):
    """acos without a clamp gives nan where a feature points along its weights (as in fast-reid)."""
    loss = CosineSoftmaxLoss(
        (2,), 2, scale=30.0, margin=KINDS[kind](margin), sub_centers=sub_centers
    ).to(dtype)
    with torch.no_grad():
        ends = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
        loss.weights[0].copy_(ends.repeat_interleave(sub_centers, dim=0))
    x = torch.tensor([[5.0, 0.0], [-5.0, 0.0], [3.0, 4.0]], dtype=dtype, requires_grad=True)
    value = loss([x], torch.tensor([0, 0, 1]))
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(x.grad).all()
    assert torch.isfinite(loss.weights[0].grad).all()


@pytest.mark.parametrize("sub_centers", [1, 3])
@pytest.mark.parametrize(("kind", "margin"), [("none", 0.0), ("angular", 0.5), ("cosine", 0.35)])
def test_gradcheck(kind, margin, sub_centers):
    """One feature: several are losses apart, of which the mean is taken."""
    loss = make_loss((3,), margin=margin, eps=0.1, kind=kind, sub_centers=sub_centers)
    features = [rows(3, 3, 13).requires_grad_()]
    pids = torch.tensor([3, UNLABELED_PID, 0])
    assert torch.autograd.gradcheck(lambda *x: loss(x, pids), features)
    assert torch.autograd.gradcheck(lambda *w: loss(features, pids), tuple(loss.weights))


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
    loss = CosineSoftmaxLoss((16,), P, scale=30.0, margin=AdditiveAngularMargin(margin))
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
@pytest.mark.parametrize("kind", ["none", "angular", "cosine"])
@pytest.mark.parametrize("sub_centers", [1, 3])
def test_no_labelled_rows_give_a_connected_zero(count, kind, sub_centers):
    loss = CosineSoftmaxLoss((5,), P, scale=30.0, margin=KINDS[kind](0.3), sub_centers=sub_centers)
    x = rows(count, 5, 1).float().requires_grad_()
    value = loss([x], torch.full((count,), UNLABELED_PID))
    value.backward()
    assert value.item() == 0.0
    assert x.grad.abs().sum() == 0.0
    assert loss.weights[0].grad.abs().sum() == 0.0


@pytest.mark.parametrize(("kind", "sub_centers"), [("angular", 1), ("cosine", 1), ("angular", 3)])
def test_bfloat16_autocast_changes_nothing(kind, sub_centers):
    loss = make_loss(margin=0.5, kind=kind, sub_centers=sub_centers).float()
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
        ({"sub_centers": 0}, "sub_centers=0.*SUB_CENTERS"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"num_identities": 0}, "NUM_IDENTITIES"),
        ({"in_dims": ()}, "no feature"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        CosineSoftmaxLoss(**{"in_dims": DIMS, "num_identities": P, "scale": 30.0, **settings})


def test_a_number_as_the_margin_is_refused():
    with pytest.raises(TypeError, match=r"margin=0\.3; expected a module.*AdditiveAngularMargin"):
        CosineSoftmaxLoss((4,), 3, scale=30, margin=0.3)


@pytest.mark.parametrize("kind", [CosineSoftmaxLoss, PartialFCLoss])
def test_settings_are_given_by_keyword(kind):
    """Nine and ten numbers in a row were easy to put in the wrong order."""
    with pytest.raises(TypeError, match="positional"):
        kind((4,), 3, 30.0)
