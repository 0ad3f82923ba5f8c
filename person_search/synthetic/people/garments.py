"""Cloth wrapped round the body: elliptic cross-sections, patterns and folds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from person_search.synthetic.canvas import Canvas, Point, smooth
from person_search.synthetic.palette import Colour, contrast_of
from person_search.synthetic.people.pose import View

Section = tuple[float, float, float]
"""Height, half width across, half depth; units of body height."""


@dataclass(frozen=True)
class Surface:
    """A piece of the body or of a garment, seen from one side.

    Points on it are named by (angle, height): angle 0 is the front, 90 the person's left, 180 the
    back.
    """

    sections: tuple[Section, ...]
    """From top to bottom."""
    view: View
    lift: float
    shift: Callable[[float], float]
    """Forward shift (z) at a height: the lean of the body."""

    def section_at(self, height: float) -> tuple[float, float]:
        """Return half width and half depth at a height."""
        upper = self.sections[0]
        for lower in self.sections:
            if height >= lower[0]:
                span = upper[0] - lower[0]
                t = (height - lower[0]) / span if span else 0.0
                return lower[1] + (upper[1] - lower[1]) * t, lower[2] + (upper[2] - lower[2]) * t
            upper = lower
        return upper[1], upper[2]

    def point(self, angle: float, height: float) -> Point:
        """Return (u, v) of a point of the surface."""
        a, b = self.section_at(height)
        r = math.radians(angle)
        x, z = a * math.sin(r), b * math.cos(r) + self.shift(height)
        return self.view.project((x, height + self.lift, z))

    def visible(self, height: float) -> tuple[float, float]:
        """Return the range of angles that faces the viewer at a height."""
        centre = self.view.facing_angle(*self.section_at(height))
        return centre - 90.0, centre + 90.0

    def clip(self, first: float, last: float, height: float) -> tuple[float, float] | None:
        """Cut a range of angles to what faces the viewer, or return None."""
        low, high = self.visible(height)
        if last - first >= 360.0:
            return low, high
        for turn in (-360.0, 0.0, 360.0):
            a, b = max(first + turn, low), min(last + turn, high)
            if a < b:
                return a, b
        return None

    def outline(self) -> list[Point]:
        """Return the silhouette, smoothed, with the lower and upper rims curved as rounds are."""
        left = smooth([self.point(self.visible(h)[0], h) for h, _, _ in self.sections])
        right = smooth([self.point(self.visible(h)[1], h) for h, _, _ in self.sections])
        return left + self.rim(self.sections[-1][0])[1:-1] + right[::-1]

    def rim(self, height: float, steps: int = 8) -> list[Point]:
        """Return the visible half of a horizontal cut."""
        low, high = self.visible(height)
        return [self.point(low + (high - low) * i / steps, height) for i in range(steps + 1)]

    def patch(self, first: float, last: float, top: float, bottom: float) -> list[Point]:
        """Return the visible part of a patch between two angles and two heights; may be empty."""
        count = max(2, round((last - first) / 15))
        rows = []
        for height in (top, bottom):
            span = self.clip(first, last, height)
            if span is None:
                return []
            a, b = span
            rows.append([self.point(a + (b - a) * i / count, height) for i in range(count + 1)])
        return rows[0] + rows[1][::-1]


def shade_surface(canvas: Canvas, surface: Surface, seed: int) -> None:
    """Lay light, shadow and a few folds on a painted surface; ``seed`` fixes the folds."""
    sign = -1.0 if canvas.light.side >= 0 else 1.0
    heights = [h for h, _, _ in surface.sections]
    dark, light = [], []
    for height in heights:
        low, high = surface.visible(height)
        middle = (low + high) / 2
        dark.append(
            (surface.point(middle + sign * 20, height), surface.point(middle + sign * 88, height))
        )
        light.append(
            (surface.point(middle - sign * 60, height), surface.point(middle - sign * 30, height))
        )
    for pairs, level in ((dark, canvas.dark), (light, canvas.bright)):
        inner = smooth([p for p, _ in pairs])
        outer = smooth([p for _, p in pairs])
        canvas.shade(inner + outer[::-1], level)
    top, bottom = heights[0], heights[-1]
    for i in range(4):
        mark = (seed * (i + 3) * 37) % 97 / 97.0
        height = bottom + (top - bottom) * (0.15 + 0.2 * i)
        low, high = surface.visible(height)
        start = low + (high - low) * (0.1 + 0.55 * mark)
        fold = [surface.point(start + 14 * j, height - 0.012 * j * (1 + mark)) for j in range(3)]
        canvas.shade_line(fold, 0.006, canvas.dark - 6)


def paint_pattern(
    canvas: Canvas,
    surface: Surface,
    kind: str,
    colour: Colour,
    scale: float,
    top: float,
    bottom: float,
) -> None:
    """Print a pattern on a painted surface between two heights.

    Args:
        canvas: Where to paint.
        surface: What to print on.
        kind: plain, stripes, checks, dots, block or logo; see ``identity.PATTERNS``.
        colour: RGB of the print.
        scale: Size of the print; 1 is average.
        top: Upper height of the printed part.
        bottom: Lower height.
    """
    if kind == "stripes":
        _bands(canvas, surface, colour, 0.042 * scale, top, bottom)
    elif kind == "checks":
        _bands(canvas, surface, colour, 0.056 * scale, top, bottom, share=0.34)
        for angle in range(0, 360, max(20, round(34 * scale))):
            _tint(canvas, surface.patch(angle - 4.5, angle + 4.5, top, bottom), colour)
    elif kind == "dots":
        _dots(canvas, surface, colour, 0.05 * scale, top, bottom)
    elif kind == "block":
        _tint(canvas, surface.patch(-180, 180, top, top - (top - bottom) * 0.42 * scale), colour)
    elif kind == "logo":
        half, centre = 24 * scale, 0.715
        _tint(
            canvas, surface.patch(-half, half, centre + 0.03 * scale, centre - 0.03 * scale), colour
        )
        ink = contrast_of(colour)
        _tint(canvas, surface.patch(-half * 0.55, half * 0.55, centre + 0.008, centre - 0.008), ink)


def _tint(canvas: Canvas, points: Sequence[Point], colour: Colour) -> None:
    if len(points) > 2:
        canvas.tint(points, colour)


def _bands(
    canvas: Canvas, surface: Surface, colour: Colour, period: float, top: float, bottom: float,
    share: float = 0.5,
) -> None:  # fmt: skip
    height = top - period * 0.5
    while height > bottom + period * 0.2:
        lower = max(bottom, height - period * share)
        _tint(canvas, surface.rim(height) + surface.rim(lower)[::-1], colour)
        height -= period


def _dots(
    canvas: Canvas, surface: Surface, colour: Colour, period: float, top: float, bottom: float
) -> None:
    height, row = top - period * 0.6, 0
    while height > bottom + period * 0.3:
        for angle in range(0, 360, 36):
            span = surface.clip(angle + row * 18 - 8, angle + row * 18 + 8, height)
            if span:
                r = period * 0.24
                left, right = surface.point(span[0], height), surface.point(span[1], height)
                u, v = (left[0] + right[0]) / 2, (left[1] + right[1]) / 2
                half = (right[0] - left[0]) / 2
                _tint(canvas, [(u - half, v), (u, v + r), (u + half, v), (u, v - r)], colour)
        height -= period
        row = 1 - row


def paint_limb_pattern(
    canvas: Canvas, start: Point, end: Point, radii: Point, kind: str, colour: Colour, scale: float
) -> None:
    """Print stripes or checks across a sleeve; other patterns leave sleeves plain."""
    if kind not in ("stripes", "checks"):
        return
    du, dv = end[0] - start[0], end[1] - start[1]
    length = math.hypot(du, dv)
    if length < 0.03:
        return
    nu, nv = -dv / length, du / length
    period = (0.042 if kind == "stripes" else 0.056) * scale
    width = period * (0.5 if kind == "stripes" else 0.34)
    at = period * 0.4
    while at + width < length:
        corners = []
        for along, side in ((at, 1), (at + width, 1), (at + width, -1), (at, -1)):
            r = (radii[0] + (radii[1] - radii[0]) * along / length) * side
            corners.append(
                (start[0] + du * along / length + nu * r, start[1] + dv * along / length + nv * r)
            )
        canvas.tint(corners, colour)
        at += period


def flat_surface(
    sections: Sequence[Section], view: View, lift: float, lean: float, hip: float
) -> Surface:
    """Build a surface whose parts above the hips lean forward."""
    return Surface(tuple(sections), view, lift, lambda h: lean * max(0.0, h - hip))
