"""A gallery on a real Milvus server: what a file's gallery must do, and what only a server does."""

import logging
import threading
import time

import numpy as np
import pytest
import test_person_search_gallery_index as index_tests
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
from helpers_milvus import RealServer

pytest.importorskip("pymilvus")

from person_search.accountability.activity_log import ActivityLog
from person_search.cli import main
from person_search.gallery import milvus_rows, milvus_server, milvus_store
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex, list_galleries
from person_search.gallery.milvus_server import Collection, MilvusServer
from person_search.gallery.search_options import ByContext, FrameFilter

pytestmark = pytest.mark.slow

MODEL = {"fingerprint": FINGERPRINT, "embedding_dim": DIM}

# The tests of a gallery in a file, with this module's fixtures.
for _name in (
    "test_searches_equal_numpy",
    "test_times_at_the_borders_are_in",
    "test_least_similarity",
    "test_frames_are_left_out",
    "test_frames_left_out_change_nothing_else",
    "test_several_pictures_of_one_person_are_fused",
    "test_ties_go_by_name_then_place",
    "test_refined_searches_keep_filters_and_similarities",
    "test_context_and_reranking_put_the_person_herself_first",
    "test_refined_searches_of_nothing",
    "test_what_was_put_comes_back",
    "test_putting_a_frame_again_replaces_it",
    "test_names_may_hold_anything",
    "test_cameras_may_hold_anything_printable",
    "test_frames_are_removed_by_everything_that_is_given",
    "test_a_name_stands_for_itself_and_its_frames_but_for_no_longer_name",
    "test_merging_copies_what_is_missing_or_changed_once",
    "test_many_searches_at_once_while_frames_are_put",
    "test_nobody_is_found_in_frames_without_people",
    "test_similarities_are_cosines_of_embeddings_that_half_precision_left_off_one",
):
    globals()[_name] = getattr(index_tests, _name)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = RealServer(tmp_path_factory.mktemp("milvus"))
    yield running
    running.kill()


@pytest.fixture(scope="module")
def file(server):
    return server.address


@pytest.fixture(scope="module")
def filled(server):
    """A gallery that no test changes, and what is in it."""
    entries = make_entries(np.random.default_rng(0), 120)
    with GalleryIndex.create(server.address, "filled", **MODEL) as index:
        index.put(entries)
        yield index, entries


@pytest.fixture(scope="module")
def shared(server):
    with GalleryIndex.create(server.address, **MODEL) as index:
        yield index


@pytest.fixture
def gallery(shared):
    """An empty gallery."""
    shared.remove(missing=True, purge=False)  # no frame of these tests is a file
    return shared


def queries(seed, count=5):
    return unit(np.random.default_rng(seed).normal(size=(count, DIM)))


def test_info_counts(filled, server):
    index, entries = filled
    info = index.info()
    times = [frame.timestamp for frame, _ in entries if frame.timestamp is not None]
    assert (info.frames, info.people) == (120, sum(len(people) for _, people in entries))
    assert info.cameras == {"north": 40, "south": 40}
    assert (info.first_timestamp, info.last_timestamp) == (min(times), max(times))
    assert (info.fingerprint, info.embedding_dim, info.version) == (FINGERPRINT, DIM, 1)
    assert (info.uri, info.name, info.approximate) == (server.address, "filled", None)
    assert info.num_bytes is None


def test_cameras_and_times_that_no_question_shows_at_once_are_counted(gallery, monkeypatch):
    entries = make_entries(np.random.default_rng(23), 60, cameras=[f"c{n}" for n in range(13)])
    gallery.put(entries)
    monkeypatch.setattr(milvus_server, "SAMPLE_ROWS", 3)
    info = gallery.info()
    assert info.cameras == {f"c{n}": 5 if n < 8 else 4 for n in range(13)}
    assert (info.first_timestamp, info.last_timestamp) == (1.7e9, 1.7e9 + 10.25 * 58)


def test_controls_in_a_wanted_camera_are_refused(filled):
    with pytest.raises(GalleryError, match="control characters"):
        filled[0].search(queries(8)[0], frames=FrameFilter(cameras=["a\nb"]))


