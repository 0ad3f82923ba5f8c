"""COSINE_SOFTMAX from the config: its margins, and that what a config sets arrives."""

import pytest
import torch
from test_reid_heads_losses_composite import HEAD, PIDS, P, attributes_of, features_of, make_losses

from reid_heads.labels import UNLABELED_PID
from reid_heads.losses import CosineSoftmaxLoss
from reid_heads.losses.adaptive_margins import (
    CurricularMargin,
    MagnitudeMargin,
    QualityAdaptiveMargin,
)
from reid_heads.losses.cosine_softmax import MARGINS
from reid_heads.losses.margins import (
    AdditiveAngularMargin,
    AdditiveCosineMargin,
    CombinedMargin,
    MultiplicativeAngularMargin,
)
from reid_heads.losses.partial_fc import PartialFCLoss

NAMES = ["none", *MARGINS]


def build(name, own=None, **settings):
    """The losses with COSINE_SOFTMAX alone, a margin's own settings without its node's name."""
    words = {f"MARGIN__{name.upper()}__{key}": value for key, value in (own or {}).items()}
    words = {"MARGIN__NAME": name, **words, **settings}
    return make_losses(
        {"COSINE_SOFTMAX": 1.0}, **{f"COSINE_SOFTMAX__{key}": x for key, x in words.items()}
    )


@pytest.mark.parametrize(
    ("name", "own", "kind", "expected"),
    [
        ("arcface", {"M": 0.4}, AdditiveAngularMargin, {"margin": 0.4}),
        ("cosface", {"M": 0.4}, AdditiveCosineMargin, {"margin": 0.4}),
        ("sphereface", {"M": 1.5}, MultiplicativeAngularMargin, {"m1": 1.5}),
        (
            "combined",
            {"M1": 0.9, "M2": 0.4, "M3": 0.15},
            CombinedMargin,
            {"m1": 0.9, "m2": 0.4, "m3": 0.15},
        ),
        (
            "curricularface",
            {"M": 0.2, "MOMENTUM": 0.9},
            CurricularMargin,
            {"margin": 0.2, "momentum": 0.9},
        ),
        (
            "magface",
            {"NORM_RANGE": (1.0, 51.0), "M_RANGE": (0.4, 1.0), "REGULARIZER": 5.0},
            MagnitudeMargin,
            {"norm_range": (1.0, 51.0), "margin_range": (0.4, 1.0), "regularizer": 5.0},
        ),
        (
            "adaface",
            {"M": 0.3, "CONCENTRATION": 0.5, "MOMENTUM": 0.8},
            QualityAdaptiveMargin,
            {"margin": 0.3, "concentration": 0.5, "momentum": 0.8},
        ),
    ],
)
def test_settings_of_a_margin_arrive(name, own, kind, expected):
    margin = build(name, own, MARGIN__GRADIENT="straight_through").losses["COSINE_SOFTMAX"].margin
    assert type(margin) is kind
    assert {key: getattr(margin, key) for key in expected} == expected
    assert margin.gradient == ("exact" if name == "cosface" else "straight_through")


@pytest.mark.parametrize("name", NAMES)
def test_settings_of_the_loss_arrive_with_every_margin(name):
    loss = build(name, SCALE=24.0, LABEL_SMOOTHING=0.2, SUB_CENTERS=5, INTRA=0.5).losses
    loss = loss["COSINE_SOFTMAX"]
    assert type(loss) is CosineSoftmaxLoss and (loss.margin is None) == (name == "none")
    assert (loss.scale, loss.label_smoothing, loss.sub_centers) == (24.0, 0.2, 5)
    assert (loss.intra, loss.inter) == (0.5, 0.0)
    assert [w.shape for w in loss.weights] == [(5 * P, d) for d in HEAD.classified_dims]
    assert build(name, INTER=0.25).losses["COSINE_SOFTMAX"].inter == 0.25


def test_an_unknown_margin_is_refused():
    with pytest.raises(ValueError, match=r"MARGIN\.NAME is 'arc'; expected one of \['none', 'arc"):
        build("none", MARGIN__NAME="arc")


@pytest.mark.parametrize("name", NAMES)
def test_partial_fc_is_for_every_margin(name):
    settings = {"COSINE_SOFTMAX__MARGIN__NAME": name}
    sampled = make_losses({"COSINE_SOFTMAX": 1.0}, PARTIAL_FC__SAMPLE_SHARE=0.3, **settings)
    loss = sampled.losses["COSINE_SOFTMAX"]
    assert isinstance(loss, PartialFCLoss)
    assert (loss.sample_share, loss.is_divided) == (0.3, False)
    sharded = make_losses({"COSINE_SOFTMAX": 1.0}, PARTIAL_FC__SHARDED=True, **settings)
    loss = sharded.losses["COSINE_SOFTMAX"]
    assert isinstance(loss, PartialFCLoss)
    assert (loss.sample_share, loss.shard) == (1.0, (0, P))


@pytest.mark.parametrize("name", MARGINS)
@pytest.mark.parametrize("pids", [[], [2], [UNLABELED_PID] * 2, [1, 1, 1]])
def test_every_batch_gives_a_finite_loss_and_every_gradient(name, pids):
    losses, x = build(name), features_of(len(pids))
    for leaf in x.classified:
        leaf.requires_grad_()
    (loss,) = losses(x, torch.tensor(pids, dtype=torch.int64)).values()
    assert torch.isfinite(loss) and (loss == 0) == (set(pids) <= {UNLABELED_PID})
    loss.backward()
    for leaf in [*x.classified, *losses.parameters()]:
        assert leaf.grad is not None and torch.isfinite(leaf.grad).all()


FORMER = [
    ("ARCFACE", "arcface", 1),
    ("SUBCENTER_ARCFACE", "arcface", 3),
    ("CURRICULARFACE", "curricularface", 1),
    ("ADAFACE", "adaface", 2),
]


@pytest.mark.parametrize(("former", "name", "sub_centers"), FORMER)
def test_weights_of_a_former_margin_loss_load(former, name, sub_centers):
    """Checkpoints have the loss's name; that of ARCFACE is COSINE_SOFTMAX now."""
    trained = build(name, SUB_CENTERS=sub_centers)
    trained(features_of(7), PIDS, attributes_of(7))
    old = {
        key.replace("COSINE_SOFTMAX", former): value for key, value in trained.state_dict().items()
    }
    torch.manual_seed(1)
    loaded = build(name, SUB_CENTERS=sub_centers)
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.add_(1.0)
    loaded.load_state_dict(dict(old))
    for key, value in trained.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def test_former_weights_of_another_shape_stay_out():
    """The checkpointer drops weights that do not fit; under a new name they must not come back."""
    old = {
        key.replace("COSINE_SOFTMAX", "ARCFACE"): value
        for key, value in build("arcface", SUB_CENTERS=2).state_dict().items()
    }
    found = build("arcface").load_state_dict(old, strict=False)
    assert len(found.missing_keys) == len(found.unexpected_keys) == len(HEAD.classified_dims)
