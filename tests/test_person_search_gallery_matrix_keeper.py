"""The matrix is that of the database's state, whatever other processes and earlier files leave."""

import shutil
import sqlite3

import numpy as np
import pytest
from helpers_gallery import (
    DIM,
    FINGERPRINT,
    assert_matches,
    make_entries,
    make_people,
    search_by_numpy,
    unit,
)

from person_search.gallery import matrix_keeper
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex
from person_search.gallery.matrix_file import remove_matrices
from person_search.gallery.search_options import FrameFilter

MODEL = {"fingerprint": FINGERPRINT, "embedding_dim": DIM}


@pytest.fixture(autouse=True)
def small_galleries_keep_a_file(monkeypatch):
    monkeypatch.setattr(matrix_keeper, "LEAST_ROWS", 1)


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def _check(index, entries, rng):
    for _ in range(3):
        query = unit(rng.normal(size=DIM))
        assert_matches(index.search(query, top=20), search_by_numpy(entries, query, 20), entries)


def _run_sql(path, statement):
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_what_contradicts_itself_is_never_searched(tmp_path, rng):
    """The first search said so, the second one answered from what had been read."""
    path = tmp_path / "g.db"
    with GalleryIndex.create(path, **MODEL) as index:
        index.put(make_entries(rng, 20))
    _run_sql(path, "UPDATE galleries SET num_people = num_people + 1")
    with GalleryIndex.open(path) as index:
        for _ in range(3):
            with pytest.raises(
                GalleryError, match=r"g\.db is damaged: .*person-search check .*g\.db"
            ):
                index.search(unit(rng.normal(size=DIM)))


def test_the_file_of_another_process_is_not_taken_for_ones_own(tmp_path, rng, monkeypatch):
    """Between writing the matrix and mapping it another process may write that of another state."""
    path, kept = tmp_path / "g.db", tmp_path / "g.db-matrix1"
    entries = make_entries(rng, 40)
    with GalleryIndex.create(path, **MODEL) as index:
        index.put(entries[:30])
        index.prepare()
        early = kept.read_bytes()
        index.put(entries[30:])
    honest = matrix_keeper.save_matrix

    def save(*args, **kwargs):
        honest(*args, **kwargs)
        kept.write_bytes(early)
        return True

    monkeypatch.setattr(matrix_keeper, "save_matrix", save)
    with GalleryIndex.open(path) as index:
        _check(index, entries, rng)
        assert kept.read_bytes() == early
        _check(index, entries, rng)


def test_a_gallery_made_anew_does_not_see_the_matrix_of_the_former(tmp_path, rng):
    """The same names, the same ids, other people: as after indexing with another model."""
    path, kept = tmp_path / "g.db", tmp_path / "g.db-matrix1"
    for _ in range(3):
        entries = [(frame, make_people(rng, 3)) for frame, _ in make_entries(rng, 30)]
        with GalleryIndex.create(path, **MODEL) as index:
            index.put(entries)
            _check(index, entries, rng)
        assert kept.exists()
        path.unlink()


def test_a_matrix_is_not_used_where_cameras_have_other_ids(tmp_path, rng):
    """The same rows in a file made anew, of which a removed frame was of another camera."""
    path, kept = tmp_path / "g.db", tmp_path / "g.db-matrix1"
    entries = make_entries(rng, 30, cameras=("north", "south"))
    for camera in (None, "west"):
        path.unlink(missing_ok=True)
        with GalleryIndex.create(path, **MODEL) as index:
            index.put(entries[:1])
            index.put(make_entries(rng, 1, first=100, cameras=(camera,)))
            index.remove(names=["/nowhere/00100.jpg"], purge=False)
            index.put(entries[1:])
            index.prepare()
    assert kept.exists()
    with GalleryIndex.open(path) as index:
        query = unit(rng.normal(size=DIM))
        found = index.search(query, top=20, frames=FrameFilter(cameras=["south"]))
    assert_matches(found, search_by_numpy(entries, query, 20, ["south"]), entries)


