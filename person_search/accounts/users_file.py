"""The file of users: who there is, read and written whole, for its owner alone."""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from person_search.accounts.account import Account
from reid_heads.atomic_file import atomic_file

VERSION = 1
MODE = 0o600
"""Of the file: nobody but its owner reads it."""
_NAME = re.compile(r"[\w.@-]{1,100}")
_HASH = re.compile(r"[0-9a-f]{64}")
_FIELDS = {"role", "cameras", "password", "tokens"}


class UsersError(ValueError):
    """A file of users that cannot be used, or a user that is not there."""


@dataclass(frozen=True)
class Token:
    """A token of a user, of which only the hash is known."""

    label: str
    """What it is for, and how it is called when it is removed."""

    sha256: str
    """In hex, see `hash_token`."""

    made: float
    """Seconds since 1970 (UTC)."""


@dataclass(frozen=True)
class User:
    """A user as the file has it."""

    account: Account
    password: str
    """See `hash_password`."""

    tokens: tuple[Token, ...] = field(default_factory=tuple)


def read_users(path: Path) -> dict[str, User]:
    """Read a file of users, by name.

    Raises:
        UsersError: it is damaged, of another version, or others may read it.
        OSError: it is not there, or may not be read.
    """
    with open(path, "rb") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
        if mode & 0o077:
            raise UsersError(
                f"{path} has mode {mode:o}: others may read it; run: chmod 600 {path}, and give "
                "new passwords if somebody did"
            )
        data = file.read()
    try:
        return _parse(json.loads(data))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsersError(
            f"{path} is no file of users, or damaged ({error}); make one with: person-search user "
            f"add NAME --users {path}"
        ) from error


@contextmanager
def changed_users(path: Path) -> Iterator[dict[str, User]]:
    """Give the users, to be changed; they are written when the context ends well.

    A second process waits. The file is made if it is not there, with mode 600.

    Raises:
        UsersError: see `read_users`.
        OSError: it cannot be written.
    """
    path = path.expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    # The file itself cannot be locked, as another one takes its place.
    lock = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, MODE)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        users = read_users(path) if path.exists() else {}
        yield users
        with atomic_file(path, MODE, is_durable=True) as file:
            file.write((json.dumps(_written(users), indent=2) + "\n").encode())
    finally:
        os.close(lock)


def check_name(name: str) -> str:
    """Return a user's name if it can be one.

    Raises:
        UsersError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise UsersError(
            f"got the name {name!r}; expected 1 to 100 letters, digits and any of . _ - @"
        )
    return name


def find_user(users: Mapping[str, User], name: str) -> User:
    """Return a user by name.

    Raises:
        UsersError: there is none; says who there is.
    """
    if name not in users:
        raise UsersError(f"there is no user {name!r}; there are: {', '.join(users) or 'none'}")
    return users[name]


def _parse(content: Any) -> dict[str, User]:
    if content["version"] != VERSION:
        raise ValueError(f"version {content['version']}; expected {VERSION}")
    found = {}
    for name, said in content["users"].items():
        # A right that is not understood must not become one that is not checked.
        if set(said) != _FIELDS:
            raise ValueError(f"user {name} has {sorted(said)}; expected {sorted(_FIELDS)}")
        cameras = said["cameras"]
        if cameras is not None and not (
            isinstance(cameras, list) and all(isinstance(one, str) for one in cameras)
        ):
            raise ValueError(f"user {name} has cameras {cameras!r}; expected names, or null")
        account = Account(
            check_name(name), said["role"], None if cameras is None else frozenset(cameras)
        )
        if not isinstance(said["password"], str):
            raise ValueError(f"user {name} has a password that is no text")
        found[name] = User(account, said["password"], tuple(map(_parse_token, said["tokens"])))
    return found


def _parse_token(said: Any) -> Token:
    token = Token(**said)
    is_hash = isinstance(token.sha256, str) and _HASH.fullmatch(token.sha256) is not None
    if not (is_hash and isinstance(token.label, str) and isinstance(token.made, int | float)):
        raise ValueError(f"got the token {said}; expected label, sha256 and made")
    return token


def _written(users: Mapping[str, User]) -> dict[str, Any]:
    return {
        "version": VERSION,
        "users": {
            name: {
                "role": user.account.role,
                "cameras": None if user.account.cameras is None else sorted(user.account.cameras),
                "password": user.password,
                "tokens": [asdict(token) for token in user.tokens],
            }
            for name, user in sorted(users.items())
        },
    }


def with_token(user: User, token: Token) -> User:
    """Return a user with one more token.

    Raises:
        UsersError: it has one of that label.
    """
    if any(one.label == token.label for one in user.tokens):
        raise UsersError(
            f"{user.account.name} has a token {token.label!r} already; remove that, or choose "
            "another --label"
        )
    return replace(user, tokens=(*user.tokens, token))


def without_token(user: User, label: str) -> User:
    """Return a user without one of its tokens.

    Raises:
        UsersError: it has none of that label.
    """
    left = tuple(token for token in user.tokens if token.label != label)
    if len(left) == len(user.tokens):
        labels = ", ".join(token.label for token in user.tokens) or "none"
        raise UsersError(f"{user.account.name} has no token {label!r}; there are: {labels}")
    return replace(user, tokens=left)
