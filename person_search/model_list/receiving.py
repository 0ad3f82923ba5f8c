"""Receive a file over HTTP into a part of it, and go on with that part where it broke off."""

import contextlib
import errno
import http.client
import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from person_search.model_list.answers import (
    AskAgainError,
    first_byte,
    open_answer,
    version_of,
)
from person_search.model_list.asking import (
    START_BYTES,
    NotFetchedError,
    PageError,
    is_text,
    one_line,
)
from person_search.model_list.part import Part

_BLOCK = 1 << 18
_FULL = (errno.ENOSPC, errno.EDQUOT)
# Longer pages are no forms.
_PAGE_BYTES = 1 << 20
_MOST_BYTES = 8 << 30
_TOO_LARGE = "more than any model of the list is thought to have"


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for."""

    timeout_s: float = 30.0
    """Seconds without a byte, and over which `least_speed` is measured."""

    least_speed: float = 1000.0
    """Bytes a second."""

    attempts: int = 5
    """In a row that bring nothing new."""

    first_wait_s: float = 1.0
    """Seconds before the second attempt; each next wait is twice as long."""

    longest_wait_s: float = 120.0
    """Seconds; a server that asks for more is not waited for."""


@dataclass(frozen=True)
class Wanted:
    """The file that is asked for."""

    url: str
    """That is asked now."""

    origin: str
    """Address by which a part of it is known again: `url` may be another one each time."""

    size: int | None
    """Bytes, where that is known."""

    is_hash_known: bool
    """Whether it will turn out whether the part that is there is of another file."""


def receive(
    wanted: Wanted,
    part: Part,
    *,
    patience: Patience,
    show: Callable[[int, int | None], None],
) -> None:
    """Receive a file into its part, in as many attempts as that takes.

    Args:
        wanted: the file.
        part: is gone on with where it is of the same version of the file; or of whichever, if the
            hash is known.
        patience: how long the server is waited for.
        show: called with how many bytes there are, and with how many there will be or None.

    Raises:
        NotFetchedError: if the file does not come; the part stays.
        OSError: if there is no room for it, or it cannot be written; the part stays.
    """
    left, most, wait = patience.attempts, part.size, patience.first_wait_s
    while True:
        try:
            return _attempt(wanted, part, patience, show)
        except AskAgainError as problem:
            left -= 1
            # What brings something new is no failure: it may take long to get through.
            if part.size > most and not isinstance(problem, _TooSlowError):
                left, most, wait = patience.attempts, part.size, patience.first_wait_s
            asked = wait if problem.wait_s is None else problem.wait_s
            if asked > patience.longest_wait_s:
                raise NotFetchedError(f"{problem}: it asks to wait {asked:.0f} s") from problem
            if left <= 0:
                raise NotFetchedError(
                    f"{problem}, {patience.attempts} times in a row{_say_kept(wanted, part)}"
                ) from problem
            time.sleep(asked)
            wait *= 2


def _size_to_go_on_with(wanted: Wanted, part: Part) -> int:
    """Return how much of a part is taken for one of the file as it is there now, bytes."""
    return part.size if part.version_at(wanted.origin) or wanted.is_hash_known else 0


def _say_kept(wanted: Wanted, part: Part) -> str:
    size = _size_to_go_on_with(wanted, part)
    return f"; what came is kept, {size:,} bytes, and gone on with next time" if size else ""


class _TooSlowError(AskAgainError):
    """A server gives a byte now and then."""


def _attempt(
    wanted: Wanted, part: Part, patience: Patience, show: Callable[[int, int | None], None]
) -> None:
    have, version = _size_to_go_on_with(wanted, part), part.version_at(wanted.origin)
    if have and have == wanted.size:
        return
    headers = {"Range": f"bytes={have}-"} if have else {}
    # A server that has another version by now sends the whole of it.
    headers |= {"If-Range": version} if have and version else {}
    with open_answer(wanted.url, headers, patience.timeout_s) as answer:
        start = _find_start(answer, part, have)
        if start is None:
            return
        # Of what is sent in chunks, or with a length that is no number, it is not known.
        total = None if answer.length is None else start + answer.length
        blocks = _blocks(answer, patience)
        first = b"" if start else _read_start(blocks)
        if not start:
            _check_start(wanted, answer, first, blocks, total)
        _check_size(wanted, total)
        check_room(part.path.parent, (total or wanted.size or 0) - start)
        if not start:
            part.remove()
            part.mark(wanted.origin, version_of(answer))
        _write(part, first, blocks, wanted, lambda done: show(done, total))
    if total is not None and part.size < total:
        raise AskAgainError(f"it broke off after {part.size:,} of {total:,} bytes")


def _find_start(answer: http.client.HTTPResponse, part: Part, have: int) -> int | None:
    """Return at which byte of the file an answer begins; None if the part is all of it.

    Raises:
        AskAgainError: if the part does not fit, and is gone now.
        NotFetchedError: if it does not fit, and none was spoken of.
    """
    if answer.status == 416:
        if not have:
            raise NotFetchedError(f"it answered 416 {one_line(answer.reason)}")
        # The program ended between the last byte and the file's name.
        if answer.headers.get("Content-Range") == f"bytes */{have}":
            return None
        part.remove()
        raise AskAgainError("the part that was here is longer than the file")
    if answer.status == 206 and first_byte(answer) != have:
        part.remove()
        raise AskAgainError("it sent another part of the file than it was asked for")
    return have if answer.status == 206 else 0


def _read_start(blocks: Iterator[bytes]) -> bytes:
    """Return what comes until it tells a file from text, which may come letter by letter."""
    start = b""
    for block in blocks:
        start += block
        if len(start) >= START_BYTES:
            break
    return start


def _read_text(start: bytes, blocks: Iterator[bytes]) -> bytes:
    """Return a page that began so, or as much of it as comes."""
    text = start
    with contextlib.suppress(AskAgainError):
        for block in blocks:
            text += block
            if len(text) >= _PAGE_BYTES:
                break
    return text


def _check_start(
    wanted: Wanted,
    answer: http.client.HTTPResponse,
    start: bytes,
    blocks: Iterator[bytes],
    total: int | None,
) -> None:
    """Refuse what is no file of weights, whether its hash is known or not."""
    if is_text(start[:START_BYTES]):
        raise PageError(answer.url, _read_text(start, blocks).decode("utf-8", "replace"))
    if not start and not total:
        raise NotFetchedError("it gave an empty file")
    encoding = answer.headers.get("Content-Encoding", "identity")
    # The hash will tell whether the bytes are those of the file.
    if encoding != "identity" and not wanted.is_hash_known:
        raise NotFetchedError(
            f"it sent the file encoded as {one_line(encoding)}, which it was not asked for"
        )


def _check_size(wanted: Wanted, total: int | None) -> None:
    if total is None:
        return
    if wanted.size is not None and total != wanted.size:
        raise NotFetchedError(
            f"its file has {total:,} bytes, expected {wanted.size:,}: another file"
        )
    if total > _MOST_BYTES:
        raise NotFetchedError(f"its file has {total:,} bytes, {_TOO_LARGE}")


def _blocks(answer: http.client.HTTPResponse, patience: Patience) -> Iterator[bytes]:
    """Yield what comes, as it comes."""
    since, came = time.monotonic(), 0
    while True:
        try:
            block = answer.read1(_BLOCK)
        except (OSError, http.client.HTTPException) as error:
            said = one_line(error) or type(error).__name__
            raise AskAgainError(f"it broke off ({said})") from error
        if not block:
            return
        yield block
        came += len(block)
        seconds = time.monotonic() - since
        if seconds >= patience.timeout_s:
            if came < patience.least_speed * seconds:
                raise _TooSlowError(f"it sent {came:,} bytes in {seconds:.1f} s, which is too slow")
            since, came = time.monotonic(), 0


def _write(
    part: Part,
    first: bytes,
    blocks: Iterator[bytes],
    wanted: Wanted,
    show: Callable[[int], None],
) -> None:
    most = _MOST_BYTES if wanted.size is None else wanted.size
    with part.open() as file:
        try:
            for block in itertools.chain((first,), blocks):
                file.write(block)
                show(file.tell())
                # A server that names no length may never end.
                if file.tell() > most:
                    break
            file.flush()
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise no_room(part.path.parent, None, _say_kept(wanted, part)) from error
    if part.size > most:
        part.remove()
        expected = f"{most:,} bytes that are expected: another file"
        too_large = f"{most:,} bytes, {_TOO_LARGE}" if wanted.size is None else expected
        raise NotFetchedError(f"its file has more than the {too_large}")


def check_room(folder: Path, size: int) -> None:
    """Refuse to begin what the disk has no room for.

    Args:
        folder: to write to.
        size: bytes that are to come.

    Raises:
        OSError: if there are fewer.
    """
    if size > shutil.disk_usage(folder).free:
        raise no_room(folder, size)


def no_room(folder: Path, size: int | None, kept: str = "") -> OSError:
    """Say what to do where the disk is full.

    Args:
        folder: that was written to.
        size: bytes that were to come; None where that is not known.
        kept: what stays of what came, "" for nothing.
    """
    needed = "" if size is None else f"{size:,} bytes are to come, "
    free = shutil.disk_usage(folder).free
    return OSError(
        f"the disk of {folder} is full: {needed}{free:,} are free; make room, or set "
        f"PERSON_SEARCH_HOME to a folder on another disk{kept}"
    )
