import numpy as np
import pytest
from PIL import Image

from person_search.inference.queries import (
    ChosenQuery,
    OpenQuery,
    QueryText,
    choose_person,
    parse_query,
)
from person_search.people import People

WIDTH, HEIGHT = 200, 100
# In no particular order from left to right; row 1 has the highest score.
BOXES = np.float32([[150, 10, 180, 90], [10, 10, 40, 90], [80, 20, 100, 80]])
SCORES = np.float32([0.7, 0.9, 0.8])


class FakeFinder:
    """Finds people in fixed places; an embedding tells which box it was made of."""

    embedding_dim = 4

    def __init__(self, boxes=BOXES, scores=SCORES):
        embeddings = np.eye(4, dtype=np.float32)[: len(boxes)]
        self.people = People(np.float32(boxes).reshape(-1, 4), np.float32(scores), embeddings)
        self.asked = []

    def find(self, images, batch_size=4):
        return [self.people for _ in images]

    def embed(self, image, boxes):
        self.asked += [tuple(box) for box in np.asarray(boxes).tolist()]
        return np.eye(4, dtype=np.float32)[[3] * len(boxes)]


@pytest.fixture
def picture(tmp_path):
    def make(size=(WIDTH, HEIGHT), name="street.png"):
        path = tmp_path / name
        Image.new("RGB", size, (90, 90, 90)).save(path)
        return str(path)

    return make


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.jpg", QueryText("a.jpg")),
        ("a.jpg:1,2,30,40", QueryText("a.jpg", box=(1, 2, 30, 40))),
        ("a.jpg: 1.5, 2, 30, 40.25 ", QueryText("a.jpg", box=(1.5, 2, 30, 40.25))),
        ("a.jpg:-3,2,30,40", QueryText("a.jpg", box=(-3, 2, 30, 40))),
        ("a.jpg#2", QueryText("a.jpg", person=2)),
        ("C:/10:30/a.jpg:1,2,30,40", QueryText("C:/10:30/a.jpg", box=(1, 2, 30, 40))),
        ("10:30:00.jpg", QueryText("10:30:00.jpg")),
        ("a.jpg:1,2,3", QueryText("a.jpg:1,2,3")),
        ("clip.mp4#frame=30", QueryText("clip.mp4#frame=30")),
        ("clip.mp4#frame=30#2", QueryText("clip.mp4#frame=30", person=2)),
        ("clip.mp4#frame=30:1,2,30,40", QueryText("clip.mp4#frame=30", box=(1, 2, 30, 40))),
        ("no#1 a.jpg#12", QueryText("no#1 a.jpg", person=12)),
    ],
)
def test_queries_are_read(text, expected):
    assert parse_query(text) == expected


def test_a_file_of_exactly_this_name_is_meant_whole(tmp_path, picture):
    for name in ("a.png", "a.png:1,2,30,40", "a.png#2"):
        Image.new("RGB", (5, 5)).save(tmp_path / name, "PNG")
        assert parse_query(str(tmp_path / name)) == QueryText(str(tmp_path / name))
    assert parse_query(f"{tmp_path}/a.png#3").person == 3


@pytest.mark.parametrize("text", ["", "  ", "a.jpg:5,2,5,40", "a.jpg:1,40,30,2", "a.jpg#0"])
def test_queries_without_sense_are_refused(text):
    with pytest.raises(ValueError, match=r"empty|no area|numbered from 1"):
        parse_query(text)


class FindsWithRoom(FakeFinder):
    """Finds one person, in a box of the picture's pixels, but only where that has room."""

    def __init__(self, box, size):
        super().__init__([], [])
        self.box, self.size = np.float32([box]), size

    def find(self, images, batch_size=4):
        (image,) = images
        width, height = self.size
        if image.shape[:2] == (height, width):
            return [self.people]
        corner = [(image.shape[1] - width) // 2, (image.shape[0] - height) // 2]
        return [People(self.box + np.float32(corner * 2), SCORES[:1], np.eye(4)[:1])]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0, 0, 60, 60), (0, 0, 60, 60)),  # exactly half of it
        ((-20, 5, 45, 110), (0, 5, 45, 110)),
        ((1, 1, 59, 119), (0, 0, 60, 120)),  # as good as all of it
    ],
)
def test_who_fills_the_picture_is_meant(picture, box, expected):
    chosen = choose_person(FindsWithRoom(box, (60, 120)), QueryText(picture((60, 120))))
    assert isinstance(chosen, ChosenQuery)
    assert chosen.box == expected


@pytest.mark.parametrize("box", [(0, 0, 120, 29), (-60, 0, 50, 60)])
def test_who_fills_less_of_a_wide_picture_is_not_meant(picture, box):
    with pytest.raises(ValueError, match="nobody was found"):
        choose_person(FindsWithRoom(box, (120, 60)), QueryText(picture((120, 60))))


def test_a_box_is_taken_as_it_is(picture):
    finder = FakeFinder()
    chosen = choose_person(finder, QueryText(picture(), box=(11, 9, 41, 91)))
    assert isinstance(chosen, ChosenQuery)
    assert chosen.box == (11, 9, 41, 91) and finder.asked == [(11, 9, 41, 91)]
    assert chosen.beside.shape == (0, 4)


def test_numbers_count_from_left_to_right(picture):
    for number, row in ((1, 1), (2, 2), (3, 0)):
        chosen = choose_person(FakeFinder(), QueryText(picture(), person=number))
        assert chosen.box == tuple(BOXES[row].tolist())
        assert chosen.embedding.tolist() == np.eye(4)[row].tolist()


def test_a_number_that_nobody_has_is_refused(picture):
    with pytest.raises(ValueError, match=r"no person 4 in .*3 found"):
        choose_person(FakeFinder(), QueryText(picture(), person=4))


def test_several_people_must_be_chosen_from(picture):
    found = choose_person(FakeFinder(), QueryText(picture()))
    assert isinstance(found, OpenQuery)
    assert found.people.boxes[:, 0].tolist() == [10, 80, 150] and found.size == (WIDTH, HEIGHT)


def test_a_crop_is_meant_whole_and_looked_at_with_room(picture):
    """The room is three times the height: 390 x 693 pixels about 60 x 130."""
    finder = FakeFinder([], [])
    chosen = choose_person(finder, QueryText(picture((60, 130))))
    assert chosen.box == (0, 0, 60, 130)
    assert finder.asked == [(316, 130, 376, 260)]


def test_nobody_to_choose_from_is_said(picture):
    with pytest.raises(ValueError, match=r"nobody was found.*200 x 100.*x1,y1,x2,y2"):
        choose_person(FakeFinder([], []), QueryText(picture()))


def test_the_people_beside_a_box_are_those_it_does_not_show(picture):
    """By falling score, without the person asked for, who is found in about the same place."""
    query = QueryText(picture(), box=(78, 18, 101, 82))
    chosen = choose_person(FakeFinder(), query, want_context=True)
    assert chosen.beside.tolist() == np.eye(4)[[1, 0]].tolist()


def test_the_people_beside_a_number_are_the_others(picture):
    query = QueryText(picture(), person=1)
    assert choose_person(FakeFinder(), query).beside.shape == (0, 4)
    chosen = choose_person(FakeFinder(), query, want_context=True)
    assert chosen.beside.tolist() == np.eye(4)[[2, 0]].tolist()


def test_a_missing_picture_is_an_error_that_says_how_to_write_a_query():
    with pytest.raises(FileNotFoundError, match=r"no picture a\.jpg:1,2,3; expected IMG"):
        choose_person(FakeFinder(), parse_query("a.jpg:1,2,3"))
