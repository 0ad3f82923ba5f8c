"""Attribute loss against a loop over people and groups."""

import math

import pytest
import torch

from reid_heads.losses import AttributeLoss

D = 5
CLASSES = (2, 4, 3)


def rows(count, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, D, generator=generator, dtype=torch.float64)


def make_loss():
    torch.manual_seed(0)
    loss = AttributeLoss(D, CLASSES).double()
    with torch.no_grad():
        for parameter in loss.parameters():
            parameter.normal_()
    return loss


def loop(features, attributes, classifiers):
    each = []
    for group, classifier in enumerate(classifiers):
        total, known = 0.0, 0
        for x, label in zip(features, attributes[:, group].tolist(), strict=True):
            if label == -1:
                continue
            logits = [
                float((w @ x + b).detach())
                for w, b in zip(classifier.weight, classifier.bias, strict=True)
            ]
            total += math.log(sum(math.exp(z) for z in logits)) - logits[label]
            known += 1
        each.append(total / known if known else 0.0)
    return sum(each) / len(each)


ATTRIBUTES = torch.tensor([[0, 3, -1], [1, -1, -1], [1, 0, -1], [-1, 2, -1]])


@pytest.mark.parametrize("last", [-1, 2])
def test_equals_the_loop(last):
    loss = make_loss()
    attributes = ATTRIBUTES.clone()
    attributes[1, 2] = last
    expected = loop(rows(4, 1), attributes, loss.classifiers)
    assert loss(rows(4, 1), attributes).item() == pytest.approx(expected, rel=1e-12)


def test_by_hand():
    loss = AttributeLoss(1, (2, 4))
    with torch.no_grad():
        for parameter in loss.parameters():
            parameter.zero_()
    # All logits 0: ln 2 and ln 4; the unknown one does not dilute its group.
    got = loss(torch.ones(2, 1), torch.tensor([[0, 3], [1, -1]]))
    assert got.item() == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_gradcheck():
    loss = make_loss()
    x = rows(4, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, ATTRIBUTES), x)
    weight = loss.classifiers[1].weight
    assert torch.autograd.gradcheck(lambda w: loss(x, ATTRIBUTES), weight)


def test_permuted_people_give_the_same_loss():
    loss, order = make_loss(), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(
        loss(rows(4, 3)[order], ATTRIBUTES[order]), loss(rows(4, 3), ATTRIBUTES)
    )


@pytest.mark.parametrize("count", [0, 1, 3])
def test_nothing_known_gives_a_connected_zero(count):
    loss = make_loss()
    x = rows(count, 4).requires_grad_()
    value = loss(x, torch.full((count, 3), -1))
    value.backward()
    assert value.item() == 0.0
    assert x.grad.abs().sum() == 0.0
    for name, parameter in loss.named_parameters():
        assert parameter.grad.abs().sum() == 0.0, name


def test_bfloat16_autocast_changes_nothing():
    loss = make_loss().float()
    x = rows(4, 5).float()
    expected = loss(x, ATTRIBUTES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = loss(x, ATTRIBUTES)
        low = loss(x.bfloat16(), ATTRIBUTES)
    assert got.dtype == low.dtype == torch.float32
    assert got.item() == expected.item()
    assert low.item() == pytest.approx(expected.item(), rel=0.02)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ([[0, 0], [0, 0]], r"shape \(2, 2\); expected \(2, 3\)"),
        ([[0, 0, 0]], r"shape \(1, 3\); expected \(2, 3\)"),
        ([[0, 0, 0], [0, 4, 0]], r"group 1 has class numbers \[0, 4\]; expected 0\.\.3"),
        ([[0, 0, 0], [-2, 0, 0]], r"group 0 has class numbers \[-2, 0\].*CLASSES"),
    ],
)
def test_wrong_attributes_are_refused(attributes, message):
    with pytest.raises(ValueError, match=message):
        make_loss()(rows(2, 6), torch.tensor(attributes))


@pytest.mark.parametrize("classes", [(), (2, 0)])
def test_empty_groups_are_refused(classes):
    with pytest.raises(ValueError, match=r"ATTRIBUTES\.CLASSES"):
        AttributeLoss(D, classes)
