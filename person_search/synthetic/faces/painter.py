"""Paint skin, eyes, brows, nose and mouth of a face; hair and what is worn stand in face_hair."""

import math

import cv2
import numpy as np

from person_search.synthetic.canvas import (
    NEUTRAL,
    Canvas,
    Light,
    Point,
    ellipse,
    light_up,
    shrink,
    smooth,
)
from person_search.synthetic.faces.identity import FaceIdentity
from person_search.synthetic.faces.view import FaceShot, FaceView, mouth_corner
from person_search.synthetic.palette import Colour, mix, scale
from reid_heads.faces.alignment import ALIGNED_SIZE

_INK = (38, 28, 28)
_TIMES = 4
"""The picture is painted this many times larger."""


class FacePainter:
    """Paint one face on a canvas of its own, part by part."""

    def __init__(self, face: FaceIdentity, shot: FaceShot):
        """Make an empty canvas a little larger than the picture."""
        self.face, self.shot, self.view = face, shot, FaceView(face, shot)
        light = Light(shot.light_side, shot.light_strength)
        # Under 64 pixels a unit, Canvas paints four times as large; here it is always so.
        self.canvas = Canvas(
            ALIGNED_SIZE * _TIMES / 2, light, half_width=0.62, top=1.12, bottom=0.12
        )
        self.skin = face.skin_colour

    def contour(self) -> list[Point]:
        """Return the outline of the head, from the crown down the right side and up the left."""
        s = self.face.shape
        rows = [
            (0.60, 0.25), (0.55, 0.50), (0.44, 0.86 * s.forehead), (0.30, 0.97 * s.forehead),
            (0.15, 0.985), (0.02, 1.0), (-0.10, 0.5 + 0.5 * s.jaw + 0.01), (-0.22, s.jaw),
            (0.62 * s.chin_y - 0.07, (s.jaw + s.chin) / 2 + 0.05), (s.chin_y + 0.035, s.chin),
            (s.chin_y, 0.22 * s.chin),
        ]  # fmt: skip
        sides = [
            smooth([self.view.edge(y, share * s.width, side) for y, share in rows], 4)
            for side in (1.0, -1.0)
        ]
        return sides[0] + sides[1][::-1]

    def on(self, points: list[Point], out: float = 0.0) -> list[Point]:
        """Put points of the face's surface into the picture."""
        return [self.view.on(x, y, out) for x, y in points]

    def paint_neck(self, clothes: Colour) -> None:
        """Paint neck and shoulders, as far as they are seen."""
        s, view = self.face.shape, self.view
        left, right = view.edge(s.chin_y, 0.24, -1.0, 0.24), view.edge(s.chin_y, 0.24, 1.0, 0.24)
        neck = [(left[0], left[1] + 0.2), (right[0], right[1] + 0.2), (right[0], -0.2)]
        self.canvas.polygon([*neck, (left[0], -0.2)], scale(self.skin, 0.78))
        for side, (u, v) in ((-1.0, left), (1.0, right)):
            slope = [(u + 0.02 * side, v - 0.01), (u + 0.5 * side, v - 0.12)]
            self.canvas.polygon([*slope, (u + 0.5 * side, -0.3), (u - 0.3 * side, -0.3)], clothes)

    def paint_ears(self) -> None:
        """Paint the ears that show."""
        s = self.face.shape
        for side in (-1.0, 1.0):
            if side * self.shot.yaw > 24:
                continue
            u, v = self.view.edge(0.08, s.width - 0.012 + s.ear, side)
            self.canvas.polygon(ellipse((u, v), 0.030, 0.075, 16), scale(self.skin, 0.9))
            self.canvas.shade(ellipse((u, v), 0.014, 0.045, 12), NEUTRAL - 22)

    def paint_skin(self) -> None:
        """Paint the head, cheeks, and the lines of age."""
        face, canvas, s = self.face, self.canvas, self.face.shape
        canvas.polygon(self.contour(), self.skin)
        for side in (-1.0, 1.0):
            cheek = ellipse((side * (s.eye_x + 0.04), -0.06), 0.085, 0.055)
            canvas.tint(self.on(cheek), mix(self.skin, (206, 96, 88), 0.04 + 0.05 * s.cheek))
            hollow = [(0.9, -0.06), (0.62, -0.10), (0.55, -0.2), (0.8, -0.22)]
            points = [(side * p * s.width, q) for p, q in hollow]
            canvas.shade(self.on(points), NEUTRAL - round(9 * s.cheek))
            socket = ellipse((side * s.eye_x, 0.17), s.eye_width * 1.35, 0.055)
            canvas.shade(self.on(socket), NEUTRAL - 9)
            self._fold(side)
        chin = ellipse((0.0, s.chin_y + 0.075), 0.07, 0.035)
        canvas.shade(self.on(chin), NEUTRAL + 6)
        if face.age > 0.45:
            for row in range(1 + round(2 * face.age)):
                y = 0.28 + 0.04 * row
                line = smooth(self.on([(-0.14, y), (0.0, y + 0.012), (0.14, y)]), 4)
                canvas.shade_line(line, 0.006, NEUTRAL - round(26 * face.age))
        for x, y in face.moles:
            canvas.tint(ellipse(self.view.on(x, y), 0.007, 0.007, 8), scale(self.skin, 0.45))
        for k in range(face.freckles):
            # Spread by the golden angle, the same in every picture.
            reach, turn = math.sqrt((k + 0.5) / 26), 2.39996 * k
            x, y = 0.24 * reach * math.cos(turn), 0.02 + 0.09 * reach * math.sin(turn)
            canvas.tint(ellipse(self.view.on(x, y), 0.0045, 0.0045, 6), scale(self.skin, 0.78))

    def _fold(self, side: float) -> None:
        """Shade the line from the nose to the corner of the mouth, and under the eye."""
        s, age = self.face.shape, self.face.age
        x, y = mouth_corner(self.face, self.shot)
        depth = 8 + 22 * age + 10 * max(0.0, self.shot.smile)
        line = [(s.nose_width + 0.012, s.nose_y), (x + 0.012, (y + s.nose_y) / 2), (x + 0.022, y)]
        points = smooth(self.on([(side * p, q) for p, q in line]), 4)
        self.canvas.shade_line(points, 0.010, NEUTRAL - round(depth))
        bag = [(s.eye_x - 0.05, 0.118), (s.eye_x, 0.100), (s.eye_x + 0.05, 0.115)]
        points = smooth(self.on([(side * p, q) for p, q in bag]), 4)
        self.canvas.shade_line(points, 0.008, NEUTRAL - round(6 + 20 * age))

    def _lid(self, side: float, t: float, height: float) -> Point:
        """Return a point of a lid; t goes from -1, the inner corner, to 1."""
        s = self.face.shape
        x = s.eye_x + t * s.eye_width
        y = 0.155 + t * s.eye_tilt + height * (1.0 - t * t) * (1.0 - 0.15 * t)
        return side * x, y

    def paint_eyes(self) -> None:
        """Paint both eyes, lids and lashes."""
        canvas, s = self.canvas, self.face.shape
        upper = s.eye_height * self.shot.eye_open * (1.0 - 0.12 * max(0.0, self.shot.smile))
        lower = -0.55 * s.eye_height
        steps = [-1.0 + k / 6 for k in range(13)]
        for side in (-1.0, 1.0):
            above = [self._lid(side, t, upper) for t in steps]
            below = [self._lid(side, t, lower) for t in steps]
            canvas.polygon(self.on(above + below[::-1], -0.01), (228, 222, 216), NEUTRAL - 8)
            self._iris(side, upper, lower)
            line = self.on(above, -0.005)
            canvas.line(smooth(line, 2), 0.009, mix(_INK, self.skin, 0.1))
            canvas.line(smooth(self.on(below, -0.005), 2), 0.004, scale(self.skin, 0.62))
            crease = [self._lid(side, t, upper + 0.017) for t in steps[1:]]
            canvas.shade_line(smooth(self.on(crease), 2), 0.005, NEUTRAL - 30)
            self._brow(side)

    def _iris(self, side: float, upper: float, lower: float) -> None:
        """Paint iris, pupil and a highlight, covered by the lids."""
        s, radius = self.face.shape, 0.030
        middle = 0.45 * self.shot.gaze * (s.eye_width - radius)
        for size, colour in (
            (radius, scale(self.face.iris_colour, 0.55)),
            (radius * 0.82, self.face.iris_colour),
            (radius * 0.42, (18, 14, 14)),
        ):
            ring = []
            for k in range(20):
                x = middle + size * math.cos(k * math.pi / 10)
                y = 0.157 + size * math.sin(k * math.pi / 10)
                # On the left of the picture the outer corner is at the left.
                t = max(-1.0, min(1.0, side * x / s.eye_width))
                top, bottom = self._lid(1.0, t, upper)[1], self._lid(1.0, t, lower)[1]
                ring.append((side * s.eye_x + x, max(bottom, min(top, y))))
            self.canvas.tint(self.on(ring, -0.008), colour)
        if self.shot.eye_open > 0.6:
            glint = (side * s.eye_x + middle + 0.008 * self.shot.light_side, 0.166)
            self.canvas.tint(ellipse(self.view.on(*glint), 0.005, 0.005, 8), (245, 245, 245))

    def _brow(self, side: float) -> None:
        s = self.face.shape
        y = 0.155 + s.brow_y + 0.018 * self.shot.brow_raise
        inner, outer = s.eye_x - 0.075, s.eye_x + 0.085
        above, below = [], []
        for k in range(9):
            t = k / 8
            x = inner + (outer - inner) * t
            rise = y + s.brow_arch * math.sin(math.pi * min(1.0, 0.15 + t * 0.85)) + s.brow_tilt * t
            thick = s.brow_weight * (1.0 - 0.75 * t * t) * (0.75 + min(0.25, t))
            above.append((side * x, rise + thick / 2))
            below.append((side * x, rise - thick / 2))
        hair = self.face.hair_colour
        colour = mix(scale(hair, 0.72), self.skin, 0.22 + (0.2 if sum(hair) > 420 else 0.0))
        self.canvas.tint(self.on(above + below[::-1]), colour)

    def paint_nose(self) -> None:
        """Paint the nose: a dark and a bright side, wings and nostrils."""
        s, canvas, view = self.face.shape, self.canvas, self.view
        tip = s.nose_length
        dark_side = -1.0 if self.shot.light_side >= 0 else 1.0

        def at(x: float, y: float, out: float) -> Point:
            return view.at(x, y, view.surface(x, y) + out)

        for side, level in ((dark_side, NEUTRAL - 26), (-dark_side, NEUTRAL - 8)):
            flank = [
                at(side * 0.018, 0.16, 0.02), at(side * 0.020, s.nose_y + 0.02, tip * 0.85),
                at(side * 0.030, s.nose_y - 0.015, tip * 0.75),
                at(side * s.nose_width, s.nose_y - 0.012, 0.02),
                at(side * s.nose_width * 0.95, s.nose_y + 0.02, 0.01), at(side * 0.045, 0.10, 0.0),
            ]  # fmt: skip
            canvas.shade(flank, level)
        ridge = [at(0.0, 0.13, 0.035), at(0.0, s.nose_y + 0.01, tip)]
        canvas.shade_line(ridge, 0.018, NEUTRAL + 12)
        canvas.shade(ellipse(at(0.0, s.nose_y + 0.005, tip), 0.020, 0.016, 14), NEUTRAL + 16)
        for side in (-1.0, 1.0):
            wing = [
                at(side * s.nose_width * 0.86, s.nose_y + 0.022, 0.02),
                at(side * s.nose_width, s.nose_y - 0.004, 0.02),
                at(side * s.nose_width * 0.80, s.nose_y - 0.028, 0.03),
            ]
            canvas.line(smooth(wing, 4), 0.008, scale(self.skin, 0.70))
            hole = at(side * s.nose_width * 0.45, s.nose_y - 0.028, tip * 0.45)
            canvas.tint(ellipse(hole, 0.017, 0.008, 10), scale(self.skin, 0.42))
        under = [at(p * s.nose_width, s.nose_y - 0.042, 0.02) for p in (-0.9, 0.0, 0.9)]
        canvas.shade_line(under, 0.014, NEUTRAL - 20)

    def paint_mouth(self) -> None:
        """Paint the lips, and between them teeth or dark."""
        s, canvas, shot = self.face.shape, self.canvas, self.shot
        x, y = mouth_corner(self.face, shot)
        gap = 0.055 * shot.mouth_open
        middle = s.mouth_y - 0.004 * shot.smile
        ts = [-1.0 + k / 6 for k in range(13)]

        def curve(offset: float, t: float) -> float:
            return middle + (y - middle) * t * t + offset * (1.0 - t * t)

        top = [(t * x, curve(gap / 2, t)) for t in ts]
        bottom = [(t * x, curve(-gap / 2, t)) for t in ts]
        crest = []
        for t in ts:
            bow = 1.0 - s.mouth_bow * max(0.0, 1.0 - abs(t) / 0.3)
            crest.append((t * x, curve(gap / 2, t) + s.upper_lip * (1.0 - t * t) * bow))
        base = [(t * x, curve(-gap / 2, t) - s.lower_lip * (1.0 - abs(t) ** 2.5)) for t in ts]
        lips = self.face.lip_colour
        if gap > 0.004:
            canvas.polygon(self.on(top + bottom[::-1]), (70, 24, 26), NEUTRAL - 10)
            teeth = [(0.8 * p, q - 0.002) for p, q in top]
            lower = [
                (0.8 * p, max(q - 0.016, r)) for (p, q), (_, r) in zip(top, bottom, strict=True)
            ]
            canvas.tint(self.on(teeth + lower[::-1]), (226, 220, 208))
        canvas.polygon(self.on(crest + top[::-1], 0.01), scale(lips, 0.86), NEUTRAL - 4)
        canvas.polygon(self.on(bottom + base[::-1], 0.012), lips)
        shine = ellipse((0.0, curve(-gap / 2, 0.0) - 0.5 * s.lower_lip), 0.05, 0.006, 12)
        canvas.shade(self.on(shine, 0.012), NEUTRAL + 14)
        canvas.line(smooth(self.on(top, 0.01), 2), 0.006, scale(lips, 0.5))
        under = [(-0.05, base[6][1] - 0.012), (0.0, base[6][1] - 0.018), (0.05, base[6][1] - 0.012)]
        canvas.shade_line(smooth(self.on(under), 3), 0.012, NEUTRAL - 16)

    def _light(self) -> np.ndarray:
        """Return (112, 112, 1) uint16: 128 times how bright the light makes a round head."""
        shot, size = self.shot, ALIGNED_SIZE
        u, v = self.view.at(0.0, 0.04, 0.0)
        rows, columns = np.mgrid[0:size, 0:size] + 0.5
        across = (columns / size - 0.5 - u) / 0.46
        up = (1.0 - rows / size - v) / 0.62
        ahead = np.sqrt(np.maximum(0.04, 1.0 - across**2 - up**2))
        toward = across * shot.light_side * 0.9 + up * shot.light_above * 0.7 + ahead * 0.55
        level = 1.0 + shot.light_strength * (np.clip(toward, -0.2, 1.3) - 0.62) * 0.85
        return np.asarray(
            np.rint(NEUTRAL * np.clip(level, 0.25, 1.5)).astype(np.uint16)[:, :, None]
        )

    def picture(self, background: np.ndarray) -> np.ndarray:
        """Return (112, 112, 3) uint8 BGR: what is painted, shaded, shrunk and lit.

        Args:
            background: (112, 112, 3) uint8 BGR.
        """
        canvas = self.canvas
        size = ALIGNED_SIZE * _TIMES
        left, top = canvas.ground_x - size // 2, canvas.ground_y - size
        window = np.s_[top : top + size, left : left + size]
        colours, shades = canvas.painted()
        shades = cv2.GaussianBlur(shades[window], (9, 9), 0)
        small = shrink(light_up(colours[window], shades), _TIMES).astype(np.uint16)
        covered = background.astype(np.uint16) * (255 - small[:, :, 3:]) // 255
        lit = small[:, :, :3] * self._light() >> 7
        return np.asarray(np.minimum(255, lit + covered).astype(np.uint8))
