import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from helpers_gallery import (
    DIM,
    FINGERPRINT,
    assert_holds,
    assert_matches,
    make_entries,
    make_frame,
    make_people,
    search_by_numpy,
    unit,
)

from person_search.gallery import matrix, matrix_search, schema, sqlite_rows, sqlite_store
from person_search.gallery.database import Database
from person_search.gallery.index import GalleryError, GalleryIndex, list_galleries
from person_search.gallery.search_options import ByContext, ByNeighbors, FrameFilter
from person_search.inference.model_card import ModelCard
from person_search.people import People

MODEL = {"fingerprint": FINGERPRINT, "embedding_dim": DIM}


def _queries(seed, count=5):
    return unit(np.random.default_rng(seed).normal(size=(count, DIM)))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("galleries") / "gallery.db"


@pytest.fixture(scope="module")
def filled(file):
    """A gallery that no test changes, and what is in it."""
    entries = make_entries(np.random.default_rng(0), 120)
    with GalleryIndex.create(file, "filled", **MODEL) as index:
        index.put(entries)
        yield index, entries


@pytest.fixture(scope="module")
def shared(file):
    with GalleryIndex.create(file, **MODEL) as index:
        yield index


@pytest.fixture
def gallery(shared):
    """An empty gallery."""
    shared.remove(missing=True)  # no frame of these tests is a file
    return shared


@pytest.mark.parametrize("one_per_frame", [True, False])
@pytest.mark.parametrize(
    "filters",
    [
        {},
        {"cameras": ["north"]},
        {"cameras": ["south", ""]},
        {"since": 1.7e9 + 300.0},
        {"until": 1.7e9 + 10.25 * 40},
        {"cameras": ["north", "south"], "since": 1.7e9 + 10.25 * 20, "until": 1.7e9 + 10.25 * 88},
        {"cameras": ["nowhere"]},
        {"since": 1.8e9},
    ],
    ids=str,
)
def test_searches_equal_numpy(filled, filters, one_per_frame):
    index, entries = filled
    for query in _queries(1):
        for top in (1, 10, 500):
            expected = search_by_numpy(entries, query, top, one=one_per_frame, **filters)
            frames = FrameFilter(**filters)
            found = index.search(query, top=top, frames=frames, one_per_frame=one_per_frame)
            assert_matches(found, expected, entries)


def test_times_at_the_borders_are_in(filled):
    index, entries = filled
    time = entries[50][0].timestamp
    people = entries[50][1]
    assert len(people)
    found = index.search(people.embeddings[0], frames=FrameFilter(since=time, until=time))
    assert [m.image for m in found] == [entries[50][0].name]


def test_least_similarity(filled):
    index, entries = filled
    query = _queries(2)[0]
    expected = search_by_numpy(entries, query, 50, least=0.4)
    assert 0 < len(expected) < 50
    assert_matches(index.search(query, top=50, min_similarity=0.4), expected, entries)
    assert index.search(query, min_similarity=1.0) == []


@pytest.mark.parametrize(
    "wish",
    [{}, {"one_per_frame": False}, {"refine": ByNeighbors()}, {"refine": ByContext(_queries(5))}],
    ids=["best", "all", "rerank", "context"],
)
def test_frames_are_left_out(filled, wish):
    """As the frame that a query was taken from is."""
    index, entries = filled
    own, people = next(entry for entry in entries if len(entry[1].boxes) > 1)
    query = people.embeddings[0]
    assert own.name in [m.image for m in index.search(query, **wish)]
    frames = FrameFilter(without=[own.name, "/nowhere/else.jpg"])
    found = index.search(query, top=30, frames=frames, **wish)
    assert len(found) == 30
    assert own.name not in [m.image for m in found]


def test_frames_left_out_change_nothing_else(filled):
    index, entries = filled
    names = [frame.name for frame, _ in entries[::2]]
    expected = search_by_numpy(entries[1::2], _queries(6)[0], 40)
    found = index.search(_queries(6)[0], top=40, frames=FrameFilter(without=names))
    assert_matches(found, expected, entries)


def test_several_pictures_of_one_person_are_fused(filled):
    index, entries = filled
    three = _queries(3, 3)
    expected = search_by_numpy(entries, unit(three.mean(axis=0)))
    assert_matches(index.search(three), expected, entries)
    assert index.search(three[:1]) == index.search(three[0])


