"""Fetching, from a server on this computer that fails in every way that public ones do."""

import datetime
import email.utils
import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers_file_server import (
    CONTENT,
    FileServer,
    give,
    give_page,
    give_slowly,
    give_status,
    give_without_end,
)

from person_search.model_list import sources
from person_search.model_list.asking import NotFetchedError, PageError, _Redirects
from person_search.model_list.download import BY_HAND, download, file_of
from person_search.model_list.listed_model import ListedModel
from person_search.model_list.part import Part
from person_search.model_list.receiving import Patience
from person_search.model_list.records import Record, record_path
from person_search.model_list.sources import GoogleDrive, Https, HuggingFace
from person_search.progress import Progress

SIZE = len(CONTENT)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PATIENCE = Patience(timeout_s=0.2, attempts=3, first_wait_s=0.001, longest_wait_s=1.5)
FORM = """<html><head><title>Google Drive - Virus scan warning</title></head><body>
<form action="/elsewhere"><input name="q" value="search"></form>
<form id="download-form" action="{}" method="get"><input type="hidden" name="id" value="abc">
<input type="hidden" name="confirm" value="t"><input type="submit" value="Download anyway"/></form>
<input name="after" value="x"></body></html>"""
LOGIN = "<!doctype html><title> Sign\n in </title><p>Please."


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("PERSON_SEARCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in ("PERSON_SEARCH_OFFLINE", "HF_HUB_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="module")
def module_server():
    server = FileServer()
    yield server
    server.close()


@pytest.fixture
def server(module_server):
    module_server.answers.clear()
    module_server.asked.clear()
    return module_server


def make_model(*where, size=SIZE, sha256=SHA256):
    return ListedModel(
        name="net",
        purpose="is a test",
        kind="crop",
        file="net.pth",
        sources=tuple(Https(x) if isinstance(x, str) else x for x in where),
        licence="MIT",
        trained_on="nothing",
        data_terms="non-commercial",
        size=size,
        sha256=sha256,
    )


def make_unknown(*where):
    """One of which the list knows neither size nor hash."""
    return make_model(*where, size=None, sha256=None)


def left_over(model):
    """Names beside the file, which need no keeping."""
    return {x.name for x in file_of(model).parent.iterdir()} - {".net.pth.lock"}


def test_a_file_comes_whole_with_its_record(server):
    model = make_model(server.put("/net", give()))
    path = download(model, PATIENCE)
    assert path.read_bytes() == CONTENT
    assert left_over(model) == {"net.pth", "net.pth.record.json"}
    record = Record.find(path)
    assert (record.size, record.sha256, record.is_sha256_listed) == (len(CONTENT), SHA256, True)
    assert record.source == server.url + "/net"
    assert "code and weights: MIT; data: non-commercial" in record.to_card("it").licence
    download(model, PATIENCE)
    assert len(server.asked) == 1


def test_hugging_face_is_asked_at_its_endpoint(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
    server.put("/owner/name/resolve/c0ffee/a.pth", give())
    assert download(make_model(HuggingFace("owner/name", "a.pth", "c0ffee")), PATIENCE).is_file()


def test_what_breaks_off_is_gone_on_with(server):
    """Cut three times, each time further on: as often as that brings something new."""
    cuts = [give(cut_at=n) for n in (1000, 4000, 5000, 9000)]
    model = make_model(server.put("/net", *cuts, give()))
    assert download(model, PATIENCE).read_bytes() == CONTENT
    assert [r for _, r in server.asked] == [
        None,
        *(f"bytes={n}-" for n in (1000, 4000, 5000, 9000)),
    ]


def test_an_interrupted_download_goes_on_where_it_stopped(server):
    model = make_model(server.put("/net", give(cut_at=6000)))
    with pytest.raises(ConnectionError, match=r"broke off after 6,000 of 10,240 bytes, 3 times"):
        download(model, PATIENCE)
    assert Part(file_of(model)).size == 6000
    server.put("/net", give())
    server.asked.clear()
    assert download(model, PATIENCE).read_bytes() == CONTENT
    assert server.asked == [("/net", "bytes=6000-")]
    assert left_over(model) == {"net.pth", "net.pth.record.json"}


def test_a_ctrl_c_keeps_what_came(server, monkeypatch):
    model = make_model(server.put("/net", give()))

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Progress, "update", stop)
        download(model, PATIENCE)
    size = Part(file_of(model)).size
    assert 0 < size <= SIZE and not file_of(model).exists()
    assert download(model, PATIENCE).read_bytes() == CONTENT


@pytest.mark.parametrize("tag", ['"version 2"', ""])
def test_a_part_of_another_version_is_not_gone_on_with(server, tag):
    """Where no hash is known, two halves of different files would pass for one."""
    model = make_unknown(server.put("/net", give(b"x" * 10240, cut_at=5000, tag=tag)))
    with pytest.raises(ConnectionError):
        download(model, PATIENCE)
    server.put("/net", give())
    assert download(model, PATIENCE).read_bytes() == CONTENT


