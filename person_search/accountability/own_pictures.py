"""Deleting files of frames that are removed, where they are this program's to delete."""

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
