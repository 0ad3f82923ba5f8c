"""Every margin as a whole loss, against the papers' formulas taken one row at a time."""

import io
import itertools
import math

import pytest
import torch
from helpers_processes import run_processes

from reid_heads.labels import UNLABELED_PID
from reid_heads.losses import CosineSoftmaxLoss
from reid_heads.losses.adaptive_margins import (
    CurricularMargin,
    MagnitudeMargin,
    QualityAdaptiveMargin,
)
from reid_heads.losses.margins import (
    AdditiveAngularMargin,
    AdditiveCosineMargin,
    CombinedMargin,
    MultiplicativeAngularMargin,
)

P, SCALE = 4, 8.0
DIMS = (5, 3)
MARGINS = {
    "none": lambda **k: None,
    "sphereface": lambda **k: MultiplicativeAngularMargin(1.35, **k),
    "arcface": lambda **k: AdditiveAngularMargin(0.5, **k),
    "cosface": lambda **k: AdditiveCosineMargin(0.35, **k),
    "combined": lambda **k: CombinedMargin(1.0, 0.3, 0.2, **k),
    "combined2": lambda **k: CombinedMargin(0.9, 0.4, 0.15, **k),
    "curricular": lambda **k: CurricularMargin(0.5, 0.75, **k),
    "magface": lambda **k: MagnitudeMargin((2.0, 9.0), (0.3, 0.9), 5.0, **k),
    "adaface": lambda **k: QualityAdaptiveMargin(0.4, 0.5, 0.75, **k),
}
ANGULAR = [name for name in MARGINS if name not in ("none", "cosface")]


def rows(count, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator, dtype=torch.float64)


def make_loss(name, dims=DIMS, **settings):
    torch.manual_seed(0)
    return CosineSoftmaxLoss(dims, P, scale=SCALE, margin=MARGINS[name](), **settings).double()


def guarded(theta, margin):
    """cos(theta + m), gone on with slope 1 in cos(theta) where the angle leaves 0..pi."""
    if theta + margin > math.pi:
        return math.cos(theta) + math.cos(margin) - 1
    if theta + margin < 0:
        return math.cos(theta) - math.cos(margin) + 1
    return math.cos(theta + margin)


def folded(x):
    """SphereFace, equation 7."""
    k = math.floor(x / math.pi)
    return (-1) ** k * math.cos(x) - 2 * k


