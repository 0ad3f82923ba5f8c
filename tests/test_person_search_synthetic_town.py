"""The drawn town: who walks where and when, and that the truth is what the pixels show."""

import dataclasses
import itertools
import math

import cv2
import numpy as np
import pytest
from helpers_drawing import plain_people

from person_search.synthetic.canvas import Light, Sprite
from person_search.synthetic.people.identity import visible_signature
from person_search.synthetic.town import camera_view
from person_search.synthetic.town.cast import look_in_words, make_cast, make_circles
from person_search.synthetic.town.ground import Ground
from person_search.synthetic.town.spec import TOWN_PRESETS, TownSpec
from person_search.synthetic.town.sprites import WalkCycles, resize_sprite, tone_sprite
from person_search.synthetic.town.town import Town
from person_search.synthetic.town.video_file import write_video
from person_search.synthetic.town.walks import (
    STILL_BELOW,
    Obstacle,
    Stop,
    make_walk,
    turn_to_each_other,
)

TINY = TOWN_PRESETS["tiny-town"]
BUSY = dataclasses.replace(
    TINY, identities=8, seconds=40, hiding=1.0, noise=0.0, blur=0.0,
    cameras=tuple(dataclasses.replace(camera, has_kiosk=True) for camera in TINY.cameras),
)  # fmt: skip


@pytest.fixture(scope="module")
def town():
    return Town(BUSY)


@pytest.fixture(scope="module")
def frames(town):
    """Every 4th frame of a busy time, without shadows, of people who are plain rectangles."""
    with pytest.MonkeyPatch.context() as patch, plain_people():
        patch.setattr(camera_view, "cast_shadow", lambda *_: None)
        views = town._views
        return [
            (clip, views[clip.camera], number, town.draw(index, number))
            for index, clip in enumerate(town.clips)
            for number in range(0, clip.frames, 4)
        ]


# The truth and the pixels


def changed_pixels(view, frame):
    return (frame.image != view.scene.background).any(axis=2)


def is_alone(clip, number):
    """Return whether one person is there, and nobody beside or at the border."""
    frame = clip.first + number
    return sum(stay.walk.first <= frame < stay.walk.end for stay in clip.stays) == 1


def test_a_box_is_where_the_person_is_painted(frames):
    checked = 0
    for clip, view, number, frame in frames:
        alone = is_alone(clip, number) and frame.people
        if alone and frame.people[0].visible == 1.0:
            got = cv2.boundingRect(changed_pixels(view, frame).astype(np.uint8))
            # A coat of the background's very colour may be a row short; none is here.
            assert got == frame.people[0].box
            checked += 1
    assert checked >= 6


def test_nothing_changes_outside_the_boxes(frames):
    for _, view, _, frame in frames:
        outside = changed_pixels(view, frame)
        for x, y, w, h in (person.box for person in frame.people):
            outside[y : y + h, x : x + w] = False
        # Slivers below the least size at the border have no box.
        assert np.count_nonzero(outside[:, 4:-4]) == 0


def test_visibility_is_the_share_of_pixels_that_can_be_seen(frames):
    hidden, differences = 0, []
    for clip, view, number, frame in frames:
        inside = all(
            p.box[0] > 0 and p.box[0] + p.box[2] < 320 and p.box[1] + p.box[3] < 180
            for p in frame.people
        )
        if is_alone(clip, number) and frame.people and inside:
            (person,) = frame.people
            seen = np.count_nonzero(changed_pixels(view, frame)) / (person.box[2] * person.box[3])
            differences.append(abs(seen - person.visible))
            hidden += person.visible < 0.05
    assert hidden >= 1
    assert max(differences) < 0.12 and np.mean(differences) < 0.02


def test_the_nearer_of_two_hides_the_other(frames):
    pairs = 0
    for _, _, _, frame in frames:
        if len(frame.people) == 2:
            one, other = sorted(frame.people, key=lambda p: p.box[1] + p.box[3])
            columns = min(one.box[0] + one.box[2], other.box[0] + other.box[2]) - max(
                one.box[0], other.box[0]
            )
            if columns > 4 and other.visible == 1.0:
                assert one.visible < 1.0
                pairs += 1
    assert pairs >= 3


def test_identities_hold_over_cameras_and_are_those_of_the_stays(town, frames):
    cameras = {}
    for clip, _, number, frame in frames:
        moment = clip.first + number
        there = {stay.identity for stay in clip.stays if stay.walk.first <= moment < stay.walk.end}
        assert {person.identity for person in frame.people} <= there
        for person in frame.people:
            cameras.setdefault(person.identity, set()).add(clip.camera)
    assert set(cameras) == set(range(8))
    assert sum(len(seen) == 2 for seen in cameras.values()) >= 2


