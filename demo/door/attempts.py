"""How often a client may try a password: guessing gets slow for who guesses, not for the owner.

Tries are counted by client. A browser that has logged in before has a cookie of its own and is
counted by that (OWASP, "device cookies"), so that nobody who shares an address with the owner, or
sits behind the same proxy, locks the owner out.
"""

import hashlib
import hmac
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

FREE_TRIES = 5
"""Wrong passwords in a row before a client must wait."""
LONGEST_WAIT = 60.0
"""Seconds."""
FORGIVEN_AFTER = 900.0
"""Seconds without a try after which the count starts again."""
MOST_CLIENTS = 10_000
"""That are remembered; the oldest are forgotten."""
_MOST_COUNTED = 50
"""Tries of a client: more change nothing."""


@dataclass
class _Tries:
    names: Counter[str] = field(default_factory=Counter)
    last: float = 0.0
    free_at: float = 0.0


class Attempts:
    """Tries of passwords, by client; of one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Count by a clock in seconds."""
        self._clock = clock
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def begin(self, client: str, name: str) -> float:
        """Count a try before it is made, so that many at once are not one.

        Args:
            client: who tries.
            name: whose password; its first 100 letters count, more has no user.

        Returns:
            0 where it may be made, else the seconds to wait; then it does not count.
        """
        now = self._clock()
        tries = self._tries.setdefault(client, _Tries())
        self._tries.move_to_end(client)
        while len(self._tries) > MOST_CLIENTS:
            self._tries.popitem(last=False)
        if now - tries.last > FORGIVEN_AFTER:
            tries.names.clear()
            tries.free_at = 0.0
        if now < tries.free_at:
            return tries.free_at - now
        if tries.names.total() < _MOST_COUNTED:
            tries.names[name[:100]] += 1
        tries.last = now
        too_many = tries.names.total() - FREE_TRIES
        if too_many >= 0:
            tries.free_at = now + min(2.0**too_many, LONGEST_WAIT)
        return 0.0

    def forgive(self, client: str, name: str) -> None:
        """Forget a client's tries of one name: the password was right.

        Those of other names count on: who has a password of their own could else guess another's
        between two logins for ever.
        """
        tries = self._tries.get(client)
        if tries is None:
            return
        del tries.names[name[:100]]
        if tries.names.total() < FREE_TRIES:
            tries.free_at = 0.0


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
