import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager

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
from helpers_processes import run_processes

from person_search.gallery import (
    database,
    matrix_file,
    matrix_keeper,
    schema,
    sqlite_rows,
)
from person_search.gallery.checking import check_gallery_file
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex, list_galleries
from person_search.gallery.matrix import FrameTable

MODEL = {"fingerprint": FINGERPRINT, "embedding_dim": DIM}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gallery", r"expected a file ending in \.db, or http://host:port"),
        ("gone/gallery.db", "there is no folder .*gone; make it first"),
    ],
)
def test_paths_that_cannot_be_a_gallery_are_refused(tmp_path, name, message):
    with pytest.raises(GalleryError, match=message):
        GalleryIndex.create(tmp_path / name, **MODEL)
    assert not list(tmp_path.iterdir())


def test_a_gallery_may_have_any_name(tmp_path):
    path = tmp_path / ("Überwachung 100% #1? [north] " + "long " * 30 + ".db")
    entries = make_entries(np.random.default_rng(0), 4)
    with GalleryIndex.create(path, **MODEL) as index:
        index.put(entries)
    with GalleryIndex.open(path) as index:
        assert_holds(index, entries)
        index.remove(names=[entries[0][0].name])
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "statement", [matrix_keeper._FRAMES, matrix_keeper._PEOPLE, sqlite_rows._PAGE]
)
def test_large_galleries_are_read_in_the_order_of_the_file(tmp_path, statement):
    """SQLite sorts in memory, where a million people take a gigabyte."""
    with GalleryIndex.create(tmp_path / "g.db", **MODEL) as index:
        index.put(make_entries(np.random.default_rng(0), 4))
    connection = sqlite3.connect(tmp_path / "g.db")
    values = [1] * statement.count("?")
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    connection.close()
    assert "PRIMARY KEY (rowid>?)" in plan[0]
    assert not any("TEMP B-TREE" in step for step in plan)


def test_opening_makes_no_file(tmp_path):
    for open_gallery in (GalleryIndex.open, list_galleries):
        with pytest.raises(GalleryError, match=r"there is no gallery .*person-search index"):
            open_gallery(tmp_path / "none.db")
    assert not list(tmp_path.iterdir())


def test_other_files_are_refused_and_left_alone(tmp_path):
    text, table, folder, earlier = (
        tmp_path / f"{n}.db" for n in ("text", "table", "folder", "earlier")
    )
    text.write_text("a letter\n" * 100)
    for path, name in ((table, "savings"), (earlier, "collection_meta")):
        connection = sqlite3.connect(path)
        connection.execute(f"CREATE TABLE {name} (amount)")
        connection.commit()
        connection.close()
    folder.mkdir()
    before = [path.read_bytes() for path in (text, table, earlier)]
    for path in (text, table):
        with pytest.raises(GalleryError, match=f"{path} is not a gallery but some other file"):
            GalleryIndex.open_or_create(path, **MODEL)
    with pytest.raises(GalleryError, match="not a file"):
        GalleryIndex.open(folder)
    with pytest.raises(GalleryError, match=r"Milvus Lite.*index the footage again.*earlier_2\.db"):
        GalleryIndex.open(earlier)
    assert [path.read_bytes() for path in (text, table, earlier)] == before
    assert len(list(tmp_path.iterdir())) == 4


def test_a_later_version_is_refused_and_an_earlier_one_brought_up(tmp_path, monkeypatch):
    path = tmp_path / "gallery.db"
    entries = make_entries(np.random.default_rng(1), 5)
    with GalleryIndex.create(path, **MODEL) as index:
        index.put(entries)
    later = "CREATE TABLE verdicts (id INTEGER PRIMARY KEY); CREATE TABLE log (line TEXT);"
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, later))
        with GalleryIndex.open(path) as index:
            assert_holds(index, entries)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM verdicts, log").fetchone() == (0,)
    connection.close()
    before = path.read_bytes()
    known = len(schema.MIGRATIONS)
    words = f"has version {known + 1}, this program reads versions up to {known}"
    with pytest.raises(GalleryError, match=words):
        GalleryIndex.open_or_create(path, **MODEL)
    assert path.read_bytes() == before


