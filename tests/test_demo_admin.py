"""What admins do on the page and by its API: remove, and read the log."""

import base64
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from helpers_demo import COLORS, EMBEDDING_DIM, FINGERPRINT, ColorFinder, draw_colors
from PIL import Image

pytest.importorskip("gradio", reason="needs the extra demo")

import gradio as gr

from demo.admin_api import AdminEndpoints
from demo.admin_tab import UNKNOWN, AdminHandlers
from demo.door.callers import calling
from demo.frame_names import frame_label
from demo.service import Gallery, Service
from person_search.accountability.activity_log import ActivityLog
from person_search.accountability.receipts import receipts_of
from person_search.accounts.account import Account
from person_search.footage.files import FootageOptions
from person_search.gallery.add_footage import index_footage
from person_search.gallery.index import GalleryIndex

ANN, BOB = Account("ann", "admin"), Account("bob", "admin", ["yard"])


@pytest.fixture
def service(tmp_path):
    """Red at two cameras, with blue beside him at one, and a picture of no camera."""
    finder, kept = ColorFinder(), tmp_path / "kept"
    made = {"fingerprint": FINGERPRINT, "embedding_dim": EMBEDDING_DIM}
    with GalleryIndex.create(tmp_path / "g.db", **made) as index:
        for camera, colors in (("hall", ["red", "blue"]), ("yard", ["red"])):
            folder = (kept if camera == "hall" else tmp_path) / camera
            folder.mkdir(parents=True)
            for second in range(3):
                file = folder / f"2026-05-04_08-00-0{second}.png"
                Image.fromarray(draw_colors(colors)).save(file)
            options = FootageOptions(camera=camera, time_from="name")
            index_footage(index, finder, [folder], options, progress=False)
        Image.fromarray(draw_colors(["green"])).save(tmp_path / "lone.png")
        index_footage(index, finder, [tmp_path / "lone.png"], FootageOptions(), progress=False)
        index.appearances.link()
        ActivityLog(index).switch_on()
        yield Service(finder, {"toy": Gallery("toy", index, kept)})


@pytest.fixture
def told(monkeypatch):
    """What was said in a corner of the page."""
    said = []
    for kind in ("Info", "Warning"):
        monkeypatch.setattr(gr, kind, lambda text, title: said.append(f"{title}: {text}"))
    return said


def event(**said):
    return SimpleNamespace(**said)


def index_of(service):
    return service.galleries["toy"].index


def actions_of(service):
    return [(e["action"], e["user"], e["via"]) for e in ActivityLog(index_of(service)).entries()]


def stays_of(service, color, camera):
    """Return the ids of the stays of a colour at a camera."""
    wanted = (np.array(COLORS[color]) - 128.0) / np.linalg.norm(np.array(COLORS[color]) - 128.0)
    found = index_of(service).appearances.search(wanted[None].astype(np.float32), top=9)
    return [m.appearance.id for m in found if m.camera == camera and m.similarity > 0.9]


def button(said):
    """Return what the button that removes hands on."""
    found = re.search(r'data-remove="(\d+)" data-camera="([^"]*)" data-until="([^"]*)"', said)
    return event(count=int(found[1]), camera=found[2], until=found[3])


def test_frames_of_a_camera_go_with_what_the_page_kept_of_them(service):
    tab, kept = AdminHandlers(service), service.galleries["toy"].footage
    with calling(ANN):
        cameras, *_ = tab.open("toy")
        assert cameras["choices"] == ["hall", "yard", UNKNOWN]
        some = tab.plan("toy", "hall", "2026-05-04T08:00:01")
        assert "2 frames of hall up to 2026-05-04 08:00:01 with 4 people would go, of 7" in some
        assert len(list(index_of(service).frames())) == 7 and "cannot be undone" in some
        said = tab.remove(button(tab.plan("toy", "hall", "")), "toy")
    assert "Removed 3 frames with 6 people and 3 files that the page kept" in said
    assert "now holds 4 frames with 4 people" in said
    assert {f.camera for f in index_of(service).frames()} == {"yard", None}
    assert not list(kept.rglob("*.png")) and actions_of(service)[-1] == ("remove", "ann", "page")
    said = tab.remove(button(tab.plan("toy", UNKNOWN, "")), "toy")
    assert "Removed 1 frame with 1 person: the gallery now holds 3 frames with 3 people" in said
    assert "Pictures and videos themselves stay" in said


def test_no_more_goes_than_was_shown(service):
    tab = AdminHandlers(service)
    asked = button(tab.plan("toy", "hall", ""))
    index_of(service).remove(names=[next(iter(index_of(service).frames())).name])
    assert "has changed since you looked" in tab.remove(asked, "toy")
    assert "choose a camera first" in tab.plan("toy", None, "")
    assert "is no time" in tab.plan("toy", "hall", "noon")
    assert "No frame is of attic" in tab.plan("toy", "attic", "")
    assert len(list(index_of(service).frames())) == 6


