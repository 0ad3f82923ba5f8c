"""Which boxes of the sampled proposals are embedded at training."""

import pytest
import torch
from detectron2.structures import Boxes, Instances

from person_search.modeling.person_boxes import person_boxes, training_boxes
from reid_heads.labels import UNLABELED_PID

SIZE = (96, 160)
A, B = [10.0, 10, 30, 60], [80.0, 20, 100, 70]


def make_proposals(boxes, classes, pids, true_boxes):
    return Instances(
        SIZE,
        proposal_boxes=Boxes(torch.tensor(boxes)),
        gt_classes=torch.tensor(classes),
        gt_pids=torch.tensor(pids),
        gt_boxes=Boxes(torch.tensor(true_boxes)),
    )


@pytest.fixture
def image(make_instances):
    """Two people; of A the true box and three others, of B one other; two backgrounds."""
    targets = make_instances([A, B], [7, UNLABELED_PID])
    boxes = [[x + d for x in A] for d in (1, 0, 2, 3)] + [[x + 1 for x in B]]
    boxes += [[0.0, 0, 5, 5], [120.0, 0, 150, 90]]
    # Background has some person's id and box too.
    pids = [7, 7, 7, 7, UNLABELED_PID, 7, 7]
    proposals = make_proposals(boxes, [0] * 5 + [1, 1], pids, [A] * 4 + [B, A, A])
    return proposals, targets


@pytest.fixture
def empty_image(make_instances):
    """What detectron2 gives for an image without people: proposals with nothing but a class."""
    proposals = Instances(
        SIZE,
        proposal_boxes=Boxes(torch.tensor([[3.0, 4, 50, 60]])),
        gt_classes=torch.tensor([1]),
    )
    return proposals, make_instances([], [])


@pytest.mark.parametrize(
    ("boxes_per_person", "expected"),
    [
        # The first of each: (left side of the box, id, left side of the ground truth).
        (0, [(11, 7, 10), (10, 7, 10), (12, 7, 10), (13, 7, 10), (81, -1, 80)]),
        (1, [(10, 7, 10), (80, -1, 80)]),
        (2, [(10, 7, 10), (80, -1, 80), (11, 7, 10), (81, -1, 80)]),
        (3, [(10, 7, 10), (80, -1, 80), (11, 7, 10), (12, 7, 10), (81, -1, 80)]),
    ],
)
def test_boxes_ids_and_ground_truth_of_people(boxes_per_person, expected, image):
    people = person_boxes(*image, 1, boxes_per_person)
    lefts, truths = people.boxes.tensor[:, 0].tolist(), people.true_boxes.tensor[:, 0].tolist()
    assert list(zip(lefts, people.pids.tolist(), truths, strict=True)) == expected


@pytest.mark.parametrize("boxes_per_person", [0, 1, 2])
def test_an_image_without_people(boxes_per_person, empty_image):
    people = person_boxes(*empty_image, 1, boxes_per_person)
    assert len(people.boxes) == len(people.pids) == len(people.true_boxes) == 0


@pytest.mark.parametrize("boxes_per_person", [0, 2])
def test_people_first_then_background_in_each_image(boxes_per_person, image, empty_image):
    proposals, targets = zip(empty_image, image, strict=True)
    rows = training_boxes(list(proposals), list(targets), 1, boxes_per_person, True)
    people = person_boxes(*image, 1, boxes_per_person)
    n = len(people.boxes)
    assert [len(b) for b in rows.boxes] == [1, n + 2]
    assert rows.is_person.tolist() == [False] + [True] * n + [False] * 2
    assert rows.boxes[0].tensor.tolist() == [[3, 4, 50, 60]]
    assert torch.equal(rows.boxes[1].tensor[:n], people.boxes.tensor)
    assert rows.boxes[1].tensor[n:, 0].tolist() == [0, 120]
    assert torch.equal(rows.pids, people.pids)
    assert torch.equal(rows.true_boxes, people.true_boxes.tensor)


def test_people_alone(image, empty_image):
    proposals, targets = zip(image, empty_image, strict=True)
    rows = training_boxes(list(proposals), list(targets), 1, 0, False)
    assert [len(b) for b in rows.boxes] == [5, 0]
    assert rows.is_person.tolist() == [True] * 5


def test_ignored_proposals_are_neither(image):
    """detectron2's label of a proposal between the IoU thresholds is -1."""
    proposals, targets = image
    proposals.gt_classes = torch.tensor([0, -1, 0, 0, -1, 1, -1])
    rows = training_boxes([proposals], [targets], 1, 0, True)
    assert rows.boxes[0].tensor[:, 0].tolist() == [11, 12, 13, 0]
    assert rows.is_person.tolist() == [True, True, True, False]