class Loop:
    """One feature's loss over several batches."""

    def __init__(self, name):
        self.name = name
        self.t, self.mean, self.std, self.seen = 0.0, 0.0, 0.0, False

    def observe(self, cosines, norms):
        self.t = 0.75 * self.t + 0.25 * sum(cosines) / len(cosines)
        if len(norms) > 1:
            mean = sum(norms) / len(norms)
            std = math.sqrt(sum((n - mean) ** 2 for n in norms) / (len(norms) - 1))
            old = 0.75 if self.seen else 0.0
            self.mean = old * self.mean + (1 - old) * mean
            self.std = old * self.std + (1 - old) * std
            self.seen = True

    def target(self, cosine, norm):
        theta = math.acos(cosine)
        if self.name == "none":
            return cosine
        if self.name == "sphereface":
            return folded(1.35 * theta)
        if self.name in ("arcface", "curricular"):
            return guarded(theta, 0.5)
        if self.name == "cosface":
            return cosine - 0.35
        if self.name == "combined":
            return guarded(theta, 0.3) - 0.2
        if self.name == "combined2":
            return folded(0.9 * theta + 0.4) - 0.15
        if self.name == "magface":
            return guarded(theta, 0.3 + (0.9 - 0.3) / (9 - 2) * (min(max(norm, 2), 9) - 2))
        z = max(-1, min(1, 0.5 * (norm - self.mean) / (self.std + 1e-3))) if self.seen else 0.0
        return guarded(theta, -0.4 * z) - (0.4 * z + 0.4)

    def penalty(self, norm):
        length = min(max(norm, 2), 9)
        return 5 * (1 / length + length / 81) if self.name == "magface" else 0.0

    def __call__(self, x, weight, pids, sub_centers, intra, inter):
        x, weight = x.tolist(), weight.tolist()

        def cosine(a, b):
            return sum(p * q for p, q in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

        kept = [(row, pid) for row, pid in zip(x, pids.tolist(), strict=True) if pid >= 0]
        tables = []
        for row, _ in kept:
            each = [cosine(row, w) for w in weight]
            tables.append([max(each[c * sub_centers : (c + 1) * sub_centers]) for c in range(P)])
        norms = [math.hypot(*row) for row, _ in kept]
        self.observe([t[pid] for t, (_, pid) in zip(tables, kept, strict=True)], norms)
        total = 0.0
        for table, norm, (_, pid) in zip(tables, norms, kept, strict=True):
            own = self.target(table[pid], norm)
            logits = []
            for c in range(P):
                if c == pid:
                    logits.append(SCALE * own)
                elif self.name == "curricular" and table[c] > own:
                    logits.append(SCALE * table[c] * (self.t + table[c]))
                else:
                    logits.append(SCALE * table[c])
            total += math.log(sum(math.exp(z) for z in logits)) - logits[pid]
            total += self.penalty(norm) + intra * math.acos(table[pid]) / math.pi
            for c in range(P):
                if c != pid and inter:
                    angle = math.acos(cosine(weight[pid], weight[c]))
                    total -= inter * angle / (math.pi * (P - 1))
        return total / len(kept)


@pytest.mark.parametrize("sub_centers", [1, 3])
@pytest.mark.parametrize("name", MARGINS)
def test_three_steps_equal_the_loop(name, sub_centers):
    """Two features: what a margin keeps is of each feature apart."""
    loss = make_loss(name, sub_centers=sub_centers)
    loops = [Loop(name) for _ in DIMS]
    for step, count in enumerate((30, 2, 25)):
        features = [3 * rows(count, dim, 10 * step + dim) for dim in DIMS]
        pids = (torch.arange(count) + 1) % (P + 1) + UNLABELED_PID
        each = [
            loop(x, w, pids, sub_centers, 0.0, 0.0)
            for loop, x, w in zip(loops, features, loss.weights, strict=True)
        ]
        assert loss(features, pids).item() == pytest.approx(sum(each) / 2, rel=1e-6), step


@pytest.mark.parametrize("name", ["none", "arcface", "magface"])
@pytest.mark.parametrize(("intra", "inter"), [(0.5, 0.0), (0.0, 2.0), (0.5, 2.0)])
def test_penalties_equal_the_loop(name, intra, inter):
    loss = make_loss(name, intra=intra, inter=inter)
    features = [3 * rows(20, dim, dim) for dim in DIMS]
    pids = torch.arange(20) % (P + 1) + UNLABELED_PID
    each = [
        Loop(name)(x, w, pids, 1, intra, inter) for x, w in zip(features, loss.weights, strict=True)
    ]
    assert loss(features, pids).item() == pytest.approx(sum(each) / 2, rel=1e-6)


def test_penalties_by_hand():
    # Feature at 60 degrees from identity 0, at 30 from identity 1 and at 150 from identity 2: intra
    # 60/180 = 1/3. From W_0 it is 90 degrees to W_1 and 150 to W_2: inter -(1/2 + 5/6) / 2 = -2/3.
    def unit(degrees):
        return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]

    values = {}
    for intra, inter in ((0, 0), (1, 0), (0, 1)):
        loss = CosineSoftmaxLoss((2,), 3, scale=1.0, intra=intra, inter=inter).double()
        with torch.no_grad():
            loss.weights[0].copy_(torch.tensor([unit(0), unit(90), unit(210)]))
        x = torch.tensor([unit(60)], dtype=torch.float64)
        values[intra, inter] = loss([x], torch.tensor([0])).item()
    assert values[1, 0] - values[0, 0] == pytest.approx(1 / 3)
    assert values[0, 1] - values[0, 0] == pytest.approx(-2 / 3)


@pytest.mark.parametrize(
    ("name", "sub_centers"), [("combined", 1), ("curricular", 1), *((name, 2) for name in MARGINS)]
)
def test_gradcheck(name, sub_centers):
    """One feature: several are losses apart, of which the mean is taken."""
    loss = make_loss(name, (3,), sub_centers=sub_centers, label_smoothing=0.1, intra=0.3)
    features = [2 * rows(4, 3, 13)]
    pids = torch.tensor([3, UNLABELED_PID, 0, 1])
    loss(features, pids)  # statistics to go by
    loss.eval()  # and they stay
    leaves = [x.requires_grad_() for x in features]
    if name == "adaface":
        # The quality has no gradient: hold the lengths.
        quality = loss.margin.quality(torch.linalg.vector_norm(features[0], dim=1, keepdim=True))
        assert not quality.requires_grad
    else:
        assert torch.autograd.gradcheck(lambda *x: loss(x, pids), leaves)
    assert torch.autograd.gradcheck(lambda *w: loss(features, pids), tuple(loss.weights))


def test_gradcheck_of_the_penalty_between_identities():
    loss = make_loss("combined", (3,), inter=0.7)
    features, pids = [rows(4, 3, 13)], torch.tensor([3, 0, 0, 1])
    assert torch.autograd.gradcheck(lambda *w: loss(features, pids), tuple(loss.weights))