def test_a_gallery_of_the_first_version_learns_of_appearances(tmp_path):
    """Its frames are told by SQL what `stream_of` tells new ones."""
    rng = np.random.default_rng(4)
    names = [
        *("/a/1.jpg", "/a/b.mp4#frame=20", "/a/c#frame=7.mp4#frame=0", "/a/b.mp4#frame=3"),
        *("/a/d#frame=.mp4", "#frame=4", "/a/e.mp4#frame=", "/a/f.mp4#FRAME=4", "/a/2.jpg"),
    ]
    entries = [(make_frame("/a/3.jpg", "hall", 1.7e9 + 1), make_people(rng, 0))]
    for number, name in enumerate(names * 6):
        camera, time = ("hall", None)[number % 2], (None, 5.5, 1.7e9)[number % 3]
        frame = make_frame(f"/{number}{name}", camera, time)
        entries.append((frame, make_people(rng, 2)))
    with GalleryIndex.create(tmp_path / "new.db", **MODEL) as index:
        index.put(entries)
    connection = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
    connection.executescript(schema.MIGRATIONS[0])
    connection.execute("ATTACH ? AS new", (str(tmp_path / "new.db"),))
    for table, columns in (
        ("galleries", "id, name, fingerprint, embedding_dim, card, checksum"),
        ("cameras", "id, gallery, name"),
        ("frames", "id, gallery, key, name, content_hash, camera, timestamp, num_people, "
         "people_sum, checksum"),
        ("people", "*"),
    ):  # fmt: skip
        to = "" if columns == "*" else f"({columns})"
        connection.execute(f"INSERT INTO {table} {to} SELECT {columns} FROM new.{table}")
    connection.execute("PRAGMA user_version = 1")
    connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    told = (
        "SELECT f.name, s.name, u.frame IS NOT NULL FROM {0}frames f LEFT JOIN {0}streams s ON "
        "s.id = f.stream LEFT JOIN {0}unlinked u ON u.frame = f.id ORDER BY f.name"
    )
    expected = connection.execute(told.format("new.")).fetchall()
    connection.close()
    with GalleryIndex.open(tmp_path / "old.db") as index:
        assert_holds(index, entries)
        connection = sqlite3.connect(tmp_path / "old.db")
        assert connection.execute(told.format("")).fetchall() == expected
        connection.close()
        assert {name for _, name, _ in expected} > {None, "camera:hall"}
        assert index.appearances.link().frames == sum(is_new for *_, is_new in expected) > 3
    assert not check_gallery_file(tmp_path / "old.db").problems


def test_all_readers_see_what_one_writer_put_at_once(tmp_path, monkeypatch):
    path = tmp_path / "gallery.db"
    rng = np.random.default_rng(2)
    entries = make_entries(rng, 30)
    query = unit(rng.normal(size=DIM))
    first = GalleryIndex.create(path, **MODEL)
    monkeypatch.chdir(tmp_path)
    second = GalleryIndex.open("gallery.db")
    for end in (10, 20, 30):
        first.put(entries[end - 10 : end])
        there = entries[:end]
        assert_holds(second, there)
        for index in (first, second):
            assert_matches(index.search(query), search_by_numpy(there, query), there)
    second.remove(camera="north")
    there = [entry for entry in entries if entry[0].camera != "north"]
    assert_matches(first.search(query), search_by_numpy(there, query), there)
    first.close()
    first.close()
    assert_holds(second, there)
    second.close()
    assert [p.name for p in tmp_path.iterdir()] == ["gallery.db"]


WRITE = """
import sys
sys.path.insert(0, "tests")
import numpy as np
from helpers_gallery import DIM, FINGERPRINT, make_entries
from person_search.gallery.index import GalleryIndex
entries = make_entries(np.random.default_rng(0), 60, first=int(sys.argv[2]))
with GalleryIndex.open_or_create(sys.argv[1], fingerprint=FINGERPRINT, embedding_dim=DIM) as index:
    for first in range(0, 60, 2):
        index.put(entries[first : first + 2])
"""


