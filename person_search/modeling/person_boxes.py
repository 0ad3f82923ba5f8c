"""Which boxes of people the identity branch embeds at training.

Letters: M boxes in one image.
"""

import torch
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import Tensor

from reid_heads.labels import UNLABELED_PID
from reid_heads.losses.identity_memory import occurrence_number

# A proposal that overlaps a ground-truth box this much is that box, which the sampler appends to
# the proposals.
_SAME_BOX_IOU = 0.999


def foreground_boxes_and_pids(proposals: Instances, num_classes: int) -> tuple[Boxes, Tensor]:
    """Return the sampled proposals of one image that show a person.

    Args:
        proposals: sampled and labelled by detectron2: ``proposal_boxes`` in resized pixels,
            ``gt_classes`` (``num_classes`` is background) and, where the image has people,
            ``gt_pids``, which background proposals have too, of some person.
        num_classes: 1 for people alone.

    Returns:
        Boxes and person ids (M,).
    """
    is_person = (proposals.gt_classes >= 0) & (proposals.gt_classes < num_classes)
    boxes = proposals.proposal_boxes[is_person]
    if not proposals.has("gt_pids"):
        # An image without people: detectron2 leaves every field but gt_classes away.
        return boxes, torch.full((len(boxes),), UNLABELED_PID, device=boxes.device)
    return boxes, proposals.gt_pids[is_person]


def person_boxes_and_pids(
    proposals: Instances, targets: Instances, num_classes: int, boxes_per_person: int
) -> tuple[Boxes, Tensor]:
    """Return each person's ground-truth box and some sampled proposals of it.

    The sampler gives a person up to dozens of nearly equal boxes, and its ground-truth box only by
    chance. A few are enough: the identity loss needs other people rather than more of the same.

    Args:
        proposals: as for ``foreground_boxes_and_pids``.
        targets: ``gt_boxes`` in resized pixels, ``gt_classes`` and ``gt_pids`` of the same image.
        num_classes: 1 for people alone.
        boxes_per_person: of each person, ground truth included; 0 is all sampled proposals, the
            ground truth among them where it was sampled.

    Returns:
        Boxes and person ids (M,).
    """
    boxes, pids = foreground_boxes_and_pids(proposals, num_classes)
    if boxes_per_person == 0:
        return boxes, pids
    is_known = (targets.gt_classes >= 0) & (targets.gt_classes < num_classes)
    true_boxes, true_pids = targets.gt_boxes[is_known], targets.gt_pids[is_known]
    if len(true_boxes) == 0 or len(boxes) == 0 or boxes_per_person == 1:
        return true_boxes, true_pids
    overlap, person = pairwise_iou(true_boxes, boxes).max(dim=0)
    others = torch.nonzero(overlap < _SAME_BOX_IOU).squeeze(1)
    # Sampled proposals are in random order already.
    chosen = others[occurrence_number(person[others]) < boxes_per_person - 1]
    return Boxes.cat([true_boxes, boxes[chosen]]), torch.cat([true_pids, pids[chosen]])
