"""Multi-level RoI fusion pooling: one grid of features a person, from several maps at once.

Letters: B images, R boxes over the batch, L levels, C channels, H and W cells of the grid.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.structures import Boxes
from torch import Tensor, nn
from torchvision.ops import roi_align

FUSIONS = ("sum", "concat", "attention")
POOLER_TYPES = ("ROIAlignV2", "ROIAlign")


class MultiLevelRoIFusionPooling(nn.Module):
    """RoIAlign of each box on every level, a 1x1 convolution a level, and their fusion.

    The layer's name and its purpose, more discriminative features of a person than one level has,
    are the paper's (STL, arXiv 2112.00527, abstract). Which levels, what grid and how they are
    fused, its abstract does not say: that is this project's choice, see ``benchmarks/``.

    Unlike detectron2's ``ROIPooler``, which sends each box to one of its levels, this one pools
    each box from all of them; and its grid may be a rectangle.

    The first level is the base. Where it has the channels of the result, its convolution starts as
    the identity, and each other level passes a gate, a learned factor for each channel, for each
    kind of fusion. With gates that start at 0 the layer starts as plain RoIAlign of the base, and
    layers behind it that were trained on that (STL's stage 1) fit at once. Convolutions that start
    at zero do so too, but Adam's steps, of one size for every weight, let them drown the base
    within some tens of iterations: on drawn scenes that cost three points of mAP. Gates that start
    open are for a base that is too coarse by itself.

    Attributes:
        projections: one 1x1 convolution a level; empty for a single level that has the channels of
            the result already, which is plain RoIAlign.
        gates: (C, 1, 1) for each level but the base; empty where the base has other channels than
            the result.
    """

    def __init__(
        self,
        *,
        levels: dict[str, ShapeSpec],
        out_channels: int,
        output_size: tuple[int, int],
        sampling_ratio: int = 2,
        pooler_type: str = "ROIAlignV2",
        fusion: str = "sum",
        gate_start: float = 0.0,
    ):
        """Make the layer.

        Args:
            levels: channels and stride of each map by name, in order, at least one.
            out_channels: C of the result.
            output_size: (H, W) of the grid.
            sampling_ratio: samples per cell and axis; 0 chooses by box size.
            pooler_type: "ROIAlignV2", with the half-pixel correction, or "ROIAlign", without.
            fusion: "sum"; "concat", a 1x1 convolution over all levels' channels; or "attention", a
                sum weighted by a softmax over the levels (times L, so that equal weights are the
                plain sum), from a 1x1 convolution of each level at each cell.
            gate_start: where the gates start, 0..1.

        Raises:
            ValueError: for no level, an empty grid, an unknown type or fusion, or a gate out of
                range.
        """
        super().__init__()
        if not levels or min(output_size) < 1:
            raise ValueError(
                f"RoI fusion pooling got levels {list(levels)} and a grid of {tuple(output_size)}; "
                "expected one level at least, and a grid of (rows, columns)"
            )
        if pooler_type not in POOLER_TYPES:
            raise ValueError(
                f"MODEL.PERSON_SEARCH.IDENTITY_BRANCH.POOLER_TYPE is {pooler_type!r}; expected one "
                f"of {list(POOLER_TYPES)}"
            )
        if fusion not in FUSIONS:
            raise ValueError(
                f"MODEL.PERSON_SEARCH.IDENTITY_BRANCH.FUSION is {fusion!r}; expected one of "
                f"{list(FUSIONS)}"
            )
        if not 0 <= gate_start <= 1:
            raise ValueError(
                f"MODEL.PERSON_SEARCH.IDENTITY_BRANCH.FUSION_GATE is {gate_start}; expected 0..1"
            )
        self.scales = {name: 1.0 / shape.stride for name, shape in levels.items()}
        self.roi_align: Callable[..., Tensor] = roi_align
        self.output_size = tuple(output_size)
        self.sampling_ratio = sampling_ratio
        self.aligned = pooler_type == "ROIAlignV2"
        self.out_channels = out_channels
        channels = [shape.channels for shape in levels.values()]
        is_plain = channels == [out_channels]
        self.projections = nn.ModuleList(
            [] if is_plain else [nn.Conv2d(c, out_channels, 1) for c in channels]
        )
        keeps_base = channels[0] == out_channels
        self.gates = nn.ParameterList(
            nn.Parameter(torch.full((out_channels, 1, 1), float(gate_start)))
            for _ in channels[1:]
            if keeps_base
        )
        self.fusion = "sum" if len(levels) == 1 else fusion
        if self.fusion == "concat":
            self.mix = nn.Conv2d(len(levels) * out_channels, out_channels, 1)
        elif self.fusion == "attention":
            self.attention = nn.ModuleList(nn.Conv2d(out_channels, 1, 1) for _ in levels)
        self._initialise(keeps_base)

    def _initialise(self, keeps_base: bool) -> None:
        """Start as RoIAlign of the base where its channels allow it."""
        for place, projection in enumerate(self.projections):
            nn.init.zeros_(projection.bias)
            if keeps_base and place == 0:
                nn.init.dirac_(projection.weight)
            else:
                nn.init.kaiming_uniform_(projection.weight, a=1)
        if self.fusion == "concat":
            # The plain sum of the levels.
            nn.init.zeros_(self.mix.bias)
            identity = torch.eye(self.out_channels)[:, :, None, None]
            self.mix.weight.data.copy_(identity.repeat(1, len(self.projections), 1, 1))
        elif self.fusion == "attention":
            for score in self.attention:
                nn.init.zeros_(score.weight)
                nn.init.zeros_(score.bias)

    def forward(self, features: dict[str, Tensor], boxes: list[Boxes]) -> Tensor:
        """Pool each box.

        Args:
            features: feature maps (B, c, h, w) by name; others than the layer's levels are ignored.
            boxes: B boxes structures in resized pixels, R boxes in all; R may be 0, and an image
                may have none.

        Returns:
            (R, C, H, W) in the type of the maps, in the order of ``boxes``.
        """
        rois = as_rois(boxes)
        maps = [features[name] for name in self.scales]
        if not self.projections:
            return self._pool(maps[0], rois, *self.scales.values())
        projected = [
            self._pool_and_project(*level, rois)
            for level in zip(maps, self.projections, self.scales.values(), strict=True)
        ]
        for place, gate in enumerate(self.gates, start=1):
            projected[place] = gate.to(projected[place].dtype) * projected[place]
        if self.fusion == "concat":
            return self.mix(torch.cat(projected, dim=1))
        if self.fusion == "attention":
            scores = [score(level) for score, level in zip(self.attention, projected, strict=True)]
            weights = len(scores) * torch.stack(scores).softmax(dim=0)
            projected = [w * level for w, level in zip(weights, projected, strict=True)]
        return torch.stack(projected).sum(dim=0) if len(projected) > 1 else projected[0]

    def _pool_and_project(
        self, feature: Tensor, projection: nn.Conv2d, scale: float, rois: Tensor
    ) -> Tensor:
        """Return (R, C, H, W) of one level.

        Pooling and a 1x1 convolution are linear, and may change places. RoIAlign, its backward pass
        above all, costs more than the convolution and grows with the channels: fewer go first.
        """
        if projection.in_channels <= projection.out_channels:
            return projection(self._pool(feature, rois, scale))
        narrow = self._pool(F.conv2d(feature, projection.weight), rois, scale)
        # After the pooling, which gives zero beyond the map.
        return narrow + projection.bias.to(narrow.dtype)[:, None, None]

    def _pool(self, feature: Tensor, rois: Tensor, scale: float) -> Tensor:
        # Boxes stay in float32: in half precision, which detectron2's ROIAlign turns them into, a
        # coordinate beyond 1024 pixels is off by up to half a pixel.
        wide = feature.float() if feature.dtype in (torch.half, torch.bfloat16) else feature
        rois = rois.to(wide.dtype)
        pooled = self.roi_align(
            wide, rois, self.output_size, scale, self.sampling_ratio, aligned=self.aligned
        )
        return pooled.to(feature.dtype)


def as_rois(boxes: list[Boxes]) -> Tensor:
    """Return (R, 5) in float32: each box's image and its corners.

    detectron2's own ``convert_boxes_to_pooler_format`` fixes the number of boxes in
    ``torch.export``.
    """
    corners = [x.tensor.float() for x in boxes]
    images = [torch.full_like(x[:, :1], place) for place, x in enumerate(corners)]
    return torch.cat([torch.cat(images), torch.cat(corners)], dim=1)
