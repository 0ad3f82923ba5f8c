"""Whoever looks at the page is offered what their role may do, and nothing that is refused."""

import re

import numpy as np
import pytest
from helpers_gallery import make_frame, unit

pytest.importorskip("gradio", reason="needs the extra demo")

from helpers_demo import EMBEDDING_DIM, FINGERPRINT, ColorFinder, draw_colors

from demo.actions import Query
from demo.api import _Endpoints
from demo.caller_line import show_caller
from demo.door.callers import calling
from demo.door.rules import EVENTS
from demo.handlers import Handlers
from demo.people_tab import PeopleHandlers
from demo.service import Gallery, Service
from demo.stays import Place, look_up, stay_dialog
from person_search.accounts.account import ROLES, Account
from person_search.gallery.index import GalleryIndex
from person_search.people import People

BUTTONS = {
    "export": "Handlers.export",
    "judge": "Handlers.judge",
    "undo": "Handlers.undo",
    "merge": "PeopleHandlers.merge",
    "nobody": "PeopleHandlers.call_nobody",
    "save": "PeopleHandlers.name",
    "split": "PeopleHandlers.split",
    "move": "PeopleHandlers.move",
    "nobody-stays": "PeopleHandlers.call_stays_nobody",
    "somebody": "PeopleHandlers.call_somebody",
    "erase": "AdminHandlers.erase",
}
"""Buttons by what marks them, with the function that they lead to."""
FOR_ALL = {"nobody", "nobody-stays", "somebody", "erase"}
"""They change what is seen by others: not for who sees some cameras."""
SETTINGS = (0.95, 12, [], "", "", "appearance", False)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """Two people who stay at one camera, one of whom was called nobody."""
    folder = tmp_path_factory.mktemp("rights")
    looks = unit(np.eye(EMBEDDING_DIM))
    made = {"fingerprint": FINGERPRINT, "embedding_dim": EMBEDDING_DIM}
    with GalleryIndex.create(folder / "g.db", **made) as index:
        for person in range(3):
            boxes = np.float32([[10, 10, 30, 70]]) + 20 * person
            for second in range(3):
                people = People(boxes, np.ones(1, np.float32), looks[person : person + 1])
                name = f"/f/{person}-{second}.png"
                index.put([(make_frame(name, "yard", 1.7e9 + 600 * person + second), people)])
        index.appearances.link()
        groups = index.appearances.groups
        groups.refresh(0.9)
        groups.call_nobody([groups.all()[-1].number])
        yield Service(ColorFinder(), {"toy": Gallery("toy", index, folder)})


def offered(service):
    """Return what marks the buttons of results, dialogs and people, as the caller sees them."""
    page, tab = Handlers(service), PeopleHandlers(service)
    index = service.gallery("toy").index
    people = index.people_of("/f/0-0.png")
    query = Query(draw_colors(["red"]), people, (1, 1, 9, 9), people.embeddings)
    query, results = page._ask(query, "toy", SETTINGS)
    match = query.answer.matches[0]
    place = Place(0, 1)
    rows, *_ = tab.open("toy", 24)
    shown = [
        results,
        stay_dialog(match, place, look_up(index, match.appearance.id), 1),
        rows,
        tab._dialog(index, index.appearances.groups.all()[0].number),
        tab._nobody_dialog(index),
    ]
    return set(re.findall(r"data-([a-z-]+)", "".join(shown))) & set(BUTTONS)


@pytest.mark.parametrize("cameras", [None, ["yard"]])
@pytest.mark.parametrize("role", ROLES)
def test_buttons_are_those_of_the_role(role, cameras, service, monkeypatch):
    monkeypatch.setattr("demo.stays.show_frame", lambda *_: "")
    account = Account("bob", role, cameras)
    with calling(account):
        there = offered(service)
        caller, panel = show_caller(), _Endpoints(service).describe()
        _, threshold, across_days = PeopleHandlers(service).open("toy", 24)
    may = {name for name, function in BUTTONS.items() if account.may(EVENTS[function])}
    # Nothing was judged yet, so that there is nothing to take back but groupings.
    undo = {"undo"} if account.may("editor") and cameras is None else set()
    assert there == (may - {"undo"} - (set() if cameras is None else FOR_ALL)) | undo
    assert ('data-may="add' in caller) is account.may("editor")
    assert "/search(" in panel and ("/index(" in panel) is account.may("editor")
    is_open = account.may("editor") and cameras is None
    assert isinstance(threshold, float) is isinstance(across_days, bool) is is_open
    if not is_open:
        assert threshold["interactive"] is across_days["interactive"] is False


def test_without_users_everything_is_offered(service, monkeypatch):
    monkeypatch.setattr("demo.stays.show_frame", lambda *_: "")
    assert offered(service) == set(BUTTONS)


@pytest.mark.parametrize("role", ROLES)
def test_only_who_may_add_is_told_to_add_footage(role, tmp_path):
    made = {"fingerprint": FINGERPRINT, "embedding_dim": EMBEDDING_DIM}
    with (
        GalleryIndex.create(tmp_path / "g.db", **made) as index,
        calling(Account("bob", role)),
    ):
        page = Handlers(Service(ColorFinder(), {"toy": Gallery("toy", index, tmp_path)}))
        summary, _ = page.describe("toy")
    assert "is empty" in summary and ("Add footage" in summary) is (role != "viewer")
