"""Margins that depend on the batch and on the feature's length, case by case."""

import math

import pytest
import torch

from reid_heads.losses.adaptive_margins import (
    CurricularMargin,
    MagnitudeMargin,
    QualityAdaptiveMargin,
)


def column(*values):
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_curricular_by_hand():
    # t from 0: 0.99 * 0 + 0.01 * (0.6 + 0.4) / 2 = 0.005.
    margin = CurricularMargin(math.pi / 3).double()
    margin.observe(column(0.6, 0.4), column(1.0, 1.0))
    assert margin.t.item() == pytest.approx(0.005)
    # 60 degrees and m = 60: the target is cos 120 = -1/2. The wrong one at -0.8 is easy and stays;
    # the one at 0.2 is hard: 0.2 (0.005 + 0.2) = 0.041.
    cosines = torch.tensor([[0.5, -0.8, 0.2]], dtype=torch.float64)
    got = margin(cosines, torch.tensor([0]))
    expected = torch.tensor([[-0.5, -0.8, 0.041]], dtype=torch.float64)
    torch.testing.assert_close(got, expected)
    # One that is just as good as the target is not hard yet.
    level = torch.tensor([[-0.5]], dtype=torch.float64)
    assert margin.others(level, level).item() == -0.5


def test_curricular_gradient_of_a_hard_negative():
    # d/dc of c (t + c) is t + 2 c; the test for hard ones has no gradient.
    margin = CurricularMargin(0.5).double()
    margin.t.fill_(0.3)
    cosines = torch.tensor([[0.1, 0.7]], dtype=torch.float64, requires_grad=True)
    margin(cosines, torch.tensor([0]))[0, 1].backward()
    torch.testing.assert_close(cosines.grad, torch.tensor([[0.0, 1.7]], dtype=torch.float64))


def test_magnitude_by_hand():
    # l_a = 10, u_a = 20, l_m = 0.2, u_m = 0.6: at a = 15 m = 0.4 and g = 1/15 + 15/400.
    margin = MagnitudeMargin((10.0, 20.0), (0.2, 0.6), 2.0)
    norms = column(5.0, 10.0, 15.0, 20.0, 99.0)
    expected = column(0.2, 0.2, 0.4, 0.6, 0.6)
    torch.testing.assert_close(margin.margins(norms), expected)
    got = margin.penalty(norms).tolist()
    assert got[2] == pytest.approx(2 * (1 / 15 + 15 / 400))
    assert got[0] == got[1] == pytest.approx(2 * (1 / 10 + 10 / 400))
    # Falls with the length up to u_a, where its slope -1/a^2 + 1/u_a^2 is 0.
    assert got[1] > got[2] > got[3] == got[4]
    cosines = torch.full((5, 1), 0.3, dtype=torch.float64)
    torch.testing.assert_close(margin.shift(cosines, norms), (cosines.acos() + expected).cos())


@pytest.mark.parametrize("gradient", ["exact", "straight_through"])
def test_the_length_has_its_gradient_through_the_margin(gradient):
    """d cos(theta + m(a)) / da = -sin(theta + m) (u_m - l_m) / (u_a - l_a), in either kind."""
    margin = MagnitudeMargin((10.0, 20.0), (0.2, 0.6), 2.0, gradient)
    norms = column(12.0, 25.0).requires_grad_()
    cosines = column(0.3, 0.3).requires_grad_()
    margin.shift(cosines, norms).sum().backward()
    slope = -math.sin(math.acos(0.3) + 0.28) * 0.4 / 10
    torch.testing.assert_close(norms.grad, column(slope, 0.0))
    expected = math.sin(math.acos(0.3) + 0.28) / math.sin(math.acos(0.3))
    first = 1.0 if gradient == "straight_through" else expected
    assert cosines.grad[0].item() == pytest.approx(first)


