"""One person removed from a gallery file, everybody else as they were."""

import numpy as np
import pytest
from helpers_gallery import FINGERPRINT, make_frame, unit

from person_search.gallery.checking import check_gallery_file
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex
from person_search.people import People

DIM = 8
LOOKS = unit(np.eye(DIM)[:4] + 0.01)
# Who is in the hall in which seconds; person 2 goes and comes back.
SEEN = {0: range(6), 1: range(2, 8), 2: (*range(3), *range(40, 44)), 3: (60,)}


@pytest.fixture
def town(tmp_path):
    """Four people in a hall, linked and grouped, and a picture without a date."""
    path = tmp_path / "town.db"
    with GalleryIndex.create(path, fingerprint=FINGERPRINT, embedding_dim=DIM) as index:
        entries = []
        for second in sorted({s for seconds in SEEN.values() for s in seconds}):
            who = [w for w, seconds in SEEN.items() if second in seconds]
            entries.append(
                (make_frame(f"/hall/{second}.jpg", "hall", 1.7e9 + second), _people(who))
            )
        entries.append((make_frame("/undated.jpg"), _people([1, 3])))
        index.put(entries)
        index.appearances.link()
        index.appearances.groups.refresh(0.8)
    return path


def _people(who):
    boxes = np.float32([[60 * w + 3.5, 0, 60 * w + 43.25, 91.5] for w in who])
    return People(boxes, np.full(len(who), 0.9, np.float32), LOOKS[who])


def _stays(index, who):
    return [
        one.appearance.id
        for one in index.appearances.within()
        if float(one.embedding @ LOOKS[who]) > 0.9
    ]


def _said(index):
    """All that is known of everybody, without ids, which may change."""
    frames = {f.name: index.people_of(f.name).boxes[:, 0].tolist() for f in index.frames()}
    stays = sorted(
        (one.appearance.start, one.appearance.end, one.appearance.frames, one.best.image)
        for one in index.appearances.within()
    )
    groups = sorted(
        (g.number, g.name, [a.start for a in g.appearances]) for g in index.appearances.groups.all()
    )
    return frames, stays, groups


def test_everybody_else_stays_as_they_are(town):
    with GalleryIndex.open(town) as index:
        groups = index.appearances.groups
        by_who = {who: _stays(index, who) for who in SEEN}
        group_of = {a.id: g.number for g in groups.all() for a in g.appearances}
        groups.name(group_of[by_who[1][0]], "Bert")
        groups.name(group_of[by_who[0][0]], "Anna Quietly")
        for who, subject in ((0, "quiet coat"), (1, "loud coat")):
            best = index.appearances.get(by_who[who][0]).best
            index.judgements.judge(subject, [best], is_right=True)
        frames, stays, listed = _said(index)
        state = index.accountability.state()
        gone = index.appearances.forget(by_who[0])
        assert gone == (6, 6, 1, 1)
        assert index.accountability.state() != state
        expected = {n: [x for x in lefts if x != 3.5] for n, lefts in frames.items()}
        now = _said(index)
        assert now[0] == expected and len(now[1]) == len(stays) - 1
        assert set(now[1]) < set(stays)
        assert now[2] == [g for g in listed if g[1] != "Anna Quietly"]
        assert set(index.judgements.subjects()) == {"loud coat"}
        assert index.info().people == sum(map(len, expected.values()))
        found = index.appearances.search(LOOKS[1], min_similarity=0.9)
        assert [match.timestamp is None for match in found] in ([True, False], [False, True])
        assert not index.appearances.search(LOOKS[0], min_similarity=0.9)
        assert index.appearances.link().frames == 0, "nothing is linked anew"
    assert check_gallery_file(town).problems == []


