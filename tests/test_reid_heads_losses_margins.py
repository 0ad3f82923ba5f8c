"""Margins, against angles computed one by one."""

import math

import pytest
import torch

from reid_heads.losses.margins import (
    AdditiveAngularMargin,
    AdditiveCosineMargin,
    add_angular_margin,
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
