"""The page and its API tell the log of a gallery what visitors are shown."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from helpers_demo import EMBEDDING_DIM, FINGERPRINT, ColorFinder, draw_colors
from PIL import Image

pytest.importorskip("gradio", reason="needs the extra demo")

import gradio as gr

from demo import activity, api
from demo.dialogs import Dialogs
from demo.handlers import Handlers
from demo.people_tab import PeopleHandlers
from demo.service import Gallery, Service
from person_search.accountability.activity_log import ActivityLog
from person_search.accountability.retention import keep_rules
from person_search.accountability.retention_rules import RetentionRules
from person_search.accountability.uses import hash_picture
from person_search.footage.files import FootageOptions
from person_search.gallery.add_footage import index_footage
from person_search.gallery.checking import back_up
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex

SETTINGS = (0.5, 12, (), "", "", "appearance")


@pytest.fixture
def service(tmp_path, monkeypatch):
    for second in (2, 3):
        file = tmp_path / f"hall/2026-05-04_08-00-0{second}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(draw_colors(["red", "blue"])).save(file)
    options = FootageOptions(camera="hall", time_from="name")
    with GalleryIndex.create(
        tmp_path / "g.db", fingerprint=FINGERPRINT, embedding_dim=EMBEDDING_DIM
    ) as index:
        index_footage(index, ColorFinder(), [tmp_path / "hall"], options, progress=False)
        gallery = Gallery("toy", index, tmp_path / "kept")
        monkeypatch.setattr(activity, "current_user", lambda: "anna")
        activity.switch_on_for_users([gallery, gallery], has_users=True)
        yield Service(ColorFinder(), {"toy": gallery})


def entries(service):
    return ActivityLog(service.gallery("toy").index).entries()


def event(**said):
    return SimpleNamespace(**said)


def search(service, tmp_path):
    Image.fromarray(draw_colors(["red", "blue"])).save(tmp_path / "up.png")
    page = Handlers(service)
    query, *_ = page.take_upload(str(tmp_path / "up.png"), "toy", *SETTINGS)
    query, *_ = page.pick(event(number=1), query, "toy", *SETTINGS)
    return page, query


def test_what_a_visitor_does(service, tmp_path):
    page, query = search(service, tmp_path)
    (searched,) = [e for e in entries(service) if e["action"] == "search"]
    assert (searched["user"], searched["via"]) == ("anna", "page")
    assert searched["queries"][0]["sha256"] == hash_picture(query.image)
    assert len(searched["results"]) == len(query.answer.matches) > 0
    stay, dialogs = query.answer.matches[0].appearance.id, Dialogs(service)
    dialogs.show(event(place=0), query, "toy")
    dialogs.show_stay(event(stay=stay), query, "toy")
    dialogs.play(event(stay=stay, place=0), query, "toy")
    page.judge(event(place=0, verdict="right"), query, "toy", *SETTINGS)
    page.undo(event(count="all"), query, "toy", *SETTINGS)
    page.export(query, "toy")
    said = [e["action"] for e in entries(service)]
    assert said == [
        *("log on", "search", "view frame", "view stay", "clip", "judge", "search"),
        *("undo judgements", "search", "export case"),
    ]
    judged = entries(service)[5]
    assert judged["results"][0]["judgement"] == "right" and judged["subject"] == query.subject
    assert {e["user"] for e in entries(service)[1:]} == {"anna"}


def test_who_stands_beside_a_shown_stay_is_logged_too(service, tmp_path):
    _, query = search(service, tmp_path)
    match = query.answer.matches[0]
    look_up = Dialogs(service)._stay("toy", match.appearance.id)
    Dialogs(service).show(event(place=0), query, "toy")
    told = entries(service)[-1]["results"]
    assert len(told) == 1 + len(look_up.around()) > 1


def test_a_match_of_another_gallery_is_not_shown_under_this_ones_log(service, tmp_path):
    _, query = search(service, tmp_path)
    elsewhere = replace(query, answer=replace(query.answer, gallery="other"))
    before = len(entries(service))
    for call in (Dialogs(service).show, Dialogs(service).play):
        with pytest.warns(UserWarning, match="search again"):
            assert call(event(place=0, stay=1), elsewhere, "toy") == gr.skip()
    assert len(entries(service)) == before


def test_a_judge_is_named_in_the_gallery(service, tmp_path):
    page, query = search(service, tmp_path)
    page.judge(event(place=0, verdict="wrong"), query, "toy", *SETTINGS)
    (judgement,) = service.gallery("toy").index.judgements.of(query.subject)
    assert judgement.maker == "anna"


def test_people_and_groups(service):
    page = PeopleHandlers(service)
    page.open("toy", 24)
    page.show(event(group=1), "toy")
    page.name(event(group=1, name="Zoe Berg"), "toy", 24)
    page.undo("toy", 24)
    told = [(e["action"], e.get("words"), len(e.get("results", ()))) for e in entries(service)[1:]]
    assert told == [
        ("view people", None, 2), ("people show", ["1"], 1), ("people name", ["1"], 0),
        ("view people", None, 2), ("people show", ["1"], 1), ("people undo", [], 0),
        ("view people", None, 2),
    ]  # fmt: skip
    assert "Berg" not in json.dumps(entries(service))


def test_the_api(service, tmp_path):
    endpoints = api._Endpoints(service)
    Image.fromarray(draw_colors(["red", "blue"])).save(tmp_path / "q.png")
    answer = endpoints.search(str(tmp_path / "q.png"), person=1)
    entry = entries(service)[-1]
    assert (entry["action"], entry["via"], entry["frames_sent"]) == ("search", "api", False)
    assert len(entry["results"]) == len(answer["matches"])
    Image.fromarray(np.flip(draw_colors(["red", "blue"]), 1)).save(tmp_path / "new.png")
    endpoints.index([str(tmp_path / "new.png")])
    assert (entries(service)[-1]["action"], entries(service)[-1]["frames"]) == ("import", 1)


def test_nothing_is_shown_that_cannot_be_logged(service, tmp_path):
    log = ActivityLog(service.gallery("toy").index).path
    log.unlink()
    log.mkdir()
    Image.fromarray(draw_colors(["red", "blue"])).save(tmp_path / "q.png")
    with pytest.raises(ValueError, match="cannot be"):
        api._Endpoints(service).search(str(tmp_path / "q.png"), person=1)


def test_the_page_says_that_it_is_logged_and_what(service):
    summary, _ = Handlers(service).describe("toy")
    assert "Searches of this gallery are logged" in summary and "as anna" in summary
    gallery = service.gallery("toy")
    ActivityLog(gallery.index).switch_off()
    assert "logged" not in Handlers(service).describe("toy")[0]


def test_without_users_nothing_is_switched_on(service):
    gallery = service.gallery("toy")
    ActivityLog(gallery.index).switch_off()
    assert activity.switch_on_for_users([gallery], has_users=False) == 0
    assert not ActivityLog(gallery.index).is_on
    activity.record_login([gallery], "anna", True)
    assert activity.switch_on_for_users([gallery], has_users=True) == 1
    activity.record_login([gallery, gallery], "anna", False)
    activity.record_login([gallery], "anna", None)
    assert [e["action"] for e in entries(service)[-3:]] == ["log on", "login", "logout"]


def test_what_is_refused_is_logged_as_failed(service, tmp_path):
    page = PeopleHandlers(service)
    page.open("toy", 24)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gradio.Warning", lambda *_, **__: None)
        page.merge(event(groups=["1", "999"]), "toy", 24)
    (merged,) = [e for e in entries(service) if e["action"] == "people merge"]
    assert merged["failed"] == "GalleryError" and merged["words"] == ["1", "999"]


def test_rules_are_those_of_the_file_that_stands_there_now(service, tmp_path):
    """A file that was replaced while it was served was kept for ever."""
    timer, old = activity.retaining(service), service.galleries["toy"].index
    back_up(tmp_path / "g.db", tmp_path / "copy.db")
    with GalleryIndex.open(tmp_path / "copy.db") as copy:
        keep_rules(copy, RetentionRules(keep=3600.0))
    for end in ("", "-wal", "-shm"):
        (tmp_path / f"g.db{end}").unlink()
    (tmp_path / "copy.db").rename(tmp_path / "g.db")
    assert timer.apply() == 3600.0
    new = service.galleries["toy"].index
    assert new is not old and list(new.frames()) == []
    with pytest.raises(GalleryError, match="closed"):
        old.known_frames([])
    new.close()
