"""Receive a file over HTTP into a part of it, and go on with that part where it broke off."""

import email.utils
import errno
import http.client
import itertools
import json
import re
import shutil
import time
import urllib.error
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from person_search.model_list.asking import NotFetchedError, ask, read_page
from reid_heads.atomic_file import save_json

_BLOCK = 1 << 18
_AGAIN = (408, 429, 500, 502, 503, 504)
"""Statuses of servers that may answer otherwise a little later."""
_FULL = (errno.ENOSPC, errno.EDQUOT)


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


class _Again(Exception):
    """An attempt failed that may go well later."""

    def __init__(self, what: str, wait_s: float | None = None) -> None:
        super().__init__(what)
        self.wait_s = wait_s


class Part:
    """The part of a file that came so far, beside the file, and what it is a part of."""

    def __init__(self, file: Path) -> None:
        """Name the part of ``file``; it need not exist."""
        self.path = file.with_name(f".{file.name}.part")
        self._origin = self.path.with_suffix(".part.json")

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def mark(self, url: str, version: str) -> None:
        """Note where the part comes from, before it is begun.

        Args:
            url: that was asked.
            version: of the file there, as its server calls it; "" where it does not.
        """
        save_json(self._origin, {"url": url, "version": version})

    def version_at(self, url: str) -> str:
        """Return which version at ``url`` this is a part of; "" if of none or nobody knows."""
        try:
            origin = json.loads(self._origin.read_bytes())
        except (OSError, ValueError):
            return ""
        return str(origin.get("version", "")) if origin.get("url") == url else ""

    def remove(self) -> None:
        """Forget it."""
        self.path.unlink(missing_ok=True)
        self._origin.unlink(missing_ok=True)

    def become(self, file: Path) -> None:
        """Give it the name of the file, which is whole now."""
        self.path.replace(file)
        self._origin.unlink(missing_ok=True)


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
        except _Again as problem:
            left -= 1
            # What brings something new is no failure: it may take long to get through.
            if part.size > most and not isinstance(problem, _TooSlow):
                left, most, wait = patience.attempts, part.size, patience.first_wait_s
            asked = wait if problem.wait_s is None else problem.wait_s
            if asked > patience.longest_wait_s:
                raise NotFetchedError(f"{problem}: it asks to wait {asked:.0f} s") from problem
            if left <= 0:
                raise NotFetchedError(
                    f"{problem}, {patience.attempts} times in a row; what came is kept, "
                    f"{part.size:,} bytes, and gone on with next time"
                ) from problem
            time.sleep(asked)
            wait *= 2


class _TooSlow(_Again):
    """A server gives a byte now and then."""


def _attempt(
    wanted: Wanted, part: Part, patience: Patience, show: Callable[[int, int | None], None]
) -> None:
    size, version = wanted.size, part.version_at(wanted.origin)
    have = part.size if version or wanted.is_hash_known else 0
    if have and have == size:
        return
    headers = {"Range": f"bytes={have}-"} if have else {}
    # A server that has another version by now sends the whole of it.
    headers |= {"If-Range": version} if have and version else {}
    with _open(wanted.url, headers, patience) as answer:
        if answer.status == 416:
            if answer.headers.get("Content-Range") == f"bytes */{have}":
                # All of it was here, and the program ended before it said so.
                return
            part.remove()
            raise _Again("the part that was here is longer than the file")
        start = have if answer.status == 206 and _first_byte(answer) == have else 0
        if answer.status == 206 and start != have:
            part.remove()
            raise _Again("it sent another part of the file than it was asked for")
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else None
        blocks = _blocks(answer, patience)
        first = next(blocks, b"")
        if not start and (page := read_page(answer, first)):
            raise page
        if None not in (size, total) and size != total:
            raise NotFetchedError(f"its file has {total:,} bytes, expected {size:,}: another file")
        check_room(part.path.parent, (total or size or 0) - start)
        if not start:
            part.remove()
            part.mark(wanted.origin, _version(answer))
        _write(part, first, blocks, size, lambda done: show(done, total))
    if total is not None and part.size < total:
        raise _Again(f"it broke off after {part.size:,} of {total:,} bytes")


