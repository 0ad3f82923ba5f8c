"""What the log of a gallery says, and what becomes of it when somebody lays hands on it."""

import hashlib
import json
import os

import numpy as np
import pytest
from helpers_log import LOOKS, make_gallery

from person_search.accountability import log_settings
from person_search.accountability.activity_log import ActivityLog
from person_search.accountability.errors import LogError
from person_search.accountability.uses import hash_picture, hash_subject
from person_search.gallery.index import GalleryIndex
from person_search.gallery.rows import frame_id

PICTURE = np.arange(60 * 50 * 3, dtype=np.uint8).reshape(60, 50, 3)
BOX = (9.5, 20.0, 30.25, 70.0)


@pytest.fixture
def index(tmp_path):
    with GalleryIndex.open(make_gallery(tmp_path / "town.db")) as index:
        yield index


@pytest.fixture
def log(index):
    log = ActivityLog(index)
    assert log.switch_on(user="root", via="shell")
    return log


def _search(log, index, **who):
    with log.use("search", **who) as use:
        matches = index.appearances.search(LOOKS[0], top=2)
        use.asked(PICTURE, BOX).showed(matches)
    return matches


def test_nothing_is_written_where_it_is_off(index, tmp_path):
    log = ActivityLog(index)
    before = sorted(os.listdir(tmp_path))
    assert not log.is_on and _search(log, index)
    log.login("anna", succeeded=True)
    assert sorted(os.listdir(tmp_path)) == before and log.entries() == []
    with pytest.raises(LogError, match="it was never on"):
        log.verify()


def test_an_entry_has_what_the_law_asks_for(index, log):
    matches = _search(log, index, user="anna", via="page")
    entry = log.entries()[-1]
    assert (entry["action"], entry["user"], entry["via"]) == ("search", "anna", "page")
    assert 1.7e9 < entry["start"] <= entry["end"] < entry["start"] + 60
    assert entry["gallery"] == {
        "file": "town.db",
        "name": "gallery",
        "model": index.fingerprint,
        "state": index.accountability.state(),
    }
    assert entry["queries"] == [
        {"sha256": hash_picture(PICTURE), "box": [9.5, 20, 30.25, 70], "pictures": 1}
    ]
    first, second = entry["results"]
    assert first["person"] == matches[0].person and len(first["person"]) > 33
    assert first["similarity"] == round(matches[0].similarity, 6)
    assert (first["camera"], first["time"]) == (matches[0].camera, matches[0].timestamp)
    assert first["stay"] == (matches[0].appearance and matches[0].appearance.id)
    assert log.verify().problems == []
    # Nothing in it leads to the picture of a frame that is removed.
    assert b".jpg" not in log.path.read_bytes()
    assert frame_id(matches[1].image) == second["person"].partition("_")[0]


def test_names_of_people_stay_out_of_it(log):
    log.record("judge", subject=hash_subject("Anna Berg"))
    assert b"Berg" not in log.path.read_bytes()
    assert log.entries()[-1]["subject"] == hashlib.sha256(b"Anna Berg").hexdigest()[:12]


def test_a_use_that_fails_is_one(log):
    with pytest.raises(ZeroDivisionError), log.use("search"):
        _ = 1 / 0
    assert log.entries()[-1]["failed"] == "ZeroDivisionError"


def test_logins(log):
    log.login("eve", succeeded=False)
    log.login("anna", succeeded=True, via="api")
    log.logout("anna")
    said = [(e["action"], e["user"], e.get("succeeded")) for e in log.entries()[1:]]
    assert said == [("login", "eve", False), ("login", "anna", True), ("logout", "anna", None)]


def test_it_is_one_switch_for_all_who_use_the_file(index, log):
    with GalleryIndex.open(index.uri) as other:
        same = ActivityLog(other)
        assert same.is_on and not same.switch_on()
        assert same.switch_off(user="root") and not same.switch_off()
    assert not log.is_on
    _search(log, index)
    assert [entry["action"] for entry in log.entries()] == ["log on", "log off"]
    assert log.switch_on() and log.verify().problems == []


def test_pictures_are_kept_only_if_it_is_set_so(index, log, tmp_path):
    assert log.switch_on(pictures=True) and log.settings() == {"pictures": True}
    # What a visitor writes is never taken for a setting.
    log.record("note", text='"settings":{"pictures":false}', more={"settings": 1})
    assert not log.switch_on() and log.settings() == {"pictures": True}
    _search(log, index)
    kept = log.entries()[-1]["queries"][0]["kept"]
    (file,) = (tmp_path / "town-log-pictures").iterdir()
    data = file.read_bytes()
    assert file.name == f"{kept}.png" and hashlib.sha256(data).hexdigest() == kept
    from PIL import Image

    assert np.array_equal(np.asarray(Image.open(file)), PICTURE[20:60, 9:31])
    file.write_bytes(data + b" ")
    assert "is gone, or another one" in log.verify().problems[0]


def test_a_log_that_is_cut_off_is_missed_by_the_gallery(index, log):
    _search(log, index)
    whole = log.path.read_bytes()
    log.path.write_bytes(b"".join(whole.splitlines(keepends=True)[:1]))
    assert "entry 1" in log.verify().problems[0] and "the gallery" in log.verify().problems[0]
    _search(log, index)
    assert "had ended later, at entry 1" in log.verify().problems[0]
    assert log.entries()[-1]["missing"]["seq"] == 1


