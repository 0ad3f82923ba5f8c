import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import build_anchor_generator
from torchvision.models.detection.anchor_utils import AnchorGenerator

SIZES, RATIOS = [[32, 64, 128]], [[0.5, 1.0, 2.0]]


def test_anchors_are_torchvisions_size_by_size(tiny_cfg):
    cfg = tiny_cfg(
        "c4",
        MODEL__ANCHOR_GENERATOR__NAME="RoundedAnchorGenerator",
        MODEL__ANCHOR_GENERATOR__SIZES=SIZES,
        MODEL__ANCHOR_GENERATOR__ASPECT_RATIOS=RATIOS,
    )
    ours = build_anchor_generator(cfg, [ShapeSpec(channels=8, stride=16)])
    theirs = AnchorGenerator(SIZES, RATIOS)
    theirs.set_cell_anchors(torch.float32, torch.device("cpu"))
    (expected,) = theirs.grid_anchors([(3, 5)], [[torch.tensor(16), torch.tensor(16)]])
    # Theirs has all sizes of a ratio together, ours all ratios of a size.
    expected = expected.view(15, 3, 3, 4).transpose(1, 2).reshape(-1, 4)
    (found,) = ours([torch.zeros(1, 8, 3, 5)])
    torch.testing.assert_close(found.tensor, expected)
    # 32 pixels at height / width 1/2: 45.25 wide and 22.63 high, 23 and 11 from the centre.
    assert found.tensor[0].tolist() == [-23, -11, 23, 11]
