import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_model
from torch import nn

from reid_heads.config import add_crop_reid_config
from reid_heads.crop_reid import CropReID
from reid_heads.heads.features import HeadFeatures

TINY = ["MODEL.DEVICE", "cpu", "MODEL.META_ARCHITECTURE", "CropReID", "MODEL.BACKBONE.NAME"]
TINY += ["build_reid_resnet_backbone", "MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.NORM", "BN"]
TINY += ["MODEL.RESNETS.OUT_FEATURES", "['res5']", "MODEL.RESNETS.STEM_OUT_CHANNELS", "8"]
TINY += ["MODEL.RESNETS.RES2_OUT_CHANNELS", "8", "MODEL.BACKBONE.FREEZE_AT", "0"]
TINY += ["MODEL.REID_HEAD.NAME", "BNNeckHead", "MODEL.REID_HEAD.NUM_IDENTITIES", "3"]
TINY += ["MODEL.REID_HEAD.LOSSES.OIM", "0.0"]


def make_model(*overrides):
    cfg = get_cfg()
    add_crop_reid_config(cfg)
    cfg.merge_from_list([*TINY, *overrides])
    torch.manual_seed(0)
    return build_model(cfg)


def make_batch(pids, size=(32, 16), attributes=None):
    generator = torch.Generator().manual_seed(1)
    batch = []
    for i, pid in enumerate(pids):
        image = torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)
        batch.append({"image": image, "person_id": pid, "cam_id": 1})
        if attributes is not None:
            batch[-1]["attributes"] = torch.tensor(attributes[i])
    return batch


def losses(**weights):
    return [word for name, w in weights.items() for word in (f"MODEL.REID_HEAD.LOSSES.{name}", w)]


def test_training_gives_the_losses_of_the_config_with_their_weights():
    model = make_model(*losses(SOFTMAX="1.0", TRIPLET="2.0", CENTER="0.5"))
    got = model(make_batch([0, 0, 1, 1]))
    assert set(got) == {"loss_reid_softmax", "loss_reid_triplet", "loss_reid_center"}
    sum(got.values()).backward()
    assert model.backbone.stem.conv1.weight.grad.abs().sum() > 0
    half = make_model(*losses(SOFTMAX="1.0", TRIPLET="1.0", CENTER="0.5"))
    again = half(make_batch([0, 0, 1, 1]))
    assert got["loss_reid_triplet"].item() == pytest.approx(2 * again["loss_reid_triplet"].item())


def test_attributes_reach_their_loss():
    settings = losses(ATTRIBUTES="1.0")
    model = make_model(*settings, "MODEL.REID_HEAD.ATTRIBUTES.CLASSES", "(2,3)")
    got = model(make_batch([0, 0, 1, 1], attributes=[[0, 2], [0, 2], [1, 0], [1, 0]]))
    assert got["loss_reid_attributes"].item() > 0


def test_embeddings_have_unit_norm_and_the_batchs_order():
    model = make_model(*losses(SOFTMAX="1.0")).eval()
    batch = make_batch([7, 8, 9])
    rows = [d["embedding"] for d in model(batch)]
    assert all(row.shape == (model.embedding_dim,) and row.dtype == torch.float32 for row in rows)
    assert all(row.norm().item() == pytest.approx(1, abs=1e-5) for row in rows)
    (alone,) = model(batch[1:2])
    torch.testing.assert_close(alone["embedding"], rows[1], atol=1e-5, rtol=1e-5)


def test_flip_averaging_makes_a_crop_and_its_mirror_image_alike():
    settings = losses(SOFTMAX="1.0")
    plain = make_model(*settings).eval()
    averaged = make_model(*settings, "MODEL.CROP_REID.FLIP_TEST", "True").eval()
    (crop,) = make_batch([0])
    mirror = {**crop, "image": crop["image"].flip(-1)}
    one, two = (d["embedding"] for d in averaged([crop, mirror]))
    torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-5)
    one, two = (d["embedding"] for d in plain([crop, mirror]))
    assert not torch.allclose(one, two, atol=1e-4)


class ChannelMeans(nn.Module):
    """A head that returns the mean of each channel, to look at the preprocessing."""

    def forward(self, features):
        rows = features.mean((2, 3))
        return HeadFeatures(rows, (rows,), (rows,))


class Identity(nn.Module):
    def forward(self, images):
        return {"image": images}


def test_images_are_normalised_by_channel():
    """(110 - 100) / 5 = 2, (90 - 80) / 10 = 1, (60 - 60) / 20 = 0; of norm sqrt(5)."""
    model = CropReID(
        backbone=Identity(),
        in_feature="image",
        head=ChannelMeans(),
        losses=nn.Identity(),
        pixel_mean=[100.0, 80.0, 60.0],
        pixel_std=[5.0, 10.0, 20.0],
    ).eval()
    image = torch.tensor([110, 90, 60], dtype=torch.uint8).view(3, 1, 1).expand(3, 4, 2)
    (got,) = model([{"image": image}])
    expected = torch.tensor([2.0, 1.0, 0.0]) / 5**0.5
    torch.testing.assert_close(got["embedding"], expected)


def test_crops_of_two_sizes_are_refused():
    model = make_model(*losses(SOFTMAX="1.0")).eval()
    batch = make_batch([0]) + make_batch([1], size=(64, 32))
    with pytest.raises(ValueError, match=r"\(3, 32, 16\).*\(3, 64, 32\).*INPUT\.REID\.SIZE"):
        model(batch)


def test_two_feature_maps_are_refused():
    with pytest.raises(ValueError, match=r"OUT_FEATURES.*exactly one"):
        make_model(*losses(SOFTMAX="1.0"), "MODEL.RESNETS.OUT_FEATURES", "['res4','res5']")


def test_the_normalisation_is_not_part_of_a_checkpoint():
    state = make_model(*losses(SOFTMAX="1.0")).state_dict()
    assert not [name for name in state if name.startswith("pixel")]
