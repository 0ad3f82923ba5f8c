import shutil
import sqlite3

import numpy as np
import pytest
from helpers_gallery import FINGERPRINT, make_frame, unit

from person_search.gallery import group_rows
from person_search.gallery.checking import back_up, check_gallery_file
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex
from person_search.people import People

DIM = 16
MODEL = {"fingerprint": FINGERPRINT, "embedding_dim": DIM}
MORNING = 1_777_881_600.0
DAY = 86_400.0
LOOKS = unit(np.eye(DIM)[:6] + 0.3)


def stay(who, camera, start, seconds=4):
    """Frames of one person, or of some side by side, a frame a second."""
    who = [who] if isinstance(who, int) else who
    boxes = np.float32([[60 * w, 10, 60 * w + 40, 110] for w in who])
    people = People(boxes, np.full(len(who), 0.9, np.float32), LOOKS[who])
    return [
        (make_frame(f"/{camera}/{start + t:.0f}.jpg", camera, MORNING + start + t), people)
        for t in range(seconds)
    ]


TWO_DAYS = [
    *stay([0, 1], "hall", 0),  # together
    *stay(0, "yard", 60),
    *stay([0, 2], "hall", 120),
    *stay(1, "yard", 180),
    *stay(0, "hall", DAY),
]


def make(path, entries):
    index = GalleryIndex.create(path, **MODEL)
    index.put(entries)
    index.appearances.link()
    return index


@pytest.fixture(scope="module")
def two_days(tmp_path_factory):
    path = tmp_path_factory.mktemp("groups") / "g.db"
    make(path, TWO_DAYS).close()
    return path


@pytest.fixture
def index(tmp_path, two_days):
    shutil.copy(two_days, tmp_path / "g.db")
    with GalleryIndex.open(tmp_path / "g.db") as opened:
        yield opened


def said(index):
    """Numbers, names, and by camera and time who is in each group."""
    return {
        g.number: (g.name, [(a.camera, a.start - MORNING) for a in g.appearances])
        for g in index.appearances.groups.all()
    }


FOUND = {
    1: ("", [("hall", 0), ("yard", 60), ("hall", 120)]),
    2: ("", [("hall", 0), ("yard", 180)]),
    3: ("", [("hall", 120)]),
    4: ("", [("hall", DAY)]),
}


def test_who_was_here_how_often_and_with_whom(index):
    groups = index.appearances.groups
    assert groups.refresh(0.9) == 7 and groups.refresh() == 0
    assert said(index) == FOUND
    first, second, third, _ = groups.all()
    assert (first.number, first.frames, first.cameras) == (1, 12, ["hall", "yard"])
    assert sorted(first.company) == [(2, 1), (3, 1)] and second.company == [(1, 1)]
    assert index.appearances.get(third.best).appearance == third.appearances[0]
    assert not any(group.is_said for group in groups.all())


def test_across_days_on_demand_and_back(index):
    groups = index.appearances.groups
    groups.refresh(0.9)
    assert groups.refresh(across_days=True) == 7
    assert said(index)[1][1][-1] == ("hall", DAY) and len(said(index)) == 3
    assert groups.refresh() == 0 and groups.options == (0.9, True)
    groups.refresh(across_days=False)
    # The one that was joined and parted again is a new group.
    assert said(index) == {**{n: FOUND[n] for n in (1, 2, 3)}, 5: FOUND[4]}


def test_footage_that_comes_later_joins_groups_or_makes_new_ones(tmp_path):
    index = make(tmp_path / "g.db", TWO_DAYS[:8])
    index.appearances.groups.refresh(0.9)
    before = said(index)
    for entries in (TWO_DAYS[8:16], TWO_DAYS[16:]):
        index.put(entries)
        index.appearances.link()
        index.appearances.groups.refresh()
        after = said(index)
        assert all(after[number][1][: len(some[1])] == some[1] for number, some in before.items())
        before = after
    assert said(index) == FOUND, "the same as at once"
    index.close()


def test_a_look_between_two_groups_joins_one_and_both_only_anew(tmp_path):
    between = unit(LOOKS[0] + LOOKS[1])
    index = make(tmp_path / "g.db", [*stay(0, "hall", 0), *stay(1, "yard", 60)])
    groups = index.appearances.groups
    groups.refresh(0.8)
    assert LOOKS[0] @ LOOKS[1] < 0.8 < between @ LOOKS[0]
    for number in range(8):
        frame = make_frame(f"/gate/{number}.jpg", "gate", MORNING + 100 + 40 * number)
        index.put([(frame, People(np.float32([[0, 0, 9, 9]]), np.float32([0.9]), between[None]))])
        index.appearances.link()
        groups.refresh()
    assert sorted(len(g.appearances) for g in groups.all()) == [1, 9]
    groups.refresh(anew=True)
    assert [len(g.appearances) for g in groups.all()] == [10]
    index.close()


