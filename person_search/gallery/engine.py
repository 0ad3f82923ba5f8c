"""The connection to the vector database: Milvus Lite in a file, or a Milvus server by its address.

A file's engine is a child process, one per file, shared by everything in this process that has the
file open; it ends with the last user, or with this process, however that ends. Other processes are
kept out by a lock: to share a gallery, serve it (`person-search store`).
"""

import fcntl
import logging
import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from person_search.gallery import milvus_parts
from reid_heads.library_parts import MissingPartError

# The engine reads a gallery of a million people in 18 s when it opens the file.
OPEN_TIMEOUT = 180.0
CONNECT_TIMEOUT = 5.0
# A write of 1,000 rows takes 0.13 s. The client repeats some failing calls until this is over.
CALL_TIMEOUT = 30.0
# How long the engine of a killed process may take to finish its last write.
ORPHAN_TIMEOUT = 60.0
# Such an engine takes the lock for a moment, as the sign to end.
LOCK_TIMEOUT = 1.0
MAX_FILE_NAME = 36
SQLITE_HEADER = b"SQLite format 3\0"


class GalleryError(ValueError):
    """A gallery that cannot be opened, read or written; the message says what to do."""


@dataclass
class Engine:
    """A client and how many users it has."""

    uri: str
    """Absolute path of the file, or the server's address."""

    client: Any
    users: int = 1
    writing: threading.RLock = field(default_factory=threading.RLock)
    """Held while frames are replaced, which takes several calls."""

    @property
    def path(self) -> Path | None:
        """File of an embedded gallery, None for a server."""
        return None if is_address(self.uri) else Path(self.uri)

    def call(self, method: str, doing: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the client.

        Raises:
            GalleryError: If it fails; ``doing`` says what was tried.
        """
        if not self.users:
            raise GalleryError(f"the gallery {self.uri} is closed; open it again")
        kwargs.setdefault("timeout", CALL_TIMEOUT)
        with self.explaining(doing):
            return getattr(self.client, method)(*args, **kwargs)

    @contextmanager
    def explaining(self, doing: str) -> Iterator[None]:
        """Turn errors of the client into GalleryErrors that say what to do."""
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except MilvusException as error:
            raise GalleryError(f"{self._explain(error)} (while {doing})") from error

    def _explain(self, error: Any) -> str:
        text = " ".join(str(error.message).split())
        shown = hide_password(self.uri)
        if "Fail connecting" in text or "UNAVAILABLE" in text or "DEADLINE" in text:
            if self.path:
                return f"the engine of {shown} has ended or does not answer; open the gallery again"
            return f"the server {shown} does not answer; check that it runs and is reachable"
        if self.path and free_bytes(self.path) < 2**20:
            return (
                f"the disk of {shown} is full; free some space and run the same command again, "
                "what was stored before is intact"
            )
        return f"the vector database of {shown} refused: {text}"


_engines: dict[str, Engine] = {}
_registry = threading.RLock()


def connect(uri: str | Path, must_exist: bool = False) -> Engine:
    """Open a file or reach a server, or share what is open already; undo with `disconnect`.

    Args:
        uri: Path of a file that ends in ``.db``, or ``http://host:port`` or ``https://host:port``;
            the server's token is read from the environment variable MILVUS_TOKEN.
        must_exist: Refuse a file that is not there, rather than make it.

    Raises:
        GalleryError: If that is not possible.
    """
    uri = str(uri)
    target = uri if is_address(uri) else str(Path(uri).expanduser().resolve())
    with _registry:
        if engine := _engines.get(target):
            engine.users += 1
            return engine
        client_class = _import_client()
        if is_address(target):
            client = _connect_server(client_class, target)
        else:
            check_file(Path(target), must_exist)
            client = _open_file(client_class, Path(target))
        _engines[target] = Engine(target, client)
        return _engines[target]


def disconnect(engine: Engine) -> None:
    """Leave an engine; the last one to leave closes it."""
    with _registry:
        engine.users = max(engine.users - 1, 0)
        if engine.users or _engines.get(engine.uri) is not engine:
            return
        del _engines[engine.uri]
        engine.client.close()
        if engine.path:
            milvus_parts.release_server(engine.path)


def is_address(uri: str) -> bool:
    """Say whether this is a server's address rather than a file."""
    return re.match(r"[a-z]+://", uri) is not None


def hide_password(uri: str) -> str:
    """Return a uri as it may be shown."""
    return re.sub(r"//[^/@]*@", "//", uri)


def free_bytes(path: Path) -> int:
    """Return how much this process may still write to the disk of a file."""
    disk = os.statvfs(path.parent)
    return disk.f_bavail * disk.f_frsize


def check_file(path: Path, must_exist: bool) -> None:
    """Refuse, before the engine touches it, a file that it cannot use.

    Raises:
        GalleryError: With what to do.
    """
    if path.suffix != ".db":
        raise GalleryError(
            f"gallery {path}: expected a file ending in .db, or http://host:port of a server"
        )
    if len(path.name) > MAX_FILE_NAME or not re.fullmatch(r"[a-zA-Z0-9._-]+", path.name):
        raise GalleryError(
            f"gallery {path.name}: the engine takes file names of at most {MAX_FILE_NAME} "
            "characters out of a-z A-Z 0-9 . _ -; rename it (its folder may be called anything)"
        )
    if not path.parent.is_dir():
        raise GalleryError(f"gallery {path}: there is no folder {path.parent}; make it first")
    if path.exists():
        _check_content(path)
    elif must_exist:
        raise GalleryError(
            f"there is no gallery {path}; make one with: person-search index FOLDER "
            f"--gallery {path.name}"
        )
    unwritable = [p for p in (path.parent, path) if p.exists() and not os.access(p, os.W_OK)]
    if unwritable:
        raise GalleryError(
            f"gallery {path}: {unwritable[0]} is read-only, and the engine writes even to search; "
            "allow writing, or copy the file to a folder of yours"
        )


def _check_content(path: Path) -> None:
    """Refuse other files, which the engine would add its tables to."""
    if not path.is_file():
        raise GalleryError(f"gallery {path}: not a file; give the path of a file ending in .db")
    try:
        with path.open("rb") as file:
            header = file.read(len(SQLITE_HEADER))
    except OSError as error:
        raise GalleryError(f"gallery {path} cannot be read: {error.strerror}") from error
    tables = None
    if header == SQLITE_HEADER:
        # Immutable: no lock is taken, and a journal that a kill left is the engine's to play back.
        location = f"file:{quote(str(path))}?mode=ro&immutable=1"
        with suppress(sqlite3.Error):
            connection = sqlite3.connect(location, uri=True)
            try:
                rows = connection.execute("SELECT name FROM sqlite_master").fetchall()
                tables = {row[0] for row in rows}
            finally:
                connection.close()
    if (header and header != SQLITE_HEADER) or (tables and milvus_parts.MARK_TABLE not in tables):
        raise GalleryError(
            f"{path} is not a gallery but some other file; it was left as it is, choose another"
        )


def _import_client() -> Any:
    try:
        milvus_parts.check_version()
        from pymilvus import MilvusClient
    except MissingPartError as error:
        raise GalleryError(str(error)) from error
    except ImportError as error:
        raise GalleryError(
            "a gallery needs pymilvus and milvus-lite; install them with: "
            f"{milvus_parts.MILVUS_LITE.install} pymilvus"
        ) from error
    # Errors reach the user as exceptions; the client would log each with its whole traceback too.
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)
    return MilvusClient


