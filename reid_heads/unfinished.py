"""Files and folders that are being written, and those of processes that were killed meanwhile.

Each lies beside what it becomes, under a name that says what it is, and its process keeps it locked
(``flock``). The lock goes with the process, however it ends: so what is ours and not locked was
left, on this machine or another, in a container or out of it; a number of a process would say that
of its own machine alone. Where a file system has no locks, what was left stays.
"""

import fcntl
import logging
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

logger = logging.getLogger(__name__)

_MARK = "person-search"
_OURS = re.compile(rf"\.?.*\.{_MARK}-\d+-[0-9a-f]{{8}}\.part(\.db(-wal|-shm|-journal)?)?")
_LONGEST = 120
"""Bytes of a name that are taken over: what is added to it must fit into 255, too."""
_SQLITE = ("-wal", "-shm", "-journal")
_looked_into: set[str] = set()


@contextmanager
def unfinished(
    path: str | os.PathLike[str],
    *,
    is_folder: bool = False,
    is_gallery: bool = False,
    is_hidden: bool = True,
) -> Iterator[Path]:
    """Make a file or folder to fill beside a path, and remove what is left of it at the end.

    Whoever is done renames it. The first time that a process writes into a folder, it removes there
    what killed processes have left.

    Args:
        path: What it is to become; its folder must be there.
        is_folder: A folder, of mode 700, instead of a file, of mode 600.
        is_gallery: The name ends in ``.db``, and the files go that SQLite puts beside it, too.
        is_hidden: The name begins with a dot.

    Yields:
        The path of the empty file or folder: ``.case.zip.person-search-4711-0a1b2c3d.part``, of the
        process 4711.

    Raises:
        OSError: It cannot be made.
    """
    path = Path(os.path.abspath(path))
    if str(path.parent) not in _looked_into:
        _looked_into.add(str(path.parent))
        remove_unfinished(path.parent)
    dot, ending = "." if is_hidden else "", ".db" if is_gallery else ""
    made, lock = _make(path, is_folder, dot, ending)
    try:
        yield made
    finally:
        for file in (made, *_beside(made)):
            _remove(file)
        os.close(lock)


def remove_unfinished(folder: str | os.PathLike[str]) -> int:
    """Remove what killed processes of this user have left unfinished in a folder.

    What is being written now, what belongs to somebody else, and what is named otherwise stays.

    Returns:
        How many files and folders.
    """
    try:
        with os.scandir(folder) as found:
            ours = sorted(entry.path for entry in found if is_unfinished(entry.name))
    except OSError:
        return 0
    count = sum(_remove_if_left(Path(name)) for name in ours)
    if count:
        logger.warning("removed what a killed process had left unfinished in %s", folder)
    return count


def is_unfinished(name: str) -> bool:
    """Say whether a file or folder of this name is what `unfinished` makes."""
    return _OURS.fullmatch(name) is not None


def is_being_written(path: str | os.PathLike[str]) -> bool:
    """Say whether a process is in `unfinished` with this path; False where nobody can tell."""
    path = Path(os.path.abspath(path))
    ours = re.compile(rf"\.?{re.escape(_shortened(path))}\.{_MARK}-\d+-[0-9a-f]{{8}}\.part(\.db)?")
    try:
        with os.scandir(path.parent) as found:
            files = [entry.path for entry in found if ours.fullmatch(entry.name)]
    except OSError:
        return False
    return any(map(_is_locked, files))


def _is_locked(file: str) -> bool:
    try:
        lock = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(lock)
    return False


def _shortened(path: Path) -> str:
    return os.fsdecode(os.fsencode(path.name.lstrip("."))[:_LONGEST])


def _make(path: Path, is_folder: bool, dot: str, ending: str) -> tuple[Path, int]:
    while True:
        mark = f"{_MARK}-{os.getpid()}-{secrets.token_hex(4)}"
        made = path.with_name(f"{dot}{_shortened(path)}.{mark}.part{ending}")
        with suppress(FileExistsError):
            if is_folder:
                made.mkdir(0o700)
            else:
                os.close(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            # Between the two steps it may have been taken for one that was left.
            with suppress(FileNotFoundError):
                lock = os.open(made, os.O_RDONLY | os.O_CLOEXEC)
                with suppress(OSError):
                    fcntl.flock(lock, fcntl.LOCK_EX)
                if os.path.lexists(made):
                    return made, lock
                os.close(lock)


def _remove_if_left(file: Path) -> bool:
    for ending in _SQLITE:
        if file.name.endswith(ending):
            # Its gallery says whether anybody writes it.
            owner = file.with_name(file.name.removesuffix(ending))
            with suppress(FileNotFoundError):
                return not owner.exists() and _is_own(file.lstat()) and _remove(file)
            return False
    try:
        lock = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if not _is_own(os.fstat(lock)):
            return False
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return any([_remove(one) for one in (file, *_beside(file))])
    except OSError:  # somebody writes it, or nobody can tell
        return False
    finally:
        os.close(lock)


def _is_own(said: os.stat_result) -> bool:
    return said.st_uid == os.geteuid() and (
        stat.S_ISREG(said.st_mode) or stat.S_ISDIR(said.st_mode)
    )


def _beside(file: Path) -> list[Path]:
    """Return what SQLite may have put beside an unfinished gallery."""
    if file.suffix != ".db":
        return []
    return [file.with_name(f"{file.name}{ending}") for ending in _SQLITE]


def _remove(file: Path) -> bool:
    """Remove a file or folder; return whether it was there."""
    if not os.path.lexists(file):
        return False
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file, ignore_errors=True)
    else:
        with suppress(OSError):
            file.unlink()
    return not os.path.lexists(file)
