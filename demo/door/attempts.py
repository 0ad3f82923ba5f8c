"""How often a client may try a password: guessing gets slow for who guesses, not for the owner.

Tries are counted by client. A browser that has logged in before has a cookie of its own and is
counted by that (OWASP, "device cookies"), so that nobody who shares an address with the owner, or
sits behind the same proxy, locks the owner out.
"""

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

FREE_TRIES = 5
"""Wrong passwords in a row before a client must wait."""
LONGEST_WAIT = 60.0
"""Seconds."""
FORGIVEN_AFTER = 900.0
"""Seconds without a try after which the count starts again."""
MOST_CLIENTS = 10_000
"""That are remembered; the oldest are forgotten."""


@dataclass
class _Tries:
    count: int = 0
    last: float = 0.0
    free_at: float = 0.0


class Attempts:
    """Tries of passwords, by client; of one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Count by a clock in seconds."""
        self._clock = clock
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def begin(self, client: str) -> float:
        """Count a try before it is made, so that many at once are not one.

        Returns:
            0 where it may be made, else the seconds to wait; then it does not count.
        """
        now = self._clock()
        tries = self._tries.setdefault(client, _Tries())
        self._tries.move_to_end(client)
        while len(self._tries) > MOST_CLIENTS:
            self._tries.popitem(last=False)
        if now - tries.last > FORGIVEN_AFTER:
            tries.count, tries.free_at = 0, 0.0
        if now < tries.free_at:
            return tries.free_at - now
        tries.count, tries.last = min(tries.count + 1, 50), now
        if tries.count >= FREE_TRIES:
            tries.free_at = now + min(2.0 ** (tries.count - FREE_TRIES), LONGEST_WAIT)
        return 0.0

    def forgive(self, client: str) -> None:
        """Forget a client's tries: the password was right."""
        self._tries.pop(client, None)


def make_device(name: str, stamp: str) -> str:
    """Return the cookie of a browser in which a user has logged in.

    Args:
        name: of the user.
        stamp: what only this server knows and what changes with the password.
    """
    nonce = secrets.token_hex(16)
    return f"{nonce}.{_sign(name, nonce, stamp)}"


def is_device(cookie: str, name: str, stamp: str) -> bool:
    """Say whether this user has logged in in the browser of this cookie."""
    nonce, _, signature = cookie.partition(".")
    if not stamp or not signature.isascii():
        return False
    return hmac.compare_digest(signature, _sign(name, nonce, stamp))


def _sign(name: str, nonce: str, stamp: str) -> str:
    return hmac.new(stamp.encode(), f"{nonce}|{name}".encode(), hashlib.sha256).hexdigest()