def test_gradient_of_adaface_is_that_of_its_margin_held_fixed():
    loss = CosineSoftmaxLoss((5,), P, scale=SCALE, margin=QualityAdaptiveMargin(0.4, 0.5)).double()
    x, pids = 2 * rows(6, 5, 1), torch.tensor([0, 1, 2, 3, 0, 1])
    loss([x], pids)
    loss.eval()
    z = loss.margin.quality(torch.linalg.vector_norm(x, dim=1, keepdim=True))
    leaf = x.clone().requires_grad_()
    (got,) = torch.autograd.grad(loss([leaf], pids), leaf)
    cosines = torch.nn.functional.normalize(leaf) @ torch.nn.functional.normalize(loss.weights[0]).T
    theta = cosines.acos()
    own = torch.nn.functional.one_hot(pids, P).bool()
    shifted = torch.where(own, (theta - 0.4 * z).cos() - 0.4 * z - 0.4, cosines)
    value = torch.nn.functional.cross_entropy(SCALE * shifted, pids)
    torch.testing.assert_close(got, torch.autograd.grad(value, leaf)[0])


@pytest.mark.parametrize("name", ANGULAR)
def test_only_angles_count_where_the_length_is_no_quality(name):
    features = [rows(6, dim, 50 + dim) for dim in DIMS]
    pids = torch.tensor([0, 1, 2, 3, 0, UNLABELED_PID])
    expected = make_loss(name)(features, pids)
    longer = make_loss(name)([100 * x for x in features], pids)
    # AdaFace compares lengths with each other only, but for the 1e-3 beside their spread.
    if name == "magface":
        assert abs(longer - expected) > 0.1
    else:
        torch.testing.assert_close(longer, expected, rtol=1e-3, atol=0)
    order = torch.tensor([5, 3, 4, 0, 1, 2])
    torch.testing.assert_close(make_loss(name)([x[order] for x in features], pids[order]), expected)
    scaled = make_loss(name)
    with torch.no_grad():
        for weight in scaled.weights:
            weight.mul_(7)
    torch.testing.assert_close(scaled(features, pids), expected)


@pytest.mark.parametrize("name", MARGINS)
def test_finite_where_features_lie_on_their_weights(name):
    for dtype, sub_centers in itertools.product((torch.float32, torch.float64), (1, 2)):
        check_finite_on_weights(name, dtype, sub_centers)


def check_finite_on_weights(name, dtype, sub_centers):
    loss = CosineSoftmaxLoss(
        (2,), 2, scale=64.0, margin=MARGINS[name](), sub_centers=sub_centers, intra=1.0
    ).to(dtype)
    with torch.no_grad():
        ends = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
        loss.weights[0].copy_(ends.repeat_interleave(sub_centers, dim=0))
    x = torch.tensor([[5.0, 0.0], [-5.0, 0.0], [3.0, 0.0], [3.0, 4.0]], dtype=dtype)
    x.requires_grad_()
    value = loss([x], torch.tensor([0, 0, 1, 1]))
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(x.grad).all()
    assert torch.isfinite(loss.weights[0].grad).all()


@pytest.mark.parametrize("name", MARGINS)
def test_no_labelled_rows_give_a_connected_zero_and_leave_no_trace(name):
    for count in (0, 1, 3):
        check_no_labelled_rows(name, count)


def check_no_labelled_rows(name, count):
    loss = make_loss(name, intra=0.5, inter=0.5)
    before = {k: v.clone() for k, v in loss.state_dict().items()}
    features = [rows(count, dim, 1).requires_grad_() for dim in DIMS]
    value = loss(features, torch.full((count,), UNLABELED_PID))
    value.backward()
    assert value.item() == 0.0
    for leaf in [*features, *loss.parameters()]:
        assert leaf.grad.abs().sum() == 0.0
    for key, state in loss.state_dict().items():
        assert torch.equal(state, before[key]), key


@pytest.mark.parametrize("name", MARGINS)
def test_one_identity_and_one_row(name):
    loss = CosineSoftmaxLoss((5,), 1, scale=8.0, margin=MARGINS[name](), intra=0.0, inter=1.0)
    x = rows(1, 5, 1).float().requires_grad_()
    value = loss([x], torch.tensor([0]))
    value.backward()
    assert torch.isfinite(x.grad).all()
    # A softmax over one class is 1; what is left is MagFace's pull.
    length = min(max(x.norm().item(), 2), 9)
    expected = 5 * (1 / length + length / 81) if name == "magface" else 0.0
    assert value.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", MARGINS)
