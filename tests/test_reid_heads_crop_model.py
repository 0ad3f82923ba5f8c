import numpy as np
import pytest
import torch
from conftest import overrides_of, undrawn
from detectron2.modeling import build_model
from helpers_public_weights import cosines
from PIL import Image
from test_reid_heads_importers_crop_resnets import (
    fast_reid,
    fast_reid_rows,
    torchreid,
    torchreid_rows,
    undrawn_weights,  # noqa: F401
)

from reid_heads.config import load_config
from reid_heads.crop_model import MOST_CROPS, CropModel, fingerprint_of, load_crop_model

pytestmark = pytest.mark.usefixtures("shallow")

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
SMALL = ["INPUT.REID.SIZE", "(64,32)"]
CONFIG = "configs/market1501/bag_of_tricks_r50.yaml"
TINY = overrides_of(
    """
    MODEL.RESNETS.STEM_OUT_CHANNELS 4
    MODEL.RESNETS.RES2_OUT_CHANNELS 16
    MODEL.RESNETS.WIDTH_PER_GROUP 4
    INPUT.REID.SIZE (64,32)
    MODEL.DEVICE cpu
    """
)


def make_crops(count=3, seed=0):
    """Broad patches of colour, of different sizes."""
    rng = np.random.default_rng(seed)
    return [
        rng.integers(0, 256, (7 + k, 5, 3), dtype=np.uint8).repeat(11, 0).repeat(9, 1)
        for k in range(count)
    ]


def normalised(crops, size, interpolation):
    """What torchvision's Resize, ToTensor and Normalize make of crops, by Pillow and numpy."""
    height, width = size
    resized = [
        np.asarray(Image.fromarray(crop).resize((width, height), interpolation)) for crop in crops
    ]
    images = (np.stack(resized).astype(np.float32) - MEAN) / STD
    return torch.from_numpy(images.transpose(0, 3, 1, 2)).float()


@pytest.fixture(scope="module")
def public_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("public") / "resnet.pth"
    torch.save(torchreid(projection=20), path)
    return path


@pytest.fixture(scope="module")
def model(public_file, shallow):
    with undrawn():
        return load_crop_model(public_file, overrides=SMALL, device="cpu")


@pytest.fixture(scope="module")
def own(tmp_path_factory, shallow):
    """A net of this project with the classifier that its training had, and its checkpoint."""
    torch.manual_seed(3)
    net = build_model(load_config(CONFIG, [*TINY, "MODEL.REID_HEAD.NUM_IDENTITIES", "3"])).eval()
    path = tmp_path_factory.mktemp("own") / "own.pth"
    torch.save({"model": net.state_dict()}, path)
    return path, net


@torch.no_grad()
def test_a_public_file_is_all_it_takes(model):
    crops = make_crops()
    images = normalised(crops, (64, 32), Image.Resampling.BILINEAR)
    embeddings = torch.from_numpy(model.embed(crops))
    assert embeddings.shape == (3, model.embedding_dim) and embeddings.dtype == torch.float32
    expected = torchreid_rows(torchreid(projection=20), images)
    assert cosines(embeddings, expected).min() > 1 - 1e-6


@torch.no_grad()
def test_crops_are_resized_as_the_public_code_does(tmp_path, undrawn_weights):  # noqa: F811
    torch.save({"model": fast_reid()}, tmp_path / "bot.pth")
    crops = make_crops()
    bicubic = load_crop_model(tmp_path / "bot.pth", overrides=SMALL, device="cpu")
    embeddings = torch.from_numpy(bicubic.embed(crops))
    agreement = [
        cosines(embeddings, fast_reid_rows(fast_reid(), normalised(crops, (64, 32), how))).min()
        for how in (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR)
    ]
    assert agreement[0] > 1 - 1e-6 > agreement[1]


