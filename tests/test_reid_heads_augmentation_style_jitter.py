"""Style jitter against loops over crops, channels and cells."""

import copy
import itertools
import math

import pytest
import torch
from conftest import CONFIGS, overrides_of
from detectron2.modeling import build_model
from test_reid_heads_train_net import TINY

from reid_heads.augmentation.style_jitter import (
    VARIANCE_FLOOR,
    StyleJitter,
    add_style_jitter,
    style_jitter_off,
    style_of,
)
from reid_heads.config import load_config

# Seven crops: no multiple of two or three domains.
SHAPE = (7, 3, 8, 4)


def maps(shape=SHAPE, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.rand(*shape[:2], 1, 1, generator=generator, dtype=dtype) * 3 + 0.5
    return torch.randn(shape, generator=generator, dtype=dtype) * scale + scale


def mean_and_deviation(cells):
    mean = sum(cells) / len(cells)
    variance = sum((x - mean) ** 2 for x in cells) / (len(cells) - 1)
    return mean, math.sqrt(variance + VARIANCE_FLOOR)


def loop(x, donors, weights, stripes):
    """The formula, cell by cell."""
    result = torch.zeros_like(x)
    count, channels, height, _ = x.shape
    bounds = [height * i // stripes for i in range(stripes + 1)]
    for b in range(count):
        lam = float(weights[b])
        for c in range(channels):
            mean, deviation = mean_and_deviation(x[b, c].flatten().tolist())
            for top, bottom in itertools.pairwise(bounds):
                donor = x[donors[b], c, top:bottom].flatten().tolist()
                donor_mean, donor_deviation = mean_and_deviation(donor)
                mixed_mean = lam * donor_mean + (1 - lam) * mean
                mixed = lam * donor_deviation + (1 - lam) * deviation
                part = (x[b, c, top:bottom] - mean) / deviation
                result[b, c, top:bottom] = mixed * part + mixed_mean
    return result


@pytest.mark.parametrize("stripes", [1, 2, 4])
@pytest.mark.parametrize("mix_range", [(1.0, 1.0), (0.3, 0.3), (0.2, 0.9)])
def test_equals_the_loop(mix_range, stripes):
    jitter, x = StyleJitter(mix_range=mix_range, stripes=stripes), maps()
    torch.manual_seed(5)
    got = jitter(x)
    torch.manual_seed(5)
    donors = torch.randperm(len(x))
    weights = torch.empty(len(x), 1, 1, 1).uniform_(*mix_range).double()
    torch.testing.assert_close(got, loop(x, donors, weights, stripes), rtol=1e-9, atol=1e-9)
    assert not torch.allclose(got, x)


def test_full_weight_gives_the_donors_style():
    jitter, x = StyleJitter(), maps()
    torch.manual_seed(3)
    got = jitter(x)
    torch.manual_seed(3)
    donors = torch.randperm(len(x))
    for mine, theirs in zip(style_of(got, 1), style_of(x[donors], 1), strict=True):
        # Not to the last digit: the floor of the variance is restyled too.
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-8)


def test_by_hand():
    # Two crops of one channel: cells 0, 2 and 10, 16: means 1 and 13, variances 2 and 18.
    x = torch.tensor([[0.0, 2.0], [10.0, 16.0]], dtype=torch.float64).view(2, 1, 1, 2)
    got = StyleJitter().restyle(x, torch.tensor([1, 0]), torch.ones(2, 1, 1, 1))
    # Three times as wide around 13, a third as wide around 1.
    expected = torch.tensor([[10.0, 16.0], [0.0, 2.0]], dtype=torch.float64).view(2, 1, 1, 2)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


def test_stripes_of_uneven_height():
    """Seven rows in three stripes: 3, 2 and 2."""
    x = maps((2, 1, 7, 4))
    mean, deviation = style_of(x, 3)
    for row, (top, bottom) in enumerate([(0, 3)] * 3 + [(3, 5)] * 2 + [(5, 7)] * 2):
        expected = mean_and_deviation(x[1, 0, top:bottom].flatten().tolist())
        got = (mean[1, 0, row, 0].item(), deviation[1, 0, row, 0].item())
        assert got == pytest.approx(expected)


@pytest.mark.parametrize(
    ("settings", "is_training"),
    [
        ({}, False),
        ({"mix_range": (0.0, 0.0)}, True),
        ({"mix_range": (0.0, 0.0), "stripes": 2}, True),
        ({"probability": 0.0}, True),
    ],
)
def test_identity_at_test_at_weight_zero_and_at_probability_zero(settings, is_training):
    x = maps()
    assert StyleJitter(**settings).train(is_training)(x) is x


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_crops_stay_as_they_are(count):
    x = maps((count, 3, 8, 4))
    assert StyleJitter()(x) is x


def test_probability_counts_batches():
    jitter, x = StyleJitter(probability=0.3), maps()
    torch.manual_seed(0)
    assert 40 < sum(jitter(x) is not x for _ in range(200)) < 80


def test_gradient_and_where_it_flows():
    x = maps((3, 2, 2, 2)).requires_grad_()
    donors, weights = torch.tensor([1, 2, 0]), torch.full((3, 1, 1, 1), 0.7)
    for stripes in (1, 2):
        jitter = StyleJitter(stripes=stripes)
        assert torch.autograd.gradcheck(lambda x, j=jitter: j.restyle(x, donors, weights), x)
    for has_gradient in (True, False):
        jitter = StyleJitter(has_style_gradient=has_gradient)
        first = jitter.restyle(x, donors, weights)[0].square().sum()
        (gradient,) = torch.autograd.grad(first, x)
        assert gradient[0].abs().sum() > 0
        assert (gradient[1].abs().sum() > 0) == has_gradient


def test_low_precision_keeps_its_type_and_float32_statistics():
    x = maps(dtype=torch.float32) + 200
    donors, weights = torch.arange(7).roll(1), torch.ones(7, 1, 1, 1)
    low = x.bfloat16()
    expected = StyleJitter().restyle(low.float(), donors, weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = StyleJitter().restyle(low, donors, weights)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), expected, rtol=2**-8, atol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mix_range": (0.5, 1.5)}, "MIX_RANGE"),
        ({"mix_range": (0.9, 0.1)}, "MIX_RANGE"),
        ({"mix_range": (-1.0, 1.0)}, "MIX_RANGE"),
        ({"stripes": 0}, "STRIPES is 0"),
        ({"probability": 1.1}, r"PROBABILITY is 1\.1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        StyleJitter(**settings)


@pytest.mark.parametrize(("shape", "stripes"), [((2, 3, 1, 1), 1), ((2, 3, 3, 4), 4)])
def test_maps_too_small_for_a_style_are_refused(shape, stripes):
    with pytest.raises(ValueError, match=r"STRIPES"):
        StyleJitter(stripes=stripes)(maps(shape))


# --- in a backbone ---------------------------------------------------------------------------

SLIM = """
MODEL.BACKBONE.NAME build_slim_resnet_backbone
MODEL.SLIM_RESNET.STEM_CHANNELS 8
MODEL.SLIM_RESNET.CHANNELS (8,12,16,24)
"""
NETWORKS = {
    "resnet": ("Base-BagOfTricks.yaml", ""),
    "slim": ("Base-BagOfTricks.yaml", SLIM),
    "mgn": ("Base-MGN.yaml", "MODEL.REID_HEAD.MGN.REDUCTION_DIM 8\nINPUT.REID.SIZE (96,32)"),
}


def build(network="resnet", places=(), **settings):
    config, overrides = NETWORKS[network]
    words = [word.strip() for word in overrides_of(TINY) + overrides_of(overrides or "SEED 1")]
    words += ["MODEL.CROP_REID.STYLE_JITTER.PLACES", str(tuple(places))]
    for key, value in settings.items():
        words += [f"MODEL.CROP_REID.STYLE_JITTER.{key}", str(value)]
    torch.manual_seed(0)
    return build_model(load_config(str(CONFIGS / config), words))


def images(model):
    size = (96, 32) if "mgn" in type(model.head).__name__.lower() else (32, 16)
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 3, *size, generator=generator)


@pytest.mark.usefixtures("shallow")
@pytest.mark.parametrize(
    ("network", "places"),
    [
        ("resnet", ("stem",)),
        ("resnet", ("res2",)),
        ("resnet", ("stem", "res2", "res4")),
        ("slim", ("stem", "res2", "res4")),
        ("mgn", ("stem", "res2", "res4")),
    ],
)
def test_jitter_in_a_network_changes_training_only(network, places):
    plain, jittered = build(network), build(network, places)
    assert list(plain.state_dict()) == list(jittered.state_dict())
    x = images(plain)
    before = plain.train()(to_dicts(x)), jittered.train()(to_dicts(x))
    assert all(not torch.equal(before[0][k], before[1][k]) for k in before[0])
    with style_jitter_off(jittered):
        off = jittered(to_dicts(x))
    jittered.load_state_dict(plain.state_dict())
    jittered.eval(), plain.eval()
    assert torch.equal(jittered.embed(x), plain.embed(x))
    # Centers have moved by a step each; the softmax has not.
    again = build(network)(to_dicts(x))
    assert torch.equal(off["loss_reid_softmax"], again["loss_reid_softmax"])


def to_dicts(x):
    rows = x.mul(50).add(128).clamp(0, 255)
    return [{"image": row, "person_id": i // 2} for i, row in enumerate(rows)]


def test_stage_gives_the_jitter_of_what_the_stage_gave():
    model = build("slim", ["res2"], STRIPES=2, MIX_RANGE="(0.2,0.8)")
    jitter = model.backbone.style_jitter["res2"]
    assert (jitter.stripes, jitter.mix_range) == (2, (0.2, 0.8))
    x = maps((6, 8, 16, 8), dtype=torch.float32)
    with style_jitter_off(model):
        raw = model.backbone.res2(x)
    torch.manual_seed(1)
    got = model.backbone.res2(x)
    torch.manual_seed(1)
    assert torch.equal(got, jitter(raw)) and not torch.equal(got, raw)


def test_switched_off_inside_the_context_only():
    model = build("slim", ["stem", "res2"])
    first, second = model.backbone.style_jitter.values()
    second.is_on = False
    with pytest.raises(KeyError), style_jitter_off(model):
        assert not first.is_on and not second.is_on
        raise KeyError
    assert first.is_on and not second.is_on


def test_a_deep_copy_has_jitter_of_its_own():
    model = build("slim", ["stem"])
    other = copy.deepcopy(model)
    other.eval()
    x = images(model)
    with torch.no_grad():
        assert torch.equal(other.backbone.stem(x), other.backbone.stem(x))
        torch.manual_seed(0)
        first = model.backbone.stem(x)
        assert not torch.equal(first, model.backbone.stem(x))


@pytest.mark.parametrize("places", [["res6"], ["stem", "stem"], ["stem.conv1"]])
def test_unknown_place_is_refused(places):
    with pytest.raises(ValueError, match=r"PLACES is .*'stem', 'res2', 'res3', 'res4', 'res5'"):
        build("resnet", places)


def test_no_place_adds_nothing():
    backbone = torch.nn.Sequential(torch.nn.Identity())
    add_style_jitter(backbone, ())
    assert len(list(backbone.children())) == 1
