"""Margins, against angles computed one by one."""

import math

import pytest
import torch

from reid_heads.losses.margins import (
    AdditiveAngularMargin,
    AdditiveCosineMargin,
    CombinedMargin,
    MultiplicativeAngularMargin,
    add_angular_margin,
    multiply_angle,
)


def random_cosines(rows, columns, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, columns, generator=generator, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("kind", [AdditiveAngularMargin, AdditiveCosineMargin])
def test_only_the_true_identity_changes(kind):
    cosines, pids = random_cosines(50, 4), torch.arange(50) % 4
    given = cosines.clone()
    got = kind(0.4)(cosines, pids)
    assert torch.equal(cosines, given), "the argument was changed"
    for row, (before, after, pid) in enumerate(zip(cosines, got, pids.tolist(), strict=True)):
        for c in range(4):
            theta = math.acos(before[c])
            if c != pid:
                expected = math.cos(theta)
            elif kind is AdditiveCosineMargin:
                expected = math.cos(theta) - 0.4
            elif theta < math.pi - 0.4:
                expected = math.cos(theta + 0.4)
            else:
                expected = math.cos(theta) + math.cos(0.4) - 1
            assert after[c].item() == pytest.approx(expected, abs=1e-12), (row, c)


def test_by_hand():
    # 60 degrees and identity 0: cos(60 + 60) = -1/2, and 1/2 - 0.35 = 0.15.
    cosines = torch.tensor([[0.5, 0.8]], dtype=torch.float64)
    pids = torch.tensor([0])
    angular = AdditiveAngularMargin(math.pi / 3)(cosines, pids)
    torch.testing.assert_close(angular, torch.tensor([[-0.5, 0.8]], dtype=torch.float64))
    additive = AdditiveCosineMargin(0.35)(cosines, pids)
    torch.testing.assert_close(additive, torch.tensor([[0.15, 0.8]], dtype=torch.float64))


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


def test_gradient_is_that_of_the_function():
    """Not the straight-through one, whose slope is 1: at cos(theta) = 0.6 and m = 0.5 it is
    sin(theta + m) / sin(theta) = (0.8 cos 0.5 + 0.6 sin 0.5) / 0.8 = 1.2372."""
    cosines = torch.tensor([0.6], dtype=torch.float64).requires_grad_()
    add_angular_margin(cosines, 0.5).backward()
    expected = math.cos(0.5) + 0.75 * math.sin(0.5)
    assert cosines.grad.item() == pytest.approx(expected, rel=1e-12)


def test_gradcheck_past_the_margin():
    cosines = torch.tensor([-0.99, -0.9, -0.5, 0.0, 0.99], dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: add_angular_margin(x, 0.6), cosines)


@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_is_finite_at_the_ends(margin, dtype):
    """acos without a clamp gives nan where a feature points along its weights (as in fast-reid)."""
    cosines = torch.tensor([1.0, -1.0, 1.0 + 1e-7, 1 - 2e-7], dtype=dtype, requires_grad=True)
    target = add_angular_margin(cosines, margin)
    target.sum().backward()
    assert torch.isfinite(target).all() and torch.isfinite(cosines.grad).all()


@pytest.mark.parametrize("kind", [AdditiveAngularMargin, AdditiveCosineMargin])
def test_zero_changes_nothing_and_no_row_is_no_error(kind):
    cosines, pids = random_cosines(9, 4), torch.arange(9) % 4
    assert torch.equal(kind(0.0)(cosines, pids), cosines)
    assert kind(0.3)(cosines[:0], pids[:0]).shape == (0, 4)


@pytest.mark.parametrize(
    ("kind", "bad", "message"),
    [
        (AdditiveAngularMargin, -0.1, "margin=-0.1.*ARCFACE"),
        (AdditiveAngularMargin, 28.6, "margin=28.6.*radians"),
        (AdditiveAngularMargin, math.nan, "margin=nan"),
        (AdditiveCosineMargin, -0.1, "margin=-0.1.*COSFACE"),
        (AdditiveCosineMargin, 2.0, r"margin=2\.0"),
    ],
)
def test_margin_out_of_range_is_refused(kind, bad, message):
    with pytest.raises(ValueError, match=message):
        kind(bad)


THETA = torch.linspace(0, math.pi, 20001, dtype=torch.float64)
# The sine is cut at 1.4e-3.
NO_END = (THETA - math.pi / 2).abs() < math.pi / 2 - 2e-3


@pytest.mark.parametrize(
    ("combined", "named"),
    [
        ((1.0, 0.5, 0.0), AdditiveAngularMargin(0.5)),
        ((1.0, 0.0, 0.35), AdditiveCosineMargin(0.35)),
        ((1.35, 0.0, 0.0), MultiplicativeAngularMargin(1.35)),
    ],
)
def test_named_margins_are_cases_of_the_combined_one(combined, named):
    cosines, pids = random_cosines(50, 4), torch.arange(50) % 4
    assert torch.equal(CombinedMargin(*combined)(cosines, pids), named(cosines, pids))


@pytest.mark.parametrize(
    "m", [(1, 0.3, 0.2), (0.9, 0.4, 0.15), (1.35, 0, 0), (4, 0, 0), (1.2, 0.5, 0.1), (0.5, 0.2, 0)]
)
def test_combined_margin_is_the_formula_up_to_pi_and_falls_beyond(m):
    m1, m2, m3 = m
    target = CombinedMargin(*m).shift(THETA.cos()[:, None])[:, 0]
    steps = target.diff()
    # Near the ends of theta, and where the formula itself is flat, steps are tiny.
    assert (steps <= 1e-12).all() and steps.abs().max() < 2e-3 * m1
    assert (steps.unfold(0, 50, 50).sum(1) < 0).all()
    inside = (m1 * THETA + m2 <= math.pi) & NO_END
    torch.testing.assert_close(target[inside], (m1 * THETA[inside] + m2).cos() - m3)


@pytest.mark.parametrize("m", [2, 3, 4])
def test_whole_factors_are_the_function_of_sphereface(m):
    """Equation 7, written out: (-1)^k cos(m theta) - 2 k in the k-th part of the half circle."""
    for theta in (0.1, 0.7, 1.0, 1.5, 1.7, 2.2, 2.9):
        k = next(k for k in range(m) if theta <= (k + 1) * math.pi / m)
        expected = (-1) ** k * math.cos(m * theta) - 2 * k
        got = multiply_angle(torch.tensor([math.cos(theta)], dtype=torch.float64), m)
        assert got.item() == pytest.approx(expected, rel=1e-9)


def test_factor_by_hand():
    # 60 degrees: 1.5 * 60 = 90. 150 degrees: 225, one fold: -cos 225 - 2 = sqrt(1/2) - 2.
    got = multiply_angle(torch.tensor([0.5, -math.sqrt(3) / 2], dtype=torch.float64), 1.5)
    expected = torch.tensor([0.0, math.sqrt(0.5) - 2], dtype=torch.float64)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("m", [(1.35, 0.0), (0.9, 0.4), (4.0, 0.0)])
def test_factor_gradcheck_and_the_ends(m):
    cosines = torch.tensor([-0.99, -0.9, -0.5, 0.0, 0.99], dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: multiply_angle(x, *m), cosines)
    for dtype in (torch.float32, torch.float64):
        ends = torch.tensor([1.0, -1.0, 1.0 + 1e-7], dtype=dtype, requires_grad=True)
        value = multiply_angle(ends, *m)
        value.sum().backward()
        assert torch.isfinite(value).all() and torch.equal(ends.grad, torch.ones(3, dtype=dtype))


@pytest.mark.parametrize(
    "make",
    [
        lambda gradient: AdditiveAngularMargin(0.5, gradient),
        lambda gradient: MultiplicativeAngularMargin(1.35, gradient),
        lambda gradient: CombinedMargin(0.9, 0.4, 0.15, gradient),
    ],
)
def test_straight_through_keeps_the_value_and_has_slope_one(make):
    cosines = random_cosines(40, 3, seed=2).requires_grad_()
    pids = torch.arange(40) % 3
    exact, through = (make(gradient)(cosines, pids) for gradient in ("exact", "straight_through"))
    torch.testing.assert_close(exact, through)
    (slopes,) = torch.autograd.grad(through.sum(), cosines, retain_graph=True)
    assert torch.equal(slopes, torch.ones_like(slopes))
    (slopes,) = torch.autograd.grad(exact.sum(), cosines)
    assert (slopes[torch.arange(40), pids] - 1).abs().max() > 0.1


def test_margins_of_each_row():
    """As of one number, for positive and negative ones; those below 0 have a guard near theta 0."""
    margins = torch.tensor([-0.4, -0.1, 0.0, 0.3, 0.8], dtype=torch.float64)[:, None]
    got = add_angular_margin(THETA.cos().expand(5, -1), margins)
    for row, margin in zip(got, margins.flatten().tolist(), strict=True):
        torch.testing.assert_close(row, add_angular_margin(THETA.cos(), margin))
        steps = row.diff()
        assert (steps < 0).all() and steps.abs().max() < 1e-3
        inside = (THETA + margin > 2e-3) & (THETA + margin < math.pi) & NO_END
        torch.testing.assert_close(row[inside], (THETA[inside] + margin).cos())


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CombinedMargin(0.0), r"m1=0\.0.*MARGIN.COMBINED"),
        (lambda: CombinedMargin(1.0, 28.6), "m2=28.6.*radians"),
        (lambda: CombinedMargin(1.0, 0.3, math.nan), "m3=nan"),
        (lambda: MultiplicativeAngularMargin(0.9), r"margin=0\.9.*SPHEREFACE"),
        (lambda: AdditiveAngularMargin(0.5, "none"), "gradient='none'.*GRADIENT"),
    ],
)
def test_other_settings_out_of_range_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
