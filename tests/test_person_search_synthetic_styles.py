import argparse
import dataclasses
import hashlib
import json

import cv2
import numpy as np
import pytest
from helpers_drawing import plain_people, write_by_two_processes

from person_search.commands import draw as command
from person_search.synthetic.market_crops import cut_crops
from person_search.synthetic.market_plan import market_world
from person_search.synthetic.market_writer import write_market1501
from person_search.synthetic.modality_sheet import style_sheet
from person_search.synthetic.output_folder import spec_record
from person_search.synthetic.palette import SKIN, Stream, make_rng
from person_search.synthetic.people.identity import sample_identity
from person_search.synthetic.people.wardrobe import WARDROBES, make_dressed, sample_dressed, tone
from person_search.synthetic.presets import ALL_PRESETS
from person_search.synthetic.style_spec import StyleSpec
from person_search.synthetic.style_world import (
    StyledWorld,
    bleed_colours,
    coarsen,
    grey_of,
    saturate,
    styled_camera,
)
from person_search.synthetic.world import World
from person_search.synthetic.world_spec import MarketSpec
from reid_heads.data.datasets.market1501 import load_market1501

TINY = ALL_PRESETS["tiny-noon"]
DOMAINS = ("drawn-noon", "drawn-dusk", "drawn-mall", "drawn-vhs")


@pytest.fixture(scope="module")
def noon(tmp_path_factory):
    with plain_people():
        return write_market1501(TINY, tmp_path_factory.mktemp("drawn") / "noon")


def files_of(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}


PLAIN = {
    ("drawn-cuhk", 0): "1a8a84ce2809ee449909f4c26a3b0160afcb00ccea1dbccac1c32754c8735d7d",
    ("drawn-prw", 899): "7c9fdb92cdc9bc98d39468d1cbfb29472e4f264e5f93ef15b900edb8e121f571",
    ("drawn-market", 1849): "64c1546b50bb1625d1f301ba613abb9bf4871f6d6bcbe11a85086fee948ffec8",
}
"""SHA-256 of people and pixels of frames drawn before there were styles and modalities."""


@pytest.mark.parametrize(
    ("name", "index"),
    # Small worlds of the other kinds are pinned in the tests of the world and of market_writer.
    [pytest.param(*key, marks=() if key[0] == "drawn-prw" else pytest.mark.slow) for key in PLAIN],
)
def test_the_plain_worlds_draw_what_they_always_did(name, index):
    spec = ALL_PRESETS[name]
    world = market_world(spec) if isinstance(spec, MarketSpec) else World(spec)
    frame = world.draw(index)
    digest = hashlib.sha256(repr(frame.people).encode() + frame.image.tobytes()).hexdigest()
    assert digest == PLAIN[name, index]


def test_records_of_plain_crops_know_nothing_of_styles():
    assert "wardrobe" in spec_record(TINY, "any")["spec"]
    assert "wardrobe" not in spec_record(ALL_PRESETS["drawn-market"], "any")["spec"]


def test_a_domain_is_a_market_set(noon):
    names = {"bounding_box_train", "bounding_box_test", "query"}
    assert {p.name for p in noon.iterdir()} == {*names, "market_attribute.mat", "drawn.json"}
    train, query = (load_market1501(noon, split) for split in ("train", "query"))
    assert {d["person_id"] for d in train} == set(range(TINY.train_identities))
    assert len(query) > 0
    record = json.loads((noon / "drawn.json").read_text())
    assert record["spec"]["scenes"] == ["plaza", "street"]


@pytest.mark.slow
def test_processes_do_not_matter(noon, tmp_path):
    other = write_by_two_processes(write_market1501, TINY, tmp_path / "set")
    ours, theirs = files_of(noon), files_of(other)
    assert ours.keys() == theirs.keys()
    for name, data in ours.items():
        skip = 128 if name.suffix == ".mat" else 0  # the time of writing
        assert data[skip:] == theirs[name][skip:], name


def test_a_second_run_does_nothing_and_another_style_is_refused(noon):
    before = {p: p.stat().st_mtime_ns for p in noon.rglob("*")}
    assert write_market1501(TINY, noon) == noon
    assert {p: p.stat().st_mtime_ns for p in noon.rglob("*")} == before
    with pytest.raises(FileExistsError, match="not empty"):
        write_market1501(dataclasses.replace(TINY, warmth=0.2), noon)


