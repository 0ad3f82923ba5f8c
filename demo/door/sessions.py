"""Who is logged in, and whose a session of the page is."""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

IDLE = 12 * 3600.0
"""Seconds without a request after which a login ends."""
LONGEST = 7 * 86400.0
"""Seconds after which a login ends whatever happens."""
MOST_SESSIONS = 20
"""Of one user; the oldest end."""
MOST_PAGES = 20_000
"""Sessions of the page whose owners are remembered."""
MOST_OF_ONE = 100
"""Of one owner: a quarter of those whose pictures and answers are kept, so that no owner takes the
place of all others."""


@dataclass
class _Session:
    name: str
    stamp: str
    begun: float
    used: float


class Sessions:
    """Logins in memory: they end with the process; of one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Measure by a clock in seconds."""
        self._clock = clock
        # By hash: what lies in memory lets nobody in.
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    def begin(self, name: str, stamp: str) -> str:
        """Log a user in; return what its cookie holds, which is new each time.

        Args:
            name: of the user.
            stamp: the login ends when the user's has changed, see `Users.stamp`.
        """
        now = self._clock()
        token = secrets.token_urlsafe(32)
        same = [key for key, one in self._sessions.items() if one.name == name]
        for key in same[: max(0, len(same) - MOST_SESSIONS + 1)]:
            del self._sessions[key]
        self._sessions[_hash(token)] = _Session(name, stamp, now, now)
        return token

    def find(self, token: str) -> tuple[str, str] | None:
        """Return the name and the stamp of a login; None if there is none, or it has ended."""
        key, now = _hash(token), self._clock()
        found = self._sessions.get(key)
        if found is None:
            return None
        if now - found.used > IDLE or now - found.begun > LONGEST:
            del self._sessions[key]
            return None
        found.used = now
        return found.name, found.stamp

    def end(self, token: str) -> None:
        """Log out; what is not there is not missed."""
        self._sessions.pop(_hash(token), None)


class Pages:
    """Whose each session of the page is: Gradio goes by what a browser says.

    A session holds its visitor's picture and answers. The first who uses one has it.
    """

    def __init__(self) -> None:
        """Know none."""
        self._owners: OrderedDict[str, str] = OrderedDict()
        self._of: dict[str, OrderedDict[str, None]] = {}

    def may_use(self, page: str, owner: str, *, take: bool = True) -> bool:
        """Say whether an owner may use a session, and take it where nobody has it.

        Args:
            page: Gradio's ``session_hash``, or the id of an event, which stands for one.
            owner: whoever asks.
            take: whether it is the owner's from now on.
        """
        found = self._owners.get(page)
        if found is None and take:
            self._owners[page] = found = owner
            self._of.setdefault(owner, OrderedDict())[page] = None
            while len(self._owners) > MOST_PAGES:
                self.forget(next(iter(self._owners)))
        elif found is not None:
            self._owners.move_to_end(page)
            self._of[found].move_to_end(page)
        return found is None or found == owner

    def surplus(self, owner: str) -> list[str]:
        """Forget, and return, the sessions of an owner that are too many: the longest unused."""
        mine = self._of.get(owner, {})
        gone = list(mine)[: max(0, len(mine) - MOST_OF_ONE)]
        for page in gone:
            self.forget(page)
        return gone

    def forget(self, page: str) -> None:
        """Forget whose a session was: it is over."""
        owner = self._owners.pop(page, None)
        if owner is None:
            return
        del self._of[owner][page]
        if not self._of[owner]:
            del self._of[owner]


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