def test_a_frame_does_not_depend_on_what_was_drawn_before():
    with plain_people():
        first, again = Town(TINY), Town(TINY)
        one = list(itertools.islice(first.draw_clip(2), 31))[30]
        same, other = again.draw(2, 30), again.draw(2, 31)
        elsewhere = Town(dataclasses.replace(TINY, seed=12)).draw(0, 0)
    assert one.people == same.people and one.image.tobytes() == same.image.tobytes()
    assert other.image.tobytes() != same.image.tobytes() != elsewhere.image.tobytes()


# The plan


def test_nobody_is_at_two_places_or_faster_than_people_walk(town):
    for identity in range(BUSY.identities):
        stays = [stay for stay in town.stays if stay.identity == identity]
        assert stays
        for before, after in itertools.pairwise(stays):
            places = [BUSY.cameras[stay.camera].place for stay in (before, after)]
            seconds = (after.walk.first - before.walk.end) / BUSY.rate
            assert seconds >= math.dist(*places) / 1.6
        for stay in stays:
            # Twice the pace of an adult is what a way around an obstacle takes at most.
            assert stay.walk.speeds.max() < 3.0
            assert stay.walk.first >= 0 and stay.walk.end <= BUSY.frames


def test_company_is_mutual_and_of_one_circle(town):
    circle_of = {who: circle for circle in town.circles for who in circle}
    for stay in town.stays:
        assert set(stay.company) < set(circle_of[stay.identity])
        for other in stay.company:
            assert any(
                s.identity == other and s.camera == stay.camera and stay.identity in s.company
                and s.walk.first < stay.walk.end and stay.walk.first < s.walk.end
                for s in town.stays
            )  # fmt: skip
    assert sorted(who for circle in town.circles for who in circle) == list(range(8))


def test_clips_hold_every_stay_once_and_do_not_overlap(town):
    for camera in range(len(BUSY.cameras)):
        clips = [clip for clip in town.clips if clip.camera == camera]
        for before, after in itertools.pairwise(clips):
            assert before.end <= after.first
        stays = [stay for clip in clips for stay in clip.stays]
        assert sorted(map(id, stays)) == sorted(id(s) for s in town.stays if s.camera == camera)
        for clip in clips:
            assert clip.first % BUSY.rate == 0
            for stay in clip.stays:
                assert clip.first <= stay.walk.first and stay.walk.end <= clip.end


def test_the_lead_meets_her_friends_at_the_first_camera():
    cast, circles = make_cast(TINY), make_circles(TINY)
    assert look_in_words(cast[0]).startswith("yellow coat, navy trousers")
    assert [p.upper_name == "yellow" for p in cast] == [True] + [False] * 4
    assert circles[0][0] == 0 and len(circles[0]) >= 2
    stays = [stay for stay in Town(TINY).stays if stay.identity == 0]
    assert stays[0].camera == 0 and stays[0].company == circles[0][1:]


def test_some_of_the_town_look_nearly_alike():
    cast = make_cast(TOWN_PRESETS["drawn-town"])
    signatures = [visible_signature(person) for person in cast]
    alike = [
        sum(a != b for a, b in zip(one, other, strict=True))
        for one, other in itertools.combinations(signatures, 2)
    ]
    assert 3 <= sum(0 < count <= 3 for count in alike) <= 20
    assert 0 not in alike


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": 0}, "rate must be above 0"),
        ({"identities": 1}, "at least 2 identities"),
        ({"width": 321}, "must be even"),
        ({"hiding": 1.5}, "within 0..1"),
        ({"visits": (3, 2)}, "two rising"),
        ({"seed": -1}, "seed must not be negative"),
    ],
)
def test_a_town_that_cannot_be_drawn_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **change)


def test_scale_is_a_share_of_the_people():
    assert TINY.scaled(1.0) is TINY
    small = TOWN_PRESETS["drawn-town"].scaled(0.2)
    assert (small.identities, small.seconds) == (10, 1800)
    with pytest.raises(ValueError, match=r"between 0\.05 and 5"):
        TINY.scaled(0.01)


# Walking


