"""One entry of a chain as a line: canonical JSON with the hash of the entry before it.

An entry's ``hash`` is the SHA-256 of its canonical JSON without that field: keys sorted, no spaces,
ASCII alone. ``previous`` is the hash of the entry before, ``seq`` its number from 0. So whoever
changes an entry changes its hash, and the next one no longer fits.
"""

import hashlib
import json
from typing import Any

Entry = dict[str, Any]
"""With ``seq``, ``previous``, ``hash`` and ``action``, and whatever the action has to say."""

BEGIN = "0" * 64
"""``previous`` of the first entry of all."""
OWN = ("seq", "previous", "hash")
"""Fields that `seal` gives."""


class NotAnEntryError(ValueError):
    """A line is no entry, or is not as it was written."""


def canonical(content: Entry) -> bytes:
    """Return the one form in which content is written and hashed.

    Raises:
        ValueError: There is a number in it that JSON does not have.
    """
    text = json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )
    return text.encode("ascii")


def seal(content: Entry, seq: int, previous: str) -> Entry:
    """Return content as the entry that follows another one.

    Args:
        content: Plain values, without the fields of `OWN`.
        seq: Its number.
        previous: Hash of the one before, `BEGIN` for none.

    Examples:
        >>> entry = seal({"action": "search"}, 7, BEGIN)
        >>> read_line(to_line(entry)) == entry
        True
        >>> read_line(to_line(entry).replace(b"search", b"export"))
        Traceback (most recent call last):
        person_search.accountability.entries.NotAnEntryError: its hash is not that of what it says
    """
    entry = {**content, "seq": seq, "previous": previous}
    return {**entry, "hash": hashlib.sha256(canonical(entry)).hexdigest()}


def to_line(entry: Entry) -> bytes:
    """Return an entry as it stands in a file, with the end of its line."""
    return canonical(entry) + b"\n"


def read_line(line: bytes) -> Entry:
    """Return the entry of a line, which has its end.

    Raises:
        NotAnEntryError: It is none, or not as it was written, to the byte.
    """
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise NotAnEntryError("it is no JSON") from error
    if not isinstance(entry, dict) or not {*OWN, "action"} <= entry.keys():
        raise NotAnEntryError("it is no entry")
    if not isinstance(entry["seq"], int) or not isinstance(entry["action"], str):
        raise NotAnEntryError("it is no entry")
    content = {key: value for key, value in entry.items() if key != "hash"}
    try:
        if hashlib.sha256(canonical(content)).hexdigest() != entry["hash"]:
            raise NotAnEntryError("its hash is not that of what it says")
        if to_line(entry) != line:
            raise NotAnEntryError("it is not written as entries are")
    except (NotAnEntryError, RecursionError):
        raise
    except ValueError as error:
        raise NotAnEntryError("it is no entry") from error
    return entry
