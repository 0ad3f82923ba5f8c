"""Notice the files that appear in a folder, once they are whole."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from person_search.footage.files import BrokenFile
from person_search.footage.frames import split_frame_name
from person_search.footage.listing import list_folder

AT_ONCE = 64
"""Files that are given out together, at most."""
SETTLED = 3.0
"""Seconds that a file must not have changed to be taken for whole."""
PATIENCE = 30.0
"""Likewise for one that was found broken: its writer may only have paused."""


@dataclass
class _File:
    size: int
    modified: int
    since: float
    """Since when it has been so, on the monotonic clock."""

    is_done: bool = False
    is_suspect: bool = False


class WatchedFolder:
    """Looks into a folder again and again; asks nothing of the file system but to list it."""

    def __init__(
        self,
        folder: str | Path,
        say: Callable[[str], None],
        settled: float = SETTLED,
        patience: float = PATIENCE,
    ) -> None:
        """Everything that is there is new.

        Args:
            folder: With all below it, as `list_files` lists it.
            say: Told in a sentence when it is gone, and when it is back.
            settled: Seconds, see `SETTLED`.
            patience: Seconds, see `PATIENCE`.
        """
        self.folder = Path(folder)
        self._say, self._settled, self._patience = say, settled, patience
        self._files: dict[Path, _File] = {}
        self._is_gone = False
        self.passed_over: list[Path] = []
        """Files that are no footage, when it was last looked into."""

    def ready(self) -> list[Path]:
        """Return new and changed files that are whole by now, the oldest first, at most `AT_ONCE`.

        They are returned again until they were `done`.
        """
        now, found = time.monotonic(), []
        for path in self._list():
            try:
                stat = path.stat()
            except OSError:  # gone since it was listed
                continue
            said = (stat.st_size, stat.st_mtime_ns)
            file = self._files.get(path)
            if file is None or (file.size, file.modified) != said:
                # One that was last written long ago need not be waited for.
                age = max(0.0, time.time() - stat.st_mtime) if file is None else 0.0
                file = self._files[path] = _File(*said, now - age)
            wait = self._patience if file.is_suspect else self._settled
            if not file.is_done and now - file.since >= wait:
                found.append((file.modified, path))
        return [path for _, path in sorted(found)[:AT_ONCE]]

    def done(self, files: Iterable[Path], broken: Iterable[BrokenFile]) -> list[BrokenFile]:
        """Take note that files were read.

        Args:
            files: Which.
            broken: What of them could not be read.

        Returns:
            Those that are broken for good. The others may still be written, and are tried again.
        """
        reasons: dict[Path, list[BrokenFile]] = {}
        for one in broken:
            reasons.setdefault(Path(split_frame_name(one.name)[0]), []).append(one)
        final: list[BrokenFile] = []
        for path in files:
            file = self._files.get(path)
            if file is None:
                continue
            is_young = time.monotonic() - file.since < self._patience
            if path in reasons and is_young:
                file.is_suspect = True
                continue
            file.is_done = True
            final += reasons.get(path, [])
        return final

    def _list(self) -> list[Path]:
        if not self.folder.is_dir():
            if not self._is_gone:
                self._say(f"{self.folder} is no longer there; waiting for it")
            self._is_gone = True
            return []
        listed = list_folder(self.folder.absolute())
        found, self.passed_over = listed.files, listed.passed_over
        if self._is_gone:
            self._say(f"{self.folder} is there again")
        self._is_gone = False
        self._files = {path: self._files[path] for path in found if path in self._files}
        return found
