import math

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec

from reid_heads.config import add_reid_head_config
from reid_heads.heads import NormAwareHead, build_reid_head
from reid_heads.heads.features import HeadFeatures
from reid_heads.heads.pooling import build_pooling

C_POOLED, C, D = 5, 6, 8


def make_head(in_channels=(C_POOLED, C), embedding_dim=D, pooling="max"):
    torch.manual_seed(0)
    return NormAwareHead(
        in_channels=in_channels, embedding_dim=embedding_dim, pool=build_pooling(pooling)
    )


def maps(rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    refined = torch.randn(rows, C, 3, 2, generator=generator)
    return refined, torch.randn(rows, C_POOLED, 6, 4, generator=generator)


def loop_head(head, refined, pooled):
    """One row and one value at a time, from the running statistics of the BatchNorms."""
    rows, logits = [], []
    for person in range(len(refined)):
        row = []
        for projection, feature in zip(head.projections, (pooled, refined), strict=True):
            linear, norm = projection
            vector = [max(channel.flatten().tolist()) for channel in feature[person]]
            for i, weights in enumerate(linear.weight.tolist()):
                value = sum(w * v for w, v in zip(weights, vector, strict=True))
                mean, var = norm.running_mean[i].item(), norm.running_var[i].item()
                value = (value - mean) / math.sqrt(var + norm.eps)
                row.append(value * norm.weight[i].item() + norm.bias[i].item())
        length = math.sqrt(sum(v * v for v in row))
        scale = head.rescale
        logit = (length - scale.running_mean.item()) / math.sqrt(scale.running_var.item() + 1e-5)
        logits.append(logit * scale.weight.item() + scale.bias.item())
        rows.append(row)
    return torch.tensor(rows), torch.tensor(logits)


def test_equals_a_loop_over_rows_and_values():
    head = make_head()
    for seed in range(3):
        head(*maps(20, seed=seed))
    with torch.no_grad():
        head.rescale.weight.fill_(3.0)
        head.rescale.bias.fill_(-0.5)
    refined, pooled = maps(4, seed=9)
    given = head.eval()(refined, pooled)
    rows, logits = loop_head(head, refined, pooled)
    torch.testing.assert_close(given.embeddings, rows, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(given.person_logits, logits, rtol=1e-4, atol=1e-4)


def test_the_logit_by_hand():
    """Projections that pass one value each: the norm is a 3-4-5 triangle's."""
    head = make_head(in_channels=(1, 1), embedding_dim=2).eval()
    with torch.no_grad():
        for linear, norm in head.projections:
            linear.weight.fill_(1.0)
            norm.weight.fill_(math.sqrt(1 + norm.eps))
        head.rescale.running_mean.fill_(1.0)
        head.rescale.running_var.fill_(4.0 - head.rescale.eps)
    refined, pooled = torch.tensor([[[[4.0]]]]), torch.tensor([[[[3.0, -7.0]]]])
    given = head(refined, pooled)
    # Pooled first: max(3, -7) = 3, then 4; |(3, 4)| = 5; (5 - 1) / sqrt(4) = 2.
    torch.testing.assert_close(given.embeddings, torch.tensor([[3.0, 4.0]]))
    torch.testing.assert_close(given.person_logits, torch.tensor([2.0]))
    torch.testing.assert_close(given.unit_embeddings, torch.tensor([[0.6, 0.8]]))


def test_every_purpose_has_the_same_feature():
    head = make_head()
    given = head(*maps(3))
    assert given.metric == given.classified == (given.embeddings,)
    assert (head.embedding_dim, head.metric_dims, head.classified_dims) == (D, (D,), (D,))


@pytest.mark.parametrize("dim", [7, 8])
def test_each_map_gives_half_of_the_embedding(dim):
    head = make_head(embedding_dim=dim).eval()
    refined, pooled = maps(3)
    base = head(refined, pooled).embeddings
    other = head(refined + 1, pooled).embeddings
    same = (base == other).all(dim=0)
    assert base.shape == (3, dim)
    assert same.tolist() == [True] * (dim // 2) + [False] * (dim - dim // 2)


def test_refined_features_alone():
    head = make_head(in_channels=(C,)).eval()
    refined, pooled = maps(3)
    given = head(refined, pooled)
    assert given.embeddings.shape == (3, D)
    assert torch.equal(given.embeddings, head(refined, pooled + 1).embeddings)
    assert given.person_logits.shape == (3,)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_few_rows(rows, training):
    """BatchNorm1d in train mode raises on one row, and on none."""
    head = make_head().train(training)
    given = head(*maps(rows))
    assert given.unit_embeddings.shape == (rows, D)
    assert given.person_logits.shape == (rows,)
    assert torch.isfinite(given.person_logits).all()
    (given.embeddings.sum() + given.person_logits.sum()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name


def test_rows_of_zeros_give_finite_gradients():
    """The norm has no derivative there."""
    head = make_head().eval()
    refined, pooled = (torch.zeros_like(x, requires_grad=True) for x in maps(2))
    given = head(refined, pooled)
    (given.person_logits.sum() + given.unit_embeddings.sum()).backward()
    assert torch.isfinite(refined.grad).all() and torch.isfinite(pooled.grad).all()


def test_the_score_alone_reaches_both_projections():
    head = make_head()
    head(*maps(5)).person_logits[:2].sum().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_bfloat16_autocast_still_gives_float32():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        given = make_head()(*maps(4))
    assert given.embeddings.dtype == given.person_logits.dtype == torch.float32


def make_cfg(**keys):
    cfg = CfgNode({"MODEL": {}})
    add_reid_head_config(cfg)
    cfg.MODEL.REID_HEAD.NAME = "NormAwareHead"
    cfg.MODEL.REID_HEAD.EMBEDDING_DIM = D
    for key, value in keys.items():
        cfg.merge_from_list([f"MODEL.REID_HEAD.{key.replace('__', '.')}", value])
    return cfg


def test_built_from_a_config():
    shapes = ShapeSpec(channels=C), ShapeSpec(channels=C_POOLED)
    head = build_reid_head(make_cfg(POOLING="max"), *shapes)
    assert type(head.pool).__name__ == "MaxPooling"
    assert [p[0].in_features for p in head.projections] == [C_POOLED, C]
    assert head(*maps(3)).embeddings.shape == (3, D)
    alone = build_reid_head(make_cfg(NORM_AWARE__USE_POOLED=False), *shapes)
    assert [p[0].in_features for p in alone.projections] == [C]


def test_crops_have_no_pooled_features():
    with pytest.raises(ValueError, match="NormAwareHead"):
        build_reid_head(make_cfg(), ShapeSpec(channels=C))


@pytest.mark.parametrize(("in_channels", "dim"), [((), 8), ((1, 2, 3), 8), ((4, 4), 1), ((4,), 0)])
def test_an_embedding_that_cannot_be_divided_is_refused(in_channels, dim):
    with pytest.raises(ValueError, match="norm-aware embedding"):
        make_head(in_channels=in_channels, embedding_dim=dim)


def test_rows_of_head_features_are_selected_everywhere():
    rows = torch.arange(8.0).reshape(4, 2)
    given = HeadFeatures(rows, (rows + 10, rows + 20), (rows + 30,), torch.arange(4.0))
    mask = torch.tensor([False, True, False, True])
    chosen = given.select(mask)
    assert chosen.embeddings.tolist() == [[2, 3], [6, 7]]
    assert [x.tolist() for x in chosen.metric] == [[[12, 13], [16, 17]], [[22, 23], [26, 27]]]
    assert chosen.classified[0].tolist() == [[32, 33], [36, 37]]
    assert chosen.person_logits.tolist() == [1, 3]
    assert given._replace(person_logits=None).select(mask).person_logits is None
