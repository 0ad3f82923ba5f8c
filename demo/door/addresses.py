"""Under which names the page is served, and whose word counts on who asks.

A page of another site that a visitor has open can send requests here, and by a name that it lets
point to 127.0.0.1 (DNS rebinding) read the answers. Names decide: those of the request (Host), and
of the page that sent it (Origin).
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?\.?")
_FROM_PROXIES = re.compile(rb"x-forwarded-.*|forwarded|x-real-ip|x-gradio-.*|x-original-.*")

Place = tuple[str, int | None]
"""A host in lower case and its port; None for the usual one."""


def split_host(text: str) -> Place | None:
    """Read ``host``, ``host:port`` or ``[address]:port``; None for anything else."""
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^\[\]:/?#@\s]+))(?::(\d{1,5}))?", text)
    if found is None:
        return None
    host = (found[1] or found[2]).lower()
    if found[1] and not is_address(host):
        return None
    if found[2] and not _NAME.fullmatch(host):
        return None
    port = None if found[3] is None else int(found[3])
    return (host.rstrip("."), port) if port is None or 0 < port < 65536 else None


def is_address(text: str) -> bool:
    """Say whether a text is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class AllowedNames:
    """The names under which the page is served."""

    def __init__(self, host: str, allowed: Iterable[str] = ()) -> None:
        """Allow this computer's names, the host listened on, and others.

        Args:
            host: listened on; 0.0.0.0 and :: stand for the address that a connection came to.
            allowed: ``name`` or ``name:port``.

        Raises:
            ValueError: one is no name.
        """
        self._more: list[Place] = []
        for text in allowed:
            place = split_host(text)
            if place is None:
                raise ValueError(
                    f"got --allow-host {text!r}; expected a name, as search.example or "
                    "search.example:8443"
                )
            self._more.append(place)
        self._names = {*LOCAL, *(name for name, _ in self._more)}
        self._is_everywhere = host in ("0.0.0.0", "::", "")
        if not self._is_everywhere:
            self._names.add(host.lower().strip("[]"))

    def has_host(self, text: str, came_to: str | None) -> bool:
        """Say whether a request to this host is for this page.

        Args:
            text: of the header Host.
            came_to: address of this computer that the connection came to.
        """
        place = split_host(text)
        if place is None:
            return False
        # No site can make a browser take an address for its own name.
        return place[0] in self._names or (self._is_everywhere and place[0] == came_to)

    def has_origin(self, origin: str, scheme: str, host: str) -> bool:
        """Say whether a page of this origin may send requests: this page, by any of its names.

        Args:
            origin: of the header Origin.
            scheme: of the request, http or https.
            host: of its header Host, allowed.
        """
        try:
            said = urlsplit(origin)
        except ValueError:
            return False
        place, own = split_host(said.netloc), split_host(host)
        if said.scheme not in _PORTS or place is None or own is None or said.path:
            return False
        name, port = place[0], place[1] or _PORTS[said.scheme]
        if name == own[0] and port == (own[1] or _PORTS[said.scheme]):
            # A proxy that ends TLS may hand on the scheme of its own connection.
            return said.scheme in (scheme, "https")
        return any(
            name == allowed and port == (given or _PORTS[said.scheme])
            for allowed, given in self._more
        )


def hear_proxies(scope: Mapping[str, Any], proxies: Sequence[str]) -> dict[str, Any]:
    """Return a request (ASGI scope) as its client sent it, as far as a trusted proxy says.

    What others say of that is taken out, so that nothing behind the door believes it.
    """
    said = dict(scope)
    told: dict[bytes, list[bytes]] = {}
    kept = []
    for name, value in scope["headers"]:
        if _FROM_PROXIES.fullmatch(name.lower()):
            told.setdefault(name.lower(), []).append(value)
        else:
            kept.append((name, value))
    peer = (scope.get("client") or ("", 0))[0]
    if peer in proxies:
        client = _client_of(told.get(b"x-forwarded-for", []), proxies)
        if client is not None:
            said["client"] = (client, 0)
        if _last(told.get(b"x-forwarded-proto", [])) == b"https":
            said["scheme"] = "https"
        host = _last(told.get(b"x-forwarded-host", []))
        if host:
            kept = [(name, value) for name, value in kept if name.lower() != b"host"]
            kept.append((b"host", host))
    said["headers"] = kept
    return said


def client_of(scope: Mapping[str, Any]) -> str:
    """Return what counts as one client: an IPv4 address, or 64 bits of an IPv6 one."""
    text = (scope.get("client") or ("unknown", 0))[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return str(text)
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def _client_of(values: Sequence[bytes], proxies: Sequence[str]) -> str | None:
    """Return the last address that is no proxy of ours: those before it are the client's word."""
    for text in reversed(b",".join(values).decode("latin-1").split(",")):
        address = text.strip()
        if address in proxies:
            continue
        return address if is_address(address) else None
    return None


def _last(values: Sequence[bytes]) -> bytes:
    return values[-1].split(b",")[-1].strip() if values else b""
