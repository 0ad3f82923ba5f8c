import pytest
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec

from reid_heads.config import add_reid_head_config
from reid_heads.heads import BNNeckHead, build_reid_head
from reid_heads.heads.pooling import build_pooling

C = 6


def make_head(pooling="avg", **settings):
    return BNNeckHead(in_channels=C, pool=build_pooling(pooling), **settings)


def features(rows, seed=0):
    return torch.randn(rows, C, 4, 2, generator=torch.Generator().manual_seed(seed))


def test_neck_stands_between_metric_and_classified_features():
    head = make_head().train()
    x = features(5)
    out = head(x)
    pooled = x.mean(dim=(2, 3))
    # Biased variance within the batch, as in Ioffe and Szegedy, 2015.
    normed = (pooled - pooled.mean(0)) / (pooled.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(out.metric[0], pooled)
    torch.testing.assert_close(out.classified[0], normed, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out.embeddings, normed, rtol=1e-4, atol=1e-5)
    assert len(out.metric) == len(out.classified) == 1


def test_without_neck_all_see_the_pooled_feature():
    head = make_head(use_batch_norm=False).train()
    x = features(3)
    out = head(x)
    for feature in (out.embeddings, *out.metric, *out.classified):
        torch.testing.assert_close(feature, x.mean(dim=(2, 3)))
    assert not head.state_dict()


def test_sizes_are_those_of_the_features():
    head = make_head()
    out = head(features(2))
    assert out.embeddings.shape == (2, head.embedding_dim)
    assert tuple(f.shape[1] for f in out.metric) == head.metric_dims == (C,)
    assert tuple(f.shape[1] for f in out.classified) == head.classified_dims == (C,)


def test_bias_stays_zero_under_weight_decay_and_weight_learns():
    head = make_head().train()
    optimizer = torch.optim.SGD(head.parameters(), lr=0.1, weight_decay=0.5)
    for step in range(3):
        optimizer.zero_grad()
        head(features(4, step)).classified[0].square().sum().backward()
        optimizer.step()
    assert not head.neck.bias.requires_grad
    assert torch.equal(head.neck.bias, torch.zeros(C))
    assert (head.neck.weight != 1).all()


def test_metric_losses_do_not_reach_the_neck():
    head = make_head().train()
    x = features(4).requires_grad_()
    head(x).metric[0].square().sum().backward()
    assert head.neck.weight.grad is None
    assert x.grad.abs().sum() > 0


def test_classifiers_reach_the_neck_and_the_features():
    head = make_head().train()
    x = features(4).requires_grad_()
    head(x).classified[0].pow(3).sum().backward()
    assert (head.neck.weight.grad != 0).all()
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize("use_batch_norm", [True, False])
@pytest.mark.parametrize(("rows", "training"), [(0, False), (0, True), (1, True), (1, False)])
def test_nobody_and_one_person(rows, training, use_batch_norm):
    """BatchNorm1d in train mode raises on fewer than two rows."""
    out = make_head(use_batch_norm=use_batch_norm).train(training)(features(rows))
    for feature in (out.embeddings, *out.metric, *out.classified):
        assert feature.shape == (rows, C)


def test_one_row_takes_the_running_statistics_and_leaves_them():
    head = make_head().train()
    head(features(8, seed=1))
    state = {name: value.clone() for name, value in head.state_dict().items()}
    trained = head(features(1, seed=2)).embeddings
    for name, value in head.state_dict().items():
        assert torch.equal(value, state[name]), name
    torch.testing.assert_close(trained, head.eval()(features(1, seed=2)).embeddings)


def test_evaluation_embeds_each_person_alone():
    head = make_head().train()
    head(features(8, seed=1))
    head.eval()
    x = features(3)
    torch.testing.assert_close(head(x).embeddings[1:2], head(x[1:2]).embeddings)


def test_state_dict_round_trip():
    head = make_head().train()
    head(features(8, seed=1))
    again = make_head()
    again.load_state_dict(head.state_dict(), strict=True)
    x = features(2)
    assert torch.equal(head.eval()(x).embeddings, again.eval()(x).embeddings)


def test_bfloat16_autocast_gives_float32():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = make_head().train()(features(4).bfloat16())
    assert {f.dtype for f in (out.embeddings, *out.metric, *out.classified)} == {torch.float32}
    assert torch.isfinite(out.embeddings).all()


def test_config_builds_the_head():
    cfg = CfgNode({"MODEL": CfgNode()})
    add_reid_head_config(cfg)
    cfg.MODEL.REID_HEAD.NAME = "BNNeckHead"
    cfg.MODEL.REID_HEAD.POOLING = "gem"
    cfg.MODEL.REID_HEAD.GEM_POWER = 2.0
    cfg.MODEL.REID_HEAD.GEM_LEARNED = True
    head = build_reid_head(cfg, ShapeSpec(channels=C))
    assert head.embedding_dim == C
    assert set(head.state_dict()) >= {"pool.power", "neck.weight", "neck.running_mean"}
    assert head.pool.power.item() == 2.0
    cfg.MODEL.REID_HEAD.BATCH_NORM = False
    assert set(build_reid_head(cfg, ShapeSpec(channels=C)).state_dict()) == {"pool.power"}