def _say(index):
    """Name somebody, merge two, and move one out; return what is said then."""
    groups = index.appearances.groups
    groups.refresh(0.9)
    groups.name(1, "  Anna   B. ")
    groups.merge([2, 3])
    yard = next(a.id for a in groups.get(1).appearances if a.camera == "yard")
    assert groups.move([yard], None) == 5
    expected = {
        1: ("Anna B.", [("hall", 0), ("hall", 120)]),
        2: ("", [("hall", 0), ("hall", 120), ("yard", 180)]),
        4: FOUND[4],
        5: ("", [("yard", 60)]),
    }
    assert said(index) == expected
    return expected


def test_what_somebody_said_wins_over_any_grouping(index):
    expected = _say(index)
    groups = index.appearances.groups
    for threshold, anew in ((0.9, True), (0.99, False), (-1, False), (0.9, False)):
        groups.refresh(threshold, anew=anew)
        named = {n: some for n, some in said(index).items() if n in (1, 2, 5)}
        day = {n: (name, [a for a in some if a[1] < DAY]) for n, (name, some) in named.items()}
        assert day == {n: expected[n] for n in (1, 2, 5)}
    # Footage from before all else is linked anew, with other numbers of appearances.
    ids = {a.appearance.id for a in index.appearances.within(cameras=["hall"])}
    index.put(stay(3, "hall", -60))
    index.appearances.link()
    assert ids != {a.appearance.id for a in index.appearances.within(cameras=["hall"])}
    groups.refresh()
    assert {n: some for n, some in said(index).items() if n in (1, 2, 5)} == {
        n: expected[n] for n in (1, 2, 5)
    }


def test_undoing_goes_back_step_by_step(index):
    _say(index)
    groups = index.appearances.groups
    done = []
    while (what := groups.undo()) is not None:
        done.append(what)
    assert len(done) == 3 and done[1] == "merge groups 2, 3"
    assert said(index) == FOUND
    assert groups.split(1, [groups.get(1).appearances[2].id]) == 6, "no number is given twice"


def test_what_is_undone_is_read_back(index, monkeypatch):
    _say(index)
    monkeypatch.setattr(group_rows.GroupRows, "undo", lambda rows: group_rows.Undone(1, "it"))
    with pytest.raises(GalleryError, match="'it' was undone and committed, but is there"):
        index.appearances.groups.undo()


def test_a_part_is_split_off_and_stays_so(index):
    groups = index.appearances.groups
    groups.refresh(0.9)
    last = groups.get(1).appearances[2].id
    assert groups.split(1, [last]) == 5
    groups.refresh(anew=True)
    assert said(index)[5] == ("", FOUND[1][1][2:]) and said(index)[1] == ("", FOUND[1][1][:2])
    assert groups.move([last], 1) == 1 and 5 not in said(index)
    assert said(index)[1] == FOUND[1]


def test_repair_backup_and_another_file_keep_what_was_said(index, tmp_path):
    expected = _say(index)
    path = tmp_path / "g.db"
    index.close()
    back_up(path, tmp_path / "copy.db")
    with GalleryIndex.open(tmp_path / "copy.db") as copy:
        assert said(copy) == expected
    connection = sqlite3.connect(path)
    connection.execute("UPDATE cameras SET num_frames = 99")
    connection.commit()
    connection.close()
    assert check_gallery_file(path, repair=True).repaired
    assert not check_gallery_file(path).problems
    with GalleryIndex.open(path) as repaired:
        assert said(repaired) == expected and repaired.appearances.groups.refresh() == 0
        with GalleryIndex.create(tmp_path / "other.db", **MODEL) as other:
            other.put(stay(4, "gate", 0))
            for _ in range(2):
                other.merge(repaired)
                other.appearances.link()
                other.appearances.groups.refresh(0.9)
                looks = sorted(said(other).values())
                there = [("", [("gate", 0)]), *expected.values()]
                assert looks == sorted(there), "groups have other numbers there"
            assert "take over" in other.appearances.groups.undo()


def test_what_was_said_goes_with_the_frames(index):
    _say(index)
    index.remove(camera="yard")
    index.remove(until=MORNING + 10)
    assert said(index)[1] == ("Anna B.", [("hall", 120)]) and 5 not in said(index)
    index.remove(until=MORNING + 200)
    assert said(index) == {4: FOUND[4]}
    index.close()
    path = index.uri
    assert not check_gallery_file(path).problems
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM group_names").fetchone() == (0,)
    connection.close()


