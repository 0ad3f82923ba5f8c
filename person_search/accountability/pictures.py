"""Pictures of people who were searched for, kept beside the log where it is set so."""

import hashlib
import io
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from person_search.accountability.entries import Entry
from person_search.accountability.errors import LogError
from person_search.people import Box
from reid_heads.atomic_file import atomic_file


class QueryPictures:
    """A folder of PNG files, each by the SHA-256 of its bytes: what was in the box, no more."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, which is made with the first picture."""
        self.folder = folder

    def keep(self, picture: np.ndarray, box: Box) -> str:
        """Write what is in a box of a picture; return its name without ``.png``.

        Args:
            picture: (H, W, 3) uint8 RGB.
            box: In its pixels.

        Raises:
            LogError: It cannot be written.
        """
        height, width = picture.shape[:2]
        left, top = (max(0, int(np.floor(v))) for v in box[:2])
        right, bottom = min(width, int(np.ceil(box[2]))), min(height, int(np.ceil(box[3])))
        stream = io.BytesIO()
        Image.fromarray(picture[top:bottom, left:right]).save(stream, "PNG")
        data = stream.getvalue()
        name = hashlib.sha256(data).hexdigest()
        try:
            if not self._path(name).exists():
                with atomic_file(self._path(name), 0o600) as file:
                    file.write(data)
        except OSError as error:
            raise LogError(
                f"the picture that the log keeps cannot be written to {self.folder} "
                f"({error.strerror}), so that nothing is searched"
            ) from error
        return name

    def check(self, entries: Iterable[Entry]) -> list[str]:
        """Return which pictures of entries are not as they were kept."""
        problems = []
        for entry, name in _kept(entries):
            try:
                is_same = hashlib.sha256(self._path(name).read_bytes()).hexdigest() == name
            except OSError:
                is_same = False
            if not is_same:
                problems.append(
                    f"the picture {name[:12]}… of entry {entry['seq']} is gone, or another one"
                )
        return problems

    def kept(self, entries: Iterable[Entry]) -> set[str]:
        """Return the names of the pictures that entries tell of."""
        return {name for _, name in _kept(entries)}

    def remove(self, names: Iterable[str]) -> int:
        """Remove pictures by their names; return how many were there."""
        files = [file for file in map(self._path, names) if file.exists()]
        for file in files:
            file.unlink(missing_ok=True)
        return len(files)

    def unknown(self, known: set[str]) -> list[str]:
        """Return the names of pictures of processes that were killed before they wrote an entry.

        Args:
            known: Of those that entries tell of. What is younger than an hour may still get one.
        """
        young = time.time() - 3600.0
        found = [file for file in self.folder.glob("*.png") if file.stem not in known]
        return [file.stem for file in found if file.stat().st_mtime < young]

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.png"


def _kept(entries: Iterable[Entry]) -> list[tuple[Entry, str]]:
    return [
        (entry, query["kept"])
        for entry in entries
        for query in entry.get("queries", ())
        if "kept" in query
    ]
