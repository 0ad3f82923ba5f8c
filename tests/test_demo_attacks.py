"""The attacker: what was tried against the page and must not work, with the answer expected.

Nothing here reaches outside 127.0.0.0/8. Some clients take another address of it, to be others.
"""

import contextlib
import functools
import http.client
import itertools
import json
import resource
import socket
import ssl
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="needs the extra demo")

from helpers_demo import EMBEDDING_DIM, FINGERPRINT, ColorFinder, draw_colors
from helpers_door import (
    PASSWORD,
    as_user,
    call_api,
    call_event,
    client_of,
    make_users,
    serve_page,
    upload,
)

from demo.app import upload_folder
from demo.door import sessions
from demo.door.guard import name_of
from demo.door.settings import FILE_COUNTS_AS, DoorSettings, Limits
from demo.gradio_parts import events_of
from person_search.gallery.index import GalleryIndex

LIMITS = Limits(
    idle_seconds=0.5, header_seconds=0.5, upload_seconds=2.0, waiting=3, uploads=4, connections=30,
    kept_bytes_each=50 * FILE_COUNTS_AS,
)  # fmt: skip
OTHER = "127.0.0.7"
"""An address that other clients come from."""
SECRET = "127.0.0.1 is home"


class SlowFinder(ColorFinder):
    """Waits as long as it is told to."""

    gate = threading.Event()

    def find(self, images, batch_size=4, parts=None):
        self.gate.wait(20)
        return super().find(images, batch_size, parts)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Serve a gallery to an admin, ann, and a viewer, bob; yields (app, address, folder)."""
    folder = tmp_path_factory.mktemp("attacked")
    (folder / "secret.txt").write_text(SECRET)
    made = {"fingerprint": FINGERPRINT, "embedding_dim": EMBEDDING_DIM}
    SlowFinder.gate.set()
    with (
        pytest.MonkeyPatch.context() as patch,
        GalleryIndex.create(folder / "g.db", **made) as index,
    ):
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        users = make_users(ann="admin", bob="viewer")
        settings = DoorSettings(
            allowed_hosts=("search.example",), proxies=("127.0.0.9",), limits=LIMITS
        )
        app, _, url = serve_page(SlowFinder(), {"town": index}, folder, users, settings)
        yield app, url, folder
        app.close(verbose=False)
        for file in upload_folder_files():  # uploaded and never used
            file.unlink()


@pytest.fixture
def ann(served):
    with client_of(served[1], "ann") as client:
        yield client


@pytest.fixture
def nobody(served):
    with client_of(served[1]) as client:
        yield client


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(draw_colors(["red"])).save(tmp_path / "q.png")
    return tmp_path / "q.png"


def from_address(url, address, name=None):
    transport = httpx.HTTPTransport(local_address=address)
    return client_of(url, name, transport=transport)


def log_in(client, password=PASSWORD, name="ann", **headers):
    return client.post("login", data={"username": name, "password": password}, headers=headers)


# 1. Foreign sites and names.


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1",
     "evil@localhost", "localhost:7860:80", "[::1", "%6cocalhost", "search.example.evil", ""],
)  # fmt: skip
def test_a_name_that_another_site_lets_point_here_is_not_served(host, ann):
    for path in ("", "config", "health", "login", "assets/x.js", "gradio_api/info"):
        answer = ann.get(path, headers={"host": host})
        assert answer.status_code in (400, 421), (host, path)
        assert "town" not in answer.text


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "https://evil.example", "null", "http://localhost:1", "http://127.0.0.1",
     "http://search.example.evil.example", "http://search.example:81", "file://", "chrome://x"],
)  # fmt: skip
def test_requests_of_pages_of_other_sites_are_not_answered(origin, ann):
    for method, path in (
        ("GET", "config"),
        ("POST", "gradio_api/queue/join"),
        ("POST", "gradio_api/upload"),
        ("POST", "login"),
        ("POST", "logout"),
        ("GET", "gradio_api/heartbeat/x"),
        ("OPTIONS", "gradio_api/queue/join"),
    ):
        asked = {"origin": origin, "access-control-request-method": "POST"}
        answer = ann.request(method, path, headers=asked)
        assert answer.status_code == 403, (method, path)
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_no_site_is_told_that_it_may_read_answers(served, ann):
    own = served[1].rstrip("/")
    answer = ann.get("config", headers={"origin": own})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]
    preflight = {"origin": own, "access-control-request-method": "POST"}
    assert ann.options("gradio_api/queue/join", headers=preflight).status_code == 405


def test_browsers_that_say_where_a_request_is_from_are_heard(ann):
    def ask(path, site, mode, dest):
        said = {"sec-fetch-site": site, "sec-fetch-mode": mode, "sec-fetch-dest": dest}
        return ann.get(path, headers=said).status_code

    assert ask("", "cross-site", "navigate", "document") == 200  # a link
    assert ask("", "cross-site", "navigate", "iframe") == 403
    assert ask("config", "cross-site", "navigate", "document") == 403
    assert ask("config", "same-site", "no-cors", "script") == 403
    assert ask("config", "same-origin", "cors", "empty") == 200


def test_the_cookie_is_for_this_site_alone(served):
    with client_of(served[1]) as client:
        cookies = log_in(client).headers.get_list("set-cookie")
    assert len(cookies) == 2
    for cookie in cookies:
        parts = [part.strip() for part in cookie.split(";")]
        assert "HttpOnly" in parts and "SameSite=Lax" in parts and "Secure" not in parts
        assert not any(part.lower().startswith("domain") for part in parts)
    # Behind TLS, by the word of a proxy that counts, and of no other.
    tls = {"x-forwarded-proto": "https", "x-forwarded-host": "search.example"}
    with from_address(served[1], "127.0.0.9") as proxy:
        secured = log_in(proxy, **tls).headers.get_list("set-cookie")
    with from_address(served[1], OTHER) as liar:
        believed = log_in(liar, **tls).headers.get_list("set-cookie")
    assert all("; Secure" in cookie for cookie in secured)
    assert secured[0].startswith("__Host-") and not any("; Secure" in c for c in believed)


def test_no_header_of_a_client_makes_the_page_point_elsewhere(ann):
    said = {
        name: "evil.example"
        for name in ("x-forwarded-host", "x-gradio-server", "forwarded", "x-original-host")
    }
    answer = ann.get("config", headers={**said, "x-forwarded-proto": "https"})
    assert "evil.example" not in answer.text and "https://" not in answer.json()["root"]
    assert "evil.example" not in ann.get("", headers=said).text


# 3. Work before the door.


def raw(url, head, *, address=None):
    """Open a connection, send the head of a request, and return it."""
    place = urlsplit(url)
    source = (address, 0) if address else None
    sent = socket.create_connection((place.hostname, place.port), 10, source)
    sent.sendall(head.replace("HOST", place.netloc).encode())
    return sent


def answer_of(sent, seconds=10):
    sent.settimeout(seconds)
    data = b""
    while piece := sent.recv(65536):
        data += piece
    sent.close()
    return data.decode("latin-1")


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("path", ["queue/join", "call/search", "cancel", "reset", "upload"])
def test_a_body_is_not_read_before_the_login(path, served):
    """200 MB of JSON cost 420 MB before the login was looked at."""
    before = peak()
    head = (
        f"POST /gradio_api/{path} HTTP/1.1\r\nHost: HOST\r\ncontent-type: application/json\r\n"
        "content-length: 200000000\r\n\r\n"
    )
    sent = raw(served[1], head)
    # Answered although nothing of the body has come.
    assert " 401 " in answer_of(sent).partition("\r\n")[0]
    assert peak() - before < 100


@pytest.mark.parametrize("is_told", [True, False])
def test_large_json_is_refused_and_not_kept(is_told, served):
    before = peak()
    length = "content-length: 60000000" if is_told else "transfer-encoding: chunked"
    head = (
        "POST /gradio_api/queue/join HTTP/1.1\r\nHost: HOST\r\ncontent-type: application/json\r\n"
        f"authorization: {as_user('ann')['Authorization']}\r\n{length}\r\n\r\n"
    )
    sent = raw(served[1], head)
    piece = b"x" * 100_000
    # Closed on the way, as it should be; so soon, perhaps, that the answer is lost.
    with contextlib.suppress(OSError):
        for _ in range(600):
            sent.sendall(piece if is_told else b"%x\r\n%s\r\n" % (len(piece), piece))
    with contextlib.suppress(OSError):
        assert " 413 " in answer_of(sent).partition("\r\n")[0]
    assert peak() - before < 50


@pytest.mark.parametrize("body", ["[" * 100_000, "{", "[1]", "nul", '{"a":' * 50_000])
def test_json_that_is_none_is_refused(body, ann):
    json_type = {"content-type": "application/json"}
    answer = ann.post("gradio_api/queue/join", content=body, headers=json_type)
    assert answer.status_code == 400


def test_forms_that_a_page_of_another_site_could_send_are_no_json(ann):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        for path in ("queue/join", "call/index", "cancel"):
            answer = ann.post(f"gradio_api/{path}", content="{}", headers={"content-type": kind})
            assert answer.status_code == 415


def png_head(width, height):
    """Return a PNG of these sizes, with next to nothing in it."""

    def chunk(kind, data):
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = (b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def test_a_picture_is_refused_by_the_size_that_it_says(ann, tmp_path):
    """A PNG of 291 kB with 10,000 x 10,000 pixels took 24 s and 1.3 GB."""
    file = tmp_path / "bomb.png"
    file.write_bytes(png_head(10_000, 10_000))
    before, started = peak(), time.process_time()
    went_well, said = call_api(ann, "find_people", upload(ann, file))
    assert not went_well and "expected at most 50,000,000" in str(said)
    went_well, said = call_api(ann, "index", [upload(ann, file)], None, None, 1.0, None)
    assert not went_well and "expected at most 50,000,000" in str(said)
    assert peak() - before < 150 and time.process_time() - started < 8
    assert not upload_folder_files()


def upload_folder_files():
    return [path for path in Path(upload_folder()).rglob("*") if path.is_file()]


def test_files_of_one_upload_are_counted(ann):
    many = [("files", (f"{n}.png", b"x")) for n in range(900)]
    answer = ann.post("gradio_api/upload", files=many)
    assert answer.status_code == 413 and "more than 64 files" in answer.text
    assert not upload_folder_files()
    few = [("files", (f"{n}.png", b"x")) for n in range(3)]
    assert len(ann.post("gradio_api/upload", files=few).json()) == 3


def test_fields_that_are_no_files_are_not_kept_in_memory(ann):
    """100 MB of a field took 247 MB."""
    head = b'--XX\r\ncontent-disposition: form-data; name="files"\r\n\r\n'
    kind = {"content-type": "multipart/form-data; boundary=XX"}
    before, files = peak(), upload_folder_files()
    for path in ("", "?upload_id=x"):
        with contextlib.suppress(httpx.TransportError):  # closed before all of it came
            body = itertools.chain([head], itertools.repeat(b"x" * 100_000, 900))
            answer = ann.post(f"gradio_api/upload{path}", content=body, headers=kind)
            assert answer.status_code == 400
    answer = ann.post("gradio_api/upload", content=head + b"x\r\n--XX--\r\n", headers=kind)
    assert answer.status_code == 400 and "files alone" in answer.text
    assert peak() - before < 50
    assert upload_folder_files() == files


def test_one_client_cannot_take_all_the_room_for_uploads(served, picture):
    content = picture.read_bytes()
    many = [("files", (f"{n}.png", content)) for n in range(51)]
    with from_address(served[1], OTHER, "bob") as bob, client_of(served[1], "ann") as ann:
        paths = bob.post("gradio_api/upload", files=many).json()
        answer = bob.post("gradio_api/upload", files=many[:1])
        assert answer.status_code == 429 and "51 of your uploads wait" in answer.text
        upload(ann, picture)
        # What is used makes room.
        used = {"path": paths[0], "meta": {"_type": "gradio.FileData"}}
        assert call_api(bob, "find_people", used)[0]
        assert bob.post("gradio_api/upload", files=many[:1]).status_code == 200
    for file in upload_folder_files():
        file.unlink()


def test_ten_files_of_nineteen_megabytes_are_too_much_at_once(served):
    head = (
        "POST /gradio_api/upload HTTP/1.1\r\nHost: HOST\r\n"
        f"authorization: {as_user('ann')['Authorization']}\r\n"
        "content-type: multipart/form-data; boundary=XX\r\ncontent-length: 190000000\r\n\r\n"
    )
    assert " 413 " in answer_of(raw(served[1], head)).partition("\r\n")[0]


def test_half_open_uploads_are_closed_and_others_go_on(served, picture):
    """200 of them stayed."""
    head = (
        "POST /gradio_api/upload HTTP/1.1\r\nHost: HOST\r\n"
        f"authorization: {as_user('bob')['Authorization']}\r\n"
        "content-type: multipart/form-data; boundary=XX\r\ncontent-length: 100000\r\n\r\n"
        '--XX\r\ncontent-disposition: form-data; name="files"; filename="a.png"\r\n\r\nhalf'
    )
    hanging = [raw(served[1], head, address=OTHER) for _ in range(20)]
    with client_of(served[1], "ann") as client:
        started = time.monotonic()
        upload(client, picture)
        assert time.monotonic() - started < 20
    answers = [answer_of(sent).partition("\r\n")[0] for sent in hanging]
    left = [file for file in upload_folder_files() if file.name.startswith("tmp")]
    assert left == []
    assert all(" 408 " in line or " 429 " in line for line in answers), answers


def test_a_head_that_never_ends_is_not_waited_for(served):
    sent = raw(served[1], "GET / HTTP/1.1\r\nHost: HOST\r\nx-slow: ", address=OTHER)
    started = time.monotonic()
    assert answer_of(sent) == "" and time.monotonic() - started < 20


def test_one_client_cannot_take_all_connections(served):
    taken = [raw(served[1], "GET", address=OTHER) for _ in range(LIMITS.connections + 10)]
    with client_of(served[1]) as client:
        assert client.get("health").status_code == 200
    closed = 0
    for sent in taken:
        sent.settimeout(5)
        try:
            closed += sent.recv(1) == b""
        except ConnectionResetError:
            closed += 1
        sent.close()
    assert closed == len(taken)


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.1\r\nHost: HOST\r\nHost: evil.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nconnection: close\r\nx: " + "y" * 40_000 + "\r\n\r\n",
        "POST /login HTTP/1.1\r\nHost: HOST\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        "GET / HTTP/1.1\r\n\r\n",
        "GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\nconnection: close\r\n\r\n",
        "POST /login HTTP/1.1\r\nHost: HOST\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n"
        "content-type: application/x-www-form-urlencoded\r\n\r\n"
        "17\r\nusername=ann&password=x\r\n0\r\n\r\n",
        "GET /config HTTP/1.1\r\nHost: HOST\r\nauthorization: Bearer ps_bob\r\n"
        "authorization: Bearer ps_ann\r\nconnection: close\r\n\r\n",
        "GET /health HTTP/1.0\r\n\r\n",
    ],
)
def test_requests_that_mean_two_things_are_refused(head, served):
    status = answer_of(raw(served[1], head)).split(" ")[1]
    assert status in ("400", "404", "421", "431")


def test_guessing_does_not_lock_the_owner_out(served):
    """Eight wrong passwords in parallel delayed the owner by 35 s."""
    url = served[1]
    with from_address(url, OTHER) as known, from_address(url, OTHER) as mallory:
        assert log_in(known).status_code == 200
        with ThreadPoolExecutor(8) as pool:
            tries = list(pool.map(lambda n: log_in(mallory, f"guess{n}"), range(16)))
        statuses = [answer.status_code for answer in tries]
        assert statuses.count(401) <= 5 and set(statuses) == {401, 429}
        refused = next(answer for answer in tries if answer.status_code == 429)
        assert int(refused.headers["retry-after"]) >= 1
        # The right one, too: else it could be told from the others.
        assert log_in(mallory).status_code == 429
        started = time.monotonic()
        assert log_in(known).status_code == 200  # from the same address, in a known browser
        with client_of(url) as elsewhere:
            assert log_in(elsewhere).status_code == 200
        assert time.monotonic() - started < 20
        # Another address in a header does not make another client.
        said = {"x-forwarded-for": "198.51.100.1"}
        assert log_in(mallory, "guess", **said).status_code == 429


@pytest.mark.parametrize(
    "body", ["", "username=ann", "username=ann&password=" + "x" * 5000, "a=1&" * 50, "\xff=\xfe"]
)
def test_forms_of_the_login_are_small_and_whole(body, served):
    form = {"content-type": "application/x-www-form-urlencoded"}
    with client_of(served[1]) as client:
        answer = client.post("login", content=body.encode("latin-1"), headers=form)
    assert answer.status_code in (400, 413)


def test_the_session_routes_want_a_login(nobody):
    assert nobody.get("gradio_api/heartbeat/x").status_code == 401
    for path in ("cancel", "reset", "queue/join"):
        assert nobody.post(f"gradio_api/{path}", json={}).status_code == 401


def test_one_client_cannot_fill_the_queue_and_clients_take_turns(served, picture):
    url = served[1]
    with client_of(url, "bob") as bob, client_of(url, "ann") as ann:
        bobs = [upload(bob, picture) for _ in range(6)]
        anns = upload(ann, picture)
        SlowFinder.gate.clear()
        try:
            join = functools.partial(bob.post, "gradio_api/call/find_people")
            answers = [join(json={"data": [file]}) for file in bobs]
            joined = [a.json()["event_id"] for a in answers if a.status_code == 200]
            # One is at work, three wait.
            assert 3 <= len(joined) <= 4 and answers[-1].status_code == 429
            assert "of your requests wait already" in answers[-1].text
            hers = ann.post("gradio_api/call/find_people", json={"data": [anns]})
            assert hers.status_code == 200
            line = served[0]._queue.event_queue_per_concurrency_id["model"]
            number, ends = hers.json()["event_id"], time.monotonic() + 30
            while [e._id for e in line.queue].index(number) != 1 and time.monotonic() < ends:
                time.sleep(0.01)
            assert line.queue[1]._id == number, "not behind all of his"
        finally:
            SlowFinder.gate.set()
        for client, numbers in ((bob, joined), (ann, [hers.json()["event_id"]])):
            for number in numbers:
                told = client.get(f"gradio_api/call/find_people/{number}").text
                assert "event: complete" in told


# 4. Headers and messages.


@pytest.mark.parametrize(
    "path",
    ["", "config", "health", "login", "nothing", "theme.css", "gradio_api/file=/x", "logout"],
)
@pytest.mark.parametrize("name", [None, "ann"])
def test_every_answer_has_the_headers(path, name, served):
    with client_of(served[1], name) as client:
        said = client.get(path).headers
    assert said["x-content-type-options"] == "nosniff" and said["x-frame-options"] == "DENY"
    assert said["referrer-policy"] == "same-origin" and said["cache-control"] == "no-store"
    policy = dict(part.strip().split(" ", 1) for part in said["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["frame-ancestors"] == "'none'"
    assert "unsafe-inline" not in policy.get("script-src", "")
    assert "http" not in said["content-security-policy"]
    assert "server" not in said


def test_the_nonce_of_the_page_is_another_each_time(ann):
    first, second = (ann.get("").headers["content-security-policy"] for _ in range(2))
    assert first != second


def test_messages_name_no_folder_of_the_server(served, ann, tmp_path):
    (tmp_path / "cut.png").write_bytes(BytesIO(b"\x89PNG\r\n\x1a\n" + b"x" * 50).getvalue())
    said = [
        call_api(ann, "find_people", upload(ann, tmp_path / "cut.png")),
        call_api(ann, "find_people", {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}),
        call_api(ann, "find_people", None),
        call_api(ann, "index", [upload(ann, tmp_path / "cut.png")], "attic", None, 1.0, None),
        ann.get("health").json(),
    ]
    assert not any(went_well for went_well, _ in said[:4])
    text = json.dumps(said)
    for folder in ("/tmp", "/work", "/root", "/home", upload_folder(), str(served[2])):
        assert folder not in text, said


# Paths, addresses, sessions, and what was found in Gradio before.

TARGETS = ("etc/passwd", "secret.txt", "g.db", "proc/self/environ")
PREFIXES = (
    "/gradio_api/file=", "/file=", "/gradio_api/file/", "/static/", "/assets/", "/svelte/",
    "/gradio_api/custom_component/1/client/component/", "/", "/gradio_api/", "/theme.css/",
)  # fmt: skip
UPS = ("../" * 8, "..%2f" * 8, "%2e%2e/" * 8, "%252e%252e%252f" * 8, "..\\" * 8, "//", "%00/", "/")


def traversals():
    """Yield 200 and more ways to ask for a file by its path."""
    for prefix, up, target in itertools.product(PREFIXES, UPS, TARGETS):
        yield f"{prefix}{up}{target}"


def test_two_hundred_path_traversals(served):
    paths = list(traversals())
    assert len(paths) >= 200
    place = urlsplit(served[1])
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
    for path in (*paths, *(f"/gradio_api/file={quote(str(served[2]))}/{t}" for t in TARGETS)):
        connection.putrequest("GET", path, skip_host=True)
        connection.putheader("Host", place.netloc)
        connection.putheader("Authorization", as_user("ann")["Authorization"])
        connection.endheaders()
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status in (400, 404), path
        assert b"root:" not in text and SECRET.encode() not in text and b"SQLite" not in text
    connection.close()


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../../../../etc/passwd", "SECRET", "GALLERY", "/proc/self/environ"]
)
def test_a_file_of_the_server_is_no_upload(path, served, ann):
    named = {"SECRET": str(served[2] / "secret.txt"), "GALLERY": str(served[2] / "g.db")}
    taken = {"path": named.get(path, path), "meta": {"_type": "gradio.FileData"}}
    for name, data in (("find_people", [taken]), ("index", [[taken], None, None, 1.0, None])):
        went_well, said = call_api(ann, name, *data)
        assert not went_well and SECRET not in str(said) and "root:" not in str(said)
    assert (served[2] / "g.db").exists() and (served[2] / "secret.txt").exists()


def test_a_name_of_an_upload_leads_nowhere_else(served, ann):
    for name in ("../../../../tmp/evil.png", "/etc/evil.png", "..\\..\\evil.png", "a\x00.png", "."):
        answer = ann.post("gradio_api/upload", files={"files": (name, b"x")})
        if answer.status_code == 200:
            (path,) = answer.json()
            assert path.startswith(f"{upload_folder()}/") and "/../" not in path


@pytest.fixture
def trap():
    """Listen at an address that the server must not ask; fails if it did."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/x.png"
        with pytest.raises(TimeoutError):
            listener.accept()


