"""Boxes and times as people type them, and what becomes of mistakes."""

import inspect

import pytest

from demo.inputs import parse_box, parse_filter, parse_optional_time
from demo.mistakes import told
from person_search.gallery.search_options import ALL_FRAMES, FrameFilter


@pytest.mark.parametrize("text", ["10, 20, 40, 90", "(10 20 40 90)", "[10,20; 40 90]"])
def test_typed_boxes(text):
    assert parse_box(text) == [10, 20, 40, 90]


@pytest.mark.parametrize("text", ["", "left, top", "1, 2, 3", "1 2 3 4 5"])
def test_what_is_no_box(text):
    with pytest.raises(ValueError, match="expected four numbers"):
        parse_box(text)


@pytest.mark.parametrize("empty", [None, "", "  "])
def test_a_time_left_empty_is_none(empty):
    assert parse_optional_time(empty) is None


def test_a_time_may_be_typed_or_a_number():
    assert parse_optional_time(90) == parse_optional_time(" 0:01:30 ") == 90.0
    day = parse_optional_time("2025-06-02"), parse_optional_time("2025-06-02", end=True)
    assert 86_399 < day[1] - day[0] < 86_400
    with pytest.raises(ValueError, match="'soon' is no time"):
        parse_optional_time("soon")


@pytest.mark.parametrize("empty", [(None, None, None), ([], "", " ")])
def test_filters_left_empty_keep_all_frames(empty):
    assert parse_filter(*empty) == ALL_FRAMES


def test_filters_as_typed():
    filled = parse_filter(("hall",), "60", 90)
    assert filled == FrameFilter(cameras=["hall"], since=60.0, until=90.0)
    assert parse_filter([], "2025-06-02", "2025-06-02").until > 1.7e9, "to the end of the day"
    with pytest.raises(ValueError, match="ends before it begins"):
        parse_filter([], "0:02:00", "60")


def test_mistakes_are_handed_on_and_failures_are_not():
    def divide(first: int, second: int) -> float:
        if first < 0:
            raise ValueError("below zero")
        return first / second

    guarded = told(lambda error: f"told: {error}")(divide)
    assert guarded(6, 3) == 2 and guarded(-1, 3) == "told: below zero"
    with pytest.raises(ZeroDivisionError):
        guarded(1, 0)
    assert list(inspect.signature(guarded).parameters) == ["first", "second"]
