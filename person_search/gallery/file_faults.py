"""What goes wrong with a gallery file, in words."""

import os
import shlex
from contextlib import suppress
from pathlib import Path

from person_search.gallery.errors import GalleryError
from person_search.gallery.schema import APPLICATION_ID

BUSY_SECONDS = 30.0
"""How long to wait for another process's transaction; ours take some milliseconds each."""
OPENING = "opening it"
_HEADER = b"SQLite format 3\0"


def explain(error: Exception, path: Path, doing: str) -> str:
    """Say what an error of SQLite means and what to do.

    Args:
        error: Of sqlite3, or of a message of its that is no text.
        path: The gallery file.
        doing: What was being done to it.
    """
    return f"{_explain(error, path, doing)} (while {doing}: {error})"


def damaged(path: Path, what: str) -> GalleryError:
    """Return the error of a gallery whose rows are not what was stored.

    Args:
        path: The gallery file.
        what: Which of them, and how.
    """
    return GalleryError(f"{path} is damaged: {what}; {_see(path)}")


def check_line(path: Path, option: str = "") -> str:
    """Return the line to type that checks a gallery file."""
    return f"person-search check {option}{shlex.quote(str(path))}"


def index_line(path: Path) -> str:
    """Return the line to type that indexes footage into a gallery file."""
    return f"person-search index FOLDER --gallery {shlex.quote(str(path))}"


def _see(path: Path) -> str:
    return f"see what can be saved: {check_line(path)}"


def _explain(error: Exception, path: Path, doing: str) -> str:
    # Messages of SQLite may quote damaged bytes that are no text.
    is_text = not isinstance(error, UnicodeDecodeError)
    code = getattr(error, "sqlite_errorname", "") if is_text else "SQLITE_CORRUPT"
    if code.startswith("SQLITE_FULL"):
        lacks = "has no inodes left for another file; remove some files"
        return (
            f"the disk of {path} {'is full; free some space' if _has_inodes(path) else lacks} "
            "and run the same again, what was stored before is intact"
        )
    if code.startswith("SQLITE_BUSY"):
        return (
            f"another process has been writing into {path} for {BUSY_SECONDS:.0f} s"
            f"{name_holders(path)}; wait for it, or end it"
        )
    if code.startswith(("SQLITE_READONLY", "SQLITE_PERM")):
        wanted = _not_allowed(path)
        where = f"gallery {path}: {wanted}" if wanted else f"{path} or its folder"
        return f"{where} is read-only; allow writing, or copy the gallery elsewhere"
    if code.startswith(("SQLITE_CANTOPEN", "SQLITE_AUTH")):
        return f"{path} cannot be opened{_why_not(path)}"
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")) and doing == OPENING:
        return (
            f"{path} is damaged so that it cannot be opened; bring back a backup, or index the "
            "footage again into another file"
        )
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return f"{path} is damaged; {_see(path)}"
    if code.startswith("SQLITE_IOERR"):
        return (
            f"the disk of {path} failed, or is full{_why_not(path)}; what was reported as "
            f"stored before is intact as far as the disk is: {check_line(path)}"
        )
    return f"the gallery {path} cannot be used"


def check_content(path: Path, must_exist: bool) -> None:
    """Refuse, before SQLite touches it, a file whose first bytes are not a gallery's.

    Args:
        path: It; only where this process does not have it open.
        must_exist: Refuse an empty one, too.

    Raises:
        GalleryError: With what to do.
    """
    if not path.is_file():
        raise GalleryError(f"gallery {path}: not a file; give the path of a file ending in .db")
    try:
        with path.open("rb") as file:
            header = file.read(100)
            rest = file.read(2**16)
        num_names = path.stat().st_nlink
    except OSError as error:
        raise GalleryError(f"gallery {path} cannot be read: {error.strerror}") from error
    if num_names > 1:
        raise GalleryError(
            f"{path} has {num_names} names (hard links), and would have a log beside each, which "
            "destroys it; use a copy of it, or a symbolic link"
        )
    if not header and must_exist:
        raise GalleryError(
            f"{path} is empty; bring back a backup, or index the footage again: {index_line(path)}"
        )
    if not header:
        return
    if _is_of_earlier_engine(header + rest):
        raise GalleryError(
            f"{path} was made by an earlier version, whose engine (Milvus Lite) is no longer used; "
            "index the footage again, into another file: "
            f"{index_line(path.with_stem(f'{path.stem}_2'))}"
        )
    mark = int.from_bytes(header[68:72], "big")
    if not header.startswith(_HEADER) or mark != APPLICATION_ID:
        raise GalleryError(
            f"{path} is not a gallery but some other file, or its beginning is damaged; it was "
            "left as it is, choose another"
        )


def is_of_earlier_engine(path: Path) -> bool:
    """Say whether a file is a gallery of the engine before SQLite, Milvus Lite."""
    with path.open("rb") as file:
        return _is_of_earlier_engine(file.read(2**16))


def _is_of_earlier_engine(beginning: bytes) -> bool:
    return beginning.startswith(_HEADER) and b"collection_meta" in beginning


def refuse_leftovers(path: Path) -> None:
    """Refuse to make a file beside the log of one that is gone: SQLite would remove the log.

    Raises:
        GalleryError: With what to do.
    """
    left = [file for file in _beside(path) if file.exists()]
    if left:
        raise GalleryError(
            f"there is no gallery {path}, but {' and '.join(map(str, left))}"
            f"{name_holders(left[0])}, with what was stored last in one that was moved or deleted; "
            "bring it back, or, if it is gone for good, end who has it open and remove these files"
        )


def _beside(path: Path) -> list[Path]:
    real = path.resolve()
    return [real.with_name(f"{real.name}-{end}") for end in ("wal", "shm")]


def identify(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a file, None where there is none.

    Raises:
        OSError: If that cannot be told, as in a folder that may not be looked into.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def name_holders(path: Path) -> str:
    """Name the processes of this machine that have a file open, where /proc tells."""
    wanted, found = identify(path), []
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):
            is_holder = any(identify(link) == wanted for link in folder.iterdir())
            if is_holder and int(folder.parent.name) != os.getpid():
                found.append(folder.parent.name)
    return f" (process {', '.join(found)})" if found else ""


def _why_not(path: Path) -> str:
    """Say what about the disk explains that a file cannot be opened or written, where it shows."""
    if wanted := _not_allowed(path):
        return f": {wanted} may not be read or written by you; change its permissions"
    if not _has_inodes(path):
        return ": the disk has no inodes left for another file; remove some files"
    with suppress(OSError, AttributeError):
        disk = os.statvfs(path.parent)
        if disk.f_bavail * disk.f_frsize < 2**20:
            return ": the disk is full; free some space"
    return ""


def _not_allowed(path: Path) -> Path | None:
    """Return what of the folder, the file and those beside it one may not read or write."""
    files = [path, *_beside(path)]
    for wanted, mode in [
        (path.parent, os.W_OK | os.X_OK),
        *((f, os.R_OK | os.W_OK) for f in files),
    ]:
        if wanted.exists() and not os.access(wanted, mode):
            return wanted
    return None


def _has_inodes(path: Path) -> bool:
    with suppress(OSError, AttributeError):
        disk = os.statvfs(path.parent)
        return not disk.f_files or disk.f_favail > 0
    return True
