import pytest
import torch
from detectron2.layers import FrozenBatchNorm2d
from torch import nn

from reid_heads.heads.row_batch_norm import RowBatchNorm
from reid_heads.inversion.batch_statistics import (
    BatchStatistics,
    has_statistics,
    statistics_distance,
)


def distance_by_loops(layer, inputs):
    """Equation 8 with the unbiased variance, value by value."""
    total = 0.0
    for c in range(inputs.shape[1]):
        values = inputs[:, c].flatten().tolist()
        mean = sum(values) / len(values)
        variance = 0.0
        if len(values) > 1:
            variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
        std = (variance + layer.eps) ** 0.5
        running_std = (layer.running_var[c].item() + layer.eps) ** 0.5
        total += (mean - layer.running_mean[c].item()) ** 2 + (std - running_std) ** 2
    return total


def filled(layer, seed=0):
    generator = torch.Generator().manual_seed(seed)
    layer.running_mean.copy_(torch.randn(layer.num_features, generator=generator))
    layer.running_var.copy_(torch.rand(layer.num_features, generator=generator) + 0.5)
    return layer


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.BatchNorm2d(3), (4, 3, 5, 2)),
        (nn.BatchNorm1d(6), (4, 6)),
        (RowBatchNorm(2), (1, 2)),
        (nn.BatchNorm2d(3), (1, 3, 1, 1)),
        (FrozenBatchNorm2d(3), (2, 3, 4, 4)),
        (nn.SyncBatchNorm(3), (2, 3, 4, 4)),
    ],
)
def test_the_distance_is_that_of_a_loop(layer, shape):
    inputs = 2 * torch.randn(shape, generator=torch.Generator().manual_seed(1)) + 1
    got = statistics_distance(filled(layer), inputs)
    assert got.item() == pytest.approx(distance_by_loops(layer, inputs), rel=1e-5)


def test_a_hand_computed_distance():
    """Values 1 and 3: mean 2, unbiased variance 2. Against 0 and 2: (2 - 0)^2 + 0 = 4."""
    layer = nn.BatchNorm1d(1)
    layer.running_var.fill_(2.0)
    got = statistics_distance(layer, torch.tensor([[1.0], [3.0]]))
    assert got.item() == pytest.approx(4.0)


def test_a_batch_with_exactly_the_running_statistics_has_distance_zero():
    inputs = torch.randn(8, 3, 4, 2, generator=torch.Generator().manual_seed(2))
    layer = nn.BatchNorm2d(3, momentum=1.0).train()
    layer(inputs)
    assert statistics_distance(layer, inputs).item() == pytest.approx(0, abs=1e-10)
    assert statistics_distance(layer, inputs + 0.5).item() == pytest.approx(3 * 0.25, rel=1e-4)


def test_the_gradient_is_right_and_finite_where_a_channel_is_constant():
    layer = filled(nn.BatchNorm2d(2)).double()
    inputs = torch.randn(3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: statistics_distance(layer, x), inputs)
    constant = torch.ones(3, 2, 2, 2, requires_grad=True)
    statistics_distance(layer, constant).backward()
    assert torch.isfinite(constant.grad).all()


def test_half_precision_is_widened():
    layer = filled(nn.BatchNorm2d(2))
    inputs = torch.randn(3, 2, 4, 4).bfloat16()
    got = statistics_distance(layer, inputs)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, statistics_distance(layer, inputs.float()))


def test_every_layer_that_is_passed_counts_as_often_as_it_is_passed():
    first, second = filled(nn.BatchNorm2d(3)), filled(nn.BatchNorm1d(3), seed=5)
    model = nn.Sequential(first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), second).eval()
    unused = nn.ModuleDict({"used": model, "unused": nn.BatchNorm2d(4)})
    inputs = torch.randn(4, 3, 5, 2, generator=torch.Generator().manual_seed(3))
    with BatchStatistics(unused) as statistics:
        model(inputs)
        got = statistics.take()
        pooled = first(inputs).mean((2, 3))
        statistics.take()
        model(inputs)
        model(inputs)
        twice = statistics.take()
    expected = distance_by_loops(first, inputs) + distance_by_loops(second, pooled)
    assert got.item() == pytest.approx(expected, rel=1e-4)
    assert twice.item() == pytest.approx(2 * expected, rel=1e-4)


def test_hooks_are_gone_afterwards_after_an_error_too():
    model = nn.Sequential(nn.BatchNorm2d(3)).eval()
    error = pytest.raises(RuntimeError, match="no BatchNorm was passed")
    with error, BatchStatistics(model) as statistics:
        assert model[0]._forward_pre_hooks
        statistics.take()
    assert not model[0]._forward_pre_hooks


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.GroupNorm(1, 3), nn.InstanceNorm2d(3)),
        nn.BatchNorm2d(3, track_running_stats=False),
        FrozenBatchNorm2d(3),
    ],
)
def test_a_network_without_statistics_is_refused(model):
    with pytest.raises(ValueError, match=r"has no BatchNorm.*MODEL\.RESNETS\.NORM 'BN'"):
        BatchStatistics(model)


def test_frozen_statistics_that_were_folded_away_are_passed_over():
    """MSRA's weights leave mean 0 and variance 1 behind, which say nothing of any image."""
    layer = FrozenBatchNorm2d(3)
    layer.running_var.fill_(1.0)
    assert not has_statistics(layer)
    layer.running_mean[1] = 0.1
    assert has_statistics(layer)