def test_quality_by_hand():
    # Lengths 8, 10, 12: mean 10, deviation 2. h = 0.5: z of 12 is 0.5, of 4 cut at -1.
    margin = QualityAdaptiveMargin(0.4, 0.5).double()
    norms = column(8.0, 10.0, 12.0)
    assert margin.quality(norms).abs().sum() == 0  # nothing seen
    margin.observe(column(0, 0, 0), norms)
    z = margin.quality(column(12.0, 10.0, 4.0, 99.0))
    torch.testing.assert_close(z, column(0.5, 0.0, -1.0, 1.0), rtol=0, atol=1e-3)
    # 0: CosFace; -1: ArcFace; 1: an angle of -m and 2 m off the cosine.
    margin.std.sub_(1e-3)  # so that z is exact
    cosine = 0.25
    got = margin.shift(torch.full((4, 1), cosine, dtype=torch.float64), column(10, 4, 99, 12))
    theta = math.acos(cosine)
    expected = [
        cosine - 0.4,
        math.cos(theta + 0.4),
        math.cos(theta - 0.4) - 0.8,
        math.cos(theta - 0.2) - 0.6,
    ]
    torch.testing.assert_close(got, column(*expected))


def test_quality_statistics_move_slowly_after_the_first_batch():
    margin = QualityAdaptiveMargin(0.4, 0.5, momentum=0.9).double()
    margin.observe(column(0, 0), column(10.0, 14.0))
    margin.observe(column(0, 0), column(20.0, 24.0))
    assert margin.mean.item() == pytest.approx(0.9 * 12 + 0.1 * 22)
    # Both batches have the same deviation, 2 sqrt(2).
    assert margin.std.item() == pytest.approx(2 * math.sqrt(2))
    margin.observe(column(0), column(500.0))
    assert margin.num_batches == 2, "one row has no deviation"


def test_equal_lengths_are_of_middle_quality():
    margin = QualityAdaptiveMargin(0.4, 0.5)
    margin.observe(column(0, 0), column(3.0, 3.0))
    assert margin.quality(column(3.0, 3.0)).abs().max() < 1e-3


@pytest.mark.parametrize("z", [-1.0, -0.4, 0.0, 0.4, 1.0])
def test_every_quality_falls_over_the_whole_half_circle(z):
    margin = QualityAdaptiveMargin(0.4, 0.5).double()
    margin.observe(column(0, 0, 0), column(8.0, 10.0, 12.0))
    theta = torch.linspace(0, math.pi, 20001, dtype=torch.float64)[:, None]
    norms = torch.full_like(theta, 10 + 4 * z)
    target = margin.shift(theta.cos(), norms)
    steps = target[:, 0].diff()
    assert (steps < 0).all() and steps.abs().max() < 1e-3


def test_norms_are_needed():
    for margin in (MagnitudeMargin(), QualityAdaptiveMargin()):
        with pytest.raises(ValueError, match=r"depends on the lengths.*norms"):
            margin(torch.zeros(2, 3), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CurricularMargin(28.6), "margin=28.6.*radians.*CURRICULARFACE"),
        (lambda: CurricularMargin(0.5, 1.0), r"momentum=1\.0"),
        (lambda: MagnitudeMargin((10, 5)), r"norm_range=\(10, 5\).*MAGFACE"),
        (lambda: MagnitudeMargin(margin_range=(0.5, 1.6)), r"margin_range=\(0\.5, 1\.6\)"),
        (lambda: MagnitudeMargin(regularizer=-1), "regularizer=-1"),
        (lambda: QualityAdaptiveMargin(1.0), r"margin=1\.0.*ADAFACE"),
        (lambda: QualityAdaptiveMargin(concentration=0.0), r"concentration=0\.0"),
        (lambda: QualityAdaptiveMargin(momentum=math.nan), "momentum=nan"),
        (lambda: CurricularMargin(gradient="fast"), "gradient='fast'.*exact.*straight_through"),
    ],
)
def test_settings_out_of_range_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