def test_a_backup_put_in_the_place_of_a_later_file_is_searched_as_it_is(tmp_path, rng):
    path, copy = tmp_path / "g.db", tmp_path / "copy.db"
    entries = make_entries(rng, 60)
    with GalleryIndex.create(path, **MODEL) as index:
        index.put(entries[:30])
    shutil.copy(path, copy)
    with GalleryIndex.open(path) as index:
        index.put(entries[30:45])
        _check(index, entries[:45], rng)
    # Without the matrix: its rows 31 to 45 are other frames than those that get these ids now.
    shutil.copy(copy, path)
    with GalleryIndex.open(path) as index:
        _check(index, entries[:30], rng)
        index.put(entries[45:])
        _check(index, [*entries[:30], *entries[45:]], rng)
    with GalleryIndex.open(path) as index:
        _check(index, [*entries[:30], *entries[45:]], rng)


def test_an_earlier_state_under_an_open_gallery_is_an_error(tmp_path, rng, monkeypatch):
    """The search asked for a later state again and again, for ever."""
    monkeypatch.setattr("person_search.gallery.sqlite_search._MOST_TRIES", 3)
    path = tmp_path / "g.db"
    with GalleryIndex.create(path, **MODEL) as index:
        index.put(make_entries(rng, 10))
        index.search(unit(rng.normal(size=DIM)))
        _run_sql(path, "UPDATE galleries SET changes = changes - 1")
        with pytest.raises(
            GalleryError, match=r"g\.db is in an earlier state .*person-search check"
        ):
            index.search(unit(rng.normal(size=DIM)))


def test_removing_frames_leaves_a_gallery_of_a_similar_name(tmp_path, rng):
    """Whatever began with the name and -matrix was removed with the matrices."""
    path, other = tmp_path / "g.db", tmp_path / "g.db-matrix.db"
    entries = make_entries(rng, 10)
    with GalleryIndex.create(other, **MODEL) as index:
        index.put(entries)
    with GalleryIndex.create(path, **MODEL) as index:
        index.put(entries)
        index.prepare()
        left_by_a_kill = tmp_path / "g.db-matrix1.4711.4712"
        left_by_a_kill.write_bytes(b"half")
        index.remove(names=[entries[0][0].name])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g.db", "g.db-matrix.db"]
    with GalleryIndex.open(other) as index:
        _check(index, entries, rng)


@pytest.mark.parametrize("damage", ["zeroblob(64)", "x'00'"])
def test_an_embedding_that_is_not_what_was_stored_is_never_searched(tmp_path, rng, damage):
    """It was found only where it came among the best; elsewhere the person was lost in silence."""
    path = tmp_path / "g.db"
    with GalleryIndex.create(path, **MODEL) as index:
        index.put([(frame, make_people(rng, 3)) for frame, _ in make_entries(rng, 5)])
    _run_sql(
        path, f"UPDATE people SET embedding = {damage} WHERE id = (SELECT max(id) FROM people)"
    )
    said = r"g\.db is damaged: .*person-search check .*g\.db"
    with GalleryIndex.open(path) as index, pytest.raises(GalleryError, match=said):
        index.search(unit(rng.normal(size=DIM)), top=1)


def test_a_matrix_saved_while_people_are_removed_does_not_stay(tmp_path, monkeypatch):
    """Its writer saw them; who removed them looked for matrices before it was there."""
    monkeypatch.setattr(matrix_keeper, "LEAST_ROWS", 1)
    entries = make_entries(np.random.default_rng(30), 20)
    path = tmp_path / "g.db"
    with GalleryIndex.create(path, **MODEL) as index, GalleryIndex.open(path) as other:
        index.put(entries)
        save = matrix_keeper.save_matrix

        def remove_then_save(*arguments, **named):
            other._store.delete([f.name for f, _ in entries[:10]])
            remove_matrices(path)
            return save(*arguments, **named)

        monkeypatch.setattr(matrix_keeper, "save_matrix", remove_then_save)
        index.prepare()
        assert sorted(p.name for p in tmp_path.iterdir()) == ["g.db", "g.db-shm", "g.db-wal"]
        monkeypatch.setattr(matrix_keeper, "save_matrix", save)
        index.prepare()
        assert (tmp_path / "g.db-matrix1").exists()
