"""What a log says of itself: how it was switched on last, found without reading all of it anew."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

_SETTINGS = b'"settings":{'
"""Begins what only entries that switch a log on, and anchors, have: no text in an entry has a quote
alone."""
_LONGEST = 4096
"""Bytes of settings."""
_BLOCK = 1 << 20
_FIRST = 128
"""Bytes that tell a file from another one that has its number later: they have a hash in them."""

_Key = tuple[int, int, bytes]
_known: dict[_Key, tuple[int, dict[str, Any]]] = {}
"""Of files that this process has read: up to where, and what was said last by then."""


def read_settings(path: Path) -> dict[str, Any]:
    """Return what a log says last of its settings; empty where it says nothing, or is not there.

    A process reads what others have added since it read it last. What is being written now counts
    once its line has an end.

    Raises:
        OSError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _read(file: BinaryIO) -> dict[str, Any]:
    said = os.fstat(file.fileno())
    key = said.st_dev, said.st_ino, os.pread(file.fileno(), _FIRST, 0)
    seen, settings = _known.get(key, (0, {}))
    if said.st_size < seen:
        seen, settings = 0, {}
    end = said.st_size
    for place in _places_backwards(file, seen, end):
        text = os.pread(file.fileno(), _LONGEST, place + len(_SETTINGS) - 1)
        try:
            found, _ = json.JSONDecoder().raw_decode(text.decode("ascii", "replace"))
        except ValueError:
            continue  # a line that was never finished
        settings = dict(found)
        break
    if end and os.pread(file.fileno(), 1, end - 1) == b"\n":
        _known[key] = end, settings
    return dict(settings)


def _places_backwards(file: BinaryIO, start: int, end: int) -> Iterator[int]:
    """Yield where settings begin in a part of a file, the last ones first."""
    while end > start:
        first = max(start, end - _BLOCK)
        block = os.pread(file.fileno(), end - first + len(_SETTINGS) - 1, first)
        stop = len(block)
        while (place := block.rfind(_SETTINGS, 0, stop)) >= 0:
            yield first + place
            stop = place + len(_SETTINGS) - 1
        end = first
