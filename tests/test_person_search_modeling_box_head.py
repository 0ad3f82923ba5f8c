import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads import build_box_head

import person_search.modeling  # noqa: F401  (registers the box head)


def test_box_head_is_the_last_stage_and_a_mean(tiny_cfg):
    head = build_box_head(tiny_cfg("c4"), ShapeSpec(channels=64, height=4, width=4)).eval()
    assert head.output_shape.channels == 128
    x = torch.randn(3, 64, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = head.res5(x).flatten(2).sum(2) / 4  # 4 x 4 cells at stride 2 are 2 x 2
        torch.testing.assert_close(head(x), expected)
        assert head(x[:0]).shape == (0, 128)
    assert all(name.startswith("res5.") for name in head.state_dict()), "weights find it by name"


def test_the_mean_may_be_a_maximum(tiny_cfg):
    shape = ShapeSpec(channels=64, height=4, width=4)
    key = "MODEL__PERSON_SEARCH__RES5_BOX_HEAD__POOLING"
    head = build_box_head(tiny_cfg("c4", **{key: "max"}), shape).eval()
    x = torch.randn(3, 64, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(head(x), head.res5(x).flatten(2).sort(2).values[:, :, -1])
    with pytest.raises(ValueError, match=r"RES5_BOX_HEAD.POOLING is 'gem'; expected .*avg.*max"):
        build_box_head(tiny_cfg("c4", **{key: "gem"}), shape)
