import numpy as np
import pytest
from PIL import Image

from person_search.commands.query_text import (
    ChosenQuery,
    OpenQuery,
    QueryText,
    parse_query,
    read_query_image,
    resolve_query,
)
from person_search.people import People

WIDTH, HEIGHT = 200, 100
# In no particular order from left to right; row 1 has the highest score.
BOXES = np.float32([[150, 10, 180, 90], [10, 10, 40, 90], [80, 20, 100, 80]])
SCORES = np.float32([0.7, 0.9, 0.8])


class FakeFinder:
    """Finds people in fixed places; an embedding tells which row it was made of, 3 a box."""

    embedding_dim = 4
    crops_need_room = True

    def __init__(self, boxes=BOXES):
        count = len(boxes)
        self.people = People(
            np.reshape(boxes, (-1, 4)), SCORES[:count], np.eye(4, dtype=np.float32)[:count]
        )

    def find(self, images, batch_size=4, parts=None):
        return [self.people for _ in images]

    def embed(self, image, boxes):
        return np.eye(4, dtype=np.float32)[[3] * len(boxes)]


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "street.png"
    Image.new("RGB", (WIDTH, HEIGHT), (90, 90, 90)).save(path)
    return str(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.jpg", QueryText("a.jpg")),
        ("a.jpg:1,2,30,40", QueryText("a.jpg", box=(1, 2, 30, 40))),
        ("a.jpg: 1.5, 2, 30, 40.25 ", QueryText("a.jpg", box=(1.5, 2, 30, 40.25))),
        ("a.jpg:-3,2,30,40", QueryText("a.jpg", box=(-3, 2, 30, 40))),
        ("a.jpg#2", QueryText("a.jpg", number=2)),
        ("C:/10:30/a.jpg:1,2,30,40", QueryText("C:/10:30/a.jpg", box=(1, 2, 30, 40))),
        ("10:30:00.jpg", QueryText("10:30:00.jpg")),
        ("a.jpg:1,2,3", QueryText("a.jpg:1,2,3")),
        ("clip.mp4#frame=30", QueryText("clip.mp4#frame=30")),
        ("clip.mp4#frame=30#2", QueryText("clip.mp4#frame=30", number=2)),
        ("clip.mp4#frame=30:1,2,30,40", QueryText("clip.mp4#frame=30", box=(1, 2, 30, 40))),
        ("no#1 a.jpg#12", QueryText("no#1 a.jpg", number=12)),
    ],
)
def test_queries_are_read(text, expected):
    assert parse_query(text) == expected


def test_a_file_of_exactly_this_name_is_meant_whole(tmp_path):
    for name in ("a.png", "a.png:1,2,30,40", "a.png#2"):
        Image.new("RGB", (5, 5)).save(tmp_path / name, "PNG")
        assert parse_query(str(tmp_path / name)) == QueryText(str(tmp_path / name))
    assert parse_query(f"{tmp_path}/a.png#3").number == 3


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_query_is_refused(text):
    with pytest.raises(ValueError, match="the query is empty; expected IMG"):
        parse_query(text)


def test_a_box_is_looked_at_as_soon_as_its_picture_is_read(picture):
    """Before a model is loaded."""
    image = read_query_image(QueryText(picture, box=(-5, 10, 40, 90)))
    assert image.shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(ValueError, match=r"query .*street\.png: the box .* has no area"):
        read_query_image(QueryText(picture, box=(40, 10, 5, 90)))


def test_a_missing_picture_is_an_error_that_says_how_to_write_a_query():
    with pytest.raises(FileNotFoundError, match=r"no picture a\.jpg:1,2,3; expected IMG"):
        resolve_query(FakeFinder(), parse_query("a.jpg:1,2,3"))


def test_a_choice_comes_with_the_size_of_the_picture(picture):
    found = resolve_query(FakeFinder(), QueryText(picture))
    assert isinstance(found, OpenQuery) and found.size == (WIDTH, HEIGHT)


def test_mistakes_name_the_picture_and_how_to_give_a_box(picture):
    with pytest.raises(ValueError, match=r"street\.png: there is no person 4 .*3 found"):
        resolve_query(FakeFinder(), QueryText(picture, number=4))
    with pytest.raises(ValueError, match=r"200 x 100.*give a box, .*street\.png:x1,y1,x2,y2"):
        resolve_query(FakeFinder([]), QueryText(picture))


def test_the_people_beside_a_box_are_those_it_does_not_show(picture):
    """By falling score, without the person asked for, who is found in about the same place."""
    query = QueryText(picture, box=(78, 18, 101, 82))
    chosen = resolve_query(FakeFinder(), query, want_context=True)
    assert isinstance(chosen, ChosenQuery)
    assert chosen.beside.embeddings.tolist() == np.eye(4)[[1, 0]].tolist()
    assert chosen.box == (78, 18, 101, 82)


def test_the_people_beside_a_number_are_the_others(picture):
    query = QueryText(picture, number=1)
    assert resolve_query(FakeFinder(), query).beside is None
    chosen = resolve_query(FakeFinder(), query, want_context=True)
    assert chosen.beside.embeddings.tolist() == np.eye(4)[[2, 0]].tolist()
