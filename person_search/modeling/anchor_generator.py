"""Anchors of torchvision's detectors."""

from collections.abc import Sequence

from detectron2.modeling.anchor_generator import ANCHOR_GENERATOR_REGISTRY, DefaultAnchorGenerator
from torch import Tensor


@ANCHOR_GENERATOR_REGISTRY.register()
class RoundedAnchorGenerator(DefaultAnchorGenerator):
    """detectron2's anchors with the corners of each cell's rounded to whole pixels.

    So do torchvision's detectors, whose weights, as NAE's and SeqNet's, know no other anchors.
    """

    def generate_cell_anchors(
        self,
        sizes: Sequence[float] = (32, 64, 128, 256, 512),
        aspect_ratios: Sequence[float] = (0.5, 1, 2),
    ) -> Tensor:
        """Return a cell's anchors (sizes x ratios, 4) around (0, 0), resized pixels."""
        return super().generate_cell_anchors(sizes, aspect_ratios).round()