def test_a_changed_row_is_told_and_left_out_by_a_repair(index):
    _say(index)
    index.close()
    connection = sqlite3.connect(index.uri)
    connection.execute("UPDATE group_names SET name = 'Otto'")
    connection.commit()
    connection.close()
    with GalleryIndex.open(index.uri) as opened, pytest.raises(GalleryError, match="name of group"):
        opened.appearances.groups.all()
    (problem,) = check_gallery_file(index.uri, repair=True).problems
    assert "1 names are not as stored" in problem
    with GalleryIndex.open(index.uri) as repaired:
        assert said(repaired)[1] == ("", [("hall", 0), ("hall", 120)])


def test_two_who_overlap_are_two_but_not_against_somebodys_word(tmp_path):
    index = make(tmp_path / "g.db", stay([0, 1], "hall", 0, seconds=8))
    groups = index.appearances.groups
    groups.refresh(-1)
    assert len(groups.all()) == 2
    groups.merge([1, 2])
    groups.refresh(anew=True)
    assert len(groups.all()) == 1
    index.close()


def test_another_process_that_groups_meanwhile(index, monkeypatch):
    groups, calls = index.appearances.groups, []
    read = group_rows.GroupRows.options

    def options(self):
        calls.append(1)
        if len(calls) == 2:  # between the look and the writing
            monkeypatch.undo()
            GalleryIndex.open(index.uri).appearances.groups.refresh(0.9)
        return read(self)

    monkeypatch.setattr(group_rows.GroupRows, "options", options)
    groups.refresh(0.9)
    assert said(index) == FOUND


def test_another_process_that_groups_anew_meanwhile(index, monkeypatch):
    """As many were in groups then as before; what was looked at last was taken for today's."""
    groups = index.appearances.groups
    groups.refresh(0.99)
    read, calls = group_rows.GroupRows.placements, []

    def placements(self):
        found = read(self)
        calls.append(1)
        if len(calls) == 1:
            GalleryIndex.open(index.uri).appearances.groups.refresh(-1, across_days=True)
        return found

    monkeypatch.setattr(group_rows.GroupRows, "placements", placements)
    groups.refresh(0.9, across_days=False)
    assert len(calls) > 2, "it has looked again"
    assert sorted(some for _, some in said(index).values()) == sorted(
        some for _, some in FOUND.values()
    )


@pytest.mark.parametrize("do", [lambda g: g.merge([5, 1]), lambda g: g.name(5, "")])
def test_a_group_that_is_gone_meanwhile_is_told(index, monkeypatch, do):
    """SQLite said that a constraint failed, and the gallery could not be used."""
    groups = index.appearances.groups
    groups.refresh(0.9)
    assert groups.split(1, [groups.get(1).appearances[0].id]) == 5
    there = groups.all()
    monkeypatch.setattr(type(groups._groups), "listed", lambda _: there)
    with GalleryIndex.open(index.uri) as other:
        other.appearances.groups.undo()
    with pytest.raises(GalleryError, match="there is no group 5 any more"):
        do(groups)
    assert groups.undo() is None, "nothing of it stays"


@pytest.mark.parametrize(
    ("do", "words"),
    [
        (lambda g, _: g.get(77), "there is no group 77"),
        (lambda g, _: g.merge([1]), "two different ones"),
        (lambda g, _: g.split(1, [99]), "appearance 99 is not in group 1"),
        (lambda g, ids: g.split(1, ids), "3 of its 3 appearances"),
        (lambda g, _: g.move([99], 1), "there is no appearance 99"),
        (lambda g, _: g.name(1, "x" * 101), "at most 100 letters"),
        (lambda g, _: g.name(1, "a\x1b[31mb"), "cannot be printed"),
        (lambda g, _: g.name(1, "a\udc80"), "cannot be printed"),
        (lambda g, _: (g.name(1, "A"), g.name(2, "A")), "group 1 is named 'A' already"),
        (lambda g, _: g.refresh(2), "expected -1 to 1"),
    ],
)
def test_wrong_use_changes_nothing(index, do, words):
    groups = index.appearances.groups
    with pytest.raises(GalleryError, match="nothing says how similar"):
        groups.refresh()
    groups.refresh(0.9)
    with pytest.raises(GalleryError, match=words):
        do(groups, [one.id for one in groups.get(1).appearances])
    assert {n: some for n, (_, some) in said(index).items()} == {
        n: some for n, (_, some) in FOUND.items()
    }


def test_a_gallery_of_nobody(tmp_path):
    with GalleryIndex.create(tmp_path / "g.db", **MODEL) as index:
        assert index.appearances.groups.refresh(0.5) == 0
        assert index.appearances.groups.all() == []
        assert index.appearances.groups.undo() is None
