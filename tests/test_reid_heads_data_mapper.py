import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from PIL import Image

from reid_heads.config import add_crop_reid_config
from reid_heads.data.mapper import CropMapper
from reid_heads.data.samplers import DRAW_KEY


def make_mapper(is_train=True, **overrides):
    cfg = get_cfg()
    add_crop_reid_config(cfg)
    settings = {"INPUT__FORMAT": "RGB", "INPUT__REID__SIZE": (64, 32), "SEED": 0, **overrides}
    for key, value in settings.items():
        cfg.merge_from_list([key.replace("__", "."), value])
    return CropMapper(cfg, is_train)


def draw_person(seed=0, size=(48, 24)):
    colours = np.random.default_rng(seed).integers(0, 255, (2, 3), dtype=np.uint8)
    image = np.zeros((*size, 3), dtype=np.uint8)
    image[: size[0] // 2], image[size[0] // 2 :] = colours
    # A mark on the left, which a flip moves.
    image[:, :5] = 255
    return image


@pytest.fixture
def write_crop(tmp_path):
    def write(image=None, name="0001_c2s1_000151_01.png", mode=None, **extra):
        picture = Image.fromarray(draw_person() if image is None else image)
        (picture.convert(mode) if mode else picture).save(tmp_path / name)
        return {
            "file_name": str(tmp_path / name),
            "image_id": name,
            "person_id": 3,
            "cam_id": 2,
            **extra,
        }

    return write


def test_train_output(write_crop):
    crop = write_crop(attributes=[1, 0, 4], domain=2)
    mapped = make_mapper()({**crop, DRAW_KEY: 5})
    image, attributes = mapped.pop("image"), mapped.pop("attributes")
    assert (image.shape, image.dtype) == ((3, 64, 32), torch.uint8)
    assert (attributes.tolist(), attributes.dtype) == ([1, 0, 4], torch.int64)
    assert mapped == {"person_id": 3, "cam_id": 2, "image_id": crop["image_id"], "domain": 2}


def test_test_output(write_crop):
    """No augmentation, no attributes, and the part of the test set."""
    crop = write_crop(draw_person(size=(64, 32)), split="query", attributes=[1, 0, 4])
    mapped = make_mapper(False)(crop)
    image = mapped.pop("image")
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), draw_person(size=(64, 32)))
    expected = {"person_id": 3, "cam_id": 2, "image_id": crop["image_id"], "split": "query"}
    assert mapped == expected


def test_train_crop_without_attributes(write_crop):
    assert "attributes" not in make_mapper()(write_crop())


def test_channel_order(write_crop):
    crop = write_crop()
    rgb = make_mapper(False)(crop)["image"]
    bgr = make_mapper(False, INPUT__FORMAT="BGR")(crop)["image"]
    assert torch.equal(rgb, bgr.flip(0)) and not torch.equal(rgb, bgr)


def test_augmentation_is_the_same_in_both_channel_orders(write_crop):
    """The fill of erasing included: it is the colour that follows the order."""
    crop = {**write_crop(), DRAW_KEY: 3}
    settings = {"INPUT__REID__ERASING__PROBABILITY": 1.0}
    mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    rgb = make_mapper(MODEL__PIXEL_MEAN=mean, MODEL__PIXEL_STD=std, **settings)
    bgr = make_mapper(
        INPUT__FORMAT="BGR", MODEL__PIXEL_MEAN=mean[::-1], MODEL__PIXEL_STD=std[::-1], **settings
    )
    assert torch.equal(rgb(crop)["image"], bgr(crop)["image"].flip(0))


def test_same_draw_gives_the_same_sample_whatever_came_before(write_crop):
    crop = write_crop()
    mapper = make_mapper()
    np.random.seed(5)
    first = [mapper({**crop, DRAW_KEY: draw})["image"] for draw in range(12)]
    np.random.seed(99)
    again = [make_mapper()({**crop, DRAW_KEY: d})["image"] for d in reversed(range(12))][::-1]
    for one, two in zip(first, again, strict=True):
        assert torch.equal(one, two)
    assert len({image.numpy().tobytes() for image in first}) == 12
    other = make_mapper(SEED=1)({**crop, DRAW_KEY: 0})["image"]
    assert not torch.equal(other, first[0])


