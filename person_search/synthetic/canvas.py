"""Paint one person (or thing) with light and shade, larger than needed, and shrink it smoothly.

Only integer image operations are used past the rounding of coordinates, so that every machine
paints the same bytes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain

import cv2
import numpy as np

from person_search.synthetic.palette import Colour

Point = tuple[float, float]
_Shape = tuple[Sequence[Point], Colour | None, int | None, float | None]
"""Of a canvas: its points, units; colour if any; shade level if any; width of the line, units, or
None for a filled polygon."""

NEUTRAL = 128
"""Shade level that leaves a colour as it is; 64 halves it."""
_NEUTRAL_BITS = 7
_SUBPIXEL_BITS = 4
_FAINT = 40
"""Border rows and columns no more opaque than this are cut off, so that boxes are tight."""
_HIDING = 127
"""What is more opaque hides what is behind it."""

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

    @cached_property
    def layers(self) -> tuple[np.ndarray, np.ndarray]:
        """What `paste` needs, (h, w, 3) uint8 each: the colours, and 255 less alpha."""
        alpha = cv2.bitwise_not(cv2.extractChannel(self.bgra, 3))
        return cv2.cvtColor(self.bgra, cv2.COLOR_BGRA2BGR), cv2.merge([alpha, alpha, alpha])

    @cached_property
    def mask(self) -> np.ndarray:
        """(h / 2, w / 2) bool, rounded up: which pixels of every other row and column hide."""
        return self.bgra[::2, ::2, 3] > _HIDING

    @cached_property
    def size(self) -> int:
        """How many pixels the mask has."""
        return int(np.count_nonzero(self.mask))

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
        self.light = light
        self.dark = round(NEUTRAL * (1.0 - 0.15 - 0.2 * light.contrast))
        self.bright = round(NEUTRAL * (1.0 + 0.05 + 0.11 * light.contrast))
        # Shapes wait until somebody looks: the points of all of them are then put on the canvas by
        # one call of NumPy, and only what they cover is painted.
        self._shapes: list[_Shape] = []

    def _fixed(self) -> np.ndarray:
        """Return (n, 1, 2) int32 of all points: fixed-point pixels of the canvas."""
        points = chain.from_iterable(chain.from_iterable(shape[0] for shape in self._shapes))
        count = sum(len(shape[0]) for shape in self._shapes)
        flat = np.fromiter(points, np.float64, 2 * count).reshape(-1, 1, 2)
        placed = flat * (self.unit, -self.unit) + (self.ground_x, self.ground_y)
        return np.rint(placed * (1 << _SUBPIXEL_BITS)).astype(np.int32)

    def painted(self) -> tuple[np.ndarray, np.ndarray]:
        """Return what is painted, on the whole canvas.

        Returns:
            (height, width, 4) uint8: the colours, alpha 255 where something is painted; and
            (height, width) uint8: the shade levels.
        """
        return self._paint(self._fixed(), self.width, self.height)

    def _paint(self, fixed: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        colours = np.zeros((height, width, 4), np.uint8)
        shades = np.full((height, width), NEUTRAL, np.uint8)
        bits, smoothly, sharply = _SUBPIXEL_BITS, cv2.LINE_AA, cv2.LINE_8
        end = 0
        for points, colour, shade, line in self._shapes:
            first, end = end, end + len(points)
            corners = [fixed[first:end]]
            bgra = None if colour is None else (colour[2], colour[1], colour[0], 255)
            if line is not None:
                pixels = self._line_pixels(line)
                if bgra is not None:
                    cv2.polylines(colours, corners, False, bgra, pixels, smoothly, bits)
                if shade is not None:
                    cv2.polylines(shades, corners, False, shade, pixels, sharply, bits)
                continue
            if bgra is not None:
                cv2.fillPoly(colours, corners, bgra, smoothly, bits)
            if shade is not None:
                cv2.fillPoly(shades, corners, shade, sharply, bits)
        return colours, shades

    def _line_pixels(self, width: float) -> int:
        return max(1, round(width * self.unit))

    def _paint_covered(self) -> tuple[int, int, np.ndarray, np.ndarray]:
        """Return column and row of the painted part of the canvas, its colours and its shades."""
        fixed = self._fixed()
        widest = max((shape[3] for shape in self._shapes if shape[3]), default=0.0)
        margin = self._line_pixels(widest) + 4 + self.times
        low = (fixed.min(axis=(0, 1)) >> _SUBPIXEL_BITS) - margin
        high = (fixed.max(axis=(0, 1)) >> _SUBPIXEL_BITS) + margin
        # Moved by whole pixels of the finished sprite, shapes are painted as they would be on the
        # whole canvas; where the canvas cuts them off, so does the part.
        x1, y1 = (max(0, int(edge) // self.times * self.times) for edge in low)
        x2, y2 = (
            min(size, int(edge)) for edge, size in zip(high, (self.width, self.height), strict=True)
        )
        moved = fixed - np.array((x1, y1), np.int32) * (1 << _SUBPIXEL_BITS)
        return x1, y1, *self._paint(moved, max(1, x2 - x1), max(1, y2 - y1))

    def polygon(self, points: Sequence[Point], colour: Colour, shade: int = NEUTRAL) -> None:
        """Fill a polygon, whose points stay; it hides what was painted there, shade included."""
        self._shapes.append((points, colour, shade, None))

    def tint(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill a polygon with a colour and keep the shade: prints and patterns on cloth."""
        self._shapes.append((points, colour, None, None))

    def shade(self, points: Sequence[Point], level: int) -> None:
        """Set the shade level in a polygon: below ``NEUTRAL`` darker, above brighter."""
        self._shapes.append((points, None, level, None))

    def shade_line(self, points: Sequence[Point], width: float, level: int) -> None:
        """Draw a line of shade, such as a fold; ``width`` in units."""
        self._shapes.append((points, None, level, width))

    def line(self, points: Sequence[Point], width: float, colour: Colour) -> None:
        """Draw a line on top of cloth without changing the shade; ``width`` in units."""
        self._shapes.append((points, colour, None, width))

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
        nothing = Sprite(np.zeros((1, 1, 4), np.uint8), 0, 0)
        if not self._shapes:
            return nothing
        column, row, colours, shades = self._paint_covered()
        x, y, w, h = cv2.boundingRect(cv2.extractChannel(colours, 3))
        if w == 0 or h == 0:
            return nothing
        t = self.times
        x1, y1 = x // t * t, y // t * t
        x2 = min(self.width - column, _round_up(x + w, t))
        y2 = min(self.height - row, _round_up(y + h, t))
        size = 2 * max(1, round(0.011 * self.unit)) + 1
        shades = cv2.GaussianBlur(shades[y1:y2, x1:x2], (size, size), 0)
        small = shrink(light_up(colours[y1:y2, x1:x2], shades), t)
        _, opaque = cv2.threshold(cv2.extractChannel(small, 3), _FAINT, 255, cv2.THRESH_BINARY)
        x, y, w, h = cv2.boundingRect(opaque)
        left, top = (column + x1 - self.ground_x) // t + x, (row + y1 - self.ground_y) // t + y
        return Sprite(small[y : y + h, x : x + w], left, top)


