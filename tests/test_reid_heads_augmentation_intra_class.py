"""Intra-class augmentation: moments, correction and draws against loops and by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from reid_heads.augmentation.class_moments import ClassMoments
from reid_heads.augmentation.intra_class import (
    IntraClassGaussians,
    IntraClassSettings,
    correct_variances,
    weigh_neighbours,
)

SETTINGS = IntraClassSettings()


def data(counts, dim=4, seed=0):
    rng = np.random.default_rng(seed)
    pids = np.repeat(np.arange(len(counts)), counts)
    spread = rng.uniform(0.05, 0.5, (len(counts), dim))
    rows = (
        rng.normal(size=(len(counts), dim))[pids] + rng.normal(size=(len(pids), dim)) * spread[pids]
    )
    order = rng.permutation(len(pids))
    return torch.from_numpy(rows[order]), torch.from_numpy(pids[order])


def moments_of(rows, pids, num_classes, batch=7):
    moments = ClassMoments(num_classes, rows.shape[1])
    for i in range(0, len(rows), batch):
        moments.add(rows[i : i + batch], pids[i : i + batch])
    return moments


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_moments_are_those_of_all_rows_at_once(batch):
    rows, pids = data([5, 1, 12, 3])
    rows = rows + 1000  # far from zero, where sums of squares would lose digits
    moments = moments_of(rows, pids, 5, batch)
    assert moments.counts.tolist() == [5, 1, 12, 3, 0]
    for k in range(4):
        own = rows[pids == k].numpy()
        np.testing.assert_allclose(moments.means[k], own.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(moments.variances[k], own.var(axis=0), rtol=1e-8, atol=1e-15)
    assert moments.variances[4].tolist() == [0] * 4


def test_nothing_to_add():
    moments = ClassMoments(2, 3)
    moments.add(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))
    assert moments.counts.tolist() == [0, 0]


def test_moments_of_processes_are_joined(monkeypatch):
    rows, pids = data([5, 1, 12])
    parts = [moments_of(rows[:8], pids[:8], 3), moments_of(rows[8:], pids[8:], 3)]
    whole = moments_of(rows, pids, 3)
    names = iter(("counts", "means", "squares"))
    monkeypatch.setattr(
        "reid_heads.augmentation.class_moments.gather_rows",
        lambda own: (lambda n: torch.stack([getattr(p, n).clone() for p in parts]))(next(names)),
    )
    parts[0].merge_processes()
    assert torch.equal(parts[0].counts, whole.counts)
    torch.testing.assert_close(parts[0].means, whole.means)
    torch.testing.assert_close(parts[0].variances, whole.variances)


def loop(means, variances, counts, s):
    """Equations 11 to 16 with numbers and lists."""
    people, dims = range(len(counts)), range(len(means[0]))
    of_all = [sum(counts[i] * variances[i][c] for i in people) / sum(counts) for c in dims]

    def gap(a, b):
        return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))

    result = []
    for k in people:
        squared = [[x * x for x in row] for row in means]
        others = sorted((i for i in people if i != k), key=lambda i: gap(squared[i], squared[k]))
        near = others[: s.neighbours]
        far = [[gap(of[i], of[k]) for i in near] for of in (squared, variances)]
        # Squares of the scales; relative ones are times the mean square of the distances.
        units = [sum(x) / len(x) for x in far] if s.relative_scales else [1, 1]
        weights = {
            i: counts[i]
            * math.exp(
                -far[0][n] / (2 * s.mean_scale**2 * units[0])
                - far[1][n] / (2 * s.variance_scale**2 * units[1])
            )
            for n, i in enumerate(near)
        }
        alpha = 1 / (1 + math.log(1 + s.beta * (counts[k] - 1))) if counts[k] <= s.few else 0.0
        row = []
        for c in dims:
            alike = sum(w * variances[i][c] for i, w in weights.items()) / sum(weights.values())
            mended = (1 - s.gamma) * alike + s.gamma * of_all[c]
            row.append((1 - alpha) * variances[k][c] + alpha * mended)
        result.append(row)
    return result


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        replace(SETTINGS, neighbours=3),
        replace(SETTINGS, neighbours=3, mean_scale=0.5, variance_scale=0.1, gamma=0.4),
        replace(SETTINGS, neighbours=4, mean_scale=0.5, variance_scale=0.7, relative_scales=True),
        replace(SETTINGS, beta=0.0, few=5),
        replace(SETTINGS, few=0),
    ],
    ids=range(6),
)
def test_correction_equals_the_loop(settings, monkeypatch):
    # Several chunks, the last not full.
    monkeypatch.setattr("reid_heads.augmentation.intra_class._CHUNK", 3)
    counts = [1, 2, 50, 7, 1, 40, 41, 3]
    rows, pids = data(counts, seed=2)
    m = moments_of(rows, pids, len(counts))
    got = correct_variances(m.means, m.variances, m.counts, settings)
    expected = loop(m.means.tolist(), m.variances.tolist(), counts, settings)
    np.testing.assert_allclose(got, expected, rtol=1e-10)
    if settings.few == 0:
        torch.testing.assert_close(got, m.variances)


def test_correction_by_hand():
    # Class 0 has one sample, classes 1 and 2 have two and four. One neighbour: class 1, by means
    # 1, 2 and 5. For class 0 alpha = 1, so V = 0.9 V_1 + 0.1 V_global.
    means = torch.tensor([[1.0], [2.0], [5.0]], dtype=torch.float64)
    variances = torch.tensor([[0.0], [0.2], [0.4]], dtype=torch.float64)
    counts = torch.tensor([1, 2, 4])
    settings = replace(SETTINGS, neighbours=1)
    got = correct_variances(means, variances, counts, settings)
    # V_global = (2 0.2 + 4 0.4) / 7.
    assert got[0].item() == pytest.approx(0.9 * 0.2 + 0.1 * 2 / 7, rel=1e-12)


def test_squared_means_choose_the_neighbours():
    """Equation 9 squares the means: -1 is as near to 1 as can be."""
    means = torch.tensor([[1.0], [-1.0], [1.1]], dtype=torch.float64)
    variances = torch.tensor([[0.0], [0.2], [0.4]], dtype=torch.float64)
    settings = replace(SETTINGS, neighbours=1, gamma=0.0)
    got = correct_variances(means, variances, torch.tensor([1, 5, 5]), settings)
    assert got[0].item() == pytest.approx(0.2)


def test_far_neighbours_do_not_underflow():
    means = torch.tensor([[0.0], [100.0], [200.0]], dtype=torch.float64)
    variances = torch.tensor([[0.0], [0.2], [0.4]], dtype=torch.float64)
    got = correct_variances(means, variances, torch.tensor([1, 5, 5]), SETTINGS)
    assert got.isfinite().all()
    assert got[0].item() == pytest.approx(0.9 * 0.2 + 0.1 * 3 / 11)


def test_other_covariances():
    rows, pids = data([3, 9, 6])
    m = moments_of(rows, pids, 3)
    own = correct_variances(m.means, m.variances, m.counts, replace(SETTINGS, covariance="own"))
    assert torch.equal(own, m.variances)
    same = correct_variances(m.means, m.variances, m.counts, replace(SETTINGS, covariance="global"))
    expected = (3 * m.variances[0] + 9 * m.variances[1] + 6 * m.variances[2]) / 18
    torch.testing.assert_close(same, expected.expand(3, -1))


def test_one_class_alone():
    rows, pids = data([4])
    m = moments_of(rows, pids, 1)
    torch.testing.assert_close(
        correct_variances(m.means, m.variances, m.counts, SETTINGS), m.variances
    )


def estimated(settings=SETTINGS, counts=(30, 1, 8), dim=4):
    rows, pids = data(counts, dim)
    gaussians = IntraClassGaussians(len(counts), dim, settings)
    gaussians.update(moments_of(rows, pids, len(counts)))
    return gaussians


def test_draws_are_as_wide_as_their_class():
    """Also for many copies: the authors' code takes another root for each one."""
    gaussians = estimated(replace(SETTINGS, copies=20000, strength=0.5))
    gaussians.corrected *= 1e-4  # so narrow that scaling to unit norm projects, no more
    rows = torch.nn.functional.normalize(torch.randn(3, 4, dtype=torch.float64))
    torch.manual_seed(0)
    drawn = gaussians.draw(rows, torch.arange(3)).view(20000, 3, 4)
    torch.testing.assert_close(drawn.norm(dim=2), torch.ones(20000, 3, dtype=torch.float64))
    for k in range(3):
        # The noise across the row: P V P, with P = 1 - row row^T.
        across = torch.eye(4, dtype=torch.float64) - torch.outer(rows[k], rows[k])
        expected = across @ torch.diag(0.5 * gaussians.corrected[k].double()) @ across
        got = torch.cov((drawn[:, k] - rows[k]).t())
        torch.testing.assert_close(got, expected, rtol=0.05, atol=3e-2 * expected.max().item())


