"""What ``person-search search`` prints and asks of the gallery, without a gallery or a model."""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from person_search.cli import main
from person_search.commands import search as command
from person_search.commands.output import SearchAnswer, answer_to_json, format_answer
from person_search.commands.query_text import ChosenQuery, absolute_name
from person_search.footage.time_text import parse_time
from person_search.gallery.search_options import ByNeighbors, FrameFilter
from person_search.people import Match, People

MATCH = Match("/a/1.jpg", (1.0, 2.0, 30.0, 40.0), 0.9, 0.75, "north", 60.0, "id_0")


def _answer(matches=(MATCH,), threshold=0.5, least=None):
    query = ChosenQuery("q.jpg", People(np.float32([[0, 0, 5, 9]]), np.ones(1), np.ones((1, 1))))
    return SearchAnswer("/g.db", "gallery", [query], list(matches), threshold, least)


@pytest.mark.parametrize(
    ("matches", "threshold", "least", "expected"),
    [
        ([MATCH], 0.75, None, True),
        ([MATCH], 0.76, None, False),
        ([MATCH], None, None, None),
        ([], 0.5, None, False),
        ([], 0.5, 0.4, False),  # somebody in between would have been shown
        ([], 0.5, 0.6, None),
        ([], None, None, None),
    ],
)
def test_whether_somebody_is_in_the_gallery(matches, threshold, least, expected):
    answer = _answer(matches, threshold, least)
    assert answer.is_in_gallery is expected
    assert ("probably not in this gallery" in format_answer(answer)) is (expected is False)


def test_the_best_similarity_counts_wherever_it_is_ranked():
    """Context and re-ranking may put another match first."""
    other = Match("/a/2.jpg", (1.0, 2.0, 3.0, 4.0), 0.9, 0.3)
    assert _answer([other, MATCH]).is_in_gallery is True


def test_a_table_shows_place_time_and_source():
    lines = format_answer(_answer()).splitlines()
    assert " ".join(lines[1].split()) == "1 0.750 0.90 north 0:01:00.0 1 2 30 40 /a/1.jpg"
    unknown = Match("/a/2.jpg", (1.0, 2.0, 3.0, 4.0), 0.9, 0.3)
    assert format_answer(_answer([unknown])).splitlines()[1].split()[3:5] == ["-", "-"]
    assert "no match with a similarity of at least 0.9" in format_answer(_answer([], least=0.9))


def test_the_json_object():
    assert json.loads(answer_to_json(_answer())) == {
        "gallery": "/g.db",
        "name": "gallery",
        "queries": [{"image": "q.jpg", "box": [0, 0, 5, 9]}],
        "threshold": 0.5,
        "in_gallery": True,
        "by": "frame",
        "matches": [
            {
                "rank": 1,
                "image": "/a/1.jpg",
                "box": [1, 2, 30, 40],
                "score": 0.9,
                "similarity": 0.75,
                "camera": "north",
                "timestamp": 60.0,
                "appearance": None,
                "judgement": None,
            }
        ],
    }


class FakeIndex:
    """Records what it is asked."""

    uri = "/g.db"
    has_appearances = False

    def search(self, embeddings, **options):
        self.embeddings, self.options = embeddings, options
        return [MATCH]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class FakeFinder:
    """Sees two people, at the left and at the right."""

    fingerprint, embedding_dim, threshold = "f" * 64, 2, 0.5
    crops_need_room = True

    def find(self, images, batch_size=4, parts=None):
        boxes = np.float32([[10, 10, 40, 90], [110, 10, 140, 90]])
        return [People(boxes, np.float32([0.9, 0.8]), np.eye(2, dtype=np.float32))] * len(images)

    def embed(self, image, boxes):
        return np.float32([[0.6, 0.8]] * len(boxes))


@pytest.fixture
def index(monkeypatch, tmp_path):
    fake = FakeIndex()
    opened = SimpleNamespace(open=lambda uri, name: fake)
    monkeypatch.setattr("person_search.gallery.index.GalleryIndex", opened)
    monkeypatch.setattr(command, "load_finder", lambda args: FakeFinder())
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (200, 100)).save("street.png")
    return fake


def _search(*arguments):
    return main(["search", "--gallery", "g.db", *arguments])


