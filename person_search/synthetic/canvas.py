"""Paint one person (or thing) with light and shade, larger than needed, and shrink it smoothly.

Only integer image operations are used past the rounding of coordinates, so that every machine
paints the same bytes.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from person_search.synthetic.palette import Colour

Point = tuple[float, float]

NEUTRAL = 128
"""Shade level that leaves a colour as it is; 64 halves it."""
_SUBPIXEL_BITS = 4
_FAINT = 40
"""Border rows and columns no more opaque than this are cut off, so that boxes are tight."""

# Vendor kernels may round differently from machine to machine; the plain ones are bit-exact.
cv2.ipp.setUseIPP(False)


@dataclass(frozen=True)
class Light:
    """Where light comes from, in the picture."""

    side: float
    """-1 from the left, 1 from the right, 0 from ahead."""
    contrast: float
    """0 overcast .. 1 hard sun."""


@dataclass(frozen=True)
class Sprite:
    """A painted thing, cut tight.

    Attributes:
        bgra: (h, w, 4) uint8, colour already multiplied by alpha.
        left: Column of the first pixel relative to the thing's ground point, pixels.
        top: Row of the first pixel relative to the ground point (negative: above).
    """

    bgra: np.ndarray
    left: int
    top: int

    def box_at(self, x: int, y: int) -> tuple[int, int, int, int]:
        """Return (x1, y1, x2, y2) with the ground point at column x, row y; not clipped."""
        h, w = self.bgra.shape[:2]
        return x + self.left, y + self.top, x + self.left + w, y + self.top + h


class Canvas:
    """Paint in units of body height: u to the right, v up, (0, 0) on the ground."""

    def __init__(
        self,
        height_px: float,
        light: Light,
        *,
        half_width: float = 0.52,
        top: float = 1.2,
        bottom: float = 0.12,
    ):
        """Make an empty canvas.

        Args:
            height_px: Pixels of one unit in the finished sprite.
            light: Light that falls on the thing.
            half_width: How far the canvas reaches to each side, units.
            top: How far it reaches above the ground, units.
            bottom: How far it reaches below the ground point, units.
        """
        self.times = 4 if height_px < 64 else 2
        self.unit = height_px * self.times
        pad = 4 * self.times
        self.width = _round_up(2 * half_width * self.unit + 2 * pad, 2 * self.times)
        self.height = _round_up((top + bottom) * self.unit + 2 * pad, self.times)
        self.ground_x = self.width // 2
        self.ground_y = self.height - _round_up(bottom * self.unit + pad, self.times)
        self.bgra = np.zeros((self.height, self.width, 4), np.uint8)
        self.shades = np.full((self.height, self.width), NEUTRAL, np.uint8)
        self.light = light
        self.dark = round(NEUTRAL * (1.0 - 0.15 - 0.2 * light.contrast))
        self.bright = round(NEUTRAL * (1.0 + 0.05 + 0.11 * light.contrast))

    def pixels(self, points: Iterable[Point]) -> np.ndarray:
        """Return (n, 1, 2) int32 fixed-point canvas coordinates."""
        one = 1 << _SUBPIXEL_BITS
        x0, y0, unit = self.ground_x, self.ground_y, self.unit
        flat = [(round((x0 + u * unit) * one), round((y0 - v * unit) * one)) for u, v in points]
        return np.array(flat, np.int32).reshape(-1, 1, 2)

    def polygon(self, points: Iterable[Point], colour: Colour, shade: int = NEUTRAL) -> None:
        """Fill a polygon; it hides what was painted there, shade included."""
        corners = [self.pixels(points)]
        bgra = (colour[2], colour[1], colour[0], 255)
        cv2.fillPoly(self.bgra, corners, bgra, cv2.LINE_AA, _SUBPIXEL_BITS)
        cv2.fillPoly(self.shades, corners, shade, cv2.LINE_8, _SUBPIXEL_BITS)

    def tint(self, points: Iterable[Point], colour: Colour) -> None:
        """Fill a polygon with a colour and keep the shade: prints and patterns on cloth."""
        bgra = (colour[2], colour[1], colour[0], 255)
        cv2.fillPoly(self.bgra, [self.pixels(points)], bgra, cv2.LINE_AA, _SUBPIXEL_BITS)

    def shade(self, points: Iterable[Point], level: int) -> None:
        """Set the shade level in a polygon: below ``NEUTRAL`` darker, above brighter."""
        cv2.fillPoly(self.shades, [self.pixels(points)], level, cv2.LINE_8, _SUBPIXEL_BITS)

    def shade_line(self, points: Sequence[Point], width: float, level: int) -> None:
        """Draw a line of shade, such as a fold; ``width`` in units."""
        pixels = max(1, round(width * self.unit))
        cv2.polylines(
            self.shades, [self.pixels(points)], False, level, pixels, cv2.LINE_8, _SUBPIXEL_BITS
        )

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw a line on top of cloth without changing the shade; ``width`` in units."""
        pixels = max(1, round(width * self.unit))
        bgra = (colour[2], colour[1], colour[0], 255)
        cv2.polylines(
            self.bgra, [self.pixels(points)], False, bgra, pixels, cv2.LINE_AA, _SUBPIXEL_BITS
        )

    def limb(
        self,
        start: Point,
        end: Point,
        r0: float,
        r1: float,
        colour: Colour,
        *,
        is_shaded: bool = False,
    ) -> None:
        """Paint a tapered limb with round ends, a light side and a shadow side.

        Args:
            start: Joint (u, v).
            end: Other joint.
            r0: Half width at the start.
            r1: Half width at the end.
            colour: RGB.
            is_shaded: Darken the whole limb: it is behind the body.
        """
        base = NEUTRAL - 22 if is_shaded else NEUTRAL
        self.polygon(capsule(start, end, r0, r1), colour, base)
        du, dv = end[0] - start[0], end[1] - start[1]
        length = math.hypot(du, dv)
        if length < 1e-6:
            return
        nu, nv = -dv / length, du / length
        dark_side = -1.0 if self.light.side >= 0 else 1.0
        sign = 1.0 if nu * dark_side > 0 or (abs(nu) < 0.2 and nv < 0) else -1.0
        nu, nv = nu * sign, nv * sign
        dark = base - (NEUTRAL - self.dark)
        self.shade(_strip(start, end, (nu, nv), (r0, r1), 0.2, 1.02), dark)
        self.shade(
            _strip(start, end, (nu, nv), (r0, r1), -0.85, -0.4), base + self.bright - NEUTRAL
        )

    def sprite(self) -> Sprite:
        """Return the finished picture, shaded, shrunk and cut tight."""
        x, y, w, h = cv2.boundingRect(self.bgra[:, :, 3])
        if w == 0 or h == 0:
            return Sprite(np.zeros((1, 1, 4), np.uint8), 0, 0)
        t = self.times
        x1, y1 = x // t * t, y // t * t
        x2, y2 = min(self.width, _round_up(x + w, t)), min(self.height, _round_up(y + h, t))
        bgra, shades = self.bgra[y1:y2, x1:x2], self.shades[y1:y2, x1:x2]
        size = 2 * max(1, round(0.011 * self.unit)) + 1
        shades = cv2.GaussianBlur(shades, (size, size), 0)
        alpha = bgra[:, :, 3:]
        lit = bgra[:, :, :3].astype(np.uint16) * shades[:, :, None] >> 7
        lit = np.minimum(lit, alpha).astype(np.uint8)
        small = shrink(np.concatenate([lit, alpha], axis=2), t)
        x, y, w, h = cv2.boundingRect((small[:, :, 3] > _FAINT).astype(np.uint8))
        left, top = (x1 - self.ground_x) // t + x, (y1 - self.ground_y) // t + y
        return Sprite(small[y : y + h, x : x + w], left, top)