def test_the_server_fetches_nothing_for_anybody(trap, ann):
    meta = {"meta": {"_type": "gradio.FileData"}}
    for taken in (
        {"path": trap, **meta},
        {"path": "", "url": trap, **meta},
        {"path": "x.png", "url": trap, **meta},
        {"path": trap.replace("http", "HTTP", 1), **meta},
        {"path": trap.replace("http://", "ftp://"), **meta},
        {"path": f" {trap}", **meta},
        trap,
    ):
        went_well, _ = call_api(ann, "find_people", taken)
        assert not went_well
        assert not call_api(ann, "index", [taken], None, None, 1.0, None)[0]
    for path in ("file=", "proxy=", "file/"):
        assert ann.get(f"gradio_api/{path}{trap}").status_code == 404


def test_a_session_cannot_be_fixed_or_used_by_others(served):
    url = served[1]
    name = f"ps-session-{urlsplit(url).port}"
    with httpx.Client(base_url=url) as client:
        # One that somebody planted lets nobody in, and does not become anybody's.
        client.cookies.set(name, "planted", domain="127.0.0.1")
        assert client.get("config").status_code == 401
        token = log_in(client).cookies[name]
        assert token != "planted" and len(token) > 30
        client.cookies.clear()
        assert client.get("config", headers={"cookie": f"{name}=planted"}).status_code == 401
        kept = {"cookie": f"{name}={token}"}
        assert client.get("config", headers=kept).status_code == 200
        again = log_in(client, cookie=f"{name}={token}").cookies[name]
        assert again != token and client.get("config", headers=kept).status_code == 401
        kept = {"cookie": f"{name}={again}"}
        client.cookies.clear()
        assert client.post("logout", headers=kept).status_code == 303
        assert client.get("config", headers=kept).status_code == 401


