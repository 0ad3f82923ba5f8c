import argparse
import os
import shlex
import sqlite3

import numpy as np
import pytest
from helpers_gallery import (
    DIM,
    FINGERPRINT,
    assert_holds,
    assert_matches,
    make_entries,
    search_by_numpy,
    unit,
)

from person_search.commands.check import run as run_check
from person_search.gallery import matrix_keeper
from person_search.gallery.checking import back_up, check_gallery_file
from person_search.gallery.errors import GalleryError
from person_search.gallery.file_faults import check_line, explain
from person_search.gallery.index import GalleryIndex

MODEL = {"fingerprint": FINGERPRINT, "embedding_dim": DIM}


@pytest.fixture
def entries():
    return make_entries(np.random.default_rng(0), 12)


@pytest.fixture
def path(tmp_path, entries):
    path = tmp_path / "g.db"
    with GalleryIndex.create(path, **MODEL) as index:
        index.put(entries)
    return path


def test_what_lies_beside_a_gallery_lies_where_its_link_leads(path, entries, tmp_path, monkeypatch):
    """A removal through the link left the matrix of the file; a repair made a file of the link."""
    monkeypatch.setattr(matrix_keeper, "LEAST_ROWS", 1)
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    with GalleryIndex.open(path) as index:
        index.prepare()
    assert (tmp_path / "g.db-matrix1").exists()
    with GalleryIndex.open(link) as index:
        assert index.uri == str(link)
        index.remove(names=[entries[0][0].name])
        assert not (tmp_path / "g.db-matrix1").exists()
        query = unit(np.random.default_rng(1).normal(size=DIM))
        assert_matches(index.search(query), search_by_numpy(entries[1:], query), entries)
        (tmp_path / "g.db-wal").rename(tmp_path / "away")
        with pytest.raises(GalleryError, match=r"/g\.db-wal, which belongs to the gallery"):
            index.put(entries[:1])
    (tmp_path / "away").unlink()
    with GalleryIndex.open(link) as index:
        path.with_name("g.db-matrix1").write_bytes(b"damaged")
    assert check_gallery_file(link, repair=True).repaired
    assert link.is_symlink() and os.listdir(link.parent) == ["link.db"]
    with GalleryIndex.open(path) as index:
        assert_holds(index, entries[1:])


def test_a_link_that_leads_elsewhere_meanwhile_is_another_file(path, entries, tmp_path):
    link, other = tmp_path / "link.db", tmp_path / "other.db"
    GalleryIndex.create(other, **MODEL).close()
    link.symlink_to(path)
    with GalleryIndex.open(link) as index:
        link.unlink()
        link.symlink_to(other)
        with pytest.raises(GalleryError, match=r"link\.db was replaced by another file"):
            index.put(entries[:1])


def test_a_file_with_two_names_is_refused(path, tmp_path):
    """Each name would get a log of its own, which SQLite's pages say destroys a file."""
    os.link(path, tmp_path / "second.db")
    for name in ("g.db", "second.db"):
        with pytest.raises(GalleryError, match=rf"{name} has 2 names \(hard links\)"):
            GalleryIndex.open(tmp_path / name)


def test_an_empty_file_is_no_gallery_and_stays_empty(tmp_path, entries):
    """Checking one that was cut to nothing made tables in it and found no fault."""
    path = tmp_path / "g.db"
    path.touch()
    for use in (GalleryIndex.open, check_gallery_file, lambda p: back_up(p, tmp_path / "copy.db")):
        with pytest.raises(GalleryError, match=r"g\.db is empty; bring back a backup"):
            use(path)
    assert path.stat().st_size == 0 and os.listdir(tmp_path) == ["g.db"]
    with GalleryIndex.open_or_create(path, **MODEL) as index:
        index.put(entries)
        assert_holds(index, entries)


def test_no_gallery_is_made_beside_the_log_of_one_that_is_gone(path, entries, tmp_path):
    """The same command again made a new file, and with it removed what was stored last."""
    new = make_entries(np.random.default_rng(1), 3, first=100)
    with GalleryIndex.open(path) as index:
        index.put(new)
        path.rename(tmp_path / "moved.db")
        with pytest.raises(
            GalleryError, match=r"no gallery .*g\.db, but .*g\.db-wal.*bring it back"
        ):
            GalleryIndex.open_or_create(path, **MODEL)
        (tmp_path / "moved.db").rename(path)
        assert_holds(index, [*entries, *new])


def test_advice_can_be_typed_as_it_is(path, tmp_path):
    """It named the file without its folder."""
    folder = tmp_path / "my videos"
    folder.mkdir()
    moved = path.rename(folder / "it's.db")
    assert shlex.split(check_line(moved)) == ["person-search", "check", str(moved)]
    _run_sql(moved, "UPDATE people SET score = 0.5 WHERE id % 65536 = 0")
    with GalleryIndex.open(moved) as index, pytest.raises(GalleryError) as caught:
        index.search(unit(np.ones(DIM)))
    assert str(caught.value).endswith(check_line(moved))


def test_a_row_of_other_types_is_damage(path):
    """Searching a file whose last page was cut off ended with an error of struct."""
    _run_sql(
        path,
        "PRAGMA writable_schema = 1",
        "UPDATE sqlite_schema SET sql = replace(sql, ') STRICT', ')') WHERE name = 'people'",
        "UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL', '') WHERE name = 'people'",
    )
    _run_sql(path, "UPDATE people SET embedding = NULL, x1 = NULL WHERE id % 65536 = 0")
    with GalleryIndex.open(path) as index, pytest.raises(GalleryError, match=r"g\.db is damaged"):
        index.search(unit(np.ones(DIM)))


def test_a_backup_keeps_the_permissions(path, tmp_path):
    path.chmod(0o600)
    back_up(path, tmp_path / "copy.db")
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


def test_a_file_that_may_not_be_written_is_named(path, monkeypatch):
    """A reader who may not write a gallery leaves files that its owner may not write, either."""
    beside = path.with_name("g.db-shm")
    beside.touch()
    error = sqlite3.OperationalError("attempt to write a readonly database")
    error.sqlite_errorname = "SQLITE_READONLY"
    assert explain(error, path, "reading").startswith(f"{path} or its folder is read-only; allow")
    # Tests may run as root, who may write everything.
    monkeypatch.setattr(os, "access", lambda file, mode: file != beside)
    assert explain(error, path, "reading").startswith(
        f"gallery {path}: {beside} is read-only; allow writing"
    )


def test_a_repair_says_what_was_wrong(path, capsys):
    _run_sql(path, "UPDATE people SET score = 0.5 WHERE id % 65536 = 0")
    args = argparse.Namespace(gallery=str(path), repair=False)
    assert run_check(args) == 1
    assert "things wrong" in capsys.readouterr().out
    args.repair = True
    assert run_check(args) == 0
    assert "things were wrong" in capsys.readouterr().out
    args.repair = False
    assert run_check(args) == 0
    assert "0 things wrong" in capsys.readouterr().out


def _run_sql(path, *statements):
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()