def test_mapping_leaves_the_callers_generators_and_dict_alone(write_crop):
    crop = {**write_crop(attributes=[1]), DRAW_KEY: 4}
    copied = {**crop, "attributes": [1]}
    np.random.seed(5)
    expected = np.random.rand()
    np.random.seed(5)
    make_mapper()(crop)
    assert np.random.rand() == expected
    assert crop == copied


def test_flip_is_seen(write_crop):
    settings = {"INPUT__REID__PADDING": 0, "INPUT__REID__ERASING__PROBABILITY": 0.0}
    crop = write_crop()
    mapper = make_mapper(**settings)
    kinds = set()
    plain = make_mapper(False)(crop)["image"]
    for draw in range(12):
        image = mapper({**crop, DRAW_KEY: draw})["image"]
        assert torch.equal(image, plain) or torch.equal(image, plain.flip(2))
        kinds.add(torch.equal(image, plain))
    assert kinds == {True, False}


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK"])
def test_other_kinds_of_image_become_three_channels(mode, write_crop):
    name = "0001_c1.tif" if mode == "CMYK" else "0001_c1.png"
    crop = write_crop(mode=mode, name=name)
    image = make_mapper(False)(crop)["image"]
    assert (image.shape, image.dtype) == ((3, 64, 32), torch.uint8)
    if mode in ("L", "1", "LA"):
        assert torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])
    else:
        original = make_mapper(False)(write_crop(name="plain.png"))["image"]
        assert (image.float() - original.float()).abs().mean() < 12


def test_turned_photos_are_turned_upright(tmp_path, write_crop):
    """Orientation 6 of EXIF: the camera was turned, the top lies at the right."""
    upright = draw_person(size=(64, 32))
    crop = write_crop(name="turned.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(upright)).save(tmp_path / "turned.png", exif=exif)
    image = make_mapper(False)(crop)["image"]
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), upright)


def _remove(path):
    path.unlink()


def _make_text(path):
    path.write_text("not an image")


def _truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize("name", ["broken.jpg", "broken.png"])
@pytest.mark.parametrize("damage", [_remove, _make_text, _truncate, _empty])
@pytest.mark.parametrize("is_train", [True, False])
def test_missing_or_broken_image_names_the_file(damage, is_train, name, write_crop, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 32, 3), dtype=np.uint8)
    crop = write_crop(noise, name=name)
    damage(tmp_path / name)
    with pytest.raises(OSError, match=rf"{name}.*(missing or broken|not a picture|damaged|empty)"):
        make_mapper(is_train)(crop)


def test_a_header_of_an_absurd_size_names_the_file(write_crop, tmp_path):
    """Pillow has an error of its own for it, which is no OSError."""
    crop = write_crop(name="broken.bmp")
    content = bytearray((tmp_path / "broken.bmp").read_bytes())
    content[18:26] = (60_000).to_bytes(4, "little") * 2
    (tmp_path / "broken.bmp").write_bytes(content)
    with pytest.raises(OSError, match=r"broken\.bmp.*pixels; expected at most 100,000,000"):
        make_mapper()(crop)


def test_unknown_format_is_refused():
    with pytest.raises(ValueError, match=r"INPUT\.FORMAT is 'L'"):
        make_mapper(INPUT__FORMAT="L")


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_a_colour_under_full_transparency_is_white(mode, tmp_path):
    """Training saw the hidden red, a gallery white."""
    image = Image.new(mode, (8, 4), (200, 0, 0, 0) if mode == "RGBA" else 0)
    if mode == "P":
        image.putpalette([200, 0, 0])
    image.save(tmp_path / "a.png", **({"transparency": 0} if mode == "P" else {}))
    mapped = make_mapper(False)({"file_name": str(tmp_path / "a.png"), "person_id": 0})
    assert (mapped["image"] == 255).all()


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_a_thermal_crop_of_16_bits_is_scaled_as_in_a_gallery(suffix, tmp_path):
    """Training saw 255 everywhere."""
    values = np.repeat(np.array([[20000], [40000]], np.uint16), 8, axis=1)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(values.repeat(4, axis=0)).save(path)
    for entry in ({}, {"bbox": (0, 0, 8, 8)}):
        mapped = make_mapper(False)({"file_name": str(path), "person_id": 0, **entry})
        assert (mapped["image"].amin(), mapped["image"].amax()) == (78, 156)
