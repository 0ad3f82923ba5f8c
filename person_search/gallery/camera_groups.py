"""The groups of a gallery as somebody sees them who may see some cameras."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast

from person_search.gallery.errors import GalleryError
from person_search.gallery.group_rows import Anchor, GroupRows, Options, SaidGroup
from person_search.gallery.rows import Group
from person_search.gallery.store import Groups

ALL_CAMERAS = "only somebody who sees all cameras can do this: it would change what you do not see"
"""What is said of what others see, too."""


class CameraGroups:
    """The groups of appearances before some cameras; see `Groups`."""

    def __init__(self, groups: Groups, cameras: Collection[str]) -> None:
        """See some cameras of these."""
        self._groups, self._cameras = groups, cameras

    def options(self) -> Options | None:
        """Return how the gallery was grouped; None if it was not."""
        return self._groups.options()

    def refresh(self, options: Options, anew: bool) -> int:
        """Group what is in no group, of all cameras.

        Raises:
            GalleryError: If groups that are there would be made anew.
        """
        before = self._groups.options()
        if anew or (before is not None and before != options):
            raise GalleryError(ALL_CAMERAS)
        return self._groups.refresh(options, anew)

    def listed(self, cameras: Collection[str] | None = None) -> list[Group]:
        """Return the groups, with the appearances that are seen, by their number."""
        seen = self._cameras if cameras is None else [c for c in cameras if c in self._cameras]
        return self._groups.listed(seen)

    @contextmanager
    def acting(self) -> Iterator[GroupRows]:
        """Give the rows inside a transaction that is committed at the end, or undone."""
        with self._groups.acting() as rows:
            # What it lacks fails, rather than tells.
            yield cast(GroupRows, SeenGroupRows(rows))

    def undo(self) -> str | None:
        """Refuse: the last action may be of what is not seen.

        Raises:
            GalleryError: Always.
        """
        raise GalleryError(ALL_CAMERAS)

    def said(self) -> list[SaidGroup]:
        """Refuse: what was said is not told by camera.

        Raises:
            GalleryError: Always.
        """
        raise GalleryError(ALL_CAMERAS)


class SeenGroupRows:
    """What may be done to groups by somebody who sees some cameras; see `GroupRows`."""

    def __init__(self, rows: GroupRows) -> None:
        """Act on these rows."""
        self._rows = rows

    def add_group(self) -> int:
        """Make a group; return its number."""
        return self._rows.add_group()

    def add_action(self, said: str) -> int:
        """Write that somebody did something; return its number."""
        return self._rows.add_action(said)

    def set_name(self, action: int, group: int, name: str) -> None:
        """Name a group."""
        self._rows.set_name(action, group, name)

    def anchors(self, appearance: int) -> list[Anchor]:
        """Return some people of an appearance."""
        return self._rows.anchors(appearance)

    def place(self, action: int, anchors: Iterable[Anchor], group: int) -> None:
        """Put people into a group."""
        self._rows.place(action, anchors, group)

    def best_anchors(self, appearances: Sequence[int]) -> dict[int, Anchor]:
        """Return the best person of each appearance."""
        return self._rows.best_anchors(appearances)

    def set_nobody(self, action: int, group: int, is_nobody: bool) -> None:
        """Refuse: a group may have appearances that are not seen.

        Raises:
            GalleryError: Always.
        """
        raise GalleryError(ALL_CAMERAS)

    def add_said(self, theirs: Sequence[SaidGroup]) -> int:
        """Refuse, likewise.

        Raises:
            GalleryError: Always.
        """
        raise GalleryError(ALL_CAMERAS)
