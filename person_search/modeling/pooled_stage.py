"""The C4 detector's box head on many proposals, for inference on a CPU.

Letters: B images, R boxes over the batch, C channels, h and w cells of a feature map.
"""

import torch
import torch.nn.functional as F
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes
from torch import Tensor, nn

from person_search.modeling.box_head import POOLINGS, Res5BoxHead
from person_search.modeling.fusion_pooling import as_rois
from person_search.modeling.separable_pooling import SeparableRoIAlign
from reid_heads.backbones.folded import FoldedConv2d, convolve_cells

BOXES_AT_ONCE = 32
"""So many boxes' maps stay in a CPU's cache from one convolution to the next."""


class PooledStage(nn.Module):
    """RoIAlign and ResNet's last stage, its first 1x1 convolutions done before the pooling.

    Pooling and a 1x1 convolution are linear and may change places: of 300 proposals of 14x14 bins
    that overlap, the map has a tenth of the cells. The results differ by rounding alone.
    """

    def __init__(self, pooler: ROIPooler, head: Res5BoxHead):
        """Take over what a box head consists of.

        Args:
            pooler: of one level, exchanged for `SeparableRoIAlign`.
            head: its convolutions folded.
        """
        super().__init__()
        (self.roi_align,) = pooler.level_poolers
        self.first, self.others = head.res5[0], head.res5[1:]
        self.pooling = POOLINGS[head.pooling]

    def forward(self, feature: Tensor, boxes: list[Boxes]) -> Tensor:
        """Map a feature map (B, C, h, w) and B boxes structures to (R, out_channels)."""
        rois = as_rois(boxes)
        reduce = _PooledConv(self.first.conv1, self.roi_align, feature, len(rois))
        widen = _PooledConv(self.first.shortcut, self.roi_align, feature, len(rois))
        found = [self._run(reduce(part), widen(part)) for part in rois.split(BOXES_AT_ONCE)]
        return torch.cat(found)

    def _run(self, reduced: Tensor, widened: Tensor) -> Tensor:
        inner = F.relu_(self.first.conv2(F.relu_(reduced)))
        maps = F.relu_(self.first.conv3(inner).add_(widened))
        return self.pooling(self.others(maps), dim=(2, 3))


class _PooledConv:
    """A 1x1 convolution of pooled boxes, done before the pooling where that is less work."""

    def __init__(self, conv: FoldedConv2d, align: SeparableRoIAlign, feature: Tensor, count: int):
        (self.stride, _), _, _, _ = conv.settings
        self.align = align
        rows, columns = (-(-bins // self.stride) for bins in align.output_size)
        self.conv = conv
        self.is_done = count * rows * columns > feature[0, 0].numel() * len(feature)
        self.map = convolve_cells(feature, conv.weight, None) if self.is_done else feature

    def __call__(self, rois: Tensor) -> Tensor:
        pooled = self.align(self.map, rois, stride=self.stride)
        if self.is_done:
            # After the pooling, which gives zero beyond the map.
            return pooled.add_(self.conv.bias[:, None, None])
        return convolve_cells(pooled, self.conv.weight, self.conv.bias)


def can_be_pooled_stage(pooler: nn.Module, head: nn.Module) -> bool:
    """Whether a detector's pooler and box head are what `PooledStage` does."""
    if not isinstance(pooler, ROIPooler) or not isinstance(head, Res5BoxHead):
        return False
    first = head.res5[0]
    return (
        len(pooler.level_poolers) == 1
        and isinstance(pooler.level_poolers[0], SeparableRoIAlign)
        and all(
            isinstance(getattr(first, name, None), FoldedConv2d) for name in ("conv1", "shortcut")
        )
        and hasattr(first, "conv3")
    )
