import pytest
import torch
from conftest import undrawn
from detectron2.layers import ShapeSpec
from detectron2.modeling.backbone import build_resnet_backbone
from detectron2.structures import Boxes

from person_search.modeling.fusion_pooling import FUSIONS
from person_search.modeling.identity_branch import (
    IdentityBranch,
    build_identity_body,
    own_stages,
)
from reid_heads.backbones.slim_resnet import build_slim_resnet

SHAPES = {"p2": ShapeSpec(channels=16, stride=4), "p3": ShapeSpec(channels=16, stride=8)}
BRANCH = "MODEL__PERSON_SEARCH__IDENTITY_BRANCH__"


def make_branch(cfg):
    torch.manual_seed(0)
    return IdentityBranch(cfg, SHAPES).eval()


def feature_maps(images=2):
    generator = torch.Generator().manual_seed(1)
    return {
        "p2": torch.randn(images, 16, 24, 40, generator=generator),
        "p3": torch.randn(images, 16, 12, 20, generator=generator),
    }


def test_rows_are_in_the_order_of_the_boxes(tiny_cfg):
    branch = make_branch(tiny_cfg())
    features = feature_maps()
    boxes = [Boxes([[4.0, 8, 20, 48]]), Boxes([[40.0, 8, 60, 60], [4, 8, 20, 48]])]
    rows = branch(features, boxes).unit_embeddings
    assert rows.shape == (3, 16) == (3, branch.head.embedding_dim)
    for i, (image, box) in enumerate([(0, boxes[0][0]), (1, boxes[1][0]), (1, boxes[1][1])]):
        one = {name: feature[image : image + 1] for name, feature in features.items()}
        alone = branch(one, [box]).unit_embeddings[0]
        torch.testing.assert_close(alone, rows[i], rtol=1e-4, atol=1e-5)
    # The same box in another image is another person.
    assert not torch.allclose(rows[0], rows[2], atol=1e-3)


def test_a_big_box_is_pooled_from_the_same_level(tiny_cfg):
    """A multi-scale ROIPooler sends each box to one level and pools squares (trap 6)."""
    branch = make_branch(tiny_cfg())
    features = feature_maps(1)
    boxes = [Boxes([[0.0, 0, 8, 16], [0, 0, 159, 95]])]
    rows = branch(features, boxes).embeddings
    features["p3"] = torch.full_like(features["p3"], 7.0)
    torch.testing.assert_close(branch(features, boxes).embeddings, rows)
    pooled = branch.pooler(features, boxes)
    assert pooled.shape == (2, 16, 16, 8)


def test_pooled_values_are_those_under_the_box(tiny_cfg):
    """One box over the right half of a map that is 0 left and 1 right, in resized pixels."""
    branch = make_branch(tiny_cfg())
    feature = torch.zeros(1, 16, 24, 40)
    feature[..., 20:] = 1.0
    # Feature column 20 begins at pixel 80.
    right, left = [Boxes([[88.0, 8, 150, 90]])], [Boxes([[8.0, 8, 70, 90]])]
    assert branch.pooler({"p2": feature}, right).min() == 1.0
    assert branch.pooler({"p2": feature}, left).max() == 0.0


@pytest.mark.parametrize("body", ["none", "basic_blocks"])
def test_nobody_gives_no_rows(body, tiny_cfg):
    branch = make_branch(tiny_cfg(**{BRANCH + "BODY": body}))
    nobody = branch(feature_maps(), [Boxes(torch.zeros(0, 4))] * 2)
    assert nobody.unit_embeddings.shape == nobody.metric[0].shape == (0, 16)