def test_gradients_flow_through_the_rows():
    gaussians = estimated(replace(SETTINGS, copies=2))
    rows = torch.nn.functional.normalize(torch.randn(3, 4)).requires_grad_()
    gaussians.draw(rows, torch.tensor([0, 1, 1]))[:, 0].sum().backward()
    assert (rows.grad.abs().sum(dim=1) > 0).all()
    assert not gaussians.corrected.requires_grad


def test_strength_zero_draws_copies():
    gaussians = estimated(replace(SETTINGS, copies=2, strength=0.0))
    rows = torch.nn.functional.normalize(torch.randn(3, 4))
    torch.testing.assert_close(gaussians.draw(rows, torch.arange(3)), rows.repeat(2, 1))


def test_a_class_with_one_sample_varies_as_its_neighbours_do():
    gaussians = estimated()
    assert gaussians.variances[1].tolist() == [0] * 4
    assert (gaussians.corrected[1] > 0).all()


def test_an_identity_without_a_crop_is_refused():
    rows, pids = data([3, 4])
    gaussians = IntraClassGaussians(3, 4, SETTINGS)
    with pytest.raises(ValueError, match=r"1 of 3 identities, \[2\] among them"):
        gaussians.update(moments_of(rows, pids, 3))
    assert not gaussians.is_estimated


