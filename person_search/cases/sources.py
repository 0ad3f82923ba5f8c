"""The files that a case is taken from: hashed now, and compared with what was indexed."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from person_search.cases.contents import Source
from person_search.footage.frames import split_frame_name
from person_search.gallery.errors import GalleryError

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex

AS_INDEXED, CHANGED, GONE, NOT_INDEXED = "as indexed", "changed", "gone", "not indexed"


class Sources:
    """Numbers and checks the sources of frames."""

    def __init__(
        self, index: "GalleryIndex", frames: Iterable[str], queries: Sequence[str], full_paths: bool
    ) -> None:
        """Hash the sources.

        Args:
            index: Knows what was indexed.
            frames: Names of frames of the gallery.
            queries: Files that queries were taken from.
            full_paths: See `CaseRequest.full_paths`.

        Raises:
            GalleryError: If a frame is not in the gallery.
        """
        groups: dict[str, list[str]] = {}
        for frame in dict.fromkeys(frames):
            groups.setdefault(split_frame_name(frame)[0], []).append(frame)
        names = _short_names(list(groups), full_paths) | {
            file: os.path.abspath(file) if full_paths else Path(file).name
            for file in queries
            if file not in groups
        }
        self._by_file: dict[str, Source] = {}
        for number, (file, name) in enumerate(names.items(), 1):
            digest = file_digest(file)
            known = index.known_frames(groups[file]) if file in groups else None
            state = _compare(digest, known, groups.get(file, ()))
            self._by_file[file] = Source(number, name, digest, state)

    @property
    def all(self) -> list[Source]:
        """Every source, by number."""
        return list(self._by_file.values())

    def of(self, frame: str) -> Source:
        """Return the source of a frame."""
        return self.of_file(split_frame_name(frame)[0])

    def of_file(self, file: str) -> Source:
        """Return the source that is this file."""
        return self._by_file[file]


def refuse_changed(index: "GalleryIndex", frames: Iterable[str]) -> None:
    """Refuse to show frames whose files are not those that were indexed; hashes them.

    Args:
        index: Knows what was indexed.
        frames: Names of frames of the gallery. What is gone is no matter here: reading it fails.

    Raises:
        GalleryError: If a frame is not in the gallery.
        ValueError: If a file has changed: a box would be drawn around somebody else.
    """
    changed = [s.name for s in Sources(index, frames, [], True).all if s.state == CHANGED]
    if changed:
        raise ValueError(
            f"{changed[0]} has changed since it was indexed: where people are in it is not known; "
            "index it again"
        )


def _short_names(files: Sequence[str], full_paths: bool) -> dict[str, str]:
    """Return names that tell files apart, below the folder that they share."""
    if full_paths or not files:
        return {file: file for file in files}
    shared = os.path.commonpath([os.path.dirname(file) for file in files])
    return {file: Path(os.path.relpath(file, shared)).as_posix() for file in files}


def file_digest(file: str) -> str | None:
    """Return a file's SHA-256 in hex; None where it cannot be read."""
    try:
        # A pipe or a device could deliver for ever.
        if not Path(file).is_file():
            return None
        with open(file, "rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return None


def _compare(digest: str | None, known: dict[str, str] | None, frames: Sequence[str]) -> str:
    for frame in frames:
        if known is not None and frame not in known:
            raise GalleryError(
                f"{frame} is not in the gallery any more, which alone knows who else is in it; "
                "search again"
            )
    if digest is None:
        return GONE
    if known is None:
        return NOT_INDEXED
    same = all(known[frame] == content_hash(digest, frame) for frame in frames)
    return AS_INDEXED if same else CHANGED


def content_hash(digest: str, frame: str) -> str:
    """Return what `Frame.content_hash` would be of a file with this SHA-256."""
    number = split_frame_name(frame)[1]
    return digest if number is None else hashlib.sha256(f"{digest}#{number}".encode()).hexdigest()