@pytest.mark.parametrize("one_per_frame", [True, False])
def test_many_blocks_and_threads_give_the_same(tmp_path, monkeypatch, one_per_frame):
    monkeypatch.setattr(matrix, "BLOCK_ROWS", 40)
    monkeypatch.setattr(matrix_search, "_THREAD_ROWS", 10)
    monkeypatch.setattr(matrix_search, "_GROUP", 4)
    entries = make_entries(np.random.default_rng(3), 130)
    with GalleryIndex.create(tmp_path / "g.db", **MODEL) as index:
        for first in range(0, 130, 30):
            index.put(entries[first : first + 30])
            there = entries[: first + 30]
            for query in _queries(4):
                expected = search_by_numpy(there, query, 25, one=one_per_frame)
                found = index.search(query, top=25, one_per_frame=one_per_frame)
                assert_matches(found, expected, there)
                few = FrameFilter(since=1.7e9, until=1.7e9 + 100)
                expected = search_by_numpy(there, query, 3, until=1.7e9 + 100, one=one_per_frame)
                found = index.search(query, top=3, frames=few, one_per_frame=one_per_frame)
                assert_matches(found, expected, there)


@pytest.mark.parametrize("top", [1, 3, 70, 100])
def test_ties_go_by_name_then_place(gallery, top):
    """90 frames hold the same embedding, more than are wanted."""
    rng = np.random.default_rng(5)
    query = _queries(5)[0]
    entries = [
        (make_frame(f"/nowhere/{n:03d}.jpg"), make_people(rng, 2, embeddings=[query, query]))
        for n in rng.permutation(90)
    ]
    gallery.put(entries)
    found = gallery.search(query, top=top)
    assert [m.image for m in found] == [f"/nowhere/{n:03d}.jpg" for n in range(min(top, 90))]
    assert all(m.person.endswith("_0") for m in found)
    found = gallery.search(query, top=4, one_per_frame=False)
    assert [(m.image[-7:], m.person[-2:]) for m in found] == [
        ("000.jpg", "_0"),
        ("000.jpg", "_1"),
        ("001.jpg", "_0"),
        ("001.jpg", "_1"),
    ]


@pytest.mark.parametrize("refine", ["context", "rerank"])
def test_refined_searches_keep_filters_and_similarities(filled, refine):
    index, entries = filled
    query, *beside = _queries(6, 4)
    way = ByNeighbors() if refine == "rerank" else ByContext(np.stack(beside))
    north = FrameFilter(cameras=["north"])
    found = index.search(query, top=15, frames=north, min_similarity=-0.5, refine=way)
    assert len(found) == 15
    assert len({m.image for m in found}) == 15
    truth = {
        (name, place): s
        for s, name, place in search_by_numpy(entries, query, 10**6, cameras=["north"], one=False)
    }
    for match in found:
        place = int(match.person.rpartition("_")[2])
        assert abs(truth[match.image, place] - match.similarity) < 1e-5
    everybody = index.search(query, top=500, one_per_frame=False, refine=way)
    assert len(everybody) == sum(len(people) for _, people in entries)


def test_context_and_reranking_put_the_person_herself_first(filled):
    index, entries = filled
    frame, people = next(entry for entry in entries if len(entry[1]) >= 4)
    query, beside = people.embeddings[0], people.embeddings[1:]
    for refine in (ByContext(beside), ByNeighbors()):
        assert index.search(query, refine=refine)[0].image == frame.name


def test_refined_searches_of_nothing(gallery):
    query = _queries(7)[0]
    assert gallery.search(query, refine=ByNeighbors()) == []
    assert gallery.search(query, refine=ByContext(query[None])) == []
    assert gallery.search(query) == []


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"top": 0}, "top is 0"),
        ({"top": 16_385}, "top is 16385"),
        ({"min_similarity": 1.5}, "min_similarity is 1.5"),
        ({"fingerprint": "cd" * 32}, "made with model abababababab, .* model cdcdcdcdcdcd"),
        ({"refine": ByContext(np.ones((1, DIM)))}, "context: got a row of norm 4"),
    ],
    ids=str,
)
def test_wishes_that_make_no_sense_are_refused(filled, wish, message):
    with pytest.raises(GalleryError, match=message):
        filled[0].search(_queries(8)[0], **wish)


