"""What every answer says to browsers: run nothing but the page's own, show it in no other page."""

import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""What an answer that is no page may load."""
SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Without any, forms of the page itself come with the origin "null".
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
_DROPPED = re.compile(rb"access-control-.*|server|x-powered-by")

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]


def page_policy(nonce: str) -> str:
    """Return what the page may load: its own, and pictures and clips inside its answers.

    Gradio makes functions of text (`js_on_load`), hence unsafe-eval, and sets styles of elements,
    hence unsafe-inline for styles. Scripts inside the page need the nonce, another each time.
    """
    return (
        "default-src 'none'; "
        f"script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src data: blob:; "
        "font-src 'self'; connect-src 'self'; manifest-src 'self'; "
        "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    )


def with_security(send: Send, is_static: bool) -> Send:
    """Return what sends an answer with the headers that protect it.

    Args:
        send: of the request (ASGI).
        is_static: whether it is a part of the page, which browsers may keep.
    """

    async def send_safely(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [
                (n.lower(), v) for n, v in message["headers"] if not _DROPPED.fullmatch(n.lower())
            ]
            there = {name for name, _ in kept}
            for name, value in SECURITY.items():
                if name.encode() not in there:
                    kept.append((name.encode(), value.encode()))
            if b"content-security-policy" not in there:
                kept.append((b"content-security-policy", NOTHING.encode()))
            if not is_static:
                kept = [(name, value) for name, value in kept if name != b"cache-control"]
                kept.append((b"cache-control", b"no-store"))
            message = {**message, "headers": kept}
        await send(message)

    return send_safely


class Nonces:
    """Give the scripts inside a page the nonce that its policy asks for; behind what compresses."""

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: dict, receive: Any, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http" or scope["path"] != "/":
            return await self.app(scope, receive, send)
        head: Message = {}
        body = bytearray()

        async def send_page(message: Message) -> None:
            if message["type"] == "http.response.start":
                head.update(message)
                return
            body.extend(message.get("body", b""))
            if message.get("more_body"):
                return
            nonce = secrets.token_urlsafe(16)
            # Gradio writes "<" inside its data as \\u003c: each of these is a script of the page.
            page = re.sub(rb"<script\b", b'<script nonce="%s"' % nonce.encode(), bytes(body))
            headers = [(n, v) for n, v in head["headers"] if n.lower() != b"content-length"]
            headers += [
                (b"content-length", str(len(page)).encode()),
                (b"content-security-policy", page_policy(nonce).encode()),
            ]
            await send({**head, "headers": headers})
            await send({"type": "http.response.body", "body": page})

        await self.app(scope, receive, send_page)