def small_world(name):
    """A domain with its own look, in frames of half the size and of few people."""
    spec = ALL_PRESETS[name]
    low, high = spec.height_range_px
    return market_world(
        dataclasses.replace(
            spec,
            width=spec.width // 2,
            height=spec.height // 2,
            median_height_px=spec.median_height_px / 2,
            height_range_px=(low / 2, high / 2),
            people_per_frame=(2, 3),
            train_frames=8,
            test_frames=4,
            train_identities=4,
            test_identities=4,
        )
    )


@pytest.mark.parametrize("name", DOMAINS)
def test_domains_draw_the_same_without_vendor_kernels(name):
    was_optimised = cv2.useOptimized()
    digests = []
    try:
        for optimised in (True, False):
            cv2.setUseOptimized(optimised)
            digests.append([c.image.tobytes() for c in cut_crops(small_world(name), 8)])
    finally:
        cv2.setUseOptimized(was_optimised)
    assert digests[0] == digests[1] != []


def test_domains_differ_in_light_colour_and_detail():
    """Each is the extreme of what it was made for, by a wide margin."""
    light, colour, detail, red = {}, {}, {}, {}
    for name in DOMAINS:
        world = small_world(name)
        by_camera = {plan.camera: plan.index for plan in world.plans}
        images = np.stack([world.draw(k).image for k in by_camera.values()]).astype(int)
        grey = images.mean(axis=3)
        light[name] = grey.mean()
        colour[name] = (images.max(axis=3) - images.min(axis=3)).mean()
        detail[name] = np.abs(np.diff(grey, axis=2)).mean()
        red[name] = images[..., 2].mean() / images[..., 0].mean()
    assert light["drawn-dusk"] < 0.6 * min(light[n] for n in DOMAINS if n != "drawn-dusk")
    assert colour["drawn-noon"] > 1.2 * max(colour["drawn-mall"], colour["drawn-vhs"])
    assert detail["drawn-vhs"] < detail["drawn-noon"]
    assert red["drawn-mall"] < 1.0 < red["drawn-dusk"] / 1.3
    assert len({ALL_PRESETS[n].seed for n in DOMAINS}) == 4


def test_people_of_a_domain_wear_its_clothes():
    summer = [make_dressed(1, k, 0.0, 0, "summer") for k in range(60)]
    winter = [make_dressed(1, k, 0.0, 0, "winter") for k in range(60)]
    assert {p.upper_type for p in summer} & {"coat"} == set()
    assert sum(p.upper_type in ("t-shirt", "tank top", "dress") for p in summer) > 25
    assert sum(p.upper_type in ("coat", "jacket", "hoodie") for p in winter) > 40
    assert all(w in WARDROBES for w in ("any", "summer", "winter"))
    rng, other = make_rng(2, Stream.WARDROBE), make_rng(2, Stream.WARDROBE)
    assert sample_dressed(rng, "any") == sample_identity(other)


def test_near_duplicates_copy_somebody_of_their_split():
    people = [make_dressed(1, k, 1.0, 10, "summer") for k in range(10, 30)]
    originals = [make_dressed(1, k, 0.0, 10, "summer") for k in range(10, 30)]
    assert people[0] == originals[0]
    for k, person in enumerate(people[1:], 1):
        assert person not in originals
        assert any((person.height_m, person.girth) == (o.height_m, o.girth) for o in originals[:k])


def test_tone_by_hand():
    person = dataclasses.replace(
        sample_identity(make_rng(3, Stream.IDENTITY)),
        upper_colour=(200, 100, 100),
        skin_colour=SKIN["tan"],
    )
    # Grey is (77*200 + 150*100 + 29*100) / 256 = 130; half as far from it is 165, 115, 115.
    assert tone(person, 0.5, (0, 255)).upper_colour == (165, 115, 115)
    # Levels 100..200: 100 + 100 * c / 255.
    assert tone(person, 1.0, (100, 200)).upper_colour == (178, 139, 139)
    assert tone(person, 0.0, (100, 200)).skin_colour == SKIN["tan"]


