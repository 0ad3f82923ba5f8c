"""RoIAlign as two small matrix products, for inference on a CPU.

Letters: B images, R boxes over the batch, C channels, h and w cells of a feature map, H and W of
the grid that is pooled.
"""

import torch
from detectron2.layers import ROIAlign
from torch import Tensor, nn


def pool_boxes(
    feature: Tensor,
    rois: Tensor,
    output_size: tuple[int, int],
    scale: float,
    sampling_ratio: int,
    aligned: bool,
    stride: int = 1,
) -> Tensor:
    """Pool boxes as ``torchvision.ops.roi_align`` does, but for rounding.

    A bin's mean of bilinear samples is a weighted sum over cells, and its weights are a product of
    one factor for the row and one for the column. torchvision's loop visits every sample of every
    channel; here the few cells under a box are multiplied by both factors' matrices. The layout
    stays channels-last.

    Args:
        feature: (B, C, h, w) in float32, fastest in the channels-last layout.
        rois: (R, 5), image and x1, y1, x2, y2 in pixels.
        output_size: (H, W).
        scale: cells a pixel.
        sampling_ratio: samples a bin and axis; 0: as many as the bin has cells, rounded up.
        aligned: whether a cell's centre is half a cell away from its corner.
        stride: pool every so manieth bin of the grid alone, the first one first.

    Returns:
        (R, C, H, W), in the channels-last layout; fewer rows and columns with a stride.
    """
    channels, height, width = feature.shape[1:]
    table = feature.permute(0, 2, 3, 1).contiguous()
    images = rois[:, 0].to(torch.int64).tolist()
    corners = rois[:, 1:] * scale - (0.5 if aligned else 0.0)
    (top, bottom), (left, right) = corners[:, 1::2].T, corners[:, ::2].T
    of_rows = _Axis(top, bottom, output_size[0], height, sampling_ratio, aligned, stride)
    of_columns = _Axis(left, right, output_size[1], width, sampling_ratio, aligned, stride)
    num_rows = of_rows.weights.shape[1]
    pooled = feature.new_empty(len(rois), num_rows, of_columns.weights.shape[1], channels)
    for box, image in enumerate(images):
        rows, columns = of_rows.spans[box], of_columns.spans[box]
        across = torch.matmul(of_columns.weights[box, :, columns], table[image, rows, columns])
        torch.mm(
            of_rows.weights[box, :, rows],
            across.flatten(1),
            out=pooled[box].view(num_rows, -1),
        )
    return pooled.permute(0, 3, 1, 2)


class _Axis:
    """What each bin of each box takes from each cell along one axis."""

    def __init__(
        self,
        start: Tensor,
        end: Tensor,
        num_bins: int,
        cells: int,
        sampling_ratio: int,
        aligned: bool,
        stride: int,
    ):
        size = end - start if aligned else (end - start).clamp(min=1.0)
        bin_size = size / num_bins
        if sampling_ratio > 0:
            num_samples = torch.full_like(size, sampling_ratio)
        else:
            # A box without extent has no sample, and a mean of 0.
            num_samples = bin_size.ceil().clamp(min=0)
        most = max(int(num_samples.max()) if len(size) else 0, 1)
        step = torch.arange(most, dtype=size.dtype)
        bins = torch.arange(0, num_bins, stride, dtype=size.dtype)
        # (R, bins, samples)
        places = (
            start[:, None, None]
            + bins[:, None] * bin_size[:, None, None]
            + (step + 0.5) * bin_size[:, None, None] / num_samples.clamp(min=1)[:, None, None]
        )
        counts = (step < num_samples[:, None, None]) & (places >= -1) & (places <= cells)
        share = counts / num_samples.clamp(min=1)[:, None, None]
        places = places.clamp(0, cells - 1)
        low = places.floor()
        part = places - low
        low = low.to(torch.int64)
        high = (low + 1).clamp(max=cells - 1)
        weights = size.new_zeros(len(size), len(bins), cells)
        weights.scatter_add_(2, low, share * (1 - part))
        weights.scatter_add_(2, high, share * part)
        self.weights = weights
        """(R, bins, cells)."""
        first, last = low.flatten(1), high.flatten(1)
        self.spans: list[slice] = []
        """The cells with a weight, for each box."""
        if len(size):
            ends = zip(first.amin(dim=1).tolist(), last.amax(dim=1).tolist(), strict=True)
            self.spans = [slice(low, high + 1) for low, high in ends]


class SeparableRoIAlign(nn.Module):
    """detectron2's ``ROIAlign`` by `pool_boxes`."""

    def __init__(self, original: ROIAlign):
        """Take over the settings."""
        super().__init__()
        self.output_size = tuple(original.output_size)
        self.settings = (original.spatial_scale, original.sampling_ratio, original.aligned)

    def forward(self, feature: Tensor, rois: Tensor, stride: int = 1) -> Tensor:
        """Pool boxes; see `pool_boxes`."""
        return pool_boxes(feature, rois, self.output_size, *self.settings, stride)
