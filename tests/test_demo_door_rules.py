"""Everything that can be asked for has a rule, and each rule holds for each role."""

import functools
import re
import ssl

import pytest

pytest.importorskip("gradio", reason="needs the extra demo")

from helpers_demo import EMBEDDING_DIM, FINGERPRINT, ColorFinder
from helpers_door import call_event, client_of, make_users, serve_page
from starlette.routing import Mount

from demo.door.guard import guarded, name_of
from demo.door.rules import CLOSED, EVENTS, OPEN, ROUTES, access_of, find_route
from demo.gradio_parts import events_of
from person_search.accounts.account import ROLES
from person_search.gallery.index import GalleryIndex

# What stands for a part of an address, by its name.
PARTS = {
    "page": "page", "path": "a.js", "api_name": "search", "event_id": "e1", "session_hash": "s1",
    "url_path": "http://127.0.0.1:9/x", "path_or_url": "/etc/passwd", "size": "192", "key": "k",
    "run": "1", "component_id": "1", "segment_id": "1", "ext": "aac", "id": "1",
    "environment": "client", "type": "component", "file_name": "index.js", "endpoint": "e",
    "record_id": "r", "asset_id": "a",
}  # fmt: skip


SLOW = [pytest.param(role, marks=pytest.mark.slow) for role in ROLES[1:]]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Yield the page, its address, and a client for each user."""
    folder = tmp_path_factory.mktemp("rules")
    made = {"fingerprint": FINGERPRINT, "embedding_dim": EMBEDDING_DIM}
    with (
        pytest.MonkeyPatch.context() as patch,
        GalleryIndex.create(folder / "g.db", **made) as index,
    ):
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        users = make_users(viewer="viewer", editor="editor", admin="admin")
        app, _, url = serve_page(ColorFinder(), {"town": index}, folder, users)
        clients = {name: client_of(url, name) for name in (None, *ROLES)}
        yield app, url, clients
        for client in clients.values():
            client.close()
        app.close(verbose=False)


def addresses(app):
    """Yield (method, path) of each route of the running page, its parts filled in."""
    waiting = list(app.server.config.app._house.app.routes)
    while waiting:
        route = waiting.pop()
        if isinstance(route, Mount):
            assert route.path == "", f"{route.path} is mounted: give it rules, and list it here"
            waiting += route.routes
            continue
        if hasattr(route, "original_router"):  # FastAPI's for routes that come from elsewhere
            waiting += route.original_router.routes
            continue
        path = re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: PARTS[found[1]], route.path)
        yield from ((method, path) for method in sorted(route.methods))


def test_every_address_of_the_running_page_has_a_rule(served):
    there = set(addresses(served[0]))
    assert len(there) > 70
    missing = {(m, p) for m, p in there if m not in ("HEAD", "OPTIONS") and not find_route(p)}
    assert not missing, "add them to demo/door/rules.py: CLOSED unless the page needs them"


def test_every_rule_of_an_address_is_of_the_page_or_the_door(served):
    own = {"/health", "/login", "/logout"}
    paths = {path for _, path in addresses(served[0])} | own
    unused = [r.path for r in ROUTES if not any(re.fullmatch(r.path, path) for path in paths)]
    # Served by Gradio for a flag of its own.
    assert [p for p in unused if "runs" not in p and "profiling" not in p] == []


def test_every_function_behind_the_page_has_a_rule_and_no_rule_is_left(served):
    there = {name_of(event.fn) for event in events_of(served[0]) if event.fn is not None}
    assert there == set(EVENTS), "give each function a role in demo/door/rules.py"
    assert set(EVENTS.values()) <= set(ROLES)


@pytest.mark.parametrize("name", [None, ROLES[0], *SLOW])
def test_each_address_is_open_to_whom_its_rule_names(name, served):
    """A generated matrix: all addresses of the running page by each role, and by nobody."""
    app, _, clients = served
    for method, path in sorted(set(addresses(app))):
        access = access_of(method, path)
        if path in ("/login", "/logout"):
            continue
        with clients[name].stream(method, path, follow_redirects=False) as answer:
            status = answer.status_code
        if access is None:
            assert status == 405, (method, path)
        elif access == CLOSED:
            assert status == 404, (method, path)
        elif access == OPEN:
            assert status not in (401, 403), (method, path)
        elif name is None:
            assert status == 401, (method, path)
        else:
            assert status not in (401, 403, 405), (method, path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ROLES)
def test_each_function_runs_for_whom_its_rule_names(name, served):
    """Likewise all functions behind the page, through its queue."""
    app, _, clients = served
    for number, event in enumerate(events_of(app)):
        if event.fn is None:
            continue
        function = name_of(event.fn)
        status, said = call_event(
            clients[name], number, [None] * len(event.inputs), f"{name}{number}"
        )
        may = ROLES.index(name) >= ROLES.index(EVENTS[function])
        assert (status == 403) != may, (name, function, said)


def test_a_function_without_a_rule_runs_for_nobody(served, monkeypatch):
    app, _, clients = served
    events = events_of(app)
    number = next(i for i, e in enumerate(events) if name_of(e.fn) == "_Endpoints.galleries")
    monkeypatch.delitem(EVENTS, "_Endpoints.galleries")
    status, said = call_event(clients["admin"], number, [], "norule")
    assert status == 403 and "only nobody may do this" in said["detail"]


def test_a_function_that_would_outlive_its_guard_is_refused():
    async def later():
        pass

    with pytest.raises(TypeError, match="expected a plain function"):
        guarded(later)


def test_a_function_does_not_run_around_the_door():
    with pytest.raises(Exception, match="did not come through the door"):
        guarded(lambda: 1)()