def test_embeddings_of_another_size_are_refused(filled):
    with pytest.raises(GalleryError, match=r"shape \(3,\), expected \(16,\)"):
        filled[0].search(np.ones(3))


def test_what_was_put_comes_back(gallery):
    entries = make_entries(np.random.default_rng(9), 30)
    gallery.put(entries[:20])
    gallery.put([])
    gallery.put(entries[20:])
    assert_holds(gallery, entries)
    names = [frame.name for frame, _ in entries]
    assert gallery.known_frames([*names[:5], "/nowhere/else.jpg", names[0]]) == {
        frame.name: frame.content_hash for frame, _ in entries[:5]
    }
    assert gallery.known_frames([]) == gallery.known_frames(["/\udcff.jpg"]) == {}
    with pytest.raises(GalleryError, match=r"else\.jpg is not in the gallery"):
        gallery.people_of("/nowhere/else.jpg")


def test_putting_a_frame_again_replaces_it(gallery):
    rng = np.random.default_rng(10)
    entries = make_entries(rng, 12)
    gallery.put(entries)
    for count in (6, 2, 0, 3):
        frame = make_frame(entries[4][0].name, "moved", 5.0, str(count))
        entries[4] = (frame, make_people(rng, count))
        gallery.put(entries[3:6])
        assert_holds(gallery, entries)


def test_names_may_hold_anything(gallery):
    rng = np.random.default_rng(11)
    names = ["/a \"b\"/'c'\\d.jpg", "/名/é😀\n.jpg", "/v.mp4#frame=3", "/" + "x" * 3000, "/%_{}"]
    entries = [(make_frame(name), make_people(rng, 2)) for name in names]
    gallery.put(entries)
    assert_holds(gallery, entries)
    assert gallery.remove(names=names[:2]).frames == 2
    assert_holds(gallery, entries[2:])


INJECTIONS = [
    'a"b',
    "a'b",
    "back\\",
    '\\"',
    'x" or timestamp > 0 or camera == "',
    "名é😀",
    "%",
    "\\n",
]


def test_cameras_may_hold_anything_printable(gallery):
    """Quotes, backslashes and what looks like a filter are matched as they are."""
    rng = np.random.default_rng(12)
    entries = make_entries(rng, 4 * len(INJECTIONS), cameras=INJECTIONS)
    gallery.put(entries)
    query = _queries(12)[0]
    for camera in INJECTIONS:
        expected = search_by_numpy(entries, query, 100, cameras=[camera])
        found = gallery.search(query, top=100, frames=FrameFilter(cameras=[camera]))
        assert_matches(found, expected, entries)
    assert sorted(gallery.info().cameras) == sorted(INJECTIONS)
    assert gallery.remove(camera=INJECTIONS[4]).frames == 4
    assert_holds(gallery, [e for e in entries if e[0].camera != INJECTIONS[4]])


PERSON = make_people(np.random.default_rng(13), 1)


@pytest.mark.parametrize(
    ("frame", "people", "message"),
    [
        ({"name": ""}, {}, "name of a frame ''"),
        ({"name": "/" + "n" * 8192}, {}, "got 8193 bytes"),
        ({"name": "/\udcff.jpg"}, {}, "not Unicode"),
        ({"content_hash": ""}, {}, "content hash"),
        ({"camera": "c" * 1025}, {}, "camera"),
        ({"camera": "a\tb"}, {}, "control characters"),
        ({"timestamp": float("inf")}, {}, "timestamp"),
        ({}, {"boxes": PERSON.boxes[:, :3]}, r"boxes \(1, 3\)"),
        ({}, {"scores": PERSON.scores[:0]}, r"scores \(0,\)"),
        ({}, {"embeddings": PERSON.embeddings[:0]}, r"embeddings \(0, 16\)"),
        ({}, {"boxes": PERSON.boxes[:, [2, 3, 0, 1]]}, "x1 < x2"),
        ({}, {"boxes": PERSON.boxes * np.nan}, "finite boxes"),
        ({}, {"scores": PERSON.scores + 1}, "scores of 0 to 1"),
        ({}, {"embeddings": PERSON.embeddings * 2}, "norm 2, expected unit"),
        ({}, {"embeddings": PERSON.embeddings * np.nan}, "not finite"),
        ({}, {"embeddings": unit(PERSON.embeddings[:, :8])}, r"shape \(1, 8\)"),
    ],
    ids=str,
)
def test_what_cannot_be_stored_is_refused_and_nothing_is_stored(gallery, frame, people, message):
    good = make_entries(np.random.default_rng(14), 2)
    gallery.put(good[:1])
    bad = (replace(make_frame("/bad.jpg"), **frame), replace(PERSON, **people))
    with pytest.raises(GalleryError, match=message):
        gallery.put([good[1], bad])
    assert_holds(gallery, good[:1])


