"""Cloth wrapped round the body: elliptic cross-sections, patterns and folds."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from person_search.synthetic.canvas import Canvas, Point, smooth
from person_search.synthetic.palette import Colour, contrast_of
from person_search.synthetic.people.pose import CAMERA_TILT, View

Section = tuple[float, float, float]
"""Height, half width across, half depth; units of body height."""


_RADIANS = math.pi / 180


class Cut:
    """A surface cut at one height: all that its points there have in common.

    Attributes:
        low: First angle that faces the viewer, degrees.
        high: Last one.
    """

    __slots__ = ("_a", "_b", "_forward", "_lifted", "_view", "high", "low")

    def __init__(self, radii: tuple[float, float], lifted: float, forward: float, view: View):
        """Hold half width and half depth, the height in the picture and the forward shift."""
        self._a, self._b = radii
        self._lifted, self._forward, self._view = lifted, forward, view
        middle = view.facing_angle(self._a, self._b)
        self.low, self.high = middle - 90.0, middle + 90.0

    def points(self, angles: Iterable[float]) -> list[Point]:
        """Return (u, v) of points of the surface, as ``View.project`` has them."""
        a, b, forward, lifted = self._a, self._b, self._forward, self._lifted
        cos, sin, view_cos, view_sin = math.cos, math.sin, self._view.cos, self._view.sin
        body = [(a * sin(r), b * cos(r) + forward) for r in [angle * _RADIANS for angle in angles]]
        return [
            (x * view_cos + z * view_sin, lifted - CAMERA_TILT * (z * view_cos - x * view_sin))
            for x, z in body
        ]

    def clip(self, first: float, last: float) -> tuple[float, float] | None:
        """Cut a range of angles to what faces the viewer, or return None."""
        if last - first >= 360.0:
            return self.low, self.high
        for turn in (-360.0, 0.0, 360.0):
            a, b = max(first + turn, self.low), min(last + turn, self.high)
            if a < b:
                return a, b
        return None


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
    _cuts: dict[float, Cut] = field(default_factory=dict, init=False, repr=False, compare=False)

    def _section_at(self, height: float) -> tuple[float, float]:
        """Return half width and half depth at a height."""
        upper = self.sections[0]
        for lower in self.sections:
            if height >= lower[0]:
                span = upper[0] - lower[0]
                t = (height - lower[0]) / span if span else 0.0
                return lower[1] + (upper[1] - lower[1]) * t, lower[2] + (upper[2] - lower[2]) * t
            upper = lower
        return upper[1], upper[2]

    def cut(self, height: float) -> Cut:
        """Return the cut at a height, made once: few heights have many points."""
        cut = self._cuts.get(height)
        if cut is None:
            radii = self._section_at(height)
            cut = Cut(radii, height + self.lift, self.shift(height), self.view)
            self._cuts[height] = cut
        return cut

    def point(self, angle: float, height: float) -> Point:
        """Return (u, v) of a point of the surface, at whose height there are few others."""
        a, b = self._section_at(height)
        r = angle * _RADIANS
        return self.view.project(
            (a * math.sin(r), height + self.lift, b * math.cos(r) + self.shift(height))
        )

    def visible(self, height: float) -> tuple[float, float]:
        """Return the range of angles that faces the viewer at a height."""
        cut = self.cut(height)
        return cut.low, cut.high

    def outline(self) -> list[Point]:
        """Return the silhouette, smoothed, with the lower and upper rims curved as rounds are."""
        cuts = [self.cut(height) for height, _, _ in self.sections]
        ends = [cut.points((cut.low, cut.high)) for cut in cuts]
        left, right = smooth([one for one, _ in ends]), smooth([other for _, other in ends])
        return left + self.rim(self.sections[-1][0])[1:-1] + right[::-1]

    def rim(self, height: float, steps: int = 8) -> list[Point]:
        """Return the visible half of a horizontal cut."""
        cut = self.cut(height)
        low, width = cut.low, cut.high - cut.low
        return cut.points([low + width * i / steps for i in range(steps + 1)])

    def patch(self, first: float, last: float, top: float, bottom: float) -> list[Point]:
        """Return the visible part of a patch between two angles and two heights; may be empty."""
        count = max(2, round((last - first) / 15))
        rows = []
        for height in (top, bottom):
            cut = self.cut(height)
            span = cut.clip(first, last)
            if span is None:
                return []
            a, width = span[0], span[1] - span[0]
            rows.append(cut.points([a + width * i / count for i in range(count + 1)]))
        return rows[0] + rows[1][::-1]


def shade_surface(canvas: Canvas, surface: Surface, seed: int) -> None:
    """Lay light, shadow and a few folds on a painted surface; ``seed`` fixes the folds."""
    sign = -1.0 if canvas.light.side >= 0 else 1.0
    heights = [h for h, _, _ in surface.sections]
    dark: list[list[Point]] = []
    light: list[list[Point]] = []
    for height in heights:
        cut = surface.cut(height)
        middle = (cut.low + cut.high) / 2
        angles = (middle + sign * 20, middle + sign * 88, middle - sign * 60, middle - sign * 30)
        corners = cut.points(angles)
        dark.append(corners[:2])
        light.append(corners[2:])
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
        cut = surface.cut(height)
        for angle in range(0, 360, 36):
            span = cut.clip(angle + row * 18 - 8, angle + row * 18 + 8)
            if span:
                r = period * 0.24
                left, right = cut.points(span)
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