def test_a_session_of_the_page_is_not_told_to_others(served, picture):
    with client_of(served[1], "ann") as ann, client_of(served[1], "bob") as bob:
        numbers = {name_of(event.fn): n for n, event in enumerate(events_of(served[0]))}
        status, _ = call_event(ann, numbers["Handlers.describe"], ["town"], "hers")
        assert status == 200
        for method, path in (
            ("GET", "queue/data?session_hash=hers"),
            ("GET", "call/search/hers"),
            ("GET", "heartbeat/hers"),
        ):
            assert bob.request(method, f"gradio_api/{path}").status_code == 403
        for path in ("queue/join", "cancel", "reset"):
            body = {"session_hash": "hers", "data": [], "fn_index": 0, "event_id": "e"}
            assert bob.post(f"gradio_api/{path}", json=body).status_code == 403


@pytest.mark.parametrize("page", [None, "hers as well"])
def test_an_answer_of_the_api_is_told_to_nobody_else(page, served):
    named = {} if page is None else {"session_hash": page}
    with client_of(served[1], "ann") as ann, client_of(served[1], "bob") as bob:
        joined = ann.post("gradio_api/call/galleries", json={"data": [], **named})
        path = f"gradio_api/call/galleries/{joined.json()['event_id']}"
        assert bob.get(path).status_code == 403
        assert "event: complete" in ann.get(path).text