def test_a_frame_twice_and_another_model_are_refused(gallery):
    entry = (make_frame("/twice.jpg"), PERSON)
    with pytest.raises(GalleryError, match=r"/twice\.jpg is given twice"):
        gallery.put([entry, entry])
    with pytest.raises(GalleryError, match="cannot be compared"):
        gallery.put([entry], fingerprint="cd" * 32)
    gallery.put([entry], fingerprint=FINGERPRINT)
    assert_holds(gallery, [entry])


def test_frames_are_removed_by_everything_that_is_given(gallery, tmp_path):
    entries = make_entries(np.random.default_rng(15), 40)
    there = tmp_path / "there.jpg"
    there.write_bytes(b"x")
    entries += [(make_frame(str(there), "north", 1.0), make_people(np.random.default_rng(1), 2))]
    video = str(tmp_path / "gone.mp4")
    entries += [(make_frame(f"{video}#frame={n}", "clip", float(n)), PERSON) for n in range(5)]
    gallery.put(entries)

    def keep(condition):
        kept = [entry for entry in entries if condition(entry[0])]
        gone = [entry for entry in entries if not condition(entry[0])]
        assert gone
        entries[:] = kept
        return len(gone), sum(len(people) for _, people in gone)

    assert gallery.remove(names=[]) == gallery.remove(names=["/nobody"]) == (0, 0)
    assert gallery.remove(names=[f"{video}#frame=2"]) == keep(lambda f: f.name[-8:] != "#frame=2")
    assert gallery.remove(names=[video]) == keep(lambda f: f.camera != "clip")
    until = 1.7e9 + 10.25 * 12
    early = lambda f: f.timestamp is not None and f.timestamp <= until  # noqa: E731
    assert gallery.remove(camera="north", until=until, missing=True) == keep(
        lambda f: not (f.camera == "north" and early(f) and f.name != str(there))
    )
    assert_holds(gallery, entries)
    assert gallery.remove(until=until) == keep(lambda f: not early(f))
    assert gallery.remove(camera="") == keep(lambda f: f.camera is not None)
    assert gallery.remove(camera="south") == keep(lambda f: f.camera != "south")
    assert_holds(gallery, entries)
    with pytest.raises(GalleryError, match="which frames to remove"):
        gallery.remove()
    assert_holds(gallery, entries)


def test_a_name_stands_for_itself_and_its_frames_but_for_no_longer_name(gallery):
    """Of /a/b.mp4, /a/b.mp4.old.mp4 and the folder /a/b.mp4x/ the first one goes, alone."""
    names = [
        *("/a/b.mp4", "/a/b.mp4#frame=0", "/a/b.mp4#frame=12"),
        *("/a/b.mp4.old.mp4#frame=0", "/a/b.mp4x/c.jpg", "/a/b.jpg", "/x/a/b.mp4#frame=0"),
    ]
    entries = [(make_frame(name), PERSON) for name in names]
    gallery.put(entries)
    assert gallery.remove(names=["/a", "/a/", "/a/b"]).frames == 0
    assert gallery.remove(names=["/a/b.mp4"]).frames == 3
    assert_holds(gallery, entries[3:])


def test_more_frames_than_one_answer_holds_are_all_read(gallery, monkeypatch):
    entries = make_entries(np.random.default_rng(22), 60)
    gallery.put(entries)
    monkeypatch.setattr(sqlite_store, "_PAGE_FRAMES", 20)
    names = [frame.name for frame, _ in entries]
    assert sorted(frame.name for frame in gallery.frames()) == names
    assert sorted(gallery.known_frames(names)) == names
    assert gallery.info().frames == 60
    assert gallery.remove(missing=True).frames == 60
    assert list(gallery.frames()) == []


