import pytest
import torch

from reid_heads.heads.pooling import GEM_EPS, build_pooling

POOLINGS = ["avg", "max", "gem"]


def features(rows, channels=3, height=6, width=4, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, channels, height, width, generator=generator).to(dtype) + 0.1


def pool_of_cells(cells, name, power=3.0):
    if name == "max":
        return max(cells)
    if name == "avg":
        return sum(cells) / len(cells)
    return (sum(x**power for x in cells) / len(cells)) ** (1 / power)


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("stripes", [1, 2, 3, 4])
def test_equals_a_loop_over_stripes(name, stripes):
    """6 rows in 4 stripes: rows 0-1, 1-2, 3-4 and 4-5."""
    x = features(2)
    pooled = build_pooling(name)(x, stripes)
    assert pooled.shape == (2, 3, stripes)
    for r in range(2):
        for c in range(3):
            for i in range(stripes):
                top = i * 6 // stripes
                bottom = ((i + 1) * 6 + stripes - 1) // stripes
                cells = x[r, c, top:bottom].flatten().tolist()
                expected = pool_of_cells(cells, name)
                assert pooled[r, c, i].item() == pytest.approx(expected, rel=1e-5)


def test_gem_by_hand():
    x = torch.tensor([1.0, 2.0, 3.0, 0.0]).view(1, 1, 2, 2)
    # (1 + 8 + 27 + 0) / 4 = 9; the cube root of 9 is 2.0800838.
    assert build_pooling("gem", gem_power=3)(x).item() == pytest.approx(2.0800838, rel=1e-6)
    # (1 + 4 + 9 + 0) / 4 = 3.5; its square root is 1.8708287.
    assert build_pooling("gem", gem_power=2)(x).item() == pytest.approx(1.8708287, rel=1e-6)


@pytest.mark.parametrize("stripes", [1, 3])
def test_gem_runs_from_the_average_to_the_maximum(stripes):
    x = features(2)
    average, maximum = (build_pooling(n)(x, stripes) for n in ("avg", "max"))
    torch.testing.assert_close(build_pooling("gem", gem_power=1)(x, stripes), average)
    torch.testing.assert_close(
        build_pooling("gem", gem_power=2000)(x, stripes), maximum, rtol=3e-3, atol=0
    )
    middle = build_pooling("gem")(x, stripes)
    assert (average < middle).all() and (middle < maximum).all()


def test_gem_scales_with_its_features():
    x = features(2)
    pool = build_pooling("gem", gem_power=4.5)
    torch.testing.assert_close(pool(100 * x), 100 * pool(x))


@pytest.mark.parametrize("power", [1.0, 3.0, 20.0])
def test_gem_of_a_dead_channel_is_the_floor_with_finite_gradients(power):
    """x^p of the floor is 1e-120 for p = 20: its root's gradient would be infinite in float32."""
    x = torch.zeros(1, 2, 3, 2, requires_grad=True)
    pool = build_pooling("gem", gem_power=power, gem_learned=True)
    pooled = pool(x)
    torch.testing.assert_close(pooled, torch.full((1, 2, 1), GEM_EPS), rtol=1e-3, atol=0)
    pooled.sum().backward()
    assert torch.isfinite(x.grad).all() and torch.isfinite(pool.power.grad).all()


def test_negative_features_count_as_the_floor():
    x = features(1)
    below = torch.where(x < 0.5, -x, x)
    expected = build_pooling("gem")(below.clamp(min=GEM_EPS))
    torch.testing.assert_close(build_pooling("gem")(below), expected)


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("stripes", [1, 2, 4])
def test_gradients(name, stripes):
    x = features(2, dtype=torch.float64).requires_grad_()
    pool = build_pooling(name, gem_learned=True).double()
    assert torch.autograd.gradcheck(lambda x: pool(x, stripes), x)


def test_learned_power_gets_the_right_gradient():
    pool = build_pooling("gem", gem_power=2.5, gem_learned=True)
    assert [name for name, _ in pool.named_parameters()] == ["power"]
    x = features(2)
    pool(x).sum().backward()
    h = 1e-3
    up, down = (build_pooling("gem", gem_power=2.5 + d)(x.double()).sum() for d in (h, -h))
    assert pool.power.grad.item() == pytest.approx(((up - down) / (2 * h)).item(), rel=1e-3)


def test_fixed_power_is_no_state():
    assert not build_pooling("gem", gem_power=4.0).state_dict()
    assert build_pooling("gem", gem_power=4.0, gem_learned=True).state_dict()["power"] == 4.0


@pytest.mark.parametrize("name", POOLINGS)
def test_cells_may_change_places_within_a_stripe(name):
    x = features(2)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    shuffled = x.flatten(2)[:, :, order].view_as(x)
    pool = build_pooling(name)
    torch.testing.assert_close(pool(shuffled), pool(x))


@pytest.mark.parametrize("name", POOLINGS)
def test_half_precision_maps_are_pooled_in_float32(name):
    x = features(2, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = build_pooling(name)(x)
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled, build_pooling(name)(x.float()), rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", POOLINGS)
def test_nobody_gives_no_rows(name):
    assert build_pooling(name)(features(0), 2).shape == (0, 3, 2)


def test_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match=r"'median'; expected one of \['avg', 'gem', 'max'\]"):
        build_pooling("median")


@pytest.mark.parametrize("power", [0.0, -1.0, float("nan")])
def test_power_must_be_positive(power):
    with pytest.raises(ValueError, match="expected more than 0"):
        build_pooling("gem", gem_power=power)