def test_a_session_has_a_name_of_some_letters(ann):
    for page in ("", "p" * 129):
        asked = {"data": [], "session_hash": page}
        assert ann.post("gradio_api/call/galleries", json=asked).status_code == 400
        assert ann.post("gradio_api/cancel", json=asked | {"fn_index": 0}).status_code == 400
    assert call_api(ann, "galleries")[0]


def test_one_client_does_not_take_the_place_of_all_pictures(served, ann, monkeypatch):
    monkeypatch.setattr(sessions, "MOST_OF_ONE", 3)
    numbers = {name_of(event.fn): n for n, event in enumerate(events_of(served[0]))}
    states = served[0].state_holder.session_data
    for n in range(6):
        assert call_event(ann, numbers["show_caller"], [], f"many{n}")[0] == 200
    assert [n for n in range(6) if f"many{n}" in states] == [3, 4, 5]


def test_answers_that_were_heard_leave_nothing(served, ann):
    queue, states = served[0]._queue, served[0].state_holder

    def count():
        kept = queue.pending_event_ids_session, queue.pending_messages_per_session
        return [len(one) for one in (*kept, states.session_data, states.time_last_used)]

    before = count()
    for _ in range(5):
        assert call_api(ann, "galleries")[0]
    ends = time.monotonic() + 30
    while count() != before and time.monotonic() < ends:
        time.sleep(0.01)
    assert count() == before


