"""Legs and arms with their share of the clothes: trousers, shoes, sleeves, hands."""

from person_search.synthetic.canvas import NEUTRAL, Canvas, Point, capsule
from person_search.synthetic.palette import Colour, scale
from person_search.synthetic.people.bags import paint_handbag
from person_search.synthetic.people.garments import paint_limb_pattern
from person_search.synthetic.people.identity import Identity
from person_search.synthetic.people.pose import Point3, Skeleton, View

THICKNESS = {"jacket": 0.009, "hoodie": 0.008, "coat": 0.011, "shirt": 0.003}
"""How far a garment stands off the body, units of body height; 0.002 for those not named."""
_LOOSENESS = {
    "trousers": (1.0, 1.0),
    "wide trousers": (1.18, 1.75),
    "leggings": (0.92, 0.84),
    "shorts": (1.2, 1.3),
}
"""Width of trouser legs relative to the leg, at the knee and at the ankle."""


def along(start: Point, end: Point, share: float) -> Point:
    """Return the point at a share of the way; beyond 1 past the end."""
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


class Limbs:
    """Paint the limbs of one person; limb 0 is the person's left, 1 the right."""

    def __init__(self, canvas: Canvas, identity: Identity, view: View, skeleton: Skeleton):
        self.canvas, self.identity, self.view, self.skeleton = canvas, identity, view, skeleton

    def project(self, point: Point3, drop: float = 0.0) -> Point:
        """Return (u, v) of a joint, ``drop`` below it."""
        return self.view.project((point[0], point[1] + self.skeleton.lift - drop, point[2]))

    def paint_leg(self, k: int, *, is_far: bool) -> None:
        """Paint one leg with its shoe."""
        i, canvas, s = self.identity, self.canvas, self.skeleton
        hip, knee = self.project(s.hips[k]), self.project(s.knees[k])
        ankle, toe = self.project(s.ankles[k]), self.project(s.toes[k])
        g = 0.5 + 0.5 * i.girth
        is_bare = i.lower_type in ("shorts", "skirt", "dress")
        if is_bare:
            canvas.limb(hip, knee, 0.052 * g, 0.036 * g, i.skin_colour, is_shaded=is_far)
            canvas.limb(knee, along(knee, ankle, 0.35), 0.035 * g, 0.035 * g, i.skin_colour,
                        is_shaded=is_far)  # fmt: skip
            canvas.limb(along(knee, ankle, 0.3), ankle, 0.035 * g, 0.020 * g, i.skin_colour,
                        is_shaded=is_far)  # fmt: skip
        self._paint_shoe(ankle, toe, is_far)
        if i.lower_type in ("skirt", "dress"):
            return
        wide_knee, wide_ankle = _LOOSENESS[i.lower_type]
        radii = (0.057 * g * wide_knee, 0.042 * g * wide_knee, 0.031 * g * wide_ankle)
        if is_bare:
            hem = along(hip, knee, 0.92)
            canvas.shade(capsule(hem, along(hip, knee, 1.05), radii[1], radii[1]), canvas.dark)
            self._paint_trouser(hip, hem, (radii[0], radii[1] * 1.08), k, is_far)
            return
        self._paint_trouser(knee, ankle, radii[1:], k, is_far)
        self._paint_trouser(hip, knee, radii[:2], k, is_far)
        self._paint_creases(knee, ankle, radii)

    def _paint_creases(self, knee: Point, ankle: Point, radii: tuple[float, float, float]) -> None:
        level = self.canvas.dark
        for joint, r, rise in ((knee, radii[1], 0.008), (ankle, radii[2], 0.022)):
            for offset in (0.0, 0.016):
                left = (joint[0] - r * 0.7, joint[1] + rise + offset)
                right = (joint[0] + r * 0.4, joint[1] + rise + offset - 0.010)
                self.canvas.shade_line([left, right], 0.005, level)

    def _paint_trouser(
        self, start: Point, end: Point, radii: tuple[float, float], k: int, is_far: bool
    ) -> None:
        i = self.identity
        self.canvas.limb(start, end, *radii, i.lower_colour, is_shaded=is_far)
        if i.lower_pattern == "checks":
            ink = i.lower_pattern_colour
            paint_limb_pattern(self.canvas, start, end, radii, "checks", ink, 1.0)
        elif i.lower_pattern == "side stripe":
            outward = 1.0 if k == 0 else -1.0
            if self.view.depth((outward, 0.0, 0.0)) > -0.75:
                offset = 0.72 * outward * self.view.cos
                a = (start[0] + radii[0] * offset, start[1])
                b = (end[0] + radii[1] * offset, end[1])
                self.canvas.line([a, b], 0.014, i.lower_pattern_colour)

    def _paint_shoe(self, ankle: Point, toe: Point, is_far: bool) -> None:
        i, canvas = self.identity, self.canvas
        shade = NEUTRAL - 20 if is_far else NEUTRAL
        heel = (ankle[0] - (toe[0] - ankle[0]) * 0.12, ankle[1] - 0.012)
        low_heel, low_toe = (heel[0], heel[1] - 0.018), (toe[0], toe[1] - 0.014)
        canvas.polygon(capsule(low_heel, low_toe, 0.026, 0.021), i.shoe_colour, shade)
        canvas.polygon(
            capsule(ankle, (heel[0], heel[1] - 0.01), 0.024, 0.026), i.shoe_colour, shade
        )
        is_light = sum(i.shoe_colour) > 300
        sole: Colour = scale(i.shoe_colour, 0.55) if is_light else (206, 206, 202)
        ends = [(low_heel[0], low_heel[1] - 0.022), (low_toe[0], low_toe[1] - 0.018)]
        canvas.line(ends, 0.008, sole)

    def paint_arm(self, k: int, *, is_far: bool) -> None:
        """Paint one arm with its sleeve, hand and, on the right, the handbag."""
        i, canvas, s = self.identity, self.canvas, self.skeleton
        shoulder = self.project(s.shoulders[k], 0.012)
        elbow, wrist = self.project(s.elbows[k]), self.project(s.wrists[k])
        if i.bag == "handbag" and k == 1:
            paint_handbag(canvas, i, self.view, s)
        g, t = 0.6 + 0.4 * i.girth, THICKNESS.get(i.upper_type, 0.002)
        bare = (0.033 * g, 0.027 * g, 0.020 * g)
        sleeve = (bare[0] + 0.003 + t, bare[1] + 0.004 + t, bare[2] + 0.006 + t)
        if not is_far:
            # The arm's own shadow on the body sets it off from cloth of the same colour.
            canvas.shade(capsule(along(shoulder, elbow, 0.35), elbow, sleeve[0] + 0.006,
                                 sleeve[1] + 0.008), canvas.dark)  # fmt: skip
            canvas.shade(capsule(elbow, wrist, sleeve[1] + 0.008, sleeve[2] + 0.008), canvas.dark)
        self._paint_hand(elbow, wrist, g, is_far)
        if i.sleeve_length == "long":
            self._paint_sleeve(elbow, wrist, sleeve[1:], is_far)
            canvas.line(
                [(wrist[0] - sleeve[2], wrist[1]), (wrist[0] + sleeve[2], wrist[1])],
                0.008, scale(i.upper_colour, 0.8),
            )  # fmt: skip
            self._paint_sleeve(shoulder, elbow, sleeve[:2], is_far)
            return
        canvas.limb(elbow, wrist, *bare[1:], i.skin_colour, is_shaded=is_far)
        canvas.limb(shoulder, elbow, *bare[:2], i.skin_colour, is_shaded=is_far)
        if i.sleeve_length == "short":
            wide = (sleeve[0] + 0.001, sleeve[0] + 0.002)
            self._paint_sleeve(shoulder, along(shoulder, elbow, 0.6), wide, is_far)

    def _paint_sleeve(
        self, start: Point, end: Point, radii: tuple[float, float], is_far: bool
    ) -> None:
        i = self.identity
        self.canvas.limb(start, end, *radii, i.upper_colour, is_shaded=is_far)
        ink, size = i.upper_pattern_colour, i.pattern_scale
        paint_limb_pattern(self.canvas, start, end, radii, i.upper_pattern, ink, size)

    def _paint_hand(self, elbow: Point, wrist: Point, girth: float, is_far: bool) -> None:
        skin, canvas = self.identity.skin_colour, self.canvas
        palm, tips = along(elbow, wrist, 1.12), along(elbow, wrist, 1.30)
        canvas.limb(wrist, palm, 0.016 * girth, 0.021 * girth, skin, is_shaded=is_far)
        canvas.limb(palm, tips, 0.019 * girth, 0.012 * girth, skin, is_shaded=is_far)
