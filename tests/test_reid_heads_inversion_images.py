import copy
import dataclasses
import functools

import pytest
import torch
from test_reid_heads_crop_reid import losses, make_batch, make_model

from reid_heads.inversion.batch_statistics import BatchStatistics
from reid_heads.inversion.images import (
    InversionSettings,
    classify_as,
    invert,
    mean_norm,
    resemble,
    total_variation,
)

pytestmark = pytest.mark.usefixtures("shallow")

SIZE = (32, 16)
FEW_STEPS = InversionSettings(iterations=6, learning_rate=0.1, seed=3)


@functools.cache
def seen_batches(*overrides):
    model = make_model(*overrides)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm1d):
            module.momentum = 0.5  # a few batches are enough
    with torch.no_grad():
        for _ in range(6):
            model.features(model.preprocess(make_batch([0, 0, 1, 1, 2, 2])))
    return model.eval()


def trained_model(*overrides):
    """A tiny network whose BatchNorms have seen a few batches."""
    return copy.deepcopy(seen_batches(*(overrides or losses(SOFTMAX="1.0"))))


def tiny_images(shape=(2, 3, 4, 5)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_total_variation_is_that_of_a_loop():
    images = tiny_images()
    b, channels, height, width = images.shape
    total = 0.0
    for n in range(b):
        for c in range(channels):
            for y in range(height):
                for x in range(width):
                    if x + 1 < width:
                        total += abs(images[n, c, y, x + 1] - images[n, c, y, x])
                    if y + 1 < height:
                        total += abs(images[n, c, y + 1, x] - images[n, c, y, x])
    assert total_variation(images).item() == pytest.approx(float(total) / b, rel=1e-5)
    assert total_variation(torch.ones(2, 3, 4, 5)).item() == 0


def test_the_norm_is_that_of_a_loop():
    images = tiny_images()
    norms = [sum(float(v) ** 2 for v in image.flatten()) ** 0.5 for image in images]
    assert mean_norm(images).item() == pytest.approx(sum(norms) / len(norms), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("SOFTMAX", []),
        ("COSINE_SOFTMAX", []),
        ("COSINE_SOFTMAX", ["MARGIN.NAME", "cosface"]),
        ("COSINE_SOFTMAX", ["MARGIN.NAME", "arcface", "SUB_CENTERS", "3"]),
        ("OIM", []),
    ],
)
def test_the_closed_objective_falls_for_every_classifier(name, settings):
    own = [f"MODEL.REID_HEAD.{name}.{x}" if n % 2 == 0 else x for n, x in enumerate(settings)]
    model = trained_model(*losses(**{name: "1.0"}), *own)
    if name == "OIM":
        table = model.losses.losses.OIM.table
        table.copy_(torch.nn.functional.normalize(torch.randn(table.shape)))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    # The classifiers' first weights are so small that the priors would hide them.
    alone = {"statistics_weight": 0.0, "variation_weight": 0.0, "norm_weight": 0.0}
    few = dataclasses.replace(FEW_STEPS, **alone)
    history = invert(model, classify_as(model, torch.tensor([0, 1, 2])), 3, SIZE, few).history
    assert history[-1]["objective"] < history[0]["objective"]
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_open_objective_falls_and_the_embedding_comes_nearer():
    model = trained_model()
    with torch.no_grad():
        targets = model.embed(model.preprocess(make_batch([0, 1, 2])))
    settings = dataclasses.replace(FEW_STEPS, statistics_weight=0.0)
    made = invert(model, resemble(targets), 3, SIZE, settings)
    assert made.history[-1]["objective"] < made.history[0]["objective"]
    got = model.embed(model.preprocess([{"image": image} for image in made.images]))
    cosines = (got * targets).sum(1)
    # The objective is 2 - 2 cos; rounding to whole pixels changes it a little.
    assert 2 - 2 * cosines.mean().item() < made.history[0]["objective"]


def test_the_open_objective_is_two_minus_two_cosines():
    features = make_model(*losses(SOFTMAX="1.0")).features(torch.randn(2, 3, *SIZE))
    targets = torch.randn(2, 64)
    cosines = torch.nn.functional.cosine_similarity(features.embeddings, targets)
    expected = (2 - 2 * cosines).mean()
    torch.testing.assert_close(resemble(5 * targets)(features), expected)


def test_the_statistics_come_nearer_with_their_weight():
    model = trained_model()
    objective = classify_as(model, torch.tensor([0, 1, 2, 0]))
    distances = []
    for weight in (0.0, 0.5):
        settings = dataclasses.replace(FEW_STEPS, statistics_weight=weight)
        made = invert(model, objective, 4, SIZE, settings)
        assert ("statistics" in made.history[0]) == (weight > 0)
        with BatchStatistics(model) as watch, torch.no_grad():
            model.features(model.preprocess([{"image": image} for image in made.images]))
            distances.append(watch.take().item())
    assert distances[1] < distances[0]


