import os
import resource
import sqlite3
import subprocess
import sys
import threading

import numpy as np
import pytest
from helpers_gallery import DIM, FINGERPRINT, assert_holds, make_entries

from person_search.gallery.checking import back_up, check_gallery_file
from person_search.gallery.database import check_file
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex, list_galleries
from person_search.gallery.sqlite_store import SqliteStore

MODEL = {"fingerprint": FINGERPRINT, "embedding_dim": DIM}
# What another process does with the file: open, write, close. The last one takes the log away.
PUT = """
import sys
sys.path.insert(0, "tests")
import numpy as np
from helpers_gallery import make_entries
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex
with GalleryIndex.open(sys.argv[1]) as index:
    index.put(make_entries(np.random.default_rng(1), 3, first=100))
"""


def test_a_file_that_is_open_keeps_its_locks(tmp_path):
    """Looking at its header closed a descriptor, with which a process loses all its locks.

    Another process then took itself for the last one and removed the log; the first one said that
    it had been deleted.
    """
    path = tmp_path / "g.db"
    entries = make_entries(np.random.default_rng(0), 6)
    with GalleryIndex.create(path, **MODEL) as index:
        index.put(entries[:3])
        GalleryIndex.open(path).close()
        assert list_galleries(path) == ["gallery"]
        check_file(path, must_exist=True)
        assert not check_gallery_file(path).problems
        subprocess.run([sys.executable, "-c", PUT, str(path)], check=True)
        assert (tmp_path / "g.db-wal").exists()
        index.put(entries[3:])
        there = [*entries, *make_entries(np.random.default_rng(1), 3, first=100)]
        assert_holds(index, there)
    assert os.listdir(tmp_path) == ["g.db"]
    with GalleryIndex.open(path) as index:
        assert_holds(index, there)


def test_a_folder_may_have_a_name_that_is_no_text(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    entries = make_entries(np.random.default_rng(0), 3)
    with GalleryIndex.create(folder / "g.db", **MODEL) as index:
        index.put(entries)
        assert_holds(index, entries)
    assert not check_gallery_file(folder / "g.db").problems


@pytest.mark.parametrize("end", ["wal", "shm"])
def test_a_file_beside_a_gallery_that_goes_is_noticed(tmp_path, end):
    """With other shared memory than other processes both would write at once."""
    path = tmp_path / "g.db"
    entries = make_entries(np.random.default_rng(0), 4)
    with GalleryIndex.create(path, **MODEL) as index:
        index.put(entries[:2])
        (tmp_path / f"g.db-{end}").unlink()
        with pytest.raises(GalleryError, match=f"g.db-{end}, which belongs to the gallery, was"):
            index.put(entries[2:])


def test_frames_that_another_process_removes_or_puts_at_once_are_not_missed(tmp_path, monkeypatch):
    """It was said that the disk had lost them."""
    path = tmp_path / "g.db"
    entries = make_entries(np.random.default_rng(0), 6)
    with GalleryIndex.create(path, **MODEL) as index, GalleryIndex.open(path) as other:
        honest = SqliteStore._count_afresh

        def count(store, ids):
            monkeypatch.setattr(SqliteStore, "_count_afresh", honest)
            other.put(entries[:2])
            other.remove(names=[entries[5][0].name], purge=False)
            return honest(store, ids)

        monkeypatch.setattr(SqliteStore, "_count_afresh", count)
        assert index.put(entries) == (5, sum(len(people) for _, people in entries[:5]))
        assert_holds(other, entries[:5])


def test_frames_that_are_lost_after_they_were_committed_are_missed(tmp_path, monkeypatch):
    """As by a disk that forgets what it was told to keep."""
    path = tmp_path / "g.db"
    entries = make_entries(np.random.default_rng(0), 6)
    with GalleryIndex.create(path, **MODEL) as index:
        honest = SqliteStore._count_afresh

        def count(store, ids):
            return honest(store, [*ids[1:], 10**6])

        monkeypatch.setattr(SqliteStore, "_count_afresh", count)
        with pytest.raises(GalleryError, match=r"g\.db: 6 frames .*, but 5 with .* check the disk"):
            index.put(entries)


def test_it_is_said_where_bytes_of_removed_frames_are_left(tmp_path, monkeypatch):
    """The disk was full: the same again, as was advised, found no such frame."""
    monkeypatch.setattr("person_search.gallery.database.BUSY_SECONDS", 0.1)
    path = tmp_path / "g.db"
    entries = make_entries(np.random.default_rng(0), 6)
    with GalleryIndex.create(path, **MODEL) as index, GalleryIndex.open(path) as other:
        index.put(entries)
        # A search in another process that does not end.
        with other._store._database.reading() as connection:
            connection.execute("SELECT count(*) FROM frames").fetchone()
            said = r"frames are removed, but bytes .*g\.db, because other processes read .*--repair"
            with pytest.raises(GalleryError, match=said):
                index.remove(names=[entries[0][0].name])
        assert_holds(index, entries[1:])
    check_gallery_file(path, repair=True)
    assert entries[0][0].name.encode() not in path.read_bytes()


def test_a_copy_that_cannot_be_written_names_the_copy(tmp_path):
    """It was said that the disk of the gallery was full."""
    path, target = tmp_path / "g.db", tmp_path / "copy.db"
    with GalleryIndex.create(path, **MODEL) as index:
        index.put(make_entries(np.random.default_rng(0), 400))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
        with pytest.raises(GalleryError, match=r"the disk of .*/copy\.db failed, or is full"):
            back_up(path, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert os.listdir(tmp_path) == ["g.db"]
    assert back_up(path, target).frames == 400


def test_a_new_file_may_be_opened_while_it_is_made(tmp_path):
    """Who looked at it in that moment kept index from making it: it was said to be locked."""
    path = tmp_path / "g.db"
    GalleryIndex.create(path, **MODEL).close()
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    assert other.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    other.execute("BEGIN")
    other.execute("SELECT * FROM galleries").fetchall()
    threading.Timer(0.1, other.rollback).start()
    with GalleryIndex.open(path) as index:
        index.put(make_entries(np.random.default_rng(0), 2))
    other.close()
