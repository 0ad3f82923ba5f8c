"""Hand messages on, to a web server or a program, without ever keeping the sender waiting."""

import base64
import http.client
import os
import queue
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol
from urllib.parse import unquote, urlsplit

from person_search.live.sources import show_address

MOST_WAITING = 100
"""Messages that wait for a target; further ones are dropped, and counted."""
RETRIES = (1.0, 5.0, 25.0)
"""Seconds before each further try."""
_TRY_AGAIN = (408, 425, 429)


class DeliveryError(Exception):
    """A message that did not get there; the text has no password."""

    def __init__(self, text: str, is_final: bool = False) -> None:
        """Say why, and whether there is no use in trying again."""
        super().__init__(text)
        self.is_final = is_final


class Target(Protocol):
    """Where messages go."""

    shown: str
    """For people, without a password."""

    def send(self, message: bytes) -> None:
        """Deliver a message, or raise a `DeliveryError`."""


class Webhook:
    """Posts JSON to an address. Redirects are not followed, proxies not used."""

    def __init__(self, address: str, timeout: float = 10.0) -> None:
        """Connect with each message anew.

        Args:
            address: ``http://…`` or ``https://…``; a user and password in it are sent as HTTP basic
                authentication. Certificates are checked.
            timeout: Seconds to wait for each answer.

        Raises:
            ValueError: If it is no such address.
        """
        try:
            parts = urlsplit(address)
            is_whole = parts.port != 0 and bool(parts.hostname) and "@" not in parts.path
        except ValueError:
            is_whole = False
        if not is_whole or parts.scheme not in ("http", "https"):
            raise ValueError(
                "the address of a webhook is malformed; expected http://HOST/… or https://HOST/…"
            )
        self.shown = show_address(parts)
        self._parts, self._timeout = parts, timeout
        self._headers = {"Content-Type": "application/json", "User-Agent": "person-search"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()

    def send(self, message: bytes) -> None:
        """Post a message."""
        parts = self._parts
        kind = http.client.HTTPSConnection if parts.scheme == "https" else None
        connection = (kind or http.client.HTTPConnection)(
            parts.hostname or "", parts.port, timeout=self._timeout
        )
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        deadline = _Deadline(connection, self._timeout)
        try:
            connection.connect()
            deadline.start()
            connection.request("POST", path, message, self._headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, TimeoutError) or deadline.is_over.is_set():
                raise DeliveryError(f"no answer within {self._timeout:g} s") from None
            # ValueError: characters in the path that HTTP does not allow.
            text = getattr(error, "strerror", None) or type(error).__name__
            raise DeliveryError(text, isinstance(error, ValueError)) from None
        finally:
            deadline.cancel()
            connection.close()
        if 300 <= status < 400:
            raise DeliveryError(f"it answered {status}; redirects are not followed", True)
        if not 200 <= status < 300:
            raise DeliveryError(f"it answered {status}", status < 500 and status not in _TRY_AGAIN)


class _Deadline(threading.Timer):
    """Ends a connection whose answer takes too long as a whole.

    A socket's own timeout counts from each byte to the next: a server that sends one now and then,
    or that it goes on for ever, would keep a deliverer for ever.
    """

    def __init__(self, connection: http.client.HTTPConnection, seconds: float) -> None:
        super().__init__(seconds, self._end)
        self.daemon = True
        self.is_over = threading.Event()
        self._connection = connection

    def _end(self) -> None:
        self.is_over.set()
        if (sock := self._connection.sock) is not None:
            with suppress(OSError):  # the other side was faster
                sock.shutdown(socket.SHUT_RDWR)


class Program:
    """Runs a program for each message, without a shell, with the message on its standard input."""

    def __init__(self, arguments: Sequence[str], timeout: float = 30.0) -> None:
        """Take the program and its arguments; it is ended after ``timeout`` seconds.

        Raises:
            ValueError: If there are none.
        """
        if not arguments:
            raise ValueError("there is no program to run; expected its name and arguments")
        self.shown = arguments[0]
        self._arguments, self._timeout = list(arguments), timeout

    def send(self, message: bytes) -> None:
        """Run it; its standard output goes nowhere, so that it does not mix with ours."""
        try:
            running = subprocess.Popen(
                self._arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                # A Ctrl-C is for us. And what it starts itself can be ended with it.
                start_new_session=True,
            )
        except OSError as error:
            raise DeliveryError(error.strerror or type(error).__name__, True) from None
        with running:
            try:
                running.communicate(message, self._timeout)
            except subprocess.TimeoutExpired:
                _end_session(running)
                text = f"it did not end within {self._timeout:g} s, and was ended"
                raise DeliveryError(text, True) from None
        if running.returncode:
            raise DeliveryError(f"it ended with status {running.returncode}", True)


def _end_session(program: "subprocess.Popen[bytes]") -> None:
    """End a program and whatever it has started, as a script's own programs would go on."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
    program.kill()


class Deliverer:
    """Sends messages to one target, in order, from a thread of its own."""

    def __init__(
        self, target: Target, say: Callable[[str], None], retries: Sequence[float] = RETRIES
    ) -> None:
        """Start.

        Args:
            target: Where to.
            say: Told in a sentence of each message that did not get there.
            retries: Seconds before each further try.
        """
        self.num_sent = 0
        self.num_failed = 0
        self._target, self._say, self._retries = target, say, retries
        self._waiting: queue.Queue[bytes | None] = queue.Queue(MOST_WAITING)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deliver", daemon=True)
        self._thread.start()

    def offer(self, message: bytes) -> None:
        """Send it when the ones before it are gone; returns at once."""
        try:
            self._waiting.put_nowait(message)
        except queue.Full:
            self.num_failed += 1
            self._say(
                f"{self._target.shown}: an alert was dropped: {MOST_WAITING} wait for it already"
            )

    def close(self, seconds: float) -> None:
        """Wait so long for what is on its way, then give it up, and say so."""
        deadline = time.monotonic() + seconds
        # Behind the last one; where the queue is full there is no hope for all of them anyway.
        while time.monotonic() < deadline and self._thread.is_alive():
            try:
                self._waiting.put(None, timeout=0.05)
                break
            except queue.Full:
                continue
        self._thread.join(max(0.0, deadline - time.monotonic()))
        if self._thread.is_alive():
            self._stop.set()
            left = 1 + sum(one is not None for one in self._waiting.queue)
            self.num_failed += left
            self._say(f"{self._target.shown}: gave up {left} alerts that were on their way")

    def _run(self) -> None:
        while (message := self._waiting.get()) is not None and not self._stop.is_set():
            error = self._send(message)
            if self._stop.is_set():
                return  # was counted as given up
            if error is None:
                self.num_sent += 1
            else:
                self.num_failed += 1
                self._say(f"{self._target.shown}: an alert was not delivered: {error}")

    def _send(self, message: bytes) -> DeliveryError | None:
        for pause in (*self._retries, None):
            try:
                self._target.send(message)
                return None
            except DeliveryError as error:
                if error.is_final or pause is None or self._stop.wait(pause):
                    return error
        return None