def light_up(bgra: np.ndarray, shades: np.ndarray) -> np.ndarray:
    """Return colours multiplied by shades, of which ``NEUTRAL`` is 1, and at most alpha.

    Args:
        bgra: (h, w, 4) uint8, colour already multiplied by alpha.
        shades: (h, w) uint8.
    """
    kept = np.full_like(shades, NEUTRAL)
    # Four equal channels, not one that is broadcast: NumPy's loops over three are ten times slower.
    lit = np.multiply(bgra, cv2.merge([shades, shades, shades, kept]), dtype=np.uint16)
    lit >>= _NEUTRAL_BITS
    alpha = cv2.extractChannel(bgra, 3)
    np.minimum(lit, cv2.merge([alpha, alpha, alpha, alpha]), out=lit)
    return np.asarray(lit, np.uint8)


def _round_up(value: float, multiple: int) -> int:
    return math.ceil(value / multiple) * multiple


def shrink(image: np.ndarray, times: int) -> np.ndarray:
    """Average blocks of ``times`` x ``times`` pixels (2 or 4) in exact integer arithmetic."""
    h, w = image.shape[:2]
    size = (w // times, h // times)
    # For whole factors INTER_AREA averages exactly: sums are below 2**24 and the divisor is a
    # power of two.
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


_ROUND_ENDS = tuple(
    tuple(math.radians(first + step) for step in range(0, 181, 30)) for first in (-90, 90)
)


def capsule(start: Point, end: Point, r0: float, r1: float) -> list[Point]:
    """Return the outline of a limb: two half circles joined by straight sides."""
    (u0, v0), (u1, v1) = start, end
    angle = math.atan2(v1 - v0, u1 - u0)
    cos, sin = math.cos, math.sin
    near, far = _ROUND_ENDS
    outline = [(u1 + r1 * cos(angle + a), v1 + r1 * sin(angle + a)) for a in near]
    outline += [(u0 + r0 * cos(angle + a), v0 + r0 * sin(angle + a)) for a in far]
    return outline


def ellipse(centre: Point, ru: float, rv: float, count: int = 24) -> list[Point]:
    """Return the outline of an upright ellipse."""
    u, v = centre
    return [(u + ru * p, v + rv * q) for p, q in _circle(count)]


@lru_cache(maxsize=32)
def _circle(count: int) -> list[Point]:
    turn = 2 * math.pi / count
    return [(math.cos(i * turn), math.sin(i * turn)) for i in range(count)]


def _strip(
    start: Point, end: Point, normal: Point, radii: Point, inner: float, outer: float
) -> list[Point]:
    """Return a lens along a limb between two offsets (in radii) from its axis."""
    nu, nv = normal
    (u0, v0), (u1, v1), r0 = start, end, radii[0]
    du, dv, grown = u1 - u0, v1 - v0, radii[1] - r0
    ends = ((-0.06, outer), (1.06, outer), (0.8, inner), (0.5, inner), (0.2, inner))
    reaches = [(share, (r0 + grown * share) * offset) for share, offset in ends]
    return [(u0 + du * s + nu * reach, v0 + dv * s + nv * reach) for s, reach in reaches]


def smooth(points: Sequence[Point], steps: int = 3) -> list[Point]:
    """Return a Catmull-Rom curve through the points."""
    if len(points) < 3:
        return list(points)
    padded = [points[0], *points, points[-1]]
    shares = [(step / steps, (step / steps) ** 3) for step in range(1, steps)]
    curve = []
    for (a, e), p1, (c, g), (d, h) in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        b, f = p1
        curve.append(p1)
        # The polynomials of u (a to d) and v (e to h): 2 b + (c - a) t + ... , halved.
        b2, u1, u2, u3 = 2 * b, c - a, 2 * a - 5 * b + 4 * c - d, 3 * b - a - 3 * c + d
        f2, v1, v2, v3 = 2 * f, g - e, 2 * e - 5 * f + 4 * g - h, 3 * f - e - 3 * g + h
        curve += [
            (
                0.5 * (b2 + u1 * t + u2 * t * t + u3 * cube),
                0.5 * (f2 + v1 * t + v2 * t * t + v3 * cube),
            )
            for t, cube in shares
        ]
    curve.append(points[-1])
    return curve
