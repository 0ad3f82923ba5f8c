import os
import re
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from helpers_gallery import DIM, FINGERPRINT, assert_finished, assert_holds, make_entries

from person_search.gallery.checking import check_gallery_file
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex
from person_search.gallery.rows import Stored, frame_id

MODEL = {"fingerprint": FINGERPRINT, "embedding_dim": DIM}


@pytest.fixture
def entries():
    return make_entries(np.random.default_rng(21), 40)


@pytest.fixture
def path(tmp_path, entries):
    path = tmp_path / "g.db"
    with GalleryIndex.create(path, **MODEL) as index:
        index.put(entries)
    return path


def _run_sql(path, statement, *values):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute(statement, values)
    connection.close()


def _people_of(entries):
    return sum(len(people) for _, people in entries)


def test_a_sound_gallery_stays_as_it_is(path, entries):
    for repair in (False, True):
        report = check_gallery_file(path, repair)
        assert report.stored == Stored(40, _people_of(entries))
        assert not report.problems and not report.repaired
        assert report.missing == [frame.name for frame, _ in entries]
    assert_finished(path, entries)


@pytest.mark.parametrize(
    ("harm", "problem", "num_kept"),
    [
        ("UPDATE frames SET name = 'x' WHERE id = 3", "frame x: its row is not as stored", 39),
        ("UPDATE frames SET key = x'00' WHERE id = 3", "its key is not that of its name", 39),
        ("UPDATE frames SET timestamp = 5 WHERE id = 3", "its row is not as stored", 39),
        ("UPDATE frames SET camera = 1 WHERE camera = 2", "its row is not as stored", 27),
        ("DELETE FROM frames WHERE id = 5", "rows belong to nothing", 39),
        ("UPDATE people SET x1 = x1 - 1 WHERE id / 65536 = 7", "person 0 is not as stored", 39),
        ("UPDATE people SET frame = 8 WHERE frame = 7", "person 0 is not as stored", 39),
        ("UPDATE people SET embedding = x'00' WHERE id / 65536 = 7", "is not as stored", 39),
        ("DELETE FROM people WHERE id / 65536 = 7", "it has 0 people, not 6", 39),
        ("UPDATE galleries SET num_people = 7", "counts 40 frames with 7 people, but has 40", 40),
        ("UPDATE cameras SET num_frames = 7", "counts other frames of each camera", 40),
    ],
)
def test_what_is_not_as_stored_is_found_and_left_out(path, entries, harm, problem, num_kept):
    _run_sql(path, harm)
    report = check_gallery_file(path)
    assert any(problem in text for text in report.problems), report.problems
    assert not report.repaired
    repaired = check_gallery_file(path, repair=True)
    assert repaired.problems == report.problems
    assert repaired.stored.frames == num_kept
    assert f"the {num_kept} frames that are as they were stored" in repaired.repaired[0]
    assert os.listdir(path.parent) == ["g.db"]
    again = check_gallery_file(path)
    assert not again.problems and again.stored == repaired.stored
    assert_finished(path, entries)


def test_text_that_is_no_longer_text_is_found(path, entries):
    """SQLite's module for Python could not decode it, and no frame was read."""
    data = path.read_bytes()
    path.write_bytes(data.replace(b"/nowhere/00011", b"/nowhere/\xff0011"))
    with GalleryIndex.open(path) as index, pytest.raises(GalleryError, match=r"g\.db is damaged"):
        list(index.frames())
    assert check_gallery_file(path, repair=True).stored.frames == 39
    assert_finished(path, entries)


def test_frames_are_saved_from_damaged_pages(tmp_path):
    """The rest of a table can be read though one page of it cannot."""
    path, entries = tmp_path / "g.db", make_entries(np.random.default_rng(21), 400)
    with GalleryIndex.create(path, **MODEL) as index:
        index.put(entries)
    data = bytearray(path.read_bytes())
    page = data.index(b"/nowhere/00200.jpg") // 16_384
    data[page * 16_384] ^= 0x40
    path.write_bytes(data)
    report = check_gallery_file(path, repair=True)
    assert any("can be read: database disk image is malformed" in p for p in report.problems)
    assert 100 < report.stored.frames < 400
    assert_finished(path, entries)