def test_every_option_reaches_the_gallery(index):
    options = ["--camera", "north", "--camera", "south", "--top", "3", "--min-similarity", "0.2"]
    times = ["--since", "0:01:00", "--until", "2024-05-31", "--all", "--rerank"]
    assert _search("--query", "street.png#1", *options, *times) == 0
    assert index.options == {
        "top": 3,
        "frames": FrameFilter(
            cameras=["north", "south"],
            since=60.0,
            until=parse_time("2024-05-31", end=True),
            without=[os.path.abspath("street.png")],
        ),
        "min_similarity": 0.2,
        "one_per_frame": False,
        "refine": ByNeighbors(),
        "fingerprint": "f" * 64,
    }


def test_the_querys_own_frame_is_left_out_unless_asked_for(index):
    assert _search("--query", "./street.png#1", "--query", "street.png#2") == 0
    assert index.options["frames"].without == [os.path.abspath("street.png")] * 2
    assert _search("--query", "street.png#1", "--own-frame") == 0
    assert index.options["frames"] == FrameFilter(without=[])
    assert index.options["refine"] is None


def test_names_of_queries_are_those_of_the_gallery():
    assert absolute_name("/a/../b.jpg") == "/b.jpg"
    assert absolute_name("c.mp4#frame=7") == os.path.abspath("c.mp4") + "#frame=7"


def test_several_pictures_are_one_person(index):
    queries = ["--query", "street.png#1", "--query", "street.png:0,0,9,9"]
    assert _search(*queries) == 0
    np.testing.assert_allclose(index.embeddings, [[1, 0], [0.6, 0.8]])


def test_who_is_searched_for_is_said(index, capsys):
    assert _search("--query", "street.png#2", "--query", "street.png:-5,0,9.4,9") == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["searching for street.png:110,10,140,90", "searching for street.png:0,0,9,9"]
    assert _search("--query", "street.png#2", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["queries"][0]["box"] == [110, 10, 140, 90] and not err


def test_choices_are_drawn_with_their_numbers(index, tmp_path):
    assert _search("--query", "street.png", "--save", "choose.png") == command.MUST_CHOOSE
    with Image.open(tmp_path / "choose.png") as drawn:
        assert drawn.size == (200, 100)
        assert (np.asarray(drawn)[..., 2] > 150).any(), "nothing is outlined on black"


def test_nobody_is_drawn_while_nobody_is_chosen_and_others_are_to_be_blurred(
    index, tmp_path, capsys
):
    asked = ["--query", "street.png", "--save", "choose.png", "--blur"]
    assert _search(*asked) == command.MUST_CHOOSE
    assert not (tmp_path / "choose.png").exists()
    assert "no picture written" in capsys.readouterr().err
    # Who stands beside is to be blurred, not to be preferred.
    assert _search(*asked[:1], "street.png#1", *asked[2:]) == 0
    assert index.options.get("refine") is None


def test_context_is_who_stands_beside(index):
    assert _search("--query", "street.png#1", "--context") == 0
    assert index.options["refine"].embeddings.tolist() == [[0, 1]]


def test_one_of_several_pictures_without_a_choice_stops_the_search(index, capsys):
    assert _search("--query", "street.png#1", "--query", "street.png") == command.MUST_CHOOSE
    assert "street.png shows 2 people" in capsys.readouterr().out
    assert not hasattr(index, "embeddings")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--query", "gone.png"], "there is no picture gone.png"),
        (["--query", "street.png#3"], "there is no person 3"),
        (["--query", "street.png:9,9,1,1"], "query street.png: the box (9, 9, 1, 1) has no area"),
        (["--query", "street.png#1", "--since", "soon"], "'soon' is no time"),
        (["--query", "street.png#1", "--since", "90", "--until", "60"], "swap them"),
        (["--query", "street.png#1", "--save", "out.doc"], "expected a picture file"),
        (["--query", "street.png#1", "--save", "nowhere/o.png"], "there is no folder nowhere"),
        (["--query", "street.png#1", "--blur"], "--blur is for the picture of --save"),
        (["--query", "street.png#1", "--weights", "w.pth"], "belong together"),
        (["--query", "street.png#1", "--model", "a", "--config-file", "c", "--weights", "w"],
         "expected one of them"),
    ],
)  # fmt: skip
def test_mistakes_end_with_a_message(index, capsys, arguments, message):
    assert _search(*arguments) == 2
    assert message in capsys.readouterr().err


def test_a_picture_that_is_none_is_named(index, capsys, tmp_path):
    (tmp_path / "text.png").write_bytes(b"not a picture")
    assert _search("--query", "text.png") == 2
    assert "text.png is not a picture" in capsys.readouterr().err