def test_info_counts(filled, file):
    index, entries = filled
    info = index.info()
    times = [frame.timestamp for frame, _ in entries if frame.timestamp is not None]
    assert (info.frames, info.people) == (120, sum(len(people) for _, people in entries))
    assert info.cameras == {"north": 40, "south": 40}
    assert (info.first_timestamp, info.last_timestamp) == (min(times), max(times))
    assert (info.fingerprint, info.embedding_dim, info.version) == (
        FINGERPRINT,
        DIM,
        len(schema.MIGRATIONS),
    )
    assert (info.uri, info.name, info.approximate) == (str(file.resolve()), "filled", None)
    assert info.num_bytes >= file.stat().st_size


def test_merging_copies_what_is_missing_or_changed_once(gallery, filled, file):
    other, entries = filled
    rng = np.random.default_rng(16)
    changed = (make_frame(entries[3][0].name, content="older"), make_people(rng, 2))
    own = (make_frame("/own.jpg"), make_people(rng, 3))
    gallery.put([*entries[:3], changed, own])
    assert gallery.merge(other) == len(entries) - 3
    assert_holds(gallery, [*entries, own])
    assert gallery.merge(other) == 0
    assert_holds(other, entries)
    with (
        GalleryIndex.create(file, "stranger", fingerprint="cd" * 32, embedding_dim=DIM) as stranger,
        pytest.raises(GalleryError, match="cannot be compared"),
    ):
        gallery.merge(stranger)


def test_opening_finds_what_was_stored(tmp_path):
    file = tmp_path / "reopened.db"
    entries = make_entries(np.random.default_rng(17), 30)
    card = ModelCard("street", "people on streets", "MIT", "nothing", numbers={"mAP": 1.5})
    with GalleryIndex.open_or_create(file, **MODEL, card=card) as index:
        index.put(entries)
    with pytest.raises(GalleryError, match="is closed; open it again"):
        index.search(_queries(17)[0])
    index.close()
    with GalleryIndex.open_or_create(file, **MODEL) as index:
        assert_holds(index, entries)
        assert index.card == index.info().card == card
        query = _queries(17)[0]
        assert_matches(index.search(query), search_by_numpy(entries, query), entries)
        with pytest.raises(GalleryError, match="made with model street abababababab"):
            GalleryIndex.open_or_create(file, fingerprint="cd" * 32, embedding_dim=DIM)
        with pytest.raises(GalleryError, match="embeddings of 16 numbers, the model makes 8"):
            GalleryIndex.open_or_create(file, fingerprint=FINGERPRINT, embedding_dim=8)
        with pytest.raises(GalleryError, match="already"):
            GalleryIndex.create(file, **MODEL)
        with pytest.raises(GalleryError, match=r"no gallery named 'other' .* there are: gallery"):
            GalleryIndex.open(file, "other")
        with pytest.raises(GalleryError, match="gallery name 'not-a-name'"):
            GalleryIndex.create(file, "not-a-name", **MODEL)
        assert list_galleries(file) == ["gallery"]


@pytest.mark.parametrize("writes", [1, 5, 9])
def test_a_put_that_stops_anywhere_stores_nothing_of_it(gallery, monkeypatch, writes):
    """Stopped between its writes, or before they are committed."""
    rng = np.random.default_rng(18)
    entries = make_entries(rng, 10)
    old = (make_frame("/old.jpg"), make_people(rng, 5))
    gallery.put([*entries, old])
    changed = (make_frame("/old.jpg", content="new"), make_people(rng, 3))
    new = (make_frame("/new.jpg"), make_people(rng, 4))
    done = []

    def stop_after(*arguments):
        done.append(arguments)
        if len(done) == writes:
            raise KeyboardInterrupt
        return schema.person_checksum(*arguments)

    with monkeypatch.context() as patch:
        if writes < 9:
            patch.setattr(sqlite_rows, "person_checksum", stop_after)
        else:  # with everything written, but not committed
            patch.setattr(Database, "check_same", _second_call_stops())
        with pytest.raises(KeyboardInterrupt):
            gallery.put([changed, new])
    assert_holds(gallery, [*entries, old])
    query = _queries(18)[0]
    expected = search_by_numpy([*entries, old], query, 50)
    assert_matches(gallery.search(query, top=50), expected, [*entries, old])
    assert gallery.put([changed, new]) == (2, 7)
    assert_holds(gallery, [*entries, changed, new])


