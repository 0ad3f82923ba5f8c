"""The door: every request comes through it, before anything of the page works for it."""

import json
import logging
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from person_search.accounts.account import Account
from person_search.accounts.users import Users

from .addresses import AllowedNames, client_of, hear_proxies
from .bodies import (
    Receive,
    Refused,
    Upload,
    boundary_of,
    check_length,
    read_body,
    read_json,
    replay,
)
from .callers import Asker, set_asker
from .headers import Send, with_security
from .heads import LISTEN, pages_of_address, read_headers, uncompressed
from .logins import Answer, Logins
from .rules import CLOSED, JOIN, OPEN, UPLOAD, access_of, refusal_of
from .sessions import Pages
from .settings import DoorSettings
from .traffic import BUSY, Traffic, kept_bytes

logger = logging.getLogger(__name__)

MOST_LETTERS = 128
"""Of the name of a session of the page."""
_STATIC = ("/assets/", "/static/", "/svelte/")
Scope = dict[str, Any]


@dataclass(frozen=True)
class House:
    """What lies behind the door."""

    app: Any
    """ASGI."""

    uploads: Path
    """Folder of uploads."""

    health: Callable[[bool], tuple[bool, dict[str, Any]]]
    """Whether all is well, and what to say of it: little, or all for True."""

    arriving: Callable[[], AbstractContextManager[list[Path]]]
    """Tells which files an upload within has begun to write."""

    functions: Callable[[Any, str | None], list[str]]
    """Names of the functions of an event, by its number or its name as an endpoint."""

    waiting: Callable[[str], int]
    """How many requests of a client wait."""

    joined: Callable[[], None]
    """Called when one more waits."""

    left: Callable[[str, bool], None]
    """Called with a session of the page when nobody listens to it any more, and whether that was
    one call of the API."""

    page_of: Callable[[str], str]
    """Returns the session of the page that the id of an event leads to."""

    record_login: Callable[[str | None, bool | None], None]
    """See `Logins`."""