def test_everything_is_in_the_state():
    first, second = estimated(), IntraClassGaussians(3, 4, SETTINGS)
    second.load_state_dict(first.state_dict())
    rows = torch.nn.functional.normalize(torch.randn(3, 4))
    drawn = []
    for gaussians in (first, second):
        torch.manual_seed(1)
        drawn.append(gaussians.draw(rows, torch.arange(3)))
    assert torch.equal(*drawn) and second.is_estimated


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"covariance": "full"}, "COVARIANCE is 'full'"),
        ({"copies": 0}, "copies"),
        ({"strength": -1.0}, "strength"),
        ({"gamma": 1.5}, "gamma"),
        ({"neighbours": 0}, "neighbours"),
        ({"mean_scale": 0.0}, "scales"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **changes)


def test_relative_scales_tell_neighbours_apart_and_absolute_ones_do_not():
    """Three classes of unit rows, one like the first and one unlike it, and the first unsure."""
    means = torch.tensor([[0.60, 0.80], [0.61, 0.79], [0.80, 0.60]]).double()
    variances = torch.tensor([[0.01, 0.01], [0.01, 0.02], [0.05, 0.05]]).double()
    counts = torch.tensor([1, 10, 10])
    own = replace(SETTINGS, gamma=0.0, neighbours=2)
    flat = correct_variances(means, variances, counts, own)[0]
    torch.testing.assert_close(flat, variances[1:].mean(dim=0), rtol=0.1, atol=0)
    relative = replace(own, mean_scale=0.3, variance_scale=0.3, relative_scales=True)
    near = correct_variances(means, variances, counts, relative)[0]
    torch.testing.assert_close(near, variances[1], rtol=0.01, atol=0)


def test_absolute_weights_of_unit_rows_are_flat_and_relative_ones_are_not():
    rng = np.random.default_rng(5)
    rows = torch.from_numpy(rng.normal(size=(40, 64)))
    means = torch.nn.functional.normalize(rows) * 0.8
    variances = torch.from_numpy(rng.uniform(0, 0.01, (40, 64)))
    every, ones = torch.arange(40), torch.ones(40, dtype=torch.float64)
    absolute, index = weigh_neighbours(every, means, variances, ones, SETTINGS)
    assert absolute.shape == index.shape == (40, 25)
    assert not (index == every[:, None]).any()
    torch.testing.assert_close(absolute.sum(dim=1), ones)
    assert (absolute.amin(dim=1) / absolute.amax(dim=1) > 0.9).all()
    relative = replace(SETTINGS, mean_scale=0.5, variance_scale=0.5, relative_scales=True)
    weights, same = weigh_neighbours(every, means, variances, ones, relative)
    assert torch.equal(index, same)
    assert (weights.amin(dim=1) / weights.amax(dim=1) < 0.5).all()


def test_relative_scales_of_equal_classes_are_no_division_by_zero():
    same = torch.full((3, 2), 0.5, dtype=torch.float64)
    counts = torch.tensor([1, 2, 3])
    settings = replace(SETTINGS, relative_scales=True)
    torch.testing.assert_close(correct_variances(same, same, counts, settings), same)


def test_repeated_root_widens_each_copy():
    """Variance 1e-4 and lambda 0.25: deviations 0.5 times 1e-2, 1e-1 and 10^-0.5."""
    settings = replace(SETTINGS, strength=0.25, covariance="own", repeated_root=True)
    gaussians = IntraClassGaussians(1, 4, settings)
    gaussians.corrected.fill_(1e-4)
    deviations = gaussians._deviations(torch.tensor([0, 0]))
    assert deviations.shape == (3, 2, 4)
    expected = torch.tensor([0.005, 0.05, 0.5 * 10**-0.5])
    torch.testing.assert_close(deviations[:, 0, 0], expected)
    plain = IntraClassGaussians(1, 4, replace(settings, repeated_root=False))
    plain.corrected.fill_(1e-4)
    torch.testing.assert_close(plain._deviations(torch.tensor([0]))[0, 0, 0], expected[0])
