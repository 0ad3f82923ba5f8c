import dataclasses

import cv2
import numpy as np
import pytest

from person_search.synthetic.canvas import Canvas, Light, Sprite, shrink
from person_search.synthetic.palette import Stream, make_rng
from person_search.synthetic.people.figure import paint_person
from person_search.synthetic.people.identity import make_identity
from person_search.synthetic.people.pose import Pose, View, build_skeleton, sample_pose
from person_search.synthetic.places.objects import OBJECTS_OF_SCENE, paint_object
from person_search.synthetic.places.paste import cast_shadow, clip_box, make_shadow, paste

EVEN = Light(0.0, 0.0)
MAGENTA = (250, 0, 250)


def standing(yaw):
    return Pose(yaw, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@pytest.fixture
def plain():
    return dataclasses.replace(
        make_identity(1, 0, 0.0, 0),
        age_group="adult", head_size=1.0, hair_style="bald", hat="none", has_glasses=False,
        bag="none", upper_type="t-shirt", sleeve_length="short", upper_pattern="plain",
        upper_colour=(150, 150, 150), lower_type="trousers", lower_length="long",
        lower_pattern="plain", lower_colour=(40, 40, 90),
    )  # fmt: skip


def count(sprite, colour):
    bgr = sprite.bgra[:, :, :3].astype(int)
    near = np.abs(bgr - np.array(colour[::-1])).max(axis=2) < 70
    return int(np.count_nonzero(near & (sprite.bgra[:, :, 3] > 200)))


@pytest.mark.parametrize("size", [20, 40, 63, 64, 100, 250])
def test_a_standing_person_has_the_wanted_height(plain, size):
    sprite = paint_person(plain, standing(90), size, EVEN)
    # Seen from the side the camera's tilt moves nothing; the soft border adds a pixel at each end.
    assert sprite.bgra.shape[0] == pytest.approx(size, abs=0.04 * size + 2)
    assert -0.04 * size - 2 < sprite.top + sprite.bgra.shape[0] < 0.04 * size + 2
    assert 0.1 * size < sprite.bgra.shape[1] < 0.5 * size


def test_the_sprite_is_cut_tight(plain):
    alpha = paint_person(plain, standing(0), 120, EVEN).bgra[:, :, 3]
    for border in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]):
        assert border.max() > 40
    _, _, w, h = cv2.boundingRect((alpha > 127).astype(np.uint8))
    assert alpha.shape[0] - h <= 2
    assert alpha.shape[1] - w <= 2


def test_a_logo_shows_in_front_only(plain):
    person = dataclasses.replace(plain, upper_pattern="logo", upper_pattern_colour=MAGENTA)
    seen = {
        yaw: count(paint_person(person, standing(yaw), 200, EVEN), MAGENTA) for yaw in (0, 45, 180)
    }
    assert seen[0] > seen[45] > 50
    assert seen[180] == 0


@pytest.mark.parametrize("pattern", ["stripes", "checks", "dots", "block"])
def test_other_patterns_show_from_every_side(plain, pattern):
    person = dataclasses.replace(plain, upper_pattern=pattern, upper_pattern_colour=MAGENTA)
    for yaw in range(0, 360, 45):
        assert count(paint_person(person, standing(yaw), 200, EVEN), MAGENTA) > 40, yaw


def test_a_backpack_fills_the_back_and_leaves_straps_in_front(plain):
    person = dataclasses.replace(plain, bag="backpack", bag_colour=MAGENTA)
    front, back = (
        count(paint_person(person, standing(yaw), 200, EVEN), MAGENTA) for yaw in (0, 180)
    )
    assert back > 4 * front > 0


@pytest.mark.parametrize("bag", ["shoulder bag", "handbag"])
def test_one_sided_bags_are_nearer_on_their_own_side(plain, bag):
    person = dataclasses.replace(plain, bag=bag, bag_colour=MAGENTA)
    # The left side faces the viewer at yaw 270 (walking left), the right side at 90.
    left, right = (
        count(paint_person(person, standing(yaw), 200, EVEN), MAGENTA) for yaw in (270, 90)
    )
    assert left > right if bag == "shoulder bag" else right > left


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_the_side_towards_the_light_is_brighter(plain, side):
    sprite = paint_person(plain, standing(180), 200, Light(side, 1.0))
    rows = sprite.bgra[60:100, :, 2].astype(float)
    alpha = sprite.bgra[60:100, :, 3] > 250
    middle = -sprite.left
    left, right = rows[:, :middle][alpha[:, :middle]], rows[:, middle:][alpha[:, middle:]]
    assert (right.mean() - left.mean()) * side > 8