def test_saturation_moves_colours_from_their_grey():
    image = np.array([[[100, 100, 200], [50, 50, 50]]], np.uint8)  # BGR, red 200
    grey = int(grey_of(image)[0, 0])
    assert grey == 130
    assert saturate(image, 1.0).tolist() == image.tolist()
    assert saturate(image, 0.0)[0, 0].tolist() == [130, 130, 130]
    assert saturate(image, 1.5)[0, 0].tolist() == [85, 85, 235]
    assert saturate(image, 3.0)[0].tolist() == [[40, 40, 255], [50, 50, 50]]


def test_colours_bleed_along_rows_and_brightness_stays():
    image = np.full((8, 60, 3), 120, np.uint8)
    image[:, 20:30] = (40, 90, 220)
    bled = bleed_colours(image, 6)
    spread = (bled.max(axis=2).astype(int) - bled.min(axis=2)).max(axis=0)
    assert spread[32:36].min() > 10  # to the right of the patch
    assert spread[:10].max() <= 2
    assert np.abs(grey_of(bled).astype(int) - grey_of(image)).max() <= 4
    assert np.array_equal(bled[0], bled[7])  # nothing across rows


@pytest.mark.parametrize("shape", [(8, 12), (9, 11)])
def test_coarse_pictures_keep_size_and_mean(shape):
    image = make_rng(0, Stream.PREVIEW).integers(0, 256, (*shape, 3)).astype(np.uint8)
    coarse = coarsen(image, 2)
    assert coarse.shape == image.shape
    assert abs(coarse.mean() - image.mean()) < 8
    assert coarse.std() < 0.8 * image.std()
    flat = np.full((*shape, 3), 77, np.uint8)
    assert np.array_equal(coarsen(flat, 4), flat)


def test_cameras_take_turns_at_the_places_of_a_style():
    spec = ALL_PRESETS["drawn-vhs"]
    cameras = [styled_camera(spec, k) for k in range(spec.train_cameras)]
    assert [c.scene for c in cameras] == list(spec.scenes)
    assert [c.is_outdoors for c in cameras] == [False, False, False, True]
    low, high = spec.light_contrast
    assert all(low <= c.light.contrast <= high for c in cameras)
    assert isinstance(market_world(spec), StyledWorld)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scenes": ("moon",)}, "scenes must name"),
        ({"scenes": ()}, "scenes must name"),
        ({"wardrobe": "spring"}, "any, summer, winter"),
        ({"clothes_levels": (200, 100)}, "clothes_levels"),
        ({"picture_levels": (0, 256)}, "picture_levels"),
        ({"light_contrast": (0.5, 1.1)}, "light_contrast"),
        ({"brightness": 0.0}, "brightness"),
        ({"saturation": -0.1}, "saturation"),
        ({"chroma_bleed": 99}, "chroma_bleed"),
        ({"coarseness": 3}, "coarseness"),
        ({"box_shift": -1.0}, "box_shift"),
    ],
)
def test_styles_that_cannot_be_drawn_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **changes)


def test_the_sheet_has_a_row_for_each_style():
    other = dataclasses.replace(TINY, seed=9, saturation=0.0, warmth=0.0, colour_cast=0.0)
    sheet = style_sheet([TINY, other], columns=4)
    assert sheet.shape == (4 + 2 * 132, 4 + 4 * 68, 3)
    row = sheet[4 + 132 :, 4:].astype(int)
    assert (row.max(axis=2) - row.min(axis=2)).mean() < 12
    first = sheet[4:132, 4:].astype(int)
    assert (first.max(axis=2) - first.min(axis=2)).mean() > 20


@plain_people()
def test_the_command_draws_a_domain_and_its_preview(tmp_path, monkeypatch):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    for name in DOMAINS:
        assert isinstance(command.PRESETS[name], StyleSpec)
        assert command.WRITERS[name] is write_market1501
    tiny = dataclasses.replace(TINY, name="drawn-noon")
    monkeypatch.setitem(command.PRESETS, "drawn-noon", tiny)
    words = ["--set", "drawn-noon", "--root", str(tmp_path), "--processes", "1"]
    assert command.run(parser.parse_args(words)) == 0
    assert (tmp_path / "drawn-noon/query").is_dir()
    assert command.run(parser.parse_args([*words, "--preview", "1"])) == 0
    assert cv2.imread(str(tmp_path / "drawn-noon-crops.png")) is not None
