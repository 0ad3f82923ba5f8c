"""Head, face, hair and hats, on an ellipsoid that turns with the view."""

import math
from collections.abc import Callable, Iterable

from person_search.synthetic.canvas import NEUTRAL, Canvas, Point, ellipse, smooth
from person_search.synthetic.palette import Colour, scale
from person_search.synthetic.people.identity import Identity
from person_search.synthetic.people.pose import CAMERA_TILT, Point3, View

HEAD_RADII = (0.050, 0.068, 0.058)
"""Half width, half height and half depth of an average head; units of body height."""


class Head:
    """Paint one head: ``paint_behind`` before the body, ``paint`` after it, ``paint_over`` last."""

    def __init__(self, canvas: Canvas, identity: Identity, view: View, centre: Point3):
        self.canvas, self.identity, self.view, self.centre = canvas, identity, view, centre
        self.radii = tuple(r * identity.head_size for r in HEAD_RADII)

    def points(self, places: Iterable[Point], grow: float = 1.0) -> list[Point]:
        """Return (u, v) of points of the head, as ``View.project`` has them.

        Args:
            places: (azimuth, elevation) each, degrees; azimuth 0 is the face, elevation 90 the
                crown.
            grow: Size relative to the head.
        """
        a, c, b = self.radii
        a, c, b = a * grow, c * grow, b * grow
        x0, y0, z0 = self.centre
        view_cos, view_sin = self.view.cos, self.view.sin
        cos, sin = math.cos, math.sin
        found = []
        for azimuth, elevation in places:
            phi, e = math.radians(azimuth), math.radians(elevation)
            level = cos(e)
            x, y, z = x0 + a * sin(phi) * level, y0 + c * sin(e), z0 + b * cos(phi) * level
            found.append(
                (x * view_cos + z * view_sin, y - CAMERA_TILT * (z * view_cos - x * view_sin))
            )
        return found

    def point(self, azimuth: float, elevation: float, grow: float = 1.0) -> Point:
        """Return (u, v) of a point of the head."""
        return self.points([(azimuth, elevation)], grow)[0]

    def _visible(self) -> tuple[float, float]:
        centre = self.view.facing_angle(self.radii[0], self.radii[2])
        return centre - 90.0, centre + 90.0

    def _faces(self, azimuth: float, margin: float = 12.0) -> bool:
        low, high = self._visible()
        return any(low + margin < azimuth + turn < high - margin for turn in (-360, 0, 360))

    def cap(self, hairline: Callable[[float], float], grow: float) -> list[Point]:
        """Return the outline of the head above a line ``hairline(azimuth) -> elevation``."""
        low, high = self._visible()
        azimuths = [low + (high - low) * i / 12 for i in range(13)]
        first, last = hairline(low), hairline(high)
        places = [(azimuth, hairline(azimuth)) for azimuth in azimuths]
        places += [(high, last + (90 - last) * i / 6) for i in range(1, 7)]
        places += [(low, 90 - (90 - first) * i / 6) for i in range(1, 6)]
        return self.points(places, grow)

    def _long_hair(self) -> None:
        i, colour, canvas = self.identity, self.identity.hair_colour, self.canvas
        a, c, b = self.radii
        x, y, z = self.centre
        drop = {"long": 2.8, "bob": 1.15}[i.hair_style] * c
        width = self.view.half_width(a * 1.14, b * 0.72)
        u, v = self.view.project((x, y, z - b * 0.40))
        crown = [(0.30, 0.95), (0.80, 0.72)] if i.hat == "none" else [(0.6, 0.34)]
        right = [*crown, (1.02, 0.2), (1.08, -0.5 * drop / c)]
        right += [(1.0, -0.85 * drop / c), (0.55, -drop / c)]
        half = [(u + width * p, v + c * q) for p, q in right]
        outline = smooth([*half, *((2 * u - p, q) for p, q in half[::-1])])
        canvas.polygon(outline, scale(colour, 0.92))
        for share in (-0.55, -0.15, 0.3, 0.65):
            strand = [(u + width * share, v), (u + width * share * 1.1, v - drop * 0.9)]
            canvas.shade_line(strand, 0.005, canvas.dark)

    def _tail(self) -> None:
        colour = self.identity.hair_colour
        a, c, b = self.radii
        x, y, z = self.centre
        if self.identity.hair_style == "bun":
            u, v = self.view.project((x, y + c * 0.72, z - b * 0.85))
            self.canvas.polygon(ellipse((u, v), a * 0.52, a * 0.5), colour)
        else:
            root = self.view.project((x, y + c * 0.35, z - b * 1.05))
            tip = self.view.project((x, y - c * 1.6, z - b * 1.25))
            self.canvas.limb(root, tip, a * 0.34, a * 0.2, colour)

    def paint_behind(self) -> None:
        """Paint hair that hangs behind the body, when the person faces the viewer."""
        if self.identity.hair_style in ("long", "bob") and self.view.cos > -0.1:
            self._long_hair()
        if self.identity.hair_style in ("ponytail", "bun") and self.view.cos > 0.0:
            self._tail()

    def paint_over(self) -> None:
        """Paint hair that hangs in front of the body, when the person shows the back."""
        if self.identity.hair_style in ("long", "bob") and self.view.cos <= -0.1:
            self._long_hair()
        if self.identity.hair_style in ("ponytail", "bun") and self.view.cos <= 0.0:
            self._tail()

    def paint(self) -> None:
        """Paint skull, ears, face, hair and hat."""
        i, canvas = self.identity, self.canvas
        a, c, b = self.radii
        u, v = self.view.project(self.centre)
        width = self.view.half_width(a, b)
        for side in (90, -90):
            if self._faces(side, -8):
                canvas.polygon(
                    ellipse(self.point(side, -6, 1.0), 0.011, 0.017, 10), scale(i.skin_colour, 0.92)
                )
        if self._faces(0, -15):
            canvas.polygon(ellipse(self.point(0, -12, 1.06), 0.009, 0.013, 10), i.skin_colour)
        # Narrower towards the chin.
        jaw = [
            (u + (p - u) * (1.0 - 0.20 * max(0.0, (v - q) / c) ** 2), q)
            for p, q in ellipse((u, v), width, c)
        ]
        canvas.polygon(jaw, i.skin_colour)
        sign = -1.0 if canvas.light.side >= 0 else 1.0
        cheek = [(p, q) for p, q in jaw if (p - u) * sign > width * 0.3]
        if len(cheek) > 2:
            canvas.shade(cheek, canvas.dark + 6)
        self._face()
        if i.hair_style != "bald":
            self._hair()
        if i.hat != "none":
            self._hat()

    def _face(self) -> None:
        ink = (44, 32, 30)
        for azimuth in (-24, 24):
            if self._faces(azimuth):
                self.canvas.tint(ellipse(self.point(azimuth, 2), 0.0062, 0.0078, 8), ink)
                brow = [self.point(azimuth - 9, 17), self.point(azimuth + 9, 17)]
                self.canvas.line(brow, 0.005, scale(self.identity.hair_colour, 0.8))
        if self._faces(0):
            mouth = [self.point(p, -36) for p in (-16, 0, 16)]
            self.canvas.line(mouth, 0.006, scale(self.identity.skin_colour, 0.66))
            self.canvas.shade_line(
                [self.point(0, -2), self.point(4, -16)], 0.008, self.canvas.dark + 8
            )
        if self.identity.has_glasses:
            for azimuth in (-25, 25):
                if self._faces(azimuth):
                    ring = ellipse(
                        self.point(azimuth, 2), 0.016 * max(0.4, abs(self.view.cos)), 0.014, 12
                    )
                    self.canvas.line([*ring, ring[0]], 0.005, (30, 30, 34))

    def _hair(self) -> None:
        style, colour = self.identity.hair_style, self.identity.hair_colour
        grow = {"buzz": 1.03, "curly": 1.34, "short": 1.12}.get(style, 1.1)
        front, side, back = {
            "buzz": (38, 18, -20),
            "short": (34, 4, -34),
            "curly": (30, -2, -34),
        }.get(style, (34, -14, -46))

        def hairline(azimuth: float) -> float:
            turn = abs((azimuth + 180) % 360 - 180)
            if turn < 90:
                t = turn / 90
                return front + (side - front) * t * t
            return side + (back - side) * (turn - 90) / 90

        outline = self.cap(hairline, grow)
        self.canvas.polygon(outline, colour)
        sign = 1.0 if self.canvas.light.side >= 0 else -1.0
        gloss = [
            self.point(self.view.facing_angle(1, 1) + sign * s, 62, grow) for s in (10, 30, 55)
        ]
        self.canvas.shade_line(gloss, 0.014, min(255, self.canvas.bright + 22))

    def _hat(self) -> None:
        i, canvas = self.identity, self.canvas
        colour: Colour = i.hat_colour
        grow = 1.16 if i.hair_style != "curly" else 1.26
        line = {"cap": 26.0, "beanie": 20.0, "brimmed hat": 24.0}[i.hat]
        if i.hat == "brimmed hat":
            self._brim(line, grow)
        canvas.polygon(self.cap(lambda _: line, grow), colour)
        sign = -1.0 if canvas.light.side >= 0 else 1.0
        shadow = [
            self.point(self.view.facing_angle(1, 1) + sign * s, e, grow)
            for s, e in ((25, line), (85, line), (85, 60), (25, 75))
        ]
        canvas.shade(shadow, canvas.dark)
        low, high = self._visible()
        azimuths = [low + (high - low) * k / 10 for k in range(11)]
        band = self.points([(azimuth, line) for azimuth in azimuths], grow)
        if i.hat == "beanie":
            fold = self.points([(azimuth, line + 22) for azimuth in azimuths], grow * 1.03)
            canvas.polygon(band + fold[::-1], scale(colour, 0.85))
        elif i.hat == "cap":
            self._visor(line, grow)
        else:
            canvas.line(band, 0.012, scale(colour, 0.6))

    def _brim(self, line: float, grow: float) -> None:
        u, v = self.point(self.view.facing_angle(1, 1), line, grow)
        centre_v = v + CAMERA_TILT * self.radii[2]
        self.canvas.polygon(
            ellipse((u, centre_v), self.radii[0] * 2.0, 0.024), scale(self.identity.hat_colour, 0.9)
        )

    def _visor(self, line: float, grow: float) -> None:
        low, high = self._visible()
        ring, reach = [], []
        for azimuth in range(-60, 61, 15):
            if any(low - 6 <= azimuth + t <= high + 6 for t in (-360, 0, 360)):
                ring.append(self.point(azimuth, line, grow))
                far = self.point(
                    azimuth * 0.8, line - 14, grow * (1.2 + 0.42 * math.cos(math.radians(azimuth)))
                )
                reach.append(far)
        if len(ring) > 1:
            self.canvas.polygon(
                ring + reach[::-1], scale(self.identity.hat_colour, 0.8), NEUTRAL - 8
            )
