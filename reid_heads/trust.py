"""Which files may do more than files of data can: run code, or name files anywhere."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

SWITCH = "--trust-this-file"
"""Of every command that reads a config, weights or a list."""

_is_trusted = ContextVar("is_trusted", default=False)


def add_trust_argument(parser: Any) -> None:
    """Add `SWITCH`, as ``trust_this_file``, to a parser or a group of arguments."""
    parser.add_argument(
        SWITCH,
        action="store_true",
        help="read the config, weights and lists that are given even where that runs code in them "
        "or leaves their folders; only for files whose maker you would let use this computer",
    )


@contextlib.contextmanager
def trusted_files(is_trusted: bool = True) -> Iterator[None]:
    """Trust the files that are read inside the context, in this thread.

    A YAML tag may then make any Python object, a pickle call any function, and a list name files
    outside its folder.

    Args:
        is_trusted: False changes nothing.

    Example:
        >>> with trusted_files():
        ...     files_are_trusted()
        True
        >>> files_are_trusted()
        False
    """
    before = _is_trusted.set(is_trusted or _is_trusted.get())
    try:
        yield
    finally:
        _is_trusted.reset(before)


def files_are_trusted() -> bool:
    """Say whether the files that are read now are trusted."""
    return _is_trusted.get()
