import pytest
import torch
import torch.nn.functional as F
from conftest import undrawn
from detectron2.checkpoint.c2_model_loading import align_and_update_state_dicts
from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone
from torch import nn

from reid_heads.config import add_crop_reid_config
from reid_heads.heads import MGNHead, build_reid_head
from reid_heads.heads.pooling import build_pooling

pytestmark = pytest.mark.usefixtures("shallow")

WIDTH = 4  # res2; res4 has 16 channels, res5 32
REDUCED = 6


@pytest.fixture
def make_cfg():
    """Make a config of a narrow MGN; overrides like REID_HEAD__POOLING="avg" go below MODEL."""

    def make(**overrides):
        cfg = get_cfg()
        add_crop_reid_config(cfg)
        cfg.MODEL.BACKBONE.NAME = "build_reid_resnet_backbone"
        cfg.MODEL.BACKBONE.FREEZE_AT = 0
        settings = {
            "RESNETS__DEPTH": 18,
            "RESNETS__NORM": "BN",
            "RESNETS__STEM_OUT_CHANNELS": WIDTH,
            "RESNETS__RES2_OUT_CHANNELS": WIDTH,
            "RESNETS__WIDTH_PER_GROUP": 2,
            "RESNETS__STRIDE_IN_1X1": False,
            "RESNETS__OUT_FEATURES": ["res4_1"],
            "REID_HEAD__NAME": "MGNHead",
            "REID_HEAD__POOLING": "max",
            "REID_HEAD__MGN__REDUCTION_DIM": REDUCED,
        }
        for key, value in {**settings, **overrides}.items():
            cfg.merge_from_list([f"MODEL.{key.replace('__', '.')}", value])
        return cfg

    return make


@pytest.fixture
def make_mgn(make_cfg):
    """Make the two halves of a network: the shared backbone and the head."""

    def make(**overrides):
        torch.manual_seed(0)
        cfg = make_cfg(**overrides)
        backbone = build_backbone(cfg)
        return nn.ModuleDict(
            {
                "backbone": backbone,
                "head": build_reid_head(cfg, backbone.output_shape()["res4_1"]),
            }
        )

    return make


def embed(mgn, x):
    return mgn["head"](mgn["backbone"](x)["res4_1"])


def images(count, height=96, width=32, seed=0):
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def shared_map(count, height=6, width=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 4 * WIDTH, height, width, generator=generator)


@pytest.mark.parametrize("depth", [18, 50])
def test_maps_are_as_fine_as_published(make_mgn, depth):
    """Wang et al., table 1: 12x4 in the global branch and 24x8 in the others, of 384x128."""
    mgn = make_mgn(RESNETS__DEPTH=depth).eval()
    shapes = []
    for branch in mgn["head"].branches:
        branch.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape)))
    embed(mgn, images(1, 384, 128))
    assert shapes == [(1, 8 * WIDTH, 12, 4), (1, 8 * WIDTH, 24, 8), (1, 8 * WIDTH, 24, 8)]


def test_published_sizes(make_cfg):
    """Eight 256-d features of 2048-d vectors; the heads of ResNet-50 without their weights."""
    cfg = make_cfg(
        RESNETS__DEPTH=50,
        RESNETS__STEM_OUT_CHANNELS=64,
        RESNETS__RES2_OUT_CHANNELS=256,
        RESNETS__WIDTH_PER_GROUP=64,
        REID_HEAD__MGN__REDUCTION_DIM=256,
    )
    with undrawn(), torch.device("meta"):
        head = build_reid_head(cfg, ShapeSpec(channels=1024, stride=16)).eval()
        out = head(torch.zeros(2, 1024, 24, 8))
    assert out.embeddings.shape == (2, 8 * 256)
    assert head.embedding_dim == 2048
    assert head.metric_dims == (256,) * 3
    assert head.classified_dims == (2048,) * 3 + (256,) * 5
    convolution = head.branches[1].res5[0].shortcut
    assert (convolution.in_channels, convolution.out_channels) == (1024, 2048)
    assert convolution.stride == (1, 1)


