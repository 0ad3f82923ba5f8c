import shutil
import sqlite3
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from helpers_gallery import FINGERPRINT, make_frame, unit

from person_search.gallery.checking import check_gallery_file
from person_search.gallery.errors import GalleryError
from person_search.gallery.feedback import AWAY, refine_query
from person_search.gallery.index import GalleryIndex
from person_search.gallery.search_options import FrameFilter
from person_search.people import People

DIM = 8
MODEL = {"fingerprint": FINGERPRINT, "embedding_dim": DIM}
E = np.eye(DIM, dtype=np.float32)
QUERY = E[0]
# From like the query to unlike it; each stays for two frames before a camera of its own.
LOOKS = unit([E[0] + k * 0.5 * E[1 + k % 3] for k in range(6)])


@pytest.fixture(scope="module")
def linked(tmp_path_factory):
    path = tmp_path_factory.mktemp("judged") / "g.db"
    box = np.float32([[0, 0, 40, 90]])
    with GalleryIndex.create(path, **MODEL) as index:
        for k, look in enumerate(LOOKS):
            people = People(box, np.float32([0.9]), look[None])
            index.put(
                [(make_frame(f"/{k}/{t}.jpg", f"cam{k}", 1.7e9 + t), people) for t in range(2)]
            )
        index.appearances.link()
    return path


@pytest.fixture
def index(linked, tmp_path):
    shutil.copy(linked, tmp_path / "g.db")
    with GalleryIndex.open(tmp_path / "g.db") as index:
        yield index


def _cameras(matches):
    return [int(match.camera[3:]) for match in matches]


def _search(index, **options):
    return index.judgements.search("coat", QUERY, **options)


def test_rocchio_by_hand_and_its_edges():
    right, wrong = unit([E[0] + E[1], E[0] + E[2]]), unit([E[0] + E[3]])
    towards = np.mean([QUERY, *right], axis=0)
    towards /= np.linalg.norm(towards)
    expected = towards - AWAY * wrong[0]
    found = refine_query(QUERY, right, wrong)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-6)
    nobody = np.zeros((0, DIM), np.float32)
    np.testing.assert_allclose(refine_query(QUERY, nobody, nobody), QUERY)
    np.testing.assert_allclose(refine_query(QUERY, -QUERY[None], nobody), QUERY, err_msg="cancels")


@pytest.mark.parametrize("by", ["appearance", "frame"])
def test_without_judgements_it_is_a_plain_search(index, by):
    plain = index.appearances.search(QUERY) if by == "appearance" else index.search(QUERY, top=10)
    assert _search(index, by=by) == plain


def test_right_ones_come_first_and_wrong_ones_last(index):
    matches = _search(index)
    assert _cameras(matches) == [0, 1, 2, 3, 4, 5]
    assert index.judgements.judge("coat", [matches[4]], is_right=True, maker="ann") == 1
    assert index.judgements.judge("coat", [matches[0]], is_right=False) == 1
    found = _search(index)
    assert (_cameras(found)[0], _cameras(found)[-1], len(found)) == (4, 0, 6)
    assert [m.judgement for m in found] == [True, *[None] * 4, False]
    refined = refine_query(QUERY, LOOKS[4][None], LOOKS[0][None])
    for match in found:
        expected = float(LOOKS[int(match.camera[3:])] @ refined)
        assert match.similarity == pytest.approx(expected, abs=1e-6)
    assert _cameras(_search(index, top=2))[-1] == 0 and len(_search(index, top=2)) == 3
    assert index.judgements.search("hat", QUERY) == index.appearances.search(QUERY)
    of_frames = _search(index, by="frame", top=20)
    assert [m.judgement for m in of_frames].count(True) == 1, "of a frame nobody else is judged"


@pytest.mark.parametrize("by", ["appearance", "frame"])
def test_right_ones_keep_their_order_whatever_is_judged_next(index, by):
    matches = {int(m.camera[3:]): m for m in _search(index)}
    index.judgements.judge("coat", [matches[1], matches[2]], is_right=True)
    assert _cameras(_search(index, by=by))[:2] == [1, 2]
    index.judgements.judge("coat", [matches[4]], is_right=False)
    first, second = _search(index, by=by)[:2]
    assert _cameras([first, second]) == [1, 2]
    assert first.similarity < second.similarity, "to the query that was moved away from the wrong"


