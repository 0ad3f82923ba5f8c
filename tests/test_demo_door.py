"""The parts of the door: names, proxies, tries of passwords, logins, bodies, headers, messages."""

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="needs the extra demo")

from demo import mistakes
from demo.door.addresses import AllowedNames, client_of, hear_proxies, split_host
from demo.door.attempts import FREE_TRIES, LONGEST_WAIT, Attempts, is_device, make_device
from demo.door.bodies import Refused, Upload, boundary_of, check_length, read_body
from demo.door.sessions import IDLE, LONGEST, MOST_SESSIONS, Pages, Sessions
from demo.door.settings import Limits, parse_bytes
from demo.door.traffic import Traffic, kept_bytes, sweep
from demo.mistakes import plain_message


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("Localhost", ("localhost", None)),
        ("search.example.:8443", ("search.example", 8443)),
        ("[::1]:7860", ("::1", 7860)),
        ("a b", None),
        ("x:99999", None),
        ("user@x", None),
        ("x/y", None),
        ("[evil]", None),
        ("", None),
    ],
)
def test_hosts_are_read_strictly(text, place):
    assert split_host(text) == place


def test_names_are_this_computers_and_those_allowed():
    names = AllowedNames("127.0.0.1", ["search.example", "other.example:8443"])
    for host in ("localhost:7860", "127.0.0.1", "[::1]:7860", "search.example", "other.example:1"):
        assert names.has_host(host, "127.0.0.1"), host
    for host in (
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.5",
        "",
    ):
        assert not names.has_host(host, "10.0.0.5"), host
    everywhere = AllowedNames("0.0.0.0")
    assert everywhere.has_host("10.0.0.5:7860", "10.0.0.5")
    assert not everywhere.has_host("10.0.0.6", "10.0.0.5")
    assert not everywhere.has_host("evil.example", "10.0.0.5")
    with pytest.raises(ValueError, match="expected a name"):
        AllowedNames("127.0.0.1", ["https://x"])


@pytest.mark.parametrize(
    ("origin", "host", "is_own"),
    [
        ("http://127.0.0.1:7860", "127.0.0.1:7860", True),
        ("http://localhost:7860", "127.0.0.1:7860", False),
        ("http://127.0.0.1:3000", "127.0.0.1:7860", False),
        ("https://127.0.0.1:7860", "127.0.0.1:7860", True),
        ("https://search.example", "search.example", True),
        ("https://search.example", "127.0.0.1:7860", True),
        ("https://search.example:444", "127.0.0.1:7860", False),
        ("http://evil.example", "127.0.0.1:7860", False),
        ("http://evil.example:7860", "127.0.0.1:7860", False),
        ("null", "127.0.0.1:7860", False),
        ("http://127.0.0.1:7860/", "127.0.0.1:7860", False),
        ("file://127.0.0.1:7860", "127.0.0.1:7860", False),
        ("http://127.0.0.1:7860@evil.example", "127.0.0.1:7860", False),
        ("http://[::1", "127.0.0.1:7860", False),
    ],
)
def test_origins_are_the_page_itself(origin, host, is_own):
    assert AllowedNames("127.0.0.1", ["search.example"]).has_origin(origin, "http", host) == is_own


def scope_of(peer, **headers):
    raw = [(n.replace("_", "-").encode(), v.encode()) for n, v in headers.items()]
    return {"client": (peer, 1), "scheme": "http", "headers": raw}


def test_the_word_of_a_proxy_counts_and_of_nobody_else():
    said = {
        "host": "127.0.0.1:7860",
        "x_forwarded_for": "6.6.6.6, 198.51.100.7",
        "x_forwarded_proto": "https",
        "x_forwarded_host": "search.example",
        "x_gradio_server": "http://evil.example",
    }
    heard = hear_proxies(scope_of("127.0.0.1", **said), ["127.0.0.1"])
    assert heard["client"][0] == "198.51.100.7" and heard["scheme"] == "https"
    assert heard["headers"] == [(b"host", b"search.example")]
    ignored = hear_proxies(scope_of("203.0.113.9", **said), ["127.0.0.1"])
    assert ignored["client"][0] == "203.0.113.9" and ignored["scheme"] == "http"
    assert ignored["headers"] == [(b"host", b"127.0.0.1:7860")]
    odd = hear_proxies(scope_of("127.0.0.1", x_forwarded_for="' OR 1=1"), ["127.0.0.1"])
    assert odd["client"][0] == "127.0.0.1"


