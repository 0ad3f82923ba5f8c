"""What ``person-search search`` prints and asks of the gallery, without a gallery or a model."""

import json
import os
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from person_search.cli import main
from person_search.commands import search as command
from person_search.commands.output import (
    SORTED_BY,
    SearchAnswer,
    answer_to_json,
    format_answer,
)
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
        "min_similarity": None,
        "in_gallery": True,
        "by": "frame",
        "not_people": 0,
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


def test_a_part_of_a_gallery_says_nothing_of_the_rest():
    """The person was in the gallery all the time, before another camera."""
    answer = replace(_answer(threshold=0.8059), is_part=True)
    assert (answer.is_in_frames_searched, answer.is_in_gallery) == (False, None)
    said = format_answer(answer)
    assert "not in the frames searched: no similarity reaches 0.8059, the model's" in said
    assert "not in this gallery" not in said
    assert json.loads(answer_to_json(answer))["in_gallery"] is None
    found = replace(_answer(), is_part=True)
    assert found.is_in_gallery is True and "probably" not in format_answer(found)


def test_an_order_that_is_not_that_of_the_similarities_is_explained():
    """With --context 0.938 was followed by 0.248, and 0.93 came after it."""
    low = replace(MATCH, similarity=0.248)
    matches = [replace(MATCH, similarity=0.938), low, replace(MATCH, similarity=0.93)]
    said = format_answer(replace(_answer(matches), order=SORTED_BY["context"]))
    assert "Sorted by the most similar of all the people in the frame to those" in said
    assert "may stand before a more similar one" in said
    falling = replace(_answer([matches[0], low]), order=SORTED_BY["context"])
    assert "Sorted by" not in format_answer(falling)
    assert "Sorted by" not in format_answer(_answer(matches))


def test_the_threshold_is_not_rounded_past_a_similarity():
    """0.8059 was written as 0.81, which a match of 0.808 does not reach."""
    match = replace(MATCH, similarity=0.8052)
    assert "no similarity reaches 0.8059, the" in format_answer(_answer([match], 0.8059))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Nroth", "no frame of the gallery is of a camera 'Nroth'; did you mean 'north'?"),
        ("SOUTH", "did you mean 'south'?"),
        ("sotuh", "did you mean 'south'?"),
        ("kitchen", "it has 'north', 'south'"),
    ],
)
def test_an_unknown_camera_is_named_and_the_nearest_offered(index, capsys, name, message):
    """It was searched in vain, with status 0 and the sentence that nobody is there."""
    assert _search("--query", "street.png#1", "--camera", "north", "--camera", name) == 2
    assert message in capsys.readouterr().err


def test_cameras_of_a_gallery_without_any(index, capsys):
    index.cameras = {}
    assert _search("--query", "street.png#1", "--camera", "north") == 2
    assert "its frames have no cameras: leave out --camera" in capsys.readouterr().err


class FakeIndex:
    """Records what it is asked."""

    cameras: ClassVar = {"north": 3, "south": 2}

    uri = "/g.db"
    has_appearances = False
    accountability = None
    found = (MATCH,)

    def search(self, embeddings, **options):
        self.embeddings, self.options = embeddings, options
        return self.found

    def info(self):
        return SimpleNamespace(cameras=self.cameras)

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


def test_what_was_called_nobody_is_counted_and_left_out(index, capsys):
    index.found = [replace(MATCH, is_nobody=True, image="/bench.jpg"), MATCH]
    assert _search("--query", "street.png#1") == 0
    out = capsys.readouterr().out
    assert "bench" not in out and out.splitlines()[-1] == "1 not a person, hidden"
    index.found = [replace(MATCH, is_nobody=True)] * 3
    assert _search("--query", "street.png#1") == 1
    assert "3 not people, hidden" in capsys.readouterr().out
    _search("--query", "street.png#1", "--json")
    content = json.loads(capsys.readouterr().out)
    assert (content["not_people"], content["matches"]) == (3, [])


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
        "with_nobody": True,
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
