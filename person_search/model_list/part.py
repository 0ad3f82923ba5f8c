"""The part of a file that came so far."""

import os
from pathlib import Path
from typing import BinaryIO

from person_search.inference.json_object import parse_object
from reid_heads.atomic_file import save_json


class Part:
    """The part of a file that came so far, beside the file, and what it is a part of."""

    def __init__(self, file: Path) -> None:
        """Name the part of ``file``; it need not exist."""
        self.path = file.with_name(f".{file.name}.part")
        self._origin = self.path.with_suffix(".part.json")

    @property
    def size(self) -> int:
        """Bytes; 0 of what is only a link to a file somewhere else."""
        is_own = self.path.is_file() and not self.path.is_symlink()
        return self.path.stat().st_size if is_own else 0

    def open(self) -> BinaryIO:
        """Open it to add to its end.

        Raises:
            OSError: if it cannot be written, or is a link, behind which nothing is written.
        """
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        return os.fdopen(os.open(self.path, flags, 0o644), "ab")

    def mark(self, url: str, version: str) -> None:
        """Note where the part comes from, before it is begun.

        Args:
            url: that was asked.
            version: of the file there, as its server calls it; "" where it does not.
        """
        save_json(self._origin, {"url": url, "version": version})

    def version_at(self, url: str) -> str:
        """Return which version at ``url`` this is a part of; "" if of none or nobody knows."""
        try:
            origin = parse_object(self._origin.read_bytes(), "")
        except (OSError, ValueError):
            return ""
        return str(origin.get("version", "")) if origin.get("url") == url else ""

    def remove(self) -> None:
        """Forget it."""
        self.path.unlink(missing_ok=True)
        self._origin.unlink(missing_ok=True)

    def become(self, file: Path) -> None:
        """Give it the name of the file, which is whole now."""
        self.path.replace(file)
        self._origin.unlink(missing_ok=True)
