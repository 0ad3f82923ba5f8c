"""Bags: a backpack, a bag on a strap across the body, a handbag in the hand."""

import math

from person_search.synthetic.canvas import Canvas, Point
from person_search.synthetic.palette import scale
from person_search.synthetic.people.garments import Surface
from person_search.synthetic.people.identity import Identity
from person_search.synthetic.people.pose import Skeleton, View

_CORNERS = tuple(
    (cu, cv, math.cos(math.radians(first + step)), math.sin(math.radians(first + step)))
    for cu, cv, first in ((1, 1, 0), (-1, 1, 90), (-1, -1, 180), (1, -1, 270))
    for step in (0, 30, 60, 90)
)


def _rounded(u: float, v: float, half_w: float, half_h: float, corner: float) -> list[Point]:
    return [
        (u + cu * (half_w - corner) + corner * cos, v + cv * (half_h - corner) + corner * sin)
        for cu, cv, cos, sin in _CORNERS
    ]


def _shade_box(canvas: Canvas, u: float, v: float, half_w: float, half_h: float) -> None:
    sign = -1.0 if canvas.light.side >= 0 else 1.0
    canvas.shade(
        [(u + sign * half_w * 0.35, v + half_h), (u + sign * half_w, v + half_h * 0.8),
         (u + sign * half_w, v - half_h * 0.8), (u + sign * half_w * 0.35, v - half_h)],
        canvas.dark,
    )  # fmt: skip


def paint_backpack(
    canvas: Canvas, identity: Identity, view: View, lift: float, depth: float, forward: float
) -> None:
    """Paint the pack behind a chest of half depth ``depth`` that leans ``forward``."""
    half_w, half_d, half_h = 0.088, 0.046, 0.118
    u, v = view.project((0.0, 0.685 + lift, forward - depth - half_d * 0.8))
    width = abs(half_w * view.cos) + abs(half_d * view.sin)
    corner = min(width, 0.04)
    canvas.polygon(_rounded(u, v, width, half_h, corner), identity.bag_colour)
    _shade_box(canvas, u, v, width, half_h)
    if view.cos < 0.1:
        pocket = width * (0.7 if view.cos < -0.3 else 0.5)
        canvas.tint(
            _rounded(u, v - half_h * 0.45, pocket, half_h * 0.36, 0.02),
            scale(identity.bag_colour, 0.82),
        )
        canvas.line(
            [(u - pocket, v + half_h * 0.25), (u + pocket, v + half_h * 0.25)],
            0.006,
            scale(identity.bag_colour, 0.6),
        )


def paint_backpack_straps(canvas: Canvas, identity: Identity, torso: Surface) -> None:
    """Paint the two straps over the front of the torso."""
    colour = scale(identity.bag_colour, 0.8)
    for side in (-1, 1):
        strap = torso.patch(min(side * 30, side * 50), max(side * 30, side * 50), 0.80, 0.64)
        if strap:
            canvas.tint(strap, colour)


def paint_shoulder_strap(canvas: Canvas, identity: Identity, torso: Surface) -> None:
    """Paint the strap from the right shoulder across chest and back to the left hip."""
    for turn in (1, -1):
        path = []
        for step in range(13):
            t = step / 12
            angle = -50 + 130 * t if turn == 1 else 310 - 220 * t
            height = 0.805 - 0.26 * t
            cut = torso.cut(height)
            if cut.clip(angle - 0.5, angle + 0.5):
                path += cut.points((angle,))
        if len(path) > 1:
            canvas.line(path, 0.014, scale(identity.bag_colour, 0.75))


def paint_shoulder_bag(canvas: Canvas, identity: Identity, view: View, lift: float) -> None:
    """Paint the bag that hangs on the left hip."""
    half_w, half_d, half_h = 0.03, 0.075, 0.06
    u, v = view.project((identity.hip_width + 0.03, 0.50 + lift, 0.0))
    width = abs(half_w * view.cos) + abs(half_d * view.sin)
    canvas.polygon(_rounded(u, v, width, half_h, 0.016), identity.bag_colour)
    _shade_box(canvas, u, v, width, half_h)
    flap = [
        (u - width, v + half_h),
        (u + width, v + half_h),
        (u + width, v + half_h * 0.2),
        (u - width, v + half_h * 0.2),
    ]
    canvas.tint(flap, scale(identity.bag_colour, 0.84))


def paint_handbag(canvas: Canvas, identity: Identity, view: View, skeleton: Skeleton) -> None:
    """Paint the bag in the right hand."""
    x, y, z = skeleton.wrists[1]
    hand = view.project((x, y - 0.02 + skeleton.lift, z))
    half_w, half_d, half_h = 0.024, 0.068, 0.05
    u, v = hand[0], hand[1] - 0.085
    width = abs(half_w * view.cos) + abs(half_d * view.sin)
    canvas.line(
        [(u - width * 0.7, v + half_h), hand, (u + width * 0.7, v + half_h)],
        0.009,
        scale(identity.bag_colour, 0.7),
    )
    body = [
        (u - width * 0.8, v + half_h),
        (u + width * 0.8, v + half_h),
        (u + width, v - half_h),
        (u - width, v - half_h),
    ]
    canvas.polygon(body, identity.bag_colour)
    _shade_box(canvas, u, v, width * 0.9, half_h)
