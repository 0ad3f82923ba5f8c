"""Logit adjustment against its formula, in each loss that takes it, and through checkpoints."""

import math
from types import SimpleNamespace

import pytest
import torch
from detectron2.config import CfgNode
from torch import nn

from reid_heads.config import add_reid_head_config
from reid_heads.heads.features import HeadFeatures
from reid_heads.labels import UNLABELED_PID
from reid_heads.losses import ReIDLosses
from reid_heads.losses.logit_adjustment import LogitAdjustment
from reid_heads.training.checkpoint import WeightCopyCheckpointer

P = 4
HEAD = SimpleNamespace(embedding_dim=6, metric_dims=(6,), classified_dims=(6,))
# Losses by name, a margin's for COSINE_SOFTMAX with it.
MARGINS = {"arcface": {}, "cosface": {}, "subcenter": {"SUB_CENTERS": 3}}
ADJUSTED = ("OIM", "SOFTMAX", "COSINE_SOFTMAX", *MARGINS)
COUNTS = torch.tensor([1, 2, 3, 10])
PIDS = torch.tensor([0, 3, 3, 1, UNLABELED_PID, 2])


def make_losses(name, tau):
    cfg = CfgNode({"MODEL": CfgNode()})
    add_reid_head_config(cfg)
    head = cfg.MODEL.REID_HEAD
    head.NUM_IDENTITIES, head.LOGIT_ADJUSTMENT, head.OIM.QUEUE_SIZE = P, tau, 3
    loss = "COSINE_SOFTMAX" if name in MARGINS else name
    for known in head.LOSSES:
        head.LOSSES[known] = float(known == loss)
    if name in MARGINS:
        head.COSINE_SOFTMAX.SUB_CENTERS = MARGINS[name].get("SUB_CENTERS", 1)
        head.COSINE_SOFTMAX.MARGIN.NAME = "cosface" if name == "cosface" else "arcface"
    torch.manual_seed(0)
    losses = ReIDLosses.from_config(cfg, HEAD)
    if name == "OIM":
        oim = losses.losses["OIM"]
        oim.table.copy_(nn.functional.normalize(torch.randn(P, 6)))
        oim.queue.copy_(nn.functional.normalize(torch.randn(3, 6)))
    return losses


def features_of(count, seed=1):
    rows = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    return HeadFeatures(rows, (rows,), (rows,))


def value(losses, features, pids=PIDS):
    (loss,) = losses(features, pids).values()
    return loss


def plain_logits(losses, name, rows, pids):
    """The logits before adjustment, of labelled rows."""
    (module,) = losses.losses.values()
    if name == "OIM":
        unit = nn.functional.normalize(rows)
        return module.scale * unit @ torch.cat([module.table, module.queue]).clone().t()
    if name == "SOFTMAX":
        return rows @ module.weights[0].t()
    cosines = module._cosines(rows, module.weights[0])
    return module._logits(rows, cosines, pids, module.margin)


@pytest.mark.parametrize("name", ADJUSTED)
@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_equals_the_formula(name, tau):
    losses, x = make_losses(name, tau), features_of(len(PIDS))
    losses.set_identity_counts(COUNTS)
    labeled = PIDS != UNLABELED_PID
    rows, pids = x.embeddings[labeled], PIDS[labeled]
    logits = plain_logits(losses, name, rows, pids).double().tolist()
    total = 0.0
    for row, pid in zip(logits, pids.tolist(), strict=True):
        for c, count in enumerate(COUNTS.tolist()):
            row[c] += tau * math.log(P * count / sum(COUNTS.tolist()))
        total -= row[pid] - math.log(sum(math.exp(z) for z in row))
    assert value(losses, x).item() == pytest.approx(total / len(pids), rel=1e-5)


def test_by_hand():
    # Shares 1/4 and 3/4 against an even 1/2, tau = 2: 2 ln(1/2) and 2 ln(3/2).
    adjustment = LogitAdjustment(2.0, 2)
    adjustment.set_identity_counts(torch.tensor([1, 3]))
    expected = torch.tensor([2 * math.log(0.5), 2 * math.log(1.5)])
    torch.testing.assert_close(adjustment(), expected)


def test_of_equal_logits_the_shares_remain():
    """Menon et al., equation 10 with tau = 1: a model that says nothing predicts the shares, so its
    loss of identity c is -log of the share. The classifiers' weights are zero here."""
    losses = make_losses("SOFTMAX", 1.0)
    losses.set_identity_counts(COUNTS)
    with torch.no_grad():
        losses.losses["SOFTMAX"].weights[0].zero_()
    for pid, count in enumerate(COUNTS.tolist()):
        got = value(losses, features_of(1), torch.tensor([pid]))
        assert got.item() == pytest.approx(-math.log(count / 16), rel=1e-6)


@pytest.mark.parametrize("name", ADJUSTED)
def test_equal_counts_change_nothing(name):
    """Neither among identities nor between them and the queue of OIM."""
    adjusted, x = make_losses(name, 1.5), features_of(len(PIDS))
    adjusted.set_identity_counts(torch.full((P,), 7))
    torch.testing.assert_close(value(adjusted, x), value(make_losses(name, 0.0), x))


