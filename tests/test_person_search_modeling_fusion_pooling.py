"""RoIAlign on several levels at once, against bilinear sampling by hand."""

import numpy as np
import pytest
import torch
from detectron2.layers import ROIAlign, ShapeSpec
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes

from person_search.modeling.fusion_pooling import (
    FUSIONS,
    POOLER_TYPES,
    MultiLevelRoIFusionPooling,
)

CHANNELS = {"res2": 4, "res3": 6, "res4": 5}
STRIDES = {"res2": 4, "res3": 8, "res4": 16}
SIZE = (128, 192)
BOXES = [
    [[8.0, 4, 40, 100], [100.3, 20.7, 131.9, 119.2]],
    [],
    [[0.0, 0, 192, 128], [150, 60, 210, 140], [30, 30, 31, 33]],
]
"""Of three images; the last but one reaches beyond the image, the last is smaller than a cell."""


def make_pooler(names=("res2", "res3", "res4"), out_channels=4, size=(16, 8), **settings):
    levels = {n: ShapeSpec(channels=CHANNELS[n], stride=STRIDES[n]) for n in names}
    return MultiLevelRoIFusionPooling(
        levels=levels, out_channels=out_channels, output_size=size, **settings
    )


def shuffle_weights(pooler, seed=3):
    """Draw every parameter anew: none is left at a start that could hide a mistake."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in pooler.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    return pooler


def make_maps(images=3, size=SIZE, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(
            images, c, size[0] // STRIDES[name], size[1] // STRIDES[name], generator=generator
        ).to(dtype)
        for name, c in CHANNELS.items()
    }


def as_boxes(rows):
    return [Boxes(torch.tensor(r, dtype=torch.float32).reshape(-1, 4)) for r in rows]


def slow_roi_align(feature, box, stride, size, samples):
    """Average ``samples`` x ``samples`` bilinear samples a cell; feature (C, h, w), box in pixels.

    A cell's value lies at its middle, hence the half. Samples up to one cell beyond the map get the
    value of its edge, those further away zero.
    """
    channels, height, width = feature.shape
    x1, y1, x2, y2 = (v / stride - 0.5 for v in box)
    rows, columns = size
    result = np.zeros((channels, rows, columns))
    for i in range(rows * samples):
        for j in range(columns * samples):
            y = y1 + (y2 - y1) * (i + 0.5) / (rows * samples)
            x = x1 + (x2 - x1) * (j + 0.5) / (columns * samples)
            if not (-1 <= y <= height and -1 <= x <= width):
                continue
            y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            dy, dx = y - top, x - left
            upper = (1 - dx) * feature[:, top, left] + dx * feature[:, top, right]
            lower = (1 - dx) * feature[:, bottom, left] + dx * feature[:, bottom, right]
            result[:, i // samples, j // samples] += (1 - dy) * upper + dy * lower
    return result / samples**2


def slow_convolution(weight, bias, grid):
    """A 1x1 convolution: a matrix product at every cell."""
    return np.einsum("oc,chw->ohw", weight[:, :, 0, 0], grid) + bias[:, None, None]


def slow_fusion(pooler, maps, boxes):
    """Pool box by box, level by level."""
    state = {name: value.numpy().astype(np.float64) for name, value in pooler.state_dict().items()}
    rows = []
    for image, image_boxes in enumerate(boxes):
        for box in image_boxes:
            levels = []
            for place, name in enumerate(pooler.scales):
                feature = maps[name][image].numpy().astype(np.float64)
                grid = slow_roi_align(feature, box, STRIDES[name], pooler.output_size, 2)
                weight = state[f"projections.{place}.weight"]
                level = slow_convolution(weight, state[f"projections.{place}.bias"], grid)
                gate = state[f"gates.{place - 1}"] if place and len(pooler.gates) else 1.0
                levels.append(gate * level)
            rows.append(slow_mix(pooler.fusion, state, levels))
    return np.stack(rows)


def slow_mix(fusion, state, levels):
    if fusion == "concat":
        return slow_convolution(state["mix.weight"], state["mix.bias"], np.concatenate(levels))
    if fusion == "attention":
        scores = [
            slow_convolution(state[f"attention.{n}.weight"], state[f"attention.{n}.bias"], level)
            for n, level in enumerate(levels)
        ]
        total = sum(np.exp(score) for score in scores)
        shares = [len(levels) * np.exp(score) / total for score in scores]
        return sum(share * level for share, level in zip(shares, levels, strict=True))
    return sum(levels)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("size", [(16, 8), (5, 3), (4, 9)])
def test_equals_sampling_by_hand(fusion, size):
    """Rows in the order of the boxes, from the right image each; the middle image has nobody."""
    boxes = [BOXES[0][1:], [], BOXES[2][:2]]
    pooler = shuffle_weights(make_pooler(size=size, fusion=fusion, out_channels=3))
    maps = make_maps()
    with torch.no_grad():
        rows = pooler(maps, as_boxes(boxes)).numpy()
    assert rows.shape == (3, 3, *size)
    np.testing.assert_allclose(rows, slow_fusion(pooler, maps, boxes), rtol=1e-4, atol=2e-5)


def test_hand_computed():
    """Attention over two levels, one of constant 2 and one of constant 3, one channel each.

    Projections are 1 and 4 (bias 2), the gate 1/2: levels 2 and (3 * 4 + 2) / 2 = 7. Scores are 0
    and ln 3, so the softmax is (1/4, 3/4), and times two levels (1/2, 3/2): 2 / 2 + 7 * 3 / 2 =
    11.5. The plain sum is 9; concatenation with mixing weights 10 and -1 and bias 4 is 20 - 7 + 4 =
    17.
    """
    levels = {n: ShapeSpec(channels=1, stride=STRIDES[n]) for n in ("res2", "res3")}
    maps = {"res2": torch.full((1, 1, 8, 8), 2.0), "res3": torch.full((1, 1, 4, 4), 3.0)}
    expected = {"attention": 11.5, "sum": 9.0, "concat": 17.0}
    for fusion, value in expected.items():
        pooler = MultiLevelRoIFusionPooling(
            levels=levels, out_channels=1, output_size=(4, 2), fusion=fusion
        )
        with torch.no_grad():
            pooler.projections[0].weight.fill_(1.0)
            pooler.projections[1].weight.fill_(4.0)
            pooler.projections[1].bias.fill_(2.0)
            pooler.gates[0].fill_(0.5)
            if fusion == "attention":
                pooler.attention[1].bias.fill_(np.log(3))
            elif fusion == "concat":
                pooler.mix.weight.copy_(torch.tensor([10.0, -1.0]).reshape(1, 2, 1, 1))
                pooler.mix.bias.fill_(4.0)
            rows = pooler(maps, as_boxes([[[8, 8, 24, 24]]]))
        torch.testing.assert_close(rows, torch.full((1, 1, 4, 2), value))


@pytest.mark.parametrize("samples", [0, 1, 2, 3])
def test_one_level_is_plain_roi_align(samples):
    pooler = make_pooler(["res2"], sampling_ratio=samples)
    assert list(pooler.parameters()) == [] and list(pooler.state_dict()) == []
    plain = ROIPooler((16, 8), [1 / 4], samples, "ROIAlignV2")
    maps, boxes = make_maps(), as_boxes(BOXES)
    assert torch.equal(pooler(maps, boxes), plain([maps["res2"]], boxes))


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("names", [("res2", "res3", "res4"), ("res3", "res2"), ("res4", "res2")])
def test_starts_as_roi_align_of_the_base(fusion, names):
    """Whatever lies behind it and was trained on one level (STL's stage 1) fits at once."""
    pooler = make_pooler(names, out_channels=CHANNELS[names[0]], fusion=fusion)
    plain = ROIPooler((16, 8), [1 / STRIDES[names[0]]], 2, "ROIAlignV2")
    maps, boxes = make_maps(), as_boxes(BOXES)
    torch.testing.assert_close(pooler(maps, boxes), plain([maps[names[0]]], boxes))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_open_gates_let_the_other_levels_in_from_the_start(fusion):
    """Half open: the base and half of the second level's projection."""
    names, channels = ("res3", "res2"), CHANNELS["res3"]
    pooler = make_pooler(names, out_channels=channels, fusion=fusion, gate_start=0.5)
    plain = make_pooler(("res2",), out_channels=CHANNELS["res2"])
    base = make_pooler(("res3",), out_channels=channels)
    maps, boxes = make_maps(), as_boxes(BOXES)
    second = pooler.projections[1](plain(maps, boxes))
    torch.testing.assert_close(pooler(maps, boxes), base(maps, boxes) + 0.5 * second)


@pytest.mark.parametrize("gate", [-0.1, 1.1, float("nan")])
def test_a_gate_out_of_range_is_refused(gate):
    with pytest.raises(ValueError, match=r"FUSION_GATE is .*; expected 0\.\.1"):
        make_pooler(gate_start=gate)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_other_channels_start_as_a_mixture(fusion):
    """Nothing to keep: every level takes part from the start."""
    pooler = make_pooler(out_channels=7, fusion=fusion)
    maps, boxes = make_maps(), as_boxes(BOXES)
    rows = pooler(maps, boxes)
    assert rows.shape == (5, 7, 16, 8)
    for name in maps:
        changed = pooler({**maps, name: maps[name] + 1.0}, boxes)
        assert not torch.allclose(changed, rows), name


def gradient_norms(pooler, seed):
    rows = pooler(make_maps(), as_boxes(BOXES))
    target = torch.randn(rows.shape, generator=torch.Generator().manual_seed(seed))
    pooler.zero_grad()
    (rows - target).square().mean().backward()
    return {name: p.grad.norm().item() for name, p in pooler.named_parameters()}


def waiting(fusion):
    """Parameters that the start leaves without a gradient in the first step."""
    behind_gates = {f"projections.{n}.{p}" for n in (1, 2) for p in ("weight", "bias")}
    if fusion == "attention":
        return behind_gates | {f"attention.{n}.weight" for n in (1, 2)}
    return behind_gates


@pytest.mark.parametrize("fusion", FUSIONS)
def test_no_parameter_is_left_without_gradient(fusion):
    """A start at zero on both sides of a product would stay there for ever.

    Behind a gate of zero a projection waits for the gate to leave it, and so do the weights that
    score such a level. One step is enough.
    """
    pooler = make_pooler(fusion=fusion)
    optimizer = torch.optim.SGD(pooler.parameters(), lr=0.1)
    norms = gradient_norms(pooler, 0)
    assert {name for name, norm in norms.items() if norm == 0} == waiting(fusion)
    optimizer.step()
    assert min(gradient_norms(pooler, 1).values()) > 1e-6


def test_gradients_reach_the_maps_and_their_projections_exactly():
    pooler = make_pooler(["res2", "res3"], out_channels=3, size=(4, 2), fusion="attention")
    pooler = shuffle_weights(pooler).double()
    maps = {n: m.requires_grad_() for n, m in make_maps(1, (16, 16), torch.float64).items()}
    boxes = as_boxes([[[2.0, 1, 11, 15], [5, 5, 14, 13]]])
    inputs = (maps["res2"], maps["res3"], *pooler.parameters())

    def pool(res2, res3, *_):
        return pooler({"res2": res2, "res3": res3}, boxes)

    assert torch.autograd.gradcheck(pool, inputs, nondet_tol=1e-12)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("names", [("res2",), ("res2", "res3", "res4")])
def test_few_boxes(fusion, names):
    pooler = shuffle_weights(make_pooler(names, fusion=fusion))
    maps = make_maps()
    everybody = pooler(maps, as_boxes(BOXES))
    assert everybody.shape == (5, 4, 16, 8)
    # One box, of the last image.
    alone = pooler(maps, as_boxes([[], [], BOXES[2][:1]]))
    torch.testing.assert_close(alone, everybody[2:3])
    nobody = pooler(maps, as_boxes([[], [], []]))
    assert nobody.shape == (0, 4, 16, 8)
    # A batch without people still connects every parameter, as DDP wants.
    for parameter in pooler.parameters():
        parameter.grad = None
    if list(pooler.parameters()):
        nobody.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in pooler.parameters())