def test_a_frame_that_was_put_twice_is_kept_once(path, entries):
    """Its key was damaged in the index, where it was not found when it was put again."""
    data, key = bytearray(path.read_bytes()), bytes.fromhex(frame_id(entries[7][0].name))
    places = [match.start() for match in re.finditer(re.escape(key), data)]
    (place,) = (p for p in places if data[p // 16_384 * 16_384] == 0x0A)  # a leaf of an index
    data[place] ^= 0xFF
    path.write_bytes(data)
    with GalleryIndex.open(path) as index:
        index.put([entries[7]])
        assert len(list(index.frames())) == 41
    assert check_gallery_file(path).problems
    report = check_gallery_file(path, repair=True)
    assert report.stored == Stored(40, _people_of(entries))
    with GalleryIndex.open(path) as index:
        assert_holds(index, entries)


def test_a_file_whose_first_page_is_damaged_is_left_alone(path):
    data = path.read_bytes().replace(b"CREATE TABLE people", b"CREATE TUBLE people")
    path.write_bytes(data)
    for use in (GalleryIndex.open, check_gallery_file, lambda p: check_gallery_file(p, True)):
        with pytest.raises(GalleryError, match=r"g\.db is damaged so .* bring back a backup"):
            use(path)
    assert path.read_bytes() == data


@pytest.mark.parametrize("column", ["fingerprint", "card", "embedding_dim"])
def test_what_a_gallery_says_of_its_model_is_compared_too(path, column):
    """A damaged threshold would have said of people that they were there."""
    _run_sql(path, f"UPDATE galleries SET {column} = 15")
    said = r"g\.db.* what it says of the model of gallery 'gallery' is not what was stored"
    for use in (GalleryIndex.open, lambda p: check_gallery_file(p, repair=True)):
        with pytest.raises(GalleryError, match=said):
            use(path)
    assert "what it says of its model" in check_gallery_file(path).problems[0]
    assert os.listdir(path.parent) == ["g.db"]


HOLD = """
import sys
from person_search.gallery.index import GalleryIndex
with GalleryIndex.open(sys.argv[1]):
    print("open", flush=True)
    sys.stdin.read()
"""


def test_a_gallery_in_use_is_not_repaired(path, entries):
    _run_sql(path, "UPDATE frames SET name = 'x' WHERE id = 3")
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        said = rf"other processes have .*g\.db open \(process {holder.pid}\); end them"
        with pytest.raises(GalleryError, match=said):
            check_gallery_file(path, repair=True)
        holder.stdin.close()
    assert check_gallery_file(path).problems
    assert check_gallery_file(path, repair=True).stored.frames == 39


def test_a_repair_without_room_leaves_the_file(path, entries, monkeypatch):
    _run_sql(path, "UPDATE frames SET name = 'x' WHERE id = 3")

    def fail(*_):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("person_search.gallery.repairing.os.replace", fail)
    with pytest.raises(OSError, match="No space left"):
        check_gallery_file(path, repair=True)
    assert os.listdir(path.parent) == ["g.db"]
    with GalleryIndex.open(path) as index:
        assert index.info().frames == 40


def test_the_file_keeps_its_permissions_and_galleries(path, entries):
    path.chmod(0o640)
    with GalleryIndex.create(path, "other", **MODEL) as other:
        other.put(entries[:5])
    _run_sql(path, "UPDATE frames SET name = 'x' WHERE id = 3")
    check_gallery_file(path, repair=True)
    assert path.stat().st_mode & 0o777 == 0o640
    with GalleryIndex.open(path, "other") as other:
        assert_holds(other, entries[:5])
    with GalleryIndex.open(path) as index:
        assert_holds(index, [*entries[:2], *entries[3:]])
