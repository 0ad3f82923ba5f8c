"""Hetero-center triplet loss against a loop over centers."""

import math

import pytest
import torch

from reid_heads.labels import THERMAL, UNLABELED_PID, VISIBLE
from reid_heads.losses.hetero_center import HeteroCenterTripletLoss, hetero_center_triplet_loss

D = 4


def rows(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, D, generator=generator, dtype=torch.float64)


def loop(x, pids, modalities, margin):
    centers = []
    for pid in sorted(set(pids.tolist()) - {UNLABELED_PID}):
        for kind in (VISIBLE, THERMAL):
            own = x[(pids == pid) & (modalities == kind)]
            centers.append((pid, own.mean(dim=0).tolist()))
    values = []
    for pid, center in centers:
        positive = max(math.dist(center, other) for p, other in centers if p == pid)
        negatives = [math.dist(center, other) for p, other in centers if p != pid]
        if negatives:
            gap = positive - min(negatives)
            values.append(math.log1p(math.exp(gap)) if margin is None else max(0, margin + gap))
    return sum(values) / len(values) if values else 0.0


@pytest.mark.parametrize("margin", [None, 0.3, 2.0])
def test_equals_the_loop_for_groups_of_any_size(margin):
    pids = torch.tensor([0, 0, 0, 5, 5, 7, 7, 7, 7, UNLABELED_PID, 0])
    modalities = torch.tensor([0, 1, 1, 0, 1, 1, 0, 0, 1, 0, 0])
    for seed in range(4):
        x = rows(len(pids), seed)
        got = hetero_center_triplet_loss(x, pids, modalities, margin)
        assert got.item() == pytest.approx(loop(x, pids, modalities, margin), rel=1e-10)


def test_by_hand():
    # On a line. Identity 0: visible -1, 1 (center 0), thermal 2. Identity 1: visible 5, thermal 9.
    x = torch.tensor([[-1.0], [1.0], [2.0], [5.0], [9.0]])
    pids, modalities = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 0, 1, 0, 1])
    # Margin 2: 0: 2 - 5 + 2 < 0. 2: 2 - 3 + 2 = 1. 5: 4 - 3 + 2 = 3. 9: 4 - 7 + 2 < 0. Mean 1.
    assert hetero_center_triplet_loss(x, pids, modalities, 2.0).item() == 1.0


def test_gradcheck():
    pids, modalities = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 1, 1, 0, 0, 1])
    x = rows(6).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: hetero_center_triplet_loss(x, pids, modalities, 0.5), x
    )


def test_mean_over_features():
    pids, modalities = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    first, second = rows(4), rows(4, 1)
    single = [hetero_center_triplet_loss(x, pids, modalities, 0.3).item() for x in (first, second)]
    got = HeteroCenterTripletLoss(0.3)([first, second], pids, modalities)
    assert got.item() == pytest.approx(sum(single) / 2)


@pytest.mark.parametrize("pids", [[], [UNLABELED_PID] * 2, [4, 4]])
def test_without_negatives_a_connected_zero(pids):
    x = rows(len(pids)).requires_grad_()
    modalities = torch.tensor([0, 1][: len(pids)], dtype=torch.int64)
    value = hetero_center_triplet_loss(x, torch.tensor(pids, dtype=torch.int64), modalities, 0.3)
    value.backward()
    assert value.item() == 0 and x.grad.abs().sum() == 0


def test_one_modality_is_refused():
    with pytest.raises(ValueError, match="one modality only"):
        hetero_center_triplet_loss(rows(2), torch.tensor([0, 0]), torch.tensor([1, 1]), 0.3)


def test_a_negative_margin_is_refused():
    with pytest.raises(ValueError, match=r"margin=-1.*HETERO_CENTER_TRIPLET"):
        HeteroCenterTripletLoss(-1)
