"""A page with users, and requests to it as each of them."""

import json

import httpx

from demo.door.settings import DoorSettings
from demo.service import Gallery, Service
from person_search.accounts.account import Account
from person_search.accounts.passwords import Cost, hash_password, hash_token
from person_search.accounts.users import Users
from person_search.accounts.users_file import Token, User

CHEAP = Cost(n=16, p=1)
PASSWORD = "three plain words"


def token_of(name):
    return f"ps_{name}"


def make_users(**accounts):
    """Make users, each with ``role`` or ``(role, cameras)``, a password and a token."""
    users = {}
    for name, said in accounts.items():
        role, cameras = (said, None) if isinstance(said, str) else said
        token = Token("api", hash_token(token_of(name)), 0.0)
        users[name] = User(Account(name, role, cameras), hash_password(PASSWORD, CHEAP), (token,))
    return Users(users)


def as_user(name):
    return {} if name is None else {"Authorization": f"Bearer {token_of(name)}"}


def serve_page(finder, indexes, folder, users=None, settings=None):
    """Serve galleries by label; return the page, its service and its address."""
    from demo.app import build_app, launch_app

    galleries = {label: Gallery(label, index, folder / label) for label, index in indexes.items()}
    service = Service(finder, galleries)
    app = build_app(service)
    return (
        app,
        service,
        launch_app(app, port=None, users=users, settings=settings or DoorSettings()),
    )


def call_event(client, event, data, session):
    """Run an event as the page does; return what is said of it: its output, or its error."""
    body = {"data": data, "fn_index": event, "session_hash": session, "event_data": None}
    joined = client.post("gradio_api/queue/join", json=body)
    if joined.status_code != 200:
        return joined.status_code, joined.json()
    number = joined.json()["event_id"]
    with client.stream("GET", "gradio_api/queue/data", params={"session_hash": session}) as lines:
        for line in lines.iter_lines():
            said = json.loads(line.removeprefix("data: ")) if line else {}
            if said.get("msg") == "process_completed" and said["event_id"] == number:
                return (200 if said["success"] else 500), said["output"]
    raise AssertionError("the event did not end")


def call_api(client, name, *data):
    """Run an endpoint of the API; return whether it went well, and its answer."""
    joined = client.post(f"gradio_api/call/{name}", json={"data": list(data)})
    if joined.status_code != 200:
        return False, joined.text
    address = f"gradio_api/call/{name}/{joined.json()['event_id']}"
    text = client.get(address).text
    event, _, rest = text.rpartition("event: ")[2].partition("\n")
    answer = json.loads(rest.partition("data: ")[2].strip() or "null")
    return event == "complete", answer[0] if event == "complete" else answer


def client_of(url, name=None, **options):
    return httpx.Client(base_url=url, headers=as_user(name), timeout=60, **options)


def upload(client, file):
    """Upload a file; return what an endpoint takes for it."""
    answer = client.post("gradio_api/upload", files={"files": (file.name, file.read_bytes())})
    answer.raise_for_status()
    return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}