def test_a_walk_goes_by_its_stops_and_waits_there():
    stops = [Stop((0.0, 10.0)), Stop((4.0, 10.0), 30), Stop((4.0, 14.0))]
    walk = make_walk(stops, speed=1.0, rate=10)
    assert len(walk.spots) == 40 + 30 + 40 + 1
    assert np.allclose(walk.spots[[0, 55, -1]], [[0, 10], [4, 10], [4, 14]], atol=0.2)
    assert (walk.speeds[45:66] < STILL_BELOW).all()
    assert np.allclose(walk.speeds[10:35], 1.0)
    assert walk.gone[-1] == pytest.approx(8.0, abs=0.5)
    # To the right, then, after the pause in which the way to come is not known, away.
    assert math.degrees(math.atan2(*walk.facing[60])) == pytest.approx(90, abs=1)
    assert np.allclose(walk.facing[90] / np.hypot(*walk.facing[90]), [0, 1], atol=0.01)


def test_a_walk_leads_around_things():
    thing = Obstacle((5.0, 10.2), 1.0)
    walk = make_walk([Stop((0.0, 10.0)), Stop((10.0, 10.0))], 1.3, 10, [thing])
    gaps = np.hypot(*(walk.spots - np.array(thing.spot)).T)
    assert gaps.min() > 0.9
    straight = make_walk([Stop((0.0, 10.0)), Stop((10.0, 10.0))], 1.3, 10)
    assert np.hypot(*(straight.spots - np.array(thing.spot)).T).min() < 0.25


def test_who_stands_with_others_turns_to_them():
    stay = [Stop((0.0, 9.0)), Stop((0.0, 10.0), 30), Stop((0.0, 9.0))]
    beside = [Stop((1.0, 9.0)), Stop((1.0, 10.0), 30), Stop((1.0, 9.0))]
    one, other = turn_to_each_other([make_walk(s, 1.0, 10) for s in (stay, beside)])
    assert np.allclose(one.facing[25], [1, 0]) and np.allclose(other.facing[25], [-1, 0])
    assert one.facing[5][1] > 0


def test_the_ground_is_seen_in_perspective(town):
    ground = Ground(town.scenes[0].camera)
    column, row = ground.project((1.2, 9.0))
    assert ground.spot_at(column, row) == pytest.approx((1.2, 9.0))
    # Heights as the drawn world's cameras have them.
    assert 1.7 * ground.scale(9.0) == pytest.approx(ground.camera.person_height(row, 1.7))
    assert ground.away_of(1.7 * ground.scale(9.0)) == pytest.approx(9.0)
    assert [ground.yaw(*way) for way in ((0, -1), (1, 0), (0, 1), (-1, 0))] == [0, 90, 180, 270]
    assert ground.project(ground.edge_spot(-1, 9.0))[0] < 0
    assert ground.project(ground.edge_spot(1, 9.0))[0] > ground.camera.width


# Sprites and videos


def test_walk_cycles_are_painted_once(town):
    tones = np.arange(256, dtype=np.uint8).reshape(-1, 1, 1).repeat(3, axis=2)
    painted = []
    cycles = WalkCycles(town.cast, [None] * 8, Light(0.5, 0.5), tones, 8, 4)
    cycles._paint = lambda *key: (
        painted.append(key) or Sprite(np.full((key[3], 30, 4), 255, np.uint8), -15, -key[3])
    )
    for yaw, phase, height in (
        (0, 10, 60),
        (10, 20, 90),
        (-10, 350, 50),
        (0, None, 96),
        (0, 10, 40),
    ):
        assert abs(cycles.sprite(1, yaw, phase, height).bgra.shape[0] - height) <= 1
    assert painted == [(1, 0, 0, 96), (1, 0, -1, 96), (1, 0, 0, 48)]


def test_a_resized_sprite_stands_on_the_same_ground_point():
    bgra = np.zeros((80, 40, 4), np.uint8)
    bgra[10:70, 10:30] = 255
    small = resize_sprite(Sprite(bgra, -20, -80), 0.5)
    assert small.bgra.shape == (30, 10, 4)
    assert (small.left, small.top) == (-5, -35)


def test_toned_sprites_stay_within_their_alpha():
    bgra = np.full((2, 2, 4), 100, np.uint8)
    bright = np.full((256, 1, 3), 200, np.uint8)
    assert (tone_sprite(Sprite(bgra, 0, 0), bright).bgra == 100).all()


def test_a_video_is_the_same_bytes_again_and_never_empty(tmp_path):
    images = [np.full((64, 64, 3), 20 * k, np.uint8) for k in range(6)]
    paths = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    assert [write_video(path, images, 10) for path in paths] == [6, 6]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with pytest.raises(ValueError, match="no pictures"):
        write_video(tmp_path / "c.mp4", [], 10)


def test_the_presets_are_towns_of_other_names():
    for name, spec in TOWN_PRESETS.items():
        assert isinstance(spec, TownSpec) and spec.name == name
        assert len({camera.name for camera in spec.cameras}) == len(spec.cameras)
