import numpy as np
import pytest
import torch
from conftest import overrides_of
from detectron2.modeling import build_model
from helpers_public_weights import cosines, osnet_rows, osnet_state
from PIL import Image
from test_reid_heads_importers_crop_resnets import fast_reid, fast_reid_rows

from reid_heads.config import load_config
from reid_heads.crop_model import MOST_CROPS, load_crop_model

pytestmark = pytest.mark.usefixtures("shallow")

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
SMALL = ["INPUT.REID.SIZE", "(64,32)"]
OSNET = "configs/market1501/osnet_x0_25.yaml"
TINY_OSNET = overrides_of(
    """
    MODEL.OSNET.CHANNELS (8,16,16,24)
    MODEL.REID_HEAD.EMBEDDING_DIM 20
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


@pytest.fixture
def osnet_file(tmp_path):
    torch.save(osnet_state(), tmp_path / "osnet.pth")
    return tmp_path / "osnet.pth"


@torch.no_grad()
def test_a_public_file_is_all_it_takes(osnet_file):
    crops = make_crops()
    model = load_crop_model(osnet_file, overrides=SMALL, device="cpu")
    images = normalised(crops, (64, 32), Image.Resampling.BILINEAR)
    embeddings = torch.from_numpy(model.embed(crops))
    assert embeddings.shape == (3, model.embedding_dim) and embeddings.dtype == torch.float32
    assert cosines(embeddings, osnet_rows(osnet_state(), images)).min() > 1 - 1e-6


@torch.no_grad()
def test_crops_are_resized_as_the_public_code_does(tmp_path):
    torch.save({"model": fast_reid()}, tmp_path / "bot.pth")
    crops = make_crops()
    model = load_crop_model(tmp_path / "bot.pth", overrides=SMALL, device="cpu")
    embeddings = torch.from_numpy(model.embed(crops))
    agreement = [
        cosines(embeddings, fast_reid_rows(fast_reid(), normalised(crops, (64, 32), how))).min()
        for how in (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR)
    ]
    assert agreement[0] > 1 - 1e-6 > agreement[1]


def test_what_stands_beside_a_crop_does_not_matter(osnet_file):
    model = load_crop_model(osnet_file, overrides=SMALL, device="cpu")
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
def test_a_crop_of_another_form_is_refused(osnet_file, crop):
    model = load_crop_model(osnet_file, overrides=SMALL, device="cpu")
    with pytest.raises(ValueError, match=r"got a crop of shape .*; expected \(H, W, 3\) uint8"):
        model.embed([make_crops(1)[0], crop])


def save_own(folder, *overrides):
    """A checkpoint of a net of this project, with the classifier that its training had."""
    torch.manual_seed(3)
    model = build_model(load_config(OSNET, [*TINY_OSNET, *overrides]))
    torch.save({"model": model.state_dict()}, folder / "own.pth")
    return folder / "own.pth", model


def test_weights_trained_here_need_their_config(tmp_path):
    path, model = save_own(tmp_path, "MODEL.REID_HEAD.NUM_IDENTITIES", "3")
    loaded = load_crop_model(path, OSNET, TINY_OSNET)
    with torch.no_grad():
        images = normalised(make_crops(), (64, 32), Image.Resampling.BILINEAR)
        expected = model.eval().embed(images)
    np.testing.assert_allclose(loaded.embed(make_crops()), expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"own\.pth is no public checkpoint .*give the config"):
        load_crop_model(path)
    with pytest.raises(ValueError, match=r"own\.pth is a checkpoint of another model"):
        load_crop_model(path, OSNET, ["MODEL.DEVICE", "cpu"])


def test_a_net_of_bgr_crops_gets_them(tmp_path):
    path, model = save_own(tmp_path)
    rgb = load_crop_model(path, OSNET, TINY_OSNET)
    with torch.no_grad():
        model.backbone.conv1.weight.copy_(model.backbone.conv1.weight.flip(1))
    torch.save({"model": model.state_dict()}, path)
    words = [*TINY_OSNET, "INPUT.FORMAT", "BGR"]
    for key, values in (("MEAN", MEAN), ("STD", STD)):
        words += [f"MODEL.PIXEL_{key}", str(values[::-1])]
    bgr = load_crop_model(path, OSNET, words)
    np.testing.assert_allclose(rgb.embed(make_crops()), bgr.embed(make_crops()), atol=1e-5)
    assert rgb.fingerprint != bgr.fingerprint


def test_a_fingerprint_covers_what_decides_embeddings(osnet_file, tmp_path):
    model = load_crop_model(osnet_file, overrides=SMALL, device="cpu")
    again = [
        *("MODEL.REID_HEAD.NUM_IDENTITIES", "9", "MODEL.REID_HEAD.SOFTMAX.LABEL_SMOOTHING", "0.2"),
        *("SOLVER.BASE_LR", "0.5"),
    ]
    same = load_crop_model(osnet_file, overrides=[*SMALL, *again], device="cpu")
    # The same weights in a file of this project.
    torch.save({"model": model.model.state_dict()}, tmp_path / "own.pth")
    own = load_crop_model(tmp_path / "own.pth", OSNET, TINY_OSNET)
    others = [
        load_crop_model(osnet_file, overrides=words, device="cpu")
        for words in (
            ["INPUT.REID.SIZE", "(64,48)"],
            [*SMALL, "INPUT.REID.INTERPOLATION", "bicubic"],
        )
    ]
    torch.save(osnet_state(seed=1), osnet_file)
    others.append(load_crop_model(osnet_file, overrides=SMALL, device="cpu"))
    assert len(model.fingerprint) == 64
    assert model.fingerprint == same.fingerprint
    # Another base config, but the same settings.
    assert model.fingerprint == own.fingerprint
    assert len({model.fingerprint, *(other.fingerprint for other in others)}) == 4


def test_settings_of_another_network_are_refused(osnet_file):
    words = ["MODEL.OSNET.INSTANCE_NORM", "ain"]
    with pytest.raises(
        ValueError, match=r"INSTANCE_NORM ain make another network of the torchreid"
    ):
        load_crop_model(osnet_file, overrides=words, device="cpu")


def test_a_net_whose_embeddings_vanish_is_refused(osnet_file):
    state = osnet_state()
    state["fc.1.bias"].fill_(-100.0)
    torch.save(state, osnet_file)
    model = load_crop_model(osnet_file, overrides=SMALL, device="cpu")
    with pytest.raises(ValueError, match="embeddings of norm 0 to 0; expected 1"):
        model.embed(make_crops())