def test_a_client_is_an_address_or_a_network_of_the_new_kind():
    assert client_of({"client": ("198.51.100.7", 5)}) == "198.51.100.7"
    assert client_of({"client": ("::ffff:198.51.100.7", 5)}) == "198.51.100.7"
    first, second = ({"client": (f"2001:db8::{n}", 5)} for n in (1, 2))
    assert client_of(first) == client_of(second) == "2001:db8::/64"


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def test_guessing_gets_slow_for_who_guesses_alone():
    clock = Clock()
    attempts = Attempts(clock)
    assert all(attempts.begin("mallory", "ann") == 0 for _ in range(FREE_TRIES))
    assert 0 < attempts.begin("mallory", "ann") <= 1
    assert attempts.begin("owner", "ann") == 0
    waits = []
    for _ in range(10):
        wait = attempts.begin("mallory", "ann")
        clock.now += wait
        waits.append(wait)
        assert attempts.begin("mallory", "ann") == 0
    assert waits == sorted(waits) and waits[-1] == LONGEST_WAIT
    attempts.forgive("mallory", "ann")
    assert attempts.begin("mallory", "ann") == 0


def test_a_password_of_ones_own_makes_no_room_for_guesses_at_another():
    attempts = Attempts(Clock())
    assert all(attempts.begin("mallory", "ann") == 0 for _ in range(FREE_TRIES - 1))
    assert attempts.begin("mallory", "mallory") == 0
    attempts.forgive("mallory", "mallory")
    assert attempts.begin("mallory", "ann") == 0
    assert attempts.begin("mallory", "ann") > 0 and attempts.begin("mallory", "mallory") > 0
    attempts.forgive("elsewhere", "ann")
    assert attempts.begin("mallory", "ann") > 0
    # A long name costs no more memory than one that a user can have.
    assert attempts.begin("other", "n" * 4000) == 0
    assert max(map(len, attempts._tries["other"].names)) == 100


def test_many_tries_at_once_are_counted_before_they_are_checked():
    attempts = Attempts(Clock())
    assert sum(attempts.begin("mallory", "ann") == 0 for _ in range(100)) == FREE_TRIES


def test_a_browser_is_known_by_a_cookie_that_nobody_else_can_make():
    cookie = make_device("ann", "stamp")
    assert is_device(cookie, "ann", "stamp")
    assert not is_device(cookie, "bob", "stamp") and not is_device(cookie, "ann", "changed")
    for forged in ("", ".", "x.y", cookie[:-1], f"0{cookie}", "é.é"):
        assert not is_device(forged, "ann", "stamp")
    assert not is_device(make_device("ann", ""), "ann", "")


