"""Convolutions for inference: the same results as the layers that they stand for."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from torch import nn

from reid_heads.backbones.folded import (
    MIN_WINOGRAD_CHANNELS,
    FoldedConv2d,
    WinogradConv2d,
    fold_convolutions,
)


def with_norm(conv: Conv2d, norm: nn.Module | None) -> Conv2d:
    """Give a convolution a normalisation whose four vectors are no ones and zeros."""
    if norm is not None and getattr(norm, "running_mean", None) is not None:
        norm.running_mean.normal_(0, 0.3)
        norm.running_var.uniform_(0.5, 2)
    if norm is not None and norm.weight is not None:
        with torch.no_grad():
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.3)
    conv.norm = norm
    return conv.eval()


def fold_one(conv: Conv2d) -> nn.Module:
    holder = nn.Sequential(conv).eval()
    assert fold_convolutions(holder) == 1
    return holder[0]


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 1},
        {"kernel_size": 1, "stride": 2},
        {"kernel_size": 1, "padding": 1},
        {"kernel_size": 1, "groups": 3},
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": (7, 3), "stride": (2, 1), "padding": (3, 0), "bias": False},
        {"kernel_size": 3, "dilation": 2, "groups": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("norm", [nn.BatchNorm2d, FrozenBatchNorm2d, None])
@torch.inference_mode()
def test_a_folded_convolution_gives_the_same(options: dict, norm: type | None):
    torch.manual_seed(1)
    conv = Conv2d(6, 9, **options, activation=F.relu)
    conv = with_norm(conv, norm and norm(9))
    x = torch.randn(2, 6, 9, 8)
    exchanged = fold_one(conv)
    assert isinstance(exchanged, FoldedConv2d)
    torch.testing.assert_close(exchanged(x), conv(x), rtol=1e-5, atol=1e-5)
    assert not list(exchanged.parameters())


def test_a_batch_norm_without_weights_is_folded():
    torch.manual_seed(1)
    conv = with_norm(Conv2d(4, 5, 1), nn.BatchNorm2d(5, affine=False))
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(fold_one(conv)(x), conv(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "norm",
    [nn.GroupNorm(1, 4), nn.InstanceNorm2d(4), nn.BatchNorm2d(4, track_running_stats=False)],
    ids=lambda norm: type(norm).__name__,
)
def test_another_normalisation_stays(norm: nn.Module):
    holder = nn.Sequential(with_norm(Conv2d(4, 4, 1), norm)).eval()
    assert fold_convolutions(holder) == 0
    assert type(holder[0]) is Conv2d


def test_layers_deep_inside_are_found_and_training_is_refused():
    deep = nn.Sequential(nn.Sequential(Conv2d(2, 2, 1)), nn.Conv2d(2, 2, 1))
    with pytest.raises(ValueError, match="training mode"):
        fold_convolutions(deep)
    assert fold_convolutions(deep.eval()) == 1
    assert isinstance(deep[0][0], FoldedConv2d)


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (7, 7), (5, 9), (8, 2)], ids=str)
@torch.inference_mode()
def test_winograds_way_gives_the_same_at_every_size(size: tuple[int, int]):
    """The oracle: the direct convolution, in double precision."""
    torch.manual_seed(2)
    conv = with_norm(Conv2d(5, 6, 3, padding=1, activation=F.relu), nn.BatchNorm2d(6))
    weight, bias = fold_one(conv).weight, fold_one(conv).bias
    fast = WinogradConv2d(conv, weight, bias)
    for count in (0, 1, 3):
        x = torch.randn(count, 5, *size)
        exact = F.relu(F.conv2d(x.double(), weight.double(), bias.double(), padding=1))
        out = fast(x.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(out.double(), exact, rtol=0, atol=2e-5)
        torch.testing.assert_close(fast(x), out, rtol=0, atol=1e-6)


def test_winograds_way_without_bias_by_hand():
    """A kernel of ones sums the 3x3 cells around each; beyond the map is 0."""
    conv = Conv2d(1, 1, 3, padding=1, bias=False)
    fast = WinogradConv2d(conv, torch.ones(1, 1, 3, 3), None)
    expected = torch.tensor([[4.0, 6, 6, 4], [6, 9, 9, 6], [4, 6, 6, 4]])
    torch.testing.assert_close(fast(torch.ones(1, 1, 3, 4))[0, 0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "is_winograds"),
    [
        ({"padding": 1}, True),
        ({}, False),
        ({"padding": 1, "stride": 2}, False),
        ({"padding": 2, "dilation": 2}, False),
        ({"padding": 1, "groups": 2}, False),
    ],
    ids=str,
)
def test_winograds_way_is_taken_for_many_channels(options: dict, is_winograds: bool):
    many = MIN_WINOGRAD_CHANNELS
    exchanged = fold_one(Conv2d(many, many, 3, **options))
    assert isinstance(exchanged, WinogradConv2d) == is_winograds
    few = Conv2d(many, many // 2, 3, padding=1)
    assert isinstance(fold_one(few), FoldedConv2d)
