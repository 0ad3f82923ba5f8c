"""Blurs everybody of a gallery's frames but one person; see `drawing.blurring`.

Who else is in a frame is what the gallery knows, however low their scores. In a clip most frames
lie between those that it has looked at. It knows nobody there, so everything but the person is
blurred in the whole clip: a picture that is sharp every second would tell as much. Within the
person's box those are blurred who stood there in the frame before or after. Where the gallery has
looked in between and has not seen the person, nobody knows who is in the box: there is none, and
everything is blurred.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from person_search.drawing.blurring import blur_around, blur_others
from person_search.footage.frames import split_frame_name
from person_search.gallery.errors import GalleryError
from person_search.people import Box, Match

if TYPE_CHECKING:
    from person_search.gallery.index import GalleryIndex

_AT_ONCE = 1000
"""Names that the gallery is asked for at once."""
SAME_BOX = 1.0
"""Pixels by which the corners of a box may differ from the gallery's, where they were rounded."""


def boxes_beside(index: "GalleryIndex", sight: Match) -> np.ndarray:
    """Return the boxes of everybody else in a frame, (N, 4), in original pixels.

    Raises:
        GalleryError: If the gallery does not know the frame, or this person in it: then it cannot
            tell who is to be blurred.
    """
    others = np.delete(boxes := index.people_of(sight.image).boxes, row_of(boxes, sight), axis=0)
    if not index.has_appearances:
        return others
    return np.concatenate([others, index.appearances.boxes_not_kept(sight.image)])


def row_of(boxes: np.ndarray, sight: Match) -> int:
    """Return which of a frame's boxes (N, 4) is a sight's.

    Raises:
        GalleryError: If none is.
    """
    distances = np.abs(boxes - np.array(sight.box_xyxy, np.float32)).max(axis=1, initial=0)
    if len(distances) == 0 or not distances.min() <= SAME_BOX:
        raise GalleryError(
            f"the gallery knows nobody at {sight.box_xyxy} of {sight.image} any more; search again"
        )
    return int(distances.argmin())


def hidden_share(person: Box, others: np.ndarray) -> float:
    """Return how much of a person's box lies in others' boxes (N, 4): 0..1."""
    x1, y1, x2, y2 = person
    grid = (np.arange(32) + 0.5) / 32
    x, y = np.meshgrid(x1 + grid * (x2 - x1), y1 + grid * (y2 - y1))
    inside = np.zeros(x.shape, bool)
    for left, top, right, bottom in others:
        inside |= (left <= x) & (x <= right) & (top <= y) & (y <= bottom)
    return float(inside.mean())


class ClipHider:
    """Hides everybody but the person in the frames of one clip, as `cut_clip` wants it."""

    def __init__(
        self, index: "GalleryIndex", sights: Sequence[Match], *, keeps_scene: bool = True
    ) -> None:
        """Take the sights; who else is there is looked up with each frame that is shown.

        A stay may last for hours, of which a clip shows two minutes.

        Args:
            index: The gallery.
            sights: The stay's, by time.
            keeps_scene: Leave what is around people as it is, where the gallery has looked at every
                frame. Whom it has not found then stays visible.
        """
        self._index = index
        self._sights = {sight.image: sight for sight in sights}
        self._others: dict[str, np.ndarray] = {}
        self._numbers: dict[str, list[int]] = {}
        for sight in sights:
            file, number = split_frame_name(sight.image)
            if number is not None:
                self._numbers.setdefault(file, []).append(number)
        for numbers in self._numbers.values():
            numbers.sort()
        # Frames in which the person was not seen do not count: whose box is whose is not known.
        self._is_looked_at = keeps_scene and all(
            len(numbers) == numbers[-1] - numbers[0] + 1 for numbers in self._numbers.values()
        )
        self._is_unseen: dict[tuple[str, int], bool] = {}

    def __call__(
        self, name: str, picture: np.ndarray, person: Box | None
    ) -> tuple[np.ndarray, Box | None]:
        """Return the picture and the box to show.

        Raises:
            GalleryError: If the gallery does not know a sight any more.
        """
        others = self._others_at(name) if name in self._sights else None
        if others is not None and self._is_looked_at:
            return blur_others(picture, person, others), person
        if others is None and not self._is_followed(name):
            return blur_others(picture, None, None), None
        near = self._near(name) if others is None else others
        return blur_around(picture, person, near), person

    def _is_followed(self, name: str) -> bool:
        """Say whether the person was seen in the frames looked at before and after this one."""
        file, number = split_frame_name(name)
        numbers = self._numbers.get(file, [])
        place = 0 if number is None else bisect_left(numbers, number)
        if number is None or not 0 < place < len(numbers):
            return False
        between = file, place
        if between not in self._is_unseen:
            first, last = numbers[place - 1 : place + 1]
            self._is_unseen[between] = _has_looked(self._index, file, first + 1, last)
        return not self._is_unseen[between]

    def _near(self, name: str) -> np.ndarray:
        """Return who else was in the frames looked at before and after one that was not."""
        file, number = split_frame_name(name)
        numbers = self._numbers.get(file, [])
        if number is None or not numbers:
            return np.zeros((0, 4))
        places = {bisect_right(numbers, number) - 1, bisect_left(numbers, number)}
        looked_at = [numbers[place] for place in places if 0 <= place < len(numbers)]
        return np.vstack([self._others_at(f"{file}#frame={n}") for n in looked_at])

    def _others_at(self, name: str) -> np.ndarray:
        if name not in self._others:
            self._others[name] = boxes_beside(self._index, self._sights[name])
        return self._others[name]


def _has_looked(index: "GalleryIndex", file: str, first: int, last: int) -> bool:
    """Say whether a gallery has one of the frames of a video from a number on to before another."""
    return any(
        index.known_frames([f"{file}#frame={n}" for n in range(some, min(some + _AT_ONCE, last))])
        for some in range(first, last, _AT_ONCE)
    )