@pytest.mark.parametrize("fusion", FUSIONS)
def test_boxes_without_area_are_points(fusion):
    """Every sample of a cell lies on the point: a constant grid, finite in both directions."""
    pooler = shuffle_weights(make_pooler(fusion=fusion))
    maps = {n: m.requires_grad_() for n, m in make_maps().items()}
    boxes = [[[50.0, 40, 50, 40], [20, 20, 20, 90]], [[0, 0, 0, 0]], [[500, 400, 500, 400]]]
    rows = pooler(maps, as_boxes(boxes))
    assert torch.isfinite(rows).all()
    torch.testing.assert_close(rows[0], rows[0, :, :1, :1].expand(-1, 16, 8))
    # No width: columns are alike; the height still has its rows.
    torch.testing.assert_close(rows[1], rows[1, :, :, :1].expand(-1, -1, 8))
    assert not torch.allclose(rows[1, :, 0], rows[1, :, 15])
    rows.square().sum().backward()
    for tensor in (*maps.values(), *pooler.parameters()):
        assert torch.isfinite(tensor.grad).all()


def test_pyramid_levels_for_a_body_of_other_channels():
    """FPN levels have equal channels; the body's first layer may want others."""
    levels = {f"p{n}": ShapeSpec(channels=16, stride=2**n) for n in (2, 3, 4)}
    pooler = MultiLevelRoIFusionPooling(levels=levels, out_channels=24, output_size=(24, 12))
    assert [tuple(p.weight.shape) for p in pooler.projections] == [(24, 16, 1, 1)] * 3
    maps = {n: torch.randn(2, 16, 128 // s.stride, 64 // s.stride) for n, s in levels.items()}
    rows = pooler(maps, as_boxes([[[4, 4, 30, 90]], [[10, 10, 50, 120]]]))
    assert rows.shape == (2, 24, 24, 12)
    # A single level of other channels has its convolution too.
    one = {"p3": levels["p3"]}
    single = MultiLevelRoIFusionPooling(
        levels=one, out_channels=24, output_size=(24, 12), fusion="attention"
    )
    assert set(single.state_dict()) == {"projections.0.weight", "projections.0.bias"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"names": ()}, r"got levels \[\] and a grid of \(16, 8\)"),
        ({"size": (0, 8)}, r"a grid of \(0, 8\)"),
        ({"fusion": "max"}, r"FUSION is 'max'; expected one of \['sum', 'concat', 'attention'\]"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_pooler(**settings)


FAR = [[[2507.3, 1201.7, 2523.9, 1249.4], [1030.9, 700.2, 1100.1, 900.8]]]
"""Beyond 1024 pixels, where half precision knows whole pixels only, and beyond 2048: even ones."""


@pytest.mark.parametrize("dtype", [torch.half, torch.bfloat16])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_half_precision_keeps_the_coordinates(dtype, fusion):
    """detectron2's ROIAlign rounds the boxes as well as the values; on steep maps that shows."""
    steep = {
        n: torch.arange(2560 / STRIDES[n]).mul(STRIDES[n] / 100).sin()[None, None, None]
        for n in CHANNELS
    }
    maps = {
        n: m.expand(1, CHANNELS[n], 1280 // STRIDES[n], -1).contiguous() for n, m in steep.items()
    }
    pooler = shuffle_weights(make_pooler(fusion=fusion))
    boxes = as_boxes(FAR)
    expected = pooler(maps, boxes)
    rounded = {n: m.to(dtype) for n, m in maps.items()}
    rows = pooler.to(dtype)(rounded, boxes)
    assert rows.dtype == dtype
    tolerance = {torch.half: 0.01, torch.bfloat16: 0.08}[dtype]
    assert (rows.float() - expected).abs().max() < tolerance


def test_detectron2_would_lose_the_coordinates():
    """Its ROIAlign turns boxes into the maps' type. The map says each cell's place in pixels, in
    units that half precision holds exactly, so what is off is the boxes' doing alone."""
    places = torch.arange(640.0).mul(4).add(2).div(8).half()
    ramp = places[None, None, None].expand(1, 1, 320, -1).contiguous()
    rois = torch.cat([torch.zeros(2, 1), torch.tensor(FAR[0])], dim=1)
    theirs = ROIAlign((16, 8), 1 / 4, 2)
    exact = 8 * theirs(ramp.float(), rois)
    assert (8 * theirs(ramp, rois).float() - exact).abs().max() > 0.4, "pixels"
    levels = {"res2": ShapeSpec(channels=1, stride=4)}
    ours = MultiLevelRoIFusionPooling(levels=levels, out_channels=1, output_size=(16, 8))
    pooled = 8 * ours({"res2": ramp}, as_boxes(FAR)).float()
    # What is left is the rounding of the result, which half precision cannot avoid.
    torch.testing.assert_close(
        pooled, 8 * theirs(ramp.float(), rois).half().float(), rtol=0, atol=0
    )


@pytest.mark.parametrize("fusion", FUSIONS)
def test_autocast_on_a_cpu(fusion):
    pooler = shuffle_weights(make_pooler(fusion=fusion))
    maps, boxes = make_maps(), as_boxes(BOXES)
    expected = pooler(maps, boxes)
    with torch.autocast("cpu", torch.bfloat16):
        rows = pooler({n: m.bfloat16() for n, m in maps.items()}, boxes)
        nobody = pooler(maps, as_boxes([[], [], []]))
        rows.float().square().mean().backward()
    assert rows.dtype == torch.bfloat16 and nobody.shape == (0, 4, 16, 8)
    torch.testing.assert_close(rows.float(), expected, rtol=0.05, atol=0.15)
    assert all(torch.isfinite(p.grad).all() and p.grad.any() for p in pooler.parameters())


def test_float64_maps_stay_float64():
    pooler = shuffle_weights(make_pooler()).double()
    rows = pooler(make_maps(dtype=torch.float64), as_boxes(BOXES))
    assert rows.dtype == torch.float64


class TwoImages(torch.nn.Module):
    """A pooler or a branch with tensors for arguments, as tracing and exporting want them."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, res2, res3, res4, first, second):
        maps = {"res2": res2, "res3": res3, "res4": res4}
        return self.module(maps, [Boxes(first), Boxes(second)])


def make_arguments(first, second, seed=0):
    """Maps of two images and so many boxes in each."""
    generator = torch.Generator().manual_seed(seed)
    corners = [60 * torch.rand(n, 2, generator=generator) for n in (first, second)]
    extents = [10 + 60 * torch.rand(len(c), 2, generator=generator) for c in corners]
    boxes = [torch.cat([c, c + e], dim=1) for c, e in zip(corners, extents, strict=True)]
    return (*make_maps(2, seed=seed).values(), *boxes)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    ("names", "fusion"),
    [(("res2",), "sum"), *((("res2", "res3", "res4"), fusion) for fusion in FUSIONS)],
)
@pytest.mark.parametrize("how", ["trace", pytest.param("export", marks=pytest.mark.slow)])
def test_other_numbers_of_boxes_than_exported_with(names, fusion, how):
    """detectron2's own conversion of boxes would fix their number in ``torch.export``."""
    module = TwoImages(shuffle_weights(make_pooler(names, fusion=fusion)))
    if how == "trace":
        exported = torch.jit.trace(module, make_arguments(3, 2), check_trace=False)
    else:
        number = {0: torch.export.Dim.DYNAMIC}
        exported = torch.export.export(
            module, make_arguments(3, 2), dynamic_shapes=(None, None, None, number, number)
        ).module()
    for first, second in [(3, 2), (1, 0), (0, 0), (5, 7)]:
        arguments = make_arguments(first, second, seed=1)
        with torch.no_grad():
            assert torch.equal(exported(*arguments), module(*arguments))


def test_the_half_pixel_correction_may_be_left_out():
    """As detectron2's poolers of both names, and by hand: half a cell apart."""
    maps, boxes = make_maps(), as_boxes(BOXES)
    for name in POOLER_TYPES:
        pooler = make_pooler(("res3",), out_channels=6, size=(7, 7), pooler_type=name)
        theirs = ROIPooler(7, [1 / 8], 2, name)
        torch.testing.assert_close(pooler(maps, boxes), theirs([maps["res3"]], boxes))
    ramp = {"res3": torch.arange(24.0).expand(1, 6, 16, 24)}
    inside = as_boxes([[[32.0, 32, 88, 88]]])
    means = {
        name: make_pooler(("res3",), out_channels=6, size=(7, 7), pooler_type=name)(ramp, inside)
        for name in POOLER_TYPES
    }
    # The value of a cell is its column; the centre of columns 4 to 11 is 7.5, or 7 with cells'
    # values at their centres.
    assert means["ROIAlign"].mean() == 7.5 and means["ROIAlignV2"].mean() == 7
    with pytest.raises(ValueError, match="POOLER_TYPE is 'ROIPool'; expected one"):
        make_pooler(pooler_type="ROIPool")
