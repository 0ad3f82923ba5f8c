"""Deleting files of frames that are removed, where they are this program's to delete."""

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path


def deletable(files: Iterable[str], folders: Sequence[Path], everywhere: bool) -> list[Path]:
    """Return those of the files that lie in one of the folders, or all of them.

    Args:
        files: Absolute paths.
        folders: That this program keeps pictures in.
        everywhere: Whether others are to be deleted, too.
    """
    roots = [folder.resolve() for folder in folders]
    found = []
    for name in files:
        # Where a symbolic link leads, somebody else's file may lie.
        path = Path(name).resolve()
        if everywhere or any(path.is_relative_to(root) for root in roots):
            found.append(Path(name))
    return found


def delete_files(files: Iterable[Path], folders: Sequence[Path]) -> int:
    """Delete files, and the folders below ours that are empty then; return how many files.

    Raises:
        OSError: One that is there cannot be deleted.
    """
    count, parents = 0, set()
    for file in files:
        with suppress(FileNotFoundError):
            file.unlink()
            count += 1
        parents.add(file.parent)
    roots = {folder.resolve() for folder in folders}
    for parent in parents:
        place = parent.resolve()
        while any(place != root and place.is_relative_to(root) for root in roots):
            try:
                place.rmdir()
            except OSError:  # not empty, or gone
                break
            place = place.parent
    return count


def remove_leftovers(path: Path) -> int:
    """Remove what killed processes left beside a gallery file; return how many files.

    Writing a file anew makes another one first, which is named after the process.
    """
    stem, count = re.escape(path.stem), 0
    ours = re.compile(
        rf"\.{stem}\.(\d+)\.part\.db(-wal|-shm|-journal)?|\.{stem}-(log|receipts)\.jsonl\.(\d+)\.part"
    )
    for file in list(path.parent.iterdir()):
        found = ours.fullmatch(file.name)
        if found is not None and not _is_running(int(found[1] or found[4])):
            file.unlink(missing_ok=True)
            count += 1
    return count


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