def test_a_wrong_part_is_found_by_the_hash_and_fetched_anew(server):
    model = make_model(server.put("/net", give()))
    part = Part(file_of(model))
    part.path.parent.mkdir(parents=True)
    part.path.write_bytes(b"of another file")
    assert download(model, PATIENCE).read_bytes() == CONTENT
    assert [r for _, r in server.asked] == ["bytes=15-", None]


def test_a_part_that_was_whole_already_is_taken(server):
    """The process ended between the last byte and the renaming."""
    model = make_unknown(server.put("/net", give()))
    part = Part(file_of(model))
    part.path.parent.mkdir(parents=True)
    part.path.write_bytes(CONTENT)
    part.mark(server.url + "/net", '"version 1"')
    assert download(model, PATIENCE).read_bytes() == CONTENT
    part.path.write_bytes(CONTENT + b"more")
    part.mark(server.url + "/net", '"version 1"')
    file_of(model).unlink()
    assert download(model, PATIENCE).read_bytes() == CONTENT


def test_a_server_without_ranges_gives_the_whole_again(server):
    whole = give(takes_ranges=False)
    model = make_model(server.put("/net", give(cut_at=100), whole))
    assert download(model, PATIENCE).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CONTENT[:-1] + b"!", f"SHA-256 .*, expected {SHA256}: it was replaced"),
        (CONTENT[:-1], r"its file has 10,239 bytes, expected 10,240: another file"),
    ],
)
def test_another_file_is_refused_and_not_kept(server, content, message):
    model = make_model(server.put("/net", give(content)))
    with pytest.raises(ConnectionError, match=message):
        download(model, PATIENCE)
    assert not left_over(model)


def test_a_file_that_does_not_end_is_given_up(server):
    model = make_model(server.put("/net", give_without_end()))
    with pytest.raises(ConnectionError, match=r"more than the 10,240 bytes that are expected"):
        download(model, PATIENCE)
    assert not left_over(model)


def test_the_next_source_is_asked_where_one_fails(server):
    model = make_model(server.url + "/gone", server.put("/net", give()))
    download(model, PATIENCE)
    assert Record.find(file_of(model)).source == server.url + "/net"


@pytest.mark.parametrize(
    ("status", "message", "times"),
    [
        (404, "404 Not Found: the file is not there any more", 1),
        (403, "403 Forbidden: it asks to log in or to accept terms", 1),
        (418, "it answered 418", 1),
        (503, "503 Service Unavailable, 3 times in a row", 3),
    ],
)
def test_an_error_says_what_it_means_and_what_to_put_where(server, status, message, times):
    model = make_model(server.put("/net", give_status(status)))
    with pytest.raises(ConnectionError, match=message) as error:
        download(model, PATIENCE)
    assert len(server.asked) == times
    assert f"fetch {server.url}/net (once it is here, net.pth, 10,240 bytes" in str(error.value)
    assert f"SHA-256 {SHA256}), put it at {file_of(model)}" in str(error.value)


def test_a_server_that_is_busy_is_asked_when_it_says(server):
    soon = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=5)
    model = make_model(
        server.put(
            "/net",
            give_status(429, Retry_After="1"),
            give_status(503, Retry_After=email.utils.format_datetime(soon)),
            give(),
        )
    )
    start = time.monotonic()
    assert download(model, PATIENCE).is_file()
    assert 1 <= time.monotonic() - start < 3
    server.put("/net", give_status(429, Retry_After="3600"))
    file_of(model).unlink()
    with pytest.raises(ConnectionError, match=r"429 .*: it asks to wait 3600 s"):
        download(model, PATIENCE)


def test_a_page_to_log_in_is_no_file(server):
    model = make_unknown(server.put("/net", give_status(302, Location="/login?to=net")))
    server.put("/login?to=net", give_page(LOGIN))
    with pytest.raises(ConnectionError, match="a web page, 'Sign in', came in place of the file"):
        download(model, PATIENCE)
    assert not left_over(model)


def test_the_form_of_google_drive_is_sent_once(server, monkeypatch):
    monkeypatch.setattr(sources, "GOOGLE_DRIVE", server.url)
    server.put("/uc?export=download&id=abc", give_page(FORM.format("/download")))
    server.put("/download?id=abc&confirm=t", give(cut_at=500), give())
    model = make_unknown(GoogleDrive("abc"))
    assert download(model, PATIENCE).read_bytes() == CONTENT
    assert server.asked[-1] == ("/download?id=abc&confirm=t", "bytes=500-")
    file_of(model).unlink()
    server.asked.clear()
    server.put("/download?id=abc&confirm=t", give_page("<title>Quota exceeded</title>"))
    with pytest.raises(ConnectionError, match=r"/file/d/abc/view: a web page, 'Quota exceeded'"):
        download(model, PATIENCE)
    assert len(server.asked) == 2


def test_only_google_drive_s_forms_are_sent(server):
    model = make_model(server.put("/net", give_page(FORM.format("/download"))))
    with pytest.raises(ConnectionError, match="Virus scan warning"):
        download(model, PATIENCE)
    assert PageError("http://x/y", LOGIN).confirmed_url() is None


