"""Coming in by name and password, or by a token; and going out."""

import json
import logging
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

import anyio

from person_search.accounts.account import Account
from person_search.accounts.users import Users

from .attempts import Attempts, is_device, make_device
from .bodies import Refused
from .login_page import POLICY, login_page
from .sessions import Sessions

logger = logging.getLogger(__name__)

DEVICE_SECONDS = 180 * 86400
MOST_CHECKED = 2
"""Passwords checked at a time: each takes 16 MB and a core."""

Headers = list[tuple[str, str]]
Answer = tuple[int, Headers, bytes]
Record = Callable[[str | None, bool | None], None]


class Logins:
    """Who is logged in, for one server.

    Args:
        users: who may come in.
        port: of the server, which tells its cookies from those of others on this computer.
        record: keeps that somebody came in (True), tried to (False), or went out (None), by the
            name of the account; None for a name that nobody has. If it raises, nobody comes in.
    """

    def __init__(self, users: Users, port: int, record: Record) -> None:
        self.users, self._record = users, record
        self._sessions, self._attempts = Sessions(), Attempts()
        self._session_name, self._device_name = f"ps-session-{port}", f"ps-device-{port}"
        self._turns: anyio.CapacityLimiter | None = None

    def account_of(self, headers: dict[str, str], is_secure: bool) -> Account | None:
        """Return who sent a request, by its token or cookie; None for nobody."""
        token = _token(headers)
        if token is not None:
            return self.users.by_token(token)
        found = self._sessions.find(_cookies(headers).get(self._cookie(is_secure), ""))
        if found is None or self.users.stamp(found[0]) != found[1]:
            return None
        return self.users.named(found[0])

    def recheck(self, headers: dict[str, str], account: Account) -> Callable[[], bool]:
        """Return what says, in any thread and later, whether an account still has its rights.

        Args:
            headers: of the request that it came in with.
            account: from `account_of`.
        """
        token, stamp = _token(headers), self.users.stamp(account.name)
        if token is not None:
            return lambda: self.users.by_token(token) == account
        return lambda: self.users.stamp(account.name) == stamp

    async def come_in(
        self, headers: dict[str, str], body: bytes, client: str, is_secure: bool
    ) -> Answer:
        """Answer a login.

        Raises:
            Refused: 429, too many tries; 400, no name and password; 503, it cannot be logged.
        """
        name, password = _read_form(headers, body)
        stamp = self.users.stamp(name)
        device = _cookies(headers).get(self._device_name, "")
        # A browser that knows the owner is counted by itself; others by where they are.
        counted = device if is_device(device, name, stamp) else client
        wait = self._attempts.begin(counted, name)
        is_page = "text/html" in headers.get("accept", "")
        if wait > 0:
            said = f"too many wrong passwords; try again in {wait:.0f} s"
            again = {"retry-after": str(int(wait) + 1)}
            if is_page:
                return _page(429, said, list(again.items()))
            raise Refused(429, said, again)
        self._turns = self._turns or anyio.CapacityLimiter(MOST_CHECKED)
        account = await anyio.to_thread.run_sync(
            self.users.check, name, password, limiter=self._turns
        )
        known = name if account is not None or self.users.named(name) is not None else None
        try:
            await anyio.to_thread.run_sync(self._record, known, account is not None)
        except Exception:
            logger.exception("a login could not be logged")
            raise Refused(
                503, "the log cannot be written, and nobody signs in: tell whoever runs this page"
            ) from None
        if account is None:
            if is_page:
                return _page(401, "Name or password is wrong.")
            return 401, [_JSON], json.dumps({"detail": "Incorrect credentials."}).encode()
        self._attempts.forgive(counted, name)
        # What the browser held before means nothing from now on.
        self._sessions.end(_cookies(headers).get(self._cookie(is_secure), ""))
        token = self._sessions.begin(name, stamp)
        cookies: Headers = [
            ("set-cookie", _cookie(self._cookie(is_secure), token, is_secure)),
            (
                "set-cookie",
                _cookie(self._device_name, make_device(name, stamp), is_secure, DEVICE_SECONDS),
            ),
        ]
        if is_page:
            return 303, [("location", "/"), *cookies], b""
        return 200, [_JSON, *cookies], json.dumps({"success": True}).encode()

    async def go_out(self, headers: dict[str, str], is_secure: bool) -> Answer:
        """Answer a logout."""
        name = self._cookie(is_secure)
        account = self.account_of(headers, is_secure)
        # First: whatever else fails, nobody stays signed in.
        self._sessions.end(_cookies(headers).get(name, ""))
        if account is not None:
            try:
                await anyio.to_thread.run_sync(self._record, account.name, None)
            except Exception:
                logger.exception("a logout could not be logged")
        gone = _cookie(name, "", is_secure, 0)
        return 303, [("location", "/"), ("set-cookie", gone)], b""

    def ask(self) -> Answer:
        """Answer whoever is not logged in and asks for the page."""
        return _page(401, "" if not self.users.fault else "Nobody can sign in at the moment.")

    def _cookie(self, is_secure: bool) -> str:
        # A browser takes this beginning from the server itself only, over TLS.
        return ("__Host-" if is_secure else "") + self._session_name


_JSON = ("content-type", "application/json")


def _page(status: int, mistake: str, more: Headers | None = None) -> Answer:
    head = [("content-type", "text/html; charset=utf-8"), ("content-security-policy", POLICY)]
    return status, [*head, *(more or [])], login_page(mistake).encode()


def _cookie(name: str, value: str, is_secure: bool, seconds: int | None = None) -> str:
    parts = [f"{name}={value}", "Path=/", "HttpOnly", "SameSite=Lax"]
    if is_secure:
        parts.append("Secure")
    if seconds is not None:
        parts.append(f"Max-Age={seconds}")
    return "; ".join(parts)


def _token(headers: dict[str, str]) -> str | None:
    """Return the token of a request, "" where it says another kind; None where it says nothing."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if not token:
        return None
    return token.strip() if kind.lower() == "bearer" else ""


def _cookies(headers: dict[str, str]) -> dict[str, str]:
    try:
        return {n: m.value for n, m in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}


def _read_form(headers: dict[str, str], body: bytes) -> tuple[str, str]:
    if headers.get("content-type", "").partition(";")[0].strip() != (
        "application/x-www-form-urlencoded"
    ):
        raise Refused(415, "expected a form with username and password")
    try:
        form: dict[str, Any] = parse_qs(body.decode(), max_num_fields=8, keep_blank_values=True)
        return form["username"][0].strip(), form["password"][0]
    except (ValueError, KeyError):
        raise Refused(400, "expected a form with username and password") from None
