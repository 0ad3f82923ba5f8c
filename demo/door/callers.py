"""Who asks: found at the door, and known to what works for them."""

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from person_search.accounts.account import Account

_KEY = "person_search.asker"
_caller: ContextVar[Account | None] = ContextVar("caller", default=None)


@dataclass(frozen=True)
class Asker:
    """Who sent a request."""

    client: str
    """Whose share of the queue it takes: an account's name, or an address."""

    account: Account | None
    """None where there are no users: then everybody may do everything."""

    is_current: Callable[[], bool] = lambda: True
    """Says, in any thread, whether the account still has its rights: an event may wait for long."""


def set_asker(scope: MutableMapping[str, Any], asker: Asker) -> None:
    """Keep in a request (ASGI scope) who sent it."""
    scope[_KEY] = asker


def asker_of(scope: MutableMapping[str, Any]) -> Asker | None:
    """Return who sent a request; None for one that did not come through the door."""
    found = scope.get(_KEY)
    return found if isinstance(found, Asker) else None


def current_caller() -> Account | None:
    """Return whose event is running; None where there are no users, and outside of events."""
    return _caller.get()


@contextmanager
def calling(account: Account | None) -> Iterator[None]:
    """Work for an account."""
    token = _caller.set(account)
    try:
        yield
    finally:
        _caller.reset(token)
