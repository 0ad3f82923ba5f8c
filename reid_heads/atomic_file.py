"""Files and folders that are written whole or not at all."""

import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from reid_heads.unfinished import unfinished

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The last one is a limit of the file system, or of the process, on a file's size."""


@contextlib.contextmanager
def naming_full_disk(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say where there was no room, and what to do; the system's own error says neither.

    Args:
        path: Of the file or folder that is written whole or not at all inside the context.

    Raises:
        OSError: On a full disk, a used up quota, or a file that is too large.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise OSError(
            f"{path} cannot be written: {error.strerror}; nothing of it stays. Make room, or name "
            "another place"
        ) from error


@contextlib.contextmanager
def atomic_file(
    path: str | os.PathLike[str], mode: int = 0o644, *, is_durable: bool = False
) -> Iterator[BinaryIO]:
    """Open a file to write that takes the place of ``path`` when the context ends well.

    After an error, a full disk for one, whatever stood at ``path`` is still there; what a killed
    process leaves, the next one removes (`unfinished`). The folder is made if missing. ``mode``
    says who may read the file. A durable file is on the disk before it takes the place, so that
    after a power cut, too, the one or the other is there whole.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with unfinished(path) as temporary:
        with temporary.open("wb") as file:
            yield file
            if is_durable:
                file.flush()
                os.fsync(file.fileno())
        # It was for its owner alone.
        os.chmod(temporary, mode)
        os.replace(temporary, path)
        if is_durable:
            _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Put the names of a folder's files on the disk; a system without that goes without."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Make a folder to fill that becomes ``path`` when the context ends well, else is removed.

    Raises:
        FileExistsError: If ``path`` is there already, unless it is an empty folder.
    """
    path = Path(path)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise FileExistsError(f"{path} is there already; choose a new folder, or remove it first")
    path.parent.mkdir(parents=True, exist_ok=True)
    with unfinished(path, is_folder=True) as temporary:
        yield temporary
        # It was for its owner alone.
        os.chmod(temporary, 0o755)
        os.replace(temporary, path)


def save_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], mode: int = 0o644
) -> None:
    """Write named arrays as ``.npz``, whole or not at all; see ``atomic_file``."""
    with atomic_file(path, mode) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # read as allow_pickle by mypy


def save_json(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    with atomic_file(path) as file:
        file.write((json.dumps(content, indent=2) + "\n").encode())