def _connect_server(client_class: Any, address: str) -> Any:
    from pymilvus.exceptions import MilvusException

    shown = hide_password(address)
    if urlsplit(address).scheme not in ("http", "https"):
        raise GalleryError(f"gallery {shown}: expected http://host:port or https://host:port")
    token = os.environ.get("MILVUS_TOKEN", "")
    try:
        client = client_class(uri=address, token=token, timeout=CONNECT_TIMEOUT)
        client.list_collections(timeout=CONNECT_TIMEOUT)
    except MilvusException as error:
        text = " ".join(str(error.message).split())
        raise GalleryError(
            f"cannot reach a gallery server at {shown} ({text}); start one with: person-search "
            "store gallery.db --port PORT, or check the address and MILVUS_TOKEN"
        ) from error
    return client


def _open_file(client_class: Any, path: Path) -> Any:
    from pymilvus.exceptions import MilvusException

    # Trying the lock would drop this process's own.
    if not milvus_parts.has_server(path):
        check_lock(path)
        wait_for_orphan(path)
    try:
        client = _start_engine(client_class, path)
        client.list_collections(timeout=OPEN_TIMEOUT)
    except (MilvusException, RuntimeError, OSError) as error:
        if milvus_parts.has_server(path):
            milvus_parts.release_server(path)
        text = " ".join(str(getattr(error, "message", error)).split())
        raise GalleryError(
            f"the engine cannot open {path} ({text}); check that the disk has space and that the "
            "file is a gallery, or bring back a copy of it"
        ) from error
    return client


def _start_engine(client_class: Any, path: Path) -> Any:
    """Return a client of a file's engine, which on a busy machine takes its time to listen.

    The client itself gives the engine half a second and then fails at the first refusal.
    """
    from pymilvus.exceptions import MilvusException

    deadline = time.monotonic() + OPEN_TIMEOUT
    while True:
        try:
            return client_class(uri=str(path), timeout=OPEN_TIMEOUT)
        except MilvusException:
            if not milvus_parts.is_server_running(path) or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def check_lock(path: Path) -> None:
    """Refuse a file that another process has open.

    Raises:
        GalleryError: With how to share it.
    """
    lock = milvus_parts.lock_of(path)
    deadline = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            with lock.open("a") as file:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise GalleryError(
                    f"gallery {path} is open in another process; close that one, or share the "
                    f"gallery: person-search store {path.name} --port 19530, then "
                    "--gallery http://127.0.0.1:19530"
                ) from error
        except OSError as error:
            raise GalleryError(
                f"gallery {path}: cannot write to {path.parent} ({error.strerror}); choose a "
                "folder that you may write to"
            ) from error
        time.sleep(0.05)


def wait_for_orphan(path: Path) -> None:
    """Wait until the engine of a killed process has done its last write.

    It ends by itself as soon as it notices; a second engine beside it would not see that write.
    """
    deadline = time.monotonic() + ORPHAN_TIMEOUT
    while milvus_parts.has_engine(path):
        if time.monotonic() > deadline:
            raise GalleryError(
                f"the engine of an earlier process still holds {path}; try again in a minute"
            )
        time.sleep(0.05)
