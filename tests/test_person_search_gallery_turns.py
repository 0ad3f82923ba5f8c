"""Writers wait for who writes a gallery anew, which takes minutes, and say so; readers do not."""

import logging
import sqlite3
import threading

import numpy as np
import pytest
from helpers_gallery import DIM, FINGERPRINT, make_entries

from person_search.gallery import database, turns
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex
from reid_heads.unfinished import unfinished

RNG = np.random.default_rng(0)


@pytest.fixture
def gallery(tmp_path, monkeypatch):
    """One that waits a tenth of a second for others."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    monkeypatch.setattr(turns, "LOOK_SECONDS", 0.02)
    path = tmp_path / "g.db"
    with GalleryIndex.create(path, fingerprint=FINGERPRINT, embedding_dim=DIM) as index:
        yield index


@pytest.fixture
def other(gallery):
    """Another process's connection, which writes."""
    connection = sqlite3.connect(gallery.uri, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


def test_a_writer_waits_for_who_writes_the_file_anew(gallery, other, caplog):
    said = threading.Event()
    handler = logging.Handler()
    handler.emit = lambda record: said.set()
    turns.logger.addHandler(handler)
    entries, stored = make_entries(RNG, 2), []
    thread = threading.Thread(target=lambda: stored.append(gallery.put(entries)))
    try:
        with unfinished(turns._sign(database.Path(gallery.uri))):
            thread.start()
            assert said.wait(10)
            thread.join(0.4)
            assert thread.is_alive(), "four times as long as it waits for anybody else"
            assert list(gallery.frames()) == [], "readers do not wait"
            other.execute("COMMIT")
            thread.join(10)
    finally:
        turns.logger.removeHandler(handler)
    assert stored[0].frames == 2
    (record,) = [r for r in caplog.records if r.name == turns.__name__]
    assert "another process writes" in record.getMessage()


def test_a_writer_that_hangs_is_not_waited_for(gallery, other):
    with pytest.raises(GalleryError, match="another process has been writing into"):
        gallery.put(make_entries(RNG, 1))
    with pytest.raises(GalleryError, match="another process has been writing into"):
        gallery.purge()
    other.execute("COMMIT")
    assert gallery.put(make_entries(RNG, 1)).frames == 1


def test_whoever_writes_it_anew_holds_the_sign_and_leaves_none(gallery, monkeypatch, tmp_path):
    gallery.put(make_entries(RNG, 3))
    held = []
    monkeypatch.setattr(
        turns, "unfinished", lambda path: held.append(path) or unfinished(path, is_hidden=False)
    )
    gallery.remove(names=[frame.name for frame in gallery.frames()])
    assert held == [tmp_path / "g.db.anew"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g.db", "g.db-shm", "g.db-wal"]
