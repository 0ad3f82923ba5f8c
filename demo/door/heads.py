"""What the head of a request says: its headers, and the sessions of the page that it names."""

import re
from typing import Any
from urllib.parse import parse_qs

from .bodies import Refused

MOST_HEADERS = 16_384
"""Bytes."""
_ONCE = ("host", "origin", "authorization", "content-length", "content-type", "transfer-encoding")
LISTEN = r"/gradio_api/(?:heartbeat|call/(?:v2/)?[^/]+)/([^/]+)"
"""Where somebody listens as long as a session of the page, or an event, lasts; its id."""
Scope = dict[str, Any]


def read_headers(scope: Scope) -> dict[str, str]:
    """Return the headers by name in lower case.

    Raises:
        Refused: 431, they are too large; 400, one is there twice that says who asks, or how much
            comes, or the length is said in two ways, of which a proxy may take the other.
    """
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADERS:
        raise Refused(431, f"the headers are too large; expected at most {MOST_HEADERS:,} bytes")
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name in found and name in _ONCE:
            raise Refused(400, f"the header {name} is there twice")
        found[name] = f"{found[name]}; {value}" if name == "cookie" and name in found else value
    if "content-length" in found and "transfer-encoding" in found:
        raise Refused(400, "the request says its length in two ways")
    return found


def uncompressed(scope: Scope) -> Scope:
    """Return a request whose answer comes uncompressed."""
    kept = [(name, value) for name, value in scope["headers"] if name.lower() != b"accept-encoding"]
    return {**scope, "headers": kept}


def pages_of_address(scope: Scope) -> list[str]:
    """Return the sessions of the page that a request names in its address."""
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    named = list(query.get("session_hash", []))
    # Gradio takes the id of an event that it does not know for that of a session.
    found = re.fullmatch(LISTEN, scope["path"])
    return [*named, found[1]] if found else named