def test_what_stands_beside_a_crop_does_not_matter(model):
    crops = make_crops(MOST_CROPS + 2)
    together = model.embed(crops)
    assert together.shape == (MOST_CROPS + 2, 20)
    np.testing.assert_allclose(model.embed(crops[-1:]), together[-1:], atol=1e-6)
    assert model.embed([]).shape == (0, 20)


@pytest.mark.parametrize(
    "crop",
    [
        np.zeros((9, 9), np.uint8),
        np.zeros((9, 9, 4), np.uint8),
        np.zeros((9, 0, 3), np.uint8),
        np.zeros((9, 9, 3), np.float32),
    ],
)
def test_a_crop_of_another_form_is_refused(model, crop):
    with pytest.raises(ValueError, match=r"got a crop of shape .*; expected \(H, W, 3\) uint8"):
        model.embed([make_crops(1)[0], crop])


@torch.no_grad()
def test_weights_trained_here_need_their_config(own):
    path, net = own
    loaded = load_crop_model(path, CONFIG, TINY)
    expected = net.embed(normalised(make_crops(), (64, 32), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(loaded.embed(make_crops()), expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"own\.pth is no public checkpoint .*give the config"):
        load_crop_model(path)
    with pytest.raises(ValueError, match=r"own\.pth is a checkpoint of another model"):
        load_crop_model(path, CONFIG, [*TINY, "MODEL.RESNETS.WIDTH_PER_GROUP", "8"])


def test_a_net_of_bgr_crops_gets_them(model):
    """The same weights, given the channels in another order, see another picture."""
    cfg = model.cfg.clone()
    cfg.INPUT.FORMAT = "BGR"
    crops = make_crops()
    swapped = [crop[:, :, ::-1] for crop in crops]
    bgr = CropModel(cfg, model.model)
    np.testing.assert_allclose(bgr.embed(swapped), model.embed(crops), atol=1e-6)
    assert np.abs(bgr.embed(crops) - model.embed(crops)).max() > 1e-3


def test_a_fingerprint_covers_what_decides_embeddings(own):
    _, net = own

    def fingerprint(*words):
        return fingerprint_of(load_config(CONFIG, [*TINY, *words]), net)

    usual = fingerprint()
    assert len(usual) == 64
    assert usual == fingerprint(
        *("MODEL.REID_HEAD.NUM_IDENTITIES", "9", "MODEL.REID_HEAD.SOFTMAX.LABEL_SMOOTHING", "0.2"),
        *("SOLVER.BASE_LR", "0.5", "MODEL.WEIGHTS", "other.pth", "MODEL.DEVICE", "cuda"),
    )
    others = [
        fingerprint("INPUT.REID.SIZE", "(64,48)"),
        fingerprint("INPUT.REID.INTERPOLATION", "bicubic"),
        fingerprint("MODEL.CROP_REID.STEM_POOL", "ceil"),
        fingerprint("MODEL.REID_HEAD.POOLING", "gem"),
        fingerprint("MODEL.REID_HEAD.POOLING", "gem", "MODEL.REID_HEAD.GEM_POWER", "2.0"),
    ]
    with torch.no_grad():
        net.head.neck.running_mean[0] += 1
    others.append(fingerprint())
    assert len({usual, *others}) == 7


def test_settings_of_another_network_are_refused(public_file, undrawn_weights):  # noqa: F811
    words = ["MODEL.RESNETS.WIDTH_PER_GROUP", "8"]
    with pytest.raises(
        ValueError,
        match=r"WIDTH_PER_GROUP 8 make another network of the torchreid.*shape: \S+ is \(",
    ):
        load_crop_model(public_file, overrides=words, device="cpu")


def test_a_net_whose_embeddings_vanish_is_refused(model, monkeypatch):
    monkeypatch.setattr(model.model, "embed", lambda images: torch.zeros(len(images), 20))
    with pytest.raises(ValueError, match="embeddings of norm 0 to 0; expected 1"):
        model.embed(make_crops())
