"""What a detector took for people and somebody called nobody: out of answers and lists."""

import shutil
import sqlite3

import numpy as np
import pytest
from helpers_gallery import FINGERPRINT, make_frame, unit

from person_search.gallery.checking import back_up, check_gallery_file
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex
from person_search.gallery.search_options import ByNeighbors, FrameFilter
from person_search.people import People

DIM = 16
MODEL = {"fingerprint": FINGERPRINT, "embedding_dim": DIM}
MORNING = 1_777_881_600.0
LOOKS = unit(np.eye(DIM)[:6] + 0.3)
BENCH = 2


def stay(who, camera, start, seconds=4):
    """Frames of some side by side, a frame a second; the bench is a little like all others."""
    boxes = np.float32([[60 * w, 10, 60 * w + 40, 110] for w in who])
    people = People(boxes, np.full(len(who), 0.9, np.float32), LOOKS[who])
    return [
        (make_frame(f"/{camera}/{start + t:.0f}.jpg", camera, MORNING + start + t), people)
        for t in range(seconds)
    ]


FOOTAGE = [
    *stay([BENCH, 0], "hall", 0),
    *stay([BENCH], "hall", 60),
    *stay([0], "yard", 60),
    *stay([1], "yard", 120),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("nobody") / "g.db"
    with GalleryIndex.create(path, **MODEL) as index:
        index.put(FOOTAGE)
        index.appearances.link()
        index.appearances.groups.refresh(0.9)
    return path


@pytest.fixture
def index(tmp_path, made):
    shutil.copy(made, tmp_path / "g.db")
    with GalleryIndex.open(tmp_path / "g.db") as opened:
        yield opened


def told(groups):
    return {g.number: [(a.camera, a.start - MORNING) for a in g.appearances] for g in groups}


PEOPLE = {2: [("hall", 0), ("yard", 60)], 3: [("yard", 120)]}
NOBODY = {1: [("hall", 0), ("hall", 60)]}


def call_the_bench(index):
    groups = index.appearances.groups
    groups.call_nobody([1])
    assert told(groups.all()) == PEOPLE and told(groups.all(nobody=True)) == NOBODY
    return groups


def frames(matches):
    return [(m.image, m.is_nobody) for m in matches]


def test_nobody_is_in_no_list_and_in_nobodys_company(index):
    groups = index.appearances.groups
    assert [g.number for g in groups.all()] == [1, 2, 3] and groups.get(2).company == [(1, 1)]
    call_the_bench(index)
    assert groups.get(2).company == () and groups.get(1).company == ()
    him = groups.get(2).appearances[0].id
    assert index.appearances.beside(him) == []
    groups.refresh(0.9, anew=True)
    assert told(groups.all()) == PEOPLE and told(groups.all(nobody=True)) == NOBODY
    assert groups.undo() == "call group 1 nobody"
    assert told(groups.all()) == {**NOBODY, **PEOPLE}
    assert len(index.appearances.beside(him)) == 1


def test_searches_leave_nobody_out_and_give_as_many_as_are_asked_for(index):
    query, appearances = LOOKS[BENCH], index.appearances
    before = appearances.search(query, top=5, with_nobody=True)
    assert len(before) == 5 and not any(m.is_nobody for m in before)
    call_the_bench(index)
    found = appearances.search(query, top=5, with_nobody=True)
    assert [m.person for m in found] == [m.person for m in before]
    assert [m.is_nobody for m in found] == [True, True, False, False, False]
    assert appearances.search(query, top=5) == found[2:]
    assert appearances.search(query, top=2) == found[2:4]
    assert appearances.search(query, top=2, with_nobody=True) == found[:4]
    means = appearances.search(query, top=2, ranked_frames=None, with_nobody=True)
    assert [m.appearance.id for m in means] == [m.appearance.id for m in found[:4]]
    assert appearances.search(query, top=5, min_similarity=0.99) == []
    in_yard = FrameFilter(cameras=["yard"])
    assert not any(m.is_nobody for m in appearances.search(query, frames=in_yard, with_nobody=True))


def test_nobody_stands_before_no_person_of_the_same_frame(index):
    query, hall = LOOKS[BENCH], FrameFilter(cameras=["hall"], until=MORNING + 30)
    assert len(index.search(query, frames=hall)) == 4
    call_the_bench(index)
    found = index.search(query, frames=hall)
    people = [index.people_of(m.image).boxes[1].tolist() for m in found]
    assert [list(m.box_xyxy) for m in found] == people and len(found) == 4
    marked = index.search(query, frames=hall, with_nobody=True)
    assert [m.is_nobody for m in marked] == [True, *[False] * 4], "once, not in every frame"
    everybody = index.search(query, frames=hall, one_per_frame=False)
    assert everybody == found and all(m.appearance is None for m in everybody)
    refined = index.search(query, frames=hall, one_per_frame=False, refine=ByNeighbors())
    assert sorted(frames(refined)) == sorted(frames(found))


def test_judgements_of_a_search_leave_nobody_out(index):
    call_the_bench(index)
    right = index.appearances.search(LOOKS[0], top=1)
    index.judgements.judge("him", right, is_right=True)
    for by in ("appearance", "frame"):
        found = index.judgements.search("him", LOOKS[BENCH], top=20, by=by)
        assert found[0].judgement and not any(m.is_nobody for m in found)
        marked = index.judgements.search("him", LOOKS[BENCH], top=20, by=by, with_nobody=True)
        assert sum(m.is_nobody for m in marked) == 2
        assert [m for m in marked if not m.is_nobody] == found


def test_single_appearances_are_called_nobody_and_people_again(index):
    groups = index.appearances.groups
    one, other = (a.id for a in groups.get(1).appearances)
    assert groups.call_stays_nobody([other]) == [4]
    assert told(groups.all(nobody=True)) == {4: [("hall", 60)]} and 1 in told(groups.all())
    assert groups.call_stays_nobody([one]) == [1], "all of its group"
    groups.call_nobody([4, 1], False)
    assert groups.all(nobody=True) == [] and len(groups.all()) == 4
    assert [groups.undo() for _ in range(3)] == [
        "call groups 4, 1 somebody",
        f"call appearance {one} nobody",
        f"call appearance {other} nobody",
    ]
    assert told(groups.all()) == {**NOBODY, **PEOPLE}


def test_it_outlasts_linking_anew_and_nobody_joins_it(index):
    call_the_bench(index)
    index.put(stay([3], "hall", -60))
    index.put(stay([BENCH], "hall", 300))
    index.appearances.link()
    groups = index.appearances.groups
    groups.refresh()
    assert told(groups.all(nobody=True)) == NOBODY
    assert [("hall", 300)] in told(groups.all()).values(), "it is asked about, not hidden"
    assert sum(m.is_nobody for m in index.appearances.search(LOOKS[BENCH], with_nobody=True)) == 2


def test_repair_backup_and_merge_keep_it_and_it_goes_with_the_frames(index, tmp_path):
    call_the_bench(index)
    index.close()
    path = tmp_path / "g.db"
    back_up(path, tmp_path / "copy.db")
    connection = sqlite3.connect(path)
    connection.execute("UPDATE cameras SET num_frames = 99")
    connection.commit()
    connection.close()
    assert check_gallery_file(path, repair=True).repaired
    for name in ("g.db", "copy.db"):
        assert not check_gallery_file(tmp_path / name).problems
        with GalleryIndex.open(tmp_path / name) as kept:
            assert told(kept.appearances.groups.all(nobody=True)) == NOBODY
    with GalleryIndex.open(path) as repaired:
        with GalleryIndex.create(tmp_path / "other.db", **MODEL) as other:
            for _ in range(2):
                other.merge(repaired)
                other.appearances.link()
                other.appearances.groups.refresh(0.9)
                assert list(told(other.appearances.groups.all(nobody=True)).values()) == list(
                    NOBODY.values()
                )
        repaired.remove(camera="hall")
        assert repaired.appearances.groups.all(nobody=True) == []
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM group_verdicts").fetchone() == (0,)
    connection.close()


def test_a_changed_verdict_is_told_and_left_out_by_a_repair(index):
    call_the_bench(index)
    index.close()
    connection = sqlite3.connect(index.uri)
    connection.execute("UPDATE group_verdicts SET is_nobody = 0")
    connection.commit()
    connection.close()
    with GalleryIndex.open(index.uri) as opened:
        for ask in (opened.appearances.groups.all, lambda: opened.search(LOOKS[0])):
            with pytest.raises(GalleryError, match="verdict on group 1"):
                ask()
    (problem,) = check_gallery_file(index.uri, repair=True).problems
    assert "1 verdicts are not as stored" in problem


def test_another_process_sees_it_at_the_next_search(index):
    assert len(index.search(LOOKS[BENCH], top=20)) == 16
    with GalleryIndex.open(index.uri) as other:
        call_the_bench(other)
        assert len(index.search(LOOKS[BENCH], top=20)) == 12
        other.appearances.groups.undo()
        assert len(index.search(LOOKS[BENCH], top=20)) == 16


def test_wrong_use_changes_nothing(index):
    groups = index.appearances.groups
    for do, words in (
        (lambda: groups.call_nobody([]), "no group is given"),
        (lambda: groups.call_nobody([1, 9]), "there is no group 9"),
        (lambda: groups.call_stays_nobody([]), "no appearance is given"),
        (lambda: groups.call_stays_nobody([99]), "there is no appearance 99"),
    ):
        with pytest.raises(GalleryError, match=words):
            do()
    assert groups.undo() is None
