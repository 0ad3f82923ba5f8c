import math

import pytest
import torch
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.structures import Boxes

from person_search.modeling.box_refiner import BoxRefiner
from reid_heads.heads.pooling import build_pooling

C = 6
WEIGHTS = (10.0, 10.0, 5.0, 5.0)


def make_refiner(beta=1.0, loss_weight=1.0, pooling="max"):
    torch.manual_seed(0)
    return BoxRefiner(
        in_channels=C,
        pool=build_pooling(pooling),
        box2box_transform=Box2BoxTransform(weights=WEIGHTS),
        smooth_l1_beta=beta,
        loss_weight=loss_weight,
    )


def features(rows, seed=0):
    return torch.randn(rows, C, 4, 2, generator=torch.Generator().manual_seed(seed))


def always_give(refiner, deltas):
    """Make the layers give the same correction for every box."""
    with torch.no_grad():
        refiner.norm.weight.zero_()
        refiner.norm.bias.copy_(torch.tensor(deltas))
    return refiner


def loop_loss(refiner, deltas, boxes, true_boxes, beta):
    """Fast R-CNN's encoding (Girshick, ICCV 2015), one box and one value at a time."""
    total = 0.0
    for row, box, true in zip(deltas, boxes, true_boxes, strict=True):
        w, h = box[2] - box[0], box[3] - box[1]
        true_w, true_h = true[2] - true[0], true[3] - true[1]
        wanted = [
            10 * (true[0] + true_w / 2 - box[0] - w / 2) / w,
            10 * (true[1] + true_h / 2 - box[1] - h / 2) / h,
            5 * math.log(true_w / w),
            5 * math.log(true_h / h),
        ]
        for got, expected in zip(row, wanted, strict=True):
            off = abs(got - expected)
            total += 0.5 * off * off / beta if off < beta else off - 0.5 * beta
    return total


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_loss_equals_a_loop_over_people(beta):
    refiner = make_refiner(beta, loss_weight=2.0)
    boxes = torch.tensor([[10.0, 10, 30, 60], [0, 0, 9, 9], [50, 20, 75, 80], [5, 5, 25, 50]])
    is_person = torch.tensor([True, False, True, True])
    true_boxes = torch.tensor([[12.0, 9, 33, 58], [50, 20, 75, 80], [4, 8, 24, 61]])
    x = features(4)
    loss = refiner.loss(x, Boxes(boxes), is_person, true_boxes, num_sampled=9)
    deltas = refiner(x)[is_person].tolist()
    total = loop_loss(refiner, deltas, boxes[is_person].tolist(), true_boxes.tolist(), beta)
    assert loss.item() == pytest.approx(2 * total / 9, rel=1e-4)


def test_loss_by_hand():
    refiner = always_give(make_refiner(), [1.0, 0.0, 0.0, 0.0])
    boxes, true_boxes = Boxes(torch.tensor([[0.0, 0, 10, 20]])), torch.tensor([[4.0, 0, 14, 20]])
    # Wanted: 10 * 4 / 10 = 4 across, nothing else; |1 - 4| - 1/2 = 2.5; over 5 boxes: 0.5.
    loss = refiner.loss(features(1), boxes, torch.tensor([True]), true_boxes, num_sampled=5)
    assert loss.item() == pytest.approx(0.5)


def test_correction_by_hand():
    refiner = always_give(make_refiner(), [1.0, -2.0, 0.0, 5 * math.log(2)])
    boxes = Boxes(torch.tensor([[0.0, 0, 10, 20], [100, 100, 120, 140]]))
    # The center moves by 1/10 of the width and -2/10 of the height; the height doubles.
    expected = torch.tensor([[1.0, -14, 11, 26], [102, 72, 122, 152]])
    torch.testing.assert_close(refiner.refine(features(2), boxes), expected)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_few_boxes_and_nobody(rows, training):
    refiner = make_refiner().train(training)
    boxes = Boxes(torch.tensor([[10.0, 10, 30, 60]] * rows).reshape(-1, 4))
    assert refiner.refine(features(rows), boxes).shape == (rows, 4)
    nobody = torch.zeros(rows, dtype=torch.bool)
    loss = refiner.loss(features(rows), boxes, nobody, torch.zeros(0, 4), num_sampled=rows)
    assert loss.item() == 0
    loss.backward()
    assert all(p.grad is not None for p in refiner.parameters())


def test_starts_near_no_correction():
    """So that the second regression does not spoil the first one's boxes before it has learned."""
    boxes = Boxes(torch.tensor([[10.0, 10, 30, 60]] * 50))
    moved = make_refiner().refine(features(50), boxes)
    assert (moved - boxes.tensor).abs().max() < 0.5