@pytest.mark.parametrize("name", ADJUSTED)
def test_evaluation_knows_no_adjustment(name):
    adjusted, x = make_losses(name, 1.5).eval(), features_of(len(PIDS))
    assert torch.equal(value(adjusted, x), value(make_losses(name, 0.0).eval(), x))


def test_queue_of_oim_gets_no_offset():
    """An embedding along a queue slot: raising every identity's count alike moves nothing, and the
    rare identity's loss is larger than the frequent one's by the whole difference of offsets."""
    losses = make_losses("OIM", 1.0)
    losses.set_identity_counts(COUNTS)
    oim = losses.losses["OIM"].eval()
    oim.table.zero_()
    row = oim.queue[:1].clone()
    offsets = losses.logit_adjustment()
    rare, frequent = (oim(row, torch.tensor([pid]), offsets) for pid in (0, 3))
    assert (rare - frequent).item() == pytest.approx(math.log(10), rel=1e-5)
    losses.set_identity_counts(100 * COUNTS)
    torch.testing.assert_close(losses.logit_adjustment(), offsets)


@pytest.mark.parametrize("name", ADJUSTED)
@pytest.mark.parametrize("pids", [[], [2], [UNLABELED_PID] * 2])
def test_every_batch_gives_a_finite_loss_and_gradient(name, pids):
    losses, x = make_losses(name, 1.0), features_of(len(pids))
    losses.set_identity_counts(torch.tensor([1, 10**9, 1, 5]))
    x.embeddings.requires_grad_()
    loss = value(losses, x, torch.tensor(pids, dtype=torch.int64))
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(x.embeddings.grad).all()
    assert (loss == 0) == (set(pids) <= {UNLABELED_PID})


@pytest.mark.parametrize("name", ADJUSTED)
def test_training_without_counts_is_refused(name):
    losses = make_losses(name, 1.0)
    with pytest.raises(RuntimeError, match=r"LOGIT_ADJUSTMENT is 1\.0.*set_identity_counts"):
        losses(features_of(len(PIDS)), PIDS)
    losses.eval()(features_of(len(PIDS)), PIDS)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([1, 2, 0, 0], r"2 of 4 identities have no training box, the first ones are \[2, 3\]"),
        ([1, 2, -3, 1], r"1 of 4.*\[2\].*LOGIT_ADJUSTMENT to 0\.0"),
        ([1, 2, 3], r"shape \(3,\).*expected \(4,\).*NUM_IDENTITIES"),
        ([1, 2, 3, 4, 5], r"shape \(5,\)"),
        ([1.0, 2.0, 3.0, 4.0], r"float32.*int64"),
    ],
)
def test_wrong_counts_are_refused(counts, message):
    losses = make_losses("SOFTMAX", 1.0)
    with pytest.raises(ValueError, match=message):
        losses.set_identity_counts(torch.tensor(counts))


@pytest.mark.parametrize("tau", [-1.0, math.nan, math.inf])
def test_strength_out_of_range_is_refused(tau):
    with pytest.raises(ValueError, match=f"tau={tau}"):
        make_losses("SOFTMAX", tau)


def test_without_adjustment_there_is_no_state():
    losses = make_losses("OIM", 0.0)
    losses.set_identity_counts(COUNTS)
    assert set(losses.state_dict()) == {
        f"losses.OIM.{x}" for x in ("table", "queue", "queue_pointer")
    }


def test_counts_travel_in_the_checkpoint(tmp_path):
    first = make_losses("SOFTMAX", 1.0)
    first.set_identity_counts(COUNTS)
    WeightCopyCheckpointer(first, str(tmp_path)).save("adjusted")
    second, x = make_losses("SOFTMAX", 1.0), features_of(len(PIDS))
    WeightCopyCheckpointer(second).load_whole_model(str(tmp_path / "adjusted.pth"))
    assert torch.equal(value(second, x), value(first, x))
    # A config without adjustment reads it too.
    WeightCopyCheckpointer(make_losses("SOFTMAX", 0.0)).load_whole_model(
        str(tmp_path / "adjusted.pth")
    )


def test_checkpoint_without_counts_still_loads(tmp_path):
    old = make_losses("SOFTMAX", 0.0)
    WeightCopyCheckpointer(old, str(tmp_path)).save("old")
    losses = make_losses("SOFTMAX", 1.0)
    losses.set_identity_counts(COUNTS)
    with torch.no_grad():
        losses.losses["SOFTMAX"].weights[0].zero_()
    WeightCopyCheckpointer(losses).load_whole_model(str(tmp_path / "old.pth"))
    assert torch.equal(losses.losses["SOFTMAX"].weights[0], old.losses["SOFTMAX"].weights[0])
    assert torch.equal(losses.logit_adjustment.identity_counts, COUNTS)
    # What is missing otherwise is still an error.
    with pytest.raises(ValueError, match=r"losses\.OIM\.table"):
        WeightCopyCheckpointer(make_losses("OIM", 1.0)).load_whole_model(str(tmp_path / "old.pth"))