def test_taken_back_is_what_is_gone_when_read_back(index, monkeypatch):
    index.judgements.judge("coat", _search(index)[:3], is_right=True)
    database = index._store.judgements._database
    honest = type(database).writing

    @contextmanager
    def forgetting(self, doing):
        with honest(self, doing) as connection:
            connection.execute("SAVEPOINT lost")
            yield connection
            connection.execute("ROLLBACK TO lost")

    monkeypatch.setattr(type(database), "writing", forgetting)
    assert index.judgements.undo("coat", 2) == 0
    monkeypatch.undo()
    assert index.judgements.undo("coat", 2) == 2


def test_the_last_word_counts_and_can_be_taken_back(index):
    matches = _search(index)
    index.judgements.judge("coat", matches[:2], is_right=True)
    index.judgements.judge("coat", [matches[0]], is_right=False, maker="bob")
    judged = index.judgements.of("coat")
    assert [(j.person.camera, j.is_right, j.maker) for j in judged] == [
        ("cam1", True, ""),
        ("cam0", False, "bob"),
    ]
    assert index.judgements.subjects() == {"coat": (1, 1)}
    assert index.judgements.undo("coat") == 1
    assert [j.person.camera for j in index.judgements.of("coat")] == ["cam1"]
    assert index.judgements.undo("coat", None) == 1 and index.judgements.undo("coat") == 0
    assert index.judgements.subjects() == {}


def test_a_judgement_holds_for_the_stay_after_it_was_linked_anew(index):
    match = _search(index)[3]
    index.judgements.judge("coat", [match], is_right=False)
    early = People(np.float32([[0, 0, 40, 90]]), np.float32([0.9]), LOOKS[3][None])
    index.put([(make_frame("/3/0.5.jpg", "cam3", 1.7e9 - 5), early)])
    index.appearances.link()
    found = _search(index)
    assert found[-1].camera == "cam3" and found[-1].judgement is False
    assert found[-1].appearance.frames == 3


def test_what_is_removed_takes_its_judgements_along(index):
    matches = _search(index)
    index.judgements.judge("coat", matches[:2], is_right=True)
    index.remove(camera="cam0")
    assert [j.person.camera for j in index.judgements.of("coat")] == ["cam1"]
    index.remove(camera="cam1")
    assert index.judgements.subjects() == {}
    assert b"coat" not in Path(index.uri).read_bytes()


def test_a_filter_and_a_least_similarity(index):
    index.judgements.judge("coat", [_search(index)[5]], is_right=False)
    found = _search(index, frames=FrameFilter(cameras=["cam1", "cam5"]))
    assert _cameras(found) == [1, 5]
    assert _cameras(_search(index, min_similarity=0.8)) == [0, 1]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda j, m: j.judge("", m, is_right=True), "subject '': expected 1 to 200"),
        (lambda j, m: j.judge("a\nb", m, is_right=True), "printable"),
        (lambda j, m: j.judge("x" * 201, m, is_right=True), "1 to 200"),
        (lambda j, m: j.judge("a", m, is_right=True, maker="\0"), "maker"),
        (lambda j, m: j.undo("a", 0), "count is 0"),
        (lambda j, m: j.search("a", QUERY, by="person"), "by is 'person'"),
        (lambda j, m: j.search("a", QUERY, top=0), "top is 0"),
        (lambda j, m: j.search("a", QUERY, fingerprint="b"), "cannot be compared"),
    ],
)
def test_what_makes_no_sense(index, call, words):
    with pytest.raises(GalleryError, match=words):
        call(index.judgements, _search(index)[:1])


def test_a_match_that_is_gone_keeps_nothing(index):
    matches = _search(index)
    index.remove(camera="cam0")
    with pytest.raises(GalleryError, match="does not hold this person"):
        index.judgements.judge("coat", [matches[1], matches[0]], is_right=True)
    assert index.judgements.subjects() == {}


def test_damage_is_found_and_a_repair_keeps_the_rest(index):
    index.judgements.judge("coat", _search(index)[:3], is_right=True)
    index.close()
    connection = sqlite3.connect(index.uri, isolation_level=None)
    connection.execute("UPDATE judgements SET is_right = 0 WHERE id = 2")
    connection.close()
    assert check_gallery_file(index.uri).problems == ["a judgement about 'coat' is not as stored"]
    with GalleryIndex.open(index.uri) as opened, pytest.raises(GalleryError, match="is damaged"):
        _search(opened)
    report = check_gallery_file(index.uri, repair=True)
    assert "kept 2 judgements, 1 are lost" in report.repaired
    with GalleryIndex.open(index.uri) as opened:
        assert opened.judgements.subjects() == {"coat": (2, 0)}
        assert _search(opened)[0].judgement is True
    assert not check_gallery_file(index.uri).problems