def _second_call_stops():
    calls = []

    def check(self):
        calls.append(self)
        if len(calls) == 2:
            raise KeyboardInterrupt

    return check


@pytest.mark.parametrize("count", [15, pytest.param(50, marks=pytest.mark.slow)])
def test_many_searches_at_once_while_frames_are_put(count, gallery):
    """The frames put meanwhile stand at right angles to the queries, so answers are known."""
    rng = np.random.default_rng(19)
    half = DIM // 2

    def entries_in(first, count, start):
        found = []
        for number in range(start, start + count):
            rows = np.zeros((4, DIM))
            rows[:, first : first + half] = rng.normal(size=(4, half))
            frame = make_frame(f"/nowhere/{number}.jpg", "fixed" if first == 0 else "new")
            found.append((frame, make_people(rng, 4, embeddings=unit(rows))))
        return found

    fixed, added = entries_in(0, 60, 0), entries_in(half, 60, 1000)
    gallery.put(fixed)
    queries = unit(np.pad(rng.normal(size=(count, half)), ((0, 0), (0, half))))
    start = threading.Barrier(count + 1)

    def put():
        start.wait()
        for first in range(0, 60, 3):
            gallery.put(added[first : first + 3])

    def search(query):
        start.wait()
        for _ in range(2):
            assert_matches(gallery.search(query, top=5), search_by_numpy(fixed, query, 5), fixed)
            near = gallery.search(query, top=9, frames=FrameFilter(cameras=["fixed"]))
            assert_matches(near, search_by_numpy(fixed, query, 9), fixed)

    with ThreadPoolExecutor(count + 1) as pool:
        for job in [pool.submit(put), *(pool.submit(search, query) for query in queries)]:
            job.result()
    assert_holds(gallery, fixed + added)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"index_type": "HNSW"}, "always searched exactly, without HNSW"),
        ({"index_type": "IVF_FLAT"}, "always searched exactly, without IVF_FLAT"),
        ({"index_type": "MAGIC"}, "expected one of HNSW, IVF_FLAT"),
        ({}, "index_type is None"),
        ({"index_type": "IVF_FLAT", "nlist": 0}, "nlist is 0; expected 1 to"),
        ({"index_type": "IVF_FLAT", "ef": 5}, "has no ef; expected nlist, nprobe"),
    ],
    ids=str,
)
def test_indexes_that_a_file_lacks_are_refused_and_leave_nothing(file, shared, wish, message):
    before = list_galleries(file)
    with pytest.raises(GalleryError, match=message):
        GalleryIndex.create(file, "other", approximate=wish, **MODEL)
    assert list_galleries(file) == before


def test_nobody_is_found_in_frames_without_people(gallery):
    empty = People(np.zeros((0, 4)), np.zeros(0), np.zeros((0, DIM)))
    gallery.put([(make_frame("/empty.jpg", "north"), empty)])
    assert gallery.search(_queries(21)[0]) == []
    assert (gallery.info().frames, gallery.info().people) == (1, 0)
    assert len(gallery.people_of("/empty.jpg")) == 0


def test_similarities_are_cosines_of_embeddings_that_half_precision_left_off_one(gallery):
    """The search multiplies without dividing by norms: 1.001 would rank before what is nearer."""
    query = unit(np.eye(DIM)[0])
    near = unit(np.stack([query + 0.010 * np.eye(DIM)[1], query + 0.011 * np.eye(DIM)[2]]))
    frames = [make_frame("/near.jpg"), make_frame("/nearly.jpg")]
    for frame, embedding, norm in zip(frames, near, (0.9992, 1.0008), strict=True):
        people = replace(
            make_people(np.random.default_rng(0), 1),
            embeddings=(norm * embedding[None]).astype(np.float32),
        )
        gallery.put([(frame, people)])
    matches = gallery.search(query)
    assert [match.image for match in matches] == ["/near.jpg", "/nearly.jpg"]
    np.testing.assert_allclose([m.similarity for m in matches], near @ query, atol=1e-6)