@pytest.mark.parametrize("one_per_frame", [True, False])
def test_few_rows_at_a_time_give_the_same(filled, monkeypatch, one_per_frame):
    """However many questions a search takes, it stays exact."""
    index, entries = filled
    monkeypatch.setattr(milvus_store, "_FIRST_LEAST", 1)
    monkeypatch.setattr(milvus_store, "_FIRST_SHARE", 1)
    monkeypatch.setattr(milvus_store, "_GROWTH", 2)
    if one_per_frame:  # past this, the next questions leave out what was found
        monkeypatch.setattr(milvus_store, "MAX_ROWS", 30)
    for query in queries(4):
        expected = search_by_numpy(entries, query, 25, one=one_per_frame)
        found = index.search(query, top=25, one_per_frame=one_per_frame)
        assert_matches(found, expected, entries)


def test_more_than_one_answer_or_question_holds_is_read_and_written(gallery, monkeypatch):
    monkeypatch.setattr(milvus_server, "MAX_ROWS", 20)
    monkeypatch.setattr(milvus_server, "WRITE_ROWS", 25)
    monkeypatch.setattr(milvus_rows, "QUESTION_IDS", 25)
    rng = np.random.default_rng(22)
    entries = [*make_entries(rng, 60), (make_frame("/crowd.jpg"), make_people(rng, 150))]
    assert gallery.put(entries) == (61, sum(len(people) for _, people in entries))
    assert_holds(gallery, entries)
    names = [frame.name for frame, _ in entries]
    assert sorted(gallery.known_frames(names)) == sorted(names)
    assert gallery.remove(missing=True).frames == 61
    assert list(gallery.frames()) == []


WRITES = {"upsert", "delete"}


