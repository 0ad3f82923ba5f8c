from datetime import datetime

import pytest

from person_search.footage.time_text import (
    find_time,
    format_span,
    format_time,
    parse_time,
    read_name_pattern,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("90.5", 90.5),
        ("0:01:30", 90.0),
        ("27:00:00.25", 97200.25),
        ("1970-01-01T00:01:00Z", 60.0),
        ("2024-05-31T14:00:00+02:00", 1717156800.0),  # 12:00 UTC
        (" 2024-05-31 12:00:00+00:00 ", 1717156800.0),
    ],
)
def test_times_are_read(text, seconds):
    assert parse_time(text) == seconds


def test_a_date_without_offset_is_local_and_may_mean_its_last_moment():
    local = datetime(2024, 5, 31).timestamp()
    assert parse_time("2024-05-31") == local
    assert local + 86399 < parse_time("2024-05-31", end=True) < local + 86400
    assert parse_time("2024-05-31T00:00", end=True) == local


@pytest.mark.parametrize(
    "text", ["", "soon", "1:30", "0:60:00", "-5", "2024-13-01", "2024-05-31T25:00", "31.5.2024"]
)
def test_anything_else_is_refused_with_what_was_expected(text):
    with pytest.raises(ValueError, match=r"no time.*expected seconds"):
        parse_time(text)


def test_times_are_written():
    assert format_time(None) == "-"
    assert format_time(0.0) == "0:00:00.0"
    assert format_time(3599.96) == "1:00:00.0"
    moment = datetime(2024, 5, 31, 14, 0, 5)
    assert format_time(moment.timestamp()) == "2024-05-31 14:00:05"
    assert parse_time(format_time(moment.timestamp())) == moment.timestamp()


@pytest.mark.parametrize(
    "name",
    [
        "2024-05-31_14-00-05", "VID_20240531_140005", "ch01_20240531140005", "2024.05.31 14.00.05",
        "gate-2024-05-31T14-00-05-0001", "2024-13-01_14-00-05 copy of 20240531-140005",
    ],
)  # fmt: skip
def test_the_time_in_a_name_is_local(name):
    assert find_time(name) == datetime(2024, 5, 31, 14, 0, 5).timestamp()


def test_a_time_in_a_name_may_be_utc_and_have_fractions():
    assert find_time("20240531T120000Z") == 1717156800.0
    assert find_time("a_20240531_120000.25Z_b") == 1717156800.25


@pytest.mark.parametrize(
    "name",
    ["", "clip 3", "2024-05-31", "2024-13-31_14-00-05", "120240531140005", "202405311400051"],
)
def test_a_name_without_a_time_has_none(name):
    assert find_time(name) is None


@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("cam_20250602T100000+0200", "2025-06-02T10:00:00+02:00"),
        ("2025-06-02T10-00-00+02-00", "2025-06-02T10:00:00+02:00"),
        ("2025-06-02T10:00:00-05:00", "2025-06-02T10:00:00-05:00"),
        ("2025-06-02T10:00:00.5Z", "2025-06-02T10:00:00.5+00:00"),
        ("2025-06-02_02-30-00 PM", "2025-06-02T14:30:00"),
        ("20250602_123000AM", "2025-06-02T00:30:00"),
        ("Screenshot 2025-06-02 at 2.30.00\u202fPM", "2025-06-02T14:30:00"),
        ("WhatsApp Image 2025-06-02 at 14.30.00", "2025-06-02T14:30:00"),
        ("20250602_100000-0001", "2025-06-02T10:00:00"),
        ("12340506123456 20250602100000", "2025-06-02T10:00:00"),
    ],
)
def test_offsets_and_halves_of_the_day_in_a_name(name, moment):
    """Both were ignored: two in the afternoon was two in the morning."""
    assert find_time(name) == datetime.fromisoformat(moment).timestamp()


@pytest.mark.parametrize("name", ["19700101000000", "2025-06-02 2.30.00", "12340506123456"])
def test_clocks_that_were_never_set_and_serial_numbers_are_no_times(name):
    """They were before 1970, and shown as counted from the start of a video."""
    assert find_time(name) is None


def test_milliseconds_and_microseconds_since_1970():
    find = read_name_pattern("%s")
    names = ("/a/c1_1748865600", "/a/c1_1748865600500", "/a/c1_1748865600500000")
    assert [find(name) for name in names] == [1748865600, 1748865600.5, 1748865600.5]


@pytest.mark.parametrize("pattern", ["%Y%m%d_%I%M%S", "%Y%m%d_%H%M%S_%p"])
def test_half_a_sign_of_twelve_hours_is_refused(pattern):
    """Afternoons were mornings."""
    with pytest.raises(ValueError, match="has %I without %p, or %p without %I"):
        read_name_pattern(pattern)


def test_a_pattern_gives_no_time_before_1971():
    assert read_name_pattern("%y%m%d")("/a/690602") is None


def test_spans_of_frames_with_and_without_a_date():
    """Both kinds mixed read as "0:00:00.0 to 2025-06-03"."""
    date = datetime(2025, 6, 3, 10).timestamp()
    assert format_span(None, None) == "unknown"
    assert format_span(0.0, 90.0) == "0:00:00.0 to 0:01:30.0 from the start of a video"
    assert format_span(date, date + 60) == "2025-06-03 10:00:00 to 2025-06-03 10:01:00"
    assert format_span(5.0, date).startswith("up to 2025-06-03 10:00:00; some frames have no date")
