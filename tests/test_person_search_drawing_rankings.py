import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from person_search.drawing.people import PERSON_COLOR, SELECTED_COLOR
from person_search.drawing.rankings import (
    COLUMNS,
    CROP_SIZE,
    MATCH_COLOR,
    OUTSIDE,
    QUERY_COLOR,
    RIGHT_COLOR,
    WRONG_COLOR,
    Ranking,
    crop_around,
    draw_people,
    draw_rankings,
    shorten,
)
from person_search.footage.images import ImageError
from person_search.people import Match, People, paired_intersection


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


BOX = (60.0, 20.0, 90.0, 100.0)


def _texts(monkeypatch, *arguments, **options):
    """Draw a sheet and return all that was written on it."""
    written = []
    write = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda self, xy, text, *a, **k: written.append(text) or write(self, xy, text, *a, **k),
    )
    draw_rankings(*arguments, **options)
    monkeypatch.undo()
    return written


@pytest.mark.parametrize("count", [1, COLUMNS, COLUMNS + 1, 3 * COLUMNS])
def test_many_matches_go_into_further_rows(frame, count):
    sheet = draw_rankings([_ranking(frame, count=count)])
    one = draw_rankings([_ranking(frame, count=1)])
    pair = draw_rankings([_ranking(frame, count=2)])
    column = pair.width - one.width
    assert sheet.width == one.width + column * (min(count, COLUMNS) - 1)
    rows = -(-count // COLUMNS)
    assert (rows - 1) * one.height * 0.9 < sheet.height <= rows * one.height


def test_columns_may_be_chosen(frame):
    one, wide = (draw_rankings([_ranking(frame, count=6)], columns=c) for c in (1, 6))
    assert one.height > 5 * wide.height and one.width < wide.width / 2
    with pytest.raises(ValueError, match="columns is 0"):
        draw_rankings([_ranking(frame)], columns=0)


def test_rank_similarity_camera_time_and_name_are_written(frame, monkeypatch):
    matches = [
        Match(frame, BOX, 0.9, 0.876, "north", 75.25),
        Match(frame, BOX, 0.9, 0.5, None, 1.7e9),
        Match(frame, BOX, 0.9, 0.4, "south"),
    ]
    texts = _texts(monkeypatch, [Ranking(frame, BOX, matches)], "title")
    assert "title" in texts
    assert texts[texts.index("1.  similarity 0.876") :][:4] == [
        "1.  similarity 0.876",
        "camera north",
        "0:01:15.3",
        "frame.png",
    ]
    assert "camera unknown" in texts and "time unknown" in texts
    assert any(text.startswith("2023-11-1") for text in texts)  # local time
    assert "query" in texts and texts.count("frame.png") == 4


def test_camera_and_time_that_nobody_knows_are_not_mentioned(frame, monkeypatch):
    texts = _texts(monkeypatch, [_ranking(frame, count=2)])
    assert not any("camera" in text or "time" in text for text in texts)


def test_a_frame_of_a_video_is_drawn(tmp_path):
    path = tmp_path / "clip#1.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (200, 120))
    for number in range(8):
        writer.write(np.full((120, 200, 3), 30 * number, np.uint8))
    writer.release()
    name = f"{path}#frame=6"
    sheet = np.asarray(draw_rankings([Ranking(name, BOX, [Match(name, BOX, 0.9, 0.8)])]))
    middle = sheet[12 + CROP_SIZE[1] // 2, 12 + CROP_SIZE[0] // 2]
    assert np.abs(middle.astype(int) - 180).max() < 8


def test_a_match_whose_frame_is_gone_or_broken_does_not_cost_the_sheet(
    frame, tmp_path, monkeypatch, caplog
):
    (tmp_path / "broken.jpg").write_text("no picture")
    matches = [
        Match(str(tmp_path / "gone.jpg"), BOX, 0.9, 0.8),
        Match(str(tmp_path / "broken.jpg"), BOX, 0.9, 0.7),
        Match(frame, BOX, 0.9, 0.6),
    ]
    texts = _texts(monkeypatch, [Ranking(frame, BOX, matches)])
    assert texts.count("cannot be shown") == 2
    assert "gone.jpg" in caplog.text and "broken.jpg" in caplog.text
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        draw_rankings([Ranking(str(tmp_path / "broken.jpg"), BOX, [])])


def test_long_names_lose_their_middle_and_fit():
    font = ImageFont.load_default(11)
    name = "a_very_long_name_of_a_recording_of_camera_07_at_noon.mp4#frame=1234"
    for width in (30, 80, 150):
        short = shorten(name, font, width)
        start, end = short.split("…")
        assert name.startswith(start) and name.endswith(end) and abs(len(start) - len(end)) <= 1
        assert width - 12 < font.getlength(short) <= width
    assert shorten("short.jpg", font, 150) == "short.jpg"
    assert shorten("two\nlines", font, 150) == "two lines"
    assert shorten(name, font, 1) == "…"


def test_a_box_without_area_gives_a_crop_too():
    frame = Image.new("RGB", (50, 50), (9, 9, 9))
    assert crop_around(frame, (10.0, 10.0, 10.0, 10.0), (30, 60)).size == (30, 60)


# People outlined in a picture


def make_people(boxes):
    count = len(boxes)
    return People(np.float32(boxes).reshape(-1, 4), np.ones(count), np.zeros((count, 2)))


PEOPLE = make_people([(40, 60, 80, 160), (120, 60, 160, 160), (125, 65, 165, 165)])


def _contrast(first, second):
    """The contrast ratio of WCAG 2, from 1 to 21."""

    def luminance(color):
        c = np.asarray(color, float) / 255
        return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) @ [
            0.2126,
            0.7152,
            0.0722,
        ]

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("grey", [0, 60, 128, 190, 255])
def test_outlines_stand_out_from_any_background(grey):
    drawn = np.asarray(draw_people(np.full((200, 300, 3), grey, np.uint8), PEOPLE))
    crossed = drawn[110, 20:41]  # from the left into the first person
    assert max(_contrast(color, (grey,) * 3) for color in crossed) > 3.5
    assert (crossed == PERSON_COLOR).all(axis=1).any()
    assert (drawn[110, 45:75] == grey).all(), "the person is drawn over"


@pytest.mark.parametrize("color", [PERSON_COLOR, SELECTED_COLOR])
def test_numbers_can_be_read_on_their_tags(color):
    ink = (255, 255, 255) if color == PERSON_COLOR else (16, 18, 22)
    assert _contrast(color, ink) > 4.5


def test_the_selected_one_is_in_its_own_colour_and_on_top():
    image = np.zeros((200, 300, 3), np.uint8)
    plain = draw_people(image, PEOPLE)
    chosen = draw_people(image, PEOPLE, selected=1)
    assert not _has(plain, SELECTED_COLOR) and _has(chosen, SELECTED_COLOR)
    # Its right side crosses the third one's box.
    assert tuple(np.asarray(chosen)[150, 161]) == SELECTED_COLOR
    assert not np.asarray(image).any(), "the picture given was changed"


@pytest.mark.parametrize("size", [(1, 1), (9, 500), (40, 40), (540, 960), (3000, 4000)])
def test_any_size_of_picture_works_and_tags_stay_inside(size):
    height, width = size
    boxes = [
        (-20, -20, 5, 5),
        (width - 3, height - 3, width + 30, height + 30),
        (0, 0, width, height),
    ]
    drawn = draw_people(np.zeros((*size, 3), np.uint8), make_people(boxes), selected=2)
    assert drawn.size == (width, height) and drawn.mode == "RGB"


def test_lines_grow_with_the_picture():
    def thickness(side):
        box = (side * 0.4, side * 0.2, side * 0.6, side * 0.8)
        drawn = np.asarray(draw_people(np.zeros((side, side, 3), np.uint8), make_people([box])))
        return (drawn[side // 2, : side // 2] == PERSON_COLOR).all(axis=1).sum()

    assert thickness(400) == 2 and thickness(4000) == 10


def test_tags_of_a_crowd_do_not_hide_each_other():
    boxes = [(100 + 4 * k, 100, 140 + 4 * k, 200) for k in range(4)]
    tags = []
    from person_search.drawing import people as people_drawing

    find = people_drawing._Pen._find_place

    class Pen(people_drawing._Pen):
        def _find_place(self, *arguments):
            tags.append(find(self, *arguments))
            return tags[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(people_drawing, "_Pen", Pen)
        draw_people(np.zeros((300, 400, 3), np.uint8), make_people(boxes))
    assert len(tags) == 4
    for i, one in enumerate(tags):
        for other in tags[:i]:
            assert paired_intersection(np.array(one), np.array(other)) == 0


def test_wrong_arguments_of_draw_people():
    image = np.zeros((20, 20, 3), np.uint8)
    with pytest.raises(ValueError, match="selected is 1"):
        draw_people(image, make_people([(0, 0, 5, 5)]), selected=1)
    assert draw_people(image, make_people([])).size == (20, 20)
    assert draw_people(Image.new("L", (8, 8)), make_people([])).mode == "RGB"
