"""Passwords and tokens as they are kept: never themselves, only what they can be checked by."""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass

SALT_BYTES = 16
TOKEN_PREFIX = "ps_"
"""Tells people and scanners of repositories what a token is."""
_TOKEN_BYTES = 32
_HASH_BYTES = 32


MOST_COST = 2**23
"""Most n r p that is computed: 12 times the default, 1 GB at most and some seconds."""


@dataclass(frozen=True)
class Cost:
    """What a guess costs: scrypt's parameters (RFC 7914)."""

    n: int = 2**14
    """Rounds, a power of two; memory is 128 n r bytes."""

    r: int = 8
    p: int = 5


DEFAULT_COST = Cost()
"""16 MB and some 0.2 s a guess: one of the sets that OWASP's cheat sheet on storing passwords calls
equally strong (2024)."""


def hash_password(password: str, cost: Cost = DEFAULT_COST) -> str:
    """Return what is kept of a password: ``scrypt$n$r$p$salt$hash``, both in base64.

    Args:
        password: not empty; any characters.
        cost: of a guess.

    Raises:
        ValueError: it is empty.
    """
    if not password:
        raise ValueError("the password is empty; expected at least one character")
    salt = secrets.token_bytes(SALT_BYTES)
    parts = (cost.n, cost.r, cost.p, _text(salt), _text(_scrypt(password, salt, cost)))
    return "$".join(["scrypt", *map(str, parts)])


def is_password(password: str, kept: str) -> bool:
    """Say whether a password is the one of which this was kept, in a time that does not tell.

    Args:
        password: as given at the door.
        kept: from `hash_password`.

    Raises:
        ValueError: nothing of ours was kept.
    """
    cost, salt, expected = _read(kept)
    return hmac.compare_digest(_scrypt(password, salt, cost), expected)


def check_kept(kept: str) -> None:
    """Refuse what was not kept of a password, or costs too much to check.

    Raises:
        ValueError: nothing of ours was kept.
    """
    _read(kept)


def make_token() -> str:
    """Return a new token, which stands for its user without a password."""
    return TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)


def hash_token(token: str) -> str:
    """Return what is kept of a token, in hex.

    It has 256 random bits, which nobody guesses: one round of SHA-256 is enough.
    """
    return hashlib.sha256(token.encode()).hexdigest()


def _read(kept: str) -> tuple[Cost, bytes, bytes]:
    try:
        kind, *numbers, salt, expected = kept.split("$")
        cost = Cost(*map(int, numbers))
        is_ours = kind == "scrypt" and len(numbers) == 3 and min(cost.n - 1, cost.r, cost.p) > 0
        if not is_ours or cost.n & (cost.n - 1) or cost.n * cost.r * cost.p > MOST_COST:
            raise ValueError(kind)
        return (
            cost,
            base64.b64decode(salt, validate=True),
            base64.b64decode(expected, validate=True),
        )
    except (ValueError, TypeError) as error:
        raise ValueError(
            "what is kept of a password is damaged; set it anew: person-search user password"
        ) from error


def _scrypt(password: str, salt: bytes, cost: Cost) -> bytes:
    # OpenSSL refuses to take more memory than it is allowed: what the parameters say, and some.
    memory = 128 * cost.r * (cost.n + cost.p) + 2**20
    return hashlib.scrypt(
        password.encode(errors="surrogatepass"),
        salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=memory, dklen=_HASH_BYTES,
    )  # fmt: skip


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
