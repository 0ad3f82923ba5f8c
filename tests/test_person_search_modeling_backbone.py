import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone

import person_search.modeling  # noqa: F401  (registers the backbone)

SLIM = "MODEL__SLIM_RESNET__"


def test_slim_pyramid_has_the_widths_and_strides_it_says(tiny_cfg):
    backbone = build_backbone(tiny_cfg())
    maps = backbone(torch.zeros(1, 3, 64, 96))
    for level, feature in enumerate(list(maps[f"p{n}"] for n in range(2, 6))):
        stride = 4 * 2**level
        assert feature.shape == (1, 16, 64 // stride, 96 // stride)
        assert backbone.output_shape()[f"p{level + 2}"].stride == stride
    stages = backbone.bottom_up.stages
    assert [stage[-1].out_channels for stage in stages] == [8, 12, 16, 24]


def test_bottom_up_maps_come_along_and_are_computed_once(tiny_cfg):
    backbone = build_backbone(tiny_cfg()).eval()
    calls = []
    backbone.bottom_up.register_forward_hook(lambda *_: calls.append(1))
    image = torch.rand(1, 3, 64, 96)
    maps = backbone(image)
    assert calls == [1]
    assert set(maps) == set(backbone.output_shape())
    for name, feature in backbone.bottom_up(image).items():
        assert torch.equal(maps[name], feature)
        assert feature.shape[1] == backbone.output_shape()[name].channels
        assert 64 // feature.shape[2] == backbone.output_shape()[name].stride


def test_number_of_blocks(tiny_cfg):
    backbone = build_backbone(tiny_cfg(**{SLIM + "NUM_BLOCKS": (1, 3, 2, 1)}))
    assert [len(stage) for stage in backbone.bottom_up.stages] == [1, 3, 2, 1]


def test_input_channels(tiny_cfg):
    cfg = tiny_cfg()
    assert (
        build_backbone(cfg, ShapeSpec(channels=1))(torch.zeros(1, 1, 64, 64))["p2"].shape[1] == 16
    )


def test_stages_of_one_width_are_refused(tiny_cfg):
    """detectron2's BasicBlock has no shortcut convolution then: a size mismatch deep inside."""
    with pytest.raises(ValueError, match=r"SLIM_RESNET\.CHANNELS is \(8, 8, 16, 24\)"):
        build_backbone(tiny_cfg(**{SLIM + "CHANNELS": (8, 8, 16, 24)}))


def test_norm_of_the_config_is_used(tiny_cfg):
    backbone = build_backbone(
        tiny_cfg(
            MODEL__RESNETS__NORM="GN",
            MODEL__FPN__NORM="",
            **{SLIM + "STEM_CHANNELS": 32, SLIM + "CHANNELS": (32, 64, 96, 128)},
        )
    )
    kinds = {type(m).__name__ for m in backbone.modules() if "Norm" in type(m).__name__}
    assert kinds == {"GroupNorm"}


def test_outputs_that_nothing_reads_are_frozen(tiny_cfg):
    """DistributedDataParallel stopped at the second iteration: a level without a reader left a
    trainable convolution without a gradient."""
    cfg = tiny_cfg(
        MODEL__RPN__IN_FEATURES=("p3",),
        MODEL__ROI_HEADS__IN_FEATURES=("p2", "p3"),
        MODEL__PERSON_SEARCH__IDENTITY_BRANCH__IN_FEATURES=("p4",),
    )
    backbone = build_backbone(cfg)
    trainable = {name for name, p in backbone.named_parameters() if p.requires_grad}
    for level, is_read in {2: True, 3: True, 4: True, 5: False}.items():
        assert (f"fpn_output{level}.weight" in trainable) == is_read
        # The lateral connection feeds the levels below.
        assert f"fpn_lateral{level}.weight" in trainable
