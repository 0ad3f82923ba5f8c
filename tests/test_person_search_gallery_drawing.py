import numpy as np
import pytest
from PIL import Image

from person_search.gallery import Match, Ranking, draw_rankings
from person_search.gallery.drawing import (
    CROP_SIZE,
    MATCH_COLOR,
    OUTSIDE,
    QUERY_COLOR,
    RIGHT_COLOR,
    WRONG_COLOR,
    crop_around,
)


@pytest.fixture
def frame(tmp_path):
    pixels = np.zeros((120, 200, 3), np.uint8)
    pixels[20:100, 60:90] = (250, 0, 250)
    path = tmp_path / "frame.png"
    Image.fromarray(pixels).save(path)
    return str(path)


def _ranking(frame, is_right=None, count=2):
    box = (60.0, 20.0, 90.0, 100.0)
    return Ranking(frame, box, [Match(frame, box, 0.9, 0.8)] * count, is_right)


def _has(sheet, color):
    return (np.asarray(sheet) == color).all(axis=2).any()


def test_colors_say_who_is_asked_for_who_is_right_and_who_is_not(frame):
    sheet = draw_rankings([_ranking(frame, [True, False])], "title")
    assert _has(sheet, QUERY_COLOR) and _has(sheet, RIGHT_COLOR) and _has(sheet, WRONG_COLOR)
    assert not _has(sheet, MATCH_COLOR)


def test_without_the_truth_matches_are_neither_green_nor_red(frame):
    sheet = draw_rankings([_ranking(frame)])
    assert _has(sheet, MATCH_COLOR)
    assert not _has(sheet, RIGHT_COLOR) and not _has(sheet, WRONG_COLOR)


def test_rows_may_differ_in_length_and_hold_no_match(frame):
    one, three = (
        draw_rankings([_ranking(frame, count=0)]),
        draw_rankings([_ranking(frame, count=3)]),
    )
    both = draw_rankings([_ranking(frame, count=0), _ranking(frame, count=3)])
    assert both.width == three.width > one.width
    assert both.height > three.height


def test_a_crop_shows_the_box_in_its_middle_with_a_margin(frame):
    crop = np.asarray(crop_around(Image.open(frame), (60.0, 20.0, 90.0, 100.0), CROP_SIZE))
    assert crop.shape == (CROP_SIZE[1], CROP_SIZE[0], 3)
    assert (crop[CROP_SIZE[1] // 2, CROP_SIZE[0] // 2] == (250, 0, 250)).all()
    assert (crop[2, CROP_SIZE[0] // 2] == 0).all()


def test_what_lies_outside_the_frame_is_plain():
    frame = Image.fromarray(np.full((50, 50, 3), 90, np.uint8))
    crop = np.asarray(crop_around(frame, (0.0, 0.0, 10.0, 30.0), (30, 60)))
    assert (crop[30, 25] == 90).all()
    assert (crop[0, 0] == OUTSIDE).all()


def test_no_ranking_and_no_file_are_errors(tmp_path):
    with pytest.raises(ValueError, match="no rankings"):
        draw_rankings([])
    missing = str(tmp_path / "gone.jpg")
    with pytest.raises(OSError, match=r"gone\.jpg"):
        draw_rankings([_ranking(missing)])
