import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.structures import Boxes

from person_search.modeling.identity_branch import IdentityBranch, build_identity_body

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

    body, in_channels, channels = build_identity_body(tiny_cfg("c4"), 256)
    assert (in_channels, channels) == (256, 512)
    assert body(torch.zeros(2, 256, 4, 4)).shape == (2, 512, 2, 2)
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
