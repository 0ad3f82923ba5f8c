"""Servers that are not there, never answer or speak something else; a real one has slow tests."""

import socket
import sys
import threading
import time

import pytest
from helpers_gallery import DIM, FINGERPRINT

from person_search.gallery import milvus_server
from person_search.gallery.errors import GalleryError
from person_search.gallery.index import GalleryIndex, list_galleries
from person_search.gallery.milvus_rows import any_of, filters_of, literals
from person_search.gallery.search_options import FrameFilter

MODEL = {"fingerprint": FINGERPRINT, "embedding_dim": DIM}


@pytest.fixture
def listening():
    """A socket that accepts connections, and its address."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server, f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("uri", ["http://user:secret@127.0.0.1:{}", "http://127.0.0.1:{}"])
def test_a_server_that_is_not_there_is_reported_within_seconds(uri, monkeypatch):
    pytest.importorskip("pymilvus")
    assert milvus_server.CONNECT_TIMEOUT < 10
    monkeypatch.setattr(milvus_server, "CONNECT_TIMEOUT", 0.5)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        uri = uri.format(probe.getsockname()[1])
    started = time.monotonic()
    for ask in (list_galleries, GalleryIndex.open):
        message = r"cannot reach a Milvus server at http://127\.0\.0\.1.*check that it runs"
        with pytest.raises(GalleryError, match=message) as caught:
            ask(uri)
        assert "secret" not in str(caught.value)
    assert time.monotonic() - started < 5


def test_a_server_that_accepts_but_never_answers_is_reported_within_seconds(listening, monkeypatch):
    pytest.importorskip("pymilvus")
    monkeypatch.setattr(milvus_server, "CONNECT_TIMEOUT", 0.5)
    started = time.monotonic()
    with pytest.raises(GalleryError, match="cannot reach a Milvus server"):
        GalleryIndex.create(listening[1], **MODEL)
    assert time.monotonic() - started < 5


def test_a_server_of_something_else_is_reported_within_seconds(listening, monkeypatch):
    pytest.importorskip("pymilvus")
    monkeypatch.setattr(milvus_server, "CONNECT_TIMEOUT", 0.5)

    def answer():
        with pytest.raises(OSError):
            while True:
                connection = listening[0].accept()[0]
                connection.sendall(b"HTTP/1.0 404 Not Found\r\n\r\n")
                connection.close()

    answering = threading.Thread(target=answer)
    answering.start()
    try:
        started = time.monotonic()
        with pytest.raises(GalleryError, match="cannot reach a Milvus server"):
            list_galleries(listening[1])
        assert time.monotonic() - started < 5
    finally:
        listening[0].shutdown(socket.SHUT_RDWR)
        answering.join()


@pytest.mark.parametrize("uri", ["ftp://host/gallery.db", "tcp://u:secret@host:19530"])
def test_other_addresses_are_refused(uri):
    with pytest.raises(GalleryError, match="expected http://host:port or https") as caught:
        GalleryIndex.create(uri, **MODEL)
    assert "secret" not in str(caught.value)


def test_without_the_client_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(GalleryError, match=r"pip install 'person-search\[milvus\]'"):
        GalleryIndex.open("http://127.0.0.1:19530")


def test_texts_are_quoted_for_filters():
    assert literals(['a"b', "back\\", "名é"]) == r'["a\"b", "back\\", "名é"]'
    for text in ("a\nb", "\udcff", "\x7f"):
        with pytest.raises(GalleryError, match="control characters"):
            literals(["fine", text])


def test_filters_say_what_is_looked_at():
    assert filters_of(FrameFilter()) == []
    wish = FrameFilter(cameras=["north", ""], since=5, until=7.25)
    known = "timestamp > -1e+18"
    assert set(filters_of(wish)) == {
        'camera in ["north", ""]',
        known,
        "timestamp >= 5.0",
        "timestamp <= 7.25",
    }
    assert filters_of(FrameFilter(until=1.0)) == [known, "timestamp <= 1.0"]


def test_many_ids_are_asked_for_in_parts():
    names = [f"/{n}.jpg" for n in range(milvus_server.WRITE_ROWS * 9)]
    questions = list(any_of("frame", names))
    assert len(questions) == 3
    assert sum(question.count('"') for question in questions) == 2 * len(names)
    assert list(any_of("id", [])) == []