def test_a_log_that_was_cut_off_behind_its_off_is_on(index, log):
    """Else whoever can write the file could switch it off without a word."""
    log.switch_off()
    off = log.path.read_bytes()
    assert not log.is_on
    with index._store._database.writing("testing"):
        log.switch_on()
        log.switch_off()
    assert index.accountability.log_head().seq == 1 and not log.is_on
    log.switch_on()
    log.path.write_bytes(off)
    assert log.is_on
    _search(log, index)
    assert log.entries()[-1]["missing"]["seq"] == 4


def test_a_clock_that_was_wrong_keeps_no_entry_for_ever(index, log, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("person_search.accountability.activity_log.now", lambda: 9e9)
        _search(log, index)
    _search(log, index)
    late = log.entries()[-1]["end"]
    assert log.cut(late + 0.001, rule="log 180 days", via="shell") == 3


def test_settings_are_found_in_what_came_since(log, monkeypatch):
    monkeypatch.setattr(log_settings, "_BLOCK", 16)
    size = log.path.stat().st_size
    assert log.settings() == {"pictures": False}
    read, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda f, n, at: read.append(at) or pread(f, n, at))
    log.record("search", note='"settings":{"pictures":true}')
    assert log.settings() == {"pictures": False}
    assert min(at for at in read if at) >= size - 1, "what was read before is not read again"
    assert log.switch_on(pictures=True) and log.switch_on(pictures=False)
    assert log.settings() == {"pictures": False} and not log.switch_on()
    log.switch_on(pictures=True)
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + b'{"settings":{"pict')
    assert log.settings() == {"pictures": True}, "what is being written has no end yet"
    log.path.write_bytes(whole + b'{"settings":{"pictures":false}}\n')
    assert log.settings() == {"pictures": False}
    log.path.write_bytes(whole[: whole.index(b"\n") + 1])
    assert log.settings() == {"pictures": False}
    log.path.write_bytes(b"")
    assert log.settings() == {}


def test_a_log_that_is_gone_is_begun_again_and_missed(index, log):
    _search(log, index)
    log.path.unlink()
    assert log.is_on, "whoever deletes it has not switched it off"
    with pytest.raises(LogError, match="is gone: the gallery knows that it had 2 entries"):
        log.verify()
    _search(log, index)
    problems = log.verify().problems
    assert "entries are missing" in problems[0] and log.entries()[0]["seq"] == 2


def test_nothing_is_searched_that_cannot_be_logged(index, log):
    log.path.unlink()
    log.path.mkdir()
    with pytest.raises(LogError, match="cannot be"):
        _search(log, index)


def test_nothing_begins_that_cannot_be_logged(index, log, monkeypatch):
    """Else what was removed would be gone when the entry of it fails."""
    opened = os.open

    def refuse(path, flags, *rest, **more):
        if os.fspath(path) == str(log.path) and flags & os.O_WRONLY:
            raise PermissionError(13, "Permission denied")
        return opened(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(LogError, match=r"cannot be written \(Permission denied\)"):
        log.use("remove")


def test_a_search_does_not_wait_for_a_writer(index, log):
    """The gallery learns of the end of the log later."""
    with index._store._database.writing("testing"):
        _search(log, index)
    assert index.accountability.log_head().seq == 0 and log.verify().problems == []
    _search(log, index)
    assert index.accountability.log_head().seq == 2


def test_old_entries_go_with_their_pictures(index, log, tmp_path):
    log.switch_on(pictures=True)
    _search(log, index)
    lost, young = (tmp_path / "town-log-pictures" / f"{name}.png" for name in ("lost", "young"))
    for file in (lost, young):
        file.touch()
    os.utime(lost, (1e9, 1e9))
    late = log.entries()[-1]["end"]
    assert log.cut(late - 1000, rule="log 180 days", via="shell") == 0
    assert log.cut(late + 0.001, rule="log 180 days", via="shell") == 3
    (cut,) = log.entries()
    assert (cut["action"], cut["through"]["seq"], cut["problems_before"]) == ("cut", 2, 0)
    assert index.accountability.log_head().seq == cut["seq"]
    assert log.settings() == {"pictures": True} and log.is_on
    assert log.verify().problems == []
    assert list((tmp_path / "town-log-pictures").iterdir()) == [young], "may still get an entry"
    _search(log, index)
    assert log.verify().problems == [] and "kept" in log.entries()[-1]["queries"][0]


def test_a_repaired_gallery_still_knows_its_log(index, log):
    from person_search.gallery.checking import check_gallery_file

    _search(log, index)
    head = index.accountability.log_head()
    database = index._store._database
    with database.writing("harming") as connection:
        connection.execute("UPDATE people SET score = 0.5 WHERE id % 65536 = 1 AND frame = 1")
    path = database.path
    index.close()
    assert check_gallery_file(path, repair=True).repaired
    with GalleryIndex.open(path) as again:
        assert again.accountability.log_head() == head
        assert ActivityLog(again).verify().problems == []
        assert json.loads(ActivityLog(again).path.read_text().splitlines()[0])["seq"] == 0


def test_the_log_of_a_server_is_one_of_this_machine(tmp_path, monkeypatch):
    class ServerIndex:
        uri, name, fingerprint, accountability = "http://db.lan:19530", "gallery", "ab" * 32, None

    log = ActivityLog(ServerIndex())
    assert not log.is_on, "PERSON_SEARCH_HOME is no folder in tests"
    monkeypatch.setenv("PERSON_SEARCH_HOME", str(tmp_path))
    log = ActivityLog(ServerIndex())
    assert log.path == tmp_path / "logs/db.lan_19530-log.jsonl" and not log.is_on
    log.switch_on()
    log.record("search", user="anna")
    assert log.entries()[-1]["gallery"]["state"] is None and log.verify().problems == []
    assert log.path.stat().st_mode & 0o777 == 0o600