def test_half_precision_features_leave_weights_and_loss_in_float32(name):
    """pytorch-metric-learning turns the weights into the features' type for good."""
    features = [2 * rows(4, dim, 30 + dim).float() for dim in DIMS]
    pids = torch.tensor([0, 1, 2, 3])
    expected = make_loss(name).float()(features, pids)
    for low in (torch.bfloat16, torch.float16):
        loss = make_loss(name).float()
        leaves = [x.to(low).requires_grad_() for x in features]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss(leaves, pids)
        value.backward()
        assert value.dtype == torch.float32
        assert {p.dtype for p in loss.parameters()} == {torch.float32}
        assert {b.dtype for b in loss.buffers()} <= {torch.float32, torch.int64}
        assert [x.grad.dtype for x in leaves] == [low] * 2
        assert value.item() == pytest.approx(expected.item(), rel=0.03)
    same = make_loss(name).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert same(features, pids).item() == expected.item()


@pytest.mark.parametrize("name", MARGINS)
def test_labels_out_of_range_are_refused_and_leave_no_trace(name):
    loss = make_loss(name)
    before = {k: v.clone() for k, v in loss.state_dict().items()}
    for bad in (P, -2):
        with pytest.raises(ValueError, match=r"0\.\.3.*NUM_IDENTITIES"):
            loss([rows(2, dim, 1) for dim in DIMS], torch.tensor([0, bad]))
    for key, state in loss.state_dict().items():
        assert torch.equal(state, before[key]), key


@pytest.mark.parametrize("name", ["curricular", "adaface"])
def test_the_state_is_in_the_checkpoint_and_stays_in_evaluation(name):
    def batch(step):
        return [3 * rows(8, dim, 10 * step + dim) for dim in DIMS], torch.arange(8) % P

    first = make_loss(name)
    for step in range(3):
        first(*batch(step))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = make_loss(name)
    second.load_state_dict(torch.load(file))
    assert torch.equal(first(*batch(5)), second(*batch(5)))
    before = {k: v.clone() for k, v in second.state_dict().items()}
    second.eval()(*batch(6))
    for key, state in first.state_dict().items():
        assert torch.equal(state, before[key]), key
        assert torch.equal(second.state_dict()[key], before[key]), key


def test_two_losses_before_one_backward():
    """Gradient accumulation: what the second batch changes must not break the first's backward."""
    for name in ("curricular", "adaface"):
        loss = make_loss(name)
        leaves = [[rows(8, d, 10 * n + d).requires_grad_() for d in DIMS] for n in range(2)]
        (loss(leaves[0], torch.arange(8) % P) + loss(leaves[1], torch.arange(8) % P)).backward()
        alone = make_loss(name)
        copies = [x.detach().requires_grad_() for x in leaves[0]]
        alone(copies, torch.arange(8) % P).backward()
        for x, y in zip(leaves[0], copies, strict=True):
            torch.testing.assert_close(x.grad, y.grad)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"intra": -1.0}, "intra=-1.0.*COSINE_SOFTMAX.INTRA"),
        ({"inter": math.nan}, "inter=nan"),
        ({"inter": 1.0, "sub_centers": 2}, "one weight vector an identity"),
    ],
)
def test_penalties_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_loss("none", **settings)


# Rows on rank 0 and rank 1 in each step: unequal, one empty, both empty, one row in all.
ROWS = [(3, 5), (0, 4), (0, 0), (1, 0), (6, 6)]


def _batch(step, rank):
    count = ROWS[step][rank]
    pids = (torch.arange(count) + step) % (P + 1) + UNLABELED_PID
    return [3 * rows(count, dim, 100 * step + 10 * rank + dim) for dim in DIMS], pids


def _states(rank):
    found = {}
    for name in ("curricular", "adaface"):
        loss, values = make_loss(name), []
        for step in range(len(ROWS)):
            values.append(loss(*_batch(step, rank)).detach())
        found[name] = {"values": values, "state": loss.state_dict()}
    return found


def test_statistics_of_two_processes_are_those_of_the_joined_batch():
    first, second = run_processes(_states, 2)
    for name in ("curricular", "adaface"):
        alone = make_loss(name)
        for step in range(len(ROWS)):
            halves = [_batch(step, rank) for rank in range(2)]
            joined = [torch.cat(pair) for pair in zip(*(h[0] for h in halves), strict=True)]
            value = alone(joined, torch.cat([h[1] for h in halves]))
            mean = (first[name]["values"][step] + second[name]["values"][step]) / 2
            torch.testing.assert_close(mean, value)
        for key, value in alone.state_dict().items():
            assert torch.equal(first[name]["state"][key], second[name]["state"][key]), key
            torch.testing.assert_close(first[name]["state"][key], value)
