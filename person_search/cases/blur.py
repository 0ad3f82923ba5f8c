"""Who stays recognizable on pictures of matches where everybody else is blurred.

Only the person is shown: all around is blurred, so that nobody is seen whom no detector has found.
What cannot be blurred for certain is not shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from person_search.cases.hiding import ClipHider, boxes_beside
from person_search.cases.sources import content_hash, file_digest
from person_search.drawing.blurring import blur_around
from person_search.footage.frames import split_frame_name
from person_search.gallery.errors import GalleryError
from person_search.people import Box, Match

if TYPE_CHECKING:
    from person_search.drawing.clips import Hide
    from person_search.gallery.index import GalleryIndex


def shown_as_asked(matches: Sequence[Match], least: float | None) -> list[bool]:
    """Say which matches show the person asked for, where everybody else is blurred.

    A match is somebody else unless something says otherwise: a person who looked at it, or a
    similarity from which on matches are right. Where neither does, only the best one is shown.

    Args:
        matches: Best first.
        least: The model's threshold, or the one that a user gave; None without either.

    Returns:
        For each match, whether its person stays recognizable.

    Examples:
        >>> best, next_best = (Match("a.png", (0, 0, 9, 9), 0.9, s) for s in (0.8, 0.7))
        >>> shown_as_asked([best, next_best], None)
        [True, False]
    """
    return [
        match.judgement
        if match.judgement is not None
        else match.similarity >= least
        if least is not None
        else place == 0
        for place, match in enumerate(matches)
    ]


class Hidden(NamedTuple):
    """What is blurred in one picture."""

    shows_person: bool
    """Whether the person whom the picture is of stays as they are."""

    others: tuple[Box, ...]
    """Who else is known to be there, in original pixels."""

    def blur(self, picture: np.ndarray, person: Box) -> np.ndarray:
        """Return a picture (H, W, 3), uint8 RGB, in which only the person is shown, or nobody."""
        others = np.array(self.others, np.float64).reshape(-1, 4)
        return blur_around(picture, person if self.shows_person else None, others)


@dataclass(frozen=True)
class Blur:
    """Blurs the pictures of one gallery."""

    index: "GalleryIndex"
    shows_person: bool = True
    """Whether whoever a picture is of stays as they are: the person asked for does."""

    def nobody(self) -> "Blur":
        """Show nobody: for pictures of others than the person asked for."""
        return replace(self, shows_person=False)

    def only(self, is_asked: bool) -> "Blur":
        """Show the person of a picture if that is who was asked for, else nobody."""
        return self if is_asked else self.nobody()

    def hidden(self, match: Match) -> Hidden:
        """Return what is to be blurred in a match's frame.

        Raises:
            GalleryError: The gallery knows nobody there any more, or the file has changed: then
                nobody knows who is in it.
            OSError: The file is gone.
        """
        if not self.shows_person:
            return Hidden(False, ())
        self.check(match.image)
        return Hidden(True, tuple(map(_as_box, boxes_beside(self.index, match).tolist())))

    def clip(self, sights: Sequence[Match]) -> "Hide":
        """Return what blurs the clip of these sights.

        Raises:
            GalleryError, OSError: As `hidden`.
        """
        if not self.shows_person:
            return lambda name, picture, box: (Hidden(False, ()).blur(picture, (0, 0, 0, 0)), box)
        for frame in {split_frame_name(sight.image)[0]: sight.image for sight in sights}.values():
            self.check(frame)
        return ClipHider(self.index, sights, keeps_scene=False)

    def check(self, frame: str) -> None:
        """Refuse a frame that is not the one that was indexed.

        Raises:
            GalleryError, OSError: See `hidden`.
        """
        file = split_frame_name(frame)[0]
        state = Path(file).stat()
        digest = _digest(file, state.st_mtime_ns, state.st_size)
        known = self.index.known_frames([frame]).get(frame)
        if digest is None or known != content_hash(digest, frame):
            raise GalleryError(
                f"{Path(file).name} is not the file that was indexed: who is in it is not known, "
                "and it is not shown; index it again"
            )


def _as_box(values: Sequence[float]) -> Box:
    x1, y1, x2, y2 = values
    return x1, y1, x2, y2


@lru_cache(maxsize=4096)
def _digest(file: str, changed: int, size: int) -> str | None:
    """Hash a file once as long as it does not change."""
    return file_digest(file)