@pytest.mark.parametrize("pooling", ["max", "avg", "gem"])
@pytest.mark.parametrize("global_softmax", ["pre", "post"])
def test_features_equal_the_paper_written_out(make_mgn, global_softmax, pooling):
    mgn = make_mgn(REID_HEAD__POOLING=pooling, REID_HEAD__MGN__GLOBAL_SOFTMAX=global_softmax)
    head = mgn["head"].eval()
    x = shared_map(3)
    out = head(x)
    pool = build_pooling(pooling)
    maps = [branch.res5(branch.res4(x)) for branch in head.branches]
    assert [tuple(m.shape[2:]) for m in maps] == [(3, 1), (6, 2), (6, 2)]
    regions = [
        *maps,
        maps[1][:, :, :3],
        maps[1][:, :, 3:],
        maps[2][:, :, :2],
        maps[2][:, :, 2:4],
        maps[2][:, :, 4:],
    ]
    pooled = [pool(region)[:, :, 0] for region in regions]
    reduced = []
    for vectors, (linear, norm, _) in zip(pooled, head.reductions, strict=True):
        # A 1x1 convolution, BatchNorm with running statistics 0 and 1, ReLU.
        weight = linear.weight[:, :, None, None]
        convolved = F.conv2d(vectors[:, :, None, None], weight)[:, :, 0, 0]
        reduced.append((convolved / (1 + norm.eps) ** 0.5 * norm.weight + norm.bias).clamp(min=0))
    torch.testing.assert_close(out.embeddings, torch.cat(reduced, dim=1))
    for got, expected in zip(out.metric, reduced[:3], strict=True):
        torch.testing.assert_close(got, expected)
    first = pooled if global_softmax == "pre" else reduced
    for got, expected in zip(out.classified, first[:3] + reduced[3:], strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("global_softmax", ["pre", "post"])
def test_sizes_are_those_of_the_features(make_mgn, global_softmax):
    mgn = make_mgn(REID_HEAD__MGN__GLOBAL_SOFTMAX=global_softmax)
    head, out = mgn["head"], embed(mgn, images(2))
    assert out.embeddings.shape == (2, head.embedding_dim) == (2, 8 * REDUCED)
    assert tuple(f.shape[1] for f in out.metric) == head.metric_dims
    assert tuple(f.shape[1] for f in out.classified) == head.classified_dims
    size = 8 * WIDTH if global_softmax == "pre" else REDUCED
    assert head.classified_dims == (size,) * 3 + (REDUCED,) * 5


def test_stripes_run_from_head_to_feet(make_mgn):
    """Without context between rows, a change of the last row moves the lowest stripes only."""
    head = make_mgn()["head"].eval()
    head.branches = nn.ModuleList(nn.Identity() for _ in range(3))
    for reduction in head.reductions:
        reduction[0] = nn.Identity()
        reduction[1] = nn.Identity()
    x = shared_map(1).abs()
    changed = x.clone()
    changed[:, :, -1] += 100
    before, after = head(x).classified, head(changed).classified
    moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    #                three globals,    two stripes, three stripes
    assert moved == [True, True, True, False, True, False, False, True]


def test_initial_values_of_the_reductions(make_cfg):
    torch.manual_seed(0)
    cfg = make_cfg(RESNETS__RES2_OUT_CHANNELS=32, REID_HEAD__MGN__REDUCTION_DIM=128)
    head = build_reid_head(cfg, ShapeSpec(channels=128, stride=16))
    assert len(head.reductions) == 8
    for linear, norm, _ in head.reductions:
        assert linear.bias is None
        # Kaiming, fan in: the variance is 2 / 256; 32,768 values give it to 3 %.
        assert linear.weight.var().item() == pytest.approx(2 / 256, rel=0.03)
        assert norm.weight.mean().item() == pytest.approx(1, abs=0.01)
        assert norm.weight.std().item() == pytest.approx(0.02, rel=0.25)
        assert not norm.bias.any()


def test_branches_and_reductions_share_nothing(make_mgn):
    head = make_mgn()["head"]
    pointers = [parameter.data_ptr() for parameter in head.parameters()]
    assert len(set(pointers)) == len(pointers)
    weights = [branch.res5[0].conv1.weight for branch in head.branches]
    assert not torch.equal(weights[0], weights[1]) and not torch.equal(weights[1], weights[2])


@pytest.mark.parametrize(("depth", "ibn"), [(18, "none"), (18, "a"), (50, "a")])
def test_one_plain_resnet_fills_the_backbone_and_every_copy(make_cfg, make_mgn, depth, ibn):
    """As a checkpointer does it: match by the ending of names, each copy apart."""
    network = {"RESNETS__DEPTH": depth, "CROP_REID__IBN": ibn}
    whole = build_backbone(
        make_cfg(**network, RESNETS__OUT_FEATURES=["res5"], CROP_REID__LAST_STRIDE=2)
    ).eval()
    mgn = make_mgn(**network).eval()
    weights = {k: v for k, v in whole.state_dict().items() if "num_batches" not in k}
    state = mgn.state_dict()
    copies = [f"head.{prefix}" for prefix in mgn["head"].weight_copies]
    assert len(copies) == 3
    shared = {k: v for k, v in state.items() if not k.startswith(tuple(copies))}
    loaded = {}
    for part in [shared, *({k: v for k, v in state.items() if k.startswith(p)} for p in copies)]:
        matched = align_and_update_state_dicts(part, dict(weights), c2_conversion=False)
        loaded.update({k: v for k, v in matched.items() if k in part})
    missing, _ = mgn.load_state_dict(loaded, strict=False)
    missing = [k for k in missing if "num_batches" not in k]
    assert all(name.startswith("head.reductions.") for name in missing)
    # The global branch is then the plain ResNet: res5 has stride 2 in both.
    x = images(1)
    heard = {}
    mgn["head"].branches[0].register_forward_hook(lambda _, __, out: heard.update(out=out))
    embed(mgn, x)
    torch.testing.assert_close(heard["out"], whole(x)["res5"])
    for branch in mgn["head"].branches:
        for name, value in branch.state_dict().items():
            if "num_batches" not in name:
                assert torch.equal(value, weights[name]), name


def test_every_parameter_gets_a_gradient(make_mgn):
    mgn = make_mgn(CROP_REID__IBN="a").train()
    out = embed(mgn, images(4))
    sum(f.square().mean() for f in out.classified + out.metric).backward()
    for name, parameter in mgn.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_metric_losses_do_not_reach_the_parts(make_mgn):
    mgn = make_mgn().train()
    sum(f.square().mean() for f in embed(mgn, images(4)).metric).backward()
    reached = [r[0].weight.grad is not None for r in mgn["head"].reductions]
    assert reached == [True] * 3 + [False] * 5


def test_one_person_in_training(make_mgn):
    out = embed(make_mgn().train(), images(1))
    assert out.embeddings.shape == (1, 8 * REDUCED)


@pytest.mark.parametrize("ibn", ["none", "a"])
def test_nobody_gives_no_rows(make_mgn, ibn):
    out = embed(make_mgn(CROP_REID__IBN=ibn).eval(), images(0))
    assert out.embeddings.shape == (0, 8 * REDUCED)
    assert out.unit_embeddings.shape == (0, 8 * REDUCED)
    assert {len(f) for f in out.metric + out.classified} == {0}


def test_evaluation_embeds_each_person_alone(make_mgn):
    mgn = make_mgn().train()
    embed(mgn, images(4, seed=1))
    mgn.eval()
    x = images(3)
    torch.testing.assert_close(
        embed(mgn, x).embeddings[1:2], embed(mgn, x[1:2]).embeddings, rtol=1e-4, atol=1e-5
    )


def test_state_dict_round_trip(make_mgn):
    mgn = make_mgn().train()
    embed(mgn, images(4, seed=1))
    again = make_mgn()
    again.load_state_dict(mgn.state_dict(), strict=True)
    x = images(2)
    assert torch.equal(embed(mgn.eval(), x).embeddings, embed(again.eval(), x).embeddings)


def test_bfloat16_autocast_gives_float32(make_mgn):
    mgn = make_mgn().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = embed(mgn, images(4))
    assert {f.dtype for f in (out.embeddings, *out.metric, *out.classified)} == {torch.float32}
    sum(f.square().mean() for f in out.classified + out.metric).backward()
    for name, parameter in mgn.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name


def test_another_map_is_refused(make_cfg):
    cfg = make_cfg(RESNETS__OUT_FEATURES=["res5"])
    with pytest.raises(ValueError, match=r"OUT_FEATURES is \['res5'\].*'res4_1'"):
        build_reid_head(cfg, ShapeSpec(channels=32, stride=16))


def test_unknown_settings_are_refused(make_cfg):
    cfg = make_cfg(REID_HEAD__MGN__GLOBAL_SOFTMAX="both")
    with pytest.raises(ValueError, match="GLOBAL_SOFTMAX is 'both'; expected 'pre' or 'post'"):
        build_reid_head(cfg, ShapeSpec(channels=16, stride=16))
    with pytest.raises(ValueError, match="got 2 branches; expected 3"):
        MGNHead(branches=[nn.Identity()] * 2, branch_channels=4, pool=build_pooling("max"))
