"""An embedding for each loss of an ensemble: who sees what, and how they are compared."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec

from reid_heads.config import add_reid_head_config
from reid_heads.heads import EnsembleHead, build_reid_head
from reid_heads.heads.balanced_sum import BalancedSum
from reid_heads.heads.pooling import build_pooling
from reid_heads.losses import ReIDLosses
from reid_heads.losses.ensemble import diversity_loss

C, D, P = 6, 4, 5
MEMBERS = ("SOFTMAX", "TRIPLET", "MULTI_SIMILARITY")
PIDS = torch.tensor([0, 0, 1, 1, 2, -1])


def make_head(prior=(), **settings):
    balanced = BalancedSum(len(MEMBERS), prior)
    pool = build_pooling("avg")
    return EnsembleHead(
        in_channels=C, embedding_dim=D, pool=pool, balanced_sum=balanced, **settings
    )


def features(rows=6, seed=0):
    return torch.randn(rows, C, 4, 2, generator=torch.Generator().manual_seed(seed))


def make_config(**settings):
    cfg = CfgNode({"MODEL": CfgNode()})
    add_reid_head_config(cfg)
    head = cfg.MODEL.REID_HEAD
    head.NAME, head.EMBEDDING_DIM, head.NUM_IDENTITIES = "EnsembleHead", D, P
    head.LOSSES.OIM, head.LOSSES.ENSEMBLE = 0.0, 1.0
    head.ENSEMBLE.MEMBERS = MEMBERS
    cfg.merge_from_list(
        [
            x
            for key, value in settings.items()
            for x in (f"MODEL.REID_HEAD.{key.replace('__', '.')}", value)
        ]
    )
    return cfg


def make_both(**settings):
    cfg = make_config(**settings)
    head = build_reid_head(cfg, ShapeSpec(channels=C))
    return head, ReIDLosses.from_config(cfg, head)


@pytest.mark.parametrize("use_batch_norm", [False, True])
def test_each_loss_has_a_projection_of_its_own(use_batch_norm):
    head = make_head(use_batch_norm=use_batch_norm).eval()
    out = head(features())
    assert head.metric_dims == head.classified_dims == (D,) * 3
    assert head.embedding_dim == 3 * D == out.embeddings.shape[1]
    for own, classified, project in zip(out.metric, out.classified, head.projections, strict=True):
        torch.testing.assert_close(own, project(features().mean(dim=(2, 3))))
        assert own is classified
    assert not torch.allclose(out.metric[0], out.metric[1])


def test_cosine_is_the_mean_of_cosines_weighed_as_the_losses():
    head = make_head(prior=(2, 1, 3)).eval()
    out = head(features())
    weights = head.balanced_sum.weights
    expected = sum(
        weight * F.cosine_similarity(x[:, None], x[None], dim=-1)
        for weight, x in zip(weights, out.metric, strict=True)
    )
    unit = out.unit_embeddings
    torch.testing.assert_close(unit @ unit.T, expected / weights.sum())


def test_comparison_does_not_train_the_weights():
    head = make_head()
    head(features()).embeddings.sum().backward()
    assert head.balanced_sum.coefficients.grad is None


def test_ensemble_gives_each_member_its_own_embedding():
    head, losses = make_both()
    out = head.train()(features())
    ensemble = losses.losses["ENSEMBLE"]
    values = [
        ensemble.members["SOFTMAX"](out.classified[:1], PIDS),
        ensemble.members["TRIPLET"](out.metric[1:2], PIDS),
        ensemble.members["MULTI_SIMILARITY"](out.metric[2:], PIDS),
    ]
    expected = BalancedSum(3)(values)
    torch.testing.assert_close(losses(out, PIDS)["loss_reid_ensemble"], expected)


def test_learned_weights_are_those_of_the_comparison():
    head, losses = make_both()
    assert losses.losses["ENSEMBLE"].sum is head.balanced_sum
    both = torch.nn.ModuleDict({"head": head, "losses": losses})
    # Once, so that no optimizer takes two steps.
    assert sum(p is head.balanced_sum.coefficients for p in both.parameters()) == 1
    losses(head.train()(features()), PIDS)["loss_reid_ensemble"].backward()
    assert head.balanced_sum.coefficients.grad.abs().sum() > 0

    with torch.no_grad():
        head.balanced_sum.coefficients.copy_(torch.tensor([0.1, 0.5, 0.9]))
    other_head, other_losses = make_both()
    again = torch.nn.ModuleDict({"head": other_head, "losses": other_losses})
    again.load_state_dict(both.state_dict())
    assert torch.equal(other_losses.losses["ENSEMBLE"].sum.weights, head.balanced_sum.weights)
    assert torch.equal(other_head.eval()(features()).embeddings, head.eval()(features()).embeddings)


def test_diversity_is_of_the_labelled_rows():
    head, losses = make_both(ENSEMBLE__DIVERSITY=0.5)
    out = head.eval()(features())
    losses.eval()
    got = losses(out, PIDS)["loss_reid_ensemble"]
    losses.losses["ENSEMBLE"].diversity = 0.0
    plain = losses(out, PIDS)["loss_reid_ensemble"]
    expected = 0.5 * diversity_loss([x[:-1] for x in out.metric])
    torch.testing.assert_close(got - plain, expected, rtol=1e-4, atol=1e-5)


def test_every_projection_gets_a_gradient_from_its_loss_alone():
    head, losses = make_both(ENSEMBLE__MEMBERS=("SOFTMAX", "TRIPLET"))
    ensemble = losses.losses["ENSEMBLE"]
    out = head.train()(features())
    ensemble.members["SOFTMAX"](out.part(0).classified, PIDS).backward()
    first, second = (project[0].weight.grad for project in head.projections)
    assert first.abs().sum() > 0 and second is None


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows(rows):
    head, losses = make_both(ENSEMBLE__DIVERSITY=0.5)
    out = head.train()(features(rows))
    assert out.embeddings.shape == (rows, 3 * D)
    loss = losses(out, PIDS[:rows])["loss_reid_ensemble"]
    loss.backward()
    assert torch.isfinite(loss)


def test_bfloat16_autocast_gives_finite_float32():
    head, losses = make_both()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = head.train()(features().bfloat16())
        loss = losses(out, PIDS)["loss_reid_ensemble"]
    assert out.embeddings.dtype == torch.float32
    assert loss.dtype == torch.float32 and torch.isfinite(loss)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"LOSSES__ENSEMBLE": 0.0}, "LOSSES.ENSEMBLE is 0"),
        ({"ENSEMBLE__MEMBERS": ()}, "one loss at"),
        ({"ENSEMBLE__DIVERSITY": -1.0}, "DIVERSITY is -1"),
        ({"ENSEMBLE__DIVERSITY": 0.1, "ENSEMBLE__MEMBERS": ("SOFTMAX",)}, "two MEMBERS"),
        ({"INTRA_CLASS__COPIES": 3}, "COPIES"),
    ],
)
def test_bad_settings_name_the_key(settings, message):
    with pytest.raises(ValueError, match=message):
        make_both(**settings)


def test_diversity_needs_embeddings_of_their_own():
    cfg = make_config(NAME="EmbeddingHead", ENSEMBLE__DIVERSITY=0.1)
    head = build_reid_head(cfg, ShapeSpec(channels=C))
    with pytest.raises(ValueError, match="EnsembleHead"):
        ReIDLosses.from_config(cfg, head)