@pytest.mark.parametrize("extra", [{}, {"jitter": 3, "flip_probability": 0.5}])
def test_equal_seeds_give_equal_images(extra):
    model = trained_model()
    objective = classify_as(model, torch.tensor([0, 1]))
    settings = dataclasses.replace(FEW_STEPS, iterations=3, **extra)
    torch.manual_seed(1)
    first = invert(model, objective, 2, SIZE, settings).images
    torch.manual_seed(2)
    assert torch.equal(first, invert(model, objective, 2, SIZE, settings).images)
    other = dataclasses.replace(settings, seed=settings.seed + 1)
    assert not torch.equal(first, invert(model, objective, 2, SIZE, other).images)


def test_images_are_whole_pixels_within_range():
    model = trained_model()
    wild = dataclasses.replace(FEW_STEPS, learning_rate=50.0, schedule="constant")
    images = invert(model, classify_as(model, torch.tensor([0])), 1, SIZE, wild).images
    assert images.dtype == torch.uint8 and images.shape == (1, 3, *SIZE)
    # Steps of fifty units would leave the range many times over; cut pixels lie at its ends.
    assert {0, 255} <= set(images.unique().tolist())


def test_the_mode_of_the_network_is_kept():
    model = trained_model().train()
    invert(model, classify_as(model, torch.tensor([0])), 1, SIZE, FEW_STEPS)
    assert model.training


def test_autocast_around_it_changes_nothing():
    model = trained_model()
    objective = classify_as(model, torch.tensor([0, 1]))
    plain = invert(model, objective, 2, SIZE, FEW_STEPS).images
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(plain, invert(model, objective, 2, SIZE, FEW_STEPS).images)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_network_that_is_not_in_float32_is_refused(dtype):
    model = make_model(*losses(SOFTMAX="1.0")).to(dtype)
    with pytest.raises(ValueError, match=rf"{dtype}.*float32"):
        invert(model, classify_as(model, torch.tensor([0])), 1, SIZE, FEW_STEPS)


def test_a_broken_network_is_told_of():
    model = trained_model()
    model.backbone.stem.conv1.weight.data[0] = float("nan")
    with pytest.raises(FloatingPointError, match=r"NaN.*weights finite"):
        invert(model, classify_as(model, torch.tensor([0])), 1, SIZE, FEW_STEPS)


def test_a_network_without_batch_norm_is_refused():
    overrides = ["MODEL.RESNETS.NORM", "GN", "MODEL.REID_HEAD.BATCH_NORM", "False"]
    widths = ["MODEL.RESNETS.STEM_OUT_CHANNELS", "32", "MODEL.RESNETS.RES2_OUT_CHANNELS", "32"]
    model = make_model(*losses(SOFTMAX="1.0"), *overrides, *widths)
    with pytest.raises(ValueError, match="CropReID has no BatchNorm"):
        invert(model, classify_as(model, torch.tensor([0])), 1, SIZE, FEW_STEPS)


@pytest.mark.parametrize("pids", [[3], [0, -1], []])
def test_identities_out_of_range_are_refused(pids):
    with pytest.raises(ValueError, match=r"identities to invert: got .*knows 0\.\.2"):
        classify_as(make_model(*losses(SOFTMAX="1.0")), torch.tensor(pids, dtype=torch.int64))


def test_a_network_without_a_classifier_has_no_closed_set():
    with pytest.raises(ValueError, match=r"\['TRIPLET'\].*open set"):
        classify_as(make_model(*losses(TRIPLET="1.0")), torch.tensor([0]))


def test_domain_classifiers_know_the_identities_of_all_sets():
    domains = ["MODEL.REID_HEAD.DOMAIN_IDENTITIES", "(1,2)"]
    model = make_model(*losses(DOMAIN_SOFTMAX="1.0"), *domains)
    classify_as(model, torch.tensor([2]))
    with pytest.raises(ValueError, match=r"knows 0\.\.2"):
        classify_as(model, torch.tensor([3]))


@pytest.mark.parametrize(
    "targets", [torch.zeros(2, 4), torch.full((2, 4), float("nan")), torch.ones(4)]
)
def test_bad_target_embeddings_are_refused(targets):
    with pytest.raises(ValueError, match="target embeddings: got"):
        resemble(targets)


def test_targets_of_another_network_are_refused():
    model = trained_model()
    with pytest.raises(ValueError, match=r"\(2, 5\).*\(2, 64\)"):
        invert(model, resemble(torch.ones(2, 5)), 2, SIZE, FEW_STEPS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iterations", 0),
        ("learning_rate", 0.0),
        ("statistics_weight", -1.0),
        ("variation_weight", float("nan")),
        ("flip_probability", 1.5),
        ("jitter", -1),
        ("schedule", "linear"),
    ],
)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        InversionSettings(**{name: value})


def test_few_images_are_warned_of(caplog):
    model = trained_model()
    invert(model, classify_as(model, torch.tensor([0])), 1, SIZE, FEW_STEPS)
    assert "about 32 different identities" in caplog.text