def test_no_byte_of_the_person_is_left(town):
    """Neither of names that a group once had, nor of the action that gave it."""
    with GalleryIndex.open(town) as index, GalleryIndex.open(town) as reader:
        groups = index.appearances.groups
        first, second = _stays(index, 2)
        of = {a.id: g.number for g in groups.all() for a in g.appearances}
        groups.name(of[first], "Carla Quietly")
        groups.move([second], None)
        index.judgements.judge("Carla Q.", index.appearances.sights(first), is_right=True)
        reader.search(LOOKS[2])
        index.appearances.forget([first, second])
        raw = {p.name: p.read_bytes() for p in town.parent.iterdir()}
        assert {"town.db", "town.db-wal"} <= set(raw)
        for name, data in raw.items():
            assert LOOKS[2].tobytes() not in data and b"Carla" not in data, name
            assert np.array(123.5, ">f8").tobytes() not in data, name
        assert LOOKS[3].tobytes() in raw["town.db"]
        assert len(reader.search(LOOKS[3], min_similarity=0.9)) == 2


def test_somebody_of_a_picture_without_stays(town):
    with GalleryIndex.open(town) as index:
        assert index.appearances.forget([], [("/undated.jpg", 0)]) == (1, 1, 0, 0)
        assert index.people_of("/undated.jpg").boxes[:, 0].tolist() == [183.5]
        with pytest.raises(GalleryError, match=r"does not hold person 1 of /undated\.jpg; nothing"):
            index.appearances.forget(_stays(index, 1), [("/undated.jpg", 0)])
        with pytest.raises(GalleryError, match="does not hold appearance 99"):
            index.appearances.forget([99])
        assert _stays(index, 1)


def test_of_a_stay_of_which_a_few_are_kept_nothing_is_left(town):
    """Neither where the person was in the other frames, nor that an alert told of them."""
    with GalleryIndex.open(town) as index:
        (his,), (hers,) = _stays(index, 0), _stays(index, 1)
        assert index.appearances.keep_best(1).people > 0
        best = [index.appearances.get(stay).best for stay in (his, hers)]
        index.appearances.keep_told([("quiet query", best[0]), ("loud query", best[1])])
        assert index.appearances.forget([his]).appearances == 1
        assert index.appearances.told("quiet query") == []
        assert [stay.id for stay in index.appearances.told("loud query")] == [hers]
        assert index.appearances.get(hers).appearance.frames == 6
        assert index.appearances.search(LOOKS[1])[0].appearance.id == hers
        data = town.read_bytes()
        assert b"quiet query" not in data and np.array(43.25, ">f8").tobytes() not in data
        assert np.array(103.25, ">f8").tobytes() in data
    assert check_gallery_file(town).problems == []


def test_what_is_not_linked_yet_is_linked_later(town):
    with GalleryIndex.open(town) as index:
        index.put([(make_frame("/hall/90.jpg", "hall", 1.7e9 + 90), _people([2, 3]))])
        index.appearances.forget([], [("/hall/90.jpg", 0)])
        assert index.appearances.link() == (1, 1, 1)


def test_removed_frames_take_the_names_of_their_groups_along(town):
    """The list of actions, by which they are undone, had them for ever."""
    with GalleryIndex.open(town) as index:
        groups = index.appearances.groups
        (stay,) = _stays(index, 3)
        (number,) = [g.number for g in groups.all() if stay in [a.id for a in g.appearances]]
        groups.name(number, "Dora Quietly")
        index.remove(names=["/hall/60.jpg"])
        assert b"Quietly" not in town.read_bytes()
        assert groups.undo() is None


def test_the_state_is_that_of_the_content(town, tmp_path):
    with GalleryIndex.open(town) as index:
        first = index.accountability.state()
        added = (make_frame("/later.jpg"), _people([1]))
        index.put([added])
        assert index.accountability.state() != first
        index.remove(names=["/later.jpg"])
        assert index.accountability.state() == first and len(first) == 64
        index.judgements.judge("x", [index.search(LOOKS[0])[0]], is_right=True)
        assert index.accountability.state() == first
