import json
import shutil

import numpy as np
import pytest
from helpers_gallery import FINGERPRINT, make_frame, unit

from person_search.cli import main
from person_search.gallery.index import GalleryIndex
from person_search.people import People

DIM = 8
LOOKS = unit(np.eye(3, DIM) + 0.4)


@pytest.fixture(scope="module")
def linked(tmp_path_factory):
    path = tmp_path_factory.mktemp("review") / "g.db"
    box = np.float32([[0, 0, 40, 90]])
    with GalleryIndex.create(path, fingerprint=FINGERPRINT, embedding_dim=DIM) as index:
        for k, look in enumerate(LOOKS):
            people = People(box, np.float32([0.9]), look[None])
            index.put([(make_frame(f"/{k}.jpg", f"cam{k}", 1.7e9), people)])
        index.appearances.link()
    return path


@pytest.fixture
def review(linked, tmp_path, capsys):
    shutil.copy(linked, tmp_path / "g.db")

    def run(*arguments):
        status = main(["review", "--gallery", str(tmp_path / "g.db"), *map(str, arguments)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_judgements_are_kept_listed_and_taken_back(review):
    assert review() == (0, "nothing was judged yet\n", "")
    said = review("--subject", "coat", "--right", 1, 2, "--wrong", 3)
    assert said == (0, "kept 3 judgements about coat\n", "")
    assert review()[1].splitlines()[1].split() == ["2", "1", "coat"]
    judged = json.loads(review("--subject", "coat", "--json")[1])["judgements"]
    assert [(j["judgement"], j["image"]) for j in judged] == [
        ("right", "/0.jpg"), ("right", "/1.jpg"), ("wrong", "/2.jpg"),
    ]  # fmt: skip
    assert set(judged[0]) == {
        *("subject", "judgement", "made", "maker"),
        *("image", "box", "score", "camera", "timestamp"),
    }
    assert review("--subject", "coat")[1].count(".jpg") == 3
    assert review("--subject", "coat", "--undo")[1] == "took back 1 judgement\n"
    assert review("--subject", "coat", "--undo", "all")[1] == "took back 2 judgements\n"
    assert json.loads(review("--json")[1]) == {"subjects": []}


def test_what_is_no_person_is_hidden(review, tmp_path):
    assert review("--nobody", 1, 3)[:2] == (
        0,
        "called nobody, and hidden: group 1 of person-search people --nobody\n",
    )
    with GalleryIndex.open(tmp_path / "g.db") as index:
        found = index.appearances.search(LOOKS[0])
        assert [m.appearance.id for m in found] == [2]
        assert index.appearances.groups.undo() == "call appearances 1, 3 nobody"
        assert len(index.appearances.search(LOOKS[0])) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--right", 1], "say who is asked for by --subject"),
        (["--subject", "coat", "--right", 1, "--wrong", 1], "cannot be right and wrong"),
        (["--subject", "coat", "--right", 1, "--undo"], "--undo takes back"),
        (["--subject", "coat", "--undo", "none"], "expected a number from 1 on, or all"),
        (["--subject", "coat", "--right", 1, 99], "there is no appearance 99"),
        (["--subject", "", "--right", 1], "expected 1 to 200"),
    ],
)
def test_wrong_use_keeps_nothing(review, arguments, words):
    status, out, err = review(*arguments)
    assert (status, out) == (2, "") and words in err
    assert json.loads(review("--json")[1]) == {"subjects": []}
