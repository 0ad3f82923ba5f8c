"""Whom a query means: one table of cases, for Python, the shell, the API and the page."""

import json
import re
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from person_search.cli import main
from person_search.commands import search as command
from person_search.inference.queries import NobodyFoundError, choose_person, find_people
from person_search.people import People

WIDE, TALL = (200, 100), (60, 120)
# From right to left, so that numbering by place is seen.
STREET = [(150, 10, 180, 90), (80, 20, 100, 80), (10, 10, 40, 90)]
LEFT, MIDDLE, RIGHT = STREET[::-1]


class FakeFinder:
    """Finds people in fixed places; an embedding tells which box of which picture it is of."""

    fingerprint, embedding_dim, threshold = "f" * 64, 6, 0.5
    crops_need_room = True

    def __init__(self, size, boxes=(), filling=None):
        self.size, self.boxes, self.filling = size, boxes, filling

    def find(self, images, batch_size=4, parts=None):
        (image,) = images
        width, height = self.size
        boxes, corner = self.boxes, (0, 0)
        if image.shape[:2] != (height, width):  # the picture in the middle of a larger one
            boxes = boxes if self.filling is None else [self.filling]
            corner = (image.shape[1] - width) // 2, (image.shape[0] - height) // 2
        boxes = np.float32(boxes).reshape(-1, 4) + np.float32(corner * 2)
        return [People(boxes, np.linspace(0.5, 0.9, len(boxes)), self.embed(image, boxes))]

    def embed(self, image, boxes):
        rows = np.array([[1, image.shape[1], *box] for box in boxes]).reshape(-1, 6)
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class FakeIndex:
    """Finds nobody and records whom it is asked for."""

    uri, asked, accountability = "/g.db", None, None
    has_appearances = False

    def known_frames(self, names):
        return {}

    def search(self, embeddings, **options):
        self.asked = embeddings
        return []

    def info(self):
        return SimpleNamespace(people=1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def one(box, embedding):
    return "one", [round(float(v), 2) for v in box], np.asarray(embedding).ravel().tolist()


def several(boxes):
    return "several", np.asarray(boxes, float).tolist()


def ask_python(finder, path, box, number, monkeypatch, capsys):
    try:
        person = choose_person(finder, path, box=box, number=number)
    except ValueError as error:
        return "refused", str(error)
    return one(person.box(0), person.embeddings) if len(person) == 1 else several(person.boxes)


def ask_shell(finder, path, box, number, monkeypatch, capsys):
    index = FakeIndex()
    opened = SimpleNamespace(open=lambda uri, name: index)
    monkeypatch.setattr("person_search.gallery.index.GalleryIndex", opened)
    monkeypatch.setattr(command, "load_finder", lambda args: finder)
    text = path + ("" if number is None else f"#{number}")
    if box is not None:
        text += ":" + ",".join(map(str, box))
    status = main(["search", "--gallery", "g.db", "--query", text, "--json"])
    out, err = capsys.readouterr()
    # The gallery is empty.
    if status == command.NOTHING_FOUND:
        return one(json.loads(out)["queries"][0]["box"], index.asked)
    if status == command.MUST_CHOOSE:
        people = json.loads(out)["choose"][0]["people"]
        assert [p["number"] for p in people] == list(range(1, len(people) + 1))
        return several([p["box"] for p in people])
    assert status == 2
    return "refused", err


def make_service(finder, folder):
    from demo.service import Gallery, Service

    index = FakeIndex()
    return Service(finder, {"toy": Gallery("toy", index, folder)}), index


def ask_api(finder, path, box, number, monkeypatch, capsys):
    service, index = make_service(finder, path)
    from demo.api import _Endpoints

    picture = Path(path).read_bytes()
    try:
        given = None if box is None else list(box)
        answer = _Endpoints(service).search(path, box=given, person=number)
    except ValueError as error:
        if "found 3 people in the picture: give person, a number from 1 to 3" not in str(error):
            return "refused", str(error)
        Path(path).write_bytes(picture)
        people = _Endpoints(service).find_people(path)["people"]
        assert [p["number"] for p in people] == [1, 2, 3]
        return several([p["box"] for p in people])
    return one(answer["box"], index.asked)


def ask_page(finder, path, box, number, monkeypatch, capsys):
    service, index = make_service(finder, path)
    from demo import handlers

    told = []
    monkeypatch.setattr(handlers.gr, "Warning", lambda text, title: told.append(text))
    page, settings = handlers.Handlers(service), ("toy", 0.5, 12, [], "", "", "frame")
    query, stage, *_ = page.take_upload(path, *settings)
    assert stage.count("ps-chosen") == (query.box is not None)
    if box is not None:
        query, *_ = page.draw(SimpleNamespace(box=list(box)), query, *settings)
    elif number is not None:
        query, *_ = page.pick(SimpleNamespace(number=number), query, *settings)
    if told:
        return "refused", told[0]
    if query.box is not None:
        return one(query.box, index.asked)
    return several(query.people.boxes) if len(query.people) else ("refused", stage)


# Without the extra demo there is no page to ask.
CALLERS = [ask_python, ask_shell, *([ask_api, ask_page] if find_spec("gradio") else [])]


@pytest.mark.parametrize(
    ("size", "finds", "asked", "expected"),
    [
        (WIDE, {"boxes": STREET}, {"box": (11, 9, 41, 91)}, (11, 9, 41, 91)),
        (WIDE, {"boxes": STREET}, {"box": (-9, 9, 41, 910)}, (0, 9, 41, 100)),
        (WIDE, {}, {"box": (11, 9, 41, 91)}, (11, 9, 41, 91)),
        (TALL, {"filling": (0, 0, 60, 60)}, {"box": (5, 5, 20, 50)}, (5, 5, 20, 50)),
        (WIDE, {"boxes": STREET}, {"box": (300, 9, 341, 91)}, "outside the picture"),
        (WIDE, {"boxes": STREET}, {"box": (41, 9, 11, 91)}, "has no area"),
        (WIDE, {"boxes": STREET}, {"number": 1}, LEFT),
        (WIDE, {"boxes": STREET}, {"number": 2}, MIDDLE),
        (WIDE, {"boxes": STREET}, {"number": 4}, "no person 4 in the picture: 3 found"),
        (WIDE, {"boxes": STREET}, {"number": 0}, "no person 0"),
        (WIDE, {}, {"number": 1}, "no person 1 in the picture: 0 found"),
        (TALL, {"filling": (0, 0, 60, 60)}, {}, (0, 0, 60, 60)),  # exactly half of it
        (TALL, {"filling": (-20, 5, 45, 110)}, {}, (0, 5, 45, 110)),
        (TALL, {"filling": (1, 1, 59, 119)}, {}, (0, 0, 60, 120)),  # as good as all of it
        (WIDE, {"filling": (0, 0, 200, 60), "boxes": STREET}, {}, (0, 0, 200, 60)),
        (WIDE, {"filling": (0, 0, 200, 60), "boxes": STREET}, {"number": 1}, (0, 0, 200, 60)),
        (WIDE, {"filling": (0, 0, 200, 60), "boxes": STREET}, {"number": 2}, "1 found"),
        (WIDE, {"boxes": [MIDDLE]}, {}, MIDDLE),
        (TALL, {"boxes": [(5, 5, 20, 50)]}, {}, (5, 5, 20, 50)),
        (WIDE, {"boxes": STREET}, {}, [LEFT, MIDDLE, RIGHT]),
        (TALL, {}, {}, (0, 0, 60, 120)),
        (WIDE, {}, {}, "nobody was found"),
        (WIDE, {"filling": (0, 0, 200, 49)}, {}, "nobody was found"),  # less than half
        ((80, 80), {}, {}, "nobody was found"),
    ],
)
def test_everywhere_the_same_person_is_meant(
    tmp_path, monkeypatch, capsys, size, finds, asked, expected
):
    path, answers = str(tmp_path / "street.png"), []
    for ask in CALLERS:
        Image.new("RGB", size, (90, 90, 90)).save(path)  # the page deletes uploads
        finder = FakeFinder(size, **finds)
        found = ask(finder, path, asked.get("box"), asked.get("number"), monkeypatch, capsys)
        answers.append(found)
        if isinstance(expected, str):
            assert found[0] == "refused", ask
            assert re.search(expected, found[1], re.IGNORECASE), (ask, found[1])
        elif isinstance(expected, list):
            assert found == several(expected), ask
        else:
            assert found[:2] == ("one", list(expected)), ask
            assert found == answers[0], "the same embedding, too"


def test_a_found_person_keeps_the_embedding_that_it_was_found_with(tmp_path):
    finder, image = FakeFinder(WIDE, STREET), np.zeros((100, 200, 3), np.uint8)
    people = find_people(finder, image)
    chosen = choose_person(finder, image, number=3)
    assert chosen.embeddings.tolist() == people.embeddings[2:].tolist()
    assert chosen.scores.tolist() == people.scores[2:].tolist()
    given = choose_person(finder, image, box=LEFT)
    assert given.scores.tolist() == [1] and given.boxes.dtype == np.float32


def test_a_box_counts_before_a_number_and_asks_for_no_detection():
    finder = FakeFinder(WIDE, STREET)
    finder.find = None
    chosen = choose_person(finder, np.zeros((100, 200, 3), np.uint8), box=MIDDLE, number=1)
    assert chosen.box(0) == MIDDLE


def test_people_already_found_are_not_looked_for_again():
    finder, image = FakeFinder(WIDE, STREET), np.zeros((100, 200, 3), np.uint8)
    people = find_people(finder, image)
    finder.find = None
    assert choose_person(finder, image, people=people) is people
    assert choose_person(finder, image, number=2, people=people).box(0) == MIDDLE


def test_a_crop_is_looked_at_with_room():
    """The room is three times the height: 390 x 693 pixels about 60 x 130."""
    finder, asked = FakeFinder((60, 130)), []
    embed = finder.embed
    finder.embed = lambda image, boxes: (
        asked.append(np.asarray(boxes).tolist()) or embed(image, boxes)
    )
    choose_person(finder, np.zeros((130, 60, 3), np.uint8))
    assert asked[-1] == [[316, 130, 376, 260]]


def test_nobody_is_an_error_of_its_own():
    with pytest.raises(NobodyFoundError, match=r"nobody was found.*200 x 100 pixels.*give a box"):
        choose_person(FakeFinder(WIDE), np.zeros((100, 200, 3), np.uint8))
