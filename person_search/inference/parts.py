"""Search a large or wide picture in overlapping parts, beside the whole.

A model scales every picture to its own size. In a panorama of 7680 x 540 pixels a person of half
its height is 17 pixels high to a model that sees 480 x 34 of it: nobody is found. Such a picture is
cut into parts that are scaled less. The whole is looked at as well, for the people too near to the
camera to fit into a part.

Whether a picture is cut: the smallest people that are looked for are `SMALLEST_SHARE` of its
shorter side, or `SURE_HEIGHT` pixels high where that is less, since who takes so large a picture
wants those found. If they would be smaller than the model sees (`Sight.smallest_person`), the parts
are as large as makes them `ROOM_TO_SEE` times that. So 16:9 and 2.4:1 are left whole by models of
one step, and wider than 3:1 is cut; a detector of 416 x 416 pixels gets 16:9 and 4:3 in parts.

Each part costs as much as a picture of its own. Of 814 true people in 39 frames of seven MOT17
sequences NanoDet-m, 416 x 416, finds 283 in whole frames and 462 with seven views of each frame.

Letters: H, W height and width in original pixels, N boxes, V views: the whole, which is number 0,
then the parts.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from person_search.inference.sight import Sight

SMALLEST_SHARE = 1 / 16
"""Of a picture's shorter side: the smallest people that are looked for."""
SURE_HEIGHT = 160
"""Pixels: people of this height are looked for however large the picture is."""
ROOM_TO_SEE = 1.5
"""How much larger than the smallest that the model sees those people are in the parts."""
OVERLAP = 0.25
"""Of two neighbouring parts, as a share of one, at least. Who is wider or higher than this, and so
may be cut by every part, is large enough to be found in the whole."""
MAX_PARTS = 200
"""More than this are not made of a picture; they are larger instead."""


@dataclass(frozen=True)
class Parts:
    """How a picture is cut."""

    height: int
    """Of the picture, H."""
    width: int
    part_height: int
    """Of each part, original pixels."""
    part_width: int
    tops: tuple[int, ...]
    """Where the parts of a column begin."""
    lefts: tuple[int, ...]
    """Where the parts of a row begin."""

    @property
    def boxes(self) -> np.ndarray:
        """(V, 4) int64: x1, y1, x2, y2 of the views, the whole first."""
        size = self.part_height, self.part_width
        parts = [(x, y, x + size[1], y + size[0]) for y in self.tops for x in self.lefts]
        return np.array([(0, 0, self.width, self.height), *parts], np.int64)

    def cut(self, image: np.ndarray) -> list[np.ndarray]:
        """Return the views of a picture (H, W, 3), the whole first."""
        return [image[y1:y2, x1:x2] for x1, y1, x2, y2 in self.boxes.tolist()]


def plan_parts(
    sight: Sight | None, height: int, width: int, wanted: bool | None = None
) -> Parts | None:
    """Choose the parts in which a picture is searched.

    Args:
        sight: of the model; None: it sees pictures as they are, which need no parts.
        height: H.
        width: W.
        wanted: True cuts it anyway, into parts that are seen twice as large as the whole at least;
            False never; None where people would be too small, as described above.

    Returns:
        None where the picture is only looked at as a whole.
    """
    if wanted is False or sight is None:
        return None
    scale = sight.scale(height, width)
    looked_for = min(SMALLEST_SHARE * min(height, width), SURE_HEIGHT)
    if not wanted and (scale >= 1 or looked_for * scale >= sight.smallest_person):
        return None
    # Pixels are not seen better than they are.
    closer = min(ROOM_TO_SEE * sight.smallest_person / looked_for, 1.0)
    if wanted:
        closer = max(closer, 2 * scale)
    while True:
        part_height = min(height, math.ceil(sight.height / closer))
        part_width = min(width, math.ceil(sight.width / closer))
        tops, lefts = _starts(height, part_height), _starts(width, part_width)
        if len(tops) * len(lefts) <= MAX_PARTS:
            break
        closer *= 0.8
    if len(tops) * len(lefts) == 1:
        return None
    return Parts(height, width, part_height, part_width, tops, lefts)


def _starts(length: int, part: int) -> tuple[int, ...]:
    """Return where parts begin along a side, evenly spread."""
    count = 1 + math.ceil((length - part) / ((1 - OVERLAP) * part))
    return tuple(round(i * (length - part) / max(count - 1, 1)) for i in range(count))


def embed_in_parts(
    parts: Parts,
    image: np.ndarray,
    boxes: np.ndarray,
    embed: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """Embed each of the given boxes from the view that shows it best.

    Args:
        parts: how the picture is cut.
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) in original pixels of the picture; N is not 0.
        embed: embeds boxes (M, 4) of a view, in its pixels; gives (M, D).

    Returns:
        (N, D).
    """
    views, chosen = parts.boxes, best_views(parts, boxes)
    rows: dict[int, np.ndarray] = {}
    for view in np.unique(chosen).tolist():
        x1, y1, x2, y2 = views[view].tolist()
        own = np.flatnonzero(chosen == view)
        embedded = embed(image[y1:y2, x1:x2], shift(boxes[own], (-x1, -y1)))
        rows.update(zip(own.tolist(), embedded, strict=True))
    return np.stack([rows[row] for row in range(len(boxes))])


def best_views(parts: Parts, boxes: np.ndarray) -> np.ndarray:
    """Choose the view in which each of the given boxes is best seen.

    Args:
        parts: how the picture is cut.
        boxes: (N, 4) in original pixels of the picture.

    Returns:
        (N,) int64: the part that leaves most room around the box, the whole where none holds it.
    """
    views = parts.boxes[1:]
    room = np.concatenate(
        [boxes[:, None, :2] - views[None, :, :2], views[None, :, 2:] - boxes[:, None, 2:]], axis=2
    )
    # At the picture's own border there is nothing to be seen.
    at_edge = views == np.array([0, 0, parts.width, parts.height])
    room = np.where(at_edge[None], np.inf, room).min(axis=2)
    return np.asarray(np.where(room.max(axis=1) >= 0, room.argmax(axis=1) + 1, 0))


def shift(boxes: np.ndarray, view: Sequence[int]) -> np.ndarray:
    """Turn boxes (N, 4) in a view's pixels into the picture's; float32."""
    return np.asarray(boxes + np.array([view[0], view[1]] * 2), np.float32)
