"""ROI heads whose identity branch also corrects the boxes that it embeds.

Letters: R boxes over the batch.
"""

from typing import Any

from detectron2.config import configurable
from detectron2.structures import Boxes, Instances
from torch import Tensor

from person_search.modeling.box_refiner import BoxRefiner
from person_search.modeling.person_boxes import TrainingBoxes
from person_search.modeling.roi_heads import PersonSearchROIHeads, zero_of


class RefiningROIHeads(PersonSearchROIHeads):
    """The identity branch with a box regression on its refined features, and their losses."""

    @configurable
    def __init__(self, *, box_refiner: BoxRefiner, **kwargs: Any):
        """Extend ``PersonSearchROIHeads``.

        Args:
            box_refiner: corrects boxes by the identity branch's refined features.
            **kwargs: of ``PersonSearchROIHeads``.
        """
        super().__init__(**kwargs)
        self.box_refiner = box_refiner

    def _refining_losses(
        self, features: dict[str, Tensor], sampled: list[Instances], targets: list[Instances]
    ) -> dict[str, Tensor]:
        """Return the losses of identities, person scores and corrections on sampled boxes."""
        rows = self._boxes_to_embed(sampled, targets)
        if len(rows.is_person) == 0:
            losses = self._losses_of_nobody(rows.pids)
            losses["loss_reid_box_reg"] = zero_of(self.box_refiner)
            return losses
        pooled, refined = self.identity_branch.maps(features, rows.boxes)
        losses = self._losses_on(self.identity_branch.describe(pooled, refined), rows)
        losses["loss_reid_box_reg"] = self._box_loss(refined, rows, sampled)
        return losses

    def _box_loss(self, refined: Tensor, rows: TrainingBoxes, sampled: list[Instances]) -> Tensor:
        num_background = sum(int((x.gt_classes == self.num_classes).sum()) for x in sampled)
        return self.box_refiner.loss(
            refined,
            Boxes.cat(rows.boxes),
            rows.is_person,
            rows.true_boxes,
            num_sampled=len(rows.pids) + num_background,
        )
