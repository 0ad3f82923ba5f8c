"""The users of a page that is served: checked at the door, and read anew when the file changes."""

import hashlib
import hmac
import threading
from pathlib import Path

from person_search.accounts.account import Account
from person_search.accounts.passwords import (
    DEFAULT_COST,
    TOKEN_PREFIX,
    Cost,
    hash_password,
    hash_token,
    is_password,
)
from person_search.accounts.users_file import User, UsersError, read_users


class Users:
    """Who may come in; threads may share it.

    A file is read anew whenever another one stands in its place, so that a user who was removed is
    out with the next request. While it is missing or damaged nobody is let in.
    """

    def __init__(
        self,
        users: dict[str, User],
        path: Path | None = None,
        version: tuple[int, ...] | None = None,
    ) -> None:
        """Use `single` or `open` instead."""
        self._users, self._path, self._version = users, path, version
        self._turn = threading.Lock()
        # Of nobody: a name that is not there takes as long as a wrong password.
        self._nobody: str | None = None
        self.fault = ""
        """Why nobody is let in; "" while all is well."""

    @classmethod
    def open(cls, path: Path) -> "Users":
        """Read a file of users.

        Raises:
            UsersError: it is damaged, others may read it, or nobody is in it.
            OSError: it is not there, or may not be read.
        """
        path = path.expanduser().absolute()
        # First: what changes meanwhile is read anew.
        version = _version(path)
        users = read_users(path)
        if not users:
            raise UsersError(
                f"nobody is in {path}; add somebody with: person-search user add NAME --users "
                f"{path}"
            )
        return cls(users, path, version)

    @classmethod
    def single(cls, name: str, password: str, cost: Cost = DEFAULT_COST) -> "Users":
        """Return one user, who may do everything."""
        return cls({name: User(Account(name, "admin"), hash_password(password, cost))})

    def check(self, name: str, password: str) -> Account | None:
        """Return whose password this is; None if it is wrong or there is nobody of that name."""
        user = self._current().get(name)
        if user is None:
            if self._nobody is None:
                self._nobody = hash_password("nobody")
            is_password(password, self._nobody)
            return None
        return user.account if is_password(password, user.password) else None

    def by_token(self, token: str) -> Account | None:
        """Return whose token this is, None if it is nobody's."""
        if not token.startswith(TOKEN_PREFIX):
            return None
        given, found = hash_token(token), None
        for user in self._current().values():
            for one in user.tokens:
                if hmac.compare_digest(one.sha256, given):
                    found = user.account
        return found

    def named(self, name: str) -> Account | None:
        """Return a user's account, None if there is none any more."""
        user = self._current().get(name)
        return None if user is None else user.account

    def stamp(self, name: str) -> str:
        """Return what changes with a user's password, role and cameras; "" for nobody."""
        user = self._current().get(name)
        if user is None:
            return ""
        account = user.account
        cameras = None if account.cameras is None else sorted(account.cameras)
        said = repr((user.password, account.role, cameras))
        return hashlib.sha256(said.encode()).hexdigest()

    def _current(self) -> dict[str, User]:
        if self._path is None:
            return self._users
        with self._turn:
            version = _version(self._path)
            if version != self._version:
                self._version = version
                # Whatever goes wrong, those of before are not let in.
                self._users, self.fault = {}, f"{self._path} cannot be read"
                try:
                    self._users, self.fault = read_users(self._path), ""
                except (UsersError, OSError) as error:
                    self.fault = str(error)
            return self._users


def _version(path: Path) -> tuple[int, ...] | None:
    try:
        said = path.stat()
    except OSError:
        return None
    return said.st_ino, said.st_mtime_ns, said.st_ctime_ns, said.st_size