@pytest.mark.parametrize("writes", range(4))
def test_a_put_that_stops_anywhere_shows_nothing_in_parts(gallery, monkeypatch, writes):
    """Whatever write was the last before a kill: frames are whole or absent, and put again."""
    rng = np.random.default_rng(18)
    entries = make_entries(rng, 10)
    old = (make_frame("/old.jpg"), make_people(rng, 5))
    gallery.put([*entries, old])
    changed = (make_frame("/old.jpg", content="new"), make_people(rng, 3))
    new = (make_frame("/new.jpg"), make_people(rng, 4))
    call, done = MilvusServer.call, []

    def stop_after(self, method, *args, **kwargs):
        if method in WRITES:
            if len(done) == writes:
                raise KeyboardInterrupt
            done.append(method)
        return call(self, method, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(MilvusServer, "call", stop_after)
        with pytest.raises(KeyboardInterrupt):
            gallery.put([changed, new])
    gallery.info()  # waits until the server shows the last write
    left = [*entries, old] if writes == 0 else entries
    for query in (*old[1].embeddings[:2], *changed[1].embeddings, *new[1].embeddings):
        for one in (True, False):
            expected = search_by_numpy(left, query, 50, one=one)
            assert_matches(gallery.search(query, top=50, one_per_frame=one), expected, left)
        context = gallery.search(query, top=50, refine=ByContext(new[1].embeddings))
        assert not {m.image for m in context} - {frame.name for frame, _ in left}
    assert gallery.info().frames == len(left)
    assert "/new.jpg" not in gallery.known_frames(["/new.jpg", "/old.jpg"])
    assert gallery.put([changed, new]) == (2, 7)
    assert_holds(gallery, [*entries, changed, new])


@pytest.mark.parametrize("lost", ["people", "frames"])
def test_what_the_server_loses_is_not_reported_as_stored(gallery, monkeypatch, lost):
    entries = make_entries(np.random.default_rng(24), 6)
    write = Collection.write

    def lose_one(self, rows):
        write(self, rows[:-1] if "embedding" in rows[0] and lost == "people" else rows)
        if "embedding" not in rows[0] and lost == "frames":
            write(self, rows)
            self.call("delete", ids=[rows[0]["id"]])

    with monkeypatch.context() as patch:
        patch.setattr(Collection, "write", lose_one)
        with pytest.raises(
            GalleryError, match=r"after writing, .* holds .* were expected; .* again"
        ):
            gallery.put(entries)
    assert gallery.known_frames([frame.name for frame, _ in entries]) == {}
    gallery.put(entries)
    assert_holds(gallery, entries)


def test_what_the_server_keeps_is_not_reported_as_removed(gallery, monkeypatch):
    entries = make_entries(np.random.default_rng(25), 6)
    gallery.put(entries)
    with monkeypatch.context() as patch:
        patch.setattr(Collection, "delete", lambda *_: None)
        with pytest.raises(GalleryError, match=r"after removing, .* holds 6 frames"):
            gallery.remove(missing=True)
    assert gallery.remove(missing=True).frames == 6
    assert_holds(gallery, [])


def test_opening_finds_what_was_stored(server):
    entries = make_entries(np.random.default_rng(17), 30)
    with GalleryIndex.open_or_create(server.address, "reopened", **MODEL) as index:
        index.put(entries)
        with GalleryIndex.open(server.address, "reopened") as other:
            assert_holds(other, entries)
        assert_holds(index, entries)  # the connection is shared, and closed with its last user
    with pytest.raises(GalleryError, match="is closed; open it again"):
        index.search(queries(17)[0])
    with pytest.raises(GalleryError, match="is closed; open it again"):
        index._store.counts()
    with GalleryIndex.open_or_create(server.address, "reopened", **MODEL) as index:
        assert_holds(index, entries)
    with pytest.raises(GalleryError, match="already"):
        GalleryIndex.create(server.address, "reopened", **MODEL)
    with pytest.raises(GalleryError, match=r"no gallery named 'other' .* there are: .*reopened"):
        GalleryIndex.open(server.address, "other")
    assert "reopened" in list_galleries(server.address)


def test_a_gallery_of_another_version_is_refused(server, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(milvus_store, "LAYOUT", 2)
        GalleryIndex.create(server.address, "newer", **MODEL).close()
    with pytest.raises(GalleryError, match="has version 2, this program reads version 1"):
        GalleryIndex.open_or_create(server.address, "newer", **MODEL)


def test_what_a_kill_while_creating_leaves_is_made_anew(server, monkeypatch):
    call = MilvusServer.call

    def stop_at_frames(self, method, *args, **kwargs):
        if method == "create_collection" and args[0].endswith("_frames"):
            raise KeyboardInterrupt
        return call(self, method, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(MilvusServer, "call", stop_at_frames)
        with pytest.raises(KeyboardInterrupt):
            GalleryIndex.create(server.address, "halfway", **MODEL)
    assert "halfway" not in list_galleries(server.address)
    entries = make_entries(np.random.default_rng(2), 3)
    with GalleryIndex.open_or_create(server.address, "halfway", **MODEL) as index:
        index.put(entries)
        assert_holds(index, entries)


def test_collections_of_others_are_left_alone(server):
    from pymilvus import MilvusClient

    client = MilvusClient(server.address)
    client.create_collection("theirs_people", dimension=4)
    client.insert("theirs_people", [{"id": 1, "vector": [0.5] * 4}])
    with pytest.raises(GalleryError, match="theirs_people that is not of a gallery"):
        GalleryIndex.create(server.address, "theirs", **MODEL)
    count = client.query("theirs_people", "", ["count(*)"], consistency_level="Strong")
    assert count[0]["count(*)"] == 1
    assert "theirs" not in list_galleries(server.address)
    client.close()


def test_what_the_server_refuses_is_said_and_leaves_nothing(server):
    with pytest.raises(GalleryError, match=r"server .* refused \(to create_collection\)"):
        GalleryIndex.create(server.address, "huge", fingerprint=FINGERPRINT, embedding_dim=10**6)
    assert "huge" not in list_galleries(server.address)
    GalleryIndex.create(server.address, "huge", **MODEL).close()


def test_a_file_and_a_server_answer_the_same(tmp_path, server):
    """300 searches of all kinds."""
    entries = make_entries(np.random.default_rng(30), 400)
    chance = np.random.default_rng(31)
    wishes = [
        {},
        {"cameras": ["north"]},
        {"since": 1.7e9 + 700.0},
        {"cameras": ["south", ""], "until": 1.7e9 + 3000.0},
        {"without": [frame.name for frame, _ in entries[::3]]},
    ]
    with (
        GalleryIndex.create(tmp_path / "gallery.db", **MODEL) as file,
        GalleryIndex.create(server.address, "twin", **MODEL) as twin,
    ):
        file.put(entries)
        twin.merge(file)
        for number, query in enumerate(queries(32, 300)):
            wish = {
                "top": int(chance.integers(1, 60)),
                "frames": FrameFilter(**wishes[number % len(wishes)]),
                "one_per_frame": bool(number % 2),
            }
            expected, found = file.search(query, **wish), twin.search(query, **wish)
            assert [m.person for m in found] == [m.person for m in expected]
            for match, same in zip(found, expected, strict=True):
                assert abs(match.similarity - same.similarity) < 1e-6
                assert (match.image, match.box_xyxy, match.score) == (
                    same.image,
                    same.box_xyxy,
                    same.score,
                )
        assert file.info().cameras == twin.info().cameras


def test_an_index_is_waited_for_and_finds_nearly_everybody(server, monkeypatch, caplog):
    """Of 20,000 people: before the index is built, the server finds less, and a warning says so."""
    rng = np.random.default_rng(33)
    centres = rng.normal(size=(400, 64))
    rows = unit(centres[rng.integers(0, 400, 20_000)] + 0.7 * rng.normal(size=(20_000, 64)))
    entries = [
        (make_frame(f"/nowhere/{n}.jpg"), make_people(rng, 100, embeddings=rows[n : n + 100]))
        for n in range(0, 20_000, 100)
    ]
    wish = {"index_type": "HNSW"}
    model = {"fingerprint": FINGERPRINT, "embedding_dim": 64}
    asked = unit(rows[:50] + 0.02 * rng.normal(size=(50, 64)))
    with GalleryIndex.create(server.address, "hnsw", approximate=wish, **model) as index:
        index.put(entries)
        caplog.set_level(logging.WARNING)
        for number in range(3):
            index.search(asked[number])
        assert [r.getMessage() for r in caplog.records] == [
            "HNSW of gallery 'hnsw' is not built yet for 20000 people, and a search may miss some"
        ]
        with monkeypatch.context() as patch:
            patch.setattr(milvus_store, "INDEX_TIMEOUT", 0.0)
            index.prepare()  # not for long
        assert len(caplog.records) == 2
        index.prepare()
        assert len(caplog.records) == 2
        hits = 0
        for query in asked:
            best = np.argsort(-(rows @ query), kind="stable")[:10]
            found = index.search(query, top=10, one_per_frame=False)
            people = {int(m.image[9:-4]) + int(m.person.rpartition("_")[2]) for m in found}
            hits += len(people & set(best.tolist()))
        assert hits / (10 * len(asked)) >= 0.95
        assert len(caplog.records) == 2


def test_after_a_server_was_killed_the_next_run_completes_the_gallery(server):
    """Killed at random moments of the writing: every frame is there once in the end, and whole."""
    entries = make_entries(np.random.default_rng(34), 200)
    chance = np.random.default_rng(35)

    def put_all(index):
        for first in range(0, len(entries), 4):
            batch = entries[first : first + 4]
            known = index.known_frames([frame.name for frame, _ in batch])
            new = [e for e in batch if known.get(e[0].name) != e[0].content_hash]
            if new:
                assert index.put(new).frames == len(new)

    for _ in range(2):
        with GalleryIndex.open_or_create(server.address, "killed", **MODEL) as index:
            timer = threading.Timer(chance.uniform(2.0, 5.0), server.kill)
            timer.start()
            with pytest.raises(GalleryError, match=r"does not answer|refused"):
                put_all(index)
            timer.join()
        server.start()
    with GalleryIndex.open(server.address, "killed") as index:
        put_all(index)
        assert_holds(index, entries)
        for query in queries(36, 20):
            assert_matches(index.search(query), search_by_numpy(entries, query), entries)


def test_rules_remove_what_a_server_has_kept_for_long_enough(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PERSON_SEARCH_HOME", str(tmp_path))
    gallery = ("--gallery", server.address, "--name", "kept")
    now = time.time()
    frames = [make_frame(f"/hall/{days}.jpg", "hall", now - 86_400.0 * days) for days in (1, 40)]
    with GalleryIndex.create(server.address, "kept", **MODEL) as index:
        index.put([(frame, make_people(np.random.default_rng(0), 2)) for frame in frames])
        assert main(["log", "on", *gallery]) == 0
        assert main(["retain", "--keep", "30d", "--yes", *gallery]) == 0
        assert "removed 1 frames with 2 people" in capsys.readouterr().out
        assert [frame.name for frame in index.frames()] == ["/hall/1.jpg"]
        assert main(["retain", "--keep", "30d", "--yes", *gallery]) == 0
        assert capsys.readouterr().out == "nothing was old enough to be removed\n"
        entries = ActivityLog(index).entries()
    assert [entry["action"] for entry in entries] == [
        *("log on", "keep rules", "retention", "keep rules")
    ]
    assert main(["forget", "--person", "/hall/1.jpg#1", "--yes", *gallery]) == 2
    assert "person-search remove --frames" in capsys.readouterr().err
