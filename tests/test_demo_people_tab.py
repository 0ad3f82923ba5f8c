"""The tab of people nobody asked about, called without a browser."""

import re

import numpy as np
import pytest
from helpers_demo import ColorFinder
from helpers_gallery import FINGERPRINT, make_frame, unit

pytest.importorskip("gradio", reason="needs the extra demo")

import gradio as gr

from demo.actions import Gallery, Query, Service
from demo.handlers import Handlers
from demo.people_tab import PAGE, PeopleHandlers
from person_search.gallery.index import GalleryIndex
from person_search.people import People

DIM = 30
LOOKS = unit(np.eye(DIM))
MARKUP = "<b>hall</b>"


class Event:
    def __init__(self, **data):
        self.__dict__.update(data)


@pytest.fixture
def tab(tmp_path, monkeypatch):
    """The first person meets the second in a hall, and comes back; many others come once."""
    monkeypatch.setattr(gr, "Warning", lambda text, title: told.append(text))
    monkeypatch.setattr(gr, "Info", told.append)
    told.clear()
    with GalleryIndex.create(
        tmp_path / "g.db", fingerprint=FINGERPRINT, embedding_dim=DIM
    ) as index:
        entries = []
        moments = [*((t, [0, 1]) for t in range(4)), *((t, [0]) for t in range(40, 43))]
        moments += [(100 + 20 * who, [who]) for who in range(2, DIM)]
        for second, who in moments:
            boxes = np.float32([[50 * k, 0, 50 * k + 40, 90] for k in range(len(who))])
            people = People(boxes, np.full(len(who), 0.9, np.float32), LOOKS[who])
            entries.append((make_frame(f"/{second}.jpg", MARKUP, 1.7e9 + second), people))
        index.put(entries)
        index.appearances.link()
        yield PeopleHandlers(Service(ColorFinder(), {"toy": Gallery("toy", index, tmp_path)}))


told = []


def numbers(html, what="choose"):
    return [int(number) for number in re.findall(rf'data-{what}="(\d+)"', html)]


def test_the_rows_are_those_who_came_most_often(tab):
    rows, threshold, across_days = tab.open("toy", PAGE)
    assert (threshold, across_days) == (0.95, False)
    assert numbers(rows)[:2] == [1, 2] and len(numbers(rows)) == PAGE
    assert "2 stays, 7 frames" in rows and "Group 2 (1)</button>" in rows
    assert f"{DIM - PAGE} more groups" in rows and "not a proven identity" in rows
    assert MARKUP not in rows and "&lt;b&gt;hall" in rows
    rows, shown = tab.more("toy", PAGE)
    assert len(numbers(rows)) == DIM and shown == 2 * PAGE and "more group" not in rows


def test_naming_splitting_moving_merging_and_undoing(tab):
    tab.open("toy", PAGE)
    rows, dialog = tab.name(Event(group=1, name='<i>A"'), "toy", PAGE)
    assert "&lt;i&gt;A&quot;" in dialog and "<i>A" not in rows + dialog
    stays = numbers(dialog, "part")
    rows, dialog = tab.split(Event(group=1, stays=stays[1:]), "toy", PAGE)
    assert numbers(dialog, "part") == stays[:1] and DIM + 1 in numbers(rows)
    _, dialog = tab.move(Event(into=1, stays=stays[1:]), "toy", PAGE)
    assert numbers(dialog, "part") == stays
    rows = tab.merge(Event(groups=[2, 1]), "toy", PAGE)
    assert 1 not in numbers(rows) and "3 stays" in rows
    rows = tab.undo("toy", PAGE)
    assert 1 in numbers(rows) and told == ["Undone: merge groups 2, 1"]