def test_two_processes_write_in_turns(tmp_path):
    path = tmp_path / "gallery.db"
    commands = [[sys.executable, "-c", WRITE, str(path), str(first)] for first in (0, 60)]
    writers = [subprocess.Popen(command) for command in commands]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    entries = [e for f in (0, 60) for e in make_entries(np.random.default_rng(0), 60, first=f)]
    with GalleryIndex.open(path) as index:
        assert_holds(index, entries)


def test_a_writer_that_does_not_end_is_named(tmp_path, monkeypatch):
    path = tmp_path / "gallery.db"
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    with GalleryIndex.create(path, **MODEL) as index:
        hold = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
        hold += "c.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()"
        command = [sys.executable, "-c", hold, str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            holder.stdout.readline()
            named = rf"another process has been writing .*process {holder.pid}\); wait for it"
            with pytest.raises(GalleryError, match=named):
                index.put(make_entries(np.random.default_rng(3), 2))
            holder.stdin.close()
        index.put(make_entries(np.random.default_rng(3), 2))


def _move(path):
    path.rename(path.with_name("moved.db"))


def _replace(path):
    shutil.copy(path, path.with_name("other"))
    path.with_name("other").replace(path)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda path: path.unlink(), "is no longer there: it was moved or deleted"),
        (_move, "is no longer there: it was moved or deleted"),
        (_replace, "was replaced by another file"),
        (lambda path: path.with_name("g.db-wal").unlink(), "g.db-wal, which belongs to"),
    ],
    ids=["deleted", "moved", "replaced", "log deleted"],
)
def test_a_file_that_is_no_longer_the_one_that_was_opened_stores_nothing(tmp_path, harm, message):
    path = tmp_path / "g.db"
    entries = make_entries(np.random.default_rng(4), 6)
    with GalleryIndex.create(path, **MODEL) as index:
        assert index.put(entries[:3]) == (3, sum(len(p) for _, p in entries[:3]))
        harm(path)
        for use in (
            lambda: index.put(entries[3:]),
            index.info,
            lambda: index.search(unit([1] * DIM)),
        ):
            with pytest.raises(GalleryError, match=message):
                use()


@contextmanager
def _small_disk(folder, options):
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_reported_and_what_is_stored_stays(tmp_path):
    rng = np.random.default_rng(5)
    with _small_disk(tmp_path / "small", "size=1m") as folder:
        path = folder / "gallery.db"
        stored = []
        with GalleryIndex.create(path, **MODEL) as index:
            with pytest.raises(GalleryError, match=r"the disk of .* is full; .* intact"):
                for first in range(0, 10_000, 20):
                    entries = make_entries(rng, 20, first)
                    index.put(entries)
                    stored += entries
            assert_holds(index, stored)
        assert stored
        with GalleryIndex.open(path) as index:
            assert_holds(index, stored)
            query = unit(rng.normal(size=DIM))
            assert_matches(index.search(query), search_by_numpy(stored, query), stored)


def test_a_disk_without_inodes_is_reported(tmp_path):
    with _small_disk(tmp_path / "few", "size=9m,nr_inodes=4") as folder:
        for number in range(2):
            (folder / f"{number}.txt").touch()
        with pytest.raises(GalleryError, match="cannot be opened: the disk has no inodes left"):
            GalleryIndex.create(folder / "gallery.db", **MODEL)


def test_a_read_only_folder_is_refused(tmp_path):
    """Tests may run as root, whom no permission stops; a disk mounted read-only does."""
    with _small_disk(tmp_path / "disk", "size=9m") as folder:
        GalleryIndex.create(folder / "gallery.db", **MODEL).close()
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        for name in ("gallery.db", "new.db"):
            with pytest.raises(GalleryError, match=r"cannot be opened.* may not be|is read-only"):
                GalleryIndex.open_or_create(folder / name, **MODEL)


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
        time.sleep(chance.uniform(0, 0.005))
        os.kill(child, signal.SIGKILL)
        were_killed.append(os.WIFSIGNALED(os.waitpid(child, 0)[1]))
        os.close(reading)
    put_all(path, entries, os.pipe()[1])
    return were_killed


