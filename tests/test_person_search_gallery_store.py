import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers_gallery import (
    DIM,
    FINGERPRINT,
    assert_holds,
    assert_matches,
    engine_processes,
    make_entries,
    make_frame,
    make_people,
    search_by_numpy,
    unit,
    wait_until,
)
from helpers_processes import run_processes

pytest.importorskip("pymilvus")

from person_search.gallery import engine as engines
from person_search.gallery import store as stores
from person_search.gallery.engine import Engine, GalleryError, check_lock, connect, disconnect
from person_search.gallery.index import GalleryIndex, list_galleries

MODEL = {"fingerprint": FINGERPRINT, "embedding_dim": DIM}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gallery", r"expected a file ending in \.db, or http://host:port"),
        ("a" * 34 + ".db", "at most 36 characters"),
        ("my gallery.db", "at most 36 characters out of a-z"),
        ("gone/gallery.db", "there is no folder .*gone; make it first"),
        ("ftp://host/gallery.db", "expected http://host:port"),
    ],
)
def test_names_that_the_engine_cannot_take_are_refused(tmp_path, name, message):
    uri = name if "://" in name else tmp_path / name
    with pytest.raises(GalleryError, match=message):
        GalleryIndex.create(uri, **MODEL)
    assert not list(tmp_path.iterdir())


def test_opening_makes_no_file(tmp_path):
    for open_gallery in (GalleryIndex.open, list_galleries):
        with pytest.raises(GalleryError, match=r"there is no gallery .*person-search index"):
            open_gallery(tmp_path / "none.db")
    assert not list(tmp_path.iterdir())


def test_other_files_are_refused_and_left_alone(tmp_path):
    text, table, folder = (tmp_path / f"{n}.db" for n in ("text", "table", "folder"))
    text.write_text("a letter\n" * 100)
    connection = sqlite3.connect(table)
    connection.execute("CREATE TABLE savings (amount)")
    connection.commit()
    connection.close()
    folder.mkdir()
    before = [text.read_bytes(), table.read_bytes()]
    for path in (text, table):
        with pytest.raises(GalleryError, match=f"{path} is not a gallery but some other file"):
            GalleryIndex.open_or_create(path, **MODEL)
    with pytest.raises(GalleryError, match="not a file"):
        GalleryIndex.open(folder)
    assert [text.read_bytes(), table.read_bytes()] == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["folder.db", "table.db", "text.db"]


