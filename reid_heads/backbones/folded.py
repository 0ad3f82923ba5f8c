"""Convolutions for inference on a CPU: normalisation folded in, 3x3 kernels by Winograd's way.

Letters: B images or boxes, C and K channels in and out, H and W cells, T tiles.
"""

import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

MIN_WINOGRAD_CHANNELS = 256
"""From so many channels, in and out, Winograd's way is faster here; below, its transforms cost more
than they save."""

# F(4x4, 3x3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016,
# section 4.3: 4x4 outputs of a 6x6 tile from 36 products instead of 144.
_TILE, _STEP = 6, 4
_OF_DATA = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float64,
)
_OF_KERNEL = torch.tensor(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]],
    dtype=torch.float64,
) / torch.tensor([24.0], dtype=torch.float64)
_OF_OUTPUT = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    dtype=torch.float64,
)


class FoldedConv2d(nn.Module):
    """A convolution with a bias and, where the original had one, an activation."""

    def __init__(self, conv: Conv2d, weight: Tensor, bias: Tensor | None):
        """Take strides, padding and activation from a convolution."""
        super().__init__()
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias)
        self.settings = (conv.stride, conv.padding, conv.dilation, conv.groups)
        self.activation = conv.activation

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, K, H', W')."""
        stride, padding, _, groups = self.settings
        if self.weight.shape[2:] == (1, 1) and groups == 1 and padding == (0, 0):
            out = convolve_cells(x[:, :, :: stride[0], :: stride[1]], self.weight, self.bias)
        else:
            out = F.conv2d(x, self.weight, self.bias, *self.settings)
        return out if self.activation is None else self.activation(out)


def convolve_cells(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Map (B, C, H, W) to (B, K, H, W) by a kernel (K, C, 1, 1), in the channels-last layout.

    As a matrix product: PyTorch's ``conv2d`` leaves oneDNN out for these kernels where one thread
    has few images.
    """
    return F.linear(x.permute(0, 2, 3, 1), weight[:, :, 0, 0], bias).permute(0, 3, 1, 2)


class WinogradConv2d(nn.Module):
    """A 3x3 convolution of stride 1 and padding 1 with a quarter of the multiplications.

    In float32 it is off by about 5e-6 of the largest output, the direct one by 1e-6; its weights
    take four times the memory.
    """

    def __init__(self, conv: Conv2d, weight: Tensor, bias: Tensor | None):
        """Transform the kernels (K, C, 3, 3)."""
        super().__init__()
        kernels = torch.einsum("ia,kcab,jb->ijck", _OF_KERNEL, weight.double(), _OF_KERNEL)
        self.register_buffer("kernels", kernels.flatten(0, 1).float().contiguous())
        self.register_buffer("bias", bias)
        self.register_buffer("of_data", torch.kron(_OF_DATA, _OF_DATA).float())
        self.register_buffer("of_output", torch.kron(_OF_OUTPUT, _OF_OUTPUT).float())
        self.activation = conv.activation

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, K, H, W), in the channels-last layout."""
        batch, channels, height, width = x.shape
        rows, columns = -(-height // _STEP), -(-width // _STEP)
        wide = F.pad(
            x.permute(0, 2, 3, 1),
            (0, 0, 1, columns * _STEP + 1 - width, 1, rows * _STEP + 1 - height),
        ).contiguous()
        image, row, column, _ = wide.stride()
        tiles = wide.as_strided(
            (_TILE, _TILE, batch, rows, columns, channels),
            (row, column, image, _STEP * row, _STEP * column, 1),
        )
        data = (self.of_data @ tiles.reshape(_TILE**2, -1)).view(_TILE**2, -1, channels)
        products = torch.bmm(data, self.kernels)
        out_channels = products.shape[2]
        blocks = (self.of_output @ products.view(_TILE**2, -1)).view(
            _STEP, _STEP, batch, rows, columns, out_channels
        )
        out = products.new_empty(batch, rows, _STEP, columns, _STEP, out_channels)
        out.copy_(blocks.permute(2, 3, 0, 4, 1, 5))
        out = out.view(batch, rows * _STEP, columns * _STEP, out_channels)
        out = out[:, :height, :width].contiguous()
        if self.bias is not None:
            out += self.bias
        out = out.permute(0, 3, 1, 2)
        return out if self.activation is None else self.activation(out)


def fold_convolutions(module: nn.Module) -> int:
    """Exchange a module's detectron2 convolutions for faster ones that give the same, in place.

    Their BatchNorm, in evaluation mode or frozen, becomes part of kernel and bias; another
    normalisation stays as it is, and so does its convolution. For inference in float32 on a CPU:
    what comes out has no parameters.

    Args:
        module: in evaluation mode, its floating-point tensors in float32.

    Returns:
        How many convolutions were exchanged.

    Raises:
        ValueError: if the module is in training mode.
    """
    if module.training:
        raise ValueError("the module is in training mode; folding is for inference: call eval()")
    count = 0
    for name, child in module.named_children():
        faster = _faster(child) if isinstance(child, Conv2d) else None
        if faster is None:
            count += fold_convolutions(child)
        else:
            setattr(module, name, faster)
            count += 1
    return count


def folded(conv: Conv2d) -> tuple[Tensor, Tensor | None] | None:
    """Return a convolution's kernels and bias with its normalisation in them.

    None where it has another normalisation than BatchNorm.
    """
    weight, bias, norm = conv.weight.detach(), conv.bias, conv.norm
    if norm is None:
        return weight, None if bias is None else bias.detach()
    if not isinstance(norm, FrozenBatchNorm2d | nn.BatchNorm2d | nn.SyncBatchNorm):
        return None
    if norm.running_mean is None:
        return None
    scale, shift = norm.weight, norm.bias
    weight, bias = fuse_conv_bn_weights(
        weight, bias, norm.running_mean, norm.running_var, norm.eps, scale, shift
    )
    return weight.detach(), bias.detach()


def _faster(conv: Conv2d) -> nn.Module | None:
    found = folded(conv)
    if found is None:
        return None
    is_winograds = (
        conv.kernel_size == (3, 3)
        and conv.stride == conv.padding == conv.dilation == (1, 1)
        and conv.groups == 1
        and conv.padding_mode == "zeros"
        and min(conv.in_channels, conv.out_channels) >= MIN_WINOGRAD_CHANNELS
    )
    return (WinogradConv2d if is_winograds else FoldedConv2d)(conv, *found)
