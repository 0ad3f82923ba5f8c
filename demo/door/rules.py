"""Who may ask for what: each address that is served, and each function behind the page.

What has no rule is not served. `tests/test_demo_door_rules.py` compares the rules with what runs.
"""

import re
from typing import NamedTuple

from person_search.accounts.account import Account

OPEN = "open"
"""Before a login."""
CLOSED = "closed"
"""Never: Gradio has it, the page does not need it."""
VIEWER, EDITOR, ADMIN = "viewer", "editor", "admin"

_SAFE = r"(?:[\w@+-][\w@.+-]*/)*[\w@+-][\w@.+-]*"
"""A path below a folder, without "." or ".." as a part."""
_ID = r"[\w-]{1,128}"
_NAME = r"[\w-]{1,100}"


class Route(NamedTuple):
    """A kind of request."""

    methods: str
    """Names, with a space between them."""

    path: str
    """Regular expression of the whole path, decoded."""

    access: str
    """`OPEN`, `CLOSED`, or the least role. Without users everybody has all roles."""


JOIN = rf"/gradio_api/(?:queue/join|call/(?:v2/)?({_NAME}))/?"
"""How an event is asked for; the group is its name as an endpoint."""
UPLOAD = "/gradio_api/upload"
ROUTES = (
    Route("GET HEAD", "/health", OPEN),
    Route("GET POST", "/login/?", OPEN),
    Route("POST", "/logout", OPEN),
    Route("GET", "/favicon.ico|/robots.txt", OPEN),
    Route("GET HEAD", "/", VIEWER),
    Route("GET", "/config/?|/theme.css|/gradio_api/theme.css|/manifest.json", VIEWER),
    Route("GET", f"/(?:assets|static|svelte)/{_SAFE}", VIEWER),
    Route("GET", "/gradio_api/(?:info/?|startup-events|app_id/?|login_check/?)", VIEWER),
    Route("GET", f"/gradio_api/heartbeat/{_ID}", VIEWER),
    Route("GET", "/gradio_api/queue/data|/gradio_api/queue/status", VIEWER),
    Route("GET", f"/gradio_api/call/(?:v2/)?{_NAME}/{_ID}", VIEWER),
    Route("POST", JOIN, VIEWER),
    Route("POST", f"{UPLOAD}|/gradio_api/cancel|/gradio_api/reset/?", VIEWER),
    Route("GET", "/gradio_api/upload_progress", VIEWER),
    # Files by name, other servers' pages, and what hands a cookie to scripts.
    Route("GET HEAD", r"/gradio_api/(?:file|proxy)=.*|/gradio_api/file/.*", CLOSED),
    Route("GET", "/gradio_api/(?:token|user)/?", CLOSED),
    # Gradio's own login takes a cookie that other sites may send.
    Route("GET", "/logout", CLOSED),
    # The queue, with its limits, is the only way to a function.
    Route("POST", f"/gradio_api/(?:run|api)/{_NAME}/?", CLOSED),
    Route("POST", "/gradio_api/component_server/?|/gradio_api/process_recording", CLOSED),
    Route("GET POST", r"/gradio_api/stream/.*", CLOSED),
    Route("GET", r"/gradio_api/custom_component/.*", CLOSED),
    Route("GET", "/gradio_api/deep_link|/gradio_api/openapi.json|/gradio_api/dev/reload", CLOSED),
    Route("GET POST", r"/gradio_api/(?:runs|run-history)(?:/.*)?", CLOSED),
    Route("GET POST", r"/gradio_api/(?:undo-)?vibe-[\w-]+/?", CLOSED),
    Route("GET", r"/monitoring(?:/.*)?", CLOSED),
    Route("GET", r"/pwa_icon(?:/.*)?", CLOSED),
    Route("GET POST", r"/gradio_api/profiling/.*", CLOSED),
)

EVENTS = {
    # The page.
    "Handlers.choose_example": VIEWER,
    "Handlers.take_upload": VIEWER,
    "Handlers.pick": VIEWER,
    "Handlers.draw": VIEWER,
    "Handlers.type_box": VIEWER,
    "Handlers.ask_again": VIEWER,
    "Handlers.clear": VIEWER,
    "Handlers.blur": VIEWER,
    "Handlers.seek": VIEWER,
    "Handlers.open_link": VIEWER,
    "Handlers.change_gallery": VIEWER,
    "Dialogs.show": VIEWER,
    "Dialogs.show_stay": VIEWER,
    "Dialogs.play": VIEWER,
    "Handlers.add_same": VIEWER,
    "Handlers.forget_added": VIEWER,
    "Handlers.describe": VIEWER,
    "Handlers.judge": EDITOR,
    "Handlers.undo": EDITOR,
    "Handlers.add_footage": EDITOR,
    "Handlers.export": ADMIN,
    # People.
    "PeopleHandlers.open": VIEWER,
    "PeopleHandlers.more": VIEWER,
    "PeopleHandlers.show": VIEWER,
    "PeopleHandlers.group": EDITOR,
    "PeopleHandlers.name": EDITOR,
    "PeopleHandlers.split": EDITOR,
    "PeopleHandlers.move": EDITOR,
    "PeopleHandlers.merge": EDITOR,
    "PeopleHandlers.undo": EDITOR,
    "PeopleHandlers.show_nobody": VIEWER,
    "PeopleHandlers.call_nobody": EDITOR,
    "PeopleHandlers.call_stays_nobody": EDITOR,
    "PeopleHandlers.call_somebody": EDITOR,
    "add_people_tab.<locals>.<lambda>": VIEWER,
    "show_caller": VIEWER,
    # The tab for admins.
    "AdminHandlers.open": ADMIN,
    "AdminHandlers.plan": ADMIN,
    "AdminHandlers.remove": ADMIN,
    "AdminHandlers.erase": ADMIN,
    "AdminHandlers.log": ADMIN,
    "AdminHandlers.verify": ADMIN,
    "AdminHandlers.export": ADMIN,
    # The API.
    "_Endpoints.describe": VIEWER,
    "_Endpoints.galleries": VIEWER,
    "_Endpoints.find_people": VIEWER,
    "_Endpoints.search": VIEWER,
    "_Endpoints.index": EDITOR,
    "AdminEndpoints.remove": ADMIN,
    "AdminEndpoints.log": ADMIN,
}
"""Least role for each function of an event, by its qualified name."""


def find_route(path: str) -> list[Route]:
    """Return the rules of a path, one for each set of methods; none where it is not known."""
    return [route for route in ROUTES if re.fullmatch(route.path, path)]


def access_of(method: str, path: str) -> str | None:
    """Return who may ask so; None where the path is served, but not by this method."""
    found = find_route(path)
    if not found:
        return CLOSED
    fitting = [route.access for route in found if method in route.methods.split()]
    return fitting[0] if fitting else None if any(r.access != CLOSED for r in found) else CLOSED


def refusal_of(function: str, account: Account | None) -> str:
    """Say why an account may not use a function behind the page; "" where it may.

    Args:
        function: its qualified name. One without a rule is for nobody.
        account: None where there are no users.
    """
    needed = EVENTS.get(function)
    if account is None or (needed is not None and account.may(needed)):
        return ""
    who = "nobody" if needed is None else f"a {needed}" if needed == VIEWER else f"an {needed}"
    return f"{account.name} is signed in as {account.role}; only {who} may do this."