ADVISORIES = [
    # CVE-2023-51449: files by their path, and pages of other servers.
    ("GET", "gradio_api/file=/etc/passwd", None, 404),
    ("GET", "file=http://127.0.0.1:9/", None, 404),
    # CVE-2024-1561: any method of a component, which copied files.
    ("POST", "gradio_api/component_server",
     {"component_id": 1, "data": "/etc/passwd", "fn_name": "move_resource_to_block_cache",
      "session_hash": "x"}, 404),
    # CVE-2024-47166: the sources of a component.
    ("GET", "gradio_api/custom_component/1/client/component/..%2findex.js", None, 404),
    # CVE-2024-47168: monitoring that was not turned off.
    ("GET", "monitoring", None, 404), ("GET", "monitoring/summary", None, 404),
    # CVE-2024-47167, CVE-2026-28416: other servers by a proxy.
    ("GET", "gradio_api/proxy=http://127.0.0.1:9/", None, 404),
    # CVE-2026-28414: absolute paths among the page's own files.
    ("GET", "static//etc/passwd", None, 404), ("GET", "static/C:/windows/win.ini", None, 404),
    # Functions around the queue.
    ("POST", "gradio_api/run/predict", {"data": [], "fn_index": 0}, 404),
    ("POST", "gradio_api/api/find_people", {"data": [None]}, 404),
    # The cookie for scripts to read, sessions in files, the developer's tools.
    ("GET", "gradio_api/token", None, 404),
    ("GET", "gradio_api/deep_link?session_hash=x", None, 404),
    ("GET", "gradio_api/dev/reload", None, 404), ("POST", "gradio_api/vibe-edit", {}, 404),
    ("POST", "gradio_api/process_recording", {}, 404), ("GET", "logout", None, 404),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "status"), ADVISORIES)
def test_what_was_found_in_gradio_is_closed(method, path, body, status, ann):
    options = {} if body is None else {"json": body}
    assert ann.request(method, path, **options).status_code == status


def test_there_are_no_web_sockets(served):
    head = (
        "GET /gradio_api/queue/join HTTP/1.1\r\nHost: HOST\r\nconnection: upgrade, close\r\n"
        "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAA\r\n\r\n"
    )
    status = answer_of(raw(served[1], head)).split(" ")[1]
    assert status in ("400", "401", "404", "405")


def test_a_private_function_is_not_reached_by_its_name(ann):
    for name in ("export", "describe", "nothing"):
        assert ann.post(f"gradio_api/call/{name}", json={"data": ["town"]}).status_code == 404
    unknown = {"data": [], "fn_index": 9999, "session_hash": "x"}
    assert ann.post("gradio_api/queue/join", json=unknown).status_code == 404
