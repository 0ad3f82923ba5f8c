import dataclasses
import shutil
import sqlite3

import numpy as np
import pytest
from helpers_gallery import FINGERPRINT, make_frame, unit

from person_search.gallery import linking
from person_search.gallery.checking import check_gallery_file
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex
from person_search.gallery.rows import Linked, stream_of
from person_search.gallery.search_options import FrameFilter
from person_search.people import People

DIM = 32
MODEL = {"fingerprint": FINGERPRINT, "embedding_dim": DIM}
DATE = 1.7e9
LOOKS = unit(np.random.default_rng(0).normal(size=(6, DIM)))


def _people(rng, who, time):
    embeddings = unit(LOOKS[list(who)].reshape(-1, DIM) + 0.03 * rng.normal(size=(len(who), DIM)))
    boxes = [[60 * w + time % 5, 10, 60 * w + 40 + time % 5, 110] for w in who]
    return People(np.float32(boxes).reshape(-1, 4), np.full(len(who), 0.9, np.float32), embeddings)


def _frame(rng, camera, time, who):
    return make_frame(f"/{camera}/{time}.jpg", camera, DATE + time), _people(rng, who, time)


def _walks():
    """80 s of two cameras, a frame a second: each of six people comes and goes every minute."""
    rng = np.random.default_rng(1)
    return [
        _frame(rng, camera, time, [w for w in range(6) if (time // 20 + w) % 3 == 0])
        for camera in ("hall", "yard")
        for time in range(80)
    ]


WALKS = _walks()


def _said(index):
    """What a gallery says of its appearances, without their numbers."""
    said = []
    for one in index.appearances.within():
        stay, best = one.appearance, one.best
        place = (stay.camera, stay.start, stay.end, stay.frames, best.image, best.box_xyxy)
        said.append((*place, one.embedding.tobytes()))
    return sorted(said)


@pytest.fixture(scope="module")
def walked_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("walked") / "g.db"
    with GalleryIndex.create(path, **MODEL) as index:
        index.put(WALKS)
        index.appearances.link()
    return path


@pytest.fixture
def walked(tmp_path, walked_file):
    shutil.copy(walked_file, tmp_path / "g.db")
    with GalleryIndex.open(tmp_path / "g.db") as index:
        yield index


def test_people_are_linked_into_stays_once(walked):
    assert walked.appearances.link() == Linked()
    found = list(walked.appearances.within())
    assert len(found) == walked.info().appearances == 16
    for one in found:
        stay, sights = one.appearance, walked.appearances.sights(one.appearance.id)
        assert (stay.end - stay.start, stay.frames) == (19, 20)
        assert [s.timestamp for s in sights] == [stay.start + i for i in range(20)]
        assert {s.camera for s in sights} == {stay.camera}
        assert {s.appearance for s in sights} == {stay}
        people = [walked.people_of(s.image) for s in sights]
        rows = [
            p.embeddings[int(abs(p.boxes - s.box_xyxy).sum(axis=1).argmin())]
            for p, s in zip(people, sights, strict=True)
        ]
        assert len({int((LOOKS @ row).argmax()) for row in rows}) == 1, "one person"
        mean = np.mean(np.float64(rows), axis=0)
        np.testing.assert_allclose(one.embedding, mean / np.linalg.norm(mean), atol=1e-6)
        assert one.best.image in {s.image for s in sights}


@pytest.mark.parametrize("batch", [3, 50])
def test_linking_in_pieces_gives_the_same_to_the_bit(tmp_path, monkeypatch, walked, batch):
    monkeypatch.setattr(linking, "CHUNK_FRAMES", 3)
    with GalleryIndex.create(tmp_path / "pieces.db", **MODEL) as index:
        for first in range(0, len(WALKS), batch):
            index.put(WALKS[first : first + batch])
            index.appearances.link()
        assert _said(index) == _said(walked)


def test_footage_in_any_order_gives_the_same(tmp_path, walked):
    order = np.random.default_rng(2).permutation(len(WALKS))
    with GalleryIndex.create(tmp_path / "shuffled.db", **MODEL) as index:
        for some in np.array_split(order, 5):
            index.put([WALKS[place] for place in some])
            index.appearances.link()
        assert _said(index) == _said(walked)
    assert not check_gallery_file(tmp_path / "shuffled.db").problems


def test_a_stay_loses_the_frames_that_are_removed(walked):
    until = DATE + 50
    before = {one.appearance.id: one.appearance for one in walked.appearances.within()}
    walked.remove(until=until)
    after = {one.appearance.id: one.appearance for one in walked.appearances.within()}
    assert set(after) == {i for i, stay in before.items() if stay.end > until}
    cut = [stay for i, stay in after.items() if before[i].start <= until]
    assert cut and all(
        (stay.start, stay.end, stay.frames) == (until + 1, before[stay.id].end, 9) for stay in cut
    )
    assert all(after[i] == before[i] for i in after if before[i].start > until)
    assert walked.appearances.link() == Linked(), "what is left stays linked"
    walked.remove(camera="hall")
    assert {one.appearance.camera for one in walked.appearances.within()} == {"yard"}
    assert not check_gallery_file(walked.uri).problems


def test_a_frame_that_changed_is_linked_anew(walked):
    frame, people = WALKS[10]
    changed = make_frame(frame.name, frame.camera, frame.timestamp, "second")
    walked.put([(changed, people.select([0]))])
    assert walked.appearances.link().frames > 1
    stays = [one.appearance for one in walked.appearances.within() if one.appearance.start == DATE]
    assert sorted(stay.frames for stay in stays if stay.camera == "hall")[0] == 19
    assert not check_gallery_file(walked.uri).problems


def test_pictures_that_stand_alone_stay_alone(tmp_path):
    rng = np.random.default_rng(4)
    alone = [
        make_frame("/a/1.jpg", "hall", None),
        make_frame("/a/2.jpg", None, DATE),
        make_frame("/a/3.jpg", "hall", 12.0),
    ]
    videos = [
        make_frame(f"/a/{n}.mp4#frame={f}", camera, float(f))
        for n, camera in (("x", None), ("y", "hall"))
        for f in range(4)
    ]
    assert [stream_of(frame) for frame in alone] == [None] * 3
    assert {stream_of(frame) for frame in videos} == {"file:/a/x.mp4", "file:/a/y.mp4"}
    with GalleryIndex.create(tmp_path / "g.db", **MODEL) as index:
        index.put([(frame, _people(rng, [0, 1], 0)) for frame in alone + videos])
        assert index.appearances.link() == Linked(8, 16, 4)
        found = index.appearances.search(LOOKS[0], top=20)
    assert len(found) == 7, "the two people of a picture count once, as in a search of frames"
    assert [m.appearance is None for m in found].count(True) == 3


def test_pictures_of_the_same_second_follow_each_other(tmp_path):
    rng = np.random.default_rng(5)
    entries = [
        (make_frame(f"/h/{n}.jpg", "hall", DATE + n // 3), _people(rng, [0], 0)) for n in range(9)
    ]
    with GalleryIndex.create(tmp_path / "g.db", **MODEL) as index:
        index.put(entries)
        index.appearances.link()
        (one,) = index.appearances.within()
        assert one.appearance.frames == 9
        assert one.appearance.end == pytest.approx(DATE + 2 + 2 * linking.SAME_MOMENT)
        sights = index.appearances.sights(one.appearance.id)
        assert [s.image for s in sights] == [f"/h/{n}.jpg" for n in range(9)]


def _by_hand(index, query, ranked, fits=lambda sight: True):
    """Return (similarity, first frame) of each appearance, best first."""
    found = []
    for one in index.appearances.within():
        values = []
        for sight in index.appearances.sights(one.appearance.id):
            people = index.people_of(sight.image)
            row = int(abs(people.boxes - sight.box_xyxy).sum(axis=1).argmin())
            if fits(sight):
                values.append(float(people.embeddings[row].astype(np.float64) @ query))
        if values:
            found.append((float(np.mean(sorted(values)[::-1][:ranked])), one.appearance.id))
    return sorted(found, reverse=True)


@pytest.mark.parametrize("ranked", [1, 3, None])
@pytest.mark.parametrize("top", [1, 5, 100])
def test_a_search_ranks_stays_as_by_hand(walked, ranked, top):
    query = unit(LOOKS[2] + 0.4 * LOOKS[3])
    expected = _by_hand(walked, query, ranked)
    found = walked.appearances.search(query, top=top, ranked_frames=ranked)
    assert [m.appearance.id for m in found] == [i for _, i in expected[:top]]
    np.testing.assert_allclose(
        [m.similarity for m in found], [s for s, _ in expected[:top]], atol=1e-6
    )


def test_a_filter_looks_at_the_frames_of_a_stay(walked):
    query = LOOKS[0]
    since, until = DATE + 5, DATE + 64
    wanted = FrameFilter(cameras=["yard"], since=since, until=until)

    def fits(sight):
        return sight.camera == "yard" and since <= sight.timestamp <= until

    for ranked in (1, None):
        expected = _by_hand(walked, query, ranked, fits)
        found = walked.appearances.search(query, top=50, frames=wanted, ranked_frames=ranked)
        assert [m.appearance.id for m in found] == [i for _, i in expected]
        assert all(fits(m) for m in found)
    least = expected[2][0] - 1e-6
    found = walked.appearances.search(
        query, frames=wanted, ranked_frames=None, min_similarity=least
    )
    assert len(found) == 3


def test_a_search_sees_links_of_another_process(tmp_path):
    with GalleryIndex.create(tmp_path / "g.db", **MODEL) as index:
        index.put(WALKS[:30])
        assert index.appearances.search(LOOKS[0])[0].appearance is None
        with GalleryIndex.open(tmp_path / "g.db") as other:
            other.appearances.link()
        assert index.appearances.search(LOOKS[0])[0].appearance.frames == 20


def test_who_is_before_after_and_beside(walked):
    stays = sorted(
        (one.appearance for one in walked.appearances.within(cameras=["hall"])),
        key=lambda stay: (stay.start, stay.id),
    )
    for place, stay in enumerate(stays):
        before, after = walked.appearances.neighbors(stay.id)
        assert (before and before.appearance) == (stays[place - 1] if place else None)
        assert (after and after.appearance) == (
            stays[place + 1] if place + 1 < len(stays) else None
        )
        beside = [one.appearance for one in walked.appearances.beside(stay.id)]
        assert beside == [
            other for other in stays
            if other.id != stay.id and other.end >= stay.start and other.start <= stay.end
        ]  # fmt: skip
        assert len(beside) == 1
    some = list(walked.appearances.within(DATE + 15, DATE + 25, ["hall"]))
    assert [one.appearance.start - DATE for one in some] == [0, 0, 20, 20]


@pytest.mark.parametrize("camera", [None, "hall"])
def test_another_video_without_date_is_not_beside(tmp_path, camera):
    """Its times count from its own start; they overlapped all the same."""
    rng = np.random.default_rng(1)
    with GalleryIndex.create(tmp_path / "g.db", **MODEL) as index:
        for video, who in (("a", [0, 1]), ("b", [2])):
            names = {n: f"/{video}.mp4#frame={n}" for n in range(3)}
            index.put([(make_frame(names[n], camera, n), _people(rng, who, n)) for n in names])
        index.appearances.link()
        stays = [one.appearance.id for one in index.appearances.within()]
        beside = {i: [o.appearance.id for o in index.appearances.beside(i)] for i in stays}
        alone = index.appearances.search(LOOKS[2], top=1)[0].appearance.id
    others = [i for i in stays if i != alone]
    assert len(stays) == 3 and beside == {
        alone: [], others[0]: others[1:], others[1]: others[:1],
    }  # fmt: skip


@pytest.mark.parametrize("number", [12345, 10**30])
@pytest.mark.parametrize("method", ["get", "sights", "neighbors", "beside"])
def test_an_appearance_that_is_not_there(walked, method, number):
    """A number too large for a column ended in a traceback."""
    with pytest.raises(GalleryError, match=rf"there is no appearance {number} .*search again"):
        getattr(walked.appearances, method)(number)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ranked_frames": 0}, "ranked_frames is 0; expected 1 to 1000, or None"),
        ({"ranked_frames": 1001}, "ranked_frames is 1001"),
        ({"top": 0}, "top is 0"),
        ({"fingerprint": "another"}, "cannot be compared"),
    ],
)
def test_searches_that_make_no_sense(walked, options, words):
    with pytest.raises(GalleryError, match=words):
        walked.appearances.search(LOOKS[0], **options)


@pytest.mark.parametrize(
    "harm",
    [
        'UPDATE appearances SET "end" = "end" + 1 WHERE id = 3',
        "UPDATE appearances SET best = best + 65536 WHERE id = 3",
        "UPDATE sightings SET time = time + 0.5 WHERE person = (SELECT min(person) FROM sightings)",
        "UPDATE sightings SET appearance = 4 WHERE appearance = 3",
        "DELETE FROM sightings WHERE person = (SELECT max(person) FROM sightings)",
    ],
)
def test_damage_is_found_and_repaired_by_linking_anew(walked, harm):
    walked.close()
    expected = _said(GalleryIndex.open(walked.uri))
    connection = sqlite3.connect(walked.uri, isolation_level=None)
    connection.execute(harm)
    connection.close()
    (problem,) = check_gallery_file(walked.uri).problems
    assert "appearance" in problem
    with GalleryIndex.open(walked.uri) as index, pytest.raises(GalleryError, match="is damaged"):
        index.appearances.search(LOOKS[0], top=50)
    report = check_gallery_file(walked.uri, repair=True)
    assert report.repaired[-1] == "linked the people of gallery 'gallery' into 16 appearances"
    with GalleryIndex.open(walked.uri) as index:
        assert _said(index) == expected


def _crossing(size):
    """Somebody walks out of the right edge of 200 pixels, and comes back from there 4 s later."""
    rng = np.random.default_rng(8)
    entries = []
    for number, left in enumerate([100, 130, 155, 160, 130, 100]):
        time = number if number < 3 else number + 4
        box = np.float32([[left, 10, left + 40, 110]])
        people = People(box, np.float32([0.9]), unit(LOOKS[:1] + 0.03 * rng.normal(size=(1, DIM))))
        frame = make_frame(f"/hall/{number}.jpg", "hall", DATE + time)
        entries.append((dataclasses.replace(frame, size=size), people))
    return entries


TWICE, ONCE = [(0, 2, 3), (7, 9, 3)], [(0, 9, 6)]


@pytest.mark.parametrize(
    ("size", "expected"), [((200, 120), TWICE), (None, ONCE), ((640, 360), ONCE)]
)
def test_who_walks_out_of_a_picture_of_known_size_begins_a_new_stay(tmp_path, size, expected):
    with GalleryIndex.create(tmp_path / "g.db", **MODEL) as index:
        index.put(_crossing(size))
        assert {frame.size for frame in index.frames()} == {size}
        index.appearances.link()
        stays = [one.appearance for one in index.appearances.within()]
    assert [(s.start - DATE, s.end - DATE, s.frames) for s in stays] == expected
    assert not check_gallery_file(tmp_path / "g.db").problems


def test_in_pieces_and_in_any_order_whoever_left_has_left(tmp_path, monkeypatch):
    monkeypatch.setattr(linking, "CHUNK_FRAMES", 1)
    entries = _crossing((200, 120))
    with GalleryIndex.create(tmp_path / "g.db", **MODEL) as index:
        for place in (3, 0, 5, 1, 2, 4):
            index.put([entries[place]])
            index.appearances.link()
        stays = [one.appearance for one in index.appearances.within()]
    assert [(s.start - DATE, s.end - DATE, s.frames) for s in stays] == TWICE


def test_sizes_go_into_a_merged_and_a_repaired_gallery(tmp_path):
    with GalleryIndex.create(tmp_path / "g.db", **MODEL) as index:
        index.put(_crossing((200, 120)))
        with GalleryIndex.create(tmp_path / "other.db", **MODEL) as other:
            other.merge(index)
            assert {frame.size for frame in other.frames()} == {(200, 120)}
    connection = sqlite3.connect(tmp_path / "g.db", isolation_level=None)
    connection.execute("UPDATE frames SET width = 100 WHERE id = 2")
    connection.close()
    problems = check_gallery_file(tmp_path / "g.db").problems
    assert any("/hall/1.jpg: its row is not as stored" in problem for problem in problems)
    check_gallery_file(tmp_path / "g.db", repair=True)
    with GalleryIndex.open(tmp_path / "g.db") as index:
        assert [frame.size for frame in index.frames()] == [(200, 120)] * 5
