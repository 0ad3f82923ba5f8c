"""``person-search user``: say who may use the page, and what each may do and see.

The users stand in a file for `person-search serve --users FILE`, which reads it anew when it
changes. Passwords are asked for, or come from where --password-env or --password-file says; only
their scrypt hashes are kept.
"""

import argparse
import getpass
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from person_search.accounts.account import ROLES, Account
from person_search.accounts.passwords import hash_password, hash_token, make_token
from person_search.accounts.users_file import (
    Token,
    User,
    UsersError,
    changed_users,
    check_name,
    find_user,
    read_users,
    with_token,
    without_token,
)
from person_search.footage.time_text import format_time

LEAST_LETTERS = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``person-search user``."""
    acts = parser.add_subparsers(dest="act", required=True, metavar="ACT")
    for name, act, summary in (
        ("add", _add, "add a user"),
        ("change", _change, "change a user's role or cameras"),
        ("list", _list, "list the users"),
        ("remove", _remove, "remove a user, who is out with the next request"),
        ("password", _password, "give a user another password, which ends what is open"),
        ("token", _token, "make a token for programs, or remove one; it is shown once"),
    ):
        one = acts.add_parser(
            name, help=summary, description=f"{summary[:1].upper()}{summary[1:]}."
        )
        one.set_defaults(do=act)
        if name != "list":
            one.add_argument("name", help="the user")
        one.add_argument(
            "--users", type=Path, required=True, metavar="FILE", help="the file of users"
        )
        if name in ("add", "change"):
            one.add_argument(
                "--role", choices=ROLES, default="viewer" if name == "add" else None,
                help="viewer: search; editor: add footage, judge and name, too; admin: everything"
                + (" (default: %(default)s)" if name == "add" else ""),
            )  # fmt: skip
            one.add_argument(
                "--camera", action="append", metavar="NAME",
                help="a camera that may be seen, '' for one unknown; may be repeated; "
                + ("default: all" if name == "add" else "default: as before"),
            )  # fmt: skip
        if name == "change":
            one.add_argument("--all-cameras", action="store_true", help="all cameras may be seen")
        if name in ("add", "password"):
            one.add_argument("--password-env", metavar="NAME", help="environment variable with it")
            one.add_argument("--password-file", type=Path, metavar="FILE", help="file with it")
        if name == "token":
            one.add_argument("--label", default="api", help="what it is for (default: %(default)s)")
            one.add_argument("--remove", action="store_true", help="remove the one of that label")


def run(args: argparse.Namespace) -> int:
    """Do what is asked; return the exit status 0.

    Raises:
        ValueError: a name, a password or a user is not what it must be.
        OSError: the file is not there, or cannot be written.
    """
    args.users = args.users.expanduser()
    do: Callable[[argparse.Namespace], None] = args.do
    do(args)
    return 0


def _add(args: argparse.Namespace) -> None:
    name = check_name(args.name)
    if args.users.exists():
        _refuse_known(name, read_users(args.users))
    kept = hash_password(_new_password(args))
    with changed_users(args.users) as users:
        _refuse_known(name, users)  # who was added while somebody typed
        users[name] = User(Account(name, args.role, _cameras(args.camera)), kept)
    print(f"{name} is {_article(args.role)} in {args.users}")


def _refuse_known(name: str, users: Mapping[str, User]) -> None:
    if name in users:
        raise UsersError(f"there is a user {name!r} already; see person-search user change")


def _change(args: argparse.Namespace) -> None:
    if args.camera is not None and args.all_cameras:
        raise UsersError("got --camera and --all-cameras; expected one of them")
    if args.camera is None and args.role is None and not args.all_cameras:
        raise UsersError("nothing to change; give --role, --camera or --all-cameras")
    with changed_users(args.users) as users:
        user = find_user(users, args.name)
        cameras = user.account.cameras
        if args.all_cameras or args.camera is not None:
            cameras = _cameras(args.camera)
        account = Account(args.name, args.role or user.account.role, cameras)
        users[args.name] = replace(user, account=account)
    print(f"{args.name} is {_article(account.role)}, and sees {_seen(account)}")


def _list(args: argparse.Namespace) -> None:
    for name, user in read_users(args.users).items():
        tokens = ", ".join(f"{t.label} ({format_time(t.made)})" for t in user.tokens) or "none"
        print(f"{name}\t{user.account.role}\tcameras: {_seen(user.account)}\ttokens: {tokens}")


def _remove(args: argparse.Namespace) -> None:
    with changed_users(args.users) as users:
        find_user(users, args.name)
        del users[args.name]
    print(f"{args.name} is removed from {args.users}")


def _password(args: argparse.Namespace) -> None:
    find_user(read_users(args.users), args.name)
    kept = hash_password(_new_password(args))
    with changed_users(args.users) as users:
        users[args.name] = replace(find_user(users, args.name), password=kept)
    print(f"{args.name} has another password")


def _token(args: argparse.Namespace) -> None:
    token = make_token()
    with changed_users(args.users) as users:
        user = find_user(users, args.name)
        if args.remove:
            users[args.name] = without_token(user, args.label)
        else:
            users[args.name] = with_token(user, Token(args.label, hash_token(token), time.time()))
    if args.remove:
        print(f"the token {args.label!r} of {args.name} is removed")
    else:
        print(token)
        print("this token is not shown again; send it as: Authorization: Bearer", file=sys.stderr)


def _new_password(args: argparse.Namespace) -> str:
    password = read_password(args.password_env, args.password_file)
    if password is None:
        password = getpass.getpass(f"password of {args.name}: ")
        if getpass.getpass("again: ") != password:
            raise UsersError("the two passwords differ; type the same twice")
    if len(password) < LEAST_LETTERS:
        raise UsersError(f"the password has {len(password)} letters; expected {LEAST_LETTERS}")
    return password


def read_password(env: str | None, file: Path | None) -> str | None:
    """Read the password from where the command line says, which itself everybody can read.

    Args:
        env: name of an environment variable.
        file: its first line counts.

    Returns:
        None if neither is given.

    Raises:
        ValueError: both are given, or the password is empty.
        OSError: the file cannot be read.
    """
    if env is not None and file is not None:
        raise ValueError("got --password-env and --password-file; expected one of them")
    if env is not None:
        password, place = os.environ.get(env, ""), f"the environment variable {env}"
    elif file is not None:
        lines = file.read_text(encoding="utf-8").splitlines()
        password, place = (lines[0] if lines else ""), str(file)
    else:
        return None
    if not password:
        raise ValueError(f"the password is empty; expected one in {place}")
    return password


def _cameras(given: Iterable[str] | None) -> frozenset[str] | None:
    return None if given is None else frozenset(given)


def _seen(account: Account) -> str:
    if account.cameras is None:
        return "all"
    return ", ".join(one if one else repr(one) for one in sorted(account.cameras)) or "none"


def _article(role: str) -> str:
    return f"{'a' if role == 'viewer' else 'an'} {role}"
