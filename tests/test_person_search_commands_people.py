import json
import shutil

import numpy as np
import pytest
from helpers_gallery import FINGERPRINT, make_frame, unit

from person_search.cli import main
from person_search.commands import people as people_command
from person_search.gallery.index import GalleryIndex
from person_search.people import People

DIM = 8
LOOKS = unit(np.eye(DIM)[:3])


class Finder:
    fingerprint = FINGERPRINT
    threshold = 0.8


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two people meet in the hall, one of them goes to the yard; a third is seen once."""
    path = tmp_path_factory.mktemp("people") / "g.db"
    with GalleryIndex.create(path, fingerprint=FINGERPRINT, embedding_dim=DIM) as index:
        entries = []
        for second, who, camera in (
            *((t, [0, 1], "hall") for t in range(5)),
            *((t, [0], "yard") for t in range(30, 34)),
            (60, [2], "yard"),
        ):
            boxes = np.float32([[50 * w, 0, 50 * w + 40, 90] for w in who])
            frame = make_frame(f"/{camera}/{second}.jpg", camera, 1.7e9 + second)
            entries.append((frame, People(boxes, np.full(len(who), 0.9, np.float32), LOOKS[who])))
        index.put(entries)
        index.appearances.link()
    return path


@pytest.fixture
def run(made, tmp_path, capsys, monkeypatch):
    shutil.copy(made, tmp_path / "g.db")
    loaded = []
    monkeypatch.setattr(people_command, "load_finder", lambda _: loaded.append(1) or Finder())

    def call(*words):
        status = main(["people", *words, "--gallery", str(tmp_path / "g.db")])
        said = capsys.readouterr()
        return status, said.out, said.err

    call.loaded = loaded
    return call


def test_the_list_says_who_was_here_how_often_and_with_whom(run):
    status, out, err = run()
    lines = out.splitlines()
    assert status == 0 and "grouped 4 appearances" in err
    assert lines[1].split()[:4] == ["1", "-", "2", "9"] and lines[1].endswith("hall, yard; 2 (1)")
    assert lines[2].endswith("hall; 1 (1)") and len(lines) == 5
    assert lines[3].startswith("1 more were seen in one frame only")
    assert "not a proven identity" in lines[-1]
    assert len(run("--all")[1].splitlines()) == 5 and run.loaded == [1], "the gallery keeps it"
    content = json.loads(run("--json")[1])
    assert (content["threshold"], content["across_days"]) == (0.8, False)
    assert [len(g["appearances"]) for g in content["groups"]] == [2, 1, 1]
    assert content["groups"][0]["company"] == [{"number": 2, "times": 1}]
    assert "similarity" not in content["groups"][0]["best"]


def test_groups_are_called_nobody_listed_by_a_switch_and_people_again(run):
    run()
    assert run("--nobody")[:2] == (1, "no group was called nobody\n")
    assert run("nobody", "1", "3")[1].splitlines() == [
        "group 1 is not a person, and hidden",
        "group 3 is not a person, and hidden",
    ]
    lines = run()[1].splitlines()
    assert (
        lines[1].split()[0] == "2"
        and lines[2] == "2 groups were called nobody; --nobody lists them"
    )
    status, out, _ = run("--nobody")
    assert status == 0 and [line.split()[0] for line in out.splitlines()[1:3]] == ["1", "3"]
    content = json.loads(run("--nobody", "--json")[1])["groups"]
    assert [(g["number"], g["is_nobody"], g["company"]) for g in content] == [
        (1, True, []), (3, True, []),
    ]  # fmt: skip
    said = json.loads(run("somebody", "3", "--json")[1])["groups"]
    assert [(g["number"], g["is_nobody"]) for g in said] == [(3, False)]
    run("nobody", "2", "3")
    assert run()[1].startswith(" group") and "3 groups were called nobody" in run()[1]
    assert run("undo")[1] == "undone: call groups 2, 3 nobody\n"


def test_the_table_says_what_is_probably_no_person(run, tmp_path):
    run()
    with GalleryIndex.open(tmp_path / "g.db") as index:
        boxes = np.float32([[100, 0, 140, 90]])
        for second in range(100, 140):
            people = People(boxes, np.float32([0.9]), LOOKS[[2]])
            index.put([(make_frame(f"/yard/{second}.jpg", "yard", 1.7e9 + second), people)])
        index.appearances.link()
    lines = run()[1].splitlines()
    assert lines[3].endswith("yard; motionless: keeps its place for 39 s, 40 frames")
    assert lines[4].startswith("The last ones are probably not people")
    group = json.loads(run("show", "3", "--json")[1])
    assert group["motionless"] == "keeps its place for 39 s, 40 frames"
    assert (group["is_nobody"], group["like_nobody"]) == (False, None)


def test_what_is_said_of_groups(run):
    _, out, _ = run("name", "1", "Anna", "Berg")
    assert out.startswith("group 1, Anna Berg\n")
    stays = [one["id"] for one in json.loads(run("show", "1", "--json")[1])["appearances"]]
    assert json.loads(run("merge", "2", "1", "--json")[1])["name"] == "Anna Berg"
    assert json.loads(run("split", "2", str(stays[1]), "--json")[1])["number"] == 4
    assert json.loads(run("move", str(stays[0]), "4", "--json")[1])["number"] == 4
    assert run("move", str(stays[0]), "out")[1].startswith("group 5\n")
    assert json.loads(run("undo", "--json")[1])["undone"] == f"move appearance {stays[0]} out"
    assert json.loads(run("show", "4", "--json")[1])["appearances"][0]["id"] == stays[0]
    for _ in range(4):
        assert run("undo")[0] == 0
    assert run("undo")[:2] == (1, "there is nothing to undo\n")
    assert json.loads(run("show", "1", "--json")[1])["name"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fly"], "expected show G, name G NAME"),
        (["name", "1"], "expected show G, name G NAME"),
        (["show", "Anna"], "got 'Anna'; expected a number"),
        (["show", "9"], "there is no group 9"),
        (["merge", "1", "1"], "two different ones"),
        (["--threshold", "7"], "expected -1 to 1"),
    ],
)
def test_wrong_use(run, words, said):
    status, out, err = run(*words)
    assert (status, out) == (2, "") and said in err


def test_a_model_that_cannot_say_how_similar_is_enough(run, monkeypatch):
    monkeypatch.setattr(Finder, "threshold", None)
    status, _, err = run()
    assert status == 2 and "say --threshold" in err
    monkeypatch.setattr(Finder, "fingerprint", "cd" * 32)
    assert "choose the gallery's by --model" in run()[2]
    assert run("--threshold", "0.7")[0] == 0


def test_nobody(tmp_path, capsys):
    path = str(tmp_path / "g.db")
    GalleryIndex.create(path, fingerprint=FINGERPRINT, embedding_dim=DIM).close()
    assert main(["people", "--gallery", path, "--threshold", "0.5"]) == 1
    assert "no appearances" in capsys.readouterr().out