def test_bodies(tiny_cfg):
    cfg = tiny_cfg(**{BRANCH + "BODY": "none"})
    body, in_channels, channels = build_identity_body(cfg, 16)
    assert in_channels == channels == 16 and list(body.parameters()) == []

    body, in_channels, channels = build_identity_body(tiny_cfg(), 16)
    assert (in_channels, channels) == (16, 24)
    assert body(torch.zeros(2, 16, 16, 8)).shape == (2, 24, 8, 4)

    body, in_channels, channels = build_identity_body(tiny_cfg("c4"), 64)
    assert (in_channels, channels) == (64, 128)
    assert body(torch.zeros(2, 64, 4, 4)).shape == (2, 128, 2, 2)
    assert all(name.startswith("res5.") for name in body.state_dict()), "weights find it by name"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("BODY", "res6", r"BODY is 'res6'; expected 'res5', 'res4\+res5'"),
        ("IN_FEATURES", ("p2", "p2"), "each once"),
        ("IN_FEATURES", (), "one or more"),
        ("IN_FEATURES", ("p9",), r"IN_FEATURES is \['p9'\]; expected .* \['p2', 'p3'\]"),
        ("BASIC_BLOCKS__NORM", "SyncBN", "NORM is 'SyncBN'"),
        ("BASIC_BLOCKS__NORM", "naiveSyncBN", "NORM is 'naiveSyncBN'"),
        ("BASIC_BLOCKS__CHANNELS", 16, r"CHANNELS is 16.*STRIDE"),
    ],
)
def test_impossible_settings_are_refused(key, value, message, tiny_cfg):
    with pytest.raises(ValueError, match=message):
        make_branch(tiny_cfg(**{BRANCH + key: value}))


def test_equal_channels_without_stride_are_fine(tiny_cfg):
    cfg = tiny_cfg(**{BRANCH + "BASIC_BLOCKS__CHANNELS": 16, BRANCH + "BASIC_BLOCKS__STRIDE": 1})
    features = make_branch(cfg)(feature_maps(), [Boxes([[4.0, 8, 20, 48]])] * 2)
    assert features.embeddings.shape == (2, 16)


SLIM_CHANNELS = {"res2": 8, "res3": 12, "res4": 16, "res5": 24}
R18_CHANNELS = {"res2": 64, "res3": 128, "res4": 256, "res5": 512}
R50_CHANNELS = {"res2": 256, "res3": 512, "res4": 1024, "res5": 2048}
WIDTHS = {"slim": SLIM_CHANNELS, "r18": R18_CHANNELS, "r50": R50_CHANNELS}
BODIES = {"res5": [5], "res4+res5": [4, 5], "res3+res4+res5": [3, 4, 5]}


def stages_cfg(tiny_cfg, network, **branch):
    overrides = {BRANCH + key: value for key, value in branch.items()}
    if network == "slim":
        return tiny_cfg(**overrides)
    net = {"DEPTH": int(network[1:]), "RES2_OUT_CHANNELS": WIDTHS[network]["res2"]}
    net["WIDTH_PER_GROUP"] = 64
    return tiny_cfg("c4", **{f"MODEL__RESNETS__{k}": v for k, v in net.items()}, **overrides)


def stage_shapes(network):
    widths = WIDTHS[network]
    return {n: ShapeSpec(channels=c, stride=2 ** int(n[-1])) for n, c in widths.items()}


def stage_maps(network, images=2, size=(64, 96)):
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(
            images, s.channels, size[0] // s.stride, size[1] // s.stride, generator=generator
        )
        for name, s in stage_shapes(network).items()
    }


TWO_PEOPLE = [Boxes([[4.0, 8, 20, 48]]), Boxes([[30.0, 8, 60, 60]])]