def test_what_is_not_a_person_is_hidden_shown_on_demand_and_brought_back(tab):
    tab.open("toy", PAGE)
    rows = tab.call_nobody(Event(groups=[3, 4]), "toy", DIM)
    assert not {3, 4} & set(numbers(rows)) and "2 groups are not people, and hidden" in rows
    tab.call_stays_nobody(Event(group=5, stays=[]), "toy", DIM)
    assert told[-1].startswith("no appearance is given")
    (stay,) = numbers(tab.show(Event(group=5), "toy"), "part")
    rows, dialog = tab.call_stays_nobody(Event(group=5, stays=[stay]), "toy", DIM)
    assert dialog == "" and 5 not in numbers(rows)
    stays = numbers(tab.show(Event(group=1), "toy"), "part")
    rows, dialog = tab.call_stays_nobody(Event(group=1, stays=stays[1:]), "toy", DIM)
    assert numbers(dialog, "part") == stays[:1], "what is left of the group"
    dialog = tab.show_nobody("toy")
    assert sorted(numbers(dialog, "somebody")) == [3, 4, 5, DIM + 1]
    assert MARKUP not in dialog and "&lt;b&gt;hall" in dialog
    rows, dialog = tab.call_somebody(Event(group=3), "toy", DIM)
    assert 3 in numbers(rows) and sorted(numbers(dialog, "somebody")) == [4, 5, DIM + 1]
    for number in (4, 5, DIM + 1):
        rows, dialog = tab.call_somebody(Event(group=number), "toy", DIM)
    assert dialog == "" and "hidden" not in rows


def test_a_match_that_is_not_a_person_is_hidden_and_counted(tab, monkeypatch):
    monkeypatch.setattr(ColorFinder, "fingerprint", FINGERPRINT)
    index = tab.service.gallery("toy").index
    person = People(np.float32([[0, 0, 9, 9]]), np.ones(1, np.float32), LOOKS[[1]])
    settings = (0.5, 2, [], "", "", "appearance")
    page, query = Handlers(tab.service), Query(np.zeros((9, 9, 3), np.uint8), person)
    query, results = page._ask(query.asking_for(person), "toy", settings)
    assert "not a person" not in results
    bench = query.answer.matches[0].appearance.id
    query, results = page.judge(Event(place=0, verdict="nobody"), query, "toy", *settings)
    assert "1 not a person, hidden" in results and len(query.answer.matches) == 2
    assert bench not in [match.appearance.id for match in query.answer.matches]
    assert [g.appearances[0].id for g in index.appearances.groups.all(nobody=True)] == [bench]
    assert index.judgements.subjects() == {}


def test_the_doubtful_are_last_with_the_reason(tab):
    index = tab.service.gallery("toy").index
    for start in (1000, 1100, 1200, 1300):
        people = People(np.float32([[900, 0, 940, 90]]), np.float32([0.9]), LOOKS[[2]])
        index.put([(make_frame(f"/{start}.jpg", MARKUP, 1.7e9 + start), people)])
    index.appearances.link()
    rows, *_ = tab.open("toy", PAGE)
    sure, doubtful = rows.split("<details data-doubtful")
    assert numbers(doubtful) == [3] and 3 not in numbers(sure) and len(numbers(sure)) == PAGE
    assert "Probably not people: 1 group<" in doubtful
    assert f"{DIM - 1 - PAGE} more groups" in sure
    assert "motionless: 4 stays at one place" in doubtful and "Choose all of these" in doubtful


def test_other_settings_and_mistakes(tab):
    tab.open("toy", PAGE)
    assert ">1 group<" in tab.group("toy", PAGE, -1, False)
    assert tab.open("toy", PAGE)[1] == -1, "the gallery keeps it"
    tab.split(Event(group=1, stays=[]), "toy", PAGE)
    tab.show(Event(group=99), "toy")
    assert "a part of group 1" in told[0] and "there is no group 99" in told[1]


def test_nobody_and_a_model_that_is_not_calibrated(tab, tmp_path, monkeypatch):
    with GalleryIndex.create(tmp_path / "e.db", fingerprint=FINGERPRINT, embedding_dim=3) as empty:
        tab.service.galleries["empty"] = Gallery("empty", empty, tmp_path)
        assert "Nobody yet" in tab.open("empty", PAGE)[0]
        monkeypatch.setattr(ColorFinder, "threshold", None)
        rows, threshold, _ = tab.open("toy", PAGE)
    assert "not calibrated" in rows and threshold == 0.5
