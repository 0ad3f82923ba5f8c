"""A second box regression, on the features of the identity branch.

Letters: R boxes over the batch, N of them that show people, C channels, H and W feature cells.
"""

from detectron2.config import CfgNode
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.structures import Boxes
from fvcore.nn import smooth_l1_loss
from torch import Tensor, nn

from reid_heads.heads.pooling import build_pooling
from reid_heads.heads.row_batch_norm import RowBatchNorm


class BoxRefiner(nn.Module):
    """Pool each box's features to a vector; a linear layer and BatchNorm give its correction.

    SeqNet's (Li and Miao, AAAI 2021), after NAE's: layers and initial values are those of its
    released code, but for the linear layer's bias, which the BatchNorm behind it takes away, and
    for one correction a box where that code has a second one for background.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        pool: nn.Module,
        box2box_transform: Box2BoxTransform,
        smooth_l1_beta: float,
        loss_weight: float,
    ):
        """Make the layers.

        Args:
            in_channels: C.
            pool: a pooling of reid_heads.heads.pooling.
            box2box_transform: meaning of the four values of a correction.
            smooth_l1_beta: where the loss turns from squares to absolute values; 0: never squares.
            loss_weight: of the loss.
        """
        super().__init__()
        self.pool = pool
        self.linear = nn.Linear(in_channels, 4, bias=False)
        self.norm = RowBatchNorm(4)
        for layer in (self.linear, self.norm):
            nn.init.normal_(layer.weight, std=0.01)
        self.box2box_transform = box2box_transform
        self.smooth_l1_beta = smooth_l1_beta
        self.loss_weight = loss_weight

    @classmethod
    def from_config(cls, cfg: CfgNode, in_channels: int, loss_weight: float) -> "BoxRefiner":
        """Build from a config; boxes and loss are coded as in the detector's own regression."""
        reid_head, box_head = cfg.MODEL.REID_HEAD, cfg.MODEL.ROI_BOX_HEAD
        return cls(
            in_channels=in_channels,
            pool=build_pooling(
                reid_head.POOLING,
                gem_power=reid_head.GEM_POWER,
                gem_learned=reid_head.GEM_LEARNED,
            ),
            box2box_transform=Box2BoxTransform(weights=box_head.BBOX_REG_WEIGHTS),
            smooth_l1_beta=box_head.SMOOTH_L1_BETA,
            loss_weight=loss_weight,
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map features (R, C, H, W) to corrections (R, 4); R may be 0 or 1."""
        return self.norm(self.linear(self.pool(features).flatten(1))).float()

    def refine(self, features: Tensor, boxes: Boxes) -> Tensor:
        """Return R corrected boxes (R, 4), not clipped; ``boxes`` are those of ``features``."""
        return self.box2box_transform.apply_deltas(self(features), boxes.tensor)

    def loss(
        self,
        features: Tensor,
        boxes: Boxes,
        is_person: Tensor,
        true_boxes: Tensor,
        num_sampled: int,
    ) -> Tensor:
        """Return the weighted smooth L1 loss of the corrections of people.

        Args:
            features: (R, C, H, W).
            boxes: the R boxes of the features, in resized pixels.
            is_person: (R,) bool.
            true_boxes: (N, 4) in resized pixels, in the order of the people among ``boxes``.
            num_sampled: what the sum is divided by: as in Faster R-CNN, the number of sampled
                boxes, background included, whether or not background has features here.

        Returns:
            A scalar; 0 without people, but computed from every parameter.
        """
        deltas = self(features)[is_person]
        wanted = self.box2box_transform.get_deltas(boxes[is_person].tensor, true_boxes)
        total = smooth_l1_loss(deltas, wanted, beta=self.smooth_l1_beta, reduction="sum")
        return self.loss_weight * total / max(num_sampled, 1)