def test_a_read_only_folder_is_refused(tmp_path, monkeypatch):
    """Tests may run as root, whom no permission stops, so the system's answers are stood in for."""
    path = tmp_path / "gallery.db"
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        with pytest.raises(GalleryError, match=f"{tmp_path} is read-only.*copy the file"):
            GalleryIndex.create(path, **MODEL)

    def refuse(self, mode="r", **_):
        raise PermissionError(13, "Permission denied", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        with pytest.raises(GalleryError, match=r"cannot write to .* \(Permission denied\)"):
            GalleryIndex.create(path, **MODEL)
    assert not list(tmp_path.iterdir())


HOLD_LOCK = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_file_that_another_process_has_open_is_refused(tmp_path):
    path = tmp_path / "gallery.db"
    command = [sys.executable, "-c", HOLD_LOCK, str(tmp_path / ".gallery.db.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        with pytest.raises(GalleryError, match=r"another process.*person-search store gallery\.db"):
            GalleryIndex.create(path, **MODEL)
        # The engine of a killed process gives the lock up after a moment.
        threading.Timer(0.2, holder.stdin.close).start()
        check_lock(path)


@pytest.mark.parametrize("uri", ["http://user:secret@127.0.0.1:{}", "http://127.0.0.1:{}"])
def test_a_server_that_is_not_there_is_reported_within_seconds(uri):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(GalleryError, match=r"cannot reach a gallery server at .*store") as caught:
        GalleryIndex.open(uri.format(port))
    assert time.monotonic() - started < 10
    assert "secret" not in str(caught.value)


def test_a_server_that_accepts_but_never_answers_is_reported_within_seconds(monkeypatch):
    assert engines.CONNECT_TIMEOUT < 10
    monkeypatch.setattr(engines, "CONNECT_TIMEOUT", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        with pytest.raises(GalleryError, match="cannot reach a gallery server"):
            GalleryIndex.open(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - started < 5


def test_without_the_packages_they_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "milvus_lite", None)
    with pytest.raises(GalleryError, match=r"pip install milvus-lite==.* pymilvus"):
        GalleryIndex.create(tmp_path / "gallery.db", **MODEL)


def test_an_engine_that_cannot_read_its_file_leaves_nothing_running(tmp_path):
    """A damaged file, which begins as it should."""
    path = tmp_path / "gallery.db"
    GalleryIndex.create(path, **MODEL).close()
    whole = path.read_bytes()
    path.write_bytes(whole[:200] + b"\xff" * (len(whole) - 200))
    with pytest.raises(GalleryError, match=r"the engine cannot open .* bring back a copy"):
        GalleryIndex.open(path)
    assert not engine_processes(path)
    assert path.read_bytes()[200:] == b"\xff" * (len(whole) - 200)


def test_an_engine_that_is_slow_to_listen_is_waited_for(tmp_path, monkeypatch):
    """As on a busy machine; the client alone gives up after half a second."""
    from milvus_lite import server

    library = Path(server.BIN_PATH)
    (tmp_path / "bin").mkdir()
    slow = tmp_path / "bin" / "milvus"
    slow.write_text(
        f'#!/bin/sh\nsleep 1.5\nLD_LIBRARY_PATH={library} exec {library / "milvus"} "$@"\n'
    )
    slow.chmod(0o755)
    monkeypatch.setenv("BIN_PATH", str(slow.parent))
    engine = connect(tmp_path / "g.db")
    assert engine.call("list_collections", "list") == []
    disconnect(engine)


def test_one_engine_serves_a_file_until_its_last_user_leaves(tmp_path, monkeypatch):
    path = tmp_path / "gallery.db"
    entries = make_entries(np.random.default_rng(0), 9)
    first = GalleryIndex.create(path, **MODEL)
    monkeypatch.chdir(tmp_path)
    second = GalleryIndex.open("gallery.db")  # the same file
    assert len(engine_processes(path)) == 1
    first.put(entries)
    assert_holds(second, entries)
    first.close()
    first.close()
    assert_holds(second, entries)
    second.close()
    assert not engine_processes(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["gallery.db"]


def test_an_engine_that_dies_is_reported_at_once_and_can_be_opened_again(tmp_path):
    path = tmp_path / "gallery.db"
    entries = make_entries(np.random.default_rng(1), 9)
    with GalleryIndex.create(path, **MODEL) as index:
        index.put(entries)
        (engine,) = engine_processes(path)
        os.kill(engine, 9)
        started = time.monotonic()
        with pytest.raises(GalleryError, match="has ended or does not answer; open the gallery"):
            index.known_frames(["/any.jpg"])
        assert time.monotonic() - started < 10
    with GalleryIndex.open(path) as index:
        assert_holds(index, entries)


def test_a_gallery_of_another_version_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "gallery.db"
    with monkeypatch.context() as patch:
        patch.setattr(stores, "VERSION", 2)
        GalleryIndex.create(path, **MODEL).close()
    before = path.read_bytes()
    with pytest.raises(GalleryError, match="has version 2, this program reads version 1"):
        GalleryIndex.open_or_create(path, **MODEL)
    assert path.read_bytes() == before


def test_what_a_kill_while_creating_leaves_is_made_anew(tmp_path, monkeypatch):
    path = tmp_path / "gallery.db"
    call = Engine.call

    def stop_at_frames(self, method, doing, *args, **kwargs):
        if method == "create_collection" and args[0].endswith("_frames"):
            raise KeyboardInterrupt
        return call(self, method, doing, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "call", stop_at_frames)
        with pytest.raises(KeyboardInterrupt):
            GalleryIndex.create(path, **MODEL)
    assert not engine_processes(path)
    entries = make_entries(np.random.default_rng(2), 3)
    with GalleryIndex.open_or_create(path, **MODEL) as index:
        assert list_galleries(path) == ["gallery"]
        index.put(entries)
        assert_holds(index, entries)


def test_a_disk_with_little_room_takes_nothing_more(tmp_path, monkeypatch):
    entries = make_entries(np.random.default_rng(3), 6)
    with GalleryIndex.create(tmp_path / "gallery.db", **MODEL) as index:
        index.put(entries[:3])
        few = SimpleNamespace(f_bavail=200, f_frsize=4096)
        with monkeypatch.context() as patch:
            patch.setattr(os, "statvfs", lambda _: few)
            with pytest.raises(GalleryError, match=r"is full: 0\.8 MiB are free, .* intact"):
                index.put(entries[2:])
        assert_holds(index, entries[:3])
        index.put(entries[2:])
        assert_holds(index, entries)


@contextmanager
def _small_disk(folder, size):
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("notices", ["we", "the engine"])
def test_a_full_disk_is_reported_and_what_is_stored_stays(tmp_path, monkeypatch, notices):
    """The engine itself says nothing of the reason, and its client tries again for long."""
    rng = np.random.default_rng(4)
    if notices == "the engine":
        monkeypatch.setattr("person_search.gallery.writing._check_room", lambda *_: None)
        monkeypatch.setattr(engines, "CALL_TIMEOUT", 0.5)
    with _small_disk(tmp_path / "small", "2m" if notices == "we" else "600k") as folder:
        path = folder / "gallery.db"
        stored = []
        with GalleryIndex.create(path, **MODEL) as index:
            with pytest.raises(GalleryError, match=r"the disk of .* is full.*intact"):
                for first in range(0, 10_000, 100):
                    entries = make_entries(rng, 100, first)
                    index.put(entries)
                    stored += entries
            assert stored or notices == "we"
        with GalleryIndex.open(path) as index:
            assert_holds(index, stored)
            query = unit(rng.normal(size=DIM))
            assert_matches(index.search(query), search_by_numpy(stored, query), stored)


@contextmanager
def _server(path):
    """Serve a file over TCP, as another process or machine would."""
    from milvus_lite.server import Server

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server(str(path), f"127.0.0.1:{port}")
    assert server.init() and server.start()
    try:
        yield f"http://127.0.0.1:{port}", server._p
    finally:
        # Without a lock to wait for, this engine does not end by itself.
        server._p.kill()
        server.stop()


def test_a_gallery_behind_an_address_is_the_same(tmp_path):
    rng = np.random.default_rng(5)
    entries = make_entries(rng, 20)
    path = tmp_path / "served.db"
    with (
        _server(path) as (address, process),
        GalleryIndex.open_or_create(address, **MODEL) as index,
    ):
        index.put(entries[:15])
        index.put(entries[10:])
        assert_holds(index, entries)
        query = unit(rng.normal(size=DIM))
        assert_matches(index.search(query), search_by_numpy(entries, query), entries)
        assert (index.info().uri, index.info().num_bytes) == (address, None)
        assert list_galleries(address) == ["gallery"]
        process.kill()
        process.wait()
        started = time.monotonic()
        with pytest.raises(GalleryError, match=r"server .* does not answer; check"):
            index.search(query)
        assert time.monotonic() - started < 10
    with GalleryIndex.open(path) as index:
        assert_holds(index, entries)


def test_an_approximate_gallery_finds_nearly_what_an_exact_one_does(tmp_path):
    """Recall of the 10 nearest on clustered data, of what the served engine makes of the index."""
    rng = np.random.default_rng(20)
    centres = rng.normal(size=(40, DIM))
    rows = unit(centres[rng.integers(0, 40, 4000)] + 0.3 * rng.normal(size=(4000, DIM)))
    entries = [
        (make_frame(f"/nowhere/{n}.jpg"), make_people(rng, 100, embeddings=rows[n : n + 100]))
        for n in range(0, 4000, 100)
    ]
    queries = unit(centres[rng.integers(0, 40, 20)] + 0.3 * rng.normal(size=(20, DIM)))
    wish = {"index_type": "IVF_FLAT", "nlist": 32, "nprobe": 8}
    with (
        _server(tmp_path / "served.db") as (address, _),
        GalleryIndex.create(address, approximate=wish, **MODEL) as index,
    ):
        index.put(entries)
        hits = 0
        for query in queries:
            exact = {row[1:] for row in search_by_numpy(entries, query, 10, one=False)}
            found = index.search(query, top=10, one_per_frame=False)
            hits += len(exact & {(m.image, int(m.person.rpartition("_")[2])) for m in found})
        assert hits / 200 > 0.9
        assert index.info().approximate == wish
        with pytest.raises(GalleryError, match="HNSW, local mode only support FLAT IVF_FLAT"):
            GalleryIndex.create(address, "other", approximate={"index_type": "HNSW"}, **MODEL)
        # What was made of it is gone, so the name is free.
        GalleryIndex.create(address, "other", **MODEL).close()


def put_all(path, entries, told):
    with GalleryIndex.open_or_create(path, **MODEL) as index:
        for first in range(0, len(entries), 4):
            batch = entries[first : first + 4]
            known = index.known_frames([frame.name for frame, _ in batch])
            new = [e for e in batch if known.get(e[0].name) != e[0].content_hash]
            if new:
                os.write(told, b".")
                index.put(new)


def put_and_be_killed(rank, path, entries, kills, seed):
    """Put in child processes that are killed at random moments, then in this one."""
    chance = random.Random(seed)
    were_killed = []
    for _ in range(kills):
        reading, told = os.pipe()
        child = os.fork()
        if not child:
            put_all(path, entries, told)
            os._exit(0)
        os.close(told)
        for _ in range(chance.randint(1, 4)):  # kill it within a put, one of the next ones
            os.read(reading, 1)
        time.sleep(chance.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        were_killed.append(os.WIFSIGNALED(os.waitpid(child, 0)[1]))
        os.close(reading)
    put_all(path, entries, os.pipe()[1])
    return were_killed


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_every_frame_is_there_once_after_kills(tmp_path, kills):
    """A process that puts frames is killed at random moments; the last run completes the rest."""
    path, seed = tmp_path / "gallery.db", 6
    entries = make_entries(np.random.default_rng(seed), 20 * kills + 20)
    (were_killed,) = run_processes(put_and_be_killed, 1, path, entries, kills, seed, timeout=240)
    assert were_killed == [True] * kills
    wait_until(lambda: not engine_processes(path))  # it ended with the process
    with GalleryIndex.open(path) as index:
        assert_holds(index, entries)


def test_an_engine_is_shared_and_counted(tmp_path):
    path = tmp_path / "gallery.db"
    first, second = connect(path), connect(str(path))
    assert first is second and first.users == 2
    disconnect(first)
    assert first.call("list_collections", "testing") == []
    disconnect(first)
    disconnect(first)
    with pytest.raises(GalleryError, match="is closed"):
        first.call("list_collections", "testing")
