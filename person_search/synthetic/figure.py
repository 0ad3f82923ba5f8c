"""Paint a whole person: body parts and garments in the order in which they hide each other."""

from .bags import (
    paint_backpack,
    paint_backpack_straps,
    paint_handbag,
    paint_shoulder_bag,
    paint_shoulder_strap,
)
from .canvas import NEUTRAL, Canvas, Light, Point, Sprite, capsule
from .garments import (
    Section,
    Surface,
    flat_surface,
    paint_limb_pattern,
    paint_pattern,
    shade_surface,
)
from .head import Head
from .identity import Identity
from .palette import Colour, scale
from .pose import SHOULDER_HEIGHT, Pose, Skeleton, View, build_skeleton

UPPER_HEMS = {
    "t-shirt": 0.475, "shirt": 0.455, "jacket": 0.47, "hoodie": 0.475, "coat": 0.30, "tank top": 0.48, "dress": 0.53,
}  # fmt: skip
THICKNESS = {"jacket": 0.010, "hoodie": 0.009, "coat": 0.012, "shirt": 0.004}
_LOOSE = {
    "trousers": (1.0, 1.0),
    "wide trousers": (1.18, 1.75),
    "leggings": (0.92, 0.84),
    "shorts": (1.22, 1.3),
}


class Figure:
    """One person in one pose, ready to be painted on a canvas."""

    def __init__(self, canvas: Canvas, identity: Identity, pose: Pose):
        self.canvas, self.identity, self.pose = canvas, identity, pose
        self.view = View(pose.yaw)
        self.skeleton: Skeleton = build_skeleton(identity, pose)
        self.thick = THICKNESS.get(identity.upper_type, 0.002)
        self.torso = self._torso()
        self.skirt = self._skirt()
        self.fold_seed = int(pose.phase) + int(identity.height_m * 1000)

    def _surface(self, sections: list[Section]) -> Surface:
        s = self.skeleton
        return flat_surface(sections, self.view, s.lift, s.lean, self.identity.leg_length)

    def _torso(self) -> Surface:
        i, t = self.identity, self.thick
        g, hem = i.girth, UPPER_HEMS[i.upper_type]
        shoulder = i.shoulder_width
        loose = 0.012 if i.upper_type in ("coat", "jacket", "hoodie") else 0.004
        waist = (i.hip_width - 0.012) * (0.55 + 0.45 * g) + t + loose
        sections = [
            (0.835, 0.040, 0.036),
            (0.818, shoulder * 0.72, 0.044 * g),
            (SHOULDER_HEIGHT, shoulder + 0.006 + t, 0.054 * g + t),
            (0.74, shoulder * 0.96 + t, 0.068 * g + t),
            (0.62, waist, 0.060 * g + t + loose),
            (0.53, i.hip_width * (0.6 + 0.4 * g) + 0.004 + t, 0.068 * g + t),
        ]
        if hem < 0.53:
            flare = 0.022 if i.upper_type == "coat" else 0.004
            sections.append(
                (hem, i.hip_width * (0.6 + 0.4 * g) + 0.006 + t + flare, 0.070 * g + t + flare)
            )
        return self._surface(sections)

    def _skirt(self) -> Surface | None:
        i = self.identity
        if i.lower_type not in ("skirt", "dress"):
            return None
        hem = 0.30 if i.lower_length == "short" else 0.12
        hip = i.hip_width * (0.6 + 0.4 * i.girth)
        spread = 0.03 + 0.001 * self.pose.stride
        top = 0.62 if i.lower_type == "skirt" else 0.56
        sections = [
            (top, hip - 0.004, 0.062 * i.girth),
            (0.50, hip + 0.008, 0.076 * i.girth),
            (hem, hip + 0.012 + spread, 0.082 * i.girth + spread * 1.5),
        ]
        return self._surface(sections)

    def paint(self) -> None:
        """Paint everything from back to front."""
        i, view, s = self.identity, self.view, self.skeleton
        lean = self._forward(0.93)
        head = Head(
            self.canvas,
            i,
            View(self.pose.yaw + self.pose.head_turn * self._turn_sign()),
            (0.0, 0.925 + s.lift, lean),
        )
        head_behind = Head(self.canvas, i, view, (0.0, 0.925 + s.lift, lean))
        depths = [view.depth(s.shoulders[k]) for k in (0, 1)]
        far_arms = [k for k in (0, 1) if depths[k] < -0.03]
        head_behind.paint_behind()
        if i.bag == "backpack" and view.cos > 0.1:
            self._backpack()
        for k in far_arms:
            self._arm(k, is_far=True)
        if i.bag == "shoulder bag" and view.depth((1.0, 0.0, 0.0)) < 0:
            paint_shoulder_bag(self.canvas, i, view, s.lift)
        for k in sorted((0, 1), key=lambda k: view.depth(s.hips[k]) + 0.3 * view.depth(s.knees[k])):
            self._leg(k, is_far=view.depth(s.hips[k]) < -0.01)
        self._upper_body(head)
        if i.bag == "shoulder bag" and view.depth((1.0, 0.0, 0.0)) >= 0:
            paint_shoulder_bag(self.canvas, i, view, s.lift)
        if i.bag == "backpack" and view.cos <= 0.1:
            self._backpack()
        near_arms = [k for k in (0, 1) if k not in far_arms]
        for k in near_arms:
            self._arm(k, is_far=False)
        head_behind.paint_over()

    def _turn_sign(self) -> float:
        return 1.0

    def _forward(self, height: float) -> float:
        return self.skeleton.lean * max(0.0, height - self.identity.leg_length)

    def _project(self, point: tuple[float, float, float], drop: float = 0.0) -> Point:
        return self.view.project((point[0], point[1] + self.skeleton.lift - drop, point[2]))

    def _backpack(self) -> None:
        i = self.identity
        paint_backpack(
            self.canvas, i, self.view, self.skeleton.lift, 0.06 * i.girth, self._forward(0.69)
        )

    def _upper_body(self, head: Head) -> None:
        i, canvas, torso = self.identity, self.canvas, self.torso
        pelvis = self._surface(
            [(0.60, i.hip_width, 0.06 * i.girth), (0.50, i.hip_width * (0.62 + 0.4 * i.girth), 0.07 * i.girth),
             (0.455, i.hip_width * 0.9, 0.062 * i.girth)]
        )  # fmt: skip
        if self.skirt is not None:
            self._paint_skirt()
        else:
            canvas.polygon(pelvis.outline(), i.lower_colour)
            shade_surface(canvas, pelvis, 1)
        base = self.view.project((0.0, 0.80 + self.skeleton.lift, self._forward(0.8)))
        top = self.view.project((0.0, 0.885 + self.skeleton.lift, self._forward(0.88)))
        canvas.polygon(torso.outline(), i.upper_colour)
        hem = torso.sections[-1][0]
        paint_pattern(
            canvas, torso, i.upper_pattern, i.upper_pattern_colour, i.pattern_scale, 0.82, hem
        )
        self._opening()
        shade_surface(canvas, torso, self.fold_seed)
        if i.bag == "backpack":
            paint_backpack_straps(canvas, i, torso)
        if i.bag == "shoulder bag":
            paint_shoulder_strap(canvas, i, torso)
        self._collar(base, top)
        head.paint()

    def _collar(self, base: Point, top: Point) -> None:
        i, canvas = self.identity, self.canvas
        neck = capsule(base, top, 0.031, 0.029)
        canvas.polygon(neck, i.skin_colour, canvas.dark + 8)
        if i.upper_type == "hoodie":
            back = 1.0 if self.view.cos > -0.2 else 0.0
            u, v = self.view.project(
                (0.0, 0.822 + self.skeleton.lift, self._forward(0.82) - 0.03 * (1 - back))
            )
            ring = [(u - 0.062, v + 0.014), (u - 0.02, v - 0.024), (u + 0.02, v - 0.024), (u + 0.062, v + 0.014),
                    (u + 0.04, v + 0.034), (u - 0.04, v + 0.034)]  # fmt: skip
            canvas.polygon(ring, scale(i.upper_colour, 0.86))
            if back:
                canvas.polygon(
                    capsule((base[0], v + 0.03), top, 0.026, 0.028), i.skin_colour, canvas.dark
                )
        elif i.upper_type in ("shirt", "coat", "jacket"):
            u, v = self.view.project((0.0, 0.828 + self.skeleton.lift, self._forward(0.82)))
            band = [
                (u - 0.040, v - 0.012),
                (u + 0.040, v - 0.012),
                (u + 0.034, v + 0.02),
                (u - 0.034, v + 0.02),
            ]
            if self.view.cos > 0.2:
                tip = (u + 0.03 * self.view.sin, v - 0.03)
                band = [
                    (u - 0.042, v + 0.016),
                    (u - 0.03, v - 0.014),
                    tip,
                    (u + 0.03, v - 0.014),
                    (u + 0.042, v + 0.016),
                    (tip[0], v - 0.004),
                ]
            canvas.polygon(band, scale(i.upper_colour, 0.88))

    def _opening(self) -> None:
        """Paint what is at the front of the garment: open jacket, buttons, zip, pocket."""
        i, canvas, torso = self.identity, self.canvas, self.torso
        hem = torso.sections[-1][0]
        if i.upper_type in ("jacket", "coat"):
            wide = 26 if i.upper_type == "jacket" else 17
            front = torso.patch(-wide, wide, 0.822, max(hem, 0.44))
            if front:
                canvas.tint(front, i.inner_colour)
            for side in (-wide, wide):
                edge = torso.patch(side - 5, side + 5, 0.822, hem)
                if edge:
                    canvas.tint(edge, scale(i.upper_colour, 0.78))
        elif i.upper_type == "shirt":
            strip = torso.patch(-3, 3, 0.81, hem)
            if strip:
                canvas.tint(strip, scale(i.upper_colour, 0.84))
        elif i.upper_type == "hoodie":
            pocket = torso.patch(-38, 38, 0.60, 0.51)
            if pocket:
                canvas.tint(pocket, scale(i.upper_colour, 0.88))
        elif i.upper_type == "dress":
            belt = torso.patch(-180, 180, 0.605, 0.585)
            if belt:
                canvas.tint(belt, scale(i.upper_colour, 0.7))

    def _paint_skirt(self) -> None:
        i, canvas, skirt = self.identity, self.canvas, self.skirt
        canvas.polygon(skirt.outline(), i.lower_colour)
        top, hem = skirt.sections[0][0], skirt.sections[-1][0]
        if i.lower_type == "dress" and i.upper_pattern not in ("block", "logo"):
            paint_pattern(
                canvas, skirt, i.upper_pattern, i.upper_pattern_colour, i.pattern_scale, top, hem
            )
        elif i.lower_pattern == "checks":
            paint_pattern(canvas, skirt, "checks", i.lower_pattern_colour, 1.0, top, hem)
        elif i.lower_pattern == "side stripe":
            band = skirt.patch(-180, 180, hem + 0.03, hem + 0.008)
            canvas.tint(band, i.lower_pattern_colour)
        shade_surface(canvas, skirt, self.fold_seed + 5)
        for angle in range(0, 360, 45):
            low, high = skirt.visible(hem)
            if low + 15 < angle < high - 15 or low + 15 < angle - 360 < high - 15:
                fold = [skirt.point(angle, hem + 0.13), skirt.point(angle + 3, hem + 0.004)]
                canvas.shade_line(fold, 0.006, canvas.dark)

    def _leg(self, k: int, is_far: bool) -> None:
        i, canvas, s = self.identity, self.canvas, self.skeleton
        hip, knee = self._project(s.hips[k]), self._project(s.knees[k])
        ankle, toe = self._project(s.ankles[k]), self._project(s.toes[k])
        g = 0.5 + 0.5 * i.girth
        heel = (ankle[0] - (toe[0] - ankle[0]) * 0.12, ankle[1] - 0.012)
        is_bare = i.lower_type in ("shorts", "skirt", "dress")
        if is_bare:
            canvas.limb(hip, knee, 0.054 * g, 0.036 * g, i.skin_colour, is_shaded=is_far)
            canvas.limb(knee, ankle, 0.036 * g, 0.021 * g, i.skin_colour, is_shaded=is_far)
        self._shoe(ankle, heel, toe, is_far)
        if i.lower_type in ("skirt", "dress"):
            return
        upper, lower = _LOOSE[i.lower_type]
        r_hip, r_knee, r_ankle = 0.058 * g * upper, 0.042 * g * upper, 0.031 * g * lower
        if is_bare:
            end = (hip[0] + (knee[0] - hip[0]) * 0.92, hip[1] + (knee[1] - hip[1]) * 0.92)
            canvas.shade(capsule(end, (end[0], end[1] - 0.02), r_knee, r_knee * 0.8), canvas.dark)
            canvas.limb(hip, end, r_hip, r_knee * 1.08, i.lower_colour, is_shaded=is_far)
            self._trouser_print(hip, end, (r_hip, r_knee), k)
            return
        canvas.limb(knee, ankle, r_knee, r_ankle, i.lower_colour, is_shaded=is_far)
        self._trouser_print(knee, ankle, (r_knee, r_ankle), k)
        canvas.limb(hip, knee, r_hip, r_knee, i.lower_colour, is_shaded=is_far)
        self._trouser_print(hip, knee, (r_hip, r_knee), k)
        canvas.shade_line(
            [(knee[0] - r_knee * 0.6, knee[1] + 0.01), (knee[0] + r_knee * 0.3, knee[1] - 0.004)],
            0.006,
            canvas.dark - 6,
        )
        canvas.shade_line(
            [
                (ankle[0] - r_ankle * 0.8, ankle[1] + 0.022),
                (ankle[0] + r_ankle * 0.8, ankle[1] + 0.014),
            ],
            0.006,
            canvas.dark - 6,
        )

    def _trouser_print(self, start: Point, end: Point, radii: Point, k: int) -> None:
        i = self.identity
        if i.lower_pattern == "checks":
            paint_limb_pattern(
                self.canvas, start, end, radii, "checks", i.lower_pattern_colour, 1.0
            )
        elif i.lower_pattern == "side stripe":
            outward = (1.0 if k == 0 else -1.0) * self.view.cos
            is_outside_visible = (self.view.depth((1.0 if k == 0 else -1.0, 0.0, 0.0))) > -0.75
            if is_outside_visible:
                offset = 0.72 * outward
                a = (start[0] + radii[0] * offset, start[1])
                b = (end[0] + radii[1] * offset, end[1])
                self.canvas.line([a, b], 0.014, i.lower_pattern_colour)

    def _shoe(self, ankle: Point, heel: Point, toe: Point, is_far: bool) -> None:
        i, canvas = self.identity, self.canvas
        shade = NEUTRAL - 20 if is_far else NEUTRAL
        drop = 0.018
        canvas.polygon(
            capsule((heel[0], heel[1] - drop), (toe[0], toe[1] - drop + 0.004), 0.027, 0.021),
            i.shoe_colour,
            shade,
        )
        canvas.polygon(
            capsule(ankle, (heel[0], heel[1] - 0.01), 0.025, 0.027), i.shoe_colour, shade
        )
        sole: Colour = scale(i.shoe_colour, 0.55) if sum(i.shoe_colour) > 300 else (206, 206, 202)
        canvas.line(
            [(heel[0], heel[1] - drop - 0.022), (toe[0], toe[1] - drop - 0.014)], 0.009, sole
        )

    def _arm(self, k: int, is_far: bool) -> None:
        i, canvas, s = self.identity, self.canvas, self.skeleton
        shoulder = self._project(s.shoulders[k], 0.012)
        elbow, wrist = self._project(s.elbows[k]), self._project(s.wrists[k])
        if i.bag == "handbag" and k == 1:
            paint_handbag(canvas, i, self.view, s)
        g, t = 0.6 + 0.4 * i.girth, self.thick
        r = (0.036 * g, 0.028 * g, 0.021 * g)
        sleeve = (r[0] + 0.004 + t, r[1] + 0.004 + t, r[2] + 0.006 + t)
        if not is_far:
            # The arm's own shadow on the body sets it off from cloth of the same colour.
            for a, b, w in ((shoulder, elbow, sleeve[0]), (elbow, wrist, sleeve[1])):
                if a is not shoulder or abs(self.view.sin) > 0.3:
                    self._contact_shadow(a, b, w + 0.008)
        hand = (wrist[0] + (wrist[0] - elbow[0]) * 0.14, wrist[1] + (wrist[1] - elbow[1]) * 0.14)
        canvas.limb(wrist, hand, 0.019 * g, 0.021 * g, i.skin_colour, is_shaded=is_far)
        if i.sleeve_length == "long":
            canvas.limb(elbow, wrist, sleeve[1], sleeve[2], i.upper_colour, is_shaded=is_far)
            paint_limb_pattern(
                canvas,
                elbow,
                wrist,
                sleeve[1:],
                i.upper_pattern,
                i.upper_pattern_colour,
                i.pattern_scale,
            )
            canvas.limb(shoulder, elbow, sleeve[0], sleeve[1], i.upper_colour, is_shaded=is_far)
            paint_limb_pattern(
                canvas,
                shoulder,
                elbow,
                sleeve[:2],
                i.upper_pattern,
                i.upper_pattern_colour,
                i.pattern_scale,
            )
            return
        canvas.limb(elbow, wrist, r[1], r[2], i.skin_colour, is_shaded=is_far)
        canvas.limb(shoulder, elbow, r[0], r[1], i.skin_colour, is_shaded=is_far)
        if i.sleeve_length == "short":
            cut = (
                shoulder[0] + (elbow[0] - shoulder[0]) * 0.62,
                shoulder[1] + (elbow[1] - shoulder[1]) * 0.62,
            )
            canvas.limb(
                shoulder,
                cut,
                sleeve[0] + 0.002,
                sleeve[0] + 0.003,
                i.upper_colour,
                is_shaded=is_far,
            )
            paint_limb_pattern(
                canvas,
                shoulder,
                cut,
                (sleeve[0],) * 2,
                i.upper_pattern,
                i.upper_pattern_colour,
                i.pattern_scale,
            )

    def _contact_shadow(self, start: Point, end: Point, width: float) -> None:
        self.canvas.shade(capsule(start, end, width, width * 0.9), self.canvas.dark)


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