def test_logins_end_by_themselves_and_are_new_each_time():
    clock = Clock()
    sessions = Sessions(clock)
    first, second = sessions.begin("ann", "s"), sessions.begin("ann", "s")
    assert first != second and sessions.find(first) == ("ann", "s")
    assert sessions.find("made up") is None
    sessions.end(first)
    assert sessions.find(first) is None and sessions.find(second)
    clock.now += IDLE + 1
    assert sessions.find(second) is None
    third = sessions.begin("ann", "s")
    for _ in range(int(LONGEST // IDLE) + 1):
        clock.now += IDLE - 1
        last = sessions.find(third)
    assert last is None


def test_a_user_has_so_many_logins_and_no_more():
    sessions = Sessions(Clock())
    tokens = [sessions.begin("ann", "s") for _ in range(MOST_SESSIONS + 3)]
    other = sessions.begin("bob", "s")
    assert [t for t in tokens if sessions.find(t)] == tokens[3:] and sessions.find(other)


def test_a_session_of_the_page_is_whose_it_was_first():
    pages = Pages()
    assert pages.may_use("p", "ann") and pages.may_use("p", "ann")
    assert not pages.may_use("p", "bob") and not pages.may_use("p", "bob", take=False)
    assert pages.may_use("q", "bob", take=False) and pages.may_use("q", "ann")


LIMITS = Limits(json_bytes=100, files=3, files_bytes=1000, idle_seconds=0.05, upload_seconds=0.2)


def pieces(*parts, pause=0.0):
    waiting = [
        {"type": "http.request", "body": part, "more_body": n < len(parts)}
        for n, part in enumerate(parts, 1)
    ]

    async def receive():
        await asyncio.sleep(pause)
        return waiting.pop(0)

    return receive


def test_bodies_are_counted_while_they_come():
    assert asyncio.run(read_body(pieces(b"ab", b"c"), 3, LIMITS)) == b"abc"
    with pytest.raises(Refused, match="at most 3 bytes") as refused:
        asyncio.run(read_body(pieces(b"ab", b"cd"), 3, LIMITS))
    assert refused.value.status == 413
    with pytest.raises(Refused, match="too slowly") as refused:
        asyncio.run(read_body(pieces(b"ab", pause=0.5), 3, LIMITS))
    assert refused.value.status == 408
    for length, status in (("1001", 413), ("-1", 400), ("1e3", 400), ("9" * 40, 400)):
        with pytest.raises(Refused) as refused:
            check_length({"content-length": length}, 1000)
        assert refused.value.status == status
    check_length({"content-length": "1000"}, 1000), check_length({}, 1000)


def read_upload(*parts, pause=0.0):
    upload = Upload(pieces(*parts, pause=pause), b"XX", LIMITS)

    async def read():
        body = b""
        while (message := await upload.receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        return body

    return asyncio.run(read()), upload.refused


def test_uploads_are_counted_in_files_bytes_and_time():
    part = b"--XX\r\n\r\nfile\r\n"
    body, refused = read_upload(part, part, part + b"--XX--")
    assert body.endswith(b"--XX--") and refused is None
    # Whatever pieces a mark comes in.
    for size in (1, 3, 7):
        whole = part * 4 + b"--XX--"
        _, refused = read_upload(*(whole[i : i + size] for i in range(0, len(whole), size)))
        assert refused.status == 413 and "more than 3 files" in refused.message
    _, refused = read_upload(part, b"x" * 1200)
    assert refused.status == 413
    _, refused = read_upload(part, pause=0.5)
    assert refused.status == 408
    _, refused = read_upload(*[part[:1]] * 20, pause=0.03)
    assert refused.status == 408


def test_the_boundary_of_an_upload():
    assert boundary_of("multipart/form-data; boundary=XX") == b"XX"
    assert boundary_of('multipart/form-data; boundary="X X"') == b"X X"
    for kind in ("text/plain", "multipart/form-data", "multipart/form-data; boundary="):
        with pytest.raises(Refused, match="expected files"):
            boundary_of(kind)


def test_a_clients_requests_and_uploads_are_limited_and_others_are_not():
    limits = Limits(requests=1, uploads=1, idle_seconds=0.02)

    async def crowd():
        traffic = Traffic(limits)
        with (
            traffic.request("a"),
            traffic.request("b"),
            pytest.raises(Refused, match="under way"),
            traffic.request("a"),
        ):
            pass
        with traffic.request("a"):
            pass
        async with traffic.upload("a"), traffic.upload("b"):
            with pytest.raises(Refused, match="uploads are under way"):
                async with traffic.upload("a"):
                    pass
        async with traffic.upload("a"):
            pass

    asyncio.run(crowd())


def test_forgotten_uploads_are_deleted_with_their_folders(tmp_path):
    import os
    import time

    for name, age in (("old/a.png", 100), ("new/b.png", 1), ("half", 100)):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"12345")
        os.utime(file, times=(time.time() - age,) * 2)
    assert kept_bytes(tmp_path) == 15
    assert sweep(tmp_path, 50) == 2
    assert {p.name for p in tmp_path.rglob("*")} == {"new", "b.png"}


@pytest.mark.parametrize(
    ("text", "size"), [("20mb", 20_000_000), ("1.5 GB", 1_500_000_000), ("7", 7), (300, 300)]
)
def test_sizes_are_read(text, size):
    assert parse_bytes(text) == size
    assert Limits().for_files(size).files_bytes == 8 * size


@pytest.mark.parametrize("text", ["", "0", "much", "-5mb", "5tb", "1e9"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="as a size"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("the gallery /srv/a b/c/town.db is gone"), "the gallery town.db is gone"),
        (ValueError("/srv/video/town.db: gone"), "town.db: gone"),
        (ValueError("see '/srv/x.jpg', ~/me/y.jpg"), "see 'x.jpg', y.jpg"),
        (ValueError("http://127.0.0.1:19530/x and 3/4, /index"), None),
        (FileNotFoundError(2, "No such file", "/srv/a b/x.jpg"), "No such file: x.jpg"),
    ],
)
def test_messages_name_no_folder(error, said, monkeypatch):
    monkeypatch.setattr(mistakes, "_hidden", set())
    mistakes.hide_folder(Path("/srv/a b/c"))
    assert plain_message(error) == (str(error) if said is None else said)
