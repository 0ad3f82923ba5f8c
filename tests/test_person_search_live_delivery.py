import contextlib
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers_gallery import wait_until
from helpers_streams import HttpServer, serving

from person_search.live import delivery
from person_search.live.delivery import Deliverer, DeliveryError, Program, Webhook

MESSAGE = b'{"alert": "anna"}'


def test_a_webhook_gets_json_with_a_password_that_is_not_shown():
    with serving(HttpServer()) as server:
        address = server.address("/hook?token=pw1").replace("http://", "http://me:p%40pw1@")
        hook = Webhook(address)
        hook.send(MESSAGE)
    ((path, headers, body),) = server.posted
    assert (path, body) == ("/hook?token=pw1", MESSAGE) and "pw1" not in hook.shown
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Basic bWU6cEBwdzE="  # me:p@pw1


@pytest.mark.parametrize(
    ("status", "is_final", "words"),
    [
        (302, True, "redirects are not followed"),
        (404, True, "answered 404"),
        (429, False, "answered 429"),
        (503, False, "answered 503"),
        (None, False, "no answer within 0.1 s"),
    ],
)
def test_what_a_webhook_answers(status, is_final, words):
    with serving(HttpServer(statuses=[status])) as server:
        with pytest.raises(DeliveryError, match=words) as error:
            Webhook(server.address("/hook"), timeout=0.1).send(MESSAGE)
        assert error.value.is_final is is_final and len(server.posted) == 1


@pytest.mark.parametrize("piece", [b"a", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_an_answer_that_never_ends_is_none(piece):
    """Each byte came in time, and the next alert waited for ever."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def dribble():
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(1000)
                for _ in range(1000):  # until it is ended
                    connection.send(piece)
                    time.sleep(0.02)

        threading.Thread(target=dribble, daemon=True).start()
        hook = Webhook(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=0.2)
        started = time.monotonic()
        with pytest.raises(DeliveryError, match=r"no answer within 0\.2 s") as error:
            hook.send(MESSAGE)
    assert time.monotonic() - started < 5 and not error.value.is_final


@pytest.mark.parametrize("address", ["ftp://h/x", "file:///etc/passwd", "http://", "http://h:x/"])
def test_other_addresses_are_refused(address):
    with pytest.raises(ValueError, match="expected http://HOST"):
        Webhook(address)


def test_nobody_there_is_tried_again_until_it_is_given_up():
    said = []
    deliverer = Deliverer(Webhook("http://me:pw1@127.0.0.1:9/x"), said.append, retries=(0.01, 0.01))
    deliverer.offer(MESSAGE)
    deliverer.close(10)
    assert (deliverer.num_sent, deliverer.num_failed) == (0, 1)
    assert len(said) == 1 and "refused" in said[0] and "pw1" not in said[0]


def test_a_webhook_that_fails_twice_gets_it_the_third_time():
    said = []
    with serving(HttpServer(statuses=[500, 503])) as server:
        deliverer = Deliverer(Webhook(server.address()), said.append, retries=(0.01, 0.01))
        deliverer.offer(MESSAGE)
        deliverer.close(10)
    assert (deliverer.num_sent, deliverer.num_failed, said) == (1, 0, [])
    assert len(server.posted) == 3


def test_one_that_hangs_keeps_nobody_waiting_and_is_given_up(monkeypatch):
    monkeypatch.setattr(delivery, "MOST_WAITING", 3)
    said, is_open = [], threading.Event()

    class Hanging:
        shown = "hook"

        def send(self, message):
            is_open.wait(30)

    deliverer = Deliverer(Hanging(), said.append)
    started = time.monotonic()
    deliverer.offer(MESSAGE)
    wait_until(lambda: not deliverer._waiting.qsize())
    for _ in range(5):
        deliverer.offer(MESSAGE)
    assert time.monotonic() - started < 5 and sum("was dropped" in text for text in said) == 2
    deliverer.close(0.1)
    is_open.set()
    assert deliverer.num_failed == 6 and "gave up 4 alerts" in said[-1]


def test_a_program_gets_it_on_its_standard_input(tmp_path):
    out = tmp_path / "out; $HOME"
    code = "import sys; open(sys.argv[1], 'w').write(sys.stdin.read()); print('not seen')"
    Program([sys.executable, "-c", code, str(out)]).send(MESSAGE)
    assert json.loads(out.read_text()) == {"alert": "anna"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sleep", "30"], "did not end within 0.2 s"),
        (["false"], "ended with status 1"),
        (["/nowhere/program"], "No such file"),
    ],
)
def test_a_program_that_fails(arguments, words):
    with pytest.raises(DeliveryError, match=words) as error:
        Program(arguments, timeout=0.2).send(MESSAGE)
    assert error.value.is_final


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="Windows has no sessions")
def test_what_a_program_has_started_ends_with_it(tmp_path):
    """A script's own programs went on, one more with each alert."""
    number = tmp_path / "pid"
    with pytest.raises(DeliveryError, match="was ended"):
        line = f"sleep 60 & echo $! > {number}; wait"
        Program(["sh", "-c", line], timeout=0.5).send(MESSAGE)

    def is_over():
        state = Path(f"/proc/{number.read_text().strip()}/stat")
        try:
            return state.read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    if Path("/proc/self/stat").exists():
        wait_until(is_over)


def test_no_program_is_refused():
    with pytest.raises(ValueError, match="no program to run"):
        Program([])
