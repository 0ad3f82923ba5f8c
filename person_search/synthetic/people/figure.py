"""Paint a whole person: body parts and garments in the order in which they hide each other."""

from person_search.synthetic.canvas import Canvas, Light, Point, Sprite, capsule
from person_search.synthetic.palette import scale
from person_search.synthetic.people.bags import (
    paint_backpack,
    paint_backpack_straps,
    paint_shoulder_bag,
    paint_shoulder_strap,
)
from person_search.synthetic.people.garments import (
    Section,
    Surface,
    flat_surface,
    paint_pattern,
    shade_surface,
)
from person_search.synthetic.people.head import Head
from person_search.synthetic.people.identity import Identity
from person_search.synthetic.people.limbs import THICKNESS, Limbs
from person_search.synthetic.people.pose import (
    SHOULDER_HEIGHT,
    Pose,
    Skeleton,
    View,
    build_skeleton,
)

UPPER_HEMS = {
    "t-shirt": 0.475, "shirt": 0.455, "jacket": 0.465, "hoodie": 0.47, "coat": 0.29,
    "tank top": 0.48, "dress": 0.53,
}  # fmt: skip
"""Height of the lower rim of upper garments; units of body height."""


class Figure:
    """One person in one pose, ready to be painted on a canvas."""

    def __init__(self, canvas: Canvas, identity: Identity, pose: Pose):
        self.canvas, self.identity, self.pose = canvas, identity, pose
        self.view = View(pose.yaw)
        self.skeleton: Skeleton = build_skeleton(identity, pose)
        self.limbs = Limbs(canvas, identity, self.view, self.skeleton)
        self.torso = self._torso()
        self.skirt = self._skirt()
        self.fold_seed = int(pose.phase) + int(identity.height_m * 1000)

    def _surface(self, sections: list[Section]) -> Surface:
        s = self.skeleton
        return flat_surface(sections, self.view, s.lift, s.lean, self.identity.leg_length)

    def _torso(self) -> Surface:
        i, t = self.identity, THICKNESS.get(self.identity.upper_type, 0.002)
        g, hem, shoulder = i.girth, UPPER_HEMS[i.upper_type], i.shoulder_width
        loose = 0.012 if i.upper_type in ("coat", "jacket", "hoodie") else 0.004
        waist = (i.hip_width - 0.012) * (0.55 + 0.45 * g) + t + loose
        hip = i.hip_width * (0.6 + 0.4 * g) + t
        sections = [
            (0.838, 0.034, 0.036),
            (0.824, shoulder * 0.58, 0.042 * g),
            (0.804, shoulder * 0.92 + t, 0.050 * g + t),
            (SHOULDER_HEIGHT - 0.008, shoulder + 0.004 + t, 0.058 * g + t),
            (0.73, shoulder * 0.90 + t, 0.068 * g + t),
            (0.62, waist, 0.060 * g + t + loose),
            (0.53, hip + 0.004, 0.068 * g + t),
        ]
        if hem < 0.53:
            flare = 0.022 if i.upper_type == "coat" else 0.004
            if i.upper_type == "coat" and i.lower_type == "skirt":
                flare = 0.056  # room for the skirt under it
            sections.append((hem, hip + 0.006 + flare, 0.070 * g + t + 1.3 * flare))
        return self._surface(sections)

    def _skirt(self) -> Surface | None:
        i = self.identity
        if i.lower_type not in ("skirt", "dress"):
            return None
        hem = 0.30 if i.lower_length == "short" else 0.12
        hip = i.hip_width * (0.6 + 0.4 * i.girth)
        spread = 0.026 + 0.001 * self.pose.stride
        sections = [
            (0.62 if i.lower_type == "skirt" else 0.56, hip - 0.004, 0.062 * i.girth),
            (0.50, hip + 0.008, 0.076 * i.girth),
            (hem, hip + 0.012 + spread, 0.082 * i.girth + spread * 1.5),
        ]
        return self._surface(sections)

    def _forward(self, height: float) -> float:
        """Return how far the lean brings a height forward."""
        return self.skeleton.lean * max(0.0, height - self.identity.leg_length)

    def _axis_point(self, height: float) -> Point:
        return self.view.project((0.0, height + self.skeleton.lift, self._forward(height)))

    def paint(self) -> None:
        """Paint everything from back to front."""
        i, view, s, canvas = self.identity, self.view, self.skeleton, self.canvas
        centre = (0.0, 0.925 + s.lift, self._forward(0.93))
        head = Head(canvas, i, View(self.pose.yaw + self.pose.head_turn), centre)
        far_arms = [k for k in (0, 1) if view.depth(s.shoulders[k]) < -0.03]
        is_bag_far = view.depth((1.0, 0.0, 0.0)) < 0
        head.paint_behind()
        if i.bag == "backpack" and view.cos > 0.1:
            self._paint_backpack()
        for k in far_arms:
            self.limbs.paint_arm(k, is_far=True)
        if i.bag == "shoulder bag" and is_bag_far:
            paint_shoulder_bag(canvas, i, view, s.lift)
        for k in sorted((0, 1), key=self._leg_depth):
            self.limbs.paint_leg(k, is_far=view.depth(s.hips[k]) < -0.01)
        self._paint_lower_body()
        self._paint_upper_body()
        head.paint()
        if i.bag == "shoulder bag" and not is_bag_far:
            paint_shoulder_bag(canvas, i, view, s.lift)
        if i.bag == "backpack" and view.cos <= 0.1:
            self._paint_backpack()
        for k in (0, 1):
            if k not in far_arms:
                self.limbs.paint_arm(k, is_far=False)
        head.paint_over()

    def _leg_depth(self, k: int) -> float:
        hip, knee = self.skeleton.hips[k], self.skeleton.knees[k]
        return self.view.depth(hip) + 0.3 * self.view.depth(knee)

    def _paint_backpack(self) -> None:
        i, lift = self.identity, self.skeleton.lift
        paint_backpack(self.canvas, i, self.view, lift, 0.06 * i.girth, self._forward(0.69))

    def _paint_lower_body(self) -> None:
        i, canvas = self.identity, self.canvas
        if self.skirt is not None:
            self._paint_skirt(self.skirt)
            return
        pelvis = self._surface(
            [
                (0.60, i.hip_width, 0.06 * i.girth),
                (0.50, i.hip_width * (0.62 + 0.4 * i.girth), 0.07 * i.girth),
                (0.455, i.hip_width * 0.9, 0.062 * i.girth),
            ]
        )
        canvas.polygon(pelvis.outline(), i.lower_colour)
        shade_surface(canvas, pelvis, 1)

    def _paint_skirt(self, skirt: Surface) -> None:
        i, canvas = self.identity, self.canvas
        # The rim throws a shadow on the legs below it.
        hem = skirt.sections[-1][0]
        canvas.shade(skirt.rim(hem) + [(u, v - 0.02) for u, v in skirt.rim(hem)[::-1]], canvas.dark)
        canvas.polygon(skirt.outline(), i.lower_colour)
        top = skirt.sections[0][0]
        if i.lower_type == "dress" and i.upper_pattern not in ("block", "logo"):
            ink, size = i.upper_pattern_colour, i.pattern_scale
            paint_pattern(canvas, skirt, i.upper_pattern, ink, size, top, hem)
        elif i.lower_pattern == "checks":
            paint_pattern(canvas, skirt, "checks", i.lower_pattern_colour, 1.0, top, hem)
        elif i.lower_pattern == "side stripe":
            canvas.tint(skirt.patch(-180, 180, hem + 0.03, hem + 0.008), i.lower_pattern_colour)
        shade_surface(canvas, skirt, self.fold_seed + 5)
        low, high = skirt.visible(hem)
        for angle in range(0, 360, 40):
            if any(low + 15 < angle + turn < high - 15 for turn in (-360, 0)):
                fold = [skirt.point(angle, hem + 0.13), skirt.point(angle + 3, hem + 0.004)]
                canvas.shade_line(fold, 0.006, canvas.dark)

    def _paint_upper_body(self) -> None:
        i, canvas, torso = self.identity, self.canvas, self.torso
        hem = torso.sections[-1][0]
        rim = torso.rim(hem)
        canvas.shade(rim + [(u, v - 0.016) for u, v in rim[::-1]], canvas.dark)
        canvas.polygon(torso.outline(), i.upper_colour)
        ink, size = i.upper_pattern_colour, i.pattern_scale
        paint_pattern(canvas, torso, i.upper_pattern, ink, size, 0.82, hem)
        self._paint_front()
        shade_surface(canvas, torso, self.fold_seed)
        if i.bag == "backpack":
            paint_backpack_straps(canvas, i, torso)
        if i.bag == "shoulder bag":
            paint_shoulder_strap(canvas, i, torso)
        self._paint_neck()

    def _tint_patch(
        self, first: float, last: float, top: float, bottom: float, factor: float
    ) -> None:
        patch = self.torso.patch(first, last, top, bottom)
        if patch:
            self.canvas.tint(patch, scale(self.identity.upper_colour, factor))

    def _paint_front(self) -> None:
        """Paint what is at the front of the garment: open jacket, buttons, pocket, belt."""
        i, torso = self.identity, self.torso
        hem = torso.sections[-1][0]
        if i.upper_type in ("jacket", "coat"):
            wide = 26 if i.upper_type == "jacket" else 15
            front = torso.patch(-wide, wide, 0.822, max(hem, 0.44))
            if front:
                self.canvas.tint(front, i.inner_colour)
            for side in (-wide, wide):
                self._tint_patch(side - 5, side + 5, 0.822, hem, 0.78)
            for side in (-58, 44):
                self._tint_patch(side, side + 16, 0.585, 0.575, 0.7)
        elif i.upper_type == "shirt":
            self._tint_patch(-3, 3, 0.81, hem, 0.82)
        elif i.upper_type == "hoodie":
            self._tint_patch(-38, 38, 0.60, 0.51, 0.86)
        elif i.upper_type == "dress":
            self._tint_patch(-180, 180, 0.605, 0.585, 0.7)
        if i.upper_type in ("jacket", "hoodie"):
            self._tint_patch(-180, 180, hem + 0.022, hem, 0.82)

    def _paint_neck(self) -> None:
        i, canvas, view = self.identity, self.canvas, self.view
        # A scoop at the throat; at the nape the cloth reaches higher.
        scoop = {"t-shirt": 0.016, "tank top": 0.03, "dress": 0.026}.get(i.upper_type, 0.008)
        base, top = self._axis_point(0.828 - scoop * max(0.0, view.cos)), self._axis_point(0.885)
        canvas.polygon(capsule(base, top, 0.031, 0.029), i.skin_colour, canvas.dark + 6)
        u, v = self._axis_point(0.828)
        if i.upper_type == "hoodie":
            self._paint_hood(u, v, top)
        elif i.upper_type in ("shirt", "coat", "jacket"):
            dark = scale(i.upper_colour, 0.88)
            if view.cos > 0.2:
                tip = (u + 0.03 * view.sin, v - 0.03)
                for side in (-1, 1):
                    flap = [
                        (u + side * 0.040, v + 0.016), (u + side * 0.032, v - 0.016),
                        (tip[0] + side * 0.012, tip[1] - 0.006), (tip[0], tip[1] + 0.010),
                    ]  # fmt: skip
                    canvas.polygon(flap, dark)
            else:
                band = [(u - 0.038, v - 0.012), (u + 0.038, v - 0.012), (u + 0.034, v + 0.02)]
                canvas.polygon([*band, (u - 0.034, v + 0.02)], dark)

    def _paint_hood(self, u: float, v: float, top: Point) -> None:
        canvas, dark = self.canvas, scale(self.identity.upper_colour, 0.84)
        if self.view.cos > -0.2:
            ring = [(u - 0.060, v + 0.012), (u - 0.03, v - 0.022), (u, v - 0.032)]
            ring += [(u + 0.03, v - 0.022), (u + 0.060, v + 0.012)]
            ring += [(u + 0.036, v + 0.034), (u - 0.036, v + 0.034)]
            canvas.polygon(ring, dark)
            skin = self.identity.skin_colour
            canvas.polygon(capsule((u, v + 0.022), top, 0.025, 0.028), skin, canvas.dark)
        else:
            bag = [(u - 0.062, v + 0.018), (u - 0.05, v - 0.04), (u, v - 0.075)]
            bag += [(u + 0.05, v - 0.04), (u + 0.062, v + 0.018), (u, v + 0.03)]
            canvas.polygon(bag, dark)


def paint_person(identity: Identity, pose: Pose, height_px: float, light: Light) -> Sprite:
    """Paint a person.

    Args:
        identity: Who.
        pose: How the person stands, and from where it is seen.
        height_px: Body height without hat, in pixels of the finished sprite.
        light: Light on the person.

    Returns:
        A sprite whose ground point is between the feet.
    """
    canvas = Canvas(height_px, light)
    Figure(canvas, identity, pose).paint()
    return canvas.sprite()
