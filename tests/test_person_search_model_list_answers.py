"""Answers that are no file, of servers and of what somebody put there, and folders in disorder."""

import email.utils
import errno
import json
import re
import resource
import threading
import time

import pytest
from helpers_file_server import CONTENT, give, give_page, give_status
from test_person_search_model_list_download import (  # noqa: F401
    PATIENCE,
    SHA256,
    home,
    left_over,
    make_model,
    make_unknown,
    module_server,
    server,
)

from person_search.model_list import receiving
from person_search.model_list.asking import NotFetchedError, PageError, is_text, one_line
from person_search.model_list.download import download, file_of
from person_search.model_list.part import Part
from person_search.model_list.records import Record, record_path
from person_search.model_list.sources import HuggingFace

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4b82\nsize 232589\n"
JSON = b'{"error": "quota"}'


def give_headers(headers, content=CONTENT, status=200):
    def answer(handler):
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def give_letters(text):
    """A page that comes letter by letter."""

    def answer(handler):
        handler.send_response(200)
        handler.end_headers()
        for letter in text:
            handler.wfile.write(letter.encode())
            handler.wfile.flush()
            time.sleep(0.002)

    return answer


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            give_page("\ufeff\n<!DOCTYPE html><title>Log in</title>"),
            "a web page, 'Log in', came in",
        ),
        (give_letters("\n <p>No."), "a web page came in place"),
        (give(POINTER), "a pointer of Git LFS, without what it points to, came in place"),
        (give(JSON), r"text, '{\"error\": \"quota\"}', came in place"),
        (give(b""), "it gave an empty file"),
        (give_headers({}, b""), "it gave an empty file"),
        (give_headers({}, b"", 204), "it answered 204 No Content"),
        (give_headers({"Content-Encoding": "gzip"}), "encoded as gzip, which it was not asked for"),
        (give_headers({"Content-Length": "9" * 15}), "999,999 bytes, more than any model of the"),
        (give_headers({"Content-Range": "bytes 5-9/10"}, status=206), "sent another part of"),
        (give_status(416), "it answered 416"),
        (give_status(302, Location="/net"), "answered 302, and leads in a circle or nowhere$"),
        (give_status(302, Location="file:///etc/passwd"), "leads in a circle or nowhere$"),
        (give_status(302, Location="ftp://host/net"), "ftp://host/net, which is no server$"),
        (give_status(302, Location="http://[net"), r"cannot be asked \(Invalid IPv6 URL\)$"),
        (
            lambda handler: handler.wfile.write(b"\x1b[2J no\n"),
            r"none of HTTP \(\[2J no\), 3 times in",
        ),
    ],
)
def test_what_is_no_file_is_refused_where_no_hash_is_known(server, answer, message):  # noqa: F811
    model = make_unknown(server.put("/net", answer))
    with pytest.raises(ConnectionError) as error:
        download(model, PATIENCE)
    said = str(error.value).splitlines()
    assert len(said) == 3 and "\x1b" not in said[1]
    assert re.search(message, said[1]), said[1]
    assert not left_over(model)


def test_a_page_that_does_not_end_is_not_waited_for(server):  # noqa: F811
    stop = threading.Event()

    def answer(handler):
        give_page("<title>Wait</title>" + " " * 600)(handler)
        while not stop.wait(0.05):
            handler.wfile.write(b" ")

    model = make_unknown(server.put("/net", answer))
    start = time.monotonic()
    with pytest.raises(ConnectionError, match="a web page, 'Wait', came in place"):
        download(model, PATIENCE)
    stop.set()
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    ("action", "message"),
    [("file:///etc/passwd", "which is no server"), ("http://host/net", "which is not encrypted")],
)
def test_a_form_is_not_sent_to_a_less_safe_place(action, message):
    form = f'<form id="download-form" action="{action}"><input name="a" value="b"></form>'
    with pytest.raises(NotFetchedError, match=message):
        PageError("https://drive" if "http:" in action else "http://drive", form).confirmed_url()


def test_files_of_this_computer_are_no_addresses(tmp_path, monkeypatch):
    (tmp_path / "o/n/resolve/main").mkdir(parents=True)
    (tmp_path / "o/n/resolve/main/f").write_bytes(CONTENT)
    monkeypatch.setenv("HF_ENDPOINT", tmp_path.as_uri())
    with pytest.raises(ConnectionError, match="is no address of a server, http or https"):
        download(make_unknown(HuggingFace("o/n", "f")))


@pytest.mark.parametrize("length", ["abc", "-5"])
def test_a_length_that_is_none_is_passed_over(server, length):  # noqa: F811
    model = make_model(server.put("/net", give_headers({"Content-Length": length})))
    assert download(model, PATIENCE).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "value",
    ["\u00b2", "soon", "-5", "9" * 400, "Mon, 01 Jan 0001 00:00:00", email.utils.formatdate(0)],
)
def test_a_wait_that_is_none_is_not_waited_for(server, value):  # noqa: F811
    start = time.monotonic()
    answers = give_status(429, Retry_After=value), give()
    assert download(make_model(server.put("/net", *answers)), PATIENCE).is_file()
    assert time.monotonic() - start < 0.5


