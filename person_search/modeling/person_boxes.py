"""Which boxes the identity branch embeds at training, and what each of them shows.

Letters: B images, R boxes over the batch, M boxes in one image, N of the R boxes that show people.
"""

from typing import NamedTuple

import torch
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import Tensor

from reid_heads.labels import UNLABELED_PID
from reid_heads.losses.identity_memory import occurrence_number

# A proposal that overlaps a ground-truth box this much is that box, which the sampler appends to
# the proposals.
_SAME_BOX_IOU = 0.999


class PersonBoxes(NamedTuple):
    """Boxes of people in one image, in resized pixels."""

    boxes: Boxes
    """M boxes."""
    pids: Tensor
    """(M,) person ids."""
    true_boxes: Boxes
    """M boxes: the ground truth that each was matched to."""


class TrainingBoxes(NamedTuple):
    """Boxes of a whole batch to embed, in resized pixels."""

    boxes: list[Boxes]
    """One structure an image: its people first, then its background."""
    is_person: Tensor
    """(R,) bool."""
    pids: Tensor
    """(N,) person ids of the people alone."""
    true_boxes: Tensor
    """(N, 4), the ground truth that each of the people was matched to."""


def training_boxes(
    proposals: list[Instances],
    targets: list[Instances],
    num_classes: int,
    boxes_per_person: int,
    with_background: bool,
) -> TrainingBoxes:
    """Return the boxes of a batch to embed.

    Args:
        proposals: of B images, as for ``foreground_boxes``.
        targets: of the same images, as for ``person_boxes``.
        num_classes: 1 for people alone.
        boxes_per_person: see ``person_boxes``.
        with_background: whether sampled background proposals are embedded too.
    """
    pairs = zip(proposals, targets, strict=True)
    people = [person_boxes(x, known, num_classes, boxes_per_person) for x, known in pairs]
    background = [x.proposal_boxes[x.gt_classes == num_classes] for x in proposals]
    if not with_background:
        background = [boxes[:0] for boxes in background]
    is_person = [
        torch.arange(len(found.boxes) + len(rest), device=rest.device) < len(found.boxes)
        for found, rest in zip(people, background, strict=True)
    ]
    return TrainingBoxes(
        boxes=[Boxes.cat([p.boxes, rest]) for p, rest in zip(people, background, strict=True)],
        is_person=torch.cat(is_person),
        pids=torch.cat([found.pids for found in people]),
        true_boxes=torch.cat([found.true_boxes.tensor for found in people]),
    )


def foreground_boxes(proposals: Instances, num_classes: int) -> PersonBoxes:
    """Return the sampled proposals of one image that show a person.

    Args:
        proposals: sampled and labelled by detectron2: ``proposal_boxes`` in resized pixels,
            ``gt_classes`` (``num_classes`` is background) and, where the image has people,
            ``gt_pids`` and ``gt_boxes``, which background proposals have too, of some person.
        num_classes: 1 for people alone.
    """
    is_person = (proposals.gt_classes >= 0) & (proposals.gt_classes < num_classes)
    boxes = proposals.proposal_boxes[is_person]
    if not proposals.has("gt_pids"):
        # An image without people: detectron2 leaves every field but gt_classes away.
        pids = torch.full((len(boxes),), UNLABELED_PID, device=boxes.device)
        return PersonBoxes(boxes, pids, boxes)
    return PersonBoxes(boxes, proposals.gt_pids[is_person], proposals.gt_boxes[is_person])


def person_boxes(
    proposals: Instances, targets: Instances, num_classes: int, boxes_per_person: int
) -> PersonBoxes:
    """Return each person's ground-truth box and some sampled proposals of it.

    The sampler gives a person up to dozens of nearly equal boxes, and its ground-truth box only by
    chance. A few are enough: the identity loss needs other people rather than more of the same.

    Args:
        proposals: as for ``foreground_boxes``.
        targets: ``gt_boxes`` in resized pixels, ``gt_classes`` and ``gt_pids`` of the same image.
        num_classes: 1 for people alone.
        boxes_per_person: of each person, ground truth included; 0 is all sampled proposals, the
            ground truth among them where it was sampled.
    """
    sampled = foreground_boxes(proposals, num_classes)
    if boxes_per_person == 0:
        return sampled
    is_known = (targets.gt_classes >= 0) & (targets.gt_classes < num_classes)
    true_boxes, true_pids = targets.gt_boxes[is_known], targets.gt_pids[is_known]
    if len(true_boxes) == 0 or len(sampled.boxes) == 0 or boxes_per_person == 1:
        return PersonBoxes(true_boxes, true_pids, true_boxes)
    overlap, person = pairwise_iou(true_boxes, sampled.boxes).max(dim=0)
    others = torch.nonzero(overlap < _SAME_BOX_IOU).squeeze(1)
    # Sampled proposals are in random order already.
    chosen = others[occurrence_number(person[others]) < boxes_per_person - 1]
    return PersonBoxes(
        Boxes.cat([true_boxes, sampled.boxes[chosen]]),
        torch.cat([true_pids, sampled.pids[chosen]]),
        Boxes.cat([true_boxes, sampled.true_boxes[chosen]]),
    )