def test_a_redirect_does_not_leave_encryption():
    class Request:
        full_url = "https://host/net"

    with pytest.raises(NotFetchedError, match="redirected to http://host/net, which is not"):
        _Redirects().redirect_request(Request(), None, 302, "", {}, "http://host/net")


@pytest.mark.parametrize(
    ("seconds", "message"),
    [(1, "it broke off .*timed out"), (0.02, "bytes in 0.2 s, which is too")],
)
def test_a_byte_now_and_then_is_too_slow(server, seconds, message):
    stop = threading.Event()
    model = make_unknown(server.put("/net", give_slowly(seconds, stop)))
    with pytest.raises(ConnectionError, match=message):
        download(model, Patience(timeout_s=0.2, attempts=2, first_wait_s=0.001))
    stop.set()


def test_without_a_network_it_says_so_at_once():
    start = time.monotonic()
    with pytest.raises(ConnectionError, match=r"http://127\.0\.0\.1:9/net: it cannot be reached"):
        download(make_model("http://127.0.0.1:9/net"))
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("name", ["PERSON_SEARCH_OFFLINE", "HF_HUB_OFFLINE"])
def test_the_offline_switch_fetches_nothing_and_takes_what_is_there(server, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    model = make_model(server.put("/net", give()))
    with pytest.raises(ConnectionError, match=f"{name} is set, so nothing is fetched"):
        download(model, PATIENCE)
    assert not server.asked
    file_of(model).parent.mkdir(parents=True)
    file_of(model).write_bytes(b"something else")
    with pytest.raises(ValueError, match=f"expected {SHA256}: it was changed, or is another file"):
        download(model, PATIENCE)
    file_of(model).write_bytes(CONTENT)
    assert Record.find(download(model, PATIENCE)).source == BY_HAND
    monkeypatch.setenv(name, "0")
    file_of(model).unlink()
    assert download(model, PATIENCE).is_file()


def test_an_unknown_hash_is_recorded_and_checked_from_then_on(server):
    model = make_unknown(server.put("/net", give()))
    path = download(model, PATIENCE)
    record = Record.find(path)
    assert record.sha256 == SHA256 and not record.is_sha256_listed
    path.write_bytes(b"changed")
    with pytest.raises(ValueError, match=f"expected {SHA256}: it was changed"):
        download(model, PATIENCE)
    path.unlink()
    server.put("/net", give(b"another\x00version", tag='"2"'))
    with pytest.raises(ConnectionError, match=f"expected {SHA256}: it was replaced there"):
        download(model, PATIENCE)


def test_a_record_without_a_licence_is_broken(server):
    path = download(make_model(server.put("/net", give())), PATIENCE)
    content = json.loads(record_path(path).read_text())
    del content["card"]["licence"]
    record_path(path).write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"net\.pth\.record\.json is no model card: it lacks lic"):
        Record.find(path)
    record_path(path).write_text(json.dumps(content | {"size": "10"}))
    with pytest.raises(ValueError, match="size is '10'; remove it"):
        Record.find(path)


def test_a_full_disk_is_said_before_and_on_the_way(server, monkeypatch):
    model = make_model(server.put("/net", give()))
    usage = shutil.disk_usage("/")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
        with pytest.raises(OSError, match=r"is full: 10,240 bytes are to come, 10 are free; make"):
            download(model, PATIENCE)
    monkeypatch.setattr(Part, "open", lambda self: Path("/dev/full").open("ab"))  # noqa: SIM115
    with pytest.raises(OSError, match=r"is full: .* make room, or set PERSON_SEARCH_HOME") as error:
        download(model, PATIENCE)
    assert error.value.__cause__.errno == errno.ENOSPC


def test_two_processes_fetch_a_file_once(server, home, tmp_path):
    both_ask = threading.Event()

    def give_when_both_ask(handler):
        both_ask.wait(20)
        give()(handler)

    url = server.put("/net", give_when_both_ask)
    program = (
        "import logging, sys; from person_search.model_list import download as d\n"
        "from person_search.model_list.listed_model import ListedModel as M\n"
        "from person_search.model_list.sources import Https\n"
        "logging.basicConfig()\n"
        "m = M('net', 'test', 'crop', 'net.pth', (Https(sys.argv[1]),), 'MIT', 'no', 'no')\n"
        "print(d.download(m))"
    )
    log = tmp_path / "log"
    with log.open("w") as file:
        command = [sys.executable, "-c", program, url]
        started = [
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=file, text=True, env=os.environ
            )
            for _ in range(2)
        ]
        deadline = time.monotonic() + 20
        while "another process fetches" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        both_ask.set()
        printed = [process.communicate(timeout=30)[0] for process in started]
    path = file_of(make_unknown(url))
    assert printed == [f"{path}\n"] * 2, log.read_text()
    assert len(server.asked) == 1 and path.read_bytes() == CONTENT
