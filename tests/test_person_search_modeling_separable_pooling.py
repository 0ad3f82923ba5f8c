"""RoIAlign by matrix products: torchvision's results, whatever the boxes."""

import pytest
import torch
from detectron2.layers import ROIAlign
from torchvision.ops import roi_align

from person_search.modeling.separable_pooling import SeparableRoIAlign, pool_boxes

HEIGHT, WIDTH, SCALE = 9, 12, 1 / 16
BOXES = {
    "inside": [20.0, 10, 90, 120],
    "of a pixel": [50.0, 60, 51, 61],
    "the whole map": [0.0, 0, 192, 144],
    "half outside": [-60.0, -30, 40, 60],
    "beyond the far corner": [180.0, 130, 260, 300],
    "far away": [500.0, 500, 600, 700],
    "without width": [40.0, 20, 40, 90],
    "turned over": [90.0, 90, 80, 70],
}


def make_map(images=2, channels=3):
    torch.manual_seed(0)
    return torch.randn(images, channels, HEIGHT, WIDTH)


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("sampling_ratio", [0, 1, 2])
@pytest.mark.parametrize("size", [(7, 7), (8, 3)], ids=str)
def test_every_box_is_pooled_as_torchvision_does(size, sampling_ratio, aligned):
    feature = make_map()
    rois = torch.tensor([[place % 2, *box] for place, box in enumerate(BOXES.values())])
    expected = roi_align(feature, rois, size, SCALE, sampling_ratio, aligned=aligned)
    pooled = pool_boxes(feature, rois, size, SCALE, sampling_ratio, aligned)
    torch.testing.assert_close(pooled, expected, rtol=1e-5, atol=1e-5)
    assert pooled.is_contiguous(memory_format=torch.channels_last)


def test_a_stride_leaves_bins_out():
    feature = make_map()
    rois = torch.tensor([[1.0, 20, 10, 90, 120], [0.0, -9, 3, 70, 50]])
    whole = pool_boxes(feature, rois, (7, 6), SCALE, 2, True)
    some = pool_boxes(feature, rois, (7, 6), SCALE, 2, True, stride=2)
    torch.testing.assert_close(some, whole[:, :, ::2, ::2])


def test_no_boxes():
    assert pool_boxes(make_map(), torch.zeros(0, 5), (7, 5), SCALE, 0, True).shape == (0, 3, 7, 5)


def test_the_layer_has_the_settings_of_the_one_it_stands_for():
    original = ROIAlign((5, 4), spatial_scale=SCALE, sampling_ratio=3, aligned=False)
    rois = torch.tensor([[0.0, 20, 10, 90, 120]])
    torch.testing.assert_close(
        SeparableRoIAlign(original)(make_map(), rois), original(make_map(), rois)
    )