class Door:
    """An ASGI application before another one.

    Args:
        house: behind it.
        settings: of the server.
        port: listened on.
        users: who may come in; None lets everybody in.
    """

    def __init__(
        self, house: House, settings: DoorSettings, port: int, users: Users | None = None
    ) -> None:
        self._house, self._settings, self._limits = house, settings, settings.limits
        self._names = AllowedNames(settings.host, settings.allowed_hosts)
        self._logins = None if users is None else Logins(users, port, house.record_login)
        self._traffic, self._pages = Traffic(settings.limits), Pages()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "lifespan":
            return await self._house.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        safe = with_security(send, scope["path"].startswith(_STATIC))
        try:
            await self._serve(scope, receive, safe)
        except Refused as refused:
            body = json.dumps({"detail": refused.message}).encode()
            headers = {"content-type": "application/json", **refused.headers}
            if scope["method"] not in ("GET", "HEAD"):
                headers["connection"] = "close"  # its body was not read
            await _answer(safe, (refused.status, list(headers.items()), body))

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope = hear_proxies(scope, self._settings.proxies)
        headers = read_headers(scope)
        self._check_names(scope, headers)
        path, method = scope["path"], scope["method"]
        access = access_of(method, path)
        if access == CLOSED:
            raise Refused(404, "there is nothing here")
        if access is None:
            raise Refused(405, f"{method} is not answered here")
        client = client_of(scope)
        with self._traffic.request(client):
            if access == OPEN and await self._serve_open(scope, headers, receive, send, client):
                return
            account = self._account(scope, headers)
            if self._logins is not None and access != OPEN:
                if account is None:
                    if path == "/":
                        return await _answer(send, self._logins.ask())
                    raise Refused(401, "not signed in; expected a login or a token")
                if not account.may(access):
                    raise Refused(403, f"{account.name} is {account.role}; expected {access}")
            # Uploads of all clients wait and are counted by where they come from.
            if account is None or self._logins is None:
                asker = Asker(client, None)
            else:
                still = self._logins.recheck(headers, account)
                asker = Asker(f"user {account.name}", account, still)
            set_asker(scope, asker)
            await self._hand_on(scope, headers, receive, send, client, asker)

    def _check_names(self, scope: Scope, headers: dict[str, str]) -> None:
        """Refuse requests to other names, and those that another site lets a browser send."""
        host = headers.get("host", "")
        came_to = (scope.get("server") or ("", 0))[0]
        if not self._names.has_host(host, came_to):
            raise Refused(
                421, f"this page is not served as {host[:100]!r}; whoever runs it can name it with "
                "--allow-host",
            )  # fmt: skip
        origin = headers.get("origin")
        if origin is not None and not self._names.has_origin(origin, scope["scheme"], host):
            raise Refused(403, f"requests of pages of {origin[:100]!r} are not answered")
        site = headers.get("sec-fetch-site", "none")
        # A link elsewhere may lead to the page; nothing else may be asked for from elsewhere.
        is_visit = (
            scope["method"] == "GET"
            and scope["path"] == "/"
            and headers.get("sec-fetch-mode") == "navigate"
            and headers.get("sec-fetch-dest") == "document"
        )
        if site not in ("none", "same-origin") and not is_visit:
            raise Refused(403, "requests of other sites are not answered")

    async def _serve_open(
        self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send, client: str
    ) -> bool:
        """Answer what is answered before a login; say whether that was all."""
        path, is_secure = scope["path"].rstrip("/"), scope["scheme"] == "https"
        if path == "/health":
            is_well, report = self._house.health(self._knows_all(scope, headers))
            answer: Answer = (
                200 if is_well else 503,
                [("content-type", "application/json")],
                json.dumps(report).encode(),
            )
        elif path not in ("/login", "/logout"):
            return False
        elif self._logins is None:
            raise Refused(404, "nobody signs in here")
        elif path == "/logout":
            answer = await self._logins.go_out(headers, is_secure)
        elif scope["method"] == "GET":
            answer = self._logins.ask()
        else:
            check_length(headers, self._limits.login_bytes)
            body = await read_body(receive, self._limits.login_bytes, self._limits)
            answer = await self._logins.come_in(headers, body, client, is_secure)
        await _answer(send, answer, scope["method"] == "HEAD")
        return True

    def _knows_all(self, scope: Scope, headers: dict[str, str]) -> bool:
        """Say whether whoever asks is told what is wrong, which names all galleries."""
        account = self._account(scope, headers)
        sees_all = account is not None and account.may("admin") and account.cameras is None
        return self._logins is None or sees_all

    def _account(self, scope: Scope, headers: dict[str, str]) -> Account | None:
        if self._logins is None:
            return None
        return self._logins.account_of(headers, scope["scheme"] == "https")

    async def _hand_on(
        self,
        scope: Scope,
        headers: dict[str, str],
        receive: Receive,
        send: Send,
        client: str,
        asker: Asker,
    ) -> None:
        path, owner = scope["path"], self._owner(asker)
        named = pages_of_address(scope)
        self._check_page([*named, *map(self._house.page_of, named)], owner, take=False)
        if scope["method"] in ("GET", "HEAD"):
            try:
                return await self._house.app(scope, receive, send)
            finally:
                heard = re.fullmatch(LISTEN, path)
                if heard:
                    self._leave(heard[1], "/call/" in path)
        if path == UPLOAD:
            return await self._take_upload(scope, headers, receive, send, client)
        check_length(headers, self._limits.json_bytes)
        is_join = re.fullmatch(JOIN, path) is not None
        if is_join and self._house.waiting(asker.client) >= self._limits.waiting:
            raise Refused(429, f"{self._limits.waiting} of your requests wait already", BUSY)
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            raise Refused(415, "expected JSON, content-type: application/json")
        body = await read_body(receive, self._limits.json_bytes, self._limits)
        said = read_json(body)
        if is_join:
            self._check_role(path, said, asker.account)
        page = said.get("session_hash")
        if isinstance(page, str) and not 0 < len(page) <= MOST_LETTERS:
            # Gradio fails at an empty one when the event is in its queue already.
            raise Refused(400, f"session_hash has {len(page)} letters; expected 1..{MOST_LETTERS}")
        self._check_page([page] if isinstance(page, str) else [], owner, take=True)
        if not is_join:
            return await self._house.app(scope, replay(body, receive), send)
        if page is None:
            scope, send = uncompressed(scope), self._taking(send, owner)
        await self._house.app(scope, replay(body, receive), send)
        for gone in self._pages.surplus(owner):
            self._house.left(gone, True)
        self._house.joined()

    def _taking(self, send: Send, owner: str) -> Send:
        """Return what sends the id of an event that stands for a session: its owner's alone."""

        async def take(message: dict[str, Any]) -> None:
            found = re.fullmatch(rb'\{"event_id":\s*"([\w-]+)"\}', message.get("body", b""))
            self._check_page([found[1].decode()] if found else [], owner, take=True)
            await send(message)

        return take

    def _leave(self, page: str, is_over: bool) -> None:
        if is_over:
            self._pages.forget(page)
        self._house.left(page, is_over)

    def _check_role(self, path: str, said: dict[str, Any], account: Account | None) -> None:
        """Refuse an event before Gradio works for it; the guard looks again when it runs."""
        called = re.fullmatch(JOIN, path)
        name = called[1] if called else None
        functions = self._house.functions(said.get("fn_index"), name)
        if not functions:
            raise Refused(404, "there is no such function")
        for function in functions:
            refusal = refusal_of(function, account)
            if refusal:
                raise Refused(403, refusal)

    def _owner(self, asker: Asker) -> str:
        # With other rights a user must not see what was answered before.
        if asker.account is None or self._logins is None:
            return asker.client
        return f"{asker.client} {self._logins.users.stamp(asker.account.name)}"

    def _check_page(self, pages: list[str], owner: str, *, take: bool) -> None:
        for page in pages:
            if not self._pages.may_use(page, owner, take=take):
                raise Refused(403, "this session belongs to somebody else; load the page again")

    async def _take_upload(
        self, scope: Scope, headers: dict[str, str], receive: Receive, send: Send, client: str
    ) -> None:
        limits = self._limits
        boundary = boundary_of(headers.get("content-type", ""))
        check_length(headers, limits.files_bytes + limits.json_bytes)
        if kept_bytes(self._house.uploads) > limits.kept_bytes:
            raise Refused(503, "too many uploads wait to be used; try again in some minutes", BUSY)
        self._traffic.check_kept(client)
        async with self._traffic.upload(client):
            upload, is_taken = Upload(receive, boundary, limits), False

            async def send_unless_refused(message: dict[str, Any]) -> None:
                nonlocal is_taken
                is_taken = is_taken or message.get("status") == 200
                if upload.refused is not None:
                    return
                if is_taken and message.get("body"):
                    self._traffic.keep(client, map(Path, json.loads(message["body"])))
                await send(message)

            with self._house.arriving() as files:
                try:
                    await self._house.app(uncompressed(scope), upload.receive, send_unless_refused)
                except Exception:
                    if upload.refused is None:
                        raise
                finally:
                    for file in [] if is_taken else files:
                        file.unlink(missing_ok=True)
            if upload.refused is not None:
                raise upload.refused


async def _answer(send: Send, answer: Answer, is_head: bool = False) -> None:
    status, headers, body = answer
    written = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers]
    written.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": written})
    await send({"type": "http.response.body", "body": b"" if is_head else body})