def _open(url: str, headers: dict[str, str], patience: Patience) -> http.client.HTTPResponse:
    """Ask for a file; what cannot be reached at all is not asked again, as without a network."""
    try:
        return ask(url, headers, patience.timeout_s)
    except NotFetchedError:
        raise
    except urllib.error.HTTPError as error:
        with error:
            raise _explain(error) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        said = getattr(reason, "strerror", None) or str(reason) or type(error).__name__
        what = f"it cannot be reached ({said})"
        is_passing = isinstance(reason, TimeoutError | ConnectionResetError)
        if is_passing or isinstance(error, http.client.HTTPException):
            raise _Again(what) from error
        raise NotFetchedError(what) from error


def _explain(error: urllib.error.HTTPError) -> Exception:
    """Say what an answer of an error means."""
    status = f"it answered {error.code} {error.reason}"
    if error.code in _AGAIN:
        return _Again(status, _retry_after(error))
    if error.code in (401, 403):
        return NotFetchedError(
            f"{status}: it asks to log in or to accept terms; open it in a browser"
        )
    if error.code in (404, 410):
        return NotFetchedError(f"{status}: the file is not there any more")
    return NotFetchedError(status)


def _retry_after(error: urllib.error.HTTPError) -> float | None:
    """Return the seconds that a server asks to wait; None where it does not say."""
    text = (error.headers.get("Retry-After") or "").strip()
    if text.isdigit():
        return float(text)
    try:
        until = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, until.timestamp() - time.time())


def _first_byte(answer: http.client.HTTPResponse) -> int | None:
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _version(answer: http.client.HTTPResponse) -> str:
    """Return what a server calls this version of the file; "" if nothing that can be relied on."""
    tag = answer.headers.get("ETag", "")
    # A weak one stands for several versions.
    return answer.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag


def _blocks(answer: http.client.HTTPResponse, patience: Patience) -> Iterator[bytes]:
    """Yield what comes, as it comes."""
    since, came = time.monotonic(), 0
    while True:
        try:
            block = answer.read1(_BLOCK)
        except (OSError, http.client.HTTPException) as error:
            raise _Again(f"it broke off ({error or type(error).__name__})") from error
        if not block:
            return
        yield block
        came += len(block)
        seconds = time.monotonic() - since
        if seconds >= patience.timeout_s:
            if came < patience.least_speed * seconds:
                raise _TooSlow(f"it sent {came:,} bytes in {seconds:.1f} s, which is too slow")
            since, came = time.monotonic(), 0


def _write(
    part: Part,
    first: bytes,
    blocks: Iterator[bytes],
    size: int | None,
    show: Callable[[int], None],
) -> None:
    with part.path.open("ab") as file:
        try:
            for block in itertools.chain((first,), blocks):
                file.write(block)
                show(file.tell())
                # A server that names no length may never end.
                if size is not None and file.tell() > size:
                    break
            file.flush()
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise no_room(part.path.parent, None) from error
    if size is not None and part.size > size:
        part.remove()
        raise NotFetchedError(
            f"its file has more than the {size:,} bytes that are expected: another file"
        )


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


def no_room(folder: Path, size: int | None) -> OSError:
    """Say what to do where the disk is full.

    Args:
        folder: that was written to.
        size: bytes that were to come; None where that is not known.
    """
    needed = "" if size is None else f"{size:,} bytes are to come, "
    free = shutil.disk_usage(folder).free
    return OSError(
        f"the disk of {folder} is full: {needed}{free:,} are free; make room, or set "
        "PERSON_SEARCH_HOME to a folder on another disk. What came is kept and gone on with"
    )
