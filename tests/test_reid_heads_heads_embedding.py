import pytest
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec

from reid_heads.config import add_reid_head_config
from reid_heads.heads import EmbeddingHead, build_reid_head

C, D = 6, 8


def make_head(**settings):
    torch.manual_seed(0)
    return EmbeddingHead(in_channels=C, embedding_dim=D, **settings)


def features(rows, height=8, width=4, seed=0):
    return torch.randn(rows, C, height, width, generator=torch.Generator().manual_seed(seed))


def pool_cells(cells, pooling):
    if pooling == "max":
        return max(cells)
    if pooling == "gem":
        return (sum(max(cell, 1e-6) ** 2.5 for cell in cells) / len(cells)) ** (1 / 2.5)
    return sum(cells) / len(cells)


def loop_stripes(x, stripes, pooling):
    """One stripe at a time: rows [i H / n, (i + 1) H / n) of each person."""
    height = x.shape[2]
    rows = []
    for person in x:
        parts = []
        for n in stripes:
            # Channel by channel, stripes inside: the layout of one flattened (C, n) map.
            maps = []
            for channel in person:
                for i in range(n):
                    cells = channel[i * height // n : (i + 1) * height // n].flatten().tolist()
                    maps.append(pool_cells(cells, pooling))
            parts += maps
        rows.append(parts)
    return torch.tensor(rows)


@pytest.mark.parametrize("pooling", ["avg", "max", "gem"])
@pytest.mark.parametrize("stripes", [(1,), (2,), (1, 2), (1, 2, 4)])
def test_embedding_equals_a_loop_over_stripes(stripes, pooling):
    head = make_head(stripes=stripes, pooling=pooling, gem_power=2.5, use_batch_norm=False)
    x = features(3)
    projected = loop_stripes(x, stripes, pooling) @ head.project.weight.t() + head.project.bias
    expected = projected / projected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(head(x).unit_embeddings, expected, rtol=1e-4, atol=1e-5)


def test_a_relu_comes_last_on_request():
    head = make_head(use_relu=True).eval()
    x = features(3)
    expected = head.norm(head.project(x.mean((2, 3)))).clamp(min=0)
    assert (expected == 0).any()
    torch.testing.assert_close(head(x).embeddings, expected)


def test_every_purpose_has_the_same_feature():
    head = make_head()
    given = head(features(3))
    assert given.metric == given.classified == (given.embeddings,)
    assert (head.embedding_dim, head.metric_dims, head.classified_dims) == (D, (D,), (D,))
    assert not torch.allclose(given.embeddings.norm(dim=1), torch.ones(3), atol=0.1)


@pytest.mark.parametrize("use_batch_norm", [True, False])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_embeddings_are_unit_vectors(rows, training, use_batch_norm):
    """BatchNorm1d in train mode raises on one row (detectron2 notes, trap 7)."""
    head = make_head(use_batch_norm=use_batch_norm).train(training)
    embeddings = head(features(rows)).unit_embeddings
    assert embeddings.shape == (rows, D)
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(rows))


@pytest.mark.parametrize("use_batch_norm", [True, False])
def test_nobody_gives_no_rows(use_batch_norm):
    embeddings = make_head(use_batch_norm=use_batch_norm).eval()(features(0)).unit_embeddings
    assert embeddings.shape == (0, D)


def test_one_row_takes_the_running_statistics_and_leaves_them():
    head = make_head()
    head(features(8, seed=1))
    mean = head.norm.running_mean.clone()
    trained = head(features(1, seed=2)).embeddings
    assert torch.equal(head.norm.running_mean, mean)
    torch.testing.assert_close(trained, head.eval()(features(1, seed=2)).embeddings)


def test_one_row_reaches_every_parameter():
    head = make_head(stripes=(1, 2))
    head(features(1)).unit_embeddings[0, 0].backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_more_rows_are_normalised_as_batchnorm_does():
    head = make_head(stripes=(1,))
    x = features(6)
    rows = x.mean(dim=(2, 3)) @ head.project.weight.t()
    # Biased variance within the batch, as in Ioffe and Szegedy, 2015.
    whitened = (rows - rows.mean(0)) / (rows.var(0, unbiased=False) + head.norm.eps).sqrt()
    torch.testing.assert_close(head(x).embeddings, whitened, rtol=1e-4, atol=1e-5)


def test_bfloat16_autocast_still_gives_float32_unit_vectors():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = make_head()(features(4)).unit_embeddings
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": "median"}, r"'median'.*\['avg', 'gem', 'max'\]"),
        ({"pooling": "gem", "gem_power": 0.0}, "power"),
        ({"stripes": ()}, "stripes"),
        ({"stripes": (1, 0)}, "stripes"),
    ],
)
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_head(**settings)


def test_config_builds_the_head():
    cfg = CfgNode({"MODEL": CfgNode()})
    add_reid_head_config(cfg)
    cfg.MODEL.REID_HEAD.STRIPES = (1, 2)
    cfg.MODEL.REID_HEAD.POOLING = "max"
    cfg.MODEL.REID_HEAD.BATCH_NORM = False
    head = build_reid_head(cfg, ShapeSpec(channels=C))
    assert head.embedding_dim == cfg.MODEL.REID_HEAD.EMBEDDING_DIM == 256
    assert head(features(2)).embeddings.shape == (2, 256)
    assert head.project.in_features == 3 * C
    assert not any("norm" in name for name in head.state_dict())


def test_config_sets_the_generalised_mean():
    cfg = CfgNode({"MODEL": CfgNode()})
    add_reid_head_config(cfg)
    node = cfg.MODEL.REID_HEAD
    node.POOLING, node.GEM_POWER, node.GEM_LEARNED = "gem", 2.0, True
    head = build_reid_head(cfg, ShapeSpec(channels=C))
    assert head.pool.power.item() == 2.0
    head(features(2)).unit_embeddings[0, 0].backward()
    assert head.pool.power.grad.abs() > 0


def test_unknown_head_is_refused():
    cfg = CfgNode({"MODEL": CfgNode()})
    add_reid_head_config(cfg)
    cfg.MODEL.REID_HEAD.NAME = "NoSuchHead"
    with pytest.raises(KeyError, match="NoSuchHead"):
        build_reid_head(cfg, ShapeSpec(channels=C))