@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_every_frame_is_there_once_after_kills(tmp_path, kills):
    """A process that puts frames is killed at random moments; the last run completes the rest."""
    path, seed = tmp_path / "gallery.db", 6
    entries = make_entries(np.random.default_rng(seed), 20 * kills + 20)
    (were_killed,) = run_processes(put_and_be_killed, 1, path, entries, kills, seed, timeout=240)
    assert were_killed == [True] * kills
    with GalleryIndex.open(path) as index:
        assert_holds(index, entries)


def test_no_byte_of_what_was_removed_stays(tmp_path, monkeypatch):
    """Names, boxes and embeddings, after puts that moved rows from page to page."""
    monkeypatch.setattr(matrix_file, "LEAST_ROWS", 1)
    monkeypatch.setattr("person_search.gallery.matrix_keeper.LEAST_ROWS", 1)
    path = tmp_path / "gallery.db"
    rng = np.random.default_rng(7)
    entries = []
    for number in rng.permutation(150):
        name = f"/footage/{'secret' if number % 3 else 'open'}-{number:04d}/{'x' * number}.jpg"
        camera = "secret-door" if number % 3 else "door"
        entries.append((make_frame(name, camera, 1e9 + number), make_people(rng, 4)))
    with GalleryIndex.create(path, **MODEL) as index, GalleryIndex.open(path) as reader:
        for entry in entries:
            index.put([entry])
        reader.search(unit(rng.normal(size=DIM)))
        reader.prepare()
        assert (tmp_path / "gallery.db-matrix1").exists()
        secret = [e for e in entries if "secret" in e[0].name]
        assert index.remove(names=[f.name for f, _ in secret[:50]]).frames == 50
        assert index.remove(camera="secret-door") == (50, 200)
        kept = [e for e in entries if "secret" not in e[0].name]
        query = unit(rng.normal(size=DIM))
        for user in (index, reader):
            assert_matches(user.search(query), search_by_numpy(kept, query), kept)
        raw = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
        assert {"gallery.db", "gallery.db-wal"} <= set(raw)
        for name, data in raw.items():
            assert b"secret" not in data, name
            for _, people in secret:
                for row, box in zip(people.embeddings, people.boxes, strict=True):
                    assert row.tobytes() not in data, name
                    assert np.array(box, ">f8").tobytes() not in data, name
        assert b"open-" in raw["gallery.db"]


def test_a_matrix_beside_the_file_is_used_and_never_believed(tmp_path, monkeypatch):
    """It may be of another state, another gallery or damaged: answers are those of the database."""
    monkeypatch.setattr("person_search.gallery.matrix_keeper.LEAST_ROWS", 1)
    path = tmp_path / "gallery.db"
    kept = tmp_path / "gallery.db-matrix1"
    rng = np.random.default_rng(8)
    entries, query = make_entries(rng, 60), unit(rng.normal(size=DIM))

    def check(there):
        with GalleryIndex.open(path) as index:
            assert_matches(index.search(query, top=20), search_by_numpy(there, query, 20), there)

    with GalleryIndex.create(path, **MODEL) as index:
        index.put(entries[:40])
        index.prepare()
        early = kept.read_bytes()
        index.put(entries[40:])
    check(entries)
    late = kept.read_bytes()
    assert len(late) > len(early)
    for harm in (early, b"", late[:-1], late[:400] + b"\\xff" * 8 + late[408:], b"x" * 900):
        kept.write_bytes(harm)
        check(entries)
        kept.unlink(missing_ok=True)
    with GalleryIndex.open(path) as index:  # frames put again are other rows of the same names
        index.remove(names=[f.name for f, _ in entries[:30]], purge=False)
        again = [(f, make_people(rng, 3)) for f, _ in entries[:30]]
        index.put(again)
    kept.write_bytes(late)
    check([*entries[30:], *again])


def test_a_frame_table_is_made_of_rows():
    table = FrameTable.of([(3, 7, None, None, 2), (5, 8, 4, 1.5, 0)])
    assert table.ids.tolist() == [3, 5] and table.cameras.tolist() == [0, 4]
    assert np.isnan(table.times[0]) and table.times[1] == 1.5
    assert len(FrameTable.of([])) == 0 and len(table.joined(table.head(1))) == 3