def test_one_person_goes_and_the_others_of_the_frames_stay(service, told):
    tab, index = AdminHandlers(service), index_of(service)
    (red,) = stays_of(service, "red", "hall")
    with calling(ANN):
        assert tab.erase(event(kind="stay", number=red), "toy") == ""
        assert told[-1].startswith("Done: Removed 3 sights of the person. The frames stay")
        assert "now holds 7 frames with 7 people" in told[-1]
        assert not stays_of(service, "red", "hall") and stays_of(service, "red", "yard")
        tab.erase(event(kind="stay", number=red), "toy")
    assert told[-1].startswith("Not removed: the gallery does not hold appearance")
    failed = ActivityLog(index).entries()[-1]
    assert (failed["action"], failed["failed"]) == ("forget", "GalleryError")
    assert len(list(index.frames())) == 7
    assert next(iter(receipts_of(index).entries()))["people"] == 3
    assert ("forget", "ann", "page") in actions_of(service)
    index.appearances.groups.refresh(0.9)
    group = next(g for g in index.appearances.groups.all() if "yard" in g.cameras)
    tab.erase(event(kind="group", number=group.number), "toy")
    assert "Removed 3 sights" in told[-1] and not stays_of(service, "red", "yard")


def test_who_sees_some_cameras_removes_from_these_alone(service, told):
    tab, api = AdminHandlers(service), AdminEndpoints(service)
    red, other = stays_of(service, "red", "hall") + stays_of(service, "red", "yard")
    with calling(BOB):
        assert tab.open("toy")[0]["choices"] == ["yard"]
        assert "No frame is of hall" in tab.plan("toy", "hall", "")
        for number in (red, other):
            tab.erase(event(kind="stay", number=number), "toy")
            assert "only somebody who sees all cameras" in told[-1]
        for said in (tab.log("toy"), tab.verify("toy"), tab.export("toy")):
            assert "only an admin who sees all of them reads it" in said
        with pytest.raises(ValueError, match="tells of all cameras"):
            api.log()
        with pytest.raises(ValueError, match="sees all cameras"):
            api.remove(stays=[red])
        assert api.remove(camera="hall")["frames"] == 0
        said = tab.remove(button(tab.plan("toy", "yard", "")), "toy")
    assert "Removed 3 frames with 3 people: the gallery now holds 0 frames" in said
    assert len(list(index_of(service).frames())) == 4


def test_the_log_is_shown_verified_and_exported(service):
    tab, log = AdminHandlers(service), ActivityLog(index_of(service))
    log.login("<b>", succeeded=False)
    with calling(ANN):
        shown = tab.log("toy")
        assert "The log is on. 2 entries, the newest first." in shown and "&lt;b&gt;" in shown
        assert shown.index("login") < shown.index("log on")
        exported = tab.export("toy")
        assert "nothing wrong" in tab.verify("toy")
    assert actions_of(service)[-2:] == [("log show", "ann", "page"), ("log export", "ann", "page")]
    rows = base64.b64decode(re.search(r'data-zip="([^"]+)"', exported)[1]).decode().splitlines()
    assert rows[0].startswith("seq,start,end,action") and len(rows) == 4
    assert 'data-type="text/csv"' in exported and "Exported 3 entries." in exported
    text = log.path.read_text()
    log.path.write_text(text.replace('"login"', '"logon"'))
    said = tab.verify("toy")
    assert "The log is not as it was written" in said and "<li>" in said


def test_a_gallery_that_was_never_logged_has_no_log(service, tmp_path):
    made = {"fingerprint": FINGERPRINT, "embedding_dim": EMBEDDING_DIM}
    with GalleryIndex.create(tmp_path / "new.db", **made) as index:
        new = Service(ColorFinder(), {"new": Gallery("new", index, tmp_path)})
        tab = AdminHandlers(new)
        assert "never on" in tab.log("new") and "never on" in tab.export("new")
        assert "there is no log" in tab.verify("new")
        assert AdminEndpoints(new).log()["entries"] == []


def test_the_api_tells_what_would_go_before_it_removes(service):
    api, index = AdminEndpoints(service), index_of(service)
    lone = next(frame.name for frame in index.frames() if frame.camera is None)
    would = api.remove(images=[frame_label(lone)])
    left = {"frames": 7, "people": 10}
    assert would == {"removed": False, "frames": 1, "people": 1, "files": 0, "left": left}
    done = api.remove(images=[frame_label(lone)], dry_run=False)
    left = {"frames": 6, "people": 9}
    assert done == {"removed": True, "frames": 1, "people": 1, "files": 0, "left": left}
    red = stays_of(service, "red", "yard")
    assert api.remove(stays=red)["people"] == 3 and stays_of(service, "red", "yard") == red
    assert api.remove(stays=red, dry_run=False)["left"] == {"frames": 6, "people": 6}
    assert ("forget", None, "api") in actions_of(service)
    for asked, words in (
        ({}, "give camera, images or stays"),
        ({"stays": red, "camera": "hall"}, "got stays and frames"),
        ({"images": ["no.png"]}, "no frame that fit"),
        ({"stays": [999]}, "there is no appearance"),
    ):
        with pytest.raises(ValueError, match=words):
            api.remove(dry_run=False, **asked)
    said = api.log(last=1)
    assert said["is_on"] and len(said["entries"]) == 1 and said["problems"] == []
    assert json.dumps(said) and api.log(last=0)["entries"] == []