def test_the_skeleton_stands_on_the_ground_in_every_phase(plain):
    for phase in range(0, 360, 15):
        pose = dataclasses.replace(standing(30), phase=float(phase), stride=25.0)
        s = build_skeleton(plain, pose)
        soles = [p[1] + s.lift for p in (*s.ankles, *s.toes)]
        # The lower sole touches: an ankle is 0.04 above it, a toe 0.03.
        assert 0.03 - 1e-9 <= min(soles) <= 0.04 + 1e-9
        assert max(soles) < 0.35


def test_the_view_turns_as_documented():
    assert View(0).project((0.1, 0.5, 0.0)) == pytest.approx((0.1, 0.5))
    assert View(90).project((0.0, 0.5, 0.2)) == pytest.approx((0.2, 0.5))
    assert View(180).depth((0.0, 0.0, 1.0)) == pytest.approx(-1.0)
    assert View(90).half_width(3.0, 1.0) == pytest.approx(1.0)
    assert View(270).facing_angle(1.0, 1.0) == pytest.approx(90.0)  # the left side


def test_every_kind_of_pose_and_person_can_be_painted():
    for k in range(60):
        rng = make_rng(3, Stream.PREVIEW, k)
        sprite = paint_person(make_identity(3, k, 0.3, 0), sample_pose(rng), 60, Light(0.5, 0.5))
        assert (sprite.bgra[:, :, :3] <= sprite.bgra[:, :, 3:]).all()
        assert 50 < sprite.bgra.shape[0] < 85


def test_every_object_can_be_painted_at_every_size():
    for kind in {k for kinds in OBJECTS_OF_SCENE.values() for k in kinds}:
        for size in (20.0, 150.0):
            sprite = paint_object(kind, size, Light(-0.4, 0.8), make_rng(1, Stream.PREVIEW))
            h, w = sprite.bgra.shape[:2]
            assert 0.3 * size < h < 2.6 * size
            assert w < 3 * size
            assert sprite.bgra[:, :, 3].max() == 255


@pytest.mark.parametrize("times", [2, 4])
def test_shrink_equals_exact_block_means(times):
    image = make_rng(1, Stream.PREVIEW, times).integers(0, 256, (48, 64, 4), dtype=np.uint8)
    sums = image.astype(np.int64).reshape(48 // times, times, 64 // times, times, 4).sum((1, 3))
    difference = np.abs(shrink(image, times).astype(float) - sums / times**2)
    assert difference.max() <= 0.5


def test_paste_blends_as_the_formula_says_and_cuts_at_the_frame():
    rng = make_rng(1, Stream.PREVIEW)
    image = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    alpha = rng.integers(0, 256, (16, 16, 1), dtype=np.uint8)
    colour = (rng.integers(0, 256, (16, 16, 3)) * alpha // 255).astype(np.uint8)
    sprite = Sprite(np.concatenate([colour, alpha], axis=2), -8, -15)
    result = image.copy()
    paste(result, sprite, 2, 10)  # columns -6..10, rows -5..11
    expected = image.astype(float)
    over, cover = colour[5:, 6:].astype(float), alpha[5:, 6:] / 255
    expected[:11, :10] = over + expected[:11, :10] * (1 - cover)
    assert np.abs(result - expected).max() <= 0.51
    before = result.copy()
    paste(result, sprite, 500, 10)
    assert np.array_equal(result, before)


def test_clip_box():
    assert clip_box((-5, 3, 40, 9), 30, 20) == (0, 3, 30, 9)
    x1, _, x2, _ = clip_box((35, 3, 40, 9), 30, 20)
    assert x2 <= x1


def test_shadows_only_darken_and_fall_away_from_the_light():
    image = np.full((100, 200, 3), 200, np.uint8)
    size = (image.shape[1], image.shape[0])
    cast_shadow(image, make_shadow(size, 100, 60, 40.0, 6.0, Light(-1.0, 1.0)))
    assert image.max() <= 200
    dark = np.argwhere(image[:, :, 0] < 160)
    assert dark[:, 1].max() > 130  # light from the left, shadow to the right
    assert dark[:, 1].min() > 90
    cast_shadow(
        image, make_shadow(size, 5000, 60, 40.0, 6.0, EVEN)
    )  # outside the frame: nothing to do


def test_an_empty_canvas_gives_an_invisible_sprite():
    assert Canvas(50.0, EVEN).sprite().bgra.max() == 0
