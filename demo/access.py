"""Who reaches the page, and who may come in: what the command line says of it."""

import argparse
import ipaddress

from person_search.accounts.users import Users
from person_search.commands.user import read_password

from .door.addresses import AllowedNames, is_address
from .door.settings import DoorSettings, Limits, parse_bytes


def read_settings(args: argparse.Namespace) -> DoorSettings:
    """Return how the page is served.

    Raises:
        ValueError: a name or a size is none.
    """
    AllowedNames(args.host, args.allow_host)  # refuses what is no name
    if args.behind_proxy is not None and not is_address(args.behind_proxy):
        raise ValueError(f"got --behind-proxy {args.behind_proxy}; expected the proxy's IP address")
    return DoorSettings(
        args.host,
        tuple(args.allow_host),
        () if args.behind_proxy is None else (args.behind_proxy,),
        Limits().for_files(parse_bytes(args.max_upload)),
    )


def check_access(args: argparse.Namespace) -> Users | None:
    """Return who may come in, None for everybody.

    Raises:
        ValueError: the arguments do not fit together, or others could come in.
        OSError: a file is not there.
    """
    password = read_password(args.password_env, args.password_file)
    if args.users is not None:
        if args.user is not None or password is not None:
            raise ValueError("got --users and --user or a password; expected one way to log in")
        return Users.open(args.users)
    if (args.user is None) != (password is None):
        raise ValueError(
            "a login needs --user and one of --password-env and --password-file; got "
            + ("only a password" if args.user is None else "only --user")
        )
    if args.user is not None and password is not None:
        return Users.single(args.user, password)
    if not is_local(args.host) and not args.public_without_password:
        raise ValueError(
            f"with --host {args.host} others can reach the page: give --users, or --user and "
            "--password-env or --password-file, or say --public-without-password"
        )
    return None


def is_local(host: str) -> bool:
    """Say whether only this computer reaches what listens on a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
