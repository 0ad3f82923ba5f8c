"""What is kept for long enough goes, with every byte; everything else stays."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from helpers_gallery import DIM, FINGERPRINT, make_frame, unit

from person_search.accountability.activity_log import ActivityLog
from person_search.accountability.receipts import receipts_of
from person_search.accountability.retention import (
    apply_rules,
    find_expired,
    keep_rules,
    rules_of,
)
from person_search.accountability.retention_rules import (
    RetentionRules,
    format_period,
    parse_period,
)
from person_search.accountability.retention_timer import RetentionTimer, pause_of
from person_search.accountability.verifying import verify_chain
from person_search.cli import main
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex
from person_search.people import People

DAY = 86_400.0
NOW = 1.8e9
RULES = RetentionRules(keep=30 * DAY, cameras={"hall": 7 * DAY, "gate": None})
LOOKS = unit(np.eye(DIM)[:6] + 0.01)


def _people(who):
    boxes = np.float32([[60 * w + 3.5, 0, 60 * w + 43.25, 91.5] for w in who])
    return People(boxes, np.full(len(who), 0.9, np.float32), LOOKS[who])


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    for module in ("accountability.retention", "commands.retain"):
        now = SimpleNamespace(time=lambda: NOW)
        monkeypatch.setattr(f"person_search.{module}.time", now)


@pytest.fixture
def town(tmp_path):
    """Frames of three cameras, young and old; some in folders of this program."""
    with GalleryIndex.create(tmp_path / "t.db", fingerprint=FINGERPRINT, embedding_dim=DIM) as town:
        entries = []
        for folder, camera, days, who in (
            *(("mine", "hall", days, [0, 1]) for days in (3, 8)),
            *(("mine", "yard", days, [2]) for days in (8, 31)),
            *(("mine", "gate", days, [3]) for days in (8, 900)),
            *(("t-pictures/2027-01-01/hall", "hall", days, [4]) for days in (2, 9)),
            ("mine", None, 40, [5]),
        ):
            for second in range(2):
                file = tmp_path / folder / f"{camera}-{days}-{second}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(b"a picture")
                frame = make_frame(str(file), camera, NOW - days * DAY + second)
                entries.append((frame, _people(who)))
        entries.append((make_frame(str(tmp_path / "undated.jpg"), "hall"), _people([0])))
        entries.append((make_frame("/clip.mp4#frame=7", None, 4.5), _people([0])))
        town.put(entries)
        town.appearances.link()
        yield town


def _left(index):
    return sorted({f.name.rpartition("/")[2].rpartition("-")[0] for f in index.frames()})


def test_each_camera_by_its_own_rule(town, tmp_path):
    state = town.accountability.state()
    found = find_expired(town, RULES, NOW)
    assert sorted(set(found.frames.values())) == ["camera hall 7d", "keep 30d"]
    assert found.undated == 2 and town.accountability.state() == state
    receipt = apply_rules(town, RULES, at=NOW, user="root")
    assert _left(town) == ["", "gate-8", "gate-900", "hall-2", "hall-3", "yard-8"]
    assert len(list(town.frames())) == 12
    assert (receipt["frames"], receipt["people"], receipt["pictures"]) == (8, 10, 2)
    assert receipt["by_rule"] == [
        {"rule": "camera hall 7d", "frames": 4, "people": 6},
        {"rule": "keep 30d", "frames": 4, "people": 4},
    ]
    assert receipt["undated"] == 2 and receipt["state_before"] == state
    assert receipt["gallery"]["state"] == town.accountability.state() != state
    assert apply_rules(town, RULES, at=NOW) is None, "nothing twice"
    # Its own pictures went, with the folder that is empty; yours did not.
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.jpg")}
    assert len([p for p in left if p.startswith("mine/")]) == 14
    assert [p for p in sorted(left) if p.startswith("t-p")] == [
        f"t-pictures/2027-01-01/hall/hall-2-{n}.jpg" for n in range(2)
    ]


def test_no_byte_is_left(town, tmp_path, monkeypatch):
    monkeypatch.setattr("person_search.gallery.matrix_keeper.LEAST_ROWS", 1)
    groups = town.appearances.groups
    groups.refresh(0.8)
    yard = next(
        g for g in groups.all() if g.cameras == ["yard"] and g.appearances[0].start < NOW - 30 * DAY
    )
    groups.name(yard.number, "Gone Quietly")
    sights = town.appearances.sights(yard.appearances[0].id)
    town.judgements.judge("secret subject", sights, is_right=True, maker="me")
    with GalleryIndex.open(town.uri) as reader:
        reader.search(LOOKS[2])
        reader.prepare()
        assert (tmp_path / "t.db-matrix1").exists()
        leftover = tmp_path / ".t.db.person-search-9-0123abcd.part.db"
        leftover.write_bytes(LOOKS[5].tobytes())
        apply_rules(town, RULES, at=NOW)
        raw = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
        assert {"t.db", "t.db-wal", "t-receipts.jsonl"} <= set(raw)
        for name, data in raw.items():
            for gone in (b"yard-31", b"hall-9", b"Quietly", b"secret subject", b"None-40"):
                assert gone not in data, (name, gone)
            assert LOOKS[5].tobytes() not in data, name
        assert b"yard-8" in raw["t.db"] and LOOKS[4].tobytes() in raw["t.db"]
    assert not leftover.exists()


def test_receipts_are_a_chain_that_tells_of_nobody(town):
    apply_rules(town, RULES, at=NOW)
    apply_rules(town, RULES, at=NOW + 5 * DAY)
    chain = receipts_of(town)
    assert verify_chain(chain).problems == [] and len(list(chain.entries())) == 2
    text = chain.path.read_text()
    assert ".jpg" not in text and "embedding" not in text


def test_your_own_footage_goes_only_if_you_say_so(town, tmp_path):
    rules = RetentionRules(keep=30 * DAY, footage=True)
    receipt = apply_rules(town, rules, at=NOW)
    assert receipt["pictures"] == receipt["frames"] == 6
    assert len(list((tmp_path / "mine").iterdir())) == 8


def test_files_of_another_gallery_and_of_frames_that_stay_are_kept(town, tmp_path):
    file = tmp_path / "t-pictures/2027-01-01/hall/hall-9-0.jpg"
    with GalleryIndex.create(
        town.uri, "other", fingerprint=FINGERPRINT, embedding_dim=DIM
    ) as other:
        other.put([(make_frame(str(file), "hall", NOW), _people([4]))])
        clip = tmp_path / "t-pictures/clip.mp4"
        clip.write_bytes(b"a video")
        times = {0: NOW - 9 * DAY, 9: NOW}
        town.put(
            [(make_frame(f"{clip}#frame={n}", "hall", t), _people([1])) for n, t in times.items()]
        )
        assert apply_rules(town, RULES, at=NOW)["pictures"] == 1
        assert file.exists() and clip.exists()
        apply_rules(town, RULES, at=NOW + 8 * DAY)
        assert not clip.exists()


def test_a_link_into_its_folders_does_not_make_a_file_its_own(town, tmp_path):
    yours = tmp_path / "yours.jpg"
    yours.write_bytes(b"yours")
    link = tmp_path / "t-pictures/link.jpg"
    link.symlink_to(yours)
    town.put([(make_frame(str(link), "hall", NOW - 9 * DAY), _people([1]))])
    apply_rules(town, RULES, at=NOW)
    assert yours.exists()


def test_what_was_stopped_is_finished_by_the_next(town, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(GalleryIndex, "purge", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            apply_rules(town, RULES, at=NOW)
    assert town.accountability.retention().is_purge_pending
    assert find_expired(town, RULES, NOW).frames == {}
    receipt = apply_rules(town, RULES, at=NOW)
    assert receipt["frames"] == 0 and not town.accountability.retention().is_purge_pending
    assert b"yard-31" not in (tmp_path / "t.db").read_bytes()


def test_a_picture_that_cannot_be_deleted_keeps_its_frame(town, tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    with pytest.raises(PermissionError):
        apply_rules(town, RULES, at=NOW)
    assert len(list(town.frames())) == 20


def test_old_entries_of_the_log_go_by_their_own_rule(town):
    log = ActivityLog(town)
    log.switch_on()
    log.record("search")
    end = log.entries()[-1]["end"]
    rules = RetentionRules(log=10 * DAY)
    assert apply_rules(town, rules, at=end + 9 * DAY) is None
    receipt = apply_rules(town, rules, at=end + 11 * DAY, user="root")
    assert (receipt["log_entries"], receipt["frames"]) == (2, 0)
    assert [e["action"] for e in log.entries()] == ["cut", "retention"]
    assert log.entries()[1]["receipt"] == receipt["hash"] and log.verify().problems == []


def test_the_gallery_keeps_the_rules(town):
    assert rules_of(town) == RetentionRules() and rules_of(town).shortest is None
    assert keep_rules(town, RULES)
    with GalleryIndex.open(town.uri) as again:
        assert rules_of(again) == RULES
    assert RULES.describe() == ["keep 30d", "camera gate forever", "camera hall 7d", "log forever"]


def test_a_program_that_runs_applies_them(town):
    keep_rules(town, RetentionRules(keep=DAY))
    said, removed = [], []
    timer = RetentionTimer([(lambda: town, ())], said.append, removed.append)
    assert timer.apply() == 3600.0 and removed[0]["frames"] == 18
    assert "removed 18 frames" in said[0]
    with timer:
        pass
    assert timer.apply() == 3600.0 and len(removed) == 1
    town.close()
    assert timer.apply() == 3600.0, "not a day later"
    assert "stays for now" in said[-1] and town.uri in said[-1]


def test_pauses_grow_with_the_periods():
    assert pause_of([RetentionRules(keep=365 * DAY)]) == DAY
    assert pause_of([]) == pause_of([RetentionRules(keep=3600.0)]) == 3600.0
    assert pause_of([RULES, RetentionRules(keep=2 * DAY)]) == 7200.0


@pytest.mark.parametrize("text", ["12h", "1.5h", "3d", "30d", "forever"])
def test_periods(text):
    assert format_period(parse_period(text)) == text
    assert parse_period("2w") == 14 * DAY


@pytest.mark.parametrize("text", ["30", "0d", "-1d", "d", "1y", "nan d", "1e9d"])
def test_what_is_no_period(text):
    with pytest.raises(ValueError, match="such as 12h, 30d or 8w"):
        parse_period(text)


def test_what_fails_half_way_is_in_the_log(town, monkeypatch):
    ActivityLog(town).switch_on()

    def fail(*_):
        raise PermissionError(13, "Permission denied", "hall.jpg")

    with monkeypatch.context() as patch:
        patch.setattr("person_search.accountability.retention._remove", fail)
        with pytest.raises(PermissionError):
            apply_rules(town, RULES, at=NOW)
    entry = ActivityLog(town).entries()[-1]
    assert (entry["action"], entry["failed"]) == ("retention", "PermissionError")
    assert apply_rules(town, RULES, at=NOW)["frames"] > 0


def test_pictures_of_the_log_that_were_left_half_written_go(town, tmp_path):
    half = tmp_path / "t-log-pictures/.a.png.person-search-9-0123abcd.part"
    half.parent.mkdir()
    half.touch()
    assert apply_rules(town, RetentionRules(keep=900 * DAY), at=NOW) is not None
    assert not half.exists()


# --- the commands ---


@pytest.fixture
def run(town, capsys):
    def call(command, *words):
        status = main([command, "--gallery", town.uri, *words])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


def test_retain_asks_keeps_the_rules_and_gives_a_receipt(run, town):
    status, _, err = run("retain", "--keep", "30d", "--camera", "gate=forever")
    assert status == 2 and "say --yes to do it" in err and rules_of(town) == RetentionRules()
    status, _, err = run("retain", "--keep", "30d", "--camera", "gate=forever", "--dry-run")
    assert status == 0 and "4 frames with 4 people were kept for long enough" in err
    assert "2 frames have no date" in err and len(list(town.frames())) == 20
    status, out, _ = run("retain", "--keep", "30d", "--camera", "gate=forever", "--yes")
    assert status == 0 and out.startswith("removed 4 frames with 4 people, 0 files and 0 entries")
    assert rules_of(town).cameras == {"gate": None}
    receipt = json.loads(run("retain", "--receipts")[1])
    assert receipt["frames"] == 4 and f"receipt 0:{receipt['hash']}" in out
    assert run("retain")[1] == "nothing was old enough to be removed\n"
    assert run("retain", "--no-rules")[0] == 0 and rules_of(town) == RetentionRules()
    status, _, err = run("retain")
    assert status == 2 and "there are no rules" in err


class ServerStore:
    """What a Milvus server offers of a gallery, over the rows of a file."""

    appearances, judgements, accountability, uri = None, None, None, "http://db.lan:19530"

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)


def test_rules_for_a_server_are_given_each_time(town, tmp_path, monkeypatch, capsys):
    uri, store = ServerStore.uri, town._store
    monkeypatch.setenv("PERSON_SEARCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("person_search.gallery.index.open_store", lambda *_: ServerStore(store))
    monkeypatch.setattr(store, "close", lambda: None)

    def call(*words):
        status = main([*words, "--gallery", uri])
        said = capsys.readouterr()
        return status, said.out, said.err

    assert call("log", "on")[0] == 0
    rules = "retain", "--keep", "30d", "--camera", "gate=forever", "--log", "200d"
    status, out, err = call(*rules, "--yes")
    assert status == 0 and out.startswith("removed 4 frames with 4 people, 0 files and 0 entries")
    assert "takes the frames from its files and log in its own time" in out
    assert "a server keeps no rules: run this again and again" in err
    assert call(*rules)[1] == "nothing was old enough to be removed\n"
    status, _, err = call("retain")
    assert status == 2 and "there are no rules for http://db.lan:19530; give --keep" in err
    receipt = json.loads(call("retain", "--receipts")[1])
    assert receipt["frames"] == 4 and receipt["gallery"]["file"] == "db.lan:19530"
    assert receipt["gallery"]["state"] is receipt["state_before"] is None
    names = ["db.lan_19530-log.jsonl", "db.lan_19530-receipts.jsonl"]
    assert sorted(p.name for p in (tmp_path / "home/logs").iterdir()) == names
    status, out, err = call("forget", "--person", f"{tmp_path / 'undated.jpg'}#1", "--yes")
    assert (status, out) == (2, "") and "person-search remove --frames" in err
    assert len(list(town.frames())) == 16


def test_wrong_use(run):
    for words, said in (
        (["--keep", "30"], "got the period '30'"),
        (["--camera", "7d"], "expected NAME=PERIOD"),
        (["--no-rules", "--keep", "1d"], "leave it or the other rules out"),
        (["--receipts", "--keep", "1d"], "leave the other options out"),
    ):
        status, out, err = run("retain", *words)
        assert (status, out) == (2, "") and said in err


def test_a_short_log_is_said_to_be_one(run):
    assert "six months at least" in run("retain", "--log", "30d")[2]
    assert "six months" not in run("retain", "--log", "183d")[2]


def test_forget(run, town, tmp_path):
    town.appearances.groups.refresh(0.8)
    ActivityLog(town).switch_on()
    stay = town.appearances.search(LOOKS[4])[0].appearance.id
    status, _, err = run("forget", "--id", str(stay))
    assert status == 2 and "would remove 1 stays, 2 sights of the person," in err
    status, out, _ = run("forget", "--id", str(stay), "--yes")
    assert status == 0 and out.startswith("removed 2 sights of the person from 2 frames, 1 stays")
    with pytest.raises(GalleryError):
        town.appearances.get(stay)
    group = next(g for g in town.appearances.groups.all() if g.cameras == ["gate"])
    count = sum(stay.frames for stay in group.appearances)
    undated = f"{tmp_path / 'undated.jpg'}#1"
    out = run("forget", "--group", str(group.number), "--person", undated, "--yes")[1]
    assert out.startswith(f"removed {count + 1} sights") and len(list(town.frames())) == 20
    said = [(e["action"], e.get("people")) for e in ActivityLog(town).entries()]
    assert said == [("log on", None), ("forget", 2), ("forget", count + 1)]
    assert len(list(receipts_of(town).entries())) == 2
    status, _, err = run("forget", "--person", undated, "--yes")
    assert status == 2 and "does not hold person 1 of" in err
    assert "give --id, --group or --person" in run("forget")[2]
    assert "expected FRAME#N" in run("forget", "--person", "a.jpg")[2]
