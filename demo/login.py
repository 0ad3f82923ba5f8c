"""One user and one password before the page."""

import asyncio
import hmac
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

FREE_TRIES = 5
"""Wrong passwords in a row before each further answer is delayed."""
LONGEST_DELAY = 4.0
"""Seconds."""
FORGIVEN_AFTER = 300.0
"""Seconds without a wrong password after which the count starts again."""


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


def make_check(user: str, password: str) -> Callable[[str, str], Awaitable[bool]]:
    """Return the check of a login: in constant time, and slower after repeated failures.

    Tries are counted and answered one after the other over all visitors: behind a proxy they
    share an address, and many at once must not be faster than one at a time.
    """
    turn = asyncio.Lock()
    failures = 0
    last = time.monotonic()

    async def check(given_user: str, given_password: str) -> bool:
        nonlocal failures, last
        async with turn:
            if time.monotonic() - last > FORGIVEN_AFTER:
                failures = 0
            if failures >= FREE_TRIES:
                await asyncio.sleep(min(0.25 * 2.0 ** (failures - FREE_TRIES), LONGEST_DELAY))
            # Both are compared, so that the time does not tell which one was wrong.
            is_user = hmac.compare_digest(given_user.encode(), user.encode())
            is_password = hmac.compare_digest(given_password.encode(), password.encode())
            if is_user and is_password:
                failures = 0
                return True
            failures, last = min(failures + 1, 50), time.monotonic()
            return False

    return check
