"""Fetch a file of the list: once, whole, with the hash that it should have."""

import contextlib
import datetime
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from person_search.inference.models import make_models_folder
from person_search.inference.offline import offline_variable
from person_search.inference.recorded_files import hash_file
from person_search.model_list.asking import (
    START_BYTES,
    NotFetchedError,
    PageError,
    is_text,
    name_text,
)
from person_search.model_list.listed_model import ListedModel
from person_search.model_list.part import Part
from person_search.model_list.receiving import Patience, Wanted, receive
from person_search.model_list.records import Record, downloads_folder, record_path
from person_search.model_list.sources import GoogleDrive, Source
from person_search.progress import Progress

_log = logging.getLogger(__name__)
BY_HAND = "put there by hand"
"""Source of a file that was there before anything was fetched."""


def file_of(model: ListedModel) -> Path:
    """Return where the file of a listed model is kept, which need not exist."""
    return downloads_folder() / model.name / model.file


def download(model: ListedModel, patience: Patience | None = None) -> Path:
    """Fetch a listed model's file, unless it is there; check it in either case.

    What is fetched goes to a part beside the file, which gets the file's name once it is whole and
    right; an interrupted download is gone on with. Of several processes one fetches, the others
    wait for it. Nothing in the file is read but its bytes.

    Args:
        model: of the list.
        patience: how long servers are waited for; None: as usual.

    Returns:
        The file.

    Raises:
        ConnectionError: if no source gives the file, or fetching is switched off; says which file
            to put where.
        OSError: if the disk is full, or cannot be written.
        ValueError: if the file that is there is not the one that it should be, or its record is
            broken.
    """
    file = file_of(model)
    with _naming(file.parent):
        if file.is_file():
            return _accept(model, file)
        if variable := offline_variable():
            raise ConnectionError(by_hand(model, f"{variable} is set, so nothing is fetched"))
        make_models_folder()
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone(file):
            # Another process may have been first.
            if file.is_file():
                return _accept(model, file)
            return _fetch(model, file, patience or Patience())


@contextlib.contextmanager
def _naming(folder: Path) -> Iterator[None]:
    """Say of an error of the file system what is to be done; others say so themselves."""
    try:
        yield
    except ConnectionError:
        raise
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(
            f"{error.filename2 or error.filename or folder}: {error.strerror}; expected a folder "
            f"{folder} to write to, and nothing else under the names of its files: remove what is "
            "in the way, or set PERSON_SEARCH_HOME to another folder"
        ) from error


@contextlib.contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Let one process at a time fetch a file; the lock goes with its process, however that ends."""
    path = file.with_name(f".{file.name}.lock")
    # Nothing is emptied, and no link followed: it may lead to somebody's file.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _log.warning("another process fetches %s: waiting for it", file)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(model: ListedModel, file: Path, patience: Patience) -> Path:
    sha256 = expected_sha256(model, Record.find(file))
    problems = []
    for source in model.sources:
        _log.info("fetching %s from %s", model.file, source)
        try:
            _fetch_from(source, model, file, sha256, patience)
        except NotFetchedError as error:
            problems.append(f"{source.page}: {error}")
            continue
        return file
    raise ConnectionError(by_hand(model, "\n  ".join(["no source gave it", *problems])))


def _fetch_from(
    source: Source, model: ListedModel, file: Path, sha256: str | None, patience: Patience
) -> None:
    """Make the file of what a source gives."""
    part = Part(file)
    had = part.size
    _receive(source, model, part, sha256, patience)
    found = hash_file(part.path)
    if sha256 is not None and found != sha256 and had:
        # The part that was here may have been of another file.
        part.remove()
        _receive(source, model, part, sha256, patience)
        found = hash_file(part.path)
    if sha256 is not None and found != sha256:
        size = part.size
        part.remove()
        raise NotFetchedError(
            f"its file has {size:,} bytes with the SHA-256 {found}, expected {sha256}: it was "
            "replaced there, or damaged on the way"
        )
    _flush(part.path)
    # Before it has its name: what has one is recorded, whenever the process ends.
    if Record.find(file) is None:
        _record(model, file, part.size, found, source.address)
    part.become(file)
    _flush(file.parent)


def _receive(
    source: Source, model: ListedModel, part: Part, sha256: str | None, patience: Patience
) -> None:
    with Progress(model.file, unit="MB") as shown:

        def show(done: int, total: int | None) -> None:
            shown.total = None if total is None else round(total / 1e6)
            shown.update(round(done / 1e6))

        def take(url: str) -> None:
            wanted = Wanted(url, source.address, model.size, sha256 is not None)
            receive(wanted, part, patience=patience, show=show)

        try:
            take(source.address)
        except PageError as page:
            confirmed = page.confirmed_url() if isinstance(source, GoogleDrive) else None
            if confirmed is None:
                raise
            # Once: what asks a second time will not stop asking.
            take(confirmed)


def _flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def expected_sha256(model: ListedModel, record: Record | None) -> str | None:
    """Return the hash that a file should have: the list's, else that of the first download."""
    return model.sha256 or (record.sha256 if record else None)


def _accept(model: ListedModel, file: Path) -> Path:
    """Check the file that is there, and record it if it has no record."""
    record = Record.find(file)
    found, size = hash_file(file), file.stat().st_size
    expected = expected_sha256(model, record)
    again = f"remove it, and fetch it anew by `person-search models download {model.name}`"
    if expected is not None and found != expected:
        raise ValueError(
            f"{file} has {size:,} bytes with the SHA-256 {found}, expected {expected}: it was "
            f"changed, or is another file; {again}"
        )
    if record is not None and record.name != model.name:
        raise ValueError(f"{record_path(file)} is the record of {record.name}; {again}")
    if record is None:
        with file.open("rb") as content:
            start = content.read(START_BYTES)
        if not start or is_text(start):
            what = name_text(start.decode("utf-8", "replace")) if start else "empty,"
            raise ValueError(f"{file} is {what} and no file of weights; {again}")
        _record(model, file, size, found, BY_HAND)
    return file


def _record(model: ListedModel, file: Path, size: int, sha256: str, source: str) -> None:
    """Write down what is known of a file."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    card = model.to_card().to_dict()
    Record(model.name, size, sha256, model.sha256 is not None, source, now, card).save(file)
    if model.sha256 is None:
        _log.info("recorded %s of %s in %s", sha256, file, record_path(file))


def by_hand(model: ListedModel, why: str) -> str:
    """Say that a file was not fetched, and how to do so elsewhere.

    Args:
        model: of the list.
        why: it was not.
    """
    size = "" if model.size is None else f", {model.size:,} bytes"
    sha256 = "" if model.sha256 is None else f", SHA-256 {model.sha256}"
    pages = " or ".join(source.page for source in model.sources)
    return (
        f"{model.name} was not fetched: {why}\nWhere there is a connection, fetch {pages} (once it "
        f"is here, {model.file}{size}{sha256}), put it at {file_of(model)}, and give the same "
        "command again: it checks the file and goes on"
    )
