"""Outline and number the people of a picture, so that one can be chosen."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from person_search.people import Box, People, paired_intersection

Color = tuple[int, int, int]

PERSON_COLOR: Color = (34, 102, 204)
SELECTED_COLOR: Color = (240, 170, 20)
HALO: Color = (16, 18, 22)
EDGE: Color = (255, 255, 255)


def draw_people(
    image: np.ndarray | Image.Image, people: People, selected: int | None = None
) -> Image.Image:
    """Outline the people of a picture, each with its number, from 1, on a tag.

    Lines and tags grow with the picture, so that it may be shown smaller. They have a light and a
    dark edge and stand out from any background. A tag stands above its box, or where it hides the
    least of other tags, always inside the picture.

    Args:
        image: (H, W, 3) uint8 RGB, or a Pillow image; not changed.
        people: numbered in this order; parts of boxes outside the picture are cut off.
        selected: row of the person in another colour, drawn on top.

    Returns:
        RGB, of the same size.

    Raises:
        ValueError: if ``selected`` is none of them.

    Examples:
        >>> street = np.full((120, 160, 3), 128, np.uint8)
        >>> boxes = np.array([[10, 20, 40, 110], [60, 15, 95, 115]], np.float32)
        >>> people = People(boxes, np.ones(2, np.float32), np.eye(2, 128, dtype=np.float32))
        >>> drawn = draw_people(street, people, selected=1)
        >>> drawn.size, drawn.mode
        ((160, 120), 'RGB')
    """
    rows = people.boxes.astype(np.float64)
    if selected is not None and not 0 <= selected < len(rows):
        raise ValueError(f"selected is {selected}; expected 0..{len(rows) - 1} or None")
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture = picture.convert("RGB") if picture.mode != "RGB" else picture.copy()
    # The selected one last, over the others.
    order = sorted(range(len(rows)), key=lambda row: row == selected)
    pen = _Pen(picture)
    for row in order:
        pen.outline(rows[row], SELECTED_COLOR if row == selected else PERSON_COLOR)
    for row in reversed(order):
        pen.tag(rows[row], str(row + 1), row == selected)
    return picture


def outline_person(picture: Image.Image, box: Sequence[float]) -> Image.Image:
    """Outline one person, without a number.

    Args:
        picture: RGB; not changed.
        box: (x1, y1, x2, y2) in its pixels; what lies outside is cut off.
    """
    drawn = picture.copy()
    _Pen(drawn).outline(np.asarray(box, np.float64), SELECTED_COLOR)
    return drawn


class _Pen:
    """Draws on one picture and remembers where its tags are."""

    def __init__(self, picture: Image.Image) -> None:
        self._size = picture.size
        self._draw = ImageDraw.Draw(picture)
        side = max(picture.size)
        self._width = max(2, round(side / 400))
        self._font = ImageFont.load_default(max(11, round(side / 55)))
        self._tags: list[Box] = []

    def outline(self, box: np.ndarray, color: Color) -> None:
        width = self._width
        thin = max(1, width // 2)
        x1, y1, x2, y2 = self._clip(box)
        # From outside: dark, light, colour. The colour lies around the person, not over it, where
        # the picture has room.
        for grow, line, ink in (
            (width + 2 * thin, thin, HALO),
            (width + thin, thin, EDGE),
            (width, width, color),
        ):
            corners = self._clip(np.array([x1 - grow, y1 - grow, x2 + grow, y2 + grow]))
            self._draw.rectangle(corners, outline=ink, width=line)

    def tag(self, box: np.ndarray, label: str, is_selected: bool) -> None:
        left, top, right, bottom = self._font.getbbox(label)
        pad = max(2, self._width)
        width, height = right - left + 4 * pad, bottom - top + 3 * pad
        place = self._find_place(self._clip(box), width, height)
        self._tags.append(place)
        fill, ink = (SELECTED_COLOR, HALO) if is_selected else (PERSON_COLOR, EDGE)
        thin = max(1, self._width // 2)
        self._draw.rectangle(place, fill=fill, outline=EDGE, width=thin)
        middle = ((place[0] + place[2]) / 2, (place[1] + place[3]) / 2)
        self._draw.text(middle, label, ink, font=self._font, anchor="mm")

    def _find_place(self, box: Box, width: float, height: float) -> Box:
        """Return the first of several places about the box with the least of other tags below."""
        x1, y1, x2, y2 = box
        gap = 2 * self._width
        tops = (y1 - height - gap, y1 + gap, y2 - height - gap, y2 + gap)
        lefts = (x1, x2 - width)
        places = [self._push_inside(left, top, width, height) for top in tops for left in lefts]
        tags = np.reshape(self._tags, (-1, 4))
        return min(places, key=lambda place: sum(paired_intersection(np.array(place), tags)))

    def _push_inside(self, left: float, top: float, width: float, height: float) -> Box:
        left = max(0.0, min(left, self._size[0] - 1 - width))
        top = max(0.0, min(top, self._size[1] - 1 - height))
        return left, top, left + width, top + height

    def _clip(self, box: np.ndarray) -> Box:
        right, bottom = self._size[0] - 1, self._size[1] - 1
        x1, x2 = (float(x) for x in np.clip(box[[0, 2]], 0, right))
        y1, y2 = (float(y) for y in np.clip(box[[1, 3]], 0, bottom))
        return x1, y1, max(x1, x2), max(y1, y2)
