"""Softmax loss against a loop over rows and identities written from its definition."""

import math

import pytest
import torch

from reid_heads.labels import UNLABELED_PID
from reid_heads.losses import SoftmaxLoss

P = 4
DIMS = (5, 3)


def rows(count, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator, dtype=torch.float64)


def make_loss(dims=DIMS, identities=P, **settings):
    torch.manual_seed(0)
    loss = SoftmaxLoss(dims, identities, **settings).double()
    with torch.no_grad():
        for weight in loss.weights:
            weight.mul_(1000)  # N(0, 1): decided classifiers
    return loss


def loop(features, weights, pids, eps=0.0, over="all"):
    each = []
    for feature, weight in zip(features, weights, strict=True):
        total, labeled = 0.0, 0
        for x, pid in zip(feature, pids.tolist(), strict=True):
            if pid == UNLABELED_PID:
                continue
            exps = [math.exp(float(w @ x)) for w in weight.detach()]
            for c, e in enumerate(exps):
                if over == "all":
                    q = (1 - eps) * (c == pid) + eps / len(exps)
                else:
                    q = 1 - eps if c == pid else eps / (len(exps) - 1)
                total -= q * math.log(e / sum(exps))
            labeled += 1
        each.append(total / labeled)
    return sum(each) / len(each)


@pytest.mark.parametrize("over", ["all", "others"])
@pytest.mark.parametrize(("identities", "eps"), [(2, 0.0), (2, 0.1), (P, 0.0), (P, 0.1), (P, 0.6)])
def test_equals_the_loop(identities, eps, over):
    loss = make_loss(identities=identities, label_smoothing=eps, smoothing_over=over)
    features = [rows(6, dim, dim) for dim in DIMS]
    pids = torch.tensor([0, 1, UNLABELED_PID, 1, identities - 1, 0])
    expected = loop(features, loss.weights, pids, eps, over)
    assert loss(features, pids).item() == pytest.approx(expected, rel=1e-12)


def test_by_hand():
    # Three identities, logits (ln 2, 0, 0): probabilities 1/2, 1/4 and 1/4. eps = 0.3.
    x, pids = torch.tensor([[math.log(2)]]), torch.tensor([0])
    # q = (0.8, 0.1, 0.1): 0.8 ln 2 + 0.2 ln 4 = 1.2 ln 2.
    # q = (0.7, 0.15, 0.15): 0.7 ln 2 + 0.3 ln 4 = 1.3 ln 2.
    for over, expected in {"all": 1.2, "others": 1.3}.items():
        loss = SoftmaxLoss((1,), 3, label_smoothing=0.3, smoothing_over=over)
        with torch.no_grad():
            loss.weights[0].copy_(torch.tensor([[1.0], [0.0], [0.0]]))
        assert loss([x], pids).item() == pytest.approx(expected * math.log(2), rel=1e-6)


def test_classifiers_start_small_and_have_no_bias():
    torch.manual_seed(0)
    loss = SoftmaxLoss((2048, 256), 751)
    assert [tuple(p.shape) for p in loss.parameters()] == [(751, 2048), (751, 256)]
    for weight in loss.parameters():
        assert weight.std().item() == pytest.approx(0.001, rel=0.01)
        assert weight.mean().item() == pytest.approx(0, abs=1e-5)


def test_gradcheck():
    loss = make_loss(label_smoothing=0.1)
    features = [rows(3, dim, 10 + dim).requires_grad_() for dim in DIMS]
    pids = torch.tensor([3, UNLABELED_PID, 0])
    assert torch.autograd.gradcheck(lambda *x: loss(x, pids), features)
    assert torch.autograd.gradcheck(lambda *w: loss(features, pids), tuple(loss.weights))


def test_permuted_rows_and_unlabelled_rows_change_nothing():
    loss = make_loss()
    features = [rows(4, dim, 20 + dim) for dim in DIMS]
    pids, order = torch.tensor([0, 2, 3, 2]), torch.tensor([3, 1, 0, 2])
    expected = loss(features, pids)
    torch.testing.assert_close(loss([x[order] for x in features], pids[order]), expected)
    more = [torch.cat([x, rows(2, x.shape[1], 9)]) for x in features]
    pids = torch.cat([pids, torch.full((2,), UNLABELED_PID)])
    torch.testing.assert_close(loss(more, pids), expected)


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_no_labelled_rows_give_a_connected_zero(count, eps):
    """DDP wants a gradient of every classifier; cross entropy without targets is nan in torch."""
    loss = SoftmaxLoss((5,), P, label_smoothing=eps)
    x = rows(count, 5, 1).float().requires_grad_()
    value = loss([x], torch.full((count,), UNLABELED_PID))
    value.backward()
    assert value.item() == 0.0
    assert x.grad.abs().sum() == 0.0
    assert loss.weights[0].grad.abs().sum() == 0.0


def test_one_identity_is_always_right():
    for over in ("all", "others"):
        loss = SoftmaxLoss((5,), 1, label_smoothing=0.1, smoothing_over=over)
        assert loss([rows(3, 5, 1).float()], torch.zeros(3, dtype=torch.int64)).item() == 0.0


def test_bfloat16_autocast_changes_nothing():
    loss = make_loss(label_smoothing=0.1).float()
    features = [rows(4, dim, 30 + dim).float() for dim in DIMS]
    pids = torch.tensor([0, 1, 2, 3])
    expected = loss(features, pids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = loss(features, pids)
        low = loss([x.bfloat16() for x in features], pids)
    assert got.dtype == low.dtype == torch.float32
    assert got.item() == expected.item()
    assert low.item() == pytest.approx(expected.item(), rel=0.02)


@pytest.mark.parametrize("bad", [P, 5555, -2])
def test_id_out_of_range_is_refused(bad):
    loss = make_loss()
    features = [rows(2, dim, 1) for dim in DIMS]
    with pytest.raises(ValueError, match=rf"{bad}.*0\.\.3.*MODEL\.REID_HEAD\.NUM_IDENTITIES"):
        loss(features, torch.tensor([0, bad]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"in_dims": ()}, "no feature"),
        ({"num_identities": 0}, "num_identities=0.*NUM_IDENTITIES"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"label_smoothing": -0.1}, "label_smoothing=-0.1"),
        ({"smoothing_over": "none"}, r"'none'.*\['all', 'others'\]"),
        ({"num_identities": 2, "label_smoothing": 0.6, "smoothing_over": "others"}, "weigh more"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SoftmaxLoss(**{"in_dims": DIMS, "num_identities": P, **settings})


def test_missing_feature_is_refused():
    with pytest.raises(ValueError, match="zip"):
        make_loss()([rows(2, DIMS[0], 1)], torch.tensor([0, 1]))
