"""Which files of folders are footage, and which were passed over."""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reid_heads.pictures import IMAGE_SUFFIXES

logger = logging.getLogger(__name__)

_VIDEO_KINDS = (
    "mp4 m4v mov qt avi divx mkv webm mpg mpeg mpe m1v m2v vob ts mts m2ts wmv asf flv f4v 3gp 3g2 "
    "ogv mjpeg mjpg h264 264 avc h265 265 hevc ivf nut rm y4m"
)
VIDEO_SUFFIXES = frozenset(f".{kind}" for kind in _VIDEO_KINDS.split())


@dataclass(frozen=True)
class Listed:
    """What files and folders hold."""

    files: list[Path]
    """Absolute paths of the images and videos, those of each folder sorted, none twice."""

    passed_over: list[Path]
    """Likewise of the files in folders that are neither by their suffix; hidden ones are not."""


def list_files(paths: Sequence[str | Path]) -> Listed:
    """List the images and videos among files and in folders, and what else is there.

    Folders are searched with everything below them, through links too, each folder once. Hidden
    files and folders (``.name``) in them are left out.

    Args:
        paths: files and folders.

    Raises:
        FileNotFoundError: if a path does not exist.
        ValueError: if there are no paths, a folder holds neither image nor video, or a file is
            neither by its suffix.
    """
    if isinstance(paths, str | Path):
        paths = [paths]
    if not paths:
        raise ValueError("no files or folders given; expected at least one")
    found: dict[Path, None] = {}
    passed_over: dict[Path, None] = {}
    for given in paths:
        path = Path(os.path.abspath(given))
        if path.is_dir():
            inside = list_folder(path)
            if not inside.files:
                raise ValueError(_say_empty(path, inside.passed_over))
            found.update(dict.fromkeys(inside.files))
            passed_over.update(dict.fromkeys(inside.passed_over))
        elif not path.exists():
            raise FileNotFoundError(f"{path} does not exist; expected an image, video or folder")
        elif not is_footage(path):
            raise ValueError(
                f"{path} is neither image nor video by its suffix {path.suffix!r}; expected one of "
                f"{' '.join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))}"
            )
        else:
            found[path] = None
    return Listed(list(found), list(passed_over))


def is_footage(path: Path) -> bool:
    """Return whether a file is an image or a video by its suffix."""
    return path.suffix.lower() in IMAGE_SUFFIXES | VIDEO_SUFFIXES


def describe_kinds(files: Sequence[Path]) -> str:
    """Say how many files of which suffixes there are, as ``3 files (.txt 2, .csv 1)``."""
    counts = Counter(file.suffix.lower() or "without a suffix" for file in files)
    kinds = ", ".join(f"{kind} {count}" for kind, count in counts.most_common(5))
    more = ", …" if len(counts) > 5 else ""
    return f"{len(files)} file{'' if len(files) == 1 else 's'} ({kinds}{more})"


def _say_empty(folder: Path, others: Sequence[Path]) -> str:
    if not others:
        return f"{folder} holds neither image nor video, nor any other file; is it the right one?"
    return (
        f"{folder} holds neither image nor video but {describe_kinds(others)}; expected files "
        f"ending in {' '.join(sorted(IMAGE_SUFFIXES | VIDEO_SUFFIXES))}"
    )


def list_folder(folder: Path) -> Listed:
    """List what is in a folder and all below it, as `list_files` does; there may be no footage.

    Args:
        folder: absolute.
    """
    found: list[Path] = []
    others: list[Path] = []
    visited: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_note_unreadable):
        real = os.path.realpath(place)
        # A link to a folder above would lead round and round.
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if not name.startswith("."):
                path = Path(place, name)
                (found if is_footage(path) else others).append(path)
    return Listed(sorted(found), sorted(others))


def _note_unreadable(error: OSError) -> None:
    logger.warning("left out a folder that cannot be read: %s", error)