def _round_up(value: float, multiple: int) -> int:
    return math.ceil(value / multiple) * multiple


def shrink(image: np.ndarray, times: int) -> np.ndarray:
    """Average blocks of ``times`` x ``times`` pixels (2 or 4) in exact integer arithmetic."""
    h, w = image.shape[:2]
    size = (w // times, h // times)
    # For whole factors INTER_AREA averages exactly: sums are below 2**24 and the divisor is a
    # power of two.
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def capsule(start: Point, end: Point, r0: float, r1: float) -> list[Point]:
    """Return the outline of a limb: two half circles joined by straight sides."""
    du, dv = end[0] - start[0], end[1] - start[1]
    angle = math.atan2(dv, du)
    outline = []
    for (u, v), r, first in ((end, r1, -90), (start, r0, 90)):
        for step in range(0, 181, 30):
            a = angle + math.radians(first + step)
            outline.append((u + r * math.cos(a), v + r * math.sin(a)))
    return outline


def ellipse(centre: Point, ru: float, rv: float, count: int = 24) -> list[Point]:
    """Return the outline of an upright ellipse."""
    turn = 2 * math.pi / count
    u, v = centre
    return [(u + ru * math.cos(i * turn), v + rv * math.sin(i * turn)) for i in range(count)]


def _strip(
    start: Point, end: Point, normal: Point, radii: Point, inner: float, outer: float
) -> list[Point]:
    """Return a lens along a limb between two offsets (in radii) from its axis."""
    nu, nv = normal
    (u0, v0), (u1, v1) = start, end
    points = []
    for share, offset in ((-0.06, outer), (1.06, outer), (0.8, inner), (0.5, inner), (0.2, inner)):
        reach = (radii[0] + (radii[1] - radii[0]) * share) * offset
        points.append((u0 + (u1 - u0) * share + nu * reach, v0 + (v1 - v0) * share + nv * reach))
    return points


def smooth(points: Sequence[Point], steps: int = 3) -> list[Point]:
    """Return a Catmull-Rom curve through the points."""
    if len(points) < 3:
        return list(points)
    padded = [points[0], *points, points[-1]]
    curve = []
    for p0, p1, p2, p3 in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        for step in range(steps):
            t = step / steps
            u = _catmull(p0[0], p1[0], p2[0], p3[0], t)
            curve.append((u, _catmull(p0[1], p1[1], p2[1], p3[1], t)))
    curve.append(points[-1])
    return curve


def _catmull(a: float, b: float, c: float, d: float, t: float) -> float:
    return 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t * t + (3 * b - a - 3 * c + d) * t**3
    )