@pytest.mark.parametrize("network", ["slim", "r18"])
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("last_stride", [1, 2])
def test_own_stages(body, network, last_stride, tiny_cfg):
    """What comes out has the size that the last map of a crop net has for the same grid."""
    stages = BODIES[body]
    base = f"res{stages[0] - 1}"
    cfg = stages_cfg(
        tiny_cfg,
        network,
        BODY=body,
        IN_FEATURES=(base,),
        POOLER_RESOLUTION=(16, 8),
        LAST_STRIDE=last_stride,
    )
    with undrawn():
        branch = IdentityBranch(cfg, stage_shapes(network)).eval()
    assert own_stages(body) == stages
    assert list(branch.pooler.parameters()) == [], "the base has the channels of the first stage"
    assert {name.split(".")[0] for name in branch.body.state_dict()} == {f"res{n}" for n in stages}
    for n in stages:
        assert branch.body.state_dict()[f"res{n}.0.conv1.weight"].ndim == 4
    pooled, refined = branch.maps(stage_maps(network), TWO_PEOPLE)
    widths = WIDTHS[network]
    assert pooled.shape == (2, widths[base], 16, 8)
    shrink = 2 ** (len(stages) - 1) * last_stride
    assert refined.shape == (2, widths["res5"], 16 // shrink, 8 // shrink)
    assert branch(stage_maps(network), TWO_PEOPLE).unit_embeddings.shape == (2, 16)


def test_own_stages_of_a_resnet_50(tiny_cfg):
    """Bottlenecks: the numbers of blocks and the names of ResNet-50's own."""
    cfg = stages_cfg(tiny_cfg, "r50", BODY="res4+res5", LAST_STRIDE=1)
    with torch.device("meta"):
        body, in_channels, channels = build_identity_body(cfg, 1024)
    assert (in_channels, channels) == (512, 2048), "its own input, whatever the base has"
    assert [len(body.res4), len(body.res5)] == [6, 3]
    names = body.state_dict()
    for name in ("res4.0.shortcut", "res4.5.conv3", "res5.0.conv1", "res5.2.conv2"):
        assert f"{name}.weight" in names and f"{name}.norm.running_var" in names
    strides = [block.stride for stage in (body.res4, body.res5) for block in stage]
    assert strides == [2, 1, 1, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("network", ["slim", "r18"])
def test_own_stages_are_the_backbones(network, tiny_cfg):
    """Names, shapes and what they compute: weights of the same name give the same map."""
    cfg = stages_cfg(tiny_cfg, network, BODY="res4+res5", IN_FEATURES=("res3",), LAST_STRIDE=2)
    torch.manual_seed(0)
    body, _, _ = build_identity_body(cfg, 0)
    if network == "slim":
        backbone = build_slim_resnet(cfg, 3, out_features=["res5"])
    else:
        cfg.MODEL.RESNETS.OUT_FEATURES = ["res5"]
        backbone = build_resnet_backbone(cfg, ShapeSpec(channels=3))
    theirs = {n: v for n, v in backbone.state_dict().items() if n.startswith(("res4.", "res5."))}
    body.load_state_dict(theirs, strict=True)
    x = torch.randn(2, WIDTHS[network]["res3"], 8, 4)
    expected = backbone.eval().res5(backbone.res4(x))
    torch.testing.assert_close(body.eval()(x), expected)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_several_levels_start_as_the_base_alone(fusion, tiny_cfg):
    """What stage 1 of STL gave the own stages is as good with several levels as with one."""
    settings = {"BODY": "res4+res5", "POOLER_RESOLUTION": (16, 8)}
    alone = IdentityBranch(
        stages_cfg(tiny_cfg, "slim", IN_FEATURES=("res3",), **settings), stage_shapes("slim")
    )
    levels = ("res3", "res2", "res4")
    several = IdentityBranch(
        stages_cfg(tiny_cfg, "slim", IN_FEATURES=levels, FUSION=fusion, **settings),
        stage_shapes("slim"),
    )
    missing = several.load_state_dict(alone.state_dict(), strict=False)
    assert missing.unexpected_keys == []
    assert all(name.startswith("pooler.") for name in missing.missing_keys)
    maps = stage_maps("slim")
    torch.testing.assert_close(
        several.eval()(maps, TWO_PEOPLE).embeddings, alone.eval()(maps, TWO_PEOPLE).embeddings
    )
    maps["res4"] = maps["res4"] + 1.0
    several.pooler.gates[1].data.fill_(0.1)
    changed = several(maps, TWO_PEOPLE).embeddings
    assert not torch.allclose(changed, several(stage_maps("slim"), TWO_PEOPLE).embeddings)


@pytest.mark.parametrize("levels", [("res2",), ("res4", "res2")])
def test_a_base_that_is_not_the_stage_before(levels, tiny_cfg):
    """Its channels are projected to those that the first own stage reads."""
    cfg = stages_cfg(
        tiny_cfg, "slim", BODY="res4+res5", IN_FEATURES=levels, POOLER_RESOLUTION=(16, 8)
    )
    branch = IdentityBranch(cfg, stage_shapes("slim")).eval()
    expected = [(12, SLIM_CHANNELS[n], 1, 1) for n in levels]
    assert [tuple(p.weight.shape) for p in branch.pooler.projections] == expected
    pooled, refined = branch.maps(stage_maps("slim"), TWO_PEOPLE)
    assert pooled.shape == (2, 12, 16, 8) and refined.shape == (2, 24, 4, 2)


@pytest.mark.parametrize("norm", ["SyncBN", "naiveSyncBN"])
def test_synchronised_norms_are_refused_in_own_stages(norm, tiny_cfg):
    cfg = stages_cfg(tiny_cfg, "slim", BODY="res4+res5", IN_FEATURES=("res3",))
    cfg.MODEL.RESNETS.NORM = norm
    with pytest.raises(ValueError, match=rf"MODEL.RESNETS.NORM is '{norm}'; use 'BN'"):
        IdentityBranch(cfg, stage_shapes("slim"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(
    ("how", "head"),
    [
        ("trace", "EmbeddingHead"),
        ("trace", "BNNeckHead"),
        pytest.param("export", "BNNeckHead", marks=pytest.mark.slow),
        pytest.param("export", "EmbeddingHead", marks=pytest.mark.slow),
    ],
)
def test_other_numbers_of_people_than_exported_with(how, head, tiny_cfg):
    cfg = stages_cfg(
        tiny_cfg,
        "slim",
        BODY="res4+res5",
        IN_FEATURES=("res3", "res2", "res4"),
        POOLER_RESOLUTION=(16, 8),
    )
    cfg.MODEL.REID_HEAD.NAME = head
    module = EmbedTwoImages(IdentityBranch(cfg, stage_shapes("slim"))).eval()
    module.requires_grad_(False)
    maps = stage_maps("slim")
    people = torch.tensor([[4.0, 8, 20, 48], [30, 8, 60, 60], [1, 1, 90, 60], [40, 5, 41, 6]])
    if how == "trace":
        exported = torch.jit.trace(module, (maps, people[:3], people[:2]), check_trace=False)
    else:
        number = {0: torch.export.Dim.DYNAMIC}
        shapes = (dict.fromkeys(maps), number, number)
        exported = torch.export.export(
            module, (maps, people[:3], people[:2]), dynamic_shapes=shapes
        ).module()
    for first, second in [(people[:3], people[:2]), (people[:1], people), (people[:0], people[:1])]:
        rows = module(maps, first, second)
        assert rows.shape == (len(first) + len(second), module.branch.head.embedding_dim)
        torch.testing.assert_close(exported(maps, first, second), rows)
    nobody = people[:0]
    assert exported(maps, nobody, nobody).shape == (0, module.branch.head.embedding_dim)


class EmbedTwoImages(torch.nn.Module):
    """A branch with tensors for arguments and result, as tracing and exporting want them."""

    def __init__(self, branch):
        super().__init__()
        self.branch = branch

    def forward(self, maps, first, second):
        return self.branch(maps, [Boxes(first), Boxes(second)]).unit_embeddings