def test_a_file_without_end_and_without_a_size_is_given_up(server, monkeypatch):  # noqa: F811
    monkeypatch.setattr(receiving, "_MOST_BYTES", 20_000)
    model = make_unknown(server.put("/net", give_headers({}, CONTENT * 3)))
    with pytest.raises(ConnectionError, match="more than the 20,000 bytes, more than any model"):
        download(model, PATIENCE)
    assert not left_over(model)


def test_that_a_part_is_kept_is_said_only_where_it_is_gone_on_with(server):  # noqa: F811
    """Without a hash and without a version of the file, it is fetched from its beginning."""
    cut = give(cut_at=6000, tag="")
    with pytest.raises(ConnectionError, match="3 times in a row\n"):
        download(make_unknown(server.put("/net", cut)), PATIENCE)
    with pytest.raises(ConnectionError, match="3 times in a row; what came is kept, 6,000 bytes"):
        download(make_model(server.put("/net", cut)), PATIENCE)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty, and no file of weights; remove it"),
        (POINTER, "a pointer of Git LFS"),
        (b"<title>Log in", "a web page, 'Log in', and no file"),
    ],
)
def test_what_was_put_there_by_hand_is_looked_at(content, what):
    file = file_of(make_unknown("http://127.0.0.1:9/net"))
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    with pytest.raises(ValueError, match=what):
        download(make_unknown("http://127.0.0.1:9/net"))
    assert not record_path(file).exists()


def test_text_is_told_from_weights():
    assert is_text("Zugriff verweigert: ö".encode()[:-1]) and is_text(b"\xef\xbb\xbf\t<p>\r\n")
    for start in (b"", b"PK\x03\x04", b"\x80\x02}q", b"\x08\x07\x12", b"\x1f\x8b\x08", CONTENT):
        assert not is_text(start)
    # The length of a header of safetensors may look like the beginning of a tag.
    assert not is_text(b' <\x00\x00\x00\x00\x00\x00{"')
    assert one_line("a\n\x1b[31m b") == "a [31m b"


def test_a_link_in_the_folder_is_not_written_through(server, tmp_path):  # noqa: F811
    model = make_model(server.put("/net", give()))
    file = file_of(model)
    file.parent.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("keep")
    Part(file).path.symlink_to(victim)
    assert download(model, PATIENCE).read_bytes() == CONTENT
    assert server.asked == [("/net", None)]
    file.unlink()
    lock = file.with_name(".net.pth.lock")
    lock.unlink()
    lock.symlink_to(victim)
    with pytest.raises(OSError, match=r"\.net\.pth\.lock: .*; expected a folder .* to write to"):
        download(model, PATIENCE)
    assert victim.read_text() == "keep"


@pytest.mark.parametrize("name", ["net.pth", ".net.pth.part", "net.pth.record.json"])
def test_a_folder_in_a_file_s_place_is_named(server, name):  # noqa: F811
    model = make_model(server.put("/net", give()))
    (file_of(model).parent / name).mkdir(parents=True)
    with pytest.raises(OSError, match=f"{name}: Is a directory; .* remove what is in the way"):
        download(model, PATIENCE)


def test_a_limit_of_the_shell_is_named(server):  # noqa: F811
    model = make_model(server.put("/net", give()))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(OSError, match=r"downloads/net: File too large; expected") as error:
            download(model, PATIENCE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.value.__cause__.errno == errno.EFBIG
    assert download(model, PATIENCE).read_bytes() == CONTENT


def test_a_file_has_its_record_before_its_name(server, monkeypatch):  # noqa: F811
    """A process that is killed in between leaves no file of unknown origin."""
    model = make_unknown(server.put("/net", give()))

    def stop(self, file):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Part, "become", stop)
        download(model, PATIENCE)
    assert Record.find(file_of(model)).source == server.url + "/net"
    assert download(model, PATIENCE).read_bytes() == CONTENT
    assert Record.find(file_of(model)).source == server.url + "/net"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "has the unknown format"),
        ({"sha256": SHA256.upper()}, "sha256 is 'E967"),
        ({"size": True}, "size is True"),
        ({"name": "other"}, "is the record of other; remove it, and fetch it anew"),
    ],
)
def test_a_record_of_another_kind_says_what_to_do(server, change, message):  # noqa: F811
    model = make_unknown(server.put("/net", give()))
    path = record_path(download(model, PATIENCE))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message) as error:
        download(model, PATIENCE)
    assert "remove it" in str(error.value) and "person-search models download net`" in str(
        error.value
    )


def test_damage_of_what_is_noted_of_a_part_is_passed_over():
    part = Part(file_of(make_unknown("http://x/net")))
    part.path.parent.mkdir(parents=True)
    for text in ("[]", "{", "[" * 100_000):
        part.path.with_suffix(".part.json").write_text(text)
        assert part.version_at("http://x/net") == ""
