"""A frame-sized picture to paint on, and what several scenes share: ground, houses, trees, sky."""

from collections.abc import Sequence

import cv2
import numpy as np

from person_search.synthetic.palette import Colour, mix, scale, vary
from person_search.synthetic.places.camera import Camera

_SUBPIXEL_BITS = 4
_ONE = 1 << _SUBPIXEL_BITS

WALLS: tuple[Colour, ...] = (
    (176, 120, 96), (206, 190, 160), (150, 150, 156), (120, 132, 146), (190, 160, 130),
)  # fmt: skip
SIGNS: tuple[Colour, ...] = (
    (40, 90, 120), (150, 50, 50), (60, 110, 70), (200, 150, 60), (60, 60, 70), (100, 70, 120),
)  # fmt: skip


def choose(rng: np.random.Generator, colours: Sequence[Colour], amount: int = 14) -> Colour:
    """Return one of the colours, varied a little."""
    return vary(rng, colours[int(rng.integers(0, len(colours)))], amount)


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Return a number between two others."""
    return low + (high - low) * float(rng.random())


class Backdrop:
    """Columns x and rows y are frame pixels; ``unit`` is one pixel of a 540-row frame."""

    def __init__(self, camera: Camera):
        self.camera = camera
        self.width, self.height = camera.width, camera.height
        self.image = np.zeros((camera.height, camera.width, 3), np.uint8)
        self.unit = camera.height / 540
        self.horizon = camera.horizon

    def polygon(self, points: Sequence[tuple[float, float]], colour: Colour) -> None:
        """Fill a polygon of (x, y) points."""
        fixed = np.array([(round(x * _ONE), round(y * _ONE)) for x, y in points], np.int32)
        cv2.fillPoly(self.image, [fixed], colour[::-1], cv2.LINE_AA, _SUBPIXEL_BITS)

    def box(self, x1: float, y1: float, x2: float, y2: float, colour: Colour) -> None:
        """Fill an upright rectangle."""
        self.polygon([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], colour)

    def disc(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """Fill an upright ellipse."""
        centre = (round(x * _ONE), round(y * _ONE))
        axes = (round(rx * _ONE), round(ry * _ONE))
        cv2.ellipse(
            self.image, centre, axes, 0, 0, 360, colour[::-1], -1, cv2.LINE_AA, _SUBPIXEL_BITS
        )

    def line(
        self, x1: float, y1: float, x2: float, y2: float, colour: Colour, width: int = 1
    ) -> None:
        """Draw a line."""
        start, end = (round(x1 * _ONE), round(y1 * _ONE)), (round(x2 * _ONE), round(y2 * _ONE))
        cv2.line(self.image, start, end, colour[::-1], width, cv2.LINE_AA, _SUBPIXEL_BITS)

    def gradient(self, y1: float, y2: float, top: Colour, bottom: Colour) -> None:
        """Fill rows y1..y2 from one colour to another."""
        first, last = max(0, round(y1)), min(self.height, round(y2))
        for row in range(first, last):
            self.image[row] = mix(top, bottom, (row - first) / max(1, last - first - 1))[::-1]

    def ground_point(self, across: float, away: float) -> tuple[float, float]:
        """Return (x, y) of a point of the ground.

        Args:
            across: Distance from the line below the vanishing point, pixels at the lower edge.
            away: 1 at the lower edge of the frame, growing with the distance from the camera.
        """
        x = self.camera.vanishing_x + across / away
        return x, self.horizon + (self.height - self.horizon) / away

    def ground_patch(
        self, across: tuple[float, float], away: tuple[float, float], colour: Colour
    ) -> None:
        """Fill a rectangle that lies on the ground."""
        (a, b), (near, far) = across, away
        corners = [(a, near), (b, near), (b, far), (a, far)]
        self.polygon([self.ground_point(u, w) for u, w in corners], colour)

    def speckle(self, rng: np.random.Generator, y1: float, strength: int) -> None:
        """Roughen everything below a row."""
        first = max(0, round(y1))
        shape = (self.height - first, self.width, 1)
        grain = rng.integers(-strength, strength + 1, shape, dtype=np.int16)
        region = self.image[first:]
        region[:] = np.clip(region + grain, 0, 255).astype(np.uint8)


def paint_sky(back: Backdrop, rng: np.random.Generator) -> None:
    """Paint one of four skies, with clouds in two of them."""
    skies = (
        ((110, 160, 214), (206, 224, 236)),
        ((96, 150, 210), (190, 214, 232)),
        ((160, 176, 190), (214, 218, 222)),
        ((120, 130, 170), (240, 206, 170)),
    )
    kind = int(rng.integers(0, 4))
    top, low = skies[kind]
    back.gradient(0, back.horizon + 40 * back.unit, top, low)
    if kind > 1:
        return
    for _ in range(int(rng.integers(2, 6))):
        x, y = between(rng, 0, back.width), between(rng, 0, back.horizon * 0.7)
        size = between(rng, 14, 30) * back.unit
        white = mix(low, (255, 255, 255), 0.6)
        for k in range(5):
            rise = size * (0.5 - 0.1 * abs(k - 2))
            back.disc(x + (k - 2) * size * 0.8, y - rise * 0.3, size * 0.8, rise, white)


def paint_tiles(back: Backdrop, size: float, joint: Colour, half: float | None = None) -> None:
    """Draw the joints of square tiles.

    Args:
        back: Where.
        size: Edge of a tile at the lower edge of the frame, pixels.
        joint: Colour of the joints.
        half: Half the width of the tiled way at the lower edge, pixels; None for everywhere.
    """
    reach = int((half or 8 * back.width) / size)
    for k in range(-reach, reach + 1):
        back.line(*back.ground_point(k * size, 14.0), *back.ground_point(k * size, 0.98), joint)
    away = 0.98
    while away < 14:
        left, right = back.ground_point(-(half or 0), away), back.ground_point(half or 0, away)
        ends = (left[0], right[0]) if half else (0, back.width)
        back.line(ends[0], left[1], ends[1], left[1], joint)
        away += 0.16 * size / (90 * back.unit)


def paint_stains(
    back: Backdrop, rng: np.random.Generator, colour: Colour, first_row: float
) -> None:
    """Lay worn patches, drains and scraps on the ground, flat as perspective asks."""
    for _ in range(int(rng.integers(6, 14))):
        away = 1.0 / between(rng, 0.18, 1.0)
        x, y = back.ground_point(between(rng, -1.2, 1.2) * back.width, away)
        if y < first_row + 6 * back.unit:
            continue
        wide = between(rng, 20, 90) * back.unit / away
        back.disc(x, y, wide, wide * 0.22, scale(colour, between(rng, 0.93, 1.05)))
    for _ in range(int(rng.integers(1, 4))):
        away = 1.0 / between(rng, 0.3, 0.9)
        x, y = back.ground_point(between(rng, -0.8, 0.8) * back.width, away)
        wide = 26 * back.unit / away
        if y > first_row + 6 * back.unit:
            back.disc(x, y, wide, wide * 0.3, scale(colour, 0.62))
            back.disc(x, y, wide * 0.8, wide * 0.22, scale(colour, 0.74))


def paint_facade(
    back: Backdrop, rng: np.random.Generator, x1: float, x2: float, top: float, bottom: float
) -> None:
    """Paint a house front with rows of windows and a shop at street level."""
    unit, wall = back.unit, choose(rng, WALLS)
    back.box(x1, top, x2, bottom, wall)
    back.box(x1 - 2, top, x2 + 2, top + 5 * unit, scale(wall, 0.72))
    back.box(x2 - 4 * unit, top, x2, bottom, scale(wall, 0.86))
    pane = vary(rng, (86, 110, 132), 16)
    step_x, step_y = between(rng, 26, 42) * unit, between(rng, 34, 44) * unit
    has_sills = rng.random() < 0.6
    shop = bottom - 58 * unit
    y = top + 12 * unit
    while y + step_y * 0.6 < shop:
        x = x1 + step_x * 0.35
        while x + step_x * 0.55 < x2:
            right, low = x + step_x * 0.5, y + step_y * 0.55
            back.box(x - 1.5, y - 1.5, right + 1.5, low + 1.5, scale(wall, 1.14))
            back.box(x, y, right, low, scale(pane, between(rng, 0.7, 1.3)))
            back.polygon([(x, low), (x, y + 2), (right - 2, y)], scale(pane, 1.25))
            back.line((x + right) / 2, y, (x + right) / 2, low, scale(wall, 1.1))
            if has_sills:
                back.box(x - 2, low, right + 2, low + 3 * unit, scale(wall, 0.8))
            x += step_x
        y += step_y
    _paint_shop(back, rng, x1, x2, shop, bottom, wall)


def _paint_shop(
    back: Backdrop, rng: np.random.Generator, x1: float, x2: float, top: float, bottom: float,
    wall: Colour,
) -> None:  # fmt: skip
    unit, sign = back.unit, choose(rng, SIGNS)
    back.box(x1 + 3, top, x2 - 3, bottom, scale(wall, 0.7))
    glass = vary(rng, (120, 134, 140), 14)
    back.box(x1 + 6, top + 14 * unit, x2 - 6, bottom - 4 * unit, glass)
    for _ in range(3):
        x = between(rng, x1 + 8, x2 - 20 * unit)
        back.box(x, top + 26 * unit, x + 9 * unit, bottom - 5 * unit, choose(rng, WALLS, 40))
    back.polygon(
        [(x1 + 10, bottom - 4 * unit), (x1 + 26 * unit, top + 14 * unit),
         (x1 + 40 * unit, top + 14 * unit), (x1 + 24 * unit, bottom - 4 * unit)],
        scale(glass, 1.1),
    )  # fmt: skip
    if rng.random() < 0.5:
        stripes = max(3, round((x2 - x1) / (14 * unit)))
        for k in range(stripes):
            a, b = x1 + (x2 - x1) * k / stripes, x1 + (x2 - x1) * (k + 1) / stripes
            colour = sign if k % 2 else (236, 232, 222)
            corners = [(a, top), (b, top), (b - 2 * unit, top + 16 * unit)]
            back.polygon([*corners, (a - 2 * unit, top + 16 * unit)], colour)
    else:
        back.box(x1 + 3, top, x2 - 3, top + 12 * unit, sign)
        middle, half = (x1 + x2) / 2, (x2 - x1) * 0.2
        back.box(middle - half, top + 4 * unit, middle + half, top + 8 * unit, scale(sign, 1.9))
    door = x1 + (x2 - x1) * between(rng, 0.2, 0.7)
    back.box(door, top + 18 * unit, door + 18 * unit, bottom, scale(sign, 0.7))
    back.disc(door + 14 * unit, (top + bottom) / 2 + 10 * unit, 1.4 * unit, 1.4 * unit, WALLS[1])


def paint_houses(back: Backdrop, rng: np.random.Generator, bottom: float) -> None:
    """Paint a row of houses along the whole frame."""
    x = -30.0 * back.unit
    while x < back.width:
        wide = between(rng, 90, 220) * back.unit
        paint_facade(back, rng, x, x + wide, bottom - between(rng, 110, 260) * back.unit, bottom)
        x += wide


def paint_trees(back: Backdrop, rng: np.random.Generator, bottom: float, count: int) -> None:
    """Paint a belt of distant trees."""
    for _ in range(count):
        x, size = between(rng, 0, back.width), between(rng, 30, 90) * back.unit
        green = vary(rng, (84, 126, 70), 20)
        back.box(x - size * 0.05, bottom - size * 0.5, x + size * 0.05, bottom, (92, 72, 54))
        for k in range(11):
            u, v = size * between(rng, -0.5, 0.5), size * between(rng, 0.5, 1.3)
            light = 0.74 + 0.03 * k + 0.1 * (v / size - 0.5)
            back.disc(x + u, bottom - v, size * 0.24, size * 0.22, scale(green, light))
